"""Disks of 2 MB, for tests: a file system in memory where one may be mounted, else the operating system's limit on a
file's size."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SIZE = 2 * 2**20


@dataclass(frozen=True)
class Disk:
    """A folder that takes little; limit: what a process that writes there calls first, where the folder itself cannot
    refuse."""

    folder: Path
    limit: Callable[[], None] | None

    def fill(self, leave: int = 8192) -> None:
        """Leave so many bytes free."""
        if self.limit is not None:
            return
        space = os.statvfs(self.folder)
        with (self.folder / "filler").open("wb") as file:
            file.write(b"x" * (space.f_bavail * space.f_frsize - leave))

    def names(self) -> set[str]:
        return set(os.listdir(self.folder)) - {"filler"}


@contextmanager
def small(folder: Path, most: int = SIZE) -> Iterator[Disk]:
    """A disk mounted on `folder`, or the limit of `most` bytes a file."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.name == "posix" and os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0:
        try:
            yield Disk(folder, None)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    yield Disk(folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
