"""The [run] section of a spec: where a run starts, how long, how many paths, what is watched.

start = { u = 1.2, W = [[1, 0], [0, 1]] }    a number or nested array per parameter, of its shape; or a law, drawn anew
for every path:
                                             { law = "normal", mean = 0, std = 0.5 }, { law = "uniform", low = -1, high
                                             = 1 }
[[run.start]] several times                  several starts (for verify)
time = 50.0                                  learning-rate time t = eta*k; or steps = 5000, the number of SGD steps
(time = eta*steps) dt = 0.01                                    step of the SDE, in the same time
paths = 10000   seed = 0                     whole numbers; the seed lies in [0, 2**64)
save_at = 101                                equally spaced times, both ends included (every step, where there are
fewer), or a list of times steps_at = [0.5]                             times at which coefficients jump: no step
straddles one check = true                                 whether a few paths try the step against half of it, and a
warning says what it does scheme = "euler-maruyama"   dtype = "float64" or "float32"   keep = "statistics" or "paths"
observables = { C = "u**2 - w**2" }          expressions in the parameters; may be a section [observables] of its own
events = { flat = "w > u" }                  dated where the relation, or the sign of an expression, turns; as `simulate(events=...)`
covariance = ["u", "C"]                      parameters and observables whose covariance is taken
histogram = { C = [-1.0, 0.0, 1.0] }         increasing edges, by parameter or observable
warn_share = 0.0                             the share of exploded paths beyond which a warning is given
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sde.spec import observed
from sde.spec.distribution_tables import read_distribution
from sde.spec.error_list import ErrorList, is_number
from symbolic.errors import near, nearest
from symbolic.problem.distributions import Moments
from symbolic.problem.optimizer import SGD

WATCHED = ("observables", "events", "covariance", "histogram")
KEYS = (
    "start",
    "time",
    "steps",
    "dt",
    "paths",
    "seed",
    "save_at",
    "steps_at",
    "check",
    "scheme",
    "dtype",
    "keep",
    "warn_share",
    *WATCHED,
)
CHOICES = {"dtype": ("float64", "float32"), "keep": ("statistics", "paths")}


def read(
    section: Mapping[str, Any],
    observables: Mapping[str, Any],
    parameters: Mapping[str, np.ndarray],
    names: Mapping[str, np.ndarray],
    sgd: SGD | None,
    errors: ErrorList,
) -> dict[str, Any]:
    """The checked [run] section as keyword arguments. Problems are added to `problems`."""
    run: dict[str, Any] = {}
    for key, value in section.items():
        if key not in KEYS:
            errors.unknown("run", key, value)
    if "start" in section:
        run["start"] = _starts(section["start"], parameters, errors)
    for key in ("time", "dt"):
        if key in section and (not is_number(section[key]) or not math.isfinite(section[key]) or section[key] <= 0):
            errors.add(
                f"run.{key}",
                "must be a positive finite number",
                section[key],
                "Give learning-rate time, eta times steps.",
            )
        elif key in section:
            run[key] = float(section[key])
    for key, low in (("steps", 1), ("paths", 1), ("seed", 0)):
        if key in section and (type(section[key]) is not int or not low <= section[key] < 2**63):
            errors.add(
                f"run.{key}",
                f"must be a whole number of at least {low}",
                section[key],
                f"Write {key} = {max(low, 1) * 1000 if low else 0}.",
            )
        elif key in section:
            run[key] = section[key]
    for key, choices in CHOICES.items():
        if key in section and section[key] not in choices:
            errors.add(
                f"run.{key}",
                f"must be one of {', '.join(choices)}",
                section[key],
                nearest(section[key], choices, f'Write {key} = "{choices[0]}".'),
            )
        elif key in section:
            run[key] = section[key]
    if "scheme" in section and not isinstance(section["scheme"], str):
        errors.add(
            "run.scheme",
            "must be the name of a scheme",
            section["scheme"],
            "`noetherflow schemes` lists them.",
        )
    elif "scheme" in section:
        run["scheme"] = section["scheme"]
    if "check" in section and not isinstance(section["check"], bool):
        errors.add("run.check", "must be true or false", section["check"], "Write check = false to leave it out.")
    elif "check" in section:
        run["check"] = section["check"]
    share = section.get("warn_share", 0.0)
    if not is_number(share) or not 0 <= share <= 1:
        errors.add("run.warn_share", "must be a share within [0, 1]", share, "Write warn_share = 0.001.")
    elif "warn_share" in section:
        run["warn_share"] = float(share)
    _times(section, run, sgd, errors)
    watched = section.get("observables", observables)
    if "observables" in section and observables:
        errors.add(
            "run.observables",
            "observables may be given in one place only",
            section["observables"],
            "Remove [observables] or run.observables.",
        )
    if watched or "observables" in section:
        run["observables"] = observed.expressions("observables", watched, parameters, names, errors)
    if "events" in section:
        run["events"] = observed.events(section["events"], run.get("observables", {}), parameters, names, errors)
    known = [*parameters, *run.get("observables", {})]
    if "covariance" in section:
        run["covariance"] = observed.chosen(section["covariance"], known, errors)
    if "histogram" in section:
        run["histogram"] = observed.edges(section["histogram"], known, errors)
    return run


def _starts(value: Any, parameters: Mapping[str, np.ndarray], errors: ErrorList) -> Any:
    if isinstance(value, list) and value:
        return [_start(f"run.start[{i}]", one, parameters, errors) for i, one in enumerate(value)]
    return _start("run.start", value, parameters, errors)


def _start(where: str, table: Any, parameters: Mapping[str, np.ndarray], errors: ErrorList) -> dict[str, Any]:
    if not isinstance(table, dict):
        errors.add(where, "must be a table with a value per parameter", table, "Write start = { u = 1.2, w = 0.6 }.")
        return {}
    out: dict[str, Any] = {}
    for name, value in table.items():
        if name not in parameters and name not in errors.failed:
            errors.add(f"{where}.{name}", "must be a parameter", value, nearest(name, list(parameters) or ["(none)"]))
    for name, array in parameters.items():
        here, value = f"{where}.{name}", table.get(name)
        if value is None and any(name in near(other, list(parameters)) for other in table if other not in parameters):
            continue  # its name is misspelt, which is said above
        if value is None:
            errors.add(
                here,
                "every parameter needs a value",
                None,
                f"Add {name} with shape {list(array.shape)}, or a law.",
            )
        elif isinstance(value, dict):
            drawn, _ = read_distribution(here, value, array.shape, errors)
            if isinstance(drawn, Moments):
                errors.add(
                    here,
                    "a start must be drawn from a law that can be sampled",
                    value,
                    "Use normal or uniform.",
                )
            out[name] = drawn
        else:
            numbers = _array(value)
            if numbers is None:
                errors.add(
                    here,
                    "must be a number, a rectangular array of numbers, or a law",
                    value,
                    f"Its shape is {list(array.shape)}.",
                )
            elif not np.isfinite(numbers).all():
                errors.add(here, "must be finite", value, "Give finite numbers.")
            elif numbers.shape != array.shape:
                errors.add(
                    here,
                    f"must have the parameter's shape {list(array.shape)}, here {list(numbers.shape)}",
                    value,
                    "Reshape it.",
                )
            else:
                out[name] = numbers
    return out


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


def _times(section: Mapping[str, Any], run: dict[str, Any], sgd: SGD | None, errors: ErrorList) -> None:
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
    if "steps_at" in section:
        places = _array(section["steps_at"]) if isinstance(section["steps_at"], list) else None
        if places is None or places.ndim != 1 or not np.isfinite(places).all() or (places < 0).any():
            errors.add(
                "run.steps_at", "must be a list of times from 0 on", section["steps_at"], "Write steps_at = [0.5]."
            )
        elif time is not None and places.max() > time:
            errors.add(
                "run.steps_at", f"must not exceed the run's time {time:g}", places.max().item(), "Drop the later times."
            )
        else:
            run["steps_at"] = places
    if "save_at" not in section:
        return
    value = section["save_at"]
    if type(value) is int and 2 <= value <= 1_000_000:
        run["save_at"] = value
        return
    times = _array(value) if isinstance(value, list) else None
    if times is None or times.ndim != 1 or not np.isfinite(times).all() or times[0] < 0 or (np.diff(times) <= 0).any():
        errors.add(
            "run.save_at",
            "must be a count of at least 2, or increasing times from 0 on",
            value,
            "Write save_at = 101.",
        )
    elif time is not None and times[-1] > time * (1 + 1e-12):
        errors.add(
            "run.save_at",
            f"must not exceed the run's time {time:g}",
            times[-1].item(),
            "Drop the later times.",
        )
    else:
        run["save_at"] = times
