"""Results written down before a change are the results after it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from symbolic.library import LIBRARY
from tests.golden.record import RESULTS, THEORIES, mark, theory
from tests.golden.runs import NUMBERS, RUNS, taken

RECORDED = json.loads(RESULTS.read_text())
DERIVED = json.loads(THEORIES.read_text())


def test_every_run_is_recorded() -> None:
    assert set(RECORDED) == {*RUNS, *NUMBERS} and set(DERIVED) == set(LIBRARY)


@pytest.mark.parametrize("name", [*RUNS, *NUMBERS])
def test_results_are_the_recorded_ones(name: str) -> None:
    """Bit for bit where the same processor and compiler made them; to rounding's growth elsewhere."""
    found, expected = taken(name), RECORDED[name]
    loose = 1e-3 if "float32" in name or "momentum" in name else 1e-7
    assert found["numbers"] == pytest.approx(
        expected["numbers"], rel=loose, abs=loose * np.abs(expected["numbers"]).max()
    )
    if mark() in expected["hashes"]:
        assert found["hash"] == expected["hashes"][mark()]


@pytest.mark.parametrize("name", LIBRARY)
def test_derivations_are_the_recorded_ones(name: str) -> None:
    assert theory(name) == DERIVED[name]
