"""Events, covariance and histograms against the paths themselves; explosions told by path, time and value; streams;
bits."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import xarray as xr

from sde import SDE, SGD, simulate, train
from sde.engine import plan
from sde.engine.dataset import ExplosionWarning
from sde.storage.files import fingerprint
from symbolic import Normal
from symbolic.library import LIBRARY

X, s = sp.symbols("X s", real=True)
RESCALING = LIBRARY["rescaling"].build()
u, w = RESCALING.theta
WALK = SDE([X], [0], [[1]], time=s)
LEVEL = {"up": X - 1, "late": s - 0.505, "never": X - 50}


def walk(**changes: Any) -> xr.Dataset:
    settings: dict[str, Any] = {"start": {X: 0.0}, "time": 1.0, "dt": 0.01, "paths": 6000, "seed": 1, "save_at": 6}
    return simulate(WALK, **settings | changes)


def charged(**changes: Any) -> xr.Dataset:
    settings: dict[str, Any] = {"start": {"u": Normal(1.2, 0.1), "w": 0.6}, "time": 0.5, "dt": 0.01, "paths": 6000}
    return simulate(RESCALING, SGD(0.05), observables={"C": u**2 - w**2}, save_at=3, **settings | changes)


def test_events_are_the_first_steps_of_the_paths() -> None:
    """Every step kept: the first at which the expression is positive, and how many had it by each save."""
    options: dict[str, Any] = {"keep": "paths", "events": LEVEL, "crossings": "steps"}
    every, few = walk(save_at=101, **options), walk(**options)
    above = every.X.values > 1
    first = np.where(above.any(axis=1), every.time.values[above.argmax(axis=1)], np.nan)
    assert np.array_equal(every.up_time.values, first, equal_nan=True) and 0.2 < np.isfinite(first).mean() < 0.4
    assert few.up_time.values == pytest.approx(first, rel=1e-12, nan_ok=True)
    assert few.up_count.values.tolist() == [(first <= t + 1e-9).sum() for t in few.time.values]
    assert (few.late_time.values == every.time.values[51]).all() and few.late_count.values.tolist() == [0, 0, 0] + [
        6000
    ] * 3
    assert np.isnan(few.never_time.values).all() and not few.never_count.values.any()


@pytest.mark.parametrize("paths", [3000, 20_000])
def test_statistics_of_event_times_are_those_of_the_paths(paths: int) -> None:
    kept, found = walk(keep="paths", events=LEVEL, paths=paths), walk(events=LEVEL, paths=paths)
    times = kept.up_time.values[np.isfinite(kept.up_time.values)]
    assert np.array_equal(kept.up_count, found.up_count)
    expected = {"mean": times.mean(), "std": times.std(ddof=1), "min": times.min(), "max": times.max()}
    for name, value in expected.items():
        assert found.up_time.sel(statistic=name).item() == pytest.approx(value, rel=1e-12)
    for q in (5, 25, 50, 75, 95):
        near = found.up_time.sel(statistic=f"q{q:02d}").item() - np.quantile(times, q / 100)
        assert abs(near) < (1e-12 if paths <= 4096 else 0.01)
    assert np.isnan(found.never_time.values).all()


def test_passage_follows_the_reflection_principle() -> None:
    """P(max over steps > 1 by T = 1) for a walk of 100 steps: 2 (1 - Phi(1 + 0.5826 sqrt(h))) to a percent (Broadie,
    Glasserman, Kou 1997): 5 standard errors of 40000 paths and that percent."""
    from scipy.stats import norm

    found = walk(paths=40_000, events={"up": X - 1}, crossings="steps").up_count.values[-1] / 40_000
    expected = 2 * norm.sf(1 + 0.5826 * 0.1)
    assert abs(found - expected) < 5 * np.sqrt(expected / 40_000) + 0.01 * expected
    assert abs(found - 2 * norm.sf(1)) > 0.01  # late by step, as documented


def test_events_of_discrete_sgd() -> None:
    options: dict[str, Any] = {"start": {"u": 1.2, "w": 0.6}, "steps": 40, "paths": 500, "keep": "paths", "save_at": 41}
    run = train(RESCALING, SGD(0.05, 2), events={"low": 0.57 - w}, **options)
    below = run.w.values < 0.57
    first = np.where(below.any(axis=1), run.time.values[below.argmax(axis=1)], np.nan)
    assert np.array_equal(run.low_time.values, first, equal_nan=True) and 10 < np.isfinite(first).sum() < 500


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_covariance_is_that_of_the_paths(dtype: str) -> None:
    kept, found = charged(keep="paths", dtype=dtype), charged(covariance=["u", "C", "w"], dtype=dtype)
    assert found.covariance.dims == ("time", "one", "other") and found.one.values.tolist() == ["u", "C", "w"]
    for k in range(3):
        values = np.stack([kept[n].values[:, k].astype(float) for n in ("u", "C", "w")])
        assert found.covariance.values[k] == pytest.approx(np.cov(values), rel=1e-10, abs=1e-14)


def test_histograms_are_those_of_the_paths() -> None:
    edges = np.linspace(0.5, 1.6, 12)
    kept, found = charged(keep="paths"), charged(histogram={"C": edges})
    assert found.C_histogram.dims == ("time", "C_bin")
    assert found.C_left.values.tolist() == [-np.inf, *edges] and found.C_right.values.tolist() == [*edges, np.inf]
    for k in range(3):
        values = kept.C.values[:, k]
        inside = [
            ((values >= a) & (values < b)).sum() for a, b in zip(found.C_left.values, found.C_right.values, strict=True)
        ]
        assert found.C_histogram.values[k].tolist() == inside and sum(inside) == 6000
    assert (found.C_histogram.values > 0).sum() > 12


def test_matrices_have_histograms_and_covariances_by_entry() -> None:
    loss = LIBRARY["matrix-factorization"]
    name, *_ = (p.name for p in loss.build().parameters)
    options: dict[str, Any] = {"start": dict(loss.start), "steps": 5, "paths": 300, "save_at": 2}
    kept = train(loss.build(), loss.sgd, keep="paths", **options)
    found = train(loss.build(), loss.sgd, histogram={name: [0.0, 0.5]}, covariance=[name], **options)
    shape = kept[name].shape[2:]
    assert found[f"{name}_histogram"].shape == (2, *shape, 3)
    low = (kept[name].values < 0).sum(axis=0)
    assert np.array_equal(found[f"{name}_histogram"].values[..., 0], low)
    flat = kept[name].values[:, -1].reshape(300, -1)
    assert found.covariance.values[-1] == pytest.approx(np.cov(flat.T), abs=1e-14)


BLOWUP = SDE([X], drift=[X**3], diffusion=[[1]])


@pytest.mark.parametrize("paths", [2000, 10_000])
def test_explosions_are_told_by_path_time_and_value(paths: int) -> None:
    options: dict[str, Any] = {"start": {X: 0.0}, "time": 2.0, "dt": 0.01, "paths": paths, "save_at": 5, "seed": 1}
    with pytest.warns(UserWarning, match=r"paths exploded .* the first: path \d+ at time \d.*\(X = ") as caught:
        run = simulate(BLOWUP, covariance=["X"], histogram={"X": [0.0, 1.0]}, **options)
    kept = simulate(BLOWUP, keep="paths", warn_share=1.0, **options)
    assert all(isinstance(w.message, ExplosionWarning) for w in caught)
    named = json.loads(run.attrs["explosions"])
    order = np.lexsort((np.arange(paths), kept.explosion_time.values))[:8]
    assert [e["path"] for e in named] == order.tolist()
    assert [e["time"] for e in named] == kept.explosion_time.values[order].tolist()
    assert [e["value"] for e in named] == kept.explosion_value.values[order].tolist()
    gone = ~np.isnan(kept.explosion_time.values)
    assert (np.abs(kept.explosion_value.values[gone]) > run.attrs["bound"]).all() and gone.sum() == run.attrs[
        "exploded_paths"
    ]
    assert np.isnan(kept.explosion_value.values[~gone]).all()
    left = kept.X.values[:, -1]
    assert run.covariance.values[-1, 0, 0] == pytest.approx(np.nanvar(left, ddof=1), rel=1e-9)
    assert run.X_histogram.values[-1].sum() == (~np.isnan(left)).sum()
    assert np.abs(run.X.sel(statistic="q50").values - np.nanmedian(kept.X.values, axis=0)).max() < 0.01


def test_a_drift_that_is_not_a_number_is_named() -> None:
    """log of a negative number at the first path that gets there."""
    with pytest.warns(UserWarning, match=r"path \d+ at time .* \(X = nan\)"):
        simulate(SDE([X], [sp.log(X)], [[1]]), start={X: 1.0}, time=1.0, dt=0.1, paths=50, save_at=2)


def test_few_explosions_are_counted_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    options: dict[str, Any] = {"start": {X: 0.0}, "time": 0.8, "dt": 0.01, "paths": 20_000, "save_at": 2, "seed": 1}
    run = simulate(BLOWUP, warn_share=0.2, **options)
    assert 0 < run.attrs["exploded_paths"] < 4000 and run.attrs["warn_share"] == 0.2 and not recwarn.list
    with pytest.warns(ExplosionWarning):
        simulate(BLOWUP, warn_share=run.attrs["exploded_paths"] / 20_000 - 1e-9, **options)


@pytest.mark.parametrize(("time", "dt"), [(1.1, 0.1), (2.1, 0.3), (0.7, 0.1), (1.0, 0.3)])
def test_the_last_time_is_exact_for_awkward_steps(time: float, dt: float) -> None:
    """dX = 1 dt: X at the end is the time."""
    run = simulate(SDE([X], [1], [[0]]), start={X: 0.0}, time=time, dt=dt, paths=2, save_at=[time], keep="paths")
    assert run.time.values.tolist() == [time] and run.X.values[:, -1] == pytest.approx(time, rel=1e-15 * 20)


@pytest.mark.parametrize("keep", ["statistics", "paths"])
def test_chunks_change_no_path_and_no_count(keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Means may differ in the last bits, as chunks are what is merged; all else may not."""
    options: dict[str, Any] = {"keep": keep, "events": LEVEL, "histogram": {"X": np.linspace(-2, 2, 9)}, "paths": 9000}
    one = walk(**options)
    for blocks in (2, 7):
        with monkeypatch.context() as patch:
            patch.setattr(plan, "blocks_per_chunk", lambda *_, blocks=blocks: blocks)
            other = walk(threads=3, **options)
        for name in one.variables:
            if keep == "paths" or name in ("exploded", "X_histogram") or str(name).endswith("_count"):
                assert one[name].values.tobytes() == other[name].values.tobytes(), name
        if keep == "statistics":
            exact = [n for n in one.statistic.values if n in ("min", "max")]
            assert np.array_equal(one.X.sel(statistic=exact), other.X.sel(statistic=exact))
            assert other.X.sel(statistic="mean").values == pytest.approx(one.X.sel(statistic="mean").values, abs=1e-14)


