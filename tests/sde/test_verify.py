"""Verification end to end: true theories are supported, mutated ones refuted. alpha = 0.01 over all claims of a report,
fixed seeds."""

import json
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from sde import SGD, verify
from sde.verification.theory_numbers import Theory
from symbolic import Dataset, Loss, Normal, parameters
from symbolic.library import LIBRARY
from symbolic.predictions.joint_equilibrium import geometric_mean_equilibrium
from symbolic.problem.optimizer import cosine, warmup


def rescaling() -> Loss:
    u, w, x, e = sp.symbols("u w x e", real=True)
    return Loss((u * w * x - x - e) ** 2, [u, w], {x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))}, name="rescaling")


START = {"u": 1.2, "w": 0.6}


def words(report, group: str) -> set[str]:
    return {v.verdict for v in report.verdicts if v.group == group}


@pytest.fixture(scope="module")
def truth():
    return verify(rescaling(), SGD(0.02), start=START, time=260.0, paths=500, seed=1)


def test_a_true_theory_is_supported(truth):
    assert truth.supported, [
        (v.claim, v.verdict, v.interval, v.note) for v in truth.verdicts if v.verdict != "supported"
    ]
    assert truth.outcome == "supported"
    groups = {v.group for v in truth.verdicts}
    assert groups == {"pathwise identity", "mean drift", "class", "approach", "equilibrium", "gradient descent"}
    assert sum(v.group == "equilibrium" for v in truth.verdicts) == 6  # three starts, SGD and GD each
    assert all(e.exploded == 0 for e in truth.explosions)


@pytest.mark.slow
def test_the_time_that_an_equilibrium_needs_is_enough_and_not_far_too_much():
    """What a short run says that it needs: from each start, a run of that time claims the equilibrium, one of two
    thirds does not."""

    def left(time: float) -> dict[str, float]:
        report = verify(rescaling(), SGD(0.02), start=[START, {"u": 2.0, "w": 0.5}], time=time, paths=2)
        found = [v for v in report.untested if v.group == "equilibrium"]
        assert all(v.reason == "by the forecast the run ends before the noise equilibrium" for v in found)
        return {v.subject: float(v.needs.removeprefix("more time: about t = ")) for v in found}

    needed = left(60.0)
    assert len(needed) == 3
    for subject, time in needed.items():
        assert subject not in left(time)
        assert subject in left(time * 2 / 3)


def test_report_writes_json_and_html(truth, tmp_path):
    record = json.loads(truth.to_json(tmp_path / "r.json").read_text())
    assert record["supported"] is True
    assert {"claim", "verdict", "statistic", "interval", "alpha", "paths"} <= set(record["verdicts"][0])
    page = truth.to_html(tmp_path / "r.html").read_text()
    assert "rescaling" in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r.json"]
    with pytest.raises(OSError, match="output: the file must be writable"):
        truth.to_json(tmp_path / "no" / "folder.json")


def scaled_drift(figures: Theory) -> Theory:
    """Drift times 1.1: every noise factor too large by sqrt(1.1)."""

    def moments(theta):
        mean, factor = figures.moments(theta)
        return mean, factor * np.sqrt(1.1)

    return replace(figures, moments=moments)


def flipped_entry(figures: Theory) -> Theory:
    """The sign of one entry of A is wrong."""
    charge = figures.charges[0]
    wrong = charge.A.copy()
    wrong[0, 0] = -wrong[0, 0]
    return replace(figures, charges=(replace(charge, A=wrong), *figures.charges[1:]))


def uncentred(figures: Theory) -> Theory:
    """Sigma as E[g g^T], the mean gradient not taken off."""

    def moments(theta):
        mean, factor = figures.moments(theta)
        return mean, np.concatenate([factor, mean[:, :, None]], axis=2)

    return replace(figures, moments=moments)


def another_charge(figures: Theory) -> Theory:
    """A charge of another loss."""
    return replace(figures, charges=(replace(figures.charges[0], A=np.array([[1.0, 0.3], [0.3, -1.0]])),))


@pytest.mark.parametrize(
    ("mutate", "group"),
    [
        (scaled_drift, "mean drift"),
        pytest.param(flipped_entry, "pathwise identity", marks=pytest.mark.slow),
        (another_charge, "pathwise identity"),
    ],
)  # more of them, on shared runs: test_calibration.py
def test_a_mutated_theory_is_refuted(mutate, group):
    report = verify(rescaling(), SGD(0.02), start=START, time=20.0, paths=200, seed=1, numeric=mutate)
    assert report.outcome == "refuted"
    assert "refuted" in words(report, group)


