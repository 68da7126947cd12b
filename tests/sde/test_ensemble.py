"""The same paths whatever the threads, the chunks and what is kept; explosions counted; Ctrl-C keeps what is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

import numpy as np
import pytest
import sympy as sp
import xarray as xr

from sde import SGD, simulate, train
from symbolic import SDE, Normal
from symbolic.library import LIBRARY

X = sp.Symbol("X", real=True)
RESCALING = LIBRARY["rescaling"].build()
START = {"u": 1.2, "w": 0.6}
u, w = RESCALING.theta
CHARGE = {"C": u**2 - w**2}
Run = Callable[..., xr.Dataset]


def sde(**changes: Any) -> xr.Dataset:
    settings: dict[str, Any] = {
        "start": START,
        "time": 0.5,
        "dt": 0.01,
        "paths": 1000,
        "seed": 7,
        "save_at": 3,
        "observables": CHARGE,
    }
    return simulate(RESCALING, SGD(0.05), **settings | changes)


def sgd(**changes: Any) -> xr.Dataset:
    settings: dict[str, Any] = {
        "start": START,
        "steps": 20,
        "paths": 1000,
        "seed": 7,
        "save_at": 3,
        "observables": CHARGE,
    }
    return train(RESCALING, SGD(0.05, 2), **settings | changes)


def rows(**changes: Any) -> xr.Dataset:
    """Minibatches of rows: indices, not normals."""
    settings: dict[str, Any] = {
        "start": LIBRARY["two-layer-relu"].start,
        "steps": 20,
        "paths": 1000,
        "seed": 7,
        "save_at": 3,
    }
    return train(LIBRARY["two-layer-relu"].build(), SGD(0.05, 3, replacement=False), **settings | changes)


RUNS: dict[str, Run] = {"sde": sde, "sgd": sgd, "rows": rows}


def same(first: xr.Dataset, second: xr.Dataset) -> None:
    assert set(first.data_vars) == set(second.data_vars)
    for name in first.data_vars:
        assert first[name].values.tobytes() == second[name].values.tobytes(), name


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("keep", ["paths", "statistics"])
def test_threads_change_no_bit(run: str, dtype: str, keep: str) -> None:
    one = RUNS[run](
        threads=1,
        dtype=dtype,
        keep=keep,
        start={**START, "u": Normal(1, 0.1)} if run != "rows" else LIBRARY["two-layer-relu"].start,
    )
    for threads in (2, 8):
        same(
            one,
            RUNS[run](
                threads=threads,
                dtype=dtype,
                keep=keep,
                start={**START, "u": Normal(1, 0.1)} if run != "rows" else LIBRARY["two-layer-relu"].start,
            ),
        )


def test_threads_change_no_bit_when_chunks_hold_several_blocks() -> None:
    one, eight = (sde(threads=n, paths=40_000, time=0.05, save_at=2) for n in (1, 8))
    same(one, eight)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_first_paths_of_many_are_those_of_few(run: str, dtype: str) -> None:
    many, few = RUNS[run](keep="paths", dtype=dtype), RUNS[run](keep="paths", dtype=dtype, paths=100)
    same(many.isel(path=slice(100)).drop_vars("exploded"), few.drop_vars("exploded"))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_statistics_are_those_of_the_paths(run: str, dtype: str) -> None:
    kept, summary = RUNS[run](keep="paths", dtype=dtype), RUNS[run](dtype=dtype)
    for name in (v for v in kept.data_vars if v != "exploded"):
        paths = kept[name].values.astype(np.float64)
        expected = {
            "mean": paths.mean(axis=0),
            "std": paths.std(axis=0, ddof=1),
            "sem": paths.std(axis=0, ddof=1) / np.sqrt(1000),
            "min": paths.min(axis=0),
            "max": paths.max(axis=0),
            **{f"q{q:02d}": np.quantile(kept[name].values, q / 100, axis=0) for q in (5, 25, 50, 75, 95)},
        }
        assert list(summary.statistic.values) == list(expected)
        for statistic, value in expected.items():
            found = summary[name].sel(statistic=statistic).values
            tolerance = 1e-12 if statistic not in ("q05", "q25", "q50", "q75", "q95") or dtype == "float64" else 1e-6
            assert found == pytest.approx(value, rel=tolerance, abs=tolerance), statistic


@pytest.mark.parametrize("run", RUNS)
def test_seeds_share_no_path(run: str) -> None:
    """Neither the same path, nor another's, nor correlated ones: 5 standard errors at 1000 paths."""
    name = "u" if run != "rows" else "a"
    first, second = (RUNS[run](keep="paths", seed=s)[name].values[:, -1].reshape(1000, -1)[:, 0] for s in (7, 8))
    if run != "rows":
        assert not np.isin(first, second).any() and len(np.unique(first)) == 1000
    assert (first == second).mean() < 0.01
    for shift in (-1, 0, 1):
        assert abs(np.corrcoef(np.roll(first, shift), second)[0, 1]) < 5 / np.sqrt(1000)


