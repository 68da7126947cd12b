"""The one-step stochastic map theta' = F(theta, n; h, t, p) that every scheme is, before it becomes text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import sympy as sp

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
class StepMap:
    """One step of a dynamics, written symbolically.

    states: what is advanced. inputs: what noise (or a minibatch) feeds in. parameters: constants of a run. statements:
    named intermediate values, in order; updates: the new states in terms of everything before. pace: where each path
    chooses its steps, the longest one it may take from its state, in terms of states, parameters, t and h, the longest
    that any path may take. seen: what is saved and watched in the place of a state. solved: where an equation is solved
    first, whose unknowns statements and updates then name.
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

    @property
    def first(self) -> tuple[Statement, ...]:
        """The statements that states, inputs, time and parameters alone decide."""
        return self.statements if self.solved is None else self.solved.before


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
