"""How long a user waits: for an import, for the first result of a small problem, and for it in a new process.

Uncached means that neither the engine's kernels nor the problem's own functions have ever been compiled. Every figure
is a fresh process from start to exit, so the interpreter's own start is in it; CPU seconds stand beside wall seconds,
for a machine that others use too. Packages that come with extras or for development only are hidden, as for who
installs noetherflow alone: xarray loads all of Dask where it is there, and Numba coverage.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

PROBLEM = """
import sympy as sp
from sde import simulate
from symbolic import SGD, Loss, Normal
u, w, x, e = sp.symbols("u w x e", real=True)
law = {{x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))}}
loss = Loss((u*w*x - {slope}*x - e)**2, parameters=[u, w], data=law)
simulate(loss, SGD(learning_rate=0.01), start={{u: 1.2, w: 0.6}}, time=5.0, dt=0.01, paths=1000, dtype="float32")
"""
"""A loss whose emitted text depends on its slope: another slope is another problem."""

LARGE = """
from benchmarks.problem import Task, ours
from benchmarks.problems.factorization import Factorization
ours(Factorization(), Task(1000, 100, "float32"))(0)
"""
"""Matrix factorisation 4 x 4 x 4, D = 32: 1000 paths of 1000 steps."""

SPEC = "examples/rescaling.toml"
DERIVE = ["derive", "rescaling"]
COMMAND = ["simulate", SPEC, "--paths", "100", "--time", "1"]
PYTHON = """
import sympy as sp
from sde import simulate
from symbolic import SGD, Loss, Normal
u, w, x, e = sp.symbols("u w x e", real=True)
loss = Loss((u*w*x - x - e)**2, parameters=[u, w], data={x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))})
start, seen = {u: 1.2, w: 0.6}, {"C": u**2 - w**2, "v": u*w}
simulate(loss, SGD(learning_rate=0.02), start=start, time=1.0, paths=100, observables=seen)
"""
"""What COMMAND does, without a file."""
HIDDEN = ("coverage", "dask", "distributed", "torch", "zarr")
HIDE = f"import sys; sys.modules.update(dict.fromkeys({HIDDEN}))\n"
CALL = "import runpy; sys.argv[1:] = {}; runpy.run_module('sde.cli.commands', run_name='__main__')"
BARE, IMPORT = "pass", "import sde, symbolic"
ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Wait:
    """Seconds of one kind of process, run by run; floor: the most it may take where nothing else runs; a ! marks that
    no run and no run's CPU seconds were within."""

    name: str
    floor: float | None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def line(self) -> str:
        """One row of the table."""
        over = "!" if self.floor is not None and min(*self.wall, *self.cpu) > self.floor else ""
        limit = "" if self.floor is None else f"{over}{self.floor:.1f}"
        spread = f"[{min(self.wall):.2f}, {max(self.wall):.2f}]"
        return f"{self.name:<52} {median(self.wall):7.2f} {spread:>16} {median(self.cpu):8.2f} {limit:>7}"


def measure(wait: Wait, code: str | list[str], caches: Mapping[str, str]) -> None:
    """Run `code`, Python or the arguments of `noetherflow`, in a new process and add its seconds. Raises
    CalledProcessError when it fails."""
    command = ["-c", HIDE + (code if isinstance(code, str) else CALL.format(code))]
    before, began = os.times(), perf_counter()
    quiet = subprocess.DEVNULL if isinstance(code, list) else None
    subprocess.run([sys.executable, *command], cwd=ROOT, env={**os.environ, **caches}, check=True, stdout=quiet)
    after = os.times()
    wait.wall.append(perf_counter() - began)
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    wait.cpu.append(spent)


def folders(root: Path, name: str) -> dict[str, str]:
    """Cache folders of their own under root."""
    return {"NOETHERFLOW_CACHE": str(root / name)}


def waits(repeats: int) -> list[Wait]:
    """All kinds, interleaved: uncached, new problem over cached kernels, cached, import, bare interpreter."""
    bare = Wait("python -c pass", None)
    imported = Wait("import sde, symbolic", None)
    cold = Wait("D = 2: first result, nothing cached", 5.0)
    fresh = Wait("D = 2: of a new problem, kernels cached", 5.0)
    cached = Wait("D = 2: in a new process, all cached", 1.5)
    large = Wait("D = 32: first result, nothing cached", 8.0)
    large_cached = Wait("D = 32: in a new process, all cached", 1.5)
    derived = Wait("noetherflow derive rescaling", 1.2)
    command = Wait("noetherflow simulate, 100 paths, compiled ahead", 1.8)
    python = Wait("the same from Python, compiled ahead", 1.5)
    with TemporaryDirectory() as name:
        root = Path(name)
        warm, out = folders(root, "warm"), ["-o", str(root / "run.nc")]
        for code in (["warm", SPEC, "--dtype", "float64"], PYTHON):
            measure(Wait("compiling ahead", None), code, warm)
        for k in range(repeats):
            measure(cold, PROBLEM.format(slope=1), folders(root, f"run{k}"))
            measure(fresh, PROBLEM.format(slope=2 + k), folders(root, "run0"))
            measure(cached, PROBLEM.format(slope=2 + k), folders(root, "run0"))
            measure(large, LARGE, folders(root, f"large{k}"))
            measure(large_cached, LARGE, folders(root, f"large{k}"))
            measure(derived, DERIVE, warm)
            measure(command, [*COMMAND, *out], warm)
            measure(python, PYTHON, warm)
            measure(imported, IMPORT, folders(root, "run0"))
            measure(bare, BARE, {})
    return [cold, fresh, cached, large, large_cached, derived, command, python, imported, bare]


def latency(repeats: int) -> bool:
    """Print the figures: medians, with least and greatest. They are printed, not judged: True."""
    print(f"{'process, start to exit (seconds)':<52} {'median':>7} {'[min, max]':>16} {'CPU':>8} {'at most':>7}")
    for wait in waits(repeats):
        print(wait.line(), flush=True)
    return True
