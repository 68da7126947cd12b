"""Work against precision: the strong error at time 1 beside the time a path takes, over steps, for our schemes and
others' solvers.

Two scalar equations are solved by a function of W(1) (Kloeden and Platen 1992, section 4.4), so each path is held
against the solution that its own Brownian path drives. The error is the root mean square over paths. Time per path is
the seconds of a whole run, compilation apart, over its paths, with all cores of the machine.
All in float64. Whose error does not fall with dt at about the order it states has solved something else, and is not to
be compared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import sympy as sp

from benchmarks.rivals import final_states as rivals
from sde import simulate
from symbolic import SDE

STEPS = (8, 16, 32, 64, 128, 256)
"""Of the time from 0 to 1."""
OFF = 0.35
"""How far the slope between the longest and the shortest step may be from the order stated."""
LONGEST = 8.0
"""Seconds of a problem's rounds, after which no new one begins."""
ROW = "{:<5} {:<10} {:<15} {:>5} {:>10} {:>9} {:>12} {:>8}"
FIGURE = Path("out") / "precision.png"


@dataclass(frozen=True)
class Scalar:
    """dX = drift dt + diffusion dW from `start`; exact: X(1) given W(1). The functions take numbers, arrays and symbols
    alike."""

    name: str
    equation: str
    start: float
    drift: Callable[[Any], Any]
    diffusion: Callable[[Any], Any]
    exact: Callable[[np.ndarray], np.ndarray]


def _wave(w: np.ndarray) -> np.ndarray:
    growth = 1.5 * np.exp(w - 1.0)
    return (growth - 0.5) / (growth + 0.5)


GBM = Scalar(
    "gbm", "dX = 0.75 X dt + 0.5 X dW", 1.0, lambda x: 0.75 * x, lambda x: 0.5 * x, lambda w: np.exp(0.625 + 0.5 * w)
)  # fmt: skip
WAVE = Scalar(
    "wave", "dX = -(0.5 + 0.25 X)(1 - X²) dt + 0.5 (1 - X²) dW", 0.5,
    lambda x: -(0.5 + 0.25 * x) * (1 - x * x), lambda x: 0.5 * (1 - x * x), _wave,
)  # fmt: skip
PROBLEMS = (GBM, WAVE)


@dataclass(frozen=True)
class Solver:
    """build(problem) -> run(steps, paths, seed) -> (x, w) or (x, w, seconds), arrays (paths,); build raises ImportError
    where a package is missing. order: the strong order stated for it. path_steps: of one run, so that a slow one does
    not hold up all, but of no fewer paths than `fewest`, which spread what a step costs by itself. 0 where every number
    of paths is compiled for.
    """

    name: str
    scheme: str
    order: float
    path_steps: int
    fewest: int
    build: Callable[[Scalar], Callable[[int, int, int], tuple[Any, ...]]]

    def paths(self, steps: int) -> int:
        """Of one run."""
        return max(self.fewest, self.path_steps // steps)


@dataclass
class Point:
    """Runs of one solver at one step: mean squared errors, mean fourth powers and paths, run by run; seconds per
    path."""

    problem: str
    solver: Solver
    steps: int
    squares: list[float] = field(default_factory=list)
    fourths: list[float] = field(default_factory=list)
    paths: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, errors: np.ndarray, seconds: float | None) -> None:
        """errors (paths,) of a run. seconds: None for a warm-up call, whose errors count all the same."""
        self.squares.append(float(np.mean(errors**2)))
        self.fourths.append(float(np.mean(errors**4)))
        self.paths.append(errors.size)
        if seconds is not None:
            self.seconds.append(seconds / errors.size)

    @property
    def error(self) -> tuple[float, float]:
        """Root mean square over all runs, and its standard error (delta method)."""
        square, fourth = (float(np.average(each, weights=self.paths)) for each in (self.squares, self.fourths))
        spread = max(fourth - square**2, 0.0) / sum(self.paths)
        return square**0.5, 0.5 * (spread / square) ** 0.5 if square else 0.0

    def line(self) -> str:
        """A row of the table."""
        (error, noise), cost = self.error, 1e6 * median(self.seconds)
        shown = (f"1/{self.steps}", f"{error:.3e}", f"{noise:.0e}", f"{cost:.4g}", sum(self.paths))
        return ROW.format(self.problem, self.solver.name, self.solver.scheme, *shown)


def ours(problem: Scalar, scheme: str) -> Callable[[int, int, int], tuple[Any, ...]]:
    """The public `simulate`, which observes W."""
    state = sp.Symbol("X", real=True)
    sde = SDE([state], [problem.drift(state)], [[problem.diffusion(state)]], name=problem.name)

    def run(steps: int, paths: int, seed: int) -> tuple[Any, ...]:
        data = simulate(
            sde, start={state: problem.start}, time=1.0, dt=1.0 / steps, paths=paths, seed=seed, scheme=scheme,
            observables={"W": sde.W[0]}, save_at=2, keep="paths",
        )  # fmt: skip
        return tuple(data[name].isel(time=-1).values for name in ("X", "W"))

    return run


