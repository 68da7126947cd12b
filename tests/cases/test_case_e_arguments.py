"""Any value for any argument of what users call is taken, or refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sde import SDE, SGD, convergence, expectation, resume, sensitivities, simulate, train, verify
from symbolic import Bernoulli, Dataset, Loss, Moments, Normal, Uniform, derive, parameters
from symbolic.errors import sentences
from symbolic.language.calls import CallError
from tests.cases.mistakes import LOSS, OU, SET, START, THEORY, X, flow, outcome, stopped, u, x

__all__ = ["stopped"]

WRONG: tuple[Any, ...] = (None, "a", float("nan"), float("inf"), [3], {}, object(), True, 1j, np.array(["b"]), "\udcff")
CHARGE, LABEL = THEORY.charges[0], THEORY.label_noise([x])
CALLS: dict[str, tuple[Callable[..., object], dict[str, Any]]] = {
    "SDE": (SDE, {"states": [X], "drift": [-X], "diffusion": [[1]], "interpretation": "ito", "time": None}),
    "SDE, more": (lambda **k: SDE([X], [-X], [[1]], **k), {"name": "ou", "parameters": []}),
    "SDE.from_loss": (SDE.from_loss, {"loss": LOSS, "sgd": SET}),
    "SDE.to": (OU.to, {"interpretation": "ito"}),
    "Loss": (Loss, {"expression": u * x, "parameters": [u], "data": {x: Normal(0, 1)}, "name": "loss"}),
    "Loss.pack": (LOSS.pack, {"values": START}),
    "SGD": (SGD, {"learning_rate": 0.1, "batch_size": 1, "weight_decay": 0.0, "momentum": 0.0}),
    "SGD, more": (lambda **k: SGD(0.1, **k), {"replacement": True, "schedule": None}),
    "Normal": (Normal, {"mean": 0, "std": 1}),
    "Normal, joint": (Normal, {"mean": 0, "covariance": [[1]]}),
    "Uniform": (Uniform, {"low": 0, "high": 1}),
    "Bernoulli": (Bernoulli, {"p": 0.5}),
    "Moments": (Moments, {"moments": [0, 1]}),
    "Dataset": (Dataset, {"columns": {x: [1.0]}}),
    "Dataset, rows": (lambda rows: Dataset({x: rows}), {"rows": [1.0]}),
    "law": (lambda law: Loss(u * x, [u], {x: law}), {"law": Normal(0, 1)}),
    "parameters": (parameters, {"u": (3, 2)}),
    "derive": (derive, {"loss": LOSS}),
    "sigma": (THEORY.sigma, {"theta": START}),
    "mean_gradient": (THEORY.mean_gradient, {"theta": START}),
    "equilibrium": (THEORY.equilibrium, {"at": START, "sgd": SET}),
    "sharpness": (THEORY.sharpness, {"at": START, "sgd": SET}),
    "stationary_law": (THEORY.stationary_law, {"sgd": SGD(0.02, weight_decay=0.1), "branch": "positive"}),
    "label_noise": (THEORY.label_noise, {"variables": [x]}),
    "label_noise sigma": (LABEL.sigma, {"theta": START}),
    "label_noise charge": (LABEL.charge, {"charge": CHARGE, "origin": "label"}),
    "breaking": (THEORY.breaking, {"of": u**2}),
    "breaking at": (THEORY.breaking(u**2).at, {"theta": START, "sgd": SET}),
    "polynomial_laws": (THEORY.polynomial_laws, {"degree": 2}),
    "drift": (CHARGE.drift, {"sgd": SET, "order": 1, "svag": None}),
    "drift_at": (CHARGE.drift_at, {"theta": START, "sgd": SET, "order": 1, "svag": None}),
    "increment": (CHARGE.increment, {"sgd": SET}),
    "increment_at": (CHARGE.increment_at, {"theta": START, "sgd": SET}),
    "momentum_increment": (CHARGE.momentum_increment, {"sgd": SET, "step": None}),
    "value": (CHARGE.value, {"theta": START}),
    "momentum value": (THEORY.momentum_laws[0].value, {"theta": [1, 1], "velocity": [1, 1], "mass": 1, "friction": 0}),
    "simulate": (simulate, {"problem": LOSS, "sgd": SET, "start": START, "time": 1.0}),
    "simulate an SDE": (flow, {"events": None, "covariance": None, "histogram": None, "observables": None}),
    "simulate, more": (
        flow,
        {"start": {X: 1.0}, "scheme": "heun", "parameters": None, "checkpoint": None, "out": None},
    ),
    "start value": (lambda value: flow(start={X: value}), {"value": 1.0}),
    "train": (train, {"loss": LOSS, "sgd": SET, "start": START, "steps": 3}),
    "verify": (verify, {"loss": LOSS, "sgd": SET, "start": START, "time": 1.0, "paths": 4, "seed": 0, "alpha": 0.01}),
    "verify, more": (
        lambda **k: verify(LOSS, SET, start=START, time=1.0, **k),
        {"margins": None, "theory": THEORY, "threads": None, "numeric": None, "checkpoint": None},
    ),
    "expectation": (
        expectation,
        {"sde": OU, "f": X, "tolerance": 0.1, "start": {X: 1.0}, "time": 1.0, "scheme": None, "parameters": None}
        | {"steps": 1, "refine": 2, "levels": 12, "first_paths": 1000, "budget": 1e11, "seed": 0, "dtype": "float64"}
        | {"threads": None, "bound": None, "checkpoint": None},
    ),
    "sensitivities": (
        sensitivities,
        {"sde": OU, "f": X, "wrt": None, "tolerance": 0.1, "start": {X: 1.0}, "time": 1.0, "method": None}
        | {"start_time": 0.0, "scheme": None, "parameters": None, "steps": 1, "dtype": "float64", "checkpoint": None},
    ),
    "convergence": (
        convergence,
        {"sde": OU, "scheme": "heun", "exact": None, "start": {X: 1.0}, "time": 1.0, "steps": 8, "levels": 5}
        | {"paths": 100, "functional": None, "parameters": None, "seed": 0, "threads": None},
    ),
    "convergence, reference": (convergence, {"sde": OU, "reference": None, "start": {X: 1.0}}),
    "resume": (resume, {"path": "nosuch"}),
}


@pytest.mark.parametrize(("call", "argument"), [(c, a) for c, (_, given) in CALLS.items() for a in given])
def test_case_e_any_value_for_any_argument_is_taken_or_refused_in_words(
    call: str, argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    function, given = CALLS[call]
    for value in WRONG:
        text = outcome(lambda value=value: function(**{**given, argument: value}))
        assert not text or sentences(text), (value, text)


def test_case_e_calls_that_do_not_fit_are_type_errors_too() -> None:
    with pytest.raises(TypeError):
        flow(nosuch=1)
    with pytest.raises(CallError, match="is given by position already"):
        simulate(OU, problem=OU, start={X: 1.0}, time=1.0)  # type: ignore[misc]
