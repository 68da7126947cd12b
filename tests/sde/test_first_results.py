"""What a first result costs, counted in what is loaded and compiled rather than in seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import lapack

from sde.kernels import arguments, target
from sde.kernels.statistics import moments
from symbolic.problem.sampling import _cholesky

ROOT = Path(__file__).resolve().parents[2]
SPEC = """
[parameters]
u = []
w = []
[data]
x = { law = "normal", mean = 0, std = 1 }
e = { law = "normal", mean = 0, std = 0.5 }
[loss]
expression = "(u*w*x - x - e)**2"
[sgd]
learning_rate = 0.02
[run]
start = { u = 1.2, w = 0.6 }
time = 0.5
paths = 20
save_at = [0.24, 0.5]
dtype = "float32"
"""


def command(*arguments: str, loaded: str = "()") -> tuple[str, list[str]]:
    """(standard output, which of the modules `loaded` were loaded) of a new process of the command line."""
    code = (
        "import sys\nfrom sde.cli.commands import app\n"
        f"try: app({list(arguments)!r})\nexcept SystemExit as end: assert not end.code\n"
        f"print([m for m in {loaded} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout, json.loads(done.stderr.splitlines()[-1].replace("'", '"'))


@pytest.mark.slow
def test_warm_leaves_nothing_to_compile_and_what_is_compiled_needs_no_numba(empty_cache: Path, tmp_path: Path) -> None:
    spec = tmp_path / "two.toml"
    spec.write_text(SPEC)
    text, _ = command("warm", str(spec), "--dtype", "float32", "--json", str(tmp_path / "warm.json"))
    said = json.loads((tmp_path / "warm.json").read_text())
    loops, simulated, trained = said["warmed"]
    assert loops["compiled"] > 10 and loops["kept"] == 0 and simulated["compiled"] > 0 and trained["seconds"] >= 0
    assert said["folder"] == str(empty_cache) and str(empty_cache) in text
    before = {p.name for p in empty_cache.iterdir()}
    for run in ("simulate", "train"):
        heavy = "('numba', 'scipy.linalg', 'matplotlib')"
        _, loaded = command(run, str(spec), "-o", str(tmp_path / "run.nc"), loaded=heavy)
        assert loaded == []
    assert {p.name for p in empty_cache.iterdir()} == before
    again, _ = command("warm", str(spec), "--dtype", "float32")
    assert again.count(": 0 compiled, ") == 3


def test_derive_loads_no_engine() -> None:
    assert command("derive", "rescaling", loaded="('numba', 'llvmlite', 'xarray', 'pandas', 'scipy')")[1] == []


def test_small_factors_are_lapacks_to_the_bit() -> None:
    rng = np.random.default_rng(12)
    for k in range(3000):
        rows = 1 + k % 2
        root = rng.normal(size=(rows, 3)) if k % 5 else np.outer(rng.normal(size=rows), rng.normal(size=3))
        covariance = root @ root.T
        scale = np.sqrt(np.diag(covariance))
        correlation = covariance / np.outer(scale, scale)
        lower, pivots, rank, _ = lapack.dpstrf(correlation, lower=1, tol=1e-12)
        ours, order, found = _cholesky(correlation)
        assert found == rank and list(order) == list(pivots)
        assert np.array_equal(np.tril(ours)[:, :rank], np.tril(lower)[:, :rank])


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 1, 5), np.float32),
        np.zeros((1, 5)),
        np.zeros((1, 1, 10))[:, :, ::2],
        [[[0.0]]],
        np.broadcast_to(0.0, (1, 1, 5)),
        0.0,
    ],
)
def test_kernels_refuse_arrays_of_other_types(wrong: object) -> None:
    cells = moments.empty(1, 1)
    with pytest.raises(TypeError, match=r"kernels\.arguments: .* writable array in C order of float64 with 3 axes"):
        moments.merge(cells, wrong)  # type: ignore[arg-type]


def test_numbers_reach_kernels_whole() -> None:
    """Signs, the largest seed and every bit of a float."""
    words = arguments.Words((0, np.uint64(0), 0.0, True))
    packed = words.pack((-3, np.uint64(2**64 - 1), 0.1, False))
    assert list(packed)[:2] == [-3, -1] and np.array(packed[2]).view(np.float64) == 0.1 and packed[3] == 0
    with pytest.raises(TypeError, match="kernels.arguments"):
        words.pack((0.5, np.uint64(1), 0.1, True))
    with pytest.raises(TypeError, match="4 values are needed"):
        words.pack((0,))


def test_other_settings_of_the_compiler_are_other_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    before = target.processor()
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert target.processor() != before


AT_ONCE = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import sympy as sp
from sde import SDE, simulate
X = sp.Symbol("X", real=True)
gate = Barrier(6)
def one(k):
    gate.wait()
    run = simulate(SDE([X], [-X], [[1]]), start={X: 0.5}, time=1.0, dt=0.01, paths=6000, save_at=5)
    return run.attrs["result_hash"]
with ThreadPoolExecutor(6) as pool:
    print(len(set(pool.map(one, range(6)))))
"""


def test_first_runs_of_several_threads_at_once() -> None:
    """Each loaded code of its own, and what one had left of it was called by the others: most such processes died."""
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True, timeout=120)
        assert (ended.returncode, ended.stdout.strip()) == (0, "1"), ended.stderr[-500:]
