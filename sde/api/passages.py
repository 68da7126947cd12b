"""Levels that paths of a run cross: where they are dated, where they stop, and how crossings between steps are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from sde.api import gathered
from sde.engine.hybrid import Hybrid
from sde.settings import Gather
from symbolic.codegen.hybrid_text import Watched, noise_rows
from symbolic.codegen.prepare import in_states
from symbolic.dynamics import jump
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.path_functionals import functionals
from symbolic.errors import InputError, nearest
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.schemes import Scheme

BRIDGE, STEPS = "bridge", "steps"


@dataclass(frozen=True)
class Passages:
    """What is watched, as formulas and as the engine's tables; crossings: "bridge" or "steps"."""

    watched: Watched
    hybrid: Hybrid
    crossings: str


def passages(
    problem: Loss | SDE, sgd: SGD | None, gather: Gather, chosen: Scheme, discrete: bool = False
) -> Passages | None:
    """What a run watches with clocks of each path's own; None where it asks for no more than events that are looked
    at after steps. discrete: steps are all there is. Raises InputError."""
    stops, events = _stops(gather), dict(gather.events or {})
    how = _crossings(problem, gather, chosen, discrete)
    jumps = problem.jumps if isinstance(problem, SDE) else ()
    if not jumps and not stops and (not events or how == STEPS):
        return None
    _refuse(problem, chosen, "stop" if stops else "jumps" if jumps else "crossings")
    levels: dict[sp.Expr, int] = {}
    placed: list[tuple[int, bool]] = []
    for name, condition in events.items():
        excess = in_states(f"events[{name}]", gathered.excess_of(condition), problem)
        placed.append((levels.setdefault(excess, len(levels)), name in stops))
    ends = tuple(any(level == k and stop for level, stop in placed) for k in range(len(levels)))
    noise = _noise(problem, sgd) if how == BRIDGE else None
    changes, rates, clocks, resets, impulses = [], list[sp.Expr](), list[int](), dict[int, int](), list[Any]()
    for k, j in enumerate(jumps):
        where = f"jumps[{k}]"
        changes.append({s: in_states(where, e, problem, j.drawn).xreplace(j.drawn) for s, e in j.changes.items()})
        if j.rate is not None:
            rates.append(sp.Max(in_states(where, j.rate, problem), 0))
            clocks.append(k + 1)
        elif j.when is not None:
            excess = in_states(where, jump.excess(j.when), problem)
            level = levels.setdefault(excess, len(levels))
            if level in resets:
                raise InputError.of(where, "a condition may change the state in one way", j.when, "Join the changes.")
            resets[level] = k + 1
        impulses += [(time, k + 1) for time in j.at or ()]
    hybrid = Hybrid(
        events=tuple(placed),
        ends=tuple(k < len(ends) and ends[k] for k in range(len(levels))),
        resets=tuple(resets.get(k, 0) for k in range(len(levels))),
        clocks=tuple(clocks),
        sizes=tuple(tuple(j.kinds) for j in jumps),
        impulses=tuple(sorted(impulses)),
    )
    sizes = tuple(s for j in jumps for s in j.base)
    return Passages(Watched(tuple(levels), noise, tuple(rates), tuple(changes), sizes), hybrid, how)


def check_alone(watch: Passages | None, observables: Any, began: float, own: Sequence[str]) -> None:
    """Raise InputError for what clocks of each path's own do not know: another beginning, parameters of each path."""
    if not began and not own:
        return
    named = [e for v in (observables or {}).values() for e in np.ravel(v) if isinstance(e, sp.Basic)]
    if watch is not None or functionals(named):
        where, got = ("start_time", began) if began else ("parameters", list(own))
        rule = "is not for runs with stops, crossings between steps, jumps, running(...) or integral(...)"
        raise InputError.of(where, rule, got, 'Leave it out; for events alone, crossings="steps" will do.')


def impulse_times(problem: Loss | SDE, time: float) -> list[float]:
    """Times within a run at which its state is changed."""
    jumps = problem.jumps if isinstance(problem, SDE) else ()
    return [at for j in jumps for at in j.at or () if at <= time]


def _stops(gather: Gather) -> tuple[str, ...]:
    """Names of the events at which paths stop."""
    known, stop = list(gather.events or {}), gather.stop
    if stop is None:
        return ()
    if not known:
        raise InputError.of("stop", "needs events to stop at", stop, 'Write events={"hit": X - 1}, stop="first".')
    if stop == "first":
        return tuple(known)
    if isinstance(stop, str) or not all(isinstance(name, str) for name in stop) or not stop:
        raise InputError.of("stop", 'must be "first" or a list of events', stop, f"Write stop={known[:1]}.")
    for name in stop:
        if name not in known:
            raise InputError.of("stop", "must name events", name, nearest(name, known))
    return tuple(stop)


def _crossings(problem: Loss | SDE, gather: Gather, chosen: Scheme, discrete: bool) -> str:
    """How crossings are seen. Raises InputError where that cannot be had."""
    lacking = (
        "discrete SGD is not there between its steps"
        if discrete
        else "equations of arrays are looked at after steps"
        if isinstance(problem, SDE) and problem.arrays
        else f"{chosen.name} has other steps on each path"
        if chosen.own_clock
        else ""
    )
    if gather.crossings == BRIDGE and lacking:
        raise InputError.of("crossings", lacking, BRIDGE, "Leave it out.")
    if gather.crossings is not None:
        return str(gather.crossings)
    return STEPS if lacking or isinstance(problem, Loss) else BRIDGE


def _refuse(problem: Loss | SDE, chosen: Scheme, where: str) -> None:
    if isinstance(problem, SDE) and problem.arrays:
        advice = "Write its states as symbols, or leave it out."
        raise InputError.of(where, "equations of arrays run to their end", problem.name, advice)
    if chosen.own_clock:
        advice = "Use euler-maruyama or milstein."
        raise InputError.of(where, "a scheme whose steps follow each path runs to its end", chosen.name, advice)


def _noise(problem: Loss | SDE, sgd: SGD | None) -> dict[sp.Symbol, list[sp.Expr]]:
    """Rows of the diffusion by state, the Brownian motions' own among them."""
    if isinstance(problem, Loss):
        assert sgd is not None
        problem = SDE.from_loss(problem, sgd)
    return noise_rows(problem)
