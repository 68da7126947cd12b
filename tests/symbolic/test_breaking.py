"""Broken symmetry: exact enumeration of steps, and simulations that the sizes and the horizon must predict."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product
from math import inf, sqrt
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from symbolic import SGD, Dataset, Loss, Normal, derive
from symbolic.errors import InputError
from symbolic.evaluation.tape import Tape
from symbolic.noise.covariance import Noise
from symbolic.predictions.broken_symmetry import breaking
from symbolic.predictions.horizon import BreakingSizes
from symbolic.problem.optimizer import warmup
from tests.symbolic import losses
from tests.symbolic.losses import HALF, e, u, w, x, y

ROWS = Dataset({x: [0.7, -1.2, 0.4], y: [0.4, 0.9, -0.6]})

RIDGE = sp.Rational(1, 200)


def ridged(strength: Any = RIDGE, noise: Any = 1) -> Loss:
    """Rescaling with a ridge on u only."""
    return Loss((u * w * x - x - e) ** 2 + strength * u**2, [u, w], {x: Normal(0, 1), e: Normal(0, noise)})


def test_exact_symmetries_have_no_breaking_and_no_diffusion() -> None:
    """noise + decay is the charge's own drift, on laws, data sets, shifted rescalings and translations."""
    rng, sgd = np.random.default_rng(1), SGD(0.1, batch_size=2, weight_decay=0.3)
    cases = [losses.rescaling(), losses.linear_net([2, 2, 3]), losses.softmax(3, 1, rows=4), losses.scale_invariant(3)]
    cases += [Loss(((u + 1) * (w - 2) * x - y) ** 2, [u, w], ROWS), losses.relu_net([2, 2, 1], bias=True)]
    for loss in cases:
        theory = derive(loss)
        assert theory.charges
        for charge in theory.charges:
            theta = rng.normal(size=loss.dimension)
            sizes = breaking(loss, charge, theory.noise).at(theta, sgd)
            assert sizes.breaking == sizes.diffusion == 0
            assert sizes.noise + sizes.decay == pytest.approx(charge.drift_at(theta, sgd), rel=1e-11, abs=1e-12)
            assert sizes.value == pytest.approx(charge.value(theta))
            assert sizes.holds_until == inf
            assert "exact here" in str(sizes)


def steps(loss: Loss, theta: np.ndarray, sgd: SGD) -> np.ndarray:
    """theta after one step, for every minibatch drawn with replacement: (number, D)."""
    table = loss.blocks[0].table.T
    inputs = np.concatenate([np.repeat(theta[:, None], table.shape[1], 1), table])
    g = Tape([loss.expression], (*loss.theta, *loss.z)).gradient(inputs, len(theta))[0]
    means = np.array([g[:, list(b)].mean(axis=1) for b in product(range(table.shape[1]), repeat=sgd.batch_size)])
    return theta - sgd.learning_rate * (means + sgd.weight_decay * theta)


def test_drift_of_a_quadratic_is_exact_over_all_minibatches() -> None:
    """E[C' - C] = eta (breaking + decay + noise + finite step), for a C that no symmetry keeps; any term times two
    fails. docs/theory.md eq. (5.2)."""
    rng = np.random.default_rng(2)
    for expression in ((u * w * x - y) ** 2 + u**2 / 5, sp.tanh(u * x + w) * y + u * w**2):
        loss = Loss(expression, [u, w], ROWS)
        of = breaking(loss, (np.array([[1.0, 0.5], [0.5, -2.0]]), np.array([0.3, -0.7])))
        for sgd in (SGD(0.1), SGD(0.2, batch_size=2, weight_decay=0.4)):
            theta = rng.normal(size=2)
            value = sp.lambdify((u, w), of.expression)
            truth = np.mean(value(*steps(loss, theta, sgd).T) - value(*theta)) / sgd.learning_rate
            sizes = of.at(theta, sgd)
            terms = [sizes.breaking, sizes.decay, sizes.noise, sizes.finite_step]
            assert sum(terms) == pytest.approx(truth, rel=1e-10)
            assert sizes.drift == sum(terms[:3])
            assert all(abs(t) > 1e-5 * abs(truth) for t in terms if t or sgd.weight_decay)


