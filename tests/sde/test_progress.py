"""Time left is told by what a run makes, not by what a checkpoint held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sde import SGD, train
from sde.engine import progress
from sde.engine.progress import Tick
from symbolic.library import rescaling


def test_what_a_checkpoint_held_took_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, shown = [0.0], list[tuple[float, float | None]]()
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    work = progress.Phases("work", [("a", 100.0), ("b", 100.0)], lambda text, share, left: shown.append((share, left)))
    tick = work.enter("a")
    tick(90, held=True)
    assert shown[-1] == (0.45, None)
    now[0] = 10.0
    tick(10)
    assert shown[-1] == (0.5, pytest.approx(100.0))
    tick = work.enter("b")
    tick(200, held=True)
    assert shown[-1] == (1.0, 0.0)


def test_chunks_of_a_checkpoint_are_told_as_held(tmp_path: Path) -> None:
    told = list[tuple[int, bool]]()

    tick = Tick(lambda n, held: told.append((n, held)))
    call: dict[str, Any] = {"start": {"u": 1.2, "w": 0.6}, "steps": 20, "paths": 600, "seed": 1}
    for held in (False, True):
        told.clear()
        train(rescaling(), SGD(0.02), **call, checkpoint=tmp_path / "c", progress=tick)
        assert {h for _, h in told} == {held} and sum(n for n, _ in told) == 12_000


def test_a_file_holds_lines_instead_of_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with progress.bar(100, "walk", True) as tick:
        assert tick is not None
        tick(50)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("walk: paths (1 of 1), 50%") and all(line.strip() for line in lines)
