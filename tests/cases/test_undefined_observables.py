"""Case A11: a variable that is not a finite number on a living path is left out of its own statistics, counted, and of
nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import simulate
from sde.engine.dataset import UNDEFINED, ExplosionWarning, UndefinedWarning
from sde.kernels.statistics import comoments, moments
from symbolic import SDE, Jump, integral, running, states
from symbolic.language import reserved_names

X, Y = sp.symbols("X Y", real=True)
STILL = SDE([X], [0], [[0]])


def run(values: np.ndarray, observable: Any, **options: Any) -> Any:
    return simulate(
        STILL,
        start={X: values},
        time=1.0,
        dt=0.5,
        paths=len(values),
        save_at=3,
        observables={"o": observable},
        **options,
    )


def check(found: Any, values: np.ndarray, exact: bool = True) -> None:
    """Statistics of "o" at each save against NumPy's, of the finite ones."""
    kept = values[np.isfinite(values)]
    right = {"mean": kept.mean(), "std": kept.std(ddof=1), "min": kept.min(), "max": kept.max()}
    right |= {f"q{q:02d}": np.quantile(kept, q / 100) for q in (5, 25, 50, 75, 95)}
    error = 1e-12 if exact else found.o.attrs["quantile_error"]
    for name, value in right.items():
        slack = error if name.startswith("q") else 0.0
        assert found.o.sel(statistic=name).values == pytest.approx(value, rel=1e-9, abs=slack + 1e-12), name
    assert found[f"o_{UNDEFINED}"].values.tolist() == [len(values) - len(kept)] * 3


@pytest.mark.parametrize("paths", [1000, 20_000])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_case_a11_a_logarithm_without_value_on_one_path(paths: int, dtype: str) -> None:
    values = np.random.default_rng(1).uniform(0.5, 2.0, paths).astype(np.float32).astype(float)
    values[5] = -1.0
    with pytest.warns(
        UndefinedWarning, match=rf"o is not a finite number on up to 1 of {paths} paths that are alive, first at time 0"
    ):
        found = run(values, sp.log(X), dtype=dtype, histogram={"o": [-9.0, 0.0, 9.0]}, covariance=["X", "o"])
    with np.errstate(invalid="ignore"):
        logs = np.log(values)
    kept = np.isfinite(logs)
    rel = 1e-9 if dtype == "float64" else 1e-5
    assert found.o.sel(statistic="mean").values == pytest.approx(logs[kept].mean(), rel=10 * rel, abs=1e-6)
    assert found.o.sel(statistic="min").values == pytest.approx(logs[kept].min(), rel=rel)
    assert found.X.sel(statistic="min").values.tolist() == [-1.0] * 3, "another variable keeps the path"
    assert "X_undefined" not in found and found.o_undefined.values.tolist() == [1, 1, 1]
    assert found.o_histogram.values.sum(axis=1).tolist() == [paths - 1] * 3
    square = found.covariance.values[0]
    assert square[0, 0] == pytest.approx(values.var(ddof=1), rel=1e-5)
    assert square[1, 1] == pytest.approx(logs[kept].var(ddof=1), rel=1e-4)
    assert square[0, 1] == square[1, 0] == pytest.approx(np.cov(values[kept], logs[kept])[0, 1], rel=1e-4)


@pytest.mark.filterwarnings("ignore::sde.engine.dataset.UndefinedWarning")
@pytest.mark.parametrize("observable", [sp.sqrt(X), 1 / sp.Max(X, 0), -1 / sp.Max(X, 0), sp.log(X) ** 2 / X])
@pytest.mark.parametrize("paths", [300, 9000])
def test_case_a11_roots_and_infinities_of_many_paths(observable: Any, paths: int) -> None:
    values = np.random.default_rng(2).normal(size=paths)
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = sp.lambdify(X, observable, [{"Max": lambda *a: np.maximum(*a)}, "numpy"])(values)
    check(run(values, observable), wanted, exact=paths <= 4096)


@pytest.mark.filterwarnings("ignore::sde.engine.dataset.UndefinedWarning")
def test_case_a11_a_variable_that_is_never_a_number() -> None:
    found = run(np.full(10, -1.0), sp.log(X))
    assert np.isnan(found.o.values).all() and found.o_undefined.values.tolist() == [10, 10, 10]


