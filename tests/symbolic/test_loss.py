"""Losses: their parameters and symbols, packing, and the problems they report, all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import Loss, Normal, Uniform, parameters
from symbolic.problem.parameter import entries

u, w, x, y = sp.symbols("u w x y", real=True)
GAUSS = {x: Normal(0, 1)}


def test_entries_and_parameters_make_the_same_symbols() -> None:
    U, v, s, T = parameters(U=(3, 2), v=(4,), s=(), T=(2, 2, 2))
    assert tuple(U) == tuple(entries("U", (3, 2)).ravel())
    assert U[2, 1] == sp.Symbol("U[2,1]", real=True)
    assert v.shape == (4, 1) and v[3] == sp.Symbol("v[3]", real=True)
    assert s == sp.Symbol("s", real=True) and entries("s").shape == ()
    assert T.shape == (2, 2, 2) and T[1, 0, 1] == sp.Symbol("T[1,0,1]", real=True)


@pytest.mark.parametrize("form", ["matrix", "numpy", "dict", "array"])
def test_theta_is_row_major_whatever_the_form(form: str) -> None:
    U = entries("U", (2, 3))
    given: Any = {
        "matrix": [sp.Matrix(U.tolist()), w],
        "numpy": [U, w],
        "dict": {"U": U, "w": w},
        "array": [sp.ImmutableDenseNDimArray(U.tolist()), w],
    }[form]
    loss = Loss(sp.Add(*U.ravel()) * w * x, given, GAUSS)
    assert [(p.name, p.shape) for p in loss.parameters] == [("U", (2, 3)), ("w", ())]
    assert loss.theta == (*U.ravel(), w)
    assert loss.dimension == 7 and loss.z == (x,)


def test_names_in_a_mapping_win() -> None:
    loss = Loss(u * x, {"weight": u}, GAUSS)
    assert loss.parameters[0].name == "weight"
    assert loss.pack({"weight": 2.0}) == [2.0]


def test_pack_and_unpack_are_inverse() -> None:
    U, v = parameters(U=(3, 2), v=(2,))
    loss = Loss(((U * v).T * (U * v))[0, 0] * u * x, [U, v, u], GAUSS)
    values = {"U": np.arange(6.0).reshape(3, 2), "v": np.array([7.0, 8.0]), "u": np.array(9.0)}
    theta = loss.pack(values)
    assert theta.tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    for name, value in loss.unpack(np.stack([theta, 2 * theta])).items():
        assert np.array_equal(value, np.stack([values[name], 2 * values[name]]))
    assert np.array_equal(loss.pack({U: values["U"], v: values["v"], u: 9.0}), theta)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"U": np.zeros((2, 2)), "u": 1.0}, r"start\[U\]: must have shape \(3, 2\); got \(2, 2\)"),
        ({"U": np.zeros((2, 3)), "u": 1.0}, r"start\[U\]: must have shape \(3, 2\); got \(2, 3\)"),
        ({"u": 1.0}, r"start\[U\]: every parameter needs one value"),
        ({"U": np.zeros((3, 2)), "u": np.inf}, r"start\[u\]: must be finite"),
        ({"U": np.zeros((3, 2)), "u": 1.0, "q": 1.0}, r"start\[q\]: must name a parameter; got 'q'"),
    ],
)
def test_pack_refuses(values: dict[str, Any], message: str) -> None:
    U = parameters(U=(3, 2))
    loss = Loss(sp.Add(*U) * u * x, [U, u], GAUSS)
    with pytest.raises(ValueError, match=message):
        loss.pack(values)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Loss(u * x, [], GAUSS), "at least one is needed"),
        (lambda: Loss(u * x + y, [u], GAUSS), "got y with neither"),
        (lambda: Loss(u * x, [u, w], GAUSS), "each must occur in the expression; got w"),
        (lambda: Loss(u * x, [u, x], GAUSS), "a name may stand for one thing only; got 'x' twice"),
        (lambda: Loss(u * x, [u, u], GAUSS), "got 'u' twice"),
        (lambda: Loss(u * x, [u], [GAUSS, {x: Uniform(0, 1)}]), "got 'x' twice"),
        (
            lambda: Loss(sp.Symbol("q") * x, [sp.Symbol("q")], GAUSS),
            r"symbols must be real; got q .*sympy.symbols\('q', real=True\)",
        ),
        (lambda: Loss(u * x * sp.I, [u], GAUSS), "must be real and finite"),
        (lambda: Loss(u * x + sp.oo, [u], GAUSS), "must be real and finite"),
        (lambda: Loss(sp.Matrix([u, w]), [u, w], GAUSS), "must be a scalar SymPy expression"),
        (lambda: Loss("u*x", [u], GAUSS), r"must be a scalar SymPy expression; got 'u\*x' \(str\)"),
        (lambda: Loss(u * x, ["u"], GAUSS), "must be a symbol or a matrix"),
        (lambda: Loss(u * x, [sp.Matrix([u, w**2])], GAUSS), "must hold symbols only"),
    ],
)
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("expression", [sp.nan, sp.oo, -sp.oo * u, sp.zoo * u * x, sp.nan * u * x])
def test_what_is_not_finite_is_told_alone(expression: sp.Expr) -> None:
    """It swallows its factors: parameters that do not occur for this reason are no second problem."""
    with pytest.raises(ValueError) as caught:
        Loss(expression, [u, sp.Symbol("w", real=True)], GAUSS)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("Loss.expression: must be real and finite; got ")


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ValueError) as caught:
        Loss(sp.Symbol("q") * y, [sp.Symbol("q"), u], GAUSS)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert {line.split(":")[0] for line in lines} == {"Loss", "Loss.expression", "Loss.parameters"}


def test_symbols_in_laws_are_law_parameters() -> None:
    s = sp.Symbol("s", positive=True)
    loss = Loss(u * x, [u], {x: Normal(0, s)})
    assert loss.distribution_parameters == (s,)


def test_a_one_by_one_matrix_is_a_scalar() -> None:
    v = parameters(v=(2,))
    assert Loss(v.T * v * x, [v], GAUSS).expression == x * (v[0] ** 2 + v[1] ** 2)


LAWS_OF_OTHERS = {
    "data in a mean": {x: Normal(0, 1), y: Normal(x, 1)},
    "data in an end": {x: Uniform(0, 1), y: Uniform(0, 1 + x**2)},
    "a parameter in a width": {x: Normal(0, 1), y: Normal(0, u)},
    "a parameter in a covariance": {x: Normal(0, 1), y: Normal(0, covariance=[[u**2]])},
    "itself": {x: Normal(0, 1), y: Normal(y, 1)},
}


@pytest.mark.parametrize("data", LAWS_OF_OTHERS.values(), ids=LAWS_OF_OTHERS.keys())
def test_a_law_names_no_other_symbol_of_the_loss(data: Any) -> None:
    """Laws are independent: an x in the law of y was taken for a constant, and drifts came out in it."""
    with pytest.raises(
        ValueError, match=r"^Loss\.data\[y\]: a law's parameters must be numbers or symbols of their own"
    ):
        Loss((u * w * x - y) ** 2, [u, w], data)


PARTLY = {
    "one side": sp.Piecewise((u * w * x, x > 0)),
    "a hole": sp.Piecewise((u * w * x, x > 1), (u, x < 0)),
    "an edge": sp.Piecewise((u * w * x, x > 0), (u, x < 0)),
    "within": sp.exp(sp.Piecewise((u * w * x, u < 3), (w, u > 4))),
}


@pytest.mark.parametrize("prediction", PARTLY.values(), ids=PARTLY.keys())
def test_a_piecewise_has_a_value_everywhere(prediction: sp.Expr) -> None:
    """Where no condition held, theory took the last branch, and runs no number."""
    with pytest.raises(ValueError, match="a Piecewise must have a value everywhere; got Piecewise"):
        Loss((prediction - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)})
    whole = [((u * w * x, x > 0), (u, x <= 0)), ((u * w * x, x > 1), (u, x < -1), (w, (x >= -1) & (x <= 1)))]
    for pieces in whole:
        assert Loss((sp.Piecewise(*pieces) - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}).dimension == 2
