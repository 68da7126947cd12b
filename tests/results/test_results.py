"""Every result of the field comes out as it is known to be, and a wrong theory of each is refuted."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from sde.results.catalogue import results
from sde.results.judgement import Judgement
from sde.results.reproduction import run
from sde.results.result import Effort

QUICK = ("rescaling", "net-norms", "edge-of-stability")
"""Measured in every run of the tests: of the paper's and of those since, balance, growth and no noise at all."""


def _cases() -> list:
    marks = {name: [pytest.mark.slow] * (name not in QUICK) for name in results()}
    return [pytest.param(name, marks=mark) for name, mark in marks.items()]


@cache
def _found(name: str) -> Judgement:
    return run(results()[name], Effort(quick=True))


@pytest.mark.parametrize("name", _cases())
def test_as_it_is_known_to_be(name: str):
    """Every claim has the verdict that is expected of it, and there is a figure."""
    found = _found(name)
    assert [(j.row.key, j.verdict.verdict, j.row.expected) for j in found.rows if not j.as_expected] == []
    assert found.rows and found.figures


@pytest.mark.parametrize("name", _cases())
def test_a_wrong_theory_is_refuted(name: str):
    """The same measurements say no to it."""
    found = _found(name)
    assert found.wrong
    assert {j.verdict.verdict for j in found.wrong} == {"refuted"}


@pytest.mark.parametrize("name", list(results()))
def test_a_result_is_told_whole(name: str):
    """Words that a page needs, a seed of its own, and a name that its file has."""
    r = results()[name]
    assert all(text.strip() for text in (r.title, r.claim, r.source, r.beyond))
    assert not r.title.endswith(".") and r.claim.endswith(".")
    assert r.theories.__module__ == f"sde.results.{r.section}.{name.replace('-', '_')}"
    assert 0 < r.seconds[0] <= r.seconds[1] and np.isfinite(r.seconds[1])


def test_seeds_and_positions_are_their_own():
    """No two results share random numbers or a place."""
    every = list(results().values())
    assert len({r.seed for r in every}) == len(every)
    assert len({(r.section, r.position) for r in every}) == len(every)


def test_quick_runs_take_minutes():
    """All of them, as they tell it: within eight of the ten minutes that a quick reproduction may take."""
    assert sum(r.seconds[0] for r in results().values()) < 480
