"""jitcsde: diagonal noise, path by path in compiled C, its step size held at dt.

Its method is Roessler's with an error estimate (strong order 1.5), several times Euler's work a step: the ratio is one
of steps, not of accuracy. float64 whatever the task says. Its steps cannot be switched to Euler's.
"""

from __future__ import annotations

from contextlib import chdir
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.measure import Outcome
from benchmarks.problem import Problem, Run, Task
from benchmarks.rivals.sdeint_euler import summed


def path_by_path(problem: Problem, task: Task) -> Run:
    """Needs a C compiler."""
    jitcsde: Any = import_module("jitcsde")
    mine, dt = problem.on(np, lambda a: a), problem.dt
    y = np.array([jitcsde.y(k) for k in range(len(problem.flat))], dtype=object)
    solver = jitcsde.jitcsde(list(mine.drift(y)), list(mine.jumps(y)), verbose=False)
    with (
        TemporaryDirectory() as folder,
        chdir(folder),
    ):  # its build would read the project file of the folder it runs in
        solver.compile_C()
    loose = {"atol": 1e30, "rtol": 1e30, "first_step": dt, "min_step": dt, "max_step": dt}
    times = np.linspace(0.0, problem.time, task.saves + 1)[1:]

    def one(seed: int) -> list[Any]:
        solver.reset_integrator()
        solver.set_seed(seed)
        solver.set_initial_value(problem.flat, 0.0)
        solver.set_integration_parameters(**loose)
        return [solver.integrate(t) for t in times]

    def run(seed: int) -> Outcome:
        first = seed * task.paths
        return summed(problem, mine, np.array([one(first + k) for k in range(task.paths)]))

    return run
