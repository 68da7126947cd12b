"""A theory as a record of plain lists, numbers and strings, and the drift of a charge as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from symbolic.algebra.affine import AffineField
from symbolic.algebra.number_field import Irrational, Number
from symbolic.predictions.charge import Charge
from symbolic.predictions.derivation import Derivation

LONG = 2000
"""Characters beyond which a drift is shown in operator form."""


def operator_form(charge: Charge) -> str:
    """The drift as a formula in Sigma and A."""
    decay = f"-2*lambda_wd*{charge.name}" if charge.field.is_linear else "-2*lambda_wd*(A*theta + b).theta"
    return decay if charge.field.is_translation else f"{decay} + T*Tr[Sigma*A]"


def is_brief(charge: Charge) -> bool:
    """Whether the drift is written out: an expression short enough to read."""
    size = charge.loss.dimension
    a = sp.SparseMatrix(size, size, {} if charge.field.is_translation else {(0, 0): 1})
    return charge.noise.brief(a)


def drift_text(charge: Charge, brief: bool | None = None) -> str:
    """The drift in the symbols T and lambda_wd, in operator form when it would be long; brief: what is known of that
    already."""
    if not (is_brief(charge) if brief is None else brief):
        return operator_form(charge)
    text = str(charge.drift())
    return operator_form(charge) if len(text) > LONG else text


def briefs(charges: Sequence[Charge]) -> list[bool]:
    """`is_brief` of every charge: one answer for those with a quadratic part, one for the others."""
    known: dict[bool, bool] = {}
    out = []
    for charge in charges:
        linear = charge.field.is_translation
        if linear not in known:
            known[linear] = is_brief(charge)
        out.append(known[linear])
    return out


def _entry(value: Number) -> int | str:
    if isinstance(value, Irrational):
        return str(value)
    return int(value) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"


def _generator(field: AffineField) -> dict[str, Any]:
    """The entries of A and b that are not zero, [row, column, value] and [row, value], in order; size: D."""
    return {
        "size": field.size,
        "A": [[i, j, _entry(c)] for (i, j), c in sorted(field.A.items())],
        "b": [[i, _entry(c)] for i, c in sorted(field.b.items())],
    }


def counts(theory: Derivation) -> dict[str, Any]:
    """How many symmetries, charges and laws there are, and how sure that is; None where it is not known."""
    algebra = theory.algebra
    return {
        "algebra": {
            "dimension": algebra.dimension,
            "symmetric": algebra.symmetric,
            "antisymmetric": algebra.antisymmetric,
        },
        "independent_charges": theory.independent_charges,
        "conservation_laws": theory.conservation_laws,
        "complete": theory.complete,
        "certificate": str(theory.certificate),
        "certificate_reason": theory.certificate.reason,
    }


def to_json(theory: Derivation) -> dict[str, Any]:
    """The derive record of the command line: plain lists, numbers and strings, an entry that is not whole as "1/2".

    "undecided": {part: why} for what did not end in time. Numbers that belong to such a part are None.
    """
    families = [
        {"expression": f.text, "latex": f.latex, "shape": list(f.shape), "number": f.number, "drift": f.drift()}
        | {"kind": f.kind, "charges": [theory.charges[k].name for k in f.charges]}
        for f in theory.families
    ]
    structure, further = theory.structure.to_json(), [str(law) for law in theory.further_laws]
    return {
        "name": theory.loss.name,
        "parameters": {p.name: list(p.shape) for p in theory.loss.parameters},
        **counts(theory),
        "charges": [
            {
                "name": charge.name,
                "expression": str(charge.expression),
                "generator": _generator(charge.field),
                "kind": charge.kind,
                "class": charge.classification,
                "reason": charge.reason,
                "drift": drift_text(charge, brief),
            }
            for charge, brief in zip(theory.charges, briefs(theory.charges), strict=True)
        ],
        "families": families,
        "structure": structure,
        "further_laws": further,
        "undecided": dict(theory.undecided),
    }
