"""Mistakes that people make, and what is said of them: the rule, what was given, and the remedy that fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, SGD, convergence, expectation, resume, simulate, train, verify
from symbolic import Loss, Normal, derive, parameters
from symbolic.errors import InputError, near, nearest, shown
from tests.cases.mistakes import (
    ANY,
    LOSS,
    OU,
    SET,
    START,
    THEORY,
    VAGUE,
    X,
    Y,
    flow,
    outcome,
    refusal,
    run,
    sgd,
    stopped,
    u,
    w,
    x,
)

__all__ = ["stopped"]

MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    # of another type than is needed
    "start list": (lambda: run(start=[1.2, 0.6]), "start: must be a mapping * got [1.2, 0.6] (list). Write {'u': ..."),
    "start number": (lambda: flow(start=1.2), "start: must be a mapping * got 1.2 (float). Write {'X': ...}."),
    "start list of an estimate": (
        lambda: expectation(OU, X, tolerance=0.1, start=[1.0], time=1.0),  # type: ignore[arg-type]
        "start: must be a mapping * got [1.0] (list).",
    ),
    "starts of verify": (
        lambda: verify(LOSS, SET, start=[1.2, 0.6], time=1.0),  # type: ignore[list-item]
        "verify.start: must be a mapping {parameter: value}, or a list of them; got 1.2 (float). Write {'u': ...",
    ),
    "observables list": (lambda: run(observables=[u * w]), "observables: must be a mapping * got [u*w] (list)."),
    "observables expression": (lambda: flow(observables=X**2), "observables: must be a mapping * got X**2 (Pow)."),
    "observable relation": (lambda: flow(observables={"c": X > 1}), "observables[c]: * Write Heaviside(a - b) for"),
    "histogram list": (lambda: flow(histogram=[0, 1]), "histogram: must be a mapping {name: edges}; got [0, 1]"),
    "covariance yes": (
        lambda: flow(covariance=True),
        "covariance: must be a list of names; got True (bool). Give e.g.",
    ),
    "a schedule's name": (lambda: SGD(0.1, schedule="cosine"), "SGD.schedule: cosine needs a time * Write cosine(10)."),
    "a name for a loss": (lambda: derive("rescaling"), "derive: needs a Loss; * library.rescaling()"),  # type: ignore[arg-type]
    "a table for a result": (
        lambda: flow(keep="paths", out="run.csv"),
        "output: is written as NetCDF; got 'run.csv' (str). Let it end in .nc, or .zarr",
    ),
    "covariance number": (lambda: flow(covariance=3), "covariance: must be a list of names; got 3 (int)."),
    "parameters list": (lambda: flow(parameters=[1]), "parameters: must be a mapping * got [1] (list)."),
    "rate for settings": (
        lambda: simulate(LOSS, 0.02, start=START, time=1.0),  # type: ignore[arg-type]
        "simulate: needs the optimiser's settings; got 0.02 (float). Pass SGD(learning_rate=0.02).",
    ),
    "rate for settings, train": (
        lambda: train(LOSS, 0.02, start=START, steps=3),  # type: ignore[arg-type]
        "train: needs the optimiser's settings; got 0.02 (float). Pass SGD(learning_rate=0.02).",
    ),
    "rate for settings, theory": (lambda: THEORY.sharpness(START, ANY), "sharpness: needs the optimiser's settings"),
    "rate for a drift": (lambda: THEORY.charges[0].drift(0.02), "sgd: needs the optimiser's settings; got 0.02"),  # type: ignore[arg-type]
    "settings of an SDE": (lambda: simulate(OU, SET, start={X: 1.0}, time=1.0), "simulate.sgd: an SDE stands by"),
    "time pair": (lambda: run(time=(0, 1)), "time: * got (0, 1) (tuple). Give one number, the length of the run"),
    "time pair of an SDE": (
        lambda: flow(time=(0, 1)),
        "time: * got (0, 1) (tuple). Give one number, the length of the run",
    ),
    "time pair of orders": (lambda: convergence(OU, start={X: 1.0}, time=ANY), "convergence.time: must be positive"),
    "time of an estimate": (
        lambda: expectation(OU, X, tolerance=0.1, start={X: 1.0}, time=(0, 1)),  # type: ignore[arg-type]
        "expectation.time: must be positive and finite; got (0, 1) (tuple).",
    ),
    "states symbol": (lambda: SDE(X, [-X], [[1]]), "SDE.states: must be a list of symbols; got X (Symbol). Write [X]."),  # type: ignore[arg-type]
    "states text": (lambda: SDE("X", [-X], [[1]]), "SDE.states: must be a list of symbols; got 'X' (str). Write ['X']"),
    "drift expression": (lambda: SDE([X], -X, [[1]]), "SDE.drift: * got -X (Mul). Write [-X]."),  # type: ignore[arg-type]
    "diffusion number": (lambda: SDE([X], [-X], 1), "SDE.diffusion: must be rows * got 1 (int). Write [[1]]."),  # type: ignore[arg-type]
    "diffusion list": (lambda: SDE([X], [-X], [1]), "got [1] (list). Write [[1]] for one noise."),  # type: ignore[list-item]
    "diffusion of two": (lambda: SDE([X, Y], [0, 0], [X, 1]), "Write [[X], [1]] for one noise, sympy.diag(...)"),  # type: ignore[list-item]
    "diffusion row": (lambda: SDE([X, Y], [0, 0], [[X, 1]]), "must be 2 rows of equal length * Write sympy.diag(...)"),
    "parameter of SDE": (lambda: SDE([X], [-X], [[1]], parameters=Y), "SDE.parameters: * Write [Y]."),  # type: ignore[arg-type]
    "points by lists": (
        lambda: THEORY.equilibrium([[1.2, 0.6]], SET),  # type: ignore[arg-type]
        "at: must be one point, (2,); got shape (1, 2). Give one.",
    ),
    "points of another size": (lambda: THEORY.sigma([1.0]), "theta: must be * of shape (..., 2); got [1.0] (list)."),  # type: ignore[arg-type]
    "shape number": (lambda: parameters(u=3), "parameters.u: must be a shape * got 3 (int). Write (3,) for a vector."),  # type: ignore[arg-type]
    "33 dimensions": (lambda: parameters(u=(1,) * 33), "parameters.u: must be a shape of at most 16 whole numbers"),
    "start of 70 dimensions": (
        lambda: run(start={u: np.ones((1,) * 60).tolist(), w: 1}),
        "start[u]: must be one number",
    ),
    "parameters symbol": (lambda: Loss(u * x, u, {x: Normal(0, 1)}), "Loss.parameters: * got u (Symbol). Write [u]."),  # type: ignore[arg-type]
    "law by name": (
        lambda: Loss(u * x, [u], {x: "normal"}),
        "got 'normal' (str). Did you mean 'Normal', as in Normal(0",
    ),
    "law class": (lambda: Loss(u * x, [u], {x: Normal}), "data[x]: needs a law * Call it: Normal(...)."),
    "rows for a law": (lambda: Loss(u * x, [u], {x: np.ones(3)}), "for rows of data use Dataset."),
    "checkpoint number": (lambda: flow(checkpoint=3), "checkpoint: must be the name of a file; got 3 (int)."),
    "checkpoint of resume": (lambda: resume(ANY), "resume: must be the path of a checkpoint; got None (NoneType)."),
    # functions as coefficients
    "index past the states": (
        lambda: SDE([X], lambda x, t: [-x[3]], [[1]]),
        "got IndexError: index 3 is out of bounds * There are x[0] to x[0]: one entry per state, counted from 0.",
    ),
    "index past in noise": (lambda: SDE([X, Y], [0, 0], lambda x, t: [[x[2]], [1]]), "There are x[0] to x[1]"),
    "arguments missing": (lambda: SDE([X], lambda x: [-x[0]], [[1]]), "SDE.drift: * Take the arguments x, t, in that"),
    # near misses
    "scheme": (
        lambda: flow(scheme="millstein"),
        "scheme: must be one of * got 'millstein' (str). Did you mean 'milstein'?",
    ),
    "scheme case": (lambda: flow(scheme="Heun"), "Did you mean 'heun'?"),
    "scheme in part": (lambda: flow(scheme="euler"), "Did you mean 'euler-maruyama' or 'euler-heun'?"),
    "scheme signs": (lambda: flow(scheme="euler_maruyama"), "Did you mean 'euler-maruyama'?"),
    "reference": (lambda: convergence(OU, reference="huen", start={X: 1.0}), "Did you mean 'heun'?"),
    "sense": (lambda: SDE([X], [-X], [[1]], "Ito"), "SDE.interpretation: * got 'Ito' (str). Did you mean 'ito'?"),
    "sense typo": (lambda: SDE([X], [-X], [[1]], "Stratonovitch"), "Did you mean 'stratonovich'?"),
    "sense asked for": (lambda: OU.to("strat"), "SDE.to: * Did you mean 'stratonovich'?"),
    "dtype": (lambda: flow(dtype="Float32"), "dtype: * Did you mean 'float32'?"),
    "keep": (lambda: flow(keep="path"), "keep: * Did you mean 'paths'?"),
    "start name": (
        lambda: run(start={"uu": 1, w: 1}),
        "start[uu]: must name a parameter; got 'uu' (str). Did you mean 'u'?",
    ),
    "point name": (lambda: THEORY.equilibrium({"U": 1, "w": 1}, SET), "at[U]: must name a parameter * mean 'u'?"),
    "covariance name": (lambda: flow(covariance=["x"]), "covariance[x]: * Did you mean 'X'?"),
    "histogram name": (lambda: flow(histogram={"Xx": [0, 1]}), "histogram[Xx]: * Did you mean 'X'?"),
    "data variable": (lambda: THEORY.label_noise(["xx"]), "label_noise[xx]: * Did you mean 'x'?"),
    "weights": (lambda: THEORY.breaking({"ww": 1}), "breaking[ww]: must name a parameter * Did you mean 'w'?"),
    "parameter of the SDE": (
        lambda: simulate(SDE([X], [-Y * X], [[1]], parameters=[Y]), start={X: 1.0}, time=1.0, parameters={"y": 1}),
        "parameters[y]: must name a parameter of the SDE; got 'y' (str). Did you mean 'Y'?",
    ),
    # the right table
    "parameter in start": (
        lambda: simulate(SDE([X], [-Y * X], [[1]], parameters=[Y]), start={X: 1.0, Y: 2.0}, time=1.0),
        "start[Y]: must name a state, not a parameter; got Y (Symbol). Give it by parameters={'Y': ...}.",
    ),
    "state in parameters": (lambda: flow(parameters={"X": 1}), "parameters[X]: * It moves: start= says from where."),
    "no parameters": (lambda: flow(parameters={"mu": 1}), "The SDE has none: name them by SDE(..., parameters=[...])."),
    # the same name, other assumptions
    "start symbol": (
        lambda: run(start={VAGUE["u"]: 1, w: 0.6}),
        (
            "start[u]: must be the problem's own symbol; got u (Symbol) with other assumptions. * sympy.Symbol('u',"
            " real=True)"
        ),
    ),
    "point symbol": (lambda: LOSS.pack({VAGUE["u"]: 1, w: 1}), "start[u]: must be the problem's own symbol"),
    "observable symbol": (
        lambda: flow(observables={"c": VAGUE["X"]}),
        "observables[c]: symbols must be the problem's own",
    ),
    "coefficient symbol": (lambda: SDE([X], [-VAGUE["X"]], [[1]]), "SDE: * the same symbols * got X with other"),
    "loss symbol": (
        lambda: Loss(VAGUE["u"] * x, [u], {x: Normal(0, 1)}),
        "Loss.expression: * the same symbols * got u",
    ),
    "im of a state": (
        lambda: SDE([VAGUE["Y"]], [sp.Abs(VAGUE["Y"])], [[1]]),
        "SDE: symbols must be real; got Y without that assumption in Abs(Y). Write sympy.Symbol('Y', real=True)",
    ),
    "re of a noise": (
        lambda: SDE([VAGUE["Y"]], [0], [[sp.Abs(sp.exp(VAGUE["Y"]))]]),
        "SDE: symbols must be real; got Y",
    ),
    "conjugate of a parameter": (
        lambda: SDE([X], [-sp.conjugate(VAGUE["Y"])], [[1]], parameters=[VAGUE["Y"]]),
        "SDE: symbols must be real; got Y",
    ),
    # events
    "event equality": (lambda: flow(events={"hit": sp.Eq(X, 1)}), "events[hit]: a path that moves is never exactly at"),
    "event text": (lambda: flow(events={"hit": "X > 1"}), "events[hit]: must be a SymPy expression or a relation; got"),
    "event of another": (lambda: flow(events={"hit": Y > 1}), "events[hit]: * got ['Y']. Known: X."),
    "events list": (
        lambda: flow(events=[X > 1]),
        "events: must be a mapping {name: expression or relation}; got [X > 1]",
    ),
    # arguments that are not there
    "steps of simulate": (lambda: run(steps=10), "simulate: has no argument 'steps'; got steps=10 (int). Give time="),
    "time of train": (lambda: sgd(time=1.0), "train: has no argument 'time'; got time=1.0 (float). Give steps="),
    "dt of train": (lambda: sgd(dt=0.1), "train: has no argument 'dt'; * use simulate."),
    "rate of simulate": (lambda: run(learning_rate=0.1), "Give it to SGD(...), the second argument."),
    "path": (lambda: run(path=10), "Did you mean 'paths'?"),
    "by position": (
        lambda: simulate(LOSS, SET, START, 1.0),
        "simulate: takes 2 arguments by position; * by name: start",
    ),  # type: ignore[misc]
    "nothing": (
        lambda: simulate(LOSS, 0.02),
        "simulate: start and time must be given; got none. Write start=..., time=",
    ),  # type: ignore[call-arg,arg-type]
    "threads of others": (lambda: run(n_jobs=2), "simulate: has no argument 'n_jobs'; * Give threads=."),
    "paths of others": (lambda: sgd(n_samples=10), "train: has no argument 'n_samples'; * Give paths=."),
    "start of others": (lambda: flow(x0=1.0), "simulate: has no argument 'x0'; * Give start=."),
    "a point without settings": (
        lambda: THEORY.equilibrium(START),  # type: ignore[call-arg]
        "equilibrium: sgd must be given; got none. Write sgd=...",
    ),
    "a law without settings": (lambda: THEORY.stationary_law(), "stationary_law: sgd must be given"),  # type: ignore[call-arg]
    "sharpness of another": (lambda: THEORY.sharpness(START, SET, 3), "sharpness: takes 2 arguments by position"),  # type: ignore[call-arg]
    "lr": (lambda: SGD(lr=0.1), "SGD: has no argument 'lr'; got lr=0.1 (float). Give learning_rate=."),  # type: ignore[call-arg]
    "sigma": (lambda: Normal(0, sigma=1), "Normal: has no argument 'sigma'; * Give std=."),  # type: ignore[call-arg]
    "parameter": (
        lambda: Loss(u * x, parameter=[u], data={}),
        "Loss: has no argument 'parameter'; * Did you mean 'para",
    ),  # type: ignore[call-arg]
    "tol": (lambda: expectation(OU, X, tol=0.1, start={X: 1.0}, time=1.0), "Did you mean 'tolerance'?"),  # type: ignore[call-arg]
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_case_e_a_mistake_is_told_with_its_remedy(case: str) -> None:
    make, wanted = MISTAKES[case]
    text, at = refusal(make), 0
    for part in wanted.split(" * "):
        assert part in text[at:], text
        at = text.index(part, at) + len(part)


@pytest.mark.parametrize("name", ["steps", "time", "dt", "start", "scheme", "seed", "momentum", "keep", "parameters"])
def test_case_e_a_plain_sde_hears_nothing_of_learning_rates(name: str) -> None:
    for value in (None, "a", -1, (0, 1), {"q": 1}):
        text = outcome(lambda value=value: flow(**{name: value}))
        assert "learning" not in text and "SGD" not in text and "eta*k" not in text, text


@pytest.mark.parametrize(
    ("condition", "same"),
    [
        (X > 1.2, X - 1.2),
        (X**2 <= X / 2, X / 2 - X**2),
        (sp.And(X > 1.2, X < 5), sp.Min(X - 1.2, 5 - X)),
        (sp.Or(X > 1.5, X < -0.2), sp.Max(X - 1.5, -X - 0.2)),
    ],
)
def test_case_e_relations_are_events(condition: Any, same: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    options: Any = {"start": {X: 1.0}, "time": 1.0, "dt": 0.05, "paths": 64, "check": False, "save_at": 3}
    one, other = (simulate(OU, events={"hit": e}, **options) for e in (condition, same))
    assert one.hit_count.values.tolist() == other.hit_count.values.tolist()
    assert 0 < one.hit_count.values[-1] < 64


def test_case_e_a_point_is_a_mapping_or_an_array() -> None:
    packed, charge = LOSS.pack(START), THEORY.charges[0]
    assert (THEORY.sigma(START) == THEORY.sigma(packed)).all()
    assert charge.value(START) == charge.value(packed)
    assert charge.drift_at(START, SET) == charge.drift_at(packed, SET)


def test_case_e_near_misses() -> None:
    known = ["learning_rate", "batch_size", "momentum"]
    assert near("learningRate", known) == ["learning_rate"] and near("mom", known) == ["momentum"]
    assert near("batchsice", known) == ["batch_size"] and near("q", known) == near("", known) == near(None, known) == []
    assert nearest("q", known) == "Known: learning_rate, batch_size, momentum." and nearest("q", []) == "Known: none."

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert shown(Broken()) == "<Broken>" and shown(np.eye(2)) == "array([[1., 0.], [0., 1.]])"
    assert shown("\udcff\n") == "'\\udcff\\n'" and len(shown("a" * 1000)) == 200


def test_case_e_an_sde_shows_its_equation() -> None:
    a, t = sp.symbols("a t", real=True)
    assert repr(OU) == str(OU) == "SDE(sde: Ito, 1 state, 1 noise; dX = (-X) dt + dW)"
    two = SDE([X, Y], [Y, -a * X], [[0, 0], [t, X]], "stratonovich", time=t, name="spring", parameters=[a])
    assert repr(two).splitlines() == [
        "SDE(spring: Stratonovich, 2 states, 2 noises, a given;",
        "    dX = (Y) dt",
        "    dY = (-X*a) dt + (t) dW_0 + (X) dW_1)",
    ]
    many = [sp.Symbol(f"x{i}", real=True) for i in range(50)]
    assert repr(SDE(many, many, [[1]] * 50)) == "SDE(sde: Ito, 50 states, 1 noise)"
    assert "dX = 0" in repr(SDE([X], [0], [[0]])) and len(repr(SDE([X], [sum(X**k for k in range(99))], [[1]]))) < 200
    assert "du = " in repr(SDE.from_loss(LOSS, SET))


@pytest.mark.parametrize("where", ["observables", "events"])
def test_case_e_expressions_without_a_real_value_are_named_by_their_argument(where: str) -> None:
    x = sp.Symbol("x", real=True)
    for value, words in ((sp.I * x, "I is not"), (sp.zoo, "zoo is not"), (sp.Function("f")(x), r"f\(x\) is not")):
        with pytest.raises(InputError, match=rf"^{where}\[o\]: must be real, of functions that are known; {words}"):
            simulate(SDE([x], [0], [[1]]), start={x: 0.0}, time=1.0, paths=2, **{where: {"o": value}})
