"""Observables as text, such as "u**2 - w**2", and the ready ones: "loss" is L = E l, "sharpness" is Tr Hess L."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.language.parser import parse
from symbolic.problem.loss import Loss
from symbolic.problem.mean_loss import hessian_trace

READY: Mapping[str, Callable[[Loss], sp.Expr]] = {"loss": lambda loss: loss.mean, "sharpness": hessian_trace}
"""What a name stands for, where nothing of the problem has it."""
MARKS = {name: sp.Symbol(f":{name}", real=True) for name in READY}
"""Stand for them until there is a loss."""


def with_ready(names: Mapping[str, Any]) -> dict[str, Any]:
    """Names of a text, and the ready ones that they leave."""
    return {**{name: np.array(mark, dtype=object) for name, mark in MARKS.items()}, **names}


def filled(value: Any, loss: Loss) -> Any:
    """An expression, or an array of them, with marks replaced by what they stand for. Raises InputError."""
    if isinstance(value, np.ndarray):
        return np.array([filled(e, loss) for e in value.ravel()], dtype=object).reshape(value.shape)
    used = [name for name, mark in MARKS.items() if mark in value.free_symbols]
    return value.xreplace({MARKS[name]: READY[name](loss) for name in used})


def read(where: str, table: Any, problem: Any) -> Any:
    """{name: expression}, of which texts are read in the names of a loss's parameters. Raises InputError."""
    if not isinstance(table, Mapping) or not any(isinstance(value, str) for value in table.values()):
        return table
    out = dict(table)
    for name, text in table.items():
        if not isinstance(text, str):
            continue
        if not isinstance(problem, Loss):
            raise InputError.of(f"{where}[{name}]", "must be an expression, of an SDE", text, "Write it with SymPy.")
        own = {p.name: np.array(p.symbols, dtype=object).reshape(p.shape) for p in problem.parameters}
        value = filled(parse(text, with_ready(own), f"{where}[{name}]"), problem)
        out[name] = value if value.shape else value.item()
    return out
