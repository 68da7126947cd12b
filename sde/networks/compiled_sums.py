"""Tables of matrices and of outer products on the CPU, each taken by one compiled call."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sde.kernels.outer_sums import matrix_sums, outer_sums
from sde.networks.square_sums import WIDTHS, Axes, Squares, plain


class OuterTable:
    """Outer products G_i = left_i^T right_i, whose squares over slices and parts along a direction wait for `run`."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, ...]] = []
        self._kept: list[tuple[Tensor, ...]] = []

    def add(
        self,
        out: Tensor,
        squares: list[Squares],
        left: Tensor,
        right: Tensor,
        along: tuple[Tensor, Tensor],
        seen: Tensor,
    ) -> bool:
        """left (samples, rows), right (samples, columns): their squares are to be added to `out`, and u^T G v for the
        direction (u, v) to `seen`, both float64; whether they are plain enough."""
        factors = (left, right, *along)
        if not (out.is_cpu and plain(left) and plain(right) and left.dtype == right.dtype == along[0].dtype):
            return False
        at: dict[Axes, int] = {q.axes: out.data_ptr() + 8 * q.start for q in squares}
        sizes = (len(left), left.shape[1], right.shape[1])
        sums = (at.get((0,), 0), at.get((1,), 0), at.get((), 0), seen.data_ptr())
        self._rows.append((*(f.data_ptr() for f in factors), *sizes, *sums, WIDTHS[left.dtype]))
        self._kept.append((out, seen, *factors))
        return True

    def run(self, sign: float = 1.0) -> None:
        """Add what waits, or, with sign -1, take it away."""
        if self._rows:
            table = np.array(self._rows)
            outer_sums()(table.ctypes.data, len(table), sign)
            self._rows.clear()
            self._kept.clear()


class MatrixTable:
    """Matrices whose |G|^2 and u^T G v wait for `run`."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, ...]] = []

    def add(self, matrix: Tensor, along: tuple[Tensor, Tensor], out: Tensor) -> bool:
        """To be written to `out` (2,) float64; whether it is plain enough."""
        u, v = along
        if not (plain(matrix) and matrix.dtype == u.dtype and out.is_cpu and out.dtype == torch.float64):
            return False
        where = (matrix.data_ptr(), u.data_ptr(), v.data_ptr())
        self._rows.append((*where, len(u), len(v), out.data_ptr(), WIDTHS[matrix.dtype]))
        return True

    def run(self) -> None:
        """Write them; the tensors must still be there."""
        if self._rows:
            table = np.array(self._rows)
            matrix_sums()(table.ctypes.data, len(table))
            self._rows.clear()


def sums_on(device: torch.device, *shape: int) -> Tensor:
    """Zeros to add to, in float64 where a device has it."""
    return torch.zeros(shape, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
