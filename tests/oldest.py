"""The lowest versions that pyproject.toml states, one a line, as exact pins for pip: `python tests/oldest.py EXTRA/NAME
... > pins.txt`.

All dependencies, and of the extras those named (dev/pytest).
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def pin(requirement: str) -> str:
    """name==version of "name>=version"; any other form has no lowest version."""
    found = re.fullmatch(r"([A-Za-z0-9._-]+)>=([0-9][0-9.]*)(?:,[^;]*)?", requirement.replace(" ", ""))
    if found is None:
        raise ValueError(
            f"pyproject.toml: a dependency must state its lowest version; got {requirement!r} (str). Write"
            " name>=version."
        )
    return "==".join(found.groups())


def lowest(named: list[str], text: str) -> list[str]:
    """Pins of all dependencies in pyproject.toml's text, and of those named in an extra ("dev/pytest")."""
    project = tomllib.loads(text)["project"]
    pins = [pin(requirement) for requirement in project["dependencies"]]
    for name in named:
        extra, _, package = name.partition("/")
        found = [
            pin(r) for r in project["optional-dependencies"][extra] if re.split("[^A-Za-z0-9._-]", r)[0] == package
        ]
        if not found:
            raise ValueError(f"pyproject.toml: no {package!r} in the extra {extra!r}.")
        pins += found
    return pins


if __name__ == "__main__":
    print("\n".join(lowest(sys.argv[1:], PROJECT.read_text(encoding="utf-8"))))
