"""How far discrete SGD is from its SDEs and from SVAG, at a user's own learning rate and batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.api import comparison_result, provenance
from sde.api.comparison_runs import EULER, SGD_ITSELF, Dynamics, Lost, PathEnds, refuse_unknown
from sde.api.placement import placed
from sde.constraints import Constraint
from sde.engine import compiling
from sde.engine.interruption import InterruptedWarning
from sde.engine.progress import Phases, phases
from sde.estimators.control_variates import Controlled
from sde.estimators.weak_error import Rung, Sample, Study, weak_errors
from sde.settings import SETTINGS
from symbolic.errors import InputError, as_reals, instance, warn
from symbolic.errors import check as must
from symbolic.language.calls import OF_SGD, called
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.problem.parameter import Parameter, assign
from symbolic.theory import Theory, derive

if TYPE_CHECKING:
    import xarray as xr

LADDER = (8.0, 4.0, 2.0, 1.0, 0.5)
LEAST_STEPS = 4
"""Fewest steps of a rung: with fewer, no power of the rate is to be seen."""
FIRST_PATHS, FIRST_SHARE, WORTHWHILE = 64, 64, 1.2
"""Of the first round: at least so many paths at the user's rate, else a share of the budget; and how many times the
paths there are make another round."""
SCATTER, FEWEST, MOST = {"sgd": 1.0, "euler": 1.0, "sde": 0.35, "svag": 1.0}, 0.125, 4.0
"""About how much a path of each scatters beside SGD, control variates taken off (without them all alike); fewest and
most paths of each for one of SGD. Best for the variance is scatter over the root of what a path costs."""
BUDGET = Constraint(must.positive, "Give path-steps, e.g. 1e9.")
WIDTH = Constraint(must.positive, "Give e.g. 0.15.")
SVAG = Constraint(
    must.whole, "Give SVAG's factor, e.g. 4.", least=2, below=1025, rule="must be a whole number from 2 to 1024"
)
SUBSTEPS = Constraint(must.whole, "Leave it out.", below=65)
SDES = ("euler", "sde")
TO_MODELS = {"order-1": Dynamics("sde", 1), "order-2": Dynamics("sde", 2)}


@called({**OF_SGD, "steps": "Give time=, steps times the learning rate.", "dt": "Give substeps=."})
@placed
def compare(
    loss: Loss,
    sgd: SGD,
    start: Mapping[Any, Any],
    time: float,
    observables: Mapping[str, Any] | None = None,
    *,
    ladder: Sequence[float] = LADDER,
    svag: int = 4,
    paths: int | None = None,
    width: float = 0.15,
    budget: float = 1e8,
    substeps: int = 1,
    seed: int = 0,
    theory: Theory | None = None,
    threads: int | None = None,
    executor: Any = None,
    portable: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """How far discrete SGD is from its SDE of order 1, from that of order 2, and from SVAG, at a fixed time.

    Each is run beside SGD at the user's learning rate and at multiples of it. The difference of means at the user's
    rate is what the model is off by there; how it falls with the rate is its weak order: 1 for the order-1 SDE and
    SVAG, 2 for the order-2 SDE, whose drift is -grad(L + (eta/4) |grad L|^2). The SDEs' own step is extrapolated away
    (Euler-Maruyama at three steps on one Brownian path). Paths are added in rounds until every slope's interval is as
    narrow as asked, or what is left of the budget would not make it so; what is not decided then is said, with the
    paths that it needs. What has mean 0 at every step is taken off the means (docs/theory.md eq. (6.4) and (6.5)),
    which lowers their variance by `variance_reduction`, and the SDEs' as differences from a scheme on the same
    Brownian path.

    Parameters
    ----------
    loss
        A loss polynomial in its data, or of few rows of a data set.
    sgd
        The optimiser, without momentum and schedule.
    start
        {symbol or name: number, array or distribution}.
    time
        When means are compared, in t = eta*k; taken to the nearest step.
    observables
        {name: expression, or array of them, of the parameters}; the charges of the loss, and its mean, when left out.
    ladder
        Multiples of the learning rate, 1 among them. Rates at which a path is lost, or the time has fewer than four
        steps, are left out.
    svag
        SVAG's factor l.
    paths
        At the user's rate, instead of rounds; other rates take as many path-steps.
    width
        Half-width of a slope's interval that is asked for, as a share of the order.
    budget
        Path-steps, counting a sample's gradient as one.
    substeps
        Of the SDEs' longest step within one of SGD.
    seed
        Of all runs.
    theory
        Of the loss, where it is at hand.
    threads
        As many as there are cores when left out; no number depends on it.
    executor, portable
        As for `simulate`.
    progress
        Show the share of the budget and the time left.

    Returns
    -------
    xarray.Dataset
        `difference` (observable, model, learning_rate) of means, model less SGD, its standard error `error` and 95 %
        interval `low`, `high`; `told`, whether that is clear of 0 or narrower than a tenth of `scatter`, one path's
        standard deviation under SGD; `sgd_mean`; `used`, which rates a slope rests on, `slope`, `slope_low`,
        `slope_high`, `decided`, `paths_needed` (observable, model); `svag_difference`, `svag_error` (observable,
        factor), SVAG less the order-1 SDE at the user's rate, and the slope in 1/factor; `paths` (learning_rate).
        attrs["sentence"] says a line for each observable; attrs["left_out"] what could not be run, and why.

    Raises
    ------
    InputError
        For bad input; also when a path is lost at the user's own rate: a mean over what is left would mean nothing.

    Warns
    -----
    InterruptedWarning
        Ctrl-C after the first round: the rounds that were complete are the result.

    References
    ----------
    Li, Tai, E, JMLR 20 (2019) 40; Li, Malladi, Arora, 2102.12470; Talay and Tubaro, Stoch. Anal. Appl. 8 (1990) 483.

    Examples
    --------
    >>> from sde import SGD, compare
    >>> from symbolic import library
    >>> sgd = SGD(learning_rate=0.02, batch_size=16)
    >>> found = compare(library.rescaling(), sgd, {"u": 1.2, "w": 0.6}, 1.0, paths=256)
    >>> found.difference.dims
    ('observable', 'model', 'learning_rate')
    """
    instance("compare", loss, Loss, "needs a Loss", "Build one with symbolic.Loss.")
    require_sgd("compare", sgd)
    refuse_unknown(loss, sgd)
    instance("start", start, Mapping, "must be a mapping {name or symbol: value}", "Write {'u': 1.0}.")
    assign("start", loss.parameters, start, _shared)
    if theory is not None:
        instance("compare.theory", theory, Theory, "must be a Theory", "Give derive(loss), or leave it out.")
    time, seed = SETTINGS["time"].read(time, "compare.time"), SETTINGS["seed"].read(seed)
    threads, observables = SETTINGS["threads"].read(threads), SETTINGS["observables"].read(observables)
    paths = None if paths is None else SETTINGS["paths"].read(paths)
    width, budget = WIDTH("compare.width", width), BUDGET("compare.budget", budget)
    svag, substeps = SVAG("compare.svag", svag), SUBSTEPS("compare.substeps", substeps)
    multiples = _multiples(ladder)
    steps = round(time / sgd.learning_rate)
    if steps < LEAST_STEPS:
        rule = f"must hold at least {LEAST_STEPS} steps of {sgd.learning_rate}"
        raise InputError.of("compare.time", rule, time, "Take a longer time.")
    began = perf_counter()
    asked = {"start": start, "time": time, "ladder": list(multiples), "svag": svag, "paths": paths, "width": width}
    asked |= {"budget": budget, "substeps": substeps, "seed": seed}
    observables = observables or default_observables(loss, theory)
    ends = PathEnds(
        loss,
        sgd,
        observables,
        start=start,
        time=steps * sgd.learning_rate,
        seed=seed,
        substeps=substeps,
        threads=threads,
    )
    race = _Race(ends, steps, multiples, svag)
    with compiling.reporting(progress), phases(f"compare {loss.name}", [("paths", budget)], progress) as shown:
        study, interrupted = race.run(shown, width, budget, paths)
    if interrupted:
        warn("compare: interrupted; the result holds the rounds of paths that were complete.", InterruptedWarning)
    record = provenance.record("compare", loss, sgd, {**asked, "observables": observables})
    own = race.rungs[steps]["sgd"].sample
    attrs = {"interrupted": int(interrupted), "path_steps": race.spent, "left_out": "\n".join(race.left_out)}
    attrs |= {"wall_seconds": perf_counter() - began}
    gain = (own.plain.sem / np.where(own.sample.sem > 0, own.sample.sem, np.inf)) ** 2
    return comparison_result.dataset(study, ends.labels, observables, sgd, record, gain, attrs)


def default_observables(loss: Loss, theory: Theory | None = None) -> dict[str, Any]:
    """The loss's charges, and its mean."""
    found = {c.name: c.expression for c in (theory or derive(loss)).charges} | mean_loss(loss)
    if not found:
        rule = "must be given, as the loss has no charge and no mean in closed form"
        raise InputError.of("compare.observables", rule, None, "Give {name: expression}.")
    return found


