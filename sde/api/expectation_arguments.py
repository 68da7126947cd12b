"""The arguments of an expectation, refused before any work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from sde.api import per_path, sweep
from sde.engine import time_grid
from sde.settings import SETTINGS
from symbolic.codegen.prepare import check_expression
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, as_real, as_whole, instance
from symbolic.problem.parameter import Parameter, assign

NO_SDE = "Build one with sde.SDE, or SDE.from_loss(loss, sgd) of a loss."


def check_arguments(
    sde: Any,
    f: Any,
    start: Mapping[Any, Any],
    *,
    time: Any,
    start_time: Any,
    bound: Any,
    checkpoint: Any,
    parameters: Mapping[Any, Any] | None,
    tolerance: Any,
    steps: Any,
    refine: Any,
    levels: Any,
    first_paths: Any,
    budget: Any,
    seed: Any,
    threads: Any,
) -> None:
    """Raise ValueError for what cannot be."""

    def refuse(name: str, rule: str, got: Any, do: str) -> InputError:
        return InputError.of(f"expectation{name}", rule, got, do)

    instance("expectation", sde, SDE, "needs an SDE", NO_SDE)
    if sde.arrays:
        raise InputError.of("expectation", "takes equations of scalars", sde.name, "Use simulate with an observable.")
    if isinstance(f, bool) or not isinstance(f, (sp.Expr, int, float)):
        several = isinstance(f, (list, tuple, dict, np.ndarray, sp.MatrixBase))
        do = "Call expectation for each of several." if several else "Write it with the states' symbols."
        do = "Write Heaviside(a - b) for the chance of a > b." if isinstance(f, sp.Rel) else do
        raise refuse(".f", "must be one SymPy expression of the states", f, do)
    check_expression("expectation.f", f, sde)
    time_grid.check_length("expectation.time", time)
    for name, value in (("start_time", start_time), ("bound", bound), ("checkpoint", checkpoint)):
        SETTINGS[name].read(value)
    instance("start", start, Mapping, "must be a mapping {name or symbol: value}", "Write {'X': 1.0}.")
    for name, value in (("tolerance", tolerance), ("budget", budget)):
        if (as_real(value) or 0) <= 0:
            raise refuse(
                f".{name}",
                "must be positive and finite",
                value,
                "Give e.g. 1e-3, in units of f." if name == "tolerance" else "Give e.g. 1e11.",
            )
    whole: list[tuple[str, Any, int, float]] = [
        ("steps", steps, 1, 2**31),
        ("refine", refine, 2, 64),
        ("levels", levels, 2, 31),
        ("first_paths", first_paths, 100, 2**32),
        ("seed", seed, 0, 2**64 - 1),
        *([("threads", threads, 1, 4096)] if threads is not None else []),
    ]
    for name, value, least, most in whole:
        number = as_whole(value)
        if number is None or not least <= number <= most:
            raise refuse(f".{name}", f"must be a whole number from {least} to {most}", value, f"Give e.g. {least}.")
    sweep.check_start(sde, start)
    swept = [*sweep.axes(sde, parameters), *per_path.read(sde, parameters, 1, 0).names]
    if swept:
        raise refuse(".parameters", "takes one number each", sorted(swept), "Call expectation for each value.")
    assign("expectation.start", sde.parts, start, _shared)


def _shared(p: Parameter, here: str, value: Any) -> None:
    """Refuse a start for each path."""
    if not hasattr(value, "bind") and np.ndim(value) > len(p.shape):
        rule = "paths are not known in advance, so none has its own start"
        raise InputError.of(here, rule, np.shape(value), "Give a number, or a law.")
