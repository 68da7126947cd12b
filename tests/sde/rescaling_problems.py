"""Problems whose states, or pairs of them, are only rescaled: those that orbit splitting is for."""

from __future__ import annotations

from typing import Any

import sympy as sp

from symbolic import SDE
from tests.sde.problems import HALF, HELD, LINEAR, SOLVED, THIRD, Case, X, Y, t

U, V = sp.symbols("U V", real=True)
SPLITTING = ("orbit-splitting",)
"""Where one path in some 10^4 explodes under any other scheme at the longer steps."""


def pair(q: Any, r: Any, u: sp.Symbol = X, w: sp.Symbol = Y) -> list[Any]:
    """What moves (u, w) along q (w, u) + r (u, w)."""
    return [q * w + r * u, q * u + r * w]


def columns(*moves: list[Any]) -> list[list[Any]]:
    return [list(row) for row in zip(*moves, strict=True)]


def _logistic() -> Case:
    a, c = HALF, sp.Rational(3, 4)
    grown = X * (1 - X)

    def exact(x: Any, t: Any, W: Any) -> list[sp.Expr]:
        odds = x[0] / (1 - x[0]) * sp.exp(c * t + a * W[0])
        return [odds / (1 + odds)]

    return Case(SDE([X], [c * grown + a**2 * grown * (1 - 2 * X) / 2], [[a * grown]], name="logistic"), {X: 0.3}, exact)


def _ginzburg_landau() -> Case:
    return Case(
        SDE([X], [X - X**3], [[HALF * X]], name="ginzburg-landau"),
        {X: 0.5},
        steps=16,
        special=HELD | LINEAR,
    )


def _square() -> Case:
    """SGD on (u^2 x - y)^2, in moderation."""
    return Case(
        SDE([X], [X * (1 - X**2)], [[X * (1 - X**2) / 2]], name="square"),
        {X: 0.8},
        steps=16,
        special={("weak", "sriw1"): None},
    )


def _constant_rates() -> Case:
    """Sum and difference are geometric Brownian motions of the same two noises."""
    (q0, q1, q2), (r0, r1, r2) = (
        (HALF, sp.Rational(2, 5), -sp.Rational(1, 4)),
        (-sp.Rational(1, 5), 0, sp.Rational(1, 3)),
    )

    def exact(x: Any, t: Any, W: Any) -> list[sp.Expr]:
        p, m = (
            (x[0] + s * x[1])
            * sp.exp((r0 + s * q0) * t + sum((r + s * q) * w - (r + s * q) ** 2 * t / 2 for q, r, w in noises(W)))
            for s in (1, -1)
        )
        return [(p + m) / 2, (p - m) / 2]

    def noises(W: Any) -> list[tuple[Any, Any, Any]]:
        return [(q1, r1, W[0]), (q2, r2, W[1])]

    return Case(
        SDE([X, Y], pair(q0, r0), columns(pair(q1, r1), pair(q2, r2)), name="pair-constant"),
        {X: 1.0, Y: 0.4},
        exact,
        special=SOLVED,
    )


def _pair_logistic() -> Case:
    """Along its orbit: the sum p is logistic, and p m stays (in Stratonovich's sense, so that Ito's drift has a part
    along (u, w))."""
    a, c = HALF, HALF
    p = X + Y
    noise = a * (1 - p)

    def exact(x: Any, t: Any, W: Any) -> list[sp.Expr]:
        p, m = x[0] + x[1], x[0] - x[1]
        odds = p / (1 - p) * sp.exp(c * t + a * W[0])
        end = odds / (1 + odds)
        return [(end + p * m / end) / 2, (end - p * m / end) / 2]

    return Case(
        SDE(
            [X, Y],
            pair(c * (1 - p) - a**2 * p * (1 - p) / 2, noise**2 / 2),
            columns(pair(noise, 0)),
            name="pair-logistic",
        ),
        {X: 0.3, Y: 0.1},
        exact,
    )


def _rescaling() -> Case:
    """SGD on (u w x - y)^2 with weight decay, in moderation."""
    v = X * Y
    return Case(
        SDE(
            [X, Y],
            pair(1 - v, -sp.Rational(1, 10)),
            columns(pair(sp.Rational(1, 4), 0), pair((1 - v) / 3, 0)),
            name="rescaling",
        ),
        {X: 1.0, Y: 0.5},
        steps=16,
        only=SPLITTING,
    )


def _scheduled() -> Case:
    v, s = X * Y, 1 / (1 + t)
    return Case(
        SDE([X, Y], pair(s * (1 - v), -s / 5), columns(pair(s * (2 - v) / 3, 0)), time=t, name="rescaling-scheduled"),
        {X: 1.0, Y: -0.4},
        steps=16,
        only=SPLITTING,
    )


def _two_pairs() -> Case:
    """(u_1 w_1 x_1 + u_2 w_2 x_2 - y)^2: the pairs drive each other."""
    a, b = X * Y, U * V
    joined = [*pair(THIRD * (1 - b), 0), 0, 0], [*pair((1 - a) / 4, 0), *pair(-a / 4, 0, U, V)]
    return Case(
        SDE(
            [X, Y, U, V],
            [*pair(1 - a - b / 2, 0), *pair(HALF - a / 2 - b, 0, U, V)],
            columns(*joined),
            name="two-pairs",
        ),
        {X: 0.9, Y: 0.6, U: 0.7, V: -0.3},
        steps=16,
        only=SPLITTING,
    )


def _hyperbolic() -> Case:
    """((u^2 - v^2) x - y)^2: every state is rescaled by itself, oppositely."""
    q = 1 - X**2 + Y**2
    return Case(
        SDE([X, Y], [q * X, -q * Y], [[-q * X / 2], [q * Y / 2]], name="diagonal-network"),
        {X: 0.8, Y: 0.4},
        steps=16,
    )


def _saturated() -> Case:
    """A function of u w that is no polynomial."""
    h = sp.tanh(X * Y)
    return Case(
        SDE([X, Y], pair((1 - h) * (1 - h**2), 0), columns(pair((1 - h**2) / 2, 0)), name="saturated"),
        {X: 1.2, Y: 0.6},
        steps=16,
    )


RESCALING: dict[str, Case] = {
    case.sde.name: case
    for case in (
        make()
        for make in (
            _logistic,
            _ginzburg_landau,
            _square,
            _constant_rates,
            _pair_logistic,
            _rescaling,
            _scheduled,
            _two_pairs,
            _hyperbolic,
            _saturated,
        )
    )
}
