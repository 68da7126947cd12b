"""Jumps of arrays at rates of their entries: closed forms, the naive twin, and refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, InputError, Jump, simulate
from symbolic import Normal, states
from tests.naive.hybrid import follow

n = 5
X, E, who, M = states("X", (n,)), states("E", (n,)), states("who", (n,)), states("M", (2, 3))
RATES, Z = np.array([0.5, 1.0, 0.0, 2.0, 3.0]), sp.Symbol("Z", real=True)
OPTIONS: dict[str, Any] = {"dt": 0.5, "paths": 20_000, "save_at": 2, "check": False, "keep": "paths", "seed": 4}


def ends(sde: SDE, start: dict[Any, Any], time: float, **options: Any) -> Any:
    return simulate(sde, start=start, time=time, **{**OPTIONS, **options})


def within(values: np.ndarray, expected: Any) -> bool:
    """Whether means over paths are the expected ones to 5 of their standard errors."""
    error = values.std(axis=0) / np.sqrt(len(values))
    return bool((np.abs(values.mean(axis=0) - expected) <= 5 * error + 1e-12).all())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_entries_count_as_poisson_processes_of_their_own(dtype: str) -> None:
    """docs/theory.md eq. (6.9): mean and variance rate t, none at rate 0, and no covariance; at any step."""
    found = ends(SDE(X, 0 * X, 0, jumps=[Jump({X: X + 1}, rate=RATES)]), {X: np.zeros(n)}, 2.0, dtype=dtype)
    counts = found.X.values[:, -1].astype(float)
    assert within(counts, 2 * RATES) and within((counts - 2 * RATES) ** 2, 2 * RATES) and (counts[:, 2] == 0).all()
    scores = (counts - 2 * RATES)[:, [0, 1, 3, 4]]
    assert within(scores[:, :3] * scores[:, 1:], 0.0) and (counts == np.round(counts)).all()


def test_entries_are_born_as_yule_processes() -> None:
    """Each at rate X: E X = x e^t, Var X = x e^t (e^t - 1)."""
    start, e = np.arange(1.0, 1 + n), math.e
    counts = ends(SDE(X, 0 * X, 0, jumps=[Jump({X: X + 1}, rate=X)]), {X: start}, 1.0).X.values[:, -1]
    assert within(counts, start * e) and within((counts - start * e) ** 2, start * e * (e - 1))


def test_matrices_negative_rates_and_entries_of_states() -> None:
    """A rate below 0 is none; of a state in part; shapes of more axes; a number that all jumps count in."""
    rates, C = np.arange(-2.0, 4.0).reshape(2, 3), states("C", ())
    sde = SDE([M, C], [0, 0], [0, 0], jumps=[Jump({M: M + 1, C: C + 1}, rate=rates)])
    found = ends(sde, {M: np.zeros((2, 3)), C: 0.0}, 1.0)
    assert within(found.M.values[:, -1], np.maximum(rates, 0))
    assert np.array_equal(found.M.values[:, -1].sum(axis=(1, 2)), found.C.values[:, -1])
    part = SDE(X, 0 * X, 0, jumps=[Jump({X[1:4]: X[1:4] + 1}, rate=[1.0, 2.0, 3.0])])
    assert within(ends(part, {X: np.zeros(n)}, 1.0).X.values[:, -1], [0, 1, 2, 3, 0])


def test_the_entry_that_jumps_moves_others() -> None:
    """Each spike of i is one at its neighbour, with a size: sums agree path by path."""
    K = np.roll(np.eye(n), 1, axis=0)
    jumps = [Jump({X: X + who * Z, E: E + K @ who * Z}, rate=1 + X**2 / (1 + X**2), entry=who, sizes={Z: Normal(1, 1)})]
    found = ends(SDE([X, E], [0, 0], [0, 0], jumps=jumps), {X: np.zeros(n), E: np.zeros(n)}, 1.0, paths=500)
    np.testing.assert_allclose(found.E.values[:, -1], np.roll(found.X.values[:, -1], 1, axis=1))
    assert np.abs(found.X.values[:, -1]).min(axis=1).max() > 0


def test_paths_are_those_of_the_naive_twin() -> None:
    """One clock of all, and the entry up to which rates add up to a uniform share of their sum."""

    def change(x: np.ndarray, sizes: Any) -> np.ndarray:
        total = np.cumsum(1 + x**2)
        x = x.copy()
        x[np.searchsorted(total, sizes[1] * total[-1])] += 0.3 * sizes[0]
        return x

    sde = SDE(X, 0.5 - X, 0.4, jumps=[Jump({X: X + Z}, rate=1 + X**2, sizes={Z: Normal(0, 0.3)})])
    found, jumped = ends(sde, {X: np.zeros(n)}, 1.0, dt=0.1, paths=50, save_at=11, scheme="euler-maruyama"), 0
    for path in range(50):
        twin = follow(path, 4, np.zeros(n), found.time.values, lambda x: 0.5 - x, lambda x: np.full(n, 0.4), (),
                      [(lambda x: (1 + x**2).sum(), 1)], [(change, [-3, -1])])  # fmt: skip
        assert found.X.values[path] == pytest.approx(np.array(twin.states), abs=1e-9), path
        jumped += twin.counts[0]
    assert jumped > 200


def test_a_rate_of_an_entry_that_is_no_number_loses_its_path() -> None:
    sde = SDE(X, 0 * X, 0, jumps=[Jump({X: X + 1}, rate=np.sqrt(X))])
    with pytest.warns(
        UserWarning, match=r"jumps\[0\].rate is no finite number: sqrt\(X\) left.*X\[1\] = -1, at time 0"
    ):
        ends(sde, {X: np.array([1.0, -1, 1, 1, 1])}, 1.0, paths=3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Jump({X: X + who}, rate=1, entry=who), "Jump.entry: goes with an array of rates; got 1"),
        (lambda: Jump({X: X + who}, rate=X, entry=3), "Jump.entry: must be an array made by states"),
        (
            lambda: SDE(X, 0 * X, 0, jumps=[Jump({X: X}, rate=X[:3], entry=who)]),
            r"jumps\[0\].entry: must have the rates'",
        ),
        (lambda: SDE(X, 0 * X, 0, jumps=[Jump({X: X + 1}, rate=X[:3])]), r"jumps\[0\].rate: must have the shape of a"),
        (lambda: SDE(X, 0 * X, 0, jumps=[Jump({X: 0 * X}, when=X > 1)]), r"jumps\[0\].when: must be one expression"),
        (lambda: SDE(X, 0 * X, 0, jumps=[Jump({X: 0 * X}, rate=X, entry=X)]), "a name may stand for one thing only"),
        (lambda: SDE([Z], [0], [[0]], jumps=[Jump({Z: Z + 1}, rate=[1, 2])]), "must be an expression; got \\[1, 2\\]"),
    ],
)
def test_what_is_refused(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
