"""Case A15: lost paths are always told of, with the function that left its domain, its argument, and what to write."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import convergence, expectation, simulate, train
from sde.engine.dataset import ExplosionWarning
from symbolic import SDE, SGD, Dataset, Jump, Loss, Normal, states
from symbolic.functions.domains import Evaluator

X, Y, u, w, x = sp.symbols("X Y u w x", real=True)
t = sp.Symbol("t", real=True)
HALF = sp.Rational(1, 2)
OPTIONS: dict[str, Any] = {"time": 2.0, "dt": 0.05, "paths": 500, "save_at": 3}


def told(problem: Any, *rest: Any, run: Any = simulate, **options: Any) -> tuple[str, list[dict[str, Any]], Any]:
    """The warning, attrs["explosions"] and the run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = run(problem, *rest, **options)
    (warning,) = [str(c.message) for c in caught if issubclass(c.category, ExplosionWarning)]
    return warning, json.loads(data.attrs["explosions"]), data


def sde(drift: Any, start: Any, noise: Any = 1, **options: Any) -> tuple[str, list[dict[str, Any]], Any]:
    return told(SDE([X], [drift], [[noise]], time=t), start={X: start}, **{**OPTIONS, **options})


def test_case_a15_one_path_in_a_thousand() -> None:
    start = np.where(np.arange(2000) == 700, -1e-4, 1.0)
    warning, (entry,), data = sde(sp.sqrt(X), start, 0, paths=2000)
    assert warning.startswith("1 of 2000 paths exploded (0.050%)") and data.attrs["exploded_paths"] == 1
    assert (
        "path 700 at time 0.05 (X = nan): sqrt(X) left its domain, the square root of a negative number: X = -0.0001"
        in warning
    )
    assert "Write sqrt(Max(X, 0))" in warning and "smaller" not in warning
    assert (
        entry["path"] == 700
        and entry["reason"].startswith("sqrt(X) left its domain")
        and "Max(X, 0)" in entry["advice"]
    )


def test_case_a15_a_square_root_process() -> None:
    """The argument told is the state before the loss: the run with that path kept says the same."""
    drift, noise = (0.04 - X) / 2, sp.sqrt(X) / 2
    warning, entries, _ = sde(drift, 0.04, noise)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = simulate(SDE([X], [drift], [[noise]]), start={X: 0.04}, **{**OPTIONS, "save_at": 41, "keep": "paths"})
    first = entries[0]
    before = kept.X.sel(path=first["path"]).values[round(first["time"] / 0.05) - 1]
    assert before < 0 and f"X = {before:.6g}" in first["reason"] and "Write sqrt(Max(X, 0))" in warning
    assert all("reason" in e for e in entries[:3])


@pytest.mark.parametrize(
    ("drift", "start", "noise", "function", "advice"),
    [
        (
            -sp.log(X),
            1.0,
            1,
            r"log(X) left its domain, the logarithm of a number that is not positive: X = -0.",
            "log(Max(X, c))",
        ),
        (1 / X, 0.0, 0, "1/X left its domain, a division by zero: X = 0", "Keep the divisor from 0"),
        (X / (1 - t), 1.0, 1, "1/(1 - t) left its domain, a division by zero: 1 - t = 0", "Keep the divisor from 0"),
        (
            -X,
            0.1,
            X**0.75 / 2,
            "X**0.75 left its domain, the power 0.75 of a negative number: X = -0.",
            "Max(X, 0)**0.75",
        ),
        (1 / sp.sqrt(X), 0.1, 1, "1/sqrt(X) left its domain, the square root of a negative", "1/sqrt(Max(X, c))"),
        (-sp.sqrt(1 - X**2), 0.9, 1, "sqrt(1 - X**2) left its domain", "sqrt(Max(1 - X**2, 0))"),
        (sp.Piecewise((1, X > 0)), 1.0, 1, "a Piecewise of which no condition holds", "(value, True)"),
        (50 * X + sp.cos(X), 1.0, 1, "cos(X) left its domain, an angle too large", "Mod"),
        (sp.exp(X), 8.0, 1, "exp(X) is beyond the range of float64: X = ", "smaller dt"),
        (-(X**3), 30.0, 1, "it grew beyond the bound in the step from time", "smaller dt"),
        (sp.Max(sp.sqrt(X), 0), -1.0, 0, "sqrt(X) left its domain", "sqrt(Max(X, 0))"),
    ],
)
def test_case_a15_functions_that_leave_their_domain(
    drift: Any, start: float, noise: Any, function: str, advice: str
) -> None:
    warning, entries, _ = sde(drift, start, noise)
    assert function in entries[0]["reason"] and function in warning and advice in warning
    assert ("smaller dt" in warning) == (advice == "smaller dt")


