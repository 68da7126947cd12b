"""A chunk is what its plan and its index say, whoever runs it: other processes, in any order."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, simulate
from sde.engine import chunk as chunks
from sde.engine import ensemble
from sde.engine.accumulators import KINDS, Statistics
from sde.engine.accumulators.accumulator import Gathered
from sde.engine.accumulators.path_rows import PathRows
from sde.engine.accumulators.quantiles import EventTimeQuantiles, Quantiles
from sde.engine.chunk import ChunkResult, Loops, Worker, run_chunk
from sde.engine.interruption import Stopped
from sde.engine.piece import Piece, PieceRequest
from sde.engine.plan import Plan
from sde.engine.schedulers.scheduler import Take
from sde.engine.scratch import SCRATCH, Scratch
from sde.storage.files import fingerprint
from tests.golden.runs import RUNS
from tests.sde.plans import plan_of, walk

X = sp.Symbol("X", real=True)
GATHERED: dict[str, Any] = {
    "paths": 12_000,
    "save_at": 3,
    "bound": 2.0,
    "events": {"up": X - 1},
    "covariance": ["X"],
    "histogram": {"X": [0.0, 1.0]},
}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[ProcessPoolExecutor]:
    """A process that has nothing of this one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def same(one: ChunkResult, other: ChunkResult) -> None:
    count = one.paths.count
    assert one.paths.rows[:, :, :count].tobytes() == other.paths.rows[:, :, :count].tobytes()
    for ours, theirs in zip(one.paths.events, other.paths.events, strict=True):
        assert ours.tobytes() == theirs.tobytes()
    left, right = one.statistics.state(), other.statistics.state()
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].tobytes() == right[name].tobytes(), name


@pytest.mark.parametrize("name", RUNS)
def test_a_plan_in_another_process_gives_the_same_chunk(name: str, elsewhere: ProcessPoolExecutor) -> None:
    plan = plan_of(RUNS[name])
    for index in {0, plan.chunks - 1}:
        same(run_chunk(plan, index), elsewhere.submit(run_chunk, plan, index).result(timeout=120))


def test_a_plan_is_text_and_numbers() -> None:
    """What is sent does not grow with paths or steps, and holds no machine code."""
    few, many = (len(pickle.dumps(walk(paths=p, dt=dt))) for p, dt in ((10, 0.5), (10**7, 1e-4)))
    assert many < few + 100 < 20_000


def test_chunks_share_nothing() -> None:
    """What one worker has done changes nothing in another's result, nor in one's own that is held."""
    plan, worker = walk(**GATHERED), Worker(pace=1)
    first = run_chunk(plan, 0, worker)
    state = pickle.loads(pickle.dumps(first))
    run_chunk(plan, 1, worker)
    same(first, state)
    first.paths.rows[:] = 7
    SCRATCH.give(first.paths.rows)
    same(run_chunk(plan, 0, worker), run_chunk(plan, 0))


def test_the_next_run_of_a_problem_takes_the_loops_of_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Plan] = []
    load = chunks.load_loop

    def counted(plan: Plan) -> Callable[..., Any]:
        made.append(plan)
        return load(plan)

    monkeypatch.setattr(chunks, "LOOPS", Loops(8))
    monkeypatch.setattr(chunks, "load_loop", counted)
    problem, settings = SDE([X], [-X], [[1]]), {"start": {X: 0.5}, "time": 1.0, "dt": 0.1, "threads": 1}
    first = simulate(problem, **settings)
    assert made
    made.clear()
    again, other = simulate(problem, **settings), simulate(SDE([X], [-2 * X], [[1]]), **settings)
    assert len(made) == 2  # of the other's run, and of the finer of its two checks
    assert fingerprint(again) == fingerprint(first) != fingerprint(other)


def test_a_loop_that_was_kept_knows_nothing_of_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "LOOPS", Loops(8))
    plan, one, other = walk(paths=1000), Worker(), Worker()
    before = run_chunk(plan, 0, one)
    one.stop.set()
    same(run_chunk(plan, 0, other), before)
    with pytest.raises(Stopped):
        run_chunk(plan, 0, one)
    same(run_chunk(plan, 0, other), before)


def test_a_stop_reaches_loops_that_run_and_no_others() -> None:
    stop, inside, left = Worker().stop, np.zeros(1, np.int64), np.zeros(1, np.int64)
    stop.join(inside)
    stop.join(left)
    stop.leave(left)
    stop.set()
    late = np.zeros(1, np.int64)
    stop.join(late)
    assert (inside[0], left[0], late[0]) == (1, 0, 1)


