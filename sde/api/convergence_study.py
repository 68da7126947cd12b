"""The convergence laboratory: strong and weak order of a scheme on one SDE, from coupled runs at several steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import sympy as sp

from sde.api.placement import placed
from sde.api.simulation import simulate
from sde.engine import time_grid
from sde.engine.dataset import in_words
from sde.estimators.convergence_order import Convergence, strong_slope, weak_slope
from symbolic.codegen.prepare import check_expression
from symbolic.dynamics import tracing
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.step_map import t as time_symbol
from symbolic.errors import InputError, as_whole, instance
from symbolic.language.calls import called
from symbolic.problem.parameter import Parameter, assign
from symbolic.schemes import find, orders, require_scheme

Exact = Sequence[Any] | Callable[..., Any]


@called({"dt": "Give steps=, how many of the longest length.", "schemes": "Call it for each scheme."})
@placed
def convergence(
    sde: SDE,
    scheme: str = "euler-maruyama",
    *,
    exact: Exact | None = None,
    reference: str | None = None,
    start: Mapping[Any, Any],
    time: float = 1.0,
    steps: int = 8,
    levels: int = 5,
    paths: int = 10_000,
    functional: Any = None,
    parameters: Mapping[Any, Any] | None = None,
    seed: int = 0,
    threads: int | None = None,
    executor: Any = None,
    portable: bool = False,
) -> Convergence:
    """Strong and weak order of a scheme, from halved steps on the same Brownian paths.

    Strong errors are root mean squares of the final state's error. Weak ones are |E f(Y) - E f(X)|, estimated by the
    difference on the same path, whose variance is small. Schemes whose paths choose their steps need `exact`, and take
    new paths at every step.

    Parameters
    ----------
    sde
        The equation.
    scheme
        See `noetherflow schemes`.
    exact
        The solution as expressions of the states (their values at time 0), sde.time and sde.W (the Brownian motions'
        values), or a function (x0, t, W) that returns them.
    reference
        Instead: a scheme, run at a quarter of the shortest step. With neither, errors are taken against the run at half
        the step, E|Y_h - Y_(h/2)|, which shows the order but not that the limit is right.
    start
        {state: number}.
    time
        The final time.
    steps
        Of the longest step.
    levels
        How many steps are tried, each half the one before; at least 4.
    paths
        At least 100.
    functional
        f, an expression of the states; the sum of their squares when left out.
    parameters
        {symbol or name: number}.
    seed
        Of all paths.
    threads
        As many as there are cores when left out; no number depends on it.
    executor, portable
        As for `simulate`.

    Returns
    -------
    Convergence

    Raises
    ------
    InputError
        For bad input; also when a path explodes: an order over what is left would mean nothing.

    Examples
    --------
    >>> import sympy as sp
    >>> from sde import SDE, convergence
    >>> X = sp.Symbol("X", real=True)
    >>> gbm = SDE([X], drift=[0.75*X], diffusion=[[0.5*X]], time=sp.Symbol("t", real=True))
    >>> exact = [X * sp.exp((0.75 - 0.125)*gbm.time + 0.5*gbm.W[0])]
    >>> found = convergence(gbm, "milstein", exact=exact, start={X: 1.0}, paths=1000)
    >>> abs(found.strong - 1) < 0.2
    True
    """
    _check(sde, steps, levels, paths, exact, reference)
    time_grid.check_length("convergence.time", time)
    if sde.jumps:
        raise InputError.of("jumps", "only simulate runs them", list(sde.jumps), "Leave them out, or simulate.")
    chosen, _ = find(require_scheme(scheme))
    if reference is not None:
        require_scheme(reference)
    if chosen.estimates:
        raise InputError.of(
            "convergence.scheme", "needs steps that dt decides, not a tolerance", scheme, "Compare runs of simulate."
        )
    if chosen.own_clock and exact is None:
        raise InputError(
            "convergence.exact: a scheme whose paths choose their steps cannot follow another run's path; got none"
            f" with {scheme}. Give the solution."
        )
    if functional is None:
        functional = sp.Add(*(x**2 for x in sde.states))
    check_expression("convergence.functional", functional, sde)
    if np.ndim(functional):
        raise InputError.of("convergence.functional", "must be one expression of the states", functional, "Give one.")
    functional = sp.sympify(functional, strict=True)
    solution = _solution(sde, exact, start, time) if exact is not None else None
    observables: dict[str, Any] = {"f_of_states": functional}
    if solution is not None:
        gap = functional - functional.xreplace(dict(zip(sde.states, solution, strict=True)))
        observables = {"error_of_states": [x - e for x, e in zip(sde.states, solution, strict=True)], "f_gap": gap}
    counts = [steps * 2**k for k in range(levels + (exact is None and reference is None))]
    finest = counts[-1] * (4 if reference is not None and exact is None else 1)

    def final(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(D, paths) states or errors, and (paths,) functional or its gap, at the end of a run of `count` steps."""
        run = simulate(
            sde,
            start=start,
            time=time,
            dt=time / count,
            scheme=name,
            refine=1 if chosen.own_clock else finest // count,
            observables=observables,
            parameters=parameters,
            paths=paths,
            seed=seed,
            save_at=2,
            keep="paths",
            threads=threads,
            check=False,
        )
        if run.attrs["exploded_paths"]:
            raise InputError(
                f"convergence: no path may explode; got {run.attrs['exploded_paths']} of {paths} (int) at dt ="
                f" {time / count:g} with {name}, the first {in_words(json.loads(run.attrs['explosions'])[0])}. Mend the"
                " formula, start with more steps, or take a tamed or implicit scheme."
            )
        if solution is not None:
            return run.error_of_states.values[:, -1].T, run.f_gap.values[:, -1]
        return np.array([run[x.name].values[:, -1] for x in sde.states]), run.f_of_states.values[:, -1]

    endpoints = [final(scheme, count) for count in counts]
    if solution is not None:
        against = "the exact solution"
    elif reference is not None:
        fine = final(reference, finest)
        endpoints = [(y - fine[0], f - fine[1]) for y, f in endpoints]
        against = f"{reference} at dt = {time / finest:g}"
    else:
        endpoints = [(a - b, f - g) for (a, f), (b, g) in zip(endpoints[:-1], endpoints[1:], strict=True)]
        against = "half the step"
    h = time / np.array(counts[:levels], dtype=float)
    strong, weak = orders(sde, scheme)
    squares, gaps = np.array([(e**2).sum(axis=0) for e, _ in endpoints]), np.array([f for _, f in endpoints])
    rms, root = np.sqrt(squares.mean(axis=1)), np.sqrt(paths)
    with np.errstate(invalid="ignore", divide="ignore"):
        rms_sem = np.where(rms > 0, squares.std(axis=1, ddof=1) / root / (2 * rms), 0.0)
    return Convergence(
        problem=sde.name,
        scheme=scheme,
        noise_class=sde.noise_class,
        against=against,
        paths=paths,
        seed=seed,
        stated=(float(strong), float(weak)),
        dt=h,
        strong_error=rms,
        strong_sem=rms_sem,
        weak_error=gaps.mean(axis=1),
        weak_sem=gaps.std(axis=1, ddof=1) / root,
        strong_fit=strong_slope(h, squares),
        weak_fit=weak_slope(h, gaps),
    )


