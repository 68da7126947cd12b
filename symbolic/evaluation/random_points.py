"""A loss at random points: generic parameters and data, and what its gradients there allow."""

from __future__ import annotations

from collections.abc import Sequence

import mpmath
import numpy as np
import sympy as sp

from symbolic.algebra.affine import AffineField
from symbolic.algebra.number_field import real
from symbolic.evaluation.shaken import Shaken
from symbolic.evaluation.tape import Tape
from symbolic.problem.assumptions import sign_of
from symbolic.problem.base_distribution import Distribution
from symbolic.problem.loss import Loss

Array = np.ndarray
SHAKE, KNOWN = 1e-11, 1e-6
"""Relative error that functions are given, and that of a gradient from it up to which floats give it 11 digits."""
SHRUNK = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Sizes of parameters tried until enough gradients are known."""


def distribution_values(loss: Loss, rng: np.random.Generator) -> dict[sp.Symbol, float]:
    """Plausible numbers for the symbols in the laws: positive, moments those of some law."""
    values: dict[sp.Symbol, float] = {}
    for block in loss.blocks:
        values = block.plausible(rng) | values
    for s in loss.distribution_parameters:
        values.setdefault(s, float(rng.uniform(0.3, 0.7)))
    return values


def generic(block: Distribution, n: int, rng: np.random.Generator, values: dict[sp.Symbol, float]) -> Array:
    """n generic points of a block's space: free real values, of the signs assumed, where the law is continuous, 0/1 and
    labels as they are."""
    drawn = block.sample(n, rng, values)
    signs = np.array([sign_of(s) for s in block.symbols])[:, None]
    if drawn is None:
        drawn = rng.standard_normal((len(block.symbols), n))
        return np.where(signs, signs * np.abs(drawn), drawn)
    if block.table is None:
        return drawn
    table = block.table
    discrete, patterns = label_patterns(table)
    chosen = rng.permutation(np.arange(n) % len(patterns))
    rows = np.array([rng.choice(patterns[k]) for k in chosen], dtype=int)
    spread = np.where(table.std(axis=0) > 0, table.std(axis=0), 1.0)[:, None]
    drawn = table[rows].T
    spread_out = drawn + 0.5 * spread * rng.standard_normal(drawn.shape)
    spread_out = np.where(signs, signs * np.abs(spread_out), spread_out)
    return np.where(discrete[:, None], drawn, spread_out)


def label_patterns(table: Array) -> tuple[Array, list[Array]]:
    """Which columns of a data set hold 0 and 1 only, and the rows of each distinct pattern of these, however rare."""
    discrete = np.asarray(np.isin(table, (0.0, 1.0)).all(axis=0))
    _, which = np.unique(table[:, discrete], axis=0, return_inverse=True)
    which = which.ravel()
    return discrete, [np.flatnonzero(which == k) for k in range(which.max() + 1)]


def pattern_count(loss: Loss) -> int:
    """How many distinct patterns of 0/1 columns the data have: each must get its share of the points."""
    return max([len(label_patterns(b.table)[1]) for b in loss.blocks if b.table is not None], default=1)


class Probe:
    """Gradients of a loss at random generic points; digits: decimal precision (None for float64)."""

    def __init__(self, loss: Loss, digits: int | None = None) -> None:
        self.loss, self.digits = loss, digits
        self.inputs = (*loss.theta, *loss.z, *(s for s in loss.distribution_parameters if s not in loss.z))
        self.tape = Tape([loss.expression], self.inputs, digits)
        self.sure = not any(
            not extra.is_Integer if op == "power" else op == "call" and not getattr(extra, "kinked", False)
            for op, _, _, extra in self.tape.steps
        )

    def points(
        self, n: int, rng: np.random.Generator, theta: Array | None = None, *, as_drawn: bool = False
    ) -> tuple[Array, Array]:
        """theta (D, n) and the remaining inputs, generic and at several scales; theta may be given, shape (D,).

        as_drawn: data from their law itself (rows of a data set), not generic values of their symbols.
        """
        values = distribution_values(self.loss, rng)
        if theta is None:
            theta = rng.standard_normal((self.loss.dimension, n)) * rng.choice([0.4, 1.0, 1.7], n)
        else:
            theta = np.repeat(theta[:, None], n, axis=1)
        drawn = [b.sample(n, rng, values) if as_drawn else None for b in self.loss.blocks]
        rest = [
            d if d is not None else generic(b, n, rng, values) for d, b in zip(drawn, self.loss.blocks, strict=True)
        ]
        rest += [np.full((1, n), values[s]) for s in self.inputs[len(theta) + sum(len(r) for r in rest) :]]
        return theta, np.concatenate(rest) if rest else np.zeros((0, n))

    def gradients(
        self,
        n: int,
        rng: np.random.Generator,
        theta: Array | None = None,
        *,
        as_drawn: bool = False,
        shrink: float | None = None,
    ) -> tuple[Array, Array]:
        """theta (D, m) and d loss/d theta (D, m) at the m <= n points where they are finite; shrink: with theta times
        that, and only where rounding leaves them many digits."""
        t, z = self.points(n, rng, theta, as_drawn=as_drawn)
        t = t if shrink is None else t * shrink
        values = np.concatenate([t, z])
        if self.digits is not None:
            with mpmath.workdps(self.digits):
                values = np.vectorize(mpmath.mpf, otypes=[object])(values)
                g = self.tape.gradient(values, len(t))[0]
            return values[: len(t)], g
        g = self.tape.gradient(values, len(t))[0]
        sizes = np.abs(g).max(axis=0)
        usual = np.median(sizes[np.isfinite(sizes)]) if np.isfinite(sizes).any() else 1.0
        good = sizes < 1e12 * max(1.0, float(usual))
        if shrink is not None and not self.sure:
            good &= self._known(values, g)
        return t[:, good], g[:, good]

    def _known(self, values: Array, g: Array) -> Array:
        """Where gradients g keep digits though functions are off by a little."""
        exact, self.tape.arithmetic = self.tape.arithmetic, Shaken(SHAKE)
        try:
            other = self.tape.gradient(values, len(g))[0]
        finally:
            self.tape.arithmetic = exact
        with np.errstate(all="ignore"):
            return np.linalg.norm(other - g, axis=0) <= KNOWN * np.linalg.norm(g, axis=0)


def constraints(probe: Probe, rng: np.random.Generator, *, as_drawn: bool = False) -> Array:
    """Rows of the linear system for (A row-major, b): <g, A theta + b> = 0, each scaled to unit length; zero gradients
    dropped, and those that rounding could have made, in whose place come others of smaller parameters."""
    d = probe.loss.dimension
    wanted = (d * (d + 1) + 30) * min(pattern_count(probe.loss), 6)
    parts, found = [], 0
    for shrink in SHRUNK:
        theta, g = probe.gradients(wanted, rng, as_drawn=as_drawn, shrink=shrink)
        norm = np.linalg.norm(g, axis=0)
        keep = norm > 1e-9 * float(norm.max(initial=0.0))
        theta, g = theta[:, keep], g[:, keep] / norm[keep]
        parts.append(np.concatenate([np.einsum("in,jn->nij", g, theta).reshape(len(g.T), d * d), g.T], axis=1))
        found += len(parts[-1])
        if probe.sure or found >= wanted // 2:
            break
    rows = np.concatenate(parts)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def null_vectors(rows: Array, unknowns: int, tolerance: float = 1e-8) -> Array:
    """Orthonormal rows spanning the null space, by absolute tolerance on singular values (rows have unit length)."""
    if not len(rows):
        return np.eye(unknowns)
    _, s, vt = np.linalg.svd(rows, full_matrices=True)
    return vt[int((s > tolerance).sum()) :]


def nullity(rows: Array, unknowns: int, tolerance: float = 1e-8) -> int:
    """Dimension of the null space by the same rule; from the Gram matrix where its eigenvalues leave no doubt."""
    if not len(rows):
        return unknowns
    values = np.linalg.eigvalsh(rows.T @ rows)
    if not np.any((values > 1e-13) & (values < 1e-9)):
        return int((values <= 1e-13).sum())
    return unknowns - int((np.linalg.svd(rows, compute_uv=False) > tolerance).sum())


def residual(
    loss: Loss, fields: Sequence[AffineField], rng: np.random.Generator, digits: int = 40, points: int = 12
) -> float:
    """Largest |<g, A theta + b>| / (|g| |A theta + b|) of some fields over fresh points at high precision."""
    if not fields:
        return 0.0
    probe = Probe(loss, digits)
    theta, g = probe.gradients(max(points, 3 * min(pattern_count(loss), 40)), rng)
    usable = [n for n in range(theta.shape[1]) if all(isinstance(c, (mpmath.mpf, int)) for c in g[:, n])]
    worst, d = mpmath.mpf(0), loss.dimension
    with mpmath.workdps(digits):
        for field in fields:
            for n in usable:
                v = field.apply(theta[:, n], real)
                size_g = mpmath.sqrt(sum(g[i, n] ** 2 for i in range(d)))
                size_v = mpmath.sqrt(sum(c**2 for c in v))
                if size_g > mpmath.mpf(10) ** (-digits // 2) and size_v:
                    worst = max(worst, abs(sum(g[i, n] * v[i] for i in range(d))) / (size_g * size_v))
    return float(worst)
