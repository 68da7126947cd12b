"""The plan of a run, as the engine gets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import sympy as sp

from sde import SDE, simulate
from sde.engine import ensemble
from sde.engine.plan import Plan

X = sp.Symbol("X", real=True)


class Caught(Exception):
    """Carries a plan out of the call that has made it."""


def plan_of(call: Callable[[], object]) -> Plan:
    """The plan of the first ensemble that a call would run."""

    def catch(plan: Plan, *_: Any, **__: Any) -> None:
        raise Caught(plan)

    with patch.object(ensemble, "run", catch):
        try:
            call()
        except Caught as caught:
            return caught.args[0]
    raise AssertionError("nothing was run")


def walk(**changes: Any) -> Plan:
    """Of Brownian motion."""
    settings: dict[str, Any] = {"start": {X: 0.5}, "time": 1.0, "dt": 0.5, "paths": 3, "save_at": 2, "check": False}
    return plan_of(lambda: simulate(SDE([X], [0], [[1]]), **settings | changes))
