"""Matrix factorisation as a hand-written `jax.lax.scan`, in matmul form (see `benchmarks.matrix_factorization`)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from benchmarks.matrix_factorization import SIZE, Run, Task
from benchmarks.rivals.jax_common import compiled, statistics
from benchmarks.rivals.symmetric import symmetric_basis


def matmul(task: Task) -> Run:
    """Paths first, (n, 4, 4), batched `@`: how one writes it."""
    return _build(task, paths_last=False)


def paths_last(task: Task) -> Run:
    """Paths last, (4, 4, n), products written as sums over the inner index, one device per core: how it runs
    fastest of what was tried.
    """
    return _build(task, paths_last=True)


def _build(task: Task, paths_last: bool) -> Run:
    jax: Any = import_module("jax")
    jnp = jax.numpy
    dtype = jnp.dtype(task.dtype)
    size = (task.eta * task.dt) ** 0.5
    wide = SIZE * SIZE
    basis = symmetric_basis(SIZE)
    symmetric = len(basis)

    def product(a: Any, b: Any) -> Any:
        if not paths_last:
            return a @ b
        terms = [a[:, j, None, :] * b[None, j, :, :] for j in range(SIZE)]
        return sum(terms[1:], terms[0])

    def swap(a: Any) -> Any:
        return a.swapaxes(0, 1) if paths_last else a.swapaxes(1, 2)

    def simulate(key: Any, paths: int) -> Any:
        mix = jnp.asarray(size * basis.reshape(symmetric, wide), dtype)

        def spread(matrix: Any) -> Any:
            fixed = jnp.asarray(matrix, dtype)
            return fixed[:, :, None] if paths_last else fixed[None]

        def step(carry: Any, _: Any) -> Any:
            U, W, key = carry
            key, sub = jax.random.split(key)
            if paths_last:
                xi = jax.random.normal(sub, (symmetric + wide, paths), dtype)
                inputs = (mix.T @ xi[:symmetric]).reshape(SIZE, SIZE, paths)
                labels = xi[symmetric:].reshape(SIZE, SIZE, paths)
            else:
                xi = jax.random.normal(sub, (paths, symmetric + wide), dtype)
                inputs = (xi[:, :symmetric] @ mix).reshape(paths, SIZE, SIZE)
                labels = xi[:, symmetric:].reshape(paths, SIZE, SIZE)
            Q = inputs + spread(task.dt * jnp.eye(SIZE))
            G = 2 * product(product(U, W) - spread(task.target), Q) - size * labels
            return (U - product(G, swap(W)), W - product(swap(U), G), key), None

        def save(carry: Any, _: Any) -> Any:
            carry, _ = jax.lax.scan(step, carry, None, length=task.steps // task.saves)
            U, W = (a if paths_last else jnp.moveaxis(a, 0, -1) for a in carry[:2])
            charge = (U[:, 0] ** 2).sum(0) - (W[0] ** 2).sum(0)
            rows = jnp.concatenate([U.reshape(wide, paths), W.reshape(wide, paths), charge[None]])
            return carry, statistics(jnp, rows)

        shape = (SIZE, SIZE, paths) if paths_last else (paths, SIZE, SIZE)
        U, W = (jnp.broadcast_to(spread(a), shape) for a in task.start)
        return jax.lax.scan(save, (U, W, key), None, length=task.saves)[1]

    return compiled(simulate, task.paths, task.steps, task.dtype, sharded=paths_last)
