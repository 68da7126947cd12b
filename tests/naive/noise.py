"""Mean gradient and covariance of the per-sample gradient, by plain averaging over the law of the data."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import sympy as sp

from tests.naive.gradient import gradients


def _floats(values: Any) -> np.ndarray:
    return np.array(values, dtype=object).astype(float)


def sample(loss: Any, n: int, rng: np.random.Generator) -> np.ndarray:
    """n independent samples of the data, shape (n, len(loss.z))."""
    columns = []
    for block in loss.blocks:
        p, shape = block.parameters, (n, len(block.symbols))
        if block.name == "dataset":
            columns.append(np.asarray(block.table)[rng.integers(block.size, size=n)])
        elif block.name == "normal":
            columns.append(rng.multivariate_normal(_floats(p["mean"]), _floats(p["covariance"]), size=n, method="eigh"))
        elif block.name == "uniform":
            columns.append(rng.uniform(_floats(p["low"]), _floats(p["high"]), size=shape))
        elif block.name == "laplace":
            columns.append(rng.laplace(_floats(p["mean"]), _floats(p["scale"]), size=shape))
        elif block.name == "bernoulli":
            columns.append((rng.random(shape) < _floats(p["p"])).astype(float))
        else:
            raise NotImplementedError(f"naive sample: a block of kind {block.name} cannot be drawn.")
    return np.concatenate(columns, axis=1)


def _tensor(rules: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Product of quadrature rules ((n_i, d_i) nodes, (n_i,) weights) as one rule."""
    picks = list(product(*(range(len(w)) for _, w in rules)))
    nodes = np.array([np.concatenate([rules[i][0][k] for i, k in enumerate(pick)]) for pick in picks])
    return nodes, np.array([np.prod([rules[i][1][k] for i, k in enumerate(pick)]) for pick in picks])


def _rule(block: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (m, entries) and weights (m,) of one block, exact for polynomials of degree 2n - 1 per entry."""
    p = block.parameters
    if block.name == "dataset":
        table = np.asarray(block.table, dtype=float)
        return table, np.full(len(table), 1 / len(table))
    if block.name == "normal":
        x, w = np.polynomial.hermite_e.hermegauss(n)
        nodes, weights = _tensor([(x[:, None], w / w.sum())] * len(block.symbols))
        e, v = np.linalg.eigh(_floats(p["covariance"]))
        return _floats(p["mean"]) + nodes @ (v * np.sqrt(np.maximum(e, 0))).T, weights
    if block.name == "uniform":
        x, w = np.polynomial.legendre.leggauss(n)
        low, high = _floats(p["low"]), _floats(p["high"])
        return _tensor([((a + (b - a) * (x + 1) / 2)[:, None], w / 2) for a, b in zip(low, high, strict=True)])
    if block.name == "laplace":
        x, w = np.polynomial.laguerre.laggauss(n)
        x, w = np.concatenate([-x, x]), np.concatenate([w, w]) / 2
        mean, scale = _floats(p["mean"]), _floats(p["scale"])
        return _tensor([((m + b * x)[:, None], w) for m, b in zip(mean, scale, strict=True)])
    if block.name == "bernoulli":
        return _tensor([(np.array([[0.0], [1.0]]), np.array([1 - q, q])) for q in _floats(p["p"])])
    raise NotImplementedError(f"naive quadrature: a block of kind {block.name} has no rule.")


def rule(loss: Any) -> tuple[np.ndarray, np.ndarray]:
    """Samples (m, len(loss.z)) and weights (m,) that average g and g g' exactly.

    The rows of a data set, both values of a Bernoulli entry, and a tensor Gauss rule where the loss is polynomial in
    the other data.
    """
    law = [s for block in loss.blocks if block.name in ("normal", "uniform", "laplace") for s in block.symbols]
    n = 1
    if law:
        numbers = {
            s: sp.Float(0.3 + 0.17 * k) for k, s in enumerate([*loss.theta, *(s for s in loss.z if s not in law)])
        }
        n += sp.Poly(sp.expand(loss.expression.subs(numbers)), *law).total_degree()
    return _tensor([_rule(block, n) for block in loss.blocks]) if len(loss.blocks) > 1 else _rule(loss.blocks[0], n)


def moments(
    loss: Any, theta: np.ndarray, z: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean gradient (D,) and centred covariance Sigma (D, D) of one sample's gradient over weighted samples z."""
    g = gradients(loss, np.asarray(theta, dtype=float), z)
    w = np.full(len(z), 1 / len(z)) if weights is None else weights
    mean = w @ g
    return mean, ((g - mean).T * w) @ (g - mean)


class Noise:
    """Sigma and mean gradient of a loss at any theta, from one fixed rule over the data law."""

    def __init__(self, loss: Any, samples: int = 0, seed: int = 0) -> None:
        """samples: 0 for the exact rule, else a Monte-Carlo sample of that size (loss not polynomial in Gaussian
        data)."""
        self.loss = loss
        self.z, self.weights = (
            (sample(loss, samples, np.random.default_rng(seed)), np.full(samples, 1 / samples))
            if samples
            else rule(loss)
        )

    def mean_gradient(self, theta: np.ndarray) -> np.ndarray:
        """Mean gradient, shape (D,)."""
        return moments(self.loss, theta, self.z, self.weights)[0]

    def sigma(self, theta: np.ndarray) -> np.ndarray:
        """Covariance of one sample's gradient, shape (D, D)."""
        return moments(self.loss, theta, self.z, self.weights)[1]

    def trace(self, theta: np.ndarray, A: np.ndarray) -> float:
        """Tr[Sigma A]."""
        return float(np.sum(self.sigma(theta) * np.asarray(A).T))


def noise_class(noise: Noise, theta: np.ndarray, A: np.ndarray, threshold: float = 1e-9) -> str:
    """ "convergent", "divergent" or "frozen" (docs/theory.md eq. (4.1)): the signs of a_i on which v_i' Sigma v_i > 0,
    A v_i =
    a_i v_i."""
    a, v = np.linalg.eigh(A)
    sigma = noise.sigma(theta)
    s = np.einsum("di,de,ei->i", v, sigma, v)
    noisy = s > threshold * np.trace(sigma) + 1e-25  # rounding errors of a gradient that vanishes are no noise
    signs = {np.sign(x) for x in a[noisy & (np.abs(a) > threshold * np.abs(a).max())]} if np.any(A) else set()
    return ("frozen", "divergent", "convergent")[len(signs)]
