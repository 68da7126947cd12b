"""Case C7: the lowest versions that pyproject.toml states are ones that work. `make oldest` runs this and the tests of
command line, NetCDF, simulate, derive and report on exactly those; here, that it does."""

from __future__ import annotations

import os
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from packaging.version import Version

from tests.commands import GOOD, run
from tests.oldest import PROJECT, lowest, pin

TEXT = PROJECT.read_text(encoding="utf-8")


def test_case_c7_the_installed_versions_are_the_pins() -> None:
    """At least those everywhere; exactly those under `make oldest`."""
    for line in lowest(["dev/pytest", "dev/hypothesis"], TEXT):
        name, asked = line.split("==")
        have = Version(version(name))
        assert have >= Version(asked), line
        if os.environ.get("OLDEST"):
            assert have.release[: len(Version(asked).release)] == Version(asked).release, (line, str(have))


def test_case_c7_netcdf_by_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed: h5py 3.10 could not be imported beside NumPy 2.0, typer 0.12 could not read `str | None`, later ones
    broke with click 8.2."""
    monkeypatch.chdir(tmp_path)
    Path("good.toml").write_text(GOOD, encoding="utf-8")
    assert run("simulate", "good.toml", "-o", "run.nc").exit_code == 0
    with xr.open_dataset("run.nc", engine="h5netcdf") as data:
        assert np.isfinite(data.C.values).all() and data.sizes["time"] == 3
    for command in ("derive", "simulate", "verify"):
        shown = run(command, "--help")
        assert shown.exit_code == 0 and "SPEC" in shown.output


def test_case_c7_schedules_of_extrema() -> None:
    """What SymPy 1.13 writes for NumPy as an array of unequal parts."""
    from symbolic import SGD
    from symbolic.problem.optimizer import warmup

    assert SGD(0.1, schedule=warmup(5)).factor(np.array([0.0, 2.5, 7.0])) == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize(
    ("requirement", "found"),
    [
        ("numpy>=2.0", "numpy==2.0"),
        ("python-flint >= 0.6, <1", "python-flint==0.6"),
        ("a.b_c>=2024.6.1", "a.b_c==2024.6.1"),
    ],
)
def test_case_c7_pins(requirement: str, found: str) -> None:
    assert pin(requirement) == found


@pytest.mark.parametrize(
    "requirement", ["numpy", "numpy<3", "numpy>2", "numpy==2.*", "numpy>=2; python_version<'3.12'"]
)
def test_case_c7_a_dependency_states_its_lowest_version(requirement: str) -> None:
    with pytest.raises(ValueError, match="pyproject.toml: a dependency must state its lowest version; got"):
        pin(requirement)


def test_case_c7_every_dependency_is_pinned() -> None:
    pins = lowest([], TEXT)
    named = re.findall(r'"([A-Za-z0-9._-]+)', re.search(r"\ndependencies = \[(.*?)\n\]", TEXT, re.S)[1])  # type: ignore[index]
    assert [p.split("==")[0] for p in pins] == named and len(named) >= 13
    with pytest.raises(ValueError, match="no 'pytset' in the extra 'dev'"):
        lowest(["dev/pytset"], TEXT)
