"""The sweep over rows of a data set as matrix products: a tile of rows at a time, for a group of lanes.

A line that adds products, each of whose indices, and the row, belongs to two of its three places, is a matrix product
in every lane: `contract`, which the text defines as plain loops and compiled code replaces (`sde.kernels.contract`).
Each entry is summed in the order of its terms, whatever the tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

from symbolic.codegen import nests
from symbolic.codegen.layers import PRODUCT, Layers
from symbolic.codegen.rolled import Line

TILE_BYTES = 256 * 1024
"""Of the values of a tile of rows."""
SHARED = "_shared"
CONTRACT = """def contract{0}(t, t0, tu, tv, a, a0, au, ak, b, b0, bv, bk, us, vs, ks, lanes):
    for u in range(us):
        for v in range(vs):
            for k in range(ks):
                for i in range(lanes):
                    t[t0 + u*tu + v*tv + i] += a[a0 + u*au + k*ak + i]*b[b0 + v*bv + k*bk{1}]
"""
"""{1}: " + i" where each lane has a b of its own."""


def sweep_text(made: Layers, columns: int, lanes: int, group: int, dtype: str, shared_rows: bool) -> list[str]:
    """The texts of `sweep` and of the functions that it calls. columns: of the data; lanes, group: LANES and GROUP."""
    found = nests.nests(made.lines)
    kept = {row for array, row in nests.kept(found) if array == "c"}
    each = len(kept) * group * (4 if dtype == "float32" else 8)
    tile = next((t for t in (32, 16) if t * each <= TILE_BYTES), 8)
    writer = _Writer(columns, lanes, group, tile, shared_rows, kept)
    body = [line for nest in found for line in writer.nest(nest)]
    head = ["def sweep(x, z, w, n, p, rows):", f"    c = np.empty({made.values * tile}*GROUP, np.{dtype})"]
    head += [f"    o = np.empty(GROUP, np.{dtype})", "    for i in range(GROUP):", "        o[i] = F(1.0)"]
    head += [f"    for first in range(0, rows, {tile}):", f"        m = min({tile}, rows - first)"]
    sweep = "\n".join([*head, *body]) + "\n"
    called = [CONTRACT.format(*f) for f in (("", " + i"), (SHARED, "")) if f"contract{f[0]}(" in sweep]
    return [*called, sweep]


class _Writer:
    """Nests as text."""

    def __init__(self, columns: int, lanes: int, group: int, tile: int, shared_rows: bool, kept: set[int]) -> None:
        self.tile, self.kept = tile, kept
        self.one_for_all = ("z", "o") if shared_rows else ("o",)
        width = 1 if shared_rows else group
        self.strides = {"c": (tile * group, group), "x": (group, 0), "n": (group, 0), "o": (0, 0), "w": (0, lanes)}
        self.strides["z"] = width, columns * width
        """Of each array from one row or column to the next, and from one row of the data to the next."""

    def nest(self, lines: Sequence[Line]) -> list[str]:
        found = PRODUCT.fullmatch(lines[0].text)
        return self._product(lines[0], list(found.groups())) if found else self._loops(lines)

    def _product(self, line: Line, names: list[str]) -> list[str]:
        """A call of `contract`, in loops over what has no place in it."""
        order = [0, 1, 2] if names[2] in self.one_for_all[:1] or names[1] not in self.one_for_all else [0, 2, 1]
        names = [names[k] for k in order]
        strides = [self.strides[name] for name in names]

        def entries(rows: Sequence[int]) -> list[int]:
            return [rows[k] * each for k, (each, _) in zip(order, strides, strict=True)]

        begin = [str(e) for e in entries(line.rows)]
        begin = [f"{e} + first*{s[1]}" if n in "zw" else e for e, n, s in zip(begin, names, strides, strict=True)]
        found = [(str(count), entries(step)) for count, step in line.loops]
        slots, outer = dict[str, tuple[str, list[int]]](), list[tuple[str, list[int]]]()
        for count, step in [("m", [s for _, s in strides]), *sorted(found, key=lambda f: -int(f[0]))]:
            role = "k" if not step[0] else "u" if not step[2] else "v" if not step[1] else ""
            if role and role not in slots:
                slots[role] = count, step
            else:
                outer.append((count, step))
        out, deep = list[str](), "        "
        for k, (count, step) in enumerate(outer):
            out.append(f"{deep}for j{k} in range({count}):")
            begin, deep = [f"{e} + j{k}*{s}" for e, s in zip(begin, step, strict=True)], deep + "    "
        (us, u), (vs, v), (ks, k) = (slots.get(role, ("1", [0, 0, 0])) for role in "uvk")
        t, a, b = (f"{n}, {e}" for n, e in zip(names, begin, strict=True))
        kind = SHARED if names[2] in self.one_for_all else ""
        places = f"{t}, {u[0]}, {v[0]}, {a}, {u[1]}, {k[1]}, {b}, {v[2]}, {k[2]}"
        return [*out, f"{deep}contract{kind}({places}, {us}, {vs}, {ks}, GROUP)"]

    def _loops(self, lines: Sequence[Line]) -> list[str]:
        """Loops, over the rows of a tile and the lanes of a group in one."""
        out, deep = list[str](), "        "
        for k, (count, _) in enumerate(lines[0].loops):
            out.append(f"{deep}for j{k} in range({count}):")
            deep += "    "
        out.append(f"{deep}for i in range(m*GROUP):")
        return out + [f"{deep}    {line}" for line in nests.body(lines, self._address, lambda p: p[1] in self.kept)]

    def _address(self, place: nests.Place) -> str:
        terms = [str(place[1]), *(f"{s}*j{k}" for k, s in enumerate(place[2]) if s)]
        return f"c[({' + '.join(terms)})*{self.tile}*GROUP + i]"
