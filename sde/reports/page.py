"""A verification's report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import zip_longest
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from sde.reports import strips
from sde.reports.figures import COLOURS, colour_names, curve_svg, log_time, value_range
from sde.reports.number_format import bounds, counted, measured, number, words
from sde.verification import claims, own_claims
from sde.verification.result import WORDS, Curves, Entry, Explosions, VerificationResult
from sde.verification.verdicts import Verdict

MOST_FIGURES, MOST_ENTRIES = 12, 60


@dataclass(frozen=True)
class Row:
    """One verdict, as text and a strip."""

    verdict: Verdict
    statistic: str
    interval: str
    expected: str
    margin: str
    strip: Markup


@dataclass(frozen=True)
class Drawing:
    """One charge from one start. cut: bands run beyond the vertical range; logarithmic: the time axis."""

    start: str
    svg: Markup
    cut: bool
    logarithmic: bool


def render(report: VerificationResult) -> str:
    """The whole page: inline styles and figures, nothing loaded; the same report gives the same text."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters.update(words=words, number=number)
    source = resources.files("sde.reports").joinpath("template.html").read_text(encoding="utf-8")
    drawn = _chosen(report.curves)
    return environment.from_string(source).render(
        report=report,
        headline=headline(report),
        statements=statements(),
        groups=_grouped([_row(v) for v in report.tested]),
        charges=[_charge(c) for c in report.charges],
        drawings=_drawings(drawn),
        figures_left=len(report.curves) - len(drawn),
        legend=_legend(drawn),
        entries=_entries(report.entries[:MOST_ENTRIES]),
        entry_axis=strips.axis_strip(strips.entry_scale(report.entries[:MOST_ENTRIES])),
        entries_left=max(len(report.entries) - MOST_ENTRIES, 0),
        explosions=[_explosion(e) for e in report.explosions],
        settings={_readable(k): _setting(v) for k, v in report.settings.items()},
        alpha=", ".join(dict.fromkeys(number(v.alpha) for v in report.tested)) or words(report.settings.get("alpha")),
        counted=counted,
    )


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


def _row(verdict: Verdict) -> Row:
    statistic, interval = measured(verdict.statistic, verdict.interval)
    return Row(
        verdict,
        statistic,
        interval,
        number(verdict.expected),
        bounds(verdict.margin),
        strips.verdict_strip(verdict),
    )


def _grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.verdict.group, []).append(row)
    return groups


def _charge(charge: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """(the charge's expression, everything else known about it)."""
    title = next((k for k in ("expression", "charge", "name") if k in charge), next(iter(charge), ""))
    return words(charge.get(title, "")), {_readable(k): words(v) for k, v in charge.items() if k != title}


def _chosen(curves: Sequence[Curves]) -> list[Curves]:
    """At most MOST_FIGURES: the first start of every charge, then the second of every charge, and so on."""
    by_charge: dict[str, list[Curves]] = {}
    for c in curves:
        by_charge.setdefault(c.charge, []).append(c)
    turns = [c for row in zip_longest(*by_charge.values()) for c in row if c is not None]
    kept = {id(c) for c in turns[:MOST_FIGURES]}
    return [c for of_charge in by_charge.values() for c in of_charge if id(c) in kept]


def _drawings(curves: Sequence[Curves]) -> dict[str, list[Drawing]]:
    names = colour_names(curves)
    by_charge: dict[str, list[Curves]] = {}
    for c in curves:
        by_charge.setdefault(c.charge, []).append(c)
    out: dict[str, list[Drawing]] = {}
    for j, (charge, starts) in enumerate(by_charge.items()):
        logarithmic = log_time(starts)
        out[charge] = [
            Drawing(c.start, Markup(curve_svg(c, names, f"f{j}-{k}", logarithmic)), value_range(c)[2], logarithmic)
            for k, c in enumerate(starts)
        ]
    return out


def _legend(curves: Sequence[Curves]) -> list[tuple[str, str, str]]:
    """(how it is drawn, its colour's name, its label) of all that the figures show."""
    items = [("line", "theory", "theory")] if any(c.theory is not None for c in curves) else []
    items += [("band", name, f"{label}: mean, 5–95 % of paths") for label, name in colour_names(curves).items()]
    if any(c.gd is not None for c in curves):
        items.append(("dashed", "gd", "gradient descent, full batch"))
    if any(c.equilibrium is not None for c in curves):
        items.append(("dotted", "equilibrium", "noise equilibrium"))
    assert all(name in COLOURS for _, name, _ in items)
    return items


def _entries(entries: Sequence[Entry]) -> list[tuple[Entry, dict[str, str], Markup]]:
    scale = strips.entry_scale(entries)
    out = []
    for e in entries:
        sgd, interval = measured(e.sgd, e.interval)
        texts = {"start": number(e.at_start, 3), "sgd": sgd, "interval": interval, "gd": number(e.gd, 3)}
        out.append((e, texts, strips.entry_strip(e, scale)))
    return out


def _explosion(run: Explosions) -> tuple[Explosions, Markup]:
    return run, strips.share_strip(run.exploded / run.paths if run.paths else 0.0)


def _setting(value: Any) -> list[tuple[str, str]] | str:
    """A mapping as its (key, text) pairs, anything else as text."""
    return [(str(k), words(v)) for k, v in value.items()] if isinstance(value, Mapping) else words(value)


def _readable(key: object) -> str:
    return str(key).replace("_", " ")
