"""What the races' contestants are given is one problem, whichever way it is written."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.measure import Contestant, Outcome, compete, ratios
from benchmarks.problem import Problem, Task
from benchmarks.problems import RACES, exits, factorization, minibatches
from benchmarks.problems.factorization import Matmul
from benchmarks.rivals import minibatch

PROBLEMS = [race.problem for race in (*RACES, *exits.RACES)]
PATHS = 5


def states(problem: Problem, seed: int) -> np.ndarray:
    """(D, PATHS) near the start."""
    near = np.random.default_rng(seed).normal(size=(problem.flat.size, PATHS))
    return problem.flat[:, None] + 0.1 * near


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p.name != "one normal"], ids=lambda p: p.name)
def test_the_hand_written_step_is_eulers(problem: Problem) -> None:
    """x + drift dt + diffusion dW, from the formulas that libraries are given."""
    mine, x = problem.on(np, np.array), states(problem, 1)
    xi = np.random.default_rng(2).normal(size=(problem.noises, PATHS))
    expected = x + mine.drift(x) * mine.dt + mine.diffuse(x, xi) * mine.dt**0.5
    stepped = np.concatenate([a.reshape(-1, PATHS) for a in mine.step(mine.split(x), xi)])
    np.testing.assert_allclose(stepped, expected, rtol=1e-12, atol=1e-13)
    assert np.abs(expected - x).max() > 1e-3


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_one_path_alone_has_the_same_drift_and_diffusion(problem: Problem) -> None:
    """Libraries that go path by path give no path axis; sdeint asks for all columns of the diffusion at once."""
    mine, x = problem.on(np, np.array), states(problem, 3)
    xi = np.random.default_rng(4).normal(size=(problem.noises, PATHS))
    np.testing.assert_allclose(mine.drift(x[:, 0]), mine.drift(x)[:, 0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(mine.diffuse(x[:, 0], xi[:, 0]), mine.diffuse(x, xi)[:, 0], rtol=1e-12, atol=1e-13)
    matrix = mine.diffuse(x[:, :1], np.eye(problem.noises))
    np.testing.assert_allclose(matrix @ xi[:, 0], mine.diffuse(x, xi)[:, 0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p.diagonal], ids=lambda p: p.name)
def test_a_diagonal_diffusion_is_its_diagonal(problem: Problem) -> None:
    mine, x = problem.on(np, np.array), states(problem, 5)
    matrix = mine.diffuse(x[:, :1], np.eye(problem.noises))
    np.testing.assert_allclose(matrix, np.diag(mine.jumps(x[:, 0])), rtol=1e-14)


def test_paths_first_is_paths_last() -> None:
    last, first, rng = factorization.RACE.problem.on(np, np.array), Matmul().on(np, np.array), np.random.default_rng(6)
    parts = last.split(states(last, 7))
    xi = rng.normal(size=(last.draws, PATHS))
    expected = last.rows(last.step(parts, xi))
    got = first.rows(first.step(tuple(np.moveaxis(a, -1, 0) for a in parts), xi.T))
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


def test_exits_are_those_of_the_bridge() -> None:
    """Beyond a side, or by chance exp(-2 a b / dt) between the steps; else not."""
    bridged, stepped = (race.problem.on(np, np.array) for race in exits.RACES)
    before, after = np.array([0.9, 0.9, 0.9, -0.95, 0.0]), np.array([1.1, 0.95, 0.95, -0.9, 0.5])
    chance = np.exp(-2 * 0.1 * 0.05 / 0.01)
    uniforms = np.array([[0.5, 0.99 * chance, 1.01 * chance, 0.5, 0.5], [0.5, 0.5, 0.5, 0.99 * chance, 0.5]])
    assert bridged.sides(before, after, uniforms).tolist() == [1, 1, 0, -1, 0]
    assert stepped.sides(before, after, None).tolist() == [1, 0, 0, 0, 0]


def test_the_wide_networks_loss_is_its_formula() -> None:
    """The expression that ours trains, against the arrays that rivals take."""
    problem, rng = minibatches.WideRelu(), np.random.default_rng(8)
    W, b, a = (v + 0.1 * rng.normal(size=v.shape) for v in problem.begin)
    loss, charge = problem.loss
    values = dict(zip(loss.theta, np.concatenate([W.ravel(), b, a]), strict=True))
    row = dict(zip(loss.z, [*problem.x[0], problem.y[0]], strict=True))
    expected = (np.maximum(problem.x[0] @ W.T + b, 0) @ a - problem.y[0]) ** 2
    assert float(loss.expression.xreplace(values | row)) == pytest.approx(expected, rel=1e-12)
    assert float(charge.xreplace(values)) == pytest.approx((W[0] ** 2).sum() + b[0] ** 2 - a[0] ** 2, rel=1e-12)


def test_the_wide_networks_step_in_blas_is_down_its_slope() -> None:
    """One step on its minibatch, against differences of the formula."""
    problem = minibatches.WideRelu(hidden=3, batch=4, steps=1, paths=1)
    rows = np.random.default_rng([7, 0]).integers(0, len(problem.x), 4)
    begin = np.concatenate([v.ravel() for v in problem.begin])

    def loss(flat: np.ndarray) -> float:
        W, b, a = flat[:-6].reshape(3, -1), flat[-6:-3], flat[-3:]
        return float(np.mean((np.maximum(problem.x[rows] @ W.T + b, 0) @ a - problem.y[rows]) ** 2))

    each = 1e-6 * np.eye(len(begin))
    after = begin - problem.eta * np.array([loss(begin + e) - loss(begin - e) for e in each]) / 2e-6
    expected = (after[: len(problem.x[0])] ** 2).sum() + after[-6] ** 2 - after[-3] ** 2
    assert minibatch.blas(problem, Task(1, 1, "float64"))(7).mean == pytest.approx(expected, rel=1e-8)


def test_a_rival_that_computes_something_else_does_not_agree() -> None:
    def contestant(name: str, mean: float) -> Contestant:
        return Contestant(name, lambda: lambda seed: Outcome(1, mean, 0.1, 1.0, 1.0), asked=2.0)

    def absent() -> None:
        raise ImportError("none", name="absent")

    def broken() -> None:
        raise RuntimeError("no compiler")

    rivals = [
        contestant("near", 0.3),
        contestant("far", 9.0),
        Contestant("absent", absent),
        Contestant("broken", broken),
    ]
    near, far, missing, failed = ratios(compete([contestant("ours", 0.0), *rivals], repeats=2))
    assert near.agrees and near.short and not far.agrees
    assert missing.missing == "not installed (absent)" and failed.missing == "failed: RuntimeError"
    with pytest.raises(RuntimeError):
        compete([Contestant("ours", broken)])
