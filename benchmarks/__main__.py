"""`python -m benchmarks [speed | latency] [--repeats N]`: machine, rates against rivals, compile times, waits."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator, Sequence
from statistics import median
from time import perf_counter

from benchmarks import latency, machine, matrix_factorization, rescaling
from benchmarks.measure import Contestant, Record, compete, ratios

ROW = "{:<26} {:<8} {:<42} {:>9} {:>9} {:>7} {:>17} {:>9} {:>5}"
CALL = "{:<26} {:<8} {:<42} {:>9} {:>9} {:>7}"


def races() -> Iterator[tuple[str, str, Sequence[Contestant]]]:
    """Problem, dtype and contestants of every race."""
    fast = ("jax_scan", "numpy_paths")
    for dtype in ("float32", "float64"):
        yield "rescaling, 100 saves", dtype, rescaling.contestants(100, dtype)
        yield "rescaling, final mean", dtype, rescaling.contestants(1, dtype, fast)
    for dtype in ("float32", "float64"):
        yield "factorization 4x4x4, 100", dtype, matrix_factorization.contestants(100, dtype)


def speed(repeats: int) -> bool:
    """Print the race table and the first calls; whether all contestants computed the same thing."""
    print("Rates in 10^6 path-steps per second; ratio = ours/rival, run by run: median [min, max]; per core: per CPU")
    print("second instead of per second; z: difference of the final mean charges in standard errors (at most 5).")
    print(ROW.format("problem", "dtype", "rival", "ours", "rival", "ratio", "[min, max]", "per core", "z"))
    agreed, firsts = True, list[tuple[str, str, Record]]()
    for problem, dtype, contestants in races():
        records = compete(contestants, repeats)
        firsts += [(problem, dtype, record) for record in records if not record.missing]
        for r in ratios(records):
            agreed &= r.agrees
            if r.missing:
                row = (problem, dtype, r.rival, f"{r.ours / 1e6:.1f}", "-", "-", r.missing, "-", "-")
            else:
                spread = f"[{r.low:.1f}, {r.high:.1f}]"
                row = (problem, dtype, r.rival, f"{r.ours / 1e6:.1f}", _rate(r.theirs), f"{r.middle:.1f}", spread,
                       f"{r.per_core:.1f}", f"{r.z:+.1f}")  # fmt: skip
            print(ROW.format(*row), flush=True)
    print("\nSeconds of the first call (compilation in it) and of a whole call (median, with all a user waits for);")
    print("cores: CPU seconds per second during the race, fewer than the machine has where others use it too.")
    print(CALL.format("problem", "dtype", "contestant", "first", "whole", "cores"))
    for problem, dtype, record in firsts:
        cores = median(w / c for w, c in zip(record.wall_rate, record.cpu_rate, strict=True))
        figures = (f"{record.first_call:.2f}", f"{median(record.whole_call):.2f}", f"{cores:.1f}")
        print(CALL.format(problem, dtype, record.name, *figures))
    return agreed


def _rate(value: float) -> str:
    scaled = value / 1e6
    return f"{scaled:.{max(1, 1 - math.floor(math.log10(scaled)))}f}"


def main() -> int:
    """Exit code 1 when a contestant's final mean disagrees with ours."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="?", choices=["speed", "latency"], help="one part; both without it")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved runs per contestant")
    options = parser.parse_args()
    began, agreed = perf_counter(), True
    flag = f"--xla_force_host_platform_device_count={machine.cores()}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    print(machine.describe() + "\n", flush=True)
    if options.part != "latency":
        agreed = speed(options.repeats)
    if options.part != "speed":
        print("\n" + latency.table(options.repeats))
    print(f"\n{perf_counter() - began:.0f} s in all, load now {machine.load()}")
    if not agreed:
        print("benchmarks: final means must agree within 5 standard errors; see z above.", file=sys.stderr)
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
