"""Where paths begin: numbers, arrays, per-path arrays, laws; and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from sde import SDE, simulate
from sde.api.starts import reader
from symbolic import Bernoulli, Dataset, Laplace, Loss, Moments, Normal, Uniform, parameters

U, v, u, x = *parameters(U=(3, 2), v=(2,), u=()), sp.Symbol("x", real=True)
LOSS = Loss(((U * v).T * (U * v))[0, 0] * u * x, [U, v, u], {x: Normal(0, 1)})
MATRIX, VECTOR = np.arange(6.0).reshape(3, 2), np.array([7.0, 8.0])
PATHS = 5


def read(start: dict[Any, Any], paths: int = PATHS, seed: int = 0, width: int = 9) -> np.ndarray:
    return reader(LOSS.parameters, start, paths, seed, width)(0, paths)


def test_one_point_for_all_paths() -> None:
    found = read({"U": MATRIX, "v": VECTOR, "u": 9})
    assert np.array_equal(found, np.tile([0, 1, 2, 3, 4, 5, 7, 8, 9], (PATHS, 1)))
    assert np.array_equal(read({U: MATRIX.tolist(), v: VECTOR.reshape(2, 1), u: 9.0}), found)


def test_columns_past_the_parameters_are_zero() -> None:
    assert (read({"U": MATRIX, "v": VECTOR, "u": 9}, width=18)[:, 9:] == 0).all()


def test_one_point_for_each_path() -> None:
    own, each = np.random.default_rng(0).normal(size=(PATHS, 3, 2)), np.arange(PATHS, dtype=float)
    found = reader(LOSS.parameters, {"U": own, "v": VECTOR, "u": each}, PATHS, 0, 9)
    for first, n in ((0, PATHS), (2, 3)):
        part = found(first, n)
        assert np.array_equal(part[:, :6].reshape(n, 3, 2), own[first : first + n])
        assert np.array_equal(part[:, 8], each[first : first + n])


def test_a_square_shape_means_the_parameter_not_the_paths() -> None:
    """Two paths and a vector of two: one array (2,) is the vector."""
    found = reader(LOSS.parameters, {"U": MATRIX, "v": VECTOR, "u": 1.0}, 2, 0, 9)(0, 2)
    assert found[:, 6:8].tolist() == [[7, 8], [7, 8]]


LAWS = {
    "normal": (Normal(1, 2), stats.norm(1, 2)),
    "uniform": (Uniform(-1, 3), stats.uniform(-1, 4)),
    "laplace": (Laplace(-1, 3), stats.laplace(-1, 3)),
}


@pytest.mark.parametrize("name", LAWS)
def test_a_law_draws_its_distribution(name: str) -> None:
    """Kolmogorov-Smirnov, alpha = 1e-4, fixed seed."""
    law, reference = LAWS[name]
    found = read({"U": law, "v": VECTOR, "u": law}, paths=4000, seed=3)
    assert stats.kstest(found[:, :6].ravel(), reference.cdf).pvalue > 1e-4
    assert stats.kstest(found[:, 8], reference.cdf).pvalue > 1e-4
    correlation = np.corrcoef(found[:, [0, 1, 2, 3, 4, 5, 8]].T) - np.eye(7)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


def test_bernoulli_and_correlated_starts() -> None:
    """Means within 5 standard errors, covariance within 5 of a normal's."""
    covariance = np.array([[2.0, 1.0], [1.0, 1.0]])
    found = read({"U": Bernoulli(0.3), "v": Normal([1, -1], covariance=covariance), "u": 0.0}, paths=8000, seed=4)
    assert set(np.unique(found[:, :6])) == {0.0, 1.0}
    assert abs(found[:, :6].mean() - 0.3) < 5 * np.sqrt(0.21 / 48_000)
    assert (np.abs(found[:, 6:8].mean(axis=0) - [1, -1]) < 5 * np.sqrt(np.diag(covariance) / 8000)).all()
    assert np.abs(np.cov(found[:, 6:8].T) - covariance).max() < 5 * 2 * np.sqrt(2 / 8000)


def test_a_law_belongs_to_seed_and_path() -> None:
    start = {"U": Normal(0, 1), "v": Uniform(0, 1), "u": Bernoulli(0.5)}
    whole = reader(LOSS.parameters, start, 600, 5, 9)
    again, other = reader(LOSS.parameters, start, 100, 5, 9), reader(LOSS.parameters, start, 600, 6, 9)
    assert np.array_equal(whole(0, 600)[:100], again(0, 100))
    assert np.array_equal(whole(0, 600)[256:300], whole(256, 44))
    assert not np.isin(whole(0, 600)[:, 0], other(0, 600)[:, 0]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"u": np.zeros(3)}, r"start\[u\]: must be one number, or one per path, \(5,\); got shape \(3,\)"),
        ({"U": MATRIX.T}, r"start\[U\]: must have shape \(3, 2\).*got \(2, 3\)"),
        ({"U": np.zeros((4, 3, 2))}, r"got \(4, 3, 2\)"),
        ({"u": np.nan}, r"start\[u\]: must be finite; got nan"),
        ({"U": np.where(MATRIX == 3, np.inf, MATRIX)}, r"start\[U\]: must be finite"),
        ({"u": "a"}, r"start\[u\]: must be numbers; got 'a' \(str\)"),
        ({"u": None}, r"start\[u\]: must be (numbers|finite)"),
        ({"u": [[1, 2], [3]]}, r"start\[u\]: must be numbers"),
        ({"q": 1.0}, r"start\[q\]: must name a parameter; got 'q' \(str\)"),
        ({"u": Moments([0, 1])}, r"start\[u\]: a law must be one to draw from; got moments"),
        ({"u": Normal(0, sp.Symbol("s", positive=True))}, r"start\[u\]: a law must be one to draw from"),
        ({"u": Dataset({u: np.arange(3.0)})}, r"start\[u\]: "),
        ({"v": Normal([1, 2, 3], 1)}, "Normal: parameters must broadcast"),
    ],
)
def test_refusals(change: dict[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read({"U": MATRIX, "v": VECTOR, "u": 9, **change})


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ValueError) as caught:
        read({"U": np.nan * MATRIX, "q": 1.0})
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "start[U]",
        "start[v]",
        "start[u]",
        "start[q]",
    ]


@pytest.mark.parametrize(
    "how", [{"scheme": "adaptive-milstein", "dt": 0.01}, {"scheme": "adaptive-euler", "dt": 0.01}, {}]
)
@pytest.mark.parametrize("drawn", ["start", "parameter", "vector"])
def test_a_path_does_not_depend_on_those_beside_it(how: dict[str, Any], drawn: str) -> None:
    """Steps follow from a pilot: of as many paths, however few the run has."""
    a, *X = sp.symbols("a X Y", real=True)
    equation = SDE(X, [-a * X[0] ** 3, -X[1]], [[1, 0], [0, 1]], parameters=[a])
    given = {"start": {X[0]: 30.0, X[1]: 1.0}, "parameters": {a: 1.0}}
    if drawn == "start":
        given["start"] |= {X[0]: Normal(0, 30)}
    elif drawn == "vector":
        given["start"] |= {X[0]: Laplace(0, 20), X[1]: Uniform(-50, 50)}
    else:
        given["parameters"] = {a: Uniform(0, 9)}
    runs = [
        simulate(equation, **given, time=0.02, paths=n, seed=22, keep="paths", save_at=2, check=False, **how)
        for n in (1, 3, 50)
    ]
    assert len({float(run.X.values[0, -1]) for run in runs}) == 1 and len({run.attrs["dt"] for run in runs}) == 1
