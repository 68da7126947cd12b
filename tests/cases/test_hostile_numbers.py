"""Numbers, streams and folders that no command may stumble over: each ends as lines and an exit code that is meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sde import SGD, InputError, plot, simulate, verify
from sde.spec.problem_file import SpecError, parse_spec
from symbolic import library
from tests.commands import GOOD

HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("learning_rate = 0.01", f"learning_rate = {HUGE}", "sgd.learning_rate: must be a finite number; got inf"),
        ("learning_rate = 0.01", f"learning_rate = -{HUGE}", "sgd.learning_rate: must be a finite number; got -inf"),
        ("std = 1 ", f"std = {HUGE} ", "std: must be finite numbers"),
        ("[run]", "[run]\nsteps_at = [99999999999999999999]", "steps_at"),
        ("time = ", f"time = {HUGE} # ", "run.time"),
    ],
)
def test_whole_numbers_of_any_length_are_refused_as_what_they_are(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(SpecError, match=said):
        parse_spec(GOOD.replace(old, new, 1))


@pytest.mark.parametrize("size", [2**53 + 2, 10**20, 1e20, 10**401])
def test_batches_that_no_machine_draws_are_refused(size: int) -> None:
    with pytest.raises(InputError, match="SGD.batch_size: must be a (whole|finite) number"):
        SGD(0.1, batch_size=size)


def test_starts_refuse_numbers_that_end_beyond_all() -> None:
    with pytest.raises(InputError):
        simulate(library.rescaling(), SGD(0.1), start={"u": 10**401, "w": 1.0}, time=0.2, paths=2)


@pytest.mark.parametrize("call", ["gamma(10**9)", "loggamma(10**9)", "polygamma(3, 10**8)", "gamma(10**6 + 0.5)"])
def test_gamma_functions_of_long_constants_are_not_multiplied_out(call: str) -> None:
    with pytest.raises(SpecError, match="of a constant takes 1000 at most"):
        parse_spec(GOOD.replace("observables = { ", f'observables = {{ long = "u*{call}", ', 1))


def test_counts_are_drawn() -> None:
    run = simulate(library.rescaling(), SGD(0.1), start={"u": 1.0, "w": 1.0}, time=0.2, paths=4)
    assert plot(run, "exploded").axes[0].get_ylabel() == "exploded"


@pytest.mark.parametrize("sgd", [SGD(0.02, schedule=1e19), SGD(1e9)])
def test_theory_beyond_all_bounds_is_not_tested(sgd: SGD) -> None:
    report = verify(library.rescaling(), sgd, start={"u": 1.2, "w": 0.6}, time=4 * sgd.learning_rate, paths=2)
    assert report.outcome == "inconclusive"
    with pytest.raises(InputError, match="verify.time: a run has at most 4000000000 steps"):
        verify(library.rescaling(), SGD(0.02), start={"u": 1.2, "w": 0.6}, time=1e21, paths=2)


WORKERS = """
import sys
from sde import SGD, simulate
from symbolic import library
run = simulate(library.rescaling(), SGD(0.1), start={"u": 1.0, "w": 1.0}, time=0.2, paths=600, executor="processes")
print(int(run.attrs["paths"]))
"""


def test_workers_take_no_module_of_the_folder_that_they_are_called_in(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("from pathlib import Path\nPath('taken').touch()\n")
    (tmp_path / "types.py").write_text("x = 1\n")
    out = subprocess.run(
        [sys.executable, "-P", "-c", WORKERS], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert out.stdout.strip() == "600", out.stderr
    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_standard_output_of_any_encoding_takes_all(encoding: str, tmp_path: Path) -> None:
    call = "from sde.cli.terminal import say, shown_for; import sde.cli.commands as c; main = c.main"
    script = f"{call}\nc.app = lambda: say('\\u2212 \\u00b1 \\u03b8', shown_for(None))\nmain()"
    env = {"PYTHONIOENCODING": encoding, "PATH": "", "HOME": str(tmp_path)}
    out = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, check=False)
    assert out.returncode == 0 and b"\\u2212" in out.stdout, out.stderr


def test_streams_that_are_closed_are_no_defect(tmp_path: Path) -> None:
    script = "import sys; sys.stdout = sys.stderr = None; from sde.cli.commands import main"
    script += "; sys.argv[1:] = ['schemes']; main()"
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == 0
