"""Kernel tests with the JIT off: `NUMBA_DISABLE_JIT=1 python -m tests.nojit`."""

from __future__ import annotations

import sys

import pytest

from tests.nojit import intrinsics

if __name__ == "__main__":
    intrinsics.install()
    sys.exit(pytest.main(["-q", "tests/nojit", "tests/sde/test_philox.py", *sys.argv[1:]]))
