"""The registry, row by row: every column of it against SymPy, mpmath, differences and the compiled kernel."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp

from sde import simulate
from sde.engine.program import import_text, load
from sde.kernels import math as kernel
from sde.kernels import special
from sde.kernels.math import circular
from symbolic import SDE, Loss, Normal, derive
from symbolic.codegen.emit import emit
from symbolic.codegen.prepare import prepare
from symbolic.codegen.printing import ScalarPrinter
from symbolic.dynamics.discontinuities import jumps
from symbolic.dynamics.step_map import StepMap
from symbolic.errors import InputError
from symbolic.evaluation.prime_field import PRIME, Jet, JetArithmetic
from symbolic.evaluation.tape import Arithmetic, Tape
from symbolic.functions.activations import relu, step
from symbolic.functions.domains import Evaluator
from symbolic.functions.numeric import Numeric
from symbolic.functions.registry import ANGLE, ELEMENTARY, KINKED, PROVABLE, ROWS, Elementary, derivative, switches
from symbolic.language.parser import ExpressionError, parse_scalar

a, b, u, w, x, y = sp.symbols("a b u w x y", real=True)
DIGITS = 40
ORDER = 1
UNNAMED = {step, sp.Heaviside}
"""Functions that are slopes of others, and no words of spec files."""
SMOOTH = [row for row in ROWS if not row.kinked and row.arity == 1 and row.of_losses]
GATED = [row for row in ROWS if row.gates is not None]
each = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def points(row: Elementary, count: int = 40) -> np.ndarray:
    """Arguments inside the domain and off the kinks, (arity, count)."""
    domain = row.domain_of([1.0])
    low, high = (domain.low, domain.high) if domain else (-math.inf, math.inf)
    rng = np.random.default_rng(len(row.name))
    drawn = rng.uniform(max(low, -2.5), min(high, 2.5), (row.arity, count))
    if row.function is sp.Heaviside:
        drawn[1] = 0.25
    if row.order:
        drawn[0] = rng.integers(0, 3, count)
    return drawn


def arguments(row: Elementary) -> tuple[sp.Symbol, ...]:
    return (a, b)[: row.arity]


def true(row: Elementary, at: tuple[Any, ...]) -> mpmath.mpf:
    """SymPy's own value, to more digits."""
    with mpmath.workdps(DIGITS):
        numbers: list[Any] = [sp.Float(float(v), DIGITS) for v in at]
        if row.order:
            numbers[0] = sp.Integer(int(at[0]))
        return mpmath.mpf(sp.N(row.function(*numbers), DIGITS))


def steep(row: Elementary, at: Any) -> float:
    """By how much more a function of SciPy's may be off: near a pole, and where sums cancel."""
    domain = row.domain_of(at)
    return 1.0 if row.of_losses or domain is None else 4 / min(1.0, domain.margin(float(at[-1])))


@each
def test_values_are_those_of_sympy_and_mpmath(row: Elementary) -> None:
    at = points(row)
    found = row.at(*at)
    with mpmath.workdps(DIGITS):
        for k, args in enumerate(at.T):
            value = true(row, tuple(args))
            assert abs(row.exact(*map(mpmath.mpf, args)) - value) < mpmath.mpf(10) ** (3 - DIGITS) * (1 + abs(value))
            assert abs(found[k] - value) <= 4e-15 * (1 + abs(value)) * steep(row, args), (args, found[k], value)


@each
def test_slopes_are_difference_quotients(row: Elementary) -> None:
    symbols, h = arguments(row), mpmath.mpf(10) ** -15
    for j, s in enumerate(symbols if row.function is not sp.Heaviside else symbols[:1]):
        if row.order and j == 0:
            continue
        slope = Numeric([derivative(row.function(*symbols), s)], symbols)(list(points(row, 12)))[0]
        for k, args in enumerate(points(row, 12).T):
            with mpmath.workdps(DIGITS):
                up, down = (
                    [mpmath.mpf(v) + (sign * h if i == j else 0) for i, v in enumerate(args)] for sign in (1, -1)
                )
                quotient = (row.exact(*up) - row.exact(*down)) / (2 * h)
                assert abs(slope[k] - quotient) <= 1e-12 * (1 + abs(quotient)) * steep(row, args), (s, args)


