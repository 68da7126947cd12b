"""Correlated noises are mixtures of independent ones: the covariance of increments is exact, noise classes follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import simulate
from symbolic import SDE, states
from symbolic.dynamics.correlation import factor
from symbolic.errors import InputError

S, V, r = sp.symbols("S V r", real=True)
HALF = sp.Rational(1, 2)


def heston(correlation: Any) -> SDE:
    root = sp.sqrt(sp.Max(V, 0))
    return SDE([S, V], [0, 1 - V], [[S * root, 0], [0, root / 4]], correlation=correlation)


@pytest.mark.parametrize("given", [{(0, 1): -HALF}, [[1, -HALF], [-HALF, 1]], sp.Matrix([[1, -HALF], [-HALF, 1]])])
def test_increments_have_the_covariance(given: Any) -> None:
    found, plain = heston(given).diffusion_matrix, heston(None).diffusion_matrix
    wanted = plain * sp.Matrix([[1, -HALF], [-HALF, 1]]) * plain.T
    assert sp.simplify(found * found.T - wanted) == sp.zeros(2)
    assert found[0, 1] == 0 and heston(given).noise_class == "general"


def test_random_correlations_are_factored() -> None:
    rng = np.random.default_rng(4)
    for n, rank in ((2, 2), (4, 4), (5, 2)):
        made = rng.normal(size=(n, rank))
        made /= np.linalg.norm(made, axis=1)[:, None]
        low = np.array(factor(made @ made.T, n).tolist(), dtype=float)
        assert low.shape == (n, rank) and np.allclose(low @ low.T, made @ made.T, atol=1e-10)
    exact = factor([[1, HALF, 0], [HALF, 1, HALF], [0, HALF, 1]], 3)
    assert exact * exact.T == sp.Matrix([[1, HALF, 0], [HALF, 1, HALF], [0, HALF, 1]])


def test_the_class_of_noise_is_found_afterwards() -> None:
    both = [[S, 0], [0, V]]
    assert SDE([S, V], [0, 0], both).noise_class == "diagonal"
    assert SDE([S, V], [0, 0], both, correlation={(0, 1): HALF}).noise_class == "commutative"
    one = SDE([S, V], [0, 0], both, correlation=[[1, 1], [1, 1]])
    assert (one.noise_class, one.noises) == ("scalar", 1) and one.diffusion_matrix == sp.Matrix([S, V])
    assert SDE([S, V], [0, 0], [[1, 0], [0, 2]], correlation={(1, 0): 0.3}).noise_class == "additive"


@pytest.mark.parametrize("as_arrays", [False, True])
def test_paths_are_correlated(as_arrays: bool) -> None:
    """Brownian motions with strengths 1, 2, 3: their covariance at time 1 within 5 standard errors, 20,000 paths."""
    rho = np.array([[1.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 1.0]])
    size = np.array([1.0, 2.0, 3.0])
    if as_arrays:
        X = states("X", (3,))
        made = SDE(X, drift=0 * X, diffusion=size, correlation=rho)
        run = simulate(made, start={"X": np.zeros(3)}, time=1.0, dt=0.5, paths=20_000, keep="paths", save_at=2)
        ends = run.X.values[:, -1]
    else:
        names = sp.symbols("a b c", real=True)
        made = SDE(names, [0, 0, 0], np.diag(size), correlation=rho)
        start = dict.fromkeys(names, 0.0)
        run = simulate(made, start=start, time=1.0, dt=0.5, paths=20_000, keep="paths", save_at=2)
        ends = np.stack([run[s.name].values[:, -1] for s in names], axis=1)
    assert made.noise_class == "additive"
    error = np.outer(size, size) * np.sqrt(1 + rho**2) / np.sqrt(20_000)
    assert (abs(np.cov(ends.T) - np.outer(size, size) * rho) < 5 * error).all()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([[1, 2], [2, 1]], "must be positive semidefinite"),
        ({(0, 1): 1.0001}, "must be positive semidefinite"),
        ([[1, 0.2], [0.3, 1]], "must be symmetric"),
        ({(0, 1): 0.2, (1, 0): 0.3}, "must be symmetric"),
        ([[2, 0], [0, 1]], "must have ones on its diagonal"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], "a row and a column for each of the 2 noises"),
        ([[1, r], [r, 1]], "must be numbers"),
        ([[1, np.nan], [np.nan, 1]], "must be numbers"),
        ({(0, 2): 0.1}, "pairs must be two different noises of 0 to 1"),
        ({"S": 0.1}, "pairs must be two different noises"),
        (0.5, "must be a matrix or pairs"),
        ("yes", "must be a matrix or pairs"),
    ],
)
def test_what_is_no_correlation_is_refused(given: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        heston(given)
