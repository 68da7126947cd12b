"""Verify a derived theory against SGD, its SDE and gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sde.api import numbers_of_theory, provenance, starts
from sde.api.verification_runs import Ensembles
from sde.engine import checkpoint_folder, compiling
from sde.engine.checkpoint import CheckpointTarget
from sde.engine.interruption import InterruptedWarning
from sde.engine.progress import phases
from sde.engine.time_grid import check_length
from sde.reports.report import Report
from sde.settings import SETTINGS
from sde.verification import theory_numbers
from sde.verification.experiment import Experiment
from sde.verification.findings import run_experiment, runs_of, tasks
from sde.verification.forecast import orbit_starts
from sde.verification.setting import Margins
from sde.verification.verdicts import check_alpha, judge, not_tested
from symbolic.display import drift_text, paragraph
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, instance, warn
from symbolic.language.calls import OF_SGD, called
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.theory import Theory, derive


@called({**OF_SGD, "steps": "Give time=, steps times the learning rate."})
def verify(
    loss: Loss,
    sgd: SGD,
    *,
    start: Mapping[Any, Any] | Sequence[Mapping[Any, Any]],
    time: float,
    paths: int = 2000,
    seed: int = 0,
    alpha: float = 0.01,
    margins: Margins | None = None,
    theory: Theory | None = None,
    threads: int | None = None,
    numeric: Callable[[theory_numbers.Theory], theory_numbers.Theory] | None = None,
    checkpoint: str | Path | CheckpointTarget | None = None,
    progress: bool = False,
) -> Report:
    """Hold the derived theory against discrete SGD, its SDE and gradient descent, charge by charge.

    Ctrl-C gives a report of what was measured (`.interrupted`, `.untested`), with an InterruptedWarning; where nothing
    was, KeyboardInterrupt goes on.

    Parameters
    ----------
    loss
        The loss with the distribution of its data.
    sgd
        The optimiser.
    start
        One or several points {symbol or name: number or array}; a distribution is drawn from once. When a charge is
        convergent, points on the first one's symmetry orbit are added up to three.
    time
        Length of the runs, in t = eta*k.
    paths
        Per start.
    seed
        Of all runs.
    alpha
        The chance of any wrong verdict, by Holm's procedure over all claims.
    margins
        How far from the theory still counts as agreement.
    theory
        To be held to another theory than derive(loss).
    threads
        As many as there are cores when left out; no number depends on it.
    numeric
        To alter the theory's numbers.
    checkpoint
        A folder that holds all runs, complete or not; a call with the same arguments goes on from it to the same
        report.
    progress
        Show phases, share and time left.

    Returns
    -------
    Report
        With .verdicts, .supported, .to_html(path), .to_json(path).

    Raises
    ------
    InputError
        For bad input, before any run.
    OSError
        For a checkpoint that cannot be one.

    Examples
    --------
    >>> from sde import SGD, verify
    >>> from symbolic import library
    >>> start = {"W": [[1, 0], [0, 1]], "a": [1, 1]}
    >>> report = verify(library.two_layer_tanh(), SGD(0.05), start=start, time=0.1, paths=2)
    >>> report.outcome, len(report.verdicts)
    ('inconclusive', 0)
    """
    _check(loss, sgd, start, margins, theory, numeric)
    check_alpha(alpha)
    paths, seed, threads, checkpoint = (
        SETTINGS[name].read(value)
        for name, value in {"paths": paths, "seed": seed, "threads": threads, "checkpoint": checkpoint}.items()
    )
    several: list[Any] = list(start) if isinstance(start, (list, tuple)) else [start]
    points = [starts.reader(loss.parameters, s, 1, seed, loss.dimension)(0, 1)[0] for s in several]
    if not points:
        raise InputError("verify.start: at least one point is needed; got none. Give {parameter: value}.")
    check_length("verify.time", time, "t = eta*k")
    theory = theory or _derived(loss, progress)
    margins = margins or Margins()
    steps = round(time / sgd.learning_rate)
    if steps < 2:
        raise InputError.of(
            "verify.time", f"must hold at least two steps of {sgd.learning_rate}", time, "Take a longer time."
        )
    figures, setting = numbers_of_theory.of_theory(theory, sgd), numbers_of_theory.setting(theory, sgd)
    figures = numeric(figures) if numeric else figures
    experiment = Experiment(figures, setting, orbit_starts(figures, points), steps, margins)
    begins, names = experiment.starts, experiment.names
    known = {"time": time, "steps": steps, "paths": paths, "seed": seed, "alpha": alpha, "margins": asdict(margins)}
    recorded = provenance.record("verify", loss, sgd, {**known, "start": [loss.unpack(theta) for theta in begins]})
    parts = [a for c in figures.charges for a in (c.kind, c.A, c.b)]
    folder = checkpoint_folder.folder(checkpoint, "verify", provenance.identity(recorded, *parts), recorded)
    ensembles = Ensembles(loss, sgd, theory, paths, seed, threads)
    plan = [(run.phase(names), ensembles.work(run, steps)) for run in runs_of(tasks(experiment))]
    with compiling.reporting(progress), phases(f"verify {loss.name}", plan, progress) as shown:
        found = run_experiment(experiment, ensembles.simulators(names, shown, folder))
    if found.interrupted:
        why = "the report holds the claims that were measured, and lists the others as not tested"
        warn(f"verify: interrupted; {why}.", InterruptedWarning)
    settings = {
        "learning rate": sgd.learning_rate,
        "batch size": sgd.batch_size,
        "replacement": sgd.replacement,
        "schedule": str(sgd.schedule) if sgd.schedule is not None else "none",
        "weight decay": sgd.weight_decay,
        "momentum": sgd.momentum,
        "time": time,
        "steps": steps,
        "paths per start": paths,
        "starts": {name: _start_text(loss, theta) for name, theta in zip(names, begins, strict=True)},
        "starts added": len(begins) - len(points),
        "seed": seed,
        "alpha": alpha,
        "margins": asdict(margins),
        **provenance.shown(recorded),
    }
    rows = tuple(
        {"name": c.name, "expression": str(c.expression), "kind": c.kind, "class": c.classification or "undecided"}
        | {"why": c.reason, "drift": drift_text(c)}
        for c in theory.charges
    )
    return Report(
        loss.name,
        judge(found.claims, alpha) + not_tested(found.untested, alpha),
        "\n\n".join([paragraph(theory), *found.notes]),
        rows,
        tuple(found.curves),
        tuple(found.entries),
        tuple(found.explosions),
        families=numbers_of_theory.families(theory),
        settings=settings,
        files=loss.files,
        looks=(paths,),
        interrupted=found.interrupted,
        run=recorded,
    )


def _check(loss: Any, sgd: Any, start: Any, margins: Any, theory: Any, numeric: Any) -> None:
    """Raise ValueError for arguments of another type."""
    do = (
        "An SDE has no charges to verify: see sde.convergence."
        if isinstance(loss, SDE)
        else "Build one with symbolic.Loss."
    )
    instance("verify", loss, Loss, "needs a Loss", do)
    require_sgd("verify", sgd)
    rule = "must be a mapping {parameter: value}, or a list of them"
    names = ", ".join(f"{p.name!r}: ..." for p in loss.parameters[:3])
    for point in (
        [start]
        if isinstance(start, Mapping)
        else instance("verify.start", start, (list, tuple), rule, f"Write {{{names}}}.")
    ):
        instance("verify.start", point, Mapping, rule, f"Write {{{names}}}.")
    if margins is not None:
        instance("verify.margins", margins, Margins, "must be Margins", "Write Margins(drift=0.05), or leave it out.")
    if theory is not None:
        instance("verify.theory", theory, Theory, "must be a Theory", "Give derive(loss), or leave it out.")
    if numeric is not None and not callable(numeric):
        raise InputError.of("verify.numeric", "must be a function of a theory's numbers", numeric, "Leave it out.")


def _derived(loss: Loss, progress: bool) -> Theory:
    with phases(f"verify {loss.name}", [], progress) as shown:
        shown.enter("derivation")
        return derive(loss)


def _start_text(loss: Loss, theta: np.ndarray) -> str:
    values = {str(getattr(k, "name", k)): provenance.plain(v) for k, v in loss.unpack(theta).items()}
    return ", ".join(f"{name} = {value}" for name, value in values.items())
