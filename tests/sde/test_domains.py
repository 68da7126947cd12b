"""States that have a domain: what keeps them there is chosen, right in distribution, and the same bits however it is
run."""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import expectation, simulate
from symbolic import SDE, states
from symbolic.errors import InputError
from tests.cases.level_problems import heston_call, square_root_laplace
from tests.naive.walls import follow

X, V, Y, k, t = sp.symbols("X V Y k t", real=True)
POSITIVE = "nonnegative"
CIR = SDE([V, Y], [0.1 * (0.1 - V), V], [[sp.sqrt(V) / 2], [0]], domain={V: POSITIVE})
"""Far below Feller's line: 2 a = .02, c^2 = .25."""
SPREAD = 5.0
"""Standard errors that a mean may be off, two-sided 6e-7."""


def heston(domain: Any) -> SDE:
    root = sp.sqrt(V)
    return SDE([X, V], [0, (0.04 - V) / 2], [[X * root, 0], [0.1 * root, sp.sqrt(0.99) * root]], domain=domain)


def bond(kappa: float, theta: float, epsilon: float, start: float, time: float) -> float:
    """E exp(-int v). Source: Cox, Ingersoll, Ross, Econometrica 53 (1985) 385, eq. 23."""
    g = np.sqrt(kappa**2 + 2 * epsilon**2)
    e = exp(g * time) - 1
    below = (kappa + g) * e + 2 * g
    return (2 * g * exp((kappa + g) * time / 2) / below) ** (2 * kappa * theta / epsilon**2) * exp(
        -2 * e / below * start
    )


def end(run: Any, name: str) -> tuple[float, float]:
    last = run[name].isel(time=-1)
    return float(last.sel(statistic="mean")), float(last.sel(statistic="sem"))


def test_a_bond_below_fellers_line() -> None:
    """.64015 within .2 %, with no scheme named; no path below 0."""
    value = bond(0.1, 0.1, 0.5, 0.1, 10)
    assert value == pytest.approx(0.64015, abs=1e-5)
    run = simulate(
        CIR, start={V: 0.1, Y: 0}, time=10, dt=0.2, paths=600_000, observables={"P": sp.exp(-Y)}, save_at=2, check=False
    )
    mean, sem = end(run, "P")
    assert abs(mean / value - 1) < 0.002 and sem / value < 0.0007
    assert run.attrs["scheme"] == "quadratic-exponential" and "square-root" in run.attrs["scheme_reason"]
    assert float(run.V.sel(statistic="min").min()) >= 0 and run.attrs["exploded_paths"] == 0


@pytest.mark.parametrize("domain", [pytest.param({V: POSITIVE}, marks=pytest.mark.slow), {V: POSITIVE, X: POSITIVE}])
def test_hestons_call(domain: Any) -> None:
    """.05531 within 1 %; full truncation at that step is 7 % off."""
    value, both = heston_call(1, 1, 1, 0.5, 0.04, 1.0, 0.1, 0.04), {}
    for scheme in (None, "full-truncation"):
        both[scheme] = simulate(
            heston(domain),
            start={X: 1, V: 0.04},
            time=1,
            dt=0.02,
            paths=400_000,
            scheme=scheme,
            observables={"C": sp.Max(X - 1, 0)},
            save_at=2,
            check=False,
        )
    (mean, sem), (off, _) = end(both[None], "C"), end(both["full-truncation"], "C")
    assert abs(mean - value) < 0.01 * value + 2 * sem and sem < 0.006 * value
    assert 0.05 < off / value - 1 < 0.1
    assert float(both["full-truncation"].V.sel(statistic="min").min()) == 0


