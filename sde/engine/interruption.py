"""Ctrl-C and SIGTERM: asked once, what runs leaves off and keeps what is complete; asked twice, everything ends at
once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np


class InterruptedWarning(UserWarning):
    """What is given back holds only what was complete when Ctrl-C or SIGTERM came."""


class Stopped(Exception):
    """A chunk was left off, as its worker's `stop` is set."""


class Stop:
    """Set once, by any thread. flag: (1,) int64, 1 from then on, for compiled code to look at; signal: the one that set
    it, 0 for none."""

    def __init__(self) -> None:
        self.flag, self.signal, self.fatal = np.zeros(1, np.int64), 0, False
        self._others = dict[int, np.ndarray]()

    def set(self, number: int = 0) -> None:
        """From now on everything leaves off."""
        self.signal = self.signal or number
        for flag in (self.flag, *self._others.values()):
            flag[0] = 1

    def is_set(self) -> bool:
        return bool(self.flag[0])

    def join(self, flag: np.ndarray) -> None:
        """Another flag is 1 from then on too, until it has left."""
        self._others[id(flag)] = flag
        flag[0] = self.flag[0]

    def leave(self, flag: np.ndarray) -> None:
        """What `join` let in."""
        self._others.pop(id(flag), None)


_asked: list[int] = []
"""The signals of this process that were taken for a request, in order."""


def count() -> int:
    """How many requests there have been in this process: what makes many runs compares it before and after each."""
    return len(_asked)


def exit_code() -> int:
    """130 after Ctrl-C, 143 where the last request was SIGTERM, as a shell has it."""
    return 128 + (_asked[-1] if _asked else int(signal.SIGINT))


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM of a command, where nothing is there to be completed."""
    _asked.append(number)
    raise KeyboardInterrupt


@contextmanager
def command() -> Iterator[None]:
    """While a command runs SIGTERM is what Ctrl-C is. Off the main thread, or where a handler is set, nothing
    changes."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def heeded(stop: Stop, saving: bool) -> Iterator[None]:
    """Ctrl-C sets `stop` instead of raising wherever the main thread happens to be: an exception there may be lost, in
    a destructor say, or break a lock. So does SIGTERM in a command, and elsewhere too where a run is `saving`, which
    `deliver` then lets the process die of. A second one does what it did before. Off the main thread, or where a
    handler is set, nothing changes."""
    before: dict[int, Any] = {}

    def asked(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            if not callable(before[number]):
                signal.signal(number, before[number])
                os.kill(os.getpid(), number)
            else:
                before[number](number, frame)
        _asked.append(number)
        stop.fatal = not callable(before[number])
        stop.set(number)

    if threading.current_thread() is threading.main_thread():
        interrupt, terminate = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        if interrupt is signal.default_int_handler:
            before[signal.SIGINT] = interrupt
        if terminate is _terminate or (saving and terminate is signal.SIG_DFL):
            before[signal.SIGTERM] = terminate
    for number in before:
        signal.signal(number, asked)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def deliver(stop: Stop) -> None:
    """Let the process die of the signal that was held up until everything was saved."""
    if stop.fatal:
        os.kill(os.getpid(), stop.signal)
