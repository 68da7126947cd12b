"""A small run of all that is gathered, and the places where it may be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import sympy as sp

from sde import SDE, simulate
from tests.sde.executors import Backwards, Here

X = sp.Symbol("X", real=True)
OU = SDE([X], [-X], [[1 + X**2 / 9]])
ALL: dict[str, Any] = {
    "observables": {"Y": X**2},
    "covariance": ["X", "Y"],
    "events": {"up": X - 2},
    "histogram": {"X": [0.0, 1.0]},
}
WAYS = ("statistics", "paths")


def run(**changes: Any) -> Any:
    """A run of 24 chunks or so, in pieces of 5, of all that is gathered."""
    settings: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0, "dt": 0.02, "paths": 6000, "seed": 3, "save_at": 5}
    with patch("sde.engine.plan.CHUNK_STEPS", 0), patch("sde.engine.plan.MOST_PIECES", 5):
        return simulate(OU, check=False, **{**settings, **ALL, **changes})


def hashes() -> dict[str, str]:
    """Of its result, on one thread."""
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