def test_the_step_has_the_exact_distribution_near_enough() -> None:
    """Laplace transform after four steps, and the first two moments, which are exact."""
    run = simulate(
        CIR,
        start={V: 0.1, Y: 0},
        time=2,
        dt=0.5,
        paths=400_000,
        observables={"L": sp.exp(-3 * V), "square": V**2},
        save_at=2,
        check=False,
    )
    mean, sem = end(run, "L")
    assert abs(mean - square_root_laplace(3, 2, 0.1, 0.1, 0.5, 0.1)) < 0.003 + SPREAD * sem
    mean, sem = end(run, "V")
    assert abs(mean - 0.1) < SPREAD * sem
    decay = exp(-0.2)
    variance = 0.25 * (0.1 * decay * (1 - decay) / 0.1 + 0.1 * (1 - decay) ** 2 / 0.2)
    mean, sem = end(run, "square")
    assert abs(mean - 0.01 - variance) < SPREAD * sem


@pytest.mark.parametrize(
    ("drift", "diffusion", "scheme"),
    [
        (X * (1 - sp.Max(X, 0)), sp.Abs(X) / 2, "log-euler"),
        (k - X, X / 2, "full-truncation"),
        (1 - sp.Max(X, 0), sp.sqrt(sp.Max(X, 0)), "quadratic-exponential"),
        (1 - X**2, sp.sqrt(X), "full-truncation"),
        (1 - X, sp.sqrt(X) * X, "full-truncation"),
        (X - X**3, X + X**2, "log-euler"),
    ],
)
def test_what_keeps_a_state_is_chosen_by_its_equation(drift: Any, diffusion: Any, scheme: str) -> None:
    sde = SDE([X], [drift], [[diffusion]], domain={X: POSITIVE}, parameters=[k])
    run = simulate(sde, start={X: 0.5}, time=1, dt=0.02, paths=300, parameters={k: 0.5}, save_at=5, keep="paths")
    assert run.attrs["scheme"] == scheme and float(run.X.min()) >= 0 and run.attrs["exploded_paths"] == 0


def test_expectations_choose_it_too() -> None:
    sde = SDE([X], [1 - X], [[sp.sqrt(X)]], domain={X: POSITIVE})
    found = expectation(sde, X, start={X: 0.5}, time=0.2, tolerance=0.05)
    assert abs(found.value - (1 - exp(-0.2) / 2)) < SPREAD * found.error


def test_a_geometric_brownian_motion_is_exact_at_any_step() -> None:
    sde = SDE([X], [X / 2], [[X]], domain={X: POSITIVE})
    gap = sp.log(X) - sde.W[0]
    run = simulate(sde, start={X: 1}, time=2, dt=0.5, paths=100, observables={"gap": gap}, keep="paths", save_at=2)
    assert np.abs(run.gap.values).max() < 1e-13


def test_a_reflected_brownian_motion() -> None:
    """|x + W| at any step, as its drift is 0."""
    sde = SDE([X], [0], [[1]], domain={X: ("reflect", 0, sp.oo)})
    run = simulate(sde, start={X: 0.5}, time=1, dt=0.1, paths=100_000, save_at=2, check=False)
    mean, sem = end(run, "X")
    assert abs(mean - 0.8955931148) < SPREAD * sem


def test_reflection_at_both_ends_with_a_drift() -> None:
    """The stationary density exp(2 a x / b^2) on (0, 1), and the error falls with the step."""
    sde = SDE([X], [1], [[sp.Rational(1, 2)]], domain={X: ("reflect", 0, 1)})
    off = []
    for dt in (0.08, 0.01):
        run = simulate(sde, start={X: 0.2}, time=4, dt=dt, paths=50_000, save_at=2, check=False)
        mean, sem = end(run, "X")
        off.append(1 / (1 - exp(-8)) - 1 / 8 - mean)
        assert float(run.X.sel(statistic="max").max()) <= 1 and float(run.X.sel(statistic="min").min()) >= 0
        assert sem < 0.001
    assert 0.02 < off[0] < 0.1 and off[1] < off[0] / 3


