"""The split of Sigma by what is redrawn: total covariance, full-batch descent with fresh labels enumerated, and the
known regression."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import SGD, Bernoulli, Dataset, Loss, Moments, Normal, Uniform, derive
from symbolic.evaluation.tape import Tape
from symbolic.library import LIBRARY
from symbolic.noise.covariance import Noise
from symbolic.predictions.label_noise import label_noise
from tests.symbolic import losses
from tests.symbolic.losses import HALF, e, u, w, x, y

m, p, q = sp.symbols("m p q", real=True)
POINTS = np.array([0.7, -1.2, 0.4])


def noisy_rows(function: Any = lambda a: a) -> Loss:
    """Three fixed inputs, labels flipped by a fresh Bernoulli bit."""
    data = [Dataset({x: POINTS, y: [0.5, -0.3, 0.2]}), {m: Bernoulli(sp.Rational(1, 4))}]
    return Loss((function(u * w * x) - y - 2 * m) ** 2, [u, w], data)


def test_parts_add_up_to_sigma() -> None:
    """Law of total covariance, for polynomial losses and for others on what can be enumerated."""
    rng = np.random.default_rng(1)
    data = {x: Uniform(-1, 2), y: Normal(1, HALF), m: Bernoulli(HALF), p: Moments([0, 1, 0, 3])}
    mixed = Loss((u * w * x - y * m) ** 2 + u * p**2, [u, w], data)
    cases: list[tuple[Loss, Any]] = [
        (losses.rescaling(1), e),
        (losses.rescaling(1), "x"),
        (mixed, [y, "m"]),
        (mixed, p),
    ]
    cases += [(LIBRARY["matrix-factorization"].build(), "e"), (noisy_rows(), m), (noisy_rows(sp.tanh), m)]
    cases += [(losses.rescaling(1), [x, e])]
    for loss, drawn in cases:
        theta = rng.normal(size=loss.dimension)
        split = label_noise(loss, drawn)
        label, rest = split.sigma(theta)
        whole = _whole(loss).sigma(theta)
        assert np.abs(label + rest - whole).max() < 1e-12 * np.abs(whole).max()
        assert min(np.linalg.eigvalsh(label).min(), np.linalg.eigvalsh(rest).min()) > -1e-12 * np.abs(whole).max()
        assert 0 < split.share(theta) <= 1
        assert np.allclose(split.label.mean_gradient(theta), _whole(loss).mean_gradient(theta), rtol=1e-12, atol=1e-13)
    assert np.abs(split.sigma(theta)[1]).max() == 0


def _whole(loss: Loss) -> Any:
    """Sigma and gbar over all pairs of row and bit where the loss is noisy_rows, else the package's own."""
    if loss.blocks[0].name != "dataset":
        return Noise(loss)

    class Pairs:
        def _all(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            table = np.repeat(loss.blocks[0].table.T, 2, axis=1)
            bits, chance = np.tile([0.0, 1.0], 3), np.tile([0.75, 0.25], 3) / 3
            inputs = np.concatenate([np.repeat(theta[:, None], 6, 1), table, bits[None]])
            return Tape([loss.expression], (*loss.theta, *loss.z)).gradient(inputs, len(theta))[0], chance

        def mean_gradient(self, theta: np.ndarray) -> np.ndarray:
            g, chance = self._all(theta)
            return g @ chance

        def sigma(self, theta: np.ndarray) -> np.ndarray:
            g, chance = self._all(theta)
            return np.cov(g, aweights=chance, bias=True)

    return Pairs()


def draws(loss: Loss, theta: np.ndarray, rows: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The batch gradient for every outcome of the bits on the given rows, and their probabilities."""
    table, n = loss.blocks[0].table.T[:, list(rows)], len(rows)
    tape = Tape([loss.expression], (*loss.theta, *loss.z))
    out, chance = [], []
    for bits in product((0.0, 1.0), repeat=n):
        inputs = np.concatenate([np.repeat(theta[:, None], n, 1), table, [bits]])
        out.append(tape.gradient(inputs, len(theta))[0].mean(axis=1))
        chance.append(np.prod([0.25 if b else 0.75 for b in bits]))
    return np.array(out).T, np.array(chance)


@pytest.mark.parametrize("function", [lambda a: a, sp.tanh], ids=["polynomial", "tanh"])
def test_full_batch_descent_with_fresh_labels(function: Any) -> None:
    """Cov of the gradient is label/N over all label outcomes; a minibatch without replacement adds (N - S)/(N - 1) of
    the rest, over S."""
    loss, theta = noisy_rows(function), np.array([0.8, -0.5])
    label, rest = label_noise(loss, m).sigma(theta)
    g, chance = draws(loss, theta, (0, 1, 2))
    assert np.allclose(np.cov(g, aweights=chance, bias=True), label / 3, rtol=1e-12, atol=1e-14)
    parts = [draws(loss, theta, rows) for rows in combinations(range(3), 2)]
    g, chance = np.concatenate([a for a, _ in parts], axis=1), np.concatenate([b for _, b in parts]) / 3
    assert np.allclose(
        np.cov(g, aweights=chance, bias=True), label / 2 + rest / 2 * (3 - 2) / (3 - 1), rtol=1e-12, atol=1e-14
    )


def test_charge_increment_under_label_noise_is_exact() -> None:
    """E[C' - C] over all label outcomes is `increment` of the label part at batch_size = N; the rest part thins without
    replacement."""
    loss, theta = noisy_rows(), np.array([0.8, -0.5])
    split, charge = label_noise(loss, "m"), derive(loss).charges[0]
    alone, other = split.charge(charge), split.charge(charge, "rest")
    sgd = SGD(0.2, batch_size=3, weight_decay=0.3)
    g, chance = draws(loss, theta, (0, 1, 2))
    after = theta[:, None] - 0.2 * (g + 0.3 * theta[:, None])
    truth = (charge.value(after.T) - charge.value(theta)) @ chance
    assert alone.increment_at(theta, sgd) == pytest.approx(truth, rel=1e-12)
    at: Any = {u: 0.8, w: -0.5}
    assert float(alone.increment(sgd).subs(at)) == pytest.approx(truth, rel=1e-9)
    assert charge.increment_at(theta, sgd) != pytest.approx(truth, rel=1e-3)
    kept = SGD(0.2, batch_size=3, replacement=False)
    assert other.drift_at(theta, kept) == 0
    assert alone.drift_at(theta, kept) == alone.drift_at(theta, SGD(0.2, batch_size=3)) != 0
    whole = alone.drift_at(theta, SGD(0.2)) + other.drift_at(theta, SGD(0.2))
    assert whole == pytest.approx(charge.drift_at(theta, SGD(0.2)), rel=1e-9)


def test_regression_at_an_interpolating_minimum() -> None:
    """Gamma_U = 4 Tr(Sigma_x) Sigma_e, Gamma_W = 4 Tr(Sigma_e) Sigma_x; input noise alone is frozen there. Source:
    docs/theory.md eq. (4.9)."""
    loss = LIBRARY["matrix-factorization"].build()
    theory, split, rng = derive(loss), label_noise(loss, "e"), np.random.default_rng(2)
    x_, e_ = ([s for s in loss.z if s.name.startswith(n)] for n in "xe")
    at_zero = [r.base.subs(dict.fromkeys((*loss.theta, *e_), 0)) for r in loss.expression.args]
    V = -np.array([[sp.diff(r, s) for s in x_] for r in at_zero], dtype=float)
    left, sizes, right = np.linalg.svd(V)
    mix = rng.normal(size=(2, 2)) + 2 * np.eye(2)
    U, W = left[:, :2] * sizes[:2] @ mix, np.linalg.solve(mix, right[:2])
    theta = np.concatenate([U.ravel(), W.ravel()])
    assert np.abs(theory.mean_gradient(theta)).max() < 1e-12
    cov_x, cov_e = (np.array(b.parameters["covariance"], dtype=float) for b in loss.blocks)
    truth = W @ (4 * np.trace(cov_e) * cov_x) @ W.T - U.T @ (4 * np.trace(cov_x) * cov_e) @ U
    balance, upper = U.T @ U - W @ W.T, np.triu_indices(2)
    drifts = np.array([split.charge(c).drift_at(theta, SGD(1.0)) for c in theory.charges])
    values = np.array([c.value(theta) for c in theory.charges])
    assert drifts / values == pytest.approx(truth[upper] / balance[upper], rel=1e-9)
    assert np.abs(split.rest.sigma(theta)).max() < 1e-20
    assert split.share(theta) == pytest.approx(1)
    for charge in theory.charges:
        assert split.classify_at(charge, theta)[0] == "convergent"
        assert split.classify_at(charge, theta, "rest")[0] == "frozen"
        assert split.classify_at(charge, theta + 0.1, "rest")[0] == "convergent"
        assert split.charge(charge).classification == "convergent"


def test_traces_have_expressions_that_add_up() -> None:
    s = sp.Symbol("s", positive=True)
    loss = losses.rescaling(1, 2, s)
    split, charge = label_noise(loss, e), derive(loss).charges[0]
    a = charge.generator[0]
    label, rest, whole = (n.trace(a) for n in (split.label, split.rest, charge.noise))
    assert label is not None and rest is not None and whole is not None
    assert charge.expression == u**2 - w**2
    assert sp.expand(label - 4 * 5 * s**2 * (w**2 - u**2)) == 0
    assert sp.expand(label + rest - whole) == 0
    known = label_noise(loss, e, {s: 0.7})
    theta = np.array([1.1, -0.4])
    number = np.trace(known.sigma(theta)[0] @ charge.A)
    assert float(label.subs({s: 0.7, u: 1.1, w: -0.4})) == pytest.approx(number)
    with pytest.raises(ValueError, match="laws need numbers"):
        split.sigma(theta)


def test_class_under_label_noise_alone() -> None:
    """p q meets no redrawn variable: its charge is frozen under label noise, convergent otherwise. Same on data that
    are only sampled."""
    laws = {x: Normal(0, 1), e: Normal(0, 1), y: Normal(0, 1)}
    for f in (lambda a: a, sp.tanh):
        loss = Loss((f(u * w * x) - x - e) ** 2 + (p * q - y) ** 2, [u, w, p, q], laws)
        split = label_noise(loss, e)
        found = {str(c.expression): (split.charge(c), split.charge(c, "rest")) for c in derive(loss).charges}
        classes = {k: (a.classification, b.classification) for k, (a, b) in found.items()}
        assert classes == {"u**2 - w**2": ("convergent", "convergent"), "p**2 - q**2": ("frozen", "convergent")}
        alone = found["p**2 - q**2"][0]
        assert abs(alone.drift_at(np.array([0.5, 0.4, 1.0, 0.3]), SGD(0.1))) < 1e-15
        assert split.label.source == ("features" if f is not sp.tanh else "samples")


def test_sampled_parts_are_right_on_average() -> None:
    """tanh with normal inputs and labels: within 5% of Gauss quadrature of both parts (256 x 256 draws)."""
    loss, theta = (
        Loss((sp.tanh(u * x) * w - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(HALF, HALF)}),
        np.array([0.8, 0.6]),
    )
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    h = np.tanh(0.8 * nodes)
    slope = np.array([0.6 * nodes * (1 - h**2), h])
    base = 2 * (0.6 * h - 0.5) * slope
    truth = np.cov(base, aweights=weights, bias=True), (slope * weights) @ slope.T
    label, rest = label_noise(loss, y).sigma(theta)
    assert np.allclose(label, truth[1], rtol=0.15, atol=0.02)
    assert np.allclose(rest, truth[0], rtol=0.15, atol=0.02)


def test_bad_input_is_named() -> None:
    loss = losses.rescaling()
    for bad, match in (
        (u, "must name a data variable"),
        ("noise", "must name a data variable"),
        (3, "must name a data variable"),
    ):
        with pytest.raises(ValueError, match=match):
            label_noise(loss, bad)
    with pytest.raises(ValueError, match="must enter the loss"):
        label_noise(Loss(u * x, [u], {x: Normal(0, 1), y: Normal(0, 1)}), y)
    with pytest.raises(ValueError, match="dataset law"):
        label_noise(Loss((u * x - y) ** 2, [u], Dataset({x: [1.0, 2.0], y: [0.0, 1.0]})), y)
    pair = sp.ImmutableMatrix([x, y])
    with pytest.raises(ValueError, match="normal law"):
        label_noise(Loss((u * x - y) ** 2, [u], {pair: Normal(0, covariance=[[1, HALF], [HALF, 1]])}), y)
    apart = label_noise(Loss((u * x - y) ** 2, [u], {pair: Normal(0, 1)}), y)
    assert float(apart.sigma(np.array([0.3]))[0][0, 0]) == pytest.approx(4)
    with pytest.raises(ValueError, match="origin must be"):
        label_noise(loss, e).charge(derive(loss).charges[0], "labels")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same loss"):
        label_noise(loss, e).charge(derive(losses.rescaling()).charges[0])
    with pytest.raises(ValueError, match="bare moments"):
        label_noise(Loss(sp.tanh(u * x) * y, [u], {x: Normal(0, 1), y: Moments([0, 1])}), y).sigma(np.ones(1))
    assert "e redrawn" in str(label_noise(loss, e))
