"""The gallery of plain SDEs: what its record says comes out anew, and every verdict could have been no."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import solve_continuous_lyapunov

from examples.gallery import __main__ as command
from examples.gallery import catalogue, measuring, page
from examples.gallery.fokker_planck import stationary
from sde.results.judgement import Judgement, judged
from sde.results.result import Finding

RECORDED = catalogue.recorded()
SMALL = ("ornstein_uhlenbeck", "geometric_brownian_motion", "heston")


def test_there_are_twelve_each_with_a_record_that_is_as_expected() -> None:
    files = {p.stem for p in (Path(catalogue.__file__).parent / "problems").glob("*.py")} - {"__init__"}
    assert set(catalogue.NAMES) == files and tuple(RECORDED) == catalogue.NAMES and len(files) == 12
    for name, one in RECORDED.items():
        assert one.outcome == "as expected" and one.rows and one.wrong, name
        assert all(row.verdict.verdict == "supported" for row in one.rows), name


@pytest.mark.parametrize(
    "name", [n if n in SMALL else pytest.param(n, marks=pytest.mark.slow) for n in catalogue.NAMES]
)
def test_verdicts_are_those_of_the_record(name: str) -> None:
    """To the last digits but few, in which processors and libraries may differ."""
    fresh, kept = catalogue.measured(name), RECORDED[name]
    for now, then in zip((*fresh.rows, *fresh.wrong), (*kept.rows, *kept.wrong), strict=True):
        assert (now.row.claim, now.row.source, now.row.reason) == (then.row.claim, then.row.source, then.row.reason)
        assert now.verdict.verdict == then.verdict.verdict
        numbers = [(r.predicted, r.measured, r.error, *r.interval) for r in (now.row, then.row)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", catalogue.NAMES)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_known_value_that_is_off_is_refuted(name: str, sign: int) -> None:
    """Each by itself, by three tolerances."""
    rows = [judgement.row for judgement in RECORDED[name].rows]
    for k, row in enumerate(rows):
        low, high = row.interval
        off = replace(row, predicted=row.predicted + sign * 1.5 * (high - low))
        others, _ = judged(Finding(rows=(*rows[:k], off, *rows[k + 1 :]), wrong=()), "")
        assert [one.verdict.verdict for one in others] == [
            "refuted" if i == k else "supported" for i in range(len(rows))
        ]


def test_lost_paths_are_no_sample() -> None:
    values = xr.Dataset(
        {"X": ("statistic", [1.0, 0.1])}, {"statistic": ["mean", "sem"]}, {"exploded_paths": 0, "paths": 9}
    )
    assert measuring.mean_of(values, "X", "mean", 1.0, "hand").samples == 9
    with pytest.raises(ValueError, match="no path may be lost; got 1 of 9"):
        measuring.mean_of(values.assign_attrs(exploded_paths=1), "X", "mean", 1.0, "hand")


def test_a_stationary_density_by_finite_volumes() -> None:
    """A Gaussian one, whose covariance is Lyapunov's; errors fall as the square of the cells."""
    a, noise = np.array([[-1.0, 0.8], [-0.5, -0.7]]), (0.6, 0.4)
    known = solve_continuous_lyapunov(a, -np.diag(np.square(noise)))

    def off(cells: int) -> float:
        x, y, p = stationary(
            lambda x, y: (a[0, 0] * x + a[0, 1] * y, a[1, 0] * x + a[1, 1] * y), noise, ((-3, 3),) * 2, (cells,) * 2
        )
        assert p.min() > -1e-12 and p.sum() == pytest.approx(1)
        return float(np.abs([(x**2 * p).sum() - known[0, 0], (x * y * p).sum() - known[0, 1]]).max())

    coarse, fine = off(30), off(60)
    assert fine < 0.01 and 1.8 < np.log2(coarse / fine) < 2.2


def test_the_page_is_made_of_the_record_and_of_the_code_that_runs() -> None:
    text = page.page()
    for name in catalogue.NAMES:
        shown = catalogue.problem(name)
        assert f"## {shown.title}\n" in text and f"```python\n{shown.code}```" in text
        assert shown.code.startswith(("import ", "from ")) and "def finding()" in shown.code
        assert all(all(cell in text for cell in map(page.literal, page.cells(row))) for row in RECORDED[name].rows)
    assert text.count("\nRefuted: ") == 12 and f"{sum(len(one.rows) for one in RECORDED.values())} supported;" in text


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Its exit code says whether every verdict is as expected, and what it keeps is what is read."""

    def run(*arguments: str, found: Any = RECORDED.__getitem__) -> tuple[int, str]:
        monkeypatch.setattr(catalogue, "measured", found)
        return command.main(list(arguments)), capsys.readouterr().out

    def swapped(name: str) -> Judgement:
        return replace(RECORDED[name], rows=RECORDED[name].wrong)

    monkeypatch.setattr(catalogue, "RECORD", tmp_path / "verdicts.json")
    code, text = run("--write")
    assert code == 0 and text.count("| supported |") == sum(len(one.rows) for one in RECORDED.values())
    assert catalogue.recorded() == RECORDED
    assert run("heston", found=swapped)[0] == 0  # its wrong theory is expected to be refuted
    off = replace(
        RECORDED["heston"],
        rows=tuple(replace(r, row=replace(r.row, expected="refuted")) for r in RECORDED["heston"].rows),
    )
    assert run("heston", found=lambda name: off)[0] == 1
    assert run("henon")[0] == 2 and run("heston", "--write")[0] == 2
    assert json.loads(catalogue.RECORD.read_text()) and catalogue.recorded() == RECORDED