def test_an_uncentred_covariance_is_refuted():
    """Far from the minimum, where the mean gradient is large, and with a small batch."""
    u, w, x, e = sp.symbols("u w x e", real=True)
    loss = Loss(
        (u * w * x - 2 * x - e) ** 2, [u, w], {x: Normal(1, sp.Rational(1, 2)), e: Normal(0, sp.Rational(1, 4))}
    )
    settings = {"start": {"u": 1.5, "w": 0.2}, "time": 0.2, "paths": 200, "seed": 1}
    sgd = SGD(0.005)
    assert words(verify(loss, sgd, **settings), "mean drift") == {"supported"}
    assert "refuted" in words(verify(loss, sgd, numeric=uncentred, **settings), "mean drift")


def test_weight_decay_is_part_of_the_theory():
    report = verify(rescaling(), SGD(0.02, weight_decay=0.05), start=START, time=80.0, paths=300, seed=2)
    assert words(report, "pathwise identity") == {"supported"}
    assert words(report, "mean drift") == {"supported"}
    wrong = verify(
        rescaling(),
        SGD(0.02, weight_decay=0.05),
        start=START,
        time=20.0,
        paths=300,
        seed=2,
        numeric=lambda figures: replace(figures, weight_decay=0.06),
    )
    assert wrong.outcome == "refuted"


def test_momentum_keeps_to_its_first_order_limit():
    """No step identity holds with momentum; where the charge ends does, with eta/(1 - beta) for eta. docs/theory.md eq.
    (3.9)."""
    report = verify(rescaling(), SGD(0.002, momentum=0.9), start=START, time=20.0, paths=500, seed=3)
    assert words(report, "pathwise identity") == set()
    assert words(report, "approach") == {"supported"}
    assert words(report, "mean drift") == {"supported"}


@pytest.mark.slow
def test_matrix_factorisation_keeps_the_eigenvalues_of_its_charges():
    """(dy, h, dx) = (3, 2, 4), anisotropic: noise turns it, if slowly, so that no rest is claimed; from three starts
    SGD's U^T U - W W^T has the predicted eigenvalues."""
    entry = LIBRARY["matrix-factorization"]
    report = verify(entry.build(), SGD(0.008, batch_size=2), start=entry.start, time=400.0, paths=200, seed=0)
    assert [v.verdict for v in report.verdicts if v.group == "constant eigenvalues"] == ["supported"] * 6
    assert words(report, "equilibrium") == set()
    assert words(report, "mean drift") == {"supported"}
    assert "refuted" not in {v.verdict for v in report.verdicts}


@pytest.mark.slow
def test_isotropic_matrix_factorisation_aligns_and_gradient_descent_does_not():
    """Isotropic labels never turn it: SGD ends where U^T Gamma_U U = W Gamma_W W^T, entry by entry. docs/theory.md eq.
    (4.8)."""
    U, W, x, e = parameters(U=(2, 2), W=(2, 2), x=(2,), e=(2,))
    residual = U * (W * x) - sp.Matrix([[1.0, 0.2], [-0.1, 0.8]]) * x - e
    loss = Loss(residual.dot(residual), [U, W], {x: Normal(0, [1.5, 0.5]), e: Normal(0, 0.8)})
    start = {"U": [[1.5, 0.0], [0.2, 1.2]], "W": [[0.6, 0.1], [0.0, 0.5]]}
    report = verify(loss, SGD(0.01, batch_size=2), start=start, time=400.0, paths=200, seed=0)
    ends = [v for v in report.verdicts if v.group == "equilibrium"]
    assert len(ends) == 12  # three starts times (three entries, and GD staying away)
    assert {v.verdict for v in ends} == {"supported"}
    assert words(report, "turning") == set()


