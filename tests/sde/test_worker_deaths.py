"""Processes that are killed while they run chunks cost little, and no bit of the result."""

from __future__ import annotations

import os
import random
import re
import signal
import time
import warnings
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from sde import BrokenPoolWarning, LostChunksWarning
from sde.engine.interruption import InterruptedWarning
from sde.engine.schedulers import remote, tasks
from sde.engine.schedulers.processes import Processes, WorkerDied
from tests.sde.executors import Here, Mute, Noted
from tests.sde.places import dask, hashes, run
from tests.sde.plans import plan_of


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    return hashes()


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


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
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
