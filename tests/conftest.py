"""Fixtures that several rooms' tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty kernel cache for one test; the normal cache serves every other test."""
    folder = tmp_path / "kernels"
    monkeypatch.setenv("NOETHERFLOW_CACHE", str(folder))
    return folder