@pytest.mark.parametrize("function", [u**3 - w, sp.exp(u / 2) * w, sp.log(1 + u**2 + w**2)], ids=str)
def test_ito_terms_of_any_function(function: sp.Expr) -> None:
    """Mean and variance of one step, as eta -> 0: drift to order eta^2, diffusion to order eta. docs/theory.md eq.
    (3.1), (5.2)."""
    loss, theta, value = (
        Loss((u * w * x - y) ** 2 + u, [u, w], ROWS),
        np.array([0.8, -0.5]),
        sp.lambdify((u, w), function),
    )
    gaps, spreads = [], []
    for eta in (2e-3, 1e-3):
        sgd = SGD(eta, weight_decay=0.3)
        change = value(*steps(loss, theta, sgd).T) - value(*theta)
        sizes = breaking(loss, function).at(theta, sgd)
        assert sizes.finite_step is not None
        gaps.append((change.mean() / eta - sizes.drift - sizes.finite_step) / eta)
        spreads.append(change.var() / eta / sizes.diffusion)
    assert abs(2 * gaps[1] - gaps[0]) < 0.02 * min(abs(sizes.noise), abs(sizes.finite_step or 0)) / eta
    assert 2 * spreads[1] - spreads[0] == pytest.approx(1, abs=1e-4)


def test_expressions_agree_with_numbers() -> None:
    rng, sgd = np.random.default_rng(3), SGD(0.1, batch_size=2, weight_decay=0.3)
    loss = ridged(HALF, HALF)
    cases = [(loss, u**2 - w**2), (loss, sp.sin(u) * w), (loss, 3 * u - w), (losses.scale_invariant(2), None)]
    for model, function in cases:
        of = breaking(model, model.theta[0] ** 2 if function is None else function)
        theta = rng.normal(size=2)
        at: Any = dict(zip(model.theta, theta, strict=True))
        numbers, parts = of.at(theta, sgd), of.parts(sgd)
        for name in ("breaking", "decay", "noise", "diffusion"):
            assert float(parts[name].subs(at)) == pytest.approx(getattr(numbers, name), rel=1e-10, abs=1e-14), name
        assert float(of.drift(sgd).subs(at)) == pytest.approx(numbers.drift, rel=1e-10)
    known = breaking(ridged(HALF), {"u": 1, "w": -1})
    assert sp.expand(known.parts()["breaking"] + 2 * u**2) == 0
    assert known.diffusion() == 0
    at_scale = breaking(losses.scale_invariant(3), sum(s**2 for s in losses.scale_invariant(3).theta))
    assert at_scale.parts()["breaking"] == at_scale.diffusion() == 0


def test_symbols_in_the_laws_and_losses_without_an_expression() -> None:
    s = sp.Symbol("s", positive=True)
    loss = Loss((u * w * x - y) ** 2 + u * y, [u, w], {x: Normal(0, 1), y: Normal(0, s)})
    of = breaking(loss, {u: 1, w: -1}, Noise(loss, {s: 0.7}))
    sizes = of.at({u: 1.1, w: 0.4}, SGD(0.1))
    assert float(of.diffusion(SGD(0.1)).subs({u: 1.1, w: 0.4, s: 0.7})) == pytest.approx(sizes.diffusion)
    assert sizes.diffusion > 0 == sizes.breaking
    tanh = breaking(Loss((sp.tanh(u * x) * w - y) ** 2, [u, w], ROWS), u**2 - w**2)
    assert "<grad C, g>" in str(tanh.drift()) and "Sigma" in str(tanh)
    assert tanh.at(np.array([0.3, 0.4]), SGD(0.1)).breaking != 0


def test_ways_to_name_the_same_function() -> None:
    loss, charge = ridged(), derive(losses.rescaling(noise=1)).charges[0]
    ways = [charge, u**2 - w**2, {"u": 1, "w": -1}, {u: 1.0, w: -1}, (np.diag([1, -1]), None), charge.generator]
    sgd, truth = SGD(0.01), breaking(loss, u**2 - w**2).at({u: 1.2, "w": 0.6}, SGD(0.01))
    for way in ways:
        sizes = breaking(loss, way).at(np.array([1.2, 0.6]), sgd)
        for field in fields(BreakingSizes)[1:]:
            assert getattr(sizes, field.name) == pytest.approx(getattr(truth, field.name), rel=1e-13, abs=1e-15)
    net = losses.linear_net([2, 2, 2])
    weighted = breaking(net, {"W0": 1, net.parameters[1].name: [[-1, 0], [2, HALF]]})
    z, v = net.theta[:4], net.theta[4:]
    assert sp.expand(weighted.expression - sum(s**2 for s in z) + v[0] ** 2 - 2 * v[2] ** 2 - v[3] ** 2 / 2) == 0


