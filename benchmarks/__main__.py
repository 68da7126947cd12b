"""`python -m benchmarks [speed | normals | cost | precision | latency | networks ...] [--repeats N]`: machine, then the
parts named, or all."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from time import perf_counter

from benchmarks import machine

PARTS: dict[str, str] = {
    "speed": "rates against rivals, and first calls",
    "normals": "normals that a run consumes against those that MKL makes",
    "cost": "cost per path-step against paths and steps, with a figure",
    "precision": "strong error against time per path, for our schemes and others', with a figure",
    "latency": "how long a user waits for a first result",
    "wide": "wide networks and large batches against BLAS",
    "networks": "what watching a torch network costs",
    "balance": "whether balancing a torch network before training helps",
}
"""Module of `benchmarks` with a function of the same name, (repeats) -> whether all is as it must be."""


def main() -> int:
    """Exit code 1 when a part says that something is not as it must be, such as a final mean that disagrees with
    ours."""
    told = "; ".join(f"{name}: {what}" for name, what in PARTS.items())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, epilog=told)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all without it")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved runs per contestant")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    began, wrong = perf_counter(), []
    os.environ.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # products of small matrices: threads cost NumPy more than they give
    flag = f"--xla_force_host_platform_device_count={machine.cores()}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    print(machine.describe(), flush=True)
    for name in options.parts or PARTS:
        part: Callable[[int], bool] = getattr(import_module(f"benchmarks.{name}"), name)
        started = perf_counter()
        print(f"\n== {name}: {PARTS[name]}\n", flush=True)
        if not part(options.repeats):
            wrong.append(name)
        print(f"\n{name}: {perf_counter() - started:.0f} s", flush=True)
    print(f"\n{perf_counter() - began:.0f} s in all, load now {machine.load()}")
    if wrong:
        print(f"benchmarks: something is not as it must be, see {', '.join(wrong)} above.", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