def test_a_first_call_is_as_long_as_the_last_run_says_up_to_a_chunk() -> None:
    """Of a run whose paths were lost at once a path-step took nothing: the next may be of paths that live."""
    paces = []
    for seconds in (0.0, 1e-15, 1e-9, 1e-3):
        worker = Worker()
        worker.expect(seconds, 512)
        paces.append(worker.pace)
    assert paces == [1, 1024, 1024, 1]
    worker = Worker()
    worker.expect(5e-7, 100)
    assert worker.pace == 1000


def test_loops_are_held_up_to_so_many_and_none_of_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used longest ago goes first; a problem's numbers do not outlive it."""
    loops, plans = Loops(2), [walk(paths=1000) for _ in range(3)]
    taken = [loops.take(plan) for plan in plans]
    for loop in taken:
        loops.give(loop)
    assert (
        loops.take(plans[2]) is taken[2] and loops.take(plans[1]) is taken[1] and loops.take(plans[0]) is not taken[0]
    )
    monkeypatch.setattr(chunks, "LOOP_BYTES", 0)
    loops.give(taken[2])
    assert loops.take(plans[2]) is not taken[2]


@dataclass
class Backwards:
    """A scheduler of another process whose chunks come last first."""

    pool: ProcessPoolExecutor
    workers: int = 3

    def over(
        self, plan: Plan, indices: Iterable[int], take: Take, worker: Worker, wanted: Callable[[], PieceRequest]
    ) -> Generator[bool]:
        futures = [self.pool.submit(run_chunk, plan, index) for index in indices]
        for future in reversed(futures):
            take(Piece.of(future.result()))
            yield True


@pytest.mark.parametrize("keep", ["statistics", "paths"])
def test_chunks_are_merged_by_index_whatever_order_they_come_in(
    keep: str, elsewhere: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {**GATHERED, "start": {X: 0.5}, "time": 1.0, "dt": 0.1, "keep": keep, "warn_share": 1.0}
    monkeypatch.setattr("sde.engine.plan.CHUNK_STEPS", 0)
    one = simulate(SDE([X], [0], [[1]]), **settings)
    monkeypatch.setattr(ensemble, "chosen_scheduler", lambda *_: Backwards(elsewhere))
    other = simulate(SDE([X], [0], [[1]]), **settings)
    assert one.attrs["exploded_paths"] > 0 and fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize("kind", [*KINDS, Quantiles, EventTimeQuantiles, PathRows], ids=lambda kind: kind.name)
def test_every_accumulator_keeps_its_contract(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing merged with something is that; a state is restored to the same; what was restored goes on alike."""
    monkeypatch.setattr("sde.engine.plan.CHUNK_STEPS", 0)
    plan = walk(**GATHERED)
    chunks = [run_chunk(plan, i).paths for i in range(plan.chunks)]

    def of(some: Iterable[int]) -> Gathered:
        made = kind.empty(plan)
        for i in some:
            made.merge(alone(i))
        return made

    def alone(i: int) -> Gathered:
        made = kind.empty(plan)
        made.add(chunks[i])
        return made

    def alike(a: Gathered, b: Gathered) -> None:
        assert a.state().keys() == b.state().keys()
        for name, value in a.state().items():
            assert np.array_equal(value, b.state()[name], equal_nan=value.dtype.kind == "f"), name

    n, half = plan.chunks, plan.chunks // 2
    alike(of([1]), alone(1))
    front = of(range(half))
    back = kind.empty(plan)
    back.restore({name: value.copy() for name, value in front.state().items()})
    alike(front, back)
    for i in range(half, n):
        front.merge(alone(i))
        back.merge(alone(i))
    alike(front, back)
    alike(front, of(range(n)))


def test_statistics_hold_one_of_each_kind() -> None:
    plan = walk(**GATHERED)
    assert [type(Statistics(plan)[kind]) for kind in KINDS] == list(KINDS)
    names = [kind.name for kind in (*KINDS, Quantiles, EventTimeQuantiles, PathRows)]
    assert len(set(names)) == len(names)


def test_memory_is_used_again_up_to_a_limit() -> None:
    """What is given back is taken again where it fits to the byte, the oldest is let go, and what is not of it stays
    its owner's."""
    scratch = Scratch(most=100)
    one = scratch.take((3, 4), "float32")
    place = one.ctypes.data
    scratch.give(one[1:, ::2])
    assert scratch.take((2, 3), "float64").ctypes.data == place and not scratch.held
    scratch.give(np.zeros((3, 4), "float32"))
    assert not scratch.held
    for size in (40, 41, 42):
        scratch.give(scratch.take((size,), "uint8"))
    assert [a.size for a in scratch.held] == [41, 42]
