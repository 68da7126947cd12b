"""What a spec's run watches: named expressions, events, whose covariance, and edges of histograms."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp

from sde.spec.error_list import ErrorList, is_number
from symbolic.errors import InputError, nearest
from symbolic.functions.reached import Reached
from symbolic.language.parser import ExpressionError, parse
from symbolic.problem import observed_text
from symbolic.problem.loss import Loss


@dataclass(frozen=True)
class Known:
    """What the expressions of a run may name. moving: what has starts and is saved, {name: entries}; symbols: those
    that expressions may hold; functions: beside the language's own; parameters: an SDE's, None of a loss."""

    moving: Mapping[str, np.ndarray]
    names: Mapping[str, Any]
    symbols: frozenset[sp.Basic]
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    parameters: Mapping[str, np.ndarray] | None = None

    def parse(self, text: Any, where: str) -> np.ndarray:
        """Raises ExpressionError."""
        return parse(text, self.names, where, self.functions)


def of_loss(parameters: Mapping[str, np.ndarray], names: Mapping[str, Any]) -> Known:
    """Parameters, and "loss" and "sharpness", which are marks until `fill`."""
    theta = frozenset(s for array in parameters.values() for s in array.flat) | {*observed_text.MARKS.values()}
    return Known(parameters, observed_text.with_ready(names), theta)


def expressions(section: str, table: Any, known: Known, errors: ErrorList) -> dict[str, Any]:
    """Named expressions of `section`, "observables" or "events"."""
    if not isinstance(table, dict):
        errors.add(
            f"run.{section}",
            "must be a table of named expressions",
            table,
            f'Write {section} = {{ C = "u**2 - w**2" }}.',
        )
        return {}
    out: dict[str, sp.Expr | np.ndarray] = {}
    for name, text in table.items():
        where = f"{section}.{name}"
        if not name.isidentifier():
            errors.add(
                where,
                "a name must be letters, digits and underscores, starting with a letter",
                name,
                "Rename it.",
            )
            continue
        try:
            value = excess(text, known, where) if section == "events" else known.parse(text, where)
        except ExpressionError as error:
            errors.expression(error)
            continue
        other = sorted({str(s) for x in value.flat for s in x.free_symbols - known.symbols})
        if other:
            errors.add(where, f"may use parameters only, here {', '.join(other[:3])}", text, "Write it without data.")
        else:
            out[name] = value if value.shape else value.item()
    return out


def fill(run: dict[str, Any], loss: Loss, errors: ErrorList) -> None:
    """Put what the marks stand for into a checked [run] section."""
    for section in ("observables", "events"):
        for name, value in run.get(section, {}).items():
            try:
                run[section][name] = observed_text.filled(value, loss)
            except InputError as error:
                errors.add(f"{section}.{name}", error.rule or str(error), name, error.advice or "Leave it out.")


RELATION = re.compile(r"[<>]=?")


def excess(text: Any, known: Known, where: str) -> np.ndarray:
    """The expression itself, or of a relation such as "u > w" the expression that is positive where it holds."""
    found = RELATION.findall(text) if isinstance(text, str) else []
    if len(found) != 1:
        return known.parse(text, where)
    left, right = RELATION.split(text)
    less, more = (left, right) if found[0].startswith("<") else (right, left)
    over = known.parse(more, where) - known.parse(less, where)
    return np.vectorize(Reached, otypes=[object])(over) if found[0].endswith("=") else np.asarray(over, dtype=object)


def events(table: Any, observables: Mapping[str, Any], known: Known, errors: ErrorList) -> dict[str, Any]:
    """Named conditions: scalar expressions, of names that are nothing else."""
    out = expressions("events", table, known, errors)
    for name, value in out.items():
        if name in observables or name in known.moving:
            errors.add(f"events.{name}", "a name may stand for one thing only", name, "Rename the event.")
        if np.ndim(value):
            errors.add(f"events.{name}", "must be one expression, not an array", str(value), "Name an event per entry.")
    return out


def chosen(value: Any, known: Sequence[str], errors: ErrorList) -> list[str]:
    """Names, each once, of parameters and observables."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value) or len(set(value)) != len(value):
        errors.add("run.covariance", "must be a list of names, each once", value, 'Write covariance = ["u", "w"].')
        return []
    for name in value:
        if name not in known:
            errors.add("run.covariance", "must name a parameter or an observable", name, nearest(name, list(known)))
    return value


def edges(table: Any, known: Sequence[str], errors: ErrorList) -> dict[str, list[float]]:
    """{name: increasing finite edges}."""
    if not isinstance(table, dict):
        errors.add("run.histogram", "must be a table of lists of edges", table, "Write histogram = { u = [0, 1, 2] }.")
        return {}
    for name, value in table.items():
        where = f"run.histogram.{name}"
        if name not in known:
            errors.add(where, "must name a parameter or an observable", name, nearest(name, list(known)))
        listed = isinstance(value, list) and len(value) >= 2 and all(is_number(e) and np.isfinite(e) for e in value)
        if not listed or (np.diff(np.array(value, dtype=float)) <= 0).any():
            errors.add(where, "needs at least two increasing finite edges", value, "Write e.g. [0.0, 0.5, 1.0].")
    return table
