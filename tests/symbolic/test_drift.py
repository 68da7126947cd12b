"""Drifts against exact enumeration and Monte Carlo of single SGD steps: a factor of two anywhere fails."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, cached_property
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import SGD, Dataset, Loss, Normal
from symbolic.evaluation.tape import Tape
from symbolic.library import LIBRARY
from symbolic.noise import drift
from symbolic.predictions.broken_symmetry import breaking
from symbolic.predictions.charge import Charge
from symbolic.problem.optimizer import t, warmup
from symbolic.theory import Theory, derive
from tests.symbolic import losses
from tests.symbolic.losses import u, w, x, y


def tiny(expression: sp.Expr, parameters: list, rows: int = 4) -> Loss:
    rng = np.random.default_rng(3)
    return Loss(expression, parameters, Dataset({x: rng.normal(1, 1, rows), y: rng.normal(0, 1, rows)}))


def tiny_losses() -> list[Loss]:
    return [
        tiny((u * w * x - y) ** 2, [u, w]),
        tiny(((u + 1) * (w - 2) * x - y) ** 2, [u, w]),
        tiny(sp.log(1 + sp.exp(u * w * x)) - y * u * w * x, [u, w]),
        tiny(sp.exp(-((u - w) * x)) + y * (u - w), [u, w]),
        losses.softmax(3, 1, rows=4),
    ]


def steps(loss: Loss, theta: np.ndarray, sgd: SGD) -> np.ndarray:
    """theta after one step, for every minibatch that can be drawn: (number, D)."""
    table = loss.blocks[0].table.T
    inputs = np.concatenate([np.repeat(theta[:, None], table.shape[1], 1), table])
    g = Tape([loss.expression], (*loss.theta, *loss.z)).gradient(inputs, len(theta))[0]
    rows = range(table.shape[1])
    batches = product(rows, repeat=sgd.batch_size) if sgd.replacement else combinations(rows, sgd.batch_size)
    means = np.array([g[:, list(batch)].mean(axis=1) for batch in batches])
    return theta - sgd.learning_rate * (means + sgd.weight_decay * theta)


@cache
def library_theory(name: str) -> Theory:
    return derive(LIBRARY[name].build())


SETTINGS = [
    SGD(0.1),
    SGD(0.1, batch_size=2),
    SGD(0.1, batch_size=2, replacement=False),
    SGD(0.2, batch_size=3, weight_decay=0.3, replacement=False),
    SGD(0.05, batch_size=4, weight_decay=0.1, replacement=False),
]


@pytest.mark.parametrize("sgd", SETTINGS, ids=str)
def test_increment_is_exact_over_all_minibatches(sgd: SGD) -> None:
    """docs/theory.md eq. (3.3), (3.4)."""
    rng = np.random.default_rng(4)
    for loss in tiny_losses():
        theory = derive(loss)
        assert theory.charges
        for charge in theory.charges:
            theta = rng.normal(size=loss.dimension)
            truth = np.mean(charge.value(steps(loss, theta, sgd)) - charge.value(theta))
            predicted = charge.increment_at(theta, sgd)
            assert predicted == pytest.approx(truth, rel=1e-10, abs=1e-13)
            if theory.noise.source == "features":
                at: Any = dict(zip(loss.theta, theta, strict=True))
                assert float(charge.increment(sgd).subs(at)) == pytest.approx(truth, rel=1e-9, abs=1e-13)


def test_pathwise_identity_on_every_library_loss() -> None:
    """C_{k+1} = (1 - eta lambda)^2 C_k + eta^2 g^T A g for homogeneous charges, whatever the minibatch. docs/theory.md
    eq. (3.3)."""
    rng, sgd = np.random.default_rng(5), SGD(0.01, batch_size=3, weight_decay=0.1)
    for name, entry in LIBRARY.items():
        loss = library_theory(name).loss
        data = np.concatenate([s for b in loss.blocks if (s := b.sample(3, rng, {})) is not None])
        theta = loss.pack(entry.start)
        inputs = np.concatenate([np.repeat(theta[:, None], 3, 1), data])
        g = Tape([loss.expression], (*loss.theta, *loss.z)).gradient(inputs, len(theta))[0].mean(axis=1)
        after = theta - sgd.learning_rate * (g + sgd.weight_decay * theta)
        for charge in library_theory(name).charges:
            if charge.b.any():
                continue
            eta = sgd.learning_rate
            expected = (1 - eta * sgd.weight_decay) ** 2 * charge.value(theta) + eta**2 * g @ charge.A @ g
            assert charge.value(after) == pytest.approx(expected, rel=1e-11, abs=1e-13), name


CHARGED = [n for n, entry in LIBRARY.items() if entry.independent]
STEP = SGD(0.1, weight_decay=0.2)


class Sampled:
    """A library loss at a random point near its start, with per-sample gradients (D, n): every row of a data set, or n
    draws."""

    def __init__(self, name: str, point: int, n: int = 16_000) -> None:
        self.theory, rng = library_theory(name), np.random.default_rng([6, point])
        self.loss = self.theory.loss
        start = self.loss.pack(LIBRARY[name].start)
        self.theta = start * (1 + 0.3 * rng.standard_normal(len(start))) + 0.1 * rng.standard_normal(len(start))
        self.exact = [b.name for b in self.loss.blocks] == ["dataset"]
        if self.exact:
            draws = self.loss.blocks[0].table.T
        else:
            draws = np.concatenate([d for b in self.loss.blocks if (d := b.sample(n, rng, {})) is not None])
        inputs = np.concatenate([np.repeat(self.theta[:, None], draws.shape[1], 1), draws])
        self.g = Tape([self.loss.expression], (*self.loss.theta, *self.loss.z)).gradient(inputs, len(start))[0]

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Independent pairs of gradients: all of them for a data set, neighbours among the draws."""
        n = self.g.shape[1]
        return (np.repeat(self.g, n, 1), np.tile(self.g, n)) if self.exact else (self.g, np.roll(self.g, 1, axis=1))

    def mean(self, change: np.ndarray) -> tuple[float, float]:
        """The mean of a sample, and how far off it may be: rounding for a data set, five standard errors for draws."""
        spread = 0.0 if self.exact else 5 * change.std() / np.sqrt(len(change))
        return float(change.mean()), spread + 1e-9 * float(np.abs(change).max())

    def quadratic(self, charge: Charge, theta: np.ndarray) -> np.ndarray:
        """C at theta (D, n): (n,)."""
        return np.einsum("in,in->n", theta, charge.A @ theta) + 2 * charge.b @ theta

    @cached_property
    def seen(self) -> list[tuple[str, Charge, float, float]]:
        """(which drift, of which charge, its value by steps, how far off that may be): order 1, SGD and SVAG by Monte
        Carlo, order 2 by descent."""
        found, theta, g = [], self.theta[:, None], self.g
        eta, decay, temperature = STEP.learning_rate, STEP.weight_decay, STEP.temperature
        mean, h = self.theory.mean_gradient(self.theta), 1e-7
        noise = np.sqrt(temperature * h) * (g - mean[:, None])
        first, second = self.pairs()
        root = np.sqrt(2 * 3 - 1)
        mixed = (1 + root) / 2 * first + (1 - root) / 2 * second
        moved = [theta - h * (mean + decay * self.theta)[:, None] + sign * noise for sign in (1, -1)]
        steps = {
            "order 1": (moved, h),
            "increment": ([theta - eta * (g + decay * theta)], 1.0),
            "SVAG": ([theta - eta / 3 * (mixed + decay * theta)], eta / 3),
        }
        for charge in self.theory.charges:
            value = charge.value(self.theta)
            for what, (after, time) in steps.items():
                change = sum(self.quadratic(charge, x) for x in after) / len(after) - value
                mean_change, error = self.mean(change)
                found.append((what, charge, mean_change / time, error / time + 1e-6 * (1 + abs(value))))
            coarse, fine = (behind_flow(charge, self.theory.mean_gradient, self.theta, decay, s) for s in (2e-3, 1e-3))
            extra = 2 * fine - coarse
            found.append(("order 2", charge, extra, 2e-4 * (abs(extra) + abs(coarse)) + 1e-7))
        return found

    def disagreements(self) -> list[str]:
        """The predictions that differ from what was seen."""
        found = []
        for what, charge, seen, error in self.seen:
            if what == "increment":
                predicted = charge.increment_at(self.theta, STEP)
            elif what == "order 2":
                second, first = (charge.drift_at(self.theta, STEP, order=k) for k in (2, 1))
                predicted = (second - first) / STEP.learning_rate
            else:
                predicted = charge.drift_at(self.theta, STEP, svag=3 if what == "SVAG" else None)
            if abs(seen - predicted) > error:
                found.append(f"{what} of {charge.name}: {predicted} where steps give {seen} +- {error}")
        return found


