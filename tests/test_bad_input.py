"""Bad input to the command: exit code 2, one line per problem in one form, no traceback, nothing written."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sde.api.prepared_run
from sde.cli.commands import app
from tests.commands import GOOD, ROWS

LOSS = "(u*w*x - y)**2"
FROM_FILE = """
[parameters]
W = [2]
[data]
file = "train.csv"
inputs = ["a", "b"]
targets = ["label"]
[loss]
expression = "(W@x - y)**2"
[sgd]
replacement = false
[run]
start = { W = [0.3, 0.2] }
time = 1.0
paths = 4
"""
FORM = re.compile(r"[A-Za-z][\w.\[\]-]*( \w+)?(, column \d+)?: [^;]+; got .+\. [A-Z`].*")
"""<where>: <rule>; got <value>. <what to do>"""
RUN = {
    "simulate": ("-o", "out.nc", "--json", "out.json"),
    "train": ("-o", "out.nc", "--json", "out.json"),
    "verify": ("--report", "out.html", "--json", "out.json"),
    "derive": ("--json", "out.json"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("good.toml").write_text(GOOD)
    Path("file.toml").write_text(FROM_FILE)
    Path("train.csv").write_text(ROWS)
    Path("folder").mkdir()
    return tmp_path


def refused(*arguments: object) -> list[str]:
    """The lines with which the command refuses."""
    before = {p: p.stat().st_mtime_ns for p in Path().rglob("*") if p.is_file()}
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 2, (result.stdout, result.stderr)
    assert result.stdout == ""
    assert {p: p.stat().st_mtime_ns for p in Path().rglob("*") if p.is_file()} == before
    lines = result.stderr.splitlines()
    for line in lines:
        assert FORM.fullmatch(line), line
    return lines


SPECS = {
    "unknown key": ("paths = 8", "pahts = 8", "run.pahts: unknown key; got 8 (int). Did you mean 'paths'?"),
    "unknown section": ("[sgd]", "[sdg]", "sdg: unknown section or key; got"),
    "unknown function": (LOSS, "open(u*w*x - y)", "loss.expression, column 1: unknown function 'open'"),
    "import": (LOSS, "__import__('os').system('touch pwned')", "column 1: only functions can be called"),
    "import alone": (LOSS, "u*w*x*y*__import__('os')", "column 9: unknown function '__import__'"),
    "attribute": (LOSS, "u.real*w*x*y", "attribute access other than .T is not allowed; got 'u.real'"),
    "dunder": (LOSS, "(u*w*x*y).__class__.__mro__[1]", "attribute access other than .T is not allowed"),
    "lambda": (LOSS, "(lambda: u*w*x*y)()", "only functions can be called"),
    "comprehension": (LOSS, "sum([u*w*x*y for i in [1]])", "not part of the expression language"),
    "string": (LOSS, "u*w*x*y + 'a'", "only real numbers are allowed as literals"),
    "shapes in a product": (LOSS, "[u, w]@[x, y, 1]", "@ needs equal inner sizes, here shapes (2,) and (3,)"),
    "shapes in a sum": (LOSS, "sum([u, w] + [x, y, 1])", "shapes (2,) and (3,) do not broadcast"),
    "not a scalar": (LOSS, "[u*x, w*y]", "loss.expression: must be a scalar, here shape (2,)"),
    "shape of a start": ("u = 1.2", "u = [1.2, 1]", "run.start.u: must have the parameter's shape [], here [2]"),
    "unused parameter": (LOSS, "(w*x - y)**2", "parameters.u: must occur in the loss"),
    "unused data": (LOSS, "(u*w*x)**2", "data.e: must occur in the loss"),
    "data without law": (LOSS, "(u*w*x - q)**2", "unknown name 'q'"),
    "negative std": ("std = 0.5", "std = -0.5", "data.e: std must not be negative; got -0.5 (float)"),
    "start infinite": ("u = 1.2", "u = inf", "run.start.u: must be finite; got inf (float)"),
    "start nan": ("w = 0.6", "w = nan", "run.start.w: must be finite; got nan (float)"),
    "start missing": ("u = 1.2, ", "", "run.start.u: every parameter needs one value"),
    "dt past the end": ("paths = 8", "dt = 1.5", "run.dt: must not exceed the run's time 1; got 1.5 (float)"),
    "time": ("time = 1.0", "time = -1.0", "run.time: must be positive and finite; got -1.0 (float)"),
    "paths": ("paths = 8", "paths = 0", "run.paths: must be a whole number of at least 1; got 0 (int)"),
    "save_at": (
        "save_at = 3",
        "save_at = [0.5, 0.1]",
        "run.save_at: times must increase within the run",
    ),
    "dtype": ("paths = 8", 'dtype = "float16"', "run.dtype: must be 'float32' or 'float64'; got 'float16' (str)"),
    "keep": ("paths = 8", 'keep = "nothing"', "run.keep: must be 'statistics' or 'paths'; got 'nothing' (str)"),
    "learning rate": ("rate = 0.01", "rate = -1", "sgd.learning_rate: must be positive; got -1.0 (float)"),
    "not TOML": ("[loss]", "[loss", "bad.toml: must be valid TOML; got"),
}


@pytest.mark.parametrize("command", ["derive", "train"])
@pytest.mark.parametrize("case", list(SPECS))
def test_a_bad_spec_gets_one_line(case: str, command: str) -> None:
    old, new, wanted = SPECS[case]
    assert GOOD.count(old) == 1
    Path("bad.toml").write_text(GOOD.replace(old, new))
    (line,) = refused(command, "bad.toml", *RUN[command])
    assert wanted in line
    assert not Path("pwned").exists()


def test_every_problem_gets_its_line() -> None:
    text = GOOD.replace("std = 0.5", "std = -1").replace("rate = 0.01", "rate = 0").replace("paths = 8", "paths = -8")
    Path("bad.toml").write_text(text.replace("(u*w*x", "(v*w*x"))
    for command in RUN:
        where = [line.split(":")[0] for line in refused(command, "bad.toml", *RUN[command])]
        assert where == ["data.e", "loss.expression, column 2", "sgd.learning_rate", "run.paths"]


def test_an_unknown_scheme_is_named_before_a_run() -> None:
    Path("bad.toml").write_text(GOOD.replace("paths = 8", 'scheme = "nosuch"'))
    (line,) = refused("simulate", "bad.toml", *RUN["simulate"])
    assert "scheme: must be one of" in line and "'nosuch'" in line


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (ROWS.replace("3,5", "3,"), ["row 2, column 'b' of train.csv must be a finite number; got '' (missing)"]),
        (ROWS.replace("3,5", "3,five"), ["row 2, column 'b' of train.csv must be a finite number; got 'five'"]),
        (ROWS.replace("\n5,2,2", "\nNaN,2,2"), ["row 3, column 'a' of train.csv must be a finite number; got 'NaN'"]),
        (ROWS.replace("3,5,2", "3,,x"), ["row 2, column 'b'", "row 2, column 'label'"]),
        (ROWS.replace("3,5,2", "3,5"), ["row 2 of train.csv must have 3 cells; got 2"]),
        (ROWS.replace("a,b", "a,c"), ["every column must be in the header of train.csv; got 'b' (missing)"]),
    ],
)
@pytest.mark.parametrize("command", ["derive", "simulate"])
def test_bad_cells_are_named_by_row_and_column(command: str, rows: str, wanted: list[str]) -> None:
    Path("train.csv").write_text(rows)
    lines = refused(command, "file.toml", *RUN[command])
    assert len(lines) == len(wanted)
    for line, words in zip(lines, wanted, strict=True):
        assert line.startswith("data.file: ") and words in line


def test_a_missing_table_is_named() -> None:
    Path("train.csv").unlink()
    (line,) = refused("derive", "file.toml", *RUN["derive"])
    whole = str(Path("train.csv").absolute())
    assert f"data.file: the file must be readable CSV; got {whole!r} (No such file or directory)" in line


def test_a_batch_without_replacement_must_fit_the_data_set() -> None:
    Path("bad.toml").write_text(FROM_FILE.replace("[run]", "batch_size = 5\n[run]"))
    for command in RUN:
        (line,) = refused(command, "bad.toml", *RUN[command])
        assert line.startswith("sgd.batch_size: without replacement a batch cannot exceed the 4 rows")
    for command in ("simulate", "train", "verify"):
        (line,) = refused(command, "file.toml", *RUN[command], "--batch-size", 5)
        assert "batch_size: without replacement" in line and "got 5 (int) of 4 rows" in line


@pytest.mark.parametrize("spec", ["nosuch.toml", "recsaling", "folder", "missing/spec.toml"])
def test_a_spec_that_is_not_there(spec: str) -> None:
    for command in RUN:
        (line,) = refused(command, spec, *RUN[command])
        assert line.startswith("spec: ")


@pytest.mark.parametrize("output", ["missing/out", "folder", ".", "good.toml/out", "/proc/nosuch/out", ""])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("derive", "--json"),
        ("simulate", "-o"),
        ("simulate", "--json"),
        ("train", "-o"),
        ("verify", "--report"),
        ("verify", "--json"),
    ],
)
def test_an_unwritable_output_is_refused_before_the_work(
    command: str, option: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("it ran before it looked at the output")

    monkeypatch.setattr(sde.api.prepared_run, "load", never)
    others = [] if option == "-o" or command in ("derive", "verify") else ["-o", "out.nc"]
    (line,) = refused(command, "good.toml", option, output, *others)
    assert line.startswith("output: ")


def test_an_output_stays_whole_when_a_run_fails() -> None:
    Path("out.nc").write_text("before")
    refused("simulate", "good.toml", "-o", "out.nc", "--dt", 7)
    assert Path("out.nc").read_text() == "before"
    assert not [name for name in os.listdir() if name.startswith(".")]


TANH = """
[parameters]
W = [2, 2]
a = [2]
[data]
x = { law = "normal", shape = [2] }
e = { law = "normal", std = 0.1 }
[loss]
expression = "(a@tanh(W@x) - e)**2"
[run]
start = { W = [[0.3, 0.2], [0.1, -0.4]], a = [0.5, 0.2] }
time = 1.0
paths = 4
"""


def test_an_sde_without_a_covariance_is_refused() -> None:
    Path("tanh.toml").write_text(TANH)
    (line,) = refused("simulate", "tanh.toml", *RUN["simulate"])
    assert line.startswith("simulate: the SDE needs Sigma; got a loss that is not polynomial in the data")
    assert "Dataset" in line and "train" in line


def test_a_run_needs_a_start_and_a_length() -> None:
    Path("bad.toml").write_text(GOOD.replace("start = { u = 1.2, w = 0.6 }", ""))
    Path("endless.toml").write_text(GOOD.replace("time = 1.0", ""))
    for command in ("simulate", "train", "verify"):
        assert refused(command, "bad.toml", *RUN[command])[0].startswith("run.start: a start is needed")
        assert refused(command, "endless.toml", *RUN[command])[0].startswith("run.time: a length is needed")


# --- option values --------------------------------------------------------------------------------------------------

ANY = {
    "--paths 0": "paths: must be a whole number of at least 1; got 0 (int)",
    "--paths -3": "paths: must be a whole number of at least 1; got -3 (int)",
    "--seed -1": "seed: must be a whole number in [0, 2**64); got -1 (int)",
    "--learning-rate -1": "learning_rate: must be positive; got -1.0 (float)",
    "--learning-rate nan": "learning_rate: must be a finite number; got nan (float)",
    "--batch-size 0": "batch_size: must be a whole number of at least 1; got 0 (int)",
    "--weight-decay -1": "weight_decay: must not be negative; got -1.0 (float)",
    "--momentum 1": "momentum: must lie in [0, 1); got 1.0 (float)",
}
RUNS = {
    "--save-at 1": "save_at: a count needs at least 2 times, both ends; got 1 (int)",
    "--save-at -2": "save_at: a count needs at least 2 times, both ends; got -2 (int)",
    "--dtype float16": "dtype: must be 'float32' or 'float64'; got 'float16'",
    "--keep nothing": "keep: must be 'statistics' or 'paths'; got 'nothing'",
}
OPTIONS = {
    "simulate": {
        **ANY,
        **RUNS,
        "--time 0": "time: must be positive and finite; got 0.0 (float)",
        "--time nan": "time: must be positive and finite; got nan (float)",
        "--time inf": "time: must be positive and finite; got inf (float)",
        "--dt 0": "dt: must be positive and finite; got 0.0 (float)",
        "--dt -1": "dt: must be positive and finite; got -1.0 (float)",
        "--dt 7": "dt: must not exceed the time 1.0; got 7.0 (float)",
        "--scheme nosuch": "scheme: must be one of euler-maruyama",
        "--scheme sgd": "scheme: must integrate an SDE; got 'sgd'",
    },
    "train": {
        **ANY,
        **RUNS,
        "--steps 0": "steps: must be a whole number of at least 1; got 0 (int)",
        "--steps -4": "steps: must be a whole number of at least 1; got -4 (int)",
    },
    "verify": {
        **ANY,
        "--time 0": "run.time: must be positive and finite; got ",
        "--time nan": "run.time: must be positive and finite; got ",
        "--time inf": "run.time: must be positive and finite; got ",
        "--steps 1": "verify.time: must hold at least two steps of 0.01; got 0.01",
        "--alpha 2": "verify.alpha: must lie in (0, 1); got 2.0 (float)",
        "--alpha 0": "verify.alpha: must lie in (0, 1); got 0.0 (float)",
        "--alpha nan": "verify.alpha: must lie in (0, 1); got nan (float)",
    },
}


@pytest.mark.parametrize(("command", "option"), [(c, o) for c, table in OPTIONS.items() for o in table])
def test_option_values_out_of_range(command: str, option: str) -> None:
    (line,) = refused(command, "good.toml", *RUN[command], *option.split())
    assert OPTIONS[command][option] in line


REFUSED = [
    ("simulate", "--threads -1"),
    ("simulate", "--threads 0"),
    ("simulate", "--time 1e300"),
    ("simulate", "--learning-rate 1e-300"),
    ("simulate", "--paths 200000000000000"),
    ("train", "--steps 1000000000000000"),
    ("train", "--steps 100000000000000000000000"),
    ("train", "--time 0"),
    ("train", "--time -3"),
    ("train", "--time nan"),
    ("train", "--time inf"),
    ("train", "--steps 5 --time 3"),
    ("verify", "--steps 5 --time 3"),
    ("simulate", "-o -"),
    ("simulate", "--json out.nc"),
    ("verify", "--report same --json same"),
    ("simulate", "-o good.toml"),
]


@pytest.mark.parametrize(("command", "option"), REFUSED)
def test_options_that_could_be_taken_silently(command: str, option: str) -> None:
    assert len(refused(command, "good.toml", *RUN[command], *option.split())) == 1


@pytest.mark.parametrize("option", ["--paths 1.5", "--time abc", "--nosuch 1"])
def test_what_is_no_value_at_all_is_the_parsers_usage_error(option: str) -> None:
    result = CliRunner().invoke(app, ["simulate", "good.toml", *map(str, RUN["simulate"]), *option.split()])
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_alpha_is_checked_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("it ran before it looked at alpha")

    monkeypatch.setattr(sde.api.prepared_run, "load", never)
    refused("verify", "good.toml", "--alpha", 2)


def test_a_schedule_that_divides_by_zero_gets_one_line() -> None:
    Path("bad.toml").write_text(GOOD.replace("[run]", 'schedule = "1/t"\n[run]'))
    assert len(refused("simulate", "bad.toml", *RUN["simulate"])) == 1


def test_a_pipe_is_not_replaced_by_a_file() -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        CliRunner().invoke(app, ["derive", "good.toml", "--json", "pipe"])
        assert Path("pipe").is_fifo()
    finally:
        os.close(reader)


def test_a_link_is_written_through() -> None:
    Path("real.json").write_text("")
    Path("link.json").symlink_to("real.json")
    CliRunner().invoke(app, ["derive", "good.toml", "--json", "link.json"])
    assert Path("link.json").is_symlink() and Path("real.json").read_text()
