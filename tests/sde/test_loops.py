"""The generic loop against plain-Python twins, and the statistics, bits and failures it must get right."""

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise, product
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from sde.kernels import compiled_program, compiler, drivers, minibatch, options
from sde.kernels.loop import Clock, run_block
from sde.kernels.random import draws, philox
from sde.kernels.statistics import moments

compiler.register()

RESCALING = """
def step(x, n, h, t, p):
    for i in range(LANES):
        u = x[i]; w = x[LANES + i]
        q = 2 * (u * w * n[i] - n[LANES + i])
        x[i] = u - h * q * w
        x[LANES + i] = w - h * q * u
def accumulate(x, z, w, n, p):
    for i in range(LANES):
        a = z[i]; y = z[LANES + i]
        n[i] += w[i] * (a * a)
        n[LANES + i] += w[i] * (a * y)
def sweep(x, z, w, n, p, rows):
    for r in range(rows):
        for i in range(GROUP):
            n[i] += w[r*LANES + i] * (z[r*2] * z[r*2])
            n[GROUP + i] += w[r*LANES + i] * (z[r*2] * z[r*2 + 1])
def observe(x, t, p, out):
    for i in range(LANES):
        u = x[i]; w = x[LANES + i]
        out[i] = u * u - w * w
        out[LANES + i] = u * w
"""
GBM = """
def step(x, n, h, t, p):
    for i in range(LANES):
        x[i] = x[i] + h * p[0] * x[i] + p[1] * n[i] * x[i]
def observe(x, t, p, out):
    for i in range(LANES):
        out[i] = x[i]
"""
RECORD = """
def step(x, n, h, t, p):
    for i in range(LANES):
        x[i] = n[i]
def accumulate(x, z, w, n, p):
    for i in range(LANES):
        n[i] += w[i] * z[i]
def sweep(x, z, w, n, p, rows):
    for r in range(rows):
        for i in range(GROUP):
            n[i] += w[r*LANES + i] * z[r]
def observe(x, t, p, out):
    for i in range(LANES):
        out[i] = x[i]
"""
CUBE = """
def step(x, n, h, t, p):
    for i in range(LANES):
        x[i] = x[i] + h * x[i] * x[i] * x[i]
        x[LANES + i] = max(x[LANES + i], 0.0)
def observe(x, t, p, out):
    for i in range(LANES):
        out[i] = x[i]
"""
SIZES = {"rescaling": (2, 2, 2, 2), "gbm": (1, 1, 0, 1), "record": (1, 1, 1, 1), "cube": (2, 1, 0, 1)}
TEXTS = {"rescaling": RESCALING, "gbm": GBM, "record": RECORD, "cube": CUBE}
FACTOR = np.linalg.cholesky(np.array([[2.0, 2.0], [2.0, 2.25]]))


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """problem(name, lanes, dtype): the emitted module as plain Python, and compiled into a Program."""
    folder, known = tmp_path_factory.mktemp("emitted"), {}

    def build(name, lanes=64, dtype=np.float64):
        key = (name, lanes, np.dtype(dtype).name)
        if key not in known:
            module_name = "_".join(map(str, key))
            path = folder / f"{module_name}.py"
            path.write_text(TEXTS[name].replace("LANES", str(lanes)).replace("GROUP", "16"))
            spec = importlib.util.spec_from_file_location(module_name, path)
            assert spec is not None and spec.loader is not None
            plain = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(plain)
            compiled = {
                role: compiled_program.compile_emitted(getattr(plain, role), role, dtype)
                for role in ("step", "accumulate", "observe", "sweep")
                if hasattr(plain, role)
            }
            roles = ("step", "accumulate", "observe")
            addresses = [compiled[role].address if role in compiled else 0 for role in roles]
            sweep = compiled["sweep"].address if "sweep" in compiled else 0
            native = compiled_program.Program(lanes, *SIZES[name], *addresses, sweep=sweep, group=16)
            known[key] = SimpleNamespace(plain=plain, compiled=compiled, native=native, dtype=np.dtype(dtype))
        return known[key]

    return build


