"""Bad input is refused by whatever reads a setting: values are made from its constraint, so that a new one is tested as
it is written."""

from __future__ import annotations

import doctest
import inspect
import json
import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sympy as sp
from typer.testing import CliRunner

import sde.api.prepared_run
import sde.api.simulation
import sde.api.training
from sde import SGD, simulate, train, verify
from sde import constraints as own
from sde.cli.commands import app
from sde.constraints import Setting
from sde.settings import SETTINGS, RunSettings, SaveAt, options, taken
from sde.spec.problem_file import parse_spec
from sde.spec.run_section import OF_LOSS
from symbolic import Loss, Normal, derive
from symbolic.errors import InputError
from symbolic.errors import check as must
from tests.commands import GOOD

u, w, x, y = sp.symbols("u w x y", real=True)
LOSS = Loss((u * w * x - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)})
START = {u: 1.2, w: 0.6}
RUNS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "simulate": (simulate, {"start": START, "time": 1.0, "paths": 4}),
    "train": (train, {"start": START, "steps": 100, "paths": 4}),
    "verify": (verify, {"start": START, "time": 1.0, "paths": 4, "theory": derive(LOSS)}),
}
WRONG: list[Any] = [None, "a", math.nan, math.inf, [3], True, -1, 0.5]
LEGAL: dict[Any, list[Any]] = {
    must.whole: [],
    must.positive: [0.5],
    must.share: [0.5],
    must.one_of: [],
    must.text: [],
    must.flag: [True],
    must.mapping: [],
    own.real: [0, 1, -1, 0.5, 2, 1.5, 3],
    own.saved_times: [],
    own.times: [],
    own.names: [],
    own.first_or_names: ["a"],
    own.runner: [],
    own.file: ["a"],
    own.shown_by: [True],
}
"""What of it a check takes, where it depends on nothing else."""


def outside(known: Setting) -> list[Any]:
    """Values just outside of a setting's bounds."""
    if known.constraint is None:
        return []
    check, bounds = known.constraint.check, known.constraint.bounds
    if check is must.whole:
        return [bounds.get("least", 1) - 1, *([bounds["below"]] if "below" in bounds else [])]
    if check is must.positive:
        return [0.0, 0, -5e-324]
    if check is must.share:
        return [-5e-324, math.nextafter(1, 2)]
    if check is must.one_of:
        return [text for choice in bounds["choices"] for text in (choice.upper(), choice[:-1], f"{choice} ")]
    if check is own.saved_times:
        return [1, 0, [], [0.5, 0.5], [0.5, 0.1], [-0.1, 0.5], [0.5, 1.1], [[0.5]]]
    if check is own.times:
        return [[-0.1], [1.1], [[0.5]]]
    return []


def bad(known: Setting) -> list[Any]:
    """Values that a setting must refuse."""
    legal = [] if known.constraint is None else list(LEGAL[known.constraint.check])
    if known.constraint is not None and known.constraint.bounds.get("endless"):
        legal.append(math.inf)
    if known.default is None and not known.required:
        legal.append(None)
    taken_ = {(type(v), v) for v in legal}
    return [v for v in WRONG if isinstance(v, list) or (type(v), v) not in taken_] + outside(known)


def lines(error: BaseException, where: str) -> list[str]:
    """The error's lines, each in the one form and about `where`."""
    found = str(error).splitlines()
    for line in found:
        assert re.fullmatch(rf"(verify\.)?{re.escape(where)}(\[.*?\])?: .+; got .+\. [A-Z`].+", line), line
    return found


@pytest.fixture(autouse=True)
def never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sde.api.prepared_run, "load", lambda *_: pytest.fail("compiled before refusing"))


@pytest.mark.parametrize(
    ("command", "name"), [(c, n) for c in RUNS for n in taken(c) if (c, n) != ("verify", "progress")]
)
def test_calls_refuse_what_a_setting_cannot_be(command: str, name: str) -> None:
    call, settings = RUNS[command]
    for value in bad(SETTINGS[name]):
        with pytest.raises(InputError) as caught:
            call(LOSS, SGD(0.01), **{**settings, name: value})
        assert len(lines(caught.value, name)) == 1, value


SDE_SPEC = """
[sde]
states = ["X"]
drift = { X = "-X" }
[run]
parameters = {}
"""


