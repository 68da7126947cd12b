"""What docs/limits.md says is not there is refused, in words, and what it says of orders and sizes is the code's."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, Jump, convergence, expectation, simulate
from sde.api.passages import passages
from sde.settings import Gather
from symbolic import InputError, Uniform, running, states
from symbolic.schemes import SCHEMES, walls

TEXT = " ".join((Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8").split())
X, Y, p, t = sp.symbols("X Y p t", real=True)
Z = sp.Symbol("Z")
A, B = states("A", (3,)), states("B", (3,))
OU = SDE([X], [-X], [[1]])
CALLED = SDE([X], [-p * X], [[1]], parameters=[p])
JUMPING = SDE([X], [-X], [[1]], jumps=[Jump({X: X + 1}, rate=1)])
ARRAY = SDE(A, -A, np.ones(3))
STOP: dict[str, Any] = {"events": {"up": X - 1}, "stop": "first"}


def run(sde: SDE, start: Any = None, **changes: Any) -> Any:
    return simulate(sde, **{"start": start or {X: 0.0}, "time": 1.0, "dt": 0.1, "paths": 10, "save_at": 2} | changes)


def branching(x: Any, t: Any) -> Any:
    return [-x[0] if x[0] > 0 else x[0]]


LIMITS: list[tuple[str, Callable[[], Any], str]] = [
    ("complex states", lambda: SDE([Z], [Z * sp.I], [[1]]), "real"),
    ("complex states", lambda: run(OU, start={X: 1j}), "start"),
    ("branches on a state", lambda: SDE([X], branching, [[1]]), "must be one formula"),
    ("functions of NumPy's that arrays do not know", lambda: np.median(A), "median"),
    ("in steps of a given length", lambda: run(OU, scheme="adaptive-euler", **STOP), "runs to its end"),
    ("in steps of a given length", lambda: run(JUMPING, scheme="adaptive-euler"), "runs to its end"),
    ("do not stop (`stop`) under adaptive schemes", lambda: run(OU, scheme="adaptive-milstein", **STOP), "to its end"),
    (
        "events of arrays that name products over an axis",
        lambda: run(ARRAY, start={A: np.ones(3)}, events={"up": A.prod() > 1}, stop="first", crossings="bridge"),
        "product over an axis",
    ),
    (
        "`running` takes what is made entry by entry of one state",
        lambda: run(ARRAY, start={A: np.ones(3)}, observables={"high": running(max, np.ones((3, 3)) @ A)}),
        "entry by entry of one state",
    ),
    (
        "a condition is one number, not an array",
        lambda: SDE(A, -A, np.ones(3), jumps=[Jump({A: 0 * A}, when=A > 1)]),
        "must be one expression",
    ),
    (
        "the parameters of arrays of sizes are the same for all entries",
        lambda: Jump({A: A + B}, rate=1, sizes={B: Uniform(0, [1, 2, 3])}),
        "one number for each parameter",
    ),
    (
        "not for `expectation` and",
        lambda: expectation(JUMPING, X, start={X: 0}, time=1, tolerance=0.1),
        "only simulate",
    ),
    ("and `convergence`", lambda: convergence(JUMPING, start={X: 0}), "only simulate"),
    (
        "Sizes are Normal, Uniform, Bernoulli or Laplace, of numbers",
        lambda: Jump({X: X + Z}, rate=1, sizes={Z: Uniform(0, p)}),
        "number",
    ),
    ("impulses come at numbers from 0 on", lambda: Jump({X: 0}, at=[-1]), "from 0 on"),
    (
        "one condition changes the state in one way",
        lambda: run(SDE([X], [1], [[1]], jumps=[Jump({X: 0}, when=X > 1), Jump({X: 1}, when=X > 1)])),
        "in one way",
    ),
    (
        "none of them streams its paths",
        lambda: run(CALLED, parameters={p: [1.0, 2.0]}, keep="paths", out="no.nc"),
        "no stream in common",
    ),
    ("a dt that divides the time between saves", lambda: run(OU, refine=2, save_at=[0.25, 1.0]), "dt must divide"),
    ("steps that are the same for all paths", lambda: run(OU, refine=2, scheme="adaptive-euler"), "the same for all"),
    ("needs the solution", lambda: convergence(OU, "adaptive-euler", start={X: 0}), "Give the solution"),
    (
        "`expectation` takes neither",
        lambda: expectation(OU, X, start={X: 0}, time=1, tolerance=0.1, scheme="adaptive-euler"),
        "the same for all paths",
    ),
    (
        "that of `adaptive-milstein` is not there",
        lambda: convergence(OU, "adaptive-milstein", start={X: 0}),
        "not a tolerance",
    ),
    (
        "are for noises that commute, in Itô's sense",
        lambda: run(SDE([X, p], [0, 0], [[1, p], [X, 1]]), start={X: 0, p: 0}, scheme="adaptive-milstein"),
        "needs noises that commute",
    ),
    (
        "of numbers, not of parameters",
        lambda: run(
            SDE([X, Y], [p * Y, -p * X], [[0], [1]], parameters=[p]), parameters={p: 1}, scheme="exponential-coupled"
        ),
        "c a number",
    ),
    (
        "no critically damped oscillator, no chain of integrators",
        lambda: run(SDE([X, Y], [Y, -X - 2 * Y], [[0], [1]]), scheme="exponential-coupled"),
        "damped critically",
    ),
    (
        "runs under full truncation where that is to be at or above 0",
        lambda: run(SDE(A, -A, A, domain={A: "nonnegative"}), start={A: np.ones(3)}, scheme="log-euler"),
        "does not step them where states are arrays",
    ),
    (
        "An array has one for all its entries",
        lambda: SDE(A, -A, A, domain={A[0]: "nonnegative"}),
        "must name states",
    ),
    (
        "ends are numbers",
        lambda: SDE([X], [1], [[1]], domain={X: ("reflect", 0, p)}, parameters=[p]),
        "must be numbers",
    ),
    (
        "Domains are in Itô's sense",
        lambda: run(SDE([X], [1], [[X]], "stratonovich", domain={X: ("reflect", 0, 1)}), start={X: 0.5}),
        "which are Ito's",
    ),
    (
        "`convergence` take equations of scalars",
        lambda: convergence(ARRAY, start={A: np.ones(3)}),
        "equations of scalars",
    ),
    (
        "Parameters of each path's own are of equations of scalars",
        lambda: run(SDE(A, -p * A, np.ones(3), parameters=[p]), start={A: np.ones(3)}, parameters={p: Uniform(0, 1)}),
        "must be numbers in an equation of arrays",
    ),
    (
        "Correlations of noises are numbers",
        lambda: SDE([X, Y], [0, 0], [[1, 0], [0, 1]], correlation={(0, 1): p}, parameters=[p]),
        "must be numbers",
    ),
]


@pytest.mark.parametrize(
    ("said", "call", "message"), LIMITS, ids=lambda value: value[:40] if isinstance(value, str) else ""
)
def test_what_is_not_there_is_said_and_refused(said: str, call: Callable[[], Any], message: str) -> None:
    assert said in TEXT
    with pytest.raises(InputError, match=message):
        call()


def test_what_keeps_no_domain_is_named() -> None:
    """Nor do these step arrays."""
    assert "no implicit, exponential, adaptive or splitting scheme keeps one" in TEXT
    steady = ("implicit-euler", "exponential-euler", "exponential-coupled", "orbit-splitting")
    for name in (*steady, "adaptive-euler", "adaptive-milstein"):
        assert not SCHEMES[name].keeps and SCHEMES[name].arrays is None


def test_walls_are_met_at_the_orders_that_are_said() -> None:
    assert "strong order 1/2 (reflect) and 1/4 (absorb)" in TEXT
    assert walls.STRONG["reflect"] == Fraction(1, 2) and walls.STRONG["absorb"] == Fraction(1, 4)


def test_what_asks_for_several_states_is_looked_at_after_steps() -> None:
    assert "So is what asks for several noisy states at once" in TEXT
    for event, how in ((A.min() > 2, "steps"), (A.max() < 0, "steps"), (A.max() > 2, "bridge")):
        found = passages(ARRAY, None, Gather(events={"e": event}, stop="first"), SCHEMES["euler-maruyama"])
        assert found is not None and found.crossings == how
