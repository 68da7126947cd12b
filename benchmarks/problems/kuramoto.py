"""Kuramoto's oscillators, all to all: 100 states of one array, 10,000 sines a step."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.problem import Problem, Race, Rival
from symbolic import SDE, states

N, COUPLING, NOISE = 100, 2.0, 0.2


class Kuramoto(Problem):
    """Frequencies differ, noise is additive; the squared order parameter r^2 is watched."""

    name = "Kuramoto, N = 100"
    begin = (np.linspace(0.0, 6.0, N),)
    noises = draws = N
    diagonal = True
    dt = 0.01
    steps = 100
    paths = 512
    constants = {"frequencies": np.linspace(-1.0, 1.0, N)}
    frequencies = constants["frequencies"]

    def drift(self, flat: Any) -> Any:
        pull = self.xp.sin(flat[None, :] - flat[:, None]).sum(1)
        return self.frequencies.reshape(-1, *[1] * (flat.ndim - 1)) + COUPLING / N * pull

    def jumps(self, flat: Any) -> Any:
        return self.xp.full_like(flat, NOISE)

    def diffuse(self, flat: Any, xi: Any) -> Any:
        return NOISE * xi

    def charge(self, phase: Any) -> Any:
        return self.xp.cos(phase).mean(0) ** 2 + self.xp.sin(phase).mean(0) ** 2

    def step(self, parts: tuple[Any, ...], xi: Any) -> tuple[Any, ...]:
        (phase,) = parts
        return (phase + self.dt * self.drift(phase) + (NOISE * self.dt**0.5) * xi,)

    def ours(self) -> dict[str, Any]:
        phase = states("phase", (N,))
        sde = SDE(phase, drift=self.drift(phase), diffusion=self.jumps(phase), name=self.name)
        return {"problem": sde, "sgd": None, "start": {phase: self.begin[0]}, "charge": self.charge(phase)}


RACE = Race(
    Kuramoto(),
    (
        Rival("jax.lax.scan", "scan", "plain", 128),
        Rival("jax.lax.scan, a device per core", "scan", "sharded", 256),
        Rival("NumPy over paths", "arrays", "euler", 16, {"float64": 5.0, "float32": 5.0}),
        Rival("diffrax Euler, UnsafeBrownianPath", "diffrax_euler", "euler", 64),
    ),
)
