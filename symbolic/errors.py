"""Bad input: the one exception that means it, its one sentence, the checks that raise it, and hints at near misses."""

from __future__ import annotations

import difflib
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

PLAIN = "iuf"
"""NumPy's kinds of numbers that are real: no truth values, complex numbers, text or times."""
_SENTENCE = re.compile(r"(?P<where>[^:]+): (?P<rule>.*?); got (?P<got>.*?)(?:\. (?P<advice>[A-Z].*))?", re.DOTALL)
LONGEST = 200
"""Characters of a value that a sentence shows."""
MOST = 60
"""Known words that a hint lists."""


class InputError(ValueError):
    """What a user gave breaks a rule. Text: "<where>: <rule>; got <value> (<type>). <what to do>", one line per error.

    Only this, and OSError with a file's name, mean bad input; any other exception is a defect.
    """

    @classmethod
    def of(cls, where: str, rule: str, got: Any, advice: str) -> InputError:
        """The sentence, from its parts: `got` is shown by repr, with its type."""
        return cls(f"{where}: {rule}; got {shown(got)} ({kind(got)}). {advice}")

    def _part(self, name: str) -> str:
        found = _SENTENCE.fullmatch(str(self))
        return (found[name] or "") if found else ""

    @property
    def where(self) -> str:
        """The argument, field or file that the rule is about."""
        return self._part("where")

    @property
    def rule(self) -> str:
        """What must hold."""
        return self._part("rule")

    @property
    def got(self) -> str:
        """What was given instead."""
        return self._part("got")

    @property
    def advice(self) -> str:
        """What to do."""
        return self._part("advice")


def as_real(value: Any) -> float | None:
    """A finite real number as a float, None for anything else: truth values, text, complex numbers, arrays, NaN."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not (isinstance(value, Real) or getattr(value, "is_Float", False)):
        return None
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def as_whole(value: Any) -> int | None:
    """A whole number as an int (2.0 is one), None for anything else."""
    number = as_real(value)
    return int(value) if number is not None and int(value) == value else None


def as_reals(value: Any) -> np.ndarray:
    """Real numbers, nested as they may be, as a float64 array. Raises InputError, with the reason, for anything else;
    NaN passes."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InputError("some entries are masked")
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError("rows have unequal lengths") from None
    if array.dtype.kind == "O":
        for entry in array.ravel():
            exact = getattr(entry, "is_number", False) and getattr(entry, "is_extended_real", False)
            if isinstance(entry, (bool, np.bool_)) or not (isinstance(entry, Real) or exact):
                raise InputError(f"{entry!r} ({type(entry).__name__}) is not a real number")
        try:
            return np.array([float(e) for e in array.ravel()], dtype=np.float64).reshape(array.shape)
        except OverflowError:
            raise InputError("some numbers are beyond float64") from None
    if array.dtype.kind not in PLAIN and array.size:
        words = {"b": "truth values are", "c": "complex numbers are", "U": "text is", "S": "text is"}
        raise InputError(f"{words.get(array.dtype.kind, f'{array.dtype} is')} not real numbers")
    return array.astype(np.float64)


