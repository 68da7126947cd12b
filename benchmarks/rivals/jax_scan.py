"""Rescaling as a hand-written `jax.lax.scan`: states as arrays over paths, normals drawn in the step, jitted.

Of what was tried this is the fastest: threefry beats rbg and unsafe_rbg on a CPU twofold; unrolling the scan and
drawing a block of steps at once both lose. The plain loop runs on one core: XLA does not split a while loop's body.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.rescaling import Run, Task
from benchmarks.rivals.jax_common import compiled, statistics


def plain(task: Task) -> Run:
    """Two normals a step, as our derived program has them."""
    return _build(task, merged=False, sharded=False)


def sharded(task: Task) -> Run:
    """The same on one host device per core, by `shard_map`."""
    return _build(task, merged=False, sharded=True)


def merged(task: Task) -> Run:
    """And with the two noises, both along (w, u), merged by hand into one of variance 8 a^2 + 1."""
    return _build(task, merged=True, sharded=True)


def _build(task: Task, merged: bool, sharded: bool) -> Run:
    jax: Any = import_module("jax")
    jnp = jax.numpy
    dtype = jnp.dtype(task.dtype)
    dt, size = task.dt, (task.eta * task.dt) ** 0.5
    root8 = 8**0.5

    def simulate(key: Any, paths: int) -> Any:
        def step(carry: Any, _: Any) -> Any:
            u, w, key = carry
            key, sub = jax.random.split(key)
            a = u * w - 1
            if merged:
                g = 2 * dt * a + size * jnp.sqrt(8 * a * a + 1) * jax.random.normal(sub, (paths,), dtype)
            else:
                xi = jax.random.normal(sub, (2, paths), dtype)
                g = a * (2 * dt + (size * root8) * xi[0]) - size * xi[1]
            return (u - g * w, w - g * u, key), None

        def save(carry: Any, _: Any) -> Any:
            carry, _ = jax.lax.scan(step, carry, None, length=task.steps // task.saves)
            u, w, _ = carry
            return carry, statistics(jnp, jnp.stack([u, w, u * u - w * w]))

        begin = (jnp.full(paths, task.u, dtype), jnp.full(paths, task.w, dtype), key)
        return jax.lax.scan(save, begin, None, length=task.saves)[1]

    return compiled(simulate, task.paths, task.steps, task.dtype, sharded)
