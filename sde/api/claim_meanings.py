"""What a user's claims mean for one loss: numbers to hold its runs against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from sde.api import provenance
from sde.api.claims import PROBES, RUNS, Claim
from sde.verification.distances import Law, Reference
from sde.verification.own_claims import Expected
from symbolic.codegen.prepare import check_expression
from symbolic.errors import InputError, as_real, shown, unknown
from symbolic.functions.numeric import Numeric
from symbolic.language import names
from symbolic.language.parser import parse
from symbolic.predictions.charge import Charge
from symbolic.problem import observed_text
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory

EVENLY = np.arange(1, 9) / 8
"""Shares of the run's length at which a function is looked at, where no times are given."""
LONGEST = 60
"""Characters of an observable that names it in a report."""


@dataclass(frozen=True)
class Setup:
    """What claims are about. given: how many starts the user gave; length: t at the end, after `steps`."""

    loss: Loss
    sgd: SGD
    theory: Theory
    given: int
    steps: int

    @property
    def length(self) -> float:
        return self.steps * self.sgd.learning_rate


def expected(claims: Sequence[Claim], setup: Setup) -> list[tuple[Expected, dict[str, Any]]]:
    """What they mean, each with its record. Raises InputError where they do not fit the loss, the starts or the length
    of the runs."""
    out, labels = list[tuple[Expected, dict[str, Any]]](), Counter[tuple[Any, ...]]()
    for i, claim in enumerate(claims):
        here = f"verify.claims[{i}]"
        expression = _observable(f"{here}.observable", claim.observable, setup)
        steps, curve = _curve(here, claim, setup)
        if claim.start is not None and claim.start > setup.given:
            rule = f"must be one of the {setup.given} starts given"
            raise InputError.of(f"{here}.start", rule, claim.start, "Count from 1, or leave it out for all.")
        named, times = claim.name or _label(claim.observable, expression), steps * setup.sgd.learning_rate
        labels[claim.run, named, steps.tobytes()] += 1
        twin = labels[claim.run, named, steps.tobytes()]
        meant = Expected(
            label=named + f" ({twin})" * (twin > 1),
            when=f" at t = {times[0]:.6g}" if len(steps) == 1 else "",
            value=_function(expression, setup.loss),
            run=RUNS[claim.run],
            starts=tuple(range(setup.given)) if claim.start is None else (claim.start - 1,),
            steps=steps,
            margin=claim.margin,
            curve=None if claim.of_distribution else curve,
            reference=_reference(claim.equals) if claim.of_distribution else None,
            distance=claim.distance,
        )
        out.append((meant, _record(meant, expression, claim, times)))
    return out


def _label(observable: Any, expression: sp.Expr) -> str:
    text = observable if isinstance(observable, str) else str(expression)
    return observable.name if isinstance(observable, Charge) and len(text) > LONGEST else names.printable(text, LONGEST)


def _observable(where: str, value: Any, setup: Setup) -> sp.Expr:
    """A number at each point, as an expression of the parameters."""
    known: dict[str, Any] = {s.name: s for s in setup.loss.theta} | {c.name: c for c in setup.theory.charges}
    if isinstance(value, str):
        value = known[value] if value in known else _of_text(where, value, known, setup.loss)
    if isinstance(value, Charge):
        value = value.expression
    if not isinstance(value, sp.Expr):
        advice = "Give an expression of the parameters, a charge or a name."
        raise InputError.of(where, "must be one number at each point", value, advice)
    check_expression(where, value, setup.loss)
    return value


def _of_text(where: str, text: str, known: dict[str, Any], loss: Loss) -> Any:
    """What a text stands for, as the observables of a run are read. Raises InputError."""
    if text.isidentifier() and text not in observed_text.READY:
        raise InputError(unknown(where, text, known | dict(observed_text.READY), "parameter, entry of one, or charge"))
    own = {p.name: np.array(p.symbols, dtype=object).reshape(p.shape) for p in loss.parameters}
    return observed_text.filled(parse(text, observed_text.with_ready(own), where), loss).item()


