"""A theory at one point: charges as numbers, their class and drift there, and where the noise leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from symbolic.display import fate
from symbolic.noise import drift as laws
from symbolic.predictions.derivation import Derivation
from symbolic.predictions.equilibrium import ChargeEquilibrium
from symbolic.predictions.orbit import Orbit
from symbolic.predictions.valley import RelativeEquilibrium
from symbolic.problem.optimizer import SGD

SHOWN = 12
"""Charges written out before the rest is counted."""
LARGE = 8
"""Rows up to which a matrix of charges is written out."""


def _number(value: float) -> float | str:
    """A float for JSON: what is not finite as "inf", "-inf" or "nan"."""
    value = float(value)
    return value if np.isfinite(value) else str(value)


def point_record(theory: Derivation, at: Mapping[Any, Any], sgd: SGD) -> dict[str, Any]:
    """The theory at a point, as plain lists, numbers and strings.

    at: {parameter or its name: number or array}. "charges": per charge its value, class and reason there, drift (per
    unit time t = eta*k, order-1 SDE), "drift_error" (its standard error, 0 unless Sigma is estimated) and own
    equilibrium {"lambda_star", "value", "rate"}. "families": values of the matrix forms. "joint": the point where all
    drifts vanish ("reached" is False where it lies at infinity), None where there is none. "relative": where SGD ends,
    turning included ("period" in units of t; "reason" where it is not known), None where the symmetries have no
    rotations, or D is above 64. Infinite numbers are the strings "inf" and "-inf". Raises ValueError for a wrong point,
    a schedule, or a law that cannot be averaged over.
    """
    laws.refuse(sgd, numeric=True)
    theta = theory.loss.pack(at, "at")
    found = theory.equilibrium(at, sgd) if theory.charges or theory.algebra.antisymmetric else None
    joint, relative = (found.joint, found.shown) if found else (None, None)
    return {
        "at": {name: value.tolist() for name, value in theory.loss.unpack(theta).items()},
        "sgd": {
            "learning_rate": sgd.learning_rate,
            "batch_size": sgd.batch_size,
            "weight_decay": sgd.weight_decay,
            "momentum": sgd.momentum,
        },
        "charges": [
            {
                "name": e.charge.name,
                "value": _number(Orbit(e.charge.spaces, theta).value(0.0)),
                "class": e.classification,
                "reason": fate.reason(e.reason, sgd),
                "drift": _number(e.drift),
                "drift_error": e.charge.drift_error(theta, sgd),
                "equilibrium": _equilibrium(e),
            }
            for e in (found.charges if found else ())
        ],
        "families": [
            {"expression": f.text, "value": _snapped(f.at(theta), float(theta @ theta)).tolist()}
            for f in theory.families
        ],
        "joint": (
            None
            if found is None or joint is None
            else {
                "reached": joint.converged,
                "residual": float(joint.residual),
                "theta": {name: value.tolist() for name, value in theory.loss.unpack(joint.theta).items()},
            }
        ),
        "relative": None if relative is None else _relative(theory, relative),
    }


def _relative(theory: Derivation, relative: RelativeEquilibrium) -> dict[str, Any]:
    return {
        "words": str(relative),
        "converged": relative.converged,
        "reason": relative.reason,
        "turns": relative.turns,
        "period": _number(relative.period),
        "theta": {name: value.tolist() for name, value in theory.loss.unpack(relative.theta).items()},
        "rotation": relative.rotation.tolist(),
        "rates": relative.rates.tolist(),
    }


def _snapped(values: np.ndarray, scale: float) -> np.ndarray:
    return np.where(np.abs(values) < 1e-12 * scale, 0.0, values)


def _equilibrium(e: ChargeEquilibrium) -> dict[str, float | str]:
    return {
        "lambda_star": _number(e.lambda_star),
        "value": _number(e.value),
        "rate": _number(e.rate),
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _matrix(value: Any, indent: str) -> str:
    """A number, vector or matrix with aligned columns; large ones by their norm."""
    array = np.asarray(value, dtype=float)
    if array.ndim == 0:
        return _text(float(array))
    if array.ndim > 2 or max(array.shape) > LARGE:
        return f"{' x '.join(map(str, array.shape))}, norm {_text(float(np.linalg.norm(array)))}"
    rows = [[_text(float(x)) for x in row] for row in np.atleast_2d(array)]
    width = max(len(x) for row in rows for x in row)
    return f"\n{indent}".join("[" + "  ".join(x.rjust(width) for x in row) + "]" for row in rows)


def at_point(theory: Derivation, at: Mapping[Any, Any], sgd: SGD) -> str:
    """`point_record` in plain words."""
    record = point_record(theory, at, sgd)
    position = ", ".join(f"{name} = {value}" for name, value in record["at"].items() if np.size(value) <= LARGE)
    setting = f"eta = {sgd.learning_rate:g}, S = {sgd.batch_size}, lambda_wd = {sgd.weight_decay:g}"
    lines = [
        f"At {position or 'the given point'} with {setting}"
        + (f", momentum {sgd.momentum:g}:" if sgd.momentum else ":")
    ]
    if not record["charges"]:
        turning = "" if record["relative"] is None else f" {record['relative']['words']}."
        return f"{lines[0]} no quadratic charge.{turning}"
    forms = theory.families
    for family, values in zip(forms, record["families"], strict=True):
        if family in forms.arrays:
            head = f"  {family.text} = "
            lines.append(head + _matrix(values["value"], " " * len(head)))
    for k, charge in enumerate(record["charges"][:SHOWN]):
        text = f"{forms.single[k].text} = " if k in forms.single else ""
        off = f" +- {charge['drift_error']:.1g}" if charge["drift_error"] else ""
        lines.append(
            f"  {charge['name']} = {text}{_text(charge['value'])}: {charge['class']}, dC/dt = {_text(charge['drift'])}"
            f"{off}; {_goal(charge)}"
        )
    if not theory.noise.exact:
        lines.append(
            "  Sigma is an average over quasi-random points of the laws: numbers are estimates (+- of a drift is"
        )
        lines.append(
            "  its standard error); rows of a data set, and laws in which the loss is polynomial, give exact ones"
        )
    if len(record["charges"]) > SHOWN:
        lines.append(f"  ... and {len(record['charges']) - SHOWN} more")
    joint = record["joint"]
    if joint is not None and len(record["charges"]) > 1:
        if joint["reached"]:
            lines.append(f"  all drifts vanish together (residual {joint['residual']:.1e}) at")
            lines += [
                f"      {name} = {value}"
                for name, value in _rounded(joint["theta"]).items()
                if np.size(value) <= LARGE**2
            ]
        else:
            lines.append("  all drifts vanish together at infinity only")
    if record["relative"] is not None:
        lines.append(f"  {record['relative']['words']}")
    return "\n".join(lines)


def _goal(charge: Mapping[str, Any]) -> str:
    goal = charge["equilibrium"]
    if isinstance(goal["lambda_star"], str):
        if isinstance(goal["value"], str):
            return f"alone it goes to {goal['value']} without end"
        return f"alone it tends to {_text(goal['value'])}"
    if goal["lambda_star"] == goal["rate"] == 0:
        return "it stays"
    return (
        f"alone it goes to {_text(goal['value'])} (lambda* = {_text(goal['lambda_star'])}) at the rate"
        f" {_text(goal['rate'])}"
    )


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (np.round(value, 6) + 0.0).tolist() for name, value in values.items()}
