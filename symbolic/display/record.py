"""A theory as a record of plain lists, numbers and strings, and the drift of a charge as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from symbolic.algebra.nullspace import Number, Vector
from symbolic.predictions.charge import Charge
from symbolic.predictions.derivation import Derivation

LONG = 2000
"""Characters beyond which a drift is shown in operator form."""


def operator_form(charge: Charge) -> str:
    """The drift as a formula in Sigma and A."""
    quadratic, linear = parts(charge)
    decay = f"-2*lambda_wd*{charge.name}" if quadratic and not linear else "-2*lambda_wd*(A*theta + b).theta"
    return f"{decay} + T*Tr[Sigma*A]" if quadratic else decay


def parts(charge: Charge) -> tuple[bool, bool]:
    """Whether A and b are not zero."""
    n = charge.loss.dimension**2
    return min(charge.vector) < n, max(charge.vector) >= n


def is_brief(charge: Charge) -> bool:
    """Whether the drift is written out: an expression short enough to read."""
    size = charge.loss.dimension
    a = sp.SparseMatrix(size, size, {(0, 0): 1} if parts(charge)[0] else {})
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
        quadratic = parts(charge)[0]
        if quadratic not in known:
            known[quadratic] = is_brief(charge)
        out.append(known[quadratic])
    return out


def _entry(value: Number) -> int | str:
    return int(value) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"


def _dense(vector: Vector, size: int) -> dict[str, list[Any]]:
    """A and b as lists of whole numbers and strings "1/2"; rows without entries are one shared list."""
    zeros: list[int | str] = [0] * size
    rows: list[list[int | str]] = [zeros] * size
    b = zeros
    for index, c in vector.items():
        if index >= size * size:
            b = list(b) if b is zeros else b
            b[index - size * size] = _entry(c)
            continue
        i, j = divmod(index, size)
        if rows[i] is zeros:
            rows[i] = list(zeros)
        rows[i][j] = _entry(c)
    return {"A": rows, "b": b}


def to_json(theory: Derivation, details: bool = False) -> dict[str, Any]:
    """The derive record of the command line: plain lists, numbers and strings, an entry that is not whole as "1/2".

    details: also "structure" (the algebra's name and groups) and "families" (charges in matrix form).
    """
    algebra, size = theory.algebra, theory.loss.dimension
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
                "generator": _dense(charge.vector, size),
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
