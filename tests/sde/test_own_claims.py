"""Claims of a user's own, their error rates, and looks at growing data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from sde import SGD, Claim, InputError, train, verify
from sde.engine.interruption import InterruptedWarning
from sde.verification import distances
from sde.verification.claim_kind import Case, ClaimKind
from sde.verification.distances import Distance, Law, kolmogorov, wasserstein
from sde.verification.experiment import Experiment
from sde.verification.looks import run_in_looks, sizes
from sde.verification.own_claims import CurveClaim, Expected, kind_of
from sde.verification.runs import Evidence, Kind, Run, Sample, Simulators
from sde.verification.setting import Margins, Setting
from sde.verification.theory_numbers import Theory
from sde.verification.verdicts import Claim as Measured
from sde.verification.verdicts import judge
from symbolic import derive
from symbolic.library import LIBRARY

ENTRY = LIBRARY["rescaling"]
LOSS, SMALL = ENTRY.build(), SGD(0.02)
U, W = LOSS.theta
C, T = U**2 - W**2, sp.Symbol("t", real=True)
SETTINGS: dict[str, Any] = {"start": ENTRY.start, "time": 2.0, "paths": 100, "seed": 1}
NORMAL = Law(stats.norm.cdf, stats.norm.ppf)
ALPHA = 0.05


def binomial(count: int, trials: int, chance: float) -> float:
    """How likely so many, or more, are."""
    return float(stats.binom.sf(count - 1, trials, chance))


def own(report: Any) -> list[Any]:
    return [v for v in report.verdicts if v.group.startswith("claimed")]


# --- distances ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [kolmogorov, wasserstein])
@pytest.mark.parametrize("paths", [20, 400])
def test_a_distance_misses_the_true_one_no_more_often_than_it_says(distance: Any, paths: int) -> None:
    """Two-sided, at a law apart from the claimed one and at that one itself; 5 % declared, 400 samples, refused at
    1e-4. docs/theory.md eq. (10.1), (10.2), (10.3)."""
    rng, shift = np.random.default_rng(3), 0.2
    true = {kolmogorov: 2 * float(stats.norm.cdf(shift / 2)) - 1, wasserstein: shift}[distance]
    for mean, apart in ((shift, true), (0.0, 0.0)):
        missed = 0
        for _ in range(400):
            found: Distance = distance(rng.normal(mean, 1, paths), NORMAL)
            missed += found.tail(abs(found.value - apart)) <= ALPHA
        assert binomial(missed, 400, ALPHA) > 1e-4


@pytest.mark.parametrize("distance", [kolmogorov, wasserstein])
def test_two_samples_of_one_law_are_told_apart_as_rarely_as_it_says(
    distance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/theory.md eq. (10.2)."""
    rng, wrong, bounded, right = np.random.default_rng(4), 0, 0, 0
    monkeypatch.setattr(distances, "PERMUTATIONS", 499)
    for _ in range(40):
        x, y = rng.exponential(1, 60), rng.exponential(1, 90)
        found, shifted = distance(x, y), distance(x + 0.9, y)
        wrong, right = wrong + (found.same() <= ALPHA), right + (shifted.same() <= ALPHA)
        bounded += found.tail(found.value) <= ALPHA
    assert binomial(wrong, 40, ALPHA) > 1e-4 and binomial(bounded, 40, ALPHA) > 1e-4 and right == 40


def test_distances_are_those_of_scipy() -> None:
    rng = np.random.default_rng(5)
    x, y, table = rng.normal(0.3, 1, 300), rng.normal(0, 2, 200), stats.norm.ppf((np.arange(10**6) + 0.5) / 10**6)
    assert kolmogorov(x, NORMAL).value == pytest.approx(stats.kstest(x, "norm").statistic, rel=1e-12)
    assert kolmogorov(x, NORMAL).same() == pytest.approx(stats.kstest(x, "norm").pvalue, rel=1e-9)
    assert kolmogorov(x, y).value == pytest.approx(stats.ks_2samp(x, y).statistic, rel=1e-12)
    assert wasserstein(x, y).value == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-10)
    assert wasserstein(x, NORMAL).value == pytest.approx(stats.wasserstein_distance(x, table), rel=1e-3)
    coin = stats.bernoulli(0.5)
    assert kolmogorov(np.array([0.0, 0.0, 0.0, 1.0]), Law(coin.cdf, coin.ppf)).value == pytest.approx(0.25)
    for found in (kolmogorov(x, y), wasserstein(x, y), kolmogorov(x, NORMAL), wasserstein(x, NORMAL)):
        assert found.tail(found.reach(1e-4)) == pytest.approx(1e-4, rel=1e-3)


