"""diffrax: Euler, UnsafeBrownianPath, constant steps, vmapped over paths and jitted, forward only."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.measure import Outcome
from benchmarks.problem import Problem, Run, Task


def euler(problem: Problem, task: Task) -> Run:
    """The diffusion is a linear operator, so that no matrix is formed. Saves are kept per path by diffrax, then summed
    up."""
    jax: Any = import_module("jax")
    dfx: Any = import_module("diffrax")
    lineax: Any = import_module("lineax")
    jnp = jax.numpy
    wide, dtype = task.dtype == "float64", jnp.dtype(task.dtype)
    mine = problem.on(jnp, lambda a: a.astype(dtype))
    channel = jax.ShapeDtypeStruct((problem.noises,), dtype)

    def diffusion(t: Any, y: Any, args: Any) -> Any:
        return lineax.FunctionLinearOperator(lambda xi: mine.diffuse(y, xi), channel)

    def one(key: Any) -> Any:
        noise = dfx.UnsafeBrownianPath(shape=channel, key=key)
        terms = dfx.MultiTerm(dfx.ODETerm(lambda t, y, args: mine.drift(y)), dfx.ControlTerm(diffusion, noise))
        times = jnp.linspace(0.0, problem.time, task.saves + 1)[1:]
        ys = dfx.diffeqsolve(
            terms, dfx.Euler(), 0.0, problem.time, problem.dt, jnp.asarray(problem.flat, dtype),
            saveat=dfx.SaveAt(ts=times), adjoint=dfx.ForwardMode(), max_steps=problem.steps + 16,
        ).ys  # fmt: skip
        return jax.vmap(mine.states)(ys)

    def summed(keys: Any) -> Any:
        rows = jax.vmap(one)(keys)
        return rows.mean(0), rows.std(0), rows.min(0), rows.max(0)

    program = jax.jit(summed)

    def run(seed: int) -> Outcome:
        with jax.enable_x64(wide):
            mean, std, *_ = jax.block_until_ready(program(jax.random.split(jax.random.key(seed), task.paths)))
        return Outcome(task.paths * problem.steps, float(mean[-1, -1]), float(std[-1, -1]) / task.paths**0.5)

    return run
