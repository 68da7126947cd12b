"""What a verification found: verdicts, and the curves and tables behind them, as plain data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from sde.verification.verdicts import Verdict

WORDS = ("supported", "refuted", "inconclusive", "not tested")
"""What a verdict may be."""


@dataclass(frozen=True)
class Band:
    """An ensemble's charge over time: mean and the 5 % and 95 % quantiles over paths, all of shape (time,)."""

    label: str
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Curves:
    """One charge from one start. theory: the predicted mean, integrated from the derived drift; bands: SGD and SDE; gd:
    full-batch; alone: theory's line leaves fluctuations out, which were too much work."""

    charge: str
    start: str
    time: np.ndarray
    theory: np.ndarray | None
    bands: tuple[Band, ...]
    gd: np.ndarray | None = None
    equilibrium: float | None = None
    alone: bool = False


@dataclass(frozen=True)
class Entry:
    """One entry of the equilibrium condition, as a share of the noise that enters it: 0 is equilibrium. at_start, sgd,
    gd: measured."""

    charge: str
    start: str
    at_start: float
    sgd: float
    interval: tuple[float, float]
    gd: float


@dataclass(frozen=True)
class Explosions:
    """How many of a run's paths left the bound or became non-finite, and when the first did (None: never)."""

    run: str
    exploded: int
    paths: int
    first: float | None


@dataclass(frozen=True)
class VerificationResult:
    """The outcome of `verify`. verdicts: of all claims, "not tested" among them. looks: paths from each start at each
    look at the data. interrupted: whether Ctrl-C cut it short; run: what was run, see `sde.api.provenance`. files: that
    the loss was read from, which the report may not overwrite. families: what the charges are the entries of, each with
    text, number, class, why, shape, drift, equation, labels (of its charges in curves), and *_math, our MathML. theory:
    what was derived, its "facts" in words, {name: text}, and numbers."""

    name: str
    verdicts: tuple[Verdict, ...]
    theory: Mapping[str, Any]
    charges: tuple[Mapping[str, str], ...]
    curves: tuple[Curves, ...]
    entries: tuple[Entry, ...]
    explosions: tuple[Explosions, ...]
    _: KW_ONLY
    families: tuple[Mapping[str, Any], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    files: tuple[Path, ...] = ()
    looks: tuple[int, ...] = ()
    interrupted: bool = False
    run: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def facts(self) -> Mapping[str, str]:
        """The theory in words, {what: text}."""
        return self.theory.get("facts", {})

    @property
    def summary(self) -> str:
        """The theory in words, a line a fact."""
        return "\n".join(f"{name}: {text}" for name, text in self.facts.items())

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.outcome}" + (", interrupted" if self.interrupted else "")]
        for v in self.verdicts:
            said = f"{v.statistic:.4g}" if v.tested else f"({v.reason})"
            lines.append(f"  {v.verdict:12} {v.group}: {v.subject}  {said}" + f"; needs {v.needs}" * bool(v.needs))
        return "\n".join(lines)

    @property
    def tested(self) -> tuple[Verdict, ...]:
        """The verdicts of claims that something was measured of."""
        return tuple(v for v in self.verdicts if v.tested)

    @property
    def untested(self) -> tuple[Verdict, ...]:
        """The verdicts "not tested", each with its .reason and what it .needs."""
        return tuple(v for v in self.verdicts if not v.tested)

    @property
    def outcome(self) -> str:
        """One of "supported" (every claim that was tested is), "refuted" (any is), "inconclusive"."""
        words = {v.verdict for v in self.tested} | ({"inconclusive"} if self.interrupted else set[str]())
        return (
            "refuted" if "refuted" in words else "inconclusive" if "inconclusive" in words or not words else "supported"
        )

    @property
    def supported(self) -> bool:
        """Whether every claim that was tested is supported, and the run was not broken off. Claims that were not tested
        do not count: see `untested`."""
        return self.outcome == "supported"

    @property
    def counts(self) -> dict[str, int]:
        """How many claims have which verdict."""
        found = Counter(v.verdict for v in self.verdicts)
        return {word: found[word] for word in WORDS}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: name, supported, interrupted, counts, looks, theory, verdicts (claim, verdict, statistic,
        interval, alpha, paths, reason, needs, ...), explosions, settings, run."""
        return {
            "name": self.name,
            "supported": self.supported,
            "outcome": self.outcome,
            "interrupted": self.interrupted,
            "counts": self.counts,
            "looks": list(self.looks),
            "verdicts": [_plain(asdict(v)) for v in self.verdicts],
            "theory": _plain(dict(self.theory)),
            "families": [
                {k: v for k, v in _plain(dict(f)).items() if not str(k).endswith("_math")} for f in self.families
            ],
            "explosions": [_plain(asdict(e)) for e in self.explosions],
            "settings": _plain(dict(self.settings)),
            "run": _plain(dict(self.run)),
        }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in cast(dict[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in cast(Sequence[Any], value)]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(cast(Any, value).tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
