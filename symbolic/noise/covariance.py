"""The gradient noise of a loss: its covariance Sigma(theta) for one sample, and the mean gradient.

Polynomial in the data: Sigma = H M H^T from the features, exact. Rows of a data set, and laws in which the gradient is
a polynomial: the average over rows and nodes, exact. Anything else: an average over quasi-random points of the law,
marked as an estimate (docs/theory.md eq. (6.1)).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import numpy as np
import sympy as sp

from symbolic.clock import Clock, OutOfTime
from symbolic.errors import InputError
from symbolic.evaluation.tape import Tape
from symbolic.noise import drift as laws
from symbolic.noise.data_points import DataPoints, Way, data_points, way
from symbolic.problem.base_distribution import numbers
from symbolic.problem.features import Features, features
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, Rates, require_sgd
from symbolic.problem.sampling import factorise

Array = np.ndarray
Source = Literal["features", "dataset", "nodes", "samples", "unknown"]
WRITTEN = 20_000
"""Work (products of coefficients) up to which Tr[Sigma A] is written out as an expression."""
NUDGE = 1e-3
"""Relative change of theta by which the size of the terms of Sigma's factor is seen."""
ROUNDING = 1e-13
"""Share of that size that may be rounding."""
BRIEF = 250
"""Features times operations in their coefficients up to which it is shown unasked."""


