"""The class of a charge under noise: which eigenspaces of its generator carry gradient noise (docs/theory.md eq.
(4.1)).

At a generic theta it is decided exactly: the range of Sigma = H M H^T is that of H M, whose entries are known mod p at
a random theta (and random values of symbols in the laws); on an irreducible factor f of A's characteristic polynomial
the noise either vanishes for all of f's roots or for none.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from typing import Literal

import numpy as np
import sympy as sp

from symbolic import clock
from symbolic.algebra.affine import AffineField
from symbolic.algebra.number_field import has_irrational, rational
from symbolic.evaluation import random_points as probing
from symbolic.evaluation.lie_brackets import jacobian
from symbolic.evaluation.prime_field import PRIME, JetArithmetic, Unsupported, modular
from symbolic.evaluation.tape import Tape
from symbolic.noise.covariance import Noise
from symbolic.noise.eigenspaces import Eigenspaces
from symbolic.problem.loss import Loss

Array = np.ndarray
Class = Literal["convergent", "divergent", "frozen"]
Row = tuple[tuple[int, ...], tuple[sp.Rational, ...]]
NUMBERS = 4_000_000
"""Entries of per-sample gradients up to which all samples are used."""
TRIES = 200
"""Random thetas tried until the roots in the loss exist mod p."""
ENDLESS = "without end"
"""How far a divergent charge goes, in words."""


def verdict(up: str, down: str) -> tuple[Class, str]:
    """(class, reason) from what carries noise on the positive and on the negative eigenspaces; empty where nothing
    does."""
    if up and down:
        return (
            "convergent",
            f"noise on eigenspaces of both signs (+: {up}; -: {down}): they balance at a finite equilibrium",
        )
    if up:
        return "divergent", f"noise on eigenspaces of positive sign only ({up}): the charge grows {ENDLESS}"
    if down:
        return "divergent", f"noise on eigenspaces of negative sign only ({down}): the charge falls {ENDLESS}"
    return "frozen", "no noise on the range of A: the charge stays"


SILENT: tuple[Class, str] = ("frozen", "conserved: its gradient is 0, so neither the loss nor its noise moves it")
TRANSLATION: tuple[Class, str] = ("frozen", "a translation: the charge is linear, so noise has no mean effect on it")


def classify(spaces: Eigenspaces, push: Array) -> tuple[Class, str]:
    """(class, reason) of a symmetric generator at one theta from the noise on its eigenvectors: "convergent",
    "divergent" or "frozen"."""
    if not spaces.fastest:
        return TRANSLATION
    up, down = (float(push[sign * spaces.values > 0].sum()) for sign in (1, -1))
    return verdict(f"{up:.3g}" if up else "", f"{down:.3g}" if down else "")


def blocks(field: AffineField) -> list[Row]:
    """The connected blocks of A: (indices, entries row-major), each once."""
    entry = {index: rational(c) for index, c in field.A.items()}
    return [(m, tuple(entry.get((i, j), sp.S.Zero) for i in m for j in m)) for m in field.blocks]


@cache
def _factors(entries: tuple[sp.Rational, ...], n: int) -> list[tuple[sp.Matrix, bool, bool]]:
    """Per irreducible factor f of the characteristic polynomial: (a multiple of the projection on ker f(A), has
    positive, negative roots)."""
    a, x = sp.Matrix(n, n, entries), sp.Symbol("x")
    parts = [sp.Poly(f, x) for f, _ in sp.factor_list(a.charpoly(x).as_expr(), x)[1]]
    out = []
    for k, f in enumerate(parts):
        projection = sp.eye(n)
        for m, other in enumerate(parts):
            if m != k:
                value = sp.zeros(n, n)
                for c in other.all_coeffs():
                    value = value * a + c * sp.eye(n)
                projection = projection * value
        zero = f.eval(0) == 0
        positive, negative = f.count_roots(0, None) - zero, f.count_roots(None, 0) - zero
        if positive or negative:
            out.append((projection, bool(positive), bool(negative)))
    return out


class GenericNoise:
    """The noise of a loss at a generic theta, for generic values of symbols in its laws."""

    def __init__(self, loss: Loss, noise: Noise) -> None:
        self.loss, self.noise = loss, noise
        self.owner = [p.name for p in loss.parameters for _ in p.symbols]

    @cached_property
    def range(self) -> Array | None:
        """H M mod p at a random theta, (D, K): its columns span the range of Sigma; None where Sigma is not known in
        closed form."""
        f = self.noise.features
        if f is None or any(b.size for b in f.blocks) or not f.exponents:
            return None
        rng = np.random.default_rng(31)
        try:
            laws = [modular(sp.Integer(v)) for v in rng.integers(1, PRIME, len(self.loss.distribution_parameters))]
            m = _residues(f.covariance, self.loss.distribution_parameters, laws)
            names = (*self.loss.theta, *self.loss.distribution_parameters)
            tape = Tape(f.reduced, names, arithmetic=JetArithmetic(1), definitions=f.definitions)
            for _ in range(TRIES):
                point = [*(int(v) for v in rng.integers(1, PRIME, self.loss.dimension)), *laws]
                h = jacobian(tape, point, self.loss.dimension)
                if h is not None:
                    return _product(h.T, m)
        except Unsupported:
            pass
        return None

    def _exact(self, field: AffineField, noise: Array) -> tuple[set[str], set[str]]:
        """Parameters whose noise lies on the positive, and on the negative eigenspaces."""
        up: set[str] = set()
        down: set[str] = set()
        for members, entries in blocks(field):
            clock.check()
            names = {self.owner[i] for i in members}
            for projection, positive, negative in _factors(entries, len(members)):
                touched = _product(
                    np.array([[modular(c) for c in row] for row in projection.tolist()]), noise[list(members)]
                )
                if touched.any():
                    up |= names if positive else set()
                    down |= names if negative else set()
        return up, down

    @cached_property
    def roots(self) -> list[tuple[Array, Array]]:
        """R with Sigma = R R^T at two generic points, and what of it is rounding, with plausible numbers for symbols in
        the laws; of a large loss over few samples, which carry noise where all do."""
        rng, noise = np.random.default_rng(5), self.noise
        if self.loss.distribution_parameters and not noise.values:
            noise = noise.given(probing.distribution_values(self.loss, rng))
        most, out = max(64, NUMBERS // self.loss.dimension), []
        for theta in rng.standard_normal((2, self.loss.dimension)):
            mean, root = noise.factor(theta, most)
            out.append((root, noise.rounding(theta, mean, root, most)))
        return out

    def _numeric(self, field: AffineField, root: Array, rounding: Array) -> tuple[set[str], set[str]]:
        spaces = Eigenspaces.of(field)
        push = spaces.push(root, rounding)
        noisy = (spaces.home[push * sign * spaces.values > 0] for sign in (1, -1))
        up, down = ({self.owner[i] for i in spaces.indices[np.isin(spaces.home, blocks)]} for blocks in noisy)
        return up, down

    def classify(self, field: AffineField) -> tuple[Class | None, str]:
        """Class of a symmetric generator, and why; None when the law cannot be averaged over."""
        if field.is_translation:  # of one entry alone: the loss does not depend on it
            return SILENT if len(field.b) == 1 else TRANSLATION
        if self.range is not None and not has_irrational(field.A):
            found = [self._exact(field, self.range)]
        else:
            try:
                found = [self._numeric(field, *r) for r in self.roots if np.isfinite(r[0]).all()]
            except ValueError as error:
                return None, str(error)
            if not found:
                return None, "Sigma is not finite at the generic points tried"
        order = {p.name: k for k, p in enumerate(self.loss.parameters)}
        up, down = (sorted(set().union(*(f[side] for f in found)), key=order.__getitem__) for side in (0, 1))
        return verdict(", ".join(up), ", ".join(down))


def _residues(matrix: sp.Matrix, symbols: tuple[sp.Symbol, ...], values: list[int]) -> Array:
    """A matrix of numbers and law symbols mod p."""
    known: dict[sp.Expr, int] = {}
    given: Mapping[sp.Symbol, sp.Integer] = {s: sp.Integer(v) for s, v in zip(symbols, values, strict=True)}
    number = JetArithmetic(0).number
    for e in set(matrix):
        known[e] = number(e.xreplace(given) if e.free_symbols else e)
    return np.array([[known[matrix[i, j]] for j in range(matrix.cols)] for i in range(matrix.rows)], dtype=np.int64)


def _product(a: Array, b: Array) -> Array:
    """a @ b mod p."""
    out = np.zeros((a.shape[0], b.shape[1]), dtype=np.int64)
    for k in range(a.shape[1]):
        clock.check()
        out = (out + a[:, k, None] * b[None, k, :]) % PRIME
    return out
