"""Whether a saved state is one that a run can have had: every array there, of its type and shape, and all counts in
agreement.

A file may be whole by its digest and hold anything. What is found wrong here would otherwise be an error from within,
or other numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from sde.engine.accumulators import NAMED, ChunkStatistics, Gathering, PathEvents, by_saves
from sde.engine.plan import Job
from sde.engine.quantiles import Sketch
from sde.kernels.statistics import quantile_bins
from sde.kernels.statistics.moments import COUNT, HIGH, LOW, M2, MEAN
from sde.storage.archive import Malformed

State = Mapping[str, np.ndarray]


def check_state(state: State, job: Job, gathered: Gathering, path_events: PathEvents | None) -> None:
    """Raise Malformed unless `state` is what a run of this job may have saved. gathered: of the run, before anything is
    in it; ends: arrays for the ends of all its paths, None where paths are not kept."""
    done, following = _done(state, job.chunks)
    sizes = np.minimum(job.chunk_size, job.paths - job.chunk_size * np.arange(job.chunks))
    groups = {"total": np.arange(following)} | {f"part{i}": np.array([i]) for i in done[done >= following]}
    forms = ChunkStatistics.empty(gathered.observed).state()
    names = {"done", "next", "wall"} | {f"{group}.{name}" for group in groups for name in forms}
    for k, one in enumerate(gathered.sketches):
        names |= _check_sketch(state, f"sketch{k}", one, done, sizes)
    if path_events is not None:
        names |= {f"path.{name}" for name in (*path_events._fields, "kept", "ran")}
    if names != state.keys():
        raise Malformed(f"{min(names ^ state.keys())} is missing, or too much")
    exploded_paths, met = 0, np.zeros((1 + job.events, len(job.clock.saves)), np.int64)
    for group, chunks in groups.items():
        statistics = {name: state[f"{group}.{name}"] for name in forms}
        for name, form in forms.items():
            rows = min(max(int(statistics["size"].ravel()[-1]), 0), NAMED) if name == "named" else None
            shape = form.shape if rows is None else (rows, *form.shape[1:])
            _check_form(f"{group}.{name}", statistics[name], form.dtype, shape)
        _check_part(group, statistics, int(sizes[chunks].sum()), chunks, job)
        exploded_paths += int(statistics["size"][1])
        met += np.concatenate([statistics["exploded"][None], statistics["hits"]])
    if path_events is not None:
        _check_paths(state, job, done, int(sizes[done].sum()), path_events, exploded_paths)
        numbers = np.concatenate([state["path.dead"][None], state["path.hit"]])
        _must(np.array_equal(met, [by_saves(row, job.clock.saves) for row in numbers]), "path.dead")


def _done(state: State, chunks: int) -> tuple[np.ndarray, int]:
    """Which chunks are complete, and how many of the first are merged."""
    for name, dtype, shape in (
        ("done", np.uint8, (-(-chunks // 8),)),
        ("next", np.int64, ()),
        ("wall", np.float64, ()),
    ):
        if name not in state:
            raise Malformed(f"{name} is missing, or too much")
        _check_form(name, state[name], dtype, shape)
    bits = np.unpackbits(state["done"]).astype(bool)
    following, wall = int(state["next"]), float(state["wall"])
    _must(not bits[chunks:].any() and 0 <= following <= chunks and bool(bits[:following].all()), "done")
    _must(bool(0 <= wall < np.inf), "wall")
    return np.flatnonzero(bits), following


def _check_part(group: str, statistics: State, paths: int, chunks: np.ndarray, job: Job) -> None:
    """Statistics of so many paths of these chunks."""
    size, exploded_paths = statistics["size"], int(statistics["size"][1])
    _must(int(size[0]) == paths and 0 <= exploded_paths <= paths, f"{group}.size")
    for name in ("moments", "event_moments"):
        cells = statistics[name]
        count = cells[..., COUNT]
        # A living path's observable may be no number, and then spoils its cell.
        some = (count > 0) & ~np.isnan(cells[..., MEAN])
        _must(_integers(count, 0, paths), f"{group}.{name}")
        _must(not (some & ((cells[..., M2] < 0) | (cells[..., LOW] > cells[..., HIGH]))).any(), f"{group}.{name}")
    _must(
        bool(np.isfinite(statistics["event_moments"][statistics["event_moments"][..., COUNT] > 0]).all()),
        f"{group}.event_moments",
    )
    for name, most in (("hits", paths), ("exploded", exploded_paths)):
        counts = statistics[name]
        _must(_integers(counts, 0, most) and not (np.diff(counts, axis=-1) < 0).any(), f"{group}.{name}")
    _must(int(statistics["exploded"][-1]) == exploded_paths, f"{group}.exploded")
    _must(np.array_equal(statistics["hits"][:, -1], statistics["event_moments"][0, :, COUNT]), f"{group}.hits")
    named = statistics["named"]
    path, time, row = named[:, 0], named[:, 1], named[:, 2]
    _must(_integers(path, 0, job.paths - 1) and bool(np.isfinite(time).all()), f"{group}.named")
    _must(_integers(row, -1, job.program.native.states - 1), f"{group}.named")
    _must(bool(np.isin(path // job.chunk_size, chunks).all()) and len(np.unique(path)) == len(path), f"{group}.named")
    _must(bool((statistics["own_steps"] >= 0).all()), f"{group}.own_steps")
    _must(_integers(statistics["comoment0"], 0, paths), f"{group}.comoment0")
    product = statistics["comoment2"]
    _must(np.array_equal(product, product.swapaxes(1, 2), equal_nan=True), f"{group}.comoment2")
    _must(not (np.diagonal(product, axis1=1, axis2=2) < 0).any(), f"{group}.comoment2")
    for name, table in statistics.items():
        if name.startswith("histogram"):
            _must(_integers(table, 0, paths) and bool((table.sum(axis=1) <= paths).all()), f"{group}.{name}")


def _check_sketch(state: State, name: str, one: Sketch, done: np.ndarray, sizes: np.ndarray) -> set[str]:
    """The names of a sketch's arrays: the values of complete chunks, or, once the pilots are among them, counts of
    all."""
    if not one.pilots or not one.pilots <= set(done.tolist()):
        held = {f"{name}.held{i}": (one.cells, int(sizes[i])) for i in done.tolist()}
        for key, shape in held.items():
            if key in state:
                _check_form(key, state[key], one.dtype, shape)
        return set(held)
    bins = 2 * (quantile_bins.OCTAVES << one.bits) + 1
    forms = {
        "centre": (one.dtype, (one.cells,)),
        "scale": (one.dtype, (one.cells,)),
        "table": (np.int64, (one.cells, bins)),
    }
    names = {f"{name}.{key}" for key in forms}
    if names <= state.keys():
        for key, (dtype, shape) in forms.items():
            _check_form(f"{name}.{key}", state[f"{name}.{key}"], dtype, shape)
        centre, scale, table = (state[f"{name}.{key}"] for key in forms)
        _must(bool(np.isfinite(centre).all()), f"{name}.centre")
        _must(bool((np.isfinite(scale) & (scale > 0)).all()), f"{name}.scale")
        paths = int(sizes[done].sum())
        _must(_integers(table, 0, paths) and bool((table.sum(axis=1) == paths).all()), f"{name}.table")
    return names


def _check_paths(
    state: State, job: Job, done: np.ndarray, count: int, path_events: PathEvents, exploded_paths: int
) -> None:
    """Saves and ends of the paths of complete chunks."""
    ran = np.zeros(job.chunks, dtype=bool)
    ran[done] = True
    packed = np.packbits(np.repeat(ran, job.chunk_size)[: job.paths])
    _check_form("path.ran", state["path.ran"], np.uint8, packed.shape)
    _must(np.array_equal(state["path.ran"], packed), "path.ran")
    _check_form("path.kept", state["path.kept"], job.program.dtype, (len(job.clock.saves), job.rows, count))
    for name, array in zip(path_events._fields, path_events, strict=True):
        _check_form(f"path.{name}", state[f"path.{name}"], array.dtype, (*array.shape[:-1], count))
    for when, date in (("dead", "left"), ("hit", "time")):
        number, time = state[f"path.{when}"], state[f"path.{date}"]
        _must(_integers(number, -1, job.clock.steps), f"path.{when}")
        _must(np.array_equal(np.isnan(time), number < 0) and not np.isinf(time).any(), f"path.{date}")
    _must(int((state["path.dead"] >= 0).sum()) == exploded_paths, "path.dead")
    _must(_integers(state["path.row"], -1, job.program.native.states - 1), "path.row")


def _check_form(name: str, array: np.ndarray, dtype: object, shape: Iterable[int]) -> None:
    if array.dtype != dtype or array.shape != tuple(shape):
        raise Malformed(f"{name} is {array.dtype} {array.shape} where {np.dtype(dtype)} {tuple(shape)} is due")  # type: ignore[arg-type]


def _must(right: bool, name: str) -> None:
    if not right:
        raise Malformed(f"{name} holds what no run can give")


def _integers(values: np.ndarray, low: int, high: int) -> bool:
    """Whether all are whole numbers within [low, high]."""
    return bool(((values >= low) & (values <= high)).all() and (values == np.floor(values)).all())
