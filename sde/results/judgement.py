"""A result's rows judged: plain data, which is kept, gone on from, and shown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sde.results.result import ALPHA, Finding, Row
from sde.verification.verdicts import Verdict, judge


@dataclass(frozen=True)
class Judged:
    """A row and its verdict, whose interval is simultaneous over the result."""

    row: Row
    verdict: Verdict

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one that is known to be right."""
        return self.verdict.verdict == self.row.expected


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Of one result. rows: its claims; wrong: against wrong theories; figures: (caption, SVG) each; theories: (name,
    what was derived, in words) each."""

    name: str
    rows: tuple[Judged, ...]
    wrong: tuple[Judged, ...]
    notes: tuple[str, ...]
    figures: tuple[tuple[str, str], ...]
    theories: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def outcome(self) -> str:
        """One of "as expected", "otherwise" where a verdict is the opposite of what is known to be right, and
        "inconclusive"."""
        off = [j.verdict for j in (*self.rows, *self.wrong) if not j.as_expected]
        return "as expected" if not off else "otherwise" if any(v.decided for v in off) else "inconclusive"

    @property
    def tally(self) -> dict[str, int]:
        """How many claims have which verdict."""
        return dict(Counter(j.verdict.verdict for j in self.rows).most_common())

    def to_dict(self) -> dict[str, Any]:
        """Lists, numbers and texts; numbers that are not finite as texts."""
        return _plain(asdict(self))

    @classmethod
    def of_dict(cls, record: Mapping[str, Any]) -> Judgement:
        """The inverse. Raises KeyError, TypeError, ValueError or IndexError for what is none."""
        rows, wrong = (tuple(_read(one) for one in record[part]) for part in ("rows", "wrong"))
        pairs = {part: tuple((str(a), str(b)) for a, b in record[part]) for part in ("figures", "theories")}
        notes, seconds = tuple(map(str, record["notes"])), float(record["seconds"])
        return cls(name=str(record["name"]), rows=rows, wrong=wrong, notes=notes, seconds=seconds, **pairs)


def judged(finding: Finding, source: str) -> tuple[tuple[Judged, ...], tuple[Judged, ...]]:
    """(claims, claims against wrong theories), each family at ALPHA. source: of rows that name none."""
    return _judged(finding.rows, source), _judged(finding.wrong, source)


def _judged(rows: Sequence[Row], source: str) -> tuple[Judged, ...]:
    named = [row.stated_in(source) for row in rows]
    return tuple(map(Judged, named, judge([row.as_claim() for row in named], ALPHA))) if named else ()


_PAIRS = ("margin", "interval")
_WHOLE = ("samples", "paths", "look")
_NUMBERS = ("predicted", "measured", "error", "statistic", "expected", "alpha")


def _read(record: Mapping[str, Any]) -> Judged:
    return Judged(Row(**_fields(record["row"])), Verdict(**_fields(record["verdict"])))


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _field(name, value, record) for name, value in record.items()}


def _field(name: str, value: Any, record: Mapping[str, Any]) -> Any:
    if name in _PAIRS and isinstance(value, list):
        low, high = value
        return float(low), float(high)
    if name in _WHOLE:
        return int(value)
    number = name in _NUMBERS and not (name == "expected" and "predicted" in record)
    return float(value) if number or name in _PAIRS else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