# --- what is judged -------------------------------------------------------------------------------------------------


def measured(expected: dict[str, Any], values: np.ndarray, exploded: int = 0) -> Measured:
    """The claim about an observable whose values on paths are these, (paths, K)."""
    steps = np.arange(1, values.shape[1] + 1)
    kind = kind_of(
        Expected(label="x", when="", value=lambda x: x[..., 0], run=Kind.SGD, starts=(0,), steps=steps, **expected)
    )
    found = list(_look(kind, values, exploded))
    assert isinstance(found[0], Measured)
    return found[0]


def given(steps: int) -> Experiment:
    def moments(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return theta, theta[..., None]

    setting = Setting(
        learning_rate=1.0,
        temperature=1.0,
        variance=1.0,
        weight_decay=0.0,
        speed=1.0,
        plain=True,
        closed=True,
        factor=np.ones_like,
    )
    return Experiment(Theory((), moments, 0.0), setting, (np.zeros(1),), steps, Margins(), tuple(range(steps + 1)))


def _look(kind: ClaimKind, values: np.ndarray, exploded: int) -> Iterator[Any]:
    experiment = given(values.shape[1])
    states = np.concatenate([np.zeros((len(values), 1)), values], axis=1)[:, :, None]

    def sample(run: Run, theta: np.ndarray, saves: np.ndarray) -> Sample:
        return Sample(states[:, saves], saves * 1.0, exploded, len(values) + exploded, None)

    evidence = Evidence(experiment, Simulators(sample, lambda run, x, batch: x, lambda theta: None))
    evidence.make(Run(Kind.SGD))
    (case,) = kind.applies(experiment)
    yield from kind.measure(case, evidence)


def test_a_curve_is_supported_everywhere_or_not_at_all() -> None:
    rng = np.random.default_rng(0)
    curve = np.array([0.0, 1.0, 2.0])
    values = curve + rng.normal(0, 1, (400, 3))
    whole = measured({"curve": curve, "margin": 0.5}, values)
    assert isinstance(whole, CurveClaim) and judge([whole], 0.01)[0].verdict == "supported"
    (off,) = judge([measured({"curve": curve + [0, 0, 1], "margin": 0.5}, values)], 0.01)
    assert off.verdict == "refuted" and off.statistic == pytest.approx(-1, abs=0.2) and "t = 3" in off.note
    outside = [p.p_values()[0] for p in whole.parts]
    inside = [p.p_values()[1] for p in whole.parts]
    assert whole.p_values() == (max(outside), min(1.0, 3 * min(inside)))


def test_too_few_paths_never_support() -> None:
    """An inconclusive claim says how many it needs: so many decide it, a few less do not."""

    def word(paths: int, mean: float) -> Any:
        values = np.random.default_rng(1).normal(0, 1, (paths, 1))
        values = mean + (values - values.mean()) / values.std(ddof=1)
        return judge([measured({"curve": np.zeros(1), "margin": 0.1}, values)], 0.01)[0]

    for mean, decided in ((0.0, "supported"), (0.04, "supported"), (0.2, "refuted")):
        few = word(50, mean)
        assert few.verdict == "inconclusive" and few.needs.startswith("about ") and few.needs.endswith(" paths")
        needed = int(few.needs.split()[1])
        assert word(needed, mean).verdict == decided
        assert word(int(0.9 * needed), mean).verdict == "inconclusive"
    assert word(400, 0.1).needs == "a wider or a narrower margin: the value lies at the margin's edge"


def test_values_that_tell_no_error_decide_nothing() -> None:
    """All alike, or one in a hundred that differs: Cantelli's inequality is all that is believed then."""
    expected = {"curve": np.zeros(1), "margin": 0.05}
    (alike,) = judge([measured(expected, np.zeros((500, 1)))], 0.01)
    assert alike.verdict == "inconclusive" and "one value" in alike.note and alike.needs == "more paths"
    rare = np.zeros((100, 1))
    rare[3] = 1.0
    (seen,) = judge([measured(expected, rare)], 0.01)
    assert seen.verdict == "inconclusive" and "skew" in seen.note  # Student's law alone would support it at 1e-4
    assert stats.t.sf(0.04 / 0.01, 99) < 1e-4 and 1000 < int(seen.needs.split()[1]) < 4000
    (whole,) = judge([measured(expected, np.tile(rare, (40, 1)))], 0.01)
    assert whole.verdict == "supported"
    assert judge([measured(expected, np.full((9, 1), np.nan))], 0.01)[0].verdict == "inconclusive"
    (gone,) = judge([measured(expected, np.random.default_rng(0).normal(0, 0.1, (900, 1)), 100)], 0.01)
    assert gone.verdict == "inconclusive" and gone.needs == "a smaller learning rate"


@pytest.mark.parametrize("distance", ["ks", "wasserstein"])
def test_a_distribution_is_supported_refuted_or_neither(distance: str) -> None:
    rng = np.random.default_rng(2)
    expected = {"reference": NORMAL, "margin": 0.3, "distance": distance}
    words = {
        shift: judge([measured(expected, rng.normal(shift, 1, (n, 1)))], 0.01)[0]
        for shift, n in ((0.0, 1000), (2.0, 1000), (0.01, 60))
    }
    assert [v.verdict for v in words.values()] == ["supported", "refuted", "inconclusive"]
    needed = int(words[0.01].needs.split()[1])
    assert needed > 60 and words[0.0].interval[0] <= words[0.0].statistic <= words[0.0].interval[1] < 0.3


# --- looks ----------------------------------------------------------------------------------------------------------


def test_looks_double_up_to_the_budget() -> None:
    assert sizes(500, None) == (500,) and sizes(500, 500) == (500,)
    assert sizes(500, 3000) == (500, 1000, 2000, 3000)


def in_looks(seed: int, mean: float, margin: float, looks: tuple[int, ...], alpha: float, count: int = 1) -> Any:
    """Claims about means of N(mean, 1), looked at together. Paths of a look are drawn by its own seed."""
    made = []

    def sample(run: Run, theta: np.ndarray, saves: np.ndarray) -> Sample:
        made.append(run.look)
        added = looks[run.look] - (looks[run.look - 1] if run.look else 0)
        states = np.random.default_rng([seed, run.look]).normal(mean, 1, (added, len(saves), count))
        return Sample(states, saves * 1.0, 0, added, None)

    def claim(j: int) -> ClaimKind:
        shape = {"curve": np.zeros(1), "margin": margin, "steps": np.array([1]), "starts": (0,), "run": Kind.SGD}
        return kind_of(Expected(label=f"x{j}", when="", value=lambda x: x[..., j], **shape))

    simulators = Simulators(sample, lambda run, x, batch: x, lambda theta: None)
    return run_in_looks(given(1), simulators, [claim(j) for j in range(count)], alpha, len(looks)), made


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("mean", "wrong"), [(0.5001, "supported"), (0.4999, "refuted")])
def test_many_looks_spend_no_more_than_alpha(mean: float, wrong: str, count: int) -> None:
    """On the margin's edge, over eight looks: the chance of any wrong verdict, 10 % declared, 250 families, refused at
    1e-4. Looks that each spend it whole go beyond it, for a single claim."""
    looks, alpha = tuple(20 * 2**k for k in range(8)), 0.1

    def families(spent: float) -> int:
        found = (in_looks(seed, mean, 0.5, looks, spent, count)[0].verdicts for seed in range(250))
        return sum(any(v.verdict == wrong for v in verdicts) for verdicts in found)

    assert binomial(families(alpha), 250, alpha) > 1e-4
    if count == 1 and wrong == "supported":
        assert binomial(families(8 * alpha), 250, alpha) < 1e-4


