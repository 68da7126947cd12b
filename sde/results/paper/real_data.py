"""Real data: charges of networks on the diabetes and iris data follow their predicted drift while SGD trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import xarray as xr

from sde.api.experiments import figures_of, setting_of
from sde.api.training import train
from sde.reports.figures import COLOURS
from sde.results import drawing
from sde.results.result import Effort, Finding, Result, Row
from sde.spec.problem_file import parse_spec
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

SEED, SAVES = 1113, 61
FILES = Path(str(resources.files("sde.results") / "data"))
DIABETES = """
[data]
file = "diabetes.csv"
inputs = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
targets = ["progression"]
standardize = true
"""
IRIS = """
[data]
file = "iris.csv"
inputs = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
targets = ["class"]
classes = true
standardize = true
"""
MODELS = {
    "diabetes, ReLU": """
parameters = { W = [4, 10], b = [4], a = [4] }
loss = { expression = "(a@relu(W@x + b) - y)**2" }
"""
    + DIABETES,
    "iris, ReLU": """
parameters = { W = [4, 4], b = [4], V = [3, 4] }
loss = { where = { s = "V@relu(W@x + b)" }, expression = "logsumexp(s) - dot(y, s)" }
"""
    + IRIS,
    "iris, softmax": """
parameters = { W = [3, 4], b = [3] }
loss = { where = { s = "W@x + b" }, expression = "logsumexp(s) - dot(y, s)" }
"""
    + IRIS,
}
SGDS = {
    "diabetes, ReLU": SGD(0.01, batch_size=4),
    "iris, ReLU": SGD(0.02, batch_size=2),
    "iris, softmax": SGD(0.05, batch_size=10, replacement=False, weight_decay=0.02),
}
QUARTER = SGD(0.02, batch_size=110, replacement=False)
"""A quarter of the diabetes data without replacement, (N - S)/(N - 1) = 0.75."""
TIME = 15.0
ALONG, BEFORE, KEPT, HEUN = 0.06, 0.25, 0.05, 0.05
"""Margins, of shares of the noise on a charge, of a forecast's share, and of what gradient descent
moves over the size of C; then the forecast's step. Along SGD's own path only rates between saves are left out. The
forecast leaves out how SGD fluctuates: from three starts other than this one it missed by up to a tenth."""


@cache
def losses() -> Mapping[str, Loss]:
    """By name of MODELS."""
    return {
        name: parse_spec(f'name = "{name.replace(", ", "-").lower()}"\n{text}', FILES / f"{name}.toml").loss
        for name, text in MODELS.items()
    }


@cache
def theories() -> Mapping[str, Theory]:
    """Of every model."""
    return {name: derive(loss) for name, loss in losses().items()}


def start(loss: Loss) -> dict[str, np.ndarray]:
    """Fixed draws, with the second layer larger than the first."""
    draws = np.random.default_rng(SEED)
    sizes = {"W": 0.2 if loss.dimension > 40 else 0.5, "b": 0.1, "a": 0.6, "V": 0.8}
    found = {p.name: np.round(draws.normal(0, sizes[p.name], p.shape), 2) for p in loss.parameters}
    return found | {"b": found["b"] + 0.5}


@dataclass(frozen=True)
class Training:
    """A run with its charges and what theory says of them. charges, rates: (paths, times, charges), the rates per unit
    of time; gross: of the noise that moves a charge either way; mean_loss: (times,)."""

    time: np.ndarray
    step: float
    charges: np.ndarray
    rates: np.ndarray
    gross: np.ndarray
    mean_loss: np.ndarray

    @property
    def change(self) -> np.ndarray:
        """Of each charge over the run (paths, charges)."""
        return self.charges[:, -1] - self.charges[:, 0]

    @property
    def predicted(self) -> np.ndarray:
        """Its drift summed over the path's steps (paths, charges): the sum takes the first step whole and the last not
        at all, of both of which an integral takes half."""
        ends = self.step / 2 * (self.rates[:, 0] - self.rates[:, -1])
        return np.trapezoid(self.rates, self.time, axis=1) + ends


def trained(name: str, sgd: SGD, effort: Effort, *, descent: bool = False) -> xr.Dataset:
    """SGD from the model's start, or gradient descent."""
    loss, steps = losses()[name], round(TIME / sgd.learning_rate)
    return train(
        loss,
        sgd,
        start=start(loss),
        steps=steps,
        paths=2 if descent else effort(400, 640) if name == "iris, ReLU" else effort(60, 240),
        seed=SEED,
        observables={"mean_loss": "loss"},
        save_at=np.unique(np.round(steps * np.linspace(0, 1, SAVES) ** 2)) * sgd.learning_rate,
        keep="paths",
        full_batch=descent,
        threads=effort.threads,
    )


