"""Levels that paths of a run cross: where they are dated, where they stop, and how crossings between steps are seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from sde.api import gathered
from sde.engine.hybrid import Hybrid
from sde.settings import Gather
from symbolic.codegen.hybrid_text import Watched, noise_rows
from symbolic.codegen.prepare import in_states
from symbolic.dynamics import jump
from symbolic.dynamics.equation import SDE
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


def impulse_times(problem: Loss | SDE, time: float, began: float = 0.0) -> list[float]:
    """When the state of a run of length `time` from `began` is changed, since its beginning."""
    jumps = problem.jumps if isinstance(problem, SDE) else ()
    return [at - began for j in jumps for at in j.at or () if began <= at <= began + time]


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
