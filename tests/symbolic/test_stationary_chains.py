"""Scalar chains: the equation their density solves, which losses are chains, critical temperatures and collapse."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from symbolic import SGD, Dataset, Loss, Moments, Normal
from symbolic.errors import InputError
from symbolic.library import LIBRARY, rescaling, scalar_chain
from symbolic.predictions.stationary import Chain, NotAChain, StationaryLaw, chain, critical_temperature, stationary_law
from symbolic.problem.optimizer import warmup
from tests.symbolic import losses
from tests.symbolic.losses import e, u, w, x, y

v, s, T, lam = sp.symbols("v s T lam", positive=True)
a1, a2, a3, b1, b2 = sp.symbols("a1 a2 a3 b1 b2", positive=True)
POINTS = np.array([0.01, 1.0, 2.0, 0.7, 1.3])


def generic(factors: int) -> Chain:
    return Chain(factors, sp.Symbol("p"), (a1, a2, a3), (b1, b2), a3 - a2**2 / a1, "features")


def rows(targets: np.ndarray, points: np.ndarray = POINTS) -> Loss:
    return Loss((u * w * x - y) ** 2, [u, w], Dataset({x: points, y: targets}))


# the equation


@pytest.mark.parametrize("factors", [2, 3, 4])
def test_ito_coefficients_from_the_factors_own_sde(factors: int) -> None:
    """dv by Ito's formula from dw_i = -(q v/w_i + lam w_i) dt + sqrt(T Var q) (v/w_i) dW, on w_1 = ... = w_n."""
    ws, z = sp.symbols(f"w:{factors}", positive=True), sp.Symbol("z", positive=True)
    product = sp.prod(ws)
    q, var = 2 * (b1 * product - b2), 4 * (a1 * product**2 - 2 * a2 * product + a3)
    push = [product / c for c in ws]
    drift = sum(sp.diff(product, c) * -(q * p + lam * c) for c, p in zip(ws, push, strict=True))
    drift += (
        T
        * var
        / 2
        * sum(
            sp.diff(product, c, d) * p * r for c, p in zip(ws, push, strict=True) for d, r in zip(ws, push, strict=True)
        )
    )
    noise = T * var * sum(sp.diff(product, c) * p for c, p in zip(ws, push, strict=True)) ** 2
    balanced = dict.fromkeys(ws, z)
    mean, root = generic(factors).ito(v, T, lam)
    assert sp.simplify(drift.subs(balanced) - mean.subs(v, z**factors)) == 0
    assert sp.simplify(noise.subs(balanced) - (root**2).subs(v, z**factors)) == 0


def flux(found: Chain, log_density: sp.Expr) -> sp.Expr:
    """Fokker-Planck flux over p: drift - (D p)'/p with D half the squared diffusion."""
    mean, root = found.ito(v, T, lam)
    half = root**2 / 2
    return sp.simplify(mean - sp.diff(half, v) - half * sp.diff(log_density, v))


@pytest.mark.parametrize("factors", [2, 3, 5])
def test_zero_flux(factors: int) -> None:
    """The density solves the stationary Fokker-Planck equation without flux; another exponent or half the exponential
    does not. docs/theory.md eq. (5.3), (5.5)."""
    found = generic(factors)
    log_density = sp.log(found.density(v, T, lam))
    assert flux(found, log_density) == 0
    assert flux(found, log_density + sp.log(v) / 2) != 0
    assert flux(found, log_density.subs(T, 2 * T)) != 0


@pytest.mark.parametrize(
    "found",
    [
        Chain(2, s, (a1, a2, a2**2 / a1), (b1, b2), sp.S.Zero, "features"),
        Chain(2, s, (sp.S.Zero, sp.S.Zero, a3), (b1, b2), a3, "features"),
        Chain(2, s, (a1, sp.S.Zero, sp.S.Zero), (b1, b2), sp.S.Zero, "features"),
    ],
    ids=["noise vanishes inside", "constant noise", "noise vanishes at 0"],
)
def test_zero_flux_where_the_partial_fractions_degenerate(found: Chain) -> None:
    assert flux(found, sp.log(found.density(v, T, lam))) == 0


# recognition


