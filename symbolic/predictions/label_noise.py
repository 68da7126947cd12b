"""Label noise: some data variables are drawn afresh at every step, while the others are averaged over.

Law of total covariance, for one sample and with v the redrawn variables, r the rest: Sigma = E_r[Cov_v(g | r)] +
Cov_r(E_v[g | r]). Gradient descent on N rows whose v are redrawn independently each step has gradient covariance
E_r[Cov_v(g | r)]/N, so it is SGD with batch_size = N under the first part alone. A minibatch of S rows drawn without
replacement has the first part over S and (N - S)/(N - 1) of the second over S.

Polynomial in the data: g = H m, m_k = r_k v_k with independent factors, so the parts are H M H^T with
    M_kl = E[r_k r_l] Cov(v_k, v_l)     and     M_kl = Cov(r_k, r_l) E[v_k] E[v_l].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import sympy as sp

from symbolic.errors import InputError, instance, unknown
from symbolic.noise.covariance import Noise, Source
from symbolic.noise.data_points import MOST_NODES, node_counts, node_grid
from symbolic.noise.sign_class import Class, GenericNoise, classify
from symbolic.predictions.charge import Charge
from symbolic.problem.base_distribution import Distribution, numbers
from symbolic.problem.features import Features
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, Rates

Array = np.ndarray
Origin = Literal["label", "rest"]
ORIGINS: tuple[Origin, ...] = ("label", "rest")
DRAWS = 256
"""Draws of a law that is neither a data set nor Bernoulli, where the loss is not polynomial in the data."""
POINTS = 4096
"""Most values that several variables are gone through together; one data set always is."""
PAIRS = 65_536
"""Pairs of a value of the rest and a draw of the redrawn aimed at."""


@dataclass(frozen=True)
class OriginFeatures(Features):
    """Features whose covariance is one part of the total."""

    redrawn: frozenset[sp.Symbol]
    origin: Origin

    @cached_property
    def covariance(self) -> sp.Matrix:
        """M of the part, K x K."""
        chosen, n = [s in self.redrawn for s in self.z], len(self.exponents)

        def side(powers: tuple[int, ...], inside: bool) -> sp.Expr:
            return self.moment(tuple(p if c == inside else 0 for p, c in zip(powers, chosen, strict=True)))

        means = [(side(powers, True), side(powers, False)) for powers in self.exponents]
        out = sp.zeros(n, n)
        for i in range(n):
            for j in range(i, n):
                both = tuple(a + b for a, b in zip(self.exponents[i], self.exponents[j], strict=True))
                drawn, kept = means[i][0] * means[j][0], means[i][1] * means[j][1]
                if self.origin == "label":
                    entry = side(both, False) * (side(both, True) - drawn)
                else:
                    entry = (side(both, False) - kept) * drawn
                out[i, j] = out[j, i] = sp.expand(entry)
        return out

    def numeric_moments(self) -> tuple[Array, Array]:
        """(E m, M of the part) as floats."""
        mean, covariance = numbers(self.mean, {}), numbers(self.covariance.tolist(), {})
        return mean, covariance.reshape(len(mean), len(mean))


class OriginNoise(Noise):
    """One part of a loss's gradient noise; the mean gradient is the whole loss's.

    source: "features", "dataset" and "nodes" are exact; "samples" averages over a grid of draws with a fixed seed, on
    which the parts add up exactly.
    """

    def __init__(
        self, loss: Loss, redrawn: frozenset[sp.Symbol], origin: Origin, values: dict[sp.Symbol, float] | None = None
    ) -> None:
        super().__init__(loss, values)
        self.redrawn = redrawn
        self.origin: Origin = origin

    @cached_property
    def features(self) -> Features | None:
        """The loss as a polynomial in the data, with the part's covariance."""
        f = super().features
        if f is None:
            return None
        return OriginFeatures(f.z, f.blocks, f.exponents, f.definitions, f.reduced, f.offset, self.redrawn, self.origin)

    @cached_property
    def source(self) -> Source:
        """How the part is computed."""
        if self.features is not None:
            return "features"
        groups = (False, True)
        if all(self._countable(g) for g in groups):
            return "dataset"
        if all(self._countable(g) or self._nodes(g) for g in groups):
            return "nodes"
        return "samples" if all(b.sampled for b in self.loss.used) else "unknown"

    @property
    def population(self) -> int | None:
        """Rows that the rest is drawn from, where it is one data set; None for the redrawn part, which is fresh at
        every step."""
        used = self._blocks(False)
        return used[0].size if self.origin == "rest" and len(used) == 1 else None

    def _rates(self, sgd: SGD, exact: bool) -> Rates:
        """Sampling without replacement thins only the rest."""
        fresh = self.origin == "rest" and self.population is None
        return super()._rates(sgd, exact) if fresh else sgd.rates_of(self.population, exact)

    def _blocks(self, inside: bool) -> list[Distribution]:
        free = self.loss.expression.free_symbols
        return [b for b in self.loss.blocks if any((s in self.redrawn) == inside and s in free for s in b.symbols)]

    def _countable(self, inside: bool) -> bool:
        """Whether a group of variables has few enough values to go through them all."""
        sizes = [b.atom_count for b in self._blocks(inside)]
        alone = len(sizes) == 1 and sizes[0] > 0
        return alone or (0 not in sizes and float(np.prod([float(k) for k in sizes])) <= POINTS)

    @cached_property
    def _counts(self) -> dict[sp.Symbol, int]:
        return node_counts(self.loss)

    def _nodes(self, inside: bool) -> dict[sp.Symbol, int]:
        """Nodes of a group's variables, where all of them have few enough together; else none."""
        free = self.loss.expression.free_symbols
        group = [s for b in self._blocks(inside) for s in b.symbols if s in free and (s in self.redrawn) == inside]
        counts = {s: self._counts.get(s, 0) for s in group}
        together = int(np.prod([float(n) for n in counts.values()]))
        return counts if 0 < together <= MOST_NODES[True] else {}

    @cached_property
    def _grid(self) -> tuple[Array, Array, Array, Array]:
        """Values of z for the rest (len(z), R) and for the redrawn (len(z), V), zero elsewhere, and their weights (R,),
        (V,)."""
        rng = np.random.default_rng(11)
        rest, weights = self._points(False, DRAWS, rng)
        return rest, weights, *self._points(True, max(DRAWS // 8, min(DRAWS, PAIRS // len(weights))), rng)

    def _points(self, inside: bool, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Every value of a group with its probability where there are few, or nodes, else n draws."""
        z, countable = self.loss.z, self._countable(inside)
        if not countable and (nodes := self._nodes(inside)):
            return node_grid(self.loss, nodes, self.values)
        out, weights = (np.zeros((len(z), 1)), np.ones(1)) if countable else (np.zeros((len(z), n)), np.full(n, 1 / n))
        for block in self._blocks(inside):
            if countable:
                values, chance = block.atoms(self.values)
                values, chance = np.tile(values, out.shape[1]), np.tile(chance, out.shape[1])
                out, weights = (np.repeat(a, values.shape[1] // out.shape[1], axis=-1) for a in (out, weights))
                weights = weights * chance
            else:
                values: Any = block.sample(n, rng, self.values)
            for k, s in enumerate(block.symbols):
                if (s in self.redrawn) == inside:
                    out[z.index(s)] = values[k]
        return out, weights

    def factor(self, theta: Array, most: int | None = None) -> tuple[Array, Array]:
        """(gbar, R) with R R^T the part of Sigma; shapes (D,) and (D, rank). most: rows or draws to average over, where
        they are no grid."""
        if self.source in ("features", "unknown") or any(
            s not in self.values for s in self.loss.distribution_parameters
        ):
            return super().factor(theta, most)
        rest, weights, drawn, chances = self._grid
        r, v, d = len(weights), len(chances), len(theta)
        data = np.repeat(rest, v, axis=1) + np.tile(drawn, r)
        extra = np.array([[self.values[s]] for s in self._extra]).reshape(-1, 1)
        inputs = np.concatenate([np.repeat(a, r * v, 1) for a in (np.asarray(theta, dtype=float)[:, None], extra)])
        inputs = np.concatenate([inputs[:d], data, inputs[d:]])
        g = self._loss_tape.gradient(inputs, d)[0].reshape(d, r, v)
        inner = g @ chances
        mean = inner @ weights
        if self.origin == "rest":
            return mean, (inner - mean[:, None]) * np.sqrt(weights)
        spread = (g - inner[:, :, None]) * np.sqrt(weights[:, None] * chances)
        return mean, spread.reshape(d, -1)

    def factors(self, thetas: Array) -> tuple[Array, Array]:
        """`factor` at many points, thetas (n, D): gbar (n, D) and R (n, D, rank)."""
        if self.source == "features":
            return super().factors(thetas)
        pairs = [self.factor(t) for t in np.asarray(thetas, dtype=float)]
        return np.array([m for m, _ in pairs]), np.array([r for _, r in pairs])

    def given(self, values: dict[sp.Symbol, float]) -> OriginNoise:
        """The same part with numbers for symbols in the laws."""
        return OriginNoise(self.loss, self.redrawn, self.origin, values)

    @cached_property
    def _other(self) -> OriginNoise:
        """The other part."""
        label, rest = ORIGINS
        return OriginNoise(self.loss, self.redrawn, rest if self.origin == label else label, self.values)

    def rounding(self, theta: Array, mean: Array, root: Array, most: int | None = None) -> Array:
        """Of both parts: they come from the same gradients."""
        other = self._other.factor(theta, most)
        return super().rounding(theta, mean, root, most) + super(OriginNoise, self._other).rounding(theta, *other, most)


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """The gradient noise of a loss split in two: label = E[Cov(g | rest)], from the redrawn variables, and rest.

    Attributes
    ----------
    loss
        The loss.
    variables
        The redrawn entries.
    label, rest
        Both parts, E[Cov(g | rest)] and Cov(E[g | rest]), with sigma(theta), trace(A), mean_gradient(theta), ... They
        add up to Sigma.
    """

    loss: Loss
    variables: tuple[sp.Symbol, ...]
    label: OriginNoise
    rest: OriginNoise

    def sigma(self, theta: Array) -> tuple[Array, Array]:
        """Both parts of Sigma, for one sample.

        Parameters
        ----------
        theta
            Points, (..., D).

        Returns
        -------
        tuple of two ndarray (..., D, D)
            Of the label, and of the rest.
        """
        return self.label.sigma(theta), self.rest.sigma(theta)

    def share(self, theta: Array) -> float:
        """Trace of the label part over Tr Sigma; 0 without noise.

        Parameters
        ----------
        theta
            A point, (D,).

        Returns
        -------
        float
        """
        label, rest = (float(np.sum(n.at_point(theta, "share")[2] ** 2)) for n in (self.label, self.rest))
        return label / (label + rest) if label + rest else 0.0

    def charge(self, charge: Charge, origin: Origin = "label") -> Charge:
        """The charge as one part of the noise alone moves it: drift, increment, class and reason at a generic theta.

        Gradient descent on N rows with fresh labels: the part "label" and SGD(batch_size=N).

        Parameters
        ----------
        charge
            A charge of the loss.
        origin
            "label" or "rest".

        Returns
        -------
        Charge
        """
        noise = self._of_origin(origin, charge)
        kind, reason = GenericNoise(self.loss, noise).classify(charge.field)
        return replace(charge, noise=noise, classification=kind, reason=reason)

    def classify_at(self, charge: Charge, theta: Array, origin: Origin = "label") -> tuple[Class, str]:
        """Class of a charge at a point under one part alone; a part below the rounding of Sigma is no noise.

        Parameters
        ----------
        charge
            A charge of the loss.
        theta
            A point, (D,).
        origin
            "label" or "rest".

        Returns
        -------
        tuple of str
            (class, reason).
        """
        noise = self._of_origin(origin, charge)
        root, rounding = noise.at_point(theta, "classify_at")[2:]
        return classify(charge.spaces, charge.spaces.push(root, rounding))

    def _of_origin(self, origin: Origin, charge: Charge) -> OriginNoise:
        if origin not in ORIGINS:
            raise InputError(
                f"LabelNoise: origin must be 'label' or 'rest'; got {origin!r} ({type(origin).__name__}). Name one of"
                " them."
            )
        if (
            instance("LabelNoise", charge, Charge, "needs a charge", "Give one of theory.charges.").loss
            is not self.loss
        ):
            raise InputError(
                f"LabelNoise: the charge must be of the same loss; got {charge.name} of {charge.loss}. Derive it from"
                " this loss."
            )
        return self.label if origin == "label" else self.rest

    def __str__(self) -> str:
        drawn = ", ".join(map(str, self.variables))
        return (
            f"label noise of {self.loss.name}: {drawn} redrawn at every step, the rest averaged over (from"
            f" {self.label.source})"
        )

    __repr__ = __str__


def label_noise(loss: Loss, variables: Any, values: dict[sp.Symbol, float] | None = None) -> LabelNoise:
    """Split the gradient noise by the data variables that are drawn afresh at every step.

    variables: a data symbol, its name, a matrix or array of them, or several of these. They must be independent of the
    rest: columns of one data set, or correlated normal entries, cannot be parted. values: numbers for symbols in the
    laws. Raises ValueError.
    """
    redrawn = frozenset(_symbols(loss, variables))
    if not redrawn & loss.expression.free_symbols:
        raise InputError(
            f"label_noise: a redrawn variable must enter the loss; got {sorted(map(str, redrawn))}. Name one of"
            f" {list(loss.z)}."
        )
    for block in loss.blocks:
        inside = [k for k, s in enumerate(block.symbols) if s in redrawn]
        outside = [k for k in range(len(block.symbols)) if k not in inside]
        if not inside or not outside:
            continue
        if not all(block.independent(i, j) for i in inside for j in outside):
            raise InputError(
                f"label_noise: redrawn variables must be independent of the rest; got {block.symbols[inside[0]]} beside"
                f" {block.symbols[outside[0]]} in one {block.name} law. Give the noise a law of its own."
            )
    label, rest = (OriginNoise(loss, redrawn, origin, values) for origin in ORIGINS)
    return LabelNoise(loss, tuple(s for s in loss.z if s in redrawn), label, rest)


def _symbols(loss: Loss, variables: Any) -> list[sp.Symbol]:
    """The data entries that a user names."""
    if isinstance(variables, str):
        named = [s for s in loss.z if s.name == variables or s.name.split("[")[0] == variables]
        if named:
            return named
    elif isinstance(variables, sp.Symbol):
        if variables in loss.z:
            return [variables]
    elif isinstance(variables, (sp.MatrixBase, sp.NDimArray)):
        return [s for v in sp.flatten(variables) for s in _symbols(loss, v)]
    elif isinstance(variables, Iterable):
        return [s for v in variables for s in _symbols(loss, v)]
    known = {s.name.split("[")[0]: s for s in loss.z}
    raise InputError(unknown("label_noise", variables, known, "data variable of the loss"))
