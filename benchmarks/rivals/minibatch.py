"""SGD as one writes it. In JAX: `jax.grad` of a minibatch's loss, `jax.lax.scan` over steps, `jax.vmap` over paths,
jitted. In NumPy: a path after another, its minibatch in products of matrices by BLAS."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.measure import Outcome
from benchmarks.problem import Run, Task


def vmap(problem: Any, task: Task) -> Run:
    """problem: of `benchmarks.problems.minibatches`. Batches with replacement, as ours."""
    jax: Any = import_module("jax")
    jnp, dtype = jax.numpy, task.dtype

    def loss(parts: Any, x: Any, y: Any) -> Any:
        W, b, a = parts
        return jnp.mean((jax.nn.relu(x @ W.T + b) @ a - y) ** 2)

    def path(key: Any) -> Any:
        x, y = (jnp.asarray(v, dtype) for v in (problem.x, problem.y))

        def step(carry: Any, _: Any) -> Any:
            parts, key = carry
            key, sub = jax.random.split(key)
            rows = jax.random.randint(sub, (problem.batch,), 0, len(problem.x))
            slopes = jax.grad(loss)(parts, x[rows], y[rows])
            return (jax.tree.map(lambda p, g: p - problem.eta * g, parts, slopes), key), None

        begin = tuple(jnp.asarray(v, dtype) for v in problem.begin)
        (W, b, a), _ = jax.lax.scan(step, (begin, key), None, length=problem.steps)[0]
        return (W[0] ** 2).sum() + b[0] ** 2 - a[0] ** 2

    program = jax.jit(jax.vmap(path))

    def run(seed: int) -> Outcome:
        with jax.enable_x64(dtype == "float64"):
            charge = np.asarray(program(jax.random.split(jax.random.key(seed), task.paths)), float)
        return Outcome(task.paths * problem.steps, float(charge.mean()), float(charge.std()) / task.paths**0.5)

    return run


def blas(problem: Any, task: Task) -> Run:
    """The same, the slopes by hand."""
    dtype = np.dtype(task.dtype).type
    x, y, rate = problem.x.astype(dtype), problem.y.astype(dtype), dtype(problem.eta)

    def path(rng: np.random.Generator) -> float:
        W, b, a = (v.astype(dtype) for v in problem.begin)
        for _ in range(problem.steps):
            rows = rng.integers(0, len(x), problem.batch)
            some = x[rows]
            before = some @ W.T
            before += b
            miss = np.maximum(before, 0) @ a
            miss -= y[rows]
            miss *= dtype(2 / problem.batch)
            back = np.where(before > 0, miss[:, None] * a, dtype(0))
            a -= rate * (np.maximum(before, 0).T @ miss)
            W -= rate * (back.T @ some)
            b -= rate * back.sum(axis=0)
        return float((W[0] ** 2).sum() + b[0] ** 2 - a[0] ** 2)

    def run(seed: int) -> Outcome:
        charge = np.array([path(np.random.default_rng([seed, i])) for i in range(task.paths)])
        return Outcome(task.paths * problem.steps, float(charge.mean()), float(charge.std()) / task.paths**0.5)

    return run
