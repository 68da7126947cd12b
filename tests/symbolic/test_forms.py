"""Matrix forms of charges: read back by the package's own parser, they are the charges; with their drifts, and fast."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import numpy as np
import pytest
import sympy as sp

from symbolic import Loss, Normal, parameters
from symbolic.algebra.affine import AffineField
from symbolic.algebra.field_span import FieldSpan
from symbolic.algebra.nullspace import Number
from symbolic.language.parser import parse
from symbolic.library import LIBRARY, matrix_factorization
from symbolic.noise.covariance import Noise
from symbolic.predictions.charge import Charge
from symbolic.symmetry.generators import find_algebra
from symbolic.symmetry.invariants import Formal
from symbolic.symmetry.matrix_forms import Family, Forms, arranged, find_families
from tests.symbolic import losses
from tests.symbolic.losses import u, w, x, y

DATA = {x: Normal(0, 1), y: Normal(0, 1)}


def charges_of(loss: Loss) -> list[AffineField]:
    found = (x.scaled() for x in find_algebra(loss, Formal(loss)).symmetric_fields)
    return sorted(found, key=lambda x: not x.is_translation)


def with_signs_flipped(x: AffineField, start: int) -> AffineField:
    """The rows of A from `start` on, times -1."""
    return AffineField(x.size, {(i, j): -c if i >= start else c for (i, j), c in x.A.items()}, x.b)


def names_of(loss: Loss, prefix: str = "") -> dict[str, np.ndarray]:
    return {prefix + p.name: np.array(p.symbols, dtype=object).reshape(p.shape) for p in loss.parameters}


def expression(x: AffineField, theta: Sequence[sp.Symbol]) -> sp.Expr:
    """theta' A theta + 2 b' theta, by matrices."""
    (a, b), t = x.matrices(), sp.Matrix(theta)
    return sp.expand((t.T * a * t + 2 * b.T * t)[0])


def check(loss: Loss, charges: list[AffineField], forms: Forms) -> None:
    """Every family's text parses to its entries, these are charges, and nothing is lost."""
    whole, cover = FieldSpan(charges), FieldSpan()
    for family in forms:
        value = parse(family.text, names_of(loss))
        assert value.shape == family.shape
        seen = set()
        for index, vector in family.entries.items():
            assert vector in whole
            assert sp.expand(value[index] - expression(vector, loss.theta)) == 0
            seen |= {index, index[::-1]} if family.symmetric else {index}
            if family.symmetric:
                assert sp.expand(value[index] - value[index[::-1]]) == 0
        assert seen == set(np.ndindex(*family.shape))
        own = FieldSpan(family.entries.values())
        assert family.number == len(own)
        assert family.charges == tuple(k for k, c in enumerate(charges) if c in own)
        for vector in family.entries.values():
            cover.insert(vector)
    assert len(cover) + len(forms.left) == len(charges)
    assert all(cover.insert(charges[k]) for k in forms.left)


def difference_of_grams(rows: int = 2, first: int = 3, second: int = 2) -> Loss:
    p, q, z = parameters(U=(rows, first), V=(rows, second), Z=(rows, rows))
    form = p * p.T - q * q.T
    return Loss(sum(form[k] * z[k] for k in range(rows * rows)) ** 2, [p, q], {z: Normal(0, 1)})


def sums_of_rows() -> Loss:
    """Only row sums matter: translations along every row."""
    p, z = parameters(W=(2, 3), Z=(2,))
    return Loss((sum(sum(p[i, :]) * z[i] for i in range(2)) - y) ** 2, [p], {z: Normal(0, 1), y: Normal(0, 1)})


def tucker() -> Loss:
    core, a, b, c, z = parameters(G=(2, 3, 2), A=(2, 2), B=(2, 3), C=(2, 2), Z=(2, 2, 2))
    total = sum(
        core[p, q, r] * a[i, p] * b[j, q] * c[k, r] * z[i, j, k]
        for p in range(2)
        for q in range(3)
        for r in range(2)
        for i in range(2)
        for j in range(2)
        for k in range(2)
    )
    return Loss((total - y) ** 2, [core, a, b, c], {z: Normal(0, 1), y: Normal(0, 1)})


