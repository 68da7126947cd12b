"""What loops are compiled of: NamedTuples by address, helpers once for each type, vectors as wide as they gain by."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import sympy as sp

from sde import SDE, Jump, simulate
from sde.engine import chunk
from sde.kernels import compiler, options, pipeline, target
from sde.kernels.machine_code import kernel
from sde.kernels.shared_functions import compiled
from tests.naive import hybrid as naive

X = sp.Symbol("X", real=True)


class Inside(NamedTuple):
    count: int
    rows: Any


class Outside(NamedTuple):
    factor: float
    inside: Inside
    table: Any
    flag: bool


@options.seldom
def power_sum(row, exponent):
    total = 0.0
    for i in range(len(row)):
        total += row[i] ** exponent
    return total


def collect(given, out):
    exponent = 1
    out[0] = power_sum(given.inside.rows, 1)
    for i in range(1, len(out)):
        exponent += 1
        out[i] = given.factor * power_sum(given.table[i], exponent) if given.flag else given.inside.count


def test_members_are_read_where_they_are_and_literals_compile_nothing_anew() -> None:
    table, rows, out = np.arange(12.0).reshape(3, 4), np.array([1.5, 2.5]), np.zeros(3)
    given = Outside(0.5, Inside(7, rows), table, True)
    run = kernel(collect, given, out, stamp="test_compiled_parts")
    for flag in (True, False):
        now = given._replace(flag=flag, inside=Inside(9, rows * 2))
        run(now, out)
        expected = np.zeros(3)
        collect(now, expected)
        assert out == pytest.approx(expected, rel=1e-15)
    (mine,) = [d for d in compiler._alive if d.py_func is power_sum]
    assert len(mine.overloads) <= 1  # none where the kernel came from the cache


def test_wide_vectors_are_asked_for_where_there_are_some() -> None:
    wide = target.vector_bytes() == 64 and target.name() not in pipeline.SLOWED
    assert ("-prefer-256-bit" in pipeline.codegen()._tm_features) == wide


@pytest.mark.parametrize("word", range(4))
def test_random_numbers_of_single_lanes_are_the_naive_twins(word: int) -> None:
    """docs/theory.md eq. (6.7), and waits."""
    seed, path, step = 5 + word, 2**33 + word, 17 * word
    four = naive.words(seed, path, step, naive.STREAM_CROSSING, 2**31 + 3)
    assert compiled("float64", "passage").ctypes(0.7, -0.2 * word - 0.1, seed, path, step, 3) == pytest.approx(
        naive.passage(0.7, -0.2 * word - 0.1, four), rel=1e-12
    )
    first = naive.words(seed, path, step, naive.STREAM_WAIT, 2)
    assert compiled("float32", "wait").ctypes(seed, path, step, 2) == pytest.approx(
        -np.log(naive.wide(first[0], first[1])), rel=1e-12
    )


def test_a_run_compiles_only_the_random_numbers_that_it_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(Exception):
        pass

    def ask(dtype: Any, kind: type, used: tuple[str, ...]) -> None:
        raise Enough(*used)

    monkeypatch.setattr(chunk, "run_hybrid", ask)
    given: dict[str, Any] = {"time": 0.1, "dt": 0.05, "paths": 8, "check": False, "start": {X: 0.0}}
    free, jumping = SDE([X], [1], [[1]]), SDE([X], [1], [[0]], jumps=[Jump({X: X + 1}, rate=1)])
    stops: dict[str, Any] = {"events": {"up": X - 1}, "stop": "first"}
    for sde, more, expected in (
        (free, {**stops, "crossings": "steps"}, ()),
        (free, stops, ("passage",)),
        (jumping, {}, ("wait",)),
    ):
        with pytest.raises(Enough) as found:
            simulate(sde, **given, **more)
        assert found.value.args == expected
