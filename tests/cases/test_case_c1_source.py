"""Case C1: no text of a user's becomes source. Names that are statements, in every place where source is made."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SGD, simulate, train
from symbolic import SDE, Dataset, Loss, Normal
from symbolic.codegen.prepare import prepare
from symbolic.codegen.printing import ScalarPrinter
from symbolic.functions.numeric import Numeric
from symbolic.problem.optimizer import cosine, t, warmup
from tests.commands import GOOD, opened, run

CODE = "__import__('pathlib').Path('canary').touch()"
HOSTILE = [
    f'x"""\n{CODE}\n"""',
    f'"""; {CODE}; """',
    f"'''\n{CODE}\n'''",
    "C:\\new\\x\\N{BULLET}\\",
    f"{{{CODE}}}",
    f"lambda: {CODE}",
]
PRINTABLE = [name.replace("\n", ";").replace(" ", "") for name in HOSTILE]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob("canary*"))


def problem(name: str, *labels: str) -> Loss:
    """The same loss, whatever it is called. Labels keep the order of the letters a, b, x, so that sums stay in
    order."""
    a, b, x = (sp.Symbol(label, real=True) for label in labels or ("a", "b", "x"))
    return Loss((a * b * x - 1) ** 2 + a**4, [a, b], {x: Normal(0, 1)}, name=name)


def emitted(loss: Loss, *observables: str) -> str:
    named = dict.fromkeys(observables, loss.theta[0] ** 2)
    return prepare(loss, "sgd-momentum", named).module.text


@pytest.mark.parametrize("name", PRINTABLE)
def test_case_c1_the_text_is_the_same_under_any_name(name: str) -> None:
    assert emitted(problem(name), f"o{name}") == emitted(problem("plain"), "o")
    hostile = problem("plain", f"a{name}", f"b{name}", f"x{name}")
    assert emitted(hostile) == emitted(problem("plain"))


@pytest.mark.parametrize("name", PRINTABLE)
@pytest.mark.parametrize("scheme", ["euler-maruyama", "milstein", "adaptive-euler", "orbit-splitting"])
def test_case_c1_an_sde_is_the_same_under_any_name(name: str, scheme: str) -> None:
    texts = []
    for label in ("plain", name):
        x, mu = sp.Symbol(f"x{label}", real=True), sp.Symbol(f"mu{label}", real=True)
        sde = SDE([x], [mu * x], [[x / 2]], name=label, parameters=[mu])
        module = prepare(sde, scheme, {f"o{label}": x**2 + sde.W[0]}).module
        texts.append(module.text)
        assert str(module.manifest["name"]).startswith(label)
    assert texts[0] == texts[1]


ALLOWED = re.compile(
    r"[xnpcvz]\d+|[xnptzwihFcr]|np|math|out|weight|rows|LANES|GROUP"
    r"|step|observe|accumulate|sweep|pace|range|abs|float|j\d|empty|float32|float64"
)


def assert_only_ours(text: str) -> None:
    """Every identifier of the text is one that the emitter has; its only string is the first line."""
    tree = ast.parse(text)
    strings = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, (str, bytes))]
    first = str(strings[0].value)
    assert len(strings) == 1 and re.fullmatch(r"A step map as emitted text, one block of \d+ paths\.", first)
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    assert not [name for name in used if not ALLOWED.fullmatch(name)]
    reached = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert reached <= {"float32", "inf", "nan", "sqrt", "exp", "log", "tanh", "sin", "cos", "erf", "atan"}
    assert {type(n) for n in tree.body} <= {ast.Expr, ast.Import, ast.Assign, ast.FunctionDef}


@pytest.mark.parametrize("scheme", ["sgd", "sgd-momentum", "euler-maruyama"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_case_c1_the_text_holds_nothing_but_ours(scheme: str, dtype: str) -> None:
    a, b, x = sp.symbols(f"{CODE.replace(',', '')}a b'''x x\\", real=True)
    fit = (sp.tanh(a * x) + sp.Max(a, b) * sp.exp(-(b**2)) + sp.pi * sp.erf(a) - 1) ** 2
    loss = Loss(fit, [a, b], Dataset({x: [0.1, 0.2, 0.7]}), name=PRINTABLE[0])
    assert_only_ours(prepare(loss, scheme, {PRINTABLE[1]: sp.Piecewise((a, b > 0))}, dtype).module.text)


@pytest.mark.parametrize("value", [sp.oo, -sp.oo, sp.nan])
def test_case_c1_numbers_that_are_not_finite_are_named(value: sp.Expr) -> None:
    printed = ScalarPrinter({})(value)
    assert_only_ours(f'"""A step map as emitted text, one block of 64 paths."""\nx = {printed}')
    found = eval(printed, {"F": float, "math": __import__("math")})
    assert np.array_equal(found, float(value), equal_nan=True)


@pytest.mark.parametrize("value", [sp.Integer(10) ** 400, sp.Float("1e400")])
def test_case_c1_numbers_out_of_range_are_refused(value: sp.Expr) -> None:
    with pytest.raises(ValueError, match="emit: a number must be within float64's range"):
        ScalarPrinter({})(value)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("command", ["simulate", "train", "derive"])
def test_case_c1_a_name_in_a_spec_is_a_name(tmp_path: Path, name: str, command: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    Path("spec.toml").write_text(f'name = "{quoted}"\n{GOOD}')
    out = () if command == "derive" else ("-o", "out.nc")
    done = run(command, "spec.toml", *out)
    if "\n" in name:
        assert done.exit_code == 2 and "name: a name must be printable" in done.stderr and done.stderr.count("\n") == 1
    else:
        assert done.exit_code == 0, done.stderr
        assert command == "derive" or opened("out.nc").attrs["name"] == name


@pytest.mark.parametrize("name", PRINTABLE[:3])
def test_case_c1_hostile_names_run_to_the_same_numbers(name: str) -> None:
    runs = []
    for label in ("plain", name):
        loss = problem(label, f"a{label}", f"b{label}", f"x{label}")
        start, C = {f"a{label}": 0.5, f"b{label}": 0.8}, {f"C{label}": loss.theta[0] ** 2}
        found = train(
            loss, SGD(0.01), start=start, steps=5, paths=4, save_at=2, observables=C, events={f"e{label}": -1}
        )
        runs.append(found[f"C{label}"].values.tobytes() + found[f"b{label}"].values.tobytes())
    assert runs[0] == runs[1]


@pytest.mark.parametrize("name", PRINTABLE)
def test_case_c1_undefined_functions_do_not_reach_source(name: str) -> None:
    """A schedule, an observable and a loss with a function whose name is a statement."""
    act, u, x = sp.Function(name), sp.Symbol("u", real=True), sp.Symbol("x", real=True)
    loss = Loss((u * x - 1) ** 2, [u], {x: Normal(0, 1)})
    arguments: dict[str, Any] = {"start": {u: 1.0}, "steps": 3, "paths": 2}
    with pytest.raises(ValueError, match="numeric: every function must have a form here"):
        train(loss, SGD(0.1, schedule=1 + act(t)), **arguments)
    with pytest.raises(ValueError, match="every function must have a scalar form|of functions that are known"):
        train(loss, SGD(0.1), observables={"o": act(u)}, **arguments)
    with pytest.raises(ValueError, match="scalar form|functions|no rule"):
        train(Loss((act(u) * x - 1) ** 2, [u], {x: Normal(0, 1)}), SGD(0.1), **arguments)


@pytest.mark.parametrize("name", PRINTABLE)
def test_case_c1_bound_symbols_do_not_reach_source(name: str) -> None:
    """The index of a sum is not free; SymPy's lambdify would write it into source."""
    k, z = sp.Symbol(name, integer=True), sp.Symbol(name + "z", real=True)
    total = Numeric([sp.Sum(k * z * t, (k, 1, 3))], [z, t])
    assert total([2.0, 5.0]).tolist() == [60.0]
    assert SGD(0.1, schedule=sp.Sum(k * t, (k, 1, 3))).factor(np.array([0.5, 1.0])).tolist() == [3.0, 6.0]


