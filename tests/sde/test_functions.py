"""The elementary functions of compiled code: errors in units in the last place against more digits, special values,
symmetry, packed code."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import cfunc, njit, types
from scipy import special

from sde import simulate
from sde.engine.program import import_text
from sde.kernels import compiled_program, compiler, math
from sde.kernels.math import circular
from sde.kernels.options import FASTMATH
from symbolic import SDE
from symbolic.codegen.prepare import prepare

compiler.register()

BOUNDS = {"exp": 1, "log": 1, "sin": 1, "cos": 1, "erf": 1.25, "cosh": 1.5, "atan": 2, "tanh": 2, "sinh": 2, "tan": 2.5}
"""Largest error in units in the last place, of either type; measured at most 0.86, 0.79, 0.76, 0.75, 1.14, 1.32, 1.82,
1.79, 1.83, 2.27."""
ODD, EVEN = ("sin", "tan", "atan", "tanh", "sinh", "erf"), ("cos", "cosh")
RANGES = {
    "exp": (1e-3, 1, 40, 745), "log": (1e-300, 1e-3, 2, 1e300), "tanh": (1e-3, 0.4, 1, 20), "sinh": (1e-3, 0.2, 1, 710),
    "cosh": (1e-3, 1, 710), "erf": (1e-3, 0.2, 1.1, 6), "sin": (1e-3, 0.8, 10, 1e5, 1e12),
    "cos": (1e-3, 0.8, 10, 1e5, 1e12), "tan": (1e-3, 0.8, 10, 1e5, 1e12), "atan": (1e-3, 0.5, 3, 1e6),
}  # fmt: skip
TYPES = (np.float32, np.float64)
SEAMS = [0.0, 1.0, 0.25, 0.5, 0.5493061443340549, 0.3465735902799726, 0.17328679513998632,
         np.tan(np.pi / 8), np.tan(3 * np.pi / 8), np.sqrt(0.5), np.sqrt(2), 4.0, 6.0, 10.0, 20.0, 88.72284,
         709.782712893384, 87.33654, 103.2789, 708.3964185322641, 744.4400719213812, 89.41598,
         710.4758600739439, 5e-324, 1.5e-45, 2.2250738585072014e-308,
         1.1754943508222875e-38, 1e-310, 1e-40, 1e-17, 1e-9]  # fmt: skip


@cache
def compiled(name: str) -> Any:
    """name over an array, under the flags of emitted code."""
    function = getattr(math, name)

    @njit(error_model="numpy", fastmath=FASTMATH)
    def run(x):
        out = np.empty_like(x)
        for i in range(len(x)):
            out[i] = function(x[i])
        return out

    return run


def numpy_twin(name: str) -> Callable[..., Any]:
    return special.erf if name == "erf" else getattr(np, {"atan": "arctan"}.get(name, name))


def exact(name: str, x: np.ndarray) -> list[Any]:
    with mpmath.workprec(160):
        return [getattr(mpmath, name)(mpmath.mpf(float(v))) for v in x]


def ulps(found: np.ndarray, true: list[Any]) -> np.ndarray:
    """Errors in units in the last place of the true value, as the type of `found` knows them."""
    size = np.spacing(np.abs(np.array([float(v) for v in true])).astype(found.dtype)).astype(float)
    with mpmath.workprec(160):
        return np.array(
            [float(abs(mpmath.mpf(float(f)) - v) / float(s)) for f, v, s in zip(found, true, size, strict=True)]
        )


def inside(name: str, x: np.ndarray) -> np.ndarray:
    """Those x at which the function is a finite number that the kernel promises."""
    x = x[np.isfinite(x)]
    x = x[x > 0] if name == "log" else x
    x = x[np.abs(x) <= circular.FARTHEST[x.dtype.name]] if name in ("sin", "cos", "tan") else x
    with np.errstate(all="ignore"):
        return x[np.isfinite(numpy_twin(name)(x.astype(x.dtype)))]


def hard(name: str, dtype: Any) -> np.ndarray:
    """Seams and thresholds with their neighbours, and for angles the numbers next to multiples of a quarter turn."""
    x = np.array(SEAMS)
    if name in ("sin", "cos", "tan"):
        k = np.concatenate([np.arange(1, 200), np.random.default_rng(1).integers(1, 2**18, 800)])
        x = np.concatenate([x, k * (np.pi / 2), k * (np.pi / 4)])
    with np.errstate(all="ignore"):
        x = x.astype(dtype)
        x = np.concatenate([x, *(np.nextafter(x, dtype(s * np.inf)) for s in (-1, 1))])
    return inside(name, np.concatenate([x, -x]))


def drawn(name: str, dtype: Any, count: int) -> np.ndarray:
    """Random numbers of each of the function's scales, both signs."""
    rng = np.random.default_rng(len(name))
    with np.errstate(all="ignore"):
        return inside(name, np.concatenate([(rng.uniform(-b, b, count)).astype(dtype) for b in RANGES[name]]))


