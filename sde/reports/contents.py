"""What a report says, in whatever form it is written: a sentence to quote, groups of claims with their rows, what was
not tested, the theory's families of charges, and how far the forecast holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sde.reports.number_format import bounds, counted, measured, number
from sde.verification import claims, own_claims
from sde.verification.result import WORDS, Curves, VerificationResult
from sde.verification.verdicts import Verdict

SHOWN = 3
"""Families and claims that are named before the rest is counted."""
FEW = 3
"""Saves after which a band has a width."""
UNNAMED = "loss"
"""Name of a loss that was given none."""
EQUILIBRIUM, TURNING = "equilibrium", "turning"
"""Groups of claims that say how a run ends."""


@dataclass(frozen=True)
class Row:
    """One verdict, as text."""

    verdict: Verdict
    statistic: str
    interval: str
    expected: str
    margin: str

    @property
    def cells(self) -> tuple[str, ...]:
        """Subject, verdict, statistic, interval, theory's value, margin, paths."""
        v = self.verdict
        texts = (self.statistic, self.interval, self.expected, self.margin)
        return (v.subject or v.claim, v.verdict, *texts, str(v.paths))


@dataclass(frozen=True)
class Group:
    """Claims of one kind. outcome: the worst of their verdicts; line: their counts, and the claim that decides them."""

    name: str
    statement: str
    outcome: str
    line: str
    rows: tuple[Row, ...]


def statements() -> dict[str, str]:
    """What the statistic of each group is."""
    return {**claims.STATEMENTS, **own_claims.STATEMENTS}


def headline(report: VerificationResult) -> str:
    """The counts in one line: "10 of 12 claims supported, 1 refuted, 1 inconclusive, 3 not tested"."""
    total, found = len(report.tested), report.counts
    tail = [f"{len(report.untested)} not tested"] * bool(report.untested) + ["interrupted"] * report.interrupted
    if not total:
        return ", ".join(["no claim was tested", *tail])
    if found["supported"] == total:
        return ", ".join([f"all {total} claims supported" if total > 1 else "the one claim supported", *tail])
    words = [f"{found[w]} {w}" for w in WORDS[1:3] if found[w]]
    return ", ".join([f"{counted(found['supported'], total)} claims supported", *words, *tail])


def sentence(report: VerificationResult) -> str:
    """One sentence that stands by itself: what was run, what the theory says of it, and what was found."""
    given = report.settings
    parts = [f"learning rate {number(given['learning rate'])}"] if "learning rate" in given else []
    parts += [f"batch {given['batch size']}"] if "batch size" in given else []
    for name in ("weight decay", "momentum"):
        parts += [f"{name} {number(given[name])}"] if given.get(name) else []
    parts += [f"schedule {given['schedule']}"] if given.get("schedule", "none") != "none" else []
    who = "SGD at " + ", ".join(parts) if parts else "SGD"
    deed, counts, of = _deed(report), headline(report), "this loss" if report.name == UNNAMED else report.name
    if not deed:
        return f"For {of} the theory has no charge that could be tested: {counts}."
    if report.outcome == "supported":
        return f"For {of}, {who} {deed} as the theory predicts: {counts}."
    if report.outcome == "refuted":
        return f"For {of}, {who} does not do what the theory predicts, which is that it {deed}: {counts}."
    return f"For {of}, whether {who} {deed} as the theory predicts is not decided: {counts}."


def _deed(report: VerificationResult) -> str:
    """What the theory says that noise does to the charges."""
    ends = [(c, c.equilibrium) for c in report.curves if c.equilibrium is not None]
    to = "towards" if any(v.group in (EQUILIBRIUM, TURNING) for v in report.untested) else "to"
    if len(report.families) == 1 and len({c.charge for c, _ in ends}) == 1 and report.families[0]["number"] == 1:
        size = max((float(np.nanmax(np.abs(b.mean), initial=0.0)) for c in report.curves for b in c.bands), default=0.0)
        apart, text = [end for _, end in ends], report.families[0]["text"]
        if max(apart) - min(apart) <= 1e-6 * size:
            return f"moves {text} {to} {number(0.0 if abs(apart[0]) < 1e-9 * size else apart[0], 3)}"
        return f"moves {text} {to} a value of each start's own"
    where = "where it turns for ever" if "where SGD ends" in report.facts else "noise equilibrium"
    deeds = {"convergent": f"moves {{}} {to} {where}", "divergent": "lets {} grow", "frozen": "keeps {}"}
    by_class: dict[str, list[str]] = {}
    for family in report.families:
        by_class.setdefault(str(family["class"]), []).append(str(family["text"]))
    said = []
    for kind, texts in by_class.items():
        more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
        said.append(deeds.get(kind, "moves {}").format(", ".join(texts[:SHOWN]) + more))
    return " and ".join(said)


def row(verdict: Verdict) -> Row:
    """A verdict as text."""
    statistic, interval = measured(verdict.statistic, verdict.interval)
    return Row(verdict, statistic, interval, number(verdict.expected), bounds(verdict.margin))


def groups(report: VerificationResult) -> list[Group]:
    """The claims that were tested, kind by kind."""
    found: dict[str, list[Row]] = {}
    for v in report.tested:
        found.setdefault(v.group, []).append(row(v))
    return [_group(name, rows) for name, rows in found.items()]