@pytest.mark.filterwarnings("ignore::sde.engine.dataset.UndefinedWarning")
def test_case_a11_arrays_paths_streams_and_sweeps(tmp_path: Path) -> None:
    values = np.array([1.0, -1.0, 4.0, 0.0])
    arrays = run(values, [[sp.log(X), X], [sp.sqrt(X), 1]])
    assert arrays.o_undefined.dims == ("time", "o_0", "o_1")
    assert arrays.o_undefined.values[0].tolist() == [[2, 0], [1, 0]]
    kept = run(values, sp.log(X), keep="paths")
    assert np.isnan(kept.o.values[1]).all() and kept.o_undefined.values.tolist() == [2, 2, 2]
    with run(values, sp.log(X), keep="paths", out=tmp_path / "paths.nc") as streamed:
        assert streamed.o_undefined.values.tolist() == [2, 2, 2]
    mu = sp.Symbol("mu", real=True)
    options: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0, "dt": 0.5, "paths": 3, "save_at": 2}
    swept = simulate(
        SDE([X], [0], [[0]], parameters=[mu]),
        parameters={mu: [1.0, -2.0]},
        observables={"o": sp.log(X * mu)},
        **options,
    )
    assert swept.o_undefined.values.tolist() == [[0, 0], [3, 3]]


@pytest.mark.filterwarnings("ignore::sde.engine.dataset.UndefinedWarning")
@pytest.mark.filterwarnings("ignore:.*paths exploded")
def test_case_a11_lost_paths_are_not_undefined_ones() -> None:
    """X is lost where its root has no value; the observable is undefined on the living ones above 2."""
    start = np.array([1.0, -1.0, 3.0, 1.5])
    found = simulate(
        SDE([X], [0 * X + sp.sqrt(X) - sp.sqrt(X + 1) * 0], [[0]]),
        start={X: start},
        time=0.2,
        dt=0.1,
        paths=4,
        save_at=2,
        observables={"o": sp.sqrt(2 - X)},
    )
    assert found.exploded.values.tolist() == [0, 1] and found.o_undefined.values.tolist() == [1, 1]


def test_case_a11_finite_rows_give_the_bits_they_gave() -> None:
    """Against a plain sum in the kernel's own order."""
    row, dead = np.random.default_rng(0).normal(size=64), np.full(64, -1)
    cell, dirty = np.zeros(5), row.copy()
    moments.add_row(cell, row, dead, 60, np.zeros(64), False, row)
    dirty[60:] = np.nan
    again = np.zeros(5)
    moments.add_row(again, dirty, dead, 60, np.zeros(64), False, dirty)
    assert cell.tolist() == again.tolist() and cell[0] == 60 and cell[1] == pytest.approx(row[:60].mean(), rel=1e-12)


def test_case_a11_pairs_merge_as_one_pass_would() -> None:
    rng, saves, chosen = np.random.default_rng(5), np.array([0]), np.array([0, 1, 2])
    rows = rng.normal(size=(1, 3, 400))
    rows[0, 0, rng.random(400) < 0.2] = np.nan
    rows[0, 1, rng.random(400) < 0.2] = np.inf
    dead = np.where(rng.random(400) < 0.1, 0, -1)

    def of(part: slice) -> Any:
        piece = np.ascontiguousarray(rows[:, :, part])
        return comoments.comoments(piece, piece.shape[2], chosen, dead[part], saves)

    merged = comoments.merge(of(slice(0, 150)), of(slice(150, 400)))
    for found, whole in zip(merged, of(slice(0, 400)), strict=True):
        assert found == pytest.approx(whole, rel=1e-10, abs=1e-10)
    for a in range(3):
        for b in range(3):
            both = (dead < 0) & np.isfinite(rows[0, a]) & np.isfinite(rows[0, b])
            assert merged[0][0, a, b] == both.sum()
            assert merged[2][0, a, b] / (both.sum() - 1) == pytest.approx(
                np.cov(rows[0, a][both], rows[0, b][both])[0, 1]
            )


def test_case_a11_the_suffix_is_one_name() -> None:
    assert reserved_names.UNDEFINED == UNDEFINED


A, B = states("A", (3,)), sp.Symbol("B", real=True)
WALK = SDE([X, B], [0, 0], [[1, 0], [0, 1]])
FUNCTIONALS: dict[str, Any] = {
    "a root's integral": integral(sp.sqrt(X)),
    "a running logarithm": running(max, sp.log(X)),
    "a pole's running value": running(max, 1 / sp.Max(X, 0)),
    "beyond the number range": integral(sp.exp(2000 * X)),
    "beyond the bound": integral(1e300 * X**2),
    "a logarithm of time": integral(sp.log(sp.Symbol("t", real=True) - 0.9)),
}


