"""Expectations of several functions at once, of functionals of paths, and over sweeps of parameters."""

from __future__ import annotations

from math import erf, exp, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, expectation
from sde.api import level_paths
from symbolic import integral, running
from tests.sde.test_expectation import call, same

X, K = sp.symbols("X K", real=True)
MARKET = SDE([X], [X / 20], [[X / 5]], name="market", parameters=[K])
SEVERAL = {
    "call": sp.Max(X - K, 0),
    "digital": sp.Heaviside(X - K),
    "mean": integral(X),
    "peak": running(max, sp.log(X)),
}
ERRORS = {"call": 0.004, "digital": 0.02, "mean": 0.004, "peak": 0.01}
MESH = np.linspace(0, 2, 4001)
AT: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0}


def test_several_functions_share_their_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ends = dict[int, list[tuple[int, int]]](), level_paths.LevelPaths._final_states

    def counted(self: Any, level: int, at: int, first: int, n: int) -> np.ndarray:
        if at == level:
            asked.setdefault(level, []).append((first, n))
        return ends(self, level, at, first, n)

    monkeypatch.setattr(level_paths.LevelPaths, "_final_states", counted)
    found = expectation(MARKET, SEVERAL, tolerance=ERRORS, parameters={K: 1.1}, **AT)
    for level, runs in asked.items():  # every path once
        most = max(t.paths for e in found.values() for t in e.levels if t.steps == 2**level)
        assert sum(n for _, n in runs) == max(most, max(first + n for first, n in runs))
    for name, tolerance in ERRORS.items():
        assert found[name].tolerance == tolerance and found[name].error < 1.1 * tolerance
        assert abs(found[name].value - exact(name, 1.1)) < 4 * tolerance, name
    plain = {name: SEVERAL[name] for name in ("call", "digital")}
    two = expectation(MARKET, plain, tolerance={name: ERRORS[name] for name in plain}, parameters={K: 1.1}, **AT)
    alone = expectation(MARKET, plain["digital"], tolerance=ERRORS["digital"], parameters={K: 1.1}, **AT)
    assert same(alone, two["digital"])
    assert abs(two["call"].value - found["call"].value) < 1e-12  # whose text also holds functionals


def cdf(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2


def exact(name: str, strike: float) -> float:
    if name == "peak":
        tail = [cdf((0.03 - m) / 0.2) + exp(1.5 * m) * cdf((-m - 0.03) / 0.2) for m in MESH]  # reflection
        return float(np.trapezoid(tail, MESH))
    if name == "call":
        return call(strike, 0.05, 0.2)
    return cdf((0.03 - log(strike)) / 0.2) if name == "digital" else (exp(0.05) - 1) / 0.05


@pytest.mark.parametrize("zipped", [False, True])
def test_a_sweep_is_one_result(zipped: bool, tmp_path: Path) -> None:
    strikes, functions = [0.9, 1.1], {k: SEVERAL[k] for k in ("call", "digital", "mean")}
    how: dict[str, Any] = {"tolerance": {k: ERRORS[k] for k in functions}, "zipped": zipped} | AT
    found = expectation(MARKET, functions, parameters={K: strikes}, checkpoint=tmp_path / "c", **how)
    axis = "sweep" if zipped else "K"
    assert found.call.dims == ("estimate", axis) and found.K.values.tolist() == strikes
    for name in functions:
        off = found[name].sel(estimate="value").values - [exact(name, k) for k in strikes]
        assert (np.abs(off) < 4 * how["tolerance"][name]).all(), name
    again = expectation(MARKET, functions, parameters={K: strikes}, checkpoint=tmp_path / "c", **how)
    assert again.equals(found) and again.path_steps == found.path_steps
    assert (found.call.sel(estimate="sem") > 0).all() and (found.call.sel(estimate="bias") >= 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"f": {}}, "expectation.f: must be an expression, or a mapping"),
        ({"f": {"a": "X"}}, r"expectation.f\[a\]: must be one SymPy expression of the states; got 'X'"),
        ({"f": {"a/b": X}}, "expectation.f: a variable's name must not hold '/'"),
        ({"f": {"a": X}, "tolerance": {"b": 0.1}}, "expectation.tolerance: must be one for all functions, or one for"),
        ({"f": {"a": X, "b": sp.Integer(1)}}, r"expectation\[b\]: f must vary for its mean to have an error; got 1 "),
        ({"f": {"a": X, "b": sp.log(X - 1)}}, r"expectation.f\[b\]: must be finite; got nan"),
        ({"f": {"K": X}, "parameters": {K: [1, 2]}}, r"expectation.f\[K\]: a name must be new; got 'K'"),
        ({"zipped": 1, "parameters": {K: [1, 2]}}, "zipped: must be true or false"),
    ],
)
def test_what_several_refuse(changes: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"f": X, "tolerance": 0.1, "parameters": {K: 1.0}, **AT} | changes
    with pytest.raises(ValueError, match=message):
        expectation(MARKET, settings.pop("f"), **settings)
