"""Looks at growing data: what they spend, when they end, and how they go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sde import Claim, InputError, verify
from sde.engine.interruption import InterruptedWarning
from sde.verification.claim_kind import Case, ClaimKind
from sde.verification.experiment import Experiment
from sde.verification.looks import run_in_looks, sizes
from sde.verification.own_claims import Expected, kind_of
from sde.verification.runs import Evidence, Kind, Run, Sample, Simulators
from sde.verification.verdicts import Claim as Measured
from tests.sde.claim_samples import LOSS, SETTINGS, SMALL, C, U, binomial, given


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


@pytest.mark.parametrize(
    ("mean", "wrong", "count"),
    [
        (0.5001, "supported", 1),
        (0.4999, "refuted", 3),
        pytest.param(0.5001, "supported", 3, marks=pytest.mark.slow),
        pytest.param(0.4999, "refuted", 1, marks=pytest.mark.slow),
    ],
)
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


@pytest.mark.parametrize(
    ("most", "message"),
    [(50, "verify.most_paths: must be at least paths, 100"), (2.5, "most_paths"), (10**13, "most_paths: may take")],
)
def test_a_budget_that_cannot_be_is_refused(most: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        verify(LOSS, SMALL, **SETTINGS, most_paths=most)


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