@pytest.mark.parametrize("threads", [2, 8])
def test_threads_change_no_bit_of_anything_gathered(threads: int) -> None:
    options: dict[str, Any] = {"events": LEVEL, "covariance": ["X"], "histogram": {"X": [-1.0, 0, 1]}, "paths": 30_000}
    one, many = walk(threads=1, **options), walk(threads=threads, **options)
    for name in one.variables:
        assert one[name].values.tobytes() == many[name].values.tobytes(), name
    assert fingerprint(one) == fingerprint(many)


def test_streamed_paths_are_the_kept_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"keep": "paths", "events": LEVEL, "bound": 2.5, "warn_share": 1.0}
    kept, out = walk(**options), tmp_path / "paths.nc"
    monkeypatch.setattr("sde.api.run_arguments._memory", lambda: 1000)
    with pytest.raises(ValueError, match=r"keep='paths': may take 50% of memory .*Stream them with out="):
        walk(**options)
    with walk(**options, out=out) as streamed:
        assert set(streamed.variables) == set(kept.variables)
        for name in kept.variables:
            assert np.array_equal(streamed[name].values, kept[name].values, equal_nan=True), name
            assert streamed[name].dims == kept[name].dims
        assert streamed.attrs["exploded_paths"] == kept.attrs["exploded_paths"] > 0
    assert os.listdir(tmp_path) == ["paths.nc"]


