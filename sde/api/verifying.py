"""Verify a derived theory against SGD, its SDE and gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sde.api import provenance
from sde.api.experiments import check_setup, experiment_of, start_points, step_count
from sde.api.verification_runs import Ensembles
from sde.engine import checkpoint_folder, compiling
from sde.engine.checkpoint import CheckpointTarget
from sde.engine.interruption import InterruptedWarning
from sde.engine.progress import phases
from sde.reports.report import Report
from sde.settings import SETTINGS
from sde.verification import theory_numbers
from sde.verification.findings import run_experiment, runs_of, tasks
from sde.verification.setting import Margins
from sde.verification.verdicts import check_alpha, judge, not_tested
from symbolic.display import drift_text, paragraph
from symbolic.errors import InputError, warn
from symbolic.language.calls import OF_SGD, called
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
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
    start_points(loss, start, seed)  # bad ones are told before a long derivation
    step_count(sgd, time)
    theory = theory or _derived(loss, progress)
    experiment = experiment_of(loss, sgd, theory, start=start, time=time, seed=seed, margins=margins, numeric=numeric)
    figures, steps, margins = experiment.theory, experiment.steps, experiment.margins
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
        "starts added": len(begins) - (1 if isinstance(start, Mapping) else len(start)),
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
        settings=settings,
        files=loss.files,
        looks=(paths,),
        interrupted=found.interrupted,
        run=recorded,
    )


def _check(loss: Any, sgd: Any, start: Any, margins: Any, theory: Any, numeric: Any) -> None:
    """Raise ValueError for arguments of another type."""
    check_setup(loss, sgd, start, margins, theory)
    if numeric is not None and not callable(numeric):
        raise InputError.of("verify.numeric", "must be a function of a theory's numbers", numeric, "Leave it out.")


def _derived(loss: Loss, progress: bool) -> Theory:
    with phases(f"verify {loss.name}", [], progress) as shown:
        shown.enter("derivation")
        return derive(loss)


def _start_text(loss: Loss, theta: np.ndarray) -> str:
    values = {str(getattr(k, "name", k)): provenance.plain(v) for k, v in loss.unpack(theta).items()}
    return ", ".join(f"{name} = {value}" for name, value in values.items())
