"""Both sides of the equation of equilibrium, as arrays; and families as mathematics."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from symbolic import SGD, Dataset, InputError, Loss, Normal, derive, library, parameters
from symbolic.symmetry import find_families

RNG = np.random.default_rng(4)


def linear(h: int, dy: int, dx: int):
    """|U W x - y|^2 over rows, whose sides are known by hand."""
    U, W = parameters(U=(dy, h), W=(h, dx))
    x, y = sp.symbols(f"x0:{dx}", real=True), sp.symbols(f"y0:{dy}", real=True)
    X, Y = RNG.normal(size=(50, dx)), RNG.normal(size=(50, dy))
    r = sp.Matrix(U) * sp.Matrix(W) * sp.Matrix(x) - sp.Matrix(y)
    return Loss(sum(e**2 for e in r), [U, W], Dataset({x: X, y: Y}), name="linear"), X, Y


@pytest.mark.parametrize("h, dy, dx", [(2, 2, 2), (2, 3, 2), (3, 2, 3)])
def test_sides_of_a_factorisation_are_its_covariances(h: int, dy: int, dx: int) -> None:
    loss, X, Y = linear(h, dy, dx)
    (family,) = derive(loss).families
    at = {"U": RNG.normal(size=(dy, h)), "W": RNG.normal(size=(h, dx))}
    G = 2 * np.einsum("ni,nj->nij", X @ (at["U"] @ at["W"]).T - Y, X)
    mean = G.mean(axis=0)
    gamma_u = np.einsum("nij,nkj->ik", G, G) / len(G) - mean @ mean.T
    gamma_w = np.einsum("nij,nik->jk", G, G) / len(G) - mean.T @ mean
    left, right = family.sides(at)
    upward, downward = at["W"] @ gamma_w @ at["W"].T, at["U"].T @ gamma_u @ at["U"]
    if family.text.startswith("W"):
        upward, downward = downward, upward
    np.testing.assert_allclose(left, upward, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(right, downward, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "name",
    [
        "rescaling",
        "matrix-factorization",
        "two-layer-relu",
        "single-head-attention",
        "scale-invariant",
        "cp-factorization",
        "swiglu",
    ],
)
def test_sides_differ_by_the_drift(name: str) -> None:
    theory, sgd = derive(library.LIBRARY[name].build()), SGD(0.02)
    theta = RNG.normal(size=theory.loss.dimension)
    for family in theory.families:
        left, right = family.sides(theta)
        sigma = theory.sigma(theta)
        for index, generator in family.entries.items():
            assert (left - right)[index] == pytest.approx(generator.trace(sigma), rel=1e-9, abs=1e-9)
        if family.symmetric:
            assert (left == left.T).all() and (right == right.T).all()
    for charge in theory.charges:
        up, down = charge.sides(theta)
        assert up >= -1e-9 and down >= -1e-9
        assert sgd.temperature * (up - down) == pytest.approx(charge.drift_at(theta, sgd), rel=1e-8, abs=1e-9)


def test_sides_agree_at_the_equilibrium() -> None:
    theory = derive(library.matrix_factorization())
    at = {p.name: RNG.normal(size=p.shape) for p in theory.loss.parameters}
    joint = theory.equilibrium(at, SGD(0.01)).joint
    (family,) = theory.families
    left, right = family.sides(joint.theta)
    np.testing.assert_allclose(left, right, atol=1e-6 * np.abs(left).max())
    apart = family.sides(at)
    assert np.abs(apart.left - apart.right).max() > 1e-2 * np.abs(apart.left).max()


def test_families_are_mathematics() -> None:
    (family,) = derive(library.matrix_factorization()).families
    assert str(family).splitlines()[0] == "C = U.T @ U - W @ W.T  (symmetric 2 x 2, 3 charges)"
    assert str(family).splitlines()[1].startswith("dC/dt = -2*lambda_wd*C + T*E_c[g_U.T @ g_U")
    assert family.equation()[0] == "E_c[g_U.T @ g_U] = E_c[g_W @ g_W.T]"
    assert r"U^{\mathsf T} U - W W^{\mathsf T}" in family._repr_latex_() and "$" in family._repr_html_()
    assert repr(family) == str(family)


def test_a_sum_has_no_noise_on_either_side() -> None:
    theory = derive(library.softmax_regression())
    family = theory.families[0]
    assert family.kind == "sum" and family.equation() == ("", "")
    left, right = family.sides(np.zeros(theory.loss.dimension))
    assert not left.any() and not right.any() and left.shape == family.shape


def test_sides_need_the_noise() -> None:
    u, w, x = sp.symbols("u w x", real=True)
    loss = Loss((u * w * x - x) ** 2, [u, w], {x: Normal(0, 1)})
    theory = derive(loss)
    bare = find_families(loss, [c.field for c in theory.charges])[0]
    with pytest.raises(InputError, match="needs the noise"):
        bare.sides({u: 1.0, w: 1.0})
    with pytest.raises(InputError, match="w"):
        theory.families[0].sides({u: 1.0})
