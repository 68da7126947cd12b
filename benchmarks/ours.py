"""Our side of every race: the public `simulate` or `train`, timed by what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any
from unittest.mock import patch

from benchmarks.measure import Outcome
from sde import simulate
from sde.engine import ensemble
from symbolic import SDE, SGD, Loss


def runner(
    problem: Loss | SDE,
    sgd: SGD | None,
    charge: Any,
    path_steps: int,
    call: Callable[..., Any] = simulate,
    **options: Any,
) -> Callable[[int], Outcome]:
    """run(seed) of `simulate`, or another call, with `options`, observing the scalar `charge`.

    Wall seconds are the result's own (`wall_seconds`: all paths, steps and merged statistics, without
    compilation and quantiles); CPU seconds are taken around the same part.
    """

    def run(seed: int) -> Outcome:
        spent: list[float] = []
        original = ensemble.run

        def timed(*arguments: Any, **named: Any) -> Any:
            began = process_time()
            outcome = original(*arguments, **named)
            spent.append(process_time() - began)
            return outcome

        with patch.object(ensemble, "run", timed):
            data = call(problem, sgd, seed=seed, observables={"C": charge}, **options)
        final = data["C"].isel(time=-1)
        return Outcome(
            path_steps=int(options["paths"]) * path_steps,
            mean=float(final.sel(statistic="mean")),
            sem=float(final.sel(statistic="sem")),
            wall=float(data.attrs["wall_seconds"]),
            cpu=spent[0],
        )

    return run
