"""LaTeX as this package writes it, as MathML: pages that load nothing show it typeset, and it can be read aloud.

What is not among the commands below is shown as plain text, escaped as all text is.
"""

from __future__ import annotations

import re
import unicodedata
from html import escape

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\s+|.", re.DOTALL)
_OPERATORS = {
    "cdot": "⋅", "otimes": "⊗", "lVert": "‖", "rVert": "‖", "Vert": "‖", "sum": "∑", "prod": "∏", "infty": "∞",
    "leq": "≤", "geq": "≥", "neq": "≠", "to": "→", "times": "×", "ldots": "…", "wedge": "∧", "sim": "∼", "lfloor": "⌊",
    "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "partial": "∂", "nabla": "∇", "backslash": "\\", "langle": "⟨",
    "rangle": "⟩", "mid": "|", "vert": "|",
}  # fmt: skip
_FUNCTIONS = {
    "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "log", "ln", "exp", "erf", "min", "max",
    "arctan", "arcsin", "arccos", "sign", "det", "arg",
}  # fmt: skip
_SPACES = {",": ".17em", ":": ".22em", ";": ".28em", " ": ".3em", "quad": "1em", "qquad": "2em"}
_FONTS = {"mathsf", "mathrm", "mathbf", "mathbb", "mathit", "text", "operatorname", "mathcal"}
_ACCENTS = {"dot": "˙", "hat": "^", "bar": "¯", "tilde": "~", "ddot": "¨", "overline": "¯", "vec": "→"}
_SMALL = dict.fromkeys(("displaystyle", "textstyle", "!", "limits", "bigl", "bigr", "big"), "")
_GREEK = {
    "varepsilon": "ε", "epsilon": "ϵ", "phi": "ϕ", "varphi": "φ", "vartheta": "ϑ", "ell": "ℓ", "hbar": "ℏ",
}  # fmt: skip


class _Unknown(Exception):
    pass


def mathml(latex: str, plain: str) -> str:
    """A <math> element of LaTeX without its dollars; `plain`, as code, where a command is not known here."""
    try:
        reader = _Reader(latex)
        body = reader.row(None)
    except (_Unknown, RecursionError):
        return f"<code>{escape(plain)}</code>"
    return f'<math aria-label="{escape(plain)}">{body}</math>'


class _Reader:
    """Reads tokens left to right."""

    def __init__(self, text: str) -> None:
        self.tokens = [t for t in _TOKEN.findall(text) if not t.isspace()]
        self.at = 0

    def peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise _Unknown
        self.at += 1
        return token

    def row(self, end: str | None) -> str:
        """Up to `end`, which is taken, or to the end of the text."""
        out: list[str] = []
        while self.peek() != end:
            if self.peek() in ("}", r"\right"):
                raise _Unknown
            out.append(self.scripted())
        if end is not None:
            self.take()
        return f"<mrow>{''.join(out)}</mrow>"

    def scripted(self) -> str:
        """An atom with what stands below and above it."""
        token = self.peek()
        base = "<mrow></mrow>" if token in ("^", "_") else self.atom()
        scripts: dict[str, str] = {}
        while (mark := self.peek()) in ("^", "_"):
            self.take()
            if mark in scripts:
                raise _Unknown
            scripts[mark or ""] = self.atom()
        if not scripts:
            return base
        kind = "msubsup" if len(scripts) == 2 else "msup" if "^" in scripts else "msub"
        inner = scripts.get("_", "") + scripts.get("^", "")
        return f"<{kind}>{base}{inner}</{kind}>"

    def atom(self) -> str:
        token = self.take()
        if token == "{":
            return self.row("}")
        if not token.startswith("\\"):
            return _letter(token)
        name = token[1:]
        if name == "left":
            left = self._delimiter()
            inner: list[str] = []
            while self.peek() != r"\right":
                if self.peek() is None:
                    raise _Unknown
                inner.append(self.scripted())
            self.take()
            return f"<mrow>{left}{''.join(inner)}{self._delimiter()}</mrow>"
        if name in _FONTS:
            return _styled(name, self._raw())
        if name == "frac":
            return f"<mfrac>{self.atom()}{self.atom()}</mfrac>"
        if name == "sqrt":
            return f"<msqrt>{self.atom()}</msqrt>"
        if name in _ACCENTS:
            return f'<mover accent="true">{self.atom()}<mo>{_ACCENTS[name]}</mo></mover>'
        return _command(name)

    def _delimiter(self) -> str:
        token = self.take()
        if token == ".":
            return ""
        name = token[1:] if token.startswith("\\") else token
        return _operator(_OPERATORS.get(name, {"{": "{", "}": "}", "|": "‖"}.get(name, name) if len(name) == 1 else ""))

    def _raw(self) -> str:
        """The text of a group, or one token."""
        if self.take() != "{":
            return self.tokens[self.at - 1]
        out = ""
        while (token := self.take()) != "}":
            if token == "{":
                raise _Unknown
            out += token[1:] if token.startswith("\\") and len(token) == 2 else token
        return out


def _letter(token: str) -> str:
    if token[0].isdigit():
        return f"<mn>{token}</mn>"
    if token.isalpha():
        return f"<mi>{escape(token)}</mi>"
    return _operator({"-": "−", "*": "⋅"}.get(token, token))


def _operator(sign: str) -> str:
    if not sign:
        raise _Unknown
    stretched = ' stretchy="false"' if sign in "()[]{}|‖⟨⟩" else ""
    return f"<mo{stretched}>{escape(sign)}</mo>"


def _styled(font: str, text: str) -> str:
    if font == "text":
        return f"<mtext>{escape(text)}</mtext>"
    if font == "mathbf" and text.isdigit():
        return f"<mn>{''.join(chr(0x1D7CE + int(c)) for c in text)}</mn>"
    if font == "mathbb" and text == "E":
        return "<mi>𝔼</mi>"
    return f'<mi mathvariant="normal">{escape(text)}</mi>'


def _command(name: str) -> str:
    if name in _SMALL:
        return ""
    if name in _SPACES:
        return f'<mspace width="{_SPACES[name]}"/>'
    if name in _OPERATORS:
        return _operator(_OPERATORS[name])
    if name in _FUNCTIONS:
        return f'<mi mathvariant="normal">{name}</mi>'
    if len(name) == 1 and not name.isalpha():
        return _operator(name)
    if name in _GREEK:
        return f"<mi>{_GREEK[name]}</mi>"
    size = "CAPITAL" if name[0].isupper() else "SMALL"
    try:
        letter = unicodedata.lookup(f"GREEK {size} LETTER {name.upper().replace('LAMBDA', 'LAMDA')}")
        return f"<mi>{letter}</mi>"
    except KeyError:
        raise _Unknown from None
