"""Problems on which orders are measured: every noise class, most with their solution in closed form (Kloeden and Platen
1992, section 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sympy as sp

from symbolic import SDE

X, Y, Z, t = sp.symbols("X Y Z t", real=True)
HALF, THIRD = sp.Rational(1, 2), sp.Rational(1, 3)


@dataclass(frozen=True)
class Case:
    """An SDE in Ito's sense, where it begins, and its solution (x0, t, W) -> states, if it has one in W(t) alone.

    steps: of the longest step. functional: for the weak order, the sum of squares when left out. special: {(kind,
    scheme): order} where the problem's form makes a scheme better than it claims; None where two terms of different
    order are of one size.
    """

    sde: SDE
    start: dict[Any, float]
    exact: Callable[..., list[sp.Expr]] | None = None
    steps: int = 8
    time: float = 1.0
    functional: Any = None
    special: dict[tuple[str, str], float | None] = field(default_factory=dict)
    only: tuple[str, ...] = ()


PATH_ONLY: dict[tuple[str, str], float | None] = {
    ("strong", name): 2.0 for name in ("sra1", "sriw1", "platen-weak-2", "heun")
}
"""Additive noise whose solution is a function of t and W(t): the integral of W drops out of the error, which is a
quadrature's."""
LINEAR: dict[tuple[str, str], float | None] = {("weak", "sriw1"): 2.0}
"""A linear diffusion, for which SRIW1's defect vanishes (see `symbolic.schemes.sri`)."""
EXACT = float("inf")
SOLVED: dict[tuple[str, str], float | None] = {(kind, "orbit-splitting"): EXACT for kind in ("strong", "weak")}
ADDITIVE = ("sra1", "implicit-euler")
HELD: dict[tuple[str, str], float | None] = {("strong", "orbit-splitting"): 1.0}
"""Rates that no noise changes: what is left out of a step is of order dt^(3/2)."""


def _gbm() -> Case:
    mu, sigma = sp.Rational(3, 4), HALF
    return Case(
        SDE([X], [mu * X], [[sigma * X]], name="gbm"),
        {X: 1.0},
        lambda x, t, W: [x[0] * sp.exp((mu - sigma**2 / 2) * t + sigma * W[0])],
        special=LINEAR | SOLVED,
    )


def _tan() -> Case:
    a = sp.Rational(1, 8)
    return Case(
        SDE([X], [a**2 * X * (1 + X**2)], [[a * (1 + X**2)]], name="tan"),
        {X: 0.3},
        lambda x, t, W: [sp.tan(a * W[0] + sp.atan(x[0]))],
    )


def _atan() -> Case:
    a = HALF
    return Case(
        SDE([X], [-(a**2) * sp.sin(X) * sp.cos(X) ** 3], [[a * sp.cos(X) ** 2]], name="atan"),
        {X: 0.8},
        lambda x, t, W: [sp.atan(a * W[0] + sp.tan(x[0]))],
    )


def _sinh() -> Case:
    a, b = HALF, sp.Rational(3, 4)
    root = sp.sqrt(1 + X**2)
    return Case(
        SDE([X], [b * root + a**2 * X / 2], [[a * root]], name="sinh"),
        {X: 0.5},
        lambda x, t, W: [sp.sinh(b * t + a * W[0] + sp.asinh(x[0]))],
        special={("weak", "sriw1"): None},
    )


def _cubic() -> Case:
    a = HALF
    return Case(
        SDE([X], [a**2 * X**THIRD / 3], [[a * X ** (2 * THIRD)]], name="cubic"),
        {X: 8.0},
        lambda x, t, W: [(x[0] ** THIRD + a * W[0] / 3) ** 3],
    )


