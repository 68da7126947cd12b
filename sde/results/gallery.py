"""Results as pages: one each, a gallery over them, and RESULTS.md. Nothing is loaded from elsewhere; the same
judgements give the same text, but for the seconds that the pages tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sde.reports.markdown import literal, table
from sde.reports.number_format import bounds, measured, number
from sde.reports.strips import verdict_strip
from sde.results.catalogue import FOLDERS
from sde.results.judgement import Judged, Judgement
from sde.results.result import ALPHA, Result
from sde.storage.files import write_text

HEADS = ("Claim", "Stated in", "Predicted", "Measured", "Interval", "Margin", "Samples", "Verdict")


def write_gallery(folder: Path, results: Sequence[Result], found: Sequence[Judgement], *, quick: bool) -> None:
    """Write the pages of what was found so far, the gallery and RESULTS.md, each whole."""
    by_name = {j.name: j for j in found}
    made = [(r, by_name[r.name]) for r in results if r.name in by_name]
    told = {"alpha": ALPHA, "quick": quick, "left": len(results) - len(made)}
    for k, (result, judgement) in enumerate(made):
        near = {"before": made[k - 1][0] if k else None, "after": made[k + 1][0] if k + 1 < len(made) else None}
        shown = {"result": result, "found": judgement}
        write_text(folder / f"{result.name}.html", _template("result.html").render(**shown, **near, **told))
    sections = [(title, [(r, j) for r, j in made if r.section == name]) for name, title in FOLDERS.items()]
    write_text(folder / "index.html", _template("gallery.html").render(sections=sections, **told))
    write_text(folder / "RESULTS.md", _markdown(sections, quick=quick, left=told["left"]))


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("sde.results", "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    style = resources.files("sde.results").joinpath("pages/style.css").read_text(encoding="utf-8")
    found.globals |= {"style": Markup(style), "heads": HEADS, "strip": verdict_strip, "counted": counted}
    found.filters |= {"number": number, "cells": cells, "svg": Markup}
    return found


def _template(name: str) -> Any:
    return _environment().get_template(name)


def cells(one: Judged) -> tuple[str, ...]:
    """A row as text, in the order of HEADS."""
    v = one.verdict
    statistic, interval = measured(v.statistic, v.interval)
    samples = f"{v.paths} {one.row.unit}" if v.paths else ""
    return (
        one.row.claim,
        one.row.source,
        number(one.row.predicted),
        statistic,
        interval,
        bounds(v.margin),
        samples,
        v.verdict,
    )


def claims_table(rows: Sequence[Judged]) -> str:
    """In Markdown."""
    return table(HEADS, map(cells, rows))


def wrong_table(rows: Sequence[Judged]) -> str:
    """In Markdown, each with the wrong theory's name."""
    return table(("Theory", *HEADS), ((w.row.reason, *cells(w)) for w in rows))


def counted(judgements: Sequence[Judgement]) -> str:
    """How many claims have which verdict, and how many of the verdicts are those that were expected."""
    rows = [row for j in judgements for row in j.rows]
    words = Counter(row.verdict.verdict for row in rows)
    said = ", ".join(f"{n} {word}" for word, n in words.most_common())
    others = [row for j in judgements for row in j.wrong]
    refused = sum(row.as_expected for row in others)
    right = sum(row.as_expected for row in rows)
    return (
        f"Claims: {said or 'none'}; {right} of {len(rows)} as expected. Claims of wrong theories: {refused} of"
        f" {len(others)} refuted."
    )


def _markdown(sections: Sequence[tuple[str, list[tuple[Result, Judgement]]]], *, quick: bool, left: int) -> str:
    """RESULTS.md."""
    every = [j for _, made in sections for _, j in made]
    how = "noetherflow reproduce" + " --quick" * quick
    out = [
        "# Results",
        f"`{how}`: {counted(every)} Every verdict is that of an equivalence test within a margin stated beforehand; the"
        f" chance of any wrong one is at most {number(ALPHA)} in each result.",
    ]
    out += [f"{left} results are still to be made."] if left else []
    for title, made in sections:
        out += [f"## {title}"] if made else []
        for result, found in made:
            out.append(f"### {literal(result.title)}")
            out.append(f"{literal(result.claim)} ({literal(result.source)}; seed {result.seed})")
            out.append(claims_table(found.rows))
            out += [f"Expected to be refuted: {literal(r)}" for r in _reasons(found)]
            if found.wrong:
                out.append("A wrong theory fails:")
                out.append(wrong_table(found.wrong))
            out += [literal(note) for note in found.notes]
    return "\n\n".join(out) + "\n"


def _reasons(found: Judgement) -> list[str]:
    return [f"{j.row.claim}: {j.row.reason}" for j in found.rows if j.row.expected == "refuted"]
