"""Correlated Brownian motions as mixtures of independent ones: dW = L dB with L L^T their correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp

from symbolic.errors import InputError, as_whole

WHERE = "SDE.correlation"
ROUNDED = 1e-12
"""How far a correlation in floats may be from what it should be."""
FORM = "Give a symmetric matrix of numbers with ones on its diagonal, or pairs such as {(0, 1): -0.7}."


def factor(given: Any, noises: int) -> sp.Matrix:
    """L (noises, rank), lower triangular but for columns of 0, which are left out; exact where the correlation is.
    given: a matrix, or {(i, j): number}. Raises InputError."""
    full = _pairs(given, noises) if isinstance(given, Mapping) else _matrix(given, noises)
    exact = all(e.is_Rational for e in full)
    slack = 0 if exact else ROUNDED
    if any(abs(full[i, i] - 1) > slack for i in range(noises)):
        raise InputError.of(WHERE, "must have ones on its diagonal", full.diagonal().tolist()[0], FORM)
    if any(abs(full[i, j] - full[j, i]) > slack for i in range(noises) for j in range(i)):
        raise InputError.of(WHERE, "must be symmetric", full.tolist(), FORM)
    made = sp.zeros(noises, noises)
    for k in range(noises):
        pivot = sp.expand(full[k, k] - sum(made[k, i] ** 2 for i in range(k)))
        rest = [sp.expand(full[j, k] - sum(made[j, i] * made[k, i] for i in range(k))) for j in range(k + 1, noises)]
        flat = pivot <= ROUNDED if not exact else pivot <= 0
        if pivot < -slack * noises or (flat and any(abs(e) > slack * 100 for e in rest)):
            rule = "must be positive semidefinite: no Brownian motions have these correlations"
            raise InputError.of(WHERE, rule, full.tolist(), "Bring correlations nearer to 0.")
        if flat:
            continue
        root = sp.sqrt(pivot)
        made[k, k] = root
        for j, e in enumerate(rest, k + 1):
            made[j, k] = sp.radsimp(e / root) if exact else e / root
    kept = [k for k in range(noises) if any(made[:, k])]
    return made[:, kept]


def _number(value: Any) -> sp.Expr:
    try:
        made = sp.sympify(value, strict=True)
    except (sp.SympifyError, TypeError):
        made = sp.nan
    if not isinstance(made, sp.Expr) or not made.is_number or made.is_finite is not True or made.is_real is not True:
        raise InputError.of(WHERE, "must be numbers", value, FORM)
    return made if made.is_Rational else sp.Float(made)


def _matrix(given: Any, noises: int) -> sp.Matrix:
    rows: Any = given.tolist() if hasattr(given, "tolist") else given
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not all(isinstance(r, (list, tuple)) for r in rows):
        raise InputError.of(WHERE, "must be a matrix or pairs", given, FORM)
    if len(rows) != noises or any(len(r) != noises for r in rows):
        shape = (len(rows), *{len(r) for r in rows})
        raise InputError.of(WHERE, f"must have a row and a column for each of the {noises} noises", shape, FORM)
    return sp.Matrix([[_number(e) for e in row] for row in rows])


def _pairs(given: Mapping[Any, Any], noises: int) -> sp.Matrix:
    full = sp.eye(noises)
    for pair, value in given.items():
        ends = [as_whole(k) for k in pair] if isinstance(pair, tuple) else []
        if len(ends) != 2 or any(k is None or not 0 <= k < noises for k in ends) or ends[0] == ends[1]:
            rule = f"pairs must be two different noises of 0 to {noises - 1}"
            raise InputError.of(WHERE, rule, pair, FORM)
        i, j = ends
        number = _number(value)
        if (j, i) in given and pair != (j, i) and _number(given[j, i]) != number:
            raise InputError.of(WHERE, "must be symmetric", {pair: value, (j, i): given[j, i]}, FORM)
        full[i, j] = full[j, i] = number
    return full
