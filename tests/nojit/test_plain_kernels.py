"""Elementary functions, normals and statistics of sde/kernels with the JIT off, against mpmath and NumPy."""

from __future__ import annotations

import os
from math import inf, nan
from typing import Any

import mpmath
import numpy as np
import pytest

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"
pytestmark = [
    pytest.mark.skipif(not JIT_OFF, reason="`make nojit` runs these"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
TYPES = (np.float32, np.float64)
POINTS = {
    "exp": (-80.0, -1.5, 1e-3, 0.3, 2.0, 80.0),
    "log": (1e-30, 0.3, 0.9999, 1.0, 2.5, 1e30),
    "tanh": (-20.0, -0.4, 1e-3, 0.2, 0.6, 3.0),
    "sinh": (-80.0, -0.2, 1e-3, 0.9, 5.0),
    "cosh": (-80.0, -0.2, 1e-3, 0.9, 5.0),
    "erf": (-5.0, -0.9, 1e-3, 0.5, 1.1, 3.0),
    "sin": (-1e3, -0.8, 1e-3, 1.6, 3.0, 50.0),
    "cos": (-1e3, -0.8, 1e-3, 1.5, 3.0, 50.0),
    "tan": (-1e3, -0.8, 1e-3, 1.5, 3.0, 50.0),
    "atan": (-1e6, -0.5, 1e-3, 0.41, 2.4, 1e6),
}


def makers() -> dict[str, Any]:
    from sde.kernels.math import circular, exponential, logarithm

    return {**exponential.MAKERS, **logarithm.MAKERS, **circular.MAKERS}


@pytest.mark.parametrize("real", TYPES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("name", POINTS)
def test_functions_are_right_to_the_last_places(name: str, real: Any) -> None:
    from sde.kernels.math.arithmetic import F32, F64

    function = makers()[name](F32 if real is np.float32 else F64)
    for x in map(real, POINTS[name]):
        exact = getattr(mpmath, name)(mpmath.mpf(float(x)))
        value = function(x)
        assert isinstance(value, real)
        assert abs(mpmath.mpf(float(value)) - exact) <= 3 * float(np.spacing(abs(real(exact)))), (name, x)
    assert np.isnan(function(real(nan)))


def test_ends_come_out_as_in_c() -> None:
    from sde.kernels.math.arithmetic import F64

    found = {n: makers()[n](F64)(np.float64(inf)) for n in ("exp", "tanh", "erf", "cosh")}
    assert found == {"exp": inf, "tanh": 1.0, "erf": 1.0, "cosh": inf}
    assert makers()["log"](F64)(np.float64(0.0)) == -inf and np.isnan(makers()["log"](F64)(np.float64(-1.0)))


def test_the_normal_transform() -> None:
    """sqrt(-2 ln u) and the circle, word by word."""
    from sde.kernels.random import normal

    for word in (0, 1, 12345678, 2**31, 3 * 10**9):
        narrow, wide = np.uint32(word), np.uint64(word << 20)
        exact = mpmath.sqrt(-2 * mpmath.log((mpmath.mpf(word) + 0.5) / 2**32))
        assert float(normal.root32(*normal.split32(narrow))) == pytest.approx(float(exact), rel=1e-5)
        c, s = normal.circle32(narrow)
        assert float(c) ** 2 + float(s) ** 2 == pytest.approx(1, abs=1e-6)
        exact = mpmath.sqrt(-2 * mpmath.log((2 * mpmath.mpf(word << 20) + 1) / 2**53))
        assert float(normal.root64(*normal.split64(wide))) == pytest.approx(float(exact), rel=1e-12)
        c, s = normal.circle64(wide)
        assert float(c) ** 2 + float(s) ** 2 == pytest.approx(1, abs=1e-14)


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 2, 40))


def test_moments(rows: np.ndarray) -> None:
    from sde.kernels.statistics import moments

    halves = [moments.empty(1, 1), moments.empty(1, 1)]
    dead = np.full(40, -1)
    dead[3] = 0
    for half, part in zip(halves, (rows[0, 0], rows[0, 1]), strict=True):
        moments.add_row(half[0, 0], part, dead, 40, np.empty(40), False, part)
    moments.merge(*halves)
    left = np.delete(rows[0], 3, axis=1)
    wanted = [left.size, left.mean(), ((left - left.mean()) ** 2).sum(), left.min(), left.max()]
    assert halves[0][0, 0] == pytest.approx(wanted)


def test_comoments_and_histogram(rows: np.ndarray) -> None:
    from sde.kernels.statistics import comoments, histogram

    dead, saves, chosen = np.full(40, -1), np.arange(3), np.arange(2)
    _, mean, product = comoments.comoments(rows, 40, chosen, dead, saves)
    table = np.zeros((3, 4), np.int64)
    histogram.count(rows, 40, 1, np.array([-1.0, 0.0, 1.0]), table)
    for save in range(3):
        assert product[save] / 39 == pytest.approx(np.cov(rows[save]))
        assert mean[save][:, 0] == pytest.approx(rows[save].mean(axis=1))
        assert table[save].tolist() == np.histogram(rows[save, 1], [-inf, -1, 0, 1, inf])[0].tolist()


@pytest.mark.parametrize("real", TYPES, ids=lambda t: t.__name__)
def test_quantile_bins(rows: np.ndarray, real: Any) -> None:
    from sde.kernels.statistics import quantile_bins

    values, bits = np.ascontiguousarray(rows[0].astype(real)), 3
    table = quantile_bins.empty(2, bits)
    quantile_bins.count(values, 40, np.zeros(2, real), np.ones(2, real), bits, table)
    edges = quantile_bins.edges(bits)
    for cell in range(2):
        assert table[cell, : len(edges) - 1].tolist() == np.histogram(values[cell], edges)[0].tolist()
