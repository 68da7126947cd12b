"""The mean drift of charges, measured by very many single steps from states that SGD visits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sde.verification import claims
from sde.verification.setting import Findings, Margins, Memory, Setting, Simulators
from sde.verification.theory_numbers import Theory

STATES, BATCH, MOST = 512, 131_072, 2_097_152
"""Mean drift: how many states it is measured at, single steps per run, and how many steps at the most."""
FINE = 4
"""The SDE's step is the learning rate over this."""


def drifts(
    found: Findings, theory: Theory, setting: Setting, simulators: Simulators, pool: np.ndarray, margins: Margins
) -> None:
    """Mean drift of SGD and of the SDE, by many single steps from states that SGD visited: half of them at random, half
    where the theory predicts most. The number of steps follows from the scatter, not from the outcome."""
    moving = [j for j, c in enumerate(theory.charges) if c.kind != "frozen"]
    if not moving:
        return
    rng = np.random.default_rng(13)
    pool = pool[rng.permutation(len(pool))[: 4 * STATES]]
    change, size = theory.step_change(pool, setting.learning_rate, setting.variance)
    strength = np.abs(change[:, moving] / np.maximum(size[:, moving], 1e-300)).max(axis=1)
    chosen = np.concatenate([np.arange(STATES // 2), STATES // 2 + np.argsort(-strength[STATES // 2 :])[: STATES // 2]])
    states = pool[chosen[chosen < len(pool)]]
    dt = setting.learning_rate / FINE
    kinds: list[tuple[str, float, float, Callable[[np.ndarray, int], np.ndarray]]] = []
    if setting.plain:
        kinds.append(("SGD", setting.learning_rate, setting.variance, simulators.one_sgd))
    one_sde = simulators.one_sde
    if one_sde is not None:
        kinds.append(("SDE", dt * setting.speed, setting.temperature / dt, lambda x, seed: one_sde(x, seed, dt)))
    for who, h, variance, step in kinds:
        change, size = theory.step_change(states, h, variance)
        memory = simulators.memory(f"drift-{who}", (states, change, size, np.array([margins.drift, *moving])))
        mean, spread, repeats = _measure(theory, states, step, change, size, moving, margins.drift, memory)
        found.claims += [
            claims.mean_drift(
                theory.charges[j],
                change[:, j],
                size[:, j],
                mean[:, j],
                spread[:, j],
                repeats * len(states),
                who,
                margins.drift,
            )
            for j in moving
        ]


def _measure(
    theory: Theory,
    states: np.ndarray,
    step: Callable[[np.ndarray, int], np.ndarray],
    change: np.ndarray,
    size: np.ndarray,
    moving: Sequence[int],
    margin: float,
    memory: Memory | None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean measured change of every charge at every state, the variance of that mean, and the steps taken from each
    state. memory: of the sums so far."""
    n, each = len(states), max(1, BATCH // len(states))
    before = np.array([c.value(states) for c in theory.charges]).T
    total, squares, repeats, kept = np.zeros_like(before), np.zeros_like(before), 0, memory.load() if memory else {}
    if kept:
        total, squares, repeats = kept["total"], kept["squares"], int(kept["repeats"])
    while True:
        if not kept:
            after = step(np.repeat(states, each, axis=0), repeats)
            moved = np.array([c.value(after) for c in theory.charges]).T.reshape(n, each, -1) - before[:, None, :]
            total, squares, repeats = total + moved.sum(axis=1), squares + (moved**2).sum(axis=1), repeats + each
            if memory:
                memory.save({"total": total, "squares": squares, "repeats": np.array(repeats)})
        kept = {}
        mean = total / repeats
        spread = np.maximum(squares / repeats - mean**2, 0.0) / max(repeats - 1, 1)
        unit = np.maximum(size[:, moving], 1e-150)
        p = change[:, moving] / unit
        weight = np.maximum((p**2).sum(axis=0), 1e-150)
        error = np.sqrt((p**2 * spread[:, moving] / unit**2).sum(axis=0)) / weight
        if (error < margin / 8).all() or repeats * n >= MOST:
            return mean, spread, repeats
