"""Stochastic differential equations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from inspect import Signature, signature
from typing import Any

import sympy as sp

from symbolic.arrays.expression import Array
from symbolic.dynamics import domain as domains
from symbolic.dynamics import equation_reading as reading
from symbolic.dynamics import jump, tracing
from symbolic.dynamics.correlation import factor
from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.jump import Jump
from symbolic.dynamics.step_map import t as time_symbol
from symbolic.dynamics.stochastic_calculus import class_of_noise, correction, is_diagonal, jacobian
from symbolic.errors import InputError, instance
from symbolic.language import names
from symbolic.language.calls import called
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.problem.optimizer import t as learning_time
from symbolic.problem.parameter import Parameter


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
    jumps
        Changes of state at once, each a `Jump`; `simulate` runs them.
    domain
        {state: where it lives}: "nonnegative" where the equation itself keeps it at or above 0, and so does the scheme
        of a run that is told none; or what happens at the ends, ("reflect", low, high), or "periodic" or "absorb".
    correlation
        Of the noises, a matrix (J, J) of numbers or {(i, j): number}, if they are not independent: the diffusion
        becomes that of independent ones, diffusion L with L L^T the correlation.

    Attributes
    ----------
    W
        Symbols of the independent Brownian motions' values W_j(t), (J,), for observables and exact solutions.

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

    arrays = False
    """Whether it is of whole arrays (`symbolic.states`)."""
    domain: Mapping[sp.Symbol, domains.Domain] = {}

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
        jumps: Sequence[Jump] = (),
        domain: Mapping[Any, Any] | None = None,
        *,
        correlation: Any = None,
    ) -> None:
        self.states, self.parameters = reading.symbols(states, parameters, time)
        self.domain = domains.read(domain, self.states)
        self.interpretation, self.name = interpretation, names.check("SDE.name", name)
        d = len(self.states)
        reading.sense("SDE.interpretation", interpretation)
        traced = callable(drift) or callable(diffusion)
        if time is None and traced and "t" not in {s.name for s in self.states + self.parameters}:
            time = sp.Symbol("t", real=True)
        self.time = time
        labels = reading.labels(self.states, self.parameters, time)
        clock = time_symbol if time is None else time
        if callable(drift):
            drift = tracing.trace("SDE.drift", drift, {"x": self.states, "t": clock}, tracing.vector)
        if callable(diffusion):
            diffusion = tracing.trace("SDE.diffusion", diffusion, {"x": self.states, "t": clock}, tracing.rows)
        f, b = tracing.vector("SDE.drift", drift), tracing.rows("SDE.diffusion", diffusion)
        reading.check_shapes(f, b, d)
        reading.refuse_vague((*self.states, *self.parameters), [*f, *(c for row in b for c in row)])
        swap = {} if time is None else {time: time_symbol}
        self.drift_vector = sp.ImmutableMatrix(f).xreplace(swap)
        self.diffusion_matrix = sp.ImmutableMatrix(b).xreplace(swap)
        if correlation is not None:
            self.diffusion_matrix = sp.ImmutableMatrix(self.diffusion_matrix * factor(correlation, self.noises))
        used = self.drift_vector.free_symbols | self.diffusion_matrix.free_symbols
        loose = used - {*self.states, *self.parameters, time_symbol}
        if loose or (time is None and time_symbol in used):
            raise InputError(reading.strange(sorted(map(str, loose)) or ["t"], labels))
        timed = () if time is None else (time,)
        self.jumps = jump.read(jumps, self.states, (*self.states, *self.parameters, *timed))
        self.parts: tuple[Parameter, ...] = tuple(Parameter(s.name, (), (s,)) for s in self.states)
        self.W: tuple[sp.Symbol, ...] = tuple(sp.Symbol(f":W_{j}", real=True) for j in range(self.noises))
        domains.check(self)

    def __repr__(self) -> str:
        """The equation, a line a state; of a large one its size."""
        sense = "Ito" if self.interpretation == "ito" else "Stratonovich"
        return reading.described(f"SDE({self.name}: {sense}", self.states, self.parameters, *self._in_own_time())

    def _repr_latex_(self) -> str | None:
        return reading.typeset(self.states, *self._in_own_time(), self.interpretation)

    def _in_own_time(self) -> tuple[sp.Matrix, sp.Matrix]:
        clock = {} if self.time is None else {time_symbol: self.time}
        return self.drift_vector.xreplace(clock), self.diffusion_matrix.xreplace(clock)

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
    def prepared(self) -> dict[Any, Any]:
        """What `symbolic.codegen.prepare` has made of it, by what it was asked."""
        return {}

    @cached_property
    def diagonal(self) -> bool:
        """Whether noise j drives state j alone, with a strength that depends on no other state."""
        return is_diagonal(self.diffusion_matrix, self.states)

    @cached_property
    def noise_class(self) -> str:
        """The first of "additive", "scalar", "diagonal", "commutative", "general" that holds identically."""
        return class_of_noise(self.diffusion_matrix, self.states)

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
        if reading.sense("SDE.to", interpretation) == self.interpretation:
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
            self.jumps,
            {s: d.given for s, d in self.domain.items()},
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

    @classmethod
    def compiled(
        cls,
        dimension: int,
        drift: Callable[..., Any],
        diffusion: Callable[..., Any],
        noise: str = "diagonal",
        *,
        noises: int | None = None,
        interpretation: str = "ito",
        name: str = "sde",
    ) -> SDE:
        """An equation of a user's own functions, for what no symbol can say.

        Both are f(x, t, out), compiled by `numba.njit`, which write into out and read nothing else that changes; the
        program of a run calls them path by path. Machine code is not kept for another process, nor does a checkpoint
        go on in one: a function may have changed there.

        Parameters
        ----------
        dimension
            Number of states; they are the array "X", `states[0]`.
        drift
            Writes out (dimension,).
        diffusion
            Writes out (dimension,), the strength of each state's own noise; for "general", (dimension, noises).
        noise
            "diagonal", each strength depending on its own state alone, "additive", which is given zeros for x, or
            "general".
        noises
            Of "general", how many noises; as many as states when left out.
        interpretation
            "ito" or "stratonovich".
        name
            What results call it.

        Returns
        -------
        SDE

        Raises
        ------
        InputError
            For a function that is not compiled, does not fit, or fails at a state of ones.
        """
        from symbolic.dynamics.array_equation import of_functions

        return of_functions(dimension, (drift, diffusion), noise, noises, interpretation, name)

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
