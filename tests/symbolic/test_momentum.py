"""The heavy ball's laws along integrated trajectories, and momentum SGD's exact law over every path."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from symbolic import SGD, Dataset, Loss, Normal, derive
from symbolic.algebra.affine import AffineField
from symbolic.algebra.field_span import FieldSpan
from symbolic.evaluation.tape import Tape
from symbolic.noise import drift
from symbolic.predictions.charge import Charge
from symbolic.predictions.momentum import FRICTION, MASS, MomentumLaw, heavy_ball, momentum_laws, velocities
from symbolic.problem.optimizer import t as TIME
from symbolic.problem.optimizer import warmup
from symbolic.theory import Theory
from tests.symbolic import losses
from tests.symbolic.losses import u, w, x, y

p, q = sp.symbols("p q", real=True)
DATA = {x: Normal(1, 1), y: Normal(0, 1)}


@cache
def theories() -> dict[str, Theory]:
    made = {
        "rescaling": losses.rescaling(),
        "linear net": losses.linear_net([2, 2, 2]),
        "affine rescaling": Loss(((u + 1) * (w - 2) * x - y) ** 2, [u, w], DATA),
        "affine rotation": Loss((((u - 1) ** 2 + (w + 2) ** 2) * x - y) ** 2, [u, w], DATA),
        "translation": Loss(
            sp.exp(-((u - w) * x)) + y * (u - w), [u, w], Dataset({x: [0.3, -0.4, 0.9], y: [0.2, 0.5, -1.0]})
        ),
        "mixed": Loss((u * (w * x + p) + q - y) ** 2, [u, w, p, q], DATA),
        "softmax": losses.softmax(3, 1, rows=5),
        "scale": losses.scale_invariant(2),
    }
    return {name: derive(loss) for name, loss in made.items()}


def residuals(laws: list[MomentumLaw], theory: Theory, mass: float, friction: float, decay: float = 0.0) -> np.ndarray:
    """|value(t) - value(0) - integral of rate| per law, relative to what moves, on one trajectory of the heavy ball."""
    d, n = theory.loss.dimension, len(laws)
    rng = np.random.default_rng(1)

    def field(t: float, s: np.ndarray) -> np.ndarray:
        theta, velocity = s[:d], s[d : 2 * d]
        force = -theory.mean_gradient(theta) - decay * theta - friction * velocity
        return np.concatenate(
            [velocity, force / mass, [law.rate(theta, velocity, t, mass, friction, decay) for law in laws]]
        )

    start = np.concatenate([0.7 * rng.normal(size=2 * d), np.zeros(n)])
    found = solve_ivp(field, (0, 1.5), start, method="DOP853", rtol=1e-11, atol=1e-12, t_eval=np.linspace(0, 1.5, 7))
    theta, velocity, passed = found.y[:d].T, found.y[d : 2 * d].T, found.y[2 * d :]
    assert np.abs(theta[-1] - theta[0]).max() > 0.05
    values = np.array([law.value(theta, velocity, found.t, mass, friction) for law in laws])
    speed = np.sqrt((velocity**2).sum(axis=1).max()) * np.exp(friction * 1.5 / mass)
    return np.abs(values - values[:, :1] - passed).max(axis=1) / (1 + speed)


@pytest.mark.parametrize(
    "name",
    ["rescaling", "linear net", "affine rescaling", "affine rotation", "translation", "mixed", "softmax", "scale"],
)
def test_every_law_along_a_trajectory(name: str) -> None:
    """docs/theory.md eq. (3.8)."""
    theory = theories()[name]
    laws = list(momentum_laws(theory.algebra, theory.loss))
    assert laws
    assert residuals(laws, theory, 0.8, 0.5).max() < 1e-8
    assert residuals(laws, theory, 1.3, 0.4, decay=0.3).max() < 1e-8
    if name in ("linear net", "affine rotation", "translation"):
        conserved = [law for law in laws if law.conserved]
        assert conserved
        assert all(law.rate(np.ones(law.loss.dimension), np.full(law.loss.dimension, 2.0)) == 0 for law in conserved)


def test_a_wrong_sign_fails() -> None:
    """Each law with one sign changed: of A, of b, of the source, of the exponent, of the friction."""

    class WrongSource(MomentumLaw):
        def rate(self, *args: Any, **kwargs: Any) -> Any:
            return -super().rate(*args, **kwargs)

    class WrongTime(MomentumLaw):
        def value(self, theta: Any, velocity: Any, t: Any = 0.0, mass: float = 1.0, friction: float = 0.0) -> Any:
            sign = -1 if self.kind != "charge" else 1
            return super().value(theta, velocity, sign * np.asarray(t), mass, friction if sign < 0 else friction / 2)

    for name in ("rescaling", "affine rescaling", "affine rotation", "mixed"):
        theory = theories()[name]
        size = theory.loss.dimension
        for law in momentum_laws(theory.algebra, theory.loss):
            field = law.field
            first = next(iter(field.A or field.b))
            flipped = [
                AffineField(size, *({k: -c if k == first else c for k, c in e.items()} for e in (field.A, field.b)))
            ]
            if field.b:
                flipped += [AffineField(size, field.A, {i: -c for i, c in field.b.items()})]
            mutants = [WrongTime(law.loss, field, law.kind, law.name), *(replace(law, field=x) for x in flipped)]
            if not law.conserved:
                mutants += [WrongSource(law.loss, field, law.kind, law.name)]
            assert residuals(mutants, theory, 0.8, 0.5).min() > 1e-4, (name, law)


def test_basis_is_symmetric_plus_antisymmetric_plus_rest() -> None:
    counts = {}
    for name, theory in theories().items():
        laws = momentum_laws(theory.algebra, theory.loss)
        kinds = [law.kind for law in laws]
        counts[name] = {k: kinds.count(k) for k in ("charge", "rotation", "translation", "mixed")}
        assert (
            len(FieldSpan(law.field for law in laws))
            == theory.algebra.dimension
            == len(laws) - counts[name]["translation"]
        )
        for law in laws:
            a, _ = law.generator
            symmetric, skew = a == a.T, a == -a.T
            assert {"charge": symmetric, "rotation": skew and not symmetric, "translation": skew and symmetric}.get(
                law.kind, not symmetric and not skew
            )
            assert law.conserved == skew
    assert counts["linear net"] == {"charge": 3, "rotation": 1, "translation": 0, "mixed": 0}
    assert counts["affine rotation"] == {"charge": 0, "rotation": 1, "translation": 0, "mixed": 0}
    assert counts["translation"] == {"charge": 2, "rotation": 0, "translation": 1, "mixed": 1}
    assert counts["mixed"] == {"charge": 1, "rotation": 0, "translation": 0, "mixed": 1}


def test_expressions_are_the_numbers_and_the_charges_are_the_theorys() -> None:
    """Also the known form: u' w - w' u rotates, m C'' + c C' = 2 m (u'^2 - w'^2). Source: arXiv 2405.12888."""
    rng = np.random.default_rng(2)
    for theory in theories().values():
        laws, loss = momentum_laws(theory.algebra, theory.loss), theory.loss
        kept = [law.charge for law in laws if law.charge is not None]
        assert len(kept) == len(theory.charges)
        assert all(any(sp.cancel(c / charge.expression).is_number for charge in theory.charges) for c in kept)
        theta, velocity, t, mass, friction, decay = (
            rng.normal(size=loss.dimension),
            rng.normal(size=loss.dimension),
            0.4,
            1.7,
            0.6,
            0.3,
        )
        at: Any = {**dict(zip(loss.theta, theta, strict=True)), **dict(zip(velocities(loss), velocity, strict=True))}
        at |= {TIME: t, MASS: mass, FRICTION: friction}
        for law in laws:
            assert float(law.expression.subs(at)) == pytest.approx(
                law.value(theta, velocity, t, mass, friction), rel=1e-12
            )
            rate = law.rate(theta, velocity, t, mass, friction, decay)
            assert float((law.source + decay * law.decay).subs(at)) == pytest.approx(rate, rel=1e-12)
    laws = momentum_laws(theories()["rescaling"].algebra, theories()["rescaling"].loss)
    du, dw = velocities(laws[0].loss)
    assert (str(du), str(dw)) == ("u'", "w'")
    assert sp.expand(laws[0].source - 2 * MASS * (du**2 - dw**2)) == 0
    assert laws[0].charge == u**2 - w**2
    assert r"\ddot C" in laws[0]._repr_latex_()
    assert r"\dot{u}" in laws[0].to_latex()
    rotation = momentum_laws(theories()["affine rotation"].algebra, theories()["affine rotation"].loss)[0]
    assert (
        sp.expand(rotation.moment - (du * (w + 2) - dw * (u - 1))) == 0
        or sp.expand(rotation.moment + (du * (w + 2) - dw * (u - 1))) == 0
    )
    assert "= 0" in rotation.to_latex() and "rotation" in str(rotation)


