"""Emitted text: the same every time, and the same numbers as plain Python and as a compiled kernel."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import sympy as sp
from numba import cfunc

from sde.engine.program import import_text, load
from sde.kernels import compiled_program, compiler
from sde.kernels.options import EMITTED
from symbolic import SDE, Dataset, Loss, Normal
from symbolic.codegen.emit import emit, lane_count
from symbolic.codegen.prepare import prepare
from symbolic.codegen.printing import ScalarPrinter
from symbolic.dynamics.step_map import StepMap, h, t
from symbolic.functions.activations import relu, step
from symbolic.library import LIBRARY

a, b, c, d, x, y = sp.symbols("a b c d x y", real=True)
ROWS = Dataset({x: np.linspace(-1.5, 2, 12), y: np.cos(np.arange(12.0))})


def _losses() -> dict[str, Loss]:
    made = {
        name: LIBRARY[name].build()
        for name in ("matrix-factorization", "two-layer-relu", "softmax-regression", "net-a")
    }
    made["norms"] = Loss(
        (a * x + b * y) ** 2 / sp.sqrt(a**2 + b**2) + sp.Abs(a * x - b) + c**3 / (1 + d**2),
        [a, b, c, d],
        {x: Normal(0, 1), y: Normal(0, 1)},
    )
    made["extrema"] = Loss(
        (sp.Max(0, a * x, b * x + c) * sp.Min(a * y, d) - y) ** 2 + sp.Max(0, a * x) * b, [a, b, c, d], ROWS
    )
    huber = sp.Piecewise(((a * x - b) ** 2, sp.Abs(a * x - b) < 1), (2 * sp.Abs(a * x - b) - 1, True))
    made["pieces"] = Loss(
        huber + c * sp.Heaviside(x) * sp.Piecewise((a, (x > y) & (x < 1)), (b, sp.Or(x > 1, y > 0)), (d, True)),
        [a, b, c, d],
        ROWS,
    )
    made["smooth"] = Loss(
        (a * sp.tanh(b * x + c) - y) ** 2 + sp.log(1 + sp.exp(-a * x)) + sp.sin(c * x) * sp.exp(-(d**2)) * sp.erf(b),
        [a, b, c, d],
        ROWS,
    )
    return made


LOSSES = _losses()


def run_compiled(text: str, manifest: Mapping[str, Any], role: str, *arguments: Any) -> None:
    """Call an emitted function as compiled, arrays as bare pointers."""
    dtype = np.dtype(str(manifest["dtype"]))
    native = load(text, manifest).compiled[role]
    native.ctypes(
        *[
            v.ctypes.data_as(k) if isinstance(v, np.ndarray) else v if isinstance(v, int) else dtype.type(v)
            for v, k in zip(arguments, native.ctypes.argtypes, strict=True)
        ]
    )


def state(rows: int, lanes: int, seed: int, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.5, 1.5, size=rows * lanes).astype(dtype)


@pytest.mark.parametrize("name", LOSSES)
def test_plain_text_against_compiled_kernel(name: str) -> None:
    """One step, one accumulation, one observation: 1e-13 relative to the row's size, in float64."""
    loss = LOSSES[name]
    module = prepare(loss, "sgd-momentum", {"o": loss.theta[0] ** 2 - sp.tanh(loss.theta[-1])}).module
    plain, m = import_text(module.text), dict[str, Any](module.manifest)
    lanes, p = plain.LANES, np.array([0.01, 0.9])
    inputs, states, rows = int(m["inputs"]), len(m["states"]), int(m["data"])
    start, n = state(states, lanes, 1), state(inputs, lanes, 2)
    z, w = state(rows, lanes, 3), np.random.default_rng(4).uniform(0.1, 1, lanes)
    out = [[start.copy(), n.copy(), np.zeros(len(m["observables"]) * lanes)] for _ in range(2)]
    with np.errstate(all="ignore"):
        plain.accumulate(out[0][0], z, w, out[0][1], p)
        plain.step(out[0][0], n, 0.05, 0.3, p)
        plain.observe(out[0][0], 0.3, p, out[0][2])
    run_compiled(module.text, m, "accumulate", out[1][0], z, w, out[1][1], p)
    run_compiled(module.text, m, "step", out[1][0], n, 0.05, 0.3, p)
    run_compiled(module.text, m, "observe", out[1][0], 0.3, p, out[1][2])
    for oracle, found in zip(*out, strict=True):
        scale = np.maximum(np.abs(oracle), 1.0)
        assert np.isfinite(oracle).all()
        assert (np.abs(oracle - found) <= 1e-13 * scale).all()
    assert not np.array_equal(out[0][0], start) and not np.array_equal(out[0][1], n)