class check:
    """Checks that a user's value keeps a rule: each gives it back as it is computed with, or raises InputError.

    where: the argument or field; advice: what to do.
    """

    @staticmethod
    def whole(
        where: str, value: Any, least: int = 1, below: int | None = None, *, rule: str | None = None, advice: str
    ) -> int:
        """A whole number of at least `least`, smaller than `below`; rule: what else to call that."""
        number = as_whole(value)
        if number is None or number < least:
            raise InputError.of(where, rule or f"must be a whole number of at least {least}", value, advice)
        if below is not None and number >= below:
            raise InputError.of(where, rule or f"must be a whole number below {below}", value, advice)
        return number

    @staticmethod
    def positive(where: str, value: Any, *, endless: bool = False, advice: str) -> float:
        """A number above 0, finite unless it may be `endless`."""
        number = float("inf") if endless and isinstance(value, float) and value == float("inf") else as_real(value)
        if number is None or number <= 0:
            raise InputError.of(where, "must be positive" if endless else "must be positive and finite", value, advice)
        return number

    @staticmethod
    def share(where: str, value: Any, *, advice: str) -> float:
        """A number within [0, 1]."""
        number = as_real(value)
        if number is None or not 0 <= number <= 1:
            raise InputError.of(where, "must be a share within [0, 1]", value, advice)
        return number

    @staticmethod
    def one_of(where: str, value: Any, choices: Sequence[str], *, advice: str) -> str:
        """One of a few words."""
        if not isinstance(value, str) or value not in choices:
            words = f"{', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}"
            raise InputError.of(where, f"must be {words}", value, nearest(value, choices, advice))
        return value

    @staticmethod
    def text(where: str, value: Any, *, rule: str = "must be text", advice: str) -> str:
        """Any text."""
        if not isinstance(value, str):
            raise InputError.of(where, rule, value, advice)
        return value

    @staticmethod
    def flag(where: str, value: Any, *, advice: str) -> bool:
        """A truth value."""
        if not isinstance(value, (bool, np.bool_)):
            raise InputError.of(where, "must be true or false", value, advice)
        return bool(value)

    @staticmethod
    def mapping(where: str, value: Any, *, rule: str = "must be a mapping", advice: str) -> Mapping[Any, Any]:
        """Values by key; rule: what else to call that."""
        if not isinstance(value, Mapping):
            raise InputError.of(where, rule, value, advice)
        return value


def warn(text: str, category: type[Warning]) -> None:
    """Warn at the line of the user's that called us, however deep within we are."""
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("sde", "symbolic"):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


def sentences(text: str) -> bool:
    """Whether a text is such sentences, one a line."""
    return all(_SENTENCE.fullmatch(line) for line in text.split("\n"))


def shown(value: Any, longest: int = LONGEST) -> str:
    """A value by its repr, printable and on one line, of at most so many characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a user's own class may have a repr that fails
        text = f"<{type(value).__name__}>"
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: longest + 1])
    return text if len(text) <= longest else text[: longest - 3] + "..."


def kind(value: Any) -> str:
    """What a value is: the word that its class has for users (`called`), else the class's name."""
    return str(getattr(type(value), "called", type(value).__name__))


def instance(where: str, value: Any, kind: type | tuple[type, ...], rule: str, advice: str) -> Any:
    """The value, which must be of a kind. Raises InputError."""
    if not isinstance(value, kind):
        raise InputError.of(where, rule, value, advice)
    return value


def near(word: Any, known: Sequence[str]) -> list[str]:
    """The known words that a misspelt one may stand for: the same but for case and separators, longer ones that it
    begins, else the closest."""
    if not isinstance(word, str) or not word:
        return []

    def plain(text: str) -> str:
        return re.sub(r"[\W_]+", "", text.lower())

    given, named = plain(word[:LONGEST]), {name: plain(name) for name in known if isinstance(name, str)}
    if not given:
        return []
    found = [name for name in named if named[name] == given]
    if not found and len(given) > 2:
        found = [name for name in named if named[name].startswith(given)]
    if not found:
        close = difflib.get_close_matches(given, list(named.values()), n=1, cutoff=0.6)
        found = [name for name in named if named[name] in close][:1]
    return found[:3]


def nearest(word: Any, known: Sequence[str], listed: str = "Known: {}.") -> str:
    """A hint for a name that is not there: the known ones that may be meant, else all of them."""
    close = near(word, known)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    names = ", ".join(shown(name, 42)[1:-1] for name in known[:MOST])
    return listed.format((names + (", ..." if len(known) > MOST else "")) or "none")


def unknown(where: str, key: Any, known: Mapping[str, Any], what: str = "parameter", do: str = "") -> str:
    """The sentence for a key that names nothing of `known`, {name: symbol}: a near miss, a symbol of the same name
    with other assumptions, or something else altogether. do: what to do, where no name may be meant."""
    name = getattr(key, "name", key)
    place = f"{where}[{shown(str(name), 82)[1:-1]}]"
    got = f"{shown(key)} ({kind(key)})"
    if not isinstance(key, str) and name in known:
        return (
            f"{place}: must be the problem's own symbol; got {got} with other assumptions. Use the same object, made by"
            f" sympy.Symbol({name!r}, real=True), or its name {name!r}."
        )
    return f"{place}: must name a {what}; got {got}. {do or nearest(name, list(known), 'There are: {}.')}"
