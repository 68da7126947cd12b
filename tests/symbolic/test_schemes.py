"""Schemes as formulas: what they give for general SDEs and for losses, and the pairings they refuse."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest
import sympy as sp

import symbolic.schemes
from symbolic import SDE, Loss, Normal
from symbolic.dynamics.gradient import LossDynamics, weight_decay
from symbolic.dynamics.step_map import StepMap, h, t
from symbolic.schemes import SCHEMES, beta, step_map
from symbolic.schemes.scheme import NO_ORDER, order
from symbolic.schemes.table import OTHERS

X, Y, s, u, w, x, y = sp.symbols("X Y s u w x y", real=True)
LOSS = Loss((u * w * x - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)})


def inlined(step: StepMap) -> list[sp.Expr]:
    out = []
    for e in step.updates:
        for name, value in reversed(step.statements):
            e = e.xreplace({name: value})
        out.append(sp.expand(e))
    return out


def test_euler_maruyama_is_its_formula() -> None:
    step = step_map(SDE([X, Y], [X * Y + s, -Y], [[X, 1], [0, s]], time=s), "euler-maruyama")
    v, z = step.inputs
    expected = [X + (X * Y + t) * h + X * v + z, Y - Y * h + t * z]
    assert all(sp.expand(a - b) == 0 for a, b in zip(step.updates, expected, strict=True))
    assert step.states == (X, Y) and step.parameters == ()


@pytest.mark.parametrize("scheme", ["euler-maruyama", "sgd"])
def test_sgd_and_the_sde_are_the_same_map(scheme: str) -> None:
    """docs/theory.md eq. (6.1): one gradient, driven by two noises."""
    dynamics = LossDynamics(LOSS)
    step = step_map(dynamics, scheme)
    inputs = dict(zip(dynamics.accumulation.terms, step.inputs, strict=True))
    for state, update in zip((u, w), inlined(step), strict=True):
        slope = sp.expand(sp.diff(LOSS.expression, state))
        for monomial, symbol in sorted(inputs.items(), key=lambda item: -sp.count_ops(item[0])):
            slope = slope.subs(monomial, symbol)
        assert sp.expand(update - (state - h * (slope + weight_decay * state))) == 0
    assert step_map(dynamics, "sgd") == step_map(dynamics, "euler-maruyama")


def test_momentum_is_pytorchs() -> None:
    dynamics = LossDynamics(LOSS)
    plain, heavy = inlined(step_map(dynamics, "sgd")), inlined(step_map(dynamics, "sgd-momentum"))
    states = step_map(dynamics, "sgd-momentum").states
    for k, state in enumerate((u, w)):
        gradient = sp.expand((state - plain[k]) / h)
        velocity = beta * states[2 + k] + gradient
        assert sp.expand(heavy[2 + k] - velocity) == 0
        assert sp.expand(heavy[k] - (state - h * velocity)) == 0


@pytest.mark.parametrize(
    ("diffusion", "kind"),
    [
        ([[1, 0], [2, s]], "additive"),
        ([[X], [Y]], "scalar"),
        ([[X, 0], [0, Y**2]], "diagonal"),
        ([[Y, 0], [0, X]], "general"),
        ([[X, Y], [0, 1]], "general"),
    ],
)
def test_noise_class(diffusion: Any, kind: str) -> None:
    assert SDE([X, Y], [0, 0], diffusion, time=s).noise_class == kind


def test_stratonovich_pairing_is_refused_unless_additive() -> None:
    with pytest.raises(
        ValueError,
        match="integrates ito equations; got one written in the stratonovich sense.*Convert the drift with sde.to",
    ):
        step_map(SDE([X], [0], [[X]], interpretation="stratonovich"), "euler-maruyama")
    ito, stratonovich = (
        step_map(SDE([X], [-X], [[2]], interpretation=i), "euler-maruyama") for i in ("ito", "stratonovich")
    )
    assert ito == stratonovich


@pytest.mark.parametrize(
    ("problem", "scheme", "message"),
    [
        (SDE([X], [0], [[1]]), "sgd", "sgd is a minibatch optimiser; got a general SDE"),
        (SDE([X], [0], [[1]]), "sgd-momentum", "minibatch optimiser"),
        (SDE([X], [0], [[1]]), "rk4", "scheme: must be one of euler-maruyama, .*; got 'rk4'"),
    ],
)
def test_wrong_pairings(problem: SDE, scheme: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        step_map(problem, scheme)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SDE([], [], []), "SDE.states: must be distinct symbols"),
        (lambda: SDE([X, X], [0, 0], [[1], [1]]), "SDE.states: must be distinct symbols"),
        (lambda: SDE([X], [0, 1], [[1]]), r"SDE.drift: must have one entry per state \(1\); got 2"),
        (lambda: SDE([X], [0], cast("Any", [1])), "SDE.diffusion: must be rows"),
        (lambda: SDE([X, Y], [0, 0], [[1], [1, 2]]), r"of lengths \[1, 2\]"),
        (lambda: SDE([X], [s * X], [[1]]), r"coefficients may use the states, parameters and time only; got \['s'\]"),
        (lambda: SDE([X], [t * X], [[1]]), "Name time="),
        (lambda: SDE([X], [0], [[1]], interpretation="backward"), "must be 'ito' or 'stratonovich'"),
    ],
)
def test_what_an_sde_refuses(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_every_scheme_names_its_source_and_orders() -> None:
    assert {"euler-maruyama", "sgd", "sgd-momentum"} <= set(SCHEMES)
    for name, scheme in SCHEMES.items():
        assert scheme.name == name and scheme.reference and scheme.strong and scheme.weak
        assert scheme.calculus in ("ito", "stratonovich", "discrete")


def test_every_file_is_a_scheme_of_its_own_name() -> None:
    """All that is in the folder is in the table, once, in an order that does not depend on the folder's."""
    files = {path.stem for path in Path(symbolic.schemes.__file__).parent.glob("*.py")} - {"__init__"}
    assert files >= OTHERS and len(files - OTHERS) == len(SCHEMES)
    assert list(SCHEMES) == sorted(SCHEMES, key=lambda name: (SCHEMES[name].position, name))


def test_an_order_is_a_number_by_noise_class() -> None:
    found = order("1/2", commutative="1", additive="3/2")
    asked = ("general", "commutative", "diagonal", "scalar", "additive")
    assert [found.on(name) for name in asked] == [Fraction(1, 2), 1, 1, 1, Fraction(3, 2)]
    assert str(found) == "1/2; commutative 1; additive 3/2" and str(NO_ORDER) == "-"