@pytest.mark.parametrize("digits", [None, DIGITS])
@pytest.mark.parametrize("row", [row for row in ROWS if row.derivable], ids=lambda row: row.name)
def test_tapes_agree(row: Elementary, digits: int | None) -> None:
    """Value and slopes on a tape, in floats and in more digits."""
    symbols, at = arguments(row), points(row, 12)
    e = row.function(*(symbols if row.function is not sp.Heaviside else (a, sp.Rational(1, 4))))
    with mpmath.workdps(digits or 15):
        values = at if digits is None else np.vectorize(mpmath.mpf, otypes=[object])(at)
        tape = Tape([e], symbols, digits)
        found, slopes = tape.evaluate(values)[0], tape.gradient(values)[0]
        tolerance = 1e-13 if digits is None else mpmath.mpf(10) ** (5 - digits)
        for k, args in enumerate(at.T):
            value = true(row, tuple(args))
            assert abs(found[k] - value) <= tolerance * (1 + abs(value))
        for j, s in enumerate(symbols):
            exact = Numeric([derivative(e, s)], symbols)(list(at))[0]
            assert (abs(slopes[j] - exact) <= 1e-12 * (1 + abs(exact))).all()


@pytest.mark.parametrize("row", [row for row in ROWS if row.derivable], ids=lambda row: row.name)
def test_an_imaginary_step_gives_the_second_derivative(row: Elementary) -> None:
    """Of f(x)^2, which bends where f itself is straight."""
    symbols, at = arguments(row), points(row, 12)
    e = row.function(*(symbols if row.function is not sp.Heaviside else (a, sp.Rational(1, 4)))) ** 2
    stepped = at.astype(complex)
    stepped[0] += 1e-100j
    found = Tape([e], symbols).gradient(stepped)[0, 0].imag / 1e-100
    exact = Numeric([derivative(derivative(e, a), a)], symbols)(list(at))[0]
    assert (abs(found - exact) <= 1e-11 * (1 + abs(exact))).all()


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.arity == 1 and (row.modular or row.gates)], ids=lambda r: r.name
)
def test_jets_obey_the_slope(row: Elementary) -> None:
    """f(q + e r) = f(q) + e f'(q) r mod p, f'(q) by its formula and as a tape makes it; f(-q) has f's parity."""
    rng = np.random.default_rng(3)
    m, q = JetArithmetic(30), Jet(rng.integers(1, PRIME, (2, 30)))
    tape = Tape([row.function(a)], [a], arithmetic=m)
    slots, slopes = tape.forward([q])
    value, good = slots[tape.outputs[0]], ~m.bad
    slope = next(s for s in slopes if s is not None)
    assert good.sum() >= 5
    assert (value.data[1] == slope.data[0] * q.data[1] % PRIME)[good].all()
    parity = {1: lambda v: v, -1: lambda v: -v % PRIME}
    for sign, expected in parity.items():
        if row.function(-a) == sign * row.function(a):
            assert (m.call(row, -q).data[0] == expected(value.data[0])).all()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_names_in_specs_are_these_functions(row: Elementary) -> None:
    assert (row.spec is None) == (row.function in UNNAMED)
    if row.spec is None:
        return
    symbols = arguments(row)
    text = f"{row.spec}({', '.join(map(str, symbols))})"
    assert parse_scalar(text, {"a": a, "b": b}) == row.function(*symbols)
    wrong = f"{row.spec}({', '.join(['a'] * (row.arity + 1))})"
    if not row.fold:
        with pytest.raises(ExpressionError, match=f"{row.spec} takes {row.arity} argument"):
            parse_scalar(wrong, {"a": a})


def test_numbers_beyond_a_domain_are_refused_by_specs() -> None:
    for text in ("asin(2)", "acos(-1.5)", "atanh(2)", "log(-1)", "log(0)", "atanh(1)"):
        with pytest.raises(ExpressionError, match="not a finite real number"):
            parse_scalar(text, {})


def test_all_of_math_in_the_texts_is_there_for_compiled_code() -> None:
    of_scipy = {name for row in ROWS for name in re.findall(r"special\.(\w+)", row.text)}
    assert all(callable(getattr(special, name)) for name in of_scipy)
    assert {*special.NAMES, "polygamma"} == of_scipy | {"psi"}
    named = {name for row in ROWS for name in re.findall(r"math\.(\w+)", row.text)}
    assert named <= set(kernel.__all__)
    assert {"float32": ANGLE.narrow, "float64": ANGLE.high} == circular.FARTHEST


@cache
def module(dtype: str) -> tuple[Any, Any, Mapping[str, Any]]:
    """Plain and compiled text of all functions at once, each of states of its own."""
    states = [[sp.Symbol(f"{row.name}{k}", real=True) for k in range(row.arity)] for row in ROWS]
    used = [[sp.Integer(ORDER), *own[1:]] if row.order else own for row, own in zip(ROWS, states, strict=True)]
    flat = tuple(s for own in states for s in own)
    outputs = {row.name: row.function(*own) for row, own in zip(ROWS, used, strict=True)}
    made = emit(StepMap("all", flat, (), (), (), flat), outputs, None, dtype)
    return import_text(made.text), load(made.text, made.manifest), made.manifest


