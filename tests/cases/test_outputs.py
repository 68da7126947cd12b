"""C4: no output is an input, nor another output, by whatever name: one line, exit code 2, and every file as it was."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from sde import SDE, simulate, train, verify
from sde.spec.problem_file import read_spec, spec_for
from sde.storage.distinct_files import check_apart
from tests.commands import COMMAND, GOOD, run

pytestmark = pytest.mark.usefixtures("folder")


def content() -> dict[str, str]:
    """What lies in this folder and below."""
    return {
        str(path): os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path().rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def refused(*arguments: object) -> str:
    before = content()
    result = run(*arguments)
    assert result.exit_code == 2, (arguments, result.output)
    assert result.stderr.count("\n") == 1 and content() == before, (arguments, result.stderr)
    return result.stderr


@pytest.fixture
def names() -> dict[str, str]:
    """Other names of the spec and of its data."""
    Path("deep").mkdir()
    Path("aside").symlink_to(Path("deep"))
    for name in ("file.toml", "train.csv"):
        Path(f"soft-{name}").symlink_to(name)
        os.link(name, f"hard-{name}")
        Path(f"two-{name}").symlink_to(f"soft-{name}")
    return {
        "plain": "{}",
        "dotted": "./deep/../{}",
        "through a linked folder": "aside/../{}",
        "absolute": str(Path().resolve() / "{}"),
        "soft link": "soft-{}",
        "link to a link": "two-{}",
        "hard link": "hard-{}",
    }


NAMED = ["plain", "dotted", "through a linked folder", "absolute", "soft link", "link to a link", "hard link"]
WRITES: dict[str, tuple[str, ...]] = {
    "simulate -o": ("simulate", "file.toml", "-o"),
    "simulate --json": ("simulate", "file.toml", "-o", "run.nc", "--json"),
    "train --checkpoint": ("train", "file.toml", "-o", "run.nc", "--checkpoint"),
    "verify --report": ("verify", "file.toml", "--report"),
    "verify --json": ("verify", "file.toml", "--json"),
    "derive --json": ("derive", "file.toml", "--json"),
}


@pytest.mark.parametrize("by", NAMED)
@pytest.mark.parametrize("how", WRITES)
def test_case_c4_no_output_is_the_spec_or_its_data(how: str, by: str, names: dict[str, str]) -> None:
    for name in ("file.toml", "train.csv"):
        assert "each must be a file of its own" in refused(*WRITES[how], names[by].format(name))


def test_case_c4_case_alone_does_not_make_another_name() -> None:
    for name in ("FILE.toml", "Train.CSV"):
        assert "of its own" in refused("simulate", "file.toml", "-o", name)
    assert "twice" in refused("simulate", "good.toml", "-o", "run.nc", "--json", "RUN.nc")
    with pytest.raises(ValueError, match="twice"):
        check_apart(["caf\u00e9.nc", "cafe\u0301.nc"])
    check_apart(["run.nc", "run.json", None, "-", "-"], ["good.toml"])


def test_case_c4_no_two_outputs_are_one_file() -> None:
    Path("link.json").symlink_to("run.nc")
    for other in ("run.nc", "./run.nc", "link.json"):
        assert "twice" in refused("simulate", "good.toml", "-o", "run.nc", "--json", other)
        assert "twice" in refused("train", "good.toml", "-o", "run.nc", "--checkpoint", other)
        assert "twice" in refused("verify", "good.toml", "--report", "run.nc", "--json", other)
    assert "twice" in refused("simulate", "good.toml", "-o", "a", "--json", "c", "--checkpoint", "c")


def test_case_c4_a_resumed_run_spares_its_checkpoint_and_its_files() -> None:
    assert run("simulate", "file.toml", "-o", "run.nc", "--checkpoint", "c").exit_code == 0
    os.link("c", "hard")
    Path("soft").symlink_to("c")
    for name in ("c", "./c", "hard", "soft", "C", "train.csv", "file.toml"):
        assert "of its own" in (said := refused("resume", "c", "-o", name)) or "is written as NetCDF" in said
        assert "of its own" in refused("resume", "soft", "-o", "new.nc", "--json", name)
    assert run("resume", "c", "-o", "run.nc").exit_code == 0


@pytest.mark.parametrize("kind", ["netcdf", "text", "empty", "spec", "folder", "archive"])
def test_case_c4_a_file_that_is_no_checkpoint_is_not_taken_for_one(kind: str) -> None:
    place = Path("mine")
    if kind == "netcdf":
        assert run("simulate", "good.toml", "-o", place).exit_code == 0
    elif kind == "archive":
        np.savez("mine.npz", a=np.arange(3))
        os.rename("mine.npz", place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.write_text({"text": "a thesis", "empty": "", "spec": GOOD}[kind])
    for command in ("simulate", "train"):
        said = refused(command, "good.toml", "-o", "run.nc", "--checkpoint", place)
        assert said.startswith("checkpoint: ") or "got the folder" in said
        assert "delete" not in said
    spec = read_spec("good.toml")
    before = content()
    with pytest.raises(OSError, match="checkpoint: "):
        simulate(spec.loss, spec.sgd, start={"u": 1, "w": 1}, time=1.0, checkpoint=place)
    assert content() == before


def test_case_c4_python_calls_spare_what_a_loss_was_read_from() -> None:
    spec = spec_for("file.toml")
    assert spec.inputs == (Path("file.toml"), Path("train.csv")) == spec.loss.files
    assert spec_for("rescaling").inputs == ()
    start, before = spec.run["start"], content()
    os.link("train.csv", "hard.csv")
    before = content()
    for name in ("train.csv", Path("file.toml"), "hard.csv", Path().resolve() / "train.csv"):
        for scheme in ("euler-maruyama", "milstein-commutative"):
            with pytest.raises(ValueError, match="of its own"):
                simulate(spec.loss, spec.sgd, start=start, time=1.0, keep="paths", out=name, scheme=scheme)
        with pytest.raises(ValueError, match="of its own"):
            simulate(spec.loss, spec.sgd, start=start, time=1.0, checkpoint=name)
        with pytest.raises(ValueError, match="of its own"):
            train(spec.loss, spec.sgd, start=start, steps=10, keep="paths", out=name)
        with pytest.raises(ValueError, match="of its own"):
            train(spec.loss, spec.sgd, start=start, steps=10, checkpoint=name)
    assert content() == before


def test_case_c4_a_report_spares_what_its_loss_was_read_from() -> None:
    spec = spec_for("file.toml")
    report = verify(spec.loss, spec.sgd, start=spec.run["start"], time=0.1, paths=32)
    before = content()
    for name in ("train.csv", "./file.toml"):
        for write in (report.to_html, report.to_json):
            with pytest.raises(ValueError, match="of its own"):
                write(name)
    assert content() == before
    report.to_json("report.json")
    report.to_html("report.html")


def test_case_c4_a_stream_is_not_its_own_checkpoint() -> None:
    x = sp.Symbol("x", real=True)
    with pytest.raises(ValueError, match=r"^output: .*twice|^out: a stream"):
        simulate(SDE([x], [-x], [[1]]), start={x: 0.0}, time=1.0, keep="paths", out="s", checkpoint="./s")
    assert not Path("s").exists()


def test_case_c4_devices_and_pipes_are_written_to() -> None:
    """Nothing is overwritten in them."""
    assert run("simulate", "good.toml", "-o", "/dev/null").exit_code == 0
    done = subprocess.run([COMMAND, "derive", "good.toml", "--json", "/dev/stdout"], capture_output=True, text=True)
    assert done.returncode == 0 and '"charges"' in done.stdout, done.stderr
