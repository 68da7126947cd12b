"""What a function of symbols must not ask: SymPy answers ==, hash and truth by structure, and the answer would be
frozen into the formula."""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import sympy as sp

ASKED = {
    "__eq__": "whether {0} == {1}",
    "__ne__": "whether {0} != {1}",
    "__bool__": "whether {0} is true",
    "__hash__": "for the hash of {0} (a set, a dictionary or a cache)",
    "__float__": "for {0} as a float",
    "__int__": "for {0} as an int",
    "__complex__": "for {0} as a complex number",
    "__index__": "for {0} as an index",
    "__round__": "for {0} rounded",
}
OURS = frozenset({"sympy", "mpmath", "symbolic", "sde"})
"""Packages that may ask: they know what SymPy's answers mean."""
_lock = threading.RLock()


class Asked(TypeError):
    """A question that has no answer for a symbol."""


@dataclass
class Questions:
    """The first question that a function asked, where it asked it, whatever it did with the refusal."""

    first: str = ""
    frame: str = ""
    thread: int = field(default_factory=threading.get_ident)

    def refuse(self, text: str, frame: FrameType) -> Asked:
        """Note the question and give the error to raise."""
        if not self.first:
            outer: FrameType | None = frame
            while outer is not None and not _theirs(outer):
                outer = outer.f_back
            outer = outer or frame
            self.first, self.frame = text, line(outer.f_code.co_filename, outer.f_lineno)
        return Asked(text)


def line(file: str, number: int) -> str:
    """A line of source in words."""
    text = linecache.getline(file, number).strip()
    return f"line {number} of {Path(file).name}" + (f", `{text[:100]}`" if text else "")


def where(error: BaseException) -> str:
    """The user's own line that an error went through last."""
    trail, found = error.__traceback__, ""
    while trail is not None:
        if _theirs(trail.tb_frame):
            found = line(trail.tb_frame.f_code.co_filename, trail.tb_lineno)
        trail = trail.tb_next
    return found


def _theirs(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] not in OURS | {"numpy"}


def _open(value: Any) -> bool:
    """Whether a SymPy object has symbols in it, so that it stands for many numbers."""
    return bool(getattr(value, "free_symbols", None))


def _classes() -> list[type]:
    found, left = list[type](), [sp.Basic, sp.MatrixBase, sp.NDimArray]
    while left:
        kind = left.pop()
        if kind not in found and str(kind.__module__).startswith("sympy."):
            found.append(kind)
            left += type.__subclasses__(kind)
    return [kind for kind in found if any(name in vars(kind) for name in ASKED)]


@contextmanager
def guarded() -> Iterator[Questions]:
    """While it lasts, a question of ASKED about an object with symbols raises, where this thread asks it outside
    SymPy."""
    with _lock:
        questions, replaced = Questions(), list[tuple[type, str, Any]]()

        def guard(name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
            def asked(self: Any, *others: Any) -> Any:
                if threading.get_ident() == questions.thread:
                    frame = sys._getframe(1)
                    outside = str(frame.f_globals.get("__name__", "")).partition(".")[0] not in OURS
                    if outside and (_open(self) or any(map(_open, others))):
                        raise questions.refuse(ASKED[name].format(self, *others), frame)
                return answer(self, *others)

            return asked

        try:
            for kind in _classes():
                for name in ASKED.keys() & vars(kind).keys():
                    if callable(vars(kind)[name]):
                        replaced.append((kind, name, vars(kind)[name]))
                        setattr(kind, name, guard(name, vars(kind)[name]))
            sp.Basic.__bool__ = guard("__bool__", lambda self: True)  # type: ignore[attr-defined]
            yield questions
        finally:
            for kind, name, answer in replaced:
                setattr(kind, name, answer)
            if "__bool__" in vars(sp.Basic):
                del sp.Basic.__bool__  # type: ignore[attr-defined]