def test_bad_input_is_named() -> None:
    loss = ridged()
    with pytest.raises(InputError, match="needs a Loss"):
        breaking(u, u)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="of must be"):
        breaking(loss, 3)
    with pytest.raises(ValueError, match="A must be symmetric"):
        breaking(loss, (np.array([[0, 1], [-1, 0]]), None))
    with pytest.raises(ValueError, match="must have shapes"):
        breaking(loss, (np.eye(3), None))
    for bad in (sp.Integer(2), u * x, {"u": 0}):
        with pytest.raises(ValueError, match="parameters alone and not constant"):
            breaking(loss, bad)
    with pytest.raises(ValueError, match="twice differentiable"):
        breaking(loss, abs(u))
    with pytest.raises(ValueError, match="must name a parameter"):
        breaking(loss, {"v": 1})
    with pytest.raises(ValueError, match="one weight is needed"):
        breaking(loss, {"u": [1, 2]})
    with pytest.raises(ValueError, match="same parameters"):
        breaking(loss, derive(losses.scale_invariant(3)).charges[0])
    with pytest.raises(ValueError, match="this loss's own"):
        breaking(loss, u, Noise(losses.rescaling()))
    with pytest.raises(ValueError, match="must be .* of shape"):
        breaking(loss, u).at(np.ones(3), SGD(0.1))
    with pytest.raises(ValueError, match="must be finite at theta"):
        breaking(loss, sp.log(u)).at(np.array([-1.0, 1.0]), SGD(0.1))
    with pytest.raises(ValueError, match="schedule"):
        breaking(loss, u).at(np.ones(2), SGD(0.1, schedule=warmup(3)))
    with pytest.raises(ValueError, match="fraction must be positive"):
        breaking(loss, u).at(np.ones(2), SGD(0.1)).horizon(0.0)
    with pytest.raises(ValueError, match="deviation: t must be"):
        breaking(loss, u).at(np.ones(2), SGD(0.1)).deviation(-1.0)
    assert breaking(loss, u).at(np.array([0.0, 1.0]), SGD(0.1)).holds_until == 0


def test_momentum_scales_the_terms() -> None:
    """Small-step limit: eta -> eta/(1 - beta), and no finite-step term is claimed. docs/theory.md eq. (3.9)."""
    of, theta = breaking(ridged(), u**2 - w**2 + u), np.array([1.1, 0.7])
    plain, heavy = (of.at(theta, SGD(0.01, weight_decay=0.2, momentum=beta)) for beta in (0.0, 0.5))
    for name, power in (("breaking", 2), ("decay", 2), ("noise", 4), ("diffusion", 4)):
        assert getattr(heavy, name) == pytest.approx(power * getattr(plain, name))
    assert heavy.finite_step is None and plain.finite_step


positive = st.floats(1e-3, 1e3)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(positive | st.just(0.0), positive | st.just(0.0), st.floats(-2, 2), st.floats(0.01, 1), st.floats(0.1, 10))
def test_horizon_is_where_the_deviation_reaches_the_limit(
    b: float, v: float, k: float, fraction: float, size: float
) -> None:
    k = 0.0 if abs(k) < 1e-3 else k
    rates = {"breaking": b, "decay": 0.0, "noise": 0.0, "diffusion": v, "finite_step": 0.0, "relaxation": k}
    sizes = BreakingSizes(name="C", value=1.0, size=size, learning_rate=0.01, **rates)
    until = sizes.horizon(fraction)
    if until == inf:
        assert b == v == 0 or k > 0
        assert sizes.deviation(100 / abs(k) if k else 1e9) <= fraction * size * (1 + 1e-9)
    else:
        assert sizes.deviation(until) == pytest.approx(fraction * size, rel=1e-6)


def train(
    ridge: float, kick: float, start: np.ndarray, sgd: SGD, times: np.ndarray, paths: int, label: float
) -> np.ndarray:
    """C = u^2 - w^2 at times (K,) on every path (K, paths): discrete SGD on (u w x - x - e)^2 + ridge u^2 + kick n
    u."""
    rng, out, now = np.random.default_rng(7), [], 0
    a, b = (np.full(paths, s) for s in start)
    for k in np.round(times / sgd.learning_rate).astype(int):
        for _ in range(k - now):
            xs, es, ns = rng.standard_normal((3, paths))
            r = 2 * (a * b * xs - xs - label * es) * xs
            a, b = (
                a - sgd.learning_rate * (r * b + 2 * ridge * a + kick * ns),
                b - sgd.learning_rate * r * a,
            )
        now = k
        out.append(a**2 - b**2)
    return np.array(out)


