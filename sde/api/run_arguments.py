"""The arguments that simulate and train share, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde.engine.checkpoint import CheckpointTarget
from sde.engine.values import check_ensemble, real, whole
from sde.storage.archive import check_kind
from sde.storage.distinct_files import check_apart
from sde.storage.files import check_writable
from symbolic.errors import InputError, nearest

MEMORY_SHARE = 0.5
"""The share of the machine's memory that kept paths may take."""


@dataclass(frozen=True)
class RunRequest:
    """The arguments that `simulate` and `train` share."""

    start: Mapping[Any, Any]
    paths: int
    seed: int
    keep: str
    threads: int | None
    bound: float | None
    events: Mapping[str, Any] | None
    covariance: Sequence[str] | None
    histogram: Mapping[str, Any] | None
    warn_share: float
    checkpoint: str | Path | CheckpointTarget | None
    out: str | Path | None
    progress: bool | Callable[[int], None]

    def check(self) -> None:
        """Raise ValueError for what no run can have."""
        keep, threads = self.keep, self.threads
        check_ensemble(self.paths, self.seed)
        if not isinstance(keep, str) or keep not in ("statistics", "paths"):
            hint = nearest(keep, ("statistics", "paths"), "Pick one.")
            raise InputError.of("keep", "must be 'statistics' or 'paths'", keep, hint)
        if threads is not None and (whole(threads) or 0) < 1:
            raise InputError(
                f"threads: must be a whole number of at least 1; got {threads!r} ({type(threads).__name__}). Leave it"
                " out for all cores."
            )
        share = real(self.warn_share)
        if share is None or not 0 <= share <= 1:
            raise InputError(
                f"warn_share: must be a share within [0, 1]; got {self.warn_share!r}"
                f" ({type(self.warn_share).__name__}). Give e.g. 0.001."
            )
        check_bound(self.bound)
        if self.out is not None and keep != "paths":
            raise InputError(
                f"out: streams paths; got {str(self.out)!r} with keep={keep!r}. Use keep='paths', or leave it out."
            )
        if self.out is not None and self.checkpoint is not None:
            raise InputError(
                f"out: a stream of paths has no checkpoint; got {str(self.out)!r} beside {str(self.checkpoint)!r}."
                " Leave one out."
            )


def check_bound(bound: Any) -> None:
    """Raise ValueError unless it is a |state| beyond which a path is lost, or None."""
    endless = isinstance(bound, float) and bound == float("inf")
    if bound is not None and not endless and (real(bound) or 0) <= 0:
        raise InputError.of(
            "bound", "must be positive", bound, "Leave it out, or give the |state| at which a path is lost."
        )


def check_path(where: str, path: Any) -> None:
    """Raise ValueError unless it may name a file, or is None."""
    if path is not None and not (isinstance(path, (str, os.PathLike, CheckpointTarget)) and str(path)):
        raise InputError.of(where, "must be a path", path, "Give a text or a pathlib.Path.")


def check_files(problem: Any, target: str | Path | CheckpointTarget | None, out: str | Path | None) -> None:
    """Raise before any work for files that cannot be written, and for those that the problem was read from."""
    check_path("checkpoint", target)
    check_path("out", out)
    path = target.path if isinstance(target, CheckpointTarget) else target
    check_apart([path, out], getattr(problem, "files", ()))
    if path is not None:
        check_writable(path, "checkpoint")
        check_kind(Path(path))
    if out is not None:
        check_writable(out)


def _memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30


def refuse_too_many(paths: int, width: int) -> None:
    memory = _memory()
    if width * paths > MEMORY_SHARE * memory:
        raise InputError(
            f"keep='paths': may take {MEMORY_SHARE:.0%} of memory ({MEMORY_SHARE * memory / 2**30:.1f} GiB); got"
            f" {paths} paths that need {width * paths / 2**30:.1f} GiB. Stream them with out='paths.nc', save at fewer"
            " times, take fewer paths or keep='statistics'."
        )
