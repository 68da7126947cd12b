"""What a run is asked for besides its states and observables: events, covariance, histograms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sde.engine.hybrid import Hybrid
from sde.engine.result_layout import ResultLayout, Variable
from sde.engine.time_grid import RunClock
from sde.settings import Gather
from symbolic.codegen.prepare import check_expression, parameters_of
from symbolic.dynamics.array_jump import excess
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, instance, unknown
from symbolic.language import names, reserved_names
from symbolic.problem.loss import Loss

WRITTEN = {
    "observables": ("{name: expression}", '{"C": u**2 - w**2}'),
    "events": ("{name: expression or relation}", '{"hit": u > 1}'),
    "histogram": ("{name: edges}", '{"u": [0, 1, 2]}'),
}


@dataclass(frozen=True)
class Rows:
    """The same in terms of observable rows, for `sde.engine.plan.Plan`."""

    covariance: tuple[int, ...]
    histograms: dict[int, np.ndarray]


def together(gather: Gather) -> dict[str, Any]:
    """Observables with the events after them, as they are emitted. Raises ValueError for a name used twice."""
    observables, events = gather.observables or {}, gather.events or {}
    for name in events:
        names.variable("events", name)
    both = set(observables) & set(events)
    if both:
        raise InputError(f"events[{min(both)}]: a name must be new text; got an observable's. Rename it.")
    return {**observables, **{name: excess(condition) for name, condition in events.items()}}


def check_names(problem: Loss | SDE, gather: Gather, swept: Iterable[str] = ()) -> None:
    """Raise ValueError where the result would hold a name twice, or one of ours that stands for something else."""
    observables, events, histogram = gather.observables, gather.events, gather.histogram
    tables = {"observables": observables, "events": events, "histogram": histogram}
    for where, table in tables.items():
        if table is not None:
            instance(where, table, Mapping, f"must be a mapping {WRITTEN[where][0]}", f"Write {WRITTEN[where][1]}.")
        for name in table or {}:
            names.variable(where, name)
    for where, table in list(tables.items())[:2]:
        for name, value in (table or {}).items():
            check_expression(f"{where}[{name}]", value, problem, where == "events")
    shapes = {name: np.shape(value) for name, value in (observables or {}).items()}
    both = [p.name for p in parameters_of(problem) if p.name in shapes]
    if both:
        raise InputError(
            f"observables[{both[0]}]: a name must be new text; got one in use. Rename it; parameters are always saved."
        )
    shapes = {name: () if shape == (1, 1) else shape for name, shape in shapes.items()}
    variables = {p.name: p.shape for p in parameters_of(problem)} | shapes
    dated = (*(gather.events or ()), *(("stop",) if gather.stop is not None else ()))
    if gather.stop is not None and "running" in variables:
        rule = "a name must be new text where paths stop, as `running` counts those that have not"
        raise InputError.of("stop", rule, "running", "Rename that variable.")
    reserved_names.check(variables, shapes, dated, gather.histogram or (), swept)


def result_layout(
    outputs: Sequence[Variable], states: Any, run_clock: RunClock, gather: Gather, hybrid: Hybrid | None = None
) -> tuple[ResultLayout, Rows]:
    """What the result is written in, and which rows that takes. outputs: of the prepared problem, events last
    but in a hybrid run. Raises ValueError."""
    dated, covariance, histogram = tuple(gather.events or {}), gather.covariance or (), gather.histogram or {}
    observed = len(outputs) - (len(dated) if hybrid is None else 0)
    saved, conditions = list(outputs[:observed]), outputs[observed:]
    dated = (*dated, "stop") if hybrid is not None and hybrid.stops else dated
    for v in conditions:
        if v.shape:
            raise InputError(
                f"events[{v.name}]: must be one expression; got an array of shape {v.shape}. Name an event per entry."
            )
    first = dict(zip((v.name for v in saved), np.cumsum([0, *(v.rows for v in saved)]), strict=False))
    sizes = {v.name: v for v in saved}
    chosen: list[tuple[str, int]] = []
    if isinstance(covariance, str):
        raise InputError(f"covariance: must be a list of names; got {covariance!r} (str). Write [{covariance!r}].")
    if covariance is not None:
        instance("covariance", covariance, (list, tuple), "must be a list of names", f"Write {list(sizes)[:2]}.")
    for name in covariance or ():
        v = _known("covariance", name, sizes)
        labels = [f"{name}[{','.join(map(str, i))}]" if i else name for i in np.ndindex(v.shape)]
        chosen += [(label, int(first[name]) + k) for k, label in enumerate(labels)]
    if len({label for label, _ in chosen}) != len(chosen):
        raise InputError(f"covariance: each name may stand once; got {list(covariance)}. Drop the second.")
    edges = {name: _edges(name, value) for name, value in histogram.items() if _known("histogram", name, sizes)}
    ordered = {v.name: edges[v.name] for v in saved if v.name in edges}
    rows = {int(first[n]) + k: e for n, e in ordered.items() for k in range(sizes[n].rows)}
    labels = [label for label, _ in chosen]
    shown = ResultLayout(saved, list(states), run_clock.at, run_clock.saves, dated, labels, ordered)
    return shown, Rows(tuple(row for _, row in chosen), rows)


def _known(where: str, name: Any, sizes: Mapping[str, Variable]) -> Variable:
    if not isinstance(name, str) or name not in sizes:
        raise InputError(unknown(where, name, dict.fromkeys(sizes), "parameter, state or observable"))
    return sizes[name]


def _edges(name: str, value: Any) -> np.ndarray:
    try:
        edges = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        edges = np.empty(0)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        rule = "needs at least two increasing finite edges"
        raise InputError.of(f"histogram[{name}]", rule, value, "Give e.g. numpy.linspace(low, high, 51).")
    return edges
