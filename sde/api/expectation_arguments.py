"""The arguments of an expectation, refused before any work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from sde.api import gathered, per_path, sweep
from sde.api.event_functions import EventFunction, event_function
from sde.engine import time_grid
from sde.settings import SETTINGS, Gather
from symbolic.codegen.prepare import check_expression
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, as_real, as_whole, instance
from symbolic.language import names
from symbolic.problem.parameter import Parameter, assign

NO_SDE = "Build one with sde.SDE, or SDE.from_loss(loss, sgd) of a loss."


def check_arguments(
    sde: Any,
    f: Any,
    start: Mapping[Any, Any],
    *,
    gather: Gather | None,
    time: Any,
    start_time: Any,
    bound: Any,
    checkpoint: Any,
    parameters: Mapping[Any, Any] | None,
    zipped: Any,
    tolerance: Any,
    steps: Any,
    refine: Any,
    levels: Any,
    first_paths: Any,
    budget: Any,
    seed: Any,
    threads: Any,
) -> dict[str, EventFunction]:
    """f, or each of several, by name. Raise ValueError for what cannot be."""

    def refuse(name: str, rule: str, got: Any, do: str) -> InputError:
        return InputError.of(f"expectation{name}", rule, got, do)

    instance("expectation", sde, SDE, "needs an SDE", NO_SDE)
    if sde.arrays:
        raise InputError.of("expectation", "takes equations of scalars", sde.name, "Use simulate with an observable.")
    if sde.jumps:
        raise InputError.of("jumps", "only simulate runs them", list(sde.jumps), "Leave them out, or simulate.")
    dated = [] if gather is None else [*(gather.events or {}), *(["stop"] if gather.stop is not None else [])]
    made = dict[str, EventFunction]()
    functions = f if isinstance(f, Mapping) else {"": f}
    if not functions:
        raise refuse(".f", "must be an expression, or a mapping {name: expression}", f, "Write {'mean': X}.")
    for name, one in functions.items():
        place = "expectation.f" if one is f else f"expectation.f[{names.variable('expectation.f', name)}]"
        if isinstance(one, bool) or not (
            isinstance(one, (sp.Expr, int, float)) or (isinstance(one, str) and one in dated)
        ):
            several = isinstance(one, (list, tuple, dict, np.ndarray, sp.MatrixBase))
            do = "Name several: {'a': X, 'b': X**2}." if several else "Write it with the states' symbols."
            do = "Write Heaviside(a - b) for the chance of a > b." if isinstance(one, sp.Rel) else do
            raise InputError.of(place, "must be one SymPy expression of the states", one, do)
        made[name or "f"] = event_function(place, one, dated)
        for form in made[name or "f"].forms:
            check_expression(place, form, sde)
    tolerances(functions, tolerance)
    time_grid.check_length("expectation.time", time)
    for setting, value in (("start_time", start_time), ("bound", bound), ("checkpoint", checkpoint)):
        SETTINGS[setting].read(value)
    instance("start", start, Mapping, "must be a mapping {name or symbol: value}", "Write {'X': 1.0}.")
    if (as_real(budget) or 0) <= 0:
        raise refuse(".budget", "must be positive and finite", budget, "Give e.g. 1e11.")
    whole: list[tuple[str, Any, int, float]] = [
        *([("steps", steps, 1, 2**31)] if steps is not None else []),
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
    SETTINGS["zipped"].read(zipped)
    swept = sweep.axes(sde, parameters)
    own = per_path.read(sde, parameters, 1, 0).names
    if own:
        raise refuse(".parameters", "takes numbers", sorted(own), "Make it a state without drift and noise.")
    clash = sorted({*swept, "estimate", sweep.SWEEP} & functions.keys()) if swept else []
    if clash:
        do = "Rename it; the result has a dimension so called."
        raise refuse(f".f[{clash[0]}]", "a name must be new", clash[0], do)
    assign("expectation.start", sde.parts, start, _shared)
    if gather is not None:
        gathered.check_names(sde, gather, swept)
        _check_events(sde, gather)
    return made


def _check_events(sde: SDE, gather: Gather) -> None:
    """Refuse events that f could not name, or that nothing would see."""
    symbols = {s.name for s in (*sde.parameters, *sde.W, *([sde.time] if sde.time is not None else []))}
    for name in (*(gather.events or {}), "stop"):
        if name in symbols and (name != "stop" or gather.stop is not None):
            raise InputError.of(f"events[{name}]", "a name must be new text", name, "Rename it; a symbol is so called.")
    if gather.events and gather.stop is None and gather.crossings == "steps":
        rule, do = "looks after steps at events that stop paths", 'Give stop="first", or leave it out.'
        raise InputError.of("crossings", rule, gather.crossings, do)


def tolerances(functions: Mapping[str, Any], tolerance: Any, call: str = "expectation") -> dict[str, float]:
    """Of each function. Raises InputError."""
    if isinstance(tolerance, Mapping) and tolerance.keys() != functions.keys():
        rule, do = "must be one for all functions, or one for each", f"Name {', '.join(functions) or 'none'}."
        raise InputError.of(f"{call}.tolerance", rule, tolerance, do)
    each: dict[str, Any] = dict(tolerance) if isinstance(tolerance, Mapping) else dict.fromkeys(functions, tolerance)
    for value in each.values():
        if (as_real(value) or 0) <= 0:
            do = "Give e.g. 1e-3, in units of f."
            raise InputError.of(f"{call}.tolerance", "must be positive and finite", value, do)
    return {name: float(value) for name, value in each.items()}


def _shared(p: Parameter, here: str, value: Any) -> None:
    """Refuse a start for each path."""
    if not hasattr(value, "bind") and np.ndim(value) > len(p.shape):
        rule = "paths are not known in advance, so none has its own start"
        raise InputError.of(here, rule, np.shape(value), "Give a number, or a law.")
