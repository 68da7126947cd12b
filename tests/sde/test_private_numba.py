"""What is used of Numba that it does not promise to keep, by name: why pyproject.toml holds Numba below a version."""

from __future__ import annotations

import ast
import importlib
import inspect
import tomllib
from pathlib import Path

import numba
import pytest
from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.ccallback import CFunc
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = {
    "numba.core.caching.CompileResultCacheImpl",
    "numba.core.caching.FunctionCache",
    "numba.core.ccallback.CFunc",
    "numba.core.config",
    "numba.core.event",
    "numba.core.serialize.dumps",
    "numba.np.numpy_support.carray",
}


def imports() -> set[str]:
    """What sde imports from modules of Numba that are not its public face."""
    found = set()
    for path in (ROOT / "sde").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("numba.core", "numba.np")):
                found |= {f"{node.module}.{a.name}" for a in node.names}
    return found


def test_every_private_import_is_named_here() -> None:
    assert imports() == IMPORTED


@pytest.mark.parametrize("name", sorted(IMPORTED))
def test_it_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert getattr(importlib.import_module(module), attribute)


def test_what_machine_code_rests_on() -> None:
    """`sde.kernels.machine_code` sets these in place of Numba's constructors, and `options` hands them over."""
    source = inspect.getsource(FunctionCache.__mro__[1])
    for name in ("_name", "_py_func", "_impl", "_cache_path", "_cache_file"):
        assert f"self.{name} = " in source, name
    assert callable(FunctionCache._index_key) and callable(FunctionCache.enable)
    assert "self._lineno = " in inspect.getsource(CompileResultCacheImpl.__mro__[1].__init__)
    assert hasattr(njit(lambda: 0), "_cache") and "self._cache = " in inspect.getsource(CFunc.__init__)


def test_numba_is_held_to_versions_that_were_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = [r for r in map(Requirement, project["dependencies"]) if r.name == "numba"]
    assert numba.__version__ in wanted.specifier and "1000" not in wanted.specifier
