"""One schedule in every form, and what the theory makes of its end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from sde.spec.problem_file import SpecError, parse_spec
from symbolic import SGD, InputError, Loss, Normal, cosine, derive, library, warmup
from symbolic.problem.optimizer import t

SPEC = """
[parameters]
u = []
w = []
[data]
x = {{ law = "normal" }}
[loss]
expression = "(u*w*x - x)**2"
[sgd]
schedule = {}
"""
FORMS = {
    "expression": warmup(5),
    "text": "warmup(5)",
    "other text": "min(t/5, 1)",
    "function": lambda time: sp.Min(time / 5, 1),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_schedule_is_the_same_in_every_form(form) -> None:
    assert SGD(0.1, schedule=form).schedule == sp.Min(t / 5, 1)
    if isinstance(form, str):
        assert parse_spec(SPEC.format(f'"{form}"')).sgd.schedule == sp.Min(t / 5, 1)


@pytest.mark.parametrize("value", [1, 0.5, sp.Rational(1, 2), np.float64(0.25)])
def test_a_number_is_a_constant_schedule(value) -> None:
    sgd = SGD(0.1, schedule=value)
    np.testing.assert_allclose(sgd.factor(np.array([0.0, 3.0])), float(value))
    assert parse_spec(SPEC.format(float(value))).sgd.schedule == float(value)


def test_texts_combine() -> None:
    assert SGD(0.1, schedule="warmup(5)*cosine(100, 1/10)").schedule == warmup(5) * cosine(100, sp.Rational(1, 10))


@pytest.mark.parametrize(
    "bad, words",
    [
        ("warmup(t)", "must be a number"),
        ("warmup()", "warmup takes one argument"),
        ("cosine(1, 2, 3)", "cosine takes 1 to 2 arguments"),
        ("wormup(5)", "Did you mean 'warmup'"),
        ("u", "unknown name 'u'"),
        ("warmup(0)", "not a finite real number"),
        ("__import__('os')", "unknown function"),
        (lambda time: min(time / 5, 1), "sympy.Min"),
        (lambda a, b: a, "must take SymPy's t"),
        (lambda time: np.random.random(), "the same twice"),
        (True, "alone; got True"),
        ([1], "alone; got [1]"),
        (sp.Symbol("t"), "Its t must be"),
    ],
)
def test_a_bad_schedule_is_refused(bad, words: str) -> None:
    with pytest.raises(InputError) as error:
        SGD(0.1, schedule=bad)
    assert words in str(error.value) and str(error.value).startswith("SGD.schedule")
    if isinstance(bad, str):
        with pytest.raises(SpecError) as told:
            parse_spec(SPEC.format(f'"{bad}"'))
        assert words in str(told.value)


def test_functions_of_schedules_belong_to_schedules() -> None:
    with pytest.raises(SpecError, match="unknown function 'warmup'"):
        parse_spec(SPEC.format("1").replace("u*w*x - x", "u*w*x - warmup(5)"))


THEORY, AT = derive(library.rescaling()), {"u": 1.2, "w": 0.6}


def test_equilibrium_takes_the_end_of_a_schedule() -> None:
    sgd = SGD(0.02, weight_decay=0.01, schedule="warmup(5)*cosine(30, 0.25)")
    held, found = THEORY.equilibrium(AT, SGD(0.02 * 0.25, weight_decay=0.01)), THEORY.equilibrium(AT, sgd)
    assert found[0].lambda_star == pytest.approx(held[0].lambda_star, rel=1e-9)
    assert found[0].rate == pytest.approx(held[0].rate * 0.25, rel=1e-9)  # per unit of time at the base rate


def test_equilibrium_at_a_time_of_a_schedule() -> None:
    sgd = SGD(0.02, weight_decay=0.01, schedule="warmup(5)")
    early, late = THEORY.equilibrium(AT, sgd, at_time=1.0), THEORY.equilibrium(AT, sgd)
    assert early[0].rate == pytest.approx(THEORY.equilibrium(AT, replace(sgd, schedule=0.2))[0].rate, rel=1e-9)
    assert late[0].rate == pytest.approx(THEORY.equilibrium(AT, replace(sgd, schedule=None))[0].rate, rel=1e-9)
    assert early[0].rate < late[0].rate / 4


@pytest.mark.parametrize(
    "schedule, words", [("sin(t) + 2", "no value to end at"), ("cosine(5)", "must be positive"), ("t", "no value")]
)
def test_equilibrium_of_a_schedule_that_does_not_settle_is_refused(schedule: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        THEORY.equilibrium(AT, SGD(0.02, schedule=schedule))
    assert THEORY.equilibrium(AT, SGD(0.02, schedule=schedule), at_time=1.0)[0].rate > 0


def test_time_is_no_symbol_of_the_loss() -> None:
    """A loss's own t would be the time of the schedule."""
    w, x = sp.symbols("w x", real=True)
    for theta, z in (([t, w], {x: Normal(0, 1)}), ([w], {x: Normal(0, 1), t: Normal(0, 1)})):
        loss = Loss((t * w * x - 1) ** 2, theta, z)
        with pytest.raises(ValueError, match="its t is time; got a loss that calls one of its own symbols t"):
            SGD(0.1, schedule="min(t/5, 1)").rates(loss)
        assert SGD(0.1, schedule=0.5).rates(loss).schedule == 0.5
