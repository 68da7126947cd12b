"""The expression language: NumPy's meaning, exact numbers, and refusal of everything else."""

from __future__ import annotations

import ast
import os
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from symbolic.functions.activations import relu
from symbolic.functions.registry import ROWS
from symbolic.language import parser, vocabulary
from symbolic.language.parser import ExpressionError, parse, parse_scalar
from symbolic.language.vocabulary import FUNCTIONS, MAX_ENTRIES, OF_THREE
from symbolic.problem.parameter import entries

SHAPES = {"u": (), "v": (), "x": (4,), "y": (3,), "U": (3, 2), "W": (2, 4), "S": (3, 3)}
NAMES = {name: entries(name, shape) for name, shape in SHAPES.items()}
RANDOM = np.random.default_rng(3)
POINT = {name: np.asarray(RANDOM.normal(size=shape)) for name, shape in SHAPES.items()}


def softmax(a: Any, axis: int | None = None) -> Any:
    w = np.exp(a)
    return w / w.sum(axis=axis, keepdims=axis is not None)


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def dot(a: Any, b: Any) -> Any:
    if np.shape(a) != np.shape(b):
        raise ValueError
    return np.sum(a * b)


def outer(a: Any, b: Any) -> Any:
    if np.ndim(a) != 1 or np.ndim(b) != 1:
        raise ValueError
    return np.outer(a, b)


def trace(a: Any) -> Any:
    if np.ndim(a) != 2 or np.shape(a)[0] != np.shape(a)[1]:
        raise ValueError
    return np.trace(a)


def extreme(pair: Any, one: Any) -> Any:
    return lambda a, *more, **axis: one(a, **axis) if not more else reduce(pair, more, a)


ORDERED = {row.spec for row in ROWS if row.order}
ORACLE = {row.spec: row.at for row in ROWS} | {
    "sum": np.sum,
    "mean": np.mean,
    "norm": lambda a, axis=None: np.sqrt(np.sum(np.square(a), axis=axis)),
    "softmax": softmax,
    "logsumexp": lambda a, axis=None: np.log(np.sum(np.exp(a), axis=axis)),
    "max": extreme(np.maximum, np.max),
    "min": extreme(np.minimum, np.min),
    "dot": dot,
    "outer": outer,
    "trace": trace,
    "table": np.interp,
    "table_previous": lambda x, times, values: np.array(values, float)[
        np.maximum(np.searchsorted(times, x, side="right") - 1, 0)
    ],
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "square": np.square,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "leaky_relu": lambda a: np.where(np.asarray(a) > 0, a, 0.01 * np.asarray(a)),
    "sigmoid": sigmoid,
    "silu": lambda a: a * sigmoid(a),
    "gelu": lambda a: a * (1 + np.vectorize(sp.erf)(np.asarray(a) / np.sqrt(2)).astype(float)) / 2,
    "softplus": lambda a: np.log1p(np.exp(a)),
}


def numeric(value: np.ndarray) -> np.ndarray:
    """The value at POINT, by substitution."""
    table = {s: n for name in NAMES for s, n in zip(NAMES[name].ravel(), POINT[name].ravel(), strict=True)}
    flat = [float(sp.sympify(x).xreplace({s: sp.Float(n) for s, n in table.items()})) for x in value.ravel()]
    return np.array(flat).reshape(value.shape)


