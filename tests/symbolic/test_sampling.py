"""Factors of covariances, and data drawn as planned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sde import SGD, train
from symbolic import Bernoulli, Dataset, Laplace, Loss, Moments, Normal, Uniform
from symbolic.problem.distributions import bind
from symbolic.problem.sampling import factorise, sampling_plan

a, b, c, d, e, x, y = sp.symbols("a b c d e x y", real=True)


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 7), rank=st.integers(0, 7), seed=st.integers(0, 10_000), spread=st.integers(0, 6))
def test_factor_squares_to_the_matrix_and_reveals_its_rank(size: int, rank: int, seed: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, min(rank, size))) * 10.0 ** rng.uniform(-spread, spread, size=(size, 1))
    matrix = root @ root.T
    factor = factorise(matrix)
    scale = np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
    assert factor.shape == (size, min(rank, size))
    assert (np.abs(factor @ factor.T - matrix) <= 1e-10 * scale).all()


def test_factor_keeps_zeros() -> None:
    matrix = np.zeros((5, 5))
    matrix[np.ix_([1, 3], [1, 3])] = [[4.0, 2.0], [2.0, 1.0]]
    matrix[4, 4] = 9.0
    factor = factorise(matrix)
    assert factor.shape == (5, 2)
    assert (factor[[0, 2]] == 0).all()
    assert (factor[4] != 0).sum() == 1 and ((factor[1] != 0) == (factor[3] != 0)).all()
    assert factorise(np.zeros((3, 3))).shape == (3, 0) and factorise(np.zeros((0, 0))).shape == (0, 0)


def test_a_diagonal_factor_is_the_standard_deviations() -> None:
    factor = factorise(np.diag([1.0, 0.0, 4.0, 0.25]))
    assert np.sort(factor.sum(axis=1)).tolist() == [0, 0.5, 1, 2] and (np.count_nonzero(factor, axis=0) == 1).all()


LAWS: dict[str, tuple[Any, tuple[sp.Symbol, ...]]] = {
    "independent": ({a: Normal(1, 2), b: Uniform(-1, 3), c: Bernoulli(0.3), d: Normal(0, 0.5)}, (a, b, c, d)),
    "correlated": (
        {(a, b, c): Normal([1, 0, -1], covariance=[[2, 1, 0], [1, 1, 0.5], [0, 0.5, 3]]), d: Uniform(0, 1)},
        (a, b, c, d),
    ),
    "subset": (
        {
            (a, b, c): Normal([1, 0, -1], covariance=[[2, 1, 0], [1, 1, 0.5], [0, 0.5, 3]]),
            (d, e): Uniform([0, 2], [1, 5]),
        },
        (c, a, e),
    ),
    "heavy tails": ({(a, b, c): Laplace([0, 1, -2], [1, 0.5, 2]), d: Normal(0, 1), e: Uniform(0, 2)}, (c, d, e, a)),
    "singular": ({(a, b): Normal([0, 0], covariance=[[1, 2], [2, 4]]), c: Normal(5, 0)}, (a, b, c)),
    "rows": (Dataset({a: np.array([0.0, 1, 2, 5]), b: np.array([1.0, -1, 0, 2]), c: np.arange(4.0)}), (b, a)),
    "mixed": (
        [Dataset({a: np.array([0.0, 1, 5]), b: np.array([1.0, -1, 2])}), {(c, d): Normal(1, 1), e: Bernoulli(0.5)}],
        (e, b, c, a),
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_plan_states_the_moments_of_the_law(name: str) -> None:
    data, z = LAWS[name]
    blocks = bind(data)
    plan = sampling_plan(blocks, z)
    covered = [*plan.table_rows, *plan.drawn_rows]
    assert sorted(covered) == list(range(len(z)))
    variance: Any = {-1.0: 1 / 12, -2.0: 1.0}
    spread = np.concatenate([np.ones(plan.normals), np.array([variance.get(q, q * (1 - q)) for q in plan.chance])])
    centre = np.concatenate([np.zeros(plan.normals), np.array([{-1.0: 0.5, -2.0: 1.0}.get(q, q) for q in plan.chance])])
    mean, covariance = plan.location + plan.mixing @ centre, (plan.mixing * spread) @ plan.mixing.T
    for i, row in enumerate(plan.drawn_rows):
        assert mean[i] == pytest.approx(expectation(blocks, {z[row]: 1}), abs=1e-13)
        for j, other in enumerate(plan.drawn_rows):
            both = expectation(blocks, {z[row]: 2} if i == j else {z[row]: 1, z[other]: 1})
            assert covariance[i, j] == pytest.approx(both - mean[i] * mean[j], abs=1e-12)


def expectation(blocks: Any, powers: dict[sp.Symbol, int]) -> float:
    return float(sp.Mul(*(block.moment({s: p for s, p in powers.items() if s in block.symbols}) for block in blocks)))


@pytest.mark.parametrize("name", LAWS)
def test_drawn_samples_have_the_moments_of_the_law(name: str) -> None:
    """One SGD step of l = -theta z with eta = 1 from 0 lands on z itself: means and covariances within 5 standard
    errors."""
    data, z = LAWS[name]
    thetas = sp.symbols(f"q0:{len(z)}", real=True)
    loss = Loss(-sp.Add(*(q * s for q, s in zip(thetas, z, strict=True))), list(thetas), data)
    n = 20_000
    run = train(loss, SGD(1.0), start=dict.fromkeys(thetas, 0.0), steps=1, paths=n, seed=11, save_at=2, keep="paths")
    drawn = np.stack([run[q.name].values[:, -1] for q in thetas])
    blocks = bind(data)
    for i, s in enumerate(z):
        for j, r in enumerate(z[: i + 1]):
            for sample, powers in ((drawn[i], {s: 1}), (drawn[i] * drawn[j], {s: 2} if i == j else {s: 1, r: 1})):
                sem = max(sample.std() / np.sqrt(n), 1e-12)
                assert abs(sample.mean() - expectation(blocks, powers)) < 5 * sem


def test_laws_without_samples_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"data\[x\]: discrete SGD draws samples; got a law that has none, since only moments are given",
    ):
        sampling_plan(bind({x: Moments([0, 1])}), (x,))
    with pytest.raises(ValueError, match="its parameters are symbols"):
        sampling_plan(bind({x: Normal(0, sp.Symbol("s", positive=True))}), (x,))
    two = bind([Dataset({x: np.arange(3.0)}), Dataset({y: np.arange(3.0)})])
    with pytest.raises(ValueError, match="one data set at most"):
        sampling_plan(two, (x, y))


def test_what_the_loss_does_not_use_is_not_drawn() -> None:
    plan = sampling_plan(bind({x: Moments([0, 1]), y: Normal(0, 1)}), (y,))
    assert plan.normals == 1 and plan.drawn_rows.tolist() == [0]
