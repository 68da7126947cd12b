"""Mistakes in spec files and tables of data, each told in one line with the remedy that fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import sympy as sp

from sde.spec.problem_file import SpecError, parse_spec, read_spec
from symbolic.errors import InputError, sentences
from symbolic.functions.reached import Reached
from tests.commands import GOOD

u, w = sp.symbols("u w", real=True)
SHAPED = """
[parameters]
W = [2]
[data]
file = "train.csv"
inputs = ["a", "b"]
targets = ["label"]
[loss]
expression = "(W@x - y)**2"
"""
ROWS = "a,b,label\n1,2,0\n3,5,2\n5,2,2\n2,1,1\n"
EXPRESSION = "(u*w*x - y)**2"
SPECS = {
    "power": (EXPRESSION, "(u*w*x - y)^2", "the operator ^ is not allowed; * Write ** for a power: u**2."),
    "logarithm": (EXPRESSION, "ln(u*w*x - y)", "unknown function 'ln'; * Write log(...)"),
    "module": (EXPRESSION, "np.exp(u*w*x - y)", "only functions can be called; * Write exp(...)."),
    "function": (EXPRESSION, "sigmod(u*w*x - y)", "unknown function 'sigmod'; * Did you mean 'sigmoid'?"),
    "product by brackets": (EXPRESSION, "u(w*x - y)", "Write a product with *, as in u*(...)."),
    "product by nothing": (EXPRESSION, "(u w x - y)**2", "Write products with *, as in 2*u*w."),
    "number by nothing": (EXPRESSION, "2u*w*x - y", "Write products with *, as in 2*u*w."),
    "printed minus": (EXPRESSION, "u*w*x \u2212 y", "column 7: the character is not allowed; * Write - for it."),
    "printed square": (EXPRESSION, "(u*w*x - y)\u00b2", "Write **2 for it."),
    "name": (EXPRESSION, "(uu*w*x - y)**2", "unknown name 'uu'; * Did you mean 'u'?"),
    "other section": ("paths = 8", "learning_rate = 0.1", "run.learning_rate: unknown key; * It belongs under [sgd]."),
    "other section, below": ("[run]", "paths = 7\n[run]", "sgd.paths: unknown key; * It belongs under [run]."),
    "no section": ("[parameters]", "time = 3\n[parameters]", "time: unknown section or key; * It belongs under [run]."),
    "loss in data": ("[loss]", "expression = 'u'\n[loss]", "data.expression: "),
    "near another section": ("paths = 8", "learningrate = 1", "Did you mean 'learning_rate' under [sgd]?"),
    "section case": ("[sgd]", "[SGD]", "Did you mean 'sgd'?"),
    "law in parameters": ("u = []", "u = { law = 'normal' }", "A variable with a law goes under [data]"),
    "value in parameters": ("u = []", "u = 1.2", "values go under [run], start = { ... }."),
    "shape in data": ("[data]", "[data]\nz = [2]", "A shape goes under [parameters]"),
    "law": ('law = "normal", mean = 0, std = 1', 'law = "Normal"', "data.x.law: * Did you mean 'normal'?"),
    "law's key": ("mean = 0, std = 1", "mean = 0, sd = 1", "data.x.sd: * Did you mean 'std'?"),
    "start": ("u = 1.2", "U = 1.2", "run.start[U]: must name a parameter; * Did you mean 'u'?"),
    "dtype": ("paths = 8", "dtype = 'Float32'", "run.dtype: * Did you mean 'float32'?"),
    "keep": ("paths = 8", "keep = 'path'", "run.keep: * Did you mean 'paths'?"),
    "covariance": ("paths = 8", "covariance = ['U']", "run.covariance: * Did you mean 'u'?"),
    "33 dimensions": ("u = []", f"u = {[1] * 33}", "parameters.u: must be a shape, at most 16 whole numbers"),
}


@pytest.mark.parametrize("case", list(SPECS))
def test_case_e_a_spec_is_refused_in_one_line(case: str) -> None:
    old, new, wanted = SPECS[case]
    assert old in GOOD
    with pytest.raises(SpecError) as caught:
        parse_spec(GOOD.replace(old, new, 1))
    (line,) = caught.value.errors
    assert sentences(line) and isinstance(caught.value, InputError)
    at = 0
    for part in wanted.split(" * "):
        assert part in line[at:], line
        at = line.index(part, at) + len(part)


def test_case_e_relations_are_events_of_a_spec() -> None:
    for text, same in (("u > 1.3", u - 1.3), ("2*u < w", w - 2 * u), ("2*u <= w", Reached(w - 2 * u))):
        made = parse_spec(GOOD.replace("paths = 8", f"events = {{ hit = '{text}' }}")).run["events"]["hit"]
        assert isinstance(made, Reached) == isinstance(same, Reached)
        assert sp.nsimplify(made - sp.nsimplify(same)) == 0


ENCODINGS = {
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16, without its mark",
    "utf-32": "UTF-16",
    "latin-1": "byte 0xe9 in line 1",
}


@pytest.mark.parametrize("encoding", list(ENCODINGS))
def test_case_e_files_of_another_encoding_are_told_so(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_bytes(("# \u00e9\n" + GOOD).encode(encoding))
    (tmp_path / "file.toml").write_text(SHAPED)
    (tmp_path / "train.csv").write_bytes(ROWS.replace("label", "\u00e9").encode(encoding))
    for name, where in (("spec.toml", "spec"), ("file.toml", "data.file")):
        with pytest.raises(SpecError) as caught:
            read_spec(tmp_path / name)
        assert str(caught.value).startswith(f"{where}: the file must be UTF-8 text; got")
        assert f"({ENCODINGS[encoding]}). Save it as UTF-8" in str(caught.value)


def test_case_e_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert read_spec(tmp_path / "spec.toml").run["paths"] == 8


@pytest.mark.parametrize(("mark", "called"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (" ", "blanks")])
def test_case_e_cells_not_parted_by_commas(mark: str, called: str, tmp_path: Path) -> None:
    (tmp_path / "file.toml").write_text(SHAPED)
    (tmp_path / "train.csv").write_text(ROWS.replace(",", mark))
    with pytest.raises(SpecError, match=rf"data\.file: cells must be separated by commas; got {called} in the header"):
        read_spec(tmp_path / "file.toml")


def test_case_e_a_missing_table_is_named_by_its_whole_path(tmp_path: Path) -> None:
    (tmp_path / "file.toml").write_text(SHAPED)
    with pytest.raises(SpecError) as caught:
        read_spec(tmp_path / "file.toml")
    assert repr(str(tmp_path / "train.csv")) in str(caught.value)