def test_every_path_begins_where_it_should() -> None:
    """Per-path arrays and laws over several blocks, saved at time 0."""
    own = np.linspace(0.5, 1.5, 1000)
    run = sde(keep="paths", start={"u": own, "w": Normal(0, 1)})
    assert np.array_equal(run.u.values[:, 0], own)
    assert len(np.unique(run.w.values[:, 0])) == 1000 and abs(run.w.values[:, 0].mean()) < 5 / np.sqrt(1000)
    turned = sde(keep="paths", start={"u": own[::-1], "w": Normal(0, 1)})
    assert np.array_equal(turned.w.values[:, 0], run.w.values[:, 0])


def test_float32_is_float32() -> None:
    kept = sde(keep="paths", dtype="float32")
    assert kept.u.dtype == np.float32 and kept.C.dtype == np.float32 and kept.attrs["dtype"] == "float32"
    double = sde(keep="paths", dtype="float64")
    assert np.abs(kept.u.values[:, 0] - double.u.values[:, 0]).max() < 1e-6


BLOWUP = SDE([X], drift=[X**3], diffusion=[[1]])


@pytest.mark.parametrize("keep", ["statistics", "paths"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_explosions_are_counted_warned_of_and_never_averaged(keep: str, dtype: str) -> None:
    """dX = X^3 dt + dW leaves every bound in finite time."""
    with pytest.warns(RuntimeWarning, match=r"\d+ of 2000 paths exploded"):
        run = simulate(
            BLOWUP, start={X: 0.0}, time=3.0, dt=0.01, paths=2000, seed=1, save_at=13, keep=keep, dtype=dtype
        )
    gone = run.exploded.values
    assert gone[0] == 0 and (np.diff(gone) >= 0).all() and 500 < gone[-1] <= 2000 and len(set(gone.tolist())) > 4
    assert run.attrs["exploded_paths"] == gone[-1] and run.attrs["paths"] == 2000
    bound = run.attrs["bound"]
    if keep == "paths":
        left = run.explosion_time.values
        assert [(left <= t + 1e-9).sum() for t in run.time.values] == gone.tolist()
        assert np.nanmin(left) == run.attrs["first_explosion"]
        assert np.array_equal(np.isnan(run.X.values).sum(axis=0), gone)
        assert (np.diff(np.isnan(run.X.values).astype(int), axis=1) >= 0).all()
        assert np.nanmax(np.abs(run.X.values)) <= bound
    else:
        alive = run.X.values[:, gone < 2000]
        assert np.isfinite(alive).all() and np.abs(alive).max() <= bound


def test_means_are_those_of_the_paths_that_are_left() -> None:
    summary, kept = (
        simulate(BLOWUP, start={X: 0.0}, time=1.5, dt=0.01, paths=1000, seed=2, save_at=4, keep=k)
        for k in ("statistics", "paths")
    )
    assert np.array_equal(summary.exploded, kept.exploded) and summary.exploded.values[-1] > 50
    assert summary.X.sel(statistic="mean").values == pytest.approx(np.nanmean(kept.X.values, axis=0), rel=1e-10)
    assert summary.X.sel(statistic="q50").values == pytest.approx(np.nanmedian(kept.X.values, axis=0), rel=1e-12)


def test_a_bound_of_ones_own() -> None:
    run = simulate(
        SDE([X], [1], [[0]]), start={X: 0.0}, time=1.0, dt=0.125, paths=3, save_at=9, bound=0.5, keep="paths"
    )
    assert run.exploded.values.tolist() == [0] * 5 + [3] * 4
    assert run.explosion_time.values.tolist() == [0.625] * 3
    assert run.X.values[0, :5].tolist() == [0, 0.125, 0.25, 0.375, 0.5] and np.isnan(run.X.values[:, 5:]).all()


def test_all_paths_gone_leaves_no_numbers() -> None:
    run = simulate(SDE([X], [1], [[0]]), start={X: 0.0}, time=1.0, dt=0.125, paths=3, save_at=9, bound=0.5)
    assert np.isnan(run.X.values[:, 5:]).all() and np.isfinite(run.X.sel(statistic="mean").values[:5]).all()


def test_the_explosion_that_theory_tells_of() -> None:
    """docs/theory.md, section 7: about a tenth of paths within t = 60 at eta = 0.1, dt = 0.01. 2560 paths, 5 standard
    errors
    (0.03)."""
    with pytest.warns(RuntimeWarning, match="paths exploded"):
        run = simulate(
            RESCALING, SGD(0.1), start={"u": 1.0, "w": 1.0}, time=60.0, dt=0.01, paths=2560, seed=1, save_at=7
        )
    share = run.exploded.values / 2560
    assert 0.07 < share[-1] < 0.13
    assert (np.diff(share) > 0).all()


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, after: int, how: Callable[[], None]) -> Iterator[None]:
    """A progress bar that presses Ctrl-C once `after` path-steps are done."""
    done = [0]

    def tick(n: int) -> None:
        before, done[0] = done[0], done[0] + n
        if before < after <= done[0]:
            how()

    @contextmanager
    def bar(*_: object) -> Iterator[Callable[[int], None]]:
        yield tick

    with monkeypatch.context() as patch:
        patch.setattr("sde.api.prepared_run.bar", bar)
        yield


def press() -> None:
    """Ctrl-C as the operating system delivers it, to the main thread."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def throw() -> None:
    """The same raised inside a worker, as a tick of a user's own may do."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", [press, throw])
@pytest.mark.parametrize("keep", ["paths", "statistics"])
def test_an_interruption_keeps_complete_chunks(
    monkeypatch: pytest.MonkeyPatch, how: Callable[[], None], keep: str
) -> None:
    settings: dict[str, Any] = {
        "paths": 60_000,
        "time": 0.5,
        "dt": 0.005,
        "save_at": 2,
        "threads": 2,
        "observables": {},
        "start": START,
    }
    with interrupted(monkeypatch, 2_000_000, how):
        try:
            part = sde(keep=keep, **settings)
        except KeyboardInterrupt:
            pytest.fail("the complete chunks were lost")
    n = part.attrs["paths"]
    assert part.attrs["interrupted"] == 1 and 0 < n < 60_000
    if keep == "paths":
        assert part.sizes["path"] == n and np.isfinite(part.u.values).mean() > 0.999
        whole = sde(keep="paths", **settings)
        assert whole.attrs["interrupted"] == 0
        assert np.array_equal(whole.u.sel(path=part.path).values, part.u.values, equal_nan=True)
    else:
        assert np.isfinite(part.u.values).all()


def press_and_wait() -> None:
    """Gives the main thread time to see the signal before the first chunk is done."""
    press()
    sleep(0.5)


def test_an_interruption_before_anything_is_done_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt), interrupted(monkeypatch, 1, press_and_wait):
        sde(paths=20_000, time=50.0, dt=0.01, threads=1)
    assert sde().attrs["interrupted"] == 0
