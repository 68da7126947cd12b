"""How a theory shows itself: words, LaTeX, HTML, the JSON record, and its numbers at a point."""

from __future__ import annotations

import html
import json
import math
import time
from functools import cache

import numpy as np
import pytest
import sympy as sp

from symbolic import SGD, Loss, Normal, display, parameters
from symbolic.library import LIBRARY, matrix_factorization
from symbolic.problem.optimizer import t
from symbolic.theory import Theory, derive
from tests.symbolic import losses
from tests.symbolic.losses import u, w, x, y

NAMES = [name for name in LIBRARY if name != "two-layer-linear"]
RATE = SGD(learning_rate=0.01)


@cache
def theory_of(name: str) -> Theory:
    return derive(LIBRARY[name].build())


@cache
def large() -> Theory:
    return derive(matrix_factorization(7, 7, 7))


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sentences"),
    [
        (
            "matrix-factorization",
            [
                "a symmetry algebra of dimension 4 (3 symmetric, 1 antisymmetric; proved).",
                "It is gl(2): U -> U G^-1, W -> G W, G in GL(2).",
                "3 charges, 3 independent: 3 driven by noise to a finite equilibrium.",
                "They are the entries of U.T @ U - W @ W.T.",
                "These are all the conservation laws of gradient flow.",
            ],
        ),
        ("rescaling", ["It is R (rescaling): u -> c u, w -> c^-1 w, c > 0.", "It reads u**2 - w**2."]),
        ("net-b", ["It is R^2 (scales)", "2 driven by noise without end", "They are sum(a**2); sum(W**2)."]),
        (
            "softmax-regression",
            [
                "9 symmetric, 3 antisymmetric, 18 neither",
                "They are the entries of sum(W, axis=0); sum(b), and products of these.",
            ],
        ),
        ("two-layer-relu", ["c > 0 only, for every i."]),
        ("two-layer-tanh", ["no affine symmetry (proved), so no quadratic charge."]),
        ("radial", ["It is so(3): rotations of w.", "No quadratic charge."]),
    ],
)
def test_paragraph_says_group_form_and_fate(name: str, sentences: list[str]) -> None:
    text = display.paragraph(theory_of(name))
    assert text.startswith(f"{name}: ")
    for sentence in sentences:
        assert sentence in text
    assert "\n" not in text
    assert ".." not in text


def test_paragraph_of_what_is_not_recognised_or_left_over() -> None:
    p, q, z = parameters(U=(2, 3), V=(2, 2), Z=(2, 2))
    form = p * p.T - q * q.T
    text = display.paragraph(derive(Loss(sum(form[k] * z[k] for k in range(4)) ** 2, [p, q], {z: Normal(0, 1)})))
    assert "It contains so(2); so(3): " in text
    affine = derive(Loss(((u + 1) * (w - 2) * x - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}))
    assert "It reads" not in display.paragraph(affine)
    assert "about u = -1, w = 2" in display.paragraph(affine)


def test_summary_puts_matrix_forms_before_entries() -> None:
    lines = display.summary(theory_of("matrix-factorization")).splitlines()
    assert lines[1] == "  U.T @ U - W @ W.T   [symmetric 2 x 2; C_1 ... C_3]"
    assert lines[2].startswith("      convergent: ")
    assert lines[3] == "      dC/dt = -2*lambda_wd*C + T*E_c[g_U.T @ g_U - g_W @ g_W.T]"
    assert [line.split(" = ")[0] for line in lines[4:7]] == ["  C_1", "  C_2", "  C_3"]
    assert "E_c[f(g)] = E[f(g)] - f(E[g])" in lines[-1]
    assert len(lines) == 8


def test_summary_of_long_entries_only_counts_them() -> None:
    text = display.summary(large())
    assert "(28 entries, not written out)" in text
    assert "C_1 ... C_28" in text
    assert len(text.splitlines()) == 6


def test_summary_writes_short_drifts_out_and_others_in_operator_form() -> None:
    text = display.summary(theory_of("rescaling"))
    assert "dC/dt = T*(u**2 - w**2)*(-8*u**2*w**2 + 16*u*w - 9) - 2*lambda_wd*(u**2 - w**2)" in text
    assert "rescaling, convergent: " in text
    assert "E_c" not in text
    text = display.summary(theory_of("net-b"))
    assert "C_2 = sum(W**2)" in text
    assert "dC/dt = -2*lambda_wd*C_2 + T*E_c[sum(g_W**2)]" in text