@pytest.mark.parametrize("rows", [1, 4, 5, 11])
@pytest.mark.parametrize("name", LOSSES)
def test_a_sweep_is_one_accumulation_after_another(name: str, rows: int) -> None:
    """Rows that all lanes share, whole passes of them and not: to 1e-13 of the sum's size, the plain text bit for bit
    where it takes one row at a time."""
    loss = LOSSES[name]
    one, all_rows = (prepare(loss, "sgd", shared_rows=s).module for s in (False, True))
    plain, m = import_text(all_rows.text), dict[str, Any](all_rows.manifest)
    lanes, group = plain.LANES, plain.GROUP
    x, w = state(len(m["states"]), lanes, 1), state(rows, lanes, 2)
    table, p = state(int(m["data"]), rows, 3).reshape(rows, -1), np.array([0.01])
    n, at, one_by_one = np.zeros((int(m["inputs"]), lanes)), 2 * group, "for first in" not in all_rows.text
    mine = x.reshape(-1, lanes)[:, at : at + group].ravel()
    swept = [np.zeros(len(n) * group) for _ in range(2)]
    with np.errstate(all="ignore"):
        for z, weights in zip(table, w.reshape(rows, lanes), strict=True):
            import_text(one.text).accumulate(x, np.repeat(z, lanes), weights, n.ravel(), p)
        plain.sweep(mine, table.ravel(), w[at:], swept[0], p, rows)
    run_compiled(all_rows.text, m, "sweep", mine, table.ravel(), w[at:].copy(), swept[1], p, rows)
    expected = n[:, at : at + group].ravel()
    assert one_by_one == (name not in ("matrix-factorization", "two-layer-relu", "softmax-regression"))
    assert np.array_equal(swept[0], expected) or not one_by_one
    for found in swept:
        assert (np.abs(found - expected) <= 1e-13 * np.maximum(np.abs(expected), 1.0)).all() and expected.any()


@pytest.mark.parametrize("name", LOSSES)
def test_plain_text_against_the_derivative(name: str) -> None:
    """theta' = theta - h grad l(theta, z) with SymPy's own gradient, one sample per lane, 1e-12 relative."""
    loss = LOSSES[name]
    module = prepare(loss, "sgd").module
    plain, m = import_text(module.text), dict[str, Any](module.manifest)
    lanes, used = plain.LANES, [s for s in loss.z if s in loss.expression.free_symbols]
    start, z = state(loss.dimension, lanes, 5), state(len(used), lanes, 6)
    n, p, moved = np.zeros(int(m["inputs"]) * lanes), np.array([0.0]), start.copy()
    with np.errstate(all="ignore"):
        plain.accumulate(start, z, np.ones(lanes), n, p)
        plain.step(moved, n, 0.01, 0.0, p)
    modules = [
        {"relu": lambda v: np.maximum(v, 0), "step": lambda v: 1.0 * (v > 0), "erf": np.vectorize(math.erf)},
        "numpy",
    ]
    slope = sp.lambdify([*loss.theta, *used], [sp.diff(loss.expression, s) for s in loss.theta], modules=modules)
    values = slope(*start.reshape(-1, lanes), *z.reshape(-1, lanes))
    expected = start.reshape(-1, lanes) - 0.01 * np.array([np.broadcast_to(v, lanes) for v in values])
    assert np.abs(moved.reshape(-1, lanes) - expected).max() <= 1e-12 * max(1.0, np.abs(expected).max())


