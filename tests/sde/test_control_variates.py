"""Control variates of a comparison: they have mean 0, take nothing but variance off, and their intervals are honest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SGD
from sde.api import comparison_runs
from sde.api.comparison import default_observables
from sde.api.comparison_runs import EULER, SGD_ITSELF, Dynamics, PathEnds
from sde.estimators.control_variates import Controlled, Moments
from symbolic import Loss, Normal, Uniform, library


def skew() -> Loss:
    """Noise that is not symmetric, and correlated features."""
    u, w, x, y = sp.symbols("u w x y", real=True)
    return Loss((u * w * x - y * x - 1) ** 2, [u, w], {x: Uniform(0, 2), y: Normal(1, 0.5)}, name="skew")


CASES: dict[str, tuple[Loss, SGD]] = {
    "rescaling": (library.rescaling(), SGD(0.02, batch_size=4)),
    "skew": (skew(), SGD(0.02, batch_size=2, weight_decay=0.1)),
}
START = {"u": 1.2, "w": 0.6}


def ends(name: str, steps: int = 25) -> PathEnds:
    loss, sgd = CASES[name]
    observables = default_observables(loss) | {"u_": loss.theta[0], "third": loss.theta[0] ** 3}
    return PathEnds(
        loss, sgd, observables, start=START, time=steps * sgd.learning_rate, seed=1, substeps=1, threads=None
    )


@pytest.mark.parametrize("what", [SGD_ITSELF, EULER, Dynamics("sde", 1), Dynamics("sde", 2), Dynamics("svag", 2)])
@pytest.mark.parametrize("name", CASES)
def test_what_is_taken_off_has_mean_zero(name: str, what: Dynamics) -> None:
    """Every control of every window: |z| < 5 of at most 56 (a false alarm in 30000); and each moves. docs/theory.md eq.
    (6.4)."""
    found = ends(name).sample(what, 25, 3, 0, 4000, None)
    both = found.folds[0].merge(found.folds[1])
    mean, cross = both.mean[found.size :], np.diag(both.cross)[found.size :]
    z = mean / np.sqrt(cross / both.count / (both.count - 1))
    assert len(z) <= 56 and (cross > 0).all() and np.abs(z).max() < 5, z


@pytest.mark.parametrize("name", CASES)
def test_a_charges_own_sum_is_all_that_a_step_scatters(name: str) -> None:
    """Over one step a quadratic observable less its own sum is a number, docs/theory.md eq. (6.4)."""
    loss, sgd = CASES[name]
    u, w = loss.theta
    one = PathEnds(
        loss, sgd, {"C": u**2 - w**2, "N": u * w}, start=START, time=sgd.learning_rate, seed=0, substeps=1, threads=None
    )
    one.windows = 1
    rows = one._rows(SGD_ITSELF, 1, 0, 50, None)
    left = rows[-1, :2] - rows[-1, -2:]
    assert np.ptp(left, axis=1).max() < 1e-14 < 1e-4 < np.ptp(rows[-1, :2], axis=1).min()


@pytest.mark.parametrize("name", CASES)
def test_means_are_the_same_and_variances_less(name: str) -> None:
    """docs/theory.md eq. (6.5)."""
    found = ends(name).sample(SGD_ITSELF, 25, 0, 0, 20_000, None)
    plain, taken = found.plain, found.sample
    apart = np.abs(plain.mean - taken.mean) / np.hypot(plain.sem, taken.sem)
    assert apart.max() < 4
    gain = (plain.sem / taken.sem) ** 2
    assert gain.min() > 0.95 and gain.max() > (100 if name == "rescaling" else 3), gain


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    """400 samples of 600 paths of a skew observable beside controls: within 1.96 standard errors in 95 % (between 367
    and 391 but for one time in 100), without bias, and with less scatter than the plain mean."""
    random = np.random.default_rng(0)
    held, means, plains = 0, [], []
    for _ in range(400):
        noise = random.exponential(size=(2, 3, 600)) - 1
        value = noise.sum(axis=(0, 1)) ** 2 + noise[0, 0] + random.exponential(size=600)
        found = Controlled.of(value[None], noise, 3)
        sample = found.sample
        held += abs(sample.mean[0] - 7) <= 1.96 * sample.sem[0]
        means.append(sample.mean[0])
        plains.append(found.plain.mean[0])
    assert 366 <= held <= 392
    assert abs(np.mean(means) - 7) < 3.3 * np.std(means) / 20 and np.std(means) < 0.9 * np.std(plains)


def test_few_paths_take_few_controls() -> None:
    random = np.random.default_rng(1)
    for paths, count in ((2000, 4 * 12), (400, 2 * 12), (200, 12), (90, 2), (30, 0)):
        controls = random.normal(size=(4, 12, paths))
        found = Controlled.of(random.normal(size=(1, paths)), controls, 10)
        assert len(found._affordable()) == count, paths
        assert found.sample.count == paths


def test_moments_merge_as_one() -> None:
    values = np.random.default_rng(0).normal(size=(3, 41)) + 1e3
    whole, parts = Moments.of(values), Moments.none(3).merge(Moments.of(values[:, :7])).merge(Moments.of(values[:, 7:]))
    assert np.allclose(whole.mean, parts.mean, rtol=1e-14) and np.allclose(whole.cross, parts.cross, rtol=1e-9)


def test_without_controls_the_mean_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plain: Any = lambda inner, observables, loss: inner(loss)  # noqa: E731
    monkeypatch.setattr(comparison_runs, "_carrying", plain)
    found = ends("rescaling").sample(SGD_ITSELF, 25, 0, 0, 500, None)
    assert not found.windows and np.array_equal(found.sample.mean, found.plain.mean)
