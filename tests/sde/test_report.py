"""The HTML page, on a report made up to hold every awkward value."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sde.reports import contents
from sde.reports.contents import headline
from sde.reports.page import render
from sde.reports.report import Report
from tests.sde.made_up_report import HOSTILE, STARTS, made_up, parsed, readable


@pytest.fixture(scope="module")
def report() -> Report:
    return made_up()


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return render(report)


def test_page_is_well_formed_and_loads_nothing(page: str) -> None:
    seen = parsed(page)
    assert len(seen.ids) == len(set(seen.ids))
    assert all(link.startswith("#") and link[1:] in seen.ids for link in seen.links)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(seen.ids)
    assert "http" not in page and "url(" not in page.replace("url(#", "") and "@import" not in page
    assert not {"script", "link", "img", "iframe", "object"} & set(seen.tags)


def test_page_escapes_what_users_name(page: str) -> None:
    assert "<script" not in page
    assert HOSTILE in "".join(parsed(page).text)


def test_page_says_every_verdict_in_words(page: str, report: Report) -> None:
    text = " ".join("".join(parsed(readable(page)).text).split())
    for word in ("✓ supported", "✗ refuted", "? inconclusive"):
        assert word in text
    assert text.count("✗ refuted") >= sum(v.verdict == "refuted" for v in report.verdicts) + 1
    assert headline(report) == "6 of 12 claims supported, 2 refuted, 4 inconclusive"
    assert headline(report) in text
    for part in (
        *(v.claim for v in report.verdicts),
        *(v.note for v in report.verdicts),
        *STARTS,
        "0 of 2000",
        "37 of 2000",
        "never",
    ):
        assert " ".join(part.split()) in text
    for charge in report.charges:
        assert all(v in text for v in charge.values())


@pytest.mark.slow
def test_page_is_deterministic(page: str, report: Report) -> None:
    assert render(report) == page


def test_page_holds_so_many_figures_and_says_how_many_are_left(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sde.reports.page.MOST_FIGURES", 4)
    many = replace(report, curves=tuple(replace(c, start=f"start {k}") for k in range(4) for c in report.curves))
    page = render(many)
    assert page.count('<svg class="figure"') == 4
    assert "20 more of 24 pairs" in page
    assert "over time, from start 0" in page


def test_empty_report_renders() -> None:
    page = render(Report("bare", (), {}, (), (), (), ()))
    parsed(page)
    assert "no claim was tested" in page and "inconclusive" in page


def test_to_html_writes_the_page(tmp_path, report: Report, page: str) -> None:
    assert report.to_html(tmp_path / "out.html").read_text(encoding="utf-8") == page


def test_user_matplotlib_settings_do_not_reach_the_page(report: Report, page: str) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 25, "axes.facecolor": "black"}):
        assert render(report) == page


def test_rows_stand_folded_below_a_line_and_a_figure(page: str, report: Report) -> None:
    for group in contents.groups(report):
        at = page.index(f"</span> {group.name}</h3>")
        fold, rows = page.index("<details>", at), page.index('<tr class="row">', at)
        assert page.index('<svg class="strip group"', at) < fold < rows
    assert page.index("Charge over time") < page.index("<h2>Claims</h2>")
