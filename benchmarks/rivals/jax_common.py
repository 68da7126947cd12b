"""What the hand-written JAX loops share: precision, one device per core, seeds, pooled final means."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.measure import Outcome


def compiled(
    simulate: Callable[[Any, int], Any], paths: int, steps: int, dtype: str, sharded: bool
) -> Callable[[int], Outcome]:
    """run(seed) of simulate(key, paths) -> statistics (mean, std, min, max), each (saves, rows) with the charge
    as the last row; split over all host devices if `sharded`.
    """
    jax: Any = import_module("jax")
    devices = jax.local_device_count() if sharded else 1
    share = paths // devices
    wide = dtype == "float64"
    if devices > 1:
        mesh = jax.make_mesh((devices,), ("core",))
        spec = jax.sharding.PartitionSpec("core")
        placed = jax.sharding.NamedSharding(mesh, spec)

        def one(keys: Any) -> Any:
            return jax.tree.map(lambda a: a[None], simulate(keys[0], share))

        program = jax.jit(jax.shard_map(one, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))
    else:
        placed = None
        program = jax.jit(lambda keys: jax.tree.map(lambda a: a[None], simulate(keys[0], share)))

    def run(seed: int) -> Outcome:
        with jax.enable_x64(wide):
            keys = jax.random.split(jax.random.key(seed), devices)
            keys = keys if placed is None else jax.device_put(keys, placed)
            mean, std, *_ = (np.asarray(a)[:, -1, -1] for a in jax.block_until_ready(program(keys)))
        spread = float(np.sqrt(np.mean(std**2) + np.var(mean)))
        return Outcome(share * devices * steps, float(np.mean(mean)), spread / float(np.sqrt(share * devices)))

    return run


def statistics(jnp: Any, rows: Any) -> tuple[Any, Any, Any, Any]:
    """Mean, std, min, max over the last axis."""
    return rows.mean(-1), rows.std(-1), rows.min(-1), rows.max(-1)
