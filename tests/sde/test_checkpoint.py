"""A run continued from its checkpoint is the undisturbed run, bit for bit; a file that is not whole is an error that
names it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import xarray as xr

from sde import SDE, SGD, resume, simulate
from sde.engine import checkpoint, chunk
from sde.engine.accumulators.accumulator import ChunkPaths
from sde.engine.accumulators.quantiles import Quantiles
from sde.engine.checkpoint import Checkpoint
from sde.engine.chunk import run_chunk
from sde.engine.ensemble import CheckpointWarning
from sde.engine.gathering import Gathering
from sde.storage.files import fingerprint
from sde.storage.netcdf import write as write_netcdf
from symbolic.library import LIBRARY
from tests.sde.plans import walk

RESCALING = LIBRARY["rescaling"].build()
u, w = RESCALING.theta
X = sp.Symbol("X", real=True)
CASES: dict[str, dict[str, Any]] = {
    "statistics": {
        "events": {"low": 0.3 - w},
        "covariance": ["u", "C"],
        "histogram": {"C": np.linspace(0, 2, 21)},
        "observables": {"C": u**2 - w**2},
    },
    "few": {"paths": 3000, "time": 60.0, "observables": {"C": u**2 - w**2}},
    "paths": {"keep": "paths", "paths": 12_000, "events": {"low": 0.3 - w}},
    "float32": {"dtype": "float32"},
}


@pytest.fixture(autouse=True)
def many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs cut as finely as long ones are."""
    monkeypatch.setattr("sde.engine.plan.CHUNK_STEPS", 0)


def run(**changes: Any) -> xr.Dataset:
    settings: dict[str, Any] = {
        "start": {"u": 1.2, "w": 0.6},
        "time": 1.0,
        "dt": 0.01,
        "paths": 40_000,
        "seed": 3,
        "save_at": 4,
        "threads": 2,
        "check": False,
    }
    return simulate(RESCALING, SGD(0.05), **settings | changes)


@contextmanager
def cut(monkeypatch: pytest.MonkeyPatch, chunks: int, how: Callable[[], None]) -> Iterator[None]:
    """What `how` does once so many chunks have begun, with a checkpoint written whenever one may be."""
    block, begun = chunk.advance, []

    def counted(*arguments: Any) -> Any:
        begun.append(0)
        if len(begun) == chunks:
            how()
        return block(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(chunk, "advance", counted)
        patch.setattr(Checkpoint, "due", lambda _: True)
        yield


def press() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def same(a: xr.Dataset, b: xr.Dataset) -> None:
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        assert a[name].values.tobytes() == b[name].values.tobytes(), name
    assert fingerprint(a) == fingerprint(b) == a.attrs["result_hash"] == b.attrs["result_hash"]


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_run_goes_on_to_the_same_bits(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, place = run(**CASES[case]), tmp_path / "c"
    blocks, done = whole.attrs["paths"] // 256, 0
    chunks = blocks // max(1, blocks // 32)
    for at in (chunks // 3, chunks // 2):
        with cut(monkeypatch, at, press):
            part = run(**CASES[case], checkpoint=place)
        assert part.attrs["interrupted"] == 1 and done < part.attrs["paths"] < whole.attrs["paths"]
        done = part.attrs["paths"]
    again = run(**CASES[case], checkpoint=place, threads=1)
    same(whole, again)
    assert os.listdir(tmp_path) == ["c"]
    monkeypatch.setattr(chunk, "advance", lambda *_: pytest.fail("a complete run has nothing left to run"))
    same(whole, run(**CASES[case], checkpoint=place))


def test_an_error_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash() -> None:
        raise RuntimeError("power cut")

    with cut(monkeypatch, 22, crash), pytest.raises(RuntimeError, match="power cut"):
        run(checkpoint=tmp_path / "c")
    header, state = checkpoint.read(tmp_path / "c")
    assert header["name"] == "rescaling" and np.unpackbits(state["done"]).sum() > 0
    same(run(), run(checkpoint=tmp_path / "c"))


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with cut(monkeypatch, 15, press):
        run(checkpoint=tmp_path / "c")
    return tmp_path / "c"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"paths": 40_001},
        {"dt": 0.02},
        {"start": {"u": 1.2, "w": 0.61}},
        {"bound": 5.0},
        {"dtype": "float32"},
        {"keep": "paths"},
        {"save_at": 5},
        {"covariance": ["u", "w"]},
        {"histogram": {"u": [0.0, 1.0]}},
        {"events": {"low": 0.3 - w}},
        {"observables": {"C": u**2 - w**2}},
    ],
)
def test_another_run_is_refused(change: dict[str, Any], half: Path) -> None:
    with pytest.raises(ValueError, match=r"checkpoint: must be of the same run.*seed 3 and 40000 paths") as refused:
        run(**change, checkpoint=half)
    assert str(half) in str(refused.value)


