"""What a report says, the same on its page, in Markdown, in JSON and on the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html import unescape

import pytest
from rich.console import Console

from sde.reports import contents, markdown
from sde.reports.contents import headline
from sde.reports.page import render
from sde.reports.report import Report
from sde.reports.verdict_table import verdict_table
from sde.verification.verdicts import Untested, not_tested
from tests.sde.made_up_report import FORMULA, HOSTILE, made_up, parsed, readable


@pytest.fixture(scope="module")
def report() -> Report:
    return made_up()


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return render(report)


def test_terminal_table(report: Report) -> None:
    text = on_terminal(report)
    assert "6 of 12 claims supported, 2 refuted, 4 inconclusive" in text.splitlines()[-1]
    assert all(
        word in text for word in ("✓ supported", "✗ refuted", "? inconclusive", "[−∞, ∞]", "[n/a, n/a]", "3.1×10⁻¹⁶")
    )


def html_rows(page: str) -> list[tuple[str, ...]]:
    """Subject, verdict, statistic, interval, theory, margin, paths of every row of the page."""
    rows = re.findall(r'<tr class="row">(.*?)</tr>', page, flags=re.DOTALL)
    out = []
    for row in rows:
        subject = re.search(r'class="subject">(.*?)</span>', row, flags=re.DOTALL)
        word = re.search(r'class="badge ([a-z ]+)"', row)
        numbers = re.findall(r'<td class="figures[^>]*>(.*?)</td>', row, flags=re.DOTALL)
        pairs = [re.findall(r"<span[^>]*>(.*?)</span>", n) for n in numbers[:2]]
        out.append(tuple(unescape(t) for t in (subject[1], word[1], *pairs[0], *pairs[1], numbers[2])))
    return out


def markdown_rows(text: str) -> list[tuple[str, ...]]:
    """The same of a Markdown document's tables of claims."""
    out, inside = [], False
    for line in text.splitlines():
        cells = re.split(r"(?<!\\) ?\| ?", line)[1:-1]
        if cells[:2] == ["Claim", "Verdict"]:
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|---"):
            out.append(tuple(re.sub(r"\\(.)", r"\1", c) for c in cells))
    return out


def test_the_twins_carry_the_same_rows(report: Report, page: str) -> None:
    document, record = markdown.render(report), report.to_dict()
    found = html_rows(readable(page))
    expected = [r.cells for g in contents.groups(report) for r in g.rows]
    assert len(found) == len(report.tested) == 12
    flat = [tuple(" ".join(c.split()) for c in row) for row in expected]
    assert [tuple(" ".join(c.split()) for c in row) for row in found] == flat
    assert markdown_rows(document) == flat
    by_claim = {(v["group"], v["claim"]): v for v in record["verdicts"]}
    assert len(by_claim) == len(report.verdicts)
    for group in contents.groups(report):
        for r in group.rows:
            kept = by_claim[group.name, r.verdict.claim]
            assert (kept["verdict"], kept["paths"]) == (r.verdict.verdict, r.verdict.paths)
    assert record["sentence"] == report.sentence
    words = " ".join("".join(parsed(readable(page)).text).split())
    assert " ".join(report.sentence.split()) in words
    for line in record["groups"]:
        assert " ".join(line["line"].split()) in words
        assert line["line"] in unescaped(document)


def on_terminal(report: Report) -> str:
    console = Console(width=130, record=True, file=io.StringIO())
    console.print(verdict_table(report))
    return console.export_text()


def unescaped(markdown_text: str) -> str:
    return re.sub(r"\\(.)", r"\1", markdown_text)


def test_the_pages_sentence_is_typeset(report: Report, page: str) -> None:
    quote = re.search(r'<blockquote class="quote">(.*?)</blockquote>', page, flags=re.DOTALL)
    assert quote is not None and FORMULA in quote[1] and "u**2 - w**2" not in quote[1].replace(FORMULA, "")
    assert "moves u**2 - w**2 to noise equilibrium and lets" in report.sentence
    said = "".join(parsed(readable(quote[1])).text)
    assert said == report.sentence and HOSTILE in said
    assert report.sentence in unescaped(markdown.render(report))


def test_the_theory_stands_in_every_form(report: Report, page: str) -> None:
    words, document, shown = "".join(parsed(page).text), unescaped(markdown.render(report)), on_terminal(report)
    for name, text in report.facts.items():
        assert name in words and text in words and f"{name}: {text}" in document and f"{name}: {text}" in shown
    assert report.to_dict()["theory"] == report.theory
    assert report.summary.splitlines()[0] == "symmetries: affine, an algebra of dimension 2"


