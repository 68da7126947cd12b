"""Claims on L and Tr Hess L, by name or as expressions, where they are averages over rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from typer.testing import CliRunner

from sde import SGD, Claim, InputError, simulate, train, verify
from sde.cli.commands import app
from symbolic import Dataset, Loss, parameters
from symbolic.functions.activations import relu
from symbolic.functions.numeric import Numeric

U, W, x, y = parameters(U=(2,), W=(2, 3), x=(3,), y=())
START = {"U": [1.0, 0.5], "W": [[0.3, 0.1, 0.0], [0.2, 0.4, 0.1]]}
UNITS = {
    "linear": lambda h: h,
    "tanh": lambda h: h.applyfunc(sp.tanh),
    "relu": lambda h: h.applyfunc(relu),
}


def loss(unit: str = "tanh") -> Loss:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(30, 3))
    rows = Dataset({x: inputs, y: inputs @ [1.0, -0.5, 0.2]})
    return Loss((U.dot(UNITS[unit](W @ x)) - y) ** 2, {"U": U, "W": W}, rows)


@pytest.mark.parametrize("unit", UNITS)
def test_the_mean_over_rows_has_values_at_any_points(unit: str) -> None:
    """Those of the losses of the rows, averaged, whatever the shape, in blocks of points too."""
    given = loss(unit)
    (block,) = given.used
    assert block.table is not None
    points = np.random.default_rng(1).normal(size=(given.dimension, 5, 7))
    found = Numeric([given.mean, 2 * given.mean + given.theta[0]], given.theta)(list(points))
    each = Numeric([given.expression], [*given.theta, *block.symbols])
    wanted = np.mean([each([*points, *row])[0] for row in block.table], axis=0)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-12)
    np.testing.assert_allclose(found[1], 2 * wanted + points[0], rtol=1e-12)


def test_blocks_of_points_do_not_change_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    given = loss()
    points = list(np.random.default_rng(1).normal(size=(given.dimension, 11)))
    whole = Numeric([given.mean], given.theta)(points)
    monkeypatch.setattr("symbolic.problem.row_mean.POINTS", 100)
    np.testing.assert_array_equal(Numeric([given.mean], given.theta)(points), whole)


@pytest.mark.parametrize("observable", ["loss", "mean", "sharpness", "2*loss + U[0]**2"])
@pytest.mark.parametrize("unit", UNITS)
def test_what_a_run_takes_a_claim_takes(unit: str, observable: str) -> None:
    """Held against the same run's own mean of it: supported; against twice that: refuted."""
    given, sgd = loss(unit), SGD(0.01)
    what: Any = given.mean if observable == "mean" else observable
    run = train(given, sgd, start=START, steps=20, paths=200, observables={"L": what})
    mean = float(run.L.sel(statistic="mean")[-1])
    claims = [Claim(what, equals=k * mean, margin=0.1 * mean, name=f"{k}") for k in (1, 2)]
    report = verify(given, sgd, start=START, time=0.2, paths=200, claims=claims)
    found = {v.subject.split(", ")[1].split(" at")[0]: v.verdict for v in report.verdicts if v.group == "claimed mean"}
    assert found == {"1": "supported", "2": "refuted"}


def test_what_is_no_observable_is_refused_with_its_place() -> None:
    for text, told in {
        "losss": "verify.claims[0].observable[losss]: must name",
        "loss +": "verify.claims[0].observable, column",
        "2*u": "verify.claims[0].observable, column 3: unknown name 'u'",
    }.items():
        with pytest.raises(InputError) as error:
            verify(loss(), SGD(0.01), start=START, time=0.1, paths=2, claims=[Claim(text, equals=1.0, margin=0.1)])
        assert told in str(error.value)


def test_a_claim_on_a_named_loss_of_rows(tmp_path: Path) -> None:
    """As a spec has it, by the name of an observable."""
    rng = np.random.default_rng(0)
    lines = ["a,b,y", *(",".join(f"{v:.3f}" for v in row) for row in rng.normal(size=(20, 3)))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    (tmp_path / "spec.toml").write_text(
        """
[parameters]
W = [2, 2]
a = [2]
[data]
file = "rows.csv"
inputs = ["a", "b"]
targets = ["y"]
[loss]
where = { h = "relu(W@x)" }
expression = "(a@h - y)**2"
[sgd]
learning_rate = 0.01
[run]
start = { W = [[0.5, 0.2], [-0.4, 0.6]], a = [0.8, -0.5] }
time = 0.5
paths = 50
observables = { L = "loss" }
[[claims]]
observable = "L"
equals = 1.0
margin = 100.0
[[claims]]
observable = "loss"
equals = 1.0
margin = 100.0
"""
    )
    assert CliRunner().invoke(app, ["verify", str(tmp_path / "spec.toml")]).exit_code == 0


def test_the_sharpness_of_a_maximum_points_to_relu() -> None:
    rows = Dataset({x: np.eye(3), y: np.ones(3)})
    kinked = Loss((U.dot((W @ x).applyfunc(lambda e: sp.Max(e, 0))) - y) ** 2, {"U": U, "W": W}, rows)
    with pytest.raises(InputError, match=r"second derivatives .* Write max\(a, 0\) as relu\(a\)"):
        train(kinked, SGD(0.01), start=START, steps=2, paths=2, observables={"S": "sharpness"})


def test_simulate_takes_the_same_expression() -> None:
    run = simulate(loss(), SGD(0.01), start=START, time=0.1, paths=4, observables={"L": loss().mean})
    assert np.isfinite(run.L.values).all()
