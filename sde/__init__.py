"""Ensembles of SGD and of its SDE, compiled, and the verification of a derived theory against them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from symbolic.dynamics.equation import SDE
from symbolic.problem.optimizer import SGD

if TYPE_CHECKING:
    from sde.api import convergence, expectation, resume, simulate, train, verify

__all__ = ["SDE", "SGD", "convergence", "expectation", "resume", "simulate", "train", "verify"]


def __getattr__(name: str) -> Any:
    """What a user calls, from `sde.api`, loaded when first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'sde' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module("sde.api"), name)
    return value
