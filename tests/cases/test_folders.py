"""Sweeps, estimates and verifications go on from a checkpoint folder to the same bits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sde.engine import ensemble
from sde.engine.ensemble import CheckpointWarning
from sde.engine.interruption import InterruptedWarning
from tests.cases.long_runs import (
    COMPOSITE,
    X,
    interrupted_at,
    numbers,
    sweep,
)

# --- checkpoints of many runs
# ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COMPOSITE)
def test_case_d_many_runs_interrupted_at_random_go_on_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    call, place = COMPOSITE[kind], tmp_path / "c"
    began = time.monotonic()
    whole = numbers(call())
    took, rng = time.monotonic() - began, np.random.default_rng(len(kind))
    for share in rng.uniform(0.05, 0.9, 2):
        interrupted_at(lambda: call(checkpoint=place), share * took)
    assert numbers(call(checkpoint=place, threads=1)) == whole
    again = time.monotonic()
    assert numbers(call(checkpoint=place)) == whole
    assert not [p for p in os.listdir(place) if "part" in p or "probe" in p or p.startswith("level")]
    if kind != "verify":
        assert time.monotonic() - again < max(took, 1.0)


@pytest.mark.parametrize("kind", COMPOSITE)
def test_case_d_a_folder_that_is_none_is_refused(kind: str, tmp_path: Path) -> None:
    call = COMPOSITE[kind]
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_text("mine")
    other.mkdir()
    (other / "precious.txt").write_text("mine")
    for place in (file, other):
        with pytest.raises(OSError, match="checkpoint: of many runs it is a folder that this made") as refused:
            call(checkpoint=place)
        assert str(place) in str(refused.value)
    assert file.read_text() == (other / "precious.txt").read_text() == "mine" and os.listdir(other) == ["precious.txt"]
    with pytest.raises(OSError, match="checkpoint: the folder must be writable"):
        call(checkpoint=tmp_path / "no" / "c")


def test_case_d_a_folder_killed_before_its_manifest_was_whole_begins_anew(tmp_path: Path) -> None:
    place = tmp_path / "c"
    place.mkdir()
    (place / ".manifest.json.0123456789abcdef.part").write_text("{")
    assert numbers(COMPOSITE["sweep"](checkpoint=place)) == numbers(COMPOSITE["sweep"]())
    assert not [p for p in os.listdir(place) if p.startswith(".")]


@pytest.mark.parametrize("kind", COMPOSITE)
def test_case_d_another_run_is_refused_a_folder(kind: str, tmp_path: Path) -> None:
    call, place = COMPOSITE[kind], tmp_path / "c"
    interrupted_at(lambda: call(checkpoint=place, seed=7), 0.7)
    for change in (
        {"seed": 8},
        {"seed": 7, "start": {"u": 1.2, "w": 0.61} if kind == "verify" else {X: 0.6}},
        {"seed": 7, "time": 1.5},
    ):
        with pytest.raises(ValueError, match=f"checkpoint: must be of the same run.*another {kind} of .* with seed 7"):
            call(checkpoint=place, **change)
    others = [c for k, c in COMPOSITE.items() if k != kind]
    with pytest.raises(ValueError, match="must be of the same run"):
        others[0](checkpoint=place)
    text = (place / "manifest.json").read_text()
    for broken in (text[:-40], text.replace('"seed": "7"', '"seed": "8"'), "[" * 100_000, "{}", ""):
        (place / "manifest.json").write_text(broken)
        with pytest.raises(OSError, match=r"manifest\.json altered"):
            call(checkpoint=place, seed=7)


def test_case_d_a_stream_of_a_sweep_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no stream in common"):
        sweep(keep="paths", out=tmp_path / "p.nc")


def test_case_d_an_interrupted_sweep_gives_the_values_that_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls, inner = sweep(), [], ensemble.run

    def second(*arguments: Any, **more: Any) -> Any:
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return inner(*arguments, **more)

    monkeypatch.setattr(ensemble, "run", second)
    with pytest.warns(InterruptedWarning, match=r"mu = \[0.5, 1.0\], the values that were complete"):
        part = sweep()
    assert part.sizes["mu"] == 2 and part.attrs["interrupted"] == 1
    assert np.array_equal(part.X.values, whole.X.values[:2])


def test_case_d_a_folder_that_goes_away_does_not_end_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, call in COMPOSITE.items():
        place, inner, calls = tmp_path / kind, ensemble.run, list[int]()

        def run_and_lose(
            *arguments: Any, inner: Any = inner, calls: Any = calls, place: Any = place, **more: Any
        ) -> Any:
            calls.append(0)
            if len(calls) == 2:
                shutil.rmtree(place)
            return inner(*arguments, **more)

        whole = numbers(call())
        with monkeypatch.context() as patch:
            patch.setattr(ensemble, "run", run_and_lose)
            with pytest.warns(CheckpointWarning, match="checkpoint: "):
                assert numbers(call(checkpoint=place)) == whole


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sweep", "expectation"])
def test_case_d_twenty_kills_of_many_runs(kind: str, tmp_path: Path) -> None:
    more = {"paths": 200_000} if kind == "sweep" else {"tolerance": 0.001}
    arguments = ", ".join(f"{k}={v}" for k, v in more.items())
    name = COMPOSITE[kind].__name__
    script = f"from tests.cases.long_runs import *; print(numbers({name}(checkpoint='c', {arguments})))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", script]
    rng, done = np.random.default_rng(2), 0
    for seconds in rng.uniform(1.5, 4.0, 20):
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            process.wait(seconds)
            done += 1
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    last = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert last.stdout.strip() == numbers(COMPOSITE[kind](**more)), last.stderr
    assert done < 20