@pytest.mark.parametrize("text", [CODE, f"({CODE}, 5)[1]", "exec('import os')", "5"])
def test_case_c1_texts_in_python_are_not_evaluated(text: str) -> None:
    u, x, X = sp.symbols("u x X", real=True)
    loss = Loss((u * x - 1) ** 2, [u], {x: Normal(0, 1)})
    calls = [
        lambda: warmup(text),  # type: ignore[arg-type]
        lambda: cosine(5.0, text),  # type: ignore[arg-type]
        lambda: SGD(text),  # type: ignore[arg-type]
        lambda: Normal(text, 1),
        lambda: Normal(0, covariance=[[text]]),
        lambda: Loss(text, [u], {x: Normal(0, 1)}),
        lambda: Loss((u * x) ** 2, [text], {x: Normal(0, 1)}),
        lambda: SDE([X], [text], [[1]]),
        lambda: SDE([X], [X], [[text]]),
        lambda: SDE([X], lambda x, t: [text], [[1]]),
        lambda: simulate(SDE([X], [-X], [[1]]), start={X: 1.0}, time=1.0, observables={"o": text}),
    ]
    parsed = [
        lambda: SGD(0.1, schedule=text),
        lambda: simulate(loss, SGD(0.1), start={u: 1.0}, time=1.0, observables={"o": text}),
        lambda: simulate(loss, SGD(0.1), start={u: 1.0}, time=1.0, events={"o": text}),
    ]
    for call in [*calls, *([] if text == "5" else parsed)]:  # read by a whitelist, which takes numbers
        with pytest.raises(ValueError):
            call()


def test_case_c1_nothing_evaluates_text() -> None:
    """lambdify, which writes source and runs it, nowhere; sympify strictly everywhere; eval, exec and compile of text
    nowhere."""
    found = []
    for path in sorted(p for room in ("symbolic", "sde") for p in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "lambdify":
                found.append(f"{path.name}:{node.lineno} lambdify")
            if not isinstance(node, (ast.Call, ast.Attribute)):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else node.attr
            strict = isinstance(node, ast.Call) and any(k.arg == "strict" for k in node.keywords)
            if name == "sympify" and isinstance(node, ast.Call) and not strict:
                found.append(f"{path.name}:{node.lineno} sympify")
            plain = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if plain and name in ("eval", "exec", "compile", "parse_expr", "lambdify", "sympify"):
                found.append(f"{path.name}:{node.lineno} {name}")
    assert found == []
