"""Long bodies in loops: the same arithmetic, in text that does not grow with a layer."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import sympy as sp

from sde.engine.program import import_text, load
from symbolic import Dataset, Loss, parameters
from symbolic.codegen import emit, layers, row_products
from symbolic.codegen.prepare import prepare
from symbolic.codegen.rolled import rolled
from symbolic.functions.activations import relu
from symbolic.functions.registry import derivatives


def network(inputs: int, hidden: int, activation: type[sp.Function] = relu) -> Loss:
    W, b, a = parameters(W=(hidden, inputs), b=(hidden,), a=(hidden,))
    x, y = sp.Matrix(sp.symbols(f"x:{inputs}", real=True)), sp.Symbol("y", real=True)
    before = W * x + sp.Matrix(b)
    out = sp.Add(*(a[j] * activation(before[j]) for j in range(hidden)))
    rows = np.random.default_rng(0).normal(size=(7, inputs + 1))
    data = Dataset({tuple(x): rows[:, :-1], y: rows[:, -1]})
    return Loss((out - y) ** 2, {"W": W, "b": b, "a": a}, data, name="layers")


def texts(loss: Loss, monkeypatch: pytest.MonkeyPatch, scheme: str, shared_rows: bool) -> list[str]:
    """As lines, and in loops, neither as layers."""
    monkeypatch.setattr(layers, "WORK", 10**9)
    out = []
    for most in (10**9, 0):
        monkeypatch.setattr(emit, "LONG", most)
        loss.prepared.clear()
        out.append(prepare(loss, scheme, {"C": loss.theta[0] ** 2}, shared_rows=shared_rows).module.text)
    return out


@pytest.mark.parametrize("activation", [relu, sp.tanh])
@pytest.mark.parametrize("shared_rows", [False, True])
def test_loops_give_the_bits_of_lines(
    activation: type[sp.Function], shared_rows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_products, "MOST_SUMS", 0)  # sums over some rows at a time round otherwise
    loss = network(5, 12, activation)
    lines, loops = texts(loss, monkeypatch, "sgd-momentum", shared_rows)
    assert len(loops) < len(lines) / 4
    plain, rng = [import_text(text) for text in (lines, loops)], np.random.default_rng(1)
    states, lanes = 2 * loss.dimension, plain[0].LANES
    width = plain[0].GROUP if shared_rows else lanes
    x, z, w, p = (rng.normal(size=k) for k in (states * width, 3 * 6 * width, 3 * lanes, 2))
    sums = [rng.normal(size=loss.dimension * width)] * 2
    moved, inputs, seen = [rng.normal(size=states * lanes)] * 2, rng.normal(size=loss.dimension * lanes), [x, x]
    for k, module in enumerate(plain):
        sums[k], moved[k], seen[k] = sums[k].copy(), moved[k].copy(), np.zeros((loss.dimension + 1) * lanes)
        module.sweep(x, z, w, sums[k], p, 3) if shared_rows else module.accumulate(x, z, w, sums[k], p)
        module.step(moved[k], inputs, 0.1, 0.0, p)
        module.observe(moved[k], 0.0, p, seen[k])
    for one, other in (sums, moved, seen):
        np.testing.assert_array_equal(one, other)


def test_compiled_loops_agree_with_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit, "LONG", 0)
    monkeypatch.setattr(layers, "WORK", 10**9)
    loss = network(3, 8)
    module = prepare(loss, "sgd").module
    plain, native = import_text(module.text), load(module.text, module.manifest).compiled["accumulate"]
    rng, lanes = np.random.default_rng(2), plain.LANES
    arrays = [rng.normal(size=k * lanes) for k in (loss.dimension, 4, 1, loss.dimension, 1)]
    expected = arrays[3].copy()
    plain.accumulate(*arrays[:3], expected, arrays[4])
    native.ctypes(*(a.ctypes.data_as(k) for a, k in zip(arrays, native.ctypes.argtypes, strict=True)))
    np.testing.assert_allclose(arrays[3], expected, rtol=1e-12, atol=1e-12)


def test_lines_do_not_grow_with_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (texts(network(4, hidden), monkeypatch, "sgd", False)[1].count("\n") for hidden in (12, 30))
    assert few == many


def test_what_overwrites_what_is_read_stays_as_it_is() -> None:
    assert rolled([], [("x", 0, "=", "(x1 + F(1.0))"), ("x", 1, "=", "(x0 + F(1.0))")]) is None


def test_slopes_of_sums_are_sympys() -> None:
    loss = network(3, 4, sp.tanh)
    assert derivatives(loss.expression, loss.theta) == [sp.diff(loss.expression, s) for s in loss.theta]


def test_emission_grows_with_a_network_and_not_with_its_square() -> None:
    """Four times the parameters: calls of functions, counted."""

    def calls(inputs: int, hidden: int) -> int:
        loss, count = network(inputs, hidden), [0]
        sys.setprofile(lambda frame, event, arg: count.__setitem__(0, count[0] + (event == "call")))
        try:
            prepare(loss, "sgd", {}, "float32")
        finally:
            sys.setprofile(None)
        return count[0]

    sp.core.cache.clear_cache()
    small = calls(6, 12)
    sp.core.cache.clear_cache()
    assert calls(12, 24) < 7 * small
