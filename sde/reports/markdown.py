"""A verification's report as Markdown: what the page says, without its figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sde.reports import contents
from sde.reports.number_format import counted, number, words
from sde.verification.result import VerificationResult

HEADS = ("Claim", "Verdict", "Measured", "Interval", "Theory", "Margin", "Paths")


def render(report: VerificationResult) -> str:
    """The whole document; the same report gives the same text."""
    out = [f"# {literal(report.name)}: {report.outcome}", f"> {literal(contents.sentence(report))}"]
    if report.interrupted:
        out.append("**This verification was interrupted.** Claims that were not reached are listed as not tested.")
    if report.facts:
        out += ["## Theory", "\n".join(f"- {name}: {literal(text)}" for name, text in report.facts.items())]
    out.append("## Charges")
    for family in report.families:
        facts = contents.family_facts(family)
        out.append(f"### {literal(family['text'])}")
        out.append("\n".join(f"- {name}: {literal(value)}" for name, value in facts.items()))
    if not report.families:
        out.append("None.")
    out.append("## Claims")
    for group in contents.groups(report):
        out.append(f"### {literal(group.name)}: {group.outcome}")
        out += [literal(group.statement)] if group.statement else []
        out.append(literal(group.line))
        out.append(table(HEADS, (r.cells for r in group.rows)))
        notes = [(r.verdict.subject or r.verdict.claim, r.verdict.note, r.verdict.needs) for r in group.rows]
        said = [f"- {literal(who)}: {literal('; needs '.join(filter(None, (n, d))))}" for who, n, d in notes if n or d]
        out += ["\n".join(said)] if said else []
    if not report.tested:
        out.append("No claim was tested.")
    left = contents.left_out(report)
    if left:
        out.append(f"## Not tested: {len(report.untested)}")
        rows = ((str(one.number), one.few, one.reason, one.needs) for one in left)
        out.append(table(("How many", "Claims", "Why", "What it would take"), rows))
    label = contents.forecast_label(report.curves)
    out += ["## Forecast", literal(label)] if label else []
    if report.explosions:
        out.append("## Explosions")
        rows = (
            (e.run, counted(e.exploded, e.paths), "never" if e.first is None else number(e.first))
            for e in report.explosions
        )
        out.append(table(("Run", "Exploded", "First at time"), rows))
    if report.settings:
        out.append("## What was run")
        texts = {k: v for k, v in report.settings.items() if isinstance(v, str) and "\n" in v}
        rows = ((k, _setting(v)) for k, v in report.settings.items() if k not in texts)
        out.append(table(("Setting", "Value"), rows))
        out += [f"{name}:\n\n{_verbatim(text)}" for name, text in texts.items()]
    return "\n\n".join(out) + "\n"


def _setting(value: object) -> str:
    return "; ".join(f"{k} = {words(v)}" for k, v in value.items()) if isinstance(value, Mapping) else words(value)


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of texts."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(list(heads))}"]
    return "\n".join([*lines, *(f"| {' | '.join(literal(c) for c in cells)} |" for cells in rows)])


def _verbatim(text: str) -> str:
    """A text of many lines as it stands, in a fence that nothing in it closes."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text.rstrip()}\n{fence}"


def literal(value: object) -> str:
    """Text that is no markup, on one line."""
    line = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]<>|#~$&!])", r"\\\1", line)
