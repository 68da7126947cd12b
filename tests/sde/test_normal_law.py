"""The law of the normals and their independence, by tests of a declared level on a fixed seed, and generators that they
must reject.

Every suite of tests holds ALPHA together (Bonferroni): a right generator fails one seed in 1 / ALPHA. Draws come in
batches of 2**20, so memory does not grow with their number. The tails of float32 are held against the transform's own
law: 2**32 radii, none above 6.76.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import comb, erfc, exp, pi, prod, sqrt
from typing import Any

import numpy as np
import pytest
from numba import njit
from scipy import special, stats

from sde.kernels import compiler
from sde.kernels.random import normal
from sde.kernels.random.draws import normals, step_normals
from sde.kernels.random.philox import STREAM_NOISE, STREAM_SAMPLES, philox

compiler.register()

ALPHA = 1e-3
SEED = 20_240_607
DTYPES = ("float32", "float64")
ROWS, LANES = 16, 65_536
BATCH = ROWS * LANES
FEW, MANY = 4, 256
CELLS = 2**14
CUTS = (2, 3, 4, 5, 6)
Mutation = Callable[[np.ndarray], np.ndarray]


def batches(dtype: str, count: int, mutation: Mutation | None = None) -> Iterator[np.ndarray]:
    """Batch b: 16 rows of 65536 paths at step b, float64 copies of what a run draws in `dtype`."""
    for b in range(count):
        z = normals(ROWS, LANES, SEED, 0, b, STREAM_NOISE, 0, dtype).astype(np.float64)
        yield z if mutation is None else mutation(z)


def moment(k: int) -> int:
    return prod(range(1, k, 2)) if k % 2 == 0 else 0


def tail(cut: float, dtype: str) -> float:
    """P(|Z| > cut) under the transform's law: in float32 beyond 4, the sum over its radii of the share of angles that
    reach it."""
    if dtype == "float64" or cut < 4:
        return erfc(cut / sqrt(2))
    u = (np.arange(int(2**32 * exp(-(cut**2) / 2)) + 1) + 0.5) / 2**32
    r = np.sqrt(-2 * np.log(u))
    return float(np.arccos(np.minimum(cut / r, 1)).sum() * 2 / pi / 2**32)


def anderson_darling_tail(a: float) -> float:
    """P(A**2 > a) in the limit of many draws; Marsaglia and Marsaglia, J. Stat. Softw. 9(2) (2004)."""
    if a < 2:
        c = (2.00012, 0.247105, -0.0649821, 0.0347962, -0.0116720, 0.00168691)
        return 1 - exp(-1.2337141 / a) / sqrt(a) * float(np.polynomial.polynomial.polyval(a, c))
    c = (1.0776, -2.30695, 0.43424, -0.082433, 0.008056, -0.0003146)
    return -float(np.expm1(-exp(float(np.polynomial.polynomial.polyval(a, c)))))


def law(drawn: Iterator[np.ndarray], dtype: str) -> dict[str, float]:
    """p-values: Kolmogorov-Smirnov and Anderson-Darling on 2**14 equally likely cells, moments 1..8, tail counts by the
    binomial law."""
    n, powers, beyond, cells = 0, np.zeros(8), np.zeros(len(CUTS), np.int64), np.zeros(CELLS, np.int64)
    for z in drawn:
        z = z.ravel()
        n, size, power = n + z.size, np.abs(z), np.ones_like(z)
        for k in range(8):
            power *= z
            powers[k] += power.sum()
        beyond += [int((size > cut).sum()) for cut in CUTS]
        cells += np.bincount(np.minimum(special.ndtr(z) * CELLS, CELLS - 1).astype(np.int64), minlength=CELLS)
    uniform = np.arange(1, CELLS) / CELLS
    gap = np.cumsum(cells)[:-1] / n - uniform
    found = {
        "Kolmogorov-Smirnov": float(special.kolmogorov(sqrt(n) * np.abs(gap).max())),
        "Anderson-Darling": anderson_darling_tail(n * float((gap**2 / (uniform * (1 - uniform))).sum()) / CELLS),
    }
    for k in range(1, 9):
        error = sqrt((moment(2 * k) - moment(k) ** 2) / n)
        found[f"moment {k}"] = erfc(abs(powers[k - 1] / n - moment(k)) / error / sqrt(2))
    for cut, count in zip(CUTS, beyond.tolist(), strict=True):
        found[f"beyond {cut}"] = stats.binomtest(count, n, tail(cut, dtype)).pvalue
    return found


def rejected(found: dict[str, float]) -> dict[str, float]:
    return {name: p for name, p in found.items() if not p > ALPHA / len(found)}


@pytest.mark.parametrize("dtype", DTYPES)
def test_four_million_normals(dtype: str) -> None:
    assert not rejected(law(batches(dtype, FEW), dtype))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_quarter_of_a_billion_normals(dtype: str) -> None:
    """2**28 draws: a variance off by 5e-4 is six standard errors away."""
    assert not rejected(law(batches(dtype, MANY), dtype))


def heavier(z: np.ndarray) -> np.ndarray:
    """Beyond 3 the size grows half as fast again: 0.3 % of the draws move."""
    size = np.abs(z)
    return np.copysign(np.where(size > 3, 3 + 1.5 * (size - 3), size), z)


FAULTS: dict[str, tuple[Mutation, set[str]]] = {
    "variance 1.01": (lambda z: z * sqrt(1.01), {"moment 2", "Anderson-Darling"}),
    "mean 0.004": (lambda z: z + 0.004, {"moment 1", "Anderson-Darling", "Kolmogorov-Smirnov"}),
    "tail": (heavier, {"moment 8", "beyond 4"}),
    "truncated at 3.9": (lambda z: np.clip(z, -3.9, 3.9), {"beyond 4"}),
    "skewed": (lambda z: np.where(z > 0, z, z * 1.004), {"moment 3"}),
}
SMALL_FAULTS: dict[str, tuple[Mutation, set[str]]] = {
    "variance 1.0005": (lambda z: z * sqrt(1.0005), {"moment 2"}),
    "truncated at 4.9": (lambda z: np.clip(z, -4.9, 4.9), {"beyond 5"}),
    "tail of 1 in 2000": (lambda z: np.where(np.abs(z) > 3.5, z * 1.005, z), {"beyond 4"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_law_is_rejected(fault: str) -> None:
    mutation, by = FAULTS[fault]
    assert by <= set(rejected(law(batches("float64", FEW, mutation), "float64")))


@pytest.mark.slow
@pytest.mark.parametrize("fault", SMALL_FAULTS)
def test_a_slightly_faulty_law_is_rejected(fault: str) -> None:
    mutation, by = SMALL_FAULTS[fault]
    assert by <= set(rejected(law(batches("float32", MANY, mutation), "float32")))


def test_the_level_of_anderson_darling() -> None:
    """Its upper points in the literature, and the law's mean 1."""
    for point, level in ((1.933, 0.10), (2.492, 0.05), (3.878, 0.01)):
        assert anderson_darling_tail(point) == pytest.approx(level, rel=0.01)
    a = np.linspace(1e-3, 20, 20_000)
    assert np.trapezoid([anderson_darling_tail(v) for v in a], a) == pytest.approx(1, abs=2e-3)


