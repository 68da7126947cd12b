"""Lorenz's system with additive noise: 3 states, 3 noises."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from benchmarks.problem import Problem, Race, Rival
from symbolic import SDE

SIGMA, RHO, BETA, NOISE = 10.0, 28.0, 8.0 / 3.0, 2.0


class Lorenz(Problem):
    """The noise has the same size in every direction; |X|^2 is watched."""

    name = "Lorenz, additive noise"
    begin = (np.array(1.0), np.array(2.0), np.array(20.0))
    noises = draws = 3
    diagonal = True
    dt = 0.002

    def field(self, x: Any, y: Any, z: Any) -> list[Any]:
        """The drift's entries."""
        return [SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z]

    def drift(self, flat: Any) -> Any:
        return self.xp.stack(self.field(*flat))

    def jumps(self, flat: Any) -> Any:
        return self.xp.full_like(flat, NOISE)

    def diffuse(self, flat: Any, xi: Any) -> Any:
        return NOISE * xi

    def charge(self, x: Any, y: Any, z: Any) -> Any:
        return x * x + y * y + z * z

    def step(self, parts: tuple[Any, ...], xi: Any) -> tuple[Any, ...]:
        size = NOISE * self.dt**0.5
        moved = zip(parts, self.field(*parts), xi, strict=True)
        return tuple(a + (self.dt * b + size * c) for a, b, c in moved)

    def ours(self) -> dict[str, Any]:
        states = sp.symbols("x y z", real=True)
        sde = SDE(states, self.field(*states), (NOISE * sp.eye(3)).tolist(), name=self.name)
        start = dict(zip(states, map(float, self.begin), strict=True))
        return {"problem": sde, "sgd": None, "start": start, "charge": self.charge(*states)}


RACE = Race(
    Lorenz(),
    (
        Rival("jax.lax.scan", "scan", "plain", 16_384, wide=2),
        Rival("jax.lax.scan, a device per core", "scan", "sharded", 32_768, wide=2),
        Rival("NumPy over paths", "arrays", "euler", 4_096),
        Rival("diffrax Euler, UnsafeBrownianPath", "diffrax_euler", "euler", 2_048),
        Rival("torchsde euler", "torchsde_euler", "euler", 4_096),
        Rival("sdeint itoEuler", "sdeint_euler", "euler", 4),
        Rival("jitcsde, steps of dt", "jitcsde_steps", "path_by_path", 32),
    ),
)
