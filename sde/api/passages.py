"""Levels that paths of a run cross: where they are dated, where they stop, and how crossings between steps are seen."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from sde.api import gathered
from sde.engine.hybrid import Hybrid
from sde.settings import Gather
from symbolic.codegen.hybrid_text import Watched
from symbolic.codegen.prepare import in_states
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
    if not stops and (not events or how == STEPS):
        return None
    _refuse(problem, chosen, "stop" if stops else "crossings")
    levels: dict[sp.Expr, int] = {}
    placed: list[tuple[int, bool]] = []
    for name, condition in events.items():
        excess = in_states(f"events[{name}]", gathered.excess_of(condition), problem)
        placed.append((levels.setdefault(excess, len(levels)), name in stops))
    ends = tuple(any(level == k and stop for level, stop in placed) for k in range(len(levels)))
    noise = _noise(problem, sgd) if how == BRIDGE else None
    hybrid = Hybrid(events=tuple(placed), ends=ends, resets=(0,) * len(levels))
    return Passages(Watched(tuple(levels), noise), hybrid, how)


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
    b = problem.diffusion_matrix
    rows = {s: list(b.row(i)) for i, s in enumerate(problem.states)}
    unit = sp.eye(problem.noises)
    return rows | {w: list(unit.row(j)) for j, w in enumerate(problem.W)}
