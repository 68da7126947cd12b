"""What a user calls. The only part, with the command line, that knows both packages."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sde.api.convergence_study import convergence
    from sde.api.expectations import expectation
    from sde.api.simulation import simulate
    from sde.api.spec_runs import resume
    from sde.api.training import train
    from sde.api.verifying import verify

__all__ = ["convergence", "expectation", "resume", "simulate", "train", "verify"]

_MODULES = {
    "convergence": "convergence_study",
    "expectation": "expectations",
    "resume": "spec_runs",
    "simulate": "simulation",
    "train": "training",
    "verify": "verifying",
}


def __getattr__(name: str) -> Any:
    """Each is loaded when first asked for: a simulation does without the rest."""
    if name not in _MODULES:
        raise AttributeError(f"module 'sde.api' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"sde.api.{_MODULES[name]}"), name)
    return value
