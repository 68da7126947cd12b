"""`python -m benchmarks [speed] [latency] [--repeats N]`: machine, rates against rivals, compile times, waits."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator
from time import perf_counter

from benchmarks import machine

ROW = "{:<26} {:<8} {:<42} {:>9} {:>9} {:>7} {:>17} {:>9} {:>5}"


def races() -> Iterator[tuple[str, str, list]]:
    """Problem, dtype and contestants of every race."""
    from benchmarks import matrix_factorization, rescaling

    fast = ("jax_scan", "numpy_paths")
    for dtype in ("float32", "float64"):
        yield "rescaling, 100 saves", dtype, rescaling.contestants(100, dtype)
        yield "rescaling, final mean", dtype, rescaling.contestants(1, dtype, fast)
    for dtype in ("float32", "float64"):
        yield "factorization 4x4x4, 100", dtype, matrix_factorization.contestants(100, dtype)


def speed(repeats: int) -> bool:
    """Print the race table and the first calls; whether all contestants computed the same thing."""
    from benchmarks.measure import Record, compete, ratios

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
    print("\nCompilation and calls (seconds): first call, and median whole call with everything a user waits for")
    for problem, dtype, record in firsts:
        whole = sorted(record.whole_call)[len(record.whole_call) // 2]
        print(f"{problem:<26} {dtype:<8} {record.name:<42} {record.first_call:8.2f} {whole:8.2f}")
    return agreed


def _rate(value: float) -> str:
    scaled = value / 1e6
    return f"{scaled:.{max(1, 1 - math.floor(math.log10(scaled)))}f}"


def main() -> int:
    """Exit code 1 when a contestant's final mean disagrees with ours."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=[], choices=["speed", "latency", []], metavar="speed|latency")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved runs per contestant")
    options = parser.parse_args()
    parts, began, agreed = options.parts or ["speed", "latency"], perf_counter(), True
    flag = f"--xla_force_host_platform_device_count={machine.cores()}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    print(machine.describe() + "\n", flush=True)
    if "speed" in parts:
        agreed = speed(options.repeats)
    if "latency" in parts:
        from benchmarks import latency

        print("\n" + latency.table(options.repeats))
    print(f"\n{perf_counter() - began:.0f} s in all, load now {machine.load()}")
    if not agreed:
        print("benchmarks: final means must agree within 5 standard errors; see z above.", file=sys.stderr)
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
