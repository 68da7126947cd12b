"""Whoever runs the chunks of a run, and whatever befalls them, the result has the same bits."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import sympy as sp

from sde import SDE, BrokenPoolWarning, InputError, LostChunksWarning, simulate
from sde.engine.interruption import InterruptedWarning
from sde.engine.schedulers import remote, tasks
from sde.engine.schedulers.processes import Processes, WorkerDied
from sde.kernels import target
from tests.commands import run as command
from tests.sde.executors import Backwards, Here, Mute, Noted
from tests.sde.plans import plan_of, walk

X = sp.Symbol("X", real=True)
OU = SDE([X], [-X], [[1 + X**2 / 9]])
ALL: dict[str, Any] = {
    "observables": {"Y": X**2},
    "covariance": ["X", "Y"],
    "events": {"up": X - 2},
    "histogram": {"X": [0.0, 1.0]},
}
WAYS = ("statistics", "paths")
ROOT = Path(__file__).parents[2]


def run(**changes: Any) -> Any:
    """A run of 24 chunks or so, in pieces of 5, of all that is gathered."""
    settings: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0, "dt": 0.02, "paths": 6000, "seed": 3, "save_at": 5}
    with patch("sde.engine.plan.CHUNK_STEPS", 0), patch("sde.engine.plan.MOST_PIECES", 5):
        return simulate(OU, check=False, **{**settings, **ALL, **changes})


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    return {keep: run(keep=keep, threads=1).attrs["result_hash"] for keep in WAYS}


@contextmanager
def pool() -> Iterator[Any]:
    with ProcessPoolExecutor(3) as made:
        yield made


@contextmanager
def loky() -> Iterator[Any]:
    made = pytest.importorskip("loky").ProcessPoolExecutor(3)
    yield made
    made.shutdown(kill_workers=True)


@contextmanager
def dask() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def given(what: Any) -> Iterator[Any]:
    yield what


PLACES: dict[str, Callable[[], Any]] = {
    "threads": lambda: given("threads"),
    "processes": lambda: given("processes"),
    "pool": pool,
    "loky": loky,
    "dask": dask,
    "backwards": lambda: given(Backwards()),
    "here": lambda: given(Here()),
}


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


def killed(crew: Processes, kills: int, expected: str) -> list[int]:
    """Kill busy processes, so many, at random moments of runs; the chunks that each death cost."""
    failures, draw, left = list[int](), random.Random(kills), [kills]
    fail, fill = remote._Run.fail, remote._Run.fill

    def counted(self: Any, unit: Any, error: BaseException) -> None:
        assert isinstance(error, WorkerDied)
        failures.append(len(unit.chunks))
        fail(self, unit, error)

    def struck(self: Any) -> None:
        fill(self)
        with crew._lock:
            busy = [p._process for p in crew._busy if p._process is not None]
        begun = all(unit.tries == 0 for unit in [*self.running.values(), *self.ready])
        if left[0] and busy and begun and draw.random() < 0.3:  # three deaths of one chunk would give it up
            left[0] -= 1
            time.sleep(0.01 * draw.random())
            draw.choice(busy).kill()

    with patch.object(remote._Run, "fail", counted), patch.object(remote._Run, "fill", struck):
        while left[0]:
            assert run(executor=crew).attrs["result_hash"] == expected
    return failures


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_death_costs_what_that_process_ran(kills: int, expected: dict[str, str]) -> None:
    crew = Processes(2)
    try:
        failures = killed(crew, kills, expected["statistics"])
    finally:
        crew.close()
    assert len(failures) <= kills and all(n <= 5 for n in failures)


def test_a_chunk_that_always_fails_is_named_and_the_others_are_kept(expected: dict[str, str], tmp_path: Path) -> None:
    def answer(fn: Any, task: Any) -> Any:
        if 7 in task.chunks and not task.sent and task.plan in tasks._ready:
            raise MemoryError("no room")
        return fn(task)

    here, settings = Here(answer), {"checkpoint": tmp_path / "run"}
    chunk = plan_of(lambda: run(**settings)).chunk_size
    told = rf"chunk 7 \(from path {7 * chunk}, seed 3\) failed 3 times: MemoryError: no room"
    with pytest.warns(LostChunksWarning, match=told), pytest.warns(InterruptedWarning):
        part = run(executor=here, **settings)
    assert part.attrs["paths"] == 6000 - 3 * chunk and part.attrs["interrupted"]
    assert sum(7 in task.chunks for task in here.asked) == 3
    again = Here()
    assert run(executor=again, **settings).attrs["result_hash"] == expected["statistics"]
    assert {tuple(task.chunks) for task in again.asked} == {(7, 8, 9)}


class Striking:
    """A progress function that kills one of some processes at a random moment of a run."""

    def __init__(self, processes: list[int], seed: int) -> None:
        self.processes, self.draw = processes, random.Random(seed)
        self.after, self.died = seed and self.draw.randrange(6000 * 30), 0

    def __call__(self, n: int) -> None:
        self.after -= n
        if self.after < 0 and not self.died:
            self.died = self.draw.choice(self.processes)
            os.kill(self.died, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(5))
def test_a_worker_of_dask_that_is_killed_costs_two_tasks(batch: int, expected: dict[str, str], tmp_path: Path) -> None:
    """20 times in all."""
    kills, died = range(4 * batch, 4 * batch + 4), set[int]()
    with dask() as client:
        noted = Noted(client.get_executor(), 3, tmp_path / "begun")
        for seed in kills:
            strike = Striking(living(client, died), seed)
            assert run(executor=noted, progress=strike).attrs["result_hash"] == expected["statistics"]
            died.add(strike.died)
    assert len(died) == len(kills) and 0 not in died and noted.wasted <= 2 * len(kills)


def living(client: Any, died: set[int]) -> list[int]:
    """Processes of a cluster's workers, once there are two again."""
    for _ in range(600):
        found = {n for n in client.run(os.getpid, on_error="ignore").values() if n is not None} - died
        if len(found) > 1:
            return sorted(found)
        time.sleep(0.1)
    raise AssertionError("the cluster does not replace its workers")


