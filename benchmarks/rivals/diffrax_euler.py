"""Rescaling by diffrax: Euler, UnsafeBrownianPath, constant steps, vmapped over paths and jitted, forward only."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.measure import Outcome
from benchmarks.rescaling import Run, Task


def rescaling(task: Task) -> Run:
    """Saves are kept per path by diffrax, then summed up."""
    jax: Any = import_module("jax")
    dfx: Any = import_module("diffrax")
    jnp = jax.numpy
    wide, dtype = task.dtype == "float64", jnp.dtype(task.dtype)
    size, root8 = task.eta**0.5, 8**0.5

    def drift(t: Any, y: Any, args: Any) -> Any:
        g = 2 * (y[0] * y[1] - 1)
        return jnp.stack([-g * y[1], -g * y[0]])

    def diffusion(t: Any, y: Any, args: Any) -> Any:
        row = size * jnp.stack([root8 * (y[0] * y[1] - 1), -jnp.ones((), dtype)])
        return jnp.stack([-y[1] * row, -y[0] * row])

    def one(key: Any) -> Any:
        noise = dfx.UnsafeBrownianPath(shape=jax.ShapeDtypeStruct((2,), dtype), key=key)
        terms = dfx.MultiTerm(dfx.ODETerm(drift), dfx.ControlTerm(diffusion, noise))
        times = jnp.linspace(0.0, task.time, task.saves + 1)[1:]
        begin = jnp.array([task.u, task.w], dtype)
        return dfx.diffeqsolve(
            terms, dfx.Euler(), 0.0, task.time, task.dt, begin, saveat=dfx.SaveAt(ts=times),
            adjoint=dfx.ForwardMode(), max_steps=task.steps + 16,
        ).ys  # fmt: skip

    def summed(keys: Any) -> Any:
        ys = jax.vmap(one)(keys)
        rows = jnp.concatenate([ys, (ys[..., :1] ** 2 - ys[..., 1:] ** 2)], axis=-1)
        return rows.mean(0), rows.std(0), rows.min(0), rows.max(0)

    program = jax.jit(summed)

    def run(seed: int) -> Outcome:
        with jax.enable_x64(wide):
            mean, std, *_ = jax.block_until_ready(program(jax.random.split(jax.random.key(seed), task.paths)))
        return Outcome(task.paths * task.steps, float(mean[-1, -1]), float(std[-1, -1]) / float(np.sqrt(task.paths)))

    return run