class Noise:
    """Sigma and the mean gradient of a loss, as numbers at any theta and, when small, as expressions.

    source says how they are computed: "features", "dataset" and "nodes" are exact, "samples" is an average over
    quasi-random points of a fixed seed (`trace_error`), "unknown" means that the law has neither enough moments nor
    samples. Symbols in the laws take the numbers of `values`.
    """

    def __init__(self, loss: Loss, values: dict[sp.Symbol, float] | None = None) -> None:
        self.loss = loss
        self.values = values or {}

    @cached_property
    def features(self) -> Features | None:
        """The loss as a polynomial in the data, if it is one, in the numbers that its symmetries are exact for."""
        return features(self.loss, exact=True)

    def read_within(self, clock: Clock) -> None:
        """Look for the features while the clock allows; a loss that takes longer counts as none, its average as one
        over rows or samples."""
        try:
            with clock.part("noise", 0.3):
                self.features  # noqa: B018 - kept
        except OutOfTime:
            self.__dict__["features"] = None

    @cached_property
    def source(self) -> Source:
        """How Sigma is computed."""
        if self.features is not None:
            return "features"
        if self.loss.population:
            return "dataset"
        if self._way is None:
            return "unknown"
        return "nodes" if self._way.exact else "samples"

    @property
    def exact(self) -> bool:
        """Whether Sigma is, up to rounding."""
        return self.source in ("features", "dataset", "nodes")

    @cached_property
    def _way(self) -> Way | None:
        return way(self.loss)

    @property
    def population(self) -> int | None:
        """Rows of the data set that SGD draws from; None for fresh samples."""
        return self.loss.population

    def rates(self, sgd: SGD | None, order: int = 1, numeric: bool = False) -> Rates:
        """What a setting means for this noise, exact unless `numeric`; symbols without one. Raises InputError for what
        the formulas do not cover."""
        if sgd is None and not numeric:
            return laws.symbols({s.name for s in (*self.loss.theta, *self.loss.distribution_parameters)}, order)
        sgd = require_sgd("sgd", sgd)
        laws.refuse(sgd, order, numeric)
        return self._rates(sgd, exact=not numeric)

    def _rates(self, sgd: SGD, exact: bool) -> Rates:
        return sgd.rates(self.loss, exact)

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """(E m, Cov m) of the features as floats, shapes (K,) and (K, K)."""
        f = self.features
        assert f is not None
        if all(b.size for b in f.blocks) or not self.loss.distribution_parameters:
            return f.numeric_moments()
        mean = numbers(f.mean, self.values)
        return mean, numbers(f.covariance.tolist(), self.values).reshape(len(mean), len(mean))

    @cached_property
    def _root(self) -> Array:
        """R with R R^T = Cov m, (K, rank)."""
        return factorise(self.moments[1])

    @cached_property
    def _feature_tape(self) -> Tape:
        f = self.features
        assert f is not None
        inputs = (*self.loss.theta, *self.loss.distribution_parameters)
        return Tape([*f.reduced, f.offset], inputs, definitions=f.definitions)

    @cached_property
    def points(self) -> DataPoints:
        """What is averaged over where there are no features."""
        assert self._way is not None
        return data_points(self.loss, self._way, self.values)

    @cached_property
    def _loss_tape(self) -> Tape:
        return Tape([self.loss.expression], (*self.loss.theta, *self.loss.z, *self._extra))

    @property
    def _extra(self) -> tuple[sp.Symbol, ...]:
        return tuple(s for s in self.loss.distribution_parameters if s not in self.loss.z)

    def jacobian(self, theta: Array) -> Array:
        """H(theta) with the gradient of the constant last: shape (D, K + 1)."""
        inputs = np.array(
            [*np.asarray(theta, dtype=float), *(self.values.get(s, np.nan) for s in self.loss.distribution_parameters)]
        )
        return self._feature_tape.gradient(inputs[:, None], len(theta))[:, :, 0].T

    def per_sample(self, theta: Array, most: int | None = None) -> tuple[Array, Array]:
        """Gradients at theta for the points averaged over, or for `most` of them, (D, n), and their weights (n,)."""
        points = self.points.fewer(most)
        draws = points.at
        extra = np.array([[self.values.get(s, np.nan)] for s in self._extra]).reshape(-1, 1)
        inputs = np.concatenate(
            [
                np.repeat(np.asarray(theta, dtype=float)[:, None], draws.shape[1], 1),
                draws,
                np.repeat(extra, draws.shape[1], 1),
            ]
        )
        return self._loss_tape.gradient(inputs, len(theta))[0], points.weights

    def trace_error(self, theta: Array, form: Callable[[Array], Array]) -> float:
        """Standard error of Tr[Sigma A], 0 where it is exact; form: vectors (n, D) to v^T A v, (n,)."""
        if self.exact or self.points.sets is None:
            return 0.0
        (g, weights), sets = self.per_sample(self.loss.points(theta)), self.points.sets
        share = np.bincount(sets, weights)
        mean = np.array([np.bincount(sets, weights * row) / share for row in g])
        each = np.bincount(sets, weights * form(g.T)) / share - form(mean.T)
        return float(each.std(ddof=1) / np.sqrt(len(each)))

    def factor(self, theta: Array, most: int | None = None) -> tuple[Array, Array]:
        """(gbar, R) with Sigma = R R^T; shapes (D,) and (D, rank). most: rows or draws to average over."""
        loose = [s for s in self.loss.distribution_parameters if s not in self.values]
        if loose:
            raise InputError(f"noise: the laws need numbers here; got symbols {loose}. Build the loss with numbers.")
        if self.source == "unknown":
            raise InputError(
                f"noise: Sigma needs a law that can be averaged over; got {self.loss.name} with bare moments. Use a law"
                " that can be sampled."
            )
        if self.source == "features":
            h = self.jacobian(theta)
            return h[:, :-1] @ self.moments[0] + h[:, -1], h[:, :-1] @ self._root
        g, weights = self.per_sample(theta, most)
        mean = g @ weights
        return mean, (g - mean[:, None]) * np.sqrt(weights)

    def given(self, values: dict[sp.Symbol, float]) -> Noise:
        """The same with numbers for symbols in the laws."""
        return Noise(self.loss, values)

    def at_point(self, theta: Any, where: str) -> tuple[Array, Array, Array, Array]:
        """(theta, gbar, R, R's `rounding`) of one point, given as numbers (D,) or as `Loss.pack` takes it, for a
        prediction there; rows of R that are nothing but rounding are 0. Raises InputError where the loss has no finite
        gradients, or their squares or theta's overflow."""
        point = self.loss.point(theta)
        with np.errstate(all="ignore"):
            mean, root = self.factor(point)
            finite = np.isfinite([point @ point, mean @ mean, np.sum(root**2)]).all()
        if not finite:
            raise InputError(
                f"{where}: the loss's gradients must be finite at theta, and so the squares of both; got others. Move"
                " theta."
            )
        rounding = self.rounding(point, mean, root)
        return point, mean, np.where(_rows(root)[:, None] > rounding[:, None], root, 0.0), rounding

    def rounding(self, theta: Array, mean: Array, root: Array, most: int | None = None) -> Array:
        """How much of every row of R = root may be rounding, (D,): that of the terms it is summed from, and of theta,
        which show in how far it moves with theta. mean, root: of `factor`."""
        nudge = 1 + NUDGE * np.random.default_rng(7).standard_normal(len(theta))
        with np.errstate(all="ignore"):
            moved = _rows(self.factor(theta * nudge, most)[1] - root) / NUDGE
        return ROUNDING * (np.abs(mean) + _rows(root) + np.where(np.isfinite(moved), moved, 0.0))

    def factors(self, thetas: Array) -> tuple[Array, Array]:
        """`factor` at many points, thetas (n, D): gbar (n, D) and R (n, D, rank)."""
        thetas = np.asarray(thetas, dtype=float)
        n, d = thetas.shape
        if self.source == "features" and not self.loss.distribution_parameters:
            mean, h = self.moments[0], self._feature_tape.gradient(np.ascontiguousarray(thetas.T), d)
            noise = np.einsum("kdn,kr->ndr", h[:-1], self._root, optimize=True)
            return np.einsum("kdn,k->nd", h[:-1], mean) + h[-1].T, noise
        if self.source not in ("features", "unknown") and not self._extra:
            draws, weights = self.points.at, self.points.weights
            rows = draws.shape[1]
            inputs = np.concatenate([np.repeat(thetas.T, rows, axis=1), np.tile(draws, n)])
            g = self._loss_tape.gradient(inputs, d)[0].reshape(d, n, rows).transpose(1, 0, 2)
            mean = g @ weights
            return mean, (g - mean[:, :, None]) * np.sqrt(weights)
        pairs = [self.factor(t) for t in thetas]
        return np.array([m for m, _ in pairs]), np.array([r for _, r in pairs])

    def sigma(self, theta: Array) -> Array:
        """Sigma(theta) for one sample: (D, D), or (..., D, D) for theta of shape (..., D)."""
        theta = self.loss.points(theta)
        if theta.ndim > 1:
            flat = [self.sigma(t) for t in theta.reshape(-1, theta.shape[-1])]
            return np.array(flat).reshape(*theta.shape, theta.shape[-1])
        _, r = self.factor(theta)
        return r @ r.T

    def mean_gradient(self, theta: Array) -> Array:
        """gbar(theta) = grad L: same shape as theta, (..., D)."""
        theta = self.loss.points(theta)
        if theta.ndim > 1:
            return np.array([self.mean_gradient(t) for t in theta.reshape(-1, theta.shape[-1])]).reshape(theta.shape)
        return self.factor(theta)[0]

    @cached_property
    def _gradients(self) -> list[dict[int, sp.Expr]]:
        """Non-zero entries of grad c_k, and of grad c_0 last."""
        f = self.features
        assert f is not None
        out = []
        for c in (*f.coefficients, f.constant):
            free = c.free_symbols
            out.append({i: d for i, s in enumerate(self.loss.theta) if s in free and (d := sp.diff(c, s)) != 0})
        return out

    def brief(self, a: sp.Matrix) -> bool:
        """Whether Tr[Sigma A] is short enough to read."""
        if self.source != "features" or self.features is None:
            return a.is_zero_matrix is True
        f, work = self.features, 0
        for c in f.coefficients:
            work += c.count_ops()
            if len(f.exponents) * work > BRIEF:
                return False
        return True

    def _quadratic(self, a: sp.Matrix, weight: dict[tuple[int, int], sp.Expr]) -> sp.Expr | None:
        """sum_kl weight_kl grad c_k^T A grad c_l, or None when it is too long to write."""
        entries = [(i, j, a[i, j]) for i in range(a.rows) for j in range(a.cols) if a[i, j] != 0]
        g = self._gradients
        if sum(sum(i in g[k] and j in g[m] for i, j, _ in entries) for k, m in weight) > WRITTEN:
            return None
        terms: list[Any] = []
        for (k, m), w in weight.items():
            inner = sp.Add(*(c * g[k][i] * g[m][j] for i, j, c in entries if i in g[k] and j in g[m]))
            terms.append(w * inner)
        total: Any = sp.Add(*terms)
        if total.count_ops() < 300:
            total = sp.factor(total)
        return total

    def trace(self, a: sp.Matrix) -> sp.Expr | None:
        """Tr[Sigma A] as an expression in theta and the law's symbols; None when there is none that is fit to write."""
        if a.is_zero_matrix:
            return sp.S.Zero
        if self.source != "features" or self.features is None or len(self.features.exponents) > 400:
            return None
        m: Any = self.features.covariance
        return self._quadratic(a, {(i, j): m[i, j] for i in range(m.rows) for j in range(m.cols) if m[i, j] != 0})

    def mean_form(self, a: sp.Matrix) -> sp.Expr | None:
        """gbar^T A gbar as an expression; None as for `trace`."""
        if a.is_zero_matrix:
            return sp.S.Zero
        if self.source != "features" or self.features is None:
            return None
        mean = [*self.features.mean, sp.S.One]
        return self._quadratic(a, {(i, j): p * q for i, p in enumerate(mean) for j, q in enumerate(mean) if p * q != 0})

    def mean_dot(self, b: sp.Matrix) -> sp.Expr | None:
        """b^T gbar as an expression; None as for `trace`."""
        if b.is_zero_matrix:
            return sp.S.Zero
        if self.source != "features" or self.features is None:
            return None
        mean = [*self.features.mean, sp.S.One]
        return sp.Add(*(m * b[i] * d for m, g in zip(mean, self._gradients, strict=True) for i, d in g.items()))


def _rows(matrix: Array) -> Array:
    """The norm of every row."""
    return np.sqrt(np.sum(matrix**2, axis=1))
