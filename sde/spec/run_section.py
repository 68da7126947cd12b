"""The [run] section of a spec: settings of `sde.settings` by name, with their rules.

start = { u = 1.2, W = [[1, 0], [0, 1]] }   a number or nested array per parameter, of its shape; or a law, drawn
                                            anew for every path: { law = "normal", mean = 0, std = 0.5 },
                                            { law = "uniform", low = -1, high = 1 }
[[run.start]] several times                 several starts (for verify)
time = 50.0                                 learning-rate time t = eta*k; or steps = 5000 (time = eta*steps)
start_time = 0.0                            when simulate's run begins
save_at = 101                               a count of times, or a list of them
observables = { C = "u**2 - w**2" }         expressions in the parameters, "loss" (E l) and "sharpness" (Tr Hess E l)
                                            among them; may be a section [observables] of its own
events = { flat = "w > u" }                 dated where the relation, or the sign of an expression, turns
stop = ["flat"]                             events at which a path is done, or "first"
crossings = "steps"                         "bridge" or "steps": whether events are seen between steps
covariance = ["u", "C"]                     parameters and observables whose covariance is taken
histogram = { C = [-1.0, 0.0, 1.0] }        increasing edges, by parameter or observable
parameters = { k = 2.0, a = [1.0, 2.0], b = { law = "normal" }, c = { path = [...] } }
                                            an SDE's: a number, several (a sweep), a law, or one for each path
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np

from sde.constraints import settings_of
from sde.settings import SETTINGS, Gather
from sde.spec import observed
from sde.spec.distribution_tables import read_distribution
from sde.spec.error_list import ErrorList, bounded, is_number
from sde.spec.observed import Known
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import Parameter, assign, entries, parameter

KEYS = tuple(s.name for s in SETTINGS.values() if s.spec)
OF_LOSS = tuple(name for name in KEYS if name not in ("parameters", "zipped"))
OF_SDE = tuple(name for name in KEYS if name != "noise" and "simulate" in SETTINGS[name].commands)
OWN = ("start", "parameters", *(name for name in settings_of(Gather) if name not in ("stop", "crossings")))
"""Keys whose values need the problem's names."""


def read(
    section: Mapping[str, Any], observables: Mapping[str, Any], known: Known, sgd: SGD | None, errors: ErrorList
) -> dict[str, Any]:
    """The checked [run] section as keyword arguments. Problems are added to `problems`."""
    run: dict[str, Any] = {}
    keys = errors.tables["run"]
    for key, value in section.items():
        if key not in keys:
            errors.unknown("run", key, value)
    if "start" in section:
        run["start"] = _starts(section["start"], known, errors)
    if "parameters" in section and known.parameters is not None:
        run["parameters"] = parameters(section["parameters"], known.parameters, errors)
    for key in section:
        if key in keys and key not in OWN:
            try:
                run[key] = SETTINGS[key].read(section[key])
            except InputError as error:
                errors.add(f"run.{key}", error.rule, section[key], error.advice)
    _agree(run, sgd, errors)
    watched = section.get("observables", observables)
    if "observables" in section and observables:
        errors.add(
            "run.observables",
            "observables may be given in one place only",
            section["observables"],
            "Remove [observables] or run.observables.",
        )
    if watched or "observables" in section:
        run["observables"] = observed.expressions("observables", watched, known, errors)
    if "events" in section:
        run["events"] = observed.events(section["events"], run.get("observables", {}), known, errors)
    named = [*known.moving, *run.get("observables", {})]
    if "covariance" in section:
        run["covariance"] = observed.chosen(section["covariance"], named, errors)
    if "histogram" in section:
        run["histogram"] = observed.edges(section["histogram"], named, errors)
    return run


def _starts(value: Any, known: Known, errors: ErrorList) -> Any:
    if isinstance(value, list) and value and known.parameters is None:
        return [_start(f"run.start[{i}]", one, known.moving, errors) for i, one in enumerate(value)]
    return _start("run.start", value, known.moving, errors)


def _start(where: str, table: Any, parameters: Mapping[str, np.ndarray], errors: ErrorList) -> dict[str, Any]:
    if not isinstance(table, dict):
        errors.add(where, "must be a table with a value per parameter", table, "Write start = { u = 1.2, w = 0.6 }.")
        return {}

    def read(p: Parameter, here: str, value: Any) -> Any:
        if isinstance(value, dict):
            drawn, _ = read_distribution(here, value, p.shape, errors)
            if drawn is not None and drawn.unsampled:
                errors.add(
                    here,
                    "a start must be drawn from a law that can be sampled",
                    value,
                    "Use normal or uniform.",
                )
            return drawn
        numbers = _array(value)
        if numbers is None:
            rule = "must be a number, a rectangular array of numbers, or a law"
            errors.add(here, rule, value, f"Its shape is {list(p.shape)}.")
        elif not np.isfinite(numbers).all():
            errors.add(here, "must be finite", value, "Give finite numbers.")
        elif numbers.shape != p.shape:
            rule = f"must have the parameter's shape {list(p.shape)}, here {list(numbers.shape)}"
            errors.add(here, rule, value, "Reshape it.")
        return numbers

    parts = [parameter(array if array.shape else array.item(), name) for name, array in parameters.items()]
    given = {name: value for name, value in table.items() if name in parameters or name not in errors.failed}
    try:
        found = assign(where, parts, given, read, place="{where}.{name}")
    except InputError as error:
        errors.found += str(error).splitlines()
        return {}
    return {p.name: value for p, value in zip(parts, found, strict=True)}


