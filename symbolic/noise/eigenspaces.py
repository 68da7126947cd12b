"""The eigenspaces of a symmetric generator A theta + b, and what lies on them.

A falls into connected blocks of entries. Numbers are compared within a block only, never with all of theta: one unit's
noise may be weaker than another's by any factor, and eigenvectors of different blocks share no rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from symbolic.algebra.affine import AffineField

Array = np.ndarray
ZERO = 1e-10
"""Size of an eigenvalue, over the largest of its block, up to which it is 0."""
ROUNDING = 8 * float(np.finfo(float).eps)
"""Size of a coordinate, over that of its block and per entry, up to which a sum is 0."""


@dataclass(frozen=True, eq=False)
class Eigenspaces:
    """An orthonormal basis of eigenvectors of A on the m entries of theta that A and b touch.

    indices: these entries, block after block. values: the eigenvalues, (m,). shift: b in the basis. home: the block of
    each, counted. turns: (slice of a block, its eigenvectors as columns) for blocks of more than one entry.
    """

    indices: Array
    values: Array
    shift: Array
    home: Array
    turns: tuple[tuple[slice, Array], ...]

    @classmethod
    def of(cls, field: AffineField) -> Eigenspaces:
        """Of a symmetric field."""
        blocks = [*field.blocks, *((i,) for i in sorted(set(field.b) - field.reads))]
        indices = np.array([i for block in blocks for i in block], dtype=np.int64)
        values, turns, at = np.zeros(len(indices)), list[tuple[slice, Array]](), 0
        for block in blocks:
            here, at = slice(at, at + len(block)), at + len(block)
            if len(block) == 1:
                values[here] = float(field.A.get((block[0], block[0]), 0))
                continue
            a = np.array([[float(field.A.get((i, j), 0)) for j in block] for i in block])
            found, vectors = np.linalg.eigh(a)
            values[here] = np.where(np.abs(found) > ZERO * np.abs(found).max(), found, 0.0)
            turns.append((here, vectors))
        home = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
        out = cls(indices, values, np.zeros(len(indices)), home, tuple(turns))
        shift = np.array([float(field.b.get(int(i), 0)) for i in indices])
        return cls(indices, values, out.turned(shift), home, out.turns)

    @property
    def fastest(self) -> float:
        """The largest |eigenvalue|; 0 for a translation."""
        return float(np.abs(self.values).max(initial=0.0))

    def turned(self, rows: Array, back: bool = False) -> Array:
        """Rows (m, ...) of entries in the basis; back: rows of the basis in entries."""
        out = rows.copy()
        for here, vectors in self.turns:
            out[here] = (vectors if back else vectors.T) @ rows[here]
        return out

    def within(self, squares: Array) -> Array:
        """Sums over the block of each, (m,)."""
        return np.bincount(self.home, squares, len(self.home))[self.home]

    def coordinates(self, theta: Array) -> Array:
        """A point's, (m,): 0 where it is nothing but rounding."""
        own = theta[self.indices]
        found = self.turned(own)
        count = self.within(np.ones(len(own)))
        tiny = ROUNDING * count * np.sqrt(self.within(own**2))
        return np.where((count == 1) | (np.abs(found) > tiny), found, 0.0)

    def rest(self, matrix: Array) -> float:
        """Tr M of the entries of theta that the generator leaves alone."""
        return float(np.delete(np.diag(matrix), self.indices).sum())

    def forms(self, matrix: Array) -> Array:
        """v^T M v of a symmetric M (D, D), (m,): 0 where it is nothing but rounding."""
        own = matrix[np.ix_(self.indices, self.indices)]
        found = np.diag(own).copy()
        for here, vectors in self.turns:
            found[here] = np.einsum("ji,jk,ki->i", vectors, own[here, here], vectors)
        count = self.within(np.ones(len(own)))
        floor = ROUNDING * count * np.sqrt(self.within(np.sum(own**2, axis=1)))
        return np.where((count == 1) | (np.abs(found) > floor), found, 0.0)

    def push(self, root: Array, rounding: Array) -> Array:
        """s_i = v_i^T Sigma v_i, (m,), the noise of Sigma = R R^T on every eigenvector, R = root (D, r): exactly 0
        where it is no more than R's rounding (D,), and where the eigenvalue is 0."""
        found = np.sum(self.turned(root[self.indices]) ** 2, axis=1)
        floor = self.within(rounding[self.indices] ** 2)
        return np.where((found > floor) & (self.values != 0), found, 0.0)