def check(text: str) -> None:
    """Agreement with NumPy's own evaluation of the same text, in value or in being an error."""
    space = {**ORACLE, "pi": np.float64(np.pi), **POINT}
    try:
        wanted = np.asarray(eval(text, {"__builtins__": {}}, space))  # our own text, in the test only
    except (ValueError, IndexError, TypeError):
        wanted = None
    if wanted is None or not wanted.size:
        with pytest.raises(ExpressionError):
            parse(text, NAMES)
        return
    got = parse(text, NAMES)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(numeric(got), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_agrees_with_numpy(name: str) -> None:
    if name in ("dot", "outer"):
        check(f"{name}(x, 2*x)")
    elif name in ORDERED:
        check(f"{name}(1, 1 + square(S))")
        check(f"{name}(2, square(x))")
    elif name in ("atan2", "mod"):
        check(f"{name}(S, 2)")
        check(f"{name}(S, 1 + square(S))")
        check(f"{name}(x, y)")
    elif name == "trace":
        check("trace(S@S.T)")
    elif name in OF_THREE:
        check(f"{name}(S, [-1, 0, 2], [3, 5, -4])")
        check(f"{name}(2*x, [-1, -1/2, 1/2, 1], [3, 5, 4, 0])")
    else:
        inner = {"S/3": POINT["S"] / 3, "1 + S**2": 1 + POINT["S"] ** 2, "sin(S)": np.sin(POINT["S"])}
        with np.errstate(invalid="ignore"):
            check(f"{name}({next(text for text, at in inner.items() if np.isfinite(ORACLE[name](at)).all())})")
        if name in ("sum", "mean", "norm", "softmax", "logsumexp", "max", "min"):
            check(f"{name}(S, axis=0)")
            check(f"{name}(S, axis=-1)")


@pytest.mark.parametrize(
    "text",
    [
        "sum((U@(W@x) - y)**2)",
        "max(x, 0)",
        "max(u, v, 0.1)",
        "[u, v]",
        "[[u, v], [1, 2]]@W",
        "W[0, 1:3]",
        "W[:, -1]",
        "W[0][::2]",
        "U.T[1]",
        "-x**2",
        "2**-1*u",
        "x@x",
        "S@S",
        "u/v - 1.5e-1",
        "cos(pi*u)",
        "outer(y, x)@x",
        "y + S",
        "S*y[0]",
        "1 +\n u",
    ],
)
def test_meaning_is_numpys(text: str) -> None:
    check(text.replace("\n", " "))
    assert parse(text, NAMES).shape == parse(text.replace("\n", " "), NAMES).shape


LEAVES = st.sampled_from([*SHAPES, "(2*pi)", "(0.5 - u)"])


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "@"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]} / (2 + ({p[1]})**2))"),
        st.tuples(
            st.sampled_from(["tanh", "sin", "relu", "sigmoid", "sum", "mean", "norm", "softmax", "abs", "square"]),
            inner,
        ).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(inner, st.sampled_from([".T", "[0]", "[-1]", "[1:]", "[:, 0]", "**2"])).map(
            lambda p: f"({p[0]}){p[1]}"
        ),
        st.tuples(st.sampled_from(["max", "min", "dot", "outer"]), inner, inner).map(
            lambda p: f"{p[0]}({p[1]}, {p[2]})"
        ),
        inner.map(lambda a: f"-{a}"),
    )


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@settings(max_examples=50, deadline=None)
@given(st.recursive(LEAVES, grow, max_leaves=5))
def test_random_expressions_agree_with_numpy(text: str) -> None:
    check(text)


