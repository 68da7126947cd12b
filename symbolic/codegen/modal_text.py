"""Text of a step in the directions of a matrix: in loops whose text does not grow with their number, matrices and rates
being in p."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from symbolic.codegen.lookup_text import Numbers
from symbolic.codegen.printing import ScalarPrinter
from symbolic.dynamics.step_map import Function, Left, Modal, growth, h, turning

TOGETHER = 4
"""Columns of a matrix that one loop over lanes takes."""
ROUNDING = {"float64": 2.0**-46, "float32": 2.0**-17}
"""Share of a direction's variance that may be rounding alone: no normal is drawn for it."""


def lines(
    modal: Modal, inputs: Sequence[sp.Symbol], dtype: str, numbers: Numbers, begin: Sequence[str], each: bool
) -> list[str]:
    """From the vectors, which `begin` writes into u, to the results in y. f holds values of functions, for each vector
    a row of real parts and one of imaginary parts; n has the inputs. each: h is a row, each lane having its own."""
    rates = modal.own.rates
    n, count = len(rates), len(modal.vectors)
    growths = numbers.matrix([[rate.real for rate in rates], [rate.imag for rate in rates]])
    values = list[str]()
    for v, function in enumerate(modal.functions):
        made, parts = _shown(function, f"g{v}_", " " * 8)
        values += [*made, *(f"        f[{(2 * v + side) * n} + k] = {part}" for side, part in enumerate(parts))]
    turns = [any(rate.imag for rate in rates) and function.parts[1] != 0 for function in modal.functions]
    left = modal.left
    made = [
        f"    for k in range({n}):",
        f"        a = p[{growths} + k]",
        f"        b = p[{growths + n} + k]",
        *values,
        f"    for k in range({n}):",
        f"        b = p[{growths + n} + k]",
        "        j = k + 1 if b > 0.0 else k - 1 if b < 0.0 else k",
        *(f"        c{v} = f[{2 * v * n} + k]" for v in range(count)),
        *(f"        d{v} = f[{(2 * v + 1) * n} + k]" for v in range(count) if turns[v]),
        "        for i in range(first, last):",
        "            u[k*LANES + i] = " + " + ".join(_term(v, n, turns[v]) for v in range(count)),
        *(_left(left, 2 * n * _place(modal, left), n, growths + n, inputs, dtype, numbers) if left else ()),
    ]
    rooms = {"u": f"{count * n}*LANES", "y": f"{count * n}*LANES", "f": f"{2 * count * n}"}
    rooms |= dict.fromkeys("qwl", f"{n * n}") if left else {}
    return [
        *(f"    {name} = np.empty({room}, np.{dtype})" for name, room in rooms.items()),
        *begin,
        *_times(numbers.matrix(modal.own.inverse), n, count),
        *(_by_length(made) if each else ["    z = h", "    first, last = 0, LANES", *made]),
        *_times(numbers.matrix(modal.own.basis), n, 1),
    ]


def _by_length(made: Sequence[str]) -> list[str]:
    """For each run of lanes whose steps are of one length; those that stand still take any."""
    return [
        "    first = 0",
        "    while first < LANES:",
        "        last = first + 1",
        "        while last < LANES and h[last] == h[first]:",
        "            last += 1",
        "        z = h[first] if h[first] > 0.0 else F(1.0)",
        *("    " + line for line in made),
        "        first = last",
    ]


def _shown(function: Function, prefix: str, indent: str) -> tuple[list[str], list[str]]:
    """Statements, and both parts, where a and b are growth and turning."""
    show, out = ScalarPrinter({growth: "a", turning: "b", h: "z"}), list[str]()
    for k, (symbol, value) in enumerate(function.statements):
        out.append(f"{indent}{prefix}{k} = {show(value)}")
        show.names[symbol] = f"{prefix}{k}"
    return out, [show(part) for part in function.parts]


