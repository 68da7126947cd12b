"""Hostile texts, and specs with hostile text in every place that takes one."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

CODE = "__import__('os').system('touch canary')"
HANDMADE = [
    CODE,
    f'"""\n{CODE}\n"""',
    f"'''\n{CODE}\n'''",
    f'x"; {CODE}; "',
    f"x'); {CODE}; ('",
    f"{{{CODE}}}",
    f"{{{{ {CODE} }}}}",
    "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    f"\\N{{BULLET}}\\x41\\u{CODE}",
    "\\",
    "\\\\",
    "a\\",
    f"$({CODE})`touch canary`;touch canary",
    f"lambda x: {CODE}",
    f"[{CODE} for x in (1,)][0]",
    "u.__class__.__mro__",
    f'exec("{CODE}")',
    f"\n{CODE}\n",
    "[red]bold[/red]",
    "[/]",
    "[/red]",
    "[link=file:///etc/passwd]x[/link]",
    ":smile:",
    "<script>canary()</script>",
    "<img src=x onerror=canary()>",
    '"><svg onload=canary()>',
    "' onmouseover='canary()",
    "&lt;b&gt;&amp;",
    "]]><!--",
    "--><b>",
    "$\\href{javascript:canary()}{x}$",
    "\\input{/etc/passwd}",
    "\\write18{touch canary}",
    "}\\end{aligned}$$<b>",
    "$x^2$",
    "**bold** | a | `b`",
    "\x00",
    "a\x00b",
    "\x1b[2J\x1b]0;canary\x07",
    "\r\n",
    "\u202egnp.exe",
    "\u2028",
    "\ud800",
    "a\udcffb",
    "\ufeffu",
    "../../x",
    "../canary",
    "..",
    ".",
    "a/b",
    "/",
    "/etc/passwd",
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/environ",
    "file:///etc/passwd",
    "C:\\x\\nul",
    "con",
    "-o",
    "--help",
    "",
    " ",
    " u",
    "u ",
    "u",
    "w",
    "t",
    "pi",
    "sum",
    "time",
    "path",
    "statistic",
    "exploded",
    "covariance",
    "self",
    "None",
    "__class__",
    "__init__",
    "lambda",
    "I",
    "E",
    "S",
    "nan",
    "inf",
    "1e999",
    "9" * 5000,
    "0x41",
    "1_000",
    "u**10**10",
    "2**2**2**2**2**2",
    "u" * 300,
    "(" * 500,
    "u+" * 2000 + "u",
    "-" * 3000 + "u",
    "sum(" * 100,
    "exp(exp(exp(exp(u))))",
    "u if u else w",
    "u := 1",
    "f'{u}'",
    "b'u'",
    "u[0]",
    "u[::-1]",
    "u.T",
    "u @ w",
    "max(u, w, axis=0)",
    "exp(u, w=1)",
    "u # comment",
    "ｕ",
    "𝓊",
    "é",
    "θ",
    "ℯ",
    "x" * 100_000,
    "\n" * 1000,
    "=cmd|' /C calc'!A0",
    "%s%n%x{0}{name}",
    "'; DROP TABLE x; --",
]
_ANY = st.text(st.characters(exclude_categories=()), max_size=40)
TEXT = st.one_of(
    st.sampled_from(HANDMADE),
    st.sampled_from(HANDMADE),
    _ANY,
    st.tuples(_ANY, st.sampled_from(HANDMADE), _ANY).map("".join),
    st.text("uwxe0123456789+-*/()[].,= \n\"'\\{}$<>&;:#@!_", max_size=60),
)

WORDS = st.sampled_from(
    [
        "os",
        "system",
        "exec",
        "eval",
        "np",
        "math",
        "F",
        "LANES",
        "MANIFEST",
        "x0",
        "n1",
        "c0",
        "p0",
        "v0",
        "z0",
        "i",
        "h",
        "n",
        "x",
        "out",
        "weight",
        "step",
        "observe",
        "range",
        "self",
        "cls",
        "print",
        "open",
        "dt",
        "T",
        "eta",
        "lambda_wd",
        "theta",
        "Sigma",
        "q1",
        "d_u",
        "m_0",
        "phi_0",
        "g_0",
        "_x",
        "x_",
        "__x__",
        "importlib",
        "builtins",
        "numpy",
        "sde",
        "symbolic",
        "canary",
    ]
)
"""Names that are taken, and mean something to what runs them."""
SOUND = st.sampled_from(
    ["u", "u**2 - w**2", "exp(-u**2)", "max(u, w)", "u/3", "tanh(w)", "relu(u - w)", "1e-3*u", "1/2", "pi"]
)
"""Expressions that are taken."""

BASE: dict[str, Any] = {
    "name": "plain",
    "parameters": {"u": [], "w": []},
    "data": {
        "x": {"law": "normal", "mean": 0, "std": 1},
        "e": {"law": "normal", "mean": 0, "std": 0.5, "shape": []},
    },
    "loss": {"where": {"y": "x + e"}, "expression": "(u*w*x - y)**2"},
    "sgd": {"learning_rate": 0.01},
    "run": {
        "start": {"u": 1.2, "w": 0.6},
        "time": 0.02,
        "paths": 2,
        "save_at": 2,
        "observables": {"C": "u**2 - w**2"},
    },
}
FILE: dict[str, Any] = {
    "parameters": {"W": [2], "v": []},
    "data": {"file": "train.csv", "inputs": ["a", "b"], "targets": ["label"], "standardize": True},
    "loss": {"expression": "(v*(W@x) - y)**2"},
    "run": {"start": {"W": [0.3, 0.2], "v": 0.5}, "time": 0.02, "paths": 2, "save_at": 2},
}
ROWS = [["a", "b", "label"], ["1", "2", "0"], ["3", "5", "2"], ["5", "2", "2"], ["2", "1", "1"]]


class _Key:
    """A place whose key, not value, is the text."""

    def __init__(self, *path: str) -> None:
        self.path = path


VALUES: list[tuple[str, ...]] = [
    ("name",),
    ("data", "x", "law"),
    ("data", "x", "mean"),
    ("data", "x", "std"),
    ("loss", "where", "y"),
    ("loss", "expression"),
    ("sgd", "schedule"),
    ("sgd", "learning_rate"),
    ("sgd", "replacement"),
    ("run", "scheme"),
    ("run", "dtype"),
    ("run", "keep"),
    ("run", "time"),
    ("run", "save_at"),
    ("run", "start", "u"),
    ("run", "observables", "C"),
    ("run", "events", "hit"),
    ("run", "warn_share"),
    ("parameters", "u"),
    ("parameters",),
    ("data",),
    ("loss",),
    ("run",),
]
LISTS: list[tuple[str, ...]] = [("run", "covariance"), ("parameters", "u"), ("run", "save_at")]
KEYS: list[tuple[str, ...]] = [
    (),
    ("parameters",),
    ("data",),
    ("data", "x"),
    ("loss",),
    ("loss", "where"),
    ("sgd",),
    ("run",),
    ("run", "start"),
    ("run", "observables"),
    ("run", "events"),
    ("run", "histogram"),
]
RENAMED = ("u", "w", "x", "e", "y", "C")
"""Names that are replaced everywhere at once, so that what is left is a whole problem under other names."""


def quoted(text: str) -> str:
    """A TOML string of any text; lone surrogates make the file no UTF-8."""
    special = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(special.get(c, f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c) for c in text) + '"'


def toml(value: Any) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value)


def document(table: dict[str, Any]) -> str:
    return "".join(f"{quoted(k)} = {toml(v)}\n" for k, v in table.items())


def _inside(table: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path:
        table = table.setdefault(key, {})
    return table


@st.composite
def specs(draw: st.DrawFn) -> str:
    """A whole spec with one to three hostile texts in it."""
    table = copy.deepcopy(BASE)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        how = draw(st.sampled_from(["name", "value", "list", "key", "spliced", "renamed", "renamed", "watched"]))
        text = draw(st.one_of(TEXT, WORDS if how == "renamed" else SOUND) if how in ("renamed", "watched") else TEXT)
        try:
            if how == "name":
                table["name"] = text
            elif how == "watched":
                which = draw(st.sampled_from(["observables", "events"]))
                table["run"][which] = {draw(WORDS): text}
            elif how == "value":
                *path, last = draw(st.sampled_from(VALUES))
                _inside(table, tuple(path))[last] = text
            elif how == "list":
                *path, last = draw(st.sampled_from(LISTS))
                _inside(table, tuple(path))[last] = [text, "u"]
            elif how == "key":
                path = draw(st.sampled_from(KEYS))
                values = ["u", text, 1.0, [], [0.0, 1.0], {"law": "normal", "std": 1}]
                _inside(table, tuple(path))[text] = draw(st.sampled_from(values))
            elif how == "spliced":
                *path, last = draw(
                    st.sampled_from([("loss", "expression"), ("loss", "where", "y"), ("run", "observables", "C")])
                )
                _inside(table, tuple(path))[last] = draw(
                    st.sampled_from([f"u*w*x + e + {text}", f"(u*w*x - e - ({text}))**2"])
                )
            else:
                old = draw(st.sampled_from(RENAMED))
                table = _renamed(table, old, text)
        except (AttributeError, TypeError):
            continue  # a text already stands where a table was
    return document(table)


def _renamed(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {(new if k == old else k): _renamed(v, old, new) for k, v in value.items()}
    return value


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, str]:
    """(spec, CSV) with hostile headers, cells, column names and file names."""
    table, rows = copy.deepcopy(FILE), copy.deepcopy(ROWS)
    text = draw(TEXT)
    how = draw(st.sampled_from(["header", "both", "cell", "file", "column", "raw"]))
    if how in ("header", "both"):
        rows[0][0] = text
    if how in ("column", "both"):
        table["data"]["inputs"][0] = text
    if how == "cell":
        rows[draw(st.integers(1, 4))][draw(st.integers(0, 2))] = text
    if how == "file":
        table["data"]["file"] = text
    body = "\n".join(",".join('"' + c.replace('"', '""') + '"' if how != "raw" else c for c in row) for row in rows)
    return document(table), body if how != "raw" else body + "\n" + text
