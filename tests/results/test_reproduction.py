"""A reproduction writes pages whole, goes on where it was broken off, and says what is not as expected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sde.engine.progress import Phases
from sde.results import drawing
from sde.results.catalogue import named
from sde.results.judgement import Judgement
from sde.results.reproduction import prepare, reproduce
from sde.results.result import Effort, Finding, Result, Row
from symbolic.errors import InputError
from tests.commands import run as command

VALUES = np.random.default_rng(7).normal(1.0, 0.1, 400)


def _result(name: str = "fake", calls: list[str] | None = None, values: np.ndarray = VALUES, **row: object) -> Result:
    def measure(effort: Effort) -> Finding:
        (calls if calls is not None else []).append(name)
        effort.tick(0.5)
        figure, (axes,) = drawing.panels()
        drawing.theory(axes, np.arange(3.0), np.arange(3.0))
        one = replace(Row.of_mean("mean", "a <b>claim</b> | with *marks*", values, 1.0, 0.05), **row)
        return Finding(
            rows=(one,), wrong=(one.against(2.0, "twice as much"),), figures={"a figure": figure}, notes=("so",)
        )

    return Result(
        name=name,
        section="paper",
        position=1,
        title=f"Title of {name} <script>",
        claim="What is claimed.",
        source="a paper",
        beyond="what is new.",
        seed=3,
        seconds=(1, 2),
        theories=dict,
        measure=measure,
    )


def _run(results: list[Result], folder: Path, **kwargs: object) -> list[Judgement]:
    prepare(folder)
    silent = Phases("", [], lambda text, share, left: None)
    return reproduce(results, folder, silent, **{"quick": True, "threads": 1, **kwargs})


def test_pages_are_whole_and_escaped(tmp_path: Path):
    """A page, a gallery and RESULTS.md; no text becomes markup, and nothing is loaded from elsewhere."""
    (found,) = _run([_result()], tmp_path)
    assert found.outcome == "as expected"
    page, gallery = (tmp_path / "fake.html").read_text(), (tmp_path / "index.html").read_text()
    for text in (page, gallery):
        assert "<script>" not in text and "&lt;script&gt;" in text
        assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
        assert text.count("<svg") >= 1
    assert "&lt;b&gt;claim" in page and "supported" in page and "twice as much" in page
    results = (tmp_path / "RESULTS.md").read_text()
    assert r"a \<b\>claim\</b\> \| with \*marks\*" in results and "Claims: 1 supported; 1 of 1 as expected." in results


def test_what_is_complete_is_not_made_again(tmp_path: Path):
    """A second call takes it from the folder; a broken file, another effort or another seed make it anew."""
    calls: list[str] = []
    one = _result(calls=calls)
    first = _run([one], tmp_path)
    text = (tmp_path / "RESULTS.md").read_text()
    assert _run([one], tmp_path) == first and len(calls) == 1
    assert (tmp_path / "RESULTS.md").read_text() == text
    data = tmp_path / "data" / "fake.json"
    for broken in ("", "{}", "[1]", data.read_text()[:-40], data.read_text().replace('"rows"', '"lines"')):
        data.write_text(broken)
        _run([one], tmp_path)
    assert len(calls) == 6
    _run([one], tmp_path, quick=False)
    _run([replace(one, seed=4)], tmp_path, quick=False)
    assert len(calls) == 8


def test_a_judgement_survives_its_file():
    """Also with what is not finite."""
    rows = {"values": VALUES, "margin": (-np.inf, 2.0)}
    found = Judgement.of_dict(json.loads(json.dumps(_judge(_result(**rows)).to_dict())))
    assert found == _judge(_result(**rows)) or replace(found, seconds=0) == replace(_judge(_result(**rows)), seconds=0)
    assert found.rows[0].row.margin == (-np.inf, 2.0)


def _judge(result: Result) -> Judgement:
    from sde.results.reproduction import run

    return replace(run(result, Effort()), seconds=0)


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ({}, "as expected"),
        ({"predicted": 1.5}, "otherwise"),
        ({"predicted": 1.5, "expected": "refuted", "reason": "known not to hold"}, "as expected"),
        ({"expected": "refuted", "reason": "thought not to hold"}, "otherwise"),
        ({"error": 10.0}, "inconclusive"),
    ],
)
def test_what_is_not_as_expected_shows(row: dict, outcome: str):
    """Refuted claims count as results where they are expected, and only there."""
    assert _judge(_result(**row)).outcome == outcome


def test_ctrl_c_keeps_what_is_complete(tmp_path: Path):
    """The pages say how many results are missing, and the same call goes on."""
    calls: list[str] = []

    def stop(effort: Effort) -> Finding:
        raise KeyboardInterrupt

    two = [_result("first", calls), replace(_result("second"), position=2, measure=stop)]
    with pytest.raises(KeyboardInterrupt):
        _run(two, tmp_path)
    assert "1 results are still to be made" in (tmp_path / "RESULTS.md").read_text()
    found = _run([two[0], _result("second", calls)], tmp_path)
    assert [j.name for j in found] == calls == ["first", "second"]


def test_lost_paths_are_an_error():
    """A row's values may not drop out unseen."""
    with pytest.raises(ValueError, match="must be finite"):
        Row.of_mean("x", "y", np.array([1.0, np.nan]), 1.0, 0.1)


def test_an_unknown_name_is_bad_input():
    """With the one that may be meant."""
    with pytest.raises(InputError, match="Did you mean 'scale-invariance'"):
        named(("scale-invarance",))
    found = command("reproduce", "nothing-of-the-kind")
    assert found.exit_code == 2 and "must name results" in found.output