def observed(dtype: str, at: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(plain, compiled) values of all rows at arguments (arity, lanes) per row."""
    plain, program, _ = module(dtype)
    lanes, number = plain.LANES, np.dtype(dtype).type
    state = np.concatenate(at).astype(dtype).ravel()
    out, compiled = (np.zeros(len(ROWS) * lanes, dtype) for _ in range(2))
    observe = program.compiled["observe"].ctypes
    values = [state, number(0), np.zeros(1, dtype), compiled]
    observe(
        *(
            v.ctypes.data_as(k) if isinstance(v, np.ndarray) else v
            for v, k in zip(values, observe.argtypes, strict=True)
        )
    )
    if np.isfinite(state).all():
        with np.errstate(all="ignore"):
            plain.observe(state, 0.0, np.zeros(1), out)
    return out.reshape(len(ROWS), lanes), compiled.reshape(len(ROWS), lanes)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_kernels_give_the_values_of_the_plain_text(dtype: str) -> None:
    lanes = module(dtype)[0].LANES
    at = [points(row, lanes).astype(dtype).astype(float) for row in ROWS]
    plain, compiled = observed(dtype, at)
    for k, row in enumerate(ROWS):
        expected = row.at(*([np.full(lanes, float(ORDER)), at[k][1]] if row.order else at[k]))
        scale = np.finfo(dtype).eps * (1 + np.abs(expected)) * 4 * [steep(row, args) for args in at[k].T]
        assert (np.abs(plain[k] - expected) <= scale).all(), row.name
        assert (np.abs(compiled[k] - expected) <= scale).all(), row.name


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nan_passes_through_every_kernel(dtype: str) -> None:
    lanes = module(dtype)[0].LANES
    _, compiled = observed(dtype, [np.full((row.arity, lanes), np.nan) for row in ROWS])
    assert np.isnan(compiled).all(axis=1).all()
    for row in ROWS:
        nan = np.array([np.nan])
        assert np.isnan(row.at(*([np.ones(1), nan] if row.order else [nan] * row.arity))).all(), row.name


@each
def test_what_has_no_value_left_its_domain(row: Elementary) -> None:
    """Wherever NumPy has no number, the row's domain is left, and only there; the message names a way out."""
    at = np.concatenate([np.linspace(-3, 3, 25), [-1e-9, 1e-9, 1 - 1e-9, 1 + 1e-9]])
    e = row.function(*arguments(row))
    for args in product(np.array([0.0, 1.0, 2.0]) if row.order else at, *[at] * (row.arity - 1)):
        if row.function is sp.Mod and args[1] == 0:
            continue
        with np.errstate(all="ignore"):
            value = float(row.at(*args))
        evaluator = Evaluator(dict(zip((a, b), args, strict=False)), "float64")
        found = evaluator.find([e])
        assert (found is None) == math.isfinite(value), args
        if found is None:
            assert evaluator.value(e) == pytest.approx(value, rel=1e-15)
        else:
            domain = row.domain_of(args)
            assert domain is not None and found.why == domain.why and "(" in found.text
            assert found.advice and str(arguments(row)[-1]) in found.advice


def test_edged_domains_are_suspects_nearest_first() -> None:
    evaluator = Evaluator({a: 0.9, b: 0.3}, "float64")
    assert evaluator.find([sp.log(b), sp.asin(a), sp.sin(a), sp.tanh(b)]) is None
    assert [s.function for s in evaluator.suspects()] == ["asin(a)", "log(b)"]


@each
def test_kinks_and_jumps_are_where_the_row_says(row: Elementary) -> None:
    """Smooth functions have smooth slopes; a function jumps at whole numbers exactly where `jump` vanishes."""
    slope = derivative(row.function(*arguments(row)), arguments(row)[0 if row.kinked else -1])
    assert row.kinked == bool(row.jump or slope.has(*KINKED))
    assert row.kinked == (row.function in KINKED)
    if row.function is sp.atan2 or row.order:
        return
    for at in (-1, 0, 1):
        rest = [mpmath.mpf(1)] * (row.arity - 1)
        if row.domain and (at <= row.domain.low or at >= row.domain.high or row.domain.left(at)):
            continue
        with mpmath.workdps(DIGITS):
            e = mpmath.mpf(10) ** -20
            leap = abs(row.exact(at + e, *rest) - row.exact(at - e, *rest)) > 0.5
        zeros = {s.subs({a: at, b: 1}) == 0 for s in switches(row.function(*arguments(row)))}
        assert leap == (True in zeros), at


@pytest.mark.parametrize("row", SMOOTH + [r for r in GATED if r.arity == 1], ids=lambda row: row.name)
def test_losses_of_every_function_derive(row: Elementary) -> None:
    """(u f(w x) - y)^2: no symmetry but for functions of one degree; proved where the row says so."""
    theory = derive(Loss((u * row.function(w * x) - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)}))
    homogeneous = row.function in (relu, sp.Abs)
    flat = row.jump is not None
    assert theory.algebra.dimension == (1 if homogeneous else 3 if flat else 0)
    assert theory.algebra.certificate.status == "proved"
    if row.provable and not flat and row.function is not sp.log:
        assert "random points" not in theory.algebra.certificate.reason
    assert row.name in str(sp.sstr(theory.loss.expression)) and sp.latex(row.function(a))


