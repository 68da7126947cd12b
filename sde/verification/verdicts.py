"""Verdicts that can say no: equivalence within a stated margin, or refutation beyond it, with Holm's correction over
all claims and looks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from symbolic.errors import InputError

EDGE = 1e12
"""Samples beyond which a claim's value lies at its margin's edge, for all that can be told."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement with a number that can come out wrong.

    group: the kind of claim, "mean drift" say; subject: which dynamics and charge; text: the statement in words, its
    subject included. estimate, error: the measured number and its standard error (0 for a deterministic check, infinite
    where it cannot be told). margin: the interval within which the statement counts as true; expected: the theory's
    value. paths: independent samples behind the error; unit: what they are; least: fewer of them do not tell the error,
    and decide nothing. note: what a reader should know, e.g. why nothing could be measured;
    `measured` is False then and the verdict inconclusive. needs: what it would take to decide it, where that is no
    number of samples.
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
    least: int = 0
    unit: str = "paths"
    needs: str = ""

    @property
    def decidable(self) -> bool:
        """Whether there is evidence enough to weigh."""
        return self.measured and bool(np.isfinite([self.estimate, self.error]).all()) and self.paths >= self.least

    @property
    def hopeful(self) -> bool:
        """Whether more samples may decide it."""
        return self.measured and self.error > 0

    def p_values(self) -> tuple[float, float]:
        """(p of "outside the margin", p of "inside the margin"): small means that hypothesis is refused."""
        low, high = self.margin
        if not self.decidable:
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
        """Two-sided confidence interval of the estimate; without bounds where its error is not known."""
        if not self.decidable:
            return (-np.inf, np.inf)
        special: Any = import_module("scipy.special")  # slow to load

        half = float(special.stdtrit(self.degrees, (1 + level) / 2)) * self.error if self.error else 0.0
        return self.estimate - half, self.estimate + half

    def samples_needed(self, level: float) -> float:
        """How many would decide it at level `level`, were the estimate the truth; infinite at the margin's edge."""
        special: Any = import_module("scipy.special")  # slow to load

        low, high = self.margin
        inside = min(self.estimate - low, high - self.estimate)
        if not np.isfinite(self.error) or inside == 0:
            return np.inf
        chance = level if inside > 0 else level / 2
        squared = float(special.ndtri(1 - chance)) ** 2
        student = self.paths * (self.error / inside) ** 2 * squared + (1 + squared) / 2  # its quantile to first order
        return max(student, self.least)

    def wants(self, level: float) -> str:
        """What it would take to decide it, in words; level: of one hypothesis."""
        if self.needs or not self.hopeful or not np.isfinite(self.estimate):
            return self.needs
        needed = self.samples_needed(level)
        if np.isfinite(self.error) and needed > EDGE > self.least:
            return "a wider or a narrower margin: the value lies at the margin's edge"
        return f"about {rounded_up(needed)} {self.unit}" if needed <= EDGE else f"more {self.unit}"


@dataclass(frozen=True, kw_only=True)
class Untested:
    """A claim that was not tested: why, and what it would take."""

    claim: str
    group: str
    subject: str
    reason: str
    needs: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim judged.

    Attributes
    ----------
    claim
        The statement in words.
    verdict
        "supported" (agreement within the margin was shown), "refuted" (disagreement beyond it was shown),
        "inconclusive" (neither was), or "not tested" (nothing was measured; statistic, margin and expected are NaN).
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
    reason
        Why it was not tested; empty for others.
    needs
        What it would take to decide it; empty where it is decided.
    look
        The look at the data at which it was judged, from 1.
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
    reason: str = ""
    needs: str = ""
    look: int = 1

    @property
    def decided(self) -> bool:
        """Whether it is "supported" or "refuted"."""
        return self.verdict in ("supported", "refuted")

    @property
    def tested(self) -> bool:
        """Whether it is anything but "not tested"."""
        return self.verdict != "not tested"


