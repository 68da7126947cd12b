"""Pools of processes of this machine that a caller has made: `concurrent.futures` and loky.

Such a pool ends all its processes when one dies, and takes no more work. Where one dies in the middle of an answer it
does not even see that: it reads on, for ever, and can never be closed.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any


def death(executor: Any) -> BrokenProcessPool | None:
    """What to say of a pool one of whose processes has died, if so."""
    for process in _processes(executor):
        if process.exitcode not in (None, 0):
            return BrokenProcessPool(f"process {process.pid} ended ({process.exitcode})")
    return None


def release(executor: Any) -> None:
    """Let a pool see that a process has died: end the others, so that nobody is left to write what it reads."""
    for process in _processes(executor):
        with suppress(OSError):
            os.kill(process.pid, signal.SIGKILL)
    with suppress(AttributeError, OSError):
        executor._result_queue._writer.close()


def _processes(executor: Any) -> list[Any]:
    found = getattr(executor, "_processes", None)
    return list(found.values()) if isinstance(found, dict) else []