def test_moments_of_a_chain() -> None:
    """b1 = E x^2, b2 = E xy, a1 = Var x^2, a2 = Cov(x^2, xy), a3 = Var xy."""
    found = chain(rescaling())
    assert (found.alpha, found.beta) == ((2, 2, sp.Rational(9, 4)), (1, 1))
    assert found.floor == sp.Rational(1, 4)
    x2 = POINTS**2
    noisy = POINTS + np.array([0.3, -0.1, 0.2, -0.4, 0.1])
    sampled = chain(rows(noisy))
    both = np.cov(np.array([x2, POINTS * noisy]), bias=True)
    assert [float(a) for a in sampled.alpha] == pytest.approx([both[0, 0], both[0, 1], both[1, 1]])
    assert [float(b) for b in sampled.beta] == pytest.approx([x2.mean(), (POINTS * noisy).mean()])


def test_any_writing_of_the_quadratic() -> None:
    written = Loss(sp.expand((u * w * x - x - e) ** 2) + e**2, [u, w], {x: Normal(0, 1), e: Normal(0, losses.HALF)})
    assert chain(written).alpha == chain(rescaling()).alpha
    assert chain(written).beta == chain(rescaling()).beta
    tanh = Loss((u * w * sp.tanh(x) - y) ** 2, [u, w], Dataset({x: POINTS, y: POINTS}))
    plain = Loss((u * w * x - y) ** 2, [u, w], Dataset({x: np.tanh(POINTS), y: POINTS}))
    assert [float(c) for c in chain(tanh).alpha] == pytest.approx([float(c) for c in chain(plain).alpha])


@pytest.mark.parametrize(
    "expression",
    [
        (u * w * x - y) ** 2 + u**2,
        (u**2 * w * x - y) ** 2,
        (u * w * x - y) ** 4,
        sp.exp(u * w * x) - y,
        ((u + 1) * w * x - y) ** 2,
        (u * x - w * y) ** 2,
    ],
    ids=str,
)
def test_other_losses_are_refused(expression: sp.Expr) -> None:
    with pytest.raises(NotAChain, match="quadratic in the product"):
        stationary_law(Loss(expression, [u, w], {x: Normal(0, 1), y: Normal(1, 1)}), SGD(0.1))


def test_library_chains_are_the_only_ones() -> None:
    names = []
    for name, entry in LIBRARY.items():
        try:
            chain(entry.build())
        except NotAChain:
            continue
        names.append(name)
    assert names == ["rescaling", "scalar-chain"]


def test_bad_input() -> None:
    with pytest.raises(InputError, match="needs a Loss"):
        stationary_law(3, SGD(0.1))  # pyright: ignore
    with pytest.raises(InputError, match="needs the optimiser's settings"):
        stationary_law(rescaling(), 0.1)  # pyright: ignore
    with pytest.raises(ValueError, match="branch"):
        stationary_law(rescaling(), SGD(0.1), "left")
    with pytest.raises(ValueError, match="constant"):
        stationary_law(rescaling(), SGD(0.1, schedule=warmup(1.0)))
    with pytest.raises(ValueError, match="full batch"):
        stationary_law(rows(POINTS), SGD(0.1, batch_size=5, replacement=False))
    with pytest.raises(ValueError, match="noisy"):
        stationary_law(rows(np.ones(3), np.ones(3)), SGD(0.1))
    with pytest.raises(ValueError, match="runs away"):
        stationary_law(Loss(u * w * y, [u, w], {y: Normal(-1, 1)}), SGD(0.1))
    with pytest.raises(NotAChain, match="one parameter"):
        chain(Loss((u * x - y) ** 2, [u], {x: Normal(0, 1), y: Normal(0, 1)}))


# collapse


def test_critical_temperatures() -> None:
    """(b2 - lambda/2)/a3; symbolic in the law's parameters. Source: 2308.06671. docs/theory.md eq. (5.4)."""
    k, r = sp.symbols("k r", positive=True)
    found = critical_temperature(
        Loss((u * w * x - y) ** 2, [u, w], {(x, y): Normal(0, covariance=[[1, r], [r, k]])}), weight_decay=lam
    )
    assert sp.simplify(found - (r - lam / 2) / (k + r**2)) == 0
    assert critical_temperature(rescaling(), weight_decay=0) == sp.Rational(4, 9)
    assert critical_temperature(scalar_chain(3), weight_decay=0) == sp.oo
    assert critical_temperature(scalar_chain(3), weight_decay=lam) == 0
    moments = Moments([0, 1, 0, 3])
    assert critical_temperature(Loss((u * w * x - x) ** 2, [u, w], {x: moments}), weight_decay=0) == sp.Rational(1, 2)
    law = stationary_law(rescaling(), SGD(0.1, weight_decay=0.2))
    assert law.T_c == pytest.approx(0.9 / 2.25)
    assert law.weight_decay == 0.2