def test_summary_names_laws_that_are_not_quadratic() -> None:
    assert "also conserved: log(w[" in display.summary(theory_of("radial"))


# --- LaTeX and HTML ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_latex_is_one_aligned_display(name: str) -> None:
    theory = theory_of(name)
    text = theory.to_latex()
    if not theory.charges:
        assert text == r"$\text{no quadratic charge}$"
        return
    assert text.startswith("$$\\begin{aligned}\n")
    assert text.endswith("\n\\end{aligned}$$")
    assert text.count("{") == text.count("}")
    assert text.count(r"\left") == text.count(r"\right")
    assert all(line.count("&=") <= 2 for line in text.splitlines())
    assert (theory.charges[0].classification or "undecided") in text


def test_latex_typesets_families_drift_and_class() -> None:
    rows = theory_of("matrix-factorization").to_latex().splitlines()
    assert rows[1].startswith(r"C &= U^{\mathsf T} U - W W^{\mathsf T}, & \dot{C} &= -2\lambda_{\mathrm{wd}}\, C + T\,")
    assert rows[1].endswith(r"&& \text{convergent} \\")
    assert rows[2].startswith(r"C_1 &= U_{00}^{2}")
    two = theory_of("deep-linear").to_latex()
    assert r"C^{(1)} &=" in two and r"\dot{C^{(2)}}" in two
    assert r"C_1 &= \lVert w \rVert^{2}, & \dot{C_1} &= " in theory_of("scale-invariant").to_latex()
    assert "28 entries" in large().to_latex()


def test_many_charges_take_braces() -> None:
    theory = derive(losses.linear_net([2, 5, 2]))
    assert "C_{11} &=" in theory.to_latex()
    assert "C_11 " not in theory.to_latex()


def test_html_is_a_paragraph_and_typeset_charges() -> None:
    theory = theory_of("matrix-factorization")
    text = theory._repr_html_()
    first, _, rest = text.partition("</p>\n")
    assert html.unescape(first) == f"<p>{display.paragraph(theory)}"
    assert html.unescape(rest) == theory.to_latex()
    assert "<" not in rest
    assert theory._repr_latex_() == theory.to_latex()


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_record_lists_generators_entry_by_entry(name: str) -> None:
    """Against SymPy's dense matrices."""
    theory = theory_of(name)
    record = json.loads(json.dumps(theory.to_json()))
    assert len(record["charges"]) == len(theory.charges)
    for charge, found in zip(theory.charges, record["charges"], strict=True):
        a, b = charge.generator
        assert found["generator"]["size"] == theory.loss.dimension
        assert found["generator"]["A"] == [[i, j, _entry(v)] for (i, j), v in sorted(a.todok().items())]
        assert found["generator"]["b"] == [[i, _entry(v)] for i, v in enumerate(b) if v]
        assert found["expression"] == str(charge.expression)
        assert found["drift"] == display.drift_text(charge)


def _entry(value: sp.Expr) -> int | str:
    return int(value) if value.is_Integer else str(value)


def test_record_writes_halves_as_text() -> None:
    record = theory_of("softmax-regression").to_json()
    assert record["charges"][0]["generator"]["b"][:2] == [[0, "1/2"], [2, "1/2"]]
    assert {type(row[2]) for charge in record["charges"] for row in charge["generator"]["A"]} <= {int, str}


def test_record_names_structure_and_families() -> None:
    theory = theory_of("matrix-factorization")
    full = json.loads(json.dumps(display.to_json(theory)))
    assert full["undecided"] == {} and full["further_laws"] == []
    assert full["structure"]["groups"] == [
        {"name": "gl(2)", "dimension": 4, "action": "U -> U G^-1, W -> G W, G in GL(2)"}
    ]
    assert full["families"] == [
        {
            "expression": "U.T @ U - W @ W.T",
            "latex": r"U^{\mathsf T} U - W W^{\mathsf T}",
            "shape": [2, 2],
            "number": 3,
            "drift": "-2*lambda_wd*C + T*E_c[g_U.T @ g_U - g_W @ g_W.T]",
            "kind": "gram",
            "charges": ["C_1", "C_2", "C_3"],
        }
    ]


