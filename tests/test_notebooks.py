"""The notebooks run from a fresh kernel, and their committed outputs are what they print."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode, v4, write

from notebooks import run
from notebooks import write as write_
from sde.results.catalogue import results

NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?")
MACHINE = re.compile(r"/(?:home|root|tmp|work|Users|usr|opt)/|[A-Z]:\\Users|0x[0-9a-f]{6,}|seconds|\bpid\b")
NOTEBOOKS = run.paths()
QUICK = {"five_losses"}
"""Executed in every run of the tests; the others' results are measured in tests/results, quickly."""
TORCH = {p.stem for p in NOTEBOOKS if p.stem.startswith("torch_")}
EXECUTED = [pytest.param(p, marks=[pytest.mark.slow] * (p.stem not in QUICK)) for p in NOTEBOOKS]
LARGEST = 300_000


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [c for c in notebook.cells if c.cell_type == "code"]


def _texts(cell: NotebookNode) -> list[str]:
    """What a cell says in letters: its streams, and the text of its displays."""
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        texts += [output.get("text", ""), *(v for k, v in sorted(data.items()) if not k.startswith("image/"))]
    return texts


def _kinds(cell: NotebookNode) -> list[tuple[str, ...]]:
    return [(o.output_type, *sorted(o.get("data", {}))) for o in cell.outputs]


def _agree(old: str, new: str) -> bool:
    """Equal words, and numbers equal to 2 % or a unit of the last digit shown; rounding errors below 1e-12 count as
    zero."""

    def near(a: str, b: str) -> bool:
        unit = max(10.0 ** -len(s.partition(".")[2]) if "." in s and "e" not in s else 1e-12 for s in (a, b))
        return math.isclose(float(a), float(b), rel_tol=0.02, abs_tol=1.5 * unit)

    words = [re.sub(r"\s+", "", NUMBER.sub("#", text)) for text in (old, new)]
    return words[0] == words[1] and all(map(near, NUMBER.findall(old), NUMBER.findall(new)))


def _small(folder: Path, source: str) -> Path:
    path = folder / "small.ipynb"
    write(v4.new_notebook(cells=[v4.new_code_cell(source)]), path)
    return path


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_outputs(path: Path):
    notebook = run.read(path)
    cells = _code(notebook)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1)), "saved from one run, top to bottom"
    kinds = [kind for c in cells for kind in _kinds(c)]
    assert not any(kind[0] == "error" for kind in kinds)
    assert any("image/png" in kind or "image/svg+xml" in kind for kind in kinds)
    assert not any(o.get("name") == "stderr" for c in cells for o in c.outputs)
    assert path.stat().st_size < LARGEST
    for text in [path.name, *(t for c in cells for t in _texts(c))]:
        assert not MACHINE.search(text), text
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_every_result_has_one():
    """Written by `python -m notebooks.write`, and not older than its result's words."""
    for name, result in results().items():
        told = run.read(run.FOLDER / f"{name.replace('-', '_')}.ipynb").cells[0].source
        assert told == write_.cells(result)[0].source


@pytest.mark.parametrize("path", EXECUTED, ids=lambda p: p.stem)
def test_fresh_run_says_the_same(path: Path):
    if extra := run.missing(path):
        pytest.skip(f"needs {extra}")
    before = path.read_bytes()
    fresh = run.execute(path)
    assert path.read_bytes() == before
    for old, new in zip(_code(run.read(path)), _code(fresh), strict=True):
        assert _kinds(old) == _kinds(new), old.source
        for said, says in zip(_texts(old), _texts(new), strict=True):
            assert _agree(said, says), f"committed:\n{said}\nfresh:\n{says}"


def test_what_needs_an_extra_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = _small(tmp_path, "from torch import nn\n1 / 0")
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    before = path.read_bytes()
    assert run.main([]) == 0
    assert path.read_bytes() == before and "left out, as torch is not there" in capsys.readouterr().out
    assert {p.stem for p in NOTEBOOKS if run.missing(p)} == TORCH


def test_an_error_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    path = _small(tmp_path, "1 / 0")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run.execute(path)
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    before = path.read_bytes()
    assert run.main([]) == 1
    assert path.read_bytes() == before
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_check_writes_nothing_and_runs_this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = _small(tmp_path, "import sys, symbolic\nprint(sys.executable)\nobject()")
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    before = path.read_bytes()
    assert run.main(["--check"]) == 0
    assert path.read_bytes() == before
    assert run.main([]) == 0
    said, shown = _texts(run.read(path).cells[0])[0], run.read(path).cells[0].outputs[-1]["data"]["text/plain"]
    assert said.strip() == sys.executable
    assert shown == "<object>"


def test_a_stream_flushed_in_pieces_is_one_output(tmp_path: Path):
    """A slow machine once split one cell's printed lines into two outputs, and the committed notebook no longer
    matched."""
    path = _small(
        tmp_path,
        "import sys\nprint('a', flush=True)\nsys.stdout.flush()\nimport time; time.sleep(0.5)\nprint('b')\nprint('c',"
        " file=sys.stderr)",
    )
    assert [(o.name, o.text) for o in run.execute(path).cells[0].outputs] == [("stdout", "a\nb\n"), ("stderr", "c\n")]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("rate 0.02 at 1/50", "rate 0.02 at 1/50", True),
        ("[2.72 4.8 ]", "[2.72 4.81]", True),
        ("ratio 1.010", "ratio 1.011", True),
        ("C -> 0", "C -> 4.4e-15", True),
        ("slope 0.0402", "slope 0.0442", False),
        ("supported", "refuted", False),
        ("u**2 - w**2", "u**2 - w**3", False),
    ],
)
def test_what_counts_as_the_same(old: str, new: str, same: bool):
    assert _agree(old, new) is same
