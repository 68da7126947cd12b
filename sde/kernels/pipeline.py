"""What of Numba's compiler is put in the place of its own: fewer passes, and libraries that no machine code is made of
by themselves."""

from functools import cache
from typing import Any

from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import Compiler, DefaultPassBuilder, Flags
from numba.core.compiler_machinery import PassManager

from .members import promise
from .target import name, vector_bytes

UNUSED = {
    "DumpParforDiagnostics", "FindLiterallyCalls", "InlineClosureLikes", "InlineInlinables", "LiteralUnroll",
    "LiteralPropagationSubPipelinePass", "MakeFunctionToJitFunction", "NoPythonSupportedFeatureValidation",
    "NopythonRewrites", "RewriteDynamicRaises", "WithLifting",
}  # fmt: skip
"""Passes for what no kernel has: functions within functions, arithmetic of whole arrays, `with`, errors raised."""


SLOWED = ("skylake-avx512", "cascadelake", "cooperlake")
"""Processors that lower their clock where they take vectors of 64 bytes."""


class _Flags(Flags):
    """Compared by what is set: each operator that is typed compares them some ten times."""

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._values)))

    def __eq__(self, other: object) -> bool:
        return self is other or self._values == getattr(other, "_values", None)


class Pipeline(Compiler):
    """Numba's passes without those for what no kernel has."""

    def __init__(
        self, typing: Any, target: Any, library: Any, arguments: Any, result: Any, flags: Any, kept: Any
    ) -> None:
        super().__init__(typing, target, library, arguments, result, _Flags(flags), kept)

    def define_pipelines(self) -> list[Any]:
        passes = PassManager("kernel")
        for step, text in DefaultPassBuilder.define_nopython_pipeline(self.state).passes:
            if step.__name__ not in UNUSED:
                passes.add_pass(step, text)
        passes.finalize()
        return [passes]


class Seldom(Pipeline):
    """Of functions that are called, not inlined, and whose loops are left as they are."""

    def __init__(self, typing: Any, target: Any, library: Any, *rest: Any) -> None:
        library = codegen().create_library("seldom")
        library.seldom = True
        super().__init__(typing, target, library, *rest)


class _Library(JITCodeLibrary):
    """A library of code to be linked with others: no machine code is made of it. It is optimised once, where all is
    linked that it is a part of; one whose sums may be taken in any order also before, as its bits depend on it."""

    _codegen: Any
    seldom = False

    def add_ir_module(self, module: Any) -> None:
        for function in module.functions:
            if self.seldom and not function.is_declaration:
                function.attributes.add("noinline")
                function.attributes.add("optsize")
            promise(function)
        super().add_ir_module(module)

    def _optimize_final_module(self) -> None:
        if self._codegen.early:
            super()._optimize_final_module()

    def whole(self) -> Any:
        """The module that machine code is to be made of."""
        self._ensure_finalized()
        if not self._codegen.early:
            super()._optimize_final_module()
        return self._final_module

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0


class _Codegen(JITCPUCodegen):
    _library_class = _Library
    early = False

    def _customize_tm_features(self) -> str:
        """LLVM keeps to vectors of 32 bytes where it could take 64, which most of our loops gain by."""
        features: str = super()._customize_tm_features()
        return f"{features},-prefer-256-bit" if vector_bytes() == 64 and name() not in SLOWED else features

    def set_env(self, env_name: str, env: Any) -> None:
        """Nothing: no function here is called by way of the interpreter."""


@cache
def codegen() -> _Codegen:
    return _Codegen("noetherflow")
