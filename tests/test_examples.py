"""What ships as examples: specs, each verified in full, and the cluster; minutes of work, run by `make slow`."""

import subprocess
import sys
from pathlib import Path

import pytest

from sde import verify
from sde.spec.problem_file import read_spec

ROOT = Path(__file__).parent.parent
EVERY = sorted((ROOT / "examples").glob("*.toml"))
SPECS = [path for path in EVERY if "[loss]" in path.read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_every_example_is_supported(path: Path) -> None:
    """alpha = 0.01 over all claims of a spec, at its own seed."""
    spec = read_spec(path)
    run = {k: v for k, v in spec.run.items() if k in ("start", "time", "paths", "seed")}
    report = verify(spec.loss, spec.sgd, **run)
    assert report.supported, str(report)


def test_there_are_examples() -> None:
    """Three of them on real data, two of SDEs by themselves."""
    assert len(SPECS) == 6 and len(EVERY) == 8
    assert sum("file =" in p.read_text() for p in SPECS) == 3


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_the_hash_of_threads() -> None:
    pytest.importorskip("distributed")
    done = subprocess.run([sys.executable, "-m", "examples.cluster"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith(("threads ", "Dask, one killed"))]
    hashes = [line.split()[-1] for line in told]
    assert len(hashes) == 2 and len(hashes[0]) == 64 and hashes[0] == hashes[1] and "kill -9" in done.stdout