@pytest.mark.parametrize(
    ("loss", "texts"),
    [
        (losses.rescaling(), ["u**2 - w**2"]),
        (losses.linear_net([3, 2, 4]), ["W0.T @ W0 - W1 @ W1.T"]),
        (losses.linear_net([2, 3, 4, 2]), ["W0.T @ W0 - W1 @ W1.T", "W1.T @ W1 - W2 @ W2.T"]),
        (losses.linear_net([3, 3, 3, 3]), ["W0.T @ W0 - W1 @ W1.T", "W1.T @ W1 - W2 @ W2.T"]),
        (losses.attention(2, 2), ["Q.T @ Q - K.T @ K", "V.T @ V - O @ O.T"]),
        (
            losses.relu_net([2, 3, 3, 2], bias=True),
            [
                "sum(W0**2, axis=1) + b0**2 - sum(W1**2, axis=0)",
                "sum(W1**2, axis=1) + b1**2 - sum(W2**2, axis=0)",
            ],
        ),
        (
            losses.network([2, 2, 2], lambda t: t, bias=True),
            ["W0 @ W0.T + outer(b0, b0) - W1.T @ W1"],
        ),
        (losses.scale_invariant(), ["sum(w**2)"]),
        (losses.softmax(3, 2), ["sum(W, axis=0)", "outer(sum(W, axis=0), sum(W, axis=0))"]),
        (Loss(((u - w) * x - y) ** 2, [u, w], DATA), ["u + w", "(u + w)**2"]),
        (difference_of_grams(), ["V.T @ U"]),
        (LIBRARY["deep-linear"].build(), ["W1 @ W1.T - W2.T @ W2", "W2 @ W2.T - W3.T @ W3"]),
        (LIBRARY["two-layer-relu"].build(), ["sum(W**2, axis=1) + b**2 - a**2"]),
        (LIBRARY["two-layer-quadratic"].build(), ["sum(W**2, axis=1) - 2*a**2"]),
        (LIBRARY["net-a"].build(), ["sum(a**2) + sum(W**2)"]),
        (LIBRARY["scalar-chain"].build(), ["u[:-1]**2 - u[1:]**2"]),
        (LIBRARY["diagonal-network"].build(), ["u*v"]),
        (LIBRARY["weight-norm"].build(), ["sum(v**2, axis=1)"]),
        (
            LIBRARY["cp-factorization"].build(),
            ["sum(A**2, axis=0) - sum(B**2, axis=0)", "sum(B**2, axis=0) - sum(C**2, axis=0)"],
        ),
        (LIBRARY["single-head-attention"].build(), ["Q @ Q.T - K @ K.T", "V @ V.T - O.T @ O"]),
        (LIBRARY["two-layer-tanh"].build(), []),
    ],
    ids=lambda value: value.name if isinstance(value, Loss) else "",
)
def test_charges_read_as_in_the_literature(loss: Loss, texts: list[str]) -> None:
    charges = charges_of(loss)
    forms = find_families(loss, charges)
    assert [f.text for f in forms] == texts
    assert str(forms) == "; ".join(texts)
    assert not forms.left
    check(loss, charges, forms)


@pytest.mark.parametrize("name", list(LIBRARY))
def test_every_library_charge_has_a_form(name: str) -> None:
    loss = LIBRARY[name].build()
    charges = charges_of(loss)
    forms = find_families(loss, charges)
    check(loss, charges, forms)
    assert not forms.left


@pytest.mark.parametrize(
    "loss",
    [
        tucker(),
        sums_of_rows(),
        losses.linear_net([1, 3, 1]),
        difference_of_grams(2, 2, 2),
        Loss(((u + 1) * (w - 2) * x - y) ** 2, [u, w], DATA),
    ],
    ids=["tucker", "row sums", "so(3,3)", "square", "affine"],
)
def test_other_charges_are_covered_or_left_entry_by_entry(loss: Loss) -> None:
    charges = charges_of(loss)
    check(loss, charges, find_families(loss, charges))


def test_gram_matrices_of_tensors_sum_over_slices() -> None:
    """C_(k) = G_(k) G_(k)' - A_k' A_k for the core G of a Tucker form and its factor A_k; the larger axis is contracted
    by @."""
    loss = tucker()
    forms = find_families(loss, charges_of(loss))
    assert [f.number for f in forms] == [3, 3, 6]
    assert "(G[:, :, 0] @ G[:, :, 0].T + G[:, :, 1] @ G[:, :, 1].T) - A.T @ A" in str(forms)
    assert r"G_{(2)} G_{(2)}^{\mathsf T} - B^{\mathsf T} B" in [f.latex for f in forms]


