"""Rows of a block's lanes: filled, copied, combined, drawn."""

from .calls import call_fill
from .options import inlined, inner


@inlined
def per_block(rows):
    """How many rows of normals or uniforms one draw block fills: 4 in float32, 2 in float64."""
    return 16 // rows.itemsize


@inner
def copy(target, source, count):
    for i in range(count):
        target[i] = source[i]


@inner
def fill(row, value, count):
    for i in range(count):
        row[i] = value


@inlined
def combine(out, offset, matrix, base, at, stride, factor, lanes):
    """Rows of out = offset + factor * matrix @ rows of `base`, which begin `stride` entries apart from `at` on."""
    for k in range(len(offset)):
        row = out[k * lanes : (k + 1) * lanes]
        value = offset[k]
        first, last = matrix.start[k], matrix.start[k + 1]
        if first == last:
            fill(row, value, lanes)
        for j in range(first, last):
            c = factor * matrix.value[j]
            here = at + matrix.column[j] * stride
            source = base[here : here + lanes]
            if j == first:
                for i in range(lanes):
                    row[i] = value + c * source[i]
            else:
                for i in range(lanes):
                    row[i] += c * source[i]


@inlined
def draw_normals(space, rows, lanes, seed, first_path, step, stream, block):
    """Rows of standard normals into space.normal."""
    call_fill(space.fillers.normals, space.normal, space.words, rows, lanes, seed, first_path, step, stream, block)
