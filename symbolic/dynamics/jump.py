"""Changes of state at once: at a rate, at given times, or where a condition becomes true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from symbolic.arrays.expression import Array, State
from symbolic.errors import InputError, as_reals, instance
from symbolic.functions.reached import Reached
from symbolic.language import names
from symbolic.language.calls import called
from symbolic.problem.base_distribution import Distribution

NORMAL, UNIFORM = -3.0, -1.0
"""Kinds of base variables: one beside those of `symbolic.problem.base_distribution`, and one of those."""


@called({"intensity": "Give rate=.", "times": "Give at=.", "event": "Give when=.", "size": "Give sizes={Z: law}."})
class Jump:
    """A change of an SDE's state at once.

    Parameters
    ----------
    changes
        {state: expression of the states, time, parameters and sizes}: what the state becomes. All are taken from the
        state before; states that are not named stay. Of an array of states also entries, {X[0]: 0}.
    rate
        Jumps per unit time, an expression of states and time; where it is negative there are none, and a path on which
        it is no finite number is lost. Of an equation of arrays also an array, a rate for each entry: a change of its
        shape is then made at the entry that jumps, any other as it stands.
    at
        Times of impulses, from 0 on.
    when
        A relation, or an expression: the change is made as it becomes true, or positive.
    sizes
        {symbol: distribution}, drawn anew at each jump: Normal, Uniform, Bernoulli or Laplace, with numbers. An array
        made by `states` is drawn entry by entry.
    entry
        An array made by `states`, of the shape of an array of rates, which is 1 at the entry that jumps and 0 elsewhere
        in what changes say: {E: E + K @ who}. Each change is then made as it stands.

    Raises
    ------
    InputError
        Unless exactly one of rate, at and when is given, and for what cannot be read.

    Examples
    --------
    >>> import sympy as sp
    >>> from symbolic import SDE, Jump, Normal
    >>> S, Z = sp.symbols("S Z", real=True)
    >>> merton = SDE([S], [S/20], [[S/5]], jumps=[Jump({S: S*sp.exp(Z)}, rate=2, sizes={Z: Normal(0, 0.1)})])
    >>> len(merton.jumps)
    1
    """

    def __init__(
        self,
        changes: Mapping[Any, Any],
        *,
        rate: Any = None,
        at: Any = None,
        when: Any = None,
        sizes: Mapping[sp.Symbol, Distribution] | None = None,
        entry: Any = None,
    ) -> None:
        instance("Jump.changes", changes, Mapping, "must be a mapping {state: expression}", "Write {X: X + 1}.")
        if sum(value is not None for value in (rate, at, when)) != 1 or not changes:
            rule, got = "needs changes, and one of rate, at and when", {"rate": rate, "at": at, "when": when}
            raise InputError.of("Jump", rule, got, "Write Jump({X: X + 1}, rate=2).")
        self.changes, self.rate, self.when = dict(changes), rate, when
        self.at = None if at is None else _times(at)
        self.sizes: dict[Any, Distribution] = dict(sizes or {})
        self.kinds, self.base, self.drawn = list[float](), list[Any](), dict[Any, Any]()
        for symbol, law in self.sizes.items():
            self._read(symbol, law)
        self.entry, self.chooser = entry, None
        if entry is not None:
            do = 'Write who = states("who", X.shape), and rate= of that shape.'
            instance("Jump.entry", entry, State, "must be an array made by states", do)
        if np.ndim(rate) if isinstance(rate, (list, tuple, np.ndarray)) else isinstance(rate, Array) and rate.shape:
            self.chooser = sp.Dummy("entry", real=True)
            self.base.append(self.chooser)
            self.kinds.append(UNIFORM)
        elif entry is not None:
            raise InputError.of("Jump.entry", "goes with an array of rates", rate, "Give rate= an entry each.")

    def _read(self, symbol: Any, law: Any) -> None:
        instance("Jump.sizes", symbol, (sp.Symbol, State), "must be by symbol", "Write {Z: Normal(0, 1)}.")
        where = f"Jump.sizes[{names.variable('Jump.sizes', symbol.name)}]"
        advice = "Give Normal, Uniform, Bernoulli or Laplace, with numbers."
        if not isinstance(law, Distribution) or law.table is not None:
            raise InputError.of(where, "must be a distribution to draw from", law, advice)
        try:
            block = law.bind((symbol,), ())
        except ValueError:
            raise InputError.of(where, "must have one number for each parameter", law, "Scale in changes=.") from None
        recipe = None if block.unsampled else block.recipe({})
        if recipe is None:
            raise InputError.of(where, "must be a distribution to draw from", law, advice)
        value: Any = sp.Float(float(recipe.location[0]))
        weights = list(zip(recipe.chance.tolist(), recipe.mixing[0].tolist(), strict=True))
        if recipe.covariance is not None:
            weights.insert(0, (NORMAL, float(np.sqrt(recipe.covariance[0, 0]))))
        base = [sp.Dummy("size", real=True) for _ in weights]
        if isinstance(symbol, State) and base:
            rows = State.of((*symbol.shape, len(base)), (), (f":size_{base[0].dummy_index}",))
            self.base.append(rows)
            base = [rows[..., k] for k in range(len(base))]
        else:
            self.base += base
        for (_, weight), variable in zip(weights, base, strict=True):
            value = value + sp.Float(weight) * variable
        self.kinds += [kind for kind, _ in weights] * (symbol.size if isinstance(symbol, State) else 1)
        self.drawn[symbol] = value

    def __repr__(self) -> str:
        """As it would be written."""
        trigger = next(f"{k}={v}" for k in ("rate", "at", "when") if (v := getattr(self, k)) is not None)
        more = "".join(f", {k}={v}" for k in ("sizes", "entry") if (v := getattr(self, k)) not in (None, {}))
        return f"Jump({self.changes}, {trigger}{more})"


def _times(at: Any) -> tuple[float, ...]:
    try:
        found = np.atleast_1d(as_reals(at))
    except ValueError:
        found = np.full(1, np.nan)
    if found.ndim != 1 or not np.isfinite(found).all() or (found < 0).any() or len(np.unique(found)) != len(found):
        raise InputError.of("Jump.at", "must be distinct times from 0 on", at, "Give e.g. [0, 8, 16].")
    return tuple(map(float, np.sort(found)))


def excess(condition: Any) -> Any:
    """The expression that is positive where a condition holds: a relation's one side less the other, where it may be
    equal `Reached`, the least of what must hold together, the greatest of what may."""
    if isinstance(condition, sp.Not):
        return Reached(-excess(condition.args[0]))
    if isinstance(condition, sp.And | sp.Or):
        parts = [excess(c) for c in condition.args]
        return (sp.Min if isinstance(condition, sp.And) else sp.Max)(*parts)
    if isinstance(condition, sp.Rel) and not isinstance(condition, sp.Eq | sp.Ne):
        over = condition.gts - condition.lts
        return Reached(over) if isinstance(condition, sp.Ge | sp.Le) else over
    return condition


def read(jumps: Any, states: Sequence[sp.Symbol], known: Iterable[sp.Symbol]) -> tuple[Jump, ...]:
    """The jumps of an equation. known: symbols that its expressions may name. Raises InputError."""
    allowed, found = set(known), listed(jumps)
    for k, jump in enumerate(found):
        where = f"SDE.jumps[{k}]"
        clash = {s.name for s in jump.sizes} & {s.name for s in allowed}
        if clash:
            raise InputError.of(f"{where}.sizes", "a name may stand for one thing only", min(clash), "Rename it.")
        for state, value in jump.changes.items():
            if state not in states:
                raise InputError.of(f"{where}.changes", "must name states", state, f"They are {list(states)}.")
            _check(f"{where}.changes[{state}]", value, allowed | set(jump.sizes))
        if jump.rate is not None:
            _check(f"{where}.rate", jump.rate, allowed)
        if jump.when is not None:
            _check(f"{where}.when", excess(jump.when), allowed)
    return found


def listed(jumps: Any) -> tuple[Jump, ...]:
    """What must be a list of them. Raises InputError."""
    if not isinstance(jumps, (list, tuple)) or not all(isinstance(j, Jump) for j in jumps):
        raise InputError.of("SDE.jumps", "must be a list of Jump", jumps, "Write [Jump({X: 0}, when=X > 1)].")
    return tuple(jumps)


def _check(where: str, value: Any, allowed: set[sp.Symbol]) -> None:
    if isinstance(value, bool) or not isinstance(value, (sp.Expr, int, float)):
        raise InputError.of(where, "must be an expression", value, "Write it with the symbols of the equation.")
    loose = sorted(str(s) for s in sp.sympify(value, strict=True).free_symbols - allowed)
    if loose:
        raise InputError.of(where, "may use states, time, parameters and sizes only", loose, "List it in one of them.")
