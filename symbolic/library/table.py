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
            "loss": _power(e.formula),
            "symmetry": _power(e.symmetry),
            "charges": _power(e.charges),
            "class": e.class_,
            "source": e.source,
        }
        for name, e in LIBRARY.items()
    ]


def _power(text: str) -> str:
    """Powers as the expression language writes them."""
    return text.replace("^", "**")
