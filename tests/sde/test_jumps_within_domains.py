"""Jumps of states that have a domain: one absorbed stays where it is, and none leaves its domain by a jump."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, Jump, simulate
from symbolic import Normal, states

X, V, N, Z, t = sp.symbols("X V N Z t", real=True)
A = states("A", (2,))
OO = sp.oo
PATHS = 20_000
LEVY: dict[str, Any] = {"time": 1.0, "dt": 0.01, "paths": PATHS, "check": False, "keep": "paths", "seed": 4}


def absorbed_share(x: np.ndarray, begin: float) -> float:
    """Standard errors between the share at 0 and P(min W < -begin) = erfc(begin / sqrt(2 T)), T = 1 (theory: the
    reflection principle)."""
    p = math.erfc(begin / math.sqrt(2))
    return float(((x == 0).mean() - p) / math.sqrt(p * (1 - p) / len(x)))


ARRIVALS = [{"at": [1.0]}, {"rate": 3}, {"at": [0.5, 0.7]}, {"when": t - 0.9}]


@pytest.mark.parametrize("arrival", ARRIVALS)
@pytest.mark.parametrize("change", [X + 1, sp.Integer(2), 1 - X])
def test_no_jump_revives_a_state_that_was_absorbed(arrival: dict[str, Any], change: Any) -> None:
    """Who was absorbed is told by the states alone; what jumps beside it goes on."""
    jump = Jump({X: change, N: N + 1}, **arrival)
    sde = SDE([X, N], [0, 0], [[1], [0]], domain={X: ("absorb", 0, OO)}, jumps=[jump], time=t)
    run = simulate(sde, start={X: 0.5, N: 0.0}, save_at=101, **LEVY)
    x, n = run.X.values, run.N.values
    gone = x == 0
    assert (gone[:, 1:] >= gone[:, :-1]).all() and gone[:, -1].any() and x.min() >= 0
    later = n[:, -1] - n[:, 40]
    assert later.mean() > 0 and later[gone[:, 40]].mean() == pytest.approx(later.mean(), abs=0.1)


@pytest.mark.parametrize("arrival", [{"at": [1.0]}, {"rate": 3}])
def test_the_share_absorbed_is_that_of_no_jump(arrival: dict[str, Any]) -> None:
    """Jumps that leave X where it is, or come when all is over: erfc(x / sqrt 2) at any jump."""
    change = X + 1 if "at" in arrival else X
    sde = SDE([X], [0], [[1]], domain={X: ("absorb", 0, OO)}, jumps=[Jump({X: change}, **arrival)])
    assert abs(absorbed_share(simulate(sde, start={X: 0.5}, save_at=2, **LEVY).X.values[:, -1], 0.5)) < 5


@pytest.mark.parametrize(
    ("domain", "change", "expected"),
    [
        ("nonnegative", V - 3, 0.0),
        ("nonnegative", V + 3, 5.0),
        (("absorb", 0, OO), V - 3, 0.0),
        (("absorb", 0, 4), V + 3, 4.0),
        (("reflect", 0, OO), V - 3, 1.0),
        (("reflect", -OO, 4), V + 3, 3.0),
        (("reflect", 0, 4), V + 11, 3.0),
        (("periodic", 0, 4), V + 11, 1.0),
        (("periodic", 0, 4), V - 3, 3.0),
        (("periodic", 0, 4), V + 2, 0.0),
    ],
)
def test_a_jump_lands_within_the_domain(domain: Any, change: Any, expected: float) -> None:
    """Of a state that stands still at 2; the save at the impulse's time shows it, as does the next."""
    for sde, name in (
        (SDE([V], [0], [[0]], domain={V: domain}, jumps=[Jump({V: change}, at=[0.5])]), "V"),
        (SDE(A, 0 * A, 0 * A, domain={A: domain}, jumps=[Jump({A: change.subs(V, 0) + A}, at=[0.5])]), "A"),
    ):
        start = {V: 2.0} if name == "V" else {A: np.full(2, 2.0)}
        run = simulate(sde, start=start, time=1.0, dt=0.25, paths=2, save_at=[0.5, 1.0], keep="paths", check=False)
        assert np.allclose(run[name].values, expected, atol=1e-12), name


@pytest.mark.parametrize("scheme", ["log-euler", "full-truncation", "quadratic-exponential"])
@pytest.mark.parametrize("size", [sp.Float(0.3), Z, V + sp.Float(0.1)])
def test_a_state_at_or_above_0_stays_there(scheme: str, size: Any) -> None:
    """Under every scheme that keeps it, without a path lost."""
    root = scheme == "quadratic-exponential"
    f, b = (sp.Rational(1, 10) - V, sp.sqrt(V) / 2) if root else (V / 10, V / 2)
    jump = Jump({V: V - size}, rate=2, sizes={Z: Normal(0, 0.3)} if size == Z else None)
    sde = SDE([V], [f], [[b]], domain={V: "nonnegative"}, jumps=[jump])
    run = simulate(sde, start={V: 0.2}, time=1.0, paths=2000, scheme=scheme, dt=0.05, check=False, keep="paths")
    assert 0 <= run.V.values.min() < (1e-9 if root else 5e-324) and run.exploded.values[-1] == 0


def test_jumps_down_to_0_have_their_law() -> None:
    """V -> max(V - 0.3, 0) at rate 2 from 0.2, geometric: E V = 0.2 e^(0.1 - 2), as the first jump takes V to 0 where
    V < 0.3, which all but P(V > 0.3) do: noise is small here."""
    jump = Jump({V: V - sp.Float(0.3)}, rate=2)
    sde = SDE([V], [V / 10], [[V / 100]], domain={V: "nonnegative"}, jumps=[jump])
    v = simulate(sde, start={V: 0.2}, save_at=2, **LEVY).V.values[:, -1]
    assert abs(v.mean() - 0.2 * math.exp(0.1 - 2)) < 5 * v.std() / math.sqrt(PATHS)


def test_a_change_that_is_no_number_still_loses_its_path() -> None:
    sde = SDE([V], [0], [[0]], domain={V: "nonnegative"}, jumps=[Jump({V: sp.sqrt(V - 3)}, at=[0.5])])
    with pytest.warns(UserWarning, match=r"jumps\[0\].changes\[V\] has no finite value"):
        run = simulate(sde, start={V: 2.0}, time=1.0, dt=0.25, paths=2, check=False)
    assert run.exploded.values[-1] == 2
