"""What the machine must allow a run, checked before any work: its files and its memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sde.engine.checkpoint import CheckpointTarget
from sde.storage import row_file
from sde.storage.archive import check_kind
from sde.storage.distinct_files import check_apart
from sde.storage.files import check_writable
from sde.storage.formats import format_of, refuse_other_endings
from symbolic.errors import InputError
from symbolic.problem.loss import Loss
from symbolic.schemes import Scheme

TOLERANCE = 1e-3
"""Error of a step, as a share of the states' size, where none is asked for."""
LEAST_TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
"""What rounding leaves of it."""
MEMORY_SHARE = 0.5
"""The share of the machine's memory that kept paths may take."""


def check_files(problem: Any, target: str | Path | CheckpointTarget | None, out: str | Path | None) -> None:
    """Raise before any work for files that cannot be written, and for those that the problem was read from."""
    path = target.path if isinstance(target, CheckpointTarget) else target
    rows = None if path is None or out is None else row_file.beside(Path(path))
    check_apart([path, out, rows], getattr(problem, "files", ()))
    if rows is not None:
        row_file.check(rows)
    if path is not None:
        check_writable(path, "checkpoint")
        check_kind(Path(path))
    if out is not None:
        refuse_other_endings(out)
        format_of(out).check(out)


def check_exact_law(problem: Any, scheme: str, refine: int) -> None:
    """Raise InputError where noise="exact-law" does not apply."""
    if not isinstance(problem, Loss) or scheme != "euler-maruyama" or refine != 1:
        raise InputError(
            "noise: 'exact-law' draws a step of a loss by euler-maruyama from its law, not from a path that others can"
            f" follow; got {type(problem).__name__} with scheme={scheme!r} and refine={refine!r}. Leave noise out."
        )


def _memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30


def refuse_too_many(paths: int, width: int, where: str = "keep='paths'") -> None:
    """Refuse paths of `width` bytes each that would take more than MEMORY_SHARE of memory. where: what keeps them."""
    memory, keeps = _memory(), where.startswith("keep")
    advice = "Stream them with out='paths.nc', save at fewer times, take fewer paths or keep='statistics'."
    if width * paths > MEMORY_SHARE * memory:
        raise InputError(
            f"{where}: may take {MEMORY_SHARE:.0%} of memory ({MEMORY_SHARE * memory / 2**30:.1f} GiB); got"
            f" {paths} paths that need {width * paths / 2**30:.1f} GiB. {advice if keeps else 'Take fewer.'}"
        )


def error_of_steps(tolerance: float | None, scheme: Scheme, dtype: str) -> float | None:
    """The error of a step that a scheme accepts, None for one without an estimate. Raises InputError for a tolerance
    that rounding hides, or that the scheme does not take."""
    if not scheme.estimates:
        if tolerance is not None:
            do = "Leave it out, or use scheme='adaptive-milstein'."
            raise InputError.of("tolerance", f"{scheme.name} takes steps that dt decides", tolerance, do)
        return None
    found, least = TOLERANCE if tolerance is None else tolerance, LEAST_TOLERANCE[dtype]
    if found < least:
        raise InputError.of("tolerance", f"must be at least {least:g} in {dtype}", found, "Take a larger one.")
    return found


def check_refine(refine: int, steps: int, scheme: Scheme) -> None:
    """Raise InputError where a run's noise cannot be taken from so many finer steps."""
    if refine * steps >= 2**32:
        rule = "must be a whole number of at least 1, and finer steps fewer than 2**32"
        raise InputError.of("refine", rule, refine, "Leave it out.")
    if scheme.own_clock and refine != 1:
        raise InputError(
            f"refine: needs steps that are the same for all paths; got {refine!r} (int) with {scheme.name}, where each"
            " path chooses. Leave it out."
        )
