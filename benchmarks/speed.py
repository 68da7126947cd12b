"""Races: our rate of path-steps against every rival's, on every problem."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.measure import Contestant, Record, compete, ratios
from benchmarks.problems import RACES, exits, minibatches

ROW = "{:<26} {:<8} {:<42} {:>9} {:>9} {:>7} {:>17} {:>9} {:>6} {:>7}"
CALL = "{:<26} {:<8} {:<42} {:>9} {:>9} {:>7}"


ALL = (*RACES, *exits.RACES, minibatches.RACE)
ALONE = "import sys; from benchmarks.speed import on; sys.exit(not on(sys.argv[2], int(sys.argv[1])))"
"""What a race's own process runs."""


def races(named: str) -> Iterator[tuple[str, str, Sequence[Contestant]]]:
    """Problem, dtype and contestants of every race on the problem of this name."""
    for race in ALL:
        for dtype in ("float32", "float64"):
            for saves, what in ((100, "100 saves"), (1, "final")):
                if named == race.problem.name and (contestants := race.contestants(saves, dtype)):
                    yield f"{race.problem.name[:15]}, {what}", dtype, contestants


def speed(repeats: int) -> bool:
    """Every race in a process of its own, as threads that a library keeps slow down what others run after it; whether
    all contestants computed the same thing."""
    print("Rates in 10^6 path-steps per second; ratio = ours/rival, run by run: median [min, max]; per core: per CPU")
    print("second instead of per second; z: difference of the final mean charges in standard errors (at most 5);")
    print("asked: the least ratio that the issue asks for, with a ! where the median is short of it.")
    print("Then seconds of the first call (compilation in it) and of a whole call (median, with all a user waits for);")
    print("cores: CPU seconds per second during the race, fewer than the machine has where others use it too.")
    names = dict.fromkeys(race.problem.name for race in ALL)
    sys.stdout.flush()
    codes = [subprocess.call((sys.executable, "-c", ALONE, str(repeats), name)) for name in names]
    return not any(codes)


def on(problem: str, repeats: int) -> bool:
    """Print the race table and the first calls of a problem; whether all contestants computed the same thing."""
    print()
    print(ROW.format("problem", "dtype", "rival", "ours", "rival", "ratio", "[min, max]", "per core", "z", "asked"))
    agreed, firsts = True, list[tuple[str, str, Record]]()
    for what, dtype, contestants in races(problem):
        records = compete(contestants, repeats)
        firsts += [(what, dtype, record) for record in records if not record.missing]
        for r in ratios(records):
            agreed &= r.agrees
            asked = "" if r.asked is None else f"{'!' if r.short else ''}{r.asked:g}"
            if r.missing:
                row = (what, dtype, r.rival, f"{r.ours / 1e6:.1f}", "-", "-", r.missing, "-", "-", asked)
            else:
                spread = f"[{r.low:.1f}, {r.high:.1f}]"
                row = (what, dtype, r.rival, _rate(r.ours), _rate(r.theirs), f"{r.middle:.1f}", spread,
                       f"{r.per_core:.1f}", f"{r.z:+.1f}", asked)  # fmt: skip
            print(ROW.format(*row), flush=True)
    print(CALL.format("problem", "dtype", "contestant", "first", "whole", "cores"))
    for what, dtype, record in firsts:
        cores = median(w / c for w, c in zip(record.wall_rate, record.cpu_rate, strict=True))
        figures = (f"{record.first_call:.2f}", f"{median(record.whole_call):.2f}", f"{cores:.1f}")
        print(CALL.format(what, dtype, record.name, *figures))
    return agreed


def _rate(value: float) -> str:
    scaled = value / 1e6
    return f"{scaled:.{max(1, 1 - math.floor(math.log10(scaled)))}f}"
