"""Words for people: plain lines, in which nothing that a user named acts as markup or on the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from typer import BadParameter
from typer.core import TyperGroup

PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
err = Console(stderr=True, **PLAIN)


LONGEST = 2_000
"""Characters of a line of an error: what is said comes first, what to do last."""
UsageError: Any = BadParameter.__mro__[1]


def line(text: object, longest: int | None = None) -> str:
    """A text on one line, characters that a terminal would act on as Python's escapes; beyond `longest` without its
    middle."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    if longest is None or len(shown) <= longest:
        return shown
    return f"{shown[: longest * 2 // 3]} ... {shown[-longest // 3 :]}"


def say(text: object, to: Console = err, longest: int | None = None) -> None:
    """Print lines of text, whatever they hold, as they are, aside where standard error takes them; those beyond
    `longest` characters without their middle."""
    try:
        for part in str(text).split("\n"):
            to.print(line(part, longest), soft_wrap=True)
    except OSError:
        if to is not err:
            raise
        drop(sys.stderr)


def take_streams() -> None:
    """Let standard streams take any text: one that was closed goes nowhere, and characters that an encoding has not are
    written as escapes."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def drop(stream: Any) -> None:
    """Send what is left for a stream that takes no more to nowhere: Python would try again when it ends, and exit with
    a code of its own."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def shown_for(target: str | None, quiet: bool = False) -> Console:
    """Where words go beside JSON for `target`: aside when it takes standard output, nowhere when quiet."""
    return Console(quiet=True) if quiet else err if target == "-" else Console(**PLAIN)


@contextmanager
def steps_shown(watched: bool) -> Iterator[Callable[[str], None]]:
    """A function that shows the step that a command is at, aside, until the next; nothing where nobody watches."""
    if not watched:
        yield lambda name: None
        return
    with err.status("") as status:
        yield lambda name: status.update(f"{line(name)} ...")


ELSEWHERE = {
    ("simulate", "--steps"): "Give --time; train takes --steps",
    ("train", "--dt"): "A step of SGD is the learning rate; simulate takes --dt",
    ("train", "--scheme"): "Schemes integrate the SDE: use simulate",
    ("verify", "--dt"): "It chooses its steps: leave it out",
}
"""Options of other commands, and what to give instead."""
OURS = {
    **dict.fromkeys(("--lr", "--eta"), "--learning-rate"),
    **dict.fromkeys(("--batch", "--bs"), "--batch-size"),
    **dict.fromkeys(("--n-paths", "--samples", "--trials"), "--paths"),
    **dict.fromkeys(("--jobs", "--n-jobs"), "--threads"),
    **dict.fromkeys(("--solver", "--method"), "--scheme"),
}
"""Options as others call them, by what they are here."""


class Commands(TyperGroup):
    """The commands. Arguments with control characters are refused before anything reads them; what is wrong with others
    is told in a short line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:
            command = getattr(error.ctx, "info_name", None)
            given = getattr(error, "option_name", "")
            known = {name for p in getattr(getattr(error.ctx, "command", None), "params", ()) for name in p.opts}
            ours = OURS.get(given)
            hint = ELSEWHERE.get((str(command), given)) or (f"Give {ours}" if ours in known else None)
            if hint:
                error.possibilities = []
            error.message = line(error.message, LONGEST) + (f". {hint}" if hint else "")
            raise

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for text in args:
            if any((ord(c) < 32 and c != "\t") or 127 <= ord(c) < 160 for c in text):
                raise BadParameter(
                    f"arguments must be printable; got {line(repr(text), LONGEST)}. Leave out control characters."
                )
        return super().parse_args(ctx, args)
