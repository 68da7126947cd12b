"""What tests of long runs share: runs, and ways to interrupt them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import sympy as sp

from sde import SDE, SGD, expectation, simulate, verify
from sde.engine import chunk
from sde.engine.interruption import InterruptedWarning
from sde.storage.files import fingerprint
from symbolic.library import LIBRARY

X, Y = sp.symbols("X Y", real=True)
a, b, x, y = sp.symbols("a b x y", real=True)
RESCALING = LIBRARY["rescaling"].build()
OU = SDE([X], [-X], [[1]], name="ou")


def press(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def until(holds: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None and time.monotonic() < limit, process.communicate()
        time.sleep(0.01)


def after_chunks(monkeypatch: pytest.MonkeyPatch, chunks: int, how: Callable[[], None] = press) -> None:
    advance, begun = chunk.advance, []

    def counted(*arguments: Any) -> Any:
        begun.append(0)
        if len(begun) == chunks:
            how()
        return advance(*arguments)

    monkeypatch.setattr(chunk, "advance", counted)


MU = sp.Symbol("mu", real=True)


def sweep(**changes: Any) -> Any:
    problem = SDE([X], [-MU * X], [[1]], parameters=[MU], name="swept")
    settings: dict[str, Any] = {"start": {X: 0.5}, "time": 2.0, "dt": 0.01, "paths": 5000, "save_at": 3, "threads": 2}
    settings["check"] = False
    return simulate(problem, parameters={MU: [0.5, 1.0, 2.0]}, **settings | changes)


def estimate(**changes: Any) -> Any:
    settings: dict[str, Any] = {"tolerance": 0.004, "start": {X: 1.0}, "time": 1.0, "seed": 3, "threads": 2}
    return expectation(SDE([X], [X / 2], [[X / 2]], name="gbm"), sp.Max(X - 1, 0), **settings | changes)


def verification(**changes: Any) -> Any:
    settings: dict[str, Any] = {"start": {"u": 1.2, "w": 0.6}, "time": 2.0, "paths": 100, "seed": 1, "threads": 2}
    return verify(RESCALING, SGD(0.02), **settings | changes)


def numbers(found: Any) -> Any:
    """What must come out alike, to the bit."""
    if hasattr(found, "attrs"):
        return fingerprint(found)
    if hasattr(found, "verdicts"):
        record = found.to_dict()
        curves = [
            (c.time.tobytes(), [(band.mean.tobytes(), band.low.tobytes()) for band in c.bands]) for c in found.curves
        ]
        return json.dumps(record, sort_keys=True), curves, repr(found.entries)
    return repr({k: v for k, v in vars(found).items() if k != "seconds"})


COMPOSITE: dict[str, Callable[..., Any]] = {"sweep": sweep, "expectation": estimate, "verify": verification}


def interrupted_at(call: Callable[[], Any], seconds: float) -> Any:
    """What a call gives that is interrupted after so long, None where it raises KeyboardInterrupt."""
    timer = threading.Timer(seconds, press)
    timer.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InterruptedWarning)
            return call()
    except KeyboardInterrupt:
        return None
    finally:
        timer.cancel()
        timer.join()