def test_an_interrupted_stream_holds_what_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    from sde.engine import chunk

    monkeypatch.setattr("sde.engine.plan.CHUNK_STEPS", 0)
    kept, block, begun = walk(keep="paths"), chunk.advance, []

    def counted(*arguments: Any) -> Any:
        begun.append(0)
        if len(begun) == 9:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return block(*arguments)

    monkeypatch.setattr(chunk, "advance", counted)
    with walk(keep="paths", out=tmp_path / "part.nc", threads=2) as part:
        assert part.attrs["interrupted"] == 1 and 0 < part.sizes["path"] == part.attrs["paths"] < 6000
        assert np.array_equal(part.X.values, kept.X.sel(path=part.path).values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"events": {"X": X}}, r"events\[X\]: a name must be new text; got 'X', which is the parameter or state"),
        ({"events": {"e": X}, "observables": {"e": X}}, r"events\[e\]: a name must be new"),
        ({"events": {"e": [X, X]}}, r"events\[e\]: must be one expression"),
        ({"events": {"e": X}, "observables": {"e_time": X}}, r"events\[e\]: a name must be new text; got 'e_time'"),
        ({"covariance": ["X", "Y"]}, r"covariance\[Y\]: must name a parameter, state or observable"),
        ({"covariance": "X"}, r"covariance: must be a list of names"),
        ({"covariance": ["X", "X"]}, r"covariance: each name may stand once"),
        ({"histogram": {"Y": [0, 1]}}, r"histogram\[Y\]: must name"),
        ({"histogram": {"X": 20}}, r"histogram\[X\]: needs at least two increasing finite edges; got 20"),
        ({"histogram": {"X": [1.0, 0.0]}}, r"histogram\[X\]: needs at least two increasing"),
        ({"warn_share": 2}, "warn_share: must be a share"),
        ({"out": "x.nc"}, "out: streams paths"),
        ({"out": "c.rows", "keep": "paths", "checkpoint": "c"}, "output: each must be a file of its own"),
    ],
)
def test_refusals_before_any_compilation(
    arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sde.api.prepared_run.load", lambda *_: pytest.fail("compiled before refusing"))
    with pytest.raises(ValueError, match=message):
        walk(**arguments)


def test_events_leave_the_statistics_alone() -> None:
    """Once the lanes' count was read off the rows of deaths, which events lengthen: sums ran past their scratch, and
    aborted."""
    events = {f"e{k}": X - 1 - k for k in range(7)}
    plain, watched = walk(), walk(events=events)
    assert np.array_equal(plain.X.values, watched.X.values)
