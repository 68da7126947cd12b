"""Whoever runs the chunks of a run, the result has the same bits."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from sde import InputError, simulate
from sde.engine.chunk import Worker
from sde.engine.interruption import InterruptedWarning
from sde.engine.piece import PieceRequest
from sde.engine.schedulers import remote, tasks
from sde.engine.schedulers.processes import Processes
from sde.engine.schedulers.threads import Threads
from sde.kernels import target
from tests.commands import run as command
from tests.sde.executors import Here
from tests.sde.places import OU, PLACES, WAYS, X, hashes, run
from tests.sde.plans import walk

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    return hashes()


SLOW = {"loky", "dask"}  # to begin


@pytest.mark.parametrize("place", [pytest.param(p, marks=pytest.mark.slow if p in SLOW else ()) for p in PLACES])
def test_one_hash_wherever_chunks_run(place: str, expected: dict[str, str], tmp_path: Path) -> None:
    with PLACES[place]() as executor:
        for keep in WAYS:
            assert run(keep=keep, executor=executor, threads=3).attrs["result_hash"] == expected[keep]
        assert run(keep="paths", executor=executor, out=tmp_path / "a.nc").X.shape == (6000, 5)
    assert run(threads=2).attrs["result_hash"] == run(threads=8).attrs["result_hash"] == expected["statistics"]


def stopping(after: int) -> Callable[..., Any]:
    """Ctrl-C once so many path-steps are done."""
    left = [after]

    def tick(n: int) -> None:
        left[0] -= n
        if left[0] < 0:
            left[0] = 2**60
            os.kill(os.getpid(), signal.SIGINT)

    return tick


@pytest.mark.parametrize("keep", WAYS)
@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("threads", "here"),
        ("here", "threads"),
        ("backwards", "here"),
        *(
            pytest.param(*both, marks=pytest.mark.slow)
            for both in [("pool", "loky"), ("loky", "dask"), ("dask", "pool")]
        ),
    ],
)
def test_a_run_goes_on_elsewhere(
    first: str, then: str, keep: str, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sde.engine.checkpoint.Checkpoint.due", lambda self: True)
    settings = {"keep": keep, "checkpoint": tmp_path / "run"}
    with PLACES[first]() as executor, pytest.warns(InterruptedWarning):
        part = run(executor=executor, threads=2, progress=stopping(6000 * 5), **settings)
    assert 0 < part.attrs["paths"] < 6000
    with PLACES[then]() as executor:
        whole = run(executor=executor, **settings)
    assert whole.attrs["result_hash"] == expected[keep] and not whole.attrs["interrupted"]


def test_what_is_sent_does_not_grow_with_paths() -> None:
    """Of statistics, beyond the pieces that a run is cut into at most."""
    sent = []
    for paths in (300_000, 1_200_000):
        here = Here()
        with patch("sde.engine.plan.MOST_PIECES", 8), patch("sde.engine.plan.CHUNK_STEPS", 0):
            settings: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0, "dt": 0.1, "save_at": 2, "check": False}
            simulate(OU, paths=paths, executor=here, **settings)
        sent.append(sum(here.sent))
        assert len(here.asked) < 40
    assert sent[1] < 1.5 * sent[0] < 2**21  # more of the bins are met


def test_a_worker_of_other_bits_gets_no_work() -> None:
    def other(fn: Any, task: Any) -> Any:
        answer = fn(task)
        assert not answer.pieces
        return replace(answer, engine={**answer.engine, "processor": "x86_64 pentium 0"})

    def astray(fn: Any, task: Any) -> Any:
        return fn(replace(task, trial="0", plan=task.plan))

    tasks._ready.clear()
    tasks._parcels.clear()
    with pytest.raises(InputError, match="same bits; got process .* pentium 0 where this is .* portable=True"):
        run(executor=Here(other))
    tasks._ready.clear()
    tasks._parcels.clear()
    with pytest.raises(InputError, match=r"same bits; got process .*\(a small run gives other bits there\)"):
        run(executor=Here(astray))


def test_a_trial_tells_problems_apart() -> None:
    plans = [walk(), walk(seed=1), walk(start={X: 0.25}), walk(dt=0.25), walk(dtype="float32")]
    assert len({tasks.trial(p) for p in plans}) == len(plans)
    assert tasks.trial(plans[0]) == tasks.trial(walk())


def line(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_executors_that_take_no_work_are_refused_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sde.api.prepared_run.load", lambda *_: pytest.fail("compiled before refusing"))
    closed = ProcessPoolExecutor(1)
    closed.shutdown()
    assert "executor: must take work; got " in line(lambda: run(executor=closed))
    assert "executor: must be one of threads, processes, dask" in line(lambda: run(executor="clouds"))
    assert "executor: must be one of" in line(lambda: run(executor=3))
    assert "threads: must be a whole number" in line(lambda: run(executor="processes", threads=0))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--dask", "processes"], "dask: must be a scheduler's address; got 'processes'"),
        (["--dask", ""], "dask: must be a scheduler's address; got ''"),
        (["--workers", "0"], "workers: must be a whole number of at least 1; got 0"),
        (["--workers", "2", "--dask", "tcp://10.0.0.1:8786"], "dask: stands for all workers; got 2"),
    ],
)
def test_places_that_the_command_line_refuses(words: list[str], told: str, tmp_path: Path) -> None:
    done = command("simulate", "rescaling", "-o", tmp_path / "a.nc", "--time", "1", *words)
    assert done.exit_code == 2 and done.output.startswith(told) and len(done.output.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_dask_that_is_not_there_is_refused_within_ten_seconds() -> None:
    pytest.importorskip("distributed")
    with socket.socket() as deaf:  # takes no connection
        deaf.bind(("127.0.0.1", 0))
        began = time.monotonic()
        said = line(lambda: run(executor=f"tcp://127.0.0.1:{deaf.getsockname()[1]}"))
    assert "executor: a Dask scheduler must answer within" in said and time.monotonic() - began < 10
    assert "'dask' is this process's client" in line(lambda: run(executor="dask"))


def test_a_cluster_without_workers_is_refused() -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert "executor: must have a worker" in line(lambda: run(executor=client))


def test_what_is_no_data_is_not_sent() -> None:
    plan = replace(walk(), start=lambda first, n: [])
    assert "executor: what other processes are sent must be data" in line(lambda: remote._parcel(plan))


@pytest.mark.parametrize("ours", [True, False], ids=["all", "one worker"])
def test_ctrl_c_that_workers_get_too(ours: bool, expected: dict[str, str]) -> None:
    """As from a terminal: a pool's workers answer with a KeyboardInterrupt, which is not a second one of ours."""
    asked = 0

    def answer(fn: Any, task: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 9:
            if ours:
                os.kill(os.getpid(), signal.SIGINT)
            raise KeyboardInterrupt
        return fn(task)

    if ours:
        with pytest.warns(InterruptedWarning):
            assert 0 < run(executor=Here(answer)).attrs["paths"] < 6000
    else:
        assert run(executor=Here(answer)).attrs["result_hash"] == expected["statistics"]


def test_what_is_abandoned_ends_and_a_cluster_lives_on(expected: dict[str, str]) -> None:
    crew = Processes(2)
    with pytest.warns(InterruptedWarning):
        part = run(executor=crew, progress=stopping(6000 * 15))
    assert 0 < part.attrs["paths"] < 6000
    assert run(executor=crew).attrs["result_hash"] == expected["statistics"]
    crew.close()


PORTABLE = """
import sys
import threading
import sympy as sp
from sde import SDE, simulate
from sde.engine.engine_identity import engine
X = sp.Symbol("X", real=True)
given = dict(start={X: 1.0}, time=1.0, dt=0.1, paths=5000, check=False, executor="processes", threads=2)
print(simulate(SDE([X], [-X], [[1]]), portable=True, **given).attrs["result_hash"], engine()["processor"])
"""


@pytest.mark.slow
@pytest.mark.skipif(not target.BASELINES.get(os.uname().machine), reason="no baseline")
def test_portable_code_is_made_for_the_baseline_here_and_in_workers() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", PORTABLE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert target.BASELINES[os.uname().machine][0] in done.stdout
    walk()
    run(paths=10)
    assert "portable: must be asked for before a process compiles" in line(lambda: run(portable=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_runs_on_threads_of_its_own(expected: dict[str, str]) -> None:
    """Threads are kept from run to run, and none of them follows into a child: work given to those would wait for
    ever."""
    assert run(threads=2).attrs["result_hash"] == expected["statistics"]
    started = threading.active_count()
    assert run(threads=2).attrs["result_hash"] == expected["statistics"]
    assert threading.active_count() == started
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as children:
        found = children.submit(hash_on, 2).result(timeout=60)
    assert found == expected["statistics"]


def hash_on(threads: int) -> str:
    """In a child."""
    return str(run(threads=threads).attrs["result_hash"])


def test_threads_wait_for_who_merges() -> None:
    """Results that nobody has merged yet are held in memory: no more than two a thread, and those under way."""
    plan, taken = replace(walk(paths=20_000), blocks=2, piece=1), list[int]()
    assert plan.chunks > 20
    steps = Threads(2).over(
        plan, range(plan.chunks), lambda piece: taken.append(piece.chunks.start), Worker(), PieceRequest
    )
    with closing(steps):
        next(steps)
        time.sleep(0.3)
        assert 1 <= len(taken) <= 5
        assert len(list(steps)) >= plan.chunks - 1
    assert sorted(taken) == list(range(plan.chunks))


@pytest.mark.parametrize("given", [7, None, "done"])
def test_an_executor_whose_futures_answer_nothing_is_refused_in_one_line(given: Any) -> None:
    class Idle:
        def submit(self, fn: Any, /, *args: Any) -> Future[Any]:
            future = Future[Any]()
            future.set_result(given)
            return future

    with pytest.raises(InputError, match=r"executor: its futures must give what the function returns"):
        simulate(OU, start={X: 0.0}, time=1.0, dt=0.5, paths=2, executor=Idle(), check=False)
