"""Everything that no problem's text is part of, compiled before it is needed."""

from .drivers import FUNCTIONS
from .loop import run_block
from .statistics import comoments, histogram, moments, quantile_bins


def compile_all(dtype: str) -> None:
    """Loops of all classes of drivers, the functions that they share and the statistics, for "float32" or "float64",
    into the cache."""
    moments.load()
    for kind in FUNCTIONS:
        run_block(dtype, kind, events=True)
    for statistic in (quantile_bins, histogram, comoments):
        statistic.load(dtype)
