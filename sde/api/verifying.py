"""Verify a derived theory against SGD, its SDE and gradient descent."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from sde.api import provenance
from sde.api.run_arguments import check_path
from sde.api.simulation import simulate, train
from sde.engine import checkpoint_folder, compiling, interruption
from sde.engine import initial_states as starts
from sde.engine.checkpoint import CheckpointTarget
from sde.engine.interruption import InterruptedWarning
from sde.engine.progress import Phases, phases
from sde.engine.time_grid import check_length
from sde.engine.values import check_ensemble
from sde.reports.report import Report
from sde.verification import experiment, one_step_drift, theory_numbers
from sde.verification import setting as records
from sde.verification.verdicts import check_alpha, judge
from symbolic.display import drift_text, paragraph
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, instance
from symbolic.functions.activations import relu, step
from symbolic.language.calls import OF_SGD, called
from symbolic.predictions.charge import Charge
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.theory import Theory, derive

if TYPE_CHECKING:
    import xarray as xr

EACH = "every single step of"
KINKS = (relu, step, sp.Max, sp.Min, sp.Abs, sp.sign, sp.Heaviside, sp.Piecewise)


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
    margins: records.Margins | None = None,
    theory: Theory | None = None,
    threads: int | None = None,
    numeric: Callable[[theory_numbers.Theory], theory_numbers.Theory] | None = None,
    checkpoint: str | Path | CheckpointTarget | None = None,
    progress: bool = False,
) -> Report:
    """Hold the derived theory against discrete SGD, its SDE and gradient descent, charge by charge (THEORY section 7).

    start: one or several points (a law is drawn from once); when a charge is convergent, points on the first one's
    symmetry orbit are added up to three. time: length of the runs in t = eta*k. paths: per start. alpha: the chance of
    any wrong verdict, Holm over all claims. margins: how far from the theory still counts as agreement. theory: to be
    held to another theory than derive(loss); numeric: to alter its numbers. checkpoint: a folder that holds all runs,
    complete or not; a call with the same arguments goes on from it to the same report. progress: show phases, share and
    time left. Returns a Report with .verdicts, .supported, .to_html(path), .to_json(path). Ctrl-C gives one of what was
    measured (.interrupted, .untested), with an InterruptedWarning; where nothing was, KeyboardInterrupt goes on. Raises
    ValueError, OSError for a checkpoint that cannot be one.
    """
    _check(loss, sgd, start, margins, theory, numeric)
    check_alpha(alpha)
    check_ensemble(paths, seed)
    check_path("checkpoint", checkpoint)
    points = [
        starts.reader(loss.parameters, s, 1, seed, loss.dimension)(0, 1)[0]
        for s in ([start] if isinstance(start, Mapping) else start)
    ]
    if not points:
        raise InputError("verify.start: at least one point is needed; got none. Give {parameter: value}.")
    check_length("verify.time", time, "t = eta*k")
    theory = theory or _derived(loss, progress)
    margins = margins or records.Margins()
    steps = round(time / sgd.learning_rate)
    if steps < 2:
        raise InputError.of(
            "verify.time", f"must hold at least two steps of {sgd.learning_rate}", time, "Take a longer time."
        )
    theory.noise.rates(sgd)
    f = sgd.noise_factor(theory.noise.population)
    charges = tuple(theory_numbers.Charge(_label(c), c.A, c.b, c.classification or "") for c in theory.charges)
    figures = theory_numbers.Theory(charges, theory.noise.factors, sgd.weight_decay, not loss.expression.has(*KINKS))
    figures = numeric(figures) if numeric else figures
    setting = records.Setting(
        sgd.learning_rate,
        sgd.temperature * f,
        f / sgd.batch_size,
        sgd.weight_decay,
        1 / (1 - sgd.momentum),
        sgd.momentum == 0,
        sgd.factor,
    )
    begins = experiment.orbit_starts(figures, points)
    known = {"time": time, "steps": steps, "paths": paths, "seed": seed, "alpha": alpha, "margins": asdict(margins)}
    recorded = provenance.record("verify", loss, sgd, {**known, "start": [loss.unpack(theta) for theta in begins]})
    parts = [a for c in figures.charges for a in (c.kind, c.A, c.b)]
    folder = checkpoint_folder.folder(checkpoint, "verify", provenance.identity(recorded, *parts), recorded)
    plan = _plan(theory, sgd, len(begins), steps, paths, time) if charges else []
    with compiling.reporting(progress), phases(f"verify {loss.name}", plan, progress) as shown:
        simulators = _simulators(loss, sgd, theory, paths, seed, threads, shown, folder, len(begins))
        found = experiment.run_experiment(figures, setting, simulators, begins, steps, margins)
    if found.interrupted:
        why = "the report holds the claims that were measured, and lists the others as not tested"
        warnings.warn(f"verify: interrupted; {why}.", InterruptedWarning, stacklevel=2)
    names = experiment.start_names(len(begins))
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
        judge(found.claims, alpha) if found.claims else (),
        "\n\n".join([paragraph(theory), *found.notes]),
        rows,
        tuple(found.curves),
        tuple(found.entries),
        tuple(found.explosions),
        settings,
        loss.files,
        tuple(found.untested),
        found.interrupted,
        recorded,
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
        instance(
            "verify.margins", margins, records.Margins, "must be Margins", "Write Margins(drift=0.05), or leave it out."
        )
    if theory is not None:
        instance("verify.theory", theory, Theory, "must be a Theory", "Give derive(loss), or leave it out.")
    if numeric is not None and not callable(numeric):
        raise InputError.of("verify.numeric", "must be a function of a theory's numbers", numeric, "Leave it out.")


def _label(charge: Charge) -> str:
    text = str(charge.expression)
    return text if len(text) <= 40 else charge.name


def _derived(loss: Loss, progress: bool) -> Theory:
    with phases(f"verify {loss.name}", [], progress) as shown:
        shown.enter("derivation")
        return derive(loss)


def _start_text(loss: Loss, theta: np.ndarray) -> str:
    values = {str(getattr(k, "name", k)): provenance.plain(v) for k, v in loss.unpack(theta).items()}
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def _sizes(theory: Theory, sgd: SGD, paths: int) -> tuple[int, float, int, int]:
    """(the SDE's paths, its step, gradients a step of it takes and of SGD)."""
    cheap = theory.noise.source == "features"
    n, dt = (min(paths, 1000), sgd.learning_rate / 2) if cheap else (min(paths, 128), sgd.learning_rate)
    return n, dt, 1 if cheap else theory.noise.population or 1, sgd.batch_size


def _plan(theory: Theory, sgd: SGD, starts: int, steps: int, paths: int, time: float) -> list[tuple[str, float]]:
    """The phases in the order of `run_experiment`, with the gradients that each takes."""
    (n, dt, rows, batch), names = _sizes(theory, sgd, paths), experiment.start_names(starts)
    closed, plain, every = (
        theory.noise.source in ("features", "dataset"),
        sgd.momentum == 0,
        min(steps, experiment.EVERY),
    )
    plan: list[tuple[str, float]] = [(f"SGD from {name}", paths * steps * batch) for name in names]
    if plain:
        plan += [(f"{EACH} SGD", 4 * every * batch)] + [(f"{EACH} gradient descent", every * rows)] * closed
    if closed:
        drift = one_step_drift.MOST // 4
        plan += [("mean drift of SGD", drift * batch)] * plain + [("mean drift of the SDE", drift * rows)]
        for name in names:
            plan += [(f"SDE from {name}", n * time / dt * rows), (f"gradient descent from {name}", steps * rows)]
        plan += [("gradient descent with smaller steps", 12 * steps * rows)] * (not sgd.weight_decay)
    return plan


def _simulators(
    loss: Loss,
    sgd: SGD,
    theory: Theory,
    paths: int,
    seed: int,
    threads: int | None,
    shown: Phases,
    folder: checkpoint_folder.Folder | None,
    starts: int,
) -> records.Simulators:
    """The three dynamics as functions of a point: each with a seed of its own."""
    eta, asked, names = sgd.learning_rate, interruption.count(), experiment.start_names(starts)
    some, fine, rows, batch_size = _sizes(theory, sgd, paths)
    descents = iter([f"{EACH} gradient descent"] * (sgd.momentum == 0) + [f"gradient descent from {n}" for n in names])
    number = count()

    def begin(theta: np.ndarray) -> dict[Any, Any]:
        return dict(loss.unpack(theta))

    def flat(data: xr.Dataset) -> np.ndarray:
        return np.concatenate(
            [data[p.name].values.reshape(data.sizes["path"], data.sizes["time"], -1) for p in loss.parameters], axis=2
        )

    def sample(data: xr.Dataset) -> records.Sample:
        states, exploded = flat(data), data.exploded.values
        alive = np.asarray(np.isfinite(states).all(axis=(1, 2)))
        first = float(data.time.values[np.argmax(exploded > 0)]) if exploded[-1] else None
        return records.Sample(states[alive], data.time.values, int(exploded[-1]), len(alive), first)

    def kept(
        run: Callable[..., xr.Dataset],
        own: SGD,
        theta: np.ndarray,
        phase: str,
        work: float,
        saved: bool = True,
        **options: Any,
    ) -> xr.Dataset:
        target = folder.target(f"run-{next(number):05}") if folder and saved else None
        tick = shown.enter(phase, work)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*paths exploded", category=RuntimeWarning)
            warnings.simplefilter("ignore", InterruptedWarning)
            data = run(
                loss,
                own,
                start=begin(theta),
                keep="paths",
                threads=threads,
                checkpoint=target,
                progress=tick,
                **options,
            )
        if data.attrs["interrupted"] or interruption.count() > asked:
            raise KeyboardInterrupt
        return data

    def stochastic(theta: np.ndarray, saves: np.ndarray, index: int) -> records.Sample:
        n = paths if index >= 0 else 4
        options = {"steps": int(saves[-1]), "save_at": saves * eta, "seed": seed + 1 + index}
        phase = f"SGD from {names[index]}" if index >= 0 else f"{EACH} SGD"
        return sample(kept(train, sgd, theta, phase, batch_size, paths=n, **options))

    def descent(theta: np.ndarray, saves: np.ndarray, slower: float) -> records.Sample:
        own = replace(sgd, learning_rate=eta * slower)
        options = {"steps": int(saves[-1]), "save_at": saves * own.learning_rate}
        phase = next(descents, "gradient descent with smaller steps")
        return sample(kept(train, own, theta, phase, rows, paths=1, full_batch=True, **options))

    def diffusion(theta: np.ndarray, times: np.ndarray, index: int) -> records.Sample:
        options = {"time": float(times[-1]), "save_at": times, "seed": seed + 1000 + index}
        return sample(
            kept(simulate, sgd, theta, f"SDE from {names[index]}", rows, paths=some, dt=fine, check=False, **options)
        )

    single = replace(sgd, schedule=None)

    def one_sgd(states: np.ndarray, batch: int) -> np.ndarray:
        options = {"steps": 1, "paths": len(states), "seed": seed + 5000 + batch, "save_at": 2}
        return flat(kept(train, single, states, "mean drift of SGD", batch_size, False, **options))[:, -1]

    def one_sde(states: np.ndarray, batch: int, dt: float) -> np.ndarray:
        options = {
            "time": dt,
            "dt": dt,
            "paths": len(states),
            "seed": seed + 6000 + batch,
            "save_at": 2,
            "check": False,
        }
        return flat(kept(simulate, single, states, "mean drift of the SDE", rows, False, **options))[:, -1]

    def memory(name: str, arrays: tuple[np.ndarray, ...]) -> records.Memory | None:
        return None if folder is None else folder.memory(name, *arrays)

    def resting(theta: np.ndarray) -> np.ndarray | None:
        try:
            joint = theory.equilibrium(loss.unpack(theta), replace(sgd, schedule=None)).joint
        except ValueError:
            return None
        return (
            None if joint is None or not joint.converged else np.array([c.value(joint.theta) for c in theory.charges])
        )

    closed = theory.noise.source in ("features", "dataset")
    return records.Simulators(
        stochastic,
        descent if closed else None,
        diffusion if closed else None,
        one_sgd,
        one_sde if closed else None,
        resting,
        memory,
    )
