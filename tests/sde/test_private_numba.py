"""What is used of Numba that it does not promise to keep, by name: why pyproject.toml holds Numba below a version."""

from __future__ import annotations

import ast
import importlib
import inspect
import tomllib
from pathlib import Path

import numba
import pytest
from numba.core import lowering, typed_passes, types, untyped_passes
from numba.core.codegen import Codegen, CodeLibrary, CPUCodegen, CPUCodeLibrary, JITCPUCodegen
from numba.core.compiler import Flags
from numba.core.cpu import CPUContext
from numba.core.dispatcher import _FunctionCompiler  # type: ignore[attr-defined]
from numba.core.targetconfig import TargetConfig
from numba.np import linalg
from packaging.requirements import Requirement

from sde.kernels.pipeline import UNUSED

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = {
    "numba.core.cgutils",
    "numba.core.codegen.JITCPUCodegen",
    "numba.core.codegen.JITCodeLibrary",
    "numba.core.compiler.Compiler",
    "numba.core.compiler.DefaultPassBuilder",
    "numba.core.compiler.Flags",
    "numba.core.compiler_machinery.PassManager",
    "numba.core.compiler_lock.global_compiler_lock",
    "numba.core.dispatcher._FunctionCompiler",
    "numba.core.registry.cpu_target",
    "numba.core.typing.templates.infer",
    "numba.core.typing.templates.infer_global",
    "numba.core.typing.templates.make_intrinsic_template",
    "numba.np.arrayobj.populate_array",
    "numba.np.linalg",
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
    assert hasattr(importlib.import_module(module), attribute) or importlib.import_module(name)


def test_what_the_compiler_rests_on() -> None:
    """`sde.kernels.compiler` puts these in the place of Numba's, or calls them."""
    assert callable(_FunctionCompiler._customize_flags) and callable(JITCPUCodegen.set_env)
    assert callable(linalg.ensure_blas) and "ensure_blas()" in inspect.getsource(linalg)
    source = inspect.getsource(CodeLibrary) + inspect.getsource(CPUCodeLibrary)
    for name in (
        "_ensure_finalized",
        "_finalize_final_module",
        "_finalize_dynamic_globals",
        "_optimize_final_module",
        "_final_module",
    ):
        assert name in source, name
    assert "self._finalized = True" in inspect.getsource(CPUCodeLibrary._finalize_final_module)
    assert "self._internal_codegen = " in inspect.getsource(CPUContext.init)
    assert "return self._internal_codegen" in inspect.getsource(CPUContext.codegen)
    assert "self._values" in inspect.getsource(TargetConfig) and issubclass(Flags, TargetConfig)
    assert "if state.library is None" in inspect.getsource(typed_passes.BaseNativeLowering)
    assert {name for module in (untyped_passes, typed_passes) for name in vars(module)} >= UNUSED
    assert "flags.no_compile" in inspect.getsource(typed_passes)
    assert "get_call_type" not in vars(types.Function)  # `operators` puts one there
    assert "self._impl_keys[sig.args] = " in inspect.getsource(types.Function.get_call_type)
    assert "op.get_call_type(self.context.typing_context" in inspect.getsource(lowering)
    assert "_library_class" in inspect.getsource(Codegen) and "self._tm = " in inspect.getsource(CPUCodegen)


def test_numba_is_held_to_versions_that_were_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = [r for r in map(Requirement, project["dependencies"]) if r.name == "numba"]
    assert numba.__version__ in wanted.specifier and "1000" not in wanted.specifier
