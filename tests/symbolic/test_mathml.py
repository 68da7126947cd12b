"""LaTeX of this package as MathML: well formed, with the structure it should have, and never markup of a user's."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import sympy as sp

from symbolic import derive, library
from symbolic.display.mathml import mathml
from symbolic.language.names import latex

BARE = {"single-head-attention", "softmax-regression", "deep-linear"}


def shown(tex: str) -> str:
    """Tags and text, without attributes."""
    root = ElementTree.fromstring(mathml(tex, "plain"))

    def flat(e: ElementTree.Element) -> str:
        inner = (e.text or "") + "".join(flat(c) for c in e)
        return inner if e.tag in ("mrow", "math") else f"{e.tag}({inner})"

    return flat(root)


@pytest.mark.parametrize(
    "tex, expected",
    [
        (r"u^{2} - w^{2}", "msup(mi(u)mn(2))mo(−)msup(mi(w)mn(2))"),
        (r"x_{i}^{2}", "msubsup(mi(x)mi(i)mn(2))"),
        (r"U^{\mathsf T} U", "msup(mi(U)mi(T))mi(U)"),
        (r"\frac{1}{2} \lambda_{\mathrm{wd}}", "mfrac(mn(1)mn(2))msub(mi(λ)mi(wd))"),
        (r"\left(a + b\right)^{3}", "msup(mo(()mi(a)mo(+)mi(b)mo())mn(3))"),
        (r"\sqrt{x}\,\dot{C}", "msqrt(mi(x))mspace()mover(mi(C)mo(˙))"),
        (r"\mathbf{1}^{\mathsf T} W", "msup(mn(𝟏)mi(T))mi(W)"),
        (r"\Sigma \leq \infty", "mi(Σ)mo(≤)mo(∞)"),
    ],
)
def test_structure(tex: str, expected: str) -> None:
    assert shown(tex) == expected


@pytest.mark.parametrize(
    "tex", [r"\unheard{x}", "{a", "a}", "x^", "x^1^2", r"\left( a", r"\begin{cases} 1 \end{cases}"]
)
def test_what_is_not_known_is_plain_text(tex: str) -> None:
    assert mathml(tex, "a < b & c") == "<code>a &lt; b &amp; c</code>"


@pytest.mark.parametrize("hostile", ["<script>", 'a" onload="x', "</math><b>", "x & y", "<img src=x>"])
def test_hostile_names_stay_text(hostile: str) -> None:
    page = mathml(latex(sp.Symbol(hostile, real=True) ** 2), hostile)
    root = ElementTree.fromstring(page)
    assert {e.tag for e in root.iter()} <= {
        "math",
        "code",
        "mrow",
        "mi",
        "mo",
        "mn",
        "msup",
        "msub",
        "msubsup",
        "mspace",
    }
    assert all(set(e.attrib) <= {"aria-label", "mathvariant", "stretchy", "width"} for e in root.iter())


@pytest.mark.parametrize("name", sorted(set(library.LIBRARY) - BARE))
def test_every_family_and_loss_of_the_library_is_typeset(name: str) -> None:
    loss = library.LIBRARY[name].build()
    texts = [latex(loss.expression)]
    for family in derive(loss).families:
        texts += [family.latex, family.drift_latex(), family.equation()[1]]
    for tex in texts:
        found = mathml(tex, "plain")
        assert found.startswith("<math"), tex
        ElementTree.fromstring(found)
