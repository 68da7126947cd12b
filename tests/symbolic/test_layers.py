"""Networks as matrix products: the text against the naive sum, the compiled kernel against the text, the same bits
whatever the tiles and vectors, and runs in either layout."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp

from benchmarks.problems.diabetes import spec
from sde import SGD, simulate, train
from sde.engine.program import import_text
from sde.kernels import contract, machine_code
from symbolic import Dataset, Loss, Normal, parameters
from symbolic.codegen import layer_text, layers
from symbolic.codegen.prepare import prepare
from symbolic.functions.activations import relu, sigmoid
from tests.naive.row_slopes import row_slopes
from tests.symbolic.test_emit import run_compiled

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "WORK", 24)


def network(sizes: tuple[int, ...], activation: Any = relu, scale: Any = 1, decay: Any = 0, law: bool = False) -> Loss:
    """Fully connected layers with biases, the last one linear; a penalty on the first one's weights."""
    named, shapes = {}, {}
    for k, (i, o) in enumerate(zip(sizes, sizes[1:], strict=False)):
        shapes |= {f"W{k}": (o, i), f"b{k}": (o,)}
    named = dict(zip(shapes, parameters(**shapes), strict=True))
    x = sp.Matrix(sp.symbols(f"x:{sizes[0]}", real=True))
    y = sp.Matrix(sp.symbols(f"y:{sizes[-1]}", real=True))
    value = x
    for k in range(len(sizes) - 1):
        value = scale * named[f"W{k}"] * value + sp.Matrix(list(named[f"b{k}"]))
        value = value.applyfunc(activation) if k < len(sizes) - 2 else value
    loss = sp.Add(*((a - b) ** 2 for a, b in zip(value, y, strict=True)))
    loss += decay * sp.Add(*(e**2 for e in named["W0"]))
    rows = np.random.default_rng(1).normal(size=(40, sizes[0] + sizes[-1]))
    data: Any = {s: Normal(0, 1) for s in (*x, *y)}
    return Loss(loss, named, data if law else Dataset({(*x, *y): rows}), name="network")


LOSSES: dict[str, Callable[[], Loss]] = {
    "relu": lambda: network((5, 9, 1)),
    "tanh, three layers, two outputs": lambda: network((3, 6, 5, 2), sp.tanh),
    "sigmoid, scaled, decay": lambda: network((4, 7, 1), sigmoid, sp.Rational(1, 3), sp.Rational(1, 10)),
    "one wide output layer": lambda: network((2, 4, 11), sp.sin),
    "diabetes": lambda: spec().loss,
}


BOTH = {
    False: ("relu", "sigmoid, scaled, decay", "diabetes"),
    True: ("relu", "one wide output layer"),
}
"""What is quick, with rows of each path's own and shared: every activation but tanh."""


def arrays(loss: Loss, module: Any, rows: int, shared: bool, dtype: str) -> tuple[list[np.ndarray], np.ndarray]:
    """x, z, w, n, p of a sweep, and the sums expected."""
    plain = import_text(module.text)
    lanes, group, columns = plain.LANES, plain.GROUP, int(module.manifest["data"])
    x, n = RNG.normal(size=(loss.dimension, group)) / 2, RNG.normal(size=(loss.dimension, group))
    z, w = RNG.normal(size=(rows, columns, 1 if shared else group)), RNG.normal(size=(rows, lanes))
    expected = n + row_slopes(loss, x, np.broadcast_to(z, (rows, columns, group)), w[:, :group])
    return [a.ravel().astype(dtype) for a in (x, z, w, n, np.zeros(1))], expected


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        pytest.param(name, shared, marks=[pytest.mark.slow] * (name not in BOTH[shared]))
        for name in LOSSES
        for shared in (False, True)
    ],
)
def test_text_and_compiled_sweep_are_the_naive_sum(name: str, shared: bool) -> None:
    loss, rows = LOSSES[name](), 19
    module = prepare(loss, "sgd", shared_rows=shared).module
    assert "contract" in module.text
    given, expected = arrays(loss, module, rows, shared, "float64")
    plain, native = [a.copy() for a in given], [a.copy() for a in given]
    import_text(module.text).sweep(*plain, rows)
    run_compiled(module.text, module.manifest, "sweep", *native, rows)
    scale = np.maximum(np.abs(expected), 1.0).ravel()
    assert (np.abs(plain[3] - expected.ravel()) < 1e-11 * scale).all() and not np.array_equal(plain[3], given[3])
    assert (np.abs(native[3] - plain[3]) < 1e-11 * scale).all()


