"""The losses of a calibration that names none: small, and every mutation matters to some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from symbolic.library import LIBRARY
from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import parameters


def defaults() -> tuple[Mapping[str, Any], ...]:
    """Arguments of `verify` for each of the five."""
    return (_to_equilibrium(), _with_decay(), _far_from_the_minimum(), _scale_invariant(), _turning())


def _product(name: str, slope: float, mean: float, std: float, noise: float) -> Loss:
    """(u w x - slope x - e)^2."""
    u, w, x, e = sp.symbols("u w x e", real=True)
    return Loss((u * w * x - slope * x - e) ** 2, [u, w], {x: Normal(mean, std), e: Normal(0, noise)}, name=name)


def _to_equilibrium() -> dict[str, Any]:
    loss = _product("rescaling", 1, 0, 1, 1)
    return {"loss": loss, "sgd": SGD(0.01), "start": {"u": 1.2, "w": 0.6}, "time": 130.0, "paths": 200}


def _with_decay() -> dict[str, Any]:
    loss, sgd = _product("decay", 1, 0, 1, 1), SGD(0.02, batch_size=4, weight_decay=0.004)
    return {"loss": loss, "sgd": sgd, "start": {"u": 1.2, "w": 0.6}, "time": 20.0, "paths": 100}


def _far_from_the_minimum() -> dict[str, Any]:
    loss = _product("far start", 2, 1, 0.5, 0.25)
    return {"loss": loss, "sgd": SGD(0.005, batch_size=2), "start": {"u": 1.5, "w": 0.2}, "time": 0.2, "paths": 200}


def _scale_invariant() -> dict[str, Any]:
    entry = LIBRARY["scale-invariant"]
    return {"loss": entry.build(), "sgd": SGD(0.02, batch_size=2), "start": entry.start, "time": 20.0, "paths": 200}


def _turning() -> dict[str, Any]:
    """2 x 2 x 2 with inputs and label noise of other shapes: noise turns the hidden space."""
    U, W, x, e = parameters(U=(2, 2), W=(2, 2), x=(2,), e=(2,))
    residual = U * (W * x) - sp.Matrix([[1.0, 0.5], [-0.5, 0.8]]) * x - e
    noise = {x: Normal(0, np.array([1.5, 0.3])), e: Normal(0, np.array([0.3, 1.5]))}
    loss = Loss(residual.dot(residual), [U, W], noise, name="2x2x2")
    start = {"U": [[1.0, 0.2], [0.0, 1.0]], "W": [[1.0, 0.5], [-0.4, 0.8]]}
    return {"loss": loss, "sgd": SGD(0.009), "start": start, "time": 360.0, "paths": 250}