def advance(
    problem,
    driver,
    start,
    steps,
    saves=None,
    scale=1.0,
    h=0.01,
    seed=5,
    first=0,
    valid=None,
    cuts=(),
    bound=1e9,
    p=(0.0,),
):
    """Run one block; start has one number per state row. Returns a namespace x, dead, statistics, paths."""
    program, dtype = problem.native, problem.dtype
    saves = np.array([0, steps] if saves is None else saves, np.int64)
    clock = Clock(np.arange(steps + 1) * h, np.full(steps, h), np.full(steps, float(scale)), saves)
    x = np.repeat(np.asarray(start, dtype), program.lanes) if np.ndim(start) == 1 else np.asarray(start, dtype).ravel()
    x, dead, when = x.reshape(1, -1).copy(), np.full((1, program.lanes), -1), np.full((1, program.lanes), np.nan)
    valid = program.lanes if valid is None else valid
    table = moments.empty(len(saves), program.observables)
    paths = np.full((len(saves), program.observables, valid), -7, dtype)
    edges = [0, *cuts, steps]
    for begin, end in pairwise(edges):
        run_block(dtype, type(driver), dead.shape[1] > program.lanes)(program, driver)(
            clock,
            seed,
            np.array(p, dtype),
            x,
            dead,
            when,
            first,
            valid,
            begin,
            end,
            bound,
            table,
            paths,
            0,
        )
    return SimpleNamespace(x=x.reshape(-1, program.lanes), dead=dead[0], statistics=table, paths=paths)


def noise(rows, lanes, step, seed=5, first=0, dtype=np.float64, stream=philox.STREAM_NOISE, block=0):
    return draws.normals(rows, lanes, seed, first, step, stream, block, dtype)


@pytest.mark.parametrize("name", ["rescaling", "gbm"])
def test_compiled_functions_agree_with_their_text(problem, name):
    run_plain = problem(name).plain
    native = problem(name).native
    rng = np.random.default_rng(0)
    x, n, z = (rng.normal(size=rows * 64) for rows in (native.states, native.inputs, max(native.data, 1)))
    p, w, out = np.array([0.3, 0.5]), rng.normal(size=64), np.zeros(native.observables * 64)
    arguments = {"step": (x, n, 0.02, 0.5, p), "accumulate": (x, z, w, n, p), "observe": (x, 0.5, p, out)}
    arguments["sweep"] = (x[: native.states * 16], z, rng.normal(size=5 * 64), n[: native.inputs * 16], p, 5)
    for role, compiled in problem(name).compiled.items():
        plain = [np.copy(a) for a in arguments[role]]
        fast = [np.copy(a) for a in arguments[role]]
        getattr(run_plain, role)(*plain)
        compiled.ctypes(
            *(a.ctypes.data_as(c) if a.ndim else a.item() for a, c in zip(fast, compiled.ctypes.argtypes, strict=True))
        )
        for a, b in zip(plain, fast, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-13)


def test_gaussian_driver_matches_a_plain_loop(problem):
    built = problem("rescaling")
    got = advance(built, drivers.gaussian([1, 1], FACTOR, np.float64), [1.2, 0.6], 20, saves=[0, 7, 20], scale=0.7)
    x, seen = np.repeat([1.2, 0.6], 64), {}
    for k in range(20):
        n = np.array([[1.0], [1.0]]) + 0.7 * FACTOR @ draws.step_normals(2, 64, 5, 0, k)
        built.plain.step(x, n.ravel(), 0.01, k * 0.01, np.zeros(1))
        seen[k + 1] = x.reshape(2, 64).copy()
    np.testing.assert_allclose(got.x, seen[20], rtol=1e-12)
    np.testing.assert_allclose(got.paths[1, 1], seen[7][0] * seen[7][1], rtol=1e-12)
    np.testing.assert_allclose(got.statistics[2, 1, moments.MEAN], got.paths[2, 1].mean(), rtol=1e-14)
    np.testing.assert_allclose(got.statistics[2, 1, moments.M2], got.paths[2, 1].var() * 64, rtol=1e-12)


def test_mean_driver_is_gradient_descent(problem):
    built = problem("rescaling")
    got = advance(built, drivers.mean([1, 1], np.float64), [1.2, 0.6], 500)
    still = advance(built, drivers.gaussian([1, 1], FACTOR, np.float64), [1.2, 0.6], 500, scale=0)
    assert np.ptp(got.x, axis=1).max() == 0
    np.testing.assert_allclose(got.x[0] * got.x[1], 1, atol=1e-6)
    np.testing.assert_array_equal(got.x, still.x)


def test_law_samples_match_a_plain_loop(problem):
    built = problem("rescaling")
    mixing = np.array([[0.5, 0, 0.3, 0], [1.0, 0.2, 0, -2.0]])
    driver = drivers.sampled(
        np.float64, batch=6, normals=2, chance=[-1, 0.3], location=[0.1, 0.2], mixing=mixing, drawn_rows=[1, 0]
    )
    got = advance(built, driver, [1.2, 0.6], 3)
    x = np.repeat([1.2, 0.6], 64)
    for k in range(3):
        normal = noise(12, 64, k, stream=1)
        uniform = draws.uniforms(12, 64, 5, 0, k, 1, minibatch.UNIFORM_BLOCKS)
        n = np.zeros(128)
        for s in range(6):
            base = np.vstack([normal[2 * s : 2 * s + 2], uniform[2 * s], uniform[2 * s + 1] < 0.3])
            y, a = np.array([[0.1], [0.2]]) + mixing @ base
            built.plain.accumulate(x, np.concatenate([a, y]), np.full(64, 1 / 6), n, np.zeros(1))
        built.plain.step(x, n, 0.01, 0.0, np.zeros(1))
    np.testing.assert_allclose(got.x.ravel(), x, rtol=1e-12)


