"""The affine algebra: known groups, traps, counts of charges and conservation laws."""

from __future__ import annotations

import time

import numpy as np
import pytest
import sympy as sp

from symbolic import Bernoulli, Dataset, Loss, Normal, parameters
from symbolic.errors import InputError
from symbolic.evaluation.random_points import Probe, constraints, nullity, residual
from symbolic.functions.activations import relu
from symbolic.library import LIBRARY
from symbolic.theory import derive
from tests.symbolic import losses
from tests.symbolic.losses import e, u, w, x, y


def counts(loss: Loss) -> tuple[int, int, int, int]:
    theory = derive(loss)
    a = theory.algebra
    return a.dimension, a.symmetric, a.antisymmetric, theory.independent_charges


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (losses.rescaling(), (1, 1, 0, 1)),
        (losses.linear_net([3, 2, 4]), (4, 3, 1, 3)),
        (losses.linear_net([2, 3, 2]), (9, 6, 3, 6)),
        (losses.linear_net([2, 3, 4, 2]), (25, 16, 9, 16)),
        (losses.linear_net([2, 5, 2]), (25, 15, 10, 14)),
        (losses.relu_net([3, 4, 1], bias=True), (4, 4, 0, 4)),
        (losses.relu_net([2, 3, 3, 2], bias=True), (6, 6, 0, 6)),
        (losses.scale_invariant(), (1, 1, 0, 1)),
        (losses.softmax(3, 2), (2 + 6 * 2, 2 + 3, 1, 2)),
        (losses.attention(2, 2), (8, 6, 2, 6)),
    ],
    ids=lambda value: value.name + str(value.dimension) if isinstance(value, Loss) else "",
)
def test_known_groups(loss: Loss, expected: tuple[int, int, int, int]) -> None:
    """GL(h) per hidden layer; one rescaling per ReLU unit; softmax's shifts, by constants and by linear functions of
    theta."""
    assert counts(loss) == expected


def quadratic_ridge() -> Loss:
    return Loss(
        (u * w * x - y) ** 2 + sp.Rational(1, 10) * (u**2 + 2 * w**2), [u, w], {x: Normal(0, 1), y: Normal(0, 1)}
    )


def homogeneous() -> Loss:
    a, b = sp.symbols("a b", real=True)
    return Loss(x * (a**4 + a**3 * b + 3 * a**2 * b**2 + a * b**3 + 2 * b**4), [a, b], {x: Normal(0, 1)})


def gelu(p: sp.Expr) -> sp.Expr:
    return p * (1 + sp.erf(p / sp.sqrt(2))) / 2


def radial_in_the_mean() -> Loss:
    """Its mean over isotropic x depends on |w| only; no sample does."""
    weights, points = parameters(w=(3,)), parameters(x=(3,))
    return Loss(weights.dot(points) ** 2, [weights], {points: Normal(0, 1)})


@pytest.mark.parametrize(
    "loss",
    [
        losses.network([3, 3, 1], sp.tanh),
        losses.network([2, 2, 1], gelu),
        quadratic_ridge(),
        homogeneous(),
        radial_in_the_mean(),
    ],
    ids=["tanh", "gelu", "ridge", "homogeneous", "mean only"],
)
def test_no_symmetry_is_found_where_there_is_none(loss: Loss) -> None:
    theory = derive(loss)
    assert (theory.algebra.dimension, theory.charges, theory.independent_charges) == (0, (), 0)
    assert theory.certificate.status == "proved"


def test_radial_loss_has_rotations_and_no_charge() -> None:
    weights = parameters(w=(3,))
    theory = derive(Loss((weights.dot(weights) * x - y) ** 2, [weights], {x: Normal(0, 1), y: Normal(0, 1)}))
    assert (theory.algebra.dimension, theory.algebra.antisymmetric, len(theory.charges)) == (3, 3, 0)


def test_generator_neither_symmetric_nor_antisymmetric_gives_no_charge() -> None:
    """Level sets are ellipses: the generator's symmetric part is no symmetry, so it must not become a charge.
    docs/theory.md eq. (2.2)."""
    loss = Loss((u**2 + 3 * w**2) * x, [u, w], {x: Normal(0, 1)})
    theory = derive(loss)
    assert (theory.algebra.dimension, theory.algebra.symmetric, theory.algebra.antisymmetric, theory.charges) == (
        1,
        0,
        0,
        (),
    )
    a, b = theory.algebra.generators[0]
    assert a != a.T
    assert b.is_zero_matrix


