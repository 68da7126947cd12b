"""What a scheme's formula may name: each argument of its `step`, made of independent normals of variance dt.

Noise j over one step is known by its Legendre coefficients m_l = sqrt(dt) int phi_l dW_j, phi_l the orthonormal
Legendre polynomials on the step (Kuznetsov 2006; Foster, Lyons, Oberhauser 2020): independent normals of variance dt,
m_0 = dW. They are linear in the path, so the coefficients of a long step are combinations of those of the short steps
it is made of, exactly (`sde.engine.refinement`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp

from symbolic.algebra.eigenbasis import Eigenbasis
from symbolic.dynamics.autodiff import Statement
from symbolic.dynamics.step_map import Function, Left, Modal, Solved


@dataclass(frozen=True)
class Noise:
    """The random inputs of one step: `modes` Legendre coefficients of each of `noises` Brownian motions, and
    `auxiliary` more.

    Input order: coefficient by coefficient, each over all noises, then the auxiliary ones; a scheme that asks for more
    keeps what another gets, so that all schemes follow the same Brownian path at the same seed.
    """

    noises: int
    modes: int
    auxiliary: int
    dt: sp.Symbol

    @cached_property
    def coefficients(self) -> list[sp.ImmutableMatrix]:
        """m_0 .. m_(modes - 1), each (J, 1)."""
        names = [":dW", ":dU", *(f":dU{k}" for k in range(2, self.modes))][: self.modes]
        return [sp.ImmutableMatrix([_symbol(f"{name}_{j}") for j in range(self.noises)]) for name in names]

    @cached_property
    def extra(self) -> sp.ImmutableMatrix:
        """Normals of variance dt that are no part of the Brownian path, (A, 1)."""
        return sp.ImmutableMatrix(self.auxiliary, 1, [_symbol(f":aux_{k}") for k in range(self.auxiliary)])

    @property
    def inputs(self) -> tuple[sp.Symbol, ...]:
        return tuple(s for m in [*self.coefficients, self.extra] for s in m)

    @property
    def dZ(self) -> sp.ImmutableMatrix:
        """I_(j,0) = int (W_j(s) - W_j(t)) ds over the step, (J, 1)."""
        dW, dU = self.coefficients[:2]
        return sp.ImmutableMatrix((dW - dU / sp.sqrt(3)) * self.dt / 2)

    @property
    def squares(self) -> sp.ImmutableMatrix:
        """(dW dW^T - dt 1)/2, (J, J): Ito's I_(j,k) without Levy areas."""
        dW = self.coefficients[0]
        return sp.ImmutableMatrix((dW * dW.T - self.dt * sp.eye(self.noises)) / 2)

    @property
    def integrals(self) -> sp.ImmutableMatrix:
        """Ito's I_(j,k) = int int_{s<t} dW_j(s) dW_k(t), (J, J): exact but for the Levy area's modes left out (mean
        square dt^2/(4 (2 modes - 1)))."""
        m, size = self.coefficients, self.noises
        area = sp.zeros(size, size)
        for j in range(size):
            for k in range(j):
                terms = [
                    (m[i][j] * m[i + 1][k] - m[i + 1][j] * m[i][k]) / sp.sqrt(4 * (i + 1) ** 2 - 1)
                    for i in range(self.modes - 1)
                ]
                area[j, k] = sp.Add(*terms) / 2
                area[k, j] = -area[j, k]
        return sp.ImmutableMatrix(self.squares + area)


class Naming:
    """Gives intermediate vectors a name, so that what is used twice is computed (and differentiated, and printed)
    once."""

    def __init__(self, prefix: str = ":s") -> None:
        self.statements: list[Statement] = []
        self.prefix = prefix
        self.solved: Solved | None = None
        self.modal: Modal | None = None

    def __call__(self, value: Any) -> Any:
        """The vector, matrix or expression with every compound entry replaced by a symbol that stands for it."""
        if isinstance(value, sp.MatrixBase):
            return sp.ImmutableMatrix(value.rows, value.cols, [self(e) for e in value])
        if value.is_Atom or (-value).is_Atom:
            return value
        symbol = _symbol(f"{self.prefix}_{len(self.statements)}")
        self.statements.append((symbol, value))
        return symbol

    def solve(self, known: Any, turn: Callable[[Any, Any, Naming], tuple[Any, Any]], most: int) -> tuple[Any, Any]:
        """Unknowns that begin as the vector `known`, and 1 where they are the solution after at most `most` turns, else
        0. turn(unknowns, known, let): the next ones, and 1 where these are the solution. What has been named before is
        not to be used after."""
        n, let = len(known), Naming(":w")
        held, found, done = ([_symbol(f":{name}_{j}") for j in range(n)] for name in ("known", "found", "done"))
        later, finished = turn(sp.ImmutableMatrix(found), sp.ImmutableMatrix(held), let)
        still = done[0] > 0
        self.solved = Solved(
            before=tuple(self.statements),
            known=tuple(held),
            values=tuple(known),
            unknowns=tuple(found),
            done=done[0],
            statements=tuple(let.statements),
            updates=tuple(sp.Piecewise((y, still), (e, True)) for y, e in zip(found, later, strict=True)),
            finished=sp.Piecewise((1, still), (finished, True)),
            most=most,
        )
        self.statements = []
        return sp.ImmutableMatrix(found), done[0]

    def in_directions(
        self, own: Eigenbasis, vectors: Iterable[Any], functions: Iterable[Function], left: Left | None
    ) -> Any:
        """S (sum_v f_v(D) S^-1 u_v + noise) of an eigenbasis (`Modal`). What has been named before is not to be used
        after."""
        results = [_symbol(f":after_{j}") for j in range(len(own.rates))]
        self.modal = Modal(
            before=tuple(self.statements),
            vectors=tuple(tuple(vector) for vector in vectors),
            functions=tuple(functions),
            own=own,
            left=left,
            results=tuple(results),
        )
        self.statements = []
        return sp.ImmutableMatrix(results)


def _symbol(name: str) -> sp.Symbol:
    return sp.Symbol(name, real=True)