def as_without(sde: SDE, observed: dict[str, Any], **options: Any) -> Any:
    """A run, whose states, events and losses are those of the run that does not observe."""
    start = {s: np.full(np.shape(s), 0.5) if sde.arrays else 0.5 for s in sde.states}
    given = {"start": start, "time": 1.0, "dt": 0.05, "paths": 300, "keep": "paths", "check": False, **options}
    plain, found = simulate(sde, **given), simulate(sde, **given, **observed)
    for s in sde.states:
        name = "A" if sde.arrays else s.name
        assert np.array_equal(plain[name].values, found[name].values, equal_nan=True), name
    assert plain.exploded.values.tolist() == found.exploded.values.tolist()
    return found


@pytest.mark.filterwarnings("ignore::sde.engine.dataset.UndefinedWarning")
@pytest.mark.parametrize("options", [{}, {"scheme": "adaptive-euler"}, {"dtype": "float32"}, {"scheme": "milstein"}])
@pytest.mark.parametrize("name", FUNCTIONALS)
def test_case_a11_a_functional_of_the_path_decides_nothing(name: str, options: dict[str, Any]) -> None:
    """An integral or extreme that is no number, or beyond the bound of states, took its path out of the run."""
    sde = SDE(WALK.states, WALK.drift_vector, WALK.diffusion_matrix, time=sp.Symbol("t", real=True))
    found = as_without(sde, {"observables": {"o": FUNCTIONALS[name]}}, **options)
    wrong = ~np.isfinite(found.o.values)
    assert found.exploded.values[-1] == 0
    if name != "beyond the bound" or "dtype" in options:
        assert found.o_undefined.values.tolist() == wrong.sum(axis=0).tolist() and wrong[:, -1].any()
        assert (wrong[:, 1:] >= wrong[:, :-1]).all(), "what has been undefined stays so"


@pytest.mark.filterwarnings("ignore::sde.engine.dataset.UndefinedWarning")
def test_case_a11_a_functional_beside_jumps_levels_and_arrays() -> None:
    low = integral(sp.sqrt(X))
    jumps = [Jump({X: X / 2}, when=X > 1), Jump({B: B + 1}, rate=2)]
    sde = SDE(WALK.states, WALK.drift_vector, WALK.diffusion_matrix, jumps=jumps)
    assert as_without(sde, {"observables": {"o": low}}).o_undefined.values[-1] > 0
    given: dict[str, Any] = {"start": {X: 0.5, B: 0.0}, "time": 1.0, "dt": 0.05, "paths": 300, "keep": "paths"}
    found = simulate(sde, observables={"o": low}, events={"e": low > 0.3}, check=False, **given)
    dated, wrong = np.isfinite(found.e_time.values), ~np.isfinite(found.o.values[:, -1])
    assert found.exploded.values[-1] == 0 and (dated & wrong).any() and (~dated & wrong).any()
    with_steps = as_without(WALK, {"events": {"e": low > 0.3}, "crossings": "steps"})
    assert with_steps.e_count.values[-1] > 0 and with_steps.exploded.values[-1] == 0
    arrays = as_without(SDE(A, 0 * A, 1.0), {"observables": {"o": running(max, np.log(A)), "p": integral(1 / A)}})
    assert arrays.o_undefined.values[-1].min() > 0 and "p_undefined" not in arrays


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sde.engine.dataset.UndefinedWarning")
@pytest.mark.parametrize("name", ["a root's integral", "beyond the number range", "a pole's running value"])
def test_case_a11_a_functional_loses_no_path_of_steps_to_a_tolerance(name: str) -> None:
    observed = {"o": FUNCTIONALS[name], "p": integral(1 / X)}
    given: dict[str, Any] = {"start": {X: 0.5, B: 0.0}, "time": 1.0, "dt": 0.1, "paths": 64, "keep": "paths"}
    found = simulate(WALK, scheme="adaptive-milstein", observables=observed, **given)
    assert found.exploded.values[-1] == 0 and found.attrs["gave_up_paths"] == 0
    plain = simulate(WALK, scheme="adaptive-milstein", **given)
    assert np.allclose(found.X.values[:, -1], plain.X.values[:, -1], atol=1e-9), "additive noise: exact at any steps"


@pytest.mark.filterwarnings("ignore::sde.engine.dataset.UndefinedWarning")
def test_case_a11_a_path_lost_for_another_reason_is_told_of_that_one() -> None:
    sde = SDE([X], [sp.log(X)], [[1]])
    with pytest.warns(ExplosionWarning, match=r"log\(X\) left its domain"):
        simulate(sde, start={X: 0.3}, time=1.0, dt=0.05, observables={"o": integral(sp.sqrt(X - 1))}, check=False)
    rated = SDE([X], [0], [[1]], jumps=[Jump({X: X + 1}, rate=integral(sp.sqrt(X)))])
    with pytest.warns(ExplosionWarning, match=r"jumps\[0\].rate is no finite number"):
        simulate(rated, start={X: 0.3}, time=1.0, dt=0.05, check=False)
