"""What a stranger meets first: names, docstrings in numpydoc form that say what the signatures say, types, version."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import sde
import symbolic

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (sde, symbolic)
PUBLIC = sorted({name: getattr(p, name) for p in PACKAGES for name in p.__all__}.items())
OBJECTS = {name: value for name, value in PUBLIC if inspect.isfunction(value) or inspect.isclass(value)}
LOSSES = {f"library.{n}": getattr(symbolic.library, n) for n in symbolic.library.__all__ if n.islower() and n != "rows"}


def sections(text: str) -> dict[str, list[str]]:
    """{title: lines} of a numpydoc docstring; "" for what stands before the first."""
    found: dict[str, list[str]] = {"": []}
    title = ""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if i + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[i + 1]) and len(lines[i + 1]) == len(line):
            title = line
            found[title] = []
        elif not re.fullmatch(r"-{3,}", line):
            found[title].append(line)
    return found


def named(lines: list[str]) -> list[str]:
    """The names that a section describes; every one has a description below it."""
    heads = [i for i, line in enumerate(lines) if line and not line.startswith(" ")]
    assert all(i + 1 < len(lines) and lines[i + 1].startswith("    ") for i in heads), lines
    return [name for i in heads for name in lines[i].split(" : ")[0].replace("*", "").split(", ")]


def arguments(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def methods(owner: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that our own classes give a public class."""
    for base in reversed(owner.__mro__):
        if base.__module__.split(".")[0] in ("sde", "symbolic"):
            for name, value in vars(base).items():
                if not name.startswith("_"):
                    yield f"{owner.__name__}.{name}", value.__func__ if isinstance(value, classmethod) else value


USED = [v for v in OBJECTS.values() if inspect.isclass(v) and not issubclass(v, (symbolic.Distribution, Exception))]
MEMBERS = dict(m for value in USED for m in methods(value))
"""A distribution's methods are for the derivation, not for users."""
FUNCTIONS = {n: v for n, v in {**OBJECTS, **MEMBERS}.items() if inspect.isfunction(v)}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_dir_help_and_stub_show_every_name(package: Any) -> None:
    assert {*package.__all__, "__version__"} <= set(dir(package)) and package.__all__ == sorted(package.__all__)
    assert [n for n in dir(package) if not n.startswith("_")] == package.__all__
    stub = ast.parse((ROOT / package.__name__ / "__init__.pyi").read_text(encoding="utf-8"))
    imports = {a.asname: (n.module, a.name) for n in stub.body if isinstance(n, ast.ImportFrom) for a in n.names}
    declared = {n.target.id for n in stub.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    assert sorted({*imports, *declared} - {"__version__"}) == package.__all__
    for name, (home, original) in imports.items():
        assert getattr(package, name) is getattr(importlib.import_module(str(home)), original)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
        _ = package.nothing


def test_importing_loads_nothing() -> None:
    """Names come when they are asked for: neither SymPy nor Numba is loaded by the import alone."""
    code = "import sys, sde, symbolic; print(sorted({'sympy', 'numba', 'xarray', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_version_is_the_distributions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited is not None
    assert {sde.__version__, symbolic.__version__, cited[1]} == {project["version"]}


@pytest.mark.parametrize("name", [*OBJECTS, *MEMBERS, *LOSSES])
def test_docstrings_begin_with_a_sentence(name: str) -> None:
    value = {**OBJECTS, **MEMBERS, **LOSSES}[name]
    value = value.func if isinstance(value, cached_property) else value
    if not (inspect.isfunction(value) or inspect.isclass(value) or isinstance(value, property)):
        return  # a field's default
    text = inspect.getdoc(value)
    assert text and re.match(r"\S.*?\.(\s|$)", text, re.DOTALL), name


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_parameters_are_the_signatures(name: str) -> None:
    found = sections(inspect.getdoc(FUNCTIONS[name]) or "")
    wanted = arguments(FUNCTIONS[name])
    assert named(found.get("Parameters", [])) == wanted
    assert not wanted or {"Returns", "Raises"} & set(found) or "." in name, "what does it give?"


@pytest.mark.parametrize("name", [n for n, v in OBJECTS.items() if inspect.isclass(v)])
def test_classes_say_what_they_take_or_hold(name: str) -> None:
    """A class that users make documents its arguments, a record that they are given its fields."""
    value = OBJECTS[name]
    found = sections(inspect.getdoc(value) or "")
    if issubclass(value, Exception) or inspect.isabstract(value):
        return
    if "Parameters" in found:
        assert named(found["Parameters"]) == arguments(value)
    else:
        fields = [f.name for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
        assert fields and sorted(named(found["Attributes"])) == sorted(fields)


@pytest.mark.parametrize("name", [n for n, v in {**FUNCTIONS, **OBJECTS}.items() if ">>>" in (v.__doc__ or "")])
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {**FUNCTIONS, **OBJECTS}[name]
    monkeypatch.chdir(tmp_path)
    (example,) = [t for t in doctest.DocTestFinder(recurse=False).find(value, name, globs={}) if t.examples]
    output: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=output.append)
    assert tried and not failed, "".join(output)


def test_the_main_calls_have_examples() -> None:
    shown = {n for n, v in OBJECTS.items() if ">>>" in (v.__doc__ or "")}
    assert shown >= {
        "simulate",
        "train",
        "derive",
        "verify",
        "expectation",
        "sensitivities",
        "convergence",
        "Loss",
        "SDE",
        "SGD",
        "Normal",
    }


@pytest.mark.slow
def test_the_wheel_holds_types_and_licence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    for package in PACKAGES:
        assert {f"{package.__name__}/py.typed", f"{package.__name__}/__init__.pyi"} <= set(names)
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert not [n for n in names if n.startswith(("tests", "benchmarks"))]


def test_types_are_marked() -> None:
    """The wheel takes both packages whole."""
    assert all((ROOT / p.__name__ / "py.typed").exists() for p in PACKAGES)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [p.__name__ for p in PACKAGES]


def test_extras_have_code_behind_them() -> None:
    """No extra stands for what is only planned."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["optional-dependencies"]) == {
        "notebooks",
        "distributed",
        "zarr",
        "torch",
        "dev",
        "docs",
        "bench",
    }