def test_another_engine_is_refused(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checkpoint.engine()
    monkeypatch.setattr(checkpoint, "engine", lambda: {**found, "numba": "0.1"})
    with pytest.raises(ValueError, match="must be continued by what began it"):
        run(checkpoint=half)


def test_starts_far_down_an_array_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = np.linspace(1, 2, 40_000)
    with cut(monkeypatch, 15, press):
        run(start={"u": start, "w": 0.5}, checkpoint=tmp_path / "c")
    start[30_000] = 1.0
    with pytest.raises(ValueError, match="must be of the same run"):
        run(start={"u": start, "w": 0.5}, checkpoint=tmp_path / "c")


def test_a_file_that_is_not_whole_is_an_error_that_names_it(half: Path) -> None:
    """Cut anywhere, or with any one bit turned: 60 places of each, and what is no checkpoint at all."""
    data, rng = half.read_bytes(), np.random.default_rng(0)
    broken = [data[: int(n)] for n in [0, 10, 30, 100, len(data) - 1, *rng.integers(0, len(data), 60)]]
    for place in [*range(40), len(data) - 1, len(data) - 30, *rng.integers(0, len(data), 60)]:
        turned = bytearray(data)
        turned[int(place)] ^= 1 << int(rng.integers(8))
        broken.append(bytes(turned))
    broken += [data + b"x", data + data, b"x" * 1000]
    for text in broken:
        half.write_bytes(text)
        with pytest.raises(OSError, match="checkpoint: the file must be as it was written") as refused:
            run(checkpoint=half)
        assert str(half) in str(refused.value)
        with pytest.raises(OSError, match="checkpoint: the file must be as it was written"):
            resume(half)
    half.write_bytes(data)
    assert run(checkpoint=half).attrs["interrupted"] == 0


def test_a_full_disk_is_a_warning_that_names_the_file(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, calls = half.read_bytes(), []

    def full(_: int) -> None:
        calls.append(0)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        patch.setattr(Checkpoint, "due", lambda _: True)
        with pytest.warns(CheckpointWarning, match=r"checkpoint: the file must be writable.*No space left") as told:
            same(run(), run(checkpoint=half))
    said = [str(w.message) for w in told if w.category is CheckpointWarning]
    assert len(said) == 2 < len(calls) and all(str(half) in text for text in said)  # at first, and at the end
    assert half.read_bytes() == before and os.listdir(half.parent) == ["c"]
    same(run(), run(checkpoint=half))


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
import sympy as sp
from sde import SDE, simulate
X = sp.Symbol("X", real=True)
try:
    options = {sys.argv[1]: "big", **eval(sys.argv[2])}
    simulate(SDE([X], [-X], [[1]]), start={X: 0.0}, time=1.0, dt=0.1, paths=6000, **options)
    print("done")
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize(("argument", "more"), [("checkpoint", {}), ("out", {"keep": "paths"})])
def test_a_file_system_that_takes_no_more(argument: str, more: dict[str, str], tmp_path: Path) -> None:
    """A limit that the operating system itself sets on the size of files."""
    simulate(SDE([X], [-X], [[1]]), start={X: 0.0}, time=1.0, dt=0.1, paths=6000)  # compiled
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, argument, repr(more)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    said = done.stderr if argument == "checkpoint" else done.stdout
    assert "the file must be writable" in said and str(tmp_path / "big") in said, done.stderr
    assert (done.stdout == "done\n") is (
        argument == "checkpoint"
    )  # a run does without its checkpoint, not without its output
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_of_a_python_call_is_continued_by_that_call(half: Path) -> None:
    with pytest.raises(ValueError, match="resume: needs the checkpoint of a command line; got .*Make that call again"):
        resume(half)


def test_a_place_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="checkpoint: the file must be writable"):
        run(checkpoint=tmp_path / "no" / "c")


def test_nothing_in_a_checkpoint_is_unpickled(half: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> Any:
            return pytest.fail, ("unpickled",)

    header, state = checkpoint.read(half)
    with pytest.raises(ValueError, match="allow_pickle"):
        checkpoint.write(half, header, {**state, "trap": np.array([Trap()], dtype=object)})
    assert pickle.dumps(Trap())


def test_fingerprints_survive_files_and_tell_results_apart(tmp_path: Path) -> None:
    first, second = run(paths=500), run(paths=500, seed=4)
    assert first.attrs["result_hash"] == run(paths=500, threads=1).attrs["result_hash"] != second.attrs["result_hash"]
    with xr.open_dataset(write_netcdf(tmp_path / "a.nc", first), engine="h5netcdf") as back:
        assert fingerprint(back.load()) == back.attrs["result_hash"] == first.attrs["result_hash"]
    touched = first.copy(deep=True)
    touched.u.values[0, 0] = np.nextafter(touched.u.values[0, 0], 2)
    assert fingerprint(touched) != fingerprint(first)


def test_no_state_is_taken_while_a_chunk_is_half_in() -> None:
    """A chunk whose values are counted but whose part is not there yet would be counted twice after a resume."""
    plan, (inside, goes_on) = walk(paths=3), (threading.Event(), threading.Event())

    class Slow(Quantiles):
        def add(self, chunk: ChunkPaths) -> None:
            super().add(chunk)
            inside.set()
            goes_on.wait(10)

    gathered = Gathering(plan, [Slow.empty(plan)])
    worker = threading.Thread(target=gathered.add, args=(run_chunk(plan, 0),))
    worker.start()
    assert inside.wait(10)
    threading.Timer(0.2, goes_on.set).start()
    state = gathered.state()
    worker.join()
    assert {"quantiles.held0", "part0.moments.moments"} <= state.keys()
    assert np.unpackbits(state["done"], count=1).tolist() == [1]