@pytest.mark.parametrize(
    "scheme", ["milstein", "tamed-euler", "implicit-euler", "adaptive-euler", "sriw1", "platen-weak-2"]
)
def test_case_a15_every_scheme_says_it(scheme: str) -> None:
    warning, entries, _ = sde((0.04 - X) / 2, 0.04, sp.sqrt(X) / 2, scheme=scheme)
    assert "sqrt(" in entries[0]["reason"] and "Max(X, 0)" in warning


def test_case_a15_discrete_sgd_and_its_sde() -> None:
    loss = Loss((sp.log(w) * x - 1) ** 2, [w], {x: Normal(0, 1)})
    options: dict[str, Any] = {"start": {w: 0.5}, "paths": 100}
    warning, _, _ = told(loss, SGD(0.5), run=train, steps=50, **options)
    assert "log(w) left its domain" in warning and "log(Max(w, c))" in warning
    warning, _, _ = told(loss, SGD(0.5), time=20.0, **options)
    assert "log(w) left its domain" in warning
    rows = Loss(sp.log(1 + w * x) ** 2 + (w - 5) ** 2, [w], Dataset({x: np.array([-0.5, 0.1, 0.2])}))
    warning, _, _ = told(rows, SGD(0.5), run=train, steps=50, **options)
    assert "log(w*x + 1) left its domain" in warning
    grown = Loss((u * w * x - 1) ** 2, [u, w], {x: Normal(0, 1)})
    warning, _, _ = told(grown, SGD(1.5), run=train, start={u: 2.5, w: 0.5}, steps=50, paths=100)
    assert "grew beyond" in warning and "smaller learning rate" in warning and "adaptive" not in warning


def test_case_a15_streams_events_and_starts(tmp_path: Path) -> None:
    start = np.where(np.arange(300) == 299, -1.0, 1.0)
    shared: dict[str, Any] = {"noise": 0, "paths": 300, "events": {"e": X - 5}, "crossings": "steps"}
    warning, _, data = sde(sp.sqrt(X), start, keep="paths", out=tmp_path / "p.nc", **shared)
    data.close()
    assert "path 299" in warning and "sqrt(X) left its domain" in warning
    warning, entries, _ = sde(-X, 2.0, 1, bound=1.0)
    assert entries[0]["time"] == 0 and "the start itself is beyond the bound" in warning


def test_case_a15_all_paths_lost_and_a_share_that_is_allowed() -> None:
    warning, _, data = sde(sp.sqrt(X), -1.0, 0)
    assert warning.startswith("500 of 500 paths exploded (100.000%)") and data.attrs["exploded_paths"] == 500
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = simulate(SDE([X], [sp.sqrt(X)], [[0]]), start={X: -1.0}, warn_share=1.0, **OPTIONS)
    assert json.loads(quiet.attrs["explosions"])[0]["reason"].startswith("sqrt(X)")


@pytest.mark.filterwarnings("ignore::sde.engine.dataset.ExplosionWarning")
def test_case_a15_estimates_say_it_too() -> None:
    root = SDE([X], [(0.04 - X) / 2], [[sp.sqrt(X) / 2]])
    with pytest.raises(ValueError, match=r"no path may explode.*sqrt\(X\) left its domain.*sqrt\(Max\(X, 0\)\)"):
        expectation(root, X, tolerance=0.001, start={X: 0.04}, time=2.0, scheme="euler-maruyama", steps=8)
    with pytest.raises(ValueError, match=r"no path may explode.*sqrt\(X\) left its domain"):
        convergence(root, start={X: 0.04}, paths=100)


