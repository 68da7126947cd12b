"""Runs drawn with the theory's forecast: the line lies in the band, and the forecast is right where a path of the mean
is not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import xarray as xr
from matplotlib.figure import Figure

from sde import SDE, SGD, InputError, plot, simulate, train
from sde.api.experiments import figures_of, setting_of
from sde.verification.forecast import forecast, mean_field
from symbolic import Dataset, Loss, Normal, derive, library, parameters
from tests.commands import run

u, w, x, y = sp.symbols("u w x y", real=True)
LOSS = library.rescaling()
THEORY, SETTINGS, START = derive(LOSS), SGD(0.02), {"u": 1.2, "w": 0.6}
C = {"C": "u**2 - w**2"}
FEW = 3
"""Saves after which a band has a width."""


@cache
def readme_run() -> xr.Dataset:
    return train(LOSS, SETTINGS, start=START, steps=10_000, paths=1000, observables=C)


def lines(axes) -> dict[str, np.ndarray]:
    """The theory's line and the means, by colour."""
    return {line.get_color(): np.asarray(line.get_ydata(), dtype=float) for line in axes.lines}


def test_the_readme_figure_draws_its_theory_inside_the_band() -> None:
    figure = plot(readme_run(), "C", theory=THEORY)
    assert isinstance(figure, Figure)
    theory = lines(figure.axes[0])["#101418"]
    low, high = (readme_run().C.sel(statistic=s).values for s in ("q05", "q95"))
    inside = (theory >= low) & (theory <= high)
    assert len(theory) == 101 and inside[FEW:].all()
    leading = 1.08 * np.exp(-0.02 * readme_run().time.values)  # what the figure once drew
    assert ((leading >= low) & (leading <= high))[FEW:].mean() < 0.5


CASES = {
    "matrix factorisation": (library.matrix_factorization(), SGD(0.02), 1500, 1.0),
    "quadratic network": (library.LIBRARY["two-layer-quadratic"].build(), SGD(0.005), 2000, 0.5),
    "weight decay": (LOSS, SGD(0.02, weight_decay=0.05), 3000, 1.0),
    "schedule": (LOSS, SGD(0.03, schedule="warmup(20)"), 3000, 1.0),
    "rows": (
        Loss((u * w * x - y) ** 2, [u, w], Dataset({x: np.linspace(-1, 2, 20), y: np.cos(np.arange(20.0))})),
        SGD(0.02, 2),
        4000,
        1.0,
    ),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=n, marks=[pytest.mark.slow] * (n == "matrix factorisation")) for n, c in CASES.items()],
)
def test_the_forecast_lies_in_the_band_and_near_the_mean(case) -> None:
    loss, sgd, steps, size = case
    theory, rng = derive(loss), np.random.default_rng(0)
    theta = size * (np.array([1.2, 0.6]) if loss.dimension == 2 else rng.normal(size=loss.dimension))
    charges = {f"C{k}": c.expression for k, c in enumerate(theory.charges)}
    run = train(loss, sgd, start=loss.unpack(theta), steps=steps, paths=800, observables=charges, save_at=41)
    numbers = figures_of(theory, sgd), setting_of(theory, sgd)
    ahead, alone = forecast(*numbers, theta, run.time.values), mean_field(*numbers, theta, run.time.values)
    assert ahead.covariance is not None
    misses = []
    for name, charge in zip(charges, numbers[0].charges, strict=True):
        low, mean, high, sem = (run[name].sel(statistic=s).values for s in ("q05", "mean", "q95", "sem"))
        found = ahead.expected(charge.value)
        within = 1e-3 * np.ptp(mean)  # where a charge has died out, its band is as thin as rounding
        assert ((found >= low - within) & (found <= high + within))[FEW:].all(), name
        miss = np.abs(found - mean).max()
        assert miss < 0.03 * np.ptp(mean) + 5 * sem.max(), name
        misses.append((miss, np.abs(charge.value(alone) - mean).max()))
    with_fluctuations, without = np.sum(misses, axis=0)
    assert with_fluctuations < without