def _wave() -> Case:
    a, b = HALF, sp.Rational(2, 5)

    def exact(x: Any, t: Any, W: Any) -> list[sp.Expr]:
        growth = (1 + x[0]) * sp.exp(-2 * a * t + 2 * b * W[0])
        return [(growth + x[0] - 1) / (growth + 1 - x[0])]

    return Case(SDE([X], [-(a + b**2 * X) * (1 - X**2)], [[b * (1 - X**2)]], name="wave"), {X: 0.5}, exact)


def _circle() -> Case:
    a = sp.Rational(3, 4)

    def exact(x: Any, t: Any, W: Any) -> list[sp.Expr]:
        c, s, g = sp.cos(a * W[0]), sp.sin(a * W[0]), sp.exp(t / 2)
        return [g * (c * x[0] - s * x[1]), g * (s * x[0] + c * x[1])]

    return Case(
        SDE([X, Y], [X / 2 - a**2 * X / 2, Y / 2 - a**2 * Y / 2], [[-a * Y], [a * X]], name="circle"),
        {X: 1.0, Y: 0.5},
        exact,
        special=LINEAR,
    )


def _time_multiplicative() -> Case:
    a = HALF
    return Case(
        SDE([X], [X / (1 + t)], [[a * X / (1 + t)]], time=t, name="time-multiplicative"),
        {X: 1.0},
        special=LINEAR | HELD,
    )


def _additive_decay() -> Case:
    a, b = HALF, sp.Integer(1)
    root = sp.sqrt(1 + t)
    return Case(
        SDE([X], [b / root - X / (2 * (1 + t))], [[a * b / root]], time=t, name="additive-decay"),
        {X: 1.0},
        lambda x, t, W: [(x[0] + b * (t + a * W[0])) / sp.sqrt(1 + t)],
        special=PATH_ONLY,
    )


def _additive_growth() -> Case:
    a = HALF
    return Case(
        SDE([X], [2 * X / (1 + t) + a * (1 + t) ** 2], [[a * (1 + t) ** 2]], time=t, name="additive-growth"),
        {X: 1.0},
        lambda x, t, W: [(1 + t) ** 2 * (x[0] + a * (W[0] + t))],
        special=PATH_ONLY,
    )


def _ornstein_uhlenbeck() -> Case:
    """Linear: the terms of order 3/2, which hold the drift's second derivative, are 0."""
    special: dict[tuple[str, str], float | None] = {("strong", "sra1"): 2.0, ("strong", "sriw1"): 2.0}
    return Case(SDE([X], [-2 * X], [[1]], name="ornstein-uhlenbeck"), {X: 1.5}, steps=16, special=special)


def _double_well() -> Case:
    return Case(SDE([X], [X - X**3], [[HALF]], name="double-well"), {X: 0.5}, steps=16)


def _pendulum() -> Case:
    return Case(
        SDE([X, Y], [Y, -2 * sp.sin(X) - Y / 2], [[1, 0], [HALF, 1]], name="additive-pendulum"),
        {X: 1.0, Y: 0.0},
        steps=16,
    )


def _nerve() -> Case:
    """FitzHugh's and Nagumo's, one noise a state."""
    return Case(
        SDE([X, Y], [X - X**3 / 3 - Y, (X + HALF - Y) / 2], [[HALF, 0], [0, THIRD]], name="nerve"),
        {X: 0.5, Y: 0.0},
        steps=16,
        only=ADDITIVE,
    )


def _particle() -> Case:
    """With friction, in the potential x^4/4: noise in the velocity alone, in which the drift is linear, so that the
    terms of order 3/2 are 0."""
    return Case(
        SDE([X, Y], [Y, -(X**3) - Y], [[0], [1]], name="particle"),
        {X: 1.0, Y: 0.0},
        steps=16,
        functional=X**2,
        special={("strong", "sra1"): 2.0},
        only=ADDITIVE,
    )


def _driven() -> Case:
    return Case(
        SDE([X], [sp.sin(X) - X + sp.cos(2 * t)], [[1 / (1 + t)]], time=t, name="driven"),
        {X: 1.0},
        steps=16,
        only=ADDITIVE,
    )