def test_looks_end_once_all_is_decided_and_verdicts_stay() -> None:
    looks = (50, 100, 200, 400, 800, 1600)
    (outcome, made) = in_looks(2, 0.0, 0.3, looks, 0.01, 4)
    assert {v.verdict for v in outcome.verdicts} == {"supported"} and 1 < outcome.looks < 6
    assert made == list(range(outcome.looks))
    assert all(v.paths == looks[v.look - 1] and v.needs == "" for v in outcome.verdicts)
    assert len({v.look for v in outcome.verdicts}) > 1
    (spent, _) = in_looks(1, 0.2, 0.2, looks, 0.01, 4)
    assert spent.looks == 6 and {v.verdict for v in spent.verdicts} == {"inconclusive"}
    assert all(v.paths == 1600 and v.needs for v in spent.verdicts)


def test_one_look_is_what_there_was_before() -> None:
    one, two = (verify(LOSS, SMALL, **SETTINGS, most_paths=most) for most in (None, 100))
    assert [(v.statistic, v.interval) for v in one.verdicts] == [(v.statistic, v.interval) for v in two.verdicts]
    assert one.looks == two.looks == (100,)


def test_looks_resumed_and_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed verification in looks goes on to the same report; one broken off keeps the verdicts of its last whole
    look."""
    claims = [Claim(U, equals=1.2, margin=0.02, at=1.0, name="near"), Claim(C, equals=stats.norm(1, 1), margin=0.5)]
    asked = SETTINGS | {"paths": 20, "most_paths": 160, "claims": claims}
    whole = verify(LOSS, SMALL, **asked)
    assert len(whole.looks) > 2 and {v.look for v in whole.verdicts} > {1}
    inner = Evidence.extend

    def pressing(evidence: Evidence, run: Run, look: int) -> None:
        if look == 2:
            raise KeyboardInterrupt
        inner(evidence, run, look)

    monkeypatch.setattr(Evidence, "extend", pressing)
    with pytest.warns(InterruptedWarning):
        part = verify(LOSS, SMALL, **asked, checkpoint=tmp_path / "c")
    monkeypatch.setattr(Evidence, "extend", inner)
    assert part.interrupted and part.looks == whole.looks[:2] and {v.look for v in part.verdicts} == {1, 2}
    again = verify(LOSS, SMALL, **asked, checkpoint=tmp_path / "c", threads=1)
    assert json.dumps(again.to_dict()) == json.dumps(whole.to_dict())
    with pytest.raises(InputError, match="checkpoint: must be of the same run"):
        verify(LOSS, SMALL, **{**asked, "claims": claims[:1]}, checkpoint=tmp_path / "c")


# --- verify ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ends() -> np.ndarray:
    """The charge at the end, of paths that `verify` does not see."""
    run = train(LOSS, SMALL, start=ENTRY.start, steps=100, paths=2000, seed=77, observables={"C": C}, keep="paths")
    return run.C.values


def test_every_form_of_a_claim(ends: np.ndarray) -> None:
    """True ones supported, the same shifted refuted; all dynamics, and the theory's claims as without them."""
    mean, times = ends.mean(axis=0), np.linspace(0, 2, ends.shape[1])
    theory, end = derive(LOSS), float(ends[:, -1].mean())
    slope = (end - 1.08) / 2
    true = [
        Claim(theory.charges[0], equals=end, margin=0.02),
        Claim("C_1", equals=(times, mean), margin=0.02, name="curve"),
        Claim(C, equals=1.08 + slope * T, margin=0.02),
        Claim(C, equals=lambda t: 1.08 + slope * t, margin=0.02, at=[0, 1, 2], name="{start} function"),
        Claim(C, equals=end, margin=0.02, run="sde"),
        Claim(C, equals=1.08, margin=0.02, run="gd", start=1),
        Claim(C, equals=ends[:, -1], margin=0.3),
        Claim(C, equals=ends[:, -1].tolist(), margin=0.02, distance="wasserstein"),
        Claim("u", equals=stats.norm(1.25, 0.05), margin=0.3, distance="wasserstein", at=2),
    ]
    report = verify(LOSS, SMALL, **SETTINGS | {"paths": 400}, theory=theory, claims=true)
    assert [v.verdict for v in own(report)] == ["supported"] * len(true), [(v.subject, v.interval) for v in own(report)]
    plain = verify(LOSS, SMALL, **SETTINGS | {"paths": 400})
    known = {(v.claim, v.statistic) for v in report.tested}
    assert {(v.claim, v.statistic) for v in plain.tested if v.group != "approach"} <= known  # SDE steps fit its saves
    subjects = [v.subject for v in own(report)]
    assert "SGD from start 1, {start} function" in subjects and "GD from start 1, u**2 - w**2 at t = 2" in subjects
    assert len(set(subjects)) == len(subjects)
    drawn = {c.charge: c for c in report.curves}
    assert np.allclose(drawn["curve"].theory, mean, atol=1e-12) and "SDE" not in drawn["curve"].bands[0].label
    assert "claimed mean" in report.to_dict()["verdicts"][-5]["group"] or "claims" in report.settings
    false = [
        Claim(C, equals=end + 0.1, margin=0.02),
        Claim(C, equals=1.18 + slope * T, margin=0.02, run="sde"),
        Claim(C, equals=ends[:, -1] + 0.1, margin=0.0),
        Claim(C, equals=ends[:, -1] + 0.1, margin=0.0, distance="wasserstein"),
        Claim("u", equals=stats.norm(3, 0.05), margin=0.3),
        Claim(C, equals=1.2, margin=0.02, run="gd"),
    ]
    report = verify(LOSS, SMALL, **SETTINGS | {"paths": 400}, claims=false)
    assert [v.verdict for v in own(report)] == ["refuted"] * len(false) and report.outcome == "refuted"