def _toml(value: Any) -> str:
    if isinstance(value, float):
        return str(value)
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else json.dumps(value)


@pytest.mark.parametrize("name", [s.name for s in SETTINGS.values() if s.spec])
def test_specs_refuse_what_a_setting_cannot_be(name: str) -> None:
    good = GOOD if name in OF_LOSS else SDE_SPEC
    text = "\n".join(line for line in good.split("\n") if not line.startswith(f"{name} ="))
    known = SETTINGS[name]
    for value in bad(known):
        if value is None or (known.constraint is not None and known.constraint.check is must.text and value == "a"):
            continue
        with pytest.raises(ValueError) as caught:
            parse_spec(text.replace("[run]\n", f"[run]\n{name} = {_toml(value)}\n"))
        (line,) = lines(caught.value, f"run.{name}")
        assert "unknown key" not in line


def _options() -> Iterator[tuple[str, Setting]]:
    yield from ((c, s) for c in ("simulate", "train", "verify") for s in options(c) if s.option is not bool)


@pytest.mark.parametrize(("command", "known"), [pytest.param(c, s, id=f"{c}-{s.name}") for c, s in _options()])
def test_options_refuse_what_a_setting_cannot_be(command: str, known: Setting) -> None:
    Path("good.toml").write_text(GOOD)
    output = ["--report", "out"] if command == "verify" else ["-o", "out"]
    option = f"--{known.name.replace('_', '-')}"
    for value in [v for v in bad(known) if v is not None]:
        done = CliRunner().invoke(app, [command, "good.toml", *output, option, str(value)])
        said = done.stderr.splitlines()
        assert done.exit_code == 2 and done.stdout == "" and not Path("out").exists(), (value, done.output)
        assert f"'{option}'" in said[-1] or (len(said) == 1 and re.search(rf"\b{known.name}: .+; got ", said[0])), said


@pytest.mark.parametrize("call", [simulate, train, verify])
def test_functions_take_the_settings_that_say_so(call: Callable[..., Any]) -> None:
    arguments = inspect.signature(call).parameters
    assert set(taken(call.__name__)) <= set(arguments)
    if call is verify:
        return
    assert {n for n, p in arguments.items() if p.kind is p.KEYWORD_ONLY} == set(taken(call.__name__))
    for name in taken(call.__name__):
        known = SETTINGS[name]
        default = arguments[name].default
        assert default is inspect.Parameter.empty if known.required else default == known.default, name


def test_a_record_holds_what_is_computed_with_and_stays_checked() -> None:
    settings = RunSettings(command="simulate", start=START, time=1, paths=8.0, saves=SaveAt(save_at=[0, 1]))  # type: ignore[arg-type]
    assert (settings.time, settings.paths, settings.saves.save_at.tolist()) == (1.0, 8, [0.0, 1.0])
    assert type(settings.time) is float and type(settings.paths) is int
    assert set(settings.deciding()) == {n for n in taken("simulate") if SETTINGS[n].decides}
    with pytest.raises(InputError, match="paths: must be a whole number of at least 1; got 0"):
        replace(settings, paths=0)


def test_warnings_point_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    grows = sde.SDE([u], [u**2], [[w]], parameters=[w])
    settings: dict[str, Any] = {"start": {u: 1.0}, "time": 4.0, "dt": 0.05, "paths": 20, "save_at": [0, 0.01, 4.0]}
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        simulate(grows, parameters={w: 0.1}, observables={"root": sp.sqrt(-u)}, **settings)
        simulate(sde.SDE([u], [-30 * u], [[1]]), **settings)
        train(LOSS, SGD(0.5), start=START, steps=200, paths=20, observables={"root": sp.sqrt(-1 - u**2)})
    assert [t.category.__name__ for t in given] == [
        *("StepWarning", "UndefinedWarning", "ExplosionWarning"),
        *("StepWarning", "StepWarning"),
        *("UndefinedWarning", "ExplosionWarning"),
    ]
    assert {t.filename for t in given} == {__file__}


@pytest.mark.parametrize("module", [sde.api.simulation, sde.api.training])
def test_the_examples_run(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    done = doctest.testmod(module)
    assert done.attempted and not done.failed
