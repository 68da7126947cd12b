"""The library's claims about itself, against formulas written out by hand and brute force in numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import library
from symbolic.functions.activations import gelu, leaky_relu, relu, sigmoid, silu, softplus
from symbolic.library import LIBRARY, Entry
from symbolic.problem.loss import Loss
from symbolic.theory import derive
from tests.naive.gradient import evaluate, gradients, values
from tests.naive.noise import moments, sample

NAMES = [name for name in LIBRARY if name != "two-layer-linear"]
STEP = 1e-40
Parameters = dict[str, np.ndarray]


def gram(tensor: np.ndarray, mode: int) -> np.ndarray:
    """G_k G_k' for a tensor unfolded along one mode."""
    flat = np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1)
    return flat @ flat.T


def columns(m: np.ndarray) -> np.ndarray:
    return (m**2).sum(axis=0)


def norms(m: np.ndarray) -> np.ndarray:
    return (m**2).sum(axis=1)


CHARGES: dict[str, Callable[[Parameters], list[Any]]] = {
    "rescaling": lambda p: [p["u"] ** 2 - p["w"] ** 2],
    "scalar-chain": lambda p: [p["u"][:-1] ** 2 - p["u"][1:] ** 2],
    "diagonal-network": lambda p: [p["u"] * p["v"]],
    "cp-factorization": lambda p: [columns(p["A"]) - columns(p["B"]), columns(p["B"]) - columns(p["C"])],
    "tucker-factorization": lambda p: [p[f].T @ p[f] - gram(p["G"], k) for k, f in enumerate("ABC")],
    "product-of-norms": lambda p: [p["u"] @ p["u"] - p["w"] @ p["w"]],
    "matrix-factorization": lambda p: [p["U"].T @ p["U"] - p["W"] @ p["W"].T],
    "deep-linear": lambda p: [p["W1"] @ p["W1"].T - p["W2"].T @ p["W2"], p["W2"] @ p["W2"].T - p["W3"].T @ p["W3"]],
    "scale-invariant": lambda p: [p["w"] @ p["w"]],
    "net-a": lambda p: [p["a"] @ p["a"] + (p["W"] ** 2).sum()],
    "net-b": lambda p: [p["a"] @ p["a"], (p["W"] ** 2).sum()],
    "weight-norm": lambda p: [norms(p["v"])],
    "radial": lambda p: [],
    "two-layer-relu": lambda p: [norms(p["W"]) + p["b"] ** 2 - p["a"] ** 2],
    "two-layer-leaky-relu": lambda p: [norms(p["W"]) + p["b"] ** 2 - p["a"] ** 2],
    "two-layer-quadratic": lambda p: [norms(p["W"]) - 2 * p["a"] ** 2],
    "two-layer-tanh": lambda p: [],
    "two-layer-gelu": lambda p: [],
    "two-layer-silu": lambda p: [],
    "separable-tanh": lambda p: [],
    "swiglu": lambda p: [norms(p["up"]) - columns(p["down"])],
    "residual-relu": lambda p: [norms(p["W1"]) - columns(p["W2"])],
    "softmax-regression": lambda p: [p["W"].sum(axis=0), p["b"].sum()],
    "single-head-attention": lambda p: [p["Q"] @ p["Q"].T - p["K"] @ p["K"].T, p["V"] @ p["V"].T - p["O"].T @ p["O"]],
    "gated-mixture": lambda p: [p["G"].sum(axis=0), p["c"].sum()],
}
"""The quadratic and linear charges that each entry names."""

BEYOND: dict[str, Callable[[Parameters], list[Any]]] = {
    "net-a": lambda p: [np.divide(*(norms(p["W"]) - 2 * p["a"] ** 2))],
    "product-of-norms": lambda p: [p["u"] / np.sqrt(p["u"] @ p["u"]), p["w"] / np.sqrt(p["w"] @ p["w"])],
    "radial": lambda p: [p["w"] / np.sqrt(p["w"] @ p["w"])],
    "separable-tanh": lambda p: [p["a"] ** 2 - (np.sinh(p["W"]) ** 2).sum(axis=1)],
}
"""Laws that the docstrings name and no affine symmetry gives."""

WRONG: dict[str, Callable[[Parameters], list[Any]]] = {
    "matrix-factorization": lambda p: [p["U"].T @ p["U"] + p["W"] @ p["W"].T],
    "tucker-factorization": lambda p: [p["A"].T @ p["A"] - gram(p["G"], 1)],
    "two-layer-quadratic": lambda p: [norms(p["W"]) - p["a"] ** 2],
    "swiglu": lambda p: [norms(p["gate"]) - columns(p["down"])],
    "residual-relu": lambda p: [columns(p["W1"]) - norms(p["W2"])],
    "single-head-attention": lambda p: [p["V"].T @ p["V"] - p["O"] @ p["O"].T],
    "separable-tanh": lambda p: [p["a"] ** 2 - 2 * (np.sinh(p["W"]) ** 2).sum(axis=1)],
    "two-layer-gelu": lambda p: [norms(p["W"]) - p["a"] ** 2],
}


