"""[sde] specs: the bits of the same SDE in Python, on the command line with sweeps and resumption, refusals in one line
each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sde import SDE, Jump, simulate
from sde.spec.problem_file import SpecError, parse_spec
from symbolic import Normal, Uniform, integral, running
from symbolic.errors import sentences
from tests.commands import opened, run
from tests.fuzz.texts import TEXT, document

pytestmark = pytest.mark.usefixtures("folder")

PLAIN: dict[str, Any] = {
    "name": "two",
    "sde": {
        "states": {"X": [2], "v": []},
        "parameters": ["k", "s"],
        "where": {"pull": "-k*X"},
        "drift": {"X": "pull + [0, v]", "v": "sin(t) - v"},
        "diffusion": {"X": ["s", "s/2"], "v": 0.25},
        "correlation": [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]],
    },
    "run": {
        "start": {"X": [1.0, 2.0], "v": 0.5},
        "parameters": {"k": [1.0, 2.0], "s": 0.3},
        "time": 1.0,
        "dt": 0.05,
        "paths": 300,
        "save_at": 5,
        "check": False,
        "observables": {"top": "running(max, v)", "sum": "integral(X)", "W2": "W[2]**2"},
        "events": {"low": "X[1] < 1.5"},
    },
}


def in_python() -> tuple[SDE, dict[str, Any]]:
    x, y, v, t, k, s = sp.symbols("X[0] X[1] v t k s", real=True)
    quarter = sp.Rational(1, 4)
    strengths = [[s, 0, 0], [0, s / 2, 0], [0, 0, quarter]]
    how: dict[str, Any] = {"time": t, "name": "two", "parameters": [k, s]}
    correlation = [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]
    made = SDE([x, y, v], [-k * x, v - k * y, sp.sin(t) - v], strengths, correlation=correlation, **how)
    seen = {"top": running(max, v), "sum": np.array([integral(x), integral(y)]), "W2": made.W[2] ** 2}
    return made, {"observables": seen, "events": {"low": y < 1.5}, "parameters": {k: 1.0, s: 0.3}}


def spec(**changes: Any) -> str:
    return document({**PLAIN, **changes})


def test_a_spec_has_the_bits_of_the_same_equation_in_python() -> None:
    Path("two.toml").write_text(spec())
    assert run("simulate", "two.toml", "-o", "run.nc", "--parameters", "k = 1.0").exit_code == 0
    made, how = in_python()
    keep = {key: PLAIN["run"][key] for key in ("time", "dt", "paths", "save_at", "check")}
    same = simulate(made, start=dict(zip(made.states, [1.0, 2.0, 0.5], strict=True)), **keep, **how)
    data = opened("run.nc")
    assert data.X.dims == ("statistic", "time", "X_0")
    for i in range(2):
        assert np.array_equal(data.X.values[..., i], same[f"X[{i}]"].values)
    for name in ("v", "top", "sum", "W2", "low_count", "low_time"):
        assert np.array_equal(data[name].values, same[name].values, equal_nan=True), name


def test_a_sweep_is_resumed_from_its_folder() -> None:
    Path("two.toml").write_text(spec())
    assert run("simulate", "two.toml", "-o", "whole.nc", "--checkpoint", "c", "--workers", 1).exit_code == 0
    assert opened("whole.nc").v.dims == ("k", "statistic", "time")
    (Path("c") / "run-00001").unlink()
    Path("two.toml").write_text("changed since")
    assert run("resume", "c", "-o", "again.nc").exit_code == 0
    assert opened("again.nc").attrs["result_hash"] == opened("whole.nc").attrs["result_hash"]
    refused = run("resume", "c", "--report", "r.html")
    assert refused.exit_code == 2 and "writes a result" in refused.stderr
    assert "noetherflow simulate" in run("show", "again.nc").stdout


@pytest.mark.parametrize("command", ["derive", "train", "verify", "compare", "calibrate"])
def test_what_needs_a_loss_says_so_in_a_line(command: str) -> None:
    Path("two.toml").write_text(spec())
    refused = run(command, "two.toml", *(("-o", "x.nc") if command == "train" else ()))
    assert refused.exit_code == 2 and refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("spec: this needs a loss and its SGD; got two.toml, an SDE by itself")


@pytest.mark.parametrize(
    "given, wanted",
    [
        (("--learning-rate", 0.1), "options: an SDE stands by itself; got learning_rate"),
        (("--parameters", "k ="), "--parameters: must be values as in TOML; got 'k ='"),
        (("--parameters", "kk = 1"), "run.parameters[kk]: must name a parameter of the SDE"),
        (("--noise", "exact-law"), "noise: 'exact-law' draws a step of a loss"),
    ],
)
def test_options_that_do_not_fit(given: tuple[Any, ...], wanted: str) -> None:
    Path("two.toml").write_text(spec())
    refused = run("simulate", "two.toml", "-o", "x.nc", *given)
    assert refused.exit_code == 2 and wanted in refused.stderr, refused.stderr


def test_shared_noises_domains_and_jumps_are_those_of_python() -> None:
    x, y, z, t, a = sp.symbols("x y z t a", real=True)
    text = """
    [sde]
    states = ["x", "y"]
    parameters = ["a"]
    interpretation = "stratonovich"
    drift = { x = "-x", y = 0 }
    diffusion = { x = ["a", "0.5*x"] }
    domain = { y = ["reflect", -1, inf] }
    [[sde.jumps]]
    changes = { x = "x*exp(z)", y = "y + z" }
    rate = "2 + y**2"
    sizes = { z = { law = "normal", mean = 0, std = 0.1 } }
    [[sde.jumps]]
    changes = { x = 0 }
    when = "x > 1 + t"
    [[sde.jumps]]
    changes = { x = "x + 1" }
    at = [0.25, 0.5]
    [run]
    start = { x = { law = "uniform", low = 0, high = 1 }, y = 1.0 }
    parameters = { a = { law = "normal", mean = 1, std = 0.1 } }
    """
    found = parse_spec(text)
    (made, run_) = (found.problem, found.run)
    assert isinstance(made, SDE) and made.interpretation == "stratonovich"
    assert made.diffusion_matrix == sp.Matrix([[a, x / 2], [0, 0]]) and list(made.drift_vector) == [-x, 0]
    assert made.domain[y].given == ("reflect", -1, sp.oo)
    jumps = [
        Jump({x: x * sp.exp(z), y: y + z}, rate=2 + y**2, sizes={z: Normal(0, 0.1)}),
        Jump({x: sp.S.Zero}, when=x - 1 - t),
        Jump({x: x + 1}, at=[0.25, 0.5]),
    ]
    for one, other in zip(made.jumps, jumps, strict=True):
        assert (one.changes, one.rate, one.at) == (other.changes, other.rate, other.at)
        assert one.when is None or sp.expand(one.when - other.when) == 0
        assert list(one.sizes) == list(other.sizes) and one.kinds == other.kinds
    assert isinstance(run_["start"]["x"], Uniform) and isinstance(run_["parameters"]["a"], Normal)


WRONG: dict[str, tuple[str, Any, str]] = {
    "drift": ("sde.drift.v", "vv", "sde.drift.v, column 1: unknown name 'vv'; got 'vv' (name). * Did you mean 'v'?"),
    "no drift": ("sde.drift", {"X": "X"}, "sde.drift.v: every state needs one; got nothing"),
    "drift of nothing": ("sde.drift.u", "1", "sde.drift.u: must name a state"),
    "shape": ("sde.drift.v", "X", "sde.drift.v: must have the state's shape [], here [2]"),
    "mixed": ("sde.diffusion.v", ["1", "2"], "sde.diffusion: states have noises of their own * or all share"),
    "width": ("sde.diffusion.X", [["1", "2"]] * 3, "sde.diffusion.X: must have the state's shape [2, 2], here [3, 2]"),
    "ragged": ("sde.diffusion.X", ["1", ["2"]], "sde.diffusion.X: entries of a list must have one shape"),
    "correlation": ("sde.correlation", [[1, 2], [2, 1]], "sde.correlation: must have a row and a column for each of"),
    "key": ("sde.drfit", 1, "sde.drfit: unknown key; * Did you mean 'drift'?"),
    "loss beside": ("loss", {"expression": "u"}, "loss: is of a loss, and [sde] stands by itself"),
    "steps": ("run.steps", 10, "run.steps: unknown key"),
    "starts": ("run.start", [{}, {}], "run.start: must be a table with a value per"),
    "taken": ("sde.parameters", ["k", "s", "v"], "sde.parameters.v: a name may stand for one thing only"),
    "functional": ("sde.drift.v", "integral(v)", "unknown function 'integral'"),
    "running": ("run.observables.top", "running(exp, v)", "observables.top, column 1: must be max or min"),
    "relation": ("run.events.low", "X < 1", "events.low: must be one expression, not an array"),
    "domain": ("sde.domain", {"v": "positive"}, 'sde.domain[v]: must be "nonnegative", or a kind of wall'),
    "noise carries it below": ("sde.domain", {"v": "nonnegative"}, "sde.domain[v]: needs noise that vanishes there"),
    "sense": ("sde.interpretation", "Ito", "sde.interpretation: must be 'ito' or 'stratonovich'"),
    "jump": ("sde.jumps", [{"changes": {"v": "0"}}], "sde.jumps[0]: needs changes, and one of rate, at and when"),
    "jump's size": (
        "sde.jumps",
        [{"changes": {"v": "z"}, "rate": 1}],
        "sde.jumps[0].changes.v, column 1: unknown name 'z'",
    ),
    "parameter": ("run.parameters.k", [[1.0]], "run.parameters.k: must be a finite number, several, a law, or"),
    "parameter missing": ("run.parameters", {"k": 1.0}, "run.parameters.s: every parameter of the SDE needs one value"),
    "states": ("sde.states", "X", "sde.states: must list names, or give shapes by name; got 'X' (str)"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_a_mistake_is_told_where_it_is(case: str) -> None:
    place, value, wanted = WRONG[case]
    table: Any = {key: dict(part) if isinstance(part, dict) else part for key, part in PLAIN.items()}
    *path, last = place.split(".")
    inside = table
    for key in path:
        inside[key] = dict(inside.get(key, {}))
        inside = inside[key]
    inside[last] = value
    with pytest.raises(SpecError) as caught:
        parse_spec(document(table))
    assert all(sentences(line) for line in caught.value.errors)
    line = next(line for line in caught.value.errors if wanted.split(" * ")[0] in line)
    assert all(part in line for part in wanted.split(" * ")), line


EXPRESSIONS = st.recursive(
    st.sampled_from(["x", "y", "k", "t", "2", "0.5", "1/3", "pi"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(st.sampled_from(["sin", "exp", "abs", "tanh", "relu"]), inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(st.sampled_from(["max", "min"]), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
    ),
    max_leaves=6,
)


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(drift=EXPRESSIONS, noise=EXPRESSIONS)
def test_coefficients_are_what_their_text_says(drift: str, noise: str) -> None:
    """Against SymPy's own reading of the same texts, at a point."""
    table = {"states": ["x", "y"], "parameters": ["k"], "drift": {"x": drift, "y": 0}, "diffusion": {"x": noise}}
    try:
        made = parse_spec(document({"sde": table})).problem
    except SpecError as error:
        assume("grows too large" not in str(error))
        raise
    names = {str(s): s for s in sp.symbols("x y k t", real=True)}
    names |= {"abs": sp.Abs, "max": sp.Max, "min": sp.Min, "relu": lambda e: sp.Max(e, 0)}
    at = {"x": 0.3, "y": -0.7, "k": 1.1, "t": 0.4}
    assert isinstance(made, SDE)
    x, t = sp.Matrix(made.states), sp.Symbol("t", real=True)
    for text, value in ((drift, made.drift(x, t)[0]), (noise, made.diffusion(x, t)[0, 0])):
        wanted = sp.sympify(text, locals=names).subs({names[n]: v for n, v in at.items()})
        found = value.subs({s: at[s.name] for s in value.free_symbols})
        assert abs(sp.N(found - wanted)) <= 1e-9 * (1 + abs(sp.N(wanted)))


PLACES = [
    *(("sde", key) for key in PLAIN["sde"]),
    *(("sde", key, "v") for key in ("drift", "diffusion", "where", "states", "domain")),
    ("sde", "jumps"),
    *(("run", key) for key in ("parameters", "events", "observables", "start")),
    *(("run", key, "k") for key in ("parameters", "events", "observables")),
]


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(place=st.sampled_from(PLACES), text=TEXT, form=st.sampled_from(["text", "list", "table", "key"]))
def test_any_text_is_read_or_refused_in_sentences(place: tuple[str, ...], text: str, form: str) -> None:
    table: Any = {key: dict(part) if isinstance(part, dict) else part for key, part in PLAIN.items()}
    *path, last = place
    inside = table
    for key in path:
        part = inside.get(key, {})
        inside[key] = dict(part) if isinstance(part, dict) else {}
        inside = inside[key]
    inside[last] = {"text": text, "list": [text], "table": {"a": text}, "key": {text: text}}[form]
    found: tuple[str, ...] = ()
    try:
        parse_spec(document(table).encode("utf-8", "replace").decode())
    except SpecError as error:
        found = error.errors
    assert all(line.isprintable() for line in found)
