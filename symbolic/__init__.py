"""Exact derivation: losses, symmetries, charges, their noise and equilibria; and the text of the programs that simulate
them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from symbolic.dynamics.equation import SDE
from symbolic.problem.dataset import Dataset
from symbolic.problem.distributions import Bernoulli, Laplace, Moments, Normal, Uniform
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import parameters

if TYPE_CHECKING:
    from symbolic.noise.drift import LEARNING_RATE as eta
    from symbolic.noise.drift import TEMPERATURE as T
    from symbolic.noise.drift import WEIGHT_DECAY as lambda_wd
    from symbolic.theory import Theory, derive

__all__ = [
    "SDE",
    "SGD",
    "Bernoulli",
    "Dataset",
    "Laplace",
    "Loss",
    "Moments",
    "Normal",
    "T",
    "Theory",
    "Uniform",
    "derive",
    "eta",
    "lambda_wd",
    "parameters",
]

_LATER = {
    "Theory": ("theory", "Theory"),
    "derive": ("theory", "derive"),
    "eta": ("noise.drift", "LEARNING_RATE"),
    "T": ("noise.drift", "TEMPERATURE"),
    "lambda_wd": ("noise.drift", "WEIGHT_DECAY"),
}


def __getattr__(name: str) -> Any:
    """The derivation is loaded when first asked for: a simulation does without."""
    if name not in _LATER:
        raise AttributeError(f"module 'symbolic' has no attribute {name!r}")
    module, attribute = _LATER[name]
    value = globals()[name] = getattr(import_module(f"symbolic.{module}"), attribute)
    return value
