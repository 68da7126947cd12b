"""Scalar problems by other means, in float64: the final state of every path beside the final W that drove it.

Each build(problem) gives run(steps, paths, seed) -> (x, w), arrays (paths,) at time 1; it raises ImportError where its
package is missing. Where a package can be spread over all cores by ordinary means, it is: NumPy by threads, JAX and
diffrax by `shard_map`, torch by itself; sdeint goes path by path on one core, as the package has it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine

if TYPE_CHECKING:
    from benchmarks.precision import Scalar

Run = Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]
BLOCK = 16_384
"""Paths that NumPy moves at a time, at most: few enough to stay in the cache."""
MOST_STEPS = 1024
"""What diffrax may take at most: a limit, not an allocation."""


def numpy_euler(problem: Scalar) -> Run:
    """One array operation over a block of paths at a time, a thread per core; PCG64 and the ziggurat."""
    pool = ThreadPoolExecutor(machine.cores())

    def block(source: np.random.SeedSequence, steps: int, paths: int) -> tuple[np.ndarray, np.ndarray]:
        rng, dt = np.random.default_rng(source), 1.0 / steps
        x, w = np.full(paths, problem.start), np.zeros(paths)
        for _ in range(steps):
            dw = rng.standard_normal(paths)
            dw *= dt**0.5
            x = x + problem.drift(x) * dt + problem.diffusion(x) * dw
            w += dw
        return x, w

    def run(steps: int, paths: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        most = min(BLOCK, -(-paths // machine.cores()))
        sizes = [min(most, paths - first) for first in range(0, paths, most)]
        sources = np.random.SeedSequence(seed).spawn(len(sizes))
        x, w = zip(*pool.map(block, sources, [steps] * len(sizes), sizes), strict=True)
        return np.concatenate(x), np.concatenate(w)

    return run


def scan_euler(problem: Scalar) -> Run:
    """A hand-written `jax.lax.scan`, jitted for each number of steps and paths; normals are drawn in the step."""
    jax: Any = import_module("jax")
    jnp, devices = jax.numpy, jax.local_device_count()

    @cache
    def program(steps: int, share: int) -> Any:
        dt = 1.0 / steps

        def step(carry: Any, _: Any) -> Any:
            x, w, key = carry
            key, sub = jax.random.split(key)
            dw = jax.random.normal(sub, (share,), jnp.float64) * dt**0.5
            return (x + problem.drift(x) * dt + problem.diffusion(x) * dw, w + dw, key), None

        def simulate(keys: Any) -> Any:
            begin = jnp.full(share, problem.start, jnp.float64), jnp.zeros(share, jnp.float64), keys[0]
            return jax.lax.scan(step, begin, None, length=steps)[0][:2]

        return _sharded(jax, simulate)

    def run(steps: int, paths: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        with jax.enable_x64(True):
            x, w = program(steps, paths // devices)(jax.random.split(jax.random.key(seed), devices))
            return np.asarray(x), np.asarray(w)

    return run


def diffrax_solver(problem: Scalar, solver: str) -> Run:
    """Scalar noise by UnsafeBrownianPath, constant steps, vmapped and jitted, forward only, final state alone. W is a
    second state.

    SlowRK wants the equation in Stratonovich's sense, and integrals of W beside its increments.
    """
    jax: Any = import_module("jax")
    dfx: Any = import_module("diffrax")
    jnp, devices = jax.numpy, jax.local_device_count()
    stratonovich = solver == "SlowRK"
    area = dfx.SpaceTimeTimeLevyArea if stratonovich else dfx.BrownianIncrement

    def drift(t: Any, y: Any, args: Any) -> Any:
        f = problem.drift(y[0])
        if stratonovich:
            f = f - 0.5 * jax.jvp(problem.diffusion, (y[0],), (problem.diffusion(y[0]),))[1]
        return jnp.stack([f, jnp.zeros_like(f)])

    def diffusion(t: Any, y: Any, args: Any) -> Any:
        g = problem.diffusion(y[0])
        return jnp.stack([g, jnp.ones_like(g)])

    def one(key: Any, dt: Any) -> Any:
        noise = dfx.UnsafeBrownianPath(shape=(), key=key, levy_area=area)
        terms = dfx.MultiTerm(dfx.ODETerm(drift), dfx.ControlTerm(diffusion, noise))
        ys = dfx.diffeqsolve(
            terms, getattr(dfx, solver)(), 0.0, 1.0, dt, jnp.array([problem.start, 0.0]), saveat=dfx.SaveAt(t1=True),
            adjoint=dfx.ForwardMode(), max_steps=MOST_STEPS, throw=False,
        ).ys  # fmt: skip
        return ys[0]

    program = _sharded(jax, jax.vmap(one, in_axes=(0, None)), replicated=1)

    def run(steps: int, paths: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        with jax.enable_x64(True):
            keys = jax.random.split(jax.random.key(seed), paths // devices * devices)
            y = np.asarray(program(keys, jnp.asarray(1.0 / steps)))
        return y[:, 0], y[:, 1]

    return run


def torchsde_method(problem: Scalar, method: str) -> Run:
    """A batch of paths with diagonal noise, without gradients; W(1) is asked of the Brownian interval."""
    torch: Any = import_module("torch")
    torchsde: Any = import_module("torchsde")

    class Batch:
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t: Any, y: Any) -> Any:
            return problem.drift(y)

        def g(self, t: Any, y: Any) -> Any:
            return problem.diffusion(y)

    area = "space-time" if method == "srk" else "none"

    def run(steps: int, paths: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        begin = torch.full((paths, 1), problem.start, dtype=torch.float64)
        times = torch.tensor([0.0, 1.0], dtype=torch.float64)
        noise = torchsde.BrownianInterval(
            0.0, 1.0, size=(paths, 1), dtype=torch.float64, entropy=seed, levy_area_approximation=area
        )
        with torch.no_grad():
            y = torchsde.sdeint(Batch(), begin, times, bm=noise, method=method, dt=1.0 / steps)[-1]
            return y[:, 0].numpy(), noise(0.0, 1.0)[:, 0].numpy()

    return run


def sdeint_function(problem: Scalar, function: str) -> Run:
    """W is a second state, so the noise is a matrix (2, 1)."""
    solve: Any = getattr(import_module("sdeint"), function)

    def drift(y: np.ndarray, t: float) -> np.ndarray:
        return np.array([problem.drift(y[0]), 0.0])

    def diffusion(y: np.ndarray, t: float) -> np.ndarray:
        return np.array([[problem.diffusion(y[0])], [1.0]])

    def run(steps: int, paths: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng, begin, times = (
            np.random.default_rng(seed),
            np.array([problem.start, 0.0]),
            np.linspace(0.0, 1.0, steps + 1),
        )
        y = np.array([solve(drift, diffusion, begin, times, generator=rng)[-1] for _ in range(paths)])
        return y[:, 0], y[:, 1]

    return run


def _sharded(jax: Any, function: Any, replicated: int = 0) -> Any:
    """The function jitted, its first argument and its results split over one host device per core."""
    mesh, split = jax.make_mesh((jax.local_device_count(),), ("core",)), jax.sharding.PartitionSpec("core")
    specs, placed = (split, *[jax.sharding.PartitionSpec()] * replicated), jax.sharding.NamedSharding(mesh, split)
    program = jax.jit(jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False))
    return lambda first, *rest: program(jax.device_put(first, placed), *rest)
