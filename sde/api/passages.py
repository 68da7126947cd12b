"""Levels that paths of a run cross: where they are dated, where they stop, and how crossings between steps are seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from sde.engine.hybrid import Hybrid
from sde.settings import Gather
from symbolic.arrays.adjoint import gradient
from symbolic.arrays.building import mapped
from symbolic.arrays.expression import Array, Past, broadcast, constant
from symbolic.arrays.extremes import concave as concave_array
from symbolic.codegen.array_hybrid import WatchedArrays
from symbolic.codegen.hybrid_text import Watched
from symbolic.codegen.prepare import in_states
from symbolic.dynamics import array_jump
from symbolic.dynamics.array_equation import ArraySDE
from symbolic.dynamics.bridge_points import Noise, noise_of
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.extremes import concave, slope
from symbolic.dynamics.jump import Jump
from symbolic.errors import InputError, nearest
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.schemes import Scheme, walls

BRIDGE, STEPS = "bridge", "steps"


@dataclass(frozen=True)
class Passages:
    """What is watched, as formulas and as the engine's tables; crossings: "bridge", "steps", or "bridge; steps: "
    and the names of the events and jumps that are looked at after steps."""

    watched: Watched | WatchedArrays
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
    _refuse(chosen, "stop" if stops else "jumps" if jumps else "crossings")
    read = _Reading(problem)
    levels: dict[Any, int] = {}
    placed: list[tuple[int, bool]] = []
    for name, condition in events.items():
        excess = read.single(f"events[{name}]", array_jump.excess(condition))
        placed.append((levels.setdefault(excess, len(levels)), name in stops))
    ends = tuple(any(level == k and stop for level, stop in placed) for k in range(len(levels)))
    changes, rates, clocks, resets, impulses = list[Any](), list[Any](), list[int](), dict[int, int](), list[Any]()
    for k, j in enumerate(jumps):
        where = f"jumps[{k}]"
        changes.append(read.changes(where, j))
        if j.rate is not None:
            rates.append(read.clipped(where, j.rate))
            clocks.append(k + 1)
        elif j.when is not None:
            excess = read.single(where, array_jump.excess(j.when))
            level = levels.setdefault(excess, len(levels))
            if level in resets:
                raise InputError.of(where, "a condition may change the state in one way", j.when, "Join the changes.")
            resets[level] = k + 1
        impulses += [(time, k + 1) for time in j.at or ()]
    bridged = tuple(how == BRIDGE and bool(gather.crossings or _has_bridge(problem, level)) for level in levels)
    if levels and not any(bridged):
        how = STEPS
        if not jumps and not stops:
            return None
    hybrid = Hybrid(
        events=tuple(placed),
        bridged=bridged,
        ends=tuple(k < len(ends) and ends[k] for k in range(len(levels))),
        resets=tuple(resets.get(k, 0) for k in range(len(levels))),
        stays=tuple(k in resets and _stays(level, changes[resets[k] - 1]) for k, level in enumerate(levels)),
        clocks=tuple(clocks),
        sizes=tuple(tuple(j.kinds) for j in jumps),
        impulses=tuple(sorted(impulses)),
    )
    found = tuple(levels), tuple(rates), tuple(changes)
    if isinstance(problem, ArraySDE):
        sizes = array_jump.size_rows(jumps)
        acting = tuple(end or reset > 0 for end, reset in zip(hybrid.ends, hybrid.resets, strict=True))
        watched: Watched | WatchedArrays = WatchedArrays(found[0], acting, bridged, *found[1:], sizes)
    else:
        noise = _noise(problem, sgd, chosen) if how == BRIDGE else None
        watched = Watched(found[0], noise, bridged, *found[1:], tuple(s for j in jumps for s in j.base))
    blind = [name for (level, _), name in zip(placed, events, strict=True) if not bridged[level]]
    blind += [f"jumps[{k - 1}]" for k, seen in zip(hybrid.resets, bridged, strict=True) if k and not seen]
    return Passages(watched, hybrid, how if how == STEPS or not blind else f"{BRIDGE}; {STEPS}: {', '.join(blind)}")


@dataclass(frozen=True)
class _Reading:
    """A problem's expressions in the time of a run, of symbols or of arrays. All raise InputError."""

    problem: Loss | SDE

    def single(self, where: str, value: Any) -> Any:
        """One expression."""
        if isinstance(self.problem, ArraySDE):
            return array_jump.single(self.problem, where, value)
        return in_states(where, value, self.problem)

    def clipped(self, where: str, rate: Any) -> Any:
        """A rate, that of all entries together, 0 where it is negative; where it is no number it stays none."""
        if isinstance(self.problem, ArraySDE):
            return array_jump.rates(self.problem, where, rate).sum()
        found = self.single(where, rate)
        return sp.Piecewise((0, found < 0), (found, True))

    def changes(self, where: str, j: Jump) -> dict[Any, Any]:
        """What states become, within their domains, of base variables of the sizes."""
        assert isinstance(self.problem, SDE)
        if isinstance(self.problem, ArraySDE):
            f, made = walls.ARRAYS, array_jump.changes(self.problem, where, j)
        else:
            f = walls.SCALARS
            made = {s: in_states(where, e, self.problem, j.drawn).xreplace(j.drawn) for s, e in j.changes.items()}
        kept = self.problem.domain
        return {s: walls.landed(s, e, kept[s], f) if s in kept else e for s, e in made.items()}


def _stays(level: Any, change: Mapping[Any, Any]) -> bool:
    """Whether an excess has nothing in it that a change writes."""
    read = level.reads if isinstance(level, Array) else level.free_symbols
    return not read & change.keys()


def _has_bridge(problem: Loss | SDE, level: Any) -> bool:
    """Whether the variance of a level is a formula without jumps, and it does not ask for several entries of an extreme
    at once: the bridge of the one that is the extreme would not see the others."""
    if isinstance(problem, ArraySDE):
        (here,) = mapped([level], lambda n: broadcast(constant(0.0), n.shape) if isinstance(n, Past) else None)
        try:
            gradient(here)
        except InputError:
            return False
        return not concave_array(level, problem.noisy)
    assert isinstance(problem, SDE)
    moving = noise_of(problem).moving
    jumps = any(slope(level, s).has(sp.DiracDelta) for s in moving & level.free_symbols)
    return not jumps and not concave(level, moving)


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
        else f"{chosen.name} has other steps on each path"
        if chosen.own_clock
        else ""
    )
    if gather.crossings == BRIDGE and lacking:
        raise InputError.of("crossings", lacking, BRIDGE, "Leave it out.")
    if gather.crossings is not None:
        return str(gather.crossings)
    return STEPS if lacking or isinstance(problem, Loss) else BRIDGE


def _refuse(chosen: Scheme, where: str) -> None:
    if chosen.own_clock:
        advice = "Use euler-maruyama or milstein."
        raise InputError.of(where, "a scheme whose steps follow each path runs to its end", chosen.name, advice)


def _noise(problem: Loss | SDE, sgd: SGD | None, chosen: Scheme) -> Noise:
    """That of a problem under a scheme."""
    if isinstance(problem, Loss):
        assert sgd is not None
        problem = SDE.from_loss(problem, sgd)
    return noise_of(problem, chosen.name)