OURS = tuple(
    Solver("ours", scheme, order, 2**22, 2**16, partial(ours, scheme=scheme))
    for scheme, order in (("euler-maruyama", 0.5), ("milstein", 1.0), ("sriw1", 1.5))
)
SOLVERS = (
    *OURS,
    Solver("numpy", "euler", 0.5, 2**21, 2**15, rivals.numpy_euler),
    Solver("jax scan", "euler", 0.5, 2**21, 2**15, rivals.scan_euler),
    Solver("diffrax", "Euler", 0.5, 0, 2**14, partial(rivals.diffrax_solver, solver="Euler")),
    Solver("diffrax", "ItoMilstein", 1.0, 0, 2**14, partial(rivals.diffrax_solver, solver="ItoMilstein")),
    Solver("diffrax", "SlowRK", 1.5, 0, 2**11, partial(rivals.diffrax_solver, solver="SlowRK")),
    Solver("torchsde", "euler", 0.5, 2**20, 2**14, partial(rivals.torchsde_method, method="euler")),
    Solver("torchsde", "milstein", 1.0, 2**20, 2**14, partial(rivals.torchsde_method, method="milstein")),
    Solver("torchsde", "srk", 1.5, 2**19, 2**14, partial(rivals.torchsde_method, method="srk")),
    Solver("sdeint", "itoEuler", 0.5, 2**12, 2**7, partial(rivals.sdeint_function, function="itoEuler")),
    Solver("sdeint", "itoSRI2", 1.0, 2**11, 2**6, partial(rivals.sdeint_function, function="itoSRI2")),
)


def measure(problem: Scalar, solvers: Sequence[Solver], steps: Sequence[int], repeats: int) -> list[list[Point]]:
    """Points by solver and step: a warm-up call each, then up to `repeats` rounds in which all take turns. Who cannot
    be built or run is left out, with the reason printed; ours is not. Raises what ours raises.
    """
    found, runs = list[list[Point]](), list[tuple[Point, Callable[[int, int, int], tuple[Any, ...]]]]()
    for solver in solvers:
        points = [Point(problem.name, solver, each) for each in steps]
        try:
            run = solver.build(problem)
            for point in points:
                timed(problem, point, run, 0, warm=True)
        except ImportError as error:
            print(f"{solver.name} {solver.scheme}: not installed ({error.name or error})", flush=True)
            continue
        except Exception as error:
            if solver.name == "ours":
                raise
            print(f"benchmarks: {solver.name} {solver.scheme} failed: {error!r:.300}", file=sys.stderr)
            continue
        found.append(points)
        runs += [(point, run) for point in points]
    began = perf_counter()
    for repeat in range(repeats):
        if repeat and perf_counter() - began > LONGEST:
            break
        for point, run in runs:
            timed(problem, point, run, 1 + repeat)
    return found


def timed(problem: Scalar, point: Point, run: Callable[..., tuple[Any, ...]], seed: int, warm: bool = False) -> None:
    """Run once and add the errors, and the seconds unless it is a warm-up."""
    began = perf_counter()
    x, w = run(point.steps, point.solver.paths(point.steps), seed)
    seconds = perf_counter() - began
    point.add(x - problem.exact(w), None if warm else seconds)


def slope(points: Sequence[Point]) -> float:
    """Order seen between the longest and the shortest step; NaN where an error is 0 or no number."""
    first, last = points[0], points[-1]
    errors = [point.error[0] for point in (first, last)]
    if not all(np.isfinite(error) and error > 0 for error in errors):
        return float("nan")
    return float(np.log(errors[0] / errors[1]) / np.log(last.steps / first.steps))


def holds(points: Sequence[Point]) -> bool:
    """Whether the error falls with the step at about the order stated."""
    return abs(slope(points) - points[0].solver.order) <= OFF


def precision(repeats: int) -> bool:
    """Print the table, write the figure. False when an error does not fall as stated."""
    found, right = dict[str, list[list[Point]]](), True
    for problem in PROBLEMS:
        print(f"{problem.name}: {problem.equation}, X(0) = {problem.start}, to time 1")
        found[problem.name] = measure(problem, SOLVERS, STEPS, repeats)
        print(ROW.format("", "solver", "scheme", "dt", "RMS error", "its s.e.", "us per path", "paths"))
        for points in found[problem.name]:
            print(*[point.line() for point in points], sep="\n")
            told = f"order {slope(points):.2f} seen, {points[0].solver.order} stated"
            print(f"{'':<16} {told}{'' if holds(points) else '  <- NOT WHAT IT STATES'}", flush=True)
            right &= holds(points)
        print()
    draw(found, FIGURE)
    print(f"figure: {FIGURE}")
    return right


def draw(found: dict[str, list[list[Point]]], path: Path) -> None:
    """Error against microseconds per path on log axes, a panel per problem: ours as lines, others dashed; markers by
    order."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(11, 4.6), layout="constrained")
    panels = drawing.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    names = list(dict.fromkeys(solver.name for solver in SOLVERS))
    markers = {0.5: "o", 1.0: "s", 1.5: "^"}
    for panel, (name, curves) in zip(panels, found.items(), strict=True):
        for points in curves:
            solver = points[0].solver
            panel.loglog(
                [1e6 * median(point.seconds) for point in points], [point.error[0] for point in points],
                marker=markers[solver.order], linestyle="-" if solver.name == "ours" else "--", markersize=4,
                color=f"C{names.index(solver.name)}", label=f"{solver.name} {solver.scheme}", linewidth=1.2,
            )  # fmt: skip
        panel.set(title=name, xlabel="µs per path, all cores (float64)")
        panel.grid(alpha=0.3, which="major")
    panels[0].set(ylabel="root mean square error at time 1")
    handles, labels = panels[0].get_legend_handles_labels()
    title = "strong order stated:\n○ 0.5   □ 1   △ 1.5"
    drawing.legend(
        handles, labels, loc="outside right center", frameon=False, fontsize=8, title=title, title_fontsize=8
    )
    path.parent.mkdir(exist_ok=True)
    drawing.savefig(path, dpi=130)