def test_translation() -> None:
    theory = derive(Loss(((u - w) * x - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}))
    assert theory.charges[0].expression == u + w
    assert theory.charges[0].kind == "translation"
    assert theory.independent_charges == 1 < len(theory.charges)


def test_affine_rescaling_about_a_shifted_centre() -> None:
    """(u + 1)(w - 2): the charge is (u + 1)^2 - (w - 2)^2 up to a constant, with b != 0."""
    theory = derive(Loss(((u + 1) * (w - 2) * x - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}))
    (charge,) = theory.charges
    assert sp.expand(charge.expression - ((u + 1) ** 2 - (w - 2) ** 2)).is_number
    assert charge.kind == "mixed"
    assert not charge.generator[1].is_zero_matrix


def test_algebra_closes_under_the_bracket() -> None:
    algebra = derive(losses.softmax(3, 2)).algebra
    flat = [[*a.flat(), *b.flat()] for a, b in algebra.generators]
    rank = sp.Matrix(flat).rank()
    rng = np.random.default_rng(0)
    for _ in range(6):
        (a, p), (b, q) = (algebra.generators[i] for i in rng.integers(0, algebra.dimension, 2))
        bracket = [*(a * b - b * a).flat(), *(a * q - b * p).flat()]
        assert sp.Matrix([*flat, bracket]).rank() == rank


def test_leaky_relu_piecewise_max_and_abs_read_alike() -> None:
    a, b = sp.symbols("a b", real=True)
    data = {x: Normal(0, 1), y: Normal(0, 1)}
    units = [
        relu(b * x),
        sp.Max(0, b * x),
        sp.Piecewise((b * x, b * x > 0), (0, True)),
        sp.Abs(b * x),
        sp.Max(b * x / 10, b * x),
    ]
    for unit in units:
        theory = derive(Loss((a * unit - y) ** 2, [a, b], data))
        assert [c.expression for c in theory.charges] == [a**2 - b**2], unit
        assert theory.certificate.status == "proved"


def test_labels_and_binary_data_are_used() -> None:
    """y^2 = y for 0/1 data: log-likelihood of a Bernoulli target written with y^2 has the same algebra as with y."""
    theory = derive(Loss((u * w * y - y**2 * u * w) + (u - w) ** 2 * y, [u, w], {y: Bernoulli(sp.Rational(1, 3))}))
    assert theory.charges[0].expression == u + w


def test_sums_and_roots_of_products() -> None:
    v = sp.Symbol("v", real=True)
    theory = derive(
        Loss(sp.log(1 + u**2 * w**2 * x**2) + sp.sqrt(1 + (u * w * v) ** 2) * x**2, [u, w, v], {x: Normal(0, 1)})
    )
    assert [c.expression for c in theory.charges] == [u**2 - w**2]


def test_numerical_path_finds_what_atoms_hide() -> None:
    """cos^2 + sin^2 = 1 is unknown to the exact path: random points find the symmetry, 40 digits confirm it."""
    loss = Loss(
        x * (sp.cos(u) ** 2 + sp.sin(u, evaluate=False) ** 2) * w + (w * x - y) ** 2,
        [u, w],
        {x: Normal(0, 1), y: Normal(0, 1)},
    )
    theory = derive(loss)
    assert theory.charges[0].expression == u
    assert theory.certificate.status == "numerical"
    assert theory.certificate.residual < 1e-25


def test_linear_loss_keeps_all_that_moves_along_its_level_sets() -> None:
    theory = derive(Loss((u + w) * x, [u, w], {x: Normal(0, 1)}))
    assert (theory.algebra.dimension, theory.independent_charges, theory.conservation_laws) == (3, 1, 1)


def test_random_points_agree_with_every_library_loss() -> None:
    """The float64 null space of gradients at random points, a separate route, has the same dimension. docs/theory.md
    eq. (2.1)."""
    rng = np.random.default_rng(1)
    for name, entry in LIBRARY.items():
        loss = entry.build()
        theory = derive(loss)
        unknowns = loss.dimension**2 + loss.dimension
        assert nullity(constraints(Probe(loss), rng), unknowns) == theory.algebra.dimension, name
        assert residual(loss, theory.algebra.fields, rng, points=3) < 1e-30, name
        assert theory.independent_charges == entry.independent, name


