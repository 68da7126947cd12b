"""Reference pages that are made from the tables that the code itself runs on."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import typer.main

from sde.cli.commands import app
from sde.constraints import Setting
from sde.settings import SETTINGS
from sde.spec import claims_section, data_files, problem_file, run_section, sde_section
from symbolic.errors import InputError
from symbolic.functions.registry import EXPRESSIONS, ROWS
from symbolic.language.vocabulary import CONSTANTS, OF_THREE, OF_TWO, WITH_AXIS
from symbolic.library import rows as library_rows
from symbolic.problem.distributions import NAMED
from symbolic.problem.optimizer import SGD
from symbolic.schemes import SCHEMES

TOP = {
    "name": "What the problem is called; the file's name when left out.",
    "parameters": "A shape for each parameter: `[]` a number, `[4]` a vector, `[3, 2]` a matrix.",
    "data": "A distribution for each data variable, or keys of a file, or both.",
    "loss": "The loss of one sample.",
    "sgd": "The optimiser.",
    "run": "What is run, with the names of the arguments of `simulate`, `train` and `verify`.",
    "observables": "The observables of [run], as a section of their own.",
    "claims": "Claims of your own, a `[[claims]]` each.",
}
LOSS = {
    "where": "Named expressions, each of which may use those above it.",
    "expression": "The loss: one number, in parameters, data and names of `where`.",
}


def cell(text: object) -> str:
    """Text in a cell of a table, as it is, but for what stands in backticks."""
    parts = " ".join(str(text).split()).split("`")
    for mark in "\\|*_<>$[]{}~":
        parts[::2] = [part.replace(mark, f"\\{mark}") for part in parts[::2]]
    return "`".join(parts)


def code(text: object) -> str:
    """Text in a cell, as code."""
    return f"`{str(text).replace('|', chr(92) + '|')}`"


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table of cells that are marked up already."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body]) + "\n"


def rule(known: Setting) -> str:
    """What a setting must be, in the words that refuse another value."""
    if known.constraint is None:
        return ""
    try:
        known.read(object())
    except InputError as error:
        return error.rule.removeprefix("must be ")
    return ""


def described(owner: type, title: str = "Parameters") -> dict[str, str]:
    """{name: text} of a section of a numpydoc docstring."""
    lines = iter((inspect.getdoc(owner) or "").partition(f"{title}\n{'-' * len(title)}\n")[2].splitlines())
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        if line.startswith(" ") and names:
            found |= {n: f"{found.get(n, '')} {line.strip()}".strip() for n in names}
        elif not line.strip():
            break
        else:
            names = line.split(" : ")[0].split(", ")
    return found


def examples(reader: ModuleType) -> list[tuple[str, str]]:
    """[(line of a spec, what it means)] of a section, from the docstring of what reads it."""
    found: list[tuple[str, str]] = []
    for line in (reader.__doc__ or "").partition("\n\n")[2].splitlines():
        written, _, meaning = line.strip().partition("  ")
        if line.startswith(" "):
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        else:
            found.append((written, meaning.strip()))
    return found


def claim_keys() -> dict[str, tuple[str, str]]:
    """{key: (example, meaning)} of a [[claims]] table."""
    return {example.split(" = ")[0]: (example, meaning) for example, meaning in examples(claims_section)}


def spec_page() -> str:
    """Every section and key of a spec."""
    sgd, claims = described(SGD), claim_keys()
    run = [(s, SETTINGS[s]) for s in run_section.KEYS]
    out = [
        "# Spec reference\n",
        "A spec is a TOML file; [specs and the command line](../specs.md) shows whole ones. All that is wrong with one"
        " is said at once, and a near miss is named.\n",
        table(["section or key", ""], [[code(k), TOP[k]] for k in problem_file.SECTIONS]),
        "## [data]: distributions\n",
        "`{ law = \"...\", ... }`, with `shape = [3]` where its values do not show one. Values are numbers, arrays or"
        " constant expressions such as `\"1/3\"`.\n",
        table(["law", "keys", ""], [_law(word) for word in NAMED]),
        "## [data]: a file\n",
        table(["key", ""], [[code(k), cell(v)] for k, v in data_files.FILE_KEYS.items()]),
        "## [loss]\n",
        table(["key", ""], [[code(k), LOSS[k]] for k in problem_file.LOSS_KEYS]),
        "## [sgd]\n",
        table(["key", ""], [[code(k), cell(sgd[k])] for k in problem_file.SGD_KEYS]),
        "## [run]\n",
        table(
            ["key", "what it is", "what it must be", "for"],
            [[code(k), cell(s.help), cell(rule(s)), ", ".join(s.commands)] for k, s in run],
        ),
        "As in the file:\n",
        table(["line", ""], [[code(line), cell(meaning)] for line, meaning in examples(run_section)]),
        "## [[claims]]\n",
        table(["key", "example", ""], [[code(k), code(claims[k][0]), cell(claims[k][1])] for k in claims_section.KEYS]),
        "## [sde]\n",
        "An SDE by itself, in the place of parameters, data, loss, sgd and claims: its keys are the arguments of `SDE`."
        " Expressions in it, in observables and in events may name states, parameters, names of `where` and time `t`;"
        " observables and events also `W[0]`, `W[1]`, ..., the Brownian motions, `running(max, f)`, `running(min, f)`"
        " and `integral(f)`.\n",
        table(["line", ""], [[code(line), cell(meaning)] for line, meaning in examples(sde_section)]),
        "## Expressions\n",
        "Python's `+ - * / ** @`, `.T`, indices, lists, numbers and names; parsed by a whitelist, never evaluated.\n",
        table(["function", "of", ""], list(_functions())),
        f"Constants: {', '.join(code(name) for name in CONSTANTS)}.\n",
    ]  # fmt: skip
    return "\n".join(out)


def _law(word: str) -> list[str]:
    kind = NAMED[word]
    about = described(kind)
    keys = "; ".join(f"{code(k)}: {cell(text.rstrip('.'))}" for k, text in about.items())
    return [code(word), keys, cell((inspect.getdoc(kind) or "").split(".\n")[0].rstrip("."))]


def _functions() -> Iterator[list[str]]:
    """Rows of the table of functions."""
    known = {r.spec: r for r in ROWS if r.spec}
    for name in sorted({*known, *EXPRESSIONS, *WITH_AXIS, *OF_TWO, *OF_THREE, "trace"}):
        row = known.get(name)
        of = "an array, or along `axis=`" if name in WITH_AXIS else "two arrays" if name in OF_TWO else "each entry"
        of = "each entry, by increasing places and the values there" if name in OF_THREE else of
        notes = []
        if row:
            notes += ["kinked"] if row.kinked else []
            notes += ["derivations with it can be proved"] if row.provable else []
            notes += ["not in losses"] if not row.derivable else []
            notes += ["the first argument is a number, the order"] if row.order else []
            notes += [f"a path is lost at {cell(row.domain.why)}"] if row.domain else []
        yield [code(name), "a matrix" if name == "trace" else of, "; ".join(notes)]


def schemes_page() -> str:
    """The table of schemes, and what the file of each says."""
    out = [
        "# Table of schemes\n",
        "Noise is the widest class that a scheme may be used on; orders are those of convergence, strong and weak, and"
        " [choose a scheme](choose-a-scheme.md) says which to take. The tests measure every order.\n",
        table(
            ["scheme", "calculus", "noise", "strong", "weak"],
            [[f"[{n}](#{n})", s.calculus, s.noise, cell(s.strong), cell(s.weak)] for n, s in SCHEMES.items()],
        ),
    ]
    for name, scheme in SCHEMES.items():
        module = import_module(scheme.step.__module__)
        text = "\n\n".join(cell(part) for part in (module.__doc__ or "").strip().split("\n\n"))
        place = module.__name__.replace(".", "/")
        out.append(f"({name})=\n## {name}\n\n{text}\n\nReference: {cell(scheme.reference)}. In `{place}.py`.\n")
    return "\n".join(out)


def library_page() -> str:
    """The table of named losses."""
    fields = ("loss", "symmetry", "charges", "class", "source")
    rows = [[code(r["name"]), *(cell(r[f]).replace("-\\>", "→") for f in fields)] for r in library_rows()]
    return "\n".join([
        "# Named losses\n",
        "A name serves in place of a spec on the command line; [symbolic.library](api/library.rst) makes them in any"
        " size.\n",
        table(["name", "loss", "symmetry", "charges", "class", "source"], rows),
    ])  # fmt: skip


def commands_page() -> str:
    """What every command of the command line takes."""
    group: Any = typer.main.get_command(app)
    out = ["# Commands\n", "`noetherflow COMMAND --help` says the same. Exit codes are in"
           " [specs and the command line](../specs.md).\n"]  # fmt: skip
    for name, command in group.commands.items():
        out += [f"## noetherflow {name}\n", cell(command.help or ""), ""]
        rows = [_parameter(p) for p in command.params if p.name != "help"]
        out += [table(["", ""], rows)] if rows else []
    return "\n".join(out)


def _parameter(p: Any) -> list[str]:
    names = ", ".join(p.opts) if p.param_type_name == "option" else str(p.metavar or (p.name or "").upper())
    default = p.default
    shown = default not in (None, False, ()) and not callable(default) and p.param_type_name == "option"
    return [code(names), cell(getattr(p, "help", "") or "") + (f" Default: {default}." if shown else "")]


def pages() -> dict[str, str]:
    """{file name: text}."""
    return {
        "spec.md": spec_page(),
        "schemes.md": schemes_page(),
        "library.md": library_page(),
        "commands.md": commands_page(),
    }
