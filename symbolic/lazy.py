"""Names of a package that are loaded when first asked for: importing it stays quick, `dir` and `help` show them all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package; its stub `__init__.pyi` tells type checkers the same.

    homes: {public name: "module" that holds it, "module:name" where it has another name there, or "module:" for the
    module itself}. `__version__` is the distribution's.
    """

    def load(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            value: Any = version("noetherflow")
        elif name in homes:
            home, colon, attribute = homes[name].partition(":")
            module = import_module(home)
            value = module if colon and not attribute else getattr(module, attribute or name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*homes, "__version__", *(n for n in vars(sys.modules[package]) if n.startswith("__"))})

    return load, names, sorted(homes)
