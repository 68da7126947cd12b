"""Case A12: what quantiles may be off, `quantile_error`, is a bound on any sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import simulate
from sde.engine.quantiles import Sketch
from symbolic import SDE, Normal

AT = [0.05, 0.25, 0.5, 0.75, 0.95]
KINDS = 14


def hostile(kind: int, rng: np.random.Generator, n: int, dtype: str) -> np.ndarray:
    """Heavy tails, ties, clusters, offsets, subnormals, the ends of the range, few values, sorted input, steps of one
    place."""
    z, tiny, big = rng.standard_normal(n), float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    off = rng.choice([0, 1, -1, 1e8, -1e8, 1e-30, 1e4, 3e7])
    made = {
        0: lambda: off + z,
        1: lambda: off + rng.standard_cauchy(n),
        2: lambda: np.round(z * rng.choice([1, 3, 10])) + off,
        3: lambda: np.where(rng.random(n) < rng.random(), off, -off) + z * rng.choice([0, 1e-3, 1]),
        4: lambda: z * tiny * rng.choice([1, 0.01, 100]),
        5: lambda: np.sort(off + z),
        6: lambda: rng.choice(rng.standard_normal(3) * 10.0 ** rng.integers(-8, 8), n),
        7: lambda: np.exp(z * rng.choice([1, 5, 10])),
        8: lambda: np.concatenate([np.full(n // 2, off), off + z[n // 2 :] * 10.0 ** rng.integers(-10, 6)]),
        9: lambda: big * rng.uniform(-1, 1, n),
        10: lambda: np.sort(rng.standard_cauchy(n))[::-1] + off,
        11: lambda: np.full(n, off),
        12: lambda: off * (1 + rng.integers(-3, 4, n) * float(np.finfo(dtype).eps)),
        13: lambda: np.where(rng.random(n) < 0.01, z * 1e30, z),
    }[kind]()
    with np.errstate(over="ignore", under="ignore"):
        values = np.asarray(made).astype(dtype)
    if rng.random() < 0.15:
        values[rng.random(n) < rng.random() * 0.5] = np.nan
    if rng.random() < 0.15:
        values[rng.random(n) < 0.1] = rng.choice([np.inf, -np.inf])
    return values


def broken(rng: np.random.Generator, cells: int) -> list[Any]:
    """Samples in chunks of which one, often unlike the rest, fixes the bins: those whose bound does not hold."""
    dtype, n, parts = str(rng.choice(["float32", "float64"])), int(rng.integers(40, 3000)), int(rng.integers(1, 6))
    kinds = rng.integers(KINDS, size=cells)
    rows = np.array([hostile(int(k), rng, n, dtype) for k in kinds])
    size = -(-n // parts)
    chunks = [np.ascontiguousarray(rows[:, i : i + size]) for i in range(0, n, size)]
    sketch = Sketch(cells, dtype, frozenset([int(rng.integers(len(chunks)))]), 1)
    for i, chunk in enumerate(chunks):
        sketch.add(i, chunk, chunk.shape[1])
    finite = [v[np.isfinite(v)] for v in rows]
    low = np.array([f.min() if len(f) else np.inf for f in finite], dtype=float)
    high = np.array([f.max() if len(f) else -np.inf for f in finite], dtype=float)
    found, error = sketch.quantiles(AT, low, high)
    out = []
    for c, values in enumerate(finite):
        with np.errstate(over="ignore", invalid="ignore"):
            exact = [np.quantile(values.astype(kind), AT) for kind in (np.float64, dtype)] if len(values) else []
        for right in exact:
            if not (np.abs(found[:, c] - right.astype(float)) <= error[:, c]).all():
                out.append((int(kinds[c]), dtype, found[:, c], right, error[:, c]))
    return out


def test_case_a12_a_thousand_hostile_samples() -> None:
    rng = np.random.default_rng(0)
    assert not [b for _ in range(50) for b in broken(rng, 20)]


@pytest.mark.slow
def test_case_a12_ten_thousand_hostile_samples() -> None:
    rng = np.random.default_rng(1)
    assert not [b for _ in range(500) for b in broken(rng, 20)]


@pytest.mark.parametrize("offset", [1e8, -1e8, 3e7, 16_777_217.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_case_a12_a_normal_far_from_zero(offset: float, dtype: str) -> None:
    X = sp.Symbol("X", real=True)
    options: dict[str, Any] = {
        "start": {X: Normal(offset, 1)},
        "time": 1.0,
        "dt": 1.0,
        "paths": 10_000,
        "save_at": 2,
        "dtype": dtype,
    }
    still = SDE([X], [0], [[0]])
    values = simulate(still, keep="paths", **options).X.values[:, -1].astype(np.float64)
    run = simulate(still, **options)
    for q in AT:
        found = float(run.X.sel(statistic=f"q{round(100 * q):02d}")[-1])
        assert abs(found - np.quantile(values, q)) <= run.X.attrs["quantile_error"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_case_a12_two_clusters(dtype: str) -> None:
    """Half the paths near -1e8, half near 1e8: a bin of the spread's width holds a whole cluster."""
    X = sp.Symbol("X", real=True)
    start = np.where(np.arange(10_000) % 2 == 0, -1e8, 1e8) + np.random.default_rng(4).standard_normal(10_000)
    options: dict[str, Any] = {
        "start": {X: start},
        "time": 1.0,
        "dt": 1.0,
        "paths": 10_000,
        "save_at": 2,
        "dtype": dtype,
    }
    run = simulate(SDE([X], [0], [[0]]), **options)
    values = start.astype(dtype)
    for q in AT:
        found = float(run.X.sel(statistic=f"q{round(100 * q):02d}")[-1])
        for right in (np.quantile(values.astype(float), q), float(np.quantile(values, q))):
            assert abs(found - right) <= run.X.attrs["quantile_error"]


def test_case_a12_what_the_documentation_says_of_a_normal_sample() -> None:
    """4 % of half the interquartile range (the median 2 %), and a tenth of that in truth."""
    values = np.random.default_rng(0).standard_normal((20, 100_000))
    sketch = Sketch(20, "float64", frozenset([0, 3, 6, 9]), 1)
    for i in range(10):
        sketch.add(i, np.ascontiguousarray(values[:, i * 10_000 : (i + 1) * 10_000]), 10_000)
    found, error = sketch.quantiles(AT, values.min(axis=1), values.max(axis=1))
    right = np.quantile(values, AT, axis=1)
    half = (right[3] - right[1]) / 2
    assert (error / half).max() < 0.04 and (error[2] / half).max() < 0.02
    assert (np.abs(found - right) / half).max() < 0.004
