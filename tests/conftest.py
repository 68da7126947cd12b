"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import FROM_FILE, GOOD, ROWS


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C from the start; tests of interruptions mean the ordinary handler."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Modules and tests live to the end: the garbage collector is not to go through them again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty kernel cache for one test; the normal cache serves every other test."""
    folder = tmp_path / "kernels"
    monkeypatch.setenv("NOETHERFLOW_CACHE", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "train.csv").write_text(ROWS)
    (tmp_path / "file.toml").write_text(FROM_FILE)
    return tmp_path
