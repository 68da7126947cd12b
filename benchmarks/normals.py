"""Normals per second: what the rescaling run consumes against what MKL makes on the same cores.

MKL's Philox4x32-10 with the inverse distribution function is the fastest of its accurate normals; it only makes them,
into a buffer that stays in the cache. The run also moves the paths, so its share can at most be that of our own filler.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.problem import Task, ours
from benchmarks.problems import rescaling
from benchmarks.rivals import mkl_normals
from sde.kernels.random.normal import SCRATCH
from sde.kernels.shared_functions import compiled

ASKED = {"float32": 0.7, "float64": 0.4}
"""Least share of `mkl_random`'s rate, by dtype."""
SECONDS = 0.25
ROWS, LANES = 64, 256
ROW = "{:<8} {:<46} {:>12} {:>17} {:>12} {:>6}"


def filler(dtype: str, seed: int) -> mkl_normals.Draw:
    """Our normals alone, as the loop calls for them."""
    out, words, spare = np.empty((ROWS, LANES), dtype), np.empty(SCRATCH * LANES, np.uint32), np.empty(LANES, dtype)
    function = compiled(dtype, "normals").ctypes
    pointers = [a.ctypes.data_as(kind) for a, kind in zip((out, words, spare), function.argtypes, strict=False)]
    blocks = mkl_normals.BLOCK // out.size

    def draw(times: int) -> None:
        for k in range(times * blocks):
            function(*pointers, ROWS, LANES, ctypes.c_uint64(seed), 0, k, 0, 0)

    return draw


def on_all_cores(build: Callable[[str, int], mkl_normals.Draw], dtype: str) -> Callable[[int], float]:
    """rate(seed): normals per second, a thread per core, each with a stream of its own. Raises ImportError."""
    cores, times = machine.cores(), 8
    draws = [build(dtype, 1 + core) for core in range(cores)]
    pool = ThreadPoolExecutor(cores)

    def once() -> float:
        began = perf_counter()
        list(pool.map(lambda draw: draw(times), draws))
        return perf_counter() - began

    once()
    while (spent := once()) < SECONDS:
        times = max(times + 1, int(times * min(8.0, 1.2 * SECONDS / spent)))
    return lambda seed: cores * times * mkl_normals.BLOCK / once()


def consumed(dtype: str) -> Callable[[int], float]:
    """rate(seed): normals per second that a rescaling run takes: those of every path-step, by its own seconds."""
    problem = rescaling.Rescaling()
    run = ours(problem, Task(8 * problem.paths, 1, dtype))
    run(0)

    def rate(seed: int) -> float:
        outcome = run(seed)
        assert outcome.wall is not None
        return problem.noises * outcome.path_steps / outcome.wall

    return rate


CONTESTANTS: tuple[tuple[str, Callable[[str], Callable[[int], float]]], ...] = (
    ("the rescaling run consumes", consumed),
    ("our filler alone", lambda dtype: on_all_cores(filler, dtype)),
    ("mkl_random, Philox ICDF (float64 always)", lambda dtype: on_all_cores(mkl_normals.through_mkl_random, dtype)),
    ("MKL itself, Philox ICDF in this dtype", lambda dtype: on_all_cores(mkl_normals.through_mkl, dtype)),
)


def normals(repeats: int) -> bool:
    """Print the table. The shares are printed, not judged: True."""
    print(
        "10^6 normals per second on all cores, interleaved: median [min, max]; share: the rescaling run's over this"
        " one's,"
    )
    print("run by run, median; asked: the least share of mkl_random's, with a ! where it is short of it.")
    print(ROW.format("dtype", "what", "rate", "[min, max]", "run's share", "asked"))
    for dtype in ASKED:
        runs: dict[str, Callable[[int], float]] = {}
        rates: dict[str, list[float]] = {}
        for name, build in CONTESTANTS:
            try:
                runs[name], rates[name] = build(dtype), []
            except ImportError as error:
                print(ROW.format(dtype, name, "-", f"no {error.name or error}", "-", ""))
        for repeat in range(repeats):
            for name, run in runs.items():
                rates[name].append(run(1 + repeat) / 1e6)
        for name, found in rates.items():
            print(_line(dtype, name, found, rates[CONTESTANTS[0][0]]), flush=True)
    print(
        f"MKL's machine code here: {mkl_normals.processor_code()} (its generic code, def, is slower than that for"
        " Intel's processors)"
    )
    return True


def _line(dtype: str, name: str, found: list[float], ours: list[float]) -> str:
    share = median(a / b for a, b in zip(ours, found, strict=True))
    asked: Any = ASKED[dtype] if name.startswith("mkl_random") else ""
    short = "!" if asked and share < asked else ""
    shown = "" if found is ours else f"{share:.2f}"
    return ROW.format(
        dtype, name, f"{median(found):.0f}", f"[{min(found):.0f}, {max(found):.0f}]", shown, f"{short}{asked}"
    )