def _group(name: str, rows: Sequence[Row]) -> Group:
    words = [r.verdict.verdict for r in rows]
    outcome = next(w for w in ("refuted", "inconclusive", "supported") if w in words)
    counts = f"{counted(words.count('supported'), len(rows))} supported"
    counts += "".join(f", {words.count(w)} {w}" for w in ("refuted", "inconclusive") if w in words)
    nearest = max((r for r in rows if r.verdict.verdict == outcome), key=lambda r: nearness(r.verdict))
    which = "nearest to its margin" if outcome == "supported" else f"most clearly {outcome}"
    subject = nearest.verdict.subject or nearest.verdict.claim
    said = f"{nearest.statistic} {nearest.interval}, margin {nearest.margin}"
    line = f"{counts}; {which}: {subject}, {said}" if len(rows) > 1 else f"{counts}: {subject}, {said}"
    return Group(name, statements().get(name, ""), outcome, line, tuple(rows))


def nearness(verdict: Verdict) -> float:
    """How near to its margin's edge a statistic lies: 1 at an edge, more beyond; of a margin with one end by the
    distance from it."""
    low, high = verdict.margin
    value = verdict.statistic
    half, middle = (high - low) / 2, (high + low) / 2
    if np.isfinite(half):
        found = abs(value - middle) / half if half > 0 else abs(value - middle)
    else:
        edge, inside = (low, value - low) if np.isfinite(low) else (high, high - value)
        found = 1 / max(1 + inside / (abs(edge) or 1.0), 1e-9)
    return float(found) if np.isfinite(found) else -1.0


@dataclass(frozen=True)
class LeftOut:
    """Claims that were not tested for one reason. needs: what they would take; subjects: of each kind."""

    reason: str
    needs: str
    subjects: Mapping[str, tuple[str, ...]]

    @property
    def number(self) -> int:
        """Of claims."""
        return sum(map(len, self.subjects.values()))

    @property
    def few(self) -> str:
        """The first of each kind, and how many more there are."""
        return ". ".join(f"{kind}: {few(subjects)}" for kind, subjects in self.subjects.items())

    @property
    def every(self) -> str:
        """All of them."""
        return ". ".join(f"{kind}: {'; '.join(subjects)}" for kind, subjects in self.subjects.items())


def left_out(report: VerificationResult) -> list[LeftOut]:
    """What was not tested, reason by reason."""
    found: dict[str, list[Verdict]] = {}
    for v in report.untested:
        found.setdefault(v.reason, []).append(v)
    out = list[LeftOut]()
    for reason, left in found.items():
        kinds = dict.fromkeys(v.group for v in left)
        subjects = {kind: tuple(v.subject or v.claim for v in left if v.group == kind) for kind in kinds}
        out.append(LeftOut(reason, together(v.needs for v in left), subjects))
    return out


def few(texts: Sequence[str], comma: str = "; ") -> str:
    """The first SHOWN of them, and how many more there are."""
    return comma.join([*texts[:SHOWN], *[f"and {len(texts) - SHOWN} more"] * (len(texts) > SHOWN)])


def together(texts: Iterable[str]) -> str:
    """Different texts, with the values of one thing beside each other: "more time: about t = 260, 300"."""
    values: dict[str, list[str]] = {}
    for text in dict.fromkeys(texts):
        of, equals, value = text.rpartition(" = ")
        values.setdefault(of + equals, []).append(value)
    return few([said for of, found in values.items() for said in ([of + few(found, ", ")] if of else found)])


def forecast_label(curves: Sequence[Curves]) -> str:
    """How far the forecast that figures draw holds: it is no claim, and so not tested as one."""
    inside, total = 0, 0
    for c in curves:
        band = next((b for b in c.bands if "sgd" in b.label.lower()), None)
        if c.theory is None or band is None:
            continue
        slack = 1e-3 * (np.nanmax(np.abs(band.mean)) if np.isfinite(band.mean).any() else 0.0)
        kept = (c.theory >= band.low - slack) & (c.theory <= band.high + slack)
        inside, total = inside + int(kept[FEW:].sum()), total + len(kept[FEW:])
    if not total:
        return ""
    share = f"at {100 * inside / total:.0f} % of the saves it lies within SGD's 5–95 % band"
    alone = " It leaves fluctuations out, which were too much work or left all bounds."
    said = f"The theory's line is a forecast of the mean, not tested as a claim of its own; {share}."
    return said + alone * any(c.alone for c in curves)


def family_facts(family: Mapping[str, Any]) -> dict[str, str]:
    """What is known about a family, in order: (name, key of its text; its typeset form under key + "_math")."""
    many = int(family["number"])
    size = f"{many} charge{'s' * (many != 1)}" + (f", {family['shape']}" if family.get("shape") else "")
    facts = {"charges": size, "class": str(family["class"])}
    facts |= {"why": str(family["why"])} if family.get("why") else {}
    facts |= {"dC/dt": str(family["drift"])} if family.get("drift") else {}
    return facts | ({"dC/dt = 0 where": str(family["equation"])} if family.get("equation") else {})