def _function(expression: sp.Expr, loss: Loss) -> Callable[[np.ndarray], np.ndarray]:
    """(..., D) -> (...)."""
    numeric = Numeric([expression], loss.theta)
    return lambda theta: numeric(list(np.moveaxis(theta, -1, 0)))[0]


def _curve(here: str, claim: Claim, setup: Setup) -> tuple[np.ndarray, np.ndarray]:
    """The steps at which it is looked at, and what the mean should be there (K,)."""
    equals, eta = claim.equals, setup.sgd.learning_rate
    moving = callable(equals) or isinstance(equals, sp.Expr)
    times = np.array([setup.length]) if claim.of_distribution or not moving else setup.length * EVENLY
    times = equals[0] if isinstance(equals, tuple) else times if claim.at is None else claim.at
    if times.max() > setup.length * (1 + 1e-9):
        rule = f"times must lie within the run's {setup.length:.6g}"
        raise InputError.of(f"{here}.at", rule, float(times.max()), "Give earlier ones, or verify with a longer time.")
    steps = np.unique(np.round(times / eta).astype(np.int64))
    times = steps * eta
    if isinstance(equals, tuple):
        return steps, np.interp(times, *equals)
    if isinstance(equals, sp.Expr):
        curve = _of_expression(here, equals, times, setup.loss)
    elif callable(equals):
        curve = _of_function(here, equals, times)
    else:
        curve = np.full(len(times), equals if isinstance(equals, float) else np.nan)
    return steps, curve


def _of_expression(here: str, curve: sp.Expr, times: np.ndarray, loss: Loss) -> np.ndarray:
    if curve.free_symbols & {*loss.theta, *loss.z}:
        rule = "a curve must be an expression of time alone"
        raise InputError.of(f"{here}.equals", rule, curve, "Write it with a symbol of its own, t.")
    values = Numeric([curve], list(curve.free_symbols))([times] * len(curve.free_symbols))
    return _finite(here, curve, np.broadcast_to(values[0], times.shape))


def _of_function(here: str, curve: Callable[[float], Any], times: np.ndarray) -> np.ndarray:
    try:
        values = [as_real(curve(float(time))) for time in times]
    except Exception as error:  # a function of the user's own may raise anything
        reason = f"{type(error).__name__}: {error}"
        rule = f"a function of time must give a number at {times[0]:.6g}, ..., {times[-1]:.6g}"
        raise InputError(f"{here}.equals: {rule}; got {shown(reason)} (error). Take one number, return one.") from error
    return _finite(here, curve, np.array([np.nan if v is None else v for v in values]))


def _finite(here: str, curve: Any, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise InputError.of(f"{here}.equals", "a curve must be finite at its times", curve, "Give other times by at=.")
    return values


def _reference(equals: Any) -> Reference:
    if isinstance(equals, np.ndarray):
        return equals
    return Law(
        lambda x: np.asarray(equals.cdf(x), dtype=np.float64), lambda u: np.asarray(equals.ppf(u), dtype=np.float64)
    )


def _record(meant: Expected, expression: sp.Expr, claim: Claim, times: np.ndarray) -> dict[str, Any]:
    """All of it that decides a verdict."""
    if meant.curve is not None:
        equals: Any = meant.curve
    elif isinstance(claim.equals, np.ndarray):
        equals = {"sample": len(claim.equals), "sha256": provenance.digest(claim.equals)}
    else:
        equals = {"distribution": type(claim.equals).__name__, "quantiles": claim.equals.ppf(PROBES)}
    found = {"observable": str(expression), "label": meant.label, "equals": equals, "margin": claim.margin}
    found |= {"times": times, "run": claim.run, "starts": [k + 1 for k in meant.starts]}
    return found | ({"distance": claim.distance} if claim.of_distribution else {})
