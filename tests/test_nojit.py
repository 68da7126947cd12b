"""Kernels are plain Python too: what `make nojit` measures the coverage of runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_kernels_run_as_plain_python() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.nojit"],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout[-2000:]
