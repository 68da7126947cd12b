"""A loss, its optimiser and a derived theory as the numbers that a verification works with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sde.api import starts, valley_numbers
from sde.engine.time_grid import check_affordable, check_length
from sde.verification import theory_numbers
from sde.verification.experiment import Experiment
from sde.verification.forecast import orbit_starts
from sde.verification.sampling_error import enough
from sde.verification.setting import Margins, Setting
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, instance
from symbolic.functions.registry import KINKED
from symbolic.predictions.charge import Charge
from symbolic.problem.distributions import Bernoulli
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.theory import Theory

MOST_TIMES = 10_000
"""At which a schedule is looked at."""
Starts = Mapping[Any, Any] | Sequence[Mapping[Any, Any]]


def experiment_of(
    loss: Loss,
    sgd: SGD,
    theory: Theory,
    *,
    start: Starts,
    time: float,
    seed: int,
    margins: Margins | None,
    numeric: Callable[[theory_numbers.Theory], theory_numbers.Theory] | None = None,
) -> Experiment:
    """What `verify` runs, for its arguments of these names, margins left out their own. Raises InputError."""
    points, steps = start_points(loss, start, seed), step_count(sgd, time)
    figures = figures_of(theory, sgd)
    figures = numeric(figures) if numeric else figures
    return Experiment(figures, setting_of(theory, sgd), orbit_starts(figures, points), steps, margins or Margins())


def figures_of(theory: Theory, sgd: SGD) -> theory_numbers.Theory:
    """A theory's charges and noise as numbers."""
    charges = tuple(theory_numbers.Charge(label(c), c.A, c.b, c.classification or "") for c in theory.charges)
    smooth = not theory.loss.expression.has(*KINKED)
    motion, matrices = valley_numbers.motion(theory, sgd), valley_numbers.matrices(theory)
    return theory_numbers.Theory(charges, theory.noise.factors, sgd.weight_decay, smooth, motion, matrices)


def setting_of(theory: Theory, sgd: SGD) -> Setting:
    """The optimiser on the theory's loss as numbers."""
    r = sgd.rates(theory.loss)
    return Setting(
        learning_rate=r.learning_rate,
        temperature=r.temperature,
        variance=r.variance,
        weight_decay=r.weight_decay,
        speed=1 / r.inertia,
        plain=sgd.momentum == 0,
        closed=theory.noise.exact,
        factor=sgd.factor,
        seen=math.ceil(enough(1, math.sqrt(kurtosis(theory.loss))) / sgd.batch_size) if r.variance else 0,
    )


def kurtosis(loss: Loss) -> float:
    """Of the data's rarest values: the largest of any binary variable, where it is about one over the chance, or column
    of rows; 0 without them."""
    found, free = [0.0], loss.expression.free_symbols
    for block in loss.used:
        used = [i for i, symbol in enumerate(block.symbols) if symbol in free]
        if block.table is not None:
            rows = block.table[:, used] - block.table[:, used].mean(axis=0)
            square, fourth = (rows**2).mean(axis=0), (rows**4).mean(axis=0)
        elif isinstance(block, Bernoulli):
            p = np.array([float(block.parameters["p"][i]) for i in used])
            square, fourth = p * (1 - p), p * (1 - p) * (1 - 3 * p * (1 - p))
        else:
            continue
        found += (fourth[square > 0] / square[square > 0] ** 2).tolist()
    return max(found)


def start_points(loss: Loss, start: Starts, seed: int) -> list[np.ndarray]:
    """The given starts (D,). Raises InputError."""
    several: list[Any] = list(start) if isinstance(start, (list, tuple)) else [start]
    points = [starts.reader(loss.parameters, s, 1, seed, loss.dimension)(0, 1)[0] for s in several]
    if not points:
        raise InputError("verify.start: at least one point is needed; got none. Give {parameter: value}.")
    return points


def step_count(sgd: SGD, time: float) -> int:
    """Steps of SGD in a time. Raises InputError for less than two."""
    check_length("verify.time", time, "t = eta*k")
    steps = round(time / sgd.learning_rate)
    if steps < 2:
        raise InputError.of(
            "verify.time", f"must hold at least two steps of {sgd.learning_rate}", time, "Take a longer time."
        )
    check_affordable("verify.time", time, steps, "steps")
    if sgd.schedule is not None and not np.any(sgd.factor(np.linspace(0, time, min(steps, MOST_TIMES)))):
        rule = f"must let SGD move within the time {time:g}"
        raise InputError.of("SGD.schedule", rule, sgd.schedule, "Give one that is positive somewhere.")
    return steps


def check_setup(loss: Any, sgd: Any, start: Any, margins: Any, theory: Any) -> None:
    """Raise InputError for arguments of `verify` that are of another type."""
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
        if [s.name for p in loss.parameters for s in p.symbols] != [s.name for s in theory.loss.theta]:
            rule = f"must be of a loss of the parameters {', '.join(p.name for p in loss.parameters)}"
            raise InputError.of("verify.theory", rule, theory.loss, "Give derive(loss), or leave it out.")


def label(charge: Charge) -> str:
    """Its expression where that is short, else its name."""
    text = str(charge.expression)
    return text if len(text) <= 40 else charge.name