def _diagonal() -> Case:
    """Two of the waves side by side."""
    one, two = _gbm(), _atan()
    other = {X: Y}
    f = [one.sde.drift_vector[0], two.sde.drift_vector.xreplace(other)[0]]
    b = [[one.sde.diffusion_matrix[0], 0], [0, two.sde.diffusion_matrix.xreplace(other)[0]]]

    def exact(x: Any, t: Any, W: Any) -> list[sp.Expr]:
        assert one.exact is not None and two.exact is not None
        return [*one.exact(x[:1], t, W[:1]), *two.exact(x[1:], t, W[1:])]

    return Case(SDE([X, Y], f, b, name="diagonal"), {X: 1.0, Y: 0.8}, exact, special={("weak", "sriw1"): None})


def _predators() -> Case:
    """Diagonal noise, the states coupled by the drift."""
    a = sp.Rational(1, 4)
    return Case(
        SDE([X, Y], [X * (1 - Y), Y * (X - 1)], [[a * X, 0], [0, a * Y]], name="lotka-volterra"),
        {X: 1.5, Y: 0.75},
        steps=16,
        special=LINEAR | HELD,
    )


def _cox_ingersoll_ross() -> Case:
    return Case(
        SDE([X], [2 * (1 - X)], [[sp.sqrt(X) / 2]], name="cox-ingersoll-ross"),
        {X: 1.5},
        steps=16,
        special={("weak", "sriw1"): None},
    )


def _commuting() -> Case:
    """Scaling and rotation, two noises that commute."""
    a, b = sp.Rational(2, 5), sp.Rational(3, 5)

    def exact(x: Any, t: Any, W: Any) -> list[sp.Expr]:
        c, s, g = sp.cos(b * W[1]), sp.sin(b * W[1]), sp.exp(t / 2 + a * W[0])
        return [g * (c * x[0] - s * x[1]), g * (s * x[0] + c * x[1])]

    rate = HALF + (a**2 - b**2) / 2
    return Case(
        SDE([X, Y], [rate * X, rate * Y], [[a * X, -b * Y], [a * Y, b * X]], name="commuting"), {X: 1.0, Y: 0.5}, exact
    )


def _two_factors() -> Case:
    a, b = sp.Rational(1, 3), sp.Rational(1, 2)
    return Case(
        SDE([X], [X / 2], [[a * X, b * X]], name="two-factors"),
        {X: 1.0},
        lambda x, t, W: [x[0] * sp.exp((HALF - (a**2 + b**2) / 2) * t + a * W[0] + b * W[1])],
        special=SOLVED,
    )


def _non_commuting() -> Case:
    """A linear system whose noise matrices do not commute."""
    return Case(
        SDE([X, Y], [X / 2, -Y / 2], [[0, 3 * Y / 4], [3 * X / 4, 0]], name="non-commuting"),
        {X: 1.0, Y: 1.0},
    )


def _heisenberg() -> Case:
    """The Levy area itself, read by a drift."""
    return Case(SDE([X, Y, Z], [-X, -Y, X + Z], [[1, 0], [0, 1], [-Y, X]], name="heisenberg"), {X: 0.0, Y: 1.0, Z: 1.0})


CASES: dict[str, Case] = {
    case.sde.name: case
    for case in (
        make()
        for make in (
            _gbm,
            _tan,
            _atan,
            _sinh,
            _cubic,
            _wave,
            _circle,
            _time_multiplicative,
            _additive_decay,
            _additive_growth,
            _ornstein_uhlenbeck,
            _double_well,
            _pendulum,
            _nerve,
            _particle,
            _driven,
            _diagonal,
            _predators,
            _cox_ingersoll_ross,
            _commuting,
            _two_factors,
            _non_commuting,
            _heisenberg,
        )
    )
}
