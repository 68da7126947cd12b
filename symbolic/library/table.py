"""The table of the library: what is known about every loss, by name."""

from __future__ import annotations

from collections.abc import Mapping

from symbolic.library import attention, blocks, linear, networks, normalised, products
from symbolic.library._shared import Entry

__all__ = ["LIBRARY", "Entry", "rows"]

LIBRARY: Mapping[str, Entry] = {
    **products.ENTRIES,
    **linear.ENTRIES,
    **normalised.ENTRIES,
    **networks.ENTRIES,
    **blocks.ENTRIES,
    **attention.ENTRIES,
}


def rows() -> list[dict[str, str]]:
    """The table that `noetherflow library` prints: name, loss, symmetry, charges, class, source."""
    return [
        {
            "name": name,
            "loss": e.formula,
            "symmetry": e.symmetry,
            "charges": e.charges,
            "class": e.class_,
            "source": e.source,
        }
        for name, e in LIBRARY.items()
    ]
