"""Case D and the kind behind it: what a user names is shown as it is, wherever it is shown."""

from __future__ import annotations

import html.parser
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sympy as sp
from rich.console import Console

import sde.engine.progress
from sde import SGD, simulate, verify
from sde.storage.netcdf import write as write_netcdf
from symbolic import SDE, Loss, Normal, derive
from tests.commands import COMMAND, GOOD, opened, run

u, w, x = sp.symbols("u w x", real=True)
MARKUP = [
    "[red]x[/red]",
    "[/]",
    "[/red]",
    "[link=http://x]y[/link]",
    ":smile:",
    "<script>alert(1)</script>",
    '"><img src=x onerror=y>',
    "$\\href{javascript:x}{y}$",
    "&amp;{{ 7*7 }}",
    "a | b `c` **d**",
]
CONTROL = ["a\nb", "a\x1b[2J", "\x00", "a\ud800", "\u202etxt", "a\u2028b", "a\tb", "\u200b", "a\x7f", "a\x85b"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", ["derive", "simulate", "train", "verify"])
def test_case_d_help_shows_sections(command: str) -> None:
    shown = run(command, "--help").stdout
    assert shown.count("[sgd]") == 5
    assert shown.count("[run]") == {"derive": 0, "simulate": 15, "train": 8, "verify": 5}[command]
    assert "\\[" not in shown


@pytest.mark.parametrize("name", MARKUP)
def test_case_d_a_name_that_is_markup_is_shown_as_it_is(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    Path("spec.toml").write_text(f'name = "{quoted}"\n{GOOD}')
    done = run("simulate", "spec.toml", "-o", "out.nc")
    assert done.exit_code == 0 and f"paths of {name} (" in done.stdout
    assert opened("out.nc").attrs["name"] == name


@pytest.mark.parametrize("name", ["[/]", *MARKUP[5:9]])
def test_case_d_verify_and_its_report_show_a_name_as_it_is(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    Path("spec.toml").write_text(f'name = "{quoted}"\n{GOOD}')
    done = run("verify", "spec.toml", "--paths", "8", "--report", "out.html", "--json", "out.json")
    assert done.exit_code in (0, 1, 3) and name in done.stdout
    assert json.loads(Path("out.json").read_text())
    Title.read(Path("out.html").read_text(), name)


class Title(html.parser.HTMLParser):
    """Finds the page's title and heading, and every tag that a report does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.texts = "", dict[str, str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open = tag
        assert tag not in ("script", "img", "a", "b", "code:c") and not [k for k, _ in attrs if k.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.texts[self.open] = self.texts.get(self.open, "") + data

    @classmethod
    def read(cls, page: str, name: str) -> None:
        found = cls()
        found.feed(page)
        assert found.texts["title"].startswith(f"{name}: ") and found.texts["h1"].startswith(name)


@pytest.mark.parametrize("name", MARKUP)
def test_case_d_the_bar_shows_a_name_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=300, color_system=None)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    with sde.engine.progress.bar(10, name, True) as tick:
        assert tick is not None
        tick(5)
    assert name in shown.getvalue()


@pytest.mark.parametrize("name", ["[/]"])
def test_case_d_on_a_terminal_a_name_is_shown_as_it_is(name: str) -> None:
    """The bar, on a pseudo-terminal."""
    pty = pytest.importorskip("pty")
    Path("spec.toml").write_text(f'name = "{name}"\n{GOOD}')
    leader, follower = pty.openpty()
    done = subprocess.run(
        [COMMAND, "simulate", "spec.toml", "-o", "out.nc"],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "COLUMNS": "200"},
    )
    os.close(follower)
    shown = os.read(leader, 100_000).decode() if done.returncode else ""
    os.close(leader)
    assert done.returncode == 0, shown


@pytest.mark.parametrize("name", CONTROL)
def test_case_d_names_that_act_are_refused_everywhere(name: str) -> None:
    bad, start = sp.Symbol(name, real=True), {u: 1.0, w: 0.5}
    data: dict[Any, Any] = {x: Normal(0, 1)}
    loss = Loss((u * w * x - 1) ** 2, [u, w], data)
    calls = [
        lambda: Loss((u * x - 1) ** 2, [u], data, name=name),
        lambda: Loss((bad * x - 1) ** 2, [bad], data),
        lambda: Loss((u * x - 1) ** 2, {name: u}, data),
        lambda: Loss((u * bad - 1) ** 2, [u], {bad: Normal(0, 1)}),
        lambda: Loss((u * x - 1) ** 2, [u], {x: Normal(0, bad)}),
        lambda: SDE([u], [-u], [[1]], name=name),
        lambda: SDE([name], lambda x, t: [-x[0]], [[1]]),
        lambda: SDE([u], [bad], [[1]], parameters=[bad]),
        lambda: SDE([u], [bad], [[1]], time=bad),
        lambda: simulate(loss, SGD(0.1), start=start, time=1.0, observables={name: u}),
        lambda: simulate(loss, SGD(0.1), start=start, time=1.0, events={name: u}),
        lambda: simulate(loss, SGD(0.1), start=start, time=1.0, histogram={name: [0, 1]}),
        lambda: simulate(loss, SGD(0.1), start=start, time=1.0, covariance=[name]),
        lambda: simulate(loss, SGD(0.1), start={**start, name: 1.0}, time=1.0),
        lambda: simulate(SDE([u], [-u], [[1]]), start={u: 1.0}, time=1.0, parameters={name: 1.0}),
    ]
    for k, call in enumerate(calls):
        with pytest.raises(ValueError) as caught:
            call()
        lines = str(caught.value).split("\n")
        assert len(lines) <= 2 and all(part.isprintable() for part in lines), (k, lines)


@pytest.mark.parametrize("name", ["a/b", "/", ".", "..", " a", "a ", "a b", ":h", ":t", "", "   ", "x" * 201])
def test_case_d_names_that_no_file_can_hold_are_refused_before_the_run(name: str) -> None:
    loss = Loss((u * w * x - 1) ** 2, [u, w], {x: Normal(0, 1)})
    for key in ("observables", "events"):
        with pytest.raises(ValueError, match=f"{key}: a .*name"):
            simulate(loss, SGD(0.1), start={u: 1.0, w: 0.5}, time=1e4, paths=10**6, **{key: {name: u}})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Loss.parameters: a .*name"):
        Loss((sp.Symbol(name, real=True) * x - 1) ** 2, [sp.Symbol(name, real=True)], {x: Normal(0, 1)})


@pytest.mark.parametrize("name", [*MARKUP[:5], "θ", "a.b", "a-b", "W[0,1]", "é" * 50, "'", "\\", "1", "💥", "nan"])
def test_case_d_every_name_that_is_taken_can_be_written(name: str) -> None:
    p = sp.Symbol(name, real=True)
    if "/" in name or name.startswith(":"):
        pytest.skip("refused")
    data = simulate(
        SDE([u], [p - u], [[1]], parameters=[p]),
        start={u: 1.0},
        time=0.1,
        paths=3,
        parameters={p: [0.0, 1.0]},
        observables={f"o{name}": [u, u**2]},
        events={f"e{name}": u - 2},
        histogram={f"o{name}": [0.0, 1.0]},
        covariance=["u"],
        save_at=2,
    )
    write_netcdf("out.nc", data)
    assert opened("out.nc").identical(data)


@pytest.mark.parametrize(
    "name", ["\\href{javascript:x}{y}", "\\input{passwd}", "}$$<b>", "\\def\\x{}", "a\\", "x_{\\y}"]
)
def test_case_d_a_name_is_no_latex_command(name: str) -> None:
    p, q = sp.Symbol(name, real=True), sp.Symbol("q", real=True)
    theory = derive(Loss((p * q * x - 1) ** 2, [p, q], {x: Normal(0, 1)}))
    sgd, at = SGD(0.1), {p: 1.0, q: 1.0}
    texts = [theory.to_latex(), theory.charges[0]._repr_latex_(), theory.breaking(p**2)._repr_latex_()]
    texts += [law._repr_latex_() for law in theory.momentum_laws] + [theory.sharpness(at, sgd)._repr_latex_()]
    for text in texts:
        inside = text.replace("$$", "").replace("\\$", "")
        assert "\\href" not in text and "\\input" not in text and "\\def" not in text and "\\y" not in text
        assert inside.count("$") in (0, 2) and _balanced(inside)
    assert "<b>" not in theory._repr_html_()


def _balanced(text: str) -> bool:
    depth, text = 0, text.replace("\\{", "").replace("\\}", "")
    for c in text:
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    return depth == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("derive", "a\x1b[2J.toml"),
        ("simulate", "good.toml", "-o", "a\nb.nc"),
        ("train", "good.toml", "-o", "x.nc", "--scheme", "\x07"),
        ("verify", "good.toml", "--report", "\x9b.html"),
        ("derive", "good.toml", "--at", "u = 1,\n w = 2"),
    ],
)
def test_case_d_arguments_that_act_are_one_line(arguments: tuple[str, ...]) -> None:
    Path("good.toml").write_text(GOOD)
    done = run(*arguments)
    assert done.exit_code == 2 and "arguments must be printable" in done.stderr
    assert done.stderr.replace("\n", "").isprintable() and [p.name for p in Path().iterdir()] == ["good.toml"]


@pytest.mark.parametrize("text", ["\\u001b[2J", "\\n", "a\\u202eb", "\\u2028", "\\u0000"])
@pytest.mark.parametrize(
    "line", ['"{}" = 1', '[parameters]\n"{}" = []', '[run]\nstart = {{ "{}" = 1.0 }}', 'name = "{}"']
)
def test_case_d_a_spec_is_refused_in_printable_lines(text: str, line: str) -> None:
    Path("bad.toml").write_text(line.format(text))
    done = run("derive", "bad.toml")
    assert done.exit_code == 2 and all(part.isprintable() for part in done.stderr.splitlines()), done.stderr


def test_case_d_a_header_is_told_on_one_line() -> None:
    Path("train.csv").write_text('"a\x1b[2J\nb",y\n1,2\n3,4\n5,6\n')
    Path("spec.toml").write_text(
        '[parameters]\nv = [1]\n[data]\nfile = "train.csv"\ninputs = ["a"]\ntargets = ["y"]\n[loss]\nexpression ='
        ' "sum((v*x - y)**2)"\n'
    )
    done = run("derive", "spec.toml")
    assert done.exit_code == 2 and done.stderr.count("\n") == 1 and "a\\x1b[2J\\nb" in done.stderr


@pytest.mark.parametrize("file", ["/dev/zero", "/dev/tty", ".", "a\\u0000b", "../../../../dev/zero", "/proc/self/mem"])
def test_case_d_a_data_file_is_a_file(file: str) -> None:
    Path("spec.toml").write_text(
        f'[parameters]\nv = [1]\n[data]\nfile = "{file}"\ninputs = ["a"]\n[loss]\nexpression = "sum((v*x)**2)"\n'
    )
    done = run("derive", "spec.toml")
    assert done.exit_code == 2 and "data.file: the file must be readable CSV" in done.stderr


def test_case_d_a_report_holds_names_of_parameters_as_text() -> None:
    p, q = (sp.Symbol(f"<script>{c}</script>", real=True) for c in "pq")
    loss = Loss((p * q * x - 1) ** 2, {"<p>": p, '"q': q}, {x: Normal(0, 1)}, name="<b>")
    found = verify(loss, SGD(0.05), start={"<p>": 1.2, '"q': 0.6}, time=0.5, paths=8)
    found.to_html("out.html")
    page = Path("out.html").read_text()
    assert "<script" not in page and "&lt;script&gt;p" in page
    Title.read(page, "<b>")
