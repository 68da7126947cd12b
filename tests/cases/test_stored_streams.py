"""A streamed run with a checkpoint: what is complete is not run again, and what is not as it was written is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import xarray as xr

from sde import SDE, simulate
from sde.engine import chunk
from sde.engine.checkpoint import Checkpoint
from sde.storage.files import fingerprint
from tests.cases.long_runs import after_chunks

X = sp.Symbol("X", real=True)
WALK = SDE([X], [-X], [[1]], name="walk")


@pytest.fixture(autouse=True)
def many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs cut as finely as long ones are, a checkpoint whenever there may be one."""
    monkeypatch.setattr("sde.engine.plan.CHUNK_STEPS", 0)
    monkeypatch.setattr(Checkpoint, "due", lambda _: True)


def run(folder: Path | None, **changes: Any) -> xr.Dataset:
    """Streamed into a folder with a checkpoint, or in memory."""
    settings: dict[str, Any] = {"start": {X: 0.5}, "time": 1.0, "dt": 0.1, "paths": 6000, "save_at": 3, "seed": 2}
    settings |= {"keep": "paths", "bound": 2.5, "warn_share": 1.0, "events": {"up": X - 1}, "check": False}
    if folder is not None:
        settings |= {"out": folder / "run.nc", "checkpoint": folder / "c"}
    with simulate(WALK, **settings | changes) as data:
        return data.load()


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the checkpoint of a run that was broken off."""
    with monkeypatch.context() as patch:
        after_chunks(patch, 13)
        with pytest.warns(UserWarning, match="interrupted"):
            run(tmp_path, threads=1)
    return tmp_path


def begun(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The chunks that are run from now on."""
    indices, advance = list[int](), chunk.advance

    def counted(plan: Any, index: int, *arguments: Any) -> Any:
        indices.append(index)
        return advance(plan, index, *arguments)

    monkeypatch.setattr(chunk, "advance", counted)
    return indices


def test_what_is_complete_is_not_run_again(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, (part, indices) = run(None), (xr.open_dataset(half / "run.nc"), begun(monkeypatch))
    assert part.attrs["interrupted"] == 1 and 0 < part.sizes["path"] == part.attrs["paths"] < 6000
    assert np.array_equal(part.X.values, whole.X.sel(path=part.path).values)
    part.close()
    assert set(os.listdir(half)) == {"c", "c.rows", "run.nc"}
    again = run(half, threads=2)
    missing = set(whole.path.values.tolist()) - set(part.path.values.tolist())
    assert len(indices) == len(set(indices)) and len(indices) * 256 >= len(missing) > 256 * (len(indices) - 1)
    assert set(os.listdir(half)) == {"c", "run.nc"}, "the rows go with the end of the run"
    assert again.attrs["interrupted"] == 0 and again.attrs["exploded_paths"] > 0
    for name in whole.variables:
        assert again[name].dims == whole[name].dims
        assert again[name].values.tobytes() == whole[name].values.tobytes(), name
        assert again[name].attrs == whole[name].attrs, name
    straight = run(None, out=half / "straight.nc")
    assert fingerprint(again) == fingerprint(straight)


def test_a_checkpoint_without_its_rows_is_worth_nothing(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is once the run has come to its end: the same call runs all of it again, to the same bits."""
    (half / "c.rows").unlink()
    indices = begun(monkeypatch)
    first = run(half)
    assert len(indices) == 24
    assert fingerprint(first) == fingerprint(run(half)) and len(indices) == 48


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:], "rows of chunk 0 altered"),
        (lambda data: data[:-1000], "altered"),
        (lambda data: data[:90], "rows of chunk 0 altered"),
        (lambda data: data[:30] + b"x" + data[31:], "of another run"),
        (lambda data: data[:40], "of another run"),
        (lambda data: b"", "not a checkpoint"),
        (lambda data: b"somebody's thesis", "not a checkpoint"),
    ],
)
def test_rows_that_are_not_as_they_were_written_are_refused(damage: Any, said: str, half: Path) -> None:
    rows = half / "c.rows"
    data = rows.read_bytes()
    rows.write_bytes(damage(data))
    kept = rows.read_bytes()
    with pytest.raises(OSError, match=r"^checkpoint: the file must be as it was written") as refused:
        run(half)
    assert said in str(refused.value) and str(rows) in str(refused.value) and rows.read_bytes() == kept
    rows.write_bytes(data)
    assert run(half).attrs["interrupted"] == 0


@pytest.mark.parametrize("what", ["link", "folder", "pipe"])
def test_rows_go_into_no_other_file(what: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    if what == "link":
        (tmp_path / "c.rows").symlink_to(other)
    elif what == "folder":
        (tmp_path / "c.rows").mkdir()
    else:
        os.mkfifo(tmp_path / "c.rows")
    with pytest.raises(OSError, match=r"^checkpoint: "):
        run(tmp_path)
    assert not other.exists()


def test_a_stream_and_a_run_in_memory_do_not_continue_one_another(half: Path) -> None:
    with pytest.raises(ValueError, match="must be of the same run"):
        run(None, checkpoint=half / "c")


def test_the_result_may_go_elsewhere(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    indices = begun(monkeypatch)
    assert run(half, out=half / "elsewhere.nc").attrs["interrupted"] == 0
    assert 0 < len(indices) < 24 and (half / "elsewhere.nc").exists()


def test_a_file_in_the_place_of_rows_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.rows").write_bytes(b"somebody's thesis")
    monkeypatch.setattr("sde.api.prepared_run.load", lambda *_: pytest.fail("compiled before refusing"))
    with pytest.raises(OSError, match=r"c\.rows \(not a checkpoint\)"):
        run(tmp_path)
