"""Verdicts that can say no: equivalence within a stated margin, or refutation beyond it, with Holm's correction over
all claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from symbolic.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement with a number that can come out wrong.

    group: the kind of claim, "mean drift" say; subject: which dynamics and charge; text: the statement
    in words, its subject included. estimate, error: the measured number and its standard error (0 for a deterministic
    check). margin: the interval within which the statement counts as true; expected: the theory's value. paths:
    independent samples behind the error. note: what a reader should know, e.g. why nothing could be measured;
    `measured` is False then and the verdict inconclusive.
    """

    group: str
    subject: str
    text: str
    estimate: float
    error: float
    margin: tuple[float, float]
    expected: float
    paths: int
    note: str = ""
    measured: bool = True

    def p_values(self) -> tuple[float, float]:
        """(p of "outside the margin", p of "inside the margin"): small means that hypothesis is refused."""
        low, high = self.margin
        if not self.measured or not np.isfinite(self.estimate) or not np.isfinite(self.error):
            return 1.0, 1.0
        if self.error == 0.0:
            inside = low <= self.estimate <= high
            return (0.0, 1.0) if inside else (1.0, 0.0)
        special: Any = import_module("scipy.special")  # slow to load

        least = min((self.estimate - low) / self.error, (high - self.estimate) / self.error)
        return float(special.stdtr(self.degrees, -least)), min(1.0, 2 * float(special.stdtr(self.degrees, least)))

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the error (Student's law)."""
        return max(self.paths - 1, 1)

    def interval(self, level: float) -> tuple[float, float]:
        """Two-sided confidence interval of the estimate."""
        if not self.measured or not np.isfinite(self.error):
            return (-np.inf, np.inf)
        special: Any = import_module("scipy.special")  # slow to load

        half = float(special.stdtrit(self.degrees, (1 + level) / 2)) * self.error if self.error else 0.0
        return self.estimate - half, self.estimate + half


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim judged.

    Attributes
    ----------
    claim
        The statement in words.
    verdict
        "supported" (agreement within the margin was shown), "refuted" (disagreement beyond it was shown) or
        "inconclusive".
    statistic
        The measured number.
    interval
        Of it, simultaneous, at level 1 - alpha over all claims of the report.
    margin
        The interval within which the statement counts as true.
    expected
        The theory's value.
    alpha
        The chance of any wrong verdict in the report.
    paths
        Independent samples behind it.
    group, subject
        The kind of claim, and which dynamics and charge.
    note
        What a reader should know, such as why nothing could be measured.
    """

    claim: str
    verdict: str
    statistic: float
    interval: tuple[float, float]
    margin: tuple[float, float]
    expected: float
    alpha: float
    paths: int
    group: str
    note: str = ""
    subject: str = ""


def check_alpha(alpha: Any) -> None:
    """Raise ValueError unless it is the chance of an error."""
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float, np.floating)) or not 0 < alpha < 1:
        raise InputError.of("verify.alpha", "must lie in (0, 1)", alpha, "Give e.g. 0.01.")


def judge(claims: Sequence[Claim], alpha: float) -> tuple[Verdict, ...]:
    """Verdicts with the chance of any wrong "supported" or "refuted" at most alpha over all claims.

    Every claim puts two hypotheses up for refusal, "outside the margin" (two one-sided tests, Schuirmann 1987) and
    "inside it"; Holm's step-down procedure (1979) runs over all of them together.
    """
    check_alpha(alpha)
    p = np.array([v for c in claims for v in c.p_values()])
    refused = holm(p, alpha)
    level = 1 - alpha / max(len(p), 1)
    out: list[Verdict] = []
    for k, c in enumerate(claims):
        word = "supported" if refused[2 * k] else "refuted" if refused[2 * k + 1] else "inconclusive"
        out.append(
            Verdict(
                claim=c.text,
                verdict=word,
                statistic=float(c.estimate),
                interval=c.interval(level),
                margin=c.margin,
                expected=c.expected,
                alpha=alpha,
                paths=c.paths,
                group=c.group,
                note=c.note,
                subject=c.subject,
            )
        )
    return tuple(out)


def holm(p: np.ndarray, alpha: float) -> np.ndarray:
    """Which hypotheses Holm's step-down procedure refuses at family-wise level alpha; shape of p."""
    order = np.argsort(p, kind="stable")
    below = p[order] <= alpha / (len(p) - np.arange(len(p)))
    stop = len(p) if below.all() else int(np.argmin(below))
    refused = np.zeros(len(p), dtype=bool)
    refused[order[:stop]] = True
    return refused


def unmeasured(claim: Claim, why: str) -> Claim:
    """The claim as one that this run could not decide, with the reason."""
    return replace(claim, measured=False, note=why)