def parameters(table: Any, known: Mapping[str, np.ndarray], errors: ErrorList, *, some: bool = False) -> dict[str, Any]:
    """An SDE's, by name: {name: number, numbers, law, or {"path": numbers}}. some: others may be left out."""
    if not isinstance(table, dict):
        errors.add("run.parameters", "must be a table with a value per parameter", table, "Write { k = 2.0 }.")
        return {}

    def read(p: Parameter, here: str, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, dict) and set(value) != {"path"}:
            drawn, shape = read_distribution(here, value, None, errors)
            if drawn is not None and (shape or drawn.unsampled):
                errors.add(here, "must be drawn from the law of one number", value, "Use normal or uniform.")
            return drawn
        numbers = _array(value["path"] if isinstance(value, dict) else value)
        if numbers is None or numbers.ndim > 1 or not np.isfinite(numbers).all():
            rule = "must be a finite number, several, a law, or { path = numbers }"
            errors.add(here, rule, value, "Write 2.0, or [1.0, 2.0] for a sweep.")
        return {"path": numbers} if isinstance(value, dict) else numbers

    parts = [parameter(array.item(), name) for name, array in known.items()]
    given = {name: value for name, value in table.items() if name not in errors.failed}
    how: dict[str, Any] = {"place": "{where}.{name}", "kind": "parameter of the SDE"}
    how |= {"default": None} if some else {}
    try:
        found = assign("run.parameters", parts, given, read, **how)
    except InputError as error:
        errors.found += str(error).splitlines()
        return {}
    return {p.name: value for p, value in zip(parts, found, strict=True) if value is not None}


def parameters_in(text: str, sde: SDE) -> dict[str, Any]:
    """Those of an SDE that a text gives, as in a TOML inline table. Raises InputError."""
    try:
        read = bounded(tomllib.loads(f"given = {{{text}}}"))
    except tomllib.TOMLDecodeError:
        read = {}
    if set(read) != {"given"}:
        raise InputError.of("--parameters", "must be values as in TOML", text, "Write k = 2.0, s = [0.1, 0.2].")
    errors = ErrorList()
    found = parameters(read["given"], {p.name: entries(p.name) for p in sde.parameters}, errors, some=True)
    if errors.found:
        raise InputError("\n".join(errors.found))
    return found


def _array(value: Any) -> np.ndarray | None:
    """Nested lists of numbers as floats; None if ragged or not numbers."""
    if is_number(value):
        try:
            return np.array(float(value))
        except OverflowError:
            return np.array(math.inf)
    if not isinstance(value, list) or not value:
        return None
    parts = [_array(item) for item in value]
    if any(entry is None for entry in parts) or len({entry.shape for entry in parts if entry is not None}) != 1:
        return None
    return np.stack([entry for entry in parts if entry is not None])


def _agree(run: dict[str, Any], sgd: SGD | None, errors: ErrorList) -> None:
    """Lengths agree, and no time lies past the end."""
    time, eta = run.get("time"), sgd.learning_rate if sgd else None
    if time is not None and "steps" in run and eta and abs(run["steps"] * eta - time) > eta:
        errors.add(
            "run.steps",
            f"time and steps must agree, time = learning_rate*steps = {run['steps'] * eta:g}",
            time,
            "Give one of them.",
        )
    if time is None and "steps" in run and eta:
        time = run["steps"] * eta
    if time is not None and run.get("dt", 0.0) > time:
        errors.add("run.dt", f"must not exceed the run's time {time:g}", run["dt"], "Take a smaller dt.")
    for key in ("steps_at", "save_at"):
        begin = run.get("start_time", 0.0)
        at = (
            np.asarray(run.get(key, 0)) - begin
            if np.size(run.get(key, 0)) and np.ndim(run.get(key, 0))
            else np.zeros(1)
        )
        if time is not None and at.max() > time * (1 + 1e-12):
            last = float(at.max() + begin)
            errors.add(f"run.{key}", f"must not exceed the run's end {begin + time:g}", last, "Drop the later times.")
        if at.min() < 0:
            first = float(at.min() + begin)
            errors.add(f"run.{key}", f"must not be before the run's beginning {begin:g}", first, "Drop those before.")