def test_record_of_many_parameters_is_quick() -> None:
    start = time.process_time()
    record = display.to_json(large())
    assert time.process_time() - start < 2
    assert len(record["charges"]) == 28
    assert record["charges"][0]["generator"]["size"] == 98


LARGE = ("gated-mixture", "tucker-factorization", "single-head-attention")

# --- a point ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in NAMES])
def test_numbers_at_a_point_are_those_of_the_charges(name: str) -> None:
    theory, entry = theory_of(name), LIBRARY[name]
    sgd = SGD(learning_rate=0.02, batch_size=2, weight_decay=0.01)
    record = json.loads(json.dumps(display.point_record(theory, entry.start, sgd), allow_nan=False))
    theta = theory.loss.pack(entry.start)
    size = float(np.trace(theory.sigma(theta))) + 1
    for charge, found in zip(theory.charges, record["charges"], strict=True):
        assert found["name"] == charge.name
        assert found["value"] == pytest.approx(charge.value(theta), abs=1e-11)
        assert found["drift"] == pytest.approx(charge.drift_at(theta, sgd), rel=1e-9, abs=1e-11 * size)
        assert found["class"] in ("convergent", "divergent", "frozen")
        assert set(found["equilibrium"]) == {"lambda_star", "value", "rate"}
    assert {name: np.shape(value) for name, value in record["at"].items()} == {
        p.name: p.shape for p in theory.loss.parameters
    }
    assert isinstance(display.at_point(theory, entry.start, sgd), str)


def test_rescaling_at_a_point_reads_as_in_theory() -> None:
    """C = u^2 - w^2 relaxes at 4 T C_2(uw), C_2(v) = 2 v^2 - 4 v + 9/4, to 0 at lambda* = ln(w/u)/2."""
    theory, rate = theory_of("rescaling"), 4 * 0.01 * (2 * 0.72**2 - 4 * 0.72 + 2.25)
    record = display.point_record(theory, {"u": 1.2, "w": 0.6}, RATE)
    (charge,) = record["charges"]
    assert charge["drift"] == pytest.approx(-rate * 1.08)
    assert charge["equilibrium"]["lambda_star"] == pytest.approx(math.log(0.5) / 2)
    assert charge["equilibrium"]["value"] == 0
    text = display.at_point(theory, {"u": 1.2, "w": 0.6}, RATE)
    assert text.startswith("At u = 1.2, w = 0.6 with eta = 0.01, S = 1, lambda_wd = 0:")
    assert "C_1 = u**2 - w**2 = 1.08: convergent, dC/dt = -0.0175738; alone it goes to 0 (lambda* = -0.346574)" in text


def test_matrices_at_a_point_are_laid_out() -> None:
    theory, start = theory_of("matrix-factorization"), LIBRARY["matrix-factorization"].start
    text = display.at_point(theory, start, RATE)
    assert "  U.T @ U - W @ W.T = [0.67  0.06]\n                      [0.06  0.36]" in text
    assert "all drifts vanish together (residual " in text
    (family,) = display.point_record(theory, start, RATE)["families"]
    first, second = start["U"], start["W"]
    assert np.allclose(family["value"], first.T @ first - second @ second.T)


def test_divergent_and_frozen_charges_at_a_point() -> None:
    text = display.at_point(theory_of("weight-norm"), LIBRARY["weight-norm"].start, RATE)
    assert "divergent" in text
    assert "alone it goes to inf without end" in text
    assert "all drifts vanish together at infinity only" in text
    decayed = display.at_point(theory_of("scale-invariant"), {"w": [0.8, -0.4, 0.5]}, SGD(0.01, weight_decay=0.1))
    assert "without end" not in decayed
    assert "at the rate" in decayed
    softmax = display.at_point(theory_of("softmax-regression"), LIBRARY["softmax-regression"].start, RATE)
    assert softmax.count("frozen, dC/dt = 0; it stays") == 9
    assert "e-" not in softmax.partition("all drifts")[0]
    none = display.at_point(theory_of("two-layer-tanh"), LIBRARY["two-layer-tanh"].start, RATE)
    assert none.endswith("no quadratic charge.")


