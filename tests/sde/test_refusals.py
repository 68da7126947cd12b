"""What `simulate` refuses, and says, before anything is compiled."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import sympy as sp

from sde import SGD, simulate
from symbolic import SDE, Loss, Normal
from symbolic.library import LIBRARY

X, Y, s, a, b, u, w, x, y = sp.symbols("X Y s a b u w x y", real=True)
RESCALING = LIBRARY["rescaling"].build()
START = {"u": 1.2, "w": 0.6}
TANH = Loss((sp.tanh(u * x) * w - x) ** 2, [u, w], {x: Normal(0, 1)})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: simulate(RESCALING, **k), "simulate: needs the optimiser's settings"),
        (lambda k: simulate(SDE([X], [0], [[1]]), SGD(0.1), **k), "simulate.sgd: an SDE stands by itself"),
        (lambda k: simulate(cast("Any", "rescaling"), **k), "simulate: needs a Loss or an SDE; got 'rescaling'"),
        (
            lambda k: simulate(TANH, SGD(0.1), **k),
            "simulate: the SDE needs Sigma; got a loss that is not polynomial in the data.*train",
        ),
        (lambda k: simulate(RESCALING, SGD(0.1), **k | {"scheme": "sgd"}), "scheme: must integrate an SDE"),
        (lambda k: simulate(RESCALING, SGD(0.1), **k | {"scheme": "rk4"}), "scheme: must be one of"),
        (
            lambda k: simulate(RESCALING, SGD(0.1), **k | {"scheme": "heun"}),
            "heun integrates stratonovich equations; got one written in the ito sense",
        ),
        (
            lambda k: simulate(RESCALING, SGD(0.1), **k | {"scheme": "milstein"}),
            "milstein needs noises that commute .*; got general noise. Use one of euler-maruyama.*milstein-levy",
        ),
        (
            lambda k: simulate(TANH, SGD(0.1), **k | {"scheme": "tamed-euler"}),
            "SDE.from_loss: needs the diffusion as a formula; got a loss that is not polynomial in the data",
        ),
        (lambda k: simulate(RESCALING, SGD(0.1), **k | {"refine": 0}), "refine: must be a whole number of at least 1"),
        (
            lambda k: simulate(RESCALING, SGD(0.1), **k | {"parameters": {"u": 1.0}}),
            r"parameters\[u\]: must name a parameter of the SDE; got 'u'",
        ),
        (
            lambda k: simulate(SDE([X], [0], [[X]], interpretation="stratonovich"), **k | {"start": {X: 1.0}}),
            "stratonovich",
        ),
        (lambda k: simulate(RESCALING, SGD(0.1), **k | {"dt": 3.0}), "dt: must not exceed the time"),
        (lambda k: simulate(RESCALING, SGD(0.1), **k | {"time": -1.0}), "time: must be positive"),
        (lambda k: simulate(RESCALING, SGD(0.1), **k | {"paths": 0}), "paths: must be a whole number of at least 1"),
        (lambda k: simulate(RESCALING, SGD(0.1), **k | {"paths": 1.5}), "paths: must be a whole number"),
        (
            lambda k: simulate(RESCALING, SGD(0.1), **k | {"seed": -1}),
            r"seed: must be a whole number in \[0, 2\*\*64\)",
        ),
        (lambda k: simulate(RESCALING, SGD(0.1), **k | {"seed": 2**64}), "seed: must be"),
        (
            lambda k: simulate(RESCALING, SGD(0.1), **k | {"keep": "all"}),
            "keep: must be 'statistics' or 'paths'; got 'all'",
        ),
        (lambda k: simulate(RESCALING, SGD(0.1), **k | {"dtype": "float16"}), "dtype: must be 'float32' or 'float64'"),
        (
            lambda k: simulate(RESCALING, SGD(0.1), **k | {"start": {"u": 1.0}}),
            r"start\[w\]: every parameter needs one value",
        ),
        (
            lambda k: simulate(RESCALING, SGD(0.1), **k | {"start": {"u": np.inf, "w": 1}}),
            r"start\[u\]: must be finite",
        ),
        (lambda k: simulate(RESCALING, SGD(0.1), **k | {"save_at": [2.0]}), "save_at: times must increase within"),
        (
            lambda k: simulate(RESCALING, SGD(0.1), **k | {"observables": {"u": u}}),
            r"observables\[u\]: a name must be new",
        ),
        (
            lambda k: simulate(RESCALING, SGD(0.1), **k | {"observables": {"time": u}}),
            r"observables\[time\]: a name must be new",
        ),
        (
            lambda k: simulate(RESCALING, SGD(0.1), **k | {"observables": {"o": a}}),
            r"observables\[o\]: may use the problem's symbols and time only; got \['a'\]",
        ),
        (
            lambda k: simulate(RESCALING, SGD(0.1), **k | {"observables": {"o": ["u"]}}),
            r"observables\[o\]: must be a SymPy expression",
        ),
        (
            lambda k: simulate(Loss((u * x) ** 2, [u], {x: Normal(0, sp.Symbol("q", positive=True))}), SGD(0.1), **k),
            r"laws with symbols \['q'\]",
        ),
    ],
)
def test_refusals_before_any_compilation(call: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sde.api.prepared_run.load", lambda *_: pytest.fail("compiled before refusing"))
    with pytest.raises(ValueError, match=message):
        call({"start": START, "time": 1.0, "dt": 0.1, "paths": 10})


def test_paths_that_do_not_fit_in_memory_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"keep='paths': may take 50% of memory .* got 100000000 paths that need 1490.* GiB.*keep='statistics'",
    ):
        simulate(RESCALING, SGD(0.1), start=START, time=100.0, dt=0.1, paths=100_000_000, save_at=1000, keep="paths")
