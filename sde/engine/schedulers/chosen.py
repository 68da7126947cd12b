"""Who runs chunks here: threads, or what a caller has named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sde.engine.schedulers import dask
from sde.engine.schedulers.processes import processes
from sde.engine.schedulers.remote import Remote, refused
from sde.engine.schedulers.scheduler import Scheduler
from sde.engine.schedulers.threads import Threads
from symbolic.errors import InputError

NAMES = ("threads", "processes", "dask")
COUNTS: tuple[Callable[[Any], Any], ...] = (
    lambda executor: executor._max_workers,  # concurrent.futures and loky
    lambda executor: executor.num_workers,  # mpi4py
)
_chosen: ContextVar[Scheduler | None] = ContextVar("chosen", default=None)


def scheduler(threads: int | None) -> Scheduler:
    """What is chosen here, else so many threads, all cores when left out."""
    return _chosen.get() or (Threads(threads) if threads else Threads())


@contextmanager
def chosen(executor: Any, threads: int | None = None) -> Iterator[None]:
    """Runs within take place on `executor`: an object with submit, "threads", "processes", "dask" or the address of a
    Dask scheduler; None for what is chosen outside. threads: how many threads or processes of our own. Raises
    InputError for one that takes no work."""
    if executor is None:
        yield
        return
    with _found(executor, threads) as found:
        token = _chosen.set(found)
        try:
            yield
        finally:
            _chosen.reset(token)


@contextmanager
def _found(executor: Any, threads: int | None) -> Iterator[Scheduler]:
    if executor == "threads":
        yield Threads(threads) if threads else Threads()
    elif executor == "processes":
        own = processes(threads or os.cpu_count() or 1)
        yield Remote(own, own.workers)
    elif isinstance(executor, str) or hasattr(executor, "get_executor"):
        with dask.connected(executor) as (pool, workers):
            yield Remote(pool, workers)
    else:
        try:
            executor.submit(os.getpid)
        except Exception as error:
            raise refused(executor, error) from error
        yield Remote(executor, _workers(executor))


def _workers(executor: Any) -> int:
    for count in COUNTS:
        try:
            number = int(count(executor))
        except (AttributeError, TypeError, ValueError):
            continue
        if number < 1:
            raise InputError.of("executor", "must have a worker", executor, "Give one with at least 1.")
        return number
    return os.cpu_count() or 1
