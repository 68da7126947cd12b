"""What the fuzz tests watch while hostile text goes through: code that runs, files opened for writing, output that
acts, hangs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CANARY = "canary"
SECONDS = 60
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Hang(BaseException):
    """An input took longer than SECONDS."""


@dataclass
class Observed:
    """Events that must not be: while `on`, anything run with the canary's name in it, and writing outside `allowed`."""

    on: bool = False
    allowed: tuple[str, ...] = ()
    seen: list[str] = field(default_factory=list)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"):
            self.seen.append(f"{event} {arguments!r}"[:300])
        elif (
            event == "compile" and CANARY in str(arguments[0]) and arguments[1] != "<unknown>"
        ):  # ast.parse runs nothing
            self.seen.append(f"compile {arguments!r}"[:300])
        elif (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING) or event in (
            "os.remove",
            "os.rmdir",
            "os.mkdir",
            "os.chmod",
            "os.truncate",
        ):
            self._path(event, arguments[0])
        elif event in ("os.rename", "os.link", "os.symlink"):
            self._path(event, arguments[1])

    def _path(self, event: str, path: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        text = os.fsdecode(path)
        if not os.path.isabs(text) and ((text.startswith(".") and text.endswith(".part")) or event != "open"):
            return  # relative to a handle of the kernel cache
        whole = os.path.realpath(text)
        if not whole.startswith(self.allowed) and whole != os.devnull:
            self.seen.append(f"{event} {whole!r}"[:300])


WATCH = Observed()
sys.addaudithook(WATCH)


@contextlib.contextmanager
def watched(cache: Path) -> Iterator[Path]:
    """An empty folder, five levels down, as the working folder; at the end no canary lives, nothing was written outside
    it, nothing hangs."""
    before = Path.cwd()

    def hung(*_: Any) -> None:
        raise Hang(f"more than {SECONDS} s")

    with tempfile.TemporaryDirectory(prefix="fuzz-") as top:
        folder = Path(top) / "a" / "b" / "c" / "d"
        folder.mkdir(parents=True)
        os.chdir(folder)
        WATCH.allowed = tuple(os.path.realpath(p) for p in (top, cache))
        WATCH.seen.clear()
        previous = signal.signal(signal.SIGALRM, hung)
        signal.alarm(SECONDS)
        WATCH.on = True
        try:
            yield folder
        finally:
            WATCH.on = False
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)
            os.chdir(before)
        found = [p for p in Path(top).rglob(f"*{CANARY}*") if p.stat().st_size == 0]
        assert not found, found
        events = list(WATCH.seen)
        assert not events, events


def shown_safely(text: str) -> None:
    """No character that a terminal would act on, but line ends."""
    bad = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not bad, (bad, text[:500])
