"""Noise that is nearly, or wholly, on one side of a charge: small initialisations, factors of 0, other scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import SGD, Dataset, Loss, Normal, derive, parameters
from symbolic.display import at_point, point_record
from symbolic.functions.activations import relu
from symbolic.library import LIBRARY
from symbolic.predictions.label_noise import label_noise
from symbolic.theory import Theory
from tests.symbolic.losses import u, w, x, y

e, f, p, q, v = sp.symbols("e f p q v", real=True)
UNIT, HALF = Normal(0, 1), Normal(0, sp.Rational(1, 2))
RATE = SGD(0.1)
REFUSED = "the loss's gradients must be finite at theta, and so the squares of both"


def rescaling() -> Theory:
    """(uwx - x - e)^2, minimal where uw = 1, of noise 4 ((uw - 1)^2 Var x^2 + 1/4) (w, u)(w, u)^T."""
    return derive(Loss((u * w * x - x - e) ** 2, [u, w], {x: UNIT, e: HALF}))


def lora(rank: int) -> Loss:
    """|(W_0 + B A) x - e|^2 with 2 outputs and 4 inputs."""
    b, a, z, noise = parameters(B=(2, rank), A=(rank, 4), x=(4,), e=(2,))
    r = (sp.Matrix([[1, 2, 0, 1], [0, 1, 3, 1]]) + b @ a) @ z - noise
    return Loss(r.dot(r), {"B": b, "A": a}, {z: UNIT, noise: UNIT})


# far from balance


@pytest.mark.parametrize(
    "at", [(1e-3, 1e3), (1e-9, 1e9), (1.0, 1e-6), (1.0, 1e-4), (-1e-12, 7.0), (2e-7, -3e-1), (1e-30, 1.0)], ids=str
)
def test_any_factor_between_the_sides_has_a_finite_equilibrium(at: tuple[float, float]) -> None:
    """lambda* = ln(w^2/u^2)/4, C = 0, S = 2 (u^2 + w^2) = 4 |uw| there, one by one, jointly and in the record. docs/
    theory.md eq. (4.5)."""
    theory, (a, b) = rescaling(), at
    for found in (theory.equilibrium({u: a, w: b}, RATE), theory.equilibrium(np.array(at), RATE)):
        assert found[0].classification == "convergent"
        assert found[0].lambda_star == pytest.approx(np.log(b**2 / a**2) / 4, rel=1e-12)
        assert found[0].theta == pytest.approx(np.sign(at) * np.sqrt(abs(a * b)), rel=1e-10)
        assert found[0].value == 0
        assert found.joint is not None and found.joint.converged
        assert found.joint.theta == pytest.approx(found[0].theta, rel=1e-8)
        assert found.joint.rates == pytest.approx([found[0].rate], rel=1e-8)
        assert found[0].rate == pytest.approx(0.1 * 4 * (2 * (a * b - 1) ** 2 + 0.25), rel=1e-9)
    sharp = theory.sharpness({u: a, w: b}, RATE)
    assert sharp.value_star == pytest.approx(4 * abs(a * b), rel=1e-9)
    assert sharp.charges[0].value_star == sharp.value_star
    assert (sharp.verdict, sharp.charges[0].verdict) == ("flattens", "flattens")
    assert "at infinity" not in str(sharp)
    record = point_record(theory, {u: a, w: b}, RATE)["charges"][0]
    assert record["class"] == "convergent" and record["equilibrium"]["value"] == 0
    assert record["drift"] == pytest.approx(theory.charges[0].drift_at(np.array(at), RATE))
    assert record["drift"] != 0


def test_chain_far_from_balance_meets_in_the_middle() -> None:
    theory = derive(Loss((u * v * w * x - x - e) ** 2, [u, v, w], {x: UNIT, e: HALF}))
    at = {u: 1e-6, v: 1e6, w: 1}
    found, sharp = theory.equilibrium(at, RATE), theory.sharpness(at, RATE)
    assert [c.classification for c in found.charges] == ["convergent", "convergent"]
    assert found.joint is not None and found.joint.converged
    assert found.joint.theta == pytest.approx([1, 1, 1])
    assert sharp.value_star == pytest.approx(6)


@pytest.mark.parametrize("factor", [1, 6, 12])
def test_a_unit_of_weak_noise_is_no_unit_without(factor: int) -> None:
    """Two products side by side, the second's loss times 10^-factor: both balance, and each at its own rate."""
    weak = sp.Rational(1, 10**factor)
    first, second = (u * w * x - x - e) ** 2, (p * q * y - y - f) ** 2
    theory = derive(Loss(first + weak * second, [u, w, p, q], {x: UNIT, e: HALF, y: UNIT, f: HALF}))
    at = {u: 2, w: 0.5, p: 2, q: 0.5}
    found, sharp = theory.equilibrium(at, RATE), theory.sharpness(at, RATE)
    assert [c.classification for c in found.charges] == ["convergent", "convergent"]
    assert [c.rate for c in found.charges] == pytest.approx([0.1, 0.1 * 10.0 ** (-2 * factor)])
    assert found.joint is not None and found.joint.converged
    assert found.joint.theta == pytest.approx(np.ones(4))
    assert found.joint.rates == pytest.approx([0.1 * 10.0 ** (-2 * factor), 0.1])
    assert [c.verdict for c in sharp.charges] == ["flattens", "flattens"]
    assert all(c["drift"] < 0 for c in point_record(theory, at, RATE)["charges"])