@pytest.mark.parametrize("name", BOUNDS)
def test_float64_is_right_to_its_last_places(name: str) -> None:
    x = np.concatenate([hard(name, np.float64), drawn(name, np.float64, 800)])
    error = ulps(compiled(name)(x), exact(name, x))
    assert error.max() < BOUNDS[name], x[error.argmax()]


@pytest.mark.parametrize("name", BOUNDS)
def test_float32_is_right_to_its_last_places(name: str) -> None:
    """Against float64's functions: random bit patterns, every scale, seams."""
    patterns = np.random.default_rng(5).integers(0, 2**32, 400_000, dtype=np.uint32).view(np.float32)
    x = np.concatenate([hard(name, np.float32), drawn(name, np.float32, 50_000), inside(name, patterns)])
    with np.errstate(all="ignore"):
        true = numpy_twin(name)(x.astype(np.float64))
        error = np.abs(compiled(name)(x) - true) / np.spacing(np.abs(true).astype(np.float32))
    assert error.max() < BOUNDS[name], x[error.argmax()]


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDS)
def test_many_more_numbers(name: str) -> None:
    """20000 float64 numbers of each scale, one float32 in 61 of all there are."""
    x = drawn(name, np.float64, 20_000)
    assert ulps(compiled(name)(x), exact(name, x)).max() < BOUNDS[name]
    for part in np.array_split(np.arange(0, 2**32, 61, dtype=np.uint32), 16):
        x = inside(name, part.view(np.float32))
        with np.errstate(all="ignore"):
            true = numpy_twin(name)(x.astype(np.float64))
            error = np.abs(compiled(name)(x) - true) / np.spacing(np.abs(true).astype(np.float32))
        assert error.max(initial=0) < BOUNDS[name], x[error.argmax()]


