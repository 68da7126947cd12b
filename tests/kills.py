"""Commands killed at random moments and begun again: the result is that of an undisturbed run, and nothing is left
beside it.

A `Survivor` says how a command is begun, how it is gone on with after a kill, and how its result is told from another.
`survive` kills it so many times, SIGKILL each, at moments drawn between its first file and its end, and then lets it
come to its end.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sde.storage.files import fingerprint
from tests.commands import opened

ROOT = str(Path(__file__).parents[1])
LEFT = re.compile(r"\..*\.[0-9a-f]{16}\.part")
EAGER = """
import sde.engine.plan
sde.engine.plan.CHUNK_STEPS = 0
from sde.engine.checkpoint import Checkpoint
Checkpoint.due = lambda self: True
"""
"""What a process does first: chunks as fine as those of a long run, a checkpoint whenever there may be one."""
COMMAND_LINE = EAGER + "\nfrom sde.cli.commands import main\nmain()\n"


def of_a_result(path: Path) -> str:
    """Of a NetCDF file: its numbers, all of them."""
    data = opened(path)
    assert data.attrs["interrupted"] == 0
    return fingerprint(data)


@dataclass(frozen=True)
class Survivor:
    """program: Python text; begin, again: its arguments, the first time and after a kill (which may be the same).
    result: the file that it ends with; stays: what else it leaves, a checkpoint. told: what is the same for two equal
    results."""

    begin: Sequence[object]
    again: Sequence[object]
    result: str
    stays: frozenset[str] = frozenset()
    program: str = COMMAND_LINE
    told: Callable[[Path], str] = of_a_result

    def started(self, folder: Path, fresh: bool) -> subprocess.Popen[bytes]:
        arguments = self.begin if fresh or not all((folder / name).exists() for name in self.stays) else self.again
        return subprocess.Popen(
            [sys.executable, "-c", self.program, *map(str, arguments)],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": ROOT},
        )


def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that nobody kills."""
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()


def survive(survivor: Survivor, folder: Path, kills: int, seed: int = 0) -> int:
    """Kill it so many times, and compare; how many scratch files the kills left behind in all. A run that comes to its
    end between two kills is checked and begun anew."""
    given = set(os.listdir(folder))
    result, draw = folder / survivor.result, random.Random(seed)
    began = time.monotonic()
    process = survivor.started(folder, True)
    ready = _first_file(process, folder, given)
    ended(process)
    span, whole = time.monotonic() - ready, survivor.told(result)
    assert ready > began
    _clear(folder, given)
    killed, left, fresh = 0, 0, True
    while killed < kills:
        process = survivor.started(folder, fresh)
        _first_file(process, folder, set(os.listdir(folder)))
        time.sleep(draw.random() * span)
        process.kill()
        _, said = process.communicate()
        if process.returncode == 0:
            _check(survivor, folder, given, whole)
            _clear(folder, given)
            fresh = True
            continue
        assert process.returncode == -signal.SIGKILL, said.decode()
        killed, fresh = killed + 1, False
        left += sum(bool(LEFT.fullmatch(name)) for name in os.listdir(folder))
        assert not result.exists() or survivor.told(result) == whole
    ended(survivor.started(folder, False))
    _check(survivor, folder, given, whole)
    return left


def _first_file(process: subprocess.Popen[bytes], folder: Path, there: set[str]) -> float:
    """When a process has made its first file, or changed one, or is gone."""

    def written(name: str) -> int | None:
        try:
            return (folder / name).stat().st_mtime_ns
        except FileNotFoundError:  # what the last process left may go at any moment
            return None

    before = {name: written(name) for name in there}
    while process.poll() is None:
        if set(os.listdir(folder)) - there or any(written(name) != then for name, then in before.items()):
            break
        time.sleep(0.002)
    return time.monotonic()


def _check(survivor: Survivor, folder: Path, given: set[str], whole: str) -> None:
    assert survivor.told(folder / survivor.result) == whole, "other numbers after a kill"
    assert set(os.listdir(folder)) == given | {survivor.result} | survivor.stays, "litter"


def _clear(folder: Path, given: set[str]) -> None:
    for name in set(os.listdir(folder)) - given:
        (folder / name).unlink()
