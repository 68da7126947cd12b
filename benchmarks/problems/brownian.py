"""Scalar geometric Brownian motion, dX = mu X dt + sigma X dW."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from benchmarks.problem import Problem, Race, Rival
from symbolic import SDE

MU, SIGMA = 0.5, 0.2


class Brownian(Problem):
    """One state, one noise; X^2 is watched."""

    name = "geometric Brownian"
    begin = (np.array(1.0),)
    noises = draws = 1
    diagonal = True
    dt = 0.001
    paths = 65_536

    def drift(self, flat: Any) -> Any:
        return MU * flat

    def jumps(self, flat: Any) -> Any:
        return SIGMA * flat

    def diffuse(self, flat: Any, xi: Any) -> Any:
        return self.jumps(flat) * xi

    def charge(self, x: Any) -> Any:
        return x * x

    def step(self, parts: tuple[Any, ...], xi: Any) -> tuple[Any, ...]:
        (x,) = parts
        return (x * ((1 + MU * self.dt) + (SIGMA * self.dt**0.5) * xi[0]),)

    def ours(self) -> dict[str, Any]:
        x = sp.Symbol("x", real=True)
        sde = SDE([x], [self.drift(x)], [[self.jumps(x)]], name=self.name)
        return {"problem": sde, "sgd": None, "start": {x: 1.0}, "charge": self.charge(x)}


RACE = Race(
    Brownian(),
    (
        Rival("jax.lax.scan", "scan", "plain", 32_768, wide=2),
        Rival("jax.lax.scan, a device per core", "scan", "sharded", 65_536, wide=2),
        Rival("NumPy over paths", "arrays", "euler", 16_384),
        Rival("diffrax Euler, UnsafeBrownianPath", "diffrax_euler", "euler", 4_096),
        Rival("torchsde euler", "torchsde_euler", "euler", 4_096),
        Rival("sdeint itoEuler", "sdeint_euler", "euler", 8),
        Rival("jitcsde, steps of dt", "jitcsde_steps", "path_by_path", 64),
    ),
)