def test_mass_leaks_to_zero_at_the_critical_temperature() -> None:
    """Mass near 0 goes to 1 as T rises to T_c; at and above T_c it is a step."""
    mass = [stationary_law(rescaling(), SGD(t)).cdf(1e-3) for t in (0.3, 0.4, 0.44, 0.4444, 0.444444)]
    assert np.all(np.diff(mass) > 0)
    assert mass[0] < 0.2
    assert mass[-1] > 0.99
    law = stationary_law(rescaling(), SGD(0.5))
    assert law.collapsed
    assert list(law.cdf([-1e-9, 0.0, 1.0])) == [0, 1, 1]
    assert list(law.sf([-1e-9, 0.0])) == [1, 0]
    assert (law.ppf(0.3), law.mean(), law.var(), law.mode(), law.support()) == (0, 0, 0, 0, (0, 0))
    assert not law.rvs(5, seed=0).any()
    with pytest.raises(ValueError, match="point mass"):
        law.pdf(0.1)
    negative = stationary_law(rescaling(), SGD(0.1), "negative")
    assert list(negative.cdf([-1e-9, 0.0])) == [0, 1]


def test_weight_decay_ends_every_deeper_chain_at_zero() -> None:
    """Near 0 the drift of log v is -n lambda while the noise in it vanishes: 0 attracts. Two factors keep their law."""
    assert stationary_law(scalar_chain(3), SGD(0.01, weight_decay=0.1)).collapsed
    assert not stationary_law(rescaling(), SGD(0.01, weight_decay=0.1)).collapsed
    mean, root = generic(3).ito(v, T, lam)
    log_drift = mean / v - root**2 / (2 * v**2)
    assert sp.limit(log_drift, v, 0) == -3 * lam
    assert sp.limit(root / v, v, 0) == 0


def test_interpolation_holds_all_mass_at_the_minimum() -> None:
    """y = 2 x: C_2 vanishes at v = 2, where the gradient does."""
    law = stationary_law(rows(2 * POINTS), SGD(0.05))
    assert law.atom == pytest.approx(2)
    assert not law.collapsed
    assert law.median() == pytest.approx(2)
    with pytest.raises(ValueError, match="depend on the start"):
        stationary_law(rows(2 * POINTS), SGD(10.0))


def test_a_point_without_noise_is_passed_in_one_direction() -> None:
    """y = 2 x with weight decay: v cannot climb over 2. y = 2 x + c/x: it cannot fall below."""
    law = stationary_law(rows(2 * POINTS), SGD(0.05, weight_decay=0.4))
    assert law.support() == pytest.approx((0, 2))
    assert law.cdf(2.0) == 1
    assert 1.5 < law.median() < 2
    against_mpmath_cdf(law, 1.8)
    above = stationary_law(rows(2 * POINTS[1:] + 0.5 / POINTS[1:], POINTS[1:]), SGD(0.1))
    assert above.support() == pytest.approx((2, np.inf))
    assert above.cdf(1.99) == 0


def against_mpmath_cdf(law: StationaryLaw, at: float) -> None:
    f: Any = sp.lambdify(v, law.density(v), "mpmath")
    total = mp.quad(f, [0, 0.5, 1, 1.5, 1.8, 1.9, 1.99])
    assert law.cdf(at) == pytest.approx(float(mp.quad(f, [0, 0.5, 1, 1.5, at]) / total), rel=1e-6)


def test_a_collapse_says_that_it_is_the_limit_of_infinite_time() -> None:
    """Three factors with weight decay: T_c = 0, though v stays near 0.89 for very long."""
    s, data = sp.Symbol("s", real=True), {x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))}
    loss = Loss((u * w * s * x - (x + e)) ** 2, [u, w, s], data)
    law = stationary_law(loss, SGD(0.002, weight_decay=0.1))
    assert law.collapsed and law.T_c == 0
    assert "all mass at v = 0, in the limit of infinite time: how long that takes" in str(law)