@cache
def build(name: str) -> Loss:
    return LIBRARY[name].build()


def slopes(loss: Loss, charges: Callable[[Parameters], list[Any]], theta: np.ndarray) -> np.ndarray:
    """Gradients of all charges at theta by complex steps, shape (count, D)."""
    rows = []
    for i in range(len(theta)):
        tilted = loss.unpack(theta + 1j * STEP * np.eye(len(theta))[i])
        rows.append(np.concatenate([np.zeros(0), *(np.imag(np.ravel(c)) / STEP for c in charges(tilted))]))
    return np.array(rows).T


def leak(name: str, charges: Callable[[Parameters], list[Any]], points: int = 12) -> float:
    """Largest |<g, grad C>| over random points and samples, in units of the largest |g| there times |grad C|."""
    loss, rng, worst = build(name), np.random.default_rng(3), 0.0
    z = sample(loss, 40, rng)
    for _ in range(points):
        theta = rng.normal(size=loss.dimension)
        g, s = gradients(loss, theta, z), slopes(loss, charges, theta)
        size = np.linalg.norm(g, axis=1).max() * np.linalg.norm(s, axis=1)
        worst = max(worst, float((np.abs(g @ s.T) / size).max(initial=0.0)))
    return worst


@pytest.mark.parametrize("name", NAMES)
def test_what_an_entry_calls_a_charge_is_conserved_for_every_sample(name: str) -> None:
    assert leak(name, CHARGES[name]) < 1e-13
    theta = np.random.default_rng(4).normal(size=build(name).dimension)
    s = slopes(build(name), CHARGES[name], theta)
    assert (np.linalg.matrix_rank(s, tol=1e-9) if s.size else 0) == LIBRARY[name].independent


@pytest.mark.parametrize("name", NAMES)
def test_the_derivation_counts_the_laws_that_are_named(name: str) -> None:
    loss = build(name)
    theta, none = np.random.default_rng(4).normal(size=loss.dimension), lambda p: []
    both = np.concatenate([slopes(loss, CHARGES[name], theta), slopes(loss, BEYOND.get(name, none), theta)])
    assert derive(loss).conservation_laws == (np.linalg.matrix_rank(both, tol=1e-9) if both.size else 0)


@pytest.mark.parametrize("name", BEYOND)
def test_laws_beyond_symmetry_hold_for_every_sample(name: str) -> None:
    assert leak(name, BEYOND[name]) < 1e-13


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_charge_is_refused(name: str) -> None:
    assert leak(name, WRONG[name]) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_the_class_of_an_entry_is_that_of_the_noise_on_its_charges(name: str) -> None:
    entry, loss = LIBRARY[name], build(name)
    z = sample(loss, 400, np.random.default_rng(7))
    zero, unit = np.zeros(loss.dimension), np.eye(loss.dimension)
    _, sigma = moments(loss, loss.pack(entry.start), z)
    flat = slopes(loss, CHARGES[name], zero)
    kinds = set()
    for k in range(len(flat)):
        A = np.array([slopes(loss, CHARGES[name], e)[k] - flat[k] for e in unit]) / 2
        rates, vectors = np.linalg.eigh(A)
        power = np.einsum("ij,ik,kj->j", vectors, sigma, vectors) / np.trace(sigma)
        up, down = power[rates > 1e-9].sum() > 1e-9, power[rates < -1e-9].sum() > 1e-9
        kinds.add("convergent" if up and down else "divergent" if up or down else "frozen")
    assert kinds == {entry.class_} - {"none"}


@pytest.mark.parametrize("name", NAMES)
def test_default_runs_are_stable(name: str) -> None:
    """Fifty paths of SGD over 2000 steps."""
    entry, steps, paths = LIBRARY[name], 2000, 50
    loss = build(name)
    z = sample(loss, steps * paths, np.random.default_rng(5)).reshape(steps, paths, -1)
    exact = [sp.diff(loss.expression, s) for s in loss.theta]
    own = {"step": lambda x: 1.0 * (x > 0), "relu": lambda x: np.maximum(x, 0.0)}
    g = sp.lambdify([loss.theta, loss.z], exact, modules=[own, "scipy", "numpy"], cse=True)
    theta = np.repeat(loss.pack(entry.start)[:, None], paths, axis=1)
    for batch in z:
        theta = theta - entry.sgd.learning_rate * np.array([np.broadcast_to(e, paths) for e in g(theta, batch.T)])
    assert np.abs(theta).max() < 5


def test_entries_are_small_and_named_after_their_loss() -> None:
    for name in NAMES:
        assert build(name).dimension <= 26
        assert build(name).name == name
        assert isinstance(LIBRARY[name], Entry)
        assert getattr(library, name.replace("-", "_")) is LIBRARY[name].build
    assert set(library.__all__) == {name.replace("-", "_") for name in LIBRARY} | {"LIBRARY", "Entry", "rows"}


