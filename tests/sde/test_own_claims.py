"""Claims of a user's own: how they are judged, what they may be, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from sde import SGD, Claim, InputError, train, verify
from sde.verification.claim_kind import ClaimKind
from sde.verification.own_claims import CurveClaim, Expected, kind_of
from sde.verification.runs import Evidence, Kind, Run, Sample, Simulators
from sde.verification.verdicts import Claim as Measured
from sde.verification.verdicts import judge
from symbolic import derive
from tests.sde.claim_samples import ENTRY, LOSS, NORMAL, SETTINGS, SMALL, C, T, U, W, given, own


def measured(expected: dict[str, Any], values: np.ndarray, exploded: int = 0, **setting: Any) -> Measured:
    """The claim about an observable whose values on paths are these, (paths, K). setting: what is known of SGD."""
    steps = np.arange(1, values.shape[1] + 1)
    kind = kind_of(
        Expected(label="x", when="", value=lambda x: x[..., 0], run=Kind.SGD, starts=(0,), steps=steps, **expected)
    )
    found = list(_look(kind, values, exploded, setting))
    assert isinstance(found[0], Measured)
    return found[0]


def _look(kind: ClaimKind, values: np.ndarray, exploded: int, known: dict[str, Any]) -> Iterator[Any]:
    experiment = given(values.shape[1])
    experiment = replace(experiment, setting=replace(experiment.setting, **known))
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
    """All alike, or one in a hundred that differs: no bound holds without what rare paths would bring."""
    expected = {"curve": np.zeros(1), "margin": 0.05}
    (alike,) = judge([measured(expected, np.zeros((500, 1)))], 0.01)
    assert alike.verdict == "inconclusive" and "one value" in alike.note and alike.needs == "more paths"
    rare = np.zeros((100, 1))
    rare[3] = 1.0
    (seen,) = judge([measured(expected, rare)], 0.01)
    assert seen.verdict == "inconclusive" and "skew" in seen.note  # Student's law alone would support it at 1e-4
    assert stats.t.sf(0.04 / 0.01, 99) < 1e-4 and 1000 < int(seen.needs.split()[1]) < 4000
    assert seen.interval == (-np.inf, np.inf)
    (whole,) = judge([measured(expected, np.tile(rare, (40, 1)))], 0.01)
    assert whole.verdict == "supported"
    assert judge([measured(expected, np.full((9, 1), np.nan))], 0.01)[0].verdict == "inconclusive"
    (gone,) = judge([measured(expected, np.random.default_rng(0).normal(0, 0.1, (900, 1)), 100)], 0.01)
    assert gone.verdict == "inconclusive" and gone.needs == "a smaller learning rate"


@pytest.mark.parametrize("value", [0.075, 0.175, 0.3 * 0.275, -1e8])
@pytest.mark.parametrize("paths", [20, 21, 2000])
def test_values_that_are_alike_to_rounding_are_alike(value: float, paths: int) -> None:
    """Their standard deviation is no 0: their mean is rounded, or they are."""
    expected = {"curve": np.array([value]), "margin": 1e-3 * abs(value)}
    rounded = value * (1 + 2**-52 * np.random.default_rng(0).integers(-3, 4, (paths, 1)))
    for values in (np.full((paths, 1), value), rounded):
        (alike,) = judge([measured(expected, values)], 0.01)
        assert alike.verdict == "inconclusive" and "one value" in alike.note and alike.needs == "more paths"
    (told,) = judge([measured(expected, value * (1 + 1e-9 * np.random.default_rng(0).normal(size=(100, 1))))], 0.01)
    assert told.verdict == "supported"


@pytest.mark.parametrize("off", [0.0, 0.5, 1.5])
def test_without_noise_a_value_is_exact(off: float) -> None:
    """Of a full batch; paths that differ all the same are judged as samples, and a distribution asks for its value."""
    still = {"temperature": 0.0, "variance": 0.0}
    expected = {"curve": np.array([0.3]), "margin": 0.01}
    (exact,) = judge([measured(expected, np.full((20, 1), 0.3 + 0.01 * off), **still)], 0.01)
    assert exact.verdict == ("refuted" if off > 1 else "supported") and exact.interval == (exact.statistic,) * 2
    (noisy,) = judge([measured(expected, 0.3 + 0.05 * np.random.default_rng(0).normal(size=(20, 1)), **still)], 0.01)
    assert noisy.verdict == "inconclusive" and noisy.needs.endswith("paths")
    law = {"reference": NORMAL, "margin": 0.3}
    (still_one,) = judge([measured(law, np.full((20, 1), 0.3), **still)], 0.01)
    assert still_one.verdict == "inconclusive" and still_one.needs == "a claim of its mean, which is exact"
    (alike,) = judge([measured(law, np.full((20, 1), 0.3))], 0.01)
    assert alike.verdict == "inconclusive" and alike.needs == "more paths"


HEAVY = {
    "product": lambda rng, n: np.prod((1 - 0.6 * rng.normal(size=(n, 20)) ** 2) ** 2, axis=1) / 0.88**20,
    "lognormal": lambda rng, n: np.exp(2.5 * rng.normal(size=n) - 2.5**2 / 2),
    "rare": lambda rng, n: (rng.random(n) < 0.01) / 0.01 + rng.normal(0, 0.01, n),
    "cube": lambda rng, n: 1 + rng.laplace(size=n) ** 5,
}


@pytest.mark.parametrize("draw", HEAVY.values(), ids=HEAVY)
@pytest.mark.parametrize("paths", [100, 500])
def test_a_true_mean_of_skew_values_is_not_refuted(draw: Any, paths: int) -> None:
    """Means of 1 that a few rare paths make, 50 samples each: at most one is refuted at alpha = 0.01. Cantelli's
    inequality with the sample's own variance refuted most of the first. That rare ones may be missing the data tell."""
    rng = np.random.default_rng(5)
    expected, seen = {"curve": np.ones(1), "margin": 0.2}, 2500 if draw is HEAVY["rare"] else 0
    claims = [measured(expected, draw(rng, paths)[:, None], seen=seen) for _ in range(50)]
    assert sum(judge([claim], 0.01)[0].verdict == "refuted" for claim in claims) <= 1


