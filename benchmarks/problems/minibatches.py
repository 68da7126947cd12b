"""Two-layer ReLU networks on 1,000 rows, trained by discrete SGD with minibatches on many paths at once; 32-64-1 with
batches of 32 on 1,000 paths where nothing else is said.

32-64-1 has 2,176 states; the rows are normal, the target |x_1| + noise/10, from one fixed seed. The charge of the first
hidden unit is watched.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from benchmarks.measure import Contestant
from benchmarks.ours import runner
from benchmarks.problem import Run, Task
from benchmarks.rivals.minibatch import vmap
from sde import train
from symbolic import SGD, Dataset, Loss, parameters
from symbolic.functions.activations import relu

INPUTS, ROWS = 32, 1000


class WideRelu:
    """W (hidden, inputs) and b (hidden,), the first layer; a (hidden,), the second."""

    eta = 0.01

    def __init__(self, hidden: int = 64, batch: int = 32, steps: int = 20, paths: int = 1_000) -> None:
        self.hidden, self.batch, self.steps, self.paths = hidden, batch, steps, paths
        self.name = f"ReLU {INPUTS}-{hidden}-1"
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(ROWS, INPUTS))
        self.y = np.abs(self.x[:, 0]) + rng.normal(size=ROWS) / 10
        self.begin = (
            rng.normal(size=(hidden, INPUTS)) / INPUTS**0.5,
            np.zeros(hidden),
            rng.normal(size=hidden) / hidden**0.5,
        )

    @cached_property
    def loss(self) -> tuple[Loss, Any]:
        """The loss, and the charge as an expression."""
        W, b, a = parameters(W=(self.hidden, INPUTS), b=(self.hidden,), a=(self.hidden,))
        x, y = sp.Matrix(sp.symbols(f"x:{INPUTS}", real=True)), sp.Symbol("y", real=True)
        before = W * x + sp.Matrix(b)
        miss = sp.Add(*(a[j] * relu(before[j]) for j in range(self.hidden)), -y)
        data = Dataset({tuple(x): self.x, y: self.y})
        charge = sp.Add(*(W[0, k] ** 2 for k in range(INPUTS))) + b[0] ** 2 - a[0] ** 2
        return Loss(miss**2, {"W": W, "b": b, "a": a}, data, name="relu"), charge


def ours(problem: WideRelu, task: Task) -> Run:
    """Through the public `train`."""
    (loss, charge), sgd = problem.loss, SGD(learning_rate=problem.eta, batch_size=problem.batch)
    return runner(
        loss, sgd, charge, problem.steps, call=train, steps=problem.steps,
        start=dict(zip("Wba", problem.begin, strict=True)), paths=task.paths, save_at=2, dtype=task.dtype,
    )  # fmt: skip


class Minibatches:
    """A race for the final mean alone."""

    problem = WideRelu()

    def contestants(self, saves: int, dtype: str) -> list[Contestant]:
        """Ours first; none for runs with saves in between."""
        if saves > 1:
            return []
        task = Task(self.problem.paths, saves, dtype)
        return [
            Contestant("noetherflow", lambda: ours(self.problem, task)),
            Contestant("jax.vmap of the same", lambda: vmap(self.problem, task), 2.0),
        ]


RACE = Minibatches()
