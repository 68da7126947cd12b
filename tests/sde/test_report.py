"""The HTML page and the terminal table, on a report made up to hold every awkward value."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from sde.reports import contents, markdown
from sde.reports.contents import headline
from sde.reports.figures import curve_svg, log_time, value_range
from sde.reports.page import MOST_FIGURES, render
from sde.reports.report import Report
from sde.reports.strips import WIDTH, group_strip, verdict_strip
from sde.reports.verdict_table import verdict_table
from sde.verification.result import Band, Curves, Entry, Explosions
from sde.verification.verdicts import Verdict

HOSTILE = 'W·Wᵀ[0,1] <script>alert("x")</script> $\\alpha$ & {{ 7*7 }}'
STARTS = ("u = 1.2, w = 0.6", "u = 0.5, w = 1.4", "u = 2, w = 0.1")
INF, NAN = math.inf, math.nan


def verdict(
    claim: str,
    word: str,
    statistic: float,
    interval,
    margin=(0.95, 1.05),
    expected=1.0,
    group="mean drift of SGD",
    note="",
):
    return Verdict(
        claim=claim,
        verdict=word,
        statistic=statistic,
        interval=interval,
        margin=margin,
        expected=expected,
        alpha=0.01,
        paths=2000,
        group=group,
        note=note,
    )


def curves(charge: str, start: str, first: float, rate: float, rng: np.random.Generator) -> Curves:
    time = np.linspace(0, 50, 101)
    theory = first * np.exp(-rate * time)
    spread = 0.12 * abs(first) * (1 - np.exp(-rate * time)) + 0.01
    bands = tuple(
        Band(
            label,
            theory * (1 + tilt * time / 50) + 0.004 * rng.standard_normal(101),
            theory - k * spread,
            theory + 1.3 * k * spread,
        )
        for label, k, tilt in (("SGD", 1.0, -0.02), ("SDE", 1.15, 0.01))
    )
    return Curves(charge, start, time, theory, bands, gd=first * (1 + 0.002 * time), equilibrium=0.0)


@pytest.fixture(scope="module")
def report() -> Report:
    rng = np.random.default_rng(0)
    charges = ("u**2 - w**2", HOSTILE)
    pathwise, end = "pathwise identity", "equilibrium"
    long_claim = (
        "The mean drift of u**2 - w**2 under discrete SGD from u = 1.2, w = 0.6, averaged over time 0 to 50, "
        "divided by the drift that the theory derives, T·Tr[ΣA] + η·ḡᵀAḡ, is 1 to within 5 %"
    )
    verdicts = (
        verdict(
            "Every SGD step changes u**2 - w**2 by η²·ĝᵀAĝ, to rounding",
            "supported",
            3.1e-16,
            (3.1e-16, 3.1e-16),
            (0.0, 1e-12),
            0.0,
            pathwise,
        ),
        verdict(
            f"Every SGD step changes {HOSTILE}",
            "refuted",
            4.2e-3,
            (4.2e-3, 4.2e-3),
            (0.0, 1e-12),
            0.0,
            pathwise,
            "first at step 17",
        ),
        verdict(long_claim, "supported", 1.0031, (0.9874, 1.0188)),
        verdict("Drift ratio from u = 0.5, w = 1.4", "refuted", 1.1042, (1.0907, 1.1177)),
        verdict(
            "Drift ratio from u = 2, w = 0.1",
            "inconclusive",
            1.031,
            (0.962, 1.100),
            note="margin's edge within the interval",
        ),
        verdict(
            "Drift ratio from u = w",
            "inconclusive",
            NAN,
            (-INF, INF),
            note="the predicted drift is 0 there, no ratio to measure",
        ),
        verdict(
            "Divergence exponent of |θ| is 1/4",
            "supported",
            0.2502,
            (0.2471, 0.2533),
            (0.24, 0.26),
            0.25,
            "divergence exponent",
        ),
        verdict(
            "Share of exploded paths stays small",
            "supported",
            2e-4,
            (0.0, 1.1e-3),
            (-INF, 0.01),
            0.0,
            "divergence exponent",
        ),
        verdict(
            "Charge falls, one side open",
            "inconclusive",
            -1.4,
            (-INF, 0.2),
            (-INF, 0.0),
            -1.5,
            "divergence exponent",
        ),
        verdict(
            "Entry of the equilibrium equation from start 1",
            "supported",
            -0.004,
            (-0.021, 0.013),
            (-0.05, 0.05),
            0.0,
            end,
        ),
        verdict(
            "Entry of the equilibrium equation from start 2",
            "inconclusive",
            INF,
            (NAN, NAN),
            (-0.05, 0.05),
            0.0,
            end,
            "every path exploded",
        ),
        verdict(
            "GD keeps the charge up to its O(η) law",
            "supported",
            1.62e5,
            (1.61e5, 1.63e5),
            (1.6e5, 1.64e5),
            1.62e5,
            "gradient descent",
        ),
    )
    entries = tuple(
        Entry(c, s, a, e, i, g)
        for c, s, a, e, i, g in (
            (charges[0], STARTS[0], 0.62, -0.004, (-0.021, 0.013), 0.612),
            (charges[0], STARTS[1], -0.78, 0.011, (-0.012, 0.034), -0.77),
            (charges[0], STARTS[2], 0.99, 0.083, (0.048, 0.118), 0.985),
            (charges[1], STARTS[0], -0.31, NAN, (-INF, INF), NAN),
        )
    )
    runs = (
        Explosions("SGD from u = 1.2, w = 0.6", 0, 2000, None),
        Explosions("SDE from u = 1.2, w = 0.6", 37, 2000, 12.25),
        Explosions("SDE from u = 2, w = 0.1", 2000, 2000, 0.4),
    )
    firsts = (1.08, -1.71, 3.99)
    lines = tuple(
        curves(c, s, f, r, rng)
        for c, r in zip(charges, (0.06, 0.9), strict=True)
        for s, f in zip(STARTS, firsts, strict=True)
    )
    wild = replace(
        lines[1].bands[1],
        high=np.where(lines[1].time > 40, 1e30, lines[1].bands[1].high),
        mean=np.full(101, NAN),
    )
    lines = (lines[0], replace(lines[1], bands=(lines[1].bands[0], wild)), *lines[2:])
    facts = (
        {
            "expression": charges[0],
            "kind": "rescaling",
            "class": "convergent",
            "drift": "-T*(4*u**2*w**2*α₁ - …)*(u**2 - w**2)",
            "equilibrium": "u**2 = w**2",
        },
        {
            "expression": HOSTILE,
            "kind": "matrix factorisation",
            "class": "convergent",
            "drift": " + ".join(f"T*(3*U[{i},0]*U[{i},1] - W[0,{i}]*W[1,{i}]/4)" for i in range(6)),
            "equilibrium": "UᵀΓ_U U = W Γ_W Wᵀ",
        },
    )
    settings = {
        "seed": 0,
        "alpha": 0.01,
        "learning_rate": 0.01,
        "paths": 2000,
        "time": 50.0,
        "margins": {"drift": 0.05, "entry": 0.05},
        "versions": {"noetherflow": "0.1.0", "numpy": "2.3.1", "numba": "0.67.0"},
        "starts": list(STARTS),
        "wall_seconds": 41.237,
    }
    summary = (
        "The loss has two charges. Under SGD's noise both fall to their noise equilibrium at the "
        "predicted rate; gradient descent leaves them where they were.\n\nTwo claims were refuted, see below."
    )
    families = (
        {"text": charges[0], "number": 1, "class": "convergent", "labels": [charges[0]], "text_math": "<math></math>"},
        {"text": HOSTILE, "number": 3, "shape": "symmetric 2 x 2", "class": "divergent", "labels": [HOSTILE]},
    )
    return Report(
        f"rescaling {HOSTILE}", verdicts, summary, facts, lines, entries, runs, families=families, settings=settings
    )


class Checker(HTMLParser):
    """Collects tags, attributes and text, and fails on tags that do not nest."""

    VOID = frozenset({"meta", "col", "br", "img", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [v or "" for k, v in attrs if k == "id"]
        self.links += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href", "srcset", "data", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes nothing that is open"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open
    return checker


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
    text = " ".join("".join(parsed(page).text).split())
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


def test_page_is_deterministic(page: str, report: Report) -> None:
    assert render(report) == page


def test_page_holds_at_most_twelve_figures_and_says_how_many_are_left(report: Report) -> None:
    many = replace(report, curves=tuple(replace(c, start=f"start {k}") for k in range(4) for c in report.curves))
    page = render(many)
    assert page.count('<svg class="figure"') == MOST_FIGURES
    assert "12 more of 24 pairs" in page
    assert all(f"over time, from start {k}" in page for k in (0, 1))


def test_empty_report_renders() -> None:
    page = render(Report("bare", (), "", (), (), (), ()))
    parsed(page)
    assert "no claim was tested" in page and "inconclusive" in page


def test_to_html_writes_the_page(tmp_path, report: Report, page: str) -> None:
    assert report.to_html(tmp_path / "out.html").read_text(encoding="utf-8") == page


def test_user_matplotlib_settings_do_not_reach_the_page(report: Report, page: str) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 25, "axes.facecolor": "black"}):
        assert render(report) == page


def test_figure_cuts_bands_that_run_away_and_draws_nothing_huge(report: Report) -> None:
    wild = report.curves[1]
    low, high, cut = value_range(wild)
    assert cut and -20 < low < high < 20
    svg = curve_svg(wild, {"SGD": "sgd", "SDE": "sde"}, "x")
    assert max(abs(float(v)) for v in re.findall(r"-?\d+\.\d+", svg)) < 2000
    assert "nan" not in svg and "inf" not in svg


def test_figure_of_nothing_finite_still_draws() -> None:
    nothing = np.full(5, NAN)
    svg = curve_svg(
        Curves("c", "s", np.arange(5.0), nothing, (Band("SGD", nothing, nothing, nothing),)),
        {"SGD": "sgd"},
        "x",
    )
    assert svg.startswith("<svg")


def test_log_time_is_for_curves_that_finish_early(report: Report) -> None:
    assert not log_time(report.curves[:3])
    assert log_time(report.curves[3:])


@pytest.mark.parametrize("index", range(12))
def test_strip_stays_within_its_width(report: Report, index: int) -> None:
    strip = verdict_strip(report.verdicts[index])
    assert "nan" not in strip and "inf" not in strip.replace("interval", "")
    places = [float(v) for v in re.findall(r' (?:x|cx|x1|x2)="([^"]+)"', strip)]
    assert all(0 <= v <= WIDTH for v in places)


def test_strip_shows_the_verdict() -> None:
    inside = verdict_strip(verdict("c", "supported", 1.0, (0.98, 1.02)))
    beyond = verdict_strip(verdict("c", "refuted", 3.0, (2.9, 3.1)))
    assert inside.count('class="dot"') == 1 and "arrow" not in inside
    assert "dot" not in beyond and "arrow" in beyond


def test_terminal_table(report: Report) -> None:
    console = Console(width=130, record=True, file=io.StringIO())
    console.print(verdict_table(report))
    text = console.export_text()
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
    found = html_rows(page)
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
    words = " ".join("".join(parsed(page).text).split())
    assert " ".join(report.sentence.split()) in words
    for line in record["groups"]:
        assert " ".join(line["line"].split()) in words
        assert line["line"] in re.sub(r"\\(.)", r"\1", document)


def test_markdown_holds_no_markup_of_a_users(report: Report, tmp_path) -> None:
    text = report.to_markdown(tmp_path / "out.md").read_text(encoding="utf-8")
    assert not re.search(r"(?<!\\)<script", text) and "{{" not in text.replace("\\{", "")
    assert text == markdown.render(report)


def test_rows_stand_folded_below_a_line_and_a_figure(page: str, report: Report) -> None:
    for group in contents.groups(report):
        at = page.index(f"</span> {group.name}</h3>")
        fold, rows = page.index("<details>", at), page.index('<tr class="row">', at)
        assert page.index('<svg class="strip group"', at) < fold < rows
    assert page.index("Charge over time") < page.index("<h2>Claims</h2>")


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


def test_a_group_of_many_rows_is_cut_to_those_nearest_their_margins() -> None:
    rows = [verdict(f"c{k}", "supported", 1.0 + 0.001 * k, (1.0, 1.01)) for k in range(50)]
    strip = group_strip(rows)
    assert strip.count('class="dot"') == 30
    assert contents.nearness(rows[49]) > contents.nearness(rows[0])
    assert contents.nearness(verdict("one end", "supported", 0.06, (0, 1), margin=(0.05, INF))) > 0.8
