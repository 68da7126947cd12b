"""Says that something is being compiled, where that takes a while and somebody is watching."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LOOP_SECONDS = 10.0
"""About how long a loop of the kernels compiles."""
TEXT_SECONDS = 1 / 2500
"""About how long a character of an emitted program compiles."""
LEAST = 1.0
"""Shortest compilation that is worth a word, in seconds."""

_tell: ContextVar[Callable[[str], None] | None] = ContextVar("tell", default=None)


def _stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def reporting(shown: bool, tell: Callable[[str], None] = _stderr) -> Iterator[None]:
    """Compilations within are told of."""
    token = _tell.set(tell) if shown else None
    try:
        yield
    finally:
        if token is not None:
            _tell.reset(token)


@contextmanager
def noticed(seconds: float) -> Iterator[None]:
    """What is done within may have to be compiled, which takes about so long: then this is said, once, as it begins.
    What comes from a cache is not."""
    tell = _tell.get()
    if tell is None or seconds < LEAST:
        yield
        return
    from sde.kernels import machine_code  # slow to load: who only derives need not pay for it

    with machine_code.watched(lambda: tell(f"compiling (once, about {seconds:.0f} s)")):
        yield