def check_alpha(alpha: Any) -> None:
    """Raise ValueError unless it is the chance of an error."""
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float, np.floating)) or not 0 < alpha < 1:
        raise InputError.of("verify.alpha", "must lie in (0, 1)", alpha, "Give e.g. 0.01.")


Key = tuple[str, str]
"""A claim's group and subject, which name it in a report."""


def judge(
    claims: Sequence[Claim],
    alpha: float,
    *,
    look: int = 1,
    looks: int = 1,
    decided: Mapping[Key, Verdict] | None = None,
) -> tuple[Verdict, ...]:
    """Verdicts with the chance of any wrong "supported" or "refuted" at most alpha over all claims and looks.

    Every claim puts two hypotheses up for refusal, "outside the margin" (two one-sided tests, Schuirmann 1987) and
    "inside it"; Holm's step-down procedure (1979) runs over all of them together. Of several planned `looks` at growing
    data each spends alpha/looks; verdicts `decided` at earlier ones stay, and their refused hypotheses make room for
    the others, as those that Holm's procedure refuses within a look do (Goeman and Solari 2010, sequential rejection).
    """
    check_alpha(alpha)
    known = decided or {}
    p = np.array([v for c in claims for v in _p_values(c, known.get((c.group, c.subject)))])
    spent = alpha / looks
    refused, each = holm(p, spent), spent / max(len(p), 1)
    out: list[Verdict] = []
    for k, c in enumerate(claims):
        before = known.get((c.group, c.subject))
        if before is not None:
            out.append(before)
            continue
        word = "supported" if refused[2 * k] else "refuted" if refused[2 * k + 1] else "inconclusive"
        out.append(
            Verdict(
                claim=c.text,
                verdict=word,
                statistic=float(c.estimate),
                interval=c.interval(1 - each),
                margin=c.margin,
                expected=c.expected,
                alpha=alpha,
                paths=c.paths,
                group=c.group,
                note=c.note,
                subject=c.subject,
                needs=c.wants(each) if word == "inconclusive" else "",
                look=look,
            )
        )
    return tuple(out)


def not_tested(left: Sequence[Untested], alpha: float, look: int = 1) -> tuple[Verdict, ...]:
    """The verdicts of claims that nothing was measured of."""
    return tuple(
        Verdict(
            claim=u.claim,
            verdict="not tested",
            statistic=np.nan,
            interval=(-np.inf, np.inf),
            margin=(np.nan, np.nan),
            expected=np.nan,
            alpha=alpha,
            paths=0,
            group=u.group,
            subject=u.subject,
            reason=u.reason,
            needs=u.needs,
            look=look,
        )
        for u in left
    )


def _p_values(claim: Claim, before: Verdict | None) -> tuple[float, float]:
    """As those of the claim, with what was refused at an earlier look refused still, and nothing else."""
    if before is None:
        return claim.p_values()
    return (0.0, 1.0) if before.verdict == "supported" else (1.0, 0.0)


def holm(p: np.ndarray, alpha: float) -> np.ndarray:
    """Which hypotheses Holm's step-down procedure refuses at family-wise level alpha; shape of p."""
    order = np.argsort(p, kind="stable")
    below = p[order] <= alpha / (len(p) - np.arange(len(p)))
    stop = len(p) if below.all() else int(np.argmin(below))
    refused = np.zeros(len(p), dtype=bool)
    refused[order[:stop]] = True
    return refused


def unmeasured(claim: Claim, why: str, needs: str = "") -> Claim:
    """The claim as one that this run could not decide, with the reason, and what it would take."""
    return replace(claim, measured=False, note=why, needs=needs)


def more_time(until: float) -> str:
    """What it would take where a run is too short; until: the time at which it would be long enough."""
    return f"more time: about t = {f'{until:.3g}' if until < 1000 else rounded_up(until)}"


def rounded_up(number: float) -> int:
    """To two digits that count: 12345 to 13000."""
    unit = 10 ** max(math.floor(math.log10(max(number, 1.0))) - 1, 0)
    return math.ceil(number / unit) * unit
