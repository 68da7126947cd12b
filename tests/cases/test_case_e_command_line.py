"""The command line: what counts as bad input and what as a defect, help, completion, and options of other commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import symbolic.theory
from sde.cli.commands import app
from sde.cli.guard import DEFECT
from symbolic.errors import InputError
from symbolic.library import LIBRARY
from symbolic.schemes import SCHEMES
from tests.commands import GOOD


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.toml").write_text(GOOD)


def call(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


DEFECTS = {
    "value": ValueError("not of the user's making"),
    "key": KeyError("nosuch"),
    "type": TypeError("'NoneType' object is not iterable"),
    "file without a name": OSError(2, "No such file or directory"),
    "file of a library": OSError("Unable to synchronously open file"),
}


@pytest.mark.parametrize("kind", list(DEFECTS))
def test_case_e_a_defect_shows_itself_and_blames_nobody(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise DEFECTS[kind]

    monkeypatch.setattr(symbolic.theory, "_check_gradient", fail)
    code, _, said = call("derive", "good.toml")
    assert code == DEFECT and "Traceback" in said and "_check_gradient" in said


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (InputError.of("u", "must be small", 7, "Take less."), "u: must be small; got 7 (int). Take less.\n"),
        (OSError("file: must be whole; got a.nc (cut). Name another."), "file: must be whole; got a.nc (cut)."),
        (
            OSError(13, "Permission denied", "a.nc"),
            "file: must be there and open to this; got 'a.nc' (Permission denied).",
        ),
        (OSError(28, "No space left on device"), "output: standard output must be writable; got No space left on"),
    ],
)
def test_case_e_bad_input_and_errors_of_files_are_a_line(
    error: Exception, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(symbolic.theory, "_check_gradient", fail)
    monkeypatch.setattr("sde.cli.guard.drop", lambda stream: None)
    code, _, said = call("derive", "good.toml")
    assert code == 2 and said.startswith(wanted) and said.count("\n") == 1


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        ("u = 1.2", "--at[w]: every parameter needs one value; got nothing (missing). Give a number."),
        ("U = 1.2, w = 1", "--at[U]: must name a parameter; got 'U' (str). Did you mean 'u'?"),
        ("u = 'a', w = 1", "--at[u]: must be a real number; got 'a' (str)."),
        ("u = [1], w = 1", "--at[u]: must have shape (); got (1,)"),
        ("u = nan, w = 1", "--at[u]: must be finite; got nan"),
        ("u: 1.2, w: 1", "--at: must be values as in TOML; got 'u: 1.2, w: 1'"),
        ("u = " + "[" * 70 + "1" + "]" * 70 + ", w = 1", "--at[u]: must be numbers of few dimensions; got [[["),
        ("\udcff = 1", "--at: must be values as in TOML; got '\\udcff = 1'"),
    ],
)
def test_case_e_a_point_of_the_command_line(at: str, wanted: str) -> None:
    code, out, said = call("derive", "good.toml", "--at", at)
    assert code == 2 and out == "" and said.startswith(wanted), said


@pytest.mark.parametrize("text", ["\udcff", "\udcff.toml", "\udcff/a"])
def test_case_e_lone_surrogates_are_shown_as_escapes(text: str) -> None:
    for arguments in (["derive", text], ["derive", "good.toml", "--json", f"no/{text}"], ["show", text]):
        code, _, said = call(*arguments)
        assert code == 2 and "\\udcff" in said and said.isascii(), said
    code, _, said = call("simulate", "good.toml", "-o", "run.nc", "--scheme", text)
    assert code == 2 and said.startswith("scheme: must be one of")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["simulate", "--steps", "3"], "No such option: --steps. Give --time; train takes --steps"),
        (["train", "--dt", ".1"], "No such option: --dt. A step of SGD is the learning rate; simulate takes --dt"),
        (["train", "--scheme", "heun"], "No such option: --scheme. Schemes integrate the SDE: use simulate"),
        (["simulate", "--pats", "3"], "--paths"),
        (["train", "--lr", ".1"], "No such option: --lr. Give --learning-rate"),
        (["simulate", "--n-paths", "3"], "No such option: --n-paths. Give --paths"),
    ],
)
def test_case_e_options_of_other_commands(arguments: list[str], wanted: str) -> None:
    command, *rest = arguments
    code, _, said = call(command, "good.toml", "-o", "run.nc", *rest)
    assert code == 2 and wanted in said


def test_case_e_names_of_schemes_and_losses_are_met_halfway() -> None:
    assert "Did you mean 'milstein'?" in call("simulate", "good.toml", "-o", "a.nc", "--scheme", "millstein")[2]
    assert "Did you mean 'two-layer-relu'?" in call("derive", "two-layer-rel")[2]
    assert "Did you mean 'paths'?" in call("simulate", "good.toml", "-o", "a.nc", "--keep", "path")[2]
    assert "'simulate'" in call("simlate", "good.toml")[2]


def test_case_e_the_library_writes_powers_as_specs_do() -> None:
    code, out, _ = call("library")
    assert code == 0 and "^" not in out and "w**2" in out


def test_case_e_help_names_every_command_and_option() -> None:
    code, out, _ = call("--help")
    commands = ["derive", "simulate", "train", "resume", "verify", "show", "library", "schemes", "cache"]
    assert code == 0 and all(f"\n  {c} " in out for c in commands)
    assert all(option in out for option in ("--version", "--quiet", "--install-completion", "--help"))
    for command in commands:
        code, out, _ = call(command, "--help")
        assert code == 0 and out.startswith("Usage: ") and "--json" in out and "[/" not in out
    assert "Overrides [sgd] learning_rate." in " ".join(call("simulate", "--help")[1].split())


def test_case_e_quiet_says_nothing_but_errors() -> None:
    assert call("--quiet", "derive", "good.toml") == (0, "", "")
    code, out, said = call("--quiet", "derive", "nosuch.toml")
    assert code == 2 and out == "" and said.startswith("spec: ")
    assert call("derive", "good.toml")[1]


def completed(*words: str) -> list[str]:
    asked = {"COMP_WORDS": " ".join(["noetherflow", *words]), "COMP_CWORD": str(len(words))}
    code = "from sde.cli.commands import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'noetherflow'; {code}"],
        env={**os.environ, **asked, "_NOETHERFLOW_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()


def test_case_e_commands_options_schemes_and_losses_complete() -> None:
    Path("specs").mkdir()
    assert completed("s") == ["simulate", "show", "schemes"]
    assert completed("simulate", "--sche") == ["--schedule", "--scheme"]
    assert completed("simulate", "good.toml", "--scheme", "mil") == [n for n in SCHEMES if n.startswith("mil")]
    assert completed("train", "good.toml", "--dtype", "") == ["float32", "float64"]
    assert completed("derive", "two-layer-") == [n for n in LIBRARY if n.startswith("two-layer-")]
    assert completed("verify", "g") == [*(n for n in LIBRARY if n.startswith("g")), "good.toml"]
