"""What a result is: a claim with its source, what is predicted and measured, and a wrong theory that must fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sde.verification.verdicts import Claim
from symbolic.theory import Theory

ALPHA = 0.002
"""Chance of any wrong verdict in one result: with some two dozen results, 5 % in all."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number that is predicted beforehand and measured.

    key: names the row within its result; claim: in words; source: where it is stated, the result's own where empty.
    predicted: by theory; measured: with its standard error, 0 for what has no sampling error; margin: how far from the
    prediction still counts as agreement, or the interval of agreement itself, (low, high), for what is no equality;
    samples: independent ones behind the error, called `unit`. expected: the verdict that is known to be right,
    "refuted" for a claim of others' that does not hold, with the reason.
    """

    key: str
    claim: str
    predicted: float
    measured: float
    error: float
    margin: float | tuple[float, float]
    samples: int
    source: str = ""
    unit: str = "paths"
    expected: str = "supported"
    reason: str = ""

    @classmethod
    def of_mean(
        cls, key: str, claim: str, values: Any, predicted: float, margin: float | tuple[float, float], **more: Any
    ) -> Row:
        """Of independent values (n,), whose mean is the measured number. Raises ValueError for one that is not
        finite: paths that were lost may not drop out unseen."""
        found = np.asarray(values, dtype=np.float64)
        if found.ndim != 1 or len(found) < 2 or not np.isfinite(found).all():
            raise ValueError(f"{key}: must be finite numbers (n,), n >= 2; got shape {found.shape}, {found}")
        error = float(found.std(ddof=1) / np.sqrt(len(found)))
        return cls(
            key=key,
            claim=claim,
            predicted=predicted,
            measured=float(found.mean()),
            error=error,
            margin=margin,
            samples=len(found),
            **more,
        )

    @classmethod
    def exact(
        cls, key: str, claim: str, value: float, predicted: float, margin: float | tuple[float, float], **more: Any
    ) -> Row:
        """Of a number without sampling error: a derivation's, or of a run without noise."""
        told = {"key": key, "claim": claim, "predicted": predicted, "measured": float(value)}
        return cls(**told, error=0.0, margin=margin, samples=0, **more)

    def against(self, predicted: float, theory: str, margin: float | tuple[float, float] | None = None) -> Row:
        """The same measurement against what another theory, named in words, predicts: expected to be refuted."""
        kept = self.margin if margin is None else margin
        return replace(self, predicted=predicted, margin=kept, expected="refuted", reason=theory)

    def stated_in(self, source: str) -> Row:
        """The row, with a source where it names none."""
        return self if self.source else replace(self, source=source)

    @property
    def interval(self) -> tuple[float, float]:
        """Within which the claim counts as true."""
        if isinstance(self.margin, tuple):
            return self.margin
        return self.predicted - self.margin, self.predicted + self.margin

    def as_claim(self) -> Claim:
        """As `verify` judges it."""
        return Claim(
            group=self.key,
            subject=self.reason if self.expected == "refuted" else "",
            text=self.claim,
            estimate=float(self.measured),
            error=float(self.error),
            margin=self.interval,
            expected=float(self.predicted),
            paths=int(self.samples),
            unit=self.unit,
        )


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a result's module found. rows: its claims; wrong: rows against a wrong theory, each of which must be
    refuted; figures: Matplotlib figures by caption; notes: sentences for the page, such as numbers that are no
    claim."""

    rows: tuple[Row, ...]
    wrong: tuple[Row, ...]
    figures: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Effort:
    """How much to simulate. threads: as many as there are cores when None; no number depends on it; tick: to be told
    of the share done, in (0, 1]."""

    quick: bool = True
    threads: int | None = None
    tick: Callable[[float], None] = lambda share: None

    def __call__(self, quick: int, full: int) -> int:
        """So many paths, steps or draws."""
        return quick if self.quick else full


@dataclass(frozen=True, kw_only=True)
class Result:
    """One result, as a page shows it.

    name: as a command takes it; section: the folder of its module; position: within that; title: a sentence that says
    what is found; claim: what is claimed, in a paragraph of plain text; source: paper and place; beyond: what is new
    beyond the source; seed: of all its random numbers; seconds: (quick, full), about, on two cores. theories(): what
    `derive` finds of its losses, by name; measure(effort): simulates and compares.
    """

    name: str
    section: str
    position: int
    title: str
    claim: str
    source: str
    beyond: str
    seed: int
    seconds: tuple[float, float]
    theories: Callable[[], Mapping[str, Theory]]
    measure: Callable[[Effort], Finding]
