"""Platen's explicit scheme of weak order 2 for any noise (Kloeden and Platen 1992, eq. 15.1.3), its dW normal."""

from typing import Any

import sympy as sp

from symbolic.schemes.scheme import Scheme, order


def auxiliary(sde: Any) -> int:
    """One sign for every pair of noises."""
    return sde.noises * (sde.noises - 1) // 2


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, auxiliary: Any, let: Any) -> Any:
    root, pairs = sp.sqrt(dt), list(range(len(dW)))
    a, b = let(sde.drift(x, t)), let(sde.diffusion(x, t))
    out = x + (a + sde.drift(let(x + a * dt + b * dW), t + dt)) * dt / 2
    signs = iter(auxiliary)
    V = sp.zeros(len(pairs), len(pairs))
    for j in pairs:
        for r in range(j):
            V[j, r] = let(sp.sign(next(signs)) * dt)
            V[r, j] = -V[j, r]
    for r in pairs:
        ahead, behind = let(x + a * dt + b[:, r] * root), let(x + a * dt - b[:, r] * root)
        plus, minus = sde.diffusion(ahead, t + dt)[:, r], sde.diffusion(behind, t + dt)[:, r]
        plus, minus = let(plus), let(minus)
        out += (plus + minus + 2 * b[:, r]) * dW[r] / 4 + (plus - minus) * (dW[r] ** 2 - dt) / (4 * root)
        if len(pairs) > 1:
            up, down = let(sde.diffusion(let(x + b[:, r] * root), t)), let(sde.diffusion(let(x - b[:, r] * root), t))
            for j in pairs:
                if j != r:
                    out += (up[:, j] + down[:, j] - 2 * b[:, j]) * dW[j] / 4
                    out += (up[:, j] - down[:, j]) * (dW[j] * dW[r] + V[r, j]) / (4 * root)
    return out


SCHEME = Scheme(
    name="platen-weak-2",
    calculus="ito",
    noise="general",
    strong=order("1/2", commutative="1"),
    weak=order("2"),
    reference="Kloeden & Platen 1992, eq. 15.1.3",
    suits="statistics, any noise; no derivatives",
    step=step,
    arrays="diagonal",
    auxiliary=auxiliary,
    position=9,
)
