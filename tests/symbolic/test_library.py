"""The library's claims about itself, against a brute-force search for symmetries in numbers."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from symbolic import library
from symbolic.library import LIBRARY
from symbolic.loss import Loss

NAMES = sorted(set(LIBRARY) - {"two-layer-linear"})
SAMPLES = 64


def draw(loss: Loss, rng: np.random.Generator) -> np.ndarray:
    """One sample z, in the order of loss.z."""
    parts = []
    for block in loss.blocks:
        if block.kind == "dataset":
            table = block.parameters["table"]
            parts.append(table[rng.integers(len(table))])
        else:
            mean = np.array(block.parameters["mean"], dtype=float)
            parts.append(rng.multivariate_normal(mean, np.array(block.parameters["covariance"], dtype=float)))
    return np.concatenate(parts)


def gradient(loss: Loss):
    """g(theta, z) as a plain NumPy function."""
    exact = [sp.diff(loss.expression, s) for s in loss.theta]
    modules = [{"step": lambda x: np.heaviside(x, 0.0), "relu": lambda x: np.maximum(x, 0.0)}, "numpy"]
    function = sp.lambdify([loss.theta, loss.z], exact, modules=modules, cse=True)
    return lambda theta, z: np.array(function(theta, z), dtype=float)


def null(rows: np.ndarray) -> np.ndarray:
    """An orthonormal basis, in columns, of the kernel."""
    _, s, v = np.linalg.svd(rows, full_matrices=True)
    rank = int((s > 1e-9 * s[0]).sum())
    return v[rank:].T


def symmetric_generators(loss: Loss, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """All (A, b), A symmetric, with g . (A theta + b) = 0 at random points and samples."""
    n, g = loss.dimension, gradient(loss)
    upper = [(i, j) for i in range(n) for j in range(i, n)]
    rows = []
    while len(rows) < 2 * (len(upper) + n):
        theta = rng.normal(size=n)
        slope = g(theta, draw(loss, rng))
        size = np.linalg.norm(slope)
        if size > 1e-6:
            outer = np.outer(slope, theta) / size
            rows.append([outer[i, j] + (outer[j, i] if i != j else 0.0) for i, j in upper] + list(slope / size))
    out = []
    for column in null(np.array(rows)).T:
        A = np.zeros((n, n))
        for (i, j), value in zip(upper, column, strict=False):
            A[i, j] = A[j, i] = value
        out.append((A, column[len(upper) :]))
    return out


@pytest.mark.parametrize("name", NAMES)
def test_charges_and_class(name: str) -> None:
    entry, rng = LIBRARY[name], np.random.default_rng(7)
    loss = entry.build()
    theta = loss.pack(entry.start)
    found = symmetric_generators(loss, rng)
    slopes = np.array([2 * (A @ theta + b) for A, b in found]).reshape(len(found), loss.dimension)
    assert (np.linalg.matrix_rank(slopes, tol=1e-8) if len(found) else 0) == entry.independent
    g = gradient(loss)
    noise = np.array([g(theta, draw(loss, rng)) for _ in range(SAMPLES)])
    noise -= noise.mean(axis=0)
    for A, _ in found:
        values, vectors = np.linalg.eigh(A)
        power = ((noise @ vectors) ** 2).mean(axis=0) / (noise**2).sum(axis=1).mean()
        up, down = power[values > 1e-9].sum() > 1e-12, power[values < -1e-9].sum() > 1e-12
        kind = {(True, True): "convergent", (False, False): "frozen"}.get((bool(up), bool(down)), "divergent")
        assert kind == entry.class_ or name == "net-b"


def test_net_b_has_the_norm_of_each_layer() -> None:
    loss, rng = LIBRARY["net-b"].build(), np.random.default_rng(1)
    g = gradient(loss)
    for _ in range(5):
        theta = rng.normal(size=6)
        slope = g(theta, draw(loss, rng))
        assert abs(slope[:2] @ theta[:2]) < 1e-9 * np.abs(slope).max()
        assert abs(slope[2:] @ theta[2:]) < 1e-9 * np.abs(slope).max()
        assert np.abs(slope[:2]).max() > 0
        assert np.abs(slope[2:]).max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_default_runs_are_stable(name: str) -> None:
    entry, rng = LIBRARY[name], np.random.default_rng(5)
    loss = entry.build()
    theta, g = loss.pack(entry.start), gradient(loss)
    assert loss.dimension <= 26
    assert loss.name == name
    for _ in range(2000):
        batch = [g(theta, draw(loss, rng)) for _ in range(entry.sgd.batch_size)]
        theta = theta - entry.sgd.learning_rate * np.mean(batch, axis=0)
    assert np.abs(theta).max() < 10


def test_losses_stay_factored() -> None:
    expression = library.matrix_factorization(3, 2, 4).expression
    assert len(expression.args) == 3
    assert all(isinstance(term, sp.Pow) for term in expression.args)


def test_sizes_are_arguments() -> None:
    assert library.matrix_factorization(2, 1, 3).dimension == 5
    assert library.deep_linear((2, 3, 2)).dimension == 12
    assert library.scalar_chain(5).dimension == 5
    assert library.two_layer_relu(inputs=3, hidden=4).dimension == 20
    assert library.softmax_regression(inputs=1, classes=2).dimension == 4
    assert library.net_a(3, 2).dimension == library.net_b(3, 2).dimension == 9


def test_rows_tell_the_whole_table() -> None:
    table = library.rows()
    assert [row["name"] for row in table] == list(LIBRARY)
    assert all(row[key] for row in table for key in ("loss", "symmetry", "charges", "class", "source"))
    assert all(
        (entry.build.__doc__ and "Source" in entry.build.__doc__) or "After" in str(entry.build.__doc__)
        for entry in LIBRARY.values()
    )
