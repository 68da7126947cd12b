"""Draw what runs recorded, with the theory's forecast beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from sde.api.experiments import figures_of, setting_of
from sde.reports import figures
from sde.storage.formats import format_of
from sde.verification.forecast import forecast
from sde.verification.result import Band, Curves
from symbolic.errors import InputError, instance, nearest
from symbolic.functions.numeric import Numeric
from symbolic.language.calls import called
from symbolic.problem import observed_text
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.problem.optimizer import t as clock
from symbolic.theory import Theory

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

MOST = 16
"""Entries of an array that are drawn."""
LABELS = {"sgd": "SGD", "sde": "SDE"}
DESCENT = "gd"


@called()
def plot(
    runs: xr.Dataset | Sequence[xr.Dataset] | Mapping[str, xr.Dataset],
    name: str,
    *,
    theory: Theory | None = None,
    sgd: SGD | None = None,
    expression: Any = None,
) -> Figure:
    """Draw an observable over time as `verify`'s report does: 5-95 % of paths and mean of every ensemble, gradient
    descent dashed, the theory's forecast, and the noise equilibrium dotted.

    The forecast is that of `verify`: mean and covariance of the paths, closed over a normal distribution, in which
    every charge obeys its law for steps of this size (docs/theory.md eq. (6.3)); of many parameters the mean's path.

    Parameters
    ----------
    runs : Dataset or several
        Of `simulate` and `train`, with statistics or paths; in a mapping by the label that each is to have. One of
        `train(full_batch=True)` is drawn as gradient descent.
    name : str
        The observable, parameter or state; of an array every entry has its own axes.
    theory : Theory, optional
        Of the loss that was run, for the forecast from the first run's start, and the equilibrium of charges.
    sgd : SGD, optional
        The optimiser's settings; those of the first run when left out.
    expression : Expr or array, optional
        What the name stands for, where the run's own record cannot be read.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        For runs without the variable, or that begin at several points while a forecast is asked for.

    Examples
    --------
    >>> from sde import SGD, plot, train
    >>> from symbolic import derive, library
    >>> loss = library.rescaling()
    >>> C = {"C": "u**2 - w**2"}
    >>> run = train(loss, SGD(0.02), start={"u": 1.2, "w": 0.6}, steps=100, paths=50, observables=C)
    >>> plot(run, "C", theory=derive(loss)).axes[0].get_ylabel()
    'C'
    """
    if theory is not None:
        instance("plot.theory", theory, Theory, "must be a Theory", "Give derive(loss), or leave it out.")
    several = _labelled(runs, name)
    lead = next(iter(several.values()))
    own = [d for d in lead[name].dims if d not in ("time", "statistic", "path")]
    shape = tuple(lead.sizes[d] for d in own)
    lines = None if theory is None else _forecast(theory, sgd, lead, name, shape, expression)
    entries = list(np.ndindex(shape))[:MOST]
    curves = [_curves(several, name, index, lines) for index in entries]
    titles = [_title(lead, name, dict(zip(own, index, strict=True))) for index in entries]
    return figures.curves_figure(curves, titles, "time" if lead.time.attrs.get("long_name") == "time" else figures.TIME)


def opened(paths: Sequence[Path]) -> dict[str, xr.Dataset]:
    """Results by their files' names without endings, by the whole names where these are alike. Raises InputError."""
    stems = [path.stem for path in paths]
    names = [stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, paths, strict=True)]
    found = dict[str, Any]()
    for name, path in zip(names, paths, strict=True):
        try:
            found[name] = format_of(path).opened(path)
        except (OSError, ValueError, KeyError) as error:
            rule = "must be a result of simulate or train that can be read"
            raise InputError.of("plot", rule, str(path), f"Check the path ({type(error).__name__}).") from error
    return found