POOLS: dict[str, Callable[[], Any]] = {
    "pool": lambda: ProcessPoolExecutor(3),
    "loky": lambda: pytest.importorskip("loky").ProcessPoolExecutor(3),
    "reusable": lambda: pytest.importorskip("loky").get_reusable_executor(3),
}


@pytest.mark.parametrize(
    ("kind", "kills"), [("pool", 1), *(pytest.param(kind, 20, marks=pytest.mark.slow) for kind in POOLS)]
)
def test_a_run_outlives_its_pool(kind: str, kills: int, expected: dict[str, str], tmp_path: Path) -> None:
    """Once one of its processes dies such a pool ends them all, and what each of them had (two tasks at most) is run
    again."""
    told = list[str]()
    for seed in range(kills):
        pool = POOLS[kind]()
        noted = Noted(pool, 3, tmp_path / f"begun{seed}")
        wait([pool.submit(time.sleep, 0.1) for _ in range(6)])
        strike = Striking(sorted(pool._processes), seed)
        with warnings.catch_warnings(record=True) as caught:
            assert run(executor=noted, progress=strike).attrs["result_hash"] == expected["statistics"]
        told += [str(w.message) for w in caught if w.category is BrokenPoolWarning]
        assert strike.died and noted.wasted <= 2 * 3
        pool.shutdown()
    assert all(re.search("takes no more work .* goes on in 3 processes of its own", text) for text in told)
    assert kills / 2 < len(told) <= kills  # it may be over before the pool has seen


@pytest.mark.parametrize("kind", ["pool", pytest.param("loky", marks=pytest.mark.slow)])
def test_a_process_that_dies_in_the_middle_of_an_answer(kind: str, expected: dict[str, str]) -> None:
    """The pool would read on for ever."""
    pool = POOLS[kind]()
    with pytest.warns(BrokenPoolWarning, match="takes no more work"):
        found = run(executor=Mute(pool, 3))
    assert found.attrs["result_hash"] == expected["statistics"]
    pool.shutdown()


def test_a_pool_that_broke_elsewhere_says_so_and_what_is_complete_is_kept() -> None:
    def answer(fn: Any, task: Any) -> Any:
        if 20 in task.chunks:
            raise BrokenExecutor("the nodes are gone")
        return fn(task)

    told = pytest.warns(LostChunksWarning, match="the Here takes no more work .*nodes are gone.* executor='processes'")
    with told, pytest.warns(InterruptedWarning):
        part = run(executor=Here(answer))
    assert 0 < part.attrs["paths"] < 6000


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
    monkeypatch.setattr("sde.api.simulation.load", lambda *_: pytest.fail("compiled before refusing"))
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
