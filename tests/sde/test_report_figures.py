"""What a report draws: charges over time, and strips of verdicts."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sde.reports import contents
from sde.reports.figures import curve_svg, log_time, value_range
from sde.reports.report import Report
from sde.reports.strips import WIDTH, group_strip, verdict_strip
from sde.verification.result import Band, Curves
from tests.sde.made_up_report import INF, NAN, made_up, verdict


@pytest.fixture(scope="module")
def report() -> Report:
    return made_up()


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


def test_a_group_of_many_rows_is_cut_to_those_nearest_their_margins() -> None:
    rows = [verdict(f"c{k}", "supported", 1.0 + 0.001 * k, (1.0, 1.01)) for k in range(50)]
    strip = group_strip(rows)
    assert strip.count('class="dot"') == 30
    assert contents.nearness(rows[49]) > contents.nearness(rows[0])
    assert contents.nearness(verdict("one end", "supported", 0.06, (0, 1), margin=(0.05, INF))) > 0.8