def test_the_stationary_law_is_a_claim() -> None:
    """Where SGD of a chain goes: supported at its own temperature, refuted at twice that."""
    theory, sgd = derive(LOSS), SGD(0.02)
    settings = {"start": {"u": 1.0, "w": 1.0}, "time": 30.0, "paths": 1000, "seed": 3}
    claims = [
        Claim(U * W, equals=theory.stationary_law(SGD(rate)), margin=0.12, name=str(rate)) for rate in (0.02, 0.2)
    ]
    found = {v.subject.split(", ")[1]: v.verdict for v in own(verify(LOSS, sgd, **settings, claims=claims))}
    assert found == {"0.02 at t = 30": "supported", "0.2 at t = 30": "refuted"}


def test_each_start_given_has_its_claim_and_a_loss_without_charges_too() -> None:
    x, y, a, b = sp.symbols("x y a b", real=True)
    from symbolic import Dataset, Loss, Normal

    rows = Dataset({x: np.linspace(-1, 1, 9), y: np.linspace(-1, 1, 9) ** 3})
    loss = Loss((a * sp.tanh(b * x) - y) ** 2, [a, b], rows)
    starts = [{"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 0.5}]
    report = verify(loss, SGD(0.05), start=starts, time=1.0, paths=50, claims=[Claim(a, equals=0.5, margin=0.3)])
    assert [v.subject for v in report.verdicts] == [f"SGD from start {i}, a at t = 1" for i in (1, 2)]
    assert [v.verdict for v in report.verdicts] == ["supported", "refuted"]
    open_ = Loss((a * sp.tanh(b * x) - y) ** 2, [a, b], {x: Normal(0, 1), y: Normal(0, 1)})
    report = verify(
        open_, SGD(0.05), start=starts[0], time=1.0, paths=9, claims=[Claim(a, equals=1, margin=1, run="sde")]
    )
    (left,) = report.verdicts
    assert left.verdict == "not tested" and left.needs == "the data as a Dataset" and report.outcome == "inconclusive"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"margin": -1}, "Claim.margin: must be finite and 0 or more"),
        ({"margin": 0}, "Claim.margin: must be above 0 for a mean"),
        ({"margin": "wide"}, "Claim.margin"),
        ({"equals": float("nan")}, "Claim.equals: must be a number, a function"),
        ({"equals": None}, "Claim.equals"),
        ({"equals": "x"}, "Claim.equals"),
        ({"equals": [1.0]}, "Claim.equals"),
        ({"equals": [1.0, float("inf")]}, "Claim.equals"),
        ({"equals": sp.Symbol("a") * sp.Symbol("b")}, "Claim.equals: a curve must be an expression of time alone"),
        ({"equals": ([0, 1], [1])}, r"Claim.equals: \(times, values\)"),
        ({"equals": ([1, 0], [1, 2])}, "increasing times"),
        ({"equals": ([0, 1], [1, 2]), "at": 1}, "Claim.at: .* times of their own"),
        ({"equals": stats.norm}, "Claim.margin: must be above 0 for Wasserstein|Claim.margin"),
        ({"equals": stats.norm(0, 1), "run": "gd", "margin": 0.1}, "Claim.run: gradient descent is one path"),
        ({"equals": stats.norm(0, 1), "at": [1, 2], "margin": 0.1}, "Claim.at: a distribution is claimed at one"),
        ({"equals": stats.norm(0, np.nan), "margin": 0.1}, "Claim.equals: a distribution must be frozen"),
        ({"equals": stats.multivariate_normal([0, 0]), "margin": 0.1}, "Claim.equals"),
        ({"at": -1.0}, "Claim.at: must be a time or times"),
        ({"at": "end"}, "Claim.at"),
        ({"run": "adam"}, "Claim.run: must be 'sgd', 'sde' or 'gd'"),
        ({"distance": "l2"}, "Claim.distance"),
        ({"start": 0}, "Claim.start"),
        ({"name": 3}, "Claim.name"),
        ({"name": "a\nb"}, "Claim.name"),
        ({"tolerance": 3}, "Claim: has no argument 'tolerance'.*Give margin="),
    ],
)
def test_what_cannot_be_a_claim_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    if arguments.get("equals") is stats.norm:
        arguments = arguments | {"margin": 0.0, "distance": "wasserstein"}
    with pytest.raises(InputError, match=message):
        Claim(U, **{"equals": 1.0, "margin": 0.1, **arguments})


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        (Claim(U, equals=1, margin=1), r"verify.claims: must be a list of Claims"),
        ([3], r"verify.claims\[0\]: must be a Claim"),
        ([Claim("v", equals=1, margin=1)], r"verify.claims\[0\].observable\[v\]: must name a parameter, entry"),
        ([Claim([U, W], equals=1, margin=1)], r"verify.claims\[0\].observable: must be one number"),
        ([Claim(sp.Symbol("q"), equals=1, margin=1)], r"verify.claims\[0\].observable: may use the problem's"),
        ([Claim(sp.Symbol("u"), equals=1, margin=1)], r"other assumptions"),
        ([Claim(U, equals=1, margin=1, at=3.0)], r"verify.claims\[0\].at: times must lie within the run's 2"),
        ([Claim(U, equals=1, margin=1, start=2)], r"verify.claims\[0\].start: must be one of the 1 starts"),
        ([Claim(U, equals=W, margin=1)], r"verify.claims\[0\].equals: a curve must be an expression of time"),
        ([Claim(U, equals=1 / (T - 1), margin=1, at=1.0)], r"verify.claims\[0\].equals: a curve must be finite"),
        ([Claim(U, equals=lambda t: "x", margin=1)], r"verify.claims\[0\].equals: a curve must be finite"),
        ([Claim(U, equals=lambda t: t.no, margin=1)], r"verify.claims\[0\].equals: a function of time must give"),
    ],
)
def test_claims_that_do_not_fit_are_refused_before_any_run(
    claims: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evidence, "make", None)
    with pytest.raises(InputError, match=message):
        verify(LOSS, SMALL, **SETTINGS, claims=claims)