def _labelled(runs: Any, name: Any) -> dict[str, xr.Dataset]:
    """Runs by label, all with the variable."""
    import xarray as xr  # slow to load

    listed = [runs] if isinstance(runs, xr.Dataset) else runs
    if not isinstance(listed, Mapping):
        rule = "must be a Dataset of simulate or train, or several"
        instance("plot.runs", listed, (list, tuple), rule, "Give plot([run, flow], name).")
        out: dict[str, Any] = {}
        for data in listed:
            kind = data.attrs.get("kind") if isinstance(data, xr.Dataset) else None
            label = LABELS.get(str(kind), "run")
            out[f"{label} {len(out) + 1}" if label in out else label] = data
        listed = out
    if not listed:
        raise InputError("plot.runs: at least one is needed; got none. Give a Dataset of simulate or train.")
    for label, data in listed.items():
        instance(f"plot.runs[{label}]", data, xr.Dataset, "must be a Dataset of simulate or train", "Give its result.")
        known = [str(v) for v in data.data_vars if "time" in data[v].dims]
        if not isinstance(name, str) or name not in known:
            raise InputError.of("plot.name", f"must be a variable over time of {label}", name, nearest(name, known))
    return {str(label): data for label, data in listed.items()}


def _title(lead: xr.Dataset, name: str, at: Mapping[Any, int]) -> str:
    """A variable's entry at places along its dimensions, swept parameters by their values."""
    swept = {d: lead[d].values[k] for d, k in at.items() if d in lead.coords}
    index = [str(k) for d, k in at.items() if d not in swept]
    entry = name + (f"[{', '.join(index)}]" if index else "")
    return ", ".join([entry, *(f"{d} = {v if isinstance(v, str) else format(v, 'g')}" for d, v in swept.items())])


def _curves(several: Mapping[str, xr.Dataset], name: str, index: tuple[int, ...], lines: _Lines | None) -> Curves:
    """One entry of the variable, at the first run's times."""
    time = next(iter(several.values())).time.values
    bands, descent = list[Band](), None
    for label, data in several.items():
        band = _band(label, data, name, index, time)
        if data.attrs.get("kind") == DESCENT:
            descent = band.mean
        else:
            bands.append(band)
    at = None if lines is None else lines.path[(slice(None), *index)]
    rest = None if lines is None or lines.rest is None else float(lines.rest[index])
    return Curves(name, "the start", time, at, tuple(bands), descent, rest)


def _band(label: str, data: xr.Dataset, name: str, index: tuple[int, ...], time: np.ndarray) -> Band:
    """Mean and 5-95 % of paths; lines between saves."""
    values = data[name]
    if "statistic" in values.dims:
        low, mean, high = (values.sel(statistic=s).transpose("time", ...).values for s in ("q05", "mean", "q95"))
    elif "path" not in values.dims:  # a count
        low = mean = high = values.transpose("time", ...).values
    else:
        rows = values.transpose("path", "time", ...).values
        alive = ~np.isnan(rows).all(axis=0)
        low, high = np.full(rows.shape[1:], np.nan), np.full(rows.shape[1:], np.nan)
        mean = np.full(rows.shape[1:], np.nan)
        mean[alive] = np.nanmean(rows[:, alive], axis=0)
        low[alive], high[alive] = np.nanquantile(rows[:, alive], [0.05, 0.95], axis=0)
    lines = (np.interp(time, data.time.values, v[(slice(None), *index)]) for v in (mean, low, high))
    return Band(label, *lines)


@dataclass(frozen=True)
class _Lines:
    """path: the forecast (time, ...); rest: the observable at the noise equilibrium, None where it has none."""

    path: np.ndarray
    rest: np.ndarray | None


def _forecast(
    theory: Theory, sgd: SGD | None, lead: xr.Dataset, name: str, shape: tuple[int, ...], expression: Any
) -> _Lines:
    loss = theory.loss
    sgd = _settings(lead) if sgd is None else require_sgd("plot.sgd", sgd)
    value = np.array(_expression(theory, lead, name, expression), dtype=object)
    value = value if shape == value.shape else value.reshape(shape)
    value = np.array([sp.sympify(e, strict=True) for e in value.ravel()], dtype=object).reshape(shape)
    observed = Numeric(list(value.ravel()), (*loss.theta, clock))

    def at(theta: np.ndarray, time: np.ndarray) -> np.ndarray:
        return observed([*theta.T, time]).T.reshape(len(theta), *shape)

    time, theta = lead.time.values, _start(loss, lead)
    numbers = figures_of(theory, sgd), setting_of(theory, sgd)
    ahead = forecast(*numbers, theta, time)
    if not ahead.followed:
        return _Lines(np.full((len(time), *shape), np.nan), None)
    if value.size and any(clock in e.free_symbols for e in value.ravel()):
        path = at(ahead.mean, time)
    else:
        path = ahead.expected(lambda states: at(states, np.zeros(len(states))))
    end = numbers[0].motion.end(ahead.mean[-1])[0] if numbers[0].motion is not None else None
    turns = end is not None and end.turns
    return _Lines(path, None if turns else _rest(theory, sgd, ahead.mean[-1], value, at))


