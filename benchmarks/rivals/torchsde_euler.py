"""torchsde: method "euler", without gradients."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.measure import Outcome
from benchmarks.problem import Problem, Run, Task


class Batch:
    """Drift f and the product of diffusion and noise, over a batch of states (n, D), as torchsde wants them."""

    noise_type = "general"
    sde_type = "ito"

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def f(self, t: Any, y: Any) -> Any:
        """Drift (n, D)."""
        return self.problem.drift(y.T).T

    def g_prod(self, t: Any, y: Any, v: Any) -> Any:
        """Diffusion times v (n, J): (n, D)."""
        return self.problem.diffuse(y.T, v.T).T


def euler(problem: Problem, task: Task) -> Run:
    """On all threads torch takes by itself. The product spares it the diffusion matrix."""
    torch: Any = import_module("torch")
    torchsde: Any = import_module("torchsde")
    dtype, n, end = getattr(torch, task.dtype), task.paths, problem.time
    mine = problem.on(torch, lambda a: torch.as_tensor(a, dtype=dtype))
    sde = Batch(mine)

    def run(seed: int) -> Outcome:
        begin = torch.as_tensor(problem.flat, dtype=dtype).repeat(n, 1)
        times = torch.linspace(0.0, end, task.saves + 1, dtype=dtype)
        noise = torchsde.BrownianInterval(0.0, end, size=(n, problem.noises), dtype=dtype, entropy=seed)
        with torch.no_grad():
            ys = torchsde.sdeint(sde, begin, times, bm=noise, method="euler", dt=problem.dt)
            rows = mine.states(ys.movedim(-1, 0))
            found = [rows.mean(-1), rows.std(-1), rows.amin(-1), rows.amax(-1)]
        return Outcome(n * problem.steps, float(found[0][-1, -1]), float(found[1][-1, -1]) / n**0.5)

    return run
