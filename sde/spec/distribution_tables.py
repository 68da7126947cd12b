"""Laws written as TOML tables: { law = "normal", mean = 0, std = 0.5 } and its like."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from sde.spec.error_list import ErrorList, is_number
from symbolic.errors import nearest
from symbolic.language.parser import ExpressionError, parse_scalar
from symbolic.problem.base_distribution import Distribution
from symbolic.problem.distributions import NAMED
from symbolic.problem.parameter import entries


def read_distribution(
    where: str, table: Mapping[str, Any], shape: tuple[int, ...] | None, errors: ErrorList
) -> tuple[Distribution | None, tuple[int, ...]]:
    """The law in a table { law = "normal", ... } and its variable's shape; shape None means that of the values.

    With problems, added to `problems`, the law is None.
    """
    before = len(errors.found)
    kind = table.get("law")
    if not isinstance(kind, str) or kind not in NAMED:
        hint = nearest(kind, list(NAMED)) if isinstance(kind, str) else f"Known: {', '.join(NAMED)}."
        errors.add(f"{where}.law", "must name a law", kind, hint)
        return None, shape or ()
    make, allowed = NAMED[kind], NAMED[kind].keys()
    values: dict[str, np.ndarray] = {}
    for key, value in table.items():
        if key == "law":
            continue
        if key not in allowed:
            errors.add(f"{where}.{key}", f"unknown key for the {kind} law", value, nearest(key, [*allowed, "shape"]))
            continue
        array = _numbers(f"{where}.{key}", value, errors)
        if array is not None:
            values[key] = array
    if len(errors.found) > before:
        return None, shape or ()
    if shape is None:
        shape = make.shape_of({k: v.shape for k, v in values.items()})
    arguments = {k: values[k].tolist() if "'" in repr(table[k]) else table[k] for k in values}
    try:
        distribution = make(**make.completed(arguments))
        distribution.bind(tuple(entries("z", shape).ravel()), shape)
        return distribution, shape
    except TypeError:
        errors.add(where, f"the {kind} law needs {' and '.join(allowed)}", table, "Give its numbers.")
    except (ValueError, np.linalg.LinAlgError) as error:
        errors.found.append(f"{where}: {str(error).partition(': ')[2] or error}")
    return None, shape


def _numbers(where: str, value: Any, errors: ErrorList) -> np.ndarray | None:
    """An array of exact numbers from numbers, constant expressions, or nested lists of them."""
    if is_number(value) and math.isfinite(value):
        return np.array(sp.Integer(value) if isinstance(value, int) else sp.Rational(repr(value)), dtype=object)
    if isinstance(value, str):
        try:
            return np.array(parse_scalar(value, {}, where), dtype=object)
        except ExpressionError as error:
            errors.found.append(str(error))
            return None
    if isinstance(value, list) and value:
        parts = [_numbers(where, item, errors) for item in value]
        shapes = {entry.shape for entry in parts if entry is not None}
        if any(entry is None for entry in parts):
            return None
        if len(shapes) == 1:
            return np.stack([entry for entry in parts if entry is not None])
    errors.add(
        where,
        "must be finite numbers, or a rectangular array of them",
        value,
        "Write 0.5 or [1, 2] or [[1, 0], [0, 2]].",
    )
    return None
