"""What the bits of a result depend on besides the problem: our sources, the packages that compute, the processor."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from llvmlite import binding

from sde.kernels.machine_code import processor
from sde.kernels.options import source_hash

PACKAGES = ("numpy", "scipy", "sympy", "numba", "llvmlite")
SHOWS = ("sde/cli", "sde/engine/progress.py", "sde/reports", "symbolic/display")
"""Sources that only show what others have computed."""


def engine() -> dict[str, str]:
    """By name: this package's version, hashes of its sources that decide numbers and of its kernels, the packages that
    compute, the processor with all that the compiler is told of it."""
    return dict(_engine())


@cache
def _engine() -> tuple[tuple[str, str], ...]:
    mark = hashlib.sha256(" ".join(processor()).encode()).hexdigest()[:12]
    found = {"package": version("noetherflow"), "sources": sources_hash()[:12], "kernels": source_hash()[:12]}
    found |= {name: version(name) for name in PACKAGES}
    found["processor"] = f"{platform.machine()} {binding.get_host_cpu_name()} {mark}"
    return tuple(found.items())


@cache
def sources_hash() -> str:
    """Hash over all sources of `sde` and `symbolic` but those that only show."""
    digest = hashlib.sha256()
    for package in ("sde", "symbolic"):
        spec = find_spec(package)  # not imported: a program of numbers alone need not load SymPy
        for folder in spec.submodule_search_locations or () if spec else ():
            root = Path(folder).parent
            for path in sorted(Path(folder).rglob("*.py")):
                name = path.relative_to(root).as_posix()
                if not any(name == shown or name.startswith(f"{shown}/") for shown in SHOWS):
                    text = path.read_bytes()
                    digest.update(f"{name} {len(text)};".encode() + text)
    return digest.hexdigest()
