"""L(theta) = E l(theta, z) and Tr Hess L as expressions: through the moments of the data where l is a polynomial in
them, else as averages over the rows of the data set, over what is drawn beside them by its moments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.problem.features import expected, features
from symbolic.problem.loss import Loss
from symbolic.problem.row_mean import RowMean

LARGEST = 20_000
"""Operations up to which Tr Hess L is written."""


def mean_of(loss: Loss, where: str, per_sample: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
    """E per_sample(l) over the data, for a linear map of functions of theta. where: what messages call it.

    Raises InputError where neither moments nor rows give it.
    """
    found = features(loss)
    if found is not None:
        try:
            means = [*found.mean, sp.S.One]
            apart = sp.Add(*(found.moment(k) * c for k, c in found.apart))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        parts = (*found.coefficients, found.constant + apart)
        return sp.Add(*(m * per_sample(c) for m, c in zip(means, parts, strict=True)))
    rows = [b for b in loss.used if b.table is not None]
    drawn = [s for b in loss.used if b.table is None for s in b.symbols if s in loss.expression.free_symbols]
    try:
        each = expected(loss, drawn) if len(rows) == 1 else None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if each is None:
        raise InputError(
            f"{where}: needs the data's moments, or rows to average over; got {loss.name}, which is no polynomial in"
            " data that are drawn from a law. Give the data as a Dataset (a sample of the law will do)."
        )
    (block,) = rows
    assert block.table is not None
    used = [s for s in block.symbols if s in each.free_symbols]
    columns = np.ascontiguousarray(block.table[:, [block.symbols.index(s) for s in used]])
    return RowMean(per_sample(each), used, columns)


def hessian_trace(loss: Loss) -> sp.Expr:
    """Tr Hess L in theta; kinks (ReLU) are passed by, as in training. Raises InputError as `mean_of`, and where it is
    too long to write."""

    def trace(c: sp.Expr) -> sp.Expr:
        return sp.Add(*(_second(c, s) for s in loss.theta if s in c.free_symbols))

    return mean_of(loss, "sharpness_expression", trace)


def _second(c: sp.Expr, s: sp.Symbol) -> sp.Expr:
    found = sp.diff(c, s, 2)
    if found.has(sp.Derivative, sp.Subs, sp.DiracDelta):
        advice = (
            "Write max(a, 0) as relu(a), whose kink is passed by as in training (symbolic.functions.activations)."
            if c.has(sp.Max, sp.Min)
            else "Write it with functions that have them."
        )
        raise InputError(
            f"sharpness_expression: the loss needs second derivatives in {s}; got {str(found)[:80]}. {advice}"
        )
    size = sp.count_ops(found)
    if size > LARGEST:
        raise InputError(
            f"sharpness_expression: is written up to {LARGEST} operations a parameter; got {size} for {s}. Evaluate it"
            " at points with theory.sharpness(at, sgd)."
        )
    return found
