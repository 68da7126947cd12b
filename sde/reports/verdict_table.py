"""A verification's verdicts for the terminal: one small table a kind of claim."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sde.reports.contents import headline, left_out, statements
from sde.reports.number_format import bounds, measured
from sde.verification.result import VerificationResult

_STYLES = {"supported": "bold green", "refuted": "bold red", "inconclusive": "bold yellow"}
_MARKS = {"supported": "✓", "refuted": "✗", "inconclusive": "?"}


def verdict_table(report: VerificationResult) -> RenderableType:
    """The theory, then verdict, subject, statistic, interval and margin of every claim that was tested, group by group,
    and the others by their reasons; the counts are the last line."""
    known = statements()
    groups = list(dict.fromkeys(v.group for v in report.tested))
    parts: list[RenderableType] = [Text(report.name, style="bold")]
    parts += [Text.assemble((f"{name}: ", "bold"), text) for name, text in report.facts.items()]
    for group in groups:
        parts.append(Text.assemble((group, "bold"), (f": {known[group]}" if group in known else "", "dim")))
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for _ in range(3):
            table.add_column(justify="right", overflow="fold")
        for v in (v for v in report.tested if v.group == group):
            subject = Text(v.subject or v.claim)
            if v.note and v.verdict != "supported":
                subject.append(f"\n{v.note}", style="dim italic")
            if v.needs:
                subject.append(f"\nneeds {v.needs}", style="dim italic")
            statistic, interval = measured(v.statistic, v.interval)
            badge = Text(f"{_MARKS.get(v.verdict, '')} {v.verdict}", style=_STYLES.get(v.verdict, ""))
            table.add_row(badge, subject, statistic, Text(interval), Text(f"margin {bounds(v.margin)}"))
        parts.append(Padding(table, (0, 0, 0, 2)))
    if report.untested:
        parts.append(Text(f"not tested: {len(report.untested)}", style="bold yellow"))
        for left in left_out(report):
            told = Text.assemble(f"{left.number}: {left.reason}; needs {left.needs}", (f"\n{left.few}", "dim"))
            parts.append(Padding(told, (0, 0, 0, 2)))
    word = (f"{_MARKS[report.outcome]} {report.outcome}", _STYLES[report.outcome])
    return Group(*parts, Text.assemble(word, ": ", headline(report)))
