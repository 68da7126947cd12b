"""Run the gallery and print its verdicts: `python -m examples.gallery [NAME ...] [--write]`."""

from __future__ import annotations

import sys

from examples.gallery import catalogue
from examples.gallery.page import summary


def main(arguments: list[str]) -> int:
    """0 when every verdict is the expected one. --write: keep them for the site."""
    names = [name for name in arguments if name != "--write"]
    unknown = set(names) - set(catalogue.NAMES)
    if unknown or ("--write" in arguments and names):
        print(f"names: must be of {', '.join(catalogue.NAMES)}, and none with --write; got {sorted(unknown)}")
        return 2
    found = []
    for name in names or catalogue.NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found.append(catalogue.measured(name))
    print(summary(found))
    if "--write" in arguments:
        catalogue.write(found)
    return 0 if all(one.outcome == "as expected" for one in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
