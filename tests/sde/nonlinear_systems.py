"""Nonlinear drifts of more states than Newton's method is written out for: orders of implicit steps whose turns are a
loop of the text."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from symbolic import SDE
from tests.sde.problems import HALF, THIRD, Case, t

N = 5
C = sp.symbols(f"c0:{N}", real=True)
BELOW, ABOVE = (*C[:1], *C[:-1]), (*C[1:], *C[-1:])
"""The neighbours of each along a line; an end is its own."""


def _case(name: str, drift: Any, diffusion: Any, time: Any = None, **more: Any) -> Case:
    begin = {c: float(v) for c, v in zip(C, np.cos(np.arange(1, N + 1)), strict=True)}
    sde = SDE(list(C), [sp.sympify(f) for f in drift], diffusion, time=time, name=name)
    return Case(sde, more.pop("start", begin), steps=16, only=("implicit-euler",), **more)


def _along(rate: Any, reaction: Any) -> list[Any]:
    """Heat along a line that nothing leaves, and a reaction at each place."""
    return [rate * (a - 2 * c + b) + reaction(c) for a, c, b in zip(BELOW, C, ABOVE, strict=True)]


def _diagonal(strengths: Any) -> list[list[Any]]:
    return sp.diag(*strengths).tolist()


CASES = [
    _case("phases", _along(2, lambda c: 2 * (c - c**3)), _diagonal([HALF] * N)),
    _case("phases-in-proportion", _along(1, lambda c: c - c**3), _diagonal([c / 3 for c in C])),
    _case("phases-under-one-noise", _along(1, lambda c: 2 - c**3), [[HALF + c / 4] for c in C]),
    _case("phases-in-time", _along(1 + sp.sin(2 * t) / 2, lambda c: sp.cos(3 * t) - c**3), _diagonal([THIRD] * N), t),
    _case(
        "fronts",
        _along(1, lambda c: 2 * c * (1 - c)),
        _diagonal([c * (1 - c) / 2 for c in C]),
        start={c: (i + 1) / (N + 1) for i, c in enumerate(C)},
    ),
    _case(
        "pendula",
        [sum(sp.sin(b - a) for b in C) / 2 - sp.sin(a) / 2 for a in C],
        _diagonal([HALF] * N),
        functional=sum(sp.cos(c) for c in C),
    ),
    _case(
        "weather",
        [(C[(i + 1) % N] - C[i - 2]) * C[i - 1] / 2 - C[i] + 1 for i in range(N)],
        _diagonal([THIRD] * N),
    ),
    _case(
        "springs",
        [C[1], -(C[0] ** 3) - C[1] + C[2] - C[0], C[3], -(C[2] ** 3) - C[3] + C[0] - C[2], C[0] ** 2 - C[4] ** 3],
        [[0, 0], [HALF, 0], [0, 0], [0, HALF], [THIRD, THIRD]],
    ),
    _case(
        "two-noises",
        _along(HALF, lambda c: -sp.tanh(2 * c)),
        [[HALF * sp.cos(c), c / 4] for c in C],
    ),
]
NONLINEAR_SYSTEMS = {case.sde.name: case for case in CASES}
