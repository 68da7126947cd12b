"""Rescaling by torchsde: method "euler", general noise, without gradients."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.measure import Outcome
from benchmarks.rescaling import Run, Task


class Rescaling:
    """Drift f and diffusion g over a batch of states (n, 2), as torchsde wants them."""

    noise_type = "general"
    sde_type = "ito"

    def __init__(self, torch: Any, eta: float) -> None:
        self.torch, self.size = torch, eta**0.5

    def f(self, t: Any, y: Any) -> Any:
        """Drift (n, 2)."""
        return -2 * (y[:, :1] * y[:, 1:] - 1) * y.flip(1)

    def g(self, t: Any, y: Any) -> Any:
        """Diffusion (n, 2, 2)."""
        a = y[:, 0] * y[:, 1] - 1
        row = self.size * self.torch.stack([8**0.5 * a, -self.torch.ones_like(a)], 1)
        return -y.flip(1)[:, :, None] * row[:, None, :]


def rescaling(task: Task) -> Run:
    """On all threads torch takes by itself."""
    torch: Any = import_module("torch")
    torchsde: Any = import_module("torchsde")
    dtype = getattr(torch, task.dtype)
    sde = Rescaling(torch, task.eta)

    def run(seed: int) -> Outcome:
        begin = torch.tensor([[task.u, task.w]], dtype=dtype).repeat(task.paths, 1)
        times = torch.linspace(0.0, task.time, task.saves + 1, dtype=dtype)
        noise = torchsde.BrownianInterval(0.0, task.time, size=(task.paths, 2), dtype=dtype, entropy=seed)
        with torch.no_grad():
            ys = torchsde.sdeint(sde, begin, times, bm=noise, method="euler", dt=task.dt)
            rows = torch.cat([ys, ys[..., :1] ** 2 - ys[..., 1:] ** 2], -1)
            found = [rows.mean(1), rows.std(1), rows.amin(1), rows.amax(1)]
        return Outcome(task.paths * task.steps, float(found[0][-1, -1]), float(found[1][-1, -1]) / task.paths**0.5)

    return run
