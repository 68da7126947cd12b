"""The processor that machine code is made for: this one, or a named baseline that unlike machines share.

Numba fixes it with the first function that a process compiles, so it is a choice of the process, made before that.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from llvmlite import binding
from numba.core import config
from numba.core.registry import cpu_target

from symbolic.errors import InputError

SETTINGS = ("CPU_NAME", "CPU_FEATURES", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "DISABLE_JIT")
"""Of Numba's, those that decide what code is made."""
BASELINES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "x86_64": ("x86-64-v3", ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")),
    "amd64": ("x86-64-v3", ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")),
    "aarch64": ("generic", ("neon",)),
    "arm64": ("generic", ("neon",)),
}
"""By kind of machine: LLVM's name of the baseline, and what a processor must have to run it."""


def settings() -> dict[str, Any]:
    """Numba's settings that decide what code is made."""
    return {name: getattr(config, name, None) for name in SETTINGS}


def fixed() -> bool:
    """Whether this process has compiled, or loaded, anything: what for can no longer be changed."""
    return "_toplevel_target_context" in vars(cpu_target)


def portable() -> bool:
    """Whether code is made for a baseline, and the same on all machines that have it."""
    chosen = settings()
    return chosen["CPU_NAME"] is not None and chosen["CPU_FEATURES"] is not None


def adopt(wanted: Mapping[str, Any]) -> bool:
    """Make code as the settings of another process say; whether that is so now."""
    changed = {name: value for name, value in wanted.items() if getattr(config, name, None) != value}
    if changed and fixed():
        return False
    for name, value in changed.items():
        setattr(config, name, value)
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