def test_bad_input_is_named() -> None:
    theory = theories()["affine rotation"]
    law = momentum_laws(theory.algebra, theory.loss)[0]
    with pytest.raises(ValueError, match="mass must be positive"):
        law.value(np.ones(2), np.ones(2), 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"must be .* of shape \(..., 2\)"):
        law.value(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="must be finite"):
        law.value(np.ones(2), 3 * np.ones(2), 1e4, 1.0, 1.0)
    with pytest.raises(ValueError, match="belong together"):
        momentum_laws(theory.algebra, theories()["mixed"].loss)


@cache
def tiny() -> Theory:
    data = Dataset({x: [0.7, -1.2], y: [0.4, 0.9]})
    return derive(Loss(((u + 1) * (w - 2) * x - y) ** 2, [u, w], data))


def paths(theory: Theory, sgd: SGD, start: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """theta_0..theta_n and u_0..u_n of momentum SGD over every sequence of rows: (n + 1, D, paths) each."""
    table = theory.loss.blocks[0].table.T
    choices = np.array(list(product(range(table.shape[1]), repeat=n))).T
    tape = Tape([theory.loss.expression], (*theory.loss.theta, *theory.loss.z))
    theta, speed = [np.repeat(start[:, None], choices.shape[1], 1)], [np.zeros((len(start), choices.shape[1]))]
    for rows in choices:
        g = tape.gradient(np.concatenate([theta[-1], table[:, rows]]), len(start))[0]
        speed.append(sgd.momentum * speed[-1] + g + sgd.weight_decay * theta[-1])
        theta.append(theta[-1] - sgd.learning_rate * speed[-1])
    return np.array(theta), np.array(speed)


def test_momentum_sgds_exact_law_on_every_path() -> None:
    """C_{k+1} - C_k = eta^2 (a_{k+1} + 2 sum beta^(k+1-j) a_j) - 2 eta lambda sum beta^(k-j) v_j.theta_j, to
    rounding."""
    theory, sgd = tiny(), SGD(0.05, weight_decay=0.4, momentum=0.6)
    charge = theory.charges[0]
    beta, eta = sgd.momentum, sgd.learning_rate
    theta, speed = paths(theory, sgd, np.array([0.5, 0.8]), 7)
    c = np.array([charge.value(s.T) for s in theta])
    a = np.einsum("kip,ij,kjp->kp", speed, charge.A, speed)
    d = np.einsum("kip,ij,kjp->kp", theta, charge.A, theta) + np.einsum("i,kip->kp", charge.b, theta)
    for k in range(7):
        memory = sum(beta ** (k + 1 - j) * a[j] for j in range(1, k + 1))
        pull = sum(beta ** (k - j) * d[j] for j in range(k + 1))
        assert np.allclose(
            c[k + 1] - c[k],
            eta**2 * (a[k + 1] + 2 * memory) - 2 * eta * sgd.weight_decay * pull,
            rtol=1e-12,
            atol=1e-13,
        )


def test_discrete_angular_momentum_stays_zero_from_rest() -> None:
    """u_{k+1}.(A theta_k + b) = 0 on every path for antisymmetric A, with noise; with weight decay too where b = 0."""
    rotation = theories()["affine rotation"].loss
    data = Dataset({x: [0.7, -1.2, 0.3], y: [0.4, 0.9, -0.5]})
    for expression, decay in ((rotation.expression, 0.0), (((u**2 + w**2) * x - y) ** 2, 0.3)):
        theory = derive(Loss(expression, [u, w], data))
        law = next(law for law in momentum_laws(theory.algebra, theory.loss) if law.kind == "rotation")
        theta, speed = paths(theory, SGD(0.01, momentum=0.7, weight_decay=decay), np.array([0.5, 0.8]), 5)
        assert np.abs(speed[-1]).min() > 0.1
        for k in range(5):
            assert np.abs(law.value(theta[k].T, speed[k + 1].T)).max() < 1e-13


def left_over(charge: Charge, beta: float, decay: float, n: int, step: int | None, doubled: str = "") -> float:
    """(E[C_n - C_{n-1}] over all paths - momentum_step)/eta^2 as eta -> 0, over the size of its second-order part."""
    gaps, start, size = [], np.array([0.5, 0.8]), 1.0
    for eta in (1e-4, 5e-5):
        sgd = SGD(eta, weight_decay=decay, momentum=beta)
        theta, _ = paths(tiny(), sgd, start, n)
        truth = np.mean(charge.value(theta[-1].T) - charge.value(theta[-2].T))
        x, (mean, root) = theta[-2].T, charge.noise.factors(theta[-2].T)
        quadratic, linear = np.einsum("pi,ij,pj", x, charge.A, x) / len(x), np.mean(x @ charge.b)
        forms = (
            np.einsum("pik,ij,pjk", root, charge.A, root) / len(x),
            np.einsum("pi,ij,pj", mean, charge.A, mean) / len(x),
        )
        terms = drift.Terms(*forms, np.mean(mean @ charge.b), quadratic, quadratic + linear)
        if doubled:
            terms = replace(terms, **{doubled: 2 * getattr(terms, doubled)})
        rates = charge.noise.rates(drift.without_momentum(sgd, step), numeric=True)
        gaps.append((truth - drift.momentum_step(terms, rates, beta, step)) / eta**2)
        size = abs(terms.trace) + abs(terms.mean_form)
    return abs(2 * gaps[1] - gaps[0]) / size


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize(("beta", "n", "step"), [(0.6, 1, 1), (0.6, 2, 2), (0.6, 6, 6), (0.2, 10, None)])
def test_momentum_increment_is_right_to_second_order(beta: float, n: int, step: int | None, decay: float) -> None:
    """What it leaves over all paths shrinks as eta^3, in the transient and after it; with one term doubled it does
    not."""
    charge = tiny().charges[0]
    assert left_over(charge, beta, decay, n, step) < 2e-3
    fields = ["trace", "mean_form"] + (["decay", "quadratic", "mean_dot"] if decay else [])
    for field in fields:
        assert left_over(charge, beta, decay, n, step, doubled=field) > 1e-2, field


def test_momentum_increment_and_its_limits() -> None:
    """Without momentum it is `increment`; after the transient its gbar part is 2 m/c^3 eta of the heavy ball; eta -> 0
    is `drift`."""
    theory = tiny()
    charge, theta = theory.charges[0], np.array([0.5, 0.8])
    sgd = SGD(0.05, batch_size=2, weight_decay=0.5)
    exact = [charge.increment_at(theta, sgd)] * 2
    assert [charge.momentum_increment_at(theta, sgd, n) for n in (1, None)] == pytest.approx(exact, rel=1e-13)
    sgd = SGD(0.05, momentum=0.6)
    at: Any = {u: 0.5, w: 0.8}
    exact_law = theories()["affine rescaling"].charges[0]
    for n in (None, 4):
        number = exact_law.momentum_increment_at(theta, sgd, n)
        assert float(exact_law.momentum_increment(sgd, n).subs(at)) == pytest.approx(number, rel=1e-10)
    terms, (mass, friction) = charge.terms(theta), heavy_ball(sgd)
    known = 2 * mass / friction**3 * terms.mean_form + 0.05 * terms.trace / (1 - 0.6) ** 2
    assert charge.momentum_increment_at(theta, sgd) == pytest.approx(0.05 * known, rel=1e-12)
    assert charge.momentum_increment_at(theta, sgd, 200) == pytest.approx(0.05 * known, rel=1e-12)
    small = SGD(1e-9, weight_decay=0.3, momentum=0.6)
    assert charge.momentum_increment_at(theta, small) / 1e-9 == pytest.approx(charge.drift_at(theta, small), rel=1e-6)


def test_momentum_gd_follows_its_heavy_ball_to_second_order() -> None:
    theory, beta, errors = tiny(), 0.5, []
    start = np.array([0.5, 0.8])
    for eta in (0.01, 0.005):
        theta, speed = start.copy(), np.zeros(2)
        for _ in range(round(0.2 / eta)):
            speed = beta * speed + theory.mean_gradient(theta)
            theta = theta - eta * speed
        mass, friction = heavy_ball(SGD(eta, momentum=beta))
        first = np.concatenate([start, -theory.mean_gradient(start) / (1 + beta)])

        def rate(_: float, s: np.ndarray, mass: float = mass, friction: float = friction) -> np.ndarray:
            return np.concatenate([s[2:], (-theory.mean_gradient(s[:2]) - friction * s[2:]) / mass])

        found = solve_ivp(rate, (0, 0.2), first, method="Radau", rtol=1e-9, atol=1e-11)
        errors.append(np.abs(found.y[:2, -1] - theta).max())
    assert errors[0] / errors[1] > 3


def test_momentum_increment_refuses() -> None:
    charge = tiny().charges[0]
    with pytest.raises(ValueError, match="learning rate must be constant"):
        charge.momentum_increment_at(np.ones(2), SGD(0.1, momentum=0.5, schedule=warmup(3)))
    with pytest.raises(ValueError, match="step must be a whole number"):
        charge.momentum_increment_at(np.ones(2), SGD(0.1, momentum=0.5), 0)
