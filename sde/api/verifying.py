"""Verify a derived theory against SGD, its SDE and gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from sde.api import charge_families, provenance
from sde.api.claim_meanings import Setup, expected
from sde.api.claims import Claim, check_claims
from sde.api.experiments import check_setup, experiment_of, start_points, step_count
from sde.api.placement import placed
from sde.api.run_arguments import refuse_too_many
from sde.api.verification_runs import Ensembles
from sde.engine import checkpoint_folder, compiling
from sde.engine.checkpoint import CheckpointTarget
from sde.engine.interruption import InterruptedWarning
from sde.engine.progress import phases
from sde.reports.report import Report
from sde.settings import SETTINGS
from sde.verification import theory_numbers
from sde.verification.experiment import Experiment
from sde.verification.findings import GROWING, runs_of, tasks
from sde.verification.looks import run_in_looks, sizes
from sde.verification.own_claims import kind_of
from sde.verification.setting import Margins
from sde.verification.verdicts import check_alpha
from symbolic.display import drift_text, facts_record, fate
from symbolic.errors import InputError, warn
from symbolic.language.calls import OF_SGD, called
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive


@called({**OF_SGD, "steps": "Give time=, steps times the learning rate."})
@placed
def verify(
    loss: Loss,
    sgd: SGD,
    *,
    start: Mapping[Any, Any] | Sequence[Mapping[Any, Any]],
    time: float,
    paths: int = 2000,
    most_paths: int | None = None,
    seed: int = 0,
    alpha: float = 0.01,
    margins: Margins | None = None,
    claims: Sequence[Claim] = (),
    theory: Theory | None = None,
    threads: int | None = None,
    executor: Any = None,
    portable: bool = False,
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
    most_paths
        Look again with as many paths as before and as many again, up to so many from each start, until every claim that
        more paths can decide is decided. Each of the looks that there may be is given its equal part of alpha.
    seed
        Of all runs.
    alpha
        The chance of any wrong verdict, by Holm's procedure over all claims.
    margins
        How far from the theory still counts as agreement.
    claims
        Claims of your own, judged together with the theory's.
    theory
        To be held to another theory than derive(loss).
    threads
        As many as there are cores when left out; no number depends on it.
    executor, portable
        As for `simulate`.
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
    given = {"paths": paths, "most_paths": most_paths, "seed": seed, "threads": threads, "checkpoint": checkpoint}
    paths, most_paths, seed, threads, checkpoint = (SETTINGS[name].read(value) for name, value in given.items())
    if most_paths is not None and most_paths < paths:
        raise InputError.of(
            "verify.most_paths", f"must be at least paths, {paths}", most_paths, "Give more, or leave it out."
        )
    claims = check_claims(claims)
    points, steps = start_points(loss, start, seed), step_count(sgd, time)  # before a long derivation
    theory = theory or _derived(loss, progress)
    claimed = expected(claims, Setup(loss, sgd, theory, len(points), steps))
    kinds, asked = [kind_of(meant) for meant, _ in claimed], {int(k) for meant, _ in claimed for k in meant.steps}
    experiment = replace(
        experiment_of(loss, sgd, theory, start=start, time=time, seed=seed, margins=margins, numeric=numeric),
        asked=tuple(sorted(asked)),
    )
    figures, margins, begins, names = experiment.theory, experiment.margins, experiment.starts, experiment.names
    looks = sizes(paths, most_paths)
    if most_paths is not None:
        refuse_too_many(most_paths * len(begins), 8 * loss.dimension * len(experiment.recorded), "verify.most_paths")
    known = {"time": time, "steps": steps, "paths": paths, "seed": seed, "alpha": alpha, "margins": asdict(margins)}
    known |= {"most_paths": most_paths} if most_paths is not None else {}
    known |= {"claims": [record for _, record in claimed]} if claimed else {}
    recorded = provenance.record("verify", loss, sgd, {**known, "start": [loss.unpack(theta) for theta in begins]})
    parts = [a for c in figures.charges for a in (c.kind, c.A, c.b)]
    folder = checkpoint_folder.folder(checkpoint, "verify", provenance.identity(recorded, *parts), recorded)
    ensembles = Ensembles(loss, sgd, theory, paths, seed, threads, looks)
    first = runs_of(tasks(experiment, kinds))
    more = [replace(run, look=k) for k in range(1, len(looks)) for run in first if run.kind in GROWING]
    plan = [(run.phase(names), ensembles.work(run, steps)) for run in [*first, *more]]
    with compiling.reporting(progress), phases(f"verify {loss.name}", plan, progress) as shown:
        simulators = ensembles.simulators(names, shown, folder)
        outcome = run_in_looks(experiment, simulators, kinds, alpha, len(looks))
    found = outcome.findings
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
        "paths per start": looks[outcome.looks - 1],
        "starts": {name: _start_text(loss, theta) for name, theta in zip(names, begins, strict=True)},
        "starts added": len(begins) - len(points),
        "seed": seed,
        "alpha": alpha,
        "margins": asdict(margins),
        **({"looks": f"{outcome.looks} of at most {len(looks)}"} if most_paths is not None else {}),
        **({"claims": {str(i): _claim_text(record) for i, (_, record) in enumerate(claimed, 1)}} if claimed else {}),
        **provenance.shown(recorded),
    }
    rows = tuple(
        {"name": c.name, "expression": str(c.expression), "kind": c.kind, "class": c.classification or "undecided"}
        | {"why": fate.reason(c.reason, sgd), "drift": drift_text(c)}
        for c in theory.charges
    )
    return Report(
        loss.name,
        outcome.verdicts,
        _derived_record(theory, sgd, experiment),
        rows,
        tuple(found.curves),
        tuple(found.entries),
        tuple(found.explosions),
        families=charge_families.families(theory, sgd),
        settings=settings,
        files=loss.files,
        looks=looks[: outcome.looks],
        interrupted=found.interrupted,
        run=recorded,
    )


def _check(loss: Any, sgd: Any, start: Any, margins: Any, theory: Any, numeric: Any) -> None:
    """Raise ValueError for arguments of another type."""
    check_setup(loss, sgd, start, margins, theory)
    if numeric is not None and not callable(numeric):
        raise InputError.of("verify.numeric", "must be a function of a theory's numbers", numeric, "Leave it out.")


def _claim_text(record: Mapping[str, Any]) -> str:
    """A claim for readers: arrays of more than a few numbers by how many they are."""
    many = {k: f"{len(v)} of them" for k, v in record.items() if isinstance(v, np.ndarray) and len(v) > 4}
    return "; ".join(f"{k}: {provenance.plain(v)}" for k, v in {**record, **many}.items())


def _derived(loss: Loss, progress: bool) -> Theory:
    with phases(f"verify {loss.name}", [], progress) as shown:
        shown.enter("derivation")
        return derive(loss)


def _derived_record(theory: Theory, sgd: SGD, experiment: Experiment) -> dict[str, Any]:
    """What was derived, and from which starts it turns for ever."""
    record, periods = facts_record(theory, sgd), dict[str, list[str]]()
    for k in experiment.turning:
        end = experiment.ends[k]
        assert end is not None
        periods.setdefault(f"{end.period:.4g}", []).append(experiment.names[k])
    told = "; ".join(f"once in {period} time units from {', '.join(starts)}" for period, starts in periods.items())
    turning = {"where SGD ends": f"it does not rest but turns for ever, {told}"} if told else {}
    return {**record, "facts": record["facts"] | turning}


def _start_text(loss: Loss, theta: np.ndarray) -> str:
    values = {str(getattr(k, "name", k)): provenance.plain(v) for k, v in loss.unpack(theta).items()}
    return ", ".join(f"{name} = {value}" for name, value in values.items())