def test_mixed_samples_take_rows_from_table_and_law(problem):
    built = problem("rescaling")
    table = np.array([[2.0], [3.0]])
    driver = drivers.sampled(np.float64, 2, table, [0], normals=1, location=[10.0], mixing=[[1.0]], drawn_rows=[1])
    got = advance(built, driver, [1.0, 1.0], 1)
    e = noise(2, 64, 0, stream=1)
    matches = []
    for a, b in product((2.0, 3.0), repeat=2):
        n = np.concatenate([np.full(64, (a * a + b * b) / 2), (a * (10 + e[0]) + b * (10 + e[1])) / 2])
        x = np.ones(128)
        built.plain.step(x, n, 0.01, 0.0, np.zeros(1))
        matches.append(np.all(np.abs(got.x - x.reshape(2, 64)) < 1e-12, axis=0))
    assert np.all(np.sum(matches, axis=0) == 1)
    assert min(np.sum(matches, axis=1)) > 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_more_rows_than_scratch_holds_are_the_same_sums(problem, monkeypatch, dtype):
    built = problem("rescaling", dtype=dtype)
    table = np.random.default_rng(2).normal(size=(19, 2))
    driver = drivers.weighted(np.linspace(0.5, 1.5, 19) / 19, table, [1, 0], dtype)
    whole = advance(built, driver, [1.2, 0.6], 3, scale=0.4)
    monkeypatch.setattr(drivers, "KEPT", 8)
    some = advance(built, driver, [1.2, 0.6], 3, scale=0.4)
    np.testing.assert_allclose(some.x, whole.x, rtol=20 * np.finfo(dtype).eps)


def test_weighted_driver_matches_a_plain_loop(problem):
    built = problem("rescaling")
    table = np.random.default_rng(1).normal(size=(11, 2))
    driver = drivers.weighted(np.full(11, 1 / 11), table, [0, 1], np.float64)
    got = advance(built, driver, [1.2, 0.6], 2, scale=0.4)
    x = np.repeat([1.2, 0.6], 64)
    for k in range(2):
        xi = noise(11, 64, k)
        weight = 1 / 11 + 0.4 * (xi - xi.mean(0)) / np.sqrt(11)
        n = np.concatenate([weight.T @ table[:, 0] ** 2, weight.T @ (table[:, 0] * table[:, 1])])
        built.plain.step(x, n, 0.01, 0.0, np.zeros(1))
    np.testing.assert_allclose(got.x.ravel(), x, rtol=1e-12)
    still = advance(built, driver, [1.2, 0.6], 2, scale=0)
    batch = drivers.sampled(np.float64, 11, table, [0, 1], replacement=False)
    np.testing.assert_allclose(still.x, advance(built, batch, [1.2, 0.6], 2).x, rtol=1e-13)


def test_subsets_without_replacement_are_uniform(problem):
    driver = drivers.sampled(np.float64, 3, 2.0 ** np.arange(6)[:, None], [0], replacement=False)
    codes = (
        np.rint(3 * advance(problem("record"), driver, [0.0], 800, saves=np.arange(1, 801)).paths).astype(int).ravel()
    )
    subsets = [sum(2**i for i in c) for c in combinations(range(6), 3)]
    counts = np.array([(codes == s).sum() for s in subsets])
    assert counts.sum() == codes.size
    assert stats.chisquare(counts).pvalue > 0.01


def test_indices_with_replacement_are_uniform(problem):
    driver = drivers.sampled(np.float64, 2, 8.0 ** np.arange(5)[:, None], [0])
    codes = (
        np.rint(2 * advance(problem("record"), driver, [0.0], 800, saves=np.arange(1, 801)).paths).astype(int).ravel()
    )
    counts = {8**i + 8**j: (codes == 8**i + 8**j).sum() for i in range(5) for j in range(i, 5)}
    expected = [codes.size / 25 * (1 if i == j else 2) for i in range(5) for j in range(i, 5)]
    assert stats.chisquare(list(counts.values()), expected).pvalue > 0.01


