"""Counts of conservation laws against theorems and against what is known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from symbolic import Dataset, Loss, Normal
from symbolic.library import LIBRARY
from symbolic.problem.parameter import entries
from symbolic.symmetry.generators import find_algebra
from symbolic.symmetry.independence import free_functions
from symbolic.symmetry.invariants import Formal
from symbolic.symmetry.law_count import independent, law_count
from symbolic.theory import derive
from tests.symbolic import losses
from tests.symbolic.losses import e, u, w, x, y

GAUSS = {x: Normal(0, 1), y: Normal(0, 1)}


def factorisation(n: int, m: int, r: int) -> Loss:
    """|U V^T - Y|^2 entry by entry, U n x r, V m x r."""
    U, V, Y = entries("U", (n, r)), entries("V", (m, r)), entries("Y", (n, m))
    squares = [(a - b) ** 2 for a, b in zip((U @ V.T).ravel(), Y.ravel(), strict=True)]
    return Loss(sp.Add(*squares), {"U": U, "V": V}, {sp.ImmutableDenseNDimArray(Y): Normal(0, 1)})


@pytest.mark.parametrize(
    ("n", "m", "r"), [(1, 1, 1), (2, 2, 2), (3, 2, 2), (2, 3, 4), (4, 4, 3), (1, 1, 3), (2, 1, 4), (1, 1, 2), (2, 2, 6)]
)
def test_two_factor_counts(n: int, m: int, r: int):
    """Marcotte, Gribonval, Peyre (2307.00144), proposition 4.2 and corollary 4.4: r(r+1)/2 laws if r <= n + m, else
    what a matrix of rank n + m leaves. docs/theory.md eq. (2.4)."""
    s = n + m
    expected = r * (r + 1) // 2 if r <= s else s * r - s * (s - 1) // 2
    loss = factorisation(n, m, r)
    theory = derive(loss)
    assert (theory.conservation_laws, theory.independent_charges, theory.complete) == (expected, expected, True)
    assert law_count(loss, 0) == expected, "without the hint that charges give"


def balancedness(widths: list[int], seed: int = 0) -> int:
    """Rank at a random point of the gradients of all entries of W_i W_i^T - W_{i+1}^T W_{i+1}, by hand and in
    floats."""
    rng = np.random.default_rng(seed)
    shapes = [(b, a) for a, b in zip(widths, widths[1:], strict=False)]
    W = [rng.standard_normal(s) for s in shapes]
    rows = []
    for k in range(len(W) - 1):
        h = shapes[k][0]
        for a in range(h):
            for b in range(a, h):
                grads = [np.zeros(s) for s in shapes]
                grads[k][a] += W[k][b]
                grads[k][b] += W[k][a]
                grads[k + 1][:, a] -= W[k + 1][:, b]
                grads[k + 1][:, b] -= W[k + 1][:, a]
                rows.append(np.concatenate([g.ravel() for g in grads]))
    return int(np.linalg.matrix_rank(np.array(rows), tol=1e-8))


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_fifty_random_linear_networks(every: int):
    """All laws are balancedness (Marcotte et al., section 4): #laws = rank of {W_i W_i^T - W_{i+1}^T W_{i+1}}, found by
    derive's algebra too. docs/theory.md eq. (2.3), (2.4)."""
    for widths in losses.linear_sizes()[::every]:
        loss = losses.linear_net(widths[::-1])
        formal = Formal(loss)
        charges = independent(find_algebra(loss, formal).symmetric_fields)
        assert law_count(loss, charges) == charges == balancedness(widths), widths


@pytest.mark.parametrize("part", [pytest.param(n, marks=[pytest.mark.slow] * (n > 1)) for n in range(5)])
def test_fifty_random_relu_networks(part: int):
    """One law per hidden unit (Marcotte et al., section 4), whatever depth, widths and biases. docs/theory.md eq.
    (2.4)."""
    for widths, bias in losses.relu_sizes()[part::5]:
        loss = losses.relu_net(widths, bias=bias)
        algebra = find_algebra(loss, Formal(loss))
        charges = independent(algebra.symmetric_fields)
        assert law_count(loss, charges) == charges == sum(widths[1:-1]), (widths, bias)
        assert algebra.certificate.status == "proved"


@pytest.mark.parametrize(
    ("expression", "parameters", "laws", "charges"),
    [
        ((u**2 + w**2) * x, [u, w], 1, 0),
        ((1 / u + 1 / w) * x, [u, w], 1, 0),
        (((u * w) ** 2 + u) * x + u * w * y, [u, w], 0, 0),
        (sp.log(1 + sp.exp(u * w * x)) - y * u * w, [u, w], 1, 1),
        (sp.tanh(u) * w * x, [u, w], 1, 0),
        ((sp.sin(u * x) + w * sp.cos(u * x)) * y, [u, w], 0, 0),
    ],
    ids=["radial", "cubic law", "none", "logistic", "separable", "trigonometric"],
)
def test_counts_by_hand(expression: sp.Expr, parameters: list, laws: int, charges: int):
    theory = derive(Loss(expression, parameters, GAUSS))
    assert (theory.conservation_laws, theory.independent_charges) == (laws, charges)


def test_normalised_network_has_one_law_more():
    """net-a as a whole is normalised: the ratio of its units' |W_i|^2 - 2 a_i^2 is kept as well, and no quadratic says
    so."""
    theory = derive(LIBRARY["net-a"].build())
    assert (theory.conservation_laws, theory.independent_charges, theory.complete) == (2, 1, False)
    assert "1 further conservation law" in theory.summary()


def test_dependent_functions_are_not_taken_for_free():
    assert free_functions(Loss(sp.exp(u * x) + w * sp.exp(w * x), [u, w], GAUSS))
    assert not free_functions(Loss(sp.exp(u * x) + sp.exp(2 * u * x) * w, [u, w], GAUSS))
    assert not free_functions(Loss(sp.exp(u * x) + sp.tanh(u * x / 2) * w, [u, w], GAUSS), apart=True)
    assert not free_functions(Loss(sp.sqrt(1 + u**2) * w + x * sp.sqrt(4 + 4 * u**2), [u, w], GAUSS))
    assert not free_functions(Loss(sp.exp(u * x + w) * y + sp.exp(u * x), [u, w], GAUSS)), (
        "equal as functions of x at one theta"
    )


def test_softmax_on_one_hot_labels_counts_by_pattern():
    theory = derive(LIBRARY["softmax-regression"].build())
    assert theory.complete


def test_independent_counts_functions_not_generators():
    """so(2, 2) of a determinant: four symmetric generators, three independent charges. docs/theory.md eq. (2.3)."""
    a, b, c, d = sp.symbols("a b c d", real=True)
    theory = derive(Loss(((a * d - b * c) * x - e) ** 2, [a, b, c, d], {x: Normal(0, 1), e: Normal(0, 1)}))
    assert (theory.algebra.symmetric, theory.independent_charges, theory.conservation_laws) == (4, 3, 3)


def test_a_dataset_stands_for_any_data():
    table = Dataset({x: [0.5, 1.0, 2.0], y: [1.0, 0.25, 3.0]})
    assert derive(Loss((u * w * x - y) ** 2, [u, w], table)).complete