def test_float32_is_near_it() -> None:
    loss = LOSSES["relu"]()
    module = prepare(loss, "sgd", dtype="float32").module
    given, expected = arrays(loss, module, 40, False, "float32")
    run_compiled(module.text, module.manifest, "sweep", *given, 40)
    np.testing.assert_allclose(given[3].reshape(expected.shape), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_tiles_do_not_change_a_bit(shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, found, given = LOSSES["tanh, three layers, two outputs"](), list[np.ndarray](), list[np.ndarray]()
    for most in (10**9, 0):
        monkeypatch.setattr(layer_text, "TILE_BYTES", most)
        loss.prepared.clear()
        module = prepare(loss, "sgd", shared_rows=shared).module
        given = given or arrays(loss, module, 37, shared, "float64")[0]
        mine = [a.copy() for a in given]
        run_compiled(module.text, module.manifest, "sweep", *mine, 37)
        found += [mine[3], np.array([module.text.count(", 32)"), module.text.count(", 8)")])]
    np.testing.assert_array_equal(found[0], found[2])
    assert found[1][0] and found[3][1]  # tiles of 32 rows, and of 8


@pytest.mark.parametrize(
    ("dtype", "shared"),
    [
        ("float32", False),
        ("float64", True),
        pytest.param("float32", True, marks=pytest.mark.slow),
        pytest.param("float64", False, marks=pytest.mark.slow),
    ],
)
def test_vectors_do_not_change_a_bit(shared: bool, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of sizes that no tile divides: vectors of 16 and 32 bytes as the widest, and plain loops but for
    rounding."""
    us, vs, ks, lanes = 7, 11, 5, 16
    t, a = RNG.normal(size=us * vs * lanes), RNG.normal(size=us * ks * lanes)
    b = RNG.normal(size=vs * ks * (1 if shared else lanes))
    each = 1 if shared else lanes
    places = (0, vs * lanes, lanes), (0, ks * lanes, lanes), (0, ks * each, each)
    signature, found = contract.compiled(contract.name(dtype, shared)).signature, list[np.ndarray]()
    for width in (contract.vector_bytes(), 32, 16):
        monkeypatch.setattr(contract, "vector_bytes", lambda width=width: width)
        made = machine_code.native(contract.body(shared, np.dtype(dtype).itemsize), signature, kept=False)
        rows = [v.astype(dtype) for v in (t, a, b)]
        pointers = [r.ctypes.data_as(k) for r, k in zip(rows, signature[1::4], strict=False)]
        made.ctypes(*(v for p, q in zip(pointers, places, strict=True) for v in (p, *q)), us, vs, ks, lanes)
        found.append(rows[0])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    text, plain = layer_text.CONTRACT.format("", "" if shared else " + i"), t.copy()
    import_text(text).contract(plain, *places[0], a, *places[1], b, *places[2], us, vs, ks, lanes)
    np.testing.assert_allclose(found[0], plain, rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-4)
    assert ctypes.sizeof(signature[1]._type_) == np.dtype(dtype).itemsize


def test_small_networks_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has few products has them in registers; so do polynomials in the data. Sizes alone decide."""
    monkeypatch.undo()
    assert "contract" in prepare(network((12, 30, 1)), "sgd").module.text
    assert "contract" not in prepare(spec().loss, "sgd", shared_rows=True).module.text
    assert "contract" not in prepare(network((2, 2, 1)), "sgd").module.text
    assert "contract" not in prepare(network((3, 4, 1), lambda v: v), "sgd").module.text


def run(sizes: tuple[int, ...], sgd: SGD, activation: Any = relu, law: bool = False, **options: Any) -> Any:
    """Paths from a random start."""
    loss, rng = network(sizes, activation, law=law), np.random.default_rng(5)
    start = {p.name: rng.normal(size=p.shape) / 2 for p in loss.parameters}
    return (simulate if "time" in options else train)(loss, sgd, start=start, keep="paths", **options)


RUNS: dict[str, Callable[[], Any]] = {
    "momentum": lambda: run((5, 8, 1), SGD(0.02, batch_size=40, momentum=0.5), steps=6, paths=70),
    "subsets": lambda: run((5, 8, 1), SGD(0.02, batch_size=7, replacement=False, weight_decay=0.1), steps=6, paths=300),
    "laws": lambda: run((3, 8, 1), SGD(0.01, batch_size=6), law=True, steps=6, paths=40),
    "full batch": lambda: run((5, 8, 1), SGD(0.02, batch_size=40), sp.tanh, steps=6, paths=3, full_batch=True),
    "equation": lambda: run((5, 8, 1), SGD(0.05, batch_size=4), sp.tanh, time=0.2, dt=0.05, paths=70),
    "wide": lambda: run((10, 18, 1), SGD(0.01, batch_size=3), steps=2, paths=20),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in ("subsets", "equation"))) for n in RUNS]
)
def test_runs_in_either_layout_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same paths, row by row and as matrix products, but for rounding."""
    mine = RUNS[name]()
    monkeypatch.setattr(layers, "WORK", 10**9)
    other = RUNS[name]()
    moved = 0.0
    for variable in ("W0", "b0", "W1"):
        np.testing.assert_allclose(mine[variable].values, other[variable].values, rtol=1e-9, atol=1e-10)
        moved += float(np.abs(np.diff(mine[variable].values, axis=1)).max())
    assert moved > 1e-3 and mine.attrs["result_hash"] != other.attrs["result_hash"]
