"""What a run gives back: an `xarray.Dataset` with statistics over paths, or the paths themselves, on the save grid."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.engine.accumulators.event_times import EventTimes
from sde.engine.accumulators.explosions import Explosions
from sde.engine.accumulators.moments import Moments
from sde.engine.accumulators.own_steps import OwnSteps
from sde.engine.ensemble import Outcome
from sde.engine.quantiles import Sketch
from sde.engine.result_layout import ResultLayout
from sde.kernels.statistics.moments import COUNT, HIGH, LOW, M2, MEAN
from symbolic.errors import warn

if TYPE_CHECKING:
    import xarray as xr

STATISTICS = ("mean", "std", "sem", "min", "max", "q05", "q25", "q50", "q75", "q95")
UNDEFINED = "undefined"
MOST_TIMES = 4096
"""Of which indexes are held from result to result."""
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}


class ExplosionWarning(RuntimeWarning, UserWarning):
    """More paths than the stated share left the bound."""


class UndefinedWarning(UserWarning):
    """A variable was not a finite number on paths that are alive."""


Explain = Callable[[list[dict[str, Any]]], None]
"""Adds to lost paths (`path`, `time`, `state`, `value`) what is known of the `reason`, and `advice`."""


def dataset(
    outcome: Outcome,
    layout: ResultLayout,
    keep: str,
    warn_share: float,
    attrs: Mapping[str, Any],
    explain: Explain | None = None,
) -> xr.Dataset:
    """The result of a run.

    Exploded paths count in `exploded` (time), and in nothing else; attrs["explosions"] names the first by path, time,
    state and value, and the reason where `explain` finds one. Kept
    path by path, the coordinates `explosion_time` and `explosion_value` hold them for each (NaN: never). An event e
    gives `e_count` (time), the paths that had it by then, and `e_time`, statistics of its time over those paths, or the
    time of each path. Warns where more than warn_share of the paths exploded. keep "stream": all but what
    `sde.engine.stream` has written, path by path.
    """
    import xarray as xr  # slow to load: a program that only derives need not pay for it

    total, data = outcome.total, dict[str, Any]()
    coords: dict[str, Any] = {"time": layout.time(layout.saves)}
    block, errors, ran = outcome.kept, None, outcome.ran
    if keep == "paths":
        block = block if ran.all() else block[:, :, ran]
        coords |= {"path": np.flatnonzero(ran)} | path_coordinates(outcome, ran)
    elif keep == "statistics":
        block, errors = _statistics(total[Moments].cells, outcome.sketches[0])
        coords["statistic"] = list(STATISTICS)
    leading, at = ("path" if keep == "paths" else "statistic"), 0
    for v in layout.variables if keep != "stream" else ():
        rows = block[:, at : at + v.rows]
        values = np.moveaxis(rows, 2, 0).reshape(rows.shape[2], len(layout.saves), *v.shape)
        own = {} if errors is None else {"quantile_error": _worst(errors[:, at : at + v.rows])}
        data[v.name] = ((leading, "time", *v.dims), values, own)
        at += v.rows
    data |= _undefined(outcome, layout)
    extra, places = total.variables(layout)
    data, coords = data | extra, coords | places
    if layout.events and keep == "paths":
        for e, name in enumerate(layout.events):
            data[f"{name}_time"] = ("path", outcome.path_events.time[e, ran])
    elif layout.events and keep == "statistics":
        times, off = _statistics(total[EventTimes].cells, outcome.sketches[1])
        for e, name in enumerate(layout.events):
            data[f"{name}_time"] = "statistic", times[0, e], {"quantile_error": _worst(off[0, e])}
    stopped = total[EventTimes].stops
    if stopped is not None:
        gone = total[Explosions].by_then + stopped
        data["running"] = ("time", total[Explosions].paths - gone)
    timings = {"wall_seconds": outcome.wall_seconds, "compile_seconds": outcome.compile_seconds}
    own_steps, gave_up, rejected = map(int, total[OwnSteps].counts)
    if own_steps or rejected:
        timings |= {"own_steps": own_steps, "gave_up_paths": gave_up}
        timings |= {"rejected_steps": rejected} if "tolerance" in attrs else {}
    record = {
        **attrs,
        "interrupted": int(outcome.interrupted),
        **timings,
        **_explosions(outcome, layout, warn_share, explain),
    }
    if coords.keys() == {"time", "statistic"} and len(layout.saves) <= MOST_TIMES:
        coords = _coordinates(coords["time"].tobytes())
    return xr.Dataset({name: variable(*of) for name, of in data.items()}, coords, record)


def variable(dims: Any, values: Any, attrs: Mapping[str, Any] | None = None) -> xr.Variable:
    """A variable of numbers or texts. xarray, given such by themselves, would load Dask, where there is one, to see
    whether they are of it: a third of a second."""
    import xarray as xr

    return xr.Variable(dims, np.asarray(values), attrs, fastpath=True)


@lru_cache(maxsize=64)
def _coordinates(times: bytes) -> Any:
    """Those of statistics at times, bytes of float64: to make an index takes as long as all else of a Dataset."""
    import xarray as xr

    named = {"time": np.frombuffer(times), "statistic": STATISTICS}
    return xr.Coordinates({name: variable(name, values) for name, values in named.items()})


def _undefined(outcome: Outcome, layout: ResultLayout) -> dict[str, Any]:
    """Per variable that has any, the count of living paths on which it is not a finite number, `name_undefined`; and
    the warning."""
    explosions, data, at = outcome.total[Explosions], dict[str, Any](), 0
    alive = explosions.paths - explosions.by_then
    missing = alive[:, None] - outcome.total[Moments].cells[:, :, COUNT].astype(np.int64)
    for v in layout.variables:
        count = missing[:, at : at + v.rows]
        at += v.rows
        if count.any():
            data[f"{v.name}_{UNDEFINED}"] = (("time", *v.dims), count.reshape(len(layout.saves), *v.shape))
            first = int(np.argmax(count.any(axis=1)))
            warn(
                f"{v.name} is not a finite number on up to {count.max()} of {explosions.paths} paths that are alive,"
                f" first at time {float(layout.time(layout.saves[first])):.6g}; its own statistics leave them out,"
                f" which biases what is left. See {v.name}_{UNDEFINED}, or write it so that it is a number wherever"
                " paths go, e.g. with sympy.Max.",
                UndefinedWarning,
            )
    return data


def path_coordinates(outcome: Outcome, ran: np.ndarray) -> dict[str, Any]:
    """When and with what value each path that was run exploded, NaN for never."""
    return {
        "explosion_time": ("path", outcome.path_events.left[ran]),
        "explosion_value": ("path", outcome.path_events.value[ran]),
    }


def _explosions(outcome: Outcome, layout: ResultLayout, warn_share: float, explain: Explain | None) -> dict[str, Any]:
    """Attributes that tell of explosions, and the warning."""
    explosions = outcome.total[Explosions]
    total, n = explosions.count, explosions.paths
    named = [
        {"path": int(path), "time": float(time), "state": layout.states[int(row)], "value": float(value)}
        for path, time, row, value in explosions.named
    ]
    if named and explain:
        explain(named)
    if total > warn_share * n:
        advice = dict.fromkeys(e["advice"] for e in named if e.get("advice"))
        others = f"; then paths {', '.join(str(e['path']) for e in named[1:4])}" if len(named) > 1 else ""
        warn(
            f"{total} of {n} paths exploded ({total / n:.3%}) and are left out of every statistic from then on, which"
            f" biases what is left; the first: {in_words(named[0])}{others}."
            f" {'. '.join(advice) or 'See attrs, explosions'}.",
            ExplosionWarning,
        )
    found = {"paths": n, "exploded_paths": total, "warn_share": warn_share}
    return found | ({"first_explosion": named[0]["time"], "explosions": json.dumps(named)} if total else {})


def in_words(entry: Mapping[str, Any]) -> str:
    """A lost path in words."""
    reason = f": {entry['reason']}" if entry.get("reason") else ""
    return f"path {entry['path']} at time {entry['time']:.6g} ({entry['state']} = {entry['value']:.4g}){reason}"


def _statistics(s: np.ndarray, sketch: Sketch) -> tuple[np.ndarray, np.ndarray]:
    """(saves, O, statistic) from merged moments (saves, O, 5) and a sketch, and what the quantiles may be off (saves,
    O, quantile)."""
    count = s[:, :, COUNT]
    with np.errstate(invalid="ignore", divide="ignore"):
        none = count == 0
        std = np.where(count > 1, np.sqrt(s[:, :, M2] / (count - 1)), np.nan)
        columns = {
            "mean": np.where(none, np.nan, s[:, :, MEAN]),
            "std": std,
            "sem": std / np.sqrt(count),
            "min": np.where(none, np.nan, s[:, :, LOW]),
            "max": np.where(none, np.nan, s[:, :, HIGH]),
        }
    low, high = s[:, :, LOW].ravel(), s[:, :, HIGH].ravel()
    found, errors = sketch.quantiles(list(QUANTILES.values()), low, high)
    shape = (len(QUANTILES), *count.shape)
    columns |= dict(zip(QUANTILES, found.reshape(shape), strict=True))
    return np.stack([columns[name] for name in STATISTICS], axis=2), np.moveaxis(errors.reshape(shape), 0, 2)


def _worst(errors: np.ndarray) -> float:
    found = errors[~np.isnan(errors)]
    return float(found.max()) if found.size else 0.0
