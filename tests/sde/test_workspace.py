"""Scratch of the loop: cut from one piece of memory, used by one call after another."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sde.kernels.machine_code import bound, kernel
from sde.kernels.workspace import LINE, cut

TYPES = st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint32])


@given(st.lists(st.tuples(st.integers(0, 70), TYPES), max_size=8))
def test_pieces_begin_at_lines_and_share_nothing(sizes: list[tuple[int, type]]) -> None:
    pieces = cut({str(k): size for k, size in enumerate(sizes)})
    for (count, dtype), piece in zip(sizes, pieces.values(), strict=True):
        assert piece.shape == (count,) and piece.dtype == dtype and not piece.any()
        assert piece.ctypes.data % LINE == 0
    for k, piece in enumerate(pieces.values()):
        piece[...] = k + 1
    assert all((piece == k + 1).all() for k, piece in enumerate(pieces.values()))


def _sum(a, scale, b, out):
    for i in range(len(out)):
        out[i] = scale * a[i] + b[i]


def test_a_kernel_with_its_first_arguments_given_is_the_kernel() -> None:
    a, b, out = np.arange(3.0), np.ones(3), np.zeros((2, 3))
    whole = kernel(_sum, a, 0.0, b, a)
    some = bound(whole, a, 2.0)
    whole(a, 2.0, b, out[0])
    some(b, out[1])
    np.testing.assert_array_equal(out, [[1.0, 3.0, 5.0]] * 2)
    a[:] = 0
    some(b, out[1])
    np.testing.assert_array_equal(out[1], b)