def test_sums_of_tensors() -> None:
    """Only T summed over its middle axis matters, or T - S: translations, and their products where these are vectors or
    numbers."""
    p, q, z = parameters(T=(2, 3, 2), S=(2, 3, 2), Z=(2, 2))
    middle = sum(sum(p[i, j, k] for j in range(3)) ** 2 * z[i, k] for i in range(2) for k in range(2))
    loss = Loss(middle * x, [p], {z: Normal(0, 1), x: Normal(0, 1)})
    charges = charges_of(loss)
    check(loss, charges, find_families(loss, charges))
    loss = Loss(sum((p[k] - q[k]) * x for k in np.ndindex(2, 3, 2)), [p, q], {x: Normal(0, 1)})
    shifts = [x for x in charges_of(loss) if x.is_translation]
    forms = find_families(loss, shifts)
    check(loss, shifts, forms)
    assert "T + S" in str(forms)


def test_gram_matrices_of_large_tensors_are_not_written() -> None:
    """Along an axis of size 2 with 3 * 3 slices: the charges stay, entry by entry."""
    core, factor, z = parameters(G=(2, 3, 3, 3), A=(2, 2), Z=(2, 3, 3, 3))
    d = 2 * 27 + 4

    def entry(a: int, b: int) -> AffineField:
        out: dict[tuple[int, int], Number] = {}
        for m in range(27):
            for i, j in ((a * 27 + m, b * 27 + m), (b * 27 + m, a * 27 + m)):
                out[i, j] = out.get((i, j), 0) + 1
        for m in range(2):
            for i, j in ((54 + 2 * m + a, 54 + 2 * m + b), (54 + 2 * m + b, 54 + 2 * m + a)):
                out[i, j] = out.get((i, j), 0) - 1
        return AffineField(d, out)

    total = sum(core[0, i, i, i] * factor[0, 0] * z[0, i, i, i] for i in range(3))
    loss = Loss(total, [core, factor], {z: Normal(0, 1)})
    charges = [entry(0, 0), entry(0, 1), entry(1, 1)]
    forms = find_families(loss, charges)
    check(loss, charges, forms)
    assert [f.text for f in forms] == ["sum(sum(sum(G**2, axis=3), axis=2), axis=1) - sum(A**2, axis=0)"]
    assert forms.left == (1,)


def test_affine_charge_is_left() -> None:
    loss = Loss(((u + 1) * (w - 2) * x - y) ** 2, [u, w], DATA)
    forms = find_families(loss, charges_of(loss))
    assert (len(forms), forms.left) == (0, (0,))


def test_wrong_charges_get_no_matrix_form() -> None:
    """With the sign of W W' flipped the form follows the charges; with one entry changed, or one missing, there is
    none."""
    loss = losses.linear_net([3, 2, 4])
    charges = charges_of(loss)
    flipped = [with_signs_flipped(x, 6) for x in charges]
    assert str(find_families(loss, flipped)) == "W0.T @ W0 + W1 @ W1.T"
    changed = [*charges[:2], AffineField(14, {**charges[2].A, (1, 1): 2})]
    forms = find_families(loss, changed)
    assert "@" not in str(forms)
    check(loss, changed, forms)
    assert "@" not in str(find_families(loss, charges[:2]))


def gradient_forms(family: Family, loss: Loss, root: np.ndarray) -> np.ndarray:
    """sum_k of the family's noise form at the columns of a root of Sigma, by the parser."""
    total = np.zeros(family.shape)
    for column in root.T:
        names = {f"g_{k}": np.vectorize(sp.Float, otypes=[object])(v) for k, v in loss.unpack(column).items()}
        total = total + parse(family.noise, names).astype(float)
    return total


