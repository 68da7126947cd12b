"""What a run of an equation measured, as rows that are judged: means at its end, with their standard errors."""

from __future__ import annotations

from typing import Any

from sde.results.result import Row


def mean_of(
    run: Any, name: str, claim: str, known: float, by: str, *, share: float = 0.01, margin: float | None = None
) -> Row:
    """The mean of a variable of a run at its end, or over its paths where it has no time.

    known: what it should be, and by what computation; share: of that, how far off still counts as agreement, or
    margin: the same as a number. Raises ValueError where a path was lost: the mean of the others is no answer.
    """
    if run.attrs["exploded_paths"]:
        raise ValueError(f"{name}: no path may be lost; got {run.attrs['exploded_paths']} of {run.attrs['paths']}")
    last = run[name].isel(time=-1) if "time" in run[name].dims else run[name]
    mean, error = (float(last.sel(statistic=s)) for s in ("mean", "sem"))
    return Row(
        key=f"{name}: {claim}",
        claim=claim,
        predicted=known,
        measured=mean,
        error=error,
        margin=share * abs(known) if margin is None else margin,
        source=by,
        samples=int(run.attrs["paths"]),
    )