def _rest(theory: Theory, sgd: SGD, theta: np.ndarray, value: np.ndarray, at: Any) -> np.ndarray | None:
    """An observable that consists of convergent charges where noise rests, from where the forecast ends."""
    known = [sp.expand(c.expression) for c in theory.charges if c.classification == "convergent"]
    if not np.isfinite(theta).all() or any(not _among(known, e) for e in value.ravel()):
        return None
    try:
        joint = theory.equilibrium(theory.loss.unpack(theta), replace(sgd, schedule=None)).joint
    except InputError:
        return None
    return at(joint.theta[None], np.zeros(1))[0] if joint is not None and joint.converged else None


def _among(known: Sequence[sp.Expr], e: sp.Expr) -> bool:
    """Whether an expression is one of them, up to a factor."""
    written = sp.expand(e)
    return written == 0 or any(not sp.cancel(written / c).free_symbols for c in known)


def _expression(theory: Theory, lead: xr.Dataset, name: str, given: Any) -> Any:
    """What a variable stands for, by the call or the run's record."""
    loss, text = theory.loss, given
    own = {p.name: np.array(p.symbols, dtype=object).reshape(p.shape) for p in loss.parameters}
    if given is None and name in own:
        return own[name]
    if given is None:
        text = (_record(lead)["settings"].get("observables") or {}).get(name)

    def read(entry: Any) -> Any:
        if isinstance(entry, (sp.MatrixBase, sp.NDimArray)):
            return entry.tolist()
        if isinstance(entry, str):
            return observed_text.read("plot.expression", {name: _lower(entry)}, loss)[name]
        return [read(e) for e in entry] if isinstance(entry, list) else entry

    try:
        return read(text)
    except InputError as error:
        if given is not None:
            raise
        raise InputError(
            f"plot.expression: needs what {name} stands for; got a record that says {str(text)[:60]!r}"
            f" ({error.rule or 'not to be read'}). Give expression=."
        ) from None


def _lower(text: str) -> str:
    """SymPy's own names of functions in the expression language."""
    return re.sub(r"\b(Min|Max|Abs)\(", lambda found: found[0].lower(), text)


def _record(data: xr.Dataset) -> dict[str, Any]:
    try:
        return json.loads(data.attrs["run"])
    except (KeyError, ValueError):
        raise InputError(
            "plot.runs: a forecast needs the record of the run; got a Dataset without attrs['run']. Give the result of"
            " simulate or train as it is."
        ) from None


def _settings(data: xr.Dataset) -> SGD:
    """The optimiser that a run's record tells of."""
    given = _record(data)["sgd"]
    if given is None:
        raise InputError("plot.sgd: a forecast needs the optimiser; got a run of an SDE by itself. Leave theory out.")
    schedule = given.get("schedule")
    try:
        return SGD(**{**given, "schedule": _lower(schedule) if isinstance(schedule, str) else schedule})
    except InputError as error:
        raise InputError(
            f"plot.sgd: needs the settings of the run; got a record whose schedule is {schedule!r} ({error.rule})."
            " Give sgd=."
        ) from None


def _start(loss: Loss, data: xr.Dataset) -> np.ndarray:
    """Where all paths begin."""
    found = {}
    if data.time[0] != 0:
        raise InputError.of("plot.theory", "a forecast needs the start", float(data.time[0]), "Save at time 0 too.")
    for p in loss.parameters:
        if p.name not in data:
            rule = "must be of the loss that was run"
            raise InputError.of("plot.theory", rule, loss, f"The run has no parameter {p.name}.")
        first = data[p.name].sel(time=data.time[0])
        low, high = (
            (first.sel(statistic=s).values for s in ("min", "max"))
            if "statistic" in first.dims
            else (first.min("path").values, first.max("path").values)
        )
        if not np.allclose(low, high, rtol=1e-6, atol=1e-12):
            raise InputError(
                f"plot.theory: a forecast is from one start; got paths of {p.name} between {low.min():g} and"
                f" {high.max():g} at first. Leave theory out, or run from one point."
            )
        found[p.name] = low
    return loss.pack(found)