def test_a_period() -> None:
    """The same path as without it, but for whole periods."""
    free, wound = (
        simulate(
            SDE([X], [sp.cos(2 * sp.pi * X)], [[1]], domain=domain),
            start={X: 0.2},
            time=4,
            dt=0.05,
            paths=50,
            keep="paths",
            save_at=9,
        )
        for domain in (None, {X: ("periodic", -1, 1)})
    )
    turns = (free.X.values - wound.X.values) / 2
    assert np.abs(turns - np.round(turns)).max() < 1e-9 and np.abs(turns).max() > 0.5
    assert wound.X.values.min() >= -1 and wound.X.values.max() < 1


@pytest.mark.parametrize("dt", [0.25, 0.02])
def test_absorption_at_a_wall_sees_what_lies_between_steps(dt: float) -> None:
    """P(min of x + W below 0) = 2 Phi(-x) at any step, and what is at the wall stays there."""
    sde = SDE([X], [0], [[1]], domain={X: ("absorb", 0, sp.oo)})
    gone = sp.Piecewise((1, X <= 0), (0, True))
    run = simulate(sde, start={X: 0.5}, time=1, dt=dt, paths=100_000, observables={"gone": gone}, check=False)
    mean, sem = end(run, "gone")
    assert abs(mean - 0.6170750775) < SPREAD * sem
    assert (np.diff(run.gone.sel(statistic="mean")) >= 0).all()
    mean, sem = end(run, "X")
    assert abs(mean - 0.5) < SPREAD * sem


def test_absorption_between_two_walls() -> None:
    """A martingale from .2 ends at 1 with probability .6."""
    sde = SDE([X], [0], [[1]], domain={X: ("absorb", -1, 1)})
    up = sp.Piecewise((1, X >= 1), (0, True))
    run = simulate(sde, start={X: 0.2}, time=10, dt=0.02, paths=40_000, observables={"up": up}, save_at=2, check=False)
    mean, sem = end(run, "up")
    assert abs(mean - 0.6) < SPREAD * sem + 0.002


@pytest.mark.parametrize(
    "wall",
    [
        ("absorb", -1, 1),
        *(
            pytest.param(wall, marks=pytest.mark.slow)
            for wall in [("reflect", -0.5, 1), ("reflect", 0, sp.oo), ("periodic", -1, 0.5), ("absorb", -sp.oo, 1)]
        ),
    ],
    ids=str,
)
def test_paths_are_those_of_the_naive_twin(wall: tuple[Any, ...]) -> None:
    """In long steps, which leave both walls behind, and with noise that hangs on the state."""
    sde = SDE([X], [sp.cos(3 * t) - X], [[1 + X**2 / 4]], time=t, domain={X: wall})
    run = simulate(sde, start={X: 0.25}, time=3, dt=0.2, paths=60, save_at=16, keep="paths", seed=6, check=False)
    coefficients = (lambda x, s: np.cos(3 * s) - x, lambda x, s: 1 + x * x / 4)
    kind, low, high = wall[0], float(wall[1]), float(wall[2])
    for path in range(60):
        twin = follow(path, 6, 0.25, run.time.values.tolist(), coefficients, (kind, low, high))
        assert run.X.values[path] == pytest.approx(np.array(twin), abs=1e-11), path
    stays = np.diff(run.X.values, axis=1) == 0
    assert (0.1 < stays.mean() < 0.9) == (kind == "absorb")


MIXED = SDE(
    [X, V],
    [1, 1 - V],
    [[sp.sqrt(V), 0], [0.6 * sp.sqrt(V), 0.8 * sp.sqrt(V)]],
    domain={X: ("absorb", -2, 2), V: POSITIVE},
)