@pytest.mark.parametrize("scale", [1e-4, 1e-8])
def test_class_at_generic_points_knows_no_weak_noise_from_none(scale: float) -> None:
    """Rows of a data set, where the class is found by numbers: a column may be in any unit."""
    rng = np.random.default_rng(2)
    rows = Dataset({x: rng.normal(size=9), y: scale * rng.normal(size=9), e: rng.normal(size=9)})
    theory = derive(Loss((w * relu(u * x) + q * relu(p * y) - e) ** 2, [u, w, p, q], rows))
    assert [c.classification for c in theory.charges] == ["convergent", "convergent"]


@pytest.mark.parametrize("size", [1e-9, 1e-12])
def test_lora_begun_near_zero_converges(size: float) -> None:
    """B of any size but 0: every balance is finite, and the joint one is that of the closed form."""
    theory = derive(lora(1))
    at = {"B": [[size], [2 * size]], "A": [[30, 15, -9, 24]]}
    found, sharp = theory.equilibrium(at, SGD(0.01)), theory.sharpness(at, SGD(0.01))
    assert found[0].classification == "convergent" and np.isfinite(found[0].lambda_star)
    assert found[0].theta is not None and found.joint is not None and found.joint.converged
    assert found.joint.theta == pytest.approx(found[0].theta, rel=1e-8)
    assert theory.charges[0].drift_at(found[0].theta, SGD(1.0)) == pytest.approx(
        0, abs=1e-9 * float(np.trace(theory.sigma(found[0].theta)))
    )
    assert 0 < sharp.value_star < 1e-4 * sharp.value


# one side alone: C settles where what grows is 0


@pytest.mark.parametrize(
    ("expression", "at", "side", "limit"),
    [
        ((u * w * x - x - e) ** 2, {u: 0, w: 30}, np.inf, 0),
        ((u * w * x - x - e) ** 2, {u: 1, w: 0}, -np.inf, 0),
        (((u + 1) * (w - 2) * x - e) ** 2, {u: -1, w: 5}, np.inf, 3),
        (((u + 1) * (w - 2) * x - e) ** 2, {u: 1e-3, w: 2}, -np.inf, 3),
        ((w * relu(u * x) - e) ** 2, {u: 2, w: 0}, -np.inf, 0),
        ((u / sp.sqrt(u**2 + w**2) * x - e) ** 2, {u: 1e-4, w: 2}, np.inf, np.inf),
    ],
    ids=str,
)
def test_charges_settle_where_the_growing_side_is_zero(
    expression: sp.Expr, at: dict[sp.Symbol, float], side: float, limit: float
) -> None:
    """C is followed along the orbit: e^{lambda a} 0 = 0. u^2 - w^2 = -w^2 -> 0 from u = 0. docs/theory.md eq.
    (4.10)."""
    theory = derive(Loss(expression, [u, w], {x: UNIT, e: HALF}))
    (found,) = theory.equilibrium(at, RATE).charges
    assert (found.classification, found.lambda_star, found.theta, found.rate) == ("divergent", side, None, 0)
    assert found.value == pytest.approx(limit, abs=0)
    # the orbit itself, far out
    charge, spaces = theory.charges[0], theory.charges[0].spaces
    start = theory.loss.pack(at)
    for far in (20.0, 21.0):
        lam = np.sign(side) * far / spaces.fastest
        fixed = -charge.b / np.where(np.diag(charge.A) == 0, 1.0, np.diag(charge.A))
        there = fixed + np.exp(lam * np.diag(charge.A)) * (start - fixed)
        assert charge.value(there) == pytest.approx(limit, abs=1e-6) or charge.value(there) > 1e6
    text = at_point(theory, at, RATE)
    assert ("without end" in text) == np.isinf(limit)
    assert np.isinf(limit) or f"alone it tends to {limit}" in text
    assert ("without end" in found.reason) == np.isinf(limit)
    assert np.isfinite(limit) or theory.sharpness(at, RATE).value_star in (0, np.inf)