TOKENS = [
    "u",
    "x",
    "W",
    "sum",
    "__import__",
    "lambda",
    ":",
    "=",
    ":=",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    ".T",
    "**",
    "@",
    "9",
    "1e9",
    "'os'",
    "for",
    "in",
    "if",
    "else",
    "{",
    "}",
    "axis",
    "not",
    "\\",
    "#",
    "await",
    "*",
    "-",
]


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.lists(st.sampled_from(TOKENS), max_size=12).map(" ".join),
        st.lists(st.sampled_from(TOKENS), max_size=12).map("".join),
    )
)
def test_garbage_raises_only_expression_errors(text: str) -> None:
    refused, value = None, None
    try:
        value = parse(text, NAMES)
    except ExpressionError as error:
        refused = error
    if refused is None:
        assert isinstance(value, np.ndarray)
        assert all(isinstance(x, sp.Expr) for x in value.flat)
    else:
        assert refused.column >= 1
        assert "; got " in str(refused)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch owned')",
        "().__class__.__bases__",
        "u.__class__",
        "x.tofile('owned')",
        "(lambda: u)()",
        "[s for s in x]",
        "open('owned')",
        "eval('1')",
        "(u := 3)",
        "u if u else x",
        "u < 1",
        "'text'",
        "f'{u}'",
        "1j",
        "True",
        "None",
        "...",
        "not u",
        "~u",
        "u // 2",
        "u % 2",
        "{u: 1}",
        "{1}",
        "sum(x, out=u)",
        "sum(x, **u)",
        "sum(*x)",
        "exp(u, axis=0)",
        "sum(x, axis=u)",
        "sum(x, axis=7)",
        "x[u]",
        "x[None]",
        "x[9]",
        "x[4:]",
        "sum",
        "q",
        "max()",
        "max(x, y)",
        "x @ W",
        "u @ x",
        "x + y",
        "[x, y]",
        "[]",
        "1/0",
        "u/(1 - 1)",
        "log(0)",
        "sqrt(-1)",
        "9**9**9",
        "((9**60)**60)**60",
        "exp(exp(exp(60)))",
        "max(2**exp(exp(6)), u)",
        "1e999",
        "1e-999",
        "9" * 5000,
        "-" * 9000 + "u",
        "-" * 100 + "u",
        "(" * 150 + "u" + ")" * 150 + "+" * 70 + "u",
        "u" + " " * 20000 + "+ 1",
        "u # comment",
        "u; v",
        "u \\\n + 1",
        "u\x00",
        "",
        "outer(x, outer(x, x))",
    ],
)
def test_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "system", lambda command: pytest.fail(f"executed {command}"))
    with pytest.raises(ExpressionError):
        parse(text, NAMES)
    assert not list(tmp_path.iterdir())


def test_size_is_bounded() -> None:
    with pytest.raises(ExpressionError, match="entries at most"):
        parse("outer(a, a)", {"a": entries("a", (MAX_ENTRIES // 10,))})


def test_a_refusal_names_place_text_and_way_out() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("1 + foo(x)", NAMES, "loss.expression")
    error = caught.value
    assert (error.where, error.column, error.text) == ("loss.expression, column 5", 5, "foo(x)")
    assert str(error).startswith("loss.expression, column 5: unknown function 'foo'; got 'foo(x)' (call). ")
    with pytest.raises(ExpressionError, match=r"column 3: unknown name 'q'; got 'q' \(name\). Known names: u, v, x"):
        parse("1+q", NAMES)
    with pytest.raises(ExpressionError, match="must be a scalar"):
        parse_scalar("x", NAMES)
    with pytest.raises(ExpressionError, match="must be a text"):
        parse(3, NAMES)  # type: ignore[arg-type]


def test_numbers_are_exact() -> None:
    assert parse_scalar("0.1 + 1e-3", {}) == sp.Rational(101, 1000)
    assert parse_scalar("2**-2", {}) == sp.Rational(1, 4)


def test_relu_is_ours_and_softmax_is_shift_invariant() -> None:
    assert parse_scalar("relu(u)", NAMES) == relu(NAMES["u"].item())
    value = parse_scalar("logsumexp(y)", NAMES)
    assert sp.simplify(sp.Add(*(sp.diff(value, s) for s in NAMES["y"]))) == 1
    value = parse_scalar("softmax(y)[0]", NAMES)
    assert sp.simplify(sp.Add(*(sp.diff(value, s) for s in NAMES["y"]))) == 0


@pytest.mark.parametrize("module", [parser, vocabulary])
def test_the_module_never_executes_text(module: ModuleType) -> None:
    assert module.__file__
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    functions = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
    called = {f.id for f in functions if isinstance(f, ast.Name)} | {
        f.attr for f in functions if isinstance(f, ast.Attribute)
    }
    assert not called & {
        "eval",
        "exec",
        "compile",
        "sympify",
        "S",
        "parse_expr",
        "__import__",
        "loads",
        "lambdify",
    }