@njit
def radii32(words):
    out = np.empty(len(words), np.float32)
    for i in range(len(words)):
        out[i] = normal.root32(*normal.split32(words[i]))
    return out


@njit
def radii64(words):
    out = np.empty(len(words))
    for i in range(len(words)):
        out[i] = normal.root64(*normal.split64(words[i]))
    return out


@pytest.mark.parametrize(
    ("dtype", "cut", "off"),
    [
        ("float32", 4, 2e-6),
        ("float32", 5, 2e-4),
        ("float32", 6, 0.02),
        ("float64", 7, 1e-5),
        ("float64", 8, 0.02),
    ],
)
def test_the_tail_by_enumeration(dtype: str, cut: float, off: float) -> None:
    """Every word whose radius passes the cut, through the kernel: P(|Z| > cut) without a random number. float32 ends at
    6.76: there, the normal law's tail is known to a few per cent only, and no generator of 2**32 radii knows it
    better."""
    bits, kind, radii = (32, np.uint32, radii32) if dtype == "float32" else (52, np.uint64, radii64)
    words = np.arange(int(2**bits * exp(-(cut**2) / 2) * 1.001) + 2).astype(kind)
    r = radii(words).astype(np.float64)
    found = float(np.arccos(np.minimum(cut / r, 1)).sum()) * 2 / pi / 2**bits
    assert r[-1] < cut < r[0]
    assert found == pytest.approx(erfc(cut / sqrt(2)), rel=off)
    if dtype == "float32":
        assert found == pytest.approx(tail(cut, dtype), rel=off / 10)


def test_the_finite_law_moves_no_moment() -> None:
    """E Z**8 of float32's radii: the sum over words is a midpoint rule, wrong by less than 1 % of the standard error at
    2**28 draws."""
    h, order = 2.0**-32, 4
    u = (np.arange(2**22) + 0.5) * h
    edge = 2.0**22 * h
    exact = special.gammaincc(order + 1, -np.log(edge)) * special.gamma(order + 1) * 2**order
    bias = float(((-2 * np.log(u)) ** order).sum() * h - exact) * comb(8, 4) / 2**8
    assert abs(bias) < 0.01 * sqrt((moment(16) - moment(8) ** 2) / 2**28)


PAIRS: dict[str, Callable[[str, int], tuple[np.ndarray, np.ndarray]]] = {}
"""{neighbours: (dtype, step) -> two arrays of draws that must be independent}."""


def neighbours(rows: int = ROWS, **moved: Any) -> Callable[[str, int], tuple[np.ndarray, np.ndarray]]:
    def draw(dtype: str, step: int) -> tuple[np.ndarray, np.ndarray]:
        place = {"seed": SEED, "first_path": 0, "step": step, "stream": STREAM_NOISE, "block": 0}
        other = {**place, **{k: place[k] + v for k, v in moved.items()}}
        return normals(rows, LANES, **place, dtype=dtype), normals(rows, LANES, **other, dtype=dtype)  # type: ignore[arg-type]

    return draw


