"""A verification's verdicts as a table for the terminal."""

from __future__ import annotations

from itertools import groupby

from rich import box
from rich.table import Table
from rich.text import Text

from sde.report.html import headline
from sde.report.numbers import bounds, measured
from sde.verify.claims import STATEMENTS
from sde.verify.report import Report

_STYLES = {"supported": "bold green", "refuted": "bold red", "inconclusive": "bold yellow"}
_MARKS = {"supported": "✓", "refuted": "✗", "inconclusive": "?"}


def verdict_table(report: Report) -> Table:
    """Claim, verdict, statistic, interval and margin per verdict; the counts are the last line."""
    counts = Text.assemble(
        (f"{_MARKS[report.outcome]} {report.outcome}", _STYLES[report.outcome]), ": ", headline(report)
    )
    table = Table(
        title=Text(report.name, style="bold"),
        title_justify="left",
        caption=counts,
        caption_justify="left",
        caption_style="",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("claim", overflow="fold", ratio=1)
    table.add_column("verdict", no_wrap=True)
    for name in ("statistic", "interval", "margin"):
        table.add_column(name, justify="right", overflow="fold")
    for group, members in groupby(report.verdicts, key=lambda v: v.group):
        table.add_section()
        rows = list(members)
        table.add_row(Text.assemble((group, "bold"), (f"\n{STATEMENTS.get(group, '')}", "dim")))
        for v in rows:
            claim = Text(v.subject or v.claim)
            if v.note:
                claim.append(f"\n{v.note}", style="dim italic")
            statistic, interval = measured(v.statistic, v.interval)
            badge = Text(f"{_MARKS.get(v.verdict, '')} {v.verdict}", style=_STYLES.get(v.verdict, ""))
            table.add_row(claim, badge, statistic, Text(interval), Text(bounds(v.margin)))
    return table
