"""Cost per path-step of rescaling over 10^3..10^7 paths and over 10^2..10^6 steps, all else fixed; what a call costs
beside.

Without compilation: every size is run once before, or shares its machine code with one that was. `whole`: a call of
`simulate` from start to end, with all that a user waits for; `engine`: the seconds the result itself tells, of paths,
steps and statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.problems.rescaling import Rescaling
from sde import simulate

STEPS, PATHS = 1000, 10_000
SWEEPS = {"paths": (10**3, 10**4, 10**5, 10**6, 10**7), "steps": (10**2, 10**3, 10**4, 10**5, 10**6)}
CURVES = (("float32", 2), ("float32", 101), ("float64", 2))
"""dtype and saved times: the last beside the start, or 101."""
MOST = {"float32": 10**10, "float64": 10**9}
MOST_SAVED = 10**9
"""Path-steps of the largest runs: more than these are left out with 101 saves, and in float64."""
ROW = "{:<7} {:>9} {:<8} {:>6} {:>11} {:>11} {:>13} {:>13} {:>5}"
FIGURE = Path("out") / "cost.png"


@dataclass(frozen=True)
class Point:
    """One size: seconds of the runs, whole and engine."""

    axis: str
    size: int
    dtype: str
    saves: int
    whole: float
    engine: float
    runs: int

    @property
    def path_steps(self) -> int:
        """Of one run."""
        return self.size * (STEPS if self.axis == "paths" else PATHS)

    def line(self) -> str:
        """A row of the table."""
        each = [1e9 * s / self.path_steps for s in (self.whole, self.engine)]
        shown = [f"{1e3 * s:.1f}" for s in (self.whole, self.engine)] + [f"{ns:.2f}" for ns in each]
        return ROW.format(self.axis, f"{self.size:.0e}", self.dtype, self.saves, *shown, self.runs)


def measured(axis: str, size: int, dtype: str, saves: int, repeats: int) -> Point:
    """Medians over `repeats` calls, over fewer where one is long."""
    problem = Rescaling()
    told = problem.ours()
    paths, steps = (size, STEPS) if axis == "paths" else (PATHS, size)
    whole, engine = list[float](), list[float]()
    while len(whole) < repeats and (len(whole) < 1 or sum(whole) < 8.0):
        began = perf_counter()
        data = simulate(
            told["problem"], told["sgd"], start=told["start"], time=steps * problem.dt, dt=problem.dt, paths=paths,
            seed=len(whole), observables={"C": told["charge"]}, save_at=saves, dtype=dtype,
        )  # fmt: skip
        whole.append(perf_counter() - began)
        engine.append(float(data.attrs["wall_seconds"]))
    return Point(axis, size, dtype, saves, median(whole), median(engine), len(whole))


def cost(repeats: int) -> bool:
    """Print the table and write the figure. The flatness is printed, not judged: True."""
    print(f"Rescaling: {STEPS} steps over paths, {PATHS} paths over steps. Medians; ms of a call, ns per path-step.")
    print(ROW.format("over", "size", "dtype", "saves", "whole ms", "engine ms", "whole ns/ps", "engine ns/ps", "runs"))
    points = list[Point]()
    for dtype, saves in CURVES:
        most = MOST_SAVED if saves > 2 else MOST[dtype]
        measured("paths", 10**3, dtype, saves, 1)
        for axis, sizes in SWEEPS.items():
            for size in sizes:
                if size * (STEPS if axis == "paths" else PATHS) <= most:
                    points.append(measured(axis, size, dtype, saves, repeats))
                    print(points[-1].line(), flush=True)
    print("\nGreatest over least cost per path-step: 1 is flat.")
    for (axis, dtype, saves), some in curves(points).items():
        whole, engine = ([getattr(p, part) / p.path_steps for p in some] for part in ("whole", "engine"))
        spread = [max(each) / min(each) for each in (whole, engine)]
        print(f"over {axis}, {dtype}, {saves:3} saves: whole {spread[0]:5.1f}, engine {spread[1]:5.1f}")
    draw(points, FIGURE)
    print(f"figure: {FIGURE}")
    return True


def curves(points: Sequence[Point]) -> dict[tuple[str, str, int], list[Point]]:
    """Points by axis, dtype and saves."""
    found: dict[tuple[str, str, int], list[Point]] = {}
    for p in points:
        found.setdefault((p.axis, p.dtype, p.saves), []).append(p)
    return found


def draw(points: Sequence[Point], path: Path) -> None:
    """Nanoseconds per path-step on log axes: whole calls as lines, the engine's part dashed."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9, 3.6), layout="constrained")
    panels = dict(zip(SWEEPS, drawing.subplots(1, 2, sharey=True), strict=True))
    colours = {curve: f"C{k}" for k, curve in enumerate(CURVES)}
    for (axis, dtype, saves), some in curves(points).items():
        size = [p.size for p in some]
        colour = colours[dtype, saves]
        label = f"{dtype}, {'final' if saves == 2 else f'{saves} saves'}"
        panels[axis].loglog(size, [1e9 * p.whole / p.path_steps for p in some], "o-", color=colour, label=label)
        panels[axis].loglog(size, [1e9 * p.engine / p.path_steps for p in some], "x--", color=colour)
    titles = {"paths": f"paths ({STEPS} steps each)", "steps": f"steps (of {PATHS} paths)"}
    for axis, panel in panels.items():
        panel.set(xlabel=titles[axis], ylim=(1, 1000))
        panel.grid(alpha=0.3, which="both")
    panels["paths"].set(ylabel="ns per path-step, all cores")
    panels["steps"].legend(frameon=False, title="line: whole call, dashed: engine")
    path.parent.mkdir(exist_ok=True)
    drawing.savefig(path, dpi=130)