def _term(v: int, n: int, turns: bool) -> str:
    along = f"c{v}*y[({v * n} + k)*LANES + i]"
    return f"{along} + d{v}*y[({v * n} + j)*LANES + i]" if turns else along


def _place(modal: Modal, left: Left) -> int:
    return modal.functions.index(left.function)


def _times(first: int, n: int, vectors: int) -> list[str]:
    """y = M u for each of the vectors, M (n, n) being in p from `first` on."""
    rest = n % TOGETHER or TOGETHER

    def sums(count: int, begin: str, operator: str, indent: str) -> list[str]:
        terms = [f"m{k}*u[(v*{n} + {begin}{k})*LANES + i]" for k in range(count)]
        return [
            *(f"{indent}m{k} = p[{first} + k*{n} + {begin}{k}]" for k in range(count)),
            f"{indent}for i in range(LANES):",
            f"{indent}    y[(v*{n} + k)*LANES + i] {operator} {' + '.join(terms)}",
        ]

    out = [f"    for v in range({vectors}):", f"        for k in range({n}):", *sums(rest, "", "=", " " * 12)]
    if n > rest:
        out += [f"            for j in range({rest}, {n}, {TOGETHER}):", *sums(TOGETHER, "j + ", "+=", " " * 16)]
    return out


def _left(
    left: Left, place: int, n: int, turns: int, inputs: Sequence[sp.Symbol], dtype: str, numbers: Numbers
) -> list[str]:
    """u += L normals, L L^T = C - F G F^T by Cholesky's rule; F's values begin at `place` in f, and signs of turning at
    `turns` in p."""
    size = n * n
    sums = numbers.matrix([e for rows in (left.growths, *left.turnings) for e in rows])
    weights, G = numbers.matrix([e for rows in left.weights for e in rows]), numbers.matrix(left.covariance)
    made, (real, imaginary) = _shown(left.function, "g", " " * 16)

    def partner(of: str, to: str) -> str:
        b = f"p[{turns} + {of}]"
        return f"{to} = {of} + 1 if {b} > 0.0 else {of} - 1 if {b} < 0.0 else {of}"

    return [
        f"    for k in range({n}):",
        "        " + partner("k", "r"),
        f"        for j in range({n}):",
        f"            w[k*{n} + j] = f[{place} + k]*p[{G} + k*{n} + j] + f[{place + n} + k]*p[{G} + r*{n} + j]",
        f"    for k in range({n}):",
        "        for j in range(k + 1):",
        "            " + partner("j", "r"),
        f"            a = p[{sums} + k*{n} + j]",
        "            e = F(0.0)",
        "            for s in range(2):",
        f"                b = p[{sums + size} + s*{size} + k*{n} + j]",
        *made,
        f"                e += p[{weights} + 2*s*{size} + k*{n} + j]*({real})",
        f"                e += p[{weights + size} + 2*s*{size} + k*{n} + j]*({imaginary})",
        f"            q[k*{n} + j] = e",
        f"            l[k*{n} + j] = e - f[{place} + j]*w[k*{n} + j] - f[{place + n} + j]*w[k*{n} + r]",
        f"    for k in range({n}):",
        f"        e = l[k*{n} + k]",
        "        for j in range(k):",
        f"            e -= l[k*{n} + j]*l[k*{n} + j]",
        f"        drawn = e > F({ROUNDING[dtype]!r})*q[k*{n} + k]",
        "        e = math.sqrt(e) if drawn else F(0.0)",
        f"        l[k*{n} + k] = e",
        f"        for r in range(k + 1, {n}):",
        f"            d = l[r*{n} + k]",
        "            for j in range(k):",
        f"                d -= l[r*{n} + j]*l[k*{n} + j]",
        f"            l[r*{n} + k] = d/e if drawn else F(0.0)",
        f"    for k in range({n}):",
        "        for j in range(k + 1):",
        f"            e = l[k*{n} + j]",
        "            for i in range(first, last):",
        f"                u[k*LANES + i] += e*n[({inputs.index(left.normals[0])} + j)*LANES + i]",
    ]
