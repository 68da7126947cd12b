"""A comparison as a Dataset, and in sentences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.api.provenance import plain, versions
from sde.estimators.convergence_order import QUANTILE, VISIBLE
from sde.estimators.weak_error import Study
from sde.storage.files import fingerprint
from symbolic.problem.optimizer import SGD

if TYPE_CHECKING:
    import xarray as xr

NAMES = {"order-1": "the order-1 SDE", "order-2": "the order-2 SDE", "svag": "SVAG"}
LABELS = {
    "sgd_mean": "mean under discrete SGD",
    "difference": "mean under the model less that under SGD",
    "error": "standard error of the difference",
    "low": "lower end of the difference's 95 % interval",
    "high": "upper end of the difference's 95 % interval",
    "told": "whether the difference at the user's rate is clear of 0, or known to a tenth of the scatter",
    "scatter": "standard deviation of one path under SGD, at the user's rate",
    "variance_reduction": "variance of SGD's plain mean over that of the mean that was taken, at the user's rate",
    "used": "whether the slope rests on this rate",
    "slope": "order of the difference in the learning rate",
    "slope_low": "lower end of the slope's 95 % interval",
    "slope_high": "upper end of the slope's 95 % interval",
    "order": "order that theory states",
    "decided": "whether the slope's interval is as narrow as asked, or there is no difference",
    "paths_needed": "paths at the user's rate that would decide it, about",
    "paths": "paths of SGD",
    "svag_difference": "mean under SVAG less that under the order-1 SDE, at the user's rate",
    "svag_error": "standard error of the difference from the order-1 SDE",
    "svag_slope": "order of that difference in 1/factor",
    "svag_slope_low": "lower end of its 95 % interval",
    "svag_slope_high": "upper end of its 95 % interval",
    "learning_rate": "learning rate",
    "factor": "SVAG's factor l; 1 is SGD",
}


def dataset(
    study: Study,
    labels: Sequence[str],
    observables: Mapping[str, Any],
    sgd: SGD,
    record: Mapping[str, Any],
    variance_reduction: np.ndarray,
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """What was found, with what was run. labels: of the observables' entries; observables: by name."""
    import xarray as xr

    half = QUANTILE * study.error
    three, two = ("observable", "model", "learning_rate"), ("observable", "model")
    data: dict[str, Any] = {
        "sgd_mean": (("observable", "learning_rate"), study.mean),
        "difference": (three, study.difference),
        "error": (three, study.error),
        "low": (three, study.difference - half),
        "high": (three, study.difference + half),
        "told": (two, study.told.astype(np.int8)),
        "scatter": (("observable",), study.scatter),
        "variance_reduction": (("observable",), variance_reduction),
        "used": (three, study.used.astype(np.int8)),
        "slope": (two, study.slope[..., 0]),
        "slope_low": (two, study.slope[..., 1]),
        "slope_high": (two, study.slope[..., 2]),
        "order": (("model",), np.array(study.orders)),
        "decided": (two, study.decided.astype(np.int8)),
        "paths_needed": (two, study.needed),
        "paths": (("learning_rate",), study.paths),
    }
    if study.factors:
        data |= {
            "svag_difference": (("observable", "factor"), study.factor_difference),
            "svag_error": (("observable", "factor"), study.factor_error),
            "svag_slope": (("observable",), study.factor_slope[:, 0]),
            "svag_slope_low": (("observable",), study.factor_slope[:, 1]),
            "svag_slope_high": (("observable",), study.factor_slope[:, 2]),
        }
    coordinates: dict[str, Any] = {
        "observable": list(labels),
        "model": list(study.models),
        "learning_rate": study.rates,
    }
    coordinates |= {"factor": list(study.factors)} if study.factors else {}
    found = xr.Dataset(data, coordinates)
    for name, variable in found.variables.items():
        if variable.dtype.kind in "fiu":
            variable.attrs = {"long_name": LABELS[str(name)], "units": "1"}
    found.attrs = {
        "name": record["problem"]["loss"],
        "kind": "comparison",
        "learning_rate": sgd.learning_rate,
        "seed": str(record["settings"]["seed"]),
        "observables": json.dumps({name: plain(value) for name, value in observables.items()}),
        "sentence": "\n".join(sentences(study, labels, sgd.learning_rate, float(attrs["path_steps"]))),
        "run": json.dumps(record),
        "versions": versions(),
        **attrs,
    }
    return found.assign_attrs(result_hash=fingerprint(found))


def sentences(study: Study, labels: Sequence[str], rate: float, spent: float) -> list[str]:
    """A line for each observable and model: the difference at the user's rate, and its slope. spent: path-steps.
    Observables that are equal are told once."""
    lines, seen = [], list[np.ndarray]()
    for f, label in enumerate(labels):
        if any(np.array_equal(study.difference[f], d) for d in seen) and study.error[f].any():
            continue
        seen.append(study.difference[f])
        for m, model in enumerate(study.models):
            value, half = study.difference[f, m, study.own], QUANTILE * study.error[f, m, study.own]
            text = f"At learning rate {rate:g} {NAMES[model]}'s mean {label}"
            if not half:
                lines.append(f"{text} is SGD's own." if value == 0 else f"{text} is off by {value:.3g}.")
                continue
            size = f"is off by {number(value, half)} (95 %)"
            if abs(value) <= half:
                size += f", less than {_bound(abs(value) + half)}: it cannot be told from 0 with these paths"
                if not study.told[f, m]:
                    size += f", and one path's scatter is no more than {study.scatter[f]:.2g}"
            lines.append(f"{text} {size}; {_slope(study, f, m, spent)}.")
    return lines


def _slope(study: Study, f: int, m: int, spent: float) -> str:
    value, low, high = study.slope[f, m]
    seen = f"the slope is {value:.2f} [{low:.2f}, {high:.2f}], {study.orders[m]} in theory"
    if study.decided[f, m]:
        return seen
    needed = study.needed[f, m]
    do = "another ladder may show it"
    if np.isfinite(needed):
        budget = spent * needed / study.paths[study.own]
        do = f"it takes about {float(f'{needed:.1g}'):,.0f} paths or more (budget {budget:.0e})"
    if np.isfinite(value):
        return f"{seen}: not decided, {do}"
    clear = np.abs(study.difference[f, m]) > VISIBLE * study.error[f, m]
    return f"its slope is not decided ({clear.sum()} of {len(clear)} rates show a difference), {do}"


def _bound(value: float) -> str:
    """Two figures, rounded up."""
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return f"{np.ceil(value / unit) * unit:.2g}"


def number(value: float, half: float) -> str:
    """value ± half to the two figures of half that count."""
    if not half > 0:
        return f"{value:.3g}"
    places = 1 - int(np.floor(np.log10(half)))
    if -3 <= places <= 6:
        return f"{value:+.{max(places, 0)}f} ± {half:.{max(places, 0)}f}"
    power = int(np.floor(np.log10(max(abs(value), half))))
    figures = max(power + places, 0)
    return f"({value / 10.0**power:+.{figures}f} ± {half / 10.0**power:.{figures}f})e{power}"