@pytest.mark.parametrize("scheme", ["quadratic-exponential", "full-truncation"])
def test_bits_do_not_depend_on_how_it_is_run(scheme: str, tmp_path: Path) -> None:
    def run(**more: Any) -> Any:
        settings: dict[str, Any] = {"paths": 700, "save_at": 3, "scheme": scheme, "seed": 3, **more}
        return simulate(MIXED, start={X: 0, V: 0.3}, time=1, dt=0.05, **settings)

    one = run(threads=1)
    assert run(threads=2).attrs["result_hash"] == one.attrs["result_hash"]
    first = run(checkpoint=tmp_path / "run.ckpt")
    assert run(checkpoint=tmp_path / "run.ckpt").attrs["result_hash"] == first.attrs["result_hash"]
    few, many = run(keep="paths", paths=10), run(keep="paths", paths=300)
    assert np.array_equal(few.X, many.X[:10]) and np.array_equal(few.V, many.V[:10])
    assert float(one.V.sel(statistic="min").min()) >= 0
    fine = run(refine=4, check=False)
    assert fine.attrs["exploded_paths"] == 0


def test_levels_see_what_is_saved() -> None:
    """Full truncation carries a state below 0, which no event sees."""
    root = SDE([V], [0.1 - V], [[sp.sqrt(V)]], domain={V: POSITIVE})
    run = simulate(
        root,
        start={V: 0.1},
        time=2,
        dt=0.1,
        paths=500,
        scheme="full-truncation",
        events={"below": -V - 1e-9},
        crossings="steps",
    )
    assert int(run.below_count[-1]) == 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SDE([X], [-X], [[1]], domain={X: POSITIVE}), "does not vanish|vanishes there"),
        (lambda: SDE([X], [-1], [[X]], domain={X: POSITIVE}), "point below"),
        (lambda: SDE([X], [1], [[1]], domain={X: ("reflect", 1, 0)}), "lower one first"),
        (lambda: SDE([X], [1], [[1]], domain={X: ("periodic", 0, sp.oo)}), "finite ends"),
        (lambda: SDE([X], [1], [[1]], domain={X: ("absorb", -sp.oo, sp.oo)}), "needs an end"),
        (lambda: SDE([X], [1], [[1]], domain={X: "reflect"}), "two ends"),
        (lambda: SDE([X], [1], [[1]], domain={X: ("bounce", 0, 1)}), "kind of wall"),
        (lambda: SDE([X], [1], [[1]], domain={X: ("reflect", 0, "one")}), "numbers"),
        (lambda: SDE([X], [1], [[1]], domain={X: 3}), "nonnegative"),
        (lambda: SDE([X], [1], [[1]], domain={Y: POSITIVE}), "name states"),
        (lambda: SDE([X], [1], [[1]], domain=[X]), "mapping"),
        (lambda: SDE([X], [X], [[X]], domain={X: POSITIVE, "X": POSITIVE}), "one domain"),
        (lambda: SDE(states("Z", (3,)), 0, 1, domain={"Z": POSITIVE}), "vanishes there"),
    ],
)
def test_refusals_of_domains(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.parametrize("scheme", ["euler-maruyama", "log-euler", "adaptive-euler"])
def test_schemes_that_do_not_keep_a_domain_are_refused(scheme: str) -> None:
    with pytest.raises(InputError, match="full-truncation"):
        simulate(SDE([V], [1 - V], [[sp.sqrt(V)]], domain={V: POSITIVE}), start={V: 1}, time=1, scheme=scheme)


def test_schemes_of_domains_are_refused_without_one() -> None:
    for scheme in ("full-truncation", "log-euler", "quadratic-exponential"):
        with pytest.raises(InputError, match="domain="):
            simulate(SDE([V], [1 - V], [[sp.sqrt(V)]]), start={V: 1}, time=1, scheme=scheme)


def test_a_start_outside_is_refused() -> None:
    with pytest.raises(InputError, match=r"start\[V\].*domain"):
        simulate(CIR, start={V: -0.1, Y: 0}, time=1)


def test_a_domain_goes_where_its_equation_goes() -> None:
    sense = SDE([X], [1 - X], [[sp.sqrt(X)]], domain={X: POSITIVE}).to("stratonovich")
    assert sense.domain and sense.to("ito").domain
    with pytest.raises(InputError, match="to\\('ito'\\)"):
        simulate(sense, start={X: 1}, time=1)