def read(run: xr.Dataset, name: str, sgd: SGD) -> Training:
    """A run beside what theory says of SGD with these settings along it."""
    theory, eta = theories()[name], sgd.learning_rate
    states = [run[p.name].values.reshape(*run.mean_loss.shape, -1) for p in theory.loss.parameters]
    theta = np.concatenate(states, axis=2)
    numbers, shape, flat = figures_of(theory, sgd), theta.shape[:2], theta.reshape(-1, theta.shape[2])
    change, gross = numbers.step_change(flat, eta, setting_of(theory, sgd).variance)
    return Training(
        run.time.values,
        eta,
        numbers.values(flat).reshape(*shape, -1),
        change.reshape(*shape, -1) / eta,
        gross.reshape(*shape, -1) / eta,
        run.mean_loss.values.mean(axis=0),
    )


def forecast(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Before the run: changes of the charges and all noise on them (charges,) along the mean-field path, gradient flow
    on which every charge obeys its law, by Heun's method."""
    sgd, theory, loss = SGDS[name], theories()[name], losses()[name]
    numbers, shape = figures_of(theory, sgd), setting_of(theory, sgd)

    def velocity(theta: np.ndarray) -> np.ndarray:
        return numbers.closure(theta, shape.temperature, sgd.learning_rate)

    path = [loss.pack(start(loss))]
    for _ in range(round(TIME / HEUN)):
        slope = velocity(path[-1])
        path.append(path[-1] + HEUN / 2 * (slope + velocity(path[-1] + HEUN * slope)))
    states = np.array(path)
    gross = numbers.step_change(states, sgd.learning_rate, shape.variance)[1] / sgd.learning_rate
    first, last = numbers.values(states[[0, -1]])
    return last - first, np.asarray(np.trapezoid(gross, dx=HEUN, axis=0))


def units(name: str, sgd: Training, ahead: tuple[np.ndarray, np.ndarray] | None = None) -> list[Row]:
    """Changes of the charges that noise moves, as shares of all noise that lifts or lowers them: against the drift
    along SGD's own path, and against a forecast."""
    rows, label = list[Row](), name.split(",")[0]
    moving = [j for j, c in enumerate(theories()[name].charges) if c.classification == "convergent"]
    for k, j in enumerate(moving):
        text = f"{label}, hidden unit {k + 1}: change of |in|² − |out|² under SGD over all noise on it, as"
        gross = float(np.trapezoid(sgd.gross[:, :, j], sgd.time, axis=1).mean())
        expected = float(sgd.predicted[:, j].mean() / gross)
        shares, told = (sgd.change - sgd.predicted)[:, j] / gross + expected, f"{text} its drift along SGD's path says"
        rows.append(Row.of_mean(f"{label}, unit {k + 1}", told, shares, expected, ALONG))
        if ahead is not None:
            shares, told = sgd.change[:, j] / ahead[1][j], f"{text} forecast before the run"
            expected = float(ahead[0][j] / ahead[1][j])
            rows.append(Row.of_mean(f"{label}, unit {k + 1}, forecast", told, shares, expected, BEFORE))
    return rows


def without_replacement(effort: Effort) -> tuple[Row, Row]:
    """A quarter of the rows at each step: the factor of sampling, and the theory without it."""
    run = trained("diabetes, ReLU", QUARTER, effort)
    found = read(run, "diabetes, ReLU", QUARTER)
    fresh = read(run, "diabetes, ReLU", replace(QUARTER, replacement=True)).predicted.mean(axis=0)
    j = int(np.abs(fresh - found.predicted.mean(axis=0)).argmax())
    gross = float(np.trapezoid(found.gross[:, :, j], found.time, axis=1).mean())
    expected = float(found.predicted[:, j].mean() / gross)
    shares = (found.change - found.predicted)[:, j] / gross + expected
    text = (
        f"diabetes, a quarter of the rows at a step, without replacement, hidden unit {j + 1}: change of |in|² − |out|²"
        " over all noise on it, as its drift says"
    )
    row = Row.of_mean("without replacement", text, shares, expected, ALONG)
    return row, row.against(float(fresh[j] / gross), "drawn with replacement: (N − S)/(N − 1) left out")


def kept(runs: Mapping[str, Training], descent: Training) -> tuple[list[Row], Row]:
    """What gradient descent keeps, and what no noise moves: shifts of all logits before a softmax."""
    name, sgd = "diabetes, ReLU", SGDS["diabetes, ReLU"]
    begin = losses()[name].pack(start(losses()[name]))
    sizes = np.array([float(c.size(begin)) for c in figures_of(theories()[name], sgd).charges])
    moved = float(np.abs(descent.change[0] / sizes).max())
    text = "diabetes: gradient descent keeps every charge, largest change over |in|² + |out|² at the start"
    rows = [Row.exact("descent", text, moved, 0.0, KEPT)]
    still = [j for j, c in enumerate(theories()["iris, ReLU"].charges) if c.classification == "frozen"]
    charges = runs["iris, ReLU"].charges[:, :, still]
    text = f"iris: noise moves none of the {len(still)} charges of shifted logits, largest change on any path"
    rows.append(Row.exact("shifts", text, float(np.abs(charges - charges[:, :1]).max()), 0.0, 1e-12))
    name, sgd = "iris, softmax", SGDS["iris, softmax"]
    linear = [j for j, c in enumerate(theories()[name].charges) if c.kind == "translation"]
    left = (runs[name].charges[:, -1] / runs[name].charges[:, 0])[:, linear]
    steps, decay = round(TIME / sgd.learning_rate), sgd.learning_rate * sgd.weight_decay
    exact = (1 - decay) ** steps
    text = (
        f"iris, softmax with weight decay: shifts of the logits fall by (1 − ηλ)^{steps}, on the path farthest from it"
    )
    row = Row.exact("decay", text, float(left.flat[np.abs(left - exact).argmax()]), exact, 1e-9)
    return [*rows, row], row.against(float(np.exp(-decay * steps)), "e^(−λt), as in continuous time")


def measure(effort: Effort) -> Finding:
    """Three models along SGD's training, gradient descent beside the first."""
    runs = {name: read(trained(name, sgd, effort), name, sgd) for name, sgd in SGDS.items()}
    effort.tick(0.6)
    name = "diabetes, ReLU"
    descent = read(trained(name, SGDS[name], effort, descent=True), name, SGDS[name])
    first, layered = units(name, runs[name], forecast(name)), units("iris, ReLU", runs["iris, ReLU"])
    drawn, fresh = without_replacement(effort)
    still, continuous = kept(runs, descent)
    along, strongest = (max(some, key=lambda row: abs(row.predicted)) for some in (first[::2], layered))
    wrong = (
        along.against(along.predicted / 2, "σ² = η/(2S) in place of T = η/S, half of the drift"),
        strongest.against(-strongest.predicted, "the sign of A turned: the output layer's noise lifts C"),
        fresh,
        continuous,
    )
    notes = tuple(
        f"{name}: SGD takes the mean loss from {run.mean_loss[0]:.3g} to {run.mean_loss[-1]:.3g} in"
        f" {round(TIME / SGDS[name].learning_rate)} steps."
        for name, run in runs.items()
    )
    figures = {
        "Charges of the hidden units along training, less their start: SGD (mean and 5 to 95 % of paths) and its"
        " integrated drift (dashed); diabetes with gradient descent left, iris right": _figure(runs, descent)
    }
    return Finding(rows=(*first, drawn, *layered, *still), wrong=wrong, figures=figures, notes=notes)


def _figure(runs: Mapping[str, Training], descent: Training) -> object:
    figure, axes = drawing.panels(2)
    for ax, name in zip(axes, ("diabetes, ReLU", "iris, ReLU"), strict=True):
        run = runs[name]
        moving = [j for j, c in enumerate(theories()[name].charges) if c.classification == "convergent"]
        for k, (j, colour) in enumerate(zip(moving, ("sgd", "sde", "third", "fourth"), strict=True)):
            drawing.band(ax, run.time, run.charges[:, :, j] - run.charges[:, :1, j], f"unit {k + 1}", colour)
            steps = np.diff(run.time) * (run.rates[:, 1:, j] + run.rates[:, :-1, j]).mean(axis=0) / 2
            drawing.theory(ax, run.time, np.append(0, np.cumsum(steps)), "predicted" if k == 0 else "")
            if ax is axes[0]:
                still = descent.charges[0, :, j] - descent.charges[0, 0, j]
                ax.plot(descent.time, still, color=COLOURS["gd"], lw=1, label="gradient descent" if k == 0 else None)
        drawing.labels(ax, "time t = ηk", "C less its start", title=name)
    return figure


RESULT = Result(
    name="real-data",
    section="paper",
    position=130,
    title="On the diabetes and iris data charges follow the predicted drift as SGD trains",
    claim=(
        "The charges of a network's hidden units drift under SGD as T·Tr[ΣA] says, Σ the covariance of its gradient"
        " over the rows of a data set, while the network learns, and not only in models of which everything is known."
        " Gradient descent keeps them; shifts of all logits before a softmax carry no noise and stay."
    ),
    source="arXiv 2402.07193, law of the charge under gradient noise; arXiv 2012.04728 for the charges",
    beyond=(
        "No constant is fitted: the drift is read off the data, along SGD's path, and forecast before the run;"
        " draws without replacement, and weight decay of what no noise moves, exactly."
    ),
    seed=SEED,
    seconds=(7, 25),
    theories=theories,
    measure=measure,
)