@pytest.mark.parametrize("row", [row for row in ROWS if not row.derivable], ids=lambda row: row.name)
def test_other_functions_are_refused_by_name(row: Elementary) -> None:
    given = (sp.Integer(1), w + 2) if row.order else (u * x, w + 2)
    loss = Loss((u * w + row.function(*given[: row.arity]) - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)})
    with pytest.raises(InputError, match=row.name):
        derive(loss)


def test_what_is_provable_is_what_has_a_value_mod_p() -> None:
    assert {"exp", "log", "tanh", "erf", "relu", "Max", "Piecewise"} <= PROVABLE
    for row in ROWS:
        assert not row.provable or row.modular or row.gates or row.fold, row.name


def test_conventions_at_zero_are_the_same_everywhere() -> None:
    """sign(0) = 0, relu'(0) = step(0) = 0, |x|'(0) = 0, and a tie of a maximum gives each half."""
    zero, conventions = np.zeros(1), {sp.sign(a): 0.0, step(a): 0.0, relu(a): 0.0, sp.Abs(a): 0.0, sp.Heaviside(a): 0.5}
    for e, expected in conventions.items():
        texts = eval(ScalarPrinter({a: "x"})(e), {"F": float, "math": math, "x": 0.0})  # the emitter's own text
        with mpmath.workdps(DIGITS):
            precise = Tape([e], [a], DIGITS).evaluate(np.array([[mpmath.mpf(0)]], dtype=object))[0, 0]
        values = [Numeric([e], [a])([zero])[0, 0], Evaluator({a: 0.0}, "float64").value(e), texts, precise]
        values += [Tape([e], [a]).evaluate(zero[None])[0, 0], float(row_exact(e))]
        assert values == [expected] * 6, e
    for e, slope in {relu(a): 0.0, sp.Abs(a): 0.0, sp.Max(a, 0): 0.5, sp.Min(a, 0): 0.5, sp.sign(a): 0.0}.items():
        for digits in (None, DIGITS):
            found = Tape([e], [a], digits).gradient(np.array([[mpmath.mpf(0)]], dtype=object) if digits else zero[None])
            assert float(found[0, 0, 0]) == slope, e
        assert float(derivative(e, a).subs(a, 0)) == slope, e


def row_exact(e: sp.Basic) -> Any:
    row = ELEMENTARY[type(e)]
    return row.exact(*[mpmath.mpf(0), mpmath.mpf(sp.Rational(1, 2).p) / 2][: row.arity])


def test_equal_numbers_are_no_sign_in_exact_derivations() -> None:
    """An argument that is 0 once multiplied out: its sign is 0, not -1."""
    hidden = u * (w + 1) - u * w - u
    loss = Loss((u * w * x + sp.sign(hidden) * u**3 - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)})
    assert derive(loss).algebra.dimension == 1


def test_rounding_and_mod_run_and_fit_steps_to_their_jumps() -> None:
    t = sp.Symbol("t", real=True)
    for drift, at, integral in (
        (sp.floor(4 * t), [0.25, 0.5, 0.75], 1.5),
        (sp.ceiling(4 * t + sp.Rational(1, 2)), [0.125, 0.375, 0.625, 0.875], 3.0),
        (sp.floor(4 * sp.Mod(t, sp.Rational(1, 2))), [0.25, 0.5, 0.75], 0.5),
    ):
        assert np.allclose(jumps([drift], t, 1.0, {}), at, atol=1e-9)
        data = simulate(SDE([a], [drift], [[0]], time=t), start={a: 0.0}, time=1.0, dt=0.3, paths=3, save_at=2)
        assert data.a.sel(statistic="mean").values[-1] == pytest.approx(integral, abs=1e-4)


def test_the_slope_of_a_jump_is_none() -> None:
    assert derivative(a * sp.floor(a) + sp.Mod(a, 3) + sp.sign(a) * a**2, a) == sp.floor(a) + 1 + 2 * a * sp.sign(a)
    text = prepare(SDE([a], [-a], [[sp.Mod(a, 2) / 4]]), "milstein").module.text
    assert "%" in text


def test_arithmetic_of_more_digits_keeps_them() -> None:
    constant = Arithmetic(DIGITS).number(1 / sp.sqrt(sp.pi))
    with mpmath.workdps(DIGITS):
        assert abs(constant - 1 / mpmath.sqrt(mpmath.pi)) < mpmath.mpf(10) ** (2 - DIGITS)