def behind_flow(charge: Charge, grad: Any, theta: np.ndarray, decay: float, h: float) -> float:
    """(C after one step of descent - C after the gradient flow for time h)/h^2: what order 2 adds per eta, as h ->
    0."""

    def field(x: np.ndarray) -> np.ndarray:
        return -grad(x) - decay * x

    k1 = field(theta)
    k2 = field(theta + h / 2 * k1)
    k3 = field(theta + h / 2 * k2)
    k4 = field(theta + h * k3)
    return (charge.value(theta + h * k1) - charge.value(theta + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))) / h**2


@pytest.mark.parametrize("name", CHARGED)
def test_every_drift_agrees_with_steps_at_random_points(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every library loss; and each term of the formulas doubled is caught on it, unless it vanishes there for every
    charge. docs/theory.md eq. (3.2)."""
    points = [Sampled(name, k) for k in range(2)]
    for at in points:
        assert at.disagreements() == []
        seen = [at.mean(row) for row in at.g]
        mean = at.theory.mean_gradient(at.theta)
        assert all(abs(m - value) <= error + 1e-12 for m, (value, error) in zip(mean, seen, strict=True))
    plain, checked = Charge.terms, []
    for field in ("trace", "mean_form", "mean_dot", "quadratic", "decay"):
        size = max(abs(getattr(c.terms(at.theta), field)) for at in points for c in at.theory.charges)
        if size < 1e-3 or (field == "quadratic" and not points[0].exact):
            continue

        def doubled(self: Charge, theta: np.ndarray, field: str = field) -> drift.Terms:
            x = plain(self, theta)
            return replace(x, **{field: 2 * getattr(x, field)})

        with monkeypatch.context() as patch:
            patch.setattr(Charge, "terms", doubled)
            assert any(at.disagreements() for at in points), field
        checked.append(field)
    assert "decay" in checked


@pytest.mark.parametrize("name", LIBRARY)
def test_any_function_drifts_as_a_step_says_on_every_library_loss(name: str) -> None:
    """Losses without a charge too: a random quadratic C changes by eta (drift + finite step) on average. docs/theory.md
    eq. (3.1)."""
    at, rng = Sampled(name, 2, 4_000), np.random.default_rng(8)
    a, b = rng.standard_normal((at.loss.dimension,) * 2), rng.standard_normal(at.loss.dimension)
    a = a + a.T
    sizes = breaking(at.loss, (a, b), at.theory.noise).at(at.theta, STEP)
    after = at.theta[:, None] - STEP.learning_rate * (at.g + STEP.weight_decay * at.theta[:, None])
    value = np.einsum("in,ij,jn->n", after, a, after, optimize=True) + 2 * b @ after
    seen, error = at.mean(value - at.theta @ a @ at.theta - 2 * b @ at.theta)
    assert sizes.finite_step is not None
    assert abs(seen - STEP.learning_rate * (sizes.drift + sizes.finite_step)) < error


@pytest.mark.parametrize("factor", [1, 2, 5])
def test_svag_is_exact_over_all_pairs_of_minibatches(factor: int) -> None:
    """Steps eta/l along (1 + sqrt(2l - 1))/2 g_1 + (1 - sqrt(2l - 1))/2 g_2; l = 1 is SGD. Source: arXiv 2102.12470,
    algorithm 1. docs/theory.md eq. (3.7)."""
    rng, root = np.random.default_rng(4), np.sqrt(2 * factor - 1)
    for loss, sgd in product(tiny_losses(), SETTINGS):
        theta = rng.normal(size=loss.dimension)
        g = (theta - steps(loss, theta, sgd)) / sgd.learning_rate - sgd.weight_decay * theta
        mixed = ((1 + root) / 2 * g[:, None] + (1 - root) / 2 * g[None]).reshape(-1, len(theta))
        after = theta - sgd.learning_rate / factor * (mixed + sgd.weight_decay * theta)
        theory = derive(loss)
        for charge in theory.charges:
            truth = np.mean(charge.value(after) - charge.value(theta)) * factor / sgd.learning_rate
            predicted = charge.drift_at(theta, sgd, svag=factor)
            assert predicted == pytest.approx(truth, rel=1e-9, abs=1e-9)
            if factor == 1:
                assert predicted == pytest.approx(
                    charge.increment_at(theta, sgd) / sgd.learning_rate, rel=1e-13, abs=1e-14
                )


def test_svag_has_an_expression_and_refuses_what_it_is_not() -> None:
    charge, at = derive(losses.rescaling()).charges[0], {u: 1.1, w: -0.4}
    sgd = SGD(0.1, batch_size=2, weight_decay=0.2)
    assert float(charge.drift(sgd, svag=4).subs(at)) == pytest.approx(
        charge.drift_at(np.array([1.1, -0.4]), sgd, svag=4)
    )
    ratio = (charge.drift(svag=2) - charge.drift()) / (charge.drift(svag=6) - charge.drift())
    assert sp.simplify(ratio) == 3
    for bad in (0, -1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="drift: svag must be"):
            charge.drift(sgd, svag=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="order 2"):
        charge.drift_at(np.ones(2), sgd, order=2, svag=2)
    with pytest.raises(ValueError, match="without momentum"):
        charge.drift_at(np.ones(2), SGD(0.1, momentum=0.5), svag=2)


def test_rescaling_drift_is_the_known_rate() -> None:
    """dC/dt = -(4 T C_2(v) + 2 lambda) C with C_2 = alpha_1 v^2 - 2 alpha_2 v + alpha_3. Source: 2308.06671,
    docs/theory.md eq. (4.6)."""
    mean, std, noise = sp.symbols("mu s q", positive=True)
    charge = derive(losses.rescaling(mean, std, noise)).charges[0]
    v = u * w
    a1 = 4 * mean**2 * std**2 + 2 * std**4
    a3 = a1 + noise**2 * (mean**2 + std**2)
    rate = 4 * sp.Symbol("T", nonnegative=True) * (a1 * v**2 - 2 * a1 * v + a3) + 2 * sp.Symbol(
        "lambda_wd", nonnegative=True
    )
    assert sp.expand(charge.drift() + rate * (u**2 - w**2)) == 0


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_second_order_is_the_modified_gradient_flow(decay: float) -> None:
    """Order 2 adds <grad C, -grad(eta/4 |grad L|^2)> with weight decay in L, also for b != 0. Source: Li, Tai, E.
    docs/theory.md eq. (3.5)."""
    sgd = SGD(0.1, weight_decay=decay)
    for expression in ((u * w * x - y) ** 2, ((u + 1) * (w - 2) * x - y) ** 2):
        loss = tiny(expression, [u, w])
        charge = derive(loss).charges[0]
        table = loss.blocks[0].table
        risk = sum(expression.subs({x: a, y: b}) for a, b in table) / len(table) + sp.nsimplify(decay) / 2 * (
            u**2 + w**2
        )
        slope = sp.Matrix([sp.diff(risk, u), sp.diff(risk, w)])
        extra = [-sp.diff(slope.dot(slope), s) / 40 for s in (u, w)]
        at = {u: 0.7, w: -1.1}
        truth = sp.Add(*(sp.diff(charge.expression, s) * f for s, f in zip((u, w), extra, strict=True))).subs(at)
        difference = charge.drift(sgd, order=2) - charge.drift(sgd)
        assert float(difference.subs(at)) == pytest.approx(float(truth), rel=1e-10)
        assert charge.drift_at(np.array([0.7, -1.1]), sgd, order=2) == pytest.approx(
            float(charge.drift(sgd, order=2).subs(at))
        )


def test_matrix_law_of_factorisation() -> None:
    """d(U^T U - W W^T)/dt = T (W Gamma_W W^T - U^T Gamma_U U), entry by entry. Source: docs/theory.md eq. (4.8)."""
    theory = derive(losses.linear_net([3, 2, 4], (2, sp.Rational(1, 3))))
    rng = np.random.default_rng(7)
    theta = rng.normal(size=14)
    U, W = theta[:6].reshape(3, 2), theta[6:].reshape(2, 4)
    left, right = gammas(U @ W, np.eye(4) * 4, np.eye(3) / 9)
    truth = W @ right @ W.T - U.T @ left @ U
    drifts = [c.drift_at(theta, SGD(1.0)) for c in theory.charges]
    assert drifts == pytest.approx([truth[0, 0], truth[0, 1], truth[1, 1]], rel=1e-9)


def gammas(v: np.ndarray, cov_x: np.ndarray, cov_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gamma_U and Gamma_W of |V x - y|^2, x and y independent centred normals: G = 2 r x^T, r = V x - y (Isserlis)."""
    cov_r, cross = v @ cov_x @ v.T + cov_y, v @ cov_x
    left = 4 * (cov_r * np.trace(cov_x) + cross @ cross.T)
    right = 4 * (cov_x * np.trace(cov_r) + cross.T @ cross)
    return left, right


def test_schedule_momentum_and_sampling_enter_the_drift() -> None:
    charge = derive(losses.rescaling()).charges[0]
    plain = charge.drift(SGD(0.1, weight_decay=0.2))
    noise = charge.drift(SGD(0.1))
    decay = plain - noise
    factor = sp.Min(t / 5, 1)
    assert (
        sp.expand(charge.drift(SGD(0.1, weight_decay=0.2, schedule=warmup(5))) - factor * decay - factor**2 * noise)
        == 0
    )
    assert sp.expand(charge.drift(SGD(0.1, weight_decay=0.2, momentum=0.5)) - 2 * decay - 4 * noise) == 0
    with pytest.raises(ValueError, match="increment: exact only"):
        charge.increment(SGD(0.1, momentum=0.5))
    with pytest.raises(ValueError, match="drift: order"):
        charge.drift(SGD(0.1), order=3)
    with pytest.raises(ValueError, match="schedule"):
        charge.drift_at(np.ones(2), SGD(0.1, schedule=warmup(5)))
    with pytest.raises(ValueError, match="plain SGD"):
        charge.drift(SGD(0.1, momentum=0.5), order=2)


def test_drift_without_an_expression_names_its_trace() -> None:
    theory: Theory = derive(losses.softmax(3, 1))
    text = str(theory.charges[-1].drift())
    assert "Tr[Sigma*A" in text
    assert "lambda_wd" in text


@pytest.mark.parametrize("name", ["T", "eta", "lambda_wd"])
def test_a_parameter_named_as_a_setting_is_told_from_it(name: str) -> None:
    a = sp.Symbol(name, real=True)
    charge = derive(Loss((a * w * x - y) ** 2, [a, w], {x: Normal(0, 1), y: Normal(0, 1)})).charges[0]
    found = charge.drift(order=2)
    assert {s.name for s in found.free_symbols} == {"w", name, f"{name}_sgd", *{"T", "eta", "lambda_wd"} - {name}}
    sgd = SGD(0.1, weight_decay=0.5)
    settings = {"T": sp.Rational(1, 10), "eta": sp.Rational(1, 10), "lambda_wd": sp.Rational(1, 2)}
    held = {s: settings[s.name.removesuffix("_sgd")] for s in found.free_symbols - {a, w}}
    assert sp.expand(found.xreplace(held) - charge.drift(sgd, order=2)) == 0
