"""How often `verify` is wrong: mutations told from the truth, on shared runs. Seeds are fixed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import xarray as xr
from scipy import stats

from sde import SGD, InputError, calibrate, verify
from sde.api import calibration, calibration_losses
from sde.api.experiments import experiment_of
from sde.engine.interruption import InterruptedWarning
from sde.verification.calibration import TRUTH, Contest, bears, binomial_interval, hold
from sde.verification.mutations import MUTATIONS
from sde.verification.runs import Simulators
from sde.verification.verdicts import Claim
from symbolic import Dataset, Loss, derive
from symbolic.library import rescaling
from tests.commands import record, run

SETUP: dict[str, Any] = {
    "loss": rescaling(),
    "sgd": SGD(0.02, batch_size=2),
    "start": [{"u": 1.25, "w": 0.8}, {"u": 1.1, "w": 0.9}],
    "time": 0.4,
    "paths": 20,
}


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    return calibrate([SETUP], seeds=2)


@pytest.mark.parametrize(("count", "of"), [(0, 7), (3, 7), (7, 7), (196, 200)])
def test_the_interval_is_clopper_pearsons(count: int, of: int) -> None:
    exact = stats.binomtest(count, of).proportion_ci(0.98, "exact")
    assert np.allclose(binomial_interval(count, of), (exact.low, exact.high), rtol=1e-12)


def test_a_claim_needs_the_paths_that_its_margin_needs() -> None:
    """z^2 s^2 / margin^2 with s = 1, a margin of 0.1 and z = 2.326: 542 paths."""
    claim = Claim(
        group="g", subject="s", text="t", estimate=1.0, error=1 / np.sqrt(542), margin=(0.9, 1.1), expected=1, paths=542
    )
    assert bears(claim, 0.01) and not bears(replace(claim, error=1 / np.sqrt(541), paths=541), 0.01)
    assert not bears(replace(claim, estimate=1.2), 0.01)
    assert bears(replace(claim, error=0.0, paths=1), 0.01)


def test_a_loss_without_charges_has_no_drift_to_be_wrong_about() -> None:
    """Nothing applies that alters a drift, and nothing is refuted."""
    u, w, x, y = sp.symbols("u w x y", real=True)
    rows = Dataset({x: [0.3, -1.2, 0.8, 0.1], y: [1.0, 0.4, -0.2, 0.6]})
    loss = Loss((u * sp.tanh(w * x) - y) ** 2, [u, w], rows)
    setup = {"loss": loss, "sgd": SGD(0.02), "start": {"u": 1.2, "w": 0.6}, "time": 0.1, "paths": 3}
    found = calibrate([setup], seeds=1).isel(loss=0)
    assert found.false_alarms.sum() == 0
    assert not found.applicable.sel(mutation=["drift x 0.9", "drift x 1.1", "drift x 1.05"]).any()


def test_mutations_are_told_from_the_truth(whole: xr.Dataset) -> None:
    found = whole.isel(loss=0)
    assert found.false_alarms.sum() == 0 and found.hasty == 0 and found.supported > 0
    applies = found.applicable.to_series()
    assert list(applies.index[applies]) == [
        "drift x 0.9",
        "drift x 1.1",
        "drift x 1.05",
        "A's sign",
        "another A",
        "eta for eta/S",
        "lambda* off",
    ]
    assert (found.caught.where(found.applicable) == 2).sum() == applies.sum()
    assert float(found.distance.sel(mutation="no decay")) < 1e-3
    assert int(found.caught_by.sel(mutation="another A", claim="pathwise identity")) == 2
    assert not found.caught_by.sel(mutation="drift x 1.1").drop_sel(claim="mean drift").any()


def test_each_default_loss_has_its_mutation() -> None:
    """From the theory alone: decay, batch, mean gradient, a rest and turning are there where they are needed."""
    setups = {s["loss"].name: s for s in calibration_losses.defaults()}
    assert len(setups) == 5
    assert [name for name, s in setups.items() if s["sgd"].weight_decay] == ["decay"]
    assert sum(s["sgd"].batch_size > 1 for s in setups.values()) == 3
    turning = setups["2x2x2"]
    end = derive(turning["loss"]).equilibrium(turning["start"], turning["sgd"]).finite_step
    assert end is not None and end.turns
    assert end.rates[end.rates > 0].min() * turning["time"] > 4
    far = setups["far start"]
    theory = derive(far["loss"])
    truth = experiment_of(far["loss"], far["sgd"], theory, start=far["start"], time=far["time"], seed=0, margins=None)
    theories = Contest.of(truth).theories
    right, wrong = (
        theories[name].theory.step_change(truth.starts[0][None], 0.005, 0.5)[0] for name in (TRUTH, "uncentred Sigma")
    )
    assert abs(wrong / right - 1) > 0.2


def test_the_truth_is_held_as_verify_holds_it() -> None:
    """The same verdicts, and a wrong theory makes no run of its own but those that the true one has no use for."""
    setup = calibration._setup(SETUP, 5, 1, 0.01)
    made: list[tuple[Any, ...]] = []
    outcome = setup.outcome(5, 1, 0.01, False)
    report = verify(**SETUP, seed=5)
    assert outcome.refuted[TRUTH] == () and report.supported

    ensembles = calibration.Ensembles(setup.loss, setup.sgd, setup.theory, setup.paths, 5, 1)
    silent = calibration.Phases("", [], lambda text, share, left: None)
    real = ensembles.simulators(setup.contest.truth.names, silent, None)

    def sample(*given: Any) -> Any:
        made.append(("sample", given[0]))
        return real.sample(*given)

    def one_step(*given: Any) -> Any:
        made.append((given[0], given[2]))
        return real.one_step(*given)

    again = hold(setup.contest, Simulators(sample, one_step, real.equilibrium), 0.01)
    assert again == outcome
    assert len(made) == len(set(made))


def test_a_checkpoint_goes_on_to_the_same_numbers(
    whole: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.json"
    real = calibration._Setup.outcome

    def interrupted(self: Any, seed: int, *rest: Any) -> Any:
        if seed:
            raise KeyboardInterrupt
        return real(self, seed, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(calibration._Setup, "outcome", interrupted)
        with pytest.warns(InterruptedWarning, match="1 of 2 verifications"):
            part = calibrate([SETUP], seeds=2, checkpoint=path)
    assert part.attrs["interrupted"] and int(part.seeds[0, 0]) == 1
    path.write_text(path.read_text() + '{"loss": 0, "se')
    told = list[tuple[int, bool]]()
    enter = calibration.Phases.enter

    def listening(self: Any, name: str, work: float = 1.0) -> Any:
        tick = enter(self, name, work)

        def told_too(n: int, /, *, held: bool = False) -> None:
            told.append((n, held))
            tick(n, held=held)

        return told_too if self.title == "calibrate" else tick

    with monkeypatch.context() as patch:
        patch.setattr(calibration.Phases, "enter", listening)
        rest = calibrate([SETUP], seeds=2, checkpoint=path)
    assert told == [(1, True), (1, False)]
    assert rest.drop_vars("seconds").identical(whole.drop_vars("seconds"))
    with monkeypatch.context() as patch:
        patch.setattr(calibration._Setup, "outcome", interrupted)
        assert calibrate([SETUP], seeds=2, checkpoint=path).drop_vars("seconds").identical(whole.drop_vars("seconds"))
    with pytest.raises(InputError, match="checkpoint: must be of the same losses"):
        calibrate([{**SETUP, "paths": 21}], seeds=2, checkpoint=path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"losses": []}, "calibrate.losses: at least one"),
        ({"losses": [SETUP, {"loss": SETUP["loss"]}]}, "calibrate.losses: must have the keys of verify"),
        ({"losses": [{**SETUP, "steps": 4}]}, "must have the keys of verify .*got 'steps'"),
        ({"losses": [{**SETUP, "time": "long"}]}, "time"),
        ({"seeds": 0}, "calibrate.seeds"),
        ({"alpha": 2}, "alpha"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibrate(**{"losses": [SETUP], **change})


SPEC = """
[parameters]
u = []
w = []
[data]
x = { law = "normal", mean = 0, std = 1 }
e = { law = "normal", mean = 0, std = 0.5 }
[loss]
expression = "(u*w*x - x - e)**2"
[sgd]
learning_rate = 0.02
[run]
start = { u = 1.2, w = 0.6 }
time = 0.4
paths = 20
"""


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(SPEC)
    shown = run("calibrate", "mine.toml", "--seeds", 1, "--json", "c.json")
    assert shown.exit_code == 0 and "false alarms: 0 of 1" in shown.stdout
    found = json.loads(Path("c.json").read_text())
    one = {m["mutation"]: m for m in found["losses"][0]["mutations"]}
    assert list(one) == [m.name for m in MUTATIONS] and one["A's sign"]["caught"] == 1
    assert not one["eta for eta/S"]["applicable"]
    assert found["seeds"] == 1 and found["false_alarms"][0]["of"] == 1
    assert run("calibrate", "mine.toml", "--seeds", 0).exit_code == 2
    again = record("calibrate", "mine.toml", "--seeds", 1)
    assert again["losses"][0]["mutations"] == found["losses"][0]["mutations"]


@pytest.mark.slow
def test_the_defaults_in_quick_form() -> None:
    """Five seeds of every default loss: no false alarm, everything caught; every mutation applies somewhere."""
    found = calibrate(seeds=5)
    assert found.false_alarms.sum() == 0 and found.hasty.sum() == 0
    assert found.applicable.any("loss").all()
    assert ((found.caught == 5) | ~found.applicable).all()