def inside(axis: int, gap: int) -> Callable[[str, int], tuple[np.ndarray, np.ndarray]]:
    def draw(dtype: str, step: int) -> tuple[np.ndarray, np.ndarray]:
        z = np.moveaxis(normals(ROWS, LANES, SEED, 0, step, STREAM_NOISE, 0, dtype), axis, 0)
        return z[gap:], z[:-gap]

    return draw


def consecutive(channels: int, gap: int) -> Callable[[str, int], tuple[np.ndarray, np.ndarray]]:
    """Steps 4k and 4k + gap of a driver whose steps share draw blocks."""

    def draw(dtype: str, step: int) -> tuple[np.ndarray, np.ndarray]:
        one, two = (step_normals(channels, ROWS * LANES, SEED, 0, 4 * step + j, dtype) for j in (0, gap))
        return one, two

    return draw


PAIRS |= {f"lanes {gap} apart": inside(1, gap) for gap in (1, 2, 8, 256)}
PAIRS |= {f"rows {gap} apart": inside(0, gap) for gap in (1, 2, 3, 4)}
PAIRS |= {"steps 1 apart": neighbours(step=1), "steps 1000 apart": neighbours(step=1000)}
PAIRS |= {f"seeds {gap} apart": neighbours(seed=gap) for gap in (1, 2, 2**32)}
PAIRS |= {
    "streams": neighbours(stream=STREAM_SAMPLES - STREAM_NOISE),
    "paths 2**32 apart": neighbours(first_path=2**32),
}
PAIRS |= {f"{c} channels, steps {gap} apart": consecutive(c, gap) for c in (1, 3) for gap in (1, 2)}


def independence(
    dtype: str, count: int, first: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
) -> dict[str, float]:
    """p-values that E z z' = 0 and E (z**2 - 1)(z'**2 - 1) = 0, with the exact standard errors 1 / sqrt n and 2 / sqrt
    n.

    Overlapping pairs (a row with the next one, that with its next) are uncorrelated too, so n counts them all.
    """
    found = {}
    for name, draw in PAIRS.items():
        n, product, squares = 0, 0.0, 0.0
        for b in range(count):
            one, two = (z.astype(np.float64).ravel() for z in draw(dtype, 10_000 + 7 * b))
            one = one if first is None else first(one, two)
            n += one.size
            product += float(one @ two)
            squares += float((one * one - 1) @ (two * two - 1))
        found[f"{name}: values"] = erfc(abs(product) / sqrt(n) / sqrt(2))
        found[f"{name}: squares"] = erfc(abs(squares) / sqrt(4 * n) / sqrt(2))
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_are_independent(dtype: str) -> None:
    assert not rejected(independence(dtype, 1))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_are_independent_at_length(dtype: str) -> None:
    """10**8 pairs of every kind."""
    assert not rejected(independence(dtype, 100))


def test_dependence_is_rejected() -> None:
    """A correlation of 0.008, and sizes that go together with signs that do not."""
    values = rejected(independence("float64", 1, lambda one, two: one + 0.008 * two))
    assert {name for name in values if name.endswith("values")} == {f"{name}: values" for name in PAIRS}
    squares = rejected(independence("float64", 1, lambda one, two: one * (1 + 0.005 * two * two)))
    assert {name for name in squares if name.endswith("squares")} == {f"{name}: squares" for name in PAIRS}


Words = Callable[[Any, np.ndarray, np.ndarray], tuple[np.ndarray, ...]]


def keyed(seed: int, paths: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, ...]:
    """Draw block 0 of each path and step, as the kernels count: the seed is the key."""
    nothing = np.zeros_like(paths)
    key = [np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)]
    return philox(nothing, steps, paths, nothing, *key)


def shared_blocks(words: Words, seeds: list[int]) -> int:
    """How many 128-bit blocks of 512 paths and 128 steps come again, under the same seed or another."""
    paths, steps = (v.ravel().astype(np.uint64) for v in np.meshgrid(np.arange(512), np.arange(128)))
    blocks = [np.stack([np.asarray(w, np.uint64) for w in words(seed, paths, steps)], 1) for seed in seeds]
    everything = np.ascontiguousarray(np.concatenate(blocks)).view("V32").ravel()
    return everything.size - len(np.unique(everything))


@pytest.mark.parametrize("first", [0, 1, SEED, 2**32 - 2, 2**63])
def test_neighbouring_seeds_share_no_block(first: int) -> None:
    """Of no path and no step, at the boundary of the key's two words either."""
    assert shared_blocks(keyed, [first + j for j in range(4)]) == 0


def test_a_seed_added_to_the_path_is_caught() -> None:
    assert shared_blocks(lambda seed, paths, steps: keyed(7, paths + np.uint64(seed), steps), [3, 4]) == 511 * 128
