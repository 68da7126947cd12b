"""Whether an equation of arrays keeps its states at or above 0 where it is said to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from symbolic.arrays.evaluation import evaluate
from symbolic.dynamics.domain import NONNEGATIVE, left
from symbolic.dynamics.step_map import t

if TYPE_CHECKING:
    from symbolic.dynamics.array_equation import ArraySDE

POINTS, TINY = 32, 1e-9


def check(sde: ArraySDE) -> None:
    """Raise InputError where at random states, half of whose entries are 0, an entry that is has noise, or a drift
    below 0 wherever it is looked at."""
    if sde.domain and sde.interpretation != "ito":
        sde.to("ito")
        return
    if not any(d.kind == NONNEGATIVE for d in sde.domain.values()):
        return
    rng = np.random.Generator(np.random.Philox(11))
    at: dict[Any, Any] = {p: rng.exponential(size=POINTS) for p in sde.parameters} | {t: rng.random(POINTS)}
    for s in sde.states:
        at[s] = rng.exponential(size=(POINTS, *s.shape))
        at[s] *= rng.random(at[s].shape) < 0.5 if s in sde.domain else 1
    with np.errstate(all="ignore"):
        forces, strengths = (evaluate(nodes, at, POINTS) for nodes in (sde.forces, sde.strengths))
    for s, f, b in zip(sde.states, forces, strengths, strict=True):
        if s not in sde.domain or sde.domain[s].kind != NONNEGATIVE:
            continue
        zero, drift = at[s] == 0, np.broadcast_to(f, at[s].shape)
        noise = np.abs(np.broadcast_to(b, (POINTS, *b.shape[1:])))
        noise = noise.max(axis=-1) if sde.shared else noise
        if (noise[zero] > TINY).any():
            worst = float(noise[zero & (noise > TINY)].flat[0])
            raise left(s, f"needs noise that vanishes there: where an entry of {s} is 0 its noise is {worst:.3g}")
        below = np.where(zero, drift < -TINY, True).all(axis=0) & zero.any(axis=0)
        if below.any():
            raise left(s, f"needs a drift that does not point below: where an entry of {s} is 0 it is below 0")