@pytest.mark.parametrize("rank", [1, 2])
def test_lora_begun_at_zero(rank: int) -> None:
    """B = 0: |B|^2 - |A|^2 <= 0 on the whole orbit, of limit 0, and the sharpness dies with it."""
    theory = derive(lora(rank))
    at = {"B": np.zeros((2, rank)), "A": [[30, 15, -9, 24], [1, 2, 3, 4]][:rank]}
    found = theory.equilibrium(at, SGD(0.01))
    alone = [c for c in found.charges if c.classification == "divergent"]
    assert len(alone) == rank
    assert all((c.value, abs(c.lambda_star)) == (0, np.inf) for c in alone)
    assert found.joint is not None and not found.joint.converged
    assert theory.sharpness(at, SGD(0.01)).value_star == 0


def test_decay_on_the_empty_side_leads_to_zero_too() -> None:
    found = rescaling().equilibrium({u: 0, w: 30}, SGD(0.1, weight_decay=0.1))[0]
    assert (found.lambda_star, found.value) == (np.inf, 0)
    assert "without end" not in found.reason
    held = rescaling().equilibrium({u: 1e-3, w: 1e3}, SGD(0.1, weight_decay=0.1))[0]
    assert held.theta == pytest.approx([1, 1])


def test_small_norms_leave_no_residue() -> None:
    text = at_point(derive(LIBRARY["rescaling"].build()), {"u": 1, "w": 0}, RATE)
    assert text.endswith("alone it tends to 0")


# frozen


@pytest.mark.parametrize("at", [(1 / 3, 3), (1e-3 / 7, 7e3), (0.1, 10), (1e8 / 3, 3e-8)], ids=str)
def test_noise_that_is_rounding_is_none(at: tuple[float, float]) -> None:
    """(uwx - x)^2 where uw = 1 to the last bit but one: neither noise nor drift."""
    theory = derive(Loss((u * w * x - x) ** 2, [u, w], {x: UNIT}))
    found, sharp = theory.equilibrium(at, RATE), theory.sharpness(np.array(at), RATE)
    assert (found[0].classification, found[0].lambda_star, found[0].drift, found.joint) == ("frozen", 0, 0, None)
    assert (sharp.rate, sharp.verdict, sharp.charges[0].verdict) == (0, "neutral", "neutral")
    assert theory.charges[0].drift_at(np.array(at), RATE) == 0
    assert theory.charges[0].sides(at) == (0, 0)


@pytest.mark.parametrize("off", [1e-4, 1e-8, 1e-10])
def test_little_noise_is_no_frozen_charge(off: float) -> None:
    """Beside the minimum by more than rounding there is noise, and drift."""
    theory = derive(Loss((u * w * x - x) ** 2, [u, w], {x: UNIT}))
    at = np.array([2, (1 + off) / 2])
    found = theory.equilibrium(at, RATE)[0]
    assert found.classification == "convergent"
    assert found.lambda_star == pytest.approx(np.log(at[1] ** 2 / at[0] ** 2) / 4, rel=1e-4)
    assert found.drift == pytest.approx(theory.charges[0].drift_at(at, RATE))
    assert found.drift < 0


# points without gradients


def predictions(theory: Theory, at: dict[sp.Symbol, float]) -> list[Any]:
    """Everything that is predicted at a point."""
    charge, split = theory.charges[0], label_noise(theory.loss, [e])
    return [
        lambda: theory.equilibrium(at, RATE),
        lambda: theory.sharpness(at, RATE),
        lambda: theory.breaking(charge).at(at, RATE),
        lambda: charge.drift_at(theory.loss.pack(at), RATE),
        lambda: charge.drift_at(theory.loss.pack(at), RATE, order=2),
        lambda: charge.increment_at(theory.loss.pack(at), RATE),
        lambda: charge.momentum_increment_at(theory.loss.pack(at), RATE),
        lambda: charge.sides(at),
        lambda: theory.families[0].sides(at),
        lambda: split.share(theory.loss.pack(at)),
        lambda: split.classify_at(charge, theory.loss.pack(at)),
        lambda: point_record(theory, at, RATE),
        lambda: at_point(theory, at, RATE),
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("expression", "at"),
    [
        ((sp.log(u * w * x) - e) ** 2, {u: 1.2, w: 0.6}),
        ((sp.sqrt(u * w) * x - e) ** 2, {u: 1.2, w: -0.6}),
        ((x / (u * w) - e) ** 2, {u: 0, w: 1}),
        ((sp.exp(u * w * x) - e) ** 2, {u: 300, w: 300}),
        ((u * w * x - e) ** 2, {u: 1e200, w: 1}),
        ((sp.tanh(u * w * x) - e) ** 2, {u: 1e160, w: 1}),
    ],
    ids=str,
)
def test_every_prediction_refuses_points_without_gradients(expression: sp.Expr, at: dict[sp.Symbol, float]) -> None:
    data = [Dataset({x: [1.0, -1, 2]}), {e: UNIT}] if expression.has(sp.log) else {x: UNIT, e: UNIT}
    theory = derive(Loss(expression, [u, w], data))
    for make in predictions(theory, at):
        with pytest.raises(ValueError, match=REFUSED):
            make()
