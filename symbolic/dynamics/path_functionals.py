"""Running extremes and time integrals along a path, in expressions of an SDE's states: each is carried as one more
state of the step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from symbolic.arrays.expression import Array, Past, walk
from symbolic.dynamics.autodiff import Statement
from symbolic.dynamics.step_map import StepMap, h, t
from symbolic.errors import InputError


class PathFunctional(sp.Function):
    """A number that a path's past has, of one expression; `written` is how it is written, the expression in place of
    {}; past: what arrays call it."""

    nargs = 1
    written = ""
    past = ""

    def _eval_is_extended_real(self) -> bool | None:
        return self.args[0].is_extended_real

    def _sympystr(self, printer: Any) -> str:
        return self.written.format(printer._print(self.args[0]))


class RunningMax(PathFunctional):
    """The largest value so far."""

    written = "running(max, {})"
    past = "running_max"


class TimeIntegral(PathFunctional):
    """The integral from a path's beginning on."""

    written = "integral({})"
    past = "integral"


def running(of: Callable[..., Any] | str, f: Any) -> Any:
    """The largest or smallest value of an expression along a path so far.

    Between the ends of a step the extreme is drawn, by the Brownian bridge between them: for constant diffusions it has
    the distribution of the extreme over all times, not over steps.

    Parameters
    ----------
    of
        max or min, or their names.
    f
        Expression of an SDE's states and time, or an array of them: one number, or what is made entry by entry.

    Returns
    -------
    Expr or Array
        For observables and events of `simulate`.

    Raises
    ------
    InputError
        For what is neither max nor min, and no expression.

    Examples
    --------
    >>> import sympy as sp
    >>> from symbolic import running
    >>> X = sp.Symbol("X", real=True)
    >>> running(max, X) - X
    -X + running(max, X)
    """
    if of in (max, sp.Max, "max"):
        return _past("running", RunningMax, f)
    if of in (min, sp.Min, "min"):
        return -_past("running", RunningMax, -f) if isinstance(f, Array) else -RunningMax(-_expression("running", f))
    raise InputError.of("running", "must be max or min", of, "Write running(max, X).")


def integral(f: Any) -> Any:
    """The integral over time of an expression along a path, from its beginning to now, by trapezoids.

    Parameters
    ----------
    f
        Expression of an SDE's states and time, or an array of them.

    Returns
    -------
    Expr or Array
        For observables and events of `simulate`.

    Raises
    ------
    InputError
        For what is no expression.

    Examples
    --------
    >>> import sympy as sp
    >>> from symbolic import integral
    >>> X = sp.Symbol("X", real=True)
    >>> integral(X**2)
    integral(X**2)
    """
    return _past("integral", TimeIntegral, f)


def _past(where: str, kind: type[PathFunctional], f: Any) -> Any:
    """The functional of an expression or an array. Raises InputError."""
    if not isinstance(f, Array):
        return kind(_expression(where, f))
    if any(isinstance(node, Past) for node in walk([f])):
        raise _nested(where, f)
    if f.condition:
        raise InputError.of(where, "must be of numbers, not conditions", f, "Write numpy.where(X > 0, 1, 0).")
    return Past.of(f.shape, (f,), (kind.past,))


def _nested(where: str, f: Any) -> InputError:
    return InputError.of(where, "must be of states and time, not of another path's past", f, "Take them one by one.")


def _expression(where: str, f: Any) -> sp.Expr:
    if isinstance(f, bool) or not isinstance(f, (sp.Expr, int, float)):
        raise InputError.of(where, "must be of an expression of the states", f, "Write running(max, X), integral(X).")
    f = sp.sympify(f, strict=True)
    if f.has(PathFunctional):
        raise _nested(where, f)
    return f


@dataclass(frozen=True)
class Carried:
    """A functional of f as a state: `symbol`, 0 at first, and twice an input where it is an extreme; begin: the time at
    which paths begin."""

    node: sp.Expr
    symbol: sp.Symbol
    extra: tuple[sp.Symbol, ...]
    begin: sp.Expr = sp.S.Zero

    @property
    def f(self) -> sp.Expr:
        """What it is of."""
        return self.node.args[0]  # type: ignore[return-value]

    @property
    def largest(self) -> bool:
        """Whether it is an extreme."""
        return isinstance(self.node, RunningMax)

    @property
    def value(self) -> sp.Expr:
        """Its value, of the states: at first an extreme is f itself."""
        return sp.Piecewise((self.f, t <= self.begin), (self.symbol, True)) if self.largest else self.symbol

    def after(
        self, before: Mapping[sp.Basic, sp.Expr], then: Mapping[sp.Basic, sp.Expr], bridge: sp.Expr | None = None
    ) -> sp.Expr:
        """Its value after a step of h from states `before` to states `then`; bridge: of an extreme, the variance of f
        over the step times an exponential variable of mean 2 (docs/theory.md eq. (6.10))."""
        first, last = self.f.xreplace(dict(before)), self.f.xreplace({**then, t: t + h})
        own = self.value.xreplace(dict(before))
        if not self.largest:
            return own + h * (first + last) / 2
        if bridge is None:
            return sp.Max(own, last)
        return sp.Max(own, (first + last + sp.sqrt((last - first) ** 2 + bridge)) / 2)


def functionals(expressions: Iterable[sp.Basic], begin: float = 0.0) -> tuple[Carried, ...]:
    """Those that expressions name, each once, of paths that begin at time `begin`."""
    found = {node for e in expressions for node in sp.sympify(e, strict=True).atoms(PathFunctional)}
    out = []
    for k, node in enumerate(sorted(found, key=sp.default_sort_key)):
        pair = tuple(sp.Symbol(f":bridge_{k}_{j}", real=True) for j in range(2))
        largest = isinstance(node, RunningMax)
        out.append(Carried(node, sp.Symbol(f":path_{k}", real=True), pair if largest else (), sp.Rational(begin)))
    return tuple(out)


def by_words(words: Iterable[str]) -> list[str]:
    """Names of functionals by how they are written, each once."""
    out = list[str]()
    for k, word in enumerate(words):
        out.append(word if word not in out else f"{word}, number {k}")
    return out


def values(carried: Iterable[Carried]) -> dict[sp.Basic, sp.Basic]:
    """What stands for the functionals in expressions of states."""
    return {c.node: c.value for c in carried}


def carrying(
    step: StepMap,
    carried: tuple[Carried, ...],
    largest: Callable[[Carried, Mapping[sp.Symbol, sp.Expr], int], tuple[list[Statement], sp.Expr]],
) -> StepMap:
    """The step that moves them too. largest: what it makes of an extreme, given the states at its end and the extreme's
    number, and the statements that this needs."""
    if not carried:
        return step
    later = [sp.Symbol(f":next_{j}", real=True) for j in range(len(step.states))]
    then, statements, updates = dict(zip(step.states, later, strict=True)), list[Statement](), list[sp.Expr]()
    for k, c in enumerate(carried):
        needed, update = largest(c, then, k) if c.largest else ([], c.after({}, then))
        statements += needed
        updates.append(update)
    return replace(
        step,
        states=(*step.states, *(c.symbol for c in carried)),
        inputs=(*step.inputs, *(n for c in carried for n in c.extra)),
        statements=(*step.statements, *zip(later, step.updates, strict=True), *statements),
        updates=(*later, *updates),
    )
