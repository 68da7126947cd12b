"""Every function that a loss may hold goes through derivation, print, count, record and emitted gradient: a walk over
the registry, so that a new row is walked too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde.engine.program import import_text
from symbolic import Dataset, Loss, Normal, derive
from symbolic.codegen.prepare import prepare
from symbolic.evaluation.tape import Tape
from symbolic.functions.registry import EXPRESSIONS, ROWS, Elementary
from symbolic.symmetry.antiderivatives import antiderivative
from tests.symbolic.losses import network, w, x, y

a = sp.Symbol("a", real=True)


def _of_one(row: Elementary) -> Callable[[Any], Any]:
    if row.fold:
        return lambda q: row.function(q, sp.S.Zero)
    return row.function if row.arity == 1 else lambda q: row.function(q, sp.S.Half)


FUNCTIONS = {row.name: _of_one(row) for row in ROWS if row.derivable} | dict(EXPRESSIONS)
HOMOGENEOUS = {"relu", "Abs", "Max", "Min", "sqrt", "square", "leaky_relu"}
STEPS = {"sign", "step", "Heaviside"}
"""f(w x) of these has a symmetry: a rescaling, or w moves freely."""


def _walk(loss: Loss) -> Any:
    theory = derive(loss, time_limit=20)
    str(theory), theory.to_latex(), theory._repr_html_()
    found = json.loads(json.dumps(theory.to_json()))
    assert "not decided" not in json.dumps(found)
    assert found["undecided"] in ({}, {"conservation_laws": "not known"})
    return theory


@pytest.mark.parametrize("name", FUNCTIONS)
def test_case_b10_a_unit(name: str) -> None:
    """(a f(w x) - y)^2: no affine symmetry unless f is homogeneous or a step."""
    theory = _walk(Loss((a * FUNCTIONS[name](w * x) - y) ** 2, [a, w], {x: Normal(0, 1), y: Normal(0, 1)}))
    laws = int(name in HOMOGENEOUS | STEPS)
    assert theory.certificate.status == "proved"
    assert theory.algebra.dimension == (3 if name in STEPS else laws)
    assert (theory.independent_charges, theory.conservation_laws) == (laws, laws)
    assert theory.further_laws == ()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_case_b10_a_function_of_one_parameter(name: str) -> None:
    """(a f(w) - y)^2: a^2/2 - int f/f' dw is a law; where it is told, its gradient is orthogonal to the loss's."""
    f = FUNCTIONS[name](w)
    theory = _walk(Loss((a * f - y) ** 2, [a, w], {y: Normal(0, 1)}))
    for law in theory.further_laws:
        along = sp.diff(law, a) * f + sp.diff(law, w) * a * sp.diff(f, w)
        at = along.subs({a: sp.Rational(7, 5), w: sp.Rational(3, 10)})
        assert abs(sp.N(at, 30)) < 1e-20


@pytest.mark.parametrize("name", FUNCTIONS)
def test_case_b10_the_emitted_gradient(name: str) -> None:
    """One step of SGD against differences of the loss."""
    loss = Loss((a * FUNCTIONS[name](w * x) - y) ** 2, [a, w], Dataset({x: np.linspace(0.2, 0.9, 8), y: np.ones(8)}))
    module = prepare(loss, "sgd").module
    plain, m = import_text(module.text), dict[str, Any](module.manifest)
    rng, lanes = np.random.default_rng(5), plain.LANES
    start, z = rng.uniform(0.3, 0.9, 2 * lanes), rng.uniform(0.3, 0.9, 2 * lanes)
    n, p, moved = np.zeros(int(m["inputs"]) * lanes), np.array([0.0]), start.copy()
    plain.accumulate(start, z, np.ones(lanes), n, p)
    plain.step(moved, n, 0.01, 0.0, p)
    tape, points = Tape([loss.expression], [a, w, x, y]), np.concatenate([start, z]).reshape(4, lanes)
    for k in range(2):
        step = np.zeros((4, 1))
        step[k] = 1e-6
        slope = (tape.evaluate(points + step) - tape.evaluate(points - step))[0] / 2e-6
        found = (start - moved).reshape(2, lanes)[k] / 0.01
        assert np.allclose(found, slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "erf", "atan", "asinh", "softplus"])
def test_case_b10_networks_without_symmetry(name: str) -> None:
    theory = _walk(network([2, 2, 1], FUNCTIONS[name]))
    assert (theory.algebra.dimension, theory.certificate.status) == (0, "proved")
    assert theory.conservation_laws == 0 and theory.complete and theory.further_laws == ()


@pytest.mark.parametrize(
    "slope", [w * sp.exp(w) / (1 + sp.exp(w)), sp.erf(w) * sp.exp(w**2), sp.exp(w**2), sp.cos(w) ** 2, 1 / (1 + w**2)]
)
def test_case_b10_antiderivatives_end(slope: sp.Expr) -> None:
    found = sp.diff(antiderivative(slope, w), w)
    assert abs(sp.N((found - slope).subs(w, sp.Rational(3, 10)), 30)) < 1e-20
