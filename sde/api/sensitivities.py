"""Derivatives of expectations: by the derivatives of paths, or by weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sympy as sp

from sde.api import per_path, sweep
from sde.api.expectation_arguments import tolerances
from sde.api.expectations import expectation
from sde.engine import time_grid
from sde.engine.checkpoint import CheckpointTarget
from sde.estimators.estimate import Sensitivity
from sde.settings import SETTINGS
from symbolic.codegen.prepare import check_expression
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.path_functionals import PathFunctional, RunningMax, TimeIntegral
from symbolic.dynamics.tangent import Entry, Extended, jumps_with
from symbolic.errors import InputError, check, instance, nearest
from symbolic.functions.registry import derivatives
from symbolic.language.calls import called

HUGE = 1e300
"""Beyond what f may be."""
SHAKE = 1e-3
"""Of the tolerance, the noise that a derivative gets which has none."""
PATHWISE, WEIGHTED = METHODS = ("pathwise", "likelihood-ratio")


@called({"dt": "Levels choose their steps: leave it out.", "paths": "The tolerance chooses them: leave it out."})
def sensitivities(
    sde: SDE,
    f: Any,
    wrt: Sequence[Any] | None = None,
    *,
    tolerance: float | Mapping[str, float],
    start: Mapping[Any, Any],
    time: float,
    start_time: float = 0.0,
    method: str | None = None,
    scheme: str | None = None,
    parameters: Mapping[Any, Any] | None = None,
    steps: int | None = None,
    refine: int = 2,
    levels: int = 12,
    first_paths: int = 1000,
    budget: float = 1e11,
    seed: int = 0,
    dtype: str = "float64",
    threads: int | None = None,
    executor: Any = None,
    portable: bool = False,
    bound: float | None = None,
    checkpoint: str | Path | CheckpointTarget | None = None,
) -> dict[str, Sensitivity]:
    """Derivatives of E f(X_time) in parameters and starts, each with a root mean square error that is named.

    "pathwise": the mean of the derivative of f(X_time), for which the derivatives of the states are carried as further
    states (docs/theory.md eq. (6.11)); f and the coefficients must not jump. "likelihood-ratio": the mean of f(X_time)
    times a weight that does not ask for a derivative of f (eqs (6.12), (6.13)), so for chances and other functions that
    jump; noise must reach every state, or what the parameter moves. Left out, the first where it holds, else the
    second; `why` of each result says which and why. What is estimated is a mean, as by `expectation`, on shared paths.

    Parameters
    ----------
    sde
        The equation.
    f
        An expression as for `expectation`; pathwise `integral(...)` too, and where a parameter moves the drift alone,
        with weights, also `running(...)`.
    wrt
        Parameters, and states for their starts, as symbols or names; all of them when left out.
    tolerance
        The root mean square error asked for, of each derivative; or {name: error}.
    start, time, start_time
        As for `expectation`.
    method
        "pathwise" or "likelihood-ratio".
    scheme, parameters
        As for `expectation`; parameters are numbers.
    steps, refine, levels, first_paths, budget, seed, dtype, threads, executor, portable, bound, checkpoint
        As for `expectation`.

    Returns
    -------
    dict
        {name: Sensitivity}, an Expectation that also says `method` and `why`.

    Raises
    ------
    InputError
        As `expectation`; and where neither way holds, with the reason of each.

    References
    ----------
    Glasserman, Monte Carlo Methods in Financial Engineering (2003), chapter 7; Fournie et al., Finance Stoch. 3 (1999)
    391.

    Examples
    --------
    >>> import sympy as sp
    >>> from sde import SDE, sensitivities
    >>> X, k = sp.symbols("X k", real=True)
    >>> ou = SDE([X], drift=[-k*X], diffusion=[[1]], parameters=[k])
    >>> found = sensitivities(ou, X, tolerance=0.02, start={X: 2.0}, time=1.0, parameters={k: 1.0})
    >>> found["X"].method, abs(found["X"].value - 0.3679) < 0.08, abs(found["k"].value + 0.7358) < 0.08
    ('pathwise', True, True)
    """
    instance("sensitivities", sde, SDE, "needs an SDE", "Build one with sde.SDE.")
    if sde.arrays or sde.jumps or sde.domain:
        what = "arrays" if sde.arrays else "jumps" if sde.jumps else "domains"
        instead = "" if what != "domains" else "Leave them out, with sqrt(Max(v, 1e-4)) for sqrt(v), or take "
        do = f"{instead or 'Take '}differences of runs of one seed, by simulate."
        raise InputError.of("sensitivities", f"takes no equations with {what}", sde.name, do)
    if isinstance(f, bool) or not isinstance(f, sp.Expr):
        raise InputError.of("sensitivities.f", "must be one SymPy expression of the states", f, "Write it with them.")
    check_expression("sensitivities.f", f, sde)
    if f.has(sp.nan, sp.zoo) or f in (sp.oo, -sp.oo):
        raise InputError.of(
            "sensitivities.f", "must be finite", f, "Write it so that it is a number wherever paths go."
        )
    time_grid.check_length("sensitivities.time", time)
    began = SETTINGS["start_time"].read(start_time)
    if method is not None:
        check.one_of("sensitivities.method", method, METHODS, advice="Leave it out.")
    instance("sensitivities.start", start, Mapping, "must be a mapping {name or symbol: value}", "Write {'X': 1.0}.")
    swept = [*sweep.axes(sde, parameters), *per_path.read(sde, parameters, 1, 0).names]
    if swept:
        raise InputError.of("sensitivities.parameters", "takes one number each", sorted(swept), "Call it for each.")
    chosen = _symbols(sde, wrt)
    made = Extended(sde.to("ito"), sp.Float(began), sp.Float(time))
    ways = {s.name: _way(made, f, s, method) for s in chosen}
    whole = made.whole()
    errors = tolerances(ways, tolerance, "sensitivities")
    # what is the same on all paths gets a noise of mean 0, far below the tolerance, so that it has an error to tell of
    shaken = {n: 0 if made.noisy(way.estimated) else SHAKE * errors[n] * whole.W[0] for n, way in ways.items()}
    begin = {**start, **{s.name: x for s, x in made.starts.items()}}
    found = _estimated(
        whole,
        {name: _where_finite(f, way, way.estimated + shaken[name]) for name, way in ways.items()},
        tolerance=errors,
        start=begin,
        time=time,
        start_time=start_time,
        scheme=scheme,
        parameters=parameters,
        steps=steps,
        refine=refine,
        levels=levels,
        first_paths=first_paths,
        budget=budget,
        seed=seed,
        dtype=dtype,
        threads=threads,
        executor=executor,
        portable=portable,
        bound=bound,
        checkpoint=checkpoint,
    )
    return {
        name: Sensitivity(**{**vars(found[name]), "functional": str(f)}, wrt=name, method=way.method, why=way.why)
        for name, way in ways.items()
    }


def _where_finite(f: sp.Expr, way: _Way, estimated: sp.Expr) -> sp.Expr:
    """What is estimated, no number where f is none: log(X) has no value where its slope 1/X has one."""
    if way.method != PATHWISE or f.is_polynomial(*f.free_symbols):
        return estimated
    return sp.Piecewise((estimated, sp.Abs(f) < HUGE), (sp.nan, True))


def _estimated(*given: Any, **settings: Any) -> dict[str, Any]:
    try:
        return expectation(*given, **settings)
    except InputError as error:
        raise InputError(str(error).replace("expectation", "sensitivities", 1)) from None


def _symbols(sde: SDE, wrt: Any) -> list[sp.Symbol]:
    known = {s.name: s for s in (*sde.parameters, *sde.states)}
    if wrt is None:
        return list(known.values())
    if isinstance(wrt, (str, sp.Symbol)) or not isinstance(wrt, Sequence) or not wrt:
        raise InputError.of("sensitivities.wrt", "must be a list of parameters and states", wrt, "Write [sigma, X].")
    found = dict[sp.Symbol, None]()
    for key in wrt:
        symbol = known.get(key) if isinstance(key, str) else key
        if symbol not in known.values():
            do = nearest(str(key), list(known))
            raise InputError.of("sensitivities.wrt", "must name parameters or states of the SDE", key, do)
        found[symbol] = None
    return list(found)


@dataclass(frozen=True)
class _Way:
    """What is estimated for a derivative, and how that came."""

    estimated: sp.Expr
    method: str
    why: str


def _way(made: Extended, f: sp.Expr, s: sp.Symbol, method: str | None) -> _Way:
    """Raises InputError where there is none."""
    against = _not_pathwise(made, f, s)
    if method != WEIGHTED and not against:
        return _Way(_pathwise(made, f, s), PATHWISE, "f and the coefficients do not jump")
    if method == PATHWISE:
        raise InputError.of(
            "sensitivities.method", f"{against}, so paths have no derivative there", s.name, "Leave it out."
        )
    estimated = _weighted(made, f, s)
    if isinstance(estimated, str):
        also = f"; {against}" if against else ""
        do = "Smooth f, or take differences of two expectations of one seed."
        raise InputError.of("sensitivities.wrt", f"{estimated}{also}", s.name, do)
    return _Way(estimated, WEIGHTED, against or "asked for")


def _not_pathwise(made: Extended, f: sp.Expr, s: sp.Symbol) -> str:
    moving = {*made.own, s}
    if f.has(RunningMax):
        return "the derivative of a running extreme is no functional of states"
    found = jumps_with([f], moving)
    if found is not None:
        return f"f jumps, or may, at {found}"
    coefficients = [e for x in made.own for e in (made.drift[x], *made.rows[x])]
    found = jumps_with(coefficients, moving)
    return "" if found is None else f"coefficients jump, or may, at {found}"


def _pathwise(made: Extended, f: sp.Expr, s: sp.Symbol) -> sp.Expr:
    start = s in made.own
    moved = made.along_start(s) if start else made.along_parameter(s)
    return _slope(f, moved if start else {**moved, s: sp.S.One})


def _slope(f: sp.Expr, moved: Entry) -> sp.Expr:
    """The derivative of f as symbols move, integrals over time among what moves."""
    held = {node: sp.Dummy(real=True) for node in f.atoms(PathFunctional)}
    slopes = {held[node]: TimeIntegral(_slope(node.args[0], moved)) for node in held if isinstance(node, TimeIntegral)}
    along = {**moved, **slopes}
    parts = derivatives(f.xreplace(held), list(along))
    total = sp.Add(*(e * v for e, v in zip(parts, along.values(), strict=True)))
    return total.xreplace({v: node for node, v in held.items()})


def _weighted(made: Extended, f: sp.Expr, s: sp.Symbol) -> sp.Expr | str:
    """What is estimated, or why there is no weight."""
    start = s in made.own
    found = None if start else jumps_with([f], {s})
    if found is not None:
        return f"where f jumps must not hang on {s}, as at {found}"
    of_drift = not start and not any(e.has(s) for x in made.own for e in made.rows[x])
    functional = f.has(PathFunctional)
    if functional and not of_drift:
        return "weights of starts and diffusions are for functions of the end, not of the path"
    if not of_drift and jumps_with([e for x in made.own for e in (made.drift[x], *made.rows[x])], {*made.own, s}):
        return "coefficients jump, or may"
    if of_drift:
        weight = made.weight_of_drift(s)
    else:
        weight = made.weight_of_start(s) if start else made.weight_of_diffusion(s)
    if weight is None:
        return "noise does not reach what it moves, or its inverse is no short formula"
    own = sp.S.Zero if start else _slope(f, {s: sp.S.One})
    return f * weight + own
