"""Some forty small runs that touch every scheme, driver, statistic and number type, and what is kept of each: a hash
and a few numbers."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import sympy as sp
import xarray as xr

from sde import SDE, SGD, convergence, expectation, simulate, train
from sde.storage.files import fingerprint
from symbolic import Dataset, Loss, Normal, Uniform
from symbolic.library import LIBRARY
from symbolic.problem.optimizer import warmup

X, Y, mu, t = sp.symbols("X Y mu t", real=True)
u, w, x, y = sp.symbols("u w x y", real=True)
GBM = SDE([X], [X / 2], [[X / 4]], name="gbm")
WELL = SDE([X], [X - X**3], [[sp.Rational(1, 2)]], name="well")
PAIR = SDE([X, Y], [X * (1 - Y), Y * (X - 1)], [[X / 4, 0], [0, Y / 4]], name="pair")
TURN = SDE([X, Y], [-X / 2, -Y / 2], [[0, 3 * Y / 4], [3 * X / 4, 0]], name="turn")
HEUN = SDE([X], [-X], [[sp.cos(X) / 2]], "stratonovich", name="cosine")
TIMED = SDE([X], [sp.sin(3 * t) - X], [[1 / (1 + t)]], time=t, name="timed")
SWEPT = SDE([X], [mu * X], [[X / 4]], name="swept", parameters=[mu])
RESCALING = LIBRARY["rescaling"].build()
FACTORS = LIBRARY["matrix-factorization"]
ROWS = np.array([[0.3, 0.1], [1.2, 0.9], [-0.7, -1.1], [0.5, 0.2], [-1.4, -0.8], [0.9, 1.3], [2.0, 1.1]])
TABLE = Dataset({x: ROWS[:, 0], y: ROWS[:, 1]})
POLYNOMIAL = Loss((u * w * x - y) ** 2, parameters=[u, w], data=TABLE, name="table")
TANH = Loss((u * sp.tanh(w * x) - y) ** 2, parameters=[u, w], data=TABLE, name="tanh")
MIXED = Loss((u * sp.tanh(w * x) - y) ** 2, parameters=[u, w], data={x: Normal(0, 1), y: Uniform(-1, 1)}, name="laws")
POINT = {"u": 1.2, "w": 0.6}
C = {"C": u**2 - w**2}


def _sde(sde: SDE, start: Any, **options: Any) -> Callable[[], xr.Dataset]:
    settings: dict[str, Any] = {"time": 1.0, "dt": 0.05, "paths": 300, "save_at": 5, "seed": 11, "threads": 2}
    return lambda: simulate(sde, start=start, **settings | options)


def _flow(loss: Loss, sgd: SGD, start: Any, **options: Any) -> Callable[[], xr.Dataset]:
    settings: dict[str, Any] = {"time": 1.0, "dt": 0.01, "paths": 300, "save_at": 5, "seed": 12, "threads": 2}
    return lambda: simulate(loss, sgd, start=start, **settings | options)


def _steps(loss: Loss, sgd: SGD, start: Any, **options: Any) -> Callable[[], xr.Dataset]:
    settings: dict[str, Any] = {"steps": 60, "paths": 300, "save_at": 5, "seed": 13, "threads": 2}
    return lambda: train(loss, sgd, start=start, **settings | options)


def _resumed() -> xr.Dataset:
    """A run whose checkpoint was there already."""
    with TemporaryDirectory() as folder:
        run = _flow(RESCALING, SGD(0.05), POINT, paths=20_000, observables=C, checkpoint=Path(folder) / "c")
        run()
        return run()


def _streamed() -> xr.Dataset:
    with TemporaryDirectory() as folder:
        run = _flow(RESCALING, SGD(0.05), POINT, paths=5000, observables=C, keep="paths", out=Path(folder) / "run.nc")
        with run() as data:
            return data.load()


WATCH: dict[str, Any] = {
    "observables": C,
    "events": {"low": sp.Rational(3, 10) - w, "high": u - 1},
    "covariance": ["u", "C"],
    "histogram": {"C": np.linspace(0, 2, 9)},
}
RUNS: dict[str, Callable[[], xr.Dataset]] = {
    "euler-maruyama": _sde(GBM, {X: 1.0}),
    "euler-maruyama float32": _sde(GBM, {X: 1.0}, dtype="float32"),
    "euler-maruyama timed": _sde(TIMED, {X: 0.2}),
    "tamed-euler": _sde(WELL, {X: 1.5}, scheme="tamed-euler"),
    "adaptive-euler": _sde(WELL, {X: 1.5}, scheme="adaptive-euler"),
    "adaptive-euler pair float32": _sde(PAIR, {X: 1.5, Y: 0.7}, scheme="adaptive-euler", dtype="float32"),
    "adaptive-milstein": _sde(PAIR, {X: 1.5, Y: 0.7}, scheme="adaptive-milstein"),
    "implicit-euler": _sde(WELL, {X: 1.5}, scheme="implicit-euler"),
    "milstein": _sde(PAIR, {X: 1.5, Y: 0.7}, scheme="milstein"),
    "milstein-levy": _sde(TURN, {X: 1.0, Y: 1.0}, scheme="milstein-levy"),
    "sra1": _sde(WELL, {X: 1.5}, scheme="sra1"),
    "sriw1": _sde(PAIR, {X: 1.5, Y: 0.7}, scheme="sriw1"),
    "platen-weak-2": _sde(TURN, {X: 1.0, Y: 1.0}, scheme="platen-weak-2"),
    "heun": _sde(HEUN, {X: 0.8}, scheme="heun"),
    "euler-heun": _sde(HEUN, {X: 0.8}, scheme="euler-heun"),
    "orbit-splitting": _flow(RESCALING, SGD(0.05, weight_decay=0.1), POINT, scheme="orbit-splitting"),
    "refined": _sde(GBM, {X: 1.0}, refine=4, keep="paths"),
    "refined sriw1": _sde(PAIR, {X: 1.5, Y: 0.7}, scheme="sriw1", refine=3),
    "swept": _sde(SWEPT, {X: 1.0}, parameters={mu: [0.1, 0.5, 0.9]}),
    "drawn start": _sde(GBM, {X: Normal(1, 2)}),
    "start per path": _sde(GBM, {X: np.linspace(0.1, 1, 300)}, keep="paths"),
    "explosions": _sde(SDE([X], [X**3], [[1]], name="grows"), {X: 1.0}, keep="paths", bound=50.0),
    "many paths": _sde(GBM, {X: 1.0}, paths=20_000, observables={"square": X**2}),
    "many paths float32": _sde(GBM, {X: 1.0}, paths=20_000, dtype="float32", histogram={"X": [0.5, 1.0, 2.0]}),
    "loss": _flow(RESCALING, SGD(0.05, batch_size=2, weight_decay=0.1), POINT, **WATCH),
    "loss float32": _flow(RESCALING, SGD(0.05), POINT, dtype="float32", **WATCH),
    "loss kept": _flow(RESCALING, SGD(0.05), POINT, keep="paths", events=WATCH["events"]),
    "loss schedule": _flow(RESCALING, SGD(0.05, momentum=0.5, schedule=warmup(0.5)), POINT),
    "matrices": _flow(FACTORS.build(), FACTORS.sgd, dict(FACTORS.start)),
    "weighted": _flow(TANH, SGD(0.05), POINT, observables=C),
    "weighted float32": _flow(TANH, SGD(0.05, batch_size=3, replacement=False), POINT, dtype="float32"),
    "table": _flow(POLYNOMIAL, SGD(0.05, batch_size=3, replacement=False), POINT),
    "tamed loss": _flow(RESCALING, SGD(0.05), POINT, scheme="tamed-euler"),
    "adaptive loss": _flow(RESCALING, SGD(0.05), POINT, scheme="adaptive-euler", observables=C),
    "checkpoint": _resumed,
    "stream": _streamed,
    "sgd laws": _steps(MIXED, SGD(0.05, batch_size=3), POINT, **WATCH),
    "sgd normal": _steps(RESCALING, SGD(0.05, weight_decay=0.1), POINT, keep="paths"),
    "sgd table": _steps(TANH, SGD(0.05, batch_size=3), POINT),
    "sgd table without replacement": _steps(POLYNOMIAL, SGD(0.05, batch_size=3, replacement=False), POINT),
    "sgd momentum": _steps(RESCALING, SGD(0.02, momentum=0.9, weight_decay=0.1), POINT, dtype="float32"),
    "sgd schedule": _steps(FACTORS.build(), SGD(0.02, schedule=warmup(0.5)), dict(FACTORS.start), paths=5000),
    "descent": _steps(RESCALING, SGD(0.05), POINT, full_batch=True, paths=2),
    "descent rows": _steps(TANH, SGD(0.05), POINT, full_batch=True, paths=2),
}


def _expectation() -> list[float]:
    found = expectation(GBM, sp.Max(X - 1, 0), tolerance=0.02, start={X: 1.0}, time=1.0, seed=5)
    return [found.value, found.sem, *(level.mean for level in found.levels)]


def _orders() -> list[float]:
    found = convergence(GBM, "milstein", start={X: 1.0}, steps=4, levels=4, paths=500, seed=5)
    return [found.strong, *found.strong_error, *found.weak_error]


NUMBERS: dict[str, Callable[[], list[float]]] = {"expectation": _expectation, "convergence": _orders}


def taken(name: str) -> dict[str, Any]:
    """{"hash", "numbers"} of one run: its variables' and coordinates' bits, and up to eight numbers spread over
    them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if name in NUMBERS:
            numbers = NUMBERS[name]()
            return {"hash": hashlib.sha256(np.array(numbers).tobytes()).hexdigest()[:24], "numbers": numbers}
        data = RUNS[name]()
    bare = data.copy()
    bare.attrs = {}
    return {"hash": fingerprint(bare)[:24], "numbers": _spread(bare)}


def _spread(data: xr.Dataset) -> list[float]:
    parts = [np.asarray(data[name].values, dtype=np.float64).ravel() for name in sorted(map(str, data.data_vars))]
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    return [float(v) for v in values[np.linspace(0, len(values) - 1, 8).astype(int)]]
