"""Verify a derived theory against SGD, its SDE and gradient descent."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from sde import starts
from sde.study.running import simulate, train, versions
from sde.values import check_ensemble, real
from sde.verification import experiment, numbers, records
from sde.verification.report import Report
from sde.verification.verdicts import judge
from symbolic.charge import Charge
from symbolic.display import drift_text, paragraph
from symbolic.functions import relu, step
from symbolic.loss import Loss
from symbolic.sgd import SGD
from symbolic.theory import Theory, derive

if TYPE_CHECKING:
    import xarray as xr

KINKS = (relu, step, sp.Max, sp.Min, sp.Abs, sp.sign, sp.Heaviside, sp.Piecewise)


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
    numeric: Callable[[numbers.Theory], numbers.Theory] | None = None,
) -> Report:
    """Hold the derived theory against discrete SGD, its SDE and gradient descent, charge by charge (THEORY section 7).

    start: one or several points (a law is drawn from once); when a charge is convergent, points on the first one's symmetry orbit are added up to three. time: length
    of the runs in t = eta*k. paths: per start. alpha: the chance of any wrong verdict, Holm over all claims. margins: how far from the
    theory still counts as agreement. theory: to be held to another theory than derive(loss); numeric: to alter its numbers.
    Returns a Report with .verdicts, .supported, .to_html(path), .to_json(path). Raises ValueError.
    """
    theory = theory or derive(loss)
    margins = margins or records.Margins()
    judge([], alpha)
    points = [
        starts.reader(loss.parameters, s, 1, seed, loss.dimension)(0, 1)[0]
        for s in ([start] if isinstance(start, Mapping) else start)
    ]
    if not points:
        raise ValueError("verify.start: at least one point is needed; got none. Give {parameter: value}.")
    check_ensemble(paths, seed)
    steps = round(time / sgd.learning_rate) if (real(time) or 0) > 0 else 0
    if steps < 2:
        raise ValueError(
            f"verify.time: must hold at least two steps of {sgd.learning_rate}; got {time!r}. Take a longer time."
        )
    theory.noise.rates(sgd)
    f = sgd.noise_factor(theory.noise.population)
    charges = tuple(numbers.Charge(_label(c), c.A, c.b, c.classification or "") for c in theory.charges)
    figures = numbers.Theory(charges, theory.noise.factors, sgd.weight_decay, not loss.expression.has(*KINKS))
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
    runs = _runs(loss, sgd, theory, paths, seed, threads)
    found = experiment.run_experiment(figures, setting, runs, experiment.orbit_starts(figures, points), steps, margins)
    settings = {
        "learning rate": sgd.learning_rate,
        "batch size": sgd.batch_size,
        "weight decay": sgd.weight_decay,
        "momentum": sgd.momentum,
        "time": time,
        "steps": steps,
        "paths per start": paths,
        "seed": seed,
        "alpha": alpha,
        "margins": asdict(margins),
        "versions": versions(),
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
    )


def _label(charge: Charge) -> str:
    text = str(charge.expression)
    return text if len(text) <= 40 else charge.name


def _runs(loss: Loss, sgd: SGD, theory: Theory, paths: int, seed: int, threads: int | None) -> records.Runs:
    """The three dynamics as functions of a point: each with a seed of its own."""
    eta = sgd.learning_rate

    cheap = theory.noise.source == "features"

    def begin(theta: np.ndarray) -> dict[Any, Any]:
        return dict(loss.unpack(theta))

    def flat(data: xr.Dataset) -> np.ndarray:
        return np.concatenate(
            [data[p.name].values.reshape(data.sizes["path"], data.sizes["time"], -1) for p in loss.parameters], axis=2
        )

    def sample(data: xr.Dataset) -> records.Sample:
        states, gone = flat(data), data.exploded.values
        alive = np.asarray(np.isfinite(states).all(axis=(1, 2)))
        first = float(data.time.values[np.argmax(gone > 0)]) if gone[-1] else None
        return records.Sample(states[alive], data.time.values, int(gone[-1]), len(alive), first)

    def kept(run: Callable[..., xr.Dataset], own: SGD, theta: np.ndarray, **options: Any) -> xr.Dataset:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*paths exploded", category=RuntimeWarning)
            data = run(loss, own, start=begin(theta), keep="paths", threads=threads, **options)
        if data.attrs["interrupted"]:
            raise KeyboardInterrupt
        return data

    def stochastic(theta: np.ndarray, saves: np.ndarray, index: int) -> records.Sample:
        n = paths if index >= 0 else 4
        options = {"steps": int(saves[-1]), "save_at": saves * eta, "seed": seed + 1 + index}
        return sample(kept(train, sgd, theta, paths=n, **options))

    def descent(theta: np.ndarray, saves: np.ndarray, slower: float) -> records.Sample:
        own = replace(sgd, learning_rate=eta * slower)
        options = {"steps": int(saves[-1]), "save_at": saves * own.learning_rate}
        return sample(kept(train, own, theta, paths=1, full_batch=True, **options))

    def diffusion(theta: np.ndarray, times: np.ndarray, index: int) -> records.Sample:
        n, dt = (min(paths, 1000), eta / 2) if cheap else (min(paths, 128), eta)
        options = {"time": float(times[-1]), "save_at": times, "seed": seed + 1000 + index}
        return sample(kept(simulate, sgd, theta, paths=n, dt=dt, check=False, **options))

    single = replace(sgd, schedule=None)

    def one_sgd(states: np.ndarray, batch: int) -> np.ndarray:
        data = kept(train, single, states, steps=1, paths=len(states), seed=seed + 5000 + batch, save_at=2)
        return flat(data)[:, -1]

    def one_sde(states: np.ndarray, batch: int, dt: float) -> np.ndarray:
        options = {
            "time": dt,
            "dt": dt,
            "paths": len(states),
            "seed": seed + 6000 + batch,
            "save_at": 2,
            "check": False,
        }
        return flat(kept(simulate, single, states, **options))[:, -1]

    def resting(theta: np.ndarray) -> np.ndarray | None:
        try:
            joint = theory.equilibrium(loss.unpack(theta), replace(sgd, schedule=None)).joint
        except ValueError:
            return None
        return (
            None if joint is None or not joint.converged else np.array([c.value(joint.theta) for c in theory.charges])
        )

    closed = theory.noise.source in ("features", "dataset")
    return records.Runs(
        stochastic,
        descent if closed else None,
        diffusion if closed else None,
        one_sgd,
        one_sde if closed else None,
        resting,
    )
