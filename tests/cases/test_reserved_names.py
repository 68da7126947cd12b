"""Case A14: names that results use, or that two things would share, are refused before anything is compiled."""

from __future__ import annotations

from typing import Any

import pytest
import sympy as sp

from sde import simulate, train
from symbolic import SDE, SGD, Loss, Normal, parameters
from symbolic.language.reserved_names import OURS

X, x = sp.symbols("X x", real=True)
mu = sp.Symbol("mu", real=True)
OPTIONS: dict[str, Any] = {"start": {X: 1.0}, "time": 0.1, "paths": 2}


def real(name: str) -> sp.Symbol:
    return sp.Symbol(name, real=True)


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sde.api.prepared_run.load", lambda *_: pytest.fail("compiled before refusing"))


@pytest.mark.parametrize("name", [*OURS])
def test_case_a14_names_of_ours(name: str) -> None:
    own = real(name)
    with pytest.raises(ValueError, match=rf"SDE\.states\[{name}\]: a name must not be one that results use"):
        SDE([own], [-own], [[1]])
    with pytest.raises(ValueError, match=rf"SDE\.parameters\[{name}\]: "):
        SDE([X], [-own], [[1]], parameters=[own])
    with pytest.raises(ValueError, match=rf"Loss\.parameters\[{name}\]: "):
        Loss((own * x - 1) ** 2, [own], {x: Normal(0, 1)})
    with pytest.raises(ValueError, match=rf"Loss\.parameters\[{name}\]: "):
        Loss((X * x - 1) ** 2, {name: X}, {x: Normal(0, 1)})
    for what in ("observables", "events"):
        with pytest.raises(ValueError, match=rf"{what}\[{name}\]: a name must be new text"):
            simulate(SDE([X], [-X], [[1]]), **OPTIONS, **{what: {name: X}})


def test_case_a14_data_and_time_may_have_any_name() -> None:
    z, t = real("time"), real("time")
    assert Loss((X * z - 1) ** 2, [X], {z: Normal(0, 1)}).z == (z,)
    assert SDE([X], [t], [[1]], time=t).time == t


U, V = parameters(U=(2,), V=(2, 2))
MATRIX = Loss(((V * U)[0] * x - 1) ** 2 + (V * U)[1] ** 2, [U, V], {x: Normal(0, 1)})


@pytest.mark.parametrize(
    ("states", "options", "message"),
    [
        (["X"], {"observables": {"X_undefined": X}}, "X_undefined"),
        (["X"], {"observables": {"a": [X, X], "a_0": X}}, "a_0"),
        (["X"], {"observables": {"a": [X, X], "a[0]": X}}, r"a\[0\]"),
        (["X"], {"events": {"hit": X}, "observables": {"hit_count": X}}, "hit_count"),
        (["X"], {"events": {"explosion": X}}, "explosion_time"),
        (["X"], {"events": {"X": X}}, "X"),
        (["X"], {"events": {"e": X}, "observables": {"e": X}}, "e"),
        (["X"], {"events": {"e": X}, "observables": {"e_time": X}}, "e_time"),
        (["X", "X_histogram"], {"histogram": {"X": [0, 1]}}, "X_histogram"),
        (["X"], {"histogram": {"X": [0, 1]}, "observables": {"X_bin": X}}, "X_bin"),
        (["X", "hit_time"], {"events": {"hit": X}}, "hit_time"),
        (["X"], {"parameters": {mu: [1.0, 2.0]}, "observables": {"mu": X}}, "mu"),
        (["X"], {"parameters": {mu: [1.0, 2.0]}, "events": {"mu": X}}, "mu"),
        (["X", "X_undefined"], {}, "X_undefined"),
    ],
)
def test_case_a14_names_that_two_things_would_share(states: list[str], options: dict[str, Any], message: str) -> None:
    symbols = [real(s) for s in states]
    swept = [mu] if "parameters" in options else []
    problem = SDE(symbols, [mu * s if swept else -s for s in symbols], [[1]] * len(symbols), parameters=swept)
    with pytest.raises(ValueError, match=rf"a name must be new text; got (an observable's|'?{message}'?)"):
        simulate(problem, **{**OPTIONS, "start": dict.fromkeys(symbols, 1.0)}, **options)


def test_case_a14_entries_of_parameters_are_names_too() -> None:
    start = {"U": [1.0, 1.0], "V": [[1.0, 0.0], [0.0, 1.0]]}
    for name in ("U[0]", "V_1", "V_undefined", "U"):
        with pytest.raises(ValueError, match=r"observables\[|parameters\["):
            train(MATRIX, SGD(0.1), start=start, steps=1, paths=2, observables={name: U[0]})
