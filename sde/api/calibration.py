"""How often `verify` is wrong: false alarms over true theories, and its power against wrong ones."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.api import provenance
from sde.api.calibration_losses import defaults
from sde.api.calibration_store import Store
from sde.api.experiments import check_setup, experiment_of
from sde.api.placement import placed
from sde.api.verification_runs import Ensembles
from sde.engine import compiling, interruption
from sde.engine.interruption import InterruptedWarning
from sde.engine.progress import Phases, phases
from sde.settings import SETTINGS
from sde.verification.calibration import FAR, Contest, Outcome, binomial_interval, hold, truth_at
from sde.verification.claims import STATEMENTS
from sde.verification.mutations import MUTATIONS
from sde.verification.verdicts import check_alpha
from symbolic.errors import InputError, check, instance, warn
from symbolic.language.calls import called
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

if TYPE_CHECKING:
    import xarray as xr

APART = 2**32
"""Between seeds: a verification takes its runs' seeds from there on."""
NEEDED, OPTIONAL = ("loss", "sgd", "start", "time"), ("paths", "margins", "theory")


@dataclass(frozen=True)
class _Setup:
    """One loss, ready to be verified."""

    loss: Loss
    sgd: SGD
    theory: Theory
    paths: int
    contest: Contest
    identity: str

    def outcome(self, seed: int, threads: int | None, alpha: float, measured: bool) -> Outcome:
        ensembles = Ensembles(self.loss, self.sgd, self.theory, self.paths, seed, threads)
        silent = Phases("", [], lambda text, share, left: None)
        return hold(self.contest, ensembles.simulators(self.contest.truth.names, silent, None), alpha, measured)


