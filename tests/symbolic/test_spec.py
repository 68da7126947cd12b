"""Specs: the format of docs/specs.md is read exactly, and every problem is told, all at once, in one line each."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from sde.spec.problem_file import SpecError, parse_spec, read_spec, spec_for
from symbolic.codegen.prepare import parameters_of
from symbolic.problem.distributions import Normal
from symbolic.problem.optimizer import SGD, t

EXAMPLES = Path(__file__).parents[2] / "examples"
GOOD = """
name = "rescaling"
[parameters]
u = []
w = []
[data]
x = { law = "normal", mean = 0, std = 1 }
e = { law = "normal", mean = 0, std = 0.5, shape = [] }
[loss]
where = { y = "x + e" }
expression = "(u*w*x - y)**2"
[sgd]
learning_rate = 0.01
batch_size = 1
weight_decay = 0.0
[run]
start = { u = 1.2, w = 0.6 }
time = 50.0
paths = 10000
seed = 0
"""
ROWS = "a,b,label,c\n1,2,0,5\n3,5,2,5\n5,2,2,5\n"
FROM_FILE = """
[parameters]
W = [2]
[data]
file = "train.csv"
inputs = ["a", "b"]
targets = ["label"]
[loss]
expression = "(W@x - y)**2"
"""


def problems(text: str, path: str | Path = "spec.toml") -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, path)
    assert str(caught.value) == "\n".join(caught.value.errors)
    for line in caught.value.errors:
        assert re.fullmatch(r"[^:\n]+: .+(; got |here ).+", line), line
    return list(caught.value.errors)


def test_designs_own_example() -> None:
    spec = parse_spec(GOOD)
    u, w, x, e = sp.symbols("u w x e", real=True)
    assert spec.name == spec.loss.name == "rescaling"
    assert sp.expand(spec.loss.expression - (u * w * x - x - e) ** 2) == 0
    assert [p.name for p in spec.loss.parameters] == ["u", "w"]
    assert set(spec.loss.z) == {x, e}
    assert spec.loss.blocks[1].moment({e: 2}) == sp.Rational(1, 4)
    assert spec.sgd == SGD(0.01)
    assert spec.run == {"start": {"u": 1.2, "w": 0.6}, "time": 50.0, "paths": 10000, "seed": 0}


def test_what_a_run_watches() -> None:
    text = GOOD + 'warn_share = 0.5\nobservables = { C = "u**2 - w**2" }\nevents = { flat = "w - u" }\n'
    spec = parse_spec(text + 'covariance = ["u", "C"]\nhistogram = { C = [-1, 0, 1.5] }\n')
    u, w = sp.symbols("u w", real=True)
    assert spec.run["events"] == {"flat": w - u} and spec.run["covariance"] == ["u", "C"]
    assert spec.run["histogram"] == {"C": [-1, 0, 1.5]} and spec.run["warn_share"] == 0.5


def test_run_and_sgd_in_full() -> None:
    text = GOOD.replace("weight_decay = 0.0", 'momentum = 0.5\nreplacement = false\nschedule = "min(t/5, 1)"')
    text = text.replace("u = 1.2, w = 0.6", 'u = { law = "normal", std = 0.5 }, w = 1')
    text += (
        'dt = 0.1\nsave_at = [0.0, 2.5, 50.0]\nscheme = "tamed-euler"\ndtype = "float32"\nkeep ='
        ' "paths"\n[observables]\nC = "u**2 - w**2"\nv = "[u, w]"\n'
    )
    spec = parse_spec(text)
    assert spec.sgd == SGD(0.01, momentum=0.5, replacement=False, schedule=sp.Min(t / 5, 1))
    assert isinstance(spec.run["start"]["u"], Normal)
    assert spec.run["start"]["w"] == 1
    assert spec.run["observables"]["C"] == sp.Symbol("u", real=True) ** 2 - sp.Symbol("w", real=True) ** 2
    assert spec.run["observables"]["v"].shape == (2,)
    assert spec.run["save_at"].tolist() == [0.0, 2.5, 50.0]
    assert {k: spec.run[k] for k in ("dt", "scheme", "dtype", "keep")} == {
        "dt": 0.1,
        "scheme": "tamed-euler",
        "dtype": "float32",
        "keep": "paths",
    }


def test_several_starts_steps_and_laws_with_shapes() -> None:
    spec = parse_spec("""
        [parameters]
        W = [2, 3]
        [data]
        x = { law = "normal", mean = [0, 1, 0], covariance = [[1, "1/3", 0], ["1/3", 1, 0], [0, 0, 2]] }
        k = { law = "bernoulli", p = 0.25 }
        r = { law = "uniform", low = [-1, 0], high = 1 }
        m = { law = "moments", moments = [0, 1, 0, 3], shape = [2] }
        h = { law = "laplace", scale = "1/2", shape = [2] }
        [loss]
        expression = "sum((W@x - r - k*m - h)**2)"
        [run]
        steps = 100
        [[run.start]]
        W = [[1, 0, 0], [0, 1, 0]]
        [[run.start]]
        W = [[0, 0, 1], [0, 1, 0]]
    """)
    blocks = {b.symbols[0].name: b for b in spec.loss.blocks}
    assert {name: len(b.symbols) for name, b in blocks.items()} == {"x[0]": 3, "k": 1, "r[0]": 2, "m[0]": 2, "h[0]": 2}
    assert blocks["h[0]"].moment({blocks["h[0]"].symbols[1]: 2}) == sp.Rational(1, 2)
    x = blocks["x[0]"].symbols
    assert blocks["x[0]"].moment({x[0]: 1, x[1]: 1}) == sp.Rational(1, 3)
    assert [start["W"].shape for start in spec.run["start"]] == [(2, 3), (2, 3)]
    assert spec.sgd.learning_rate == 0.01
    assert spec.run["steps"] == 100
    assert "time" not in spec.run


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("[run]", "[runs]", "runs: unknown section or key; got {'start'"),
        ("[run]", "[runs]", "Did you mean 'run'?"),
        ("batch_size", "batchsize", "sgd.batchsize: unknown key; got 1 (int). Did you mean 'batch_size'?"),
        ("paths", "path", "run.path: unknown key; got 10000 (int). Did you mean 'paths'?"),
        (
            "std = 1 }",
            "sdt = 1 }",
            "data.x.sdt: unknown key for the normal law; got 1 (int). Did you mean 'std'?",
        ),
        (
            'x = { law = "normal"',
            'x = { law = "gauss"',
            "data.x.law: must name a law; got 'gauss' (str). Known: normal",
        ),
        ("where", "were", "loss.were: unknown key; got {'y': 'x + e'} (dict). Did you mean 'where'?"),
        ("(u*w*x - y)**2", "foo(u*w*x - y)", "loss.expression, column 1: unknown function 'foo'"),
        (
            "(u*w*x - y)**2",
            "__import__('os').system('ls')",
            "loss.expression, column 1: only functions can be called",
        ),
        ("(u*w*x - y)**2", "__import__('os')", "unknown function '__import__'"),
        (
            "(u*w*x - y)**2",
            "u.__class__ * w",
            "attribute access other than .T is not allowed; got 'u.__class__'",
        ),
        (
            "(u*w*x - y)**2",
            "(u*w*x - q)**2",
            "unknown name 'q'; got 'q' (name). Known names: u, w, x, e, y. A parameter goes under [parameters]; a data",
        ),
        ("(u*w*x - y)**2", "[u, w]@[x, y, 1]", "@ needs equal inner sizes, here shapes (2,) and (3,)"),
        ("(u*w*x - y)**2", "[u, w]*[x, y]", "loss.expression: must be a scalar, here shape (2,)"),
        ("(u*w*x - y)**2", "(w*x - y)**2", "parameters.u: must occur in the loss; got 'u' (str)"),
        ("(u*w*x - y)**2", "(u*w*x)**2", "data.e: must occur in the loss; got 'e' (str)"),
        ('x = { law = "normal", mean = 0, std = 1 }\n', "", "loss.where.y, column 1: unknown name 'x'"),
        ("std = 0.5", "std = -0.5", "data.e: std must not be negative; got -0.5 (float)"),
        ("std = 0.5", "std = inf", "data.e.std: must be finite numbers"),
        (
            "std = 0.5, shape = []",
            "std = [1, 2], shape = [3]",
            "data.e: parameters must broadcast to the variable's shape (3,); got shape (2,)",
        ),
        ("u = 1.2", "u = nan", "run.start.u: must be finite; got nan (float)"),
        ("u = 1.2, ", "", "run.start.u: every parameter needs one value; got nothing (missing)"),
        (
            "u = 1.2",
            "u = [1.2]",
            "run.start.u: must have the parameter's shape [], here [1]; got [1.2] (list)",
        ),
        ("u = 1.2", "uu = 1.2", "run.start[uu]: must name a parameter; got 'uu' (str). Did you mean 'u'?"),
        (
            "u = 1.2",
            'u = "1.2"',
            "run.start.u: must be a number, a rectangular array of numbers, or a law; got '1.2' (str)",
        ),
        ("learning_rate = 0.01", "learning_rate = 0", "sgd.learning_rate: must be positive; got 0.0 (float)"),
        ("learning_rate = 0.01", 'learning_rate = "x"', "sgd.learning_rate: must be a number; got 'x' (str)"),
        (
            "batch_size = 1",
            "batch_size = 0",
            "sgd.batch_size: must be a whole number of at least 1; got 0 (int)",
        ),
        ("batch_size = 1", 'schedule = "u*t"', "sgd.schedule, column 1: unknown name 'u'"),
        ("paths = 10000", "dt = 51.0", "run.dt: must not exceed the run's time 50; got 51.0 (float)"),
        ("paths = 10000", "paths = 2.5", "run.paths: must be a whole number of at least 1; got 2.5 (float)"),
        ("paths = 10000", "paths = true", "run.paths: must be a whole number of at least 1; got True (bool)"),
        ("paths = 10000", "steps = 7", "run.steps: time and steps must agree"),
        (
            "paths = 10000",
            "save_at = [0, 60]",
            "run.save_at: must not exceed the run's end 50; got 60.0 (float)",
        ),
        (
            "paths = 10000",
            'observables = { C = "u*x" }',
            "observables.C: may use parameters only, here x; got 'u*x' (str)",
        ),
        ("seed = 0", 'events = { u = "w" }', "events.u: a name may stand for one thing only"),
        ("seed = 0", 'events = { low = "[u, w]" }', "events.low: must be one expression"),
        ("seed = 0", 'events = "u"', "run.events: must be a table of named expressions"),
        ("seed = 0", 'covariance = ["u", "u"]', "run.covariance: must be a list of names, each once"),
        ("seed = 0", 'covariance = ["v"]', "run.covariance: must name a parameter or an observable"),
        ("seed = 0", "histogram = { u = [1, 1] }", "run.histogram.u: needs at least two increasing finite edges"),
        ("seed = 0", "histogram = { v = [0, 1] }", "run.histogram.v: must name a parameter or an observable"),
        ("seed = 0", "warn_share = 2", "run.warn_share: must be a share within [0, 1]; got 2 (int)"),
        ("seed = 0", "seed = -1", "run.seed: must be a whole number in [0, 2**64); got -1 (int)"),
        ("time = 50.0", "time = 0", "run.time: must be positive and finite; got 0 (int)"),
        ("w = []", "w = [2.5]", "parameters.w: must be a shape"),
        ("w = []", "w = []\nx = []", "data.x: a name may stand for one thing only"),
        ("{ y =", "{ u =", "loss.where.u: a name may stand for one thing only"),
        ("w = []", "w = []\nsum = []", "parameters.sum: the name 'sum' is taken"),
        ("w = []", "w = []\n_a = []", "parameters._a: a name must be letters, digits and underscores"),
        (
            "[loss]",
            "[loss",
            "spec.toml: must be valid TOML; got Expected ']' at the end of a table declaration (at line 9, column 6)",
        ),
    ],
)
def test_each_problem_has_its_line(old: str, new: str, wanted: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new))
    assert any(wanted in line for line in found), found


def test_all_problems_at_once() -> None:
    text = (
        GOOD.replace("std = 0.5", "std = -1")
        .replace("learning_rate = 0.01", "learning_rate = -1")
        .replace("seed = 0", "seed = -3")
    )
    where = [line.split(":")[0] for line in problems(text.replace("(u*w*x", "(v*w*x"))]
    assert where == ["data.e", "loss.expression, column 2", "sgd.learning_rate", "run.seed"]


def test_what_follows_from_a_problem_is_not_told_again() -> None:
    assert len(problems(GOOD.replace('"x + e"', '"x + foo(e)"'))) == 1
    assert len(problems(GOOD.replace("u = []", "u = [0]"))) == 1


def test_empty_spec_names_what_is_needed() -> None:
    assert [line.split(":")[0] for line in problems("")] == ["parameters", "data", "loss"]


def test_a_file_of_data_beside_a_law(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(ROWS)
    text = FROM_FILE.replace("[loss]", 'e = { law = "normal", std = 0.1 }\n[loss]').replace("- y", "- y - e")
    spec = parse_spec(text, tmp_path / "spec.toml")
    assert [b.size for b in spec.loss.blocks] == [3, None]
    assert [s.name for s in spec.loss.z] == ["x[0]", "x[1]", "y", "e"]
    assert spec.loss.blocks[0].table.tolist() == [[1, 2, 0], [3, 5, 2], [5, 2, 2]]


def test_standardize_and_classes(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(ROWS)
    scaled = FROM_FILE.replace("[loss]", "standardize = true\n[loss]")
    table = parse_spec(scaled, tmp_path / "s.toml").loss.blocks[0].table
    np.testing.assert_allclose(table.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(table.std(axis=0), 1)
    table = parse_spec(scaled.replace("true", '"inputs"'), tmp_path / "s.toml").loss.blocks[0].table
    assert table[:, 2].tolist() == [0, 2, 2]
    spec = parse_spec(
        FROM_FILE.replace("[loss]", "classes = true\n[loss]").replace("(W@x - y)**2", "dot(y, y)*sum(W@x)"),
        tmp_path / "s.toml",
    )
    assert spec.loss.blocks[0].table[:, 2:].tolist() == [[1, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("rows", "edit", "wanted"),
    [
        (
            ROWS.replace("3,5", "3,"),
            ("", ""),
            "data.file: row 2, column 'b' of train.csv must be a finite number; got '' (missing)",
        ),
        (
            ROWS.replace("3,5", "3,five"),
            ("", ""),
            "row 2, column 'b' of train.csv must be a finite number; got 'five' (not a number)",
        ),
        (
            ROWS.replace("3,5", "3,nan"),
            ("", ""),
            "row 2, column 'b' of train.csv must be a finite number; got 'nan'",
        ),
        (ROWS.replace("3,5,", "3,"), ("", ""), "row 2 of train.csv must have 4 cells; got 3 (cells)"),
        (
            ROWS,
            ('"b"', '"bb"'),
            "every column must be in the header of train.csv; got 'bb' (missing). Did you mean 'b'?",
        ),
        (ROWS, ("train.csv", "other.csv"), "data.file: the file must be readable CSV; got "),
        (ROWS, ("train.csv", "."), "data.file: the file must be readable CSV; got "),
        ("a,b,label\n", ("", ""), "train.csv must have at least 2 rows of data; got 0 (rows)"),
        ("", ("", ""), "must have a header and rows; got an empty file"),
        (
            ROWS.replace("label", "a"),
            ("", ""),
            "a column must occur once in the header of train.csv; got 'a' (twice)",
        ),
        (
            ROWS,
            ('"b"]', '"c"]\nstandardize = true'),
            "data.standardize: a constant column cannot be scaled to unit variance; got 'c' (constant)",
        ),
        (
            ROWS.replace("2,2,5", "2,2.5,5"),
            ("[loss]", "classes = true\n[loss]"),
            "needs at least two whole-number labels in column 'label'",
        ),
        (ROWS, ('["a", "b"]', '"a"'), "data.inputs: must be a list of different column names; got 'a' (str)"),
        (
            ROWS,
            ('["label"]', '["a"]'),
            "data.targets: a column may not be both input and target; got 'a' (str)",
        ),
        (ROWS, ("W = [2]", "W = [2]\nx = []"), "data.file: a name may stand for one thing only"),
        (ROWS, ("[loss]", "scale = 3\n[loss]"), "data.scale: must be a law or a key for files; got 3 (int)"),
        (
            ROWS,
            ("[loss]", "[sgd]\nbatch_size = 4\nreplacement = false\n[loss]"),
            "sgd.batch_size: without replacement a batch cannot exceed the 3 rows",
        ),
    ],
)
def test_bad_tables(tmp_path: Path, rows: str, edit: tuple[str, str], wanted: str) -> None:
    (tmp_path / "train.csv").write_text(rows)
    found = problems(FROM_FILE.replace(*edit), tmp_path / "spec.toml")
    assert any(wanted in line for line in found), found


def test_many_bad_cells_are_counted(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b,label\n" + "1,,0\n" * 50)
    found = problems(FROM_FILE, tmp_path / "spec.toml")
    assert len(found) == 6
    assert "45 more cells" in found[-1]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda p: p.stem)
def test_examples_are_read_from_anywhere(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = spec_for(path)
    assert set(spec.run["start"]) == {p.name for p in parameters_of(spec.problem)}


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "bad.toml"):
        with pytest.raises(SpecError, match="the file must be (readable|UTF-8 text); got"):
            read_spec(path)


def test_library_names_stand_for_files() -> None:
    spec = spec_for("matrix_factorization")
    assert spec.name == "matrix-factorization"
    assert spec.loss.pack(spec.run["start"]).shape == (14,)
    with pytest.raises(SpecError, match="Did you mean 'rescaling'"):
        spec_for("recsaling")
