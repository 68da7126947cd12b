"""Case A5: what a symbol is assumed to be must hold for all that it stands for; guards stay."""

from __future__ import annotations

from math import erf, exp, pi, sqrt
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import simulate
from symbolic import SDE, Bernoulli, Dataset, Loss, Moments, Normal, Uniform

X, u = sp.symbols("X u", real=True)


def test_case_a5_guards_of_an_ornstein_uhlenbeck_process() -> None:
    """Right values: X_2 is normal with mean exp(-2) and variance (1 - exp(-4))/2."""
    run = simulate(
        SDE([X], [-X], [[1]]),
        start={X: 1.0},
        time=2.0,
        dt=0.005,
        paths=40_000,
        save_at=2,
        observables={
            "up": sp.Heaviside(X, 0),
            "pieces": sp.Piecewise((1, X > 0), (0, True)),
            "part": sp.Max(X, 0),
            "size": sp.Abs(X),
            "root": sp.sqrt(X**2),
        },
    )
    m, s = exp(-2), sqrt((1 - exp(-4)) / 2)
    up, density = (1 + erf(m / s / sqrt(2))) / 2, exp(-((m / s) ** 2) / 2) / sqrt(2 * pi)
    part = m * up + s * density
    right = {"up": up, "pieces": up, "part": part, "size": 2 * part - m, "root": 2 * part - m}
    assert [round(right[k], 4) for k in ("up", "part", "size")] == [0.5766, 0.3524, 0.5694]
    for name, value in right.items():
        mean, sem = (float(run[name].sel(statistic=k)[-1]) for k in ("mean", "sem"))
        assert abs(mean - value) < 4 * sem + 0.002, name


@pytest.mark.parametrize("assumed", ["positive", "nonnegative", "negative", "integer", "nonzero", "even", "rational"])
def test_case_a5_states_are_real_and_no_more(assumed: str) -> None:
    bad = sp.Symbol("X", **{assumed: True})
    with pytest.raises(ValueError, match=rf"SDE\.states: .*{assumed}=True.*sympy\.Symbol\('X', real=True\)"):
        SDE([bad], [-bad], [[1]])
    with pytest.raises(ValueError, match=rf"Loss\.parameters: .*{assumed}=True"):
        Loss((bad * u - 1) ** 2, [bad], {u: Normal(0, 1)})


def test_case_a5_harmless_assumptions_stay() -> None:
    assert SDE([sp.Symbol("X", finite=True, real=True)], [0], [[1]]).states
    tau = sp.Symbol("tau", nonnegative=True)
    assert SDE([X], [tau], [[1]], time=tau).time == tau
    with pytest.raises(ValueError, match=r"SDE\.time: .*negative=True"):
        SDE([X], [sp.Symbol("t", negative=True)], [[1]], time=sp.Symbol("t", negative=True))


def test_case_a5_parameters_of_an_sde_are_what_they_are_assumed_to_be() -> None:
    s, k = sp.Symbol("s", positive=True), sp.Symbol("k", integer=True)
    problem = SDE([X], [-k * X], [[sp.sqrt(s**2)]], parameters=[s, k])
    options: dict[str, Any] = {"start": {X: 0.0}, "time": 0.1, "dt": 0.1, "paths": 2, "save_at": 2}
    assert np.isfinite(simulate(problem, parameters={s: 0.5, k: 2}, **options).X.values[0]).all()
    with pytest.raises(
        ValueError, match=r"parameters\[s\]: must be what its symbol is assumed to be, positive=True; got -0\.5"
    ):
        simulate(problem, parameters={s: -0.5, k: 2}, **options)
    with pytest.raises(ValueError, match=r"parameters\[k\]: .*integer=True; got \[1, 2\.5\]"):
        simulate(problem, parameters={s: 0.5, k: [1, 2.5]}, **options)


@pytest.mark.parametrize(
    ("assumed", "law", "fits"),
    [
        ({"positive": True}, Normal(5, 0.1), False),
        ({"positive": True}, Uniform(0, 1), False),
        ({"positive": True}, Uniform(1, 2), True),
        ({"nonnegative": True}, Uniform(0, 1), True),
        ({"integer": True}, Uniform(0, 1), False),
        ({"integer": True, "nonnegative": True}, Bernoulli(0.5), True),
        ({"positive": True}, Bernoulli(0.5), False),
        ({"positive": True}, Moments([1, 2]), False),
        ({"real": True}, Normal(0, 1), True),
    ],
)
def test_case_a5_data_are_what_their_law_promises(assumed: dict[str, bool], law: Any, fits: bool) -> None:
    z = sp.Symbol("z", **assumed)
    if fits:
        assert Loss((u * z - 1) ** 2, [u], {z: law}).z == (z,)
    else:
        with pytest.raises(ValueError, match=r"Loss\.data: may be assumed real, and no more; got z"):
            Loss((u * z - 1) ** 2, [u], {z: law})


def test_case_a5_rows_of_data_are_looked_at() -> None:
    z = sp.Symbol("z", positive=True)
    assert Loss((u * z - 1) ** 2, [u], Dataset({z: np.array([0.5, 2.0])}))
    with pytest.raises(ValueError, match="dataset law does not promise"):
        Loss((u * z - 1) ** 2, [u], Dataset({z: np.array([0.5, -2.0])}))


def test_case_a5_an_observable_of_another_x_is_refused() -> None:
    other = sp.Symbol("X", positive=True)
    with pytest.raises(ValueError, match=r"observables\[o\]: symbols must be the problem's own; got \['X'\]"):
        simulate(SDE([X], [-X], [[1]]), start={X: 1.0}, time=0.1, paths=2, observables={"o": sp.Abs(other)})
