"""Where runs are made: arguments `executor` and `portable` of what makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from sde.engine.schedulers.chosen import chosen
from sde.kernels import target
from sde.settings import SETTINGS
from symbolic.errors import as_whole

F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def runs_on(executor: Any = None, threads: int | None = None, portable: bool = False) -> Iterator[None]:
    """Runs within are made on an executor, by code for this processor or, `portable`, for the baseline of its kind.
    threads: how many threads or processes of our own. Raises InputError."""
    executor, portable = SETTINGS["executor"].read(executor), SETTINGS["portable"].read(portable)
    if portable:
        target.require_baseline()
    with chosen(executor, threads):
        yield


def placed(function: F) -> F:
    """A decorator of functions that make runs: it does what their arguments `executor` and `portable` say."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        number = as_whole(kwargs.get("threads"))  # what is none the function itself refuses
        threads = number if number is not None and number > 0 else None
        with runs_on(kwargs.get("executor"), threads, kwargs.get("portable", False)):
            return function(*args, **kwargs)

    return cast(F, call)
