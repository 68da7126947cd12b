"""`python -m benchmarks.symbolic [--repeats N] [--figure FILE]`: derivation times and memory against D, and the two
sets of random networks.

Every size is derived in a process of its own. The rival is the brute force of tests/naive: gradients by the complex
step at random points and one SVD of D^2 + D unknowns, for the algebra alone, where it fits. Published times for
counting laws with SageMath on 64 cores (Marcotte, Gribonval, Peyre 2307.00144, appendix) are 41 s per small linear and
136 s per small ReLU network.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import machine

WIDTHS = (2, 3, 4, 5, 6, 7, 8, 9, 10)
BRUTE = 5
"""Largest width that brute force is timed on."""
ONE = """
import json, resource, sys, time
from symbolic.symmetry.invariants import Formal
from symbolic.library import matrix_factorization
from symbolic.symmetry.generators import find_algebra
from symbolic.theory import derive
h = int(sys.argv[1])
loss = matrix_factorization(h, h, h)
began = time.perf_counter(); find_algebra(loss, Formal(loss)); algebra = time.perf_counter() - began
began = time.perf_counter(); theory = derive(loss); whole = time.perf_counter() - began
began = time.perf_counter(); theory.to_json(); written = time.perf_counter() - began
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([loss.dimension, algebra, whole, written, memory, theory.independent_charges, theory.complete]))
"""
SVD = """
import json, sys, time
from symbolic.library import matrix_factorization
from tests.naive.symmetry import algebra
loss = matrix_factorization(*[int(sys.argv[1])] * 3)
began = time.perf_counter(); algebra(loss); print(json.dumps(time.perf_counter() - began))
"""


def fresh(program: str, *arguments: str) -> Any:
    """What a new interpreter prints as JSON."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def growth(repeats: int) -> list[tuple[int, float, float]]:
    """Print a row per width; (D, algebra, derive) medians."""
    print(
        "matrix factorisation h x h x h, a process each; seconds (median), peak memory; SVD: brute force for the"
        " algebra"
    )
    print(
        f"{'h':>3} {'D':>4} {'algebra':>9} {'derive':>9} {'json':>7} {'MiB':>6} {'charges':>8} {'SVD':>8}"
        f" {'SVD/algebra':>12}"
    )
    out = []
    for h in WIDTHS:
        runs = [fresh(ONE, str(h)) for _ in range(repeats)]
        size, charges, complete = runs[0][0], runs[0][5], runs[0][6]
        algebra, whole, written, memory = (median(r[k] for r in runs) for k in (1, 2, 3, 4))
        brute = median(fresh(SVD, str(h)) for _ in range(repeats)) if h <= BRUTE else float("nan")
        ratio = f"{brute / algebra:12.0f}" if h <= BRUTE else f"{'-':>12}"
        shown = f"{brute:8.2f}" if h <= BRUTE else f"{'-':>8}"
        print(
            f"{h:3} {size:4} {algebra:9.3f} {whole:9.3f} {written:7.2f} {memory:6.0f}"
            f" {charges:7}{'*' if complete else ' '} {shown} {ratio}",
            flush=True,
        )
        out.append((size, algebra, whole))
    d, a, w = np.log(np.array(out, dtype=float)).T
    half = len(d) // 2
    print(
        f"* complete. Growth for D >= {out[half][0]}: algebra ~ D^{np.polyfit(d[half:], a[half:], 1)[0]:.1f}, derive ~"
        f" D^{np.polyfit(d[half:], w[half:], 1)[0]:.1f}"
    )
    return out


def figure(rows: Iterable[tuple[int, float, float]], path: Path) -> None:
    """Seconds against D on log axes."""
    from matplotlib.figure import Figure

    d, algebra, whole = np.array(list(rows)).T
    drawing = Figure(figsize=(5, 3.4), layout="constrained")
    axes = drawing.add_subplot()
    axes.loglog(d, whole, "o-", label="derive")
    axes.loglog(d, algebra, "s-", label="algebra alone")
    axes.set(xlabel="parameters D", ylabel="seconds", title="matrix factorisation h × h × h, D = 2h²")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    drawing.savefig(path, dpi=130)


def networks() -> bool:
    """Print the times over the two sets; whether every count is what it should be."""
    from symbolic.symmetry.generators import find_algebra
    from symbolic.symmetry.invariants import Formal
    from symbolic.symmetry.law_count import independent, law_count
    from tests.symbolic import losses

    def timed(build: Callable[[], Any], expected: int | None) -> tuple[float, float, bool]:
        loss = build()
        began = perf_counter()
        charges = independent(find_algebra(loss, Formal(loss)).symmetric_fields)
        middle = perf_counter()
        laws = law_count(loss, charges)
        return middle - began, perf_counter() - middle, laws == charges == (charges if expected is None else expected)

    linear = [timed(lambda w=w: losses.linear_net(w[::-1]), None) for w in losses.linear_sizes()]
    units = [timed(lambda w=w, b=b: losses.relu_net(w, bias=b), sum(w[1:-1])) for w, b in losses.relu_sizes()]
    print(
        "\n50 random networks each; seconds, median and worst; right: #laws = independent charges (= hidden units for"
        " ReLU)"
    )
    print(f"{'set':<40} {'charges':>16} {'law count':>16} {'right':>6}")
    for name, rows in (("linear, depth 2-4, widths 2-5", linear), ("ReLU, depth 2-4, widths 2-9, some biases", units)):
        first, second = ([r[k] for r in rows] for k in (0, 1))
        print(
            f"{name:<40} {median(first):8.3f}{max(first):8.2f} {median(second):8.3f}{max(second):8.2f}"
            f" {sum(r[2] for r in rows):3}/50"
        )
    return all(r[2] for r in linear + units)


def imports(repeats: int) -> None:
    """Print the time of `import symbolic` in a new process."""
    program = "import time; began = time.perf_counter(); import symbolic; print(time.perf_counter() - began)"
    print(f"\nimport symbolic: {median(fresh(program) for _ in range(repeats)):.2f} s")


def main() -> int:
    """Exit code 1 when a count is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.symbolic", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="processes per size")
    parser.add_argument("--figure", type=Path, help="write the growth with D as a PNG")
    options = parser.parse_args()
    print(machine.describe() + "\n", flush=True)
    rows = growth(options.repeats)
    if options.figure:
        figure(rows, options.figure)
    right = networks()
    imports(5)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