def test_case_a15_the_evaluator_takes_only_the_branch_that_holds() -> None:
    guarded = sp.Piecewise((sp.sqrt(X), X > 0), (sp.log(-X), X < 0), (0, True))
    for value in (-2.0, 0.0, 2.0):
        assert Evaluator({X: value}, "float64").find([guarded]) is None
    assert Evaluator({X: 100.0}, "float64").find([sp.exp(X)]) is None
    assert Evaluator({X: 100.0}, "float32").find([sp.exp(X)]).why == "is beyond the range of float32"  # type: ignore[union-attr]
    assert Evaluator({X: -1.0}, "float64").find([sp.sqrt(X * Y)]) is None, "what is not known says nothing"


A, NUMBERS = states("A", (3,)), np.array([0.0, 1.0, 2.0])
JUMPS: list[tuple[Any, Any, str, str]] = [
    (
        Jump({X: X + 1}, rate=1 / X),
        0.0,
        "jumps[0].rate is no finite number: 1/X left its domain, a division by zero: X = 0, at time 0, where X = 0",
        "Keep the divisor from 0",
    ),
    (
        Jump({X: X + 1}, rate=sp.sqrt(X) * t),
        0.2,
        "jumps[0].rate is no finite number: sqrt(X) left its domain",
        "Max(X, 0)",
    ),
    (Jump({X: 1 / X}, at=[0, 1]), 0.0, "jumps[0].changes[X] has no finite value: 1/X left its domain", "the divisor"),
    (Jump({X: sp.log(-(X**2))}, rate=5), 1.0, "jumps[0].changes[X] has no finite value: log(-X**2) left", "Write log("),
    (
        Jump({X: X}, rate=10**9 + 0 * X),
        0.0,
        "jumps[0].rate = 1e+09 would make about 5e+07 jumps in the step",
        "smaller dt",
    ),
    (
        Jump({A: A + 1}, rate=1 / A[0]),
        NUMBERS,
        "jumps[0].rate is no finite number: 1/A[0] left its domain",
        "maximum(A[0]",
    ),
    (
        Jump({A[1]: np.log(-(A[2]))}, rate=5),
        NUMBERS + 1,
        "jumps[0].changes[A] has no finite value: log(-A[2]) left",
        "log(",
    ),
]


@pytest.mark.parametrize(("jump", "start", "reason", "advice"), JUMPS, ids=range(len(JUMPS)))
def test_case_a15_jumps_say_which(jump: Jump, start: Any, reason: str, advice: str) -> None:
    state: Any = X if np.ndim(start) == 0 else A
    noise: Any = [[1]] if state is X else 1.0
    problem = SDE([X], [0], noise, time=t, jumps=[jump]) if state is X else SDE(A, 0 * A, noise, jumps=[jump])
    paths = 4 if "1e+09" in reason else 200
    warning, entries, _ = told(problem, start={state: start}, **{**OPTIONS, "paths": paths}, check=False)
    assert reason in warning and advice in warning and "start is not" not in warning
    assert entries[0]["reason"].startswith(reason)


