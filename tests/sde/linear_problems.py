"""Linear drifts of more states than Newton's method is written out for: orders of implicit steps that eliminate."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from symbolic import SDE
from tests.sde.problems import HALF, THIRD, Case, t

N = 6
ONLY = ("implicit-euler", "exponential-coupled")
A = sp.symbols(f"a0:{N}", real=True)
PADDED = (sp.S.Zero, *A, sp.S.Zero)


def _case(name: str, drift: Any, diffusion: Any, time: Any = None) -> Case:
    begin = {a: float(v) for a, v in zip(A, np.sin(np.arange(1, N + 1)), strict=True)}
    return Case(SDE(list(A), drift, diffusion, time=time, name=name), begin, steps=16, only=ONLY)


def _diffused(rate: Any) -> list[Any]:
    """Heat along a line whose ends are held at 0."""
    return [rate * (PADDED[i] - 2 * PADDED[i + 1] + PADDED[i + 2]) for i in range(N)]


def _diagonal(strengths: Any) -> list[list[Any]]:
    return sp.diag(*strengths).tolist()


def _full(seed: int) -> list[Any]:
    """Every state pulls at every other, and all are pulled back."""
    entries = np.random.default_rng(seed).integers(-3, 4, (N, N))
    matrix = sp.Matrix(entries.tolist()) / 8 - 2 * sp.eye(N)
    return list(matrix * sp.Matrix(A))


CASES = [
    _case("heat", _diffused(4), _diagonal([HALF] * N)),
    _case("heat-in-proportion", _diffused(HALF), _diagonal(A)),
    _case("heat-under-one-noise", _diffused(2), [[a / 2] for a in A]),
    _case("heat-in-time", _diffused(2 + sp.sin(3 * t)), _diagonal([HALF] * N), t),
    _case("chain", [PADDED[i] - 2 * PADDED[i + 1] for i in range(N)], [[HALF], *[[0]] * (N - 1)]),
    _case("ring", [A[i - 1] - 2 * A[i] + A[(i + 1) % N] - A[i] / 2 for i in range(N)], _diagonal([THIRD] * N)),
    _case("full", _full(1), _diagonal([1 + a / 4 for a in A])),
    _case("full-two-noises", _full(2), [[HALF, a / 4] for a in A]),
    _case("forced", [f + sp.cos(2 * t) for f in _full(3)], [[HALF * (1 + t)] for _ in A], t),
]
LINEAR_SYSTEMS = {case.sde.name: case for case in CASES}