def test_the_equilibrium_is_predicted_in_closed_form():
    """At the minimum, Gamma_U = 4 Tr[Sigma_x] Sigma_e and Gamma_W = 4 Tr[Sigma_e] Sigma_x; the matrix geometric mean
    gives the equilibrium of the orbit, and `verify`'s joint equilibrium is the same up to a rotation of the hidden
    space. docs/theory.md eq. (4.9)."""
    from symbolic import derive

    x_std, e_std = np.array([1.2, 1.0, 0.8, 0.6]), np.array([0.8, 0.55, 0.3])
    rng = np.random.default_rng(0)
    u0, w0 = rng.standard_normal((3, 2)), rng.standard_normal((2, 4))
    target = u0 @ w0
    U, W, x, e = parameters(U=(3, 2), W=(2, 4), x=(4,), e=(3,))
    residual = U * (W * x) - sp.Matrix(target) * x - e
    loss = Loss(residual.dot(residual), [U, W], {x: Normal(0, x_std), e: Normal(0, e_std)})
    joint = derive(loss).equilibrium({"U": u0, "W": w0}, SGD(0.01)).joint
    assert joint is not None
    found = loss.unpack(joint.theta)
    left, right = geometric_mean_equilibrium(
        u0, w0, 4 * (x_std**2).sum() * np.diag(e_std**2), 4 * (e_std**2).sum() * np.diag(x_std**2)
    )
    for ours, closed in ((found["U"].T @ found["U"], left.T @ left), (found["W"] @ found["W"].T, right @ right.T)):
        assert np.allclose(np.linalg.eigvalsh(ours), np.linalg.eigvalsh(closed), rtol=1e-8)


def test_scale_invariance_grows_at_the_predicted_slope():
    """docs/theory.md eq. (4.7)."""
    entry = LIBRARY["scale-invariant"]
    report = verify(entry.build(), entry.sgd, start=entry.start, time=entry.time, paths=500, seed=0)
    assert report.supported, [(v.claim, v.verdict, v.interval) for v in report.verdicts if v.verdict != "supported"]
    assert words(report, "divergence law") == {"supported"}


def test_a_schedule_is_part_of_the_theory():
    """Warmup then cosine: identities, drift and the growth law hold with the learning rate of each step."""
    entry = LIBRARY["scale-invariant"]
    schedule = warmup(5.0) * cosine(50.0, 0.2)
    report = verify(entry.build(), SGD(0.02, schedule=schedule), start=entry.start, time=50.0, paths=500, seed=0)
    assert words(report, "divergence law") == {"supported"}
    assert words(report, "pathwise identity") == {"supported"}
    assert "refuted" not in {v.verdict for v in report.verdicts}


def test_a_data_set_network_is_verified_through_its_rows():
    entry = LIBRARY["two-layer-relu"]
    report = verify(
        entry.build(), SGD(0.02, batch_size=4, replacement=False), start=entry.start, time=4.0, paths=100, seed=0
    )
    for group in ("pathwise identity", "class", "mean drift"):
        assert words(report, group) == {"supported"}


def test_frozen_charges_stay():
    entry = LIBRARY["softmax-regression"]
    report = verify(entry.build(), SGD(0.05), start=entry.start, time=10.0, paths=50, seed=0)
    assert words(report, "pathwise identity") == {"supported"}
    assert words(report, "class") == {"supported"}
    assert words(report, "mean drift") == set()


def test_a_loss_without_charges_is_inconclusive_and_says_so():
    x, y, u, w = sp.symbols("x y u w", real=True)
    loss = Loss(
        (u * sp.tanh(w * x) - y) ** 2, [u, w], Dataset({x: np.linspace(-1, 1, 9), y: np.linspace(-1, 1, 9) ** 3})
    )
    report = verify(loss, SGD(0.05), start={"u": 0.5, "w": 0.5}, time=1.0, paths=10)
    assert report.verdicts == ()
    assert report.outcome == "inconclusive"
    assert not report.supported


def test_explosions_are_counted_and_leave_nothing_decided():
    report = verify(rescaling(), SGD(0.5), start={"u": 1.5, "w": 1.2}, time=50.0, paths=100, seed=0)
    assert any(e.exploded > 0 and e.first is not None for e in report.explosions)
    ends = [v for v in report.verdicts if v.group in ("approach", "equilibrium") and v.subject.startswith("SGD")]
    assert {v.verdict for v in ends} <= {"inconclusive"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": 0.01}, "verify.time: must hold at least two steps"),
        ({"time": float("nan")}, "verify.time"),
        ({"start": []}, "verify.start: at least one point"),
        ({"start": {"u": 1.0}}, r"start\[w\]: every parameter needs one value"),
        ({"alpha": 0.0}, "verify.alpha"),
    ],
)
def test_bad_input_is_named(change, message):
    settings = {"start": START, "time": 1.0, "paths": 10} | change
    with pytest.raises(ValueError, match=message):
        verify(rescaling(), SGD(0.01), **settings)