@pytest.mark.parametrize(("n", "m", "r"), [(2, 2, 1), (2, 3, 2), (2, 2, 4), (2, 1, 5), (3, 2, 5)])
def test_laws_of_factorisation(n: int, m: int, r: int) -> None:
    """r(r+1)/2 laws when r <= n + m, else (n + m)(2r + 1 - n - m)/2. Source: 2307.00144."""
    theory = derive(losses.linear_net([n, r, m]))
    s = min(r, n + m)
    assert theory.conservation_laws == s * (2 * r + 1 - s) // 2 == theory.independent_charges
    assert theory.complete


@pytest.mark.parametrize("widths", [(2, 3, 2), (3, 4, 1), (2, 3, 3, 1), (3, 2, 4, 2)])
def test_laws_of_relu_nets(widths: tuple[int, ...]) -> None:
    """One law per hidden unit. Source: 2307.00144."""
    theory = derive(losses.relu_net(widths))
    assert theory.conservation_laws == theory.independent_charges == sum(widths[1:-1])


@pytest.mark.parametrize("widths", [(2, 2, 2), (2, 3, 2, 2), (3, 2, 2, 3, 2), (4, 3, 3, 4)])
def test_laws_of_linear_nets(widths: tuple[int, ...]) -> None:
    """The rank of {W_i^T W_i - W_{i+1} W_{i+1}^T}, and no more."""
    theory = derive(losses.linear_net(widths))
    assert theory.complete


def test_size_32_is_quick() -> None:
    start = time.perf_counter()
    theory = derive(losses.linear_net([4, 4, 4]))
    assert (theory.algebra.dimension, theory.independent_charges, theory.conservation_laws) == (16, 10, 10)
    assert time.perf_counter() - start < 3


def test_data_law_with_a_constant_in_the_sample() -> None:
    theory = derive(
        Loss((u * w * x - y) ** 2, [u, w], Dataset({x: np.array([1.0, 2.0, -1.0]), y: np.array([0.5, 1.0, 0.3])}))
    )
    assert [c.expression for c in theory.charges] == [u**2 - w**2]


def test_derive_refuses_what_is_no_loss() -> None:
    with pytest.raises(InputError, match="derive: needs a Loss"):
        derive("u*w")  # type: ignore[arg-type]


def test_unused_noise_symbol_does_not_matter() -> None:
    assert (
        derive(
            Loss((u * w * x - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1), e: Normal(0, 1)})
        ).independent_charges
        == 1
    )


def test_degenerate_data_have_symmetries_of_their_own() -> None:
    """Two equal columns: the difference of their weights is free on these rows, not for all data."""
    a, b = sp.symbols("a b", real=True)
    column = np.random.default_rng(0).normal(size=20)
    loss = Loss((a * x + b * e - y) ** 2, [a, b], Dataset({x: column, e: column, y: column**2}))
    theory = derive(loss)
    assert theory.algebra.dimension == 0
    assert theory.dimension_on_data == 3
    plain = derive(LIBRARY["two-layer-relu"].build())
    assert plain.dimension_on_data == plain.algebra.dimension
    with pytest.raises(ValueError, match="at most 45"):
        _ = derive(losses.linear_net([5, 5, 5])).dimension_on_data


def test_further_laws_complete_what_charges_begin() -> None:
    theory = derive(LIBRARY["separable-tanh"].build())
    assert len(theory.further_laws) == theory.conservation_laws == 2
    assert derive(losses.rescaling()).further_laws == ()


@pytest.mark.parametrize(
    ("expression", "rule"),
    [
        (u * w * sp.sqrt(-1 - u**2) * x, "must be real and differentiable somewhere"),
        (sp.sign(u * w * x) * y, "must have a gradient"),
        (sp.floor(u * x) * w, "Loss.expression: no rule for the function floor"),
        (sp.DiracDelta(u) * w * x, "Loss.expression: no rule for the function DiracDelta"),
    ],
    ids=["complex", "piecewise constant", "floor", "delta"],
)
def test_a_loss_without_a_gradient_is_named(expression: sp.Expr, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        derive(Loss(expression, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}))
