"""The order of every scheme on every problem it may be used on: two-sided 95 % intervals must hold what the scheme
states.

By default one or two problems for each scheme; all of them with `pytest -m slow tests/sde/test_orders.py`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import symbolic.schemes.one_step
from sde import convergence
from sde.estimators.convergence_order import Convergence
from symbolic.dynamics.equation import SDE
from symbolic.schemes import SCHEMES, fitting
from symbolic.schemes.implicit_euler import LARGEST, linear
from tests.sde import problems
from tests.sde.domain_problems import DOMAINS
from tests.sde.linear_problems import LINEAR_SYSTEMS
from tests.sde.nonlinear_systems import NONLINEAR_SYSTEMS
from tests.sde.problems import EXACT
from tests.sde.rescaling_problems import RESCALING

CASES = problems.CASES | RESCALING | DOMAINS | LINEAR_SYSTEMS | NONLINEAR_SYSTEMS
PATHS = 20_000
WIDEST = 0.15
"""Half-width beyond which a strong order's interval would say too little."""
FINER = {("wave", "sriw1"): 16, ("square", "platen-weak-2"): 4}
"""Pairs whose errors settle late: SRIW1's local slopes dip to 1.482 around dt = 0.05 and are back at 1.5 below 0.005
(200 000 paths)."""
PAIRS = [
    (case.sde.name, name)
    for case in CASES.values()
    for calculus in ("ito", "stratonovich")
    for name in fitting(case.sde.to(calculus))
    if SCHEMES[name].calculus == calculus
    and (case.exact or not SCHEMES[name].own_clock)
    and not SCHEMES[name].estimates
    and (not case.only or name in case.only)
]
CHOSEN = {
    ("commuting", "adaptive-euler"),
    ("gbm", "platen-weak-2"),
    ("gbm", "sriw1"),
    ("wave", "euler-heun"),
    ("circle", "implicit-euler"),
    ("springs", "implicit-euler"),
    ("commuting", "milstein"),
    ("cubic", "tamed-euler"),
    ("double-well", "sra1"),
    ("non-commuting", "euler-maruyama"),
    ("non-commuting", "heun"),
    ("heisenberg", "milstein-levy"),
    ("rescaling", "orbit-splitting"),
    ("root-driving", "quadratic-exponential"),
    ("double-well", "exponential-euler"),
    ("additive-pendulum", "exponential-coupled"),
    ("infection", "full-truncation"),
    ("predation", "log-euler"),
}
FIRST = {name: pair for pair in reversed(PAIRS) for name in pair[1:]}
DEFAULT = CHOSEN | {pair for name, pair in FIRST.items() if name not in {scheme for _, scheme in CHOSEN}}
"""With the first pair of every scheme that has none among the chosen ones."""


def measured(case: str, scheme: str, **changes: Any) -> Convergence:
    """The laboratory's settings for a pair: schemes whose error falls slowly begin with shorter steps."""
    problem = CASES[case]
    sde = problem.sde.to(SCHEMES[scheme].calculus)
    general = scheme == "milstein-levy" and sde.noise_class == "general"
    slow = SCHEMES[scheme].order("strong", sde.noise_class) < 1
    factor = (4 if scheme == "tamed-euler" else 1) * (4 if slow else 1)
    factor *= FINER.get((case, scheme), 1)
    settings: dict[str, Any] = {
        "exact": problem.exact,
        "start": problem.start,
        "time": problem.time,
        "functional": problem.functional,
        "steps": 4 if general else problem.steps * factor,
        "levels": 4 if general else 5,
        "paths": PATHS,
    }
    return convergence(sde, scheme, **settings | changes)


def misses(found: Convergence, case: str, kind: str) -> bool:
    """Whether the interval leaves out the stated order."""
    noise_class = CASES[case].sde.noise_class
    stated = CASES[case].special.get((kind, found.scheme), float(SCHEMES[found.scheme].order(kind, noise_class)))
    low, high = getattr(found, f"{kind}_interval")
    if stated == EXACT:
        return bool(np.abs(getattr(found, f"{kind}_error")).max() > 1e-13)
    return stated is not None and not low <= stated <= high


