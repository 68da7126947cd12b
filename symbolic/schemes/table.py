"""The table of schemes: every file of this folder but those that schemes are made with."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from symbolic.schemes.scheme import Scheme

OTHERS = {
    "array_step",
    "choice",
    "noise_inputs",
    "one_step",
    "relaxed_noise",
    "rescaling_blocks",
    "scheme",
    "table",
    "walls",
}
"""Files of this folder that are no scheme."""


def _found() -> list[Scheme]:
    modules = {m.name for m in iter_modules([str(Path(__file__).parent)])} - OTHERS
    schemes: list[Scheme] = [import_module(f"{__package__}.{name}").SCHEME for name in sorted(modules)]
    return sorted(schemes, key=lambda scheme: (scheme.position, scheme.name))


SCHEMES = {scheme.name: scheme for scheme in _found()}
"""By name, in the order of lists."""