def _check(sde: Any, steps: int, levels: int, paths: int, exact: Any, reference: Any) -> None:
    instance("convergence", sde, SDE, "needs an SDE", "Build one with sde.SDE, or SDE.from_loss(loss, sgd) of a loss.")
    if sde.arrays:
        raise InputError.of("convergence", "takes equations of scalars", sde.name, "Write a smaller one in symbols.")
    for name, value, least in (("steps", steps, 1), ("levels", levels, 4), ("paths", paths, 100)):
        if (as_whole(value) or 0) < least:
            raise InputError(
                f"convergence.{name}: must be a whole number of at least {least}; got {value!r}"
                f" ({type(value).__name__}). Give more."
            )
    if exact is not None and reference is not None:
        raise InputError(
            f"convergence: give exact or reference, not both; got reference={reference!r} (str). Drop one."
        )


def _solution(sde: SDE, exact: Exact, start: Mapping[Any, Any], time: float) -> list[sp.Expr]:
    """The exact final state as expressions of the Brownian motions' values and parameters, the start and time being
    numbers."""
    free = "t" not in {s.name for s in (*sde.states, *sde.parameters)}
    clock = sde.time if sde.time is not None else sp.Symbol("t", real=True) if free else time_symbol
    if callable(exact):
        given = {"x0": sde.states, "t": clock, "W": sde.W}
        entries = tracing.trace("convergence.exact", exact, given, tracing.vector)
    else:
        entries = tracing.vector("convergence.exact", exact)
    if len(entries) != len(sde.states):
        raise InputError(
            f"convergence.exact: must have one entry per state ({len(sde.states)}); got {len(entries)}. Match the"
            " states."
        )
    begin = assign("convergence.start", sde.parts, start, _one_point)
    values: dict[Any, Any] = {clock: sp.Float(time), **dict(zip(sde.states, chain(*begin), strict=True))}
    return [e.xreplace(values) for e in entries]


def _one_point(p: Parameter, here: str, value: Any) -> list[sp.Expr]:
    if hasattr(value, "bind") or value is None or np.shape(value) != p.shape:
        raise InputError.of(here, "an exact solution needs one number", value, "Give a number.")
    flat = np.array(value, dtype=object).ravel()
    return [sp.Float(e) if isinstance(e, float) else sp.sympify(e, strict=True) for e in flat]
