"""Bad input: the one exception that means it, and its one sentence."""

from __future__ import annotations

import re
from typing import Any

_SENTENCE = re.compile(r"(?P<where>[^:]+): (?P<rule>.*?); got (?P<got>.*?)(?:\. (?P<advice>[A-Z].*))?", re.DOTALL)


class InputError(ValueError):
    """What a user gave breaks a rule. Text: "<where>: <rule>; got <value> (<type>). <what to do>", one line per error.

    Only this, and OSError with a file's name, mean bad input; any other exception is a defect.
    """

    @classmethod
    def of(cls, where: str, rule: str, got: Any, advice: str) -> InputError:
        """The sentence, from its parts: `got` is shown by repr, with its type."""
        return cls(f"{where}: {rule}; got {got!r} ({type(got).__name__}). {advice}")

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