def test_losses_stay_factored() -> None:
    for expression in (library.matrix_factorization(3, 2, 4).expression, library.swiglu(outputs=3).expression):
        assert len(expression.args) == 3
        assert all(isinstance(term, sp.Pow) for term in expression.args)


def test_sizes_are_arguments() -> None:
    assert library.matrix_factorization(2, 1, 3).dimension == 5
    assert library.deep_linear((2, 3, 2)).dimension == 12
    assert library.scalar_chain(5).dimension == 5
    assert library.diagonal_network(4).dimension == 8
    assert library.cp_factorization((2, 3, 4), 3).dimension == 27
    assert library.cp_factorization((2, 3), 1).dimension == 5
    assert library.tucker_factorization((2, 3, 4), (2, 1, 3)).dimension == 6 + 4 + 3 + 12
    assert library.product_of_norms(1, 4).dimension == library.radial(5).dimension == 5
    assert library.net_a(3, 2).dimension == library.net_b(3, 2).dimension == 9
    assert library.weight_norm(3, 2).dimension == 9
    assert library.two_layer_relu(inputs=3, hidden=4).dimension == 20
    assert library.two_layer_leaky_relu(inputs=3, hidden=4, slope=sp.Rational(1, 5)).dimension == 20
    assert library.two_layer_quadratic(3, 4).dimension == library.two_layer_gelu(3, 4).dimension == 16
    assert library.two_layer_tanh(1, 1).dimension == library.two_layer_silu(1, 1).dimension == 2
    assert library.separable_tanh(3, 2).dimension == 8
    assert library.swiglu(2, 3, 2).dimension == 18
    assert library.residual_relu(2, 3).dimension == 12
    assert library.residual_relu(2, 3, readout=True).dimension == 14
    assert library.softmax_regression(inputs=1, classes=2).dimension == 4
    assert library.single_head_attention(3, 1, 2, 1, tokens=2).dimension == 3 + 3 + 6 + 2
    assert library.gated_mixture(1, 3).dimension == 9


def test_a_tensor_factorisation_is_the_sum_that_its_docstring_says() -> None:
    """CP and Tucker against np.einsum, at sizes that are all different; the targets are read off at theta = 0, where
    the model is 0."""
    rng = np.random.default_rng(0)
    A, B, C, G = (rng.normal(size=s) for s in ((2, 2), (3, 2), (4, 2), (2, 2, 2)))
    for loss, model, start in (
        (library.cp_factorization((2, 3, 4), 2), np.einsum("ir,jr,kr->ijk", A, B, C), {"A": A, "B": B, "C": C}),
        (
            library.tucker_factorization((2, 3, 4), (2, 2, 2)),
            np.einsum("abc,ia,jb,kc->ijk", G, A, B, C),
            {"G": G, "A": A, "B": B, "C": C},
        ),
    ):
        theta, e = loss.pack(start), rng.normal(size=24)
        bare, one = values(loss, 0 * theta, np.zeros((1, 24)))[0], values(loss, 0 * theta, np.eye(24))
        target = (one - bare - 1) / 2
        found = values(loss, theta, e[None, :])[0]
        assert found == pytest.approx(((model.ravel() - target - e) ** 2).sum(), rel=1e-12)


def test_activations_are_the_textbook_ones() -> None:
    from scipy.special import expit
    from scipy.stats import norm

    s = sp.Symbol("s", real=True)
    at = np.array([-2.5, -0.3, 0.0, 0.7, 3.1])
    for function, expected in (
        (relu, np.maximum(at, 0)),
        (leaky_relu, np.where(at > 0, at, at / 100)),
        (lambda v: leaky_relu(v, sp.Rational(1, 4)), np.where(at > 0, at, at / 4)),
        (sigmoid, expit(at)),
        (silu, at * expit(at)),
        (gelu, at * norm.cdf(at)),
        (softplus, np.log1p(np.exp(at))),
    ):
        assert np.allclose(np.real(evaluate(function(s), {s: at + 0j})), expected, rtol=1e-14, atol=1e-16)


def test_data_sets_are_fixed() -> None:
    """The synthetic samples come from NumPy's frozen legacy stream: the same numbers everywhere, for good."""
    (block,) = build("two-layer-relu").blocks
    assert np.allclose(block.table[0], [2.116863, 0.240094, 2.606232], atol=1e-6)
    (block,) = build("swiglu").blocks
    assert np.allclose(block.table[0], [2.116863, 0.240094, 2.606232], atol=1e-6)


def test_rows_tell_the_whole_table() -> None:
    table = library.rows()
    assert [row["name"] for row in table] == list(LIBRARY)
    assert all(row[key] for row in table for key in ("loss", "symmetry", "charges", "class", "source"))
    assert all("Source:" in doc or "After " in doc for doc in (str(e.build.__doc__) for e in LIBRARY.values()))
    assert all("ymmetry:" in str(e.build.__doc__) or "ymmetry and" in str(e.build.__doc__) for e in LIBRARY.values())