@pytest.mark.parametrize("large", [1e120, 1e200, 1e300])
def test_values_whose_squares_overflow_decide_nothing(large: float) -> None:
    values = np.random.default_rng(0).normal(size=(100, 1))
    values[3] = large
    (found,) = judge([measured({"curve": np.zeros(1), "margin": 0.3}, values)], 0.01)
    assert found.verdict == "inconclusive" and found.needs.endswith("paths")


@pytest.mark.parametrize(("paths", "word"), [(400, "inconclusive"), (2500, "supported")])
def test_rare_data_must_have_been_seen(paths: int, word: str) -> None:
    """Of the 25 over its chance of 1/100 draws that a rare row asks for, 400 paths of one step are too few."""
    values = np.random.default_rng(1).normal(0, 1, (paths, 1))
    (found,) = judge([measured({"curve": np.zeros(1), "margin": 0.3}, values, seen=2500)], 0.01)
    assert found.verdict == word and ("rare" in found.note) is (word != "supported")
    assert found.needs == ("" if word == "supported" else "about 2500 paths")


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
        Claim("C_1", equals=(times[20:], mean[20:]), margin=0.02, name="curve"),
        Claim(C, equals=1.08 + slope * T, margin=0.02),
        Claim(C, equals=lambda t: 1.08 + slope * t, margin=0.02, at=[0, 1, 2], name="{start} function"),
        Claim(C, equals=end, margin=0.02, run="sde"),
        Claim(C, equals=1.08, margin=0.02, run="gd", start=1),
        Claim(C, equals=ends[:, -1], margin=0.3),
        Claim(C, equals=ends[:, -1].tolist(), margin=0.02, distance="wasserstein"),
        Claim("u", equals=stats.norm(1.25, 0.05), margin=0.3, distance="wasserstein", at=2),
    ]
    report = verify(LOSS, SMALL, **SETTINGS | {"paths": 2000}, theory=theory, claims=true)
    assert [v.verdict for v in own(report)] == ["supported"] * len(true), [(v.subject, v.interval) for v in own(report)]
    plain = verify(LOSS, SMALL, **SETTINGS | {"paths": 2000})
    known = {(v.claim, v.statistic) for v in report.tested}
    assert {(v.claim, v.statistic) for v in plain.tested if v.group != "approach"} <= known  # SDE steps fit its saves
    subjects = [v.subject for v in own(report)]
    assert "SGD from start 1, {start} function" in subjects and "GD from start 1, u**2 - w**2 at t = 2" in subjects
    assert len(set(subjects)) == len(subjects)
    drawn = {c.charge: c for c in report.curves}
    assert np.allclose(drawn["curve"].theory, mean[20:], atol=1e-12) and "SDE" not in drawn["curve"].bands[0].label
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


def test_the_largest_seed_is_one() -> None:
    assert verify(LOSS, SMALL, **SETTINGS | {"seed": 2**64 - 1, "paths": 4, "time": 0.2}).tested
