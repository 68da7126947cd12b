"""Rescaling: loss (u w x - x - e)^2, x ~ N(0, 1), e ~ N(0, 1/2): 2 states, 2 noises, both along (w, u).

With a = u w - 1 one step is g = 2 a dt + sqrt(eta dt) (2 sqrt(2) a xi_0 - xi_1), u -= g w, w -= g u.
The charge u^2 - w^2 is watched.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from benchmarks.problem import Problem, Race, Rival
from symbolic import SGD, Loss, Normal

ETA, ROOT8 = 0.01, 8**0.5


class Rescaling(Problem):
    """Two normals a step, as our derived program has them."""

    name = "rescaling"
    begin = (np.array(1.2), np.array(0.6))
    noises = draws = 2
    dt = 0.01

    def drift(self, flat: Any) -> Any:
        u, w = flat
        g = -2 * (u * w - 1)
        return self.xp.stack([g * w, g * u])

    def diffuse(self, flat: Any, xi: Any) -> Any:
        u, w = flat
        g = ETA**0.5 * (xi[1] - ROOT8 * (u * w - 1) * xi[0])
        return self.xp.stack([g * w, g * u])

    def charge(self, u: Any, w: Any) -> Any:
        return u * u - w * w

    def step(self, parts: tuple[Any, ...], xi: Any) -> tuple[Any, ...]:
        u, w = parts
        size = (ETA * self.dt) ** 0.5
        g = (u * w - 1) * (2 * self.dt + (size * ROOT8) * xi[0]) - size * xi[1]
        return u - g * w, w - g * u

    def ours(self) -> dict[str, Any]:
        u, w, x, e = sp.symbols("u w x e", real=True)
        law = {x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))}
        loss = Loss((u * w * x - x - e) ** 2, parameters=[u, w], data=law, name=self.name)
        return {"problem": loss, "sgd": SGD(learning_rate=ETA), "start": {u: 1.2, w: 0.6}, "charge": u**2 - w**2}


class OneNormal(Rescaling):
    """The two noises merged into one of variance 8 a^2 + 1: by hand, and ours by noise="exact-law"."""

    name = "one normal"
    draws = 1

    def step(self, parts: tuple[Any, ...], xi: Any) -> tuple[Any, ...]:
        u, w = parts
        a = u * w - 1
        g = 2 * self.dt * a + (ETA * self.dt) ** 0.5 * self.xp.sqrt(8 * a * a + 1) * xi[0]
        return u - g * w, w - g * u

    def ours(self) -> dict[str, Any]:
        return {**super().ours(), "noise": "exact-law"}


RACE = Race(
    Rescaling(),
    (
        Rival("jax.lax.scan", "scan", "plain", 32_768, {"float32": 8, "float64": 15}, wide=4),
        Rival("jax.lax.scan, a device per core", "scan", "sharded", 32_768, wide=4),
        Rival("jax.lax.scan, a device per core, 1 normal", "scan", "sharded", 32_768, problem=OneNormal(), wide=4),
        Rival("NumPy over paths", "arrays", "euler", 8_192),
        Rival("diffrax Euler, UnsafeBrownianPath", "diffrax_euler", "euler", 2_048, {"float32": 40}),
        Rival("torchsde euler", "torchsde_euler", "euler", 4_096, {"float32": 120}),
        Rival("sdeint itoEuler", "sdeint_euler", "euler", 4, {"float32": 2000}),
    ),
)

LAW = Race(
    OneNormal(),
    (
        Rival("jax.lax.scan", "scan", "plain", 32_768, wide=4),
        Rival("jax.lax.scan, a device per core", "scan", "sharded", 32_768, {"float32": 4}, wide=4),
    ),
)
