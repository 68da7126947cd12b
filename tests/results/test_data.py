"""Data files of the package are the examples' own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sde.results.paper.real_data import FILES

EXAMPLES = Path(__file__).parents[2] / "examples" / "data"


@pytest.mark.parametrize("name", ["diabetes.csv", "iris.csv"])
def test_copies_are_the_examples_own(name: str):
    """Byte for byte."""
    assert (FILES / name).read_bytes() == (EXAMPLES / name).read_bytes()