def mean_loss(loss: Loss, others: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """{"loss": E l}, where it has a closed form, and no parameter nor one of the others has that name or value."""
    others = others or {}
    try:
        mean = loss.mean
    except InputError:
        return {}
    taken = {p.name for p in loss.parameters} | set(others)
    same = any(not np.shape(value) and getattr(value, "item", lambda v=value: v)() == mean for value in others.values())
    return {} if same or "loss" in taken else {"loss": mean}


def _multiples(ladder: Any) -> tuple[float, ...]:
    """Falling, 1 among them."""
    try:
        found = as_reals(ladder)
    except ValueError:
        found = np.empty(0)
    if found.ndim != 1 or not (found > 0).all() or len(set(found)) != len(found) or 1.0 not in found or len(found) < 3:
        raise InputError.of(
            "compare.ladder", "must be three or more multiples of the learning rate, 1 among them", ladder,
            "Write e.g. (4, 2, 1, 0.5).",
        )  # fmt: skip
    return tuple(sorted(map(float, found), reverse=True))


def _shared(p: Parameter, here: str, value: Any) -> None:
    """Refuse a start for each path."""
    if not hasattr(value, "bind") and np.ndim(value) > len(p.shape):
        rule = "paths are not known in advance, so none has its own start"
        raise InputError.of(here, rule, np.shape(value), "Give a number, or a distribution.")


@dataclass
class _Lane:
    """What is run at one rate, and what it gave. paths: per unit; stream: of path numbers."""

    what: Dynamics
    stream: int
    paths: float
    sample: Controlled
    done: int = 0


class _Race:
    """Rounds of paths of all dynamics at all rates, each rate costing as much."""

    def __init__(self, ends: PathEnds, steps: int, multiples: Sequence[float], svag: int) -> None:
        self.ends, self.steps, self.spent = ends, steps, 0
        self.left_out: list[str] = []
        self.factors = tuple(dict.fromkeys([*(2**k for k in range(1, svag.bit_length()) if 2**k < svag), svag]))
        models = dict(TO_MODELS)
        if ends.no_svag is None:
            models["svag"] = Dynamics("svag", svag)
        else:
            self.left_out.append(f"SVAG: {ends.no_svag}.")
            self.factors = ()
        self.models, self.rungs = models, dict[int, dict[str, _Lane]]()
        for r, multiple in enumerate(multiples):
            count = steps if multiple == 1 else round(steps / multiple)
            if count < LEAST_STEPS or count in self.rungs:
                self.left_out.append(f"{multiple:g} times the rate: {count} steps are too few.")
                continue
            self.rungs[count] = {
                n: self._lane(w, 16 * r + k, count) for k, (n, w) in enumerate(self._at(count).items())
            }

    def _at(self, count: int) -> dict[str, Dynamics]:
        """All that is run at a rate, by name; both SDEs follow one Brownian path."""
        others = {f"svag-{k}": Dynamics("svag", k) for k in self.factors[:-1]} if count == self.steps else {}
        return {"sgd": SGD_ITSELF, "euler": EULER, **self.models, **others}

    def _lane(self, what: Dynamics, stream: int, count: int) -> _Lane:
        scatter = SCATTER[what.kind] if self.ends.windows else 1.0
        share = scatter * (self._cost(SGD_ITSELF, count) / self._cost(what, count)) ** 0.5
        share = min(MOST, max(FEWEST, share))
        return _Lane(what, stream, share * self.steps / count, Controlled.none(len(self.ends.labels)))

    def _cost(self, what: Dynamics, count: int) -> int:
        return what.cost(count, self.ends.substeps) * (1 if what.kind in SDES else self.ends.sgd.batch_size)

    def _unit(self) -> float:
        """Path-steps of all lanes per path at the user's rate."""
        return sum(lane.paths * self._cost(lane.what, n) for n, rung in self.rungs.items() for lane in rung.values())

    def run(self, shown: Phases, width: float, budget: float, paths: int | None) -> tuple[Study, bool]:
        """All rounds; whether they were interrupted after the first."""
        goal = paths or max(FIRST_PATHS, int(budget / FIRST_SHARE / self._unit()))
        done = None
        while True:
            try:
                self._round(shown, goal)
                done = self._study(width, goal)
            except KeyboardInterrupt:
                if done is None:
                    raise
                return done, True
            following = min(2 * goal, goal + int((budget - self.spent) / self._unit()))
            within = done.needed <= goal + (budget - self.spent) / self._unit()
            useful = (~done.decided & within).any() or not done.told.all()
            if paths or not useful or following < WORTHWHILE * goal:
                return done, False
            goal = following

    def _round(self, shown: Phases, goal: int) -> None:
        """Bring every lane to `goal` paths, the largest rates first; rates at which one is lost go."""
        for count in sorted(self.rungs):
            try:
                for lane in self.rungs[count].values():
                    total = max(2, round(lane.paths * goal))
                    weight = 1 if lane.what.kind in SDES else self.ends.sgd.batch_size
                    weight *= 2 if lane.what.kind == "svag" else 1
                    tick = shown.enter("paths", weight)
                    more = self.ends.sample(lane.what, count, lane.stream, lane.done, total - lane.done, tick)
                    self.spent += (total - lane.done) * self._cost(lane.what, count)
                    lane.sample, lane.done = lane.sample.merge(more), total
            except Lost as lost:
                rate = self.ends.time / count
                if count == self.steps:
                    raise InputError(
                        f"compare: no path may be lost at the learning rate itself; got {lost} at {rate:g} (float)."
                        " Take a smaller learning rate, a shorter time, or data with lighter tails."
                    ) from None
                self.left_out.append(f"learning rate {rate:g}: {lost}.")
                del self.rungs[count]

    def _study(self, width: float, goal: int) -> Study:
        rungs = [
            Rung(self.ends.time / n, rung["sgd"].done, _samples(rung), _scatter(rung["sgd"]))
            for n, rung in sorted(self.rungs.items())
        ]
        factors = {1: "sgd"} | {k: f"svag-{k}" for k in self.factors[:-1]} | dict.fromkeys(self.factors[-1:], "svag")
        orders = {name: 2 if name == "order-2" else 1 for name in self.models}
        own = sorted(self.rungs).index(self.steps)
        return weak_errors(rungs, own, orders, factors if self.factors else {}, width, goal)


def _samples(rung: Mapping[str, _Lane]) -> dict[str, Sample]:
    """By name; an SDE's is its difference from its scheme, on few paths, and the scheme's own, on many."""
    found = {name: lane.sample.sample for name, lane in rung.items()}
    return {n: s.plus(found["euler"]) if rung[n].what.kind == "sde" else s for n, s in found.items()}


def _scatter(lane: _Lane) -> np.ndarray:
    plain = lane.sample.plain
    return np.sqrt(plain.m2 / max(plain.count - 1, 1))
