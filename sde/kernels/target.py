"""The processor that machine code is made for: this one, or a named baseline that unlike machines share.

It is fixed by the first code that a process makes or loads, so it is a choice of the process, made before that. Numba
reads it of its environment, which child processes inherit.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from llvmlite import binding

from symbolic.errors import InputError

SETTINGS = (
    "CPU_NAME",
    "CPU_FEATURES",
    "ENABLE_AVX",
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "DISABLE_INTEL_SVML",
    "DEBUGINFO",
    "DISABLE_JIT",
)
"""What Numba reads of its environment (NUMBA_...) that changes machine code."""
BASELINES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "x86_64": ("x86-64-v3", ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")),
    "amd64": ("x86-64-v3", ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")),
    "aarch64": ("generic", ("neon",)),
    "arm64": ("generic", ("neon",)),
}
"""By kind of machine: LLVM's name of the baseline, and what a processor must have to run it."""


_fixed: list[bool] = []


def settings() -> dict[str, str | None]:
    """What Numba is told of the code to make."""
    return {name: os.environ.get(f"NUMBA_{name}") for name in SETTINGS}


def processor() -> tuple[str, ...]:
    """The processor that code is made for, with all that the compiler is told of it."""
    return _processor(tuple(settings().items()))


@cache
def _processor(told: tuple[tuple[str, str | None], ...]) -> tuple[str, ...]:
    host = ("baseline",)
    if not portable():
        features = ",".join(sorted(k for k, v in dict(binding.get_host_cpu_features()).items() if v))
        host = binding.get_host_cpu_name(), features
    file = Path(".numba_config.yaml")
    more = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
    return binding.get_process_triple(), *host, *(f"{name}={value}" for name, value in told), more


def name() -> str:
    """LLVM's name of the processor that code is made for."""
    return settings()["CPU_NAME"] or binding.get_host_cpu_name()


def vector_bytes() -> int:
    """Of the widest vectors of the processor that code is made for."""
    has = {"avx2"} if portable() else {name for name, there in dict(binding.get_host_cpu_features()).items() if there}
    return 64 if "avx512f" in has else 32 if "avx2" in has and platform.machine().lower() in ("x86_64", "amd64") else 16


def fix() -> None:
    """Code is made, or loaded, now."""
    _fixed[:] = [True]


def portable() -> bool:
    """Whether code is made for a baseline, and the same on all machines that have it."""
    chosen = settings()
    return chosen["CPU_NAME"] is not None and chosen["CPU_FEATURES"] is not None


def adopt(wanted: Mapping[str, str | None]) -> bool:
    """Make code as the settings of another process say; whether that is so now."""
    changed = {name: value for name, value in wanted.items() if settings()[name] != value}
    if changed and _fixed:
        return False
    for name, value in changed.items():
        if value is None:
            del os.environ[f"NUMBA_{name}"]
        else:
            os.environ[f"NUMBA_{name}"] = value
    if changed and "numba.core.config" in sys.modules:
        sys.modules["numba.core.config"].reload_config()
    return True


def require_baseline() -> None:
    """From now on, code of this process is made for the baseline of its kind of machine. Raises InputError where it is
    too late for that, or the processor lacks something."""
    name, needs = BASELINES.get(platform.machine().lower(), ("", ()))
    rule, here = "needs a processor of a kind that has a baseline", f"{platform.machine()} (processor)"
    if not name:
        raise InputError(f"portable: {rule}; got {here}. Leave it out, and use machines that are alike.")
    host = dict(binding.get_host_cpu_features())
    lacking = [feature for feature in needs if not host.get(feature)]
    if lacking:
        rule = f"needs a processor of {name}"
        raise InputError(f"portable: {rule}; got one without {', '.join(lacking)} (processor). Use another machine.")
    if not adopt(settings() | {"CPU_NAME": name, "CPU_FEATURES": ""}):
        raise InputError(
            "portable: must be asked for before a process compiles anything, which it does for one processor; got True"
            " (bool) after this one has compiled for its own. Begin anew, with portable=True in the first run."
        )
