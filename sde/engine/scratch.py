"""Large arrays that runs use again: every page of fresh memory costs a page fault when it is first written."""

from __future__ import annotations

from math import prod
from threading import Lock
from typing import Any

import numpy as np

MOST_BYTES = 64 * 2**20
"""What is held between runs at most; what was given back longest ago goes first."""


class Scratch:
    """Memory to be taken and given back, by any thread. Its content is what the last owner left."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most, self.held = most, list[np.ndarray]()
        self._lock = Lock()

    def take(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array in C order, of any content."""
        size = prod(shape) * np.dtype(dtype).itemsize
        with self._lock:
            fits = next((i for i, one in enumerate(self.held) if one.size == size), None)
            raw = np.empty(size, np.uint8) if fits is None else self.held.pop(fits)
        return raw.view(dtype).reshape(shape)

    def give(self, array: np.ndarray) -> None:
        """Take back what `take` gave, whole or in part, which nobody uses any more; other arrays are let go."""
        while isinstance(array.base, np.ndarray):
            array = array.base
        if array.dtype != np.uint8 or array.ndim != 1 or not array.flags.owndata:
            return
        with self._lock:
            self.held.append(array)
            while sum(one.size for one in self.held) > self.most:
                self.held.pop(0)


SCRATCH = Scratch()
"""This process's."""
