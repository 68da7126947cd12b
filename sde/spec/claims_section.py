"""The [[claims]] tables of a spec: claims of one's own that `noetherflow verify` tests beside the theory's.

observable = "u**2 - w**2"     an expression in the parameters, "loss" and "sharpness", or the name of an observable
equals = 0.5                   a number, or an expression in t: "1.08*exp(-t/20)"
margin = 0.05                  how far off still counts as agreement
at = 10.0                      a time, or a list of them; left out: the end, of an expression eight times up to it
run = "sgd"                    or "sde", "gd"
start = 1                      the number of the start; left out: every one
name = "C"                     what the report calls it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from sde.spec.error_list import ErrorList, is_number
from symbolic.errors import InputError
from symbolic.language.parser import ExpressionError, parse_scalar
from symbolic.problem import observed_text
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import t

KEYS = ("observable", "equals", "margin", "at", "run", "start", "name")
NEEDED = KEYS[:3]
WRITE = 'Write [[claims]], then observable = "u**2 - w**2", equals = 0.5 and margin = 0.05.'


def read(
    tables: Any,
    observables: Mapping[str, Any],
    parameters: Mapping[str, np.ndarray],
    names: Mapping[str, np.ndarray],
    errors: ErrorList,
) -> tuple[dict[str, Any], ...]:
    """The arguments of each claim; what is wrong is added to `errors`."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        errors.add("claims", "must be tables of claims", tables, WRITE)
        return ()
    names = observed_text.with_ready(names)
    theta = {s for array in parameters.values() for s in array.flat} | set(observed_text.MARKS.values())
    out = list[dict[str, Any]]()
    for i, table in enumerate(tables):
        here, found = f"claims[{i}]", dict[str, Any]()
        for key, value in table.items():
            if key not in KEYS:
                errors.unknown("claims", key, value)
            elif key == "observable":
                found[key] = observables.get(value) if isinstance(value, str) else None
                if found[key] is not None:
                    found.setdefault("name", value)
                if found[key] is None:
                    found[key] = _expression(f"{here}.{key}", value, names, theta, errors)
                elif not isinstance(found[key], sp.Expr):
                    errors.add(f"{here}.{key}", "must be one number, not an array", value, "Claim an entry of it.")
            elif key == "equals" and isinstance(value, str):
                found[key] = _expression(f"{here}.{key}", value, {"t": t}, {t}, errors)
            elif key in ("equals", "margin") and not is_number(value):
                errors.add(
                    f"{here}.{key}", "must be a number" + " or an expression in t" * (key == "equals"), value, WRITE
                )
            else:
                found[key] = value
        for key in [key for key in NEEDED if key not in table]:
            errors.add(f"{here}.{key}", "every claim needs one", None, WRITE)
        out.append(found)
    return tuple(out)


def fill(claims: Sequence[dict[str, Any]], loss: Loss, errors: ErrorList) -> None:
    """Put what "loss" and "sharpness" stand for into claims that were read."""
    for i, claim in enumerate(claims):
        try:
            claim["observable"] = observed_text.filled(claim["observable"], loss)
        except InputError as error:
            where, do = f"claims[{i}].observable", error.advice or "Claim something else."
            errors.add(where, error.rule or str(error), claim.get("name", "it"), do)


def _expression(
    where: str, text: Any, names: Mapping[str, Any], allowed: set[sp.Symbol], errors: ErrorList
) -> sp.Expr | None:
    try:
        value = parse_scalar(text, names, where)
    except ExpressionError as error:
        errors.expression(error)
        return None
    other = sorted(map(str, value.free_symbols - allowed))
    if other:
        errors.add(where, f"may use parameters only, here {', '.join(other[:3])}", text, "Write it without data.")
    return value
