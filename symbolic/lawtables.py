"""Laws written as TOML tables: { law = "normal", mean = 0, std = 0.5 } and its like."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from symbolic.expressions import ExpressionError, parse_scalar
from symbolic.laws import Bernoulli, Law, Moments, Normal, Uniform
from symbolic.loss import entries
from symbolic.problems import Problems, is_number, nearest

LAWS: Mapping[str, tuple[type[Law], tuple[str, ...]]] = {
    "normal": (Normal, ("mean", "std", "covariance")),
    "uniform": (Uniform, ("low", "high")),
    "bernoulli": (Bernoulli, ("p",)),
    "moments": (Moments, ("moments",)),
}


def read_law(
    where: str, table: Mapping[str, Any], shape: tuple[int, ...] | None, problems: Problems
) -> tuple[Law | None, tuple[int, ...]]:
    """The law in a table { law = "normal", ... } and its variable's shape; shape None means that of the values.

    With problems, added to `problems`, the law is None.
    """
    before = len(problems.found)
    kind = table.get("law")
    if not isinstance(kind, str) or kind not in LAWS:
        hint = nearest(kind, list(LAWS)) if isinstance(kind, str) else f"Known: {', '.join(LAWS)}."
        problems.add(f"{where}.law", "must name a law", kind, hint)
        return None, shape or ()
    make, allowed = LAWS[kind]
    values: dict[str, np.ndarray] = {}
    for key, value in table.items():
        if key == "law":
            continue
        if key not in allowed:
            problems.add(f"{where}.{key}", f"unknown key for the {kind} law", value, nearest(key, [*allowed, "shape"]))
            continue
        array = _numbers(f"{where}.{key}", value, problems)
        if array is not None:
            values[key] = array
    if len(problems.found) > before:
        return None, shape or ()
    if shape is None:
        own = [v.shape[:1] if k == "covariance" else v.shape for k, v in values.items() if k != "moments"]
        shape = max(own, key=len, default=())
    if kind == "normal" and "covariance" not in values:
        values.setdefault("std", np.array(sp.S.One, dtype=object))
    arguments = {k: values[k].tolist() if "'" in repr(table.get(k)) else table.get(k, 1) for k in values}
    try:
        law = make(**arguments)
        law.bind(tuple(entries("z", shape).ravel()), shape)
        return law, shape
    except TypeError:
        problems.add(where, f"the {kind} law needs {' and '.join(allowed)}", table, "Give its numbers.")
    except (ValueError, np.linalg.LinAlgError) as error:
        problems.found.append(f"{where}: {str(error).partition(': ')[2] or error}")
    return None, shape


def _numbers(where: str, value: Any, problems: Problems) -> np.ndarray | None:
    """An array of exact numbers from numbers, constant expressions, or nested lists of them."""
    if is_number(value) and math.isfinite(value):
        return np.array(sp.Integer(value) if isinstance(value, int) else sp.Rational(repr(value)), dtype=object)
    if isinstance(value, str):
        try:
            return np.array(parse_scalar(value, {}, where), dtype=object)
        except ExpressionError as error:
            problems.found.append(str(error))
            return None
    if isinstance(value, list) and value:
        parts = [_numbers(where, item, problems) for item in value]
        shapes = {part.shape for part in parts if part is not None}
        if any(part is None for part in parts):
            return None
        if len(shapes) == 1:
            return np.stack([part for part in parts if part is not None])
    problems.add(
        where,
        "must be finite numbers, or a rectangular array of them",
        value,
        "Write 0.5 or [1, 2] or [[1, 0], [0, 2]].",
    )
    return None
