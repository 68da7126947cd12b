"""What a user calls. The only room, with the command line, that knows both packages."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sde.study.converging import convergence
    from sde.study.expecting import expectation
    from sde.study.running import simulate, train
    from sde.study.specs import resume
    from sde.study.verifying import verify

__all__ = ["convergence", "expectation", "resume", "simulate", "train", "verify"]

_ROOMS = {
    "convergence": "converging",
    "expectation": "expecting",
    "resume": "specs",
    "simulate": "running",
    "train": "running",
    "verify": "verifying",
}


def __getattr__(name: str) -> Any:
    """Each is loaded when first asked for: a simulation does without the rest."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'sde.study' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"sde.study.{_ROOMS[name]}"), name)
    return value
