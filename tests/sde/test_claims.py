"""Kinds of claims: one a file, each with what it says, where it applies and the runs that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import sde.verification.claims
from sde.verification.claim_kind import Case, ClaimKind
from sde.verification.claims import CLAIMS, STATEMENTS
from sde.verification.experiment import Experiment
from sde.verification.findings import run_experiment, runs_of, tasks
from sde.verification.runs import Evidence, Kind, Run, Sample, Simulators
from sde.verification.setting import Margins, Setting
from sde.verification.theory_numbers import Charge, Theory
from sde.verification.verdicts import Claim, judge, not_tested


def experiment(kind: str, *, plain: bool = True, closed: bool = True, weight_decay: float = 0.0) -> Experiment:
    """u^2 - w^2 or u^2 + w^2 where the mean gradient is 0 and Sigma is the identity, from two starts."""
    A = np.diag([1.0, -1.0 if kind == "convergent" else 1.0])

    def moments(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros_like(theta), np.broadcast_to(np.eye(2), (len(theta), 2, 2))

    setting = Setting(
        learning_rate=0.1,
        temperature=0.1,
        variance=1.0,
        weight_decay=weight_decay,
        speed=1.0,
        plain=plain,
        closed=closed,
        factor=np.ones_like,
    )
    theory = Theory((Charge("C", A, np.zeros(2), kind),), moments, weight_decay)
    return Experiment(theory, setting, (np.array([1.0, 0.5]), np.array([0.5, 1.0])), 10, Margins())


def test_every_file_is_a_claim() -> None:
    files = {path.stem for path in Path(sde.verification.claims.__file__).parent.glob("*.py")} - {"__init__"}
    assert len(files) == len(CLAIMS) == len(STATEMENTS) and all(kind.statement for kind in CLAIMS)
    assert list(STATEMENTS)[:7] == [
        "pathwise identity",
        "mean drift",
        "class",
        "approach",
        "equilibrium",
        "divergence law",
        "gradient descent",
    ]


TURNING = {"turning", "constant eigenvalues"}
"""Claims where rotations are among the symmetries."""
EVERYTHING = [
    Run(Kind.SGD, 0),
    Run(Kind.SGD, 1),
    Run(Kind.NOISE_SGD),
    Run(Kind.EVERY_SGD),
    Run(Kind.EVERY_GD),
    Run(Kind.DRIFT_SGD),
    Run(Kind.DRIFT_SDE),
    Run(Kind.SDE, 0),
    Run(Kind.GD, 0),
    Run(Kind.SDE, 1),
    Run(Kind.GD, 1),
    Run(Kind.QUARTER_GD),
    Run(Kind.EIGHTH_GD),
]


@pytest.mark.parametrize(
    ("given", "left_out", "groups"),
    [
        (experiment("convergent"), set(), set(STATEMENTS) - {"divergence law", *TURNING}),
        (experiment("divergent"), set(), set(STATEMENTS) - {"approach", "equilibrium", *TURNING}),
        (
            experiment("frozen"),
            {Kind.DRIFT_SGD, Kind.DRIFT_SDE},
            {"pathwise identity", "class", "gradient descent"},
        ),
        (
            experiment("convergent", plain=False),
            {Kind.NOISE_SGD, Kind.EVERY_SGD, Kind.EVERY_GD, Kind.DRIFT_SGD},
            {"mean drift", "approach", "equilibrium", "gradient descent"},
        ),
        (
            experiment("divergent", weight_decay=0.1),
            {Kind.QUARTER_GD, Kind.EIGHTH_GD},
            {"pathwise identity", "mean drift", "class"},
        ),
        (
            experiment("convergent", closed=False),
            set(Kind) - {Kind.SGD, Kind.NOISE_SGD, Kind.EVERY_SGD},
            {"pathwise identity", "mean drift", "class"},
        ),
    ],
)
def test_the_runs_follow_from_the_claims(given: Experiment, left_out: set[Kind], groups: set[str]) -> None:
    found = tasks(given)
    assert {kind.group for kind, _ in found if isinstance(kind, ClaimKind)} == groups
    assert runs_of(found) == [run for run in EVERYTHING if run.kind not in left_out]


def test_a_run_is_made_once_and_only_where_a_claim_needs_it() -> None:
    made = []

    def sample(run: Run, theta: np.ndarray, saves: np.ndarray) -> Sample:
        made.append(run)
        return Sample(np.empty((0, len(saves), 2)), saves * 0.1, 4, 4, 0.1)

    def one_step(run: Run, states: np.ndarray, batch: int) -> np.ndarray:
        assert batch >= 0
        made.append(run)
        return states

    found = run_experiment(experiment("convergent"), Simulators(sample, one_step, lambda theta: None))
    assert [run for run, before in zip(made, [None, *made], strict=False) if run != before] == EVERYTHING
    assert {c.group for c in found.claims} == {"equilibrium"}
    left = {"pathwise identity", "class", "approach", "gradient descent"}
    assert {u.group for u in found.untested} == {"mean drift", *left}  # of which the theory predicts exactly none
    told = {(u.reason, u.needs) for u in found.untested if u.group in left}
    assert told == {("every path exploded", "a smaller learning rate")}


def test_a_kind_of_claim_of_ones_own() -> None:
    """It names its runs, is judged with the others, and says why where it is not tested."""

    def applies(given: Experiment) -> Iterator[Case]:
        yield Case(runs=(Run(Kind.SGD),), subjects=("the first start",))
        reason, needs = "there are fewer starts", "an eighth start"
        yield Case(runs=(Run(Kind.SGD, 7),), subjects=("an eighth start",), reason=reason, needs=needs)

    def measure(case: Case, evidence: Evidence) -> Iterator[Claim]:
        last = evidence.sample(Kind.SGD).states[:, -1]
        yield own.claim(case.subjects[0], float(np.isfinite(last).mean()), 0.0, (1.0, 1.0), 1.0, len(last))

    own = ClaimKind(group="finite", statement="share of finite states", applies=applies, measure=measure)
    given = experiment("convergent")

    def sample(run: Run, theta: np.ndarray, saves: np.ndarray) -> Sample:
        return Sample(np.broadcast_to(theta, (5, len(saves), 2)), saves * 0.1, 0, 5, None)

    def one_step(run: Run, states: np.ndarray, batch: int) -> np.ndarray:
        return states + np.random.default_rng(batch).standard_normal(states.shape)

    found = run_experiment(given, Simulators(sample, one_step, lambda theta: None), [own])
    assert {kind.group for kind, _ in tasks(given, [own]) if isinstance(kind, ClaimKind)} >= {"finite", "approach"}
    verdicts = judge(found.claims, 0.01) + not_tested(found.untested, 0.01)
    last = [v for v in verdicts if v.group == "finite"]
    assert [(v.claim, v.verdict, v.reason, v.needs) for v in last] == [
        ("share of finite states: the first start", "supported", "", ""),
        ("share of finite states: an eighth start", "not tested", "there are fewer starts", "an eighth start"),
    ]