SCRIPT = """
import hashlib
import numpy as np, sympy as sp
from symbolic import Dataset, Loss, Normal
from symbolic.library import LIBRARY
from symbolic.codegen.prepare import prepare
a, b, c, d, x, y = sp.symbols("a b c d x y", real=True)
rows = Dataset({x: np.arange(4.0), y: np.ones(4)})
tanh = (a*sp.tanh(b*x + c) + d*sp.tanh(b*x - c)*sp.exp(a*x*b) - y)**2
tanh = Loss(tanh + sp.log(1 + sp.exp(-b*x*c)) + sp.sqrt(1 + (b*x + c)**2), [a, b, c, d], rows)
kinks = (sp.Max(0, a*x, b*x + c)*sp.Max(a*x, d) + sp.Abs(b*x + c) - y)**2
kinks = Loss(kinks + sp.Piecewise((a, x > y), (b*x, True)), [a, b, c, d], rows)
named = ("matrix-factorization", "net-b", "two-layer-relu", "softmax-regression")
for loss in [tanh, kinks, *(LIBRARY[n].build() for n in named)]:
    text = prepare(loss, "sgd-momentum", {"o": loss.theta[0]**2 + loss.theta[-1]}).module.text
    print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_text_does_not_depend_on_the_hash_seed() -> None:
    """Three processes with other string hashes, hence other set and dictionary orders."""
    found = set()
    for seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(set(done.stdout.split())) == 6
        found.add(done.stdout)
    assert len(found) == 1


@pytest.mark.parametrize("name", LOSSES)
def test_text_twice_is_the_same(name: str) -> None:
    first, second = (prepare(LOSSES[name], "euler-maruyama", {"o": LOSSES[name].theta[0]}).module for _ in range(2))
    assert first.text == second.text and first.hash == second.hash


def test_hash_follows_everything_that_matters() -> None:
    loss = LOSSES["smooth"]
    hashes = [
        prepare(loss, "sgd").module.hash,
        prepare(loss, "sgd-momentum").module.hash,
        prepare(loss, "sgd", {"o": a}).module.hash,
        prepare(loss, "sgd", {"o": a**2}).module.hash,
        prepare(loss, "sgd", dtype="float32").module.hash,
        prepare(LOSSES["extrema"], "sgd").module.hash,
    ]
    assert len(set(hashes)) == len(hashes)


def test_the_module_is_self_contained_text() -> None:
    text = prepare(LOSSES["smooth"], "sgd").module.text
    assert {line for line in text.splitlines() if line.startswith(("import", "from"))} == {
        "import math",
        "import numpy as np",
    }
    assert "sympy" not in text and "symbolic" not in text


FORMS = {
    "relu": relu(a),
    "Max": sp.Max(0, a),
    "Max-of-two": sp.Max(a, b),
    "Max-of-two-turned": sp.Max(b, a),
    "Max-of-three": sp.Max(a, b, 2 * c),
    "Min": sp.Min(1, a),
    "Min-of-two": sp.Min(a, b),
    "Abs": sp.Abs(a),
    "sign": sp.sign(a),
    "square": a**2,
    "root": sp.sqrt(a),
    "inverse": 1 / a,
    "Heaviside": sp.Heaviside(a),
    "step": step(a),
    "Piecewise": sp.Piecewise((a, a > 0), (-a, True)),
    "tanh": sp.tanh(a),
    "product": a * b,
}


def one_state_map(expression: sp.Expr, dtype: str = "float64") -> Any:
    return emit(StepMap("form", (a, b, c), (), (), (), (expression, b, c)), {"o": a}, None, dtype)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["plain", "compiled"])
def test_nan_passes_through(form: str, how: str) -> None:
    """A NaN in any argument that the expression holds comes out as NaN: it is never compared away."""
    expression = FORMS[form]
    for place in [k for k, s in enumerate((a, b, c)) if s in expression.free_symbols]:
        module = one_state_map(expression)
        lanes = import_text(module.text).LANES
        values = np.ones(3 * lanes)
        values[place * lanes : (place + 1) * lanes] = np.nan
        nothing = np.zeros(1)
        if how == "plain":
            with np.errstate(all="ignore"):
                import_text(module.text).step(values, nothing, 0.1, 0.0, nothing)
        else:
            run_compiled(module.text, module.manifest, "step", values, nothing, 0.1, 0.0, nothing)
        assert np.isnan(values[:lanes]).all(), f"NaN in {(a, b, c)[place]} became {values[0]}"


VALUES = {
    "relu": [0, 0, 0.5],
    "Max": [0, 0, 0.5],
    "Max-of-two": [0.25, 0.25, 0.5],
    "Min": [-2, 0, 0.5],
    "Min-of-two": [-2, 0, 0.25],
    "Abs": [2, 0, 0.5],
    "sign": [-1, 0, 1],
    "Heaviside": [0, 0.5, 1],
    "step": [0, 0, 1],
    "Piecewise": [2, 0, 0.5],
    "Max-of-three": [0.25, 0.25, 0.5],
    "square": [4, 0, 0.25],
}


@pytest.mark.parametrize("form", VALUES)
@pytest.mark.parametrize("how", ["plain", "compiled"])
def test_values_on_both_sides_of_a_kink(form: str, how: str) -> None:
    """At a = -2, 0, 1/2 with b = 1/4, c = -1."""
    module = one_state_map(FORMS[form])
    lanes, nothing = import_text(module.text).LANES, np.zeros(1)
    values = np.concatenate([np.resize([-2.0, 0.0, 0.5], lanes), np.full(lanes, 0.25), np.full(lanes, -1.0)])
    if how == "plain":
        import_text(module.text).step(values, nothing, 0.1, 0.0, nothing)
    else:
        run_compiled(module.text, module.manifest, "step", values, nothing, 0.1, 0.0, nothing)
    assert values[:3].tolist() == VALUES[form]


def doubles(function: Any, role: str, dtype: str) -> str:
    """Lines of a compiled function's LLVM text that know float64. Compiled anew: what comes from the cache has no
    text."""
    fresh: dict[str, Any] = {**EMITTED, "cache": False}
    compiler.register()
    result, *arguments = map(compiler.kind, compiled_program.signature(role, np.dtype(dtype)))
    text = cfunc(result(*arguments), **fresh)(compiled_program.vectorising(function)).inspect_llvm()
    assert "float" in text or "double" in text
    return "\n".join(
        line for line in text.splitlines() if "double" in line and not line.lstrip().startswith(("declare", ";"))
    )


@pytest.mark.parametrize("name", LOSSES)
def test_float32_holds_no_double(name: str) -> None:
    """The compiled float32 functions contain no float64 arithmetic: LLVM's word for it does not occur."""
    module = prepare(LOSSES[name], "sgd-momentum", {"o": LOSSES[name].theta[0]}, "float32").module
    plain = import_text(module.text)
    for role in ("step", "accumulate", "observe"):
        body = doubles(getattr(plain, role), role, "float32")
        assert body == "", f"{role}: {body[:300]}"