@pytest.mark.parametrize("name", BOUNDS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(x=st.floats(allow_nan=False, allow_infinity=False))
def test_any_number(name: str, x: float) -> None:
    """What hypothesis comes upon, in both types: the error's bound, exact symmetry, and the range of the function."""
    with np.errstate(all="ignore"):
        for dtype in TYPES:
            v = inside(name, np.array([x, -x], dtype))
            y = compiled(name)(v)
            assert (ulps(y, exact(name, v)) < BOUNDS[name]).all()
            if name in ODD and len(v):
                assert y[0].tobytes() == (-y[1]).tobytes()
            if name in EVEN and len(v):
                assert y[0].tobytes() == y[1].tobytes()
            if name in ("sin", "cos", "tanh", "erf"):
                assert (np.abs(y) <= 1).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", BOUNDS)
def test_special_values_are_those_of_c(name: str, dtype: Any) -> None:
    """Zeros keep their sign, infinities and NaN come out as NumPy's; far overflow and underflow too."""
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
    if name != "log":
        x = np.append(x, np.array([1e30, -1e30], dtype) if name not in ("sin", "cos", "tan") else x)
    else:
        x = np.append(x, np.array([-1, 1, -1e-30], dtype))
    with np.errstate(all="ignore"):
        true = numpy_twin(name)(x)
    found = compiled(name)(x)
    assert np.array_equal(np.isnan(found), np.isnan(true))
    number = ~np.isnan(true)
    assert np.array_equal(found[number], true[number])
    assert np.array_equal(np.signbit(found[number]), np.signbit(true[number]))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_too_far_are_not_answered(name: str, dtype: Any) -> None:
    edge = dtype(circular.FARTHEST[np.dtype(dtype).name])
    x = np.array([edge, np.nextafter(edge, dtype(np.inf)), -4 * edge], dtype)
    assert np.isnan(compiled(name)(x)).tolist() == [False, True, True]


def test_a_path_at_such_an_angle_is_lost_not_wrong() -> None:
    X = sp.Symbol("X", real=True)
    out = simulate(SDE([X], [sp.sin(X)], [[1]]), start={X: 1e14}, time=0.1, dt=0.1, paths=7, save_at=2, bound=1e20)
    assert out.exploded.values.tolist() == [0, 7]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", BOUNDS)
def test_bits_do_not_depend_on_the_place(name: str, dtype: Any) -> None:
    """Packed body and scalar rest of a loop give the same bits."""
    x = drawn(name, dtype, 50)
    whole = compiled(name)(x)
    for size in (1, 3, 7):
        parts = [compiled(name)(x[i : i + size]) for i in range(0, len(x), size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


@njit(error_model="numpy", fastmath=FASTMATH)
def naive_tanh(x):
    out = np.empty_like(x)
    for i in range(len(x)):
        e = math.exp(x[i] + x[i])
        out[i] = (e - 1) / (e + 1)
    return out


@njit(error_model="numpy", fastmath=FASTMATH)
def naive_sin(x):
    """Two parts of pi/2, and flags under which the compiler may join them."""
    out = np.empty_like(x)
    for i in range(len(x)):
        k = np.rint(x[i] / np.pi)
        out[i] = math.sin((x[i] - k * 3.1415926535897931) - k * 1.2246467991473532e-16) * (1 - 2 * (k % 2))
    return out


@pytest.mark.parametrize(("name", "wrong"), [("tanh", naive_tanh), ("sin", naive_sin)])
def test_the_bounds_reject_the_usual_mistakes(name: str, wrong: Callable[..., Any]) -> None:
    x = np.concatenate([hard(name, np.float64), drawn(name, np.float64, 200)])
    x = x[np.abs(x) < (1 if name == "tanh" else 1e5)]
    assert ulps(wrong(x), exact(name, x)).max() > 4 * BOUNDS[name]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BOUNDS)
def test_emitted_loops_are_packed(name: str, dtype: str) -> None:
    """The step of dX = -f(X) dt + dW: fused multiply-adds on vectors, no call of a library left; with `math` itself
    there is one."""
    X = sp.Symbol("X", real=True)
    module = prepare(SDE([X], [-getattr(sp, name)(X)], [[1]]), "euler-maruyama", None, dtype).module
    step = import_text(module.text).step
    taken = types.void(*map(compiler.kind, compiled_program.signature("step", np.dtype(dtype))[1:]))
    assert f"math.{name}(" in module.text

    def code(function: Any) -> tuple[bool, bool]:
        text = cfunc(taken, error_model="numpy", fastmath=FASTMATH)(function).inspect_llvm()
        packed = rf"call .*<\d+ x {'float' if dtype == 'float32' else 'double'}> @llvm\.fma\.v"
        library = rf"call [^\n]*@(llvm\.)?(numba_)?_*{name}(f|\.f32|\.f64)?\("
        return bool(re.search(packed, text)), bool(re.search(library, text))

    assert code(compiled_program.vectorising(step)) == (True, False)
    if name in ("exp", "tanh", "sin"):
        assert code(step) == (False, True)


def test_from_python_the_names_point_to_math() -> None:
    with pytest.raises(TypeError, match=r"kernels\.math: exp is for compiled code; .* Use math\.exp\."):
        math.exp(1.0)
