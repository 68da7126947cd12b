"""Progress on standard error: a bar in path-steps with rate and time left, or one display over the phases of a longer
work."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any


class Tick:
    """To be told of every n path-steps done, from any thread. held: a checkpoint had them, they took no time. listen(n,
    held)."""

    def __init__(self, listen: Callable[[int, bool], None]) -> None:
        self._listen = listen

    def __call__(self, n: int, /, *, held: bool = False) -> None:
        self._listen(n, held)


EVERY = 10.0
"""Seconds between plain lines, where standard error is no terminal."""


@contextmanager
def bar(total: int, label: str, shown: bool | Callable[[int], None]) -> Iterator[Tick | None]:
    """Yields a Tick; None when not shown. shown: or a Tick or function of the caller's own."""
    if isinstance(shown, Tick):
        yield shown
        return
    if not isinstance(shown, bool):
        yield Tick(lambda n, held: shown(n))
        return
    if not shown:
        yield None
        return
    if not _drawn():
        with phases(label, [("paths", total)], True) as lines:
            yield lines.enter("paths")
        return
    from rich.progress import ProgressColumn, Task, TimeRemainingColumn  # slow to load, and few runs show a bar
    from rich.text import Text

    class Rate(ProgressColumn):
        """Path-steps per second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.2e} path-steps/s" if task.speed else "")

    lock = threading.Lock()
    with _live(Rate(), TimeRemainingColumn()) as progress:
        task = progress.add_task(label, total=total)

        def advance(n: int, held: bool) -> None:
            with lock:
                progress.advance(task, n)

        yield Tick(advance)


def _drawn() -> bool:
    """Whether standard error shows what moves: a terminal, or a notebook; a file would hold blank lines."""
    from rich.console import Console

    console = Console(stderr=True)
    return console.is_terminal or console.is_jupyter


def _live(*columns: Any) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    shown = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    return Progress(*shown, *columns, console=Console(stderr=True), transient=True)


class Phases:
    """Work in phases. planned: their names, in order, with the work that each is thought to take, in any one unit;
    title: of the whole. The share done and the time left are the whole's. show(text, share, seconds left or None) is
    called when something has changed.
    """

    def __init__(
        self, title: str, planned: Sequence[tuple[str, float]], show: Callable[[str, float, float | None], None]
    ) -> None:
        self.title, self.show, self._lock, self._began = title, show, threading.Lock(), monotonic()
        self._planned = dict(planned)
        self._done = dict.fromkeys(self._planned, 0.0)
        self._held = 0.0

    @property
    def share(self) -> float:
        """Of the work that is done, in [0, 1]."""
        total = sum(self._planned.values())
        return min(1.0, sum(self._done.values()) / total) if total else 0.0

    @property
    def left(self) -> float | None:
        """Seconds left at the rate of what was made, not held; None before there is one."""
        total = sum(self._planned.values())
        made = self.share - self._held / total if total else 0.0
        return (monotonic() - self._began) * (1 - self.share) / made if made > 1e-9 else None

    def enter(self, name: str, work: float = 1.0) -> Tick:
        """The phase `name` begins, or goes on; all that come before it are done. Returns a Tick whose path-steps each
        are so much `work`."""
        keys = list(self._planned)
        text = f"{self.title}: {name}" + (f" ({keys.index(name) + 1} of {len(keys)})" if name in keys else "")

        def count(n: int, held: bool) -> None:
            with self._lock:
                before = self._done.get(name, 0.0)
                self._done[name] = min(self._planned.get(name, 0.0), before + n * work)
                self._held += self._done[name] - before if held else 0.0
                self.show(text, self.share, self.left)

        for earlier in keys[: keys.index(name)] if name in keys else ():
            self._done[earlier] = self._planned[earlier]
        tick = Tick(count)
        tick(0)
        return tick


@contextmanager
def phases(title: str, planned: Sequence[tuple[str, float]], shown: bool) -> Iterator[Phases]:
    """Phases shown as one bar on a terminal, else as a plain line every EVERY seconds; when not `shown`, not at all."""
    if not shown:
        yield Phases(title, planned, lambda text, share, left: None)
    elif _drawn():
        from rich.progress import ProgressColumn, Task
        from rich.text import Text

        class Left(ProgressColumn):
            """Time left over the whole."""

            def render(self, task: Task) -> Text:
                left = task.fields["left"]
                return Text("" if left is None else f"about {duration(left)} left")

        with _live(Left()) as progress:
            task = progress.add_task(title, total=1.0, left=None)
            yield Phases(
                title,
                planned,
                lambda text, share, left: progress.update(task, description=text, completed=share, left=left),
            )
    else:
        last_report = [monotonic()]

        def line(text: str, share: float, left: float | None) -> None:
            if monotonic() - last_report[0] >= EVERY:
                last_report[0] = monotonic()
                rest = "" if left is None else f", about {duration(left)} left"
                print(f"{text}, {share:.0%}{rest}", file=sys.stderr, flush=True)

        yield Phases(title, planned, line)


def duration(seconds: float) -> str:
    """A length of time as a reader wants it: 45 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
