"""Problems on which orders of schemes that keep a domain are measured: square-root diffusions and what they drive, and
states that are rescaled; away from 0, where coefficients are smooth."""

from __future__ import annotations

from typing import Any

import sympy as sp

from symbolic import SDE
from tests.sde.problems import HALF, THIRD, Case, X, Y, t

POSITIVE = "nonnegative"
MILSTEIN: dict[tuple[str, str], float | None] = {
    ("strong", "quadratic-exponential"): 1.0,
    ("weak", "quadratic-exponential"): None,
}
"""Square-root diffusions alone: a (b + Z)^2 holds Milstein's term, and two moments are exact: no weak error shows."""
FIRST: dict[tuple[str, str], float | None] = {("strong", "quadratic-exponential"): 1.0}
"""Nothing else has noise that depends on states."""
STEADY: dict[tuple[str, str], float | None] = {("strong", "log-euler"): 1.0}
"""Logarithms whose noise is additive."""


def _case(name: str, states: Any, drift: Any, diffusion: Any, start: Any, kept: Any = None, **more: Any) -> Case:
    domain = dict.fromkeys(states if kept is None else kept, POSITIVE)
    more.setdefault("special", STEADY)
    clock = t if any(sp.sympify(f).has(t) for f in drift) else None
    return Case(SDE(states, drift, diffusion, time=clock, name=name, domain=domain), start, steps=16, **more)


def _roots() -> list[Case]:
    r, q = sp.sqrt(X), sp.sqrt(Y)
    return [
        _case("root", [X], [2 * (1 - X)], [[r / 2]], {X: 1.5}, special=MILSTEIN, functional=X**3),
        _case("root-slow", [X], [1 - X / 2], [[r * 3 / 5]], {X: 2.0}, special=MILSTEIN, functional=X**3),
        _case("root-growing", [X], [1 + X / 2], [[r / 2]], {X: 1.0}, special=MILSTEIN, functional=sp.exp(-X)),
        _case("root-in-time", [X], [2 + sp.sin(t) - X], [[r / 2]], {X: 1.5}, special=FIRST),
        _case("roots-two-noises", [X], [2 - X], [[r / 4, r / 3]], {X: 1.5}, special=FIRST),
        _case("roots-correlated", [X, Y], [2 - X, 1 + X / 2 - Y], [[r / 3, 0], [q / 4, q / 3]], {X: 1.0, Y: 1.5}),
        _case("root-integrated", [X, Y], [2 * (1 - X), X], [[r / 2], [0]], {X: 1.5, Y: 0.0}, [X], special=FIRST),
        _case("leverage", [X, Y], [0, 2 * (1 - Y)], [[X * q / 2, 0], [-q / 4, q / 3]], {X: 1.0, Y: 1.0}),
        _case("leverage-free", [X, Y], [0, 2 * (1 - Y)], [[X * q / 2, 0], [-q / 4, q / 3]], {X: 1.0, Y: 1.0}, [Y]),
        _case(
            "root-driving", [X, Y], [2 - X, X - Y], [[r / 3, 0], [THIRD, HALF]], {X: 1.5, Y: 0.5}, [X], special=FIRST
        ),
    ]


def _rescaled() -> list[Case]:
    return [
        _case("logistic", [X], [X * (1 - X)], [[X / 4]], {X: 1.5}),
        _case("cubic-growth", [X], [X * (1 - X**2)], [[X / 4]], {X: 0.5}),
        _case("saturated-noise", [X], [X * (1 - X / 2)], [[X / (1 + X)]], {X: 1.0}, special={}),
        _case("growth-in-time", [X], [X * (1 + sp.sin(3 * t) - X)], [[X / 4]], {X: 1.0}),
        _case("two-risks", [X], [X * (1 - X)], [[X / 4, X**2 / 5]], {X: 1.0}, special={}),
        _case(
            "competition",
            [X, Y],
            [X * (1 - X - Y / 2), Y * (1 - Y)],
            [[X / 4, X / 5], [0, Y / 3]],
            {X: 1.0, Y: 0.5},
            special=STEADY,
        ),
        _case(
            "infection", [X, Y], [-2 * X * Y, 2 * X * Y - Y], [[-X * Y / 2], [X * Y / 2]], {X: 1.0, Y: 0.5}, special={}
        ),
        _case("food", [X, Y], [X * (1 - X), X - Y], [[X / 4, 0], [0, THIRD]], {X: 1.5, Y: 0.5}, [X]),
        _case(
            "predation", [X, Y], [X * (1 - Y), Y * (X - 1)], [[X / 4, 0], [0, Y / 4]], {X: 1.5, Y: 0.75}, special=STEADY
        ),
    ]


DOMAINS: dict[str, Case] = {case.sde.name: case for case in [*_roots(), *_rescaled()]}