@called()
@placed
def calibrate(
    losses: Sequence[Mapping[str, Any]] | None = None,
    *,
    seeds: int = 200,
    seed: int = 0,
    alpha: float = 0.01,
    threads: int | None = None,
    executor: Any = None,
    portable: bool = False,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Measure how often `verify` is wrong: false alarms under the true theory, and its power against wrong ones.

    For every loss and seed all runs are made once; the true theory and every mutation of it are held against them. A
    false alarm is a verification of the true theory in which any claim is refuted; a mutation is caught where any claim
    is. A mutation applies to a loss where its predictions differ from the true ones by 1.75 margins or more, at states
    that SGD visits: without weight decay, say, leaving it out is no mistake.

    Ctrl-C gives what was complete (attribute `interrupted`), with an InterruptedWarning; where nothing was,
    KeyboardInterrupt goes on.

    Parameters
    ----------
    losses
        Arguments of `verify` for each, {"loss": ..., "sgd": ..., "start": ..., "time": ...}, and "paths", "margins",
        "theory" where they are given; left out, five small losses.
    seeds
        Verifications of each loss.
    seed
        The first one.
    alpha
        As of `verify`.
    threads
        As many as there are cores when left out; no number depends on it.
    executor, portable
        As for `simulate`.
    checkpoint
        A file that holds what is complete; a call with the same arguments goes on from it.
    progress
        Show share and time left.

    Returns
    -------
    Dataset
        Over (loss, mutation): caught, seeds, low, high (bounds on the chance, each at 99 %), applicable, distance (in
        margins), caught_by (also over claim). Over (loss, drift_margin): false_alarms. Over loss: supported, hasty
        (claims supported on fewer paths than their margin needs) and seconds.

    Raises
    ------
    InputError
        For bad input, before any run.
    OSError
        For a checkpoint that cannot be written.

    Examples
    --------
    >>> from sde import SGD, calibrate
    >>> from symbolic import library
    >>> setup = {"loss": library.rescaling(), "sgd": SGD(0.02), "start": {"u": 1.2, "w": 0.6}, "time": 0.4, "paths": 20}
    >>> found = calibrate([setup], seeds=1).isel(loss=0)
    >>> int(found.caught.sel(mutation="A's sign")), int(found.false_alarms.sum())
    (1, 0)
    """
    check_alpha(alpha)
    seeds = check.whole("calibrate.seeds", seeds, advice="Give how many verifications of each loss.")
    seed, threads, checkpoint = (
        SETTINGS[name].read(value)
        for name, value in {"seed": seed, "threads": threads, "checkpoint": checkpoint}.items()
    )
    given = defaults() if losses is None else instance("calibrate.losses", losses, (list, tuple), RULE, ADVICE)
    if not given:
        raise InputError(f"calibrate.losses: at least one is needed; got none. {ADVICE}")
    setups = [_setup(one, seed, seeds, alpha) for one in given]
    identity = json.dumps([s.identity for s in setups])
    work = [(k, i) for k in range(seeds) for i in range(len(setups))]
    expected = {(i, k): set(setups[i].contest.theories) for k, i in work}
    store = Store(None if checkpoint is None else Path(checkpoint), identity, expected)
    plan = [(f"{seeds} seeds of {len(setups)} losses", float(len(work)))]
    stopped, asked = False, interruption.count()
    with compiling.reporting(progress), phases("calibrate", plan, progress) as shown:
        tick = shown.enter(plan[0][0])
        tick(len(store.outcomes), held=True)
        try:
            for k, i in [(k, i) for k, i in work if (i, k) not in store.outcomes]:
                began = clock.perf_counter()
                found = setups[i].outcome(seed + k * APART, threads, alpha, k == 0)
                store.add((i, k), found, clock.perf_counter() - began)
                tick(1)
                if interruption.count() > asked:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            if not store.outcomes:
                raise
            stopped = len(store.outcomes) < len(work)
    if stopped:
        done = len(store.outcomes)
        warn(f"calibrate: interrupted; {done} of {len(work)} verifications were complete.", InterruptedWarning)
    record = {"seeds": seeds, "seed": seed, "alpha": alpha, "far": FAR, "interrupted": int(stopped)}
    return _dataset(setups, store, record)


RULE = "must be a list of mappings, arguments of verify"
ADVICE = 'Write [{"loss": loss, "sgd": sgd, "start": {...}, "time": 10.0}].'


def _setup(given: Any, seed: int, seeds: int, alpha: float) -> _Setup:
    instance("calibrate.losses", given, Mapping, RULE, ADVICE)
    wrong = [k for k in given if k not in NEEDED + OPTIONAL] or [k for k in NEEDED if k not in given]
    if wrong:
        keys = ", ".join(NEEDED + OPTIONAL)
        raise InputError.of("calibrate.losses", f"must have the keys of verify ({keys})", wrong[0], ADVICE)
    loss, sgd, start = (given[k] for k in ("loss", "sgd", "start"))
    check_setup(loss, sgd, start, given.get("margins"), given.get("theory"))
    paths = SETTINGS["paths"].read(given.get("paths", 2000))
    time = SETTINGS["time"].read(given["time"], "calibrate.losses: time")
    theory = given.get("theory") or derive(loss)
    truth = experiment_of(loss, sgd, theory, start=start, time=time, seed=seed, margins=given.get("margins"))
    known = {"time": time, "paths": paths, "seed": seed, "seeds": seeds, "alpha": alpha}
    known |= {"start": [loss.unpack(theta) for theta in truth.starts], "margins": asdict(truth.margins)}
    recorded = provenance.record("calibrate", loss, sgd, known)
    parts = [a for c in truth.theory.charges for a in (c.kind, c.A, c.b)] + [m.name for m in MUTATIONS]
    kernels = str(recorded["kernels"])
    return _Setup(loss, sgd, theory, paths, Contest.of(truth), provenance.identity(recorded, *parts, kernels))


def _dataset(setups: Sequence[_Setup], store: Store, record: Mapping[str, Any]) -> xr.Dataset:
    import xarray as xr

    mutations, margins = list(setups[0].contest.mutations), list(dict.fromkeys(m.drift for m in MUTATIONS))
    outcomes = [[o for (i, _), o in sorted(store.outcomes.items()) if i == at] for at in range(len(setups))]
    done = np.array([len(found) for found in outcomes])
    shape = (len(setups), len(mutations))
    caught = np.array([[sum(bool(o.refuted[m]) for o in found) for m in mutations] for found in outcomes])
    distance = np.full(shape, np.nan)
    for i, found in enumerate(outcomes):
        first = next((o.distances for o in found if o.distances), {})
        distance[i] = [first.get(m, np.nan) for m in mutations]
    bounds = np.array(
        [[binomial_interval(int(c), int(n)) for c in row] for row, n in zip(caught.reshape(shape), done, strict=True)]
    )
    claims = list(STATEMENTS)
    by = [[[sum(c in o.refuted[m] for o in found) for c in claims] for m in mutations] for found in outcomes]
    alarms = [[sum(bool(o.refuted[truth_at(d)]) for o in found) for d in margins] for found in outcomes]
    seconds = [sum(s for (i, _), s in store.seconds.items() if i == at) for at in range(len(setups))]
    both = ("loss", "mutation")
    return xr.Dataset(
        {
            "caught": (both, caught.reshape(shape)),
            "seeds": (both, np.repeat(done[:, None], len(mutations), axis=1)),
            "low": (both, bounds[..., 0]),
            "high": (both, bounds[..., 1]),
            "applicable": (both, distance >= FAR),
            "distance": (both, distance),
            "caught_by": ((*both, "claim"), np.array(by).reshape(*shape, len(claims))),
            "false_alarms": (("loss", "drift_margin"), np.array(alarms)),
            "supported": ("loss", [sum(o.supported for o in found) for found in outcomes]),
            "hasty": ("loss", [sum(o.hasty for o in found) for found in outcomes]),
            "seconds": ("loss", seconds),
        },
        {
            "loss": [s.loss.name for s in setups],
            "mutation": mutations,
            "claim": claims,
            "drift_margin": ["its own" if d is None else f"{d:g}" for d in margins],
        },
        dict(record),
    )
