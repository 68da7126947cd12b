"""Where processes write the paths that they have made themselves, so that these need not be sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sde.engine.accumulators.accumulator import ChunkPaths, PathEvents
from sde.engine.result_layout import Columns


@dataclass(frozen=True)
class Outlet:
    """put(first, values): can be sent, and raises OSError or ImportError where a process cannot write."""

    put: Callable[[int, Mapping[str, np.ndarray]], None]
    columns: Columns

    def written(self, paths: ChunkPaths) -> ChunkPaths:
        """Paths of which only their number is left, as they are written; or as they are, where this process cannot."""
        try:
            self.put(paths.first, self.columns.values(paths.first, *paths.columns))
        except (OSError, ImportError):
            return paths
        ends = PathEvents.none(0, len(paths.events.hit))
        return paths._replace(rows=paths.rows[:, :, :0], events=ends, moments=paths.moments[:0])
