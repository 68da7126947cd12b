"""One normal a step where a loss's noise lies along one vector: the same law of every step and of runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from sde import simulate
from symbolic import SDE, SGD, Loss, Normal
from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.one_vector import OneVector
from symbolic.errors import InputError

u, w, v, x, y, e = sp.symbols("u w v x y e", real=True)
LAW = {x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))}
OFF = {x: Normal(1, 2), e: Normal(3, 1)}
RESCALING = Loss((u * w * x - x - e) ** 2, parameters=[u, w], data=LAW)
LOSSES = {
    "rescaling": RESCALING,
    "three factors": Loss((u * w * v * x - 2 * x - e) ** 2, parameters=[u, w, v], data=LAW),
    "means that are not 0": Loss((u * w * x - e) ** 2 + u**4, parameters=[u, w], data=OFF),
    "correlated features": Loss(u * w * x + (u * w) ** 2 * x**2, parameters=[u, w], data={x: Normal(1, 1)}),
    "a function of a state": Loss((sp.tanh(u) * x - e) ** 2, parameters=[u], data=LAW),
}
SGD_1 = SGD(learning_rate=0.01)


def moments(dynamics: LossDynamics, at: dict[Any, float]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the gradient at a point, by the definition: inputs m of mean E m and covariance R R^T."""
    assert dynamics.moments is not None
    mean, root = dynamics.moments
    entries = dynamics.gradient
    for name, value in reversed(dynamics.statements):
        entries = entries.xreplace({name: value})
    H = np.array(entries.jacobian(dynamics.inputs).subs(at).evalf(), dtype=float)
    still = entries.xreplace(dict(zip(dynamics.inputs, map(sp.Float, mean), strict=True))).subs(at)
    return np.array(still.evalf(), dtype=float)[:, 0], H @ root @ root.T @ H.T


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_has_the_same_mean_and_covariance(name: str) -> None:
    loss, rng = LOSSES[name], np.random.default_rng(0)
    one, all_ = OneVector(loss), LossDynamics(loss)
    assert len(one.inputs) == 1 < all_.moments[1].shape[1]  # type: ignore[index]
    for _ in range(5):
        at = dict(zip(loss.theta, rng.normal(size=len(loss.theta)).tolist(), strict=True))
        for found, wanted in zip(moments(one, at), moments(all_, at), strict=True):
            assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_a_run_has_the_same_law() -> None:
    """Kolmogorov-Smirnov at the end, of u, w and the charge; alpha 1e-3 together."""
    kept = [
        simulate(RESCALING, SGD(learning_rate=0.02), start={u: 1.2, w: 0.6}, time=1.0, dt=0.02, paths=4000, seed=seed,
                 noise=noise, keep="paths", save_at=2, observables={"C": u**2 - w**2}, check=False)
        for seed, noise in ((1, "path"), (2, "exact-law"))
    ]  # fmt: skip
    for name in ("u", "w", "C"):
        one, other = (run[name].values[:, -1] for run in kept)
        assert stats.ks_2samp(one, other).pvalue > 1e-3 / 3
        assert one.std() > 1e-3


def test_where_variance_is_zero_the_step_is_that_of_the_mean() -> None:
    """c = 0 where u = 0 and w = 0: no noise, and no division by its size."""
    loss = Loss((u * w * x) ** 2 + u * w * e, parameters=[u, w], data={x: Normal(0, 1), e: Normal(0, 1)})
    run = simulate(loss, SGD_1, start={u: 0.0, w: 0.0}, time=0.1, noise="exact-law", paths=64, check=False)
    assert (run.u.sel(statistic="max") == 0).all() and (run.exploded == 0).all()


def test_one_feature_needs_no_more_and_keeps_its_path() -> None:
    loss = Loss((u - e) ** 2, parameters=[u], data=LAW)
    runs = [simulate(loss, SGD_1, start={u: 1.0}, time=0.1, noise=n, paths=64) for n in ("path", "exact-law")]
    assert runs[0].u.values.tolist() == runs[1].u.values.tolist()


SEVERAL = Loss((u * x + w * y - e) ** 2, parameters=[u, w], data={**LAW, y: Normal(0, 1)})
LINE = SDE([v], [-v], [[1]])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"problem": SEVERAL, "sgd": SGD_1, "start": {u: 1, w: 1}}, "lies along several"),
        ({"problem": LINE, "start": {v: 1}, "dt": 0.1}, "of a loss"),
        ({"problem": RESCALING, "sgd": SGD_1, "start": {u: 1, w: 1}, "refine": 2}, "refine=2"),
        ({"problem": RESCALING, "sgd": SGD_1, "start": {u: 1, w: 1}, "scheme": "milstein"}, "milstein"),
        ({"problem": RESCALING, "sgd": SGD_1, "start": {u: 1, w: 1}, "noise": "law"}, "exact-law"),
    ],
)
def test_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        simulate(**{"noise": "exact-law", "time": 1.0, **arguments})