@pytest.mark.slow
def test_the_forecast_stays_in_the_band_where_sgd_turns_for_long() -> None:
    U, W = parameters(U=(2, 2), W=(2, 2))
    z, e = sp.symbols("z0:2", real=True), sp.symbols("e0:2", real=True)
    half = sp.Rational(1, 2)
    target = sp.Matrix([[1, half / 5], [-half / 5, 4 * half / 5]]) * sp.Matrix(z) + sp.Matrix(e)
    miss = sp.Matrix(U) * sp.Matrix(W) * sp.Matrix(z) - target
    data = {z[0]: Normal(0, 3 * half), z[1]: Normal(0, half), e[0]: Normal(0, half), e[1]: Normal(0, 3 * half)}
    loss, sgd = Loss(sum(v**2 for v in miss), [U, W], data), SGD(0.01, batch_size=4)
    theory = derive(loss)
    start = {"U": [[1.0, 0.2], [0.1, 0.9]], "W": [[1, 0.1], [-0.2, 0.8]]}
    charges = {f"C{k}": c.expression for k, c in enumerate(theory.charges)}
    run = train(loss, sgd, start=start, steps=60_000, paths=200, observables=charges)
    for name in charges:
        line = lines(plot(run, name, theory=theory).axes[0])["#101418"]
        low, high = (run[name].sel(statistic=s).values for s in ("q05", "q95"))
        assert ((line >= low) & (line <= high))[FEW:].all(), name


def test_the_closure_is_exact_for_a_quadratic_loss() -> None:
    """docs/theory.md eq. (6.3)."""
    loss = Loss((u * x - y) ** 2 / 2, [u], {x: Normal(1, 0), y: Normal(0, 1)})
    theory, sgd = derive(loss), SGD(0.1)
    numbers = figures_of(theory, sgd), setting_of(theory, sgd)
    times = np.linspace(0, 3, 31)
    ahead = forecast(*numbers, np.array([2.0]), times)
    np.testing.assert_allclose(ahead.mean[:, 0], 2 * np.exp(-times), rtol=1e-3)
    # P' = -2 P + T + eta (m^2 + P): one linear equation
    a, eta = 2 - 0.1, 0.1
    exact = eta / a * (1 - np.exp(-a * times)) + 4 * eta / (a - 2) * (np.exp(-2 * times) - np.exp(-a * times))
    np.testing.assert_allclose(ahead.covariance[:, 0, 0], exact, rtol=2e-3, atol=1e-5)


def test_paths_and_statistics_draw_the_same() -> None:
    one, two = (
        plot(
            train(LOSS, SETTINGS, start=START, steps=200, paths=40, observables=C, keep=keep), "C", theory=THEORY
        ).axes[0]
        for keep in ("paths", "statistics")
    )
    for a, b in zip(one.lines, two.lines, strict=True):
        np.testing.assert_allclose(a.get_ydata(), b.get_ydata(), rtol=1e-12)
    assert one.get_xlabel() == "time  t = ηk" and one.get_ylabel() == "C"


def test_several_runs_share_axes_with_gradient_descent_dashed() -> None:
    flow = simulate(LOSS, SETTINGS, start=START, time=200.0, paths=50, observables=C)
    descent = train(LOSS, SETTINGS, start=START, steps=10_000, paths=1, observables=C, full_batch=True)
    axes = plot([readme_run(), flow, descent], "C", theory=THEORY).axes[0]
    labels = [t.get_text() for t in axes.get_legend().get_texts()]
    assert labels == [
        "theory",
        "SGD: mean, 5–95 % of paths",
        "SDE: mean, 5–95 % of paths",
        "gradient descent, full batch",
        "noise equilibrium",
    ]
    assert np.ptp(lines(axes)["#00876c"]) < 1e-2


