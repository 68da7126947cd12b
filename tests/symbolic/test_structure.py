"""What an algebra is: the split basis, brackets against vector fields in SymPy, and the groups it is recognised as."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from symbolic import Dataset, Loss, Normal, parameters
from symbolic.algebra.affine import AffineField
from symbolic.algebra.field_span import FieldSpan
from symbolic.library import LIBRARY, matrix_factorization
from symbolic.symmetry import Structure, groups, structure
from symbolic.symmetry.generators import Algebra, find_algebra
from symbolic.symmetry.groups import has_kinks
from symbolic.symmetry.invariants import Formal
from tests.symbolic import losses
from tests.symbolic.large_losses import softmax_regression
from tests.symbolic.losses import u, w, x, y

DATA = {x: Normal(0, 1), y: Normal(0, 1)}
v = sp.Symbol("v", real=True)


def algebra_of(loss: Loss) -> Algebra:
    return find_algebra(loss, Formal(loss))


def structure_of(loss: Loss) -> Structure:
    return structure(loss, algebra_of(loss))


def determinant(n: int) -> Loss:
    m = parameters(M=(n, n))
    return Loss((m.det() * x - y) ** 2, [m], DATA)


def ellipse() -> Loss:
    return Loss((u**2 + 3 * w**2) * x, [u, w], {x: Normal(0, 1)})


def shifted_sphere() -> Loss:
    return Loss(((u - 1) ** 2 + (w + 2) ** 2 - y) ** 2, [u, w], {y: Normal(0, 1)})


def product_of_norms() -> Loss:
    p, q = parameters(p=(3,), q=(3,))
    return Loss((p.dot(p) * q.dot(q) * x - y) ** 2, [p, q], DATA)


def softmax_of_a_product() -> Loss:
    first, second, points, labels = parameters(V=(2, 2), W=(3, 2), x=(2,), y=(3,))
    logits = second * first * points
    rows_ = Dataset({points: np.random.default_rng(0).normal(size=(9, 2)), labels: np.eye(3)[np.arange(9) % 3]})
    return Loss(sp.log(sum(map(sp.exp, logits))) - labels.dot(logits), [first, second], rows_)


def shared_factor() -> Loss:
    return Loss((u * (v + w) * x - y) ** 2, [u, v, w], DATA)


def test_affine_rotation_names_its_centre() -> None:
    (generator,) = structure_of(shifted_sphere()).generators
    assert (generator.name, generator.kind) == ("X1", "rotation")
    assert generator.about == {u: 1, w: -2}
    assert "about u = 1, w = -2" in str(generator)
    a, b = generator.matrices
    assert (a * sp.Matrix([1, -2]) + b).is_zero_matrix


# --- the split --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "split"),
    [
        (losses.linear_net([3, 2, 4]), (3, 1, 0)),
        (losses.softmax(3, 2), (5, 1, 8)),
        (ellipse(), (0, 0, 1)),
        (shared_factor(), (3, 0, 2)),
        (product_of_norms(), (1, 6, 0)),
    ],
    ids=["factors", "softmax", "ellipse", "shared", "norms"],
)
def test_split_is_a_basis_of_the_algebra(loss: Loss, split: tuple[int, int, int]) -> None:
    algebra = algebra_of(loss)
    found = structure(loss, algebra)
    assert (len(found.symmetric), len(found.antisymmetric), len(found.rest)) == split
    span = FieldSpan(algebra.fields)
    assert len(FieldSpan(g.field for g in found.generators)) == algebra.dimension == found.dimension
    assert all(g.field in span for g in found.generators)
    for g in found.symmetric:
        assert g.matrices[0] == g.matrices[0].T
    for g in found.antisymmetric:
        assert g.matrices[0] == -g.matrices[0].T and g.matrices[1].is_zero_matrix
    assert sum(found.kinds.values()) == found.dimension


def test_symmetric_part_of_a_generator_is_no_generator() -> None:
    """The trap: theta -> the flow of the ellipse u^2 + 3 w^2 has A = [[0, 3], [-1, 0]]; (A + A')/2 is not a
    symmetry."""
    found = structure_of(ellipse())
    (generator,) = found.rest
    a = generator.matrices[0]
    half = (a + a.T) / 2
    assert not half.is_zero_matrix
    assert AffineField.from_matrices(half) not in FieldSpan([generator.field])
    assert not found.symmetric


def test_symmetric_generators_come_in_the_order_of_the_charges() -> None:
    found = structure_of(losses.softmax(3, 2))
    assert [g.kind for g in found.symmetric] == ["translation", "translation", "mixed", "mixed", "mixed"]


# --- brackets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [losses.linear_net([2, 2, 1]), ellipse(), shifted_sphere(), shared_factor(), determinant(2), product_of_norms()],
    ids=["gl2", "ellipse", "about", "shared", "det", "norms"],
)
def test_brackets_are_those_of_vector_fields(loss: Loss) -> None:
    """[v, w] = (Dw) v - (Dv) w by differentiation, and the Jacobi identity of the structure constants."""
    found = structure_of(loss)
    theta, n = sp.Matrix(loss.theta), found.dimension
    fields = [g.matrices[0] * theta + g.matrices[1] for g in found.generators]
    for i in range(n):
        for j in range(i + 1, n):
            want = fields[j].jacobian(theta) * fields[i] - fields[i].jacobian(theta) * fields[j]
            mix = found.brackets.get((i, j), {})
            got = sum((sp.Rational(c) * fields[k] for k, c in mix.items()), sp.zeros(len(theta), 1))
            assert (want - got).expand().is_zero_matrix
    c = np.zeros((n, n, n))
    for (i, j), mix in found.brackets.items():
        for k, value in mix.items():
            c[i, j, k], c[j, i, k] = float(value), -float(value)
    nested = np.einsum("ijl,lkm->ijkm", c, c)
    assert np.abs(nested + nested.transpose(1, 2, 0, 3) + nested.transpose(2, 0, 1, 3)).max(initial=0) < 1e-12


@pytest.mark.parametrize(
    ("loss", "centre", "derived"),
    [
        (losses.linear_net([3, 2, 4]), 1, 3),
        (losses.linear_net([2, 3, 2, 2]), 2, 8 + 3),
        (determinant(2), 0, 6),
        (determinant(3), 0, 16),
        (LIBRARY["radial"].build(), 0, 3),
        (losses.relu_net([2, 3, 1]), 3, 0),
        (shared_factor(), 0, 3),
    ],
    ids=["gl2", "gl3+gl2", "so22", "sl3+sl3", "so3", "relu", "shared"],
)
def test_centre_and_derived_algebra(loss: Loss, centre: int, derived: int) -> None:
    """gl(h) = R + sl(h): centre 1, derived h^2 - 1; semisimple algebras: centre 0, derived all of it."""
    found = structure_of(loss)
    assert (len(found.centre), found.derived_dimension, found.abelian) == (centre, derived, derived == 0)
    for mix in found.centre:
        central = AffineField.combination((found.generators[k].field, c) for k, c in mix.items())
        assert all(not central.bracket(g.field) for g in found.generators)


def test_table_shows_the_brackets() -> None:
    found = structure_of(losses.linear_net([3, 2, 4]))
    lines = found.table().splitlines()
    assert lines[0].split() == ["S1", "S2", "S3", "R1"]
    assert "2 S1 - 2 S3" in lines[2]
    assert "-2 S1 + 2 S3" in lines[4]
    latex = found.table_latex()
    assert r"2 S_{1} - 2 S_{3}" in latex
    assert r"-R_{1}" in latex
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\\") == 5
    large = structure_of(losses.linear_net([2, 4, 2]))
    assert large.table() == f"{len(large.brackets)} of 120 brackets are not zero"
    assert large.table() in large.table_latex()


def test_what_does_not_close_is_refused() -> None:
    """so(3) without one of its rotations: [R1, R2] leaves the span."""
    loss = LIBRARY["radial"].build()
    algebra = algebra_of(loss)
    broken = replace(algebra, fields=algebra.fields[:2], antisymmetric_fields=algebra.antisymmetric_fields[:2])
    with pytest.raises(ValueError, match=r"must close under the bracket; got \[R1, R2\]"):
        structure(loss, broken)


def test_algebra_of_another_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="the loss's own"):
        structure(losses.rescaling(), algebra_of(losses.linear_net([2, 2, 1])))


# --- groups -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "name", "action"),
    [
        (losses.rescaling(), "R (rescaling)", "u -> c u, w -> c^-1 w, c > 0"),
        (losses.scale_invariant(), "R (scale)", "w -> c w, c > 0"),
        (losses.linear_net([3, 2, 4]), "gl(2)", "W0 -> W0 G^-1, W1 -> G W1, G in GL(2)"),
        (losses.linear_net([2, 3, 4, 2]), "gl(3) + gl(4)", "W1 -> W1 G^-1, W2 -> G W2, G in GL(4)"),
        (losses.linear_net([2, 2, 2, 2]), "gl(2) + gl(2)", "W0 -> W0 G^-1, W1 -> G W1, G in GL(2); W1 -> W1 G^-1"),
        (losses.linear_net([1, 3, 1]), "so(3,3)", "keep W0[0,0]*W1[0,0]"),
        (losses.attention(2, 2), "gl(2) + gl(2)", "Q -> Q G^T, K -> K G^-1"),
        (losses.relu_net([2, 3, 1]), "R^3 (rescalings)", "W0[i] -> c W0[i], W1[:, i] -> c^-1 W1[:, i], c > 0 only"),
        (determinant(2), "so(2,2)", "keep M[0,0]*M[1,1] - M[0,1]*M[1,0]"),
        (determinant(3), "sl(3) + sl(3)", "M -> G M, G in SL(3); M -> M G^-1, G in SL(3)"),
        (product_of_norms(), "so(3) + so(3) + R (rescaling)", "p -> R p, R in SO(3)"),
        (ellipse(), "so(2)", "keep u**2 + 3*w**2"),
        (shifted_sphere(), "so(2)", "rotations of u, w about u = 1, w = -2"),
        (losses.softmax(3, 2), "R^2 (translations, times any affine function of theta)", "2 directions t"),
        (softmax_of_a_product(), "gl(2) acting on R^2 (translations", "V -> G V, W -> W G^-1"),
        (shared_factor(), "R (rescaling) acting on R (translation", "u -> c u, v -> c^-1 v, w -> c^-1 w"),
        (losses.network([2, 2, 2], lambda t: t, bias=True), "gl(2) acting on R^2 (shears)", "b0 -> G b0"),
        (LIBRARY["tucker-factorization"].build(), "3 x gl(2)", "G -> G x_2 H, B -> B H^-1, H in GL(2)"),
        (LIBRARY["diagonal-network"].build(), "3 x so(1,1)", "keep u[1]**2 - v[1]**2"),
        (LIBRARY["net-b"].build(), "R^2 (scales)", "a -> c a"),
        (LIBRARY["scalar-chain"].build(), "R^2 (rescalings)", "u[0] -> c u[0], u[1] -> c^-1 u[1]"),
        (LIBRARY["two-layer-quadratic"].build(), "R^2 (rescalings)", "a[i] -> c^-2 a[i]"),
        (LIBRARY["two-layer-tanh"].build(), "no symmetry", ""),
    ],
    ids=lambda value: value.name if isinstance(value, Loss) else "",
)
def test_groups_are_named(loss: Loss, name: str, action: str) -> None:
    algebra = algebra_of(loss)
    found = structure(loss, algebra)
    assert found.name.startswith(name)
    assert action in found.action
    assert found.complete
    whole = FieldSpan(algebra.fields)
    parts = [field for g in found.groups for field in g.fields]
    assert all(field in whole for field in parts)
    assert len(FieldSpan(parts)) == len(parts) == sum(g.dimension for g in found.groups) == algebra.dimension
    assert name.partition(" acting")[0] in str(found)
    assert {g["name"] for g in found.to_json()["groups"]} == {g.name for g in found.groups}


def test_group_actions_leave_a_factorisation_alone() -> None:
    """ "W0 -> W0 G^-1, W1 -> G W1" taken at its word, and its flow exp(t A), on numbers."""
    from scipy.linalg import expm

    loss = losses.linear_net([3, 2, 4])
    (group,) = structure_of(loss).groups
    rng = np.random.default_rng(1)
    first, second, g = rng.normal(size=(3, 2)), rng.normal(size=(2, 4)), rng.normal(size=(2, 2))
    assert np.allclose((first @ np.linalg.inv(g)) @ (g @ second), first @ second)
    theta = np.concatenate([first.ravel(), second.ravel()])
    for field in group.fields:
        moved = expm(0.3 * field.arrays()[0]) @ theta
        assert np.allclose(moved[:6].reshape(3, 2) @ moved[6:].reshape(2, 4), first @ second)
        assert not np.allclose(moved, theta)


def test_algebra_with_a_sign_flipped_is_not_called_gl() -> None:
    loss = losses.linear_net([3, 2, 4])
    algebra = algebra_of(loss)
    wrong = [AffineField(14, {(i, j): -c if i >= 6 else c for (i, j), c in x.A.items()}) for x in algebra.fields]
    assert any((6, 6) in x.A for x in wrong)
    fake = replace(algebra, fields=tuple(wrong), symmetric_fields=(), antisymmetric_fields=())
    fake = replace(fake, certificate=replace(fake.certificate, status="numerical"))
    found = structure(loss, fake)
    assert "gl" not in found.name


def test_part_of_gl_is_not_called_gl() -> None:
    """Dropping the identity leaves sl(2); dropping a shear leaves the triangular matrices."""
    loss = losses.linear_net([3, 2, 4])
    algebra = algebra_of(loss)
    diagonal = [x for x in algebra.fields if x.kind == "rescaling"]
    shears = [x for x in algebra.fields if x.kind == "shear"]
    assert (len(diagonal), len(shears)) == (2, 2)
    step = diagonal[0] - diagonal[1]
    empty = replace(algebra, symmetric_fields=(), antisymmetric_fields=())
    assert structure(loss, replace(empty, fields=(step, *shears))).name == "sl(2)"
    borel = structure(loss, replace(empty, fields=(*diagonal, shears[0])))
    assert borel.name == "R^2 (rescalings) acting on R (shear)"
    assert (len(borel.brackets), borel.derived_dimension) == (2, 1)


def test_what_is_not_recognised_is_only_counted() -> None:
    """U U' - V V' keeps so(3, 2) acting on (U, V) side by side, which no axis shows: its rotations of U and of V are
    named, no more."""
    p, q, z = parameters(U=(2, 3), V=(2, 2), Z=(2, 2))
    form = p * p.T - q * q.T
    found = structure_of(Loss(sum(form[k] * z[k] for k in range(4)) ** 2, [p, q], {z: Normal(0, 1)}))
    assert (found.name, found.complete) == ("algebra of dimension 10", False)
    assert sorted(g.name for g in found.groups) == ["so(2)", "so(3)"]
    assert (len(found.centre), found.derived_dimension) == (0, 10)


def test_groups_that_do_not_commute_are_no_sum() -> None:
    """A rotation and a rescaling of the same plane: neither commutes with the other, and together they do not close."""
    weights = parameters(w=(2,))
    loss = Loss((weights.dot(weights) * x - y) ** 2, [weights], DATA)
    algebra = algebra_of(loss)
    pair = tuple(AffineField.from_matrices(a) for a in ([[0, 1], [-1, 0]], [[1, 0], [0, -1]]))
    fake = replace(algebra, fields=pair, antisymmetric_fields=())
    found = structure(loss, replace(fake, certificate=replace(algebra.certificate, status="numerical")))
    assert (found.name, found.complete) == ("algebra of dimension 2", False)
    assert sorted(g.name for g in found.groups) == ["R (rescaling)", "so(2)"]
    with pytest.raises(ValueError, match="must close under the bracket"):
        structure(loss, fake)


def test_gates_make_rescalings_one_sided() -> None:
    loss = losses.relu_net([2, 2, 1])
    assert has_kinks(loss)
    assert "c > 0 only" in structure_of(loss).action
    assert "only" not in structure(loss, algebra_of(loss), one_sided=False).action
    assert not has_kinks(losses.rescaling())
    assert "c > 0 only" in structure(losses.rescaling(), algebra_of(losses.rescaling()), one_sided=True).action


def test_letters_of_actions_are_not_those_of_parameters() -> None:
    c, g = parameters(c=(), G=(2, 2))
    loss = Loss((c * g.det() * x - y) ** 2, [c, g], DATA)
    found = structure_of(loss)
    assert found.name == "sl(2) + sl(2) + R (rescaling)"
    assert "H in SL(2)" in found.action
    assert "c -> k c, G -> " in found.action or "c -> k^2 c" in found.action


@pytest.mark.parametrize("name", list(LIBRARY))
def test_every_library_loss_is_recognised(name: str) -> None:
    loss = LIBRARY[name].build()
    found = structure_of(loss)
    assert found.complete
    assert all(len(mix) for mix in found.brackets.values())


def test_hundred_dimensions_are_quick() -> None:
    loss = matrix_factorization(10, 10, 10)
    algebra = algebra_of(loss)
    start = time.process_time()
    found = structure(loss, algebra)
    assert (found.name, len(found.centre), found.derived_dimension) == ("gl(10)", 1, 99)
    assert found.action == "U -> U G^-1, W -> G W, G in GL(10)"
    assert time.process_time() - start < 5


def test_many_translations_are_not_multiplied_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """785 translations of 7,850 parameters were 6 million multiples f(theta) t, none in an algebra cut by the clock."""
    loss = softmax_regression(12, classes=3, rows=40)
    actions = [AffineField(39, {}, {k: 1, k + 13: 1, k + 26: 1}) for k in range(13)]
    made = []
    monkeypatch.setattr(groups, "AffineField", lambda *of: made.append(of) or AffineField(*of))
    found = groups.Recogniser(loss, actions, one_sided=False)
    found.shifts()
    assert not found.groups and not made
