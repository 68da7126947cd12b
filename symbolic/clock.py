"""A clock for derivations: a stopwatch that runs while something is derived, and the check that ends it in time.

`check` stands in the loops that may be long. It costs a look at a variable where no clock runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf, isfinite
from numbers import Real
from time import monotonic

from symbolic.errors import InputError

LIMIT = 60.0
"""Seconds that a derivation may take unless told otherwise."""
Progress = Callable[[str], None]
"""Told the name of every part as it begins."""

_deadline: ContextVar[float] = ContextVar("deadline", default=inf)


class OutOfTime(Exception):
    """A part of a derivation ran into its limit."""


def check() -> None:
    """Raise OutOfTime if the running clock is past its limit."""
    if monotonic() > _deadline.get():
        raise OutOfTime


def listener(progress: bool | Progress) -> Progress | None:
    """What is told the parts: nothing, standard error, or the function given."""
    if callable(progress):
        return progress
    return (lambda name: print(f"derive: {name}", file=sys.stderr)) if progress else None


class Clock:
    """The time that one derivation may take, what is computed later when it is asked for included.

    Only time inside `part` counts. progress: told the name of every part. Raises InputError for a limit that is no
    positive number of seconds.
    """

    def __init__(self, limit: float = LIMIT, progress: Progress | None = None) -> None:
        if isinstance(limit, bool) or not isinstance(limit, Real) or not (isfinite(limit) and limit > 0):
            raise InputError.of("derive.time_limit", "must be a positive number of seconds", limit, "Give 60.")
        self.limit, self.progress = float(limit), progress
        self._spent, self._running = 0.0, False

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self.limit - self._spent)

    @property
    def undecided(self) -> str:
        """What to say of a part that did not end in time."""
        return f"not decided within {self.limit:g} s"

    @contextmanager
    def part(self, name: str, share: float = 1.0) -> Iterator[None]:
        """Let the clock run. `check` raises OutOfTime within once this share of the time left is gone; inside another
        part, only that part's limit counts."""
        if self._running:
            yield
            return
        if self.progress is not None:
            self.progress(name)
        began = monotonic()
        token, self._running = _deadline.set(began + share * self.left), True
        try:
            yield
        finally:
            _deadline.reset(token)
            self._running = False
            self._spent += monotonic() - began
