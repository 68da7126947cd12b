"""Sums and extremes of a row of lanes: packed code against what it means; and of sets that are merged."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from sde.kernels.compiled_program import Program
from sde.kernels.loop import check
from sde.kernels.machine_code import kernel
from sde.kernels.statistics import moments
from sde.kernels.statistics.lanes import summary


def _write(row: Any, shift: float, out: Any, target: Any) -> None:
    out[0], out[1], out[2], out[3] = summary(row, shift, target)


@cache
def _compiled(name: str) -> Any:
    return kernel(_write, np.empty(0, name), 0.0, np.empty(0), np.empty(0, name))


def packed(row: Any, shift: float) -> Any:
    out, target = np.empty(4), np.zeros_like(row)
    _compiled(row.dtype.name)(row, float(shift), out, target)
    assert target.tobytes() == row.tobytes()
    return tuple(out.tolist())


def plain(row: Any, shift: float) -> Any:
    return summary(row, shift, np.empty_like(row))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_packed_as_plain_bit_for_bit_where_squares_are_exact(dtype: Any) -> None:
    """Sums that differ by their order: large, then small numbers, each with a square of few bits."""
    rng = np.random.default_rng(0)
    row = (rng.integers(-999, 999, 512) * 2.0 ** rng.integers(-30, 30, 512)).astype(dtype)
    assert packed(row, 0.0) == plain(row, 0.0)
    assert packed(row, 0.0)[:2] != plain(row[::-1].copy(), 0.0)[:2]


@pytest.mark.parametrize("zeros", [(0.0, -0.0), (-0.0, 0.0)])
def test_the_zero_that_comes_last_is_the_extreme(zeros: tuple[float, float]) -> None:
    row = np.array([1.0, *zeros, 1.0] + [*zeros, 1.0, 1.0] * 3)
    for sign in (1.0, -1.0):
        wanted, found = plain(sign * row, sign), packed(sign * row, sign)
        assert np.signbit(wanted).tolist() == np.signbit(found).tolist() and wanted == found


@pytest.mark.parametrize("lane", [0, 17, 63])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_lane_that_is_not_finite_shows(lane: int, bad: float) -> None:
    row = np.ones(64, np.float32)
    row[lane] = bad
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(plain(row, row[0])[1]) and not np.isfinite(packed(row, row[0])[1])


@pytest.mark.parametrize("bad", [None, np.nan, 1e300])
def test_a_row_known_to_be_whole_gives_the_bits_of_one_that_is_searched(bad: float | None) -> None:
    row, cells = np.random.default_rng(1).normal(size=64), np.zeros((2, 5))
    if bad is not None:
        row[5] = bad
    for cell, whole in zip(cells, (True, False), strict=True):
        with np.errstate(invalid="ignore", over="ignore"):
            moments.add_row(cell, row, np.full(64, -1), 64, np.zeros(64), whole, np.empty(64))
    assert np.array_equal(cells[0], cells[1], equal_nan=True)
    assert cells[0, 0] == (63 if bad != bad else 64)


def test_merge_equals_one_pass() -> None:
    rng = np.random.default_rng(4)
    data = rng.normal(1e6, 1.0, 1000)

    def of(part: Any) -> Any:
        cell = [part.size, part.mean(), part.var() * part.size, part.min(), part.max()] if part.size else None
        return moments.empty(1, 1) if cell is None else np.array(cell).reshape(1, 1, 5)

    total = moments.empty(1, 1)
    for part in np.split(data, [0, 10, 11, 500]):
        moments.merge(total, of(part))
    np.testing.assert_allclose(total, of(data), rtol=1e-12)


def test_a_block_of_lanes_that_are_not_whole_groups_is_refused() -> None:
    """Sums would read what lies behind it."""
    program = Program(*[0] * len(Program._fields))._replace(lanes=12)
    block = np.zeros((1, 12))
    with pytest.raises(ValueError, match="lanes must be a multiple of 8"):
        check(program, None, None, None, block, block, block, 12, 0, 0, block, block, 0, False)  # type: ignore[arg-type]
