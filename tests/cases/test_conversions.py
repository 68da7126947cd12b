"""Case A16: nothing that is not a number is turned into one, and one line says so."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import convergence, simulate, train, verify
from symbolic import SDE, SGD, Dataset, Loss, Normal

X, u, x, mu = sp.symbols("X u x mu", real=True)
WALK = SDE([X], [-mu * X], [[1]], parameters=[mu])
LOSS = Loss((u * x - 1) ** 2, [u], {x: Normal(0, 1)})
OPTIONS: dict[str, Any] = {"start": {X: 1.0}, "time": 0.3, "dt": 0.1, "paths": 3, "save_at": 2, "parameters": {mu: 1.0}}
NOT_WHOLE: list[Any] = [
    None,
    [3],
    np.nan,
    np.inf,
    "3",
    2.5,
    True,
    np.True_,
    1j,
    np.random.default_rng(0),
    np.array([3, 4]),
    object(),
]


def refused(message: str, **options: Any) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        simulate(WALK, **{**OPTIONS, **options})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("value", NOT_WHOLE, ids=lambda v: type(v).__name__)
def test_case_a16_whole_numbers(value: Any) -> None:
    refused("paths: must be a whole number", paths=value)
    refused("seed: must be a whole number", seed=value)
    refused("refine: must be a whole number", refine=value)
    if value is not None:
        refused("threads: must be a whole number", threads=value)
    with pytest.raises(ValueError, match="steps: must be a whole number"):
        train(LOSS, SGD(0.1), start={u: 1.0}, steps=value)
    with pytest.raises(ValueError, match=r"convergence\.paths: must be a whole number"):
        convergence(SDE([X], [0], [[1]]), start={X: 0.0}, paths=value)
    with pytest.raises(ValueError, match="seed: must be a whole number"):
        verify(LOSS, SGD(0.1), start={u: 1.0}, time=1.0, seed=value)


@pytest.mark.parametrize("value", [None, "a", [0.1], np.nan, 1j, True, -1.0, np.array([0.1, 0.2])], ids=str)
def test_case_a16_lengths_and_shares(value: Any) -> None:
    refused("time: must be positive", time=value)
    refused("warn_share: must be a share", warn_share=value if value is not True else 2)
    if value is not None:
        refused("dt: must be positive", dt=value)
        refused("bound: must be positive", bound=value)


@pytest.mark.parametrize(
    "value",
    [1 + 2j, np.array(1 + 0j), "1.5", [["1"]], True, np.True_, None, [1, [2]], object(), b"1", sp.I, np.array(["1"])],
    ids=lambda v: type(v).__name__,
)
def test_case_a16_starts_and_parameters_are_real_numbers(value: Any) -> None:
    refused(r"start\[X\]: must be numbers", start={X: value})
    refused(r"parameters\[mu\]: must be a finite number", parameters={mu: value})


@pytest.mark.parametrize(
    "value", [1, 1.0, np.float32(1), np.int64(1), Fraction(1), sp.Integer(1), sp.Float(1), np.array(1.0), [1.0] * 3]
)
def test_case_a16_numbers_of_every_kind_are_taken(value: Any) -> None:
    run = simulate(WALK, **{**OPTIONS, "start": {X: value}})
    assert float(run.X.sel(statistic="mean")[0]) == 1.0


def test_case_a16_whole_numbers_of_every_kind_are_taken() -> None:
    for value in (3, 3.0, np.int32(3), np.float64(3), sp.Integer(3)):
        assert simulate(WALK, **{**OPTIONS, "paths": value, "seed": value, "threads": value}).attrs["paths"] == 3


def test_case_a16_masks_are_not_dropped() -> None:
    masked = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])
    refused(r"start\[X\]: must be numbers.*masked", start={X: masked})


@pytest.mark.parametrize(
    ("time", "saves"),
    [
        (0.3, 0.1 * np.arange(4)),
        (0.6, 0.1 * np.arange(1, 7)),
        (0.7, [0.1 * 7]),
        (0.8, [sum([0.1] * 8)]),
        (1.1, [1.1 * 3 / 3]),
    ],
)
def test_case_a16_saves_that_rounding_puts_beside_the_end(time: float, saves: Any) -> None:
    run = simulate(WALK, **{**OPTIONS, "time": time, "save_at": saves})
    assert run.time.values[-1] == time and len(run.time) == len(saves)
    assert run.time.values == pytest.approx(np.asarray(saves), rel=1e-14)


@pytest.mark.parametrize(
    "saves", [[0.31], [0.3, 0.30000000001], ["0.1"], [True, False], None, [[0.1]], [1j], "abc", [0.1, None]]
)
def test_case_a16_other_saves_are_refused(saves: Any) -> None:
    refused("save_at: times must increase within", save_at=saves)


@pytest.mark.parametrize("column", [np.array([1 + 1j, 2]), np.array(["1", "2"]), np.array([True, False]), [1, "2"]])
def test_case_a16_data_are_real_numbers(column: Any) -> None:
    with pytest.raises(ValueError, match=r"Dataset\[x\]: must be real numbers"):
        Dataset({x: column})
    with pytest.raises(ValueError, match=r"start\[u\]: must be a real number"):
        LOSS.pack({u: column[-1]})


def test_case_a16_a_start_is_a_mapping() -> None:
    refused("start: must be a mapping", start=[1.0])
