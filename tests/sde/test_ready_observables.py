"""The training loss and the sharpness recorded beside a run, by expression and by name."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from sde import SDE, SGD, InputError, simulate, train
from sde.spec.problem_file import SpecError, parse_spec
from symbolic import Dataset, Loss, derive, library
from symbolic.codegen.prepare import prepare
from symbolic.functions.activations import relu

u, w, x, y = sp.symbols("u w x y", real=True)
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=37), RNG.normal(size=37)
NETWORK = Loss((u * relu(w * x) + sp.tanh(u * x) - y) ** 2, [u, w], Dataset({x: X, y: Y}))
START = {u: 0.9, w: 1.1}
RUN = {"start": START, "paths": 5, "keep": "paths", "save_at": 4}


def by_hand(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    h = a[..., None] * np.maximum(b[..., None] * X, 0) + np.tanh(a[..., None] * X)
    return ((h - Y) ** 2).mean(axis=-1)


@pytest.mark.parametrize("sgd", [SGD(0.005), SGD(0.005, momentum=0.9, weight_decay=0.1)])
@pytest.mark.parametrize("dtype, within", [("float64", 1e-12), ("float32", 3e-5)])
def test_loss_over_rows_is_its_value_on_every_path(sgd: SGD, dtype: str, within: float) -> None:
    run = train(
        NETWORK, sgd, steps=30, observables={"L": NETWORK.mean, "twice": 2 * NETWORK.mean + u}, **RUN, dtype=dtype
    )
    values = by_hand(run.u.values, run.w.values)
    np.testing.assert_allclose(run.L.values, values, rtol=within)
    np.testing.assert_allclose(run.twice.values, 2 * values + run.u.values, rtol=within)


def test_recording_the_loss_changes_no_path() -> None:
    bare = train(NETWORK, SGD(0.005), steps=30, **RUN)
    beside = train(NETWORK, SGD(0.005), steps=30, observables={"L": "loss", "S": "sharpness"}, **RUN)
    assert (bare.u.values == beside.u.values).all()
    assert bare.attrs["spec_hash"] != beside.attrs["spec_hash"]


def test_other_rows_are_another_problem() -> None:
    other = Loss(NETWORK.expression, [u, w], Dataset({x: X, y: Y + 1}))
    runs = [train(NETWORK, SGD(0.005), steps=3, observables={"L": m}, **RUN) for m in (NETWORK.mean, other.mean)]
    assert runs[0].attrs["spec_hash"] != runs[1].attrs["spec_hash"]
    assert (runs[0].u.values == runs[1].u.values).all() and not np.allclose(runs[0].L, runs[1].L)


def test_names_are_the_expressions() -> None:
    loss = library.rescaling()
    given = {"L": loss.mean, "S": derive(loss).sharpness_expression, "C": u**2 - w**2}
    named = {"L": "loss", "S": "sharpness", "C": "u**2 - w**2"}
    one, two = (
        simulate(loss, SGD(0.01), start={"u": 1.2, "w": 0.6}, time=0.2, paths=8, observables=o, keep="paths")
        for o in (given, named)
    )
    for name in given:
        np.testing.assert_array_equal(one[name], two[name])
    np.testing.assert_allclose(one.S, 2 * (one.u**2 + one.w**2), rtol=1e-12)


def test_event_of_the_loss() -> None:
    run = train(
        NETWORK,
        SGD(0.005),
        steps=600,
        events={"low": NETWORK.mean < by_hand(np.array(0.9), np.array(1.1)) - 0.02},
        **RUN,
    )
    assert int(run.low_count[-1]) > 0


SPEC = """
[parameters]
u = []
w = []
[data]
x = { law = "normal" }
[loss]
expression = "(u*w*x - x)**2"
[run]
start = { u = 1.0, w = 0.5 }
steps = 10
observables = { loss = "loss", flat = "sharpness/loss", C = "u**2 - w**2" }
events = { low = "loss < 0.1" }
"""


def test_specs_name_them() -> None:
    spec = parse_spec(SPEC)
    a, b = spec.loss.theta
    found = spec.run["observables"]
    assert sp.expand(found["loss"] - (a * b - 1) ** 2) == 0
    assert sp.simplify(found["flat"] - (2 * a**2 + 2 * b**2) / (a * b - 1) ** 2) == 0
    assert sp.expand(spec.run["events"]["low"] - (sp.Float(0.1) - (a * b - 1) ** 2)) == 0


def test_a_parameter_of_that_name_goes_first() -> None:
    spec = parse_spec(
        SPEC.replace("w = []", "loss = []")
        .replace("u*w*x", "u*loss*x")
        .replace("w = 0.5", "loss = 0.5")
        .replace("w**2", "u")
        .replace('loss = "loss", flat = "sharpness/loss"', 'f = "loss"')
    )
    assert spec.run["observables"]["f"] == sp.Symbol("loss", real=True)


def test_a_spec_whose_loss_has_no_mean_says_so() -> None:
    with pytest.raises(SpecError, match=r"observables.loss: needs the data's moments"):
        parse_spec(SPEC.replace("(u*w*x - x)**2", "tanh(u*w*x)**2"))


def test_averages_beside_an_sde_are_refused() -> None:
    with pytest.raises(InputError, match="averages over rows"):
        prepare(SDE([u, w], [-u, -w], [[1], [1]]), "euler-maruyama", {"L": NETWORK.mean})
    with pytest.raises(InputError, match="must be an expression, of an SDE"):
        simulate(SDE([u], [-u], [[1]]), start={u: 1.0}, time=1.0, observables={"L": "loss"})
