"""The specs that ship, each verified in full: minutes of work, run by `make slow`."""

from pathlib import Path

import pytest

from sde import verify
from sde.spec.problem_file import read_spec

SPECS = sorted((Path(__file__).parent.parent / "examples").glob("*.toml"))


@pytest.mark.slow
@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_every_example_is_supported(path: Path) -> None:
    """alpha = 0.01 over all claims of a spec, at its own seed."""
    spec = read_spec(path)
    run = {k: v for k, v in spec.run.items() if k in ("start", "time", "paths", "seed")}
    report = verify(spec.loss, spec.sgd, **run)
    assert report.supported, str(report)


def test_there_are_examples() -> None:
    """Three of them on real data."""
    assert len(SPECS) == 6
    assert sum("file =" in p.read_text() for p in SPECS) == 3
