"""How a kernel is compiled: one optimisation for each function that Python calls, with all that it calls as parts of it.

numba optimises each function on its own, with everything that it calls, then once more in each of its callers, and gives each of
them wrappers for Python. Kernels call each other twenty deep, so most of the time went into machine code that nobody ran. Here a
kernel that is called by another is lowered only (a *part*); the one that Python calls (a *root*) takes all its parts in, and is
optimised once. That took all kernels from 33 s of CPU to 13, and they run faster (ADR 14).

numba has no public way to say so: the versions that this was tried with are the ones that pyproject.toml allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import binding as llvm
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompileResult
from numba.core.registry import CPUDispatcher


class _PartLibrary(JITCodeLibrary):  # type: ignore[misc] # numba has no types
    """The LLVM code of a part, as it was lowered."""

    def add_llvm_module(self, module: Any) -> None:
        """Take the code; nothing is optimised."""
        module.data_layout = self._codegen._data_layout
        self._final_module.link_in(module)

    def finalize(self) -> None:
        """No machine code is made."""
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        self._finalized = True


class _RarePartLibrary(_PartLibrary):
    """The LLVM code of a part that stays apart from its callers."""

    def add_ir_module(self, module: Any) -> None:
        """Take the code."""
        for function in module.functions:
            if not function.is_declaration:
                function.attributes.add("noinline")
        super().add_ir_module(module)


class _RootLibrary(JITCodeLibrary):  # type: ignore[misc] # numba has no types
    """The machine code of a root."""

    def add_llvm_module(self, module: Any) -> None:
        """Take the root's own code; it is optimised together with its parts."""
        module.data_layout = self._codegen._data_layout
        self._final_module.link_in(module)

    _linking_libraries: list[Any]

    def finalize(self) -> None:
        """Take in the parts, those of parts included, each once; then make machine code."""
        libraries: list[Any] = list(self._linking_libraries)
        for library in libraries:
            if isinstance(library, _PartLibrary):
                libraries += [each for each in library._linking_libraries if each not in libraries]
        self._linking_libraries: list[Any] = libraries
        self._own_names = {function.name for function in self._final_module.functions if not function.is_declaration}
        super().finalize()

    def _optimize_final_module(self) -> None:
        """Once, with parts as what nobody else can call: one with a single caller becomes part of it."""
        for function in self._final_module.functions:
            if not function.is_declaration and function.name not in self._own_names:
                function.linkage = llvm.Linkage.internal
        passes, builder = self._codegen._module_pass_manager()
        with self._recorded_timings.record("Module passes", builder):
            passes.run(self._final_module, builder)


def _compiler_with(library_class: type[JITCodeLibrary]) -> type[Compiler]:
    class KernelCompiler(Compiler):  # type: ignore[misc] # numba has no types
        """numba's compiler, for a library of this class."""

        def define_pipelines(self) -> Any:
            """The usual ones."""
            library = library_class(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
            library.enable_object_caching()
            self.state.library = library
            return super().define_pipelines()

    return KernelCompiler


PartCompiler = _compiler_with(_PartLibrary)
RarePartCompiler = _compiler_with(_RarePartLibrary)
RootCompiler = _compiler_with(_RootLibrary)

_PART_OPTIONS = {"no_compile": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class Part(CPUDispatcher):  # type: ignore[misc] # numba has no types
    """A kernel as others call it."""

    def __init__(self, function: Any, options: dict[str, Any], *, is_rare: bool) -> None:
        """One that `is_rare` is never made a part of its callers' machine code."""
        compiler = RarePartCompiler if is_rare else PartCompiler
        super().__init__(py_func=function, locals={}, targetoptions=options, pipeline_class=compiler)
        self._compiler._customize_flags = _only_lowered

    def compile(self, signature: Sequence[Any]) -> Any:
        """Lower the version for these types of arguments, if that was not done before."""
        arguments = tuple(signature)
        if arguments not in self.overloads:
            result: CompileResult = self._compiler.compile(arguments, None)
            # What numba finds the code by; there is nothing that Python could call.
            name = object()
            self.targetctx.insert_user_function(name, result.fndesc, [result.library])
            self.overloads[arguments] = result._replace(entry_point=name)
        return self.overloads[arguments].entry_point


def _only_lowered(flags: Any) -> Any:
    for name, value in _PART_OPTIONS.items():
        setattr(flags, name, value)
    return flags
