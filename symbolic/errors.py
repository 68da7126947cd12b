"""Bad input: the one exception that means it, its one sentence, and what a sentence says of near misses."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

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
        return cls(f"{where}: {rule}; got {shown(got)} ({type(got).__name__}). {advice}")

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
    got = f"{shown(key)} ({type(key).__name__})"
    if not isinstance(key, str) and name in known:
        return (
            f"{place}: must be the problem's own symbol; got {got} with other assumptions. Use the same object, made by"
            f" sympy.Symbol({name!r}, real=True), or its name {name!r}."
        )
    return f"{place}: must name a {what}; got {got}. {do or nearest(name, list(known), 'There are: {}.')}"