def test_momentum_and_many_charges_at_a_point() -> None:
    theory = derive(losses.linear_net([3, 5, 3]))
    rng = np.random.default_rng(0)
    at = {"W0": rng.normal(size=(3, 5)), "W1": rng.normal(size=(5, 3))}
    text = display.at_point(theory, at, SGD(0.01, momentum=0.9))
    assert "momentum 0.9:" in text
    assert "... and 3 more" in text


@pytest.mark.slow
def test_large_matrices_at_a_point_give_their_norm() -> None:
    theory = derive(matrix_factorization(2, 9, 2))
    rng = np.random.default_rng(0)
    text = display.at_point(theory, {"U": rng.normal(size=(2, 9)), "W": rng.normal(size=(9, 2))}, RATE)
    assert text.startswith("At the given point with eta = 0.01")
    assert "U.T @ U - W @ W.T = 9 x 9, norm " in text


def test_points_that_make_no_sense_are_refused() -> None:
    theory = theory_of("rescaling")
    with pytest.raises(ValueError, match=r"at\[w\]: every parameter needs one value"):
        display.at_point(theory, {"u": 1.0}, RATE)
    with pytest.raises(ValueError, match="must be finite"):
        display.at_point(theory, {"u": 1.0, "w": math.nan}, RATE)
    with pytest.raises(ValueError, match="a schedule makes the drift depend on time"):
        display.at_point(theory, {"u": 1.0, "w": 1.0}, SGD(0.01, schedule=1 / (1 + t)))


def test_undecided_class_is_said() -> None:
    """Bare moments of a law that the loss is no polynomial in: Sigma has no numbers."""
    from symbolic import Moments

    theory = derive(Loss(sp.tanh(u * w * x), [u, w], {x: Moments([0, 1])}))
    text = display.summary(theory)
    assert "C_1 = u**2 - w**2" in text
    assert "undecided" in text
    assert "undecided" in theory.to_latex()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "matrix-factorization",
            {
                "symmetries": "affine, an algebra of dimension 4: 3 symmetric, 1 antisymmetric (proved, exact over the"
                " rationals)",
                "groups": "gl(2): U -> U G^-1, W -> G W, G in GL(2)",
                "charges": "3, 3 independent, entries of U.T @ U - W @ W.T; convergent: driven by noise to a finite"
                " equilibrium",
                "conservation laws": "gradient flow has 3, all of them given by the charges",
            },
        ),
        (
            "radial",
            {
                "symmetries": "affine, an algebra of dimension 3: 3 antisymmetric (proved, exact over the rationals)",
                "groups": "so(3): rotations of w",
                "charges": "none that is quadratic",
                "conservation laws": "gradient flow has 2, none of them given by the charges",
            },
        ),
        (
            "net-a",
            {
                "charges": "sum(a**2) + sum(W**2), divergent: driven by noise to where weight decay holds it, a finite"
                " value",
                "conservation laws": "gradient flow has 2, 1 of them given by the charges",
            },
        ),
        (
            "two-layer-tanh",
            {"charges": "none that is quadratic", "conservation laws": "gradient flow has none for all data"},
        ),
    ],
)
def test_the_facts_of_a_theory(name: str, said: dict[str, str]) -> None:
    theory, sgd = theory_of(name), SGD(0.1, weight_decay=0.1)
    found = display.facts(theory, sgd)
    assert found | said == found and ("groups" in found) == bool(theory.algebra.dimension)
    record = display.facts_record(theory, sgd)
    assert record["facts"] == found and sum(record["classes"].values()) == len(theory.charges)
    whole = theory.to_json()
    shared = [k for k in record if k in whole]
    assert len(shared) == 8 and all(record[k] == whole[k] for k in shared)


def test_the_facts_say_what_is_not_decided() -> None:
    theory = derive(LIBRARY["single-head-attention"].build(), time_limit=1e-9)
    found = display.facts(theory)
    assert "at least" in found["symmetries"] or "was found" in found["symmetries"]
    assert "partial" in found["symmetries"] and "not decided within" in found["conservation laws"]