def test_the_search_for_doubles_finds_them() -> None:
    module = prepare(LOSSES["smooth"], "sgd").module
    assert doubles(import_text(module.text).step, "step", "float64")


def test_float32_survives_a_piecewise_without_a_default() -> None:
    module = one_state_map(sp.Piecewise((a * b, a > 0), (a / 3, a < -1)), "float32")
    assert doubles(import_text(module.text).step, "step", "float32") == ""


@pytest.mark.parametrize("power", [-64, -7, -2, -1, 1, 2, 3, 5, 13, 64])
def test_integer_powers_are_products(power: int) -> None:
    text = ScalarPrinter({a: "v"})(a**power)
    assert "**" not in text and "math" not in text
    module, nothing = one_state_map(a**power), np.zeros(1)
    values = np.full(3 * import_text(module.text).LANES, 1.03125)
    import_text(module.text).step(values, nothing, 0.1, 0.0, nothing)
    assert values[0] == pytest.approx(1.03125**power, rel=1e-13)


@pytest.mark.parametrize("power", [sp.Rational(1, 2), sp.Rational(-1, 2), sp.Rational(3, 2), sp.Rational(-5, 2)])
def test_half_powers_use_the_root(power: sp.Rational) -> None:
    module = one_state_map(a**power)
    assert "math.sqrt" in module.text and "**" not in module.text.split("def step")[1]
    lanes, nothing = import_text(module.text).LANES, np.zeros(1)
    values = np.full(3 * lanes, 1.7)
    run_compiled(module.text, module.manifest, "step", values, nothing, 0.1, 0.0, nothing)
    assert values[0] == pytest.approx(1.7 ** float(power), rel=1e-14)


@pytest.mark.parametrize("expression", [sp.zeta(a), sp.DiracDelta(a), a**65, sp.Function("f")(a), sp.airyai(a)])
def test_what_cannot_be_printed_is_named(expression: sp.Expr) -> None:
    with pytest.raises(ValueError, match="emit: "):
        ScalarPrinter({a: "v"})(expression)


def test_updates_read_the_old_state() -> None:
    """A swap: both updates see the state before the step."""
    module = emit(StepMap("swap", (a, b), (), (), (), (b + h, a * 2 + t)), {"o": a})
    plain, nothing = import_text(module.text), np.zeros(1)
    lanes = plain.LANES
    values = np.concatenate([np.full(lanes, 3.0), np.full(lanes, 5.0)])
    compiled = values.copy()
    plain.step(values, nothing, 0.5, 0.25, nothing)
    run_compiled(module.text, module.manifest, "step", compiled, nothing, 0.5, 0.25, nothing)
    assert values[0] == 5.5 and values[lanes] == 6.25
    assert np.array_equal(values, compiled)


def test_lanes_follow_from_the_problem_alone() -> None:
    assert [lane_count(rows, "float64") for rows in (1, 96, 97, 192, 193, 10_000)] == [256, 256, 128, 128, 64, 64]
    assert lane_count(97, "float32") == 256


def test_an_sde_emits_its_formula() -> None:
    sde = SDE([a], [t - a], [[a, 2]], time=t)
    module = prepare(sde, "euler-maruyama", {"o": a * t}).module
    plain = import_text(module.text)
    lanes, nothing = plain.LANES, np.zeros(1)
    values, n, out = (
        np.full(lanes, 3.0),
        np.concatenate([np.full(lanes, 0.5), np.full(lanes, 0.25)]),
        np.zeros(2 * lanes),
    )
    plain.step(values, n, 0.1, 2.0, nothing)
    assert values[0] == pytest.approx(3 + (2 - 3) * 0.1 + 3 * 0.5 + 2 * 0.25, rel=1e-15)
    plain.observe(values, 2.0, nothing, out)
    assert out[lanes] == values[0] * 2


u = sp.symbols("u0:12", real=True)
