"""The one-step stochastic map theta' = F(theta, n; h, t, p) that every scheme is, before it becomes text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import sympy as sp

from symbolic.algebra.eigenbasis import Eigenbasis, Rows
from symbolic.dynamics.autodiff import Statement, gradient, shared

# Names that no user can spell, so that no parameter or data variable meets them.
h = sp.Symbol(":h", real=True, positive=True)
"""The step: dt for an SDE, the learning rate for discrete SGD."""
t = sp.Symbol(":t", real=True)
"""Time at the step's start."""


@dataclass(frozen=True)
class Solved:
    """What a step solves in turns, each path for itself.

    before, values: what is `known` when it begins, in the step's own symbols; unknowns begin as these values. Each of
    at most `most` turns takes `updates` of unknowns and known, and `finished`, 1 where they are the solution, which
    then stay; `done` is 1 in what follows where they are.
    """

    before: tuple[Statement, ...]
    known: tuple[sp.Symbol, ...]
    values: tuple[sp.Expr, ...]
    unknowns: tuple[sp.Symbol, ...]
    done: sp.Symbol
    statements: tuple[Statement, ...]
    updates: tuple[sp.Expr, ...]
    finished: sp.Expr
    most: int


@dataclass(frozen=True)
class Function:
    """Of a + ib, its real and imaginary part, by statements, in terms of `growth` a, `turning` b and h."""

    statements: tuple[Statement, ...]
    parts: tuple[sp.Expr, sp.Expr]


growth, turning = (sp.Symbol(f":{name}", real=True) for name in ("growth", "turning"))


@dataclass(frozen=True)
class Left:
    """Noise beside a step's own: C - F G F^T is its covariance, F what `function` of direction by direction makes.

    C, lower triangle: weights (4 rows of N) of real and imaginary parts of `function`, at growths (N, N) and the first,
    then the second turnings. covariance: G, (N, N).
    """

    function: Function
    growths: Rows
    turnings: tuple[Rows, Rows]
    weights: tuple[Rows, Rows, Rows, Rows]
    covariance: Rows
    normals: tuple[sp.Symbol, ...]


@dataclass(frozen=True)
class Modal:
    """S (sum_v f_v(D) S^-1 u_v + noise), D acting on each direction, or pair of them, by itself, in loops of the text.

    before, vectors: what the u_v are, (K, N); functions: the f_v; own: S and D; results: what comes out, (N,).
    """

    before: tuple[Statement, ...]
    vectors: tuple[tuple[sp.Expr, ...], ...]
    functions: tuple[Function, ...]
    own: Eigenbasis
    left: Left | None
    results: tuple[sp.Symbol, ...]


@dataclass(frozen=True)
class StepMap:
    """One step of a dynamics, written symbolically.

    states: what is advanced. inputs: what noise (or a minibatch) feeds in. parameters: constants of a run. statements:
    named intermediate values, in order; updates: the new states in terms of everything before. pace: where each path
    chooses its steps, the longest one it may take from its state, in terms of states, parameters, t and h, the longest
    that any path may take. seen: what is saved and watched in the place of a state. solved: where an equation is solved
    first, whose unknowns statements and updates then name. modal: where it is made in directions of a matrix, whose
    results statements and updates then name.
    """

    name: str
    states: tuple[sp.Symbol, ...]
    inputs: tuple[sp.Symbol, ...]
    parameters: tuple[sp.Symbol, ...]
    statements: tuple[Statement, ...]
    updates: tuple[sp.Expr, ...]
    pace: sp.Expr | None = None
    seen: Mapping[sp.Symbol, sp.Expr] = field(default_factory=dict[sp.Symbol, sp.Expr])
    solved: Solved | None = None
    modal: Modal | None = None

    @property
    def first(self) -> tuple[Statement, ...]:
        """The statements that states, inputs, time and parameters alone decide."""
        if self.modal is not None:
            return self.modal.before
        return self.statements if self.solved is None else self.solved.before

    @property
    def ends(self) -> tuple[sp.Expr, ...]:
        """What is made of them."""
        if self.modal is not None:
            return tuple(e for vector in self.modal.vectors for e in vector)
        return self.updates if self.solved is None else self.solved.values


@dataclass(frozen=True)
class Accumulation:
    """What one data row adds to the inputs of a step: inputs[k] += weight * terms[k](states, z).

    statements name shared parts; terms are the data monomials (features) or the entries of the per-sample gradient.
    """

    z: tuple[sp.Symbol, ...]
    statements: tuple[Statement, ...]
    terms: tuple[sp.Expr, ...]


@dataclass(frozen=True)
class RowSlopes:
    """An accumulation of the gradient of one row's loss in the states, found where it is asked for."""

    z: tuple[sp.Symbol, ...]
    loss: sp.Expr
    states: tuple[sp.Symbol, ...]

    @cached_property
    def _found(self) -> tuple[list[Statement], list[sp.Expr]]:
        return gradient(*shared(self.loss), self.states)

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Shared parts."""
        return tuple(self._found[0])

    @property
    def terms(self) -> tuple[sp.Expr, ...]:
        """Entries of the gradient."""
        return tuple(self._found[1])