@pytest.mark.parametrize(
    ("most", "message"),
    [(50, "verify.most_paths: must be at least paths, 100"), (2.5, "most_paths"), (10**13, "most_paths: may take")],
)
def test_a_budget_that_cannot_be_is_refused(most: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        verify(LOSS, SMALL, **SETTINGS, most_paths=most)


def test_the_largest_seed_is_one() -> None:
    assert verify(LOSS, SMALL, **SETTINGS | {"seed": 2**64 - 1, "paths": 4, "time": 0.2}).tested


def test_a_kind_of_ones_own_has_no_paths_to_add() -> None:
    """A claim that no path decides does not keep the looks going."""

    def applies(experiment: Experiment) -> Iterator[Case]:
        yield Case(runs=(Run(Kind.SGD),), subjects=("always",))

    def measure(case: Case, evidence: Evidence) -> Iterator[Measured]:
        yield kind.undecided("always", 0.0, "there is no telling", "another question")

    kind = ClaimKind(group="vague", statement="what is not known", applies=applies, measure=measure)

    def sample(run: Run, theta: np.ndarray, saves: np.ndarray) -> Sample:
        assert not run.look
        return Sample(np.zeros((4, len(saves), 1)), saves * 1.0, 0, 4, None)

    found = run_in_looks(given(1), Simulators(sample, lambda run, x, batch: x, lambda theta: None), [kind], 0.01, 5)
    assert found.looks == 1 and found.verdicts[0].needs == "another question"
