"""Where the numbers come from: processor, cores, load, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

OURS = ("noetherflow", "numpy", "numba", "sympy")
RIVALS = ("jax", "diffrax", "torchsde", "torch", "sdeint", "jitcsde", "mkl_random", "mkl")


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def load() -> str:
    """The load average over one minute, where the system has one."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def versions() -> str:
    """Installed versions of what takes part."""
    found = []
    for package in OURS + RIVALS:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} -")
    return ", ".join(found)


def describe() -> str:
    """All of it, in three lines."""
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"machine   {processor()}, {cores()} cores, load {load()}\nsystem    {system}\nversions  {versions()}"
