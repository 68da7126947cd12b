"""A hand-written `jax.lax.scan`: states as arrays over paths, normals drawn in the step, jitted.

Of what was tried this is the fastest: threefry beats rbg and unsafe_rbg on a CPU twofold; unrolling the scan and
drawing a block of steps at once both lose. The plain loop runs on one core: XLA does not split a while loop's body.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.measure import Outcome
from benchmarks.problem import Problem, Run, Task


def plain(problem: Problem, task: Task) -> Run:
    """As one writes it."""
    return _build(problem, task, devices=1)


def sharded(problem: Problem, task: Task) -> Run:
    """The same on one host device per core, by `shard_map`."""
    jax: Any = import_module("jax")
    return _build(problem, task, devices=jax.local_device_count())


def _build(problem: Problem, task: Task, devices: int) -> Run:
    jax: Any = import_module("jax")
    jnp = jax.numpy
    dtype, steps, share = jnp.dtype(task.dtype), problem.steps, task.paths // devices
    mine = problem.on(jnp, lambda a: a.astype(dtype))
    last = problem.paths_last
    normals = (problem.draws, share) if last else (share, problem.draws)

    def step(carry: Any, _: Any) -> Any:
        parts, key = carry
        key, sub = jax.random.split(key)
        return (mine.step(parts, jax.random.normal(sub, normals, dtype)), key), None

    def save(carry: Any, _: Any) -> Any:
        carry, _ = jax.lax.scan(step, carry, None, length=steps // task.saves)
        rows = mine.rows(carry[0])
        return carry, (rows.mean(-1), rows.std(-1), rows.min(-1), rows.max(-1))

    def simulate(key: Any) -> Any:
        begin = tuple(_spread(jnp, a.astype(dtype), share, last) for a in problem.begin)
        saved = jax.lax.scan(save, (begin, key), None, length=task.saves)[1]
        return jax.tree.map(lambda a: a[None], saved)

    program, placed = jax.jit(lambda keys: simulate(keys[0])), None
    if devices > 1:
        mesh = jax.make_mesh((devices,), ("core",))
        spec = jax.sharding.PartitionSpec("core")
        placed = jax.sharding.NamedSharding(mesh, spec)
        program = jax.jit(
            jax.shard_map(lambda keys: simulate(keys[0]), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
        )

    def run(seed: int) -> Outcome:
        with jax.enable_x64(task.dtype == "float64"):
            keys = jax.random.split(jax.random.key(seed), devices)
            keys = keys if placed is None else jax.device_put(keys, placed)
            mean, std, *_ = (np.asarray(a)[:, -1, -1] for a in jax.block_until_ready(program(keys)))
        spread, paths = float(np.sqrt(np.mean(std**2) + np.var(mean))), share * devices
        return Outcome(paths * steps, float(np.mean(mean)), spread / paths**0.5)

    return run


def _spread(jnp: Any, value: Any, paths: int, last: bool) -> Any:
    shape = (*value.shape, paths) if last else (paths, *value.shape)
    return jnp.broadcast_to(value[..., None] if last else value, shape)
