"""Normals and uniforms: accuracy of the transform, law, tails, and independence of lanes and blocks."""

import re
from math import erfc, sqrt

import numpy as np
import pytest
from numba import njit
from scipy import stats

from sde.kernels import compiler
from sde.kernels.random import fillers, normal
from sde.kernels.random.draws import normals, uniforms

compiler.register()

DTYPES = (np.float32, np.float64)


@njit
def transform32(a, b):
    out = np.empty((2, len(a)), np.float32)
    for i in range(len(a)):
        r = normal.root32(*normal.split32(a[i]))
        c, s = normal.circle32(b[i])
        out[0, i], out[1, i] = r * c, r * s
    return out


@njit
def transform64(a, b):
    out = np.empty((2, len(a)))
    for i in range(len(a)):
        r = normal.root64(*normal.split64(a[i]))
        c, s = normal.circle64(b[i])
        out[0, i], out[1, i] = r * c, r * s
    return out


@pytest.fixture(scope="module")
def drawn():
    return {dtype: normals(16, 65536, seed=2024, dtype=dtype) for dtype in DTYPES}


def ulps(value, exact):
    """Error in units in the last place of the exact value (of float32 or float64)."""
    return np.abs(value.astype(np.longdouble) - exact) / np.spacing(np.abs(exact).astype(value.dtype))


def exact_circle(b, bits):
    """cos and sin of 2 pi b / 2**bits in extended precision: reduced to the nearest quarter turn first, in
    integers.
    """
    quarter = np.int64(2 ** (bits - 2))
    near = (b.astype(np.int64) + quarter // 2) // quarter
    angle = (b.astype(np.int64) - near * quarter).astype(np.longdouble) * (2 * np.arctan(np.longdouble(1)) / quarter)
    c, s = np.cos(angle), np.sin(angle)
    return np.choose(near % 4, (c, -s, -c, s)), np.choose(near % 4, (s, c, -s, -c))


def hard_words(bits, dtype):
    rng = np.random.default_rng(3)
    edges = [0, 1, 2, 3] + [2**k + d for k in range(2, bits) for d in (-1, 0, 1)] + [2**bits - 1, 2**bits - 2]
    edges += [q * 2 ** (bits - 3) + d for q in range(1, 8) for d in (-1, 1)]
    spread = rng.integers(0, 2**bits, 200_000, dtype=np.uint64)
    small = spread >> rng.integers(0, bits - 2, spread.size, dtype=np.uint64)
    a = np.concatenate([np.array(edges, np.uint64), spread, small]).astype(dtype)
    return a, rng.permutation(a)


def test_float32_transform_is_accurate():
    a, b = hard_words(32, np.uint32)
    got = transform32(a, b)
    u = (a.astype(np.float32) + np.float32(0.5)).astype(np.longdouble) / 2**32
    radius = np.sqrt(-2 * np.log(u))
    for value, turn in zip(got, exact_circle(b, 32), strict=True):
        exact = radius * turn
        used = exact != 0
        assert ulps(value[used], exact[used]).max() < 5
        assert np.abs(value[~used]).max(initial=0) == 0


def test_float64_transform_is_accurate():
    a, b = hard_words(52, np.uint64)
    got = transform64(a, b)
    u = (2 * a.astype(np.longdouble) + 1) / np.longdouble(2) ** 53
    radius = np.sqrt(-2 * np.log(u))
    for value, turn in zip(got, exact_circle(b, 52), strict=True):
        exact = radius * turn
        used = exact != 0
        assert ulps(value[used], exact[used]).max() < 6
        assert np.abs(value[~used]).max(initial=0) == 0


def test_extreme_words_give_the_stated_tails():
    quarter = np.array([0], np.uint32)
    assert transform32(quarter, quarter)[0, 0] == pytest.approx(sqrt(2 * 33 * np.log(2)), rel=1e-6)
    assert transform64(quarter.astype(np.uint64), quarter.astype(np.uint64))[0, 0] == pytest.approx(
        sqrt(2 * 53 * np.log(2)), rel=1e-14
    )
    assert transform32(np.array([2**32 - 1], np.uint32), quarter)[0, 0] == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_law_moments_and_tails(drawn, dtype):
    z = drawn[dtype].ravel().astype(np.float64)
    n = z.size
    assert stats.kstest(z, "norm").pvalue > 0.01
    double_factorial = [1, 0, 1, 0, 3, 0, 15, 0, 105, 0, 945, 0, 10395, 0, 135135, 0, 2027025]
    for k in range(1, 9):
        variance = double_factorial[2 * k] - double_factorial[k] ** 2
        assert abs((z**k).mean() - double_factorial[k]) < 4 * sqrt(variance / n), k
    for cut in (2, 3, 4, 4.5):
        expected = n * erfc(cut / sqrt(2))
        assert abs((np.abs(z) > cut).sum() - expected) < 4 * sqrt(expected), cut


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_and_paths_are_uncorrelated(drawn, dtype):
    rows = drawn[dtype].astype(np.float64)
    correlation = np.corrcoef(rows)[np.triu_indices(16, 1)]
    assert np.abs(correlation).max() < 4.5 / sqrt(rows.shape[1])
    squares = np.corrcoef(rows**2)[np.triu_indices(16, 1)]
    assert np.abs(squares).max() < 4.5 / sqrt(rows.shape[1])
    assert abs(np.mean(rows[:, 1:] * rows[:, :-1])) < 4.5 / sqrt(rows.size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("draw", [normals, uniforms])
def test_bits_do_not_depend_on_lanes_offsets_or_row_counts(dtype, draw):
    whole = draw(7, 512, seed=9, step=4, stream=1, block=3, dtype=dtype)
    for lanes in (64, 128, 256):
        for first in range(0, 512, lanes):
            part = draw(5, lanes, seed=9, first_path=first, step=4, stream=1, block=3, dtype=dtype)
            assert part.tobytes() == np.ascontiguousarray(whole[:5, first : first + lanes]).tobytes()
    skip = 4 if dtype == np.float32 else 2
    later = draw(7 - skip, 512, seed=9, step=4, stream=1, block=4, dtype=dtype)
    assert later.tobytes() == whole[skip:].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniforms_are_open_and_uniform(dtype):
    u = uniforms(8, 65536, seed=11, dtype=dtype).ravel().astype(np.float64)
    assert u.min() > 0 and u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 0.01
    scaled = u * (2**24 if dtype == np.float32 else 2**53)
    assert np.all(scaled % 2 == 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fill_is_vectorised_without_library_calls(dtype):
    function = fillers.FUNCTIONS[np.dtype(dtype).name]["normals"]
    compiled = njit(function, nogil=True, error_model="numpy", fastmath={"contract"})
    compiled.compile(tuple(map(compiler.kind, fillers.signature(dtype)[1:])))
    (assembly,) = compiled.inspect_asm().values()
    if "%ymm" not in assembly:
        assert not re.search(r"\b(logf?|sincosf?|cosf?|sinf?)\b", assembly)
        return
    kind = "ps" if dtype == np.float32 else "pd"
    for operation in (rf"vmul{kind}.*%[yz]mm", rf"vsqrt{kind}.*%[yz]mm", r"vpmuludq.*%[yz]mm"):
        assert re.search(operation, assembly), operation
