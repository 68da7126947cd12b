"""Text grows as formulas do: maxima of many, nested choices, long sums; what would take minutes is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde.engine.program import import_text
from symbolic import SDE, InputError
from symbolic.codegen import sharing
from symbolic.codegen.prepare import prepare
from tests.symbolic.test_emit import run_compiled, state, u


def _drift(e: sp.Expr, *states: sp.Symbol, **more: Any) -> Any:
    noise = [[1]] + [[0]] * (len(states) - 1)
    return prepare(SDE(states, [e] + [0] * (len(states) - 1), noise, **more), "euler-maruyama").module


def _after(module: Any, start: np.ndarray, time: float = 0.0) -> np.ndarray:
    """The first state after a step of 0.01 without noise, as plain Python and as compiled, (2, lanes)."""
    plain, m = import_text(module.text), dict[str, Any](module.manifest)
    n, out = np.zeros(int(m["inputs"]) * plain.LANES), [start.copy(), start.copy()]
    with np.errstate(all="ignore"):
        plain.step(out[0], n, 0.01, time, np.zeros(1))
    run_compiled(module.text, m, "step", out[1], n, 0.01, time, np.zeros(1))
    return np.array([o[: plain.LANES] for o in out])


def test_extrema_of_many_grow_linearly() -> None:
    texts = [len(_drift(sp.Max(*u[:n]) - sp.Min(*u[:n]), *u[:n]).text) for n in (6, 12)]
    assert texts[1] < 2.5 * texts[0]
    module = _drift(sp.Max(*u) - sp.Min(*u), *u)
    start = state(12, module.manifest["lanes"], 3)
    rows = start.reshape(12, -1)
    expected = rows[0] + 0.01 * (rows.max(axis=0) - rows.min(axis=0))
    np.testing.assert_allclose(_after(module, start), np.array([expected, expected]), rtol=1e-14)


def test_choices_of_many_are_statements() -> None:
    """More pieces than Python nests parentheses."""
    module = _drift(sp.Piecewise(*[(k * u[0], u[0] < k / 100) for k in range(1, 110)], (0, True)), u[0])
    start = np.random.default_rng(1).uniform(-0.5, 2, module.manifest["lanes"])
    k = np.floor(100 * start) + 1
    expected = start + 0.01 * np.where((k > 0) & (k < 110), k, 1 * (k < 110)) * start
    np.testing.assert_allclose(_after(module, start), np.array([expected, expected]), rtol=1e-14)


def test_parts_of_branches_are_computed_once() -> None:
    """Each level stands twice in the next: 2**12 copies, were they written out."""
    e: sp.Expr = u[0]
    for k in range(12):
        e = sp.Piecewise((sp.Mul(e, 0.5, evaluate=False), u[1] > k / 8 - 1), (sp.tanh(e), True), evaluate=False)
    module = _drift(e, u[0], u[1])
    assert len(module.text) < 20_000
    start = state(2, module.manifest["lanes"], 4)
    x, y = start.reshape(2, -1)
    value = x
    for k in range(12):
        value = np.where(y > k / 8 - 1, value * 0.5, np.tanh(value))
    np.testing.assert_allclose(_after(module, start), np.array([x + 0.01 * value] * 2), rtol=1e-13)


def test_long_sums_run_in_several_loops() -> None:
    e = sp.Add(*[sp.sin(k * u[0] + u[1]) / k for k in range(1, 140)])
    module = _drift(e, u[0], u[1])
    step = module.text.split("def observe")[0]
    assert step.count("range(LANES)") > 1
    start = state(2, module.manifest["lanes"], 5)
    x, y = start.reshape(2, -1)
    value = sum(np.sin(k * x + y) / k for k in range(1, 140))
    np.testing.assert_allclose(_after(module, start), np.array([x + 0.01 * value] * 2), rtol=1e-13)


def test_text_that_no_compiler_should_see_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    e = sp.Add(*[sp.sin(k * u[0]) for k in range(1, 30)])
    assert len(_drift(e, u[0]).text) > 800
    monkeypatch.setattr(sharing, "MOST_TEXT", 500)
    with pytest.raises(InputError, match="a program may have .* Write it in arrays"):
        _drift(e, u[0])
