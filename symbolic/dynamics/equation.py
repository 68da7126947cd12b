"""Stochastic differential equations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from inspect import Signature, signature
from typing import Any

import sympy as sp

from symbolic.arrays.expression import Array
from symbolic.dynamics import tracing
from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.step_map import t as time_symbol
from symbolic.dynamics.stochastic_calculus import commutes, correction, jacobian
from symbolic.errors import InputError, instance, near, nearest, shown
from symbolic.language import names, reserved_names
from symbolic.language.calls import called
from symbolic.problem import assumptions
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.problem.optimizer import t as learning_time
from symbolic.problem.parameter import Parameter

SENSES = ("ito", "stratonovich")
COMPLEX = (sp.re, sp.im, sp.conjugate, sp.arg, sp.Derivative)
MOST_LINES, LONGEST_TERM = 6, 60


@called({"f": "Give drift=.", "g": "Give diffusion=.", "sigma": "Give diffusion=.", "t": "Give time=."})
class SDE:
    """dX = drift(X, t) dt + diffusion(X, t) dW, with D states and J independent noises.

    Parameters
    ----------
    states
        Symbols, or names, (D,), or an array of `symbolic.states`; in a list also several, and symbols with them. They
        may be assumed real and no more: a positive X would delete Max(X, 0) before it is seen.
    drift
        D entries, or of each array one of its shape; or a plain Python function of (x, t) that returns them, called a
        few times with an array of symbols; what compares, branches or changes from call to call is refused.
    diffusion
        D rows of J entries, or a function that returns them. Of an array one of its shape, the strengths of a noise per
        entry, or with an axis more for J noises of all.
    interpretation
        "ito" or "stratonovich": the sense in which the noise term is written.
    time
        The symbol of time in the coefficients, if any.
    name
        What results and messages call it.
    parameters
        Symbols that a run gives numbers to.

    Attributes
    ----------
    W
        Symbols of the Brownian motions' values W_j(t), (J,), for observables and exact solutions.

    Raises
    ------
    InputError
        For names that clash, shapes that do not match, and symbols that are neither state, time nor parameter.

    Examples
    --------
    >>> import sympy as sp
    >>> from symbolic import SDE
    >>> X = sp.Symbol("X", real=True)
    >>> SDE([X], drift=[0.75*X], diffusion=[[0.5*X]]).noise_class
    'scalar'
    """

    def __new__(cls, states: Any = (), *args: Any, **kwargs: Any) -> Any:
        """The form for arrays where a state is one."""
        several = states if isinstance(states, (list, tuple)) else (states,)
        if cls is SDE and any(isinstance(s, Array) for s in several):
            from symbolic.dynamics.array_equation import ArraySDE

            return object.__new__(ArraySDE)
        return super().__new__(cls)

    def __init__(
        self,
        states: Sequence[Any] | Array,
        drift: Any,
        diffusion: Any,
        interpretation: str = "ito",
        time: sp.Symbol | None = None,
        name: str = "sde",
        parameters: Sequence[sp.Symbol] = (),
    ) -> None:
        for where, group in (("SDE.states", states), ("SDE.parameters", parameters)):
            if isinstance(group, (str, sp.Symbol)) or not isinstance(group, Iterable):
                alone = isinstance(group, (str, sp.Symbol))
                advice = f"Write [{shown(group)}]." if alone else "Write [X], of sympy.Symbol('X', real=True)."
                raise InputError.of(where, "must be a list of symbols", group, advice)
        states, parameters = list(states), list(parameters)
        self.states: tuple[sp.Symbol, ...] = tuple(
            sp.Symbol(names.variable("SDE.states", s), real=True) if isinstance(s, str) else s for s in states
        )
        self.parameters = tuple(parameters)
        self.interpretation, self.name = interpretation, names.check("SDE.name", name)
        d = len(self.states)
        if not d or len(set(self.states)) != d or not all(isinstance(s, sp.Symbol) for s in self.states):
            raise InputError.of("SDE.states", "must be distinct symbols", states, "Name each state once.")
        if not all(isinstance(p, sp.Symbol) for p in self.parameters):
            raise InputError.of("SDE.parameters", "must be symbols", parameters, "Use sympy.symbols.")
        if time is not None:
            rule = "must be the symbol of time in the coefficients"
            instance("SDE.time", time, sp.Symbol, rule, "Use sympy.Symbol('t', real=True).")
        errors = reserved_names.refuse("SDE.states", [s.name for s in self.states])
        errors += reserved_names.refuse("SDE.parameters", [p.name for p in self.parameters])
        found = [assumptions.refused("SDE.states", s, "A path goes where noise takes it") for s in self.states]
        # a run's times are positive but for its first
        if time is not None and not assumptions.holds(time, sp.Symbol("t", positive=True), sp.oo):
            found.append(assumptions.refused("SDE.time", time, "Time is any number from 0 on"))
        errors += [p for p in found if p]
        if errors:
            raise InputError("\n".join(errors))
        check_sense("SDE.interpretation", interpretation)
        traced = callable(drift) or callable(diffusion)
        if time is None and traced and "t" not in {s.name for s in self.states + self.parameters}:
            time = sp.Symbol("t", real=True)
        self.time = time
        for where, group in (("SDE.states", self.states), ("SDE.parameters", self.parameters)):
            for s in group:
                names.variable(where, s.name)
        if time is not None and time != time_symbol:
            names.symbol("SDE.time", time.name)
        labels = [s.name for s in (*self.states, *self.parameters, *((time,) if time is not None else ()))]
        twice = sorted({n for n in labels if labels.count(n) > 1})
        if twice:
            raise InputError(f"SDE: a name may stand for one thing only; got {twice[0]!r} twice. Rename one.")
        clock = time_symbol if time is None else time
        if callable(drift):
            drift = tracing.trace("SDE.drift", drift, {"x": self.states, "t": clock}, tracing.vector)
        if callable(diffusion):
            diffusion = tracing.trace("SDE.diffusion", diffusion, {"x": self.states, "t": clock}, tracing.rows)
        f, b = tracing.vector("SDE.drift", drift), tracing.rows("SDE.diffusion", diffusion)
        shapes = [len(row) for row in b]
        if len(f) != d:
            raise InputError(f"SDE.drift: must have one entry per state ({d}); got {len(f)}. Match the states.")
        if len(shapes) != d or len(set(shapes)) != 1 or shapes[0] < 1:
            own = d > 1 and len(b) == 1 and len(b[0]) == d
            raise InputError(
                f"SDE.diffusion: must be {d} row{'s' * (d > 1)} of equal length, one a state, with one column per"
                f" noise; got {len(shapes)} of lengths {shapes}. Write"
                f" {'sympy.diag(...).tolist() where each state has a noise of its own' if own else _example(d)}."
            )
        self._check_real(f, b)
        swap = {} if time is None else {time: time_symbol}
        self.drift_vector = sp.ImmutableMatrix(f).xreplace(swap)
        self.diffusion_matrix = sp.ImmutableMatrix(b).xreplace(swap)
        used = self.drift_vector.free_symbols | self.diffusion_matrix.free_symbols
        loose = used - {*self.states, *self.parameters, time_symbol}
        if loose or (time is None and time_symbol in used):
            raise InputError(_strange(sorted(map(str, loose)) or ["t"], labels))
        self.parts: tuple[Parameter, ...] = tuple(Parameter(s.name, (), (s,)) for s in self.states)
        self.W: tuple[sp.Symbol, ...] = tuple(sp.Symbol(f":W_{j}", real=True) for j in range(self.noises))

    def __repr__(self) -> str:
        """The equation, a line a state; of a large one its size."""
        d, j = len(self.states), self.noises
        sense = "Ito" if self.interpretation == "ito" else "Stratonovich"
        own = f", {', '.join(p.name for p in self.parameters)} given" if self.parameters else ""
        head = f"SDE({self.name}: {sense}, {d} state{'s' * (d > 1)}, {j} noise{'s' * (j > 1)}{own}"
        if d > MOST_LINES or j > MOST_LINES:
            return head + ")"
        clock = {} if self.time is None else {time_symbol: self.time}
        lines = []
        for x, f, row in zip(self.states, self.drift_vector, self.diffusion_matrix.tolist(), strict=True):
            terms = [(f, "dt"), *((b, f"dW_{k}" if j > 1 else "dW") for k, b in enumerate(row))]
            texts = [w if c == 1 else f"({_short(c.xreplace(clock))}) {w}" for c, w in terms if c != 0]
            lines.append(f"d{x.name} = {' + '.join(texts) or '0'}")
        return f"{head}; {lines[0]})" if d == 1 else "\n    ".join([f"{head};", *lines]) + ")"

    def _check_real(self, drift: Sequence[sp.Expr], diffusion: Sequence[Sequence[sp.Expr]]) -> None:
        """Refuse symbols that are not known to be real where that shows: sqrt(Y**2) is then no Abs(Y), whose slope
        holds re(Y) and im(Y)."""
        vague = {s for s in (*self.states, *self.parameters) if s.is_real is not True}
        for e in (*drift, *(c for row in diffusion for c in row)) if vague else ():
            for s in sorted(vague & e.free_symbols, key=str):
                if e.has(*COMPLEX) or e.diff(s).has(*COMPLEX):
                    raise InputError(
                        f"SDE: symbols must be real; got {s} without that assumption in {_short(e)}. Write"
                        f" sympy.Symbol({s.name!r}, real=True), and every expression with it."
                    )

    @property
    def arrays(self) -> bool:
        """Whether it is of whole arrays (`symbolic.states`)."""
        return False

    @property
    def dimension(self) -> int:
        """D, the number of states."""
        return len(self.states)

    @property
    def scalars(self) -> set[sp.Basic]:
        """The symbols in its coefficients."""
        return self.drift_vector.free_symbols | self.diffusion_matrix.free_symbols

    @property
    def noises(self) -> int:
        """J, the number of independent Brownian motions."""
        return self.diffusion_matrix.cols

    @cached_property
    def diagonal(self) -> bool:
        """Whether noise j drives state j alone, with a strength that depends on no other state."""
        b, states = self.diffusion_matrix, set(self.states)
        return (
            b.rows == b.cols
            and b.is_diagonal()
            and all(not b[i, i].free_symbols & (states - {self.states[i]}) for i in range(b.rows))
        )

    @cached_property
    def noise_class(self) -> str:
        """The first of "additive", "scalar", "diagonal", "commutative", "general" that holds identically."""
        b = self.diffusion_matrix
        if not b.free_symbols & set(self.states):
            return "additive"
        if b.cols == 1:
            return "scalar"
        if self.diagonal:
            return "diagonal"
        return "commutative" if commutes(b, self.states) else "general"

    def allows(self, noise: str) -> bool:
        """Whether a scheme for a noise class may be used.

        Parameters
        ----------
        noise
            The scheme's class; one for commutative noise takes diagonal noise too, and so on.

        Returns
        -------
        bool
        """
        if noise == "general" or self.noise_class == noise:
            return True
        if noise == "commutative":
            return self.noise_class != "general"
        return noise == "diagonal" and (self.noises == 1 or self.diagonal)

    def to(self, interpretation: str) -> SDE:
        """The same process written in the other sense: the drift gains or loses (1/2) sum_j (grad b_j) b_j.

        Parameters
        ----------
        interpretation
            "ito" or "stratonovich".

        Returns
        -------
        SDE
        """
        if check_sense("SDE.to", interpretation) == self.interpretation:
            return self
        sign = 1 if interpretation == "ito" else -1
        made = self.replaced(self.drift_vector + sign * correction(self.diffusion_matrix, self.states), interpretation)
        made.parts = self.parts
        return made

    def replaced(self, drift: sp.Matrix, interpretation: str) -> SDE:
        """The SDE with another drift, in another sense.

        Parameters
        ----------
        drift
            D entries.
        interpretation
            "ito" or "stratonovich".

        Returns
        -------
        SDE
        """
        clock = {} if self.time is None else {time_symbol: self.time}
        return SDE(
            self.states,
            list(sp.ImmutableMatrix(drift).xreplace(clock)),
            self.diffusion_matrix.xreplace(clock).tolist(),
            interpretation,
            self.time,
            self.name,
            self.parameters,
        )

    @classmethod
    def from_loss(cls, loss: Loss, sgd: SGD) -> SDE:
        """SGD's order-1 SDE with drift and diffusion as formulas.

        d theta = -s (grad L + lambda theta) dt - s sqrt(T) H R dW, with H m the gradient in the data features m, R R^T
        = Cov m, T = f eta/S and s the schedule over 1 - momentum (docs/theory.md eq. (6.1)); J = rank Cov m noises.

        Parameters
        ----------
        loss
            A loss that is polynomial in the data.
        sgd
            The optimiser.

        Returns
        -------
        SDE

        Raises
        ------
        InputError
            For a loss that is not polynomial in the data.
        """
        instance("SDE.from_loss", loss, Loss, "needs a Loss", "Build one with symbolic.Loss.")
        require_sgd("SDE.from_loss", sgd)
        drift, diffusion = LossDynamics(loss).formulas(sgd)
        clock = None if "t" in {s.name for s in loss.theta} and sgd.schedule is None else learning_time
        made = cls(loss.theta, drift, diffusion, time=clock, name=loss.name)
        made.parts = loss.parameters
        return made

    def drift(self, x: sp.Matrix, t: sp.Expr) -> sp.Matrix:
        """Drift at a state.

        Parameters
        ----------
        x
            State, (D,) expressions.
        t
            Time.

        Returns
        -------
        Matrix (D, 1)
        """
        return self.drift_vector.xreplace(self._at(x, t))

    def diffusion(self, x: sp.Matrix, t: sp.Expr) -> sp.Matrix:
        """Diffusion at a state.

        Parameters
        ----------
        x
            State, (D,) expressions.
        t
            Time.

        Returns
        -------
        Matrix (D, J)
        """
        return self.diffusion_matrix.xreplace(self._at(x, t))

    def increment(self, x: sp.Matrix, t: sp.Expr, dt: sp.Expr, dW: sp.Matrix) -> sp.Matrix:
        """The increment drift dt + diffusion dW.

        Parameters
        ----------
        x
            State, (D,) expressions.
        t, dt
            Time and step.
        dW
            Increments of the Brownian motions, (J,).

        Returns
        -------
        Matrix (D, 1)
        """
        return self.drift(x, t) * dt + self.diffusion(x, t) * dW

    def along(self, b: sp.Matrix, x: sp.Matrix, v: sp.Matrix) -> sp.Matrix:
        """The derivative of a vector of functions along a direction, (grad b) v.

        Parameters
        ----------
        b
            Functions of the states, (D,).
        x
            The states.
        v
            The direction, (D,).

        Returns
        -------
        Matrix (D, 1)
        """
        return jacobian(b, list(x)) * v

    def length(self, v: sp.Matrix) -> sp.Expr:
        """The Euclidean norm of a vector.

        Parameters
        ----------
        v
            Entries, (D,).

        Returns
        -------
        Expr
        """
        return sp.sqrt(sum(e**2 for e in v))

    def _at(self, x: sp.Matrix, t: sp.Expr) -> dict[sp.Basic, sp.Basic]:
        return {a: b for a, b in (*zip(self.states, x, strict=True), (time_symbol, t)) if a != b}


SDE.__signature__ = Signature(list(signature(SDE.__init__).parameters.values())[1:])  # type: ignore[attr-defined]


def check_sense(where: str, sense: Any) -> str:
    """The sense, which must be one. Raises InputError."""
    if not isinstance(sense, str) or sense not in SENSES:
        raise InputError.of(where, "must be 'ito' or 'stratonovich'", sense, nearest(sense, SENSES, "Pick one."))
    return sense


def _example(states: int) -> str:
    if states == 1:
        return "[[b]] for one noise, [[b, c]] for two"
    return f"[{', '.join(f'[b{i}]' for i in range(min(states, 3)))}{', ...' if states > 3 else ''}] for one noise"


def _short(coefficient: sp.Expr) -> str:
    text = str(coefficient)
    return text if len(text) <= LONGEST_TERM else text[: LONGEST_TERM - 3] + "..."


def _strange(others: Sequence[str], known: Sequence[str]) -> str:
    """The refusal of symbols that coefficients may not use."""
    twins = [name for name in others if name in known]
    if twins:
        return (
            f"SDE: coefficients must be written with the same symbols as states and parameters; got {twins[0]} with"
            f" other assumptions than theirs. Make it once, by sympy.Symbol({twins[0]!r}, real=True)."
        )
    do = "Name time=." if others == ["t"] else "Put in numbers, or list them as parameters=; time is named by time=."
    close = near(others[0], known)
    do = f"Did you mean {close[0]!r}? {do}" if close else do
    return f"SDE: coefficients may use the states, parameters and time only; got {others} besides. {do}"
