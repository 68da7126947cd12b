"""Networks of 100 to 1,000 hidden units with batches of 32 to 512: products in every lane against a path after another
through BLAS on one thread, and `jax.vmap`.

CPU seconds, as both cores work for some and one for others; the least of the runs, which are interleaved.
"""

from __future__ import annotations

from statistics import median

from benchmarks.measure import Contestant, compete, ratios
from benchmarks.problem import Task
from benchmarks.problems.minibatches import WideRelu, ours
from benchmarks.rivals.minibatch import blas, vmap

WIDTHS, BATCHES = (100, 300, 1000), (32, 128, 512)
ROWS_GONE_THROUGH = 1536
"""Of every path: so many steps that what a run costs beside them does not count."""
PATHS = 64
ROW = "{:>6} {:>6} {:<8} {:>12} {:>12} {:>12} {:>8} {:>8}"


def wide(repeats: int) -> bool:
    """Print the table; whether no path through BLAS costs less than one of ours, and all end alike."""
    print(f"ReLU 32-H-1, SGD, {PATHS} paths; CPU microseconds of a step of a path, and theirs over ours.")
    print(ROW.format("hidden", "batch", "dtype", "noetherflow", "BLAS", "jax.vmap", "BLAS", "JAX"))
    best = True
    for hidden in WIDTHS:
        for batch in BATCHES:
            for dtype in ("float32", "float64"):
                problem = WideRelu(hidden, batch, ROWS_GONE_THROUGH // batch, PATHS)
                best &= _line(problem, dtype, min(repeats, 3))
    return best


def _line(problem: WideRelu, dtype: str, repeats: int) -> bool:
    task = Task(problem.paths, 1, dtype)
    records = compete(
        [
            Contestant("noetherflow", lambda: ours(problem, task)),
            Contestant("BLAS", lambda: blas(problem, task)),
            Contestant("jax.vmap", lambda: vmap(problem, task)),
        ],
        repeats,
    )
    mine, *theirs = (1e6 / median(r.cpu_rate) if r.cpu_rate else float("nan") for r in records)
    shown = [f"{cost:.1f}" for cost in (mine, *theirs)] + [f"{cost / mine:.2f}" for cost in theirs]
    print(ROW.format(problem.hidden, problem.batch, dtype, *shown), flush=True)
    return mine <= theirs[0] and all(r.agrees for r in ratios(records))