def test_case_a15_a_state_before_a_loss_among_jumps() -> None:
    """Steps of paths that jump and stop are taken again too: the run with that path kept says the same."""
    jumping = SDE([X], [(0.04 - X) / 2], [[sp.sqrt(X) / 2]], jumps=[Jump({X: X + 0.01}, rate=3)])
    options: dict[str, Any] = {**OPTIONS, "scheme": "euler-maruyama", "start": {X: 0.04}}
    _, entries, _ = told(jumping, events={"up": X > 5}, stop="first", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = simulate(jumping, events={"up": X > 5}, stop="first", **{**options, "save_at": 41, "keep": "paths"})
    seen = [e for e in entries[:3] if "sqrt(X)" in e["reason"] and "left its domain" in e["reason"]]
    for entry in seen:
        before = kept.X.sel(path=entry["path"]).values[int(np.ceil(round(entry["time"] / 0.05, 6))) - 1]
        assert before < 0 and f"X = {before:.6g}" in entry["reason"]
    assert seen


@pytest.mark.parametrize(
    ("drift", "start", "words"),
    [
        (1 / A, NUMBERS, "1/A left its domain, a division by zero: A[0] = 0, in the step from time 0, where A[0] = 0"),
        (np.sqrt(A - 1)[::-1], NUMBERS, "sqrt(A - 1) left its domain, the square root of a negative number: entry [0]"),
        (np.exp(A.sum() * 1000) * A, NUMBERS, "exp(A.sum()*1000) is beyond the range of float64: A.sum()*1000 = 3000"),
        (np.where(A > 0, np.log(A), 1) + (A - 1) ** 0.3, NUMBERS, "(A - 1)**0.3 left its domain"),
    ],
)
def test_case_a15_arrays_say_which(drift: Any, start: Any, words: str) -> None:
    warning, _, _ = told(SDE(A, drift, 0.1), start={A: start}, **OPTIONS, check=False)
    assert words in warning


def test_case_a15_a_loss_that_is_too_late_to_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows from time alone is still told; else that the run again was left out."""
    monkeypatch.setattr("sde.api.explosion_reasons.state_at", lambda *_: None)
    warning, _, _ = sde(sp.sqrt(1 - t), 1.0, 1)
    assert "sqrt(1 - t) left its domain, the square root of a negative number: 1 - t = -0.05" in warning
    warning, _, _ = sde(sp.sqrt(X), -1.0, 0)
    assert "would take more than 1 s again" in warning and "keep='paths'" in warning


@pytest.mark.parametrize(
    ("problem", "options", "words"),
    [
        (
            SDE([X], [-X], [[1]]),
            {"tolerance": 1e-12},
            "missed the tolerance, 1e-12, in the step from time 0, where X = 1",
        ),
        (SDE([X], [2 - X], [[1]]), {"tolerance": 3e-12}, "still missed the tolerance, 3e-12"),
        (SDE([X], [-(X**3)], [[X]]), {"tolerance": 1e-11}, "steps became shorter than dt/2**21"),
        (SDE([X], [-sp.sqrt(X)], [[1]]), {"tolerance": 1e-2}, "perhaps by sqrt(X), whose X was 0."),
    ],
)
def test_case_a15_steps_that_miss_their_tolerance(problem: SDE, options: dict[str, Any], words: str) -> None:
    """It was told as a start beyond the bound."""
    given: dict[str, Any] = {"scheme": "adaptive-milstein", "dt": 0.1, "time": 1.0, "paths": 4, "check": False}
    warning, _, _ = told(problem, start={X: 1.0}, **{**given, **options})
    assert words in warning and "larger tolerance" in warning and ("Max(X, 0)" in warning) == ("sqrt" in words), warning


@pytest.mark.parametrize(
    ("change", "when", "drift"),
    [
        (sp.Integer(1), X > 1, 2),
        pytest.param((X + 1) / 2, X > 1, 2, marks=pytest.mark.slow),
        (X + 1, X > 1, 2),
        pytest.param(X / 2 - HALF, X < -1, -3, marks=pytest.mark.slow),
        (sp.Integer(3), 2 * X > 1, 2),
    ],
)
def test_case_a15_a_change_that_triggers_itself(change: Any, when: Any, drift: int) -> None:
    """Where it is made without end it is told; one that goes beyond its condition is made once, and no path is lost."""
    sde = SDE([X], [drift], [[0]], jumps=[Jump({X: change}, when=when)])
    given: dict[str, Any] = {"time": 1.0, "dt": 0.25, "paths": 2, "check": False}
    if change in (X + 1, 3):
        assert simulate(sde, start={X: 0.0}, **given).exploded.values[-1] == 0
        return
    warning, _, _ = told(sde, start={X: 0.0}, **given)
    assert f"jumps[0] leaves its condition {when} at its edge or true" in warning and "more than 1 s" not in warning
