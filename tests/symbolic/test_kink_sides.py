"""Kinks that random points seldom or never cross: what holds on one side of them alone is no symmetry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import Bernoulli, Dataset, Loss, Normal, Uniform, derive, parameters
from symbolic.evaluation.intervals import Intervals
from symbolic.evaluation.kink_sides import kink_arguments, reached
from symbolic.functions.activations import gelu, relu
from symbolic.library import LIBRARY
from symbolic.symmetry.known_actions import known_actions
from symbolic.symmetry.law_count import law_count
from tests.symbolic import losses
from tests.symbolic.losses import u, w, x, y

a, b, v, m = sp.symbols("a b v m", real=True)
p = sp.Symbol("p", positive=True)
GAUSS: dict[Any, Any] = {x: Normal(0, 1), y: Normal(0, 1)}
ROWS = {x: np.array([-1, 0.5, 1, 2, 3.0]), y: np.array([0.0, 1, 2, 3, 4])}
TINY = sp.Rational(1, 1000)
NORM = parameters(n=(3,))
INPUTS = parameters(z=(3,))


def squared(f: sp.Expr, *more: sp.Expr, of: list[sp.Symbol], data: Any = None) -> Loss:
    """(f - y)^2 and more."""
    return Loss(sp.Add((f - y) ** 2, *more), of, GAUSS if data is None else data)


def clipped(z: sp.Expr, low: float, high: float) -> sp.Expr:
    return sp.Min(sp.Max(z, low), high)


def relu6_network(threshold: int) -> Loss:
    return losses.network([2, 3, 1], lambda z: sp.Min(relu(z), threshold), bias=True)


NONE: dict[str, Callable[[], Loss]] = {
    "ReLU6 on rows": lambda: squared(a * sp.Min(relu(w * x + b), 6), of=[w, b, a], data=Dataset(ROWS)),
    "ReLU6": lambda: squared(v * sp.Min(relu(u * x), 6), of=[u, v]),
    "ReLU6 network": lambda: relu6_network(6),
    "penalty beyond 5": lambda: squared(u * v * x, relu(sp.Abs(u) - 5) ** 2, of=[u, v]),
    "penalty beyond 8": lambda: squared(u * v * x, relu(sp.Abs(u) - 8) ** 2, of=[u, v]),
    "unit that seldom opens": lambda: squared(v * relu(u * x - 8), of=[u, v]),
    "branch in the data": lambda: Loss(
        sp.Piecewise(((u * v * x - y) ** 2, x < 3), ((u * x - y) ** 2, True)), [u, v], GAUSS
    ),
    "weight clipped at 10": lambda: squared(clipped(u, -10, 10) * w * x, of=[u, w]),
    "clip at 20": lambda: squared(sp.Min(relu(u * x), 20) * w, of=[u, w]),
    "saturated GELU": lambda: squared(
        a * gelu(u * x) + b * sp.Abs(a * x), of=[a, b, u], data={x: Normal(0, 10000), y: Normal(0, 1)}
    ),
    # further ones
    "unit that never opens by chance": lambda: squared(v * relu(u * x - 1000), of=[u, v]),
    "penalty beyond 1000": lambda: squared(u * v * x, relu(sp.Abs(u) - 1000) ** 2, of=[u, v]),
    "two weights large together": lambda: squared(
        u * v * x, relu(sp.Abs(u) - 20) * relu(sp.Abs(v) - 20) * u, of=[u, v]
    ),
    "product beyond 100": lambda: squared(u * v * x, relu(u * w - 100) * u, w**2, of=[u, v, w]),
    "small weight": lambda: squared(u * v * x, u * relu(TINY - sp.Abs(u)), of=[u, v]),
    "two small weights": lambda: squared(u * v * x, u * relu(TINY - sp.Abs(u) - sp.Abs(v)), of=[u, v]),
    "small disc": lambda: squared(u * v * x, relu(sp.Rational(1, 100) - (u - 3) ** 2 - (v - 2) ** 2), of=[u, v]),
    "narrow stretch": lambda: squared(v * clipped(u * x, 6, 6 + TINY), of=[u, v]),
    "kink in an exponential": lambda: squared(u * v * x, relu(sp.exp(-u * x) - 1000), of=[u, v]),
    "saturation of tanh": lambda: squared(u * v * x, u * relu(sp.tanh(u * x) - 1 + TINY**2), of=[u, v]),
    "sum of many": lambda: squared(u * v * x, u * relu(u + v + w - x - 500), of=[u, v, w]),
    "kink beside a bit": lambda: squared(
        v * sp.Min(relu(u * x * m), 30), of=[u, v], data=GAUSS | {m: Bernoulli(sp.Rational(1, 2))}
    ),
    "branch of positive data": lambda: Loss(
        sp.Piecewise(((u * v * p - y) ** 2, p < 30), ((u * p - y) ** 2, True)),
        [u, v],
        Dataset({p: [1.0, 2, 3], y: [0.0, 1, 2]}),
    ),
    "norm held above 1e-12": lambda: squared(
        NORM.dot(INPUTS) / sp.Max(sp.sqrt(NORM.dot(NORM)), sp.Rational(1, 10**12)),
        of=[NORM],
        data={INPUTS: Normal(0, 1), y: Normal(0, 1)},
    ),
    "GELU of a large constant": lambda: squared(a * gelu(1000 * u * x), of=[a, u]),
    "tanh of data of large scale": lambda: squared(
        a * sp.tanh(u * x) + b * sp.Abs(w * x - a), of=[a, b, u, w], data={x: Normal(0, 10**6), y: Normal(0, 1)}
    ),
}
"""Losses without a charge, each of which has one where random points of usual size fall."""
SOME: dict[str, tuple[Callable[[], Loss], sp.Expr]] = {
    "clipped product": (lambda: squared(a * clipped(u * v * x, -30, 30), of=[a, u, v]), u**2 - v**2),
    "Huber": (
        lambda: Loss(
            sp.Piecewise(
                ((u * v * x - y) ** 2 / 2, sp.Abs(u * v * x - y) < 100),
                (100 * (sp.Abs(u * v * x - y) - 50), True),
            ),
            [u, v],
            GAUSS,
        ),
        u**2 - v**2,
    ),
    "penalty of the product": (lambda: squared(u * v * x, relu(u * v - 1000) ** 3, of=[u, v]), u**2 - v**2),
    "side that bounds exclude": (
        lambda: Loss(
            sp.Piecewise(((u * v * x - y) ** 2, x < 3), ((u * x - y) ** 2, True)),
            [u, v],
            {x: Uniform(-1, 1), y: Normal(0, 1)},
        ),
        u**2 - v**2,
    ),
    "side that signs exclude": (
        lambda: Loss(
            (u * v * p - y) ** 2 + u * relu(-p - w**2) + w**2,
            [u, v, w],
            Dataset({p: [1.0, 2, 3], y: [0.0, 1, 2]}),
        ),
        u**2 - v**2,
    ),
    "side that a range excludes": (lambda: squared(u * v * x, u * relu(sp.tanh(u * x) - 2), of=[u, v]), u**2 - v**2),
}


@pytest.mark.parametrize("name", NONE)
def test_what_holds_on_usual_sides_alone_is_no_charge(name: str) -> None:
    theory = derive(NONE[name]())
    assert (theory.charges, theory.certificate.status) == ((), "proved")


@pytest.mark.parametrize("name", SOME)
def test_what_holds_on_all_sides_stays(name: str) -> None:
    theory = derive(SOME[name][0]())
    assert [c.expression for c in theory.charges] == [SOME[name][1]]
    assert theory.certificate.status in ("proved", "numerical")
    assert theory.complete or name == "side that signs exclude"


def test_gradient_flow_moves_what_was_called_a_charge() -> None:
    """w^2 + b^2 - a^2 of one ReLU6 unit on five rows."""
    X, Y, theta, step = ROWS[x], ROWS[y], np.array([4, 2, 0.3]), 1e-3
    begin = theta @ (theta * [1, 1, -1])
    for _ in range(5000):
        z = theta[0] * X + theta[1]
        h, on, r = np.clip(z, 0, 6), (z > 0) & (z < 6), 2 * (theta[2] * np.clip(z, 0, 6) - Y) / 5
        theta = theta - step * np.array([(r * theta[2] * on * X).sum(), (r * theta[2] * on).sum(), (r * h).sum()])
    assert abs(theta @ (theta * [1, 1, -1]) - begin) > 0.1


@pytest.mark.parametrize(
    ("argument", "missing"),
    [(sp.sqrt(u**2 + 1) - sp.Abs(u) - 2, 1), (sp.sin(u * x) + sp.cos(u * x) - sp.Rational(3, 2), 1)],
)
def test_a_side_neither_reached_nor_excluded_is_named(argument: sp.Expr, missing: int) -> None:
    """Nothing beyond what holds on both sides is claimed, and nothing is called complete."""
    theory = derive(squared(u * v * x, u * relu(argument), of=[u, v]))
    assert reached(theory.loss).missing == (f"{argument} > 0",)
    assert (theory.charges, theory.complete, theory.certificate.status) == ((), None, "partial")
    assert f"{argument} > 0" in theory.certificate.reason


def test_points_have_the_sides_that_they_are_kept_for() -> None:
    """3 units with two kinks each: 27 patterns, all of them."""
    loss = relu6_network(6)
    found, arguments = reached(loss), kink_arguments(loss.expression)
    assert found.sides.shape == (6, 27)
    symbols = (*loss.theta, *loss.z)
    values = sp.lambdify(symbols, [e.replace(relu, lambda t: sp.Max(t, 0)) for e in arguments], "numpy")(*found.points)
    columns = {tuple(column) for column in (np.array(values) > 0).T}
    assert len(columns) == 27


def test_intervals_exclude_only_what_cannot_be() -> None:
    inside = Intervals({x: (0.0, 1.0), u: (-np.inf, np.inf)})
    for e, side in ((x - 2, 1), (x + u**2, 0), (sp.exp(u) + 1, 0), (sp.tanh(u) - 1, 1), (1 / (1 + u**2) - 1, 1)):
        assert inside.excludes(e, side) and not inside.excludes(e, 1 - side), e
    for e in (x - sp.Rational(1, 2), u * x, sp.sqrt(x) - sp.Rational(1, 2), u**3, 1 / u):
        assert not inside.excludes(e, 0) and not inside.excludes(e, 1), e


def test_laws_count_on_sides_that_are_seldom_met() -> None:
    """Without the hint that there are no charges."""
    for name in ("ReLU6", "penalty beyond 8", "clip at 20", "branch in the data", "unit that never opens by chance"):
        assert law_count(NONE[name](), 0) == 0, name


def test_known_actions_hold_on_sides_that_are_seldom_met() -> None:
    assert known_actions(losses.network([2, 3, 1], lambda z: sp.Min(relu(z), 50), bias=True)) == []
    assert len(known_actions(losses.relu_net([2, 3, 1], bias=True))) == 3


def test_library_losses_have_no_side_out_of_reach() -> None:
    for name, entry in LIBRARY.items():
        assert reached(entry.build()).missing == (), name
