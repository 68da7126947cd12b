"""Two-layer ReLU network on the diabetes data (`examples/diabetes_relu.toml`): 48 states, a noise per row: 442.

SGD's SDE over a data set is its full-batch gradient with noisy weights (`sde.kernels.drivers`, WEIGHTED): row i of N
counts w_i = 1/N + sqrt(T/dt) (xi_i - mean xi)/sqrt(N) in a step. Every contestant integrates this same SDE; nobody
needs the 48 x 442 diffusion matrix: noise is a gradient with other weights. The charge of the first hidden unit is
watched.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.problem import Problem, Race, Rival
from sde.spec.problem_file import Spec, read_spec

SPEC = Path(__file__).resolve().parents[2] / "examples" / "diabetes_relu.toml"


@cache
def spec() -> Spec:
    """The loss, its data, its optimiser and its start."""
    return read_spec(SPEC)


def table() -> np.ndarray:
    """(442, 11): standardised inputs and target."""
    (block,) = spec().loss.blocks
    return block.table


class Diabetes(Problem):
    """V (11, hidden): the first layer, its last row the biases; a (hidden,): the second."""

    name = "ReLU on diabetes"
    dt = 0.005
    steps = 100
    paths = 1_024
    X: Any
    y: Any

    def __init__(self) -> None:
        start = spec().run["start"]
        self.begin = (np.vstack([start["W"].T, start["b"]]), np.asarray(start["a"]))
        rows = table()
        self.noises = self.draws = len(rows)
        self.constants = {"X": np.column_stack([rows[:, :-1], np.ones(len(rows))]), "y": rows[:, -1]}
        self.temperature = spec().sgd.temperature

    def pull(self, V: Any, a: Any, weights: Any) -> tuple[Any, Any]:
        """Minus the sum over rows of weights (442, ...) times their gradients."""
        n = len(self.X)
        before = (self.X @ V.reshape(V.shape[0], -1)).reshape(n, *V.shape[1:])
        opened = before > 0
        after = before * opened
        miss = (after * a).sum(1) - self.y.reshape(n, *(1,) * (a.ndim - 1))
        c = (-2 * miss * weights)[:, None]
        back = c * (a * opened)
        return (self.X.T @ back.reshape(n, -1)).reshape(len(V), *back.shape[1:]), (c * after).sum(0)

    def weights(self, xi: Any, size: float) -> Any:
        """Centred noise in the weights."""
        return (size / self.noises**0.5) * (xi - xi.mean(0))

    def _joined(self, parts: tuple[Any, Any]) -> Any:
        V, a = parts
        return self.xp.concatenate([V.reshape(-1, *V.shape[2:]), a])

    def drift(self, flat: Any) -> Any:
        return self._joined(self.pull(*self.split(flat), 1 / self.noises))

    def diffuse(self, flat: Any, xi: Any) -> Any:
        return self._joined(self.pull(*self.split(flat), self.weights(xi, self.temperature**0.5)))

    def charge(self, V: Any, a: Any) -> Any:
        return (V[:, 0] ** 2).sum(0) - a[0] ** 2

    def step(self, parts: tuple[Any, ...], xi: Any) -> tuple[Any, ...]:
        V, a = parts
        weights = self.weights(xi, (self.temperature / self.dt) ** 0.5) + 1 / self.noises
        dv, da = self.pull(V, a, weights)
        return V + self.dt * dv, a + self.dt * da

    def ours(self) -> dict[str, Any]:
        run = spec().run
        charge = run["observables"]["C"].flat[0]
        return {"problem": spec().loss, "sgd": spec().sgd, "start": run["start"], "charge": charge}


RACE = Race(
    Diabetes(),
    (
        Rival("jax.lax.scan", "scan", "plain", 128),
        Rival("jax.lax.scan, a device per core", "scan", "sharded", 256),
        Rival("NumPy over paths", "arrays", "euler", 32),
        Rival("diffrax Euler, UnsafeBrownianPath", "diffrax_euler", "euler", 128),
        Rival("torchsde euler", "torchsde_euler", "euler", 64),
        Rival("sdeint itoEuler", "sdeint_euler", "euler", 2),
    ),
)