def test_geometric_brownian_motion_has_its_moments(problem):
    mu, sigma, h, steps = 0.5, 0.4, 0.02, 50
    built, driver = problem("gbm", 256), drivers.gaussian([0.0], [[1.0]], np.float64)
    total = moments.empty(2, 1)
    for block in range(100):
        part = advance(built, driver, [1.0], steps, scale=np.sqrt(h), h=h, first=256 * block, p=(mu, sigma))
        moments.merge(total, part.statistics)
    count, mean, m2, low, high = total[1, 0]
    variance = ((1 + mu * h) ** 2 + sigma**2 * h) ** steps - (1 + mu * h) ** (2 * steps)
    assert count == 25_600 and 0 < low < mean < high
    assert abs(mean - (1 + mu * h) ** steps) < 4 * np.sqrt(variance / count)
    assert abs(m2 / (count - 1) - variance) < 4 * np.sqrt(6 / count) * variance * 1.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_depend_only_on_seed_and_path(problem, dtype):
    table = np.random.default_rng(2).normal(size=(9, 2))
    cases = {
        "gaussian": drivers.gaussian([1, 1], FACTOR, dtype),
        "subset": drivers.sampled(dtype, 3, table, [0, 1], replacement=False),
        "law": drivers.sampled(dtype, 5, normals=2, location=[0, 0], mixing=[[1, 0], [1, 0.5]], drawn_rows=[0, 1]),
        "weighted": drivers.weighted(np.full(9, 1 / 9), table, [0, 1], dtype),
    }
    for driver in cases.values():
        whole = advance(problem("rescaling", 256, dtype), driver, [1.2, 0.6], 40, saves=[0, 13, 40])
        for lanes in (64, 128):
            built = problem("rescaling", lanes, dtype)
            for first in range(0, 256, lanes):
                part = advance(
                    built,
                    driver,
                    [1.2, 0.6],
                    40,
                    saves=[0, 13, 40],
                    first=first,
                    cuts=(1, 13, 29),
                    valid=lanes - 5,
                )
                assert part.x.tobytes() == np.ascontiguousarray(whole.x[:, first : first + lanes]).tobytes()
                assert (
                    part.paths.tobytes() == np.ascontiguousarray(whole.paths[:, :, first : first + lanes - 5]).tobytes()
                )


def test_threads_give_the_same_bits(problem):
    built, driver = problem("rescaling", 64), drivers.gaussian([1, 1], FACTOR, np.float64)

    def block(b):
        return advance(built, driver, [1.2, 0.6], 300, first=64 * b)

    alone = [block(b) for b in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(block, range(8)))
    for a, b in zip(alone, together, strict=True):
        assert a.x.tobytes() == b.x.tobytes() and a.statistics.tobytes() == b.statistics.tobytes()


def test_exploded_lanes_are_dated_and_left_out(problem):
    start = np.zeros((2, 64))
    start[0], start[0, 3], start[0, 7], start[1, 9] = 0.1, 5.0, np.inf, np.nan
    got = advance(problem("cube"), drivers.mean([0.0], np.float64), start, 40, saves=[0, 1, 40], h=0.1, cuts=(2, 20))
    plain, first = 5.0, 0
    while abs(plain) <= 1e9:
        plain, first = plain + 0.1 * plain**3, first + 1
    assert got.dead[3] == first and got.dead[7] == 0 and got.dead[9] == 0
    assert (got.dead >= 0).sum() == 3
    assert got.statistics[:, 0, moments.COUNT].tolist() == [62, 62, 61]
    assert np.isnan(got.paths[2, 0]).sum() == 3 and got.paths[0, 0, 3] == 5.0
    assert got.statistics[2, 0, moments.HIGH] < 1
    assert np.isnan(got.x[0, [3, 7, 9]]).all()


def test_valid_limits_statistics(problem):
    start = np.arange(64.0)[None]
    got = advance(problem("gbm"), drivers.mean([0.0], np.float64), start, 1, valid=10, p=(0.0, 0.0))
    assert got.statistics[1, 0].tolist() == [10, 4.5, 82.5, 0, 9]


def test_wrong_shapes_and_types_are_refused(problem):
    built, driver = problem("gbm"), drivers.mean([0.0], np.float64)
    with pytest.raises(ValueError, match="states \\* lanes"):
        advance(built, driver, [1.0, 2.0], 1)
    with pytest.raises(ValueError, match="accumulate"):
        advance(built, drivers.sampled(np.float64, 1, [[1.0]], [0]), [1.0], 1)
    with pytest.raises(TypeError):
        advance(built, drivers.mean([0.0], np.float32), [1.0], 1)
    with pytest.raises(ValueError, match="batch without replacement"):
        drivers.sampled(np.float64, 3, [[1.0], [2.0]], [0], replacement=False)


def test_a_second_process_loads_the_loop_from_the_cache(problem):
    run_block(np.float64, drivers.Gaussian)
    code = (
        "from sde.kernels.drivers import Gaussian; from sde.kernels.loop import compile_loop as c;"
        " print(int(c('float64', Gaussian).native.cached))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "1"


def test_fast_arithmetic_keeps_nan_and_infinity():
    assert not {"nnan", "ninf", "fast"} & options.FASTMATH
