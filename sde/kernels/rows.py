"""Rows of a block's lanes: filled, copied, combined, drawn."""

from .calls import call_combine, call_fill
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
def copy_rows(target, source, rows, count, to, of):
    """`count` entries of each row; to, of: entries from one row to the next in target and source."""
    for j in range(rows):
        row, other = target[j * to : j * to + count], source[j * of : j * of + count]
        for i in range(count):
            row[i] = other[i]


@inner
def fill(row, value, count):
    for i in range(count):
        row[i] = value


@inlined
def combine(space, out, offset, matrix, base, stride, factor, lanes):
    """Rows of out = offset + factor * matrix @ rows of `base`, which begin `stride` entries apart."""
    start, column, value = matrix.start, matrix.column, matrix.value
    call_combine(space.functions.combine, out, offset, start, column, value, base, stride, factor, lanes, len(offset))


@inlined
def draw_normals(space, rows, lanes, seed, first_path, step, stream, block):
    """Rows of standard normals into space.normal."""
    functions, spare = space.functions, space.spare
    call_fill(functions.normals, space.normal, space.words, spare, rows, lanes, seed, first_path, step, stream, block)
