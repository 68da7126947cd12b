"""Sigma, its singular directions, and the class of every charge."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from symbolic import Bernoulli, Loss, Moments, Normal, Uniform, parameters
from symbolic.algebra.affine import AffineField
from symbolic.evaluation.tape import Tape
from symbolic.functions.activations import relu
from symbolic.library import LIBRARY
from symbolic.noise.covariance import Noise
from symbolic.noise.eigenspaces import Eigenspaces
from symbolic.noise.sign_class import GenericNoise, classify
from symbolic.theory import derive
from tests.symbolic import losses
from tests.symbolic.losses import u, w, x, y

SIGN = AffineField.from_matrices([[1, 0], [0, -1]])


def class_of(root: np.ndarray, field: AffineField, rounding: np.ndarray | None = None) -> tuple[str, str]:
    """Class and reason of a generator under Sigma = R R^T, R known but for `rounding`."""
    spaces = Eigenspaces.of(field)
    return classify(spaces, spaces.push(root, np.zeros(len(root)) if rounding is None else rounding))


@pytest.mark.parametrize("name", list(LIBRARY))
def test_class_of_every_library_loss(name: str) -> None:
    found = {c.classification for c in derive(LIBRARY[name].build()).charges}
    assert found == ({LIBRARY[name].class_} - {"none"})


@pytest.mark.parametrize("name", list(LIBRARY))
def test_sigma_is_the_covariance_of_sampled_gradients(name: str) -> None:
    loss, rng, n = LIBRARY[name].build(), np.random.default_rng(1), 60_000
    theta = loss.pack(LIBRARY[name].start)
    draws = np.concatenate([s for b in loss.blocks if (s := b.sample(n, rng, {})) is not None])
    g = Tape([loss.expression], (*loss.theta, *loss.z)).gradient(
        np.concatenate([np.repeat(theta[:, None], n, 1), draws]), len(theta)
    )[0]
    noise = Noise(loss)
    centred = g - g.mean(axis=1, keepdims=True)
    products = centred[:, None, :] * centred[None, :, :]
    error = products.std(axis=2) / np.sqrt(n) + 1e-9
    assert (np.abs(noise.sigma(theta) - products.mean(axis=2)) < 6 * error).all()
    assert (np.abs(noise.mean_gradient(theta) - g.mean(axis=1)) < 6 * (g.std(axis=1) / np.sqrt(n) + 1e-9)).all()


@pytest.mark.parametrize("name", list(LIBRARY))
def test_noise_is_blind_along_every_symmetry(name: str) -> None:
    loss = LIBRARY[name].build()
    theory, theta = derive(loss), loss.pack(LIBRARY[name].start)
    _, root = theory.noise.factor(theta)
    for a, b in theory.algebra.generators:
        v = np.array(a, dtype=float) @ theta + np.array(b, dtype=float)[:, 0]
        assert np.abs(root.T @ v).max(initial=0.0) < 1e-12 * (1 + np.abs(root).max() * np.abs(v).max())


def test_sigma_takes_many_points() -> None:
    theory = derive(losses.rescaling())
    points = np.random.default_rng(0).normal(size=(2, 3, 2))
    sigma, mean = theory.sigma(points), theory.mean_gradient(points)
    assert sigma.shape == (2, 3, 2, 2)
    assert mean.shape == (2, 3, 2)
    assert np.allclose(sigma[1, 2], theory.sigma(points[1, 2]))
    assert np.allclose(mean[0, 1], theory.mean_gradient(points[0, 1]))


def test_mixed_classes_in_one_algebra() -> None:
    """A rescaling pair, a scale-invariant vector and a translation, side by side."""
    a, b, c, d = sp.symbols("a b c d", real=True)
    f = u * w * x + a / sp.sqrt(a**2 + b**2) * x**2 + (c - d) * x**3
    theory = derive(Loss((f - y) ** 2, [u, w, a, b, c, d], {x: Normal(1, 1), y: Normal(0, 1)}))
    found = {str(charge.expression): (charge.kind, charge.classification) for charge in theory.charges}
    assert found["u**2 - w**2"] == ("rescaling", "convergent")
    assert found["a**2 + b**2"] == ("scale", "divergent")
    assert found["c + d"] == ("translation", "frozen")
    assert theory.independent_charges == 3


def test_no_noise_is_frozen() -> None:
    """Data that never vary: Sigma = 0."""
    assert class_of(np.zeros((2, 2)), SIGN)[0] == "frozen"
    loss = Loss((u * w * x - y) ** 2, [u, w], {x: Normal(1, 0), y: Normal(0, 0)})
    assert derive(loss).charges[0].classification == "frozen"


def test_noise_on_one_sign_only_diverges_both_ways() -> None:
    assert class_of(np.diag([1.0, 0.0]), SIGN)[1].endswith("grows without end")
    assert class_of(np.diag([0.0, 1.0]), SIGN)[1].endswith("falls without end")
    assert class_of(np.eye(2), SIGN)[0] == "convergent"
    assert class_of(np.diag([1.0, 1e-30]), SIGN)[0] == "convergent"
    assert class_of(np.diag([1.0, 1e-30]), SIGN, np.full(2, 1e-20))[0] == "divergent"


def test_symbols_in_the_law() -> None:
    m1, m2, m3, m4, s = sp.symbols("m1 m2 m3 m4 s", positive=True)
    loss = Loss((u * w * x - y) ** 2, [u, w], {x: Moments([m1, m2, m3, m4]), y: Normal(1, s)})
    theory = derive(loss)
    assert theory.charges[0].classification == "convergent"
    assert {m1, m2, m3, m4, s} <= theory.charges[0].drift().free_symbols
    with pytest.raises(ValueError, match="laws need numbers"):
        theory.sigma(np.ones(2))


def test_law_that_cannot_be_averaged_leaves_the_class_open() -> None:
    loss = Loss((u * relu(w * x) - y) ** 2, [u, w], {x: Moments([0, 1, 0, 3]), y: Normal(0, 1)})
    (charge,) = derive(loss).charges
    assert charge.classification is None
    assert "bare moments" in charge.reason


def test_trace_expression_matches_numbers_for_every_law() -> None:
    theta = np.array([0.7, -1.2])
    for law in (Normal(1, 2), Uniform(-1, 3), Bernoulli(sp.Rational(1, 3)), Moments([1, 2, 3, 9])):
        theory = derive(Loss((u * w * x - y) ** 2, [u, w], {x: law, y: Normal(1, 1)}))
        a, _ = theory.charges[0].generator
        trace = theory.noise.trace(a)
        assert trace is not None
        assert float(trace.subs({u: 0.7, w: -1.2})) == pytest.approx(
            np.trace(theory.sigma(theta) @ theory.charges[0].A), rel=1e-10
        )


def test_penalty_without_data_enters_the_mean_gradient_only() -> None:
    v = parameters(v=(2,))
    loss = Loss((v[0] * x - y) ** 2 + v[1] ** 4, [v], {x: Normal(0, 1), y: Normal(0, 1)})
    noise = Noise(loss)
    assert noise.mean_gradient(np.array([1.0, 2.0])) == pytest.approx([2.0, 32.0])
    assert noise.sigma(np.array([1.0, 2.0]))[1, 1] == 0


def test_class_is_exact_on_irrational_eigenspaces() -> None:
    """A = [[1, 1], [1, -2]] has irrational eigenvalues of both signs: any noise reaches both; none on its range leaves
    it frozen."""
    loss = Loss((u * x + w * y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)})
    generic = GenericNoise(loss, Noise(loss))
    assert generic.range is not None
    kind, reason = generic.classify(AffineField.from_matrices([[1, 1], [1, -2]]))
    assert kind == "convergent"
    assert "+: u, w; -: u, w" in reason


def test_class_follows_the_law_not_only_the_loss() -> None:
    """With a target that never varies and x = 1, only one direction is noisy; a degenerate law must not look
    generic."""
    a, b = sp.symbols("a b", real=True)
    loss = Loss((a * x - 1) ** 2 + (b * y - 1) ** 2, [a, b], {x: Normal(1, 1), y: Normal(1, 0)})
    generic = GenericNoise(loss, Noise(loss))
    sign = AffineField.from_matrices([[1, 0], [0, -1]])
    assert generic.classify(sign)[0] == "divergent"
    noisy = Loss(loss.expression, [a, b], {x: Normal(1, 1), y: Normal(1, 1)})
    assert GenericNoise(noisy, Noise(noisy)).classify(sign)[0] == "convergent"


@pytest.mark.parametrize("name", list(LIBRARY))
def test_exact_class_agrees_with_numbers(name: str) -> None:
    loss = LIBRARY[name].build()
    theory = derive(loss)
    root, rounding = theory.noise.at_point(np.random.default_rng(4).normal(size=loss.dimension), "test")[2:]
    for charge in theory.charges:
        assert charge.classification == class_of(root, charge.field, rounding)[0]
