"""Programs of paths that stop, jump or are reset: every function compiled against its own text as plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, Jump
from sde.api import passages
from sde.engine.program import Program, import_text, load
from sde.settings import Gather
from symbolic import Laplace, Normal, integral, running, table
from symbolic.codegen.prepare import prepare
from symbolic.library import LIBRARY
from symbolic.problem.optimizer import SGD
from symbolic.schemes import find

X, Y, Z, V, s = sp.symbols("X Y Z V s", real=True)
HALF = sp.Rational(1, 2)
NOISE = [[1 + X**2 / 4, s], [Y / 2, sp.cos(X)]]
PLANE = SDE([X, Y], [Y - X**3 + s, sp.sin(X) - Y], NOISE, time=s)
JUMPING = SDE(
    [X, Y],
    PLANE.drift_vector,
    NOISE,
    time=s,
    jumps=[
        Jump({X: X + Z * Y, Y: Y - V}, rate=1 + X**2 * s, sizes={Z: Normal(0, 1), V: Laplace(0, 2)}),
        Jump({X: X / 2}, when=X > 2),
        Jump({Y: -Y, X: X + s}, when=X**2 + Y**2 > 4),
        Jump({Y: Y + 1}, at=[0.5]),
    ],
)
LOSS = LIBRARY["rescaling"].build()
EVENTS: dict[str, Any] = {"out": X**2 + Y**2 > 1, "up": X - s, "far": X * Y + X > 3}
PROBLEMS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "stops": (PLANE, "euler-maruyama", {"events": EVENTS, "stop": "first"}),
    "stops at one": (PLANE, "euler-maruyama", {"events": EVENTS, "stop": ["up"]}),
    "after steps": (PLANE, "euler-maruyama", {"events": EVENTS, "stop": "first", "crossings": "steps"}),
    "dated": (SDE([X], [1], [[1]], time=s), "milstein", {"events": {"up": X > 1, "down": -1 - X}}),
    "jumps": (JUMPING, "euler-maruyama", {"events": {"low": X < -1}, "stop": "first"}),
    "jumps alone": (SDE([X], [table(s, [0, 1], [1, 3])], [[0]], time=s, jumps=[Jump({X: 0}, rate=X)]), "milstein", {}),
    "carried": (
        PLANE,
        "euler-maruyama",
        {
            "events": {"fell": running(max, X) - X > 1, "much": integral(X**2) > 2, "low": running(min, X * Y) < -1},
            "stop": ["fell"],
            "observables": {"high": running(max, X), "area": integral(X**2), "B": PLANE.W[0]},
        },
    ),
    "carried over jumps": (JUMPING, "euler-maruyama", {"observables": {"high": running(max, X), "area": integral(Y)}}),
    "stratonovich": (PLANE.to("stratonovich"), "heun", {"events": {"out": X**2 + Y**2 > 1}, "stop": "first"}),
    "coupled": (SDE([X, Y], [Y, -4 * X - Y], [[0], [1]]), "exponential-coupled", {"events": {"up": X > HALF}}),
    "implicit": (SDE([X], [-(X**3)], [[HALF]]), "implicit-euler", {"events": {"up": X > 1}, "stop": "first"}),
    "at or above 0": (
        SDE([X], [X * (1 - X)], [[X / 2]], domain={X: "nonnegative"}),
        "log-euler",
        {"events": {"up": X > 1}, "stop": "first", "observables": {"square": X**2}},
    ),
    "between walls": (
        SDE([X, Y], [-X, X - Y], [[1, 0], [0, HALF]], domain={X: ("reflect", -1, 1), Y: ("absorb", -1, sp.oo)}),
        "euler-maruyama",
        {"events": {"up": Y > 1}, "stop": "first"},
    ),
    "loss": (LOSS, "euler-maruyama", {"events": {"low": HALF - LOSS.theta[1]}, "stop": "first", "crossings": "bridge"}),
}
ROLES = {"step", "observe", "watch", "reach", "arrive", "change", "accumulate"}
QUICK = {("jumps", "float64"), ("loss", "float64")}
CASES = [*((name, "float64") for name in PROBLEMS), *((name, "float32") for name in ("stops", "jumps", "carried"))]
LOOSE = {"coupled": 1e-10}
"""What is left of its noise is a difference of two that are nearly one in short steps."""


def made(name: str, dtype: str) -> tuple[Program, Any, passages.Passages, np.ndarray]:
    """The program, its text as Python, what it watches and its numbers."""
    problem, scheme, options = PROBLEMS[name]
    gather = Gather(**options)
    sgd = SGD(0.1) if problem is LOSS else None
    watch = passages.passages(problem, sgd, gather, find(scheme)[0])
    assert watch is not None
    prepared = prepare(problem, scheme, gather.observables, dtype, watched=watch.watched)
    numbers = np.concatenate([[0.1] * (problem is LOSS), prepared.table, [1.0]])
    program = load(prepared.module.text, prepared.module.manifest)
    return program, import_text(prepared.module.text), watch, numbers


@pytest.mark.parametrize(
    ("name", "dtype"), [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in CASES]
)
def test_compiled_functions_agree_with_their_text(name: str, dtype: str) -> None:
    """On a block of random lanes, each with a clock of its own, some of which stand still or meet no level: 1e-13
    relative to what they give in float64, 2e-5 in float32."""
    program, text, watch, numbers = made(name, dtype)
    lanes, states, inputs = program.lanes, program.states, program.native.inputs
    rng, levels = np.random.default_rng(1), len(watch.hybrid.ends)
    h = np.where(np.arange(lanes) % 5 == 0, 0.0, 0.1 * rng.random(lanes))

    def rows(n: int) -> np.ndarray:
        return 1.5 * rng.normal(size=n * lanes)

    x, y, t = rows(states), rows(states), 2 * rng.random(lanes)
    n = rows(inputs) * np.tile(np.sqrt(h), inputs)
    z, w = rows(program.native.data), rng.random(lanes)
    bents = sum(row >= 0 for row in program.manifest["bent"])
    e = np.concatenate([rng.integers(0, levels + 1, lanes), rng.random(lanes), rng.normal(size=lanes), 0.01 + h])
    places = np.concatenate([rng.exponential(size=bents * lanes), rng.integers(0, 2, lanes)])
    which, sizes = rng.integers(0, len(watch.hybrid.sizes) + 1, lanes), rows(len(watch.watched.sizes))
    calls = {
        "step": ((x, n, h, t, numbers), 0),
        "observe": ((x, t, numbers, rows(program.observables)), 3),
        "watch": ((x, t, numbers, rows(2 * levels + len(watch.hybrid.clocks))), 3),
        "reach": ((y, x, places, h, t, numbers, rows(6 * bents)), 6),
        "arrive": ((y, x, e, h, t, numbers), 1),
        "change": ((x, which, sizes, t, numbers), 0),
        "accumulate": ((x, z, w, n, numbers), 3),
    }
    there = {role for role in calls if hasattr(text, role)}
    assert there == set(program.compiled) - {"sweep"} and {"step", "observe", "watch"} <= there
    assert ("arrive" in there) == (levels > 0 and watch.crossings == "bridge")
    assert ("reach" in there) == (bents > 0)
    assert ("change" in there) == (len(watch.hybrid.sizes) > 0)
    for role in there:
        given, written = calls[role]
        arrays = [np.array(a, dtype=dtype) for a in given]
        plain = [a.copy() for a in arrays]
        with np.errstate(all="ignore"):
            getattr(text, role)(*plain)
        function = program.compiled[role].ctypes
        function(*(a.ctypes.data_as(kind) for a, kind in zip(arrays, function.argtypes, strict=True)))
        found, expected = arrays[written], plain[written]
        finite = np.isfinite(expected)
        assert np.array_equal(np.isfinite(found), finite) and finite.mean() > 0.4, role
        off = np.abs(found - expected)[finite] / (1 + np.abs(expected[finite]))
        assert off.max() <= (LOOSE.get(name, 1e-13) if dtype == "float64" else 2e-5), role
        assert role == "step" or not np.array_equal(expected, np.array(given[written], dtype=dtype)), role
        kept = [k for k in range(len(arrays)) if k != written]
        assert all(np.array_equal(arrays[k], plain[k], equal_nan=True) for k in kept), role


def test_lanes_that_meet_nothing_stay() -> None:
    """In the text: where no level is met, and where no change is made, the state is the one there was."""
    program, text, watch, numbers = made("jumps", "float64")
    lanes = program.lanes
    x, y = np.random.default_rng(2).normal(size=(2, 2 * lanes))
    before, nothing = x.copy(), np.zeros(2 * lanes)
    text.arrive(y, x, np.zeros(4 * lanes), np.full(lanes, 0.1), np.zeros(lanes), numbers)
    assert np.array_equal(x, before)
    sizes = np.ones(len(watch.watched.sizes) * lanes)
    text.change(x, nothing[:lanes], sizes, np.zeros(lanes), numbers)
    assert np.array_equal(x, before)


@pytest.mark.slow
def test_every_function_of_such_programs_is_tried() -> None:
    tried = {role for name in PROBLEMS for role in made(name, "float64")[0].compiled}
    assert tried - {"sweep"} == ROLES