def test_horizon_predicts_a_ridge_on_one_factor() -> None:
    """SGD with and without the ridge, same draws: at the horizon the mean charge is off by the stated share of its
    size."""
    sgd, start, fraction = SGD(0.01), np.array([1.2, 1 / 1.2]), 0.03
    sizes = breaking(ridged(), u**2 - w**2).at({"u": start[0], "w": start[1]}, sgd)
    assert sizes.breaking == pytest.approx(-4 * 0.005 * 1.44)
    assert sizes.size == pytest.approx(1.44 + 1 / 1.44)
    until = sizes.horizon(fraction)
    times = np.array([until / 2, until])
    broken, kept = (train(r, 0.0, start, sgd, times, 4000, 1.0).mean(axis=1) for r in (0.005, 0.0))
    shares = np.abs(broken - kept) / (fraction * sizes.size)
    assert shares == pytest.approx([0.5, 1.0], rel=0.08)
    mutant = replace(sizes, breaking=2 * sizes.breaking)
    assert mutant.horizon(fraction) < 0.6 * until


def test_noise_pulls_a_broken_charge_back_at_the_stated_rate() -> None:
    """From the balanced point the deviation saturates as (1 - e^{-kt})/k, k = T Var q: far below |breaking| t.
    docs/theory.md eq. (4.4)."""
    sgd, start = SGD(0.01), np.array([1.0, 1.0])
    sizes = breaking(ridged(sp.Rational(1, 500), 1), u**2 - w**2).at(start, sgd)
    assert sizes.relaxation == pytest.approx(4 * sgd.temperature)
    assert abs(sizes.noise) < 1e-12
    times = np.array([0.5, 2.0]) / sizes.relaxation
    seen = np.abs(train(0.002, 0.0, start, sgd, times, 4000, 1.0).mean(axis=1))
    assert seen == pytest.approx([sizes.deviation(t) for t in times], rel=0.12)
    assert abs(sizes.breaking) * times[1] > 2 * seen[1]
    assert sizes.horizon(1.5 * sizes.deviation(1e6) / sizes.size) == inf


def test_diffusion_predicts_the_spread_of_a_symmetry_of_the_mean_only() -> None:
    """A gradient noise on u alone leaves L symmetric; the charge spreads by sqrt(diffusion t) and the horizon is where
    it reaches."""
    sgd, start, kick, fraction = SGD(0.01), np.array([1.2, 1 / 1.2]), 0.3, 0.05
    n = sp.Symbol("n", real=True)
    loss = Loss(
        (u * w * x - x - e) ** 2 + sp.Rational(3, 10) * n * u,
        [u, w],
        {x: Normal(0, 1), e: Normal(0, 1), n: Normal(0, 1)},
    )
    sizes = breaking(loss, {u: 1, w: -1}).at(start, sgd)
    assert sizes.breaking == 0 and sizes.ratio == 0
    assert sizes.diffusion == pytest.approx(sgd.temperature * (2 * 1.2 * kick) ** 2)
    until = sizes.horizon(fraction)
    spread = train(0.0, kick, start, sgd, np.array([until]), 6000, 1.0).std()
    still = train(0.0, 0.0, start, sgd, np.array([until]), 6000, 1.0).std()
    assert sqrt(max(spread**2 - still**2, 0)) == pytest.approx(fraction * sizes.size, rel=0.08)
    assert sizes.visible_from == pytest.approx(sizes.diffusion / sizes.noise**2)


def test_str_and_latex_are_readable() -> None:
    of = breaking(ridged(), {u: 1, w: -1})
    assert all(f"  {k}:" in str(of) for k in ("breaking", "decay", "noise", "diffusion"))
    assert r"\nabla C" in of._repr_latex_() and r"\frac{u^{2}}{50}" in of._repr_latex_()
    text = str(of.at({u: 1.2, w: 0.6}, SGD(0.01)))
    assert "until t = " in text and "steps)" in text and "nan" not in text
    assert len(fields(BreakingSizes)) == 10
