"""Paths that stop where they leave an interval, as one writes them for NumPy, JAX and diffrax."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.measure import Outcome
from benchmarks.problem import Run, Task

BLOCK = 4096
"""Paths at a time in NumPy: of the sizes tried the fastest."""


def _outcome(problem: Any, ends: np.ndarray) -> Outcome:
    """ends: where paths end."""
    return Outcome(len(ends) * problem.steps, float(ends.mean()), float(ends.std()) / len(ends) ** 0.5)


def compacting(problem: Any, task: Task) -> Run:
    """Arrays over the paths that have not left yet, block by block, so that the steps cost ever less; one thread."""
    dtype = np.dtype(task.dtype).type

    def block(rng: np.random.Generator, n: int) -> np.ndarray:
        x, ends = np.zeros(n, dtype), []
        for _ in range(problem.steps):
            (y,) = problem.step((x,), rng.standard_normal((1, len(x)), dtype))
            sides = problem.sides(x, y, rng.random((2, len(x)), dtype) if problem.bridge else None)
            left = sides != 0
            ends.append(sides[left].astype(float))
            x = y[~left]
            if not len(x):
                break
        return np.concatenate([*ends, x])

    def run(seed: int) -> Outcome:
        rng = np.random.default_rng(seed)
        sizes = [min(BLOCK, task.paths - at) for at in range(0, task.paths, BLOCK)]
        return _outcome(problem, np.concatenate([block(rng, n) for n in sizes]))

    return run


def masked(problem: Any, task: Task) -> Run:
    """As one writes it: all paths step until the last has left."""
    return _while(problem, task, 1)


def sharded(problem: Any, task: Task) -> Run:
    """The same on one host device per core, by `shard_map`, each until its last path has left."""
    return _while(problem, task, import_module("jax").local_device_count())


def _while(problem: Any, task: Task, devices: int) -> Run:
    jax: Any = import_module("jax")
    jnp, share = jax.numpy, task.paths // devices
    dtype, mine = jnp.dtype(task.dtype), problem.on(jax.numpy, lambda a: a)

    def going(carry: Any) -> Any:
        k, _, sides, _ = carry
        return (k < problem.steps) & (sides == 0).any()

    def step(carry: Any) -> Any:
        k, x, sides, key = carry
        key, normal, uniform = jax.random.split(key, 3)
        (y,) = mine.step((x,), jax.random.normal(normal, (1, share), dtype))
        now = mine.sides(x, y, jax.random.uniform(uniform, (2, share), dtype) if problem.bridge else None)
        return k + 1, jnp.where(sides == 0, y, x), jnp.where(sides == 0, now, sides), key

    def ends(keys: Any) -> Any:
        begin = (0, jnp.zeros(share, dtype), jnp.zeros(share, int), keys[0])
        _, x, sides, _ = jax.lax.while_loop(going, step, begin)
        return jnp.where(sides == 0, x, sides)

    program, placed = jax.jit(ends), None
    if devices > 1:
        mesh = jax.make_mesh((devices,), ("core",))
        spec = jax.sharding.PartitionSpec("core")
        placed = jax.sharding.NamedSharding(mesh, spec)
        program = jax.jit(jax.shard_map(ends, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))

    def run(seed: int) -> Outcome:
        with jax.enable_x64(task.dtype == "float64"):
            keys = jax.random.split(jax.random.key(seed), devices)
            keys = keys if placed is None else jax.device_put(keys, placed)
            return _outcome(problem, np.asarray(jax.block_until_ready(program(keys)), float))

    return run


def diffrax_event(problem: Any, task: Task) -> Run:
    """Euler, UnsafeBrownianPath, constant steps and an Event, vmapped over paths and jitted: paths are looked at after
    steps. A path that has left counts as the side it is on."""
    jax: Any = import_module("jax")
    dfx: Any = import_module("diffrax")
    lineax: Any = import_module("lineax")
    jnp = jax.numpy
    dtype, mine = jnp.dtype(task.dtype), problem.on(jax.numpy, lambda a: a)
    channel = jax.ShapeDtypeStruct((1,), dtype)

    def diffusion(t: Any, y: Any, args: Any) -> Any:
        return lineax.FunctionLinearOperator(lambda xi: mine.diffuse(y, xi), channel)

    def out(t: Any, y: Any, args: Any, **more: Any) -> Any:
        return jnp.abs(y[0]) >= 1

    def one(key: Any) -> Any:
        noise = dfx.UnsafeBrownianPath(shape=channel, key=key)
        terms = dfx.MultiTerm(dfx.ODETerm(lambda t, y, args: mine.drift(y)), dfx.ControlTerm(diffusion, noise))
        y = dfx.diffeqsolve(
            terms, dfx.Euler(), 0.0, problem.time, problem.dt, jnp.asarray(problem.flat, dtype),
            event=dfx.Event(out), adjoint=dfx.ForwardMode(), max_steps=problem.steps + 16,
        ).ys[-1, 0]  # fmt: skip
        return jnp.clip(y, -1, 1)

    program = jax.jit(jax.vmap(one))

    def run(seed: int) -> Outcome:
        with jax.enable_x64(task.dtype == "float64"):
            keys = jax.random.split(jax.random.key(seed), task.paths)
            return _outcome(problem, np.asarray(jax.block_until_ready(program(keys)), float))

    return run
