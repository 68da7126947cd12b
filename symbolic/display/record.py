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


def _dense(field: AffineField) -> dict[str, list[Any]]:
    """A and b as lists of whole numbers and strings "1/2"; rows without entries are one shared list."""
    zeros: list[int | str] = [0] * field.size
    rows: list[list[int | str]] = [zeros] * field.size
    for (i, j), c in field.A.items():
        if rows[i] is zeros:
            rows[i] = list(zeros)
        rows[i][j] = _entry(c)
    return {"A": rows, "b": [_entry(field.b.get(i, 0)) for i in range(field.size)]}


def to_json(theory: Derivation, details: bool = False) -> dict[str, Any]:
    """The derive record of the command line: plain lists, numbers and strings, an entry that is not whole as "1/2".

    details: also "structure" (the algebra's name and groups) and "families" (charges in matrix form).
    """
    algebra = theory.algebra
    record = {
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
        "charges": [
            {
                "expression": str(charge.expression),
                "generator": _dense(charge.field),
                "kind": charge.kind,
                "class": charge.classification,
                "drift": drift_text(charge, brief),
            }
            for charge, brief in zip(theory.charges, briefs(theory.charges), strict=True)
        ],
    }
    if details:
        record["structure"] = theory.structure.to_json()
        record["families"] = [
            {"expression": f.text, "latex": f.latex, "shape": list(f.shape), "number": f.number, "drift": f.drift()}
            | {"kind": f.kind, "charges": [theory.charges[k].name for k in f.charges]}
            for f in theory.families
        ]
    return record