@pytest.mark.parametrize(
    ("case", "scheme"), [pair if pair in DEFAULT else pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS]
)
def test_the_interval_holds_the_stated_order(case: str, scheme: str) -> None:
    """Of some 330 intervals 5 % may miss by chance: a miss is measured once more, with another seed and four times the
    paths."""
    found = measured(case, scheme)
    if misses(found, case, "strong") or misses(found, case, "weak"):
        found = measured(case, scheme, seed=1, paths=4 * PATHS)
    assert not misses(found, case, "strong") and not misses(found, case, "weak"), str(found)
    assert np.ptp(found.strong_interval) < 2 * WIDEST or CASES[case].special.get(("strong", scheme)) == EXACT, str(
        found
    )


@pytest.mark.parametrize(
    ("case", "scheme", "changes"),
    [
        pytest.param(
            "non-commuting", "platen-weak-2", {"paths": 2_000_000, "steps": 2, "levels": 4}, marks=pytest.mark.slow
        ),
        ("wave", "sriw1", {"steps": 8}),
        ("pair-logistic", "orbit-splitting", {"paths": 200_000, "steps": 8}),
        ("double-well", "heun", {"paths": 400_000, "steps": 4, "levels": 4}),
    ],
)
def test_weak_orders_that_take_more_paths(case: str, scheme: str, changes: dict[str, int]) -> None:
    """Weak order 2 for general noise; 3/2, not 2, of SRIW1; 2 of Heun for additive noise; 1 of the splitting along an
    orbit."""
    found = measured(case, scheme, **changes)
    assert not misses(found, case, "weak"), str(found)
    least = {"sriw1": 1.4, "orbit-splitting": 0.9}.get(scheme, 1)
    assert found.weak_interval[0] > least, str(found)
    assert scheme != "sriw1" or found.weak_interval[1] < 2, str(found)


def test_implicit_steps_take_linear_drifts_whose_rates_change_in_time() -> None:
    """They were refused, as if not linear, for what the states are multiplied by."""
    assert {(name, "implicit-euler") for name in LINEAR_SYSTEMS} <= set(PAIRS)


def test_schemes_are_tried_on_at_least_eight_problems() -> None:
    counts = Counter(scheme for _, scheme in PAIRS)
    assert {name: n for name, n in counts.items() if n < 8} == {}
    beyond = [c for c, name in PAIRS if name == "implicit-euler" and CASES[c].sde.dimension > LARGEST]
    for of in (True, False):
        assert sum(linear(CASES[c].sde) == of for c in beyond) >= 8


def test_every_scheme_and_class_is_covered() -> None:
    assert len(CASES) >= 12 and {case.sde.noise_class for case in CASES.values()} == {
        "additive",
        "scalar",
        "diagonal",
        "commutative",
        "general",
    }
    stepped = {name for name, s in SCHEMES.items() if s.calculus != "discrete" and not s.estimates}
    assert {scheme for _, scheme in DEFAULT} == stepped
    assert set(PAIRS) >= DEFAULT


def test_milsteins_scheme_without_levy_areas_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pairing is refused; forced through, the laboratory finds order 1/2 where 1 is stated."""
    monkeypatch.setattr(symbolic.schemes.one_step, "check_pairing", lambda *_: None)
    found = measured("non-commuting", "milstein", steps=16, levels=4, reference="milstein-levy:16")
    low, high = found.strong_interval
    assert low <= 0.5 <= high < 0.8, str(found)


def test_the_wrong_calculus_is_caught() -> None:
    """Ito's formula read in Stratonovich's sense converges, but not to the solution: order 0 against it, unseen against
    itself."""
    case = CASES["gbm"]
    wrong = SDE(case.sde.states, list(case.sde.drift_vector), case.sde.diffusion_matrix.tolist(), "stratonovich")
    found = convergence(wrong, "heun", exact=case.exact, start=case.start, paths=2000)
    assert found.strong_interval[1] < 0.5
    alone = convergence(wrong, "heun", start=case.start, paths=2000)
    assert alone.strong_interval[0] <= 1 <= alone.strong_interval[1]
