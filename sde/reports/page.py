"""A verification's report as one self-contained HTML page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import zip_longest
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from sde.reports import contents, strips
from sde.reports.figures import colour_names, curve_svg, legend, log_time, value_range
from sde.reports.number_format import counted, measured, number, words
from sde.verification.result import Curves, Entry, Explosions, VerificationResult

MOST_FIGURES, MOST_ENTRIES = 12, 60


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
    environment.filters.update(words=words, number=number, formulas=_formulas(report.families))
    source = resources.files("sde.reports").joinpath("template.html").read_text(encoding="utf-8")
    drawn = _chosen(report.curves)
    return environment.from_string(source).render(
        report=report,
        headline=contents.headline(report),
        sentence=contents.sentence(report),
        groups=contents.groups(report),
        group_strip=lambda group: strips.group_strip([r.verdict for r in group.rows]),
        verdict_strip=strips.verdict_strip,
        left_out=contents.left_out(report),
        forecast=contents.forecast_label(report.curves),
        families=[(f, contents.family_facts(f)) for f in report.families],
        typeset=_typeset,
        leading=_leading(report, drawn),
        home={c: f for f in report.families for c in f.get("labels", ()) if c != f["text"]},
        charges=[_charge(c) for c in report.charges],
        drawings=_drawings(drawn),
        figures_left=len(report.curves) - len(drawn),
        legend=legend(drawn),
        entries=_entries(report.entries[:MOST_ENTRIES]),
        entry_axis=strips.axis_strip(strips.entry_scale(report.entries[:MOST_ENTRIES])),
        entries_left=max(len(report.entries) - MOST_ENTRIES, 0),
        explosions=[_explosion(e) for e in report.explosions],
        exploded=any(e.exploded for e in report.explosions),
        settings={_readable(k): _setting(v) for k, v in report.settings.items()},
        alpha=", ".join(dict.fromkeys(number(v.alpha) for v in report.tested)) or words(report.settings.get("alpha")),
        counted=counted,
    )


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


def _typeset(family: Mapping[str, Any], key: str) -> Markup | str:
    """A family's formula as MathML, as text where it has none."""
    found = family.get(f"{key}_math")
    return Markup(found) if found else str(family.get(key, ""))


def _formulas(families: Sequence[Mapping[str, Any]]) -> Callable[[str], Markup]:
    """Escapes a text, with the families' formulas in it as MathML where they stand by themselves."""
    known = {str(f["text"]): Markup(f["text_math"]) for f in families if f.get("text_math")}
    longest = sorted(known, key=len, reverse=True)
    found = re.compile(rf"(?<![\w.*])({'|'.join(map(re.escape, longest)) or '(?!)'})(?![\w.*[])")

    def typeset(text: str) -> Markup:
        return Markup("").join(known.get(part, part) for part in found.split(text))

    return typeset


def _leading(report: VerificationResult, drawn: Sequence[Curves]) -> set[str]:
    """Charges whose figures stand open: the first that is drawn of every family, of all where there is none."""
    charges = list(dict.fromkeys(c.charge for c in drawn))
    if not report.families:
        return set(charges)
    firsts = (next((c for c in charges if c in f.get("labels", ())), None) for f in report.families)
    return {c for c in firsts if c is not None} or set(charges[:1])


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
