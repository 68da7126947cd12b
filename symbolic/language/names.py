"""Names that a user gives: which are taken, and how any text of a user's is shown on one line and in LaTeX.

A name is any printable text: no character in it acts on what shows it (control, direction, surrogates, line ends). A
symbol's name is not one of ours, which begin with a colon; a variable's, which labels a result, also avoids what NetCDF
cannot hold.
"""

from __future__ import annotations

import re
from typing import Any

import sympy as sp

from symbolic.errors import InputError

LONGEST = 200
SHOWN = 80
_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi rho sigma tau"
    " upsilon phi varphi chi psi omega"
)
_COMMANDS = "|".join(["ell", "hbar", *_GREEK.split(), *map(str.capitalize, _GREEK.split())])
_TYPESET = re.compile(
    rf"(?:[^\W_]|'|\\(?:{_COMMANDS})(?![A-Za-z])|(?:_{{1,2}}|\^{{1,2}})(?:[^\W_]+|\{{[^\W_]+(?:,[^\W_]+)*\}}))+(?:\[[0-9,]*\])?"
)
_ESCAPES = {"\\": r"\backslash{}", "^": r"\wedge{}", "~": r"\sim{}", "$": r"\$", " ": r"\ "} | {
    c: rf"\{c}" for c in "{}_%#&"
}


def printable(text: object, longest: int | None = None) -> str:
    """Any text on one line: characters that are not printable as Python's escapes, and no more than `longest` of it."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    return shown if longest is None or len(shown) <= longest else shown[: longest - 3] + "..."


def check(where: str, name: Any) -> str:
    """The name itself. Raises ValueError for what is not text, is blank, too long or not printable."""
    if not isinstance(name, str):
        raise InputError(f"{where}: a name must be text; got {_got(name)}. Give a short name.")
    if not name.strip():
        raise InputError(f"{where}: a name must have something to show; got {_got(name)}. Give a short name.")
    if len(name) > LONGEST:
        raise InputError(
            f"{where}: a name has at most {LONGEST} characters; got {_got(name)} of {len(name)}. Shorten it."
        )
    if not name.isprintable():
        raise InputError(
            f"{where}: a name must be printable, on one line; got {_got(name)}. Leave out control characters and the"
            " like."
        )
    return name


def symbol(where: str, name: Any) -> str:
    """`check`, for a symbol's name: one that begins with a colon is ours."""
    if check(where, name).startswith(":"):
        raise InputError(f"{where}: a symbol's name must not begin with a colon; got {_got(name)}. Rename it.")
    return name


def variable(where: str, name: Any) -> str:
    """`symbol`, for the name of a variable of a result: none that NetCDF cannot hold."""
    symbol(where, name)
    if "/" in name or " " in name or name in (".", ".."):
        raise InputError(
            f"{where}: a variable's name must not hold '/' or spaces, or be a dot; got {_got(name)}. Rename it."
        )
    return name


def latex(expression: Any, symbols: dict[Any, str] | None = None) -> str:
    """SymPy's LaTeX of an expression, in which no symbol's name is a command of its own: names as SymPy sets them, or
    as `symbols` says, if they are letters, Greek letters, numbers and indices, and else upright character by
    character."""
    found = expression.atoms(sp.Symbol) if isinstance(expression, sp.Basic) else ()
    own: dict[Any, str] = {s: _upright(s.name) for s in found if not _TYPESET.fullmatch(s.name)}
    return sp.latex(expression, symbol_names=own | dict(symbols or {}))


def _upright(name: str) -> str:
    return rf"\mathrm{{{''.join(_ESCAPES.get(c, c) for c in name)}}}"


def _got(name: Any) -> str:
    return f"{printable(repr(name), SHOWN)} ({type(name).__name__})"
