"""Claims that a verification must be able to reject, one a file: statement, where it applies, how it is measured.

A new claim is a file in this folder with a `CLAIM`.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from sde.verification.claim_kind import ClaimKind


def _found() -> tuple[ClaimKind, ...]:
    modules = sorted(m.name for m in iter_modules([str(Path(__file__).parent)]))
    kinds: list[ClaimKind] = [import_module(f"{__name__}.{name}").CLAIM for name in modules]
    return tuple(sorted(kinds, key=lambda kind: (kind.position, kind.group)))


CLAIMS = _found()
"""In the order of a report."""
STATEMENTS = {kind.group: kind.statement for kind in CLAIMS}
"""What the statistic of each group is; a claim's text is this and its subject."""