def test_arrays_have_axes_of_their_own() -> None:
    loss = library.matrix_factorization()
    theory = derive(loss)
    start = loss.unpack(np.random.default_rng(1).normal(size=loss.dimension))
    run = train(loss, SETTINGS, start=start, steps=20, paths=20, observables={"C": theory.families[0].text})
    figure = plot(run, "C", theory=theory)
    assert [a.get_ylabel() for a in figure.axes] == ["C[0, 0]", "C[0, 1]", "C[1, 0]", "C[1, 1]"]
    assert len(plot(run, "U").axes) == run.U.sizes["U_0"] * run.U.sizes["U_1"]


def test_axes_of_a_sweep_name_its_values_and_those_of_an_sde_its_time() -> None:
    a, V = sp.symbols("a V", real=True)
    walk = SDE([V], [-a * V], [[1]], parameters=[a])
    runs = simulate(walk, start={V: 1.0}, time=1.0, dt=0.1, paths=50, parameters={a: [0.5, 2.0]})
    axes = plot(runs, "V").axes
    assert [(one.get_ylabel(), one.get_xlabel()) for one in axes] == [("V, a = 0.5", "time"), ("V, a = 2", "time")]
    assert plot(readme_run(), "C").axes[0].get_xlabel() == "time  t = ηk"


def test_names_are_not_markup(tmp_path) -> None:
    run = train(LOSS, SETTINGS, start=START, steps=5, paths=4, observables={"$x^2$": u})
    plot(run, "$x^2$").savefig(tmp_path / "drawn.svg")


SIMPLE = simulate(SDE([u], [-u], [[1]]), start={u: 1.0}, time=1.0, dt=0.1, paths=5)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: plot(readme_run(), "D"), "plot.name: must be a variable over time"),
        (lambda: plot(readme_run(), 3), "plot.name"),
        (lambda: plot([], "C"), "at least one is needed"),
        (lambda: plot(3, "C"), "must be a Dataset"),
        (lambda: plot([3], "C"), "must be a Dataset"),
        (lambda: plot(readme_run(), "C", theory=3), "must be a Theory"),
        (
            lambda: plot(readme_run(), "C", theory=derive(library.matrix_factorization()), expression=1),
            "has no parameter",
        ),
        (lambda: plot(readme_run(), "C", theory=THEORY, sgd=0.1), "needs the optimiser's settings"),
        (lambda: plot(readme_run(), "C", theory=THEORY, expression="q"), "unknown name"),
        (lambda: plot(SIMPLE, "u", theory=THEORY), "needs the optimiser"),
        (lambda: plot(readme_run().isel(time=slice(1, None)), "C", theory=THEORY), "needs the start"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_a_forecast_needs_one_start() -> None:
    run = train(LOSS, SETTINGS, start={"u": Normal(1, 1), "w": 0.5}, steps=5, paths=9, observables=C)
    with pytest.raises(InputError, match="from one start"):
        plot(run, "C", theory=THEORY)
    assert plot(run, "C").axes


def test_the_command_draws_results_of_either_format(tmp_path: Path) -> None:
    X = sp.Symbol("X", real=True)
    sde = SDE([X], [-X], [[1]])
    files = [tmp_path / "one.nc", tmp_path / "two.zarr"]
    for file in files:
        args = {"start": {X: 1.0}, "time": 1.0, "dt": 0.1, "paths": 20, "save_at": 5}
        simulate(sde, keep="paths", out=file, check=False, **args)
    figure = tmp_path / "x.svg"
    done = run("plot", *map(str, files), "--of", "X", "-o", str(figure))
    assert done.exit_code == 0 and "one: mean" in figure.read_text() and "two: mean" in figure.read_text()
    for wrong, says in (("Y", "plot.name: must be a variable over time"), ("exploded_", "plot.name")):
        refused = run("plot", str(files[0]), "--of", wrong, "-o", str(tmp_path / "y.svg"))
        assert refused.exit_code == 2 and says in refused.stderr and not (tmp_path / "y.svg").exists()
    (tmp_path / "no.nc").write_text("no result")
    for name in ("none.nc", "none.zarr", "no.nc"):
        lost = run("plot", str(tmp_path / name), "--of", "X", "-o", str(tmp_path / "y.svg"))
        assert lost.exit_code == 2 and name in lost.stderr, lost.stderr