@pytest.mark.parametrize("name", [n for n in LIBRARY if n != "two-layer-linear"])
def test_drift_of_a_family_is_that_of_its_charges(name: str) -> None:
    """T Tr[Sigma A] entry by entry equals the centred mean of the form in the gradients; where none is printed it is
    0."""
    loss = LIBRARY[name].build()
    charges, noise = charges_of(loss), Noise(loss)
    theta = loss.pack(LIBRARY[name].start)
    root = noise.factor(theta)[1]
    values, vectors = np.linalg.eigh(root @ root.T)
    root = vectors * np.sqrt(np.maximum(values, 0))
    for family in find_families(loss, charges):
        got = gradient_forms(family, loss, root) if family.noise else np.zeros(family.shape)
        for index, vector in family.entries.items():
            charge = Charge(loss, vector, noise, "C", None, "")
            terms = charge.terms(theta)
            assert got[index] == pytest.approx(terms.trace, abs=1e-10 * float(values.sum()))
            assert family.at(theta)[index] == pytest.approx(charge.value(theta), abs=1e-12)
            decay = 1 if family.kind == "sum" else 2
            assert 2 * terms.decay == pytest.approx(decay * charge.value(theta), abs=1e-12)
            assert family.drift().startswith(f"-{'2*' * (decay == 2)}lambda_wd*C")


@pytest.mark.parametrize("name", ["rescaling", "matrix-factorization", "softmax-regression", "two-layer-relu"])
def test_families_take_points_by_name_and_by_symbol(name: str) -> None:
    loss = LIBRARY[name].build()
    theta = np.random.default_rng(6).normal(size=loss.dimension)
    for family in find_families(loss, charges_of(loss)):
        known = family.at(theta)
        by_symbol = {p.name if p.shape else p.symbols[0]: loss.unpack(theta)[p.name] for p in loss.parameters}
        for given in (loss.unpack(theta), by_symbol, list(theta)):
            assert (family.at(given) == known).all()
        with pytest.raises(ValueError, match="must be one point"):
            family.at(theta[None])


def test_families_are_typeset() -> None:
    (family,) = find_families(*(loss := losses.linear_net([3, 2, 4]), charges_of(loss)))
    assert family.latex == r"W_{0}^{\mathsf T} W_{0} - W_{1} W_{1}^{\mathsf T}"
    assert r"T\,\mathbb{E}_{\mathrm c}" in family.drift_latex()
    assert family.symmetric
    assert family.drift("C_1") == "-2*lambda_wd*C_1 + T*E_c[g_W0.T @ g_W0 - g_W1 @ g_W1.T]"


@pytest.mark.parametrize("name", list(LIBRARY))
def test_latex_is_well_formed(name: str) -> None:
    """Braces balance, and no symbol takes two subscripts or two superscripts in a row."""
    loss = LIBRARY[name].build()
    for family in find_families(loss, charges_of(loss)):
        for text in (family.latex, family.drift_latex()):
            depth = 0
            for c in text.replace(r"\{", "").replace(r"\}", ""):
                depth += {"{": 1, "}": -1}.get(c, 0)
                assert depth >= 0
            assert depth == 0
            assert not re.search(r"([_^])(\{[^{}]*\}|\w)\1", text)


@pytest.mark.parametrize("name", list(LIBRARY))
def test_arranged_charges_are_entries_of_the_families(name: str) -> None:
    """Another basis of the same space; where the charges are entries already, the same one up to order and scale."""
    loss = LIBRARY[name].build()
    charges = charges_of(loss)
    out = arranged(loss, charges)
    whole = FieldSpan(charges)
    assert len(FieldSpan(out)) == len(out) == len(charges)
    assert all(vector in whole for vector in out)
    again = find_families(loss, out)
    assert {k for f in again for k in f.charges} | set(again.left) == set(range(len(out)))


def test_forms_are_a_sequence_with_single_numbers_apart() -> None:
    loss = LIBRARY["net-b"].build()
    forms = find_families(loss, charges_of(loss))
    assert forms[0].text == "sum(a**2)"
    assert forms[:2] == forms.families
    assert {k: f.text for k, f in forms.single.items()} == {0: "sum(a**2)", 1: "sum(W**2)"}
    assert forms.arrays == ()


def test_two_hundred_parameters_are_quick() -> None:
    loss = matrix_factorization(10, 10, 10)
    charges = charges_of(loss)
    start = time.process_time()
    forms = find_families(loss, charges)
    assert time.process_time() - start < 2
    assert [(f.text, f.shape, f.number) for f in forms] == [("U.T @ U - W @ W.T", (10, 10), 55)]
    assert forms[0].charges == tuple(range(55))
