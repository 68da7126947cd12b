"""The gallery in Markdown: a table of all verdicts, and a section for each equation with its code."""

from __future__ import annotations

import re
from collections.abc import Sequence

from examples.gallery.catalogue import NAMES, problem, recorded
from sde.reports.markdown import literal, table
from sde.reports.number_format import bounds, measured, number
from sde.results.gallery import counted
from sde.results.judgement import Judged, Judgement

HEADS = ("Claim", "Known by", "Known", "Measured", "Standard error", "Interval", "Tolerance", "Verdict")


def cells(one: Judged) -> tuple[str, ...]:
    """A row as text, in the order of HEADS."""
    v, row = one.verdict, one.row
    statistic, interval = measured(v.statistic, v.interval)
    known = row.reason if row.expected == "refuted" else row.source
    return row.claim, known, number(v.expected), statistic, number(row.error, 2), interval, bounds(v.margin), v.verdict


def summary(found: Sequence[Judgement]) -> str:
    """All verdicts as a table, those of wrong theories below."""
    rows = [(problem(one.name).title, *cells(row)) for one in found for row in one.rows]
    wrong = [(problem(one.name).title, *cells(row)) for one in found for row in one.wrong]
    heads = ("Equation", *HEADS)
    refused = table(("Equation", HEADS[0], "Wrong theory", "It says", *HEADS[3:]), wrong)
    return "\n\n".join((table(heads, rows), "What wrong theories say of the same runs:", refused, counted(found)))


def page() -> str:
    """The page of the site, from the record."""
    found = recorded()
    out = [
        "# Plain SDEs",
        "Equations that are known in closed form, by quadrature, from their Fokker-Planck equation or by matrices: each"
        " as it is written for `simulate`, beside what it measured and the verdict of an equivalence test within a"
        " tolerance stated beforehand. The chance of any wrong verdict is at most .002 for each equation. A wrong"
        " theory is put to the same test and must be refuted. `python -m examples.gallery` runs them anew.",
        summary([found[name] for name in NAMES]),
    ]
    for name in NAMES:
        shown, one = problem(name), found[name]
        latex = shown.equation._repr_latex_()
        out += [f"## {shown.title}", literal(shown.text)]
        out += [f"$$\n{rounded(latex.strip('$').strip())}\n$$"] if latex else []
        out += [f"```python\n{shown.code}```", table(HEADS, map(cells, one.rows))]
        wrong = "; ".join(f"{w.row.reason} (it says {number(w.verdict.expected)})" for w in one.wrong)
        out.append(f"Refuted: {literal(wrong)}." if all(w.as_expected for w in one.wrong) else "")
    return "\n\n".join(filter(None, out)) + "\n"


def rounded(latex: str) -> str:
    """With numbers of at most four digits."""
    return re.sub(r"\d+\.\d{4,}", lambda found: f"{float(found[0]):.4g}", latex)
