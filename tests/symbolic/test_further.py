"""Laws beyond quadratics: found where they are known, refused where they are none."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from symbolic import Loss, Normal
from symbolic.evaluation.tape import Tape
from symbolic.library import LIBRARY
from symbolic.problem.parameter import entries
from symbolic.symmetry.nonquadratic_laws import new_laws, polynomial_laws, separable_laws
from symbolic.theory import derive
from tests.symbolic import losses
from tests.symbolic.losses import u, w, x, y

GAUSS = {x: Normal(0, 1), y: Normal(0, 1)}


@pytest.mark.parametrize(
    ("expression", "degree", "expected"),
    [
        ((1 / u + 1 / w) * x, 3, u**3 - w**3),
        (x * (w + 1 / u), 3, u**3 + 3 * w),
        ((u * w * x - y) ** 2, 2, u**2 - w**2),
    ],
    ids=str,
)
def test_polynomials(expression: sp.Expr, degree: int, expected: sp.Expr) -> None:
    (law,) = polynomial_laws(Loss(expression, [u, w], GAUSS), degree)
    assert sp.expand(law - expected) == 0
    assert polynomial_laws(Loss(expression, [u, w], GAUSS), degree - 1) == []


def test_products_of_charges_are_found_but_not_new() -> None:
    loss = losses.rescaling()
    laws = polynomial_laws(loss, 4)
    assert {sp.factor(law) for law in laws} == {sp.factor(u**2 - w**2), sp.factor((u**2 - w**2) ** 2)}
    assert new_laws(loss, laws, [derive(loss).charges[0].expression]) == []


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (w * x * sp.tanh(u), 2 * w**2 - sp.cosh(2 * u)),
        (x * (w + sp.exp(u)), w + sp.exp(-u)),
        (x * (sp.sqrt(u) + w), 4 * u ** sp.Rational(3, 2) - 3 * w),
        (x * (u**3 + w), 3 * w + 1 / u),
    ],
    ids=str,
)
def test_separable(expression: sp.Expr, expected: sp.Expr) -> None:
    (law,) = separable_laws(Loss(expression, [u, w], GAUSS))
    ratio = sp.simplify(sp.diff(law, w) / sp.diff(expected, w))
    assert ratio.is_number
    assert sp.simplify(sp.diff(law - ratio * expected, u).rewrite(sp.exp)) == 0


ACTIVATIONS = {"tanh": sp.tanh, "silu": lambda s: s / (1 + sp.exp(-s)), "cube": lambda s: s**3, "exp": sp.exp}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_whitened_network_keeps_what_its_activation_says(name: str) -> None:
    """|a|^2 - 2 int sigma/sigma'(w): its rate vanishes, and where SymPy knows the integral it is constant along
    gradient flow."""
    a, W, Y = entries("a", (2,)), entries("W", (1,)), entries("y", (2,))
    sigma = ACTIVATIONS[name](W[0])
    loss = Loss(
        sp.Add(*((a[k] * sigma - Y[k]) ** 2 for k in range(2))),
        {"a": a, "W": W},
        {sp.ImmutableDenseNDimArray(Y): Normal(0, 1)},
    )
    laws = separable_laws(loss)
    assert any(law.free_symbols == set(loss.theta) for law in laws)
    tape = Tape([loss.expression], (*loss.theta, *loss.z))

    def flow(_: float, theta: np.ndarray) -> np.ndarray:
        return -tape.gradient(np.concatenate([theta, [1.0, -0.5]])[:, None], 3)[0, :, 0]

    start = np.array([0.7, -0.3, 0.8])
    path = solve_ivp(flow, (0, 3), start, rtol=1e-11, atol=1e-12).y
    assert np.ptp(path[2]) > 1e-2
    for law in laws:
        slopes = [sp.lambdify(loss.theta, sp.diff(law, s), "numpy") for s in loss.theta]
        rates = np.array([slope(*start) for slope in slopes], dtype=float)
        assert abs(rates @ flow(0, start)) < 1e-12 * np.abs(rates).max(), law
        if not law.has(sp.Integral):
            value = sp.lambdify(loss.theta, law, "numpy")(*path)
            assert np.ptp(value) < 1e-8 * (1 + np.abs(value).max()), law


def test_library_loss() -> None:
    loss = LIBRARY["separable-tanh"].build()
    theory = derive(loss)
    assert (theory.conservation_laws, theory.independent_charges) == (2, 0)
    assert len(new_laws(loss, separable_laws(loss), [])) == 2


def test_none_where_there_is_none() -> None:
    loss = LIBRARY["two-layer-tanh"].build()
    assert separable_laws(loss) == []
    assert polynomial_laws(loss, 3) == []


@pytest.mark.parametrize(
    "f",
    [
        sp.Piecewise((u**2, sp.Abs(u) < 1), (2 * sp.Abs(u) - 1, True)) + w,
        sp.Piecewise((u**2, u < 1), (2 * u - 1, True)) * sp.Piecewise((w, w > 0), (2 * w, True)),
        sp.Piecewise((sp.sin(u), u < 1), (0, True)) + w,
        sp.Piecewise((sp.Piecewise((u**3, u < 2), (u, True)), u > 0), (-u, True)) + w**2,
    ],
)
def test_branches_of_a_parameter_are_no_functions_of_it(f: sp.Expr) -> None:
    """A branch of a Piecewise holds its condition beside its value: summaries and records of such losses are told."""
    theory = derive(Loss((f * x - y) ** 2, [u, w], GAUSS))
    assert theory.summary()
    assert theory.to_json()["charges"] == []


def test_bad_input() -> None:
    loss = losses.rescaling()
    with pytest.raises(ValueError, match="degree must be a whole number"):
        polynomial_laws(loss, 0)
    with pytest.raises(ValueError, match="coefficients are sought"):
        polynomial_laws(LIBRARY["matrix-factorization"].build(), 12)
    with pytest.raises(ValueError, match="besselj"):
        separable_laws(Loss(sp.besselj(0, u) * w * x, [u, w], GAUSS))