def test_what_was_not_tested_is_told_by_its_reason(report: Report) -> None:
    late = [
        Untested(claim=f"c{k}{j}", group=kind, subject=f"start {k}, C_{j}", reason="ends early", needs=f"time: t = {k}")
        for kind in ("equilibrium", "turning")
        for k in (1, 2)
        for j in range(9)
    ]
    lost = Untested(claim="lost", group="approach", subject="C_1", reason="every path exploded", needs="smaller steps")
    full = replace(report, verdicts=(*report.verdicts, *not_tested([*late, lost], 0.01)))
    early, gone = contents.left_out(full)
    assert (early.number, early.needs, gone.number, gone.few) == (36, "time: t = 1, 2", 1, "approach: C_1")
    assert early.few == (
        "equilibrium: start 1, C_0; start 1, C_1; start 1, C_2; and 15 more. "
        "turning: start 1, C_0; start 1, C_1; start 1, C_2; and 15 more"
    )
    shown, document = on_terminal(full), unescaped(markdown.render(full))
    for text in (shown, document):
        assert text.count("ends early") == 1 and "C_3" not in text and "time: t = 1, 2" in text
    assert early.few in document and f"| 36 | {early.few} | ends early | time: t = 1, 2 |" in document
    assert len(shown.splitlines()) < len(on_terminal(report).splitlines()) + 8
    drawn = "".join(parsed(render(replace(full, curves=()))).text)
    assert all(f"start 2, C_{j}" in drawn for j in range(9))
    kept = [v for v in full.to_dict()["verdicts"] if v["verdict"] == "not tested"]
    assert len(kept) == 37 and {v["needs"] for v in kept} == {"time: t = 1", "time: t = 2", "smaller steps"}


def test_what_differs_is_told_together() -> None:
    needs = ["more time: about t = 260", "more time: about t = 300", "smaller steps", "more time: about t = 260"]
    assert contents.together(needs) == "more time: about t = 260, 300; smaller steps"
    assert contents.together(f"t = {k}" for k in range(9)) == "t = 0, 1, 2, and 6 more"
    assert contents.together(["a = b", "c"]) == "a = b; c"


def test_markdown_keeps_the_spec_as_it_stands(report: Report) -> None:
    spec = '[sgd]\n# a fence: ````\nexpression = "u*w | x"\n'
    document = markdown.render(replace(report, settings={**report.settings, "spec": spec}))
    assert f"spec:\n\n`````\n{spec}`````" in document


def test_markdown_holds_no_markup_of_a_users(report: Report, tmp_path) -> None:
    text = report.to_markdown(tmp_path / "out.md").read_text(encoding="utf-8")
    assert not re.search(r"(?<!\\)<script", text) and "{{" not in text.replace("\\{", "")
    assert text == markdown.render(report)


@pytest.mark.parametrize(
    "outcome, said",
    [
        ("supported", "as the theory predicts: "),
        ("refuted", "does not do what the theory"),
        ("inconclusive", "not decided"),
    ],
)
def test_the_sentence_says_what_was_found(report: Report, outcome: str, said: str) -> None:
    one = replace(
        report,
        name="rescaling",
        verdicts=tuple(v for v in report.verdicts if v.verdict == outcome),
        families=report.families[:1],
        curves=report.curves[:1],
        settings={"learning rate": 0.02, "batch size": 1, "weight decay": 0.0, "momentum": 0.9, "schedule": "none"},
    )
    assert said in one.sentence and one.sentence.startswith("For rescaling, ")
    assert "SGD at learning rate 0.02, batch 1, momentum 0.9" in one.sentence
    assert "moves u**2 - w**2 to 0" in one.sentence and one.sentence.endswith(headline(one) + ".")


def test_the_forecast_is_labelled(report: Report, page: str) -> None:
    label = contents.forecast_label(report.curves)
    assert "not tested as a claim" in label and label in " ".join("".join(parsed(page).text).split())
    drawn = report.curves[0].theory
    assert drawn is not None
    beside = replace(report.curves[0], theory=drawn + 10)
    assert "at 0 % of the saves" in contents.forecast_label([beside])
    assert contents.forecast_label([replace(beside, theory=None)]) == ""
