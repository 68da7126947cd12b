"""A progress bar in path-steps, with rate and time left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(total: int, label: str, shown: bool) -> Iterator[Callable[[int], None] | None]:
    """Yields tick(n), to be told of every n path-steps done from any thread; None when not shown. Writes to standard error."""
    if not shown:
        yield None
        return
    from rich.console import Console  # slow to load, and few runs show a bar
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Path-steps per second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.2e} path-steps/s" if task.speed else "")

    lock = threading.Lock()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)

        def tick(n: int) -> None:
            with lock:
                progress.advance(task, n)

        yield tick
