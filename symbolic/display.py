"""A theory as JSON, plain words, LaTeX and HTML."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import sympy as sp

if TYPE_CHECKING:
    from symbolic.charge import Charge
    from symbolic.theory import Theory

LONG = 2000
"""Characters beyond which a drift is shown in operator form."""
SHOWN = 12
"""Charges written out in a summary before the rest is counted."""


def _entry(value: Any) -> int | str:
    return int(value) if value.is_Integer else str(value)


def operator_form(charge: Charge) -> str:
    """The drift as a formula in Sigma and A."""
    decay = (
        f"-2*lambda_wd*{charge.name}" if charge.A.any() and not charge.b.any() else "-2*lambda_wd*(A*theta + b).theta"
    )
    return f"{decay} + T*Tr[Sigma*A]" if charge.A.any() else decay


def drift_text(charge: Charge) -> str:
    """The drift in the symbols T and lambda_wd, in operator form when it would be long."""
    if not charge.noise.brief(charge.generator[0]):
        return operator_form(charge)
    text = str(charge.drift())
    return operator_form(charge) if len(text) > LONG else text


def to_json(theory: Theory) -> dict[str, Any]:
    """The derive record of the command line."""
    algebra = theory.algebra
    charges = []
    for charge in theory.charges:
        a, b = charge.generator
        charges.append(
            {
                "expression": str(charge.expression),
                "generator": {"A": [[_entry(v) for v in row] for row in a.tolist()], "b": [_entry(v) for v in b]},
                "kind": charge.kind,
                "class": charge.classification,
                "drift": drift_text(charge),
            }
        )
    return {
        "name": theory.loss.name,
        "parameters": {p.name: list(p.shape) for p in theory.loss.parameters},
        "algebra": {
            "dimension": algebra.dimension,
            "symmetric": algebra.symmetric,
            "antisymmetric": algebra.antisymmetric,
        },
        "independent_charges": theory.independent_charges,
        "conservation_laws": theory.conservation_laws,
        "complete": theory.complete,
        "certificate": str(theory.certificate),
        "charges": charges,
    }


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def verdict(theory: Theory) -> str:
    """One sentence on completeness."""
    laws, found = theory.conservation_laws, theory.independent_charges
    if laws is None:
        return "Whether gradient flow has further conservation laws is not known."
    if theory.complete:
        return (
            "These are all the conservation laws of gradient flow."
            if laws
            else "Gradient flow has no conservation law for all data."
        )
    return f"Gradient flow has {_plural(laws - found, 'further conservation law')} that these do not give."


def paragraph(theory: Theory) -> str:
    """The theory in a few plain sentences."""
    algebra, n = theory.algebra, len(theory.charges)
    first = f"{theory.loss.name}: {_plural(theory.loss.dimension, 'parameter')}; "
    if not algebra.dimension:
        return f"{first}no affine symmetry ({theory.certificate}), so no quadratic charge. {verdict(theory)}"
    first += f"a symmetry algebra of dimension {algebra.dimension} ({algebra.symmetric} symmetric, {algebra.antisymmetric} antisymmetric; {theory.certificate})."
    counts = {k: sum(c.classification == k for c in theory.charges) for k in ("convergent", "divergent", "frozen")}
    words = {
        "convergent": "driven by noise to a finite equilibrium",
        "divergent": "driven by noise without end",
        "frozen": "untouched by noise on average",
    }
    fate = "; ".join(f"{m} {words[k]}" for k, m in counts.items() if m)
    return (
        f"{first} {_plural(n, 'charge')}, {theory.independent_charges} independent: {fate or 'none'}. {verdict(theory)}"
    )


def summary(theory: Theory) -> str:
    """Plain words, then one block per charge."""
    lines = [paragraph(theory)]
    for charge in theory.charges[:SHOWN]:
        lines += [
            f"  {charge.name} = {charge.expression}",
            f"      {charge.kind}, {charge.classification}: {charge.reason}",
            f"      dC/dt = {drift_text(charge)}",
        ]
    if len(theory.charges) > SHOWN:
        lines.append(f"  ... and {len(theory.charges) - SHOWN} more")
    return "\n".join(lines)


def _drift_latex(charge: Charge) -> str:
    if charge.noise.brief(charge.generator[0]) and len(str(charge.drift())) <= 300:
        return sp.latex(charge.drift())
    if not charge.A.any():
        return r"-2\lambda_{\mathrm{wd}}\, b^{\mathsf T}\theta"
    decay = charge.name if not charge.b.any() else r"(A\theta+b)^{\mathsf T}\theta"
    return rf"-2\lambda_{{\mathrm{{wd}}}}\, {decay} + T\,\mathrm{{Tr}}[\Sigma A]"


def to_latex(theory: Theory) -> str:
    """An aligned display: charge, drift and class per row."""
    if not theory.charges:
        return r"$\text{no quadratic charge}$"
    rows = [
        rf"{c.name} &= {sp.latex(c.expression)}, & \dot{{{c.name}}} &= {_drift_latex(c)} && \text{{{c.classification or 'undecided'}}}"
        for c in theory.charges[:SHOWN]
    ]
    if len(theory.charges) > SHOWN:
        rows.append(rf"&\ldots\ \text{{and {len(theory.charges) - SHOWN} more}}")
    return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"


def to_html(theory: Theory) -> str:
    """The paragraph, and the LaTeX below it."""
    return f"<p>{html.escape(paragraph(theory))}</p>\n{to_latex(theory)}"
