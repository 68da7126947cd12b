"""Case A4: a function of (x, t) is one formula for all states and times, or it is refused, naming what it asked and
where."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import convergence
from symbolic import SDE

X, Y = sp.symbols("X Y", real=True)
t, mu = sp.symbols("t mu", real=True)
TABLE = [1.0, 2.0]
generator = np.random.default_rng(3)


def drift(function: Callable[..., Any], states: int = 2) -> SDE:
    return SDE([X, Y][:states], function, np.eye(states).tolist(), parameters=[mu])


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Any, t: Any) -> Any:
        self.calls += 1
        return [-x[0], -self.calls * x[1]]


def branch_on_time(x: Any, t: Any) -> Any:
    if t == 0.5:
        return [x[0], x[1]]
    return [-x[0], -x[1]]


def swallowed(x: Any, t: Any) -> Any:
    try:
        positive = bool(x[0] > 0)
    except TypeError:
        positive = True
    return [x[0] if positive else 0, x[1]]


def drawn_by_a_helper(x: Any, t: Any) -> Any:
    return [helper(x[0]), x[1]]


def helper(value: Any) -> Any:
    return value * random.choice([1, 1, 1, 2])


def memory(seen: list[Any]) -> Callable[..., Any]:
    def function(x: Any, t: Any) -> Any:
        seen.append(t)
        return [len(seen) * x[0], x[1]]

    return function


QUESTIONS: dict[str, tuple[Callable[..., Any], str]] = {
    "time": (branch_on_time, r"whether t == 0\.5 at line \d+ of test_functions_as_coefficients\.py, `if t == 0\.5:`"),
    "state": (lambda x, t: [1 if x[0] == 0 else -x[0], x[1]], r"whether X == 0"),
    "reflected": (lambda x, t: [1 if 0 == x[0] else -x[0], x[1]], r"whether X == 0"),  # noqa: SIM300
    "not equal": (lambda x, t: [1 if x[0] != 0 else 2, x[1]], r"whether X != 0"),
    "truth": (lambda x, t: [1 if x[0] else -x[0], x[1]], "whether X is true"),
    "or": (lambda x, t: [x[0] or 1, x[1]], "whether X is true"),
    "of a formula": (lambda x, t: [1 if sp.sin(t) == 0 else 2, x[1]], r"whether sin\(t\) == 0"),
    "number first": (lambda x, t: [1 if sp.Integer(0) == x[0] else 2, x[1]], "whether 0 == X"),
    "member": (lambda x, t: [1 if x[0] in (0, 1) else 2, x[1]], "whether X == 0"),
    "set": (lambda x, t: [len({x[0], x[1]}), x[1]], "for the hash of X"),
    "and": (lambda x, t: [1 if sp.And(x[0] > 0, t > 1) else 2, x[1]], "is true"),
    "less": (lambda x, t: [1 if x[0] < 0 else 2, x[1]], "whether X < 0 is true"),
    "swallowed": (swallowed, "whether X > 0 is true"),
    "array": (lambda x, t: np.where(x == 0, 1.0, 2.0) * x, "whether X == 0"),
    "any": (lambda x, t: x if np.any(x) else -x, r"whether X is true at line \d+ of test_functions"),
    "max": (lambda x, t: [max(x[0], 0), x[1]], "is true"),
    "sorted": (lambda x, t: sorted(x), "is true"),
    "int": (lambda x, t: [int(t) * x[0], x[1]], "for t as an int"),
    "float": (lambda x, t: [float(x[0]), x[1]], "for X as a float"),
    "round": (lambda x, t: [round(t) * x[0], x[1]], "for t rounded"),
    "index": (lambda x, t: [TABLE[t], x[1]], "TypeError"),
    "parameter": (lambda x, t: [1 if mu == 0 else x[0], x[1]], "whether mu == 0"),
    "closed over": (lambda x, t: [1 if X == 0 else x[0], x[1]], "whether X == 0"),
    "matrix": (lambda x, t: [1 if sp.Matrix(x) == sp.zeros(2, 1) else 0, x[1]], "whether Matrix"),
    "assumed": (lambda x, t: [1 if x[0].is_positive else 2, x[1]], r"what is assumed of a symbol \(\.is_positive\)"),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_case_a4_questions_are_refused(name: str) -> None:
    function, message = QUESTIONS[name]
    with pytest.raises(ValueError, match=rf"SDE\.drift: .*{message}"):
        drift(function)
    assert t != 0.5 and bool(t) and {t: 1}[t] == 1, "SymPy is as it was"


CHANGING: dict[str, tuple[Callable[..., Any], str]] = {
    "numpy's": (lambda x, t: [np.random.rand() * x[0], x[1]], "random numbers"),
    "a coin of numpy's": (lambda x, t: [np.random.randint(2) * x[0], x[1]], "random numbers"),
    "a generator": (lambda x, t: [generator.normal() * x[0], x[1]], r"random numbers \(generator\)"),
    "python's": (lambda x, t: [random.random() * x[0], x[1]], r"random numbers \(random\)"),
    "a helper's": (drawn_by_a_helper, "random numbers"),
    "the clock": (lambda x, t: [time.time() * x[0], x[1]], "the time of day"),
    "a count": (Counter(), r"same formula at every call; got -Y and then -2\*Y"),
    "a memory": (memory([]), "same formula at every call; got X and then 2"),
    "another length": (partial(lambda seen, x, t: [seen.append(1) or x[0]] * len(seen), [0]), "SDE.drift: "),
}


@pytest.mark.parametrize("name", CHANGING)
def test_case_a4_what_changes_from_call_to_call_is_refused(name: str) -> None:
    function, message = CHANGING[name]
    with pytest.raises(ValueError, match=message):
        drift(function)


@pytest.mark.parametrize(
    "function",
    [
        lambda t, y: [-y],
        lambda t, y: -y,
        lambda time, state: [-state],
        lambda s, y: [-y],
        lambda a, b: [-b],
        lambda _, b: [-b],
        partial(lambda k, t, x: [-k * x], 2.0),
    ],
)
def test_case_a4_the_other_order_of_arguments_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"SDE\.drift: a function is called as f\(x, t\)"):
        drift(function, 1)


def test_case_a4_exact_solutions_and_diffusions_are_held_to_the_same() -> None:
    gbm = SDE([X], [X], [[X]])

    def solve(exact: Any) -> None:
        convergence(gbm, exact=exact, start={X: 1.0}, paths=100)

    with pytest.raises(ValueError, match=r"convergence\.exact: .*whether t == 1"):
        solve(lambda x, t, W: [x[0] if t == 1 else 0])
    with pytest.raises(ValueError, match=r"called as f\(x0, t, W\); got f\(t, x, W\)"):
        solve(lambda t, x, W: [x[0]])
    with pytest.raises(ValueError, match=r"convergence\.exact: .*random numbers"):
        solve(lambda x, t, W: [x[0] * np.random.normal()])
    with pytest.raises(ValueError, match=r"SDE\.diffusion: .*whether X == 0"):
        SDE([X], [0], lambda x, t: [[1 if x[0] == 0 else 2]])
    with pytest.raises(ValueError, match=r"SDE\.drift: .*IndexError.*line \d+ of test_functions_as_coefficients"):
        SDE([X], lambda x, t: [x[3]], [[1]])


A = np.array([[1.0, 2.0], [3.0, 4.0]])
FORMULAS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "products": (lambda x, t: [x[0] * x[1], -(x[1] ** 2)], [X * Y, -(Y**2)]),
    "a matrix": (lambda x, t: A @ x, [1.0 * X + 2.0 * Y, 3.0 * X + 4.0 * Y]),
    "the other side": (lambda x, t: x @ A, [1.0 * X + 3.0 * Y, 2.0 * X + 4.0 * Y]),
    "a sum": (lambda x, t: np.array([x.sum(), x.mean()]), [X + Y, (X + Y) / 2]),
    "sympy": (lambda x, t: [sp.sin(x[0]) * t, sp.exp(-x[1])], [t * sp.sin(X), sp.exp(-Y)]),
    "pieces": (lambda x, t: [sp.Piecewise((1, x[0] > 0), (0, True)), 0], [sp.Piecewise((1, X > 0), (0, True)), 0]),
    "guards": (lambda x, t: [sp.Max(x[0], 0), sp.Heaviside(t - 0.5)], [sp.Max(X, 0), sp.Heaviside(t - 0.5)]),
    "absolute": (lambda x, t: np.abs(x), [sp.Abs(X), sp.Abs(Y)]),
    "parameters": (lambda x, t: [mu * x[0], -mu], [mu * X, -mu]),
    "a column": (lambda x, t: sp.Matrix(x) * 2, [2 * X, 2 * Y]),
    "only time": (lambda x, t: [t, sp.sin(t)], [t, sp.sin(t)]),
    "lengths": (lambda x, t: [1 if len(x) == 2 else 2, 0], [1, 0]),
    "powers": (lambda x, t: x**2 - np.dot(x, x), [-(Y**2), -(X**2)]),
    "calculus": (lambda x, t: [sp.diff(-(x[0] ** 4), x[0]), sp.sqrt(x[1] ** 2)], [-4 * X**3, sp.Abs(Y)]),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_case_a4_formulas_are_taken_as_they_are(name: str) -> None:
    function, wanted = FORMULAS[name]
    made = SDE([X, Y], function, [[1], [1]], time=t, parameters=[mu])
    plain = SDE([X, Y], wanted, [[1], [1]], time=t, parameters=[mu])
    assert sp.expand(made.drift_vector - plain.drift_vector) == sp.zeros(2, 1)
