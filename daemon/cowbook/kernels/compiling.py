"""Compiles kernels: each function that Python calls is optimised once, together with all the functions that it calls.

numba optimises each function with everything that it calls, then again within each of its callers, and makes Python wrappers for
each. Kernels call each other twenty deep, so most of the time went into machine code that never ran. Here a kernel that another
one calls (a *part*) is only lowered to LLVM code. A kernel that Python calls (a *root*) takes in all its parts and is optimised
once. That reduced the CPU time for all kernels from 33 s to 13 s, and they run faster (ADR 14).

Of numba's passes only those run that kernels need. Groups of arrays are handed over by address (kernels/groups.py).

numba has no public interface for this. pyproject.toml allows only the versions with which it was tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from llvmlite import binding as llvm
from numba.core import typed_passes, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, CompileResult
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.ir_utils import build_definitions
from numba.core.registry import CPUDispatcher
from numba.core.ssa import reconstruct_ssa
from numba.core.typed_passes import BaseNativeLowering

from cowbook.kernels.groups import KernelContext, KernelLower
from cowbook.kernels.signatures import TypingContext


class _PartLibrary(JITCodeLibrary):  # type: ignore[misc] # numba has no types
    """The LLVM code of a part as it was lowered, not optimised."""

    def add_llvm_module(self, module: Any) -> None:
        """Add the code without optimising it."""
        module.data_layout = self._codegen._data_layout
        self._final_module.link_in(module)

    def finalize(self) -> None:
        """Finish without making machine code."""
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        self._finalized = True


class _RarePartLibrary(_PartLibrary):
    """The LLVM code of a part that is never inlined into its callers."""

    def add_ir_module(self, module: Any) -> None:
        """Add the code, marked so that it is not inlined."""
        for function in module.functions:
            if not function.is_declaration:
                function.attributes.add("noinline")
                function.attributes.add("optsize")
        super().add_ir_module(module)


class _RootLibrary(JITCodeLibrary):  # type: ignore[misc] # numba has no types
    """The machine code of a root."""

    def add_llvm_module(self, module: Any) -> None:
        """Add the root's own code. It is optimised later, together with its parts."""
        module.data_layout = self._codegen._data_layout
        self._final_module.link_in(module)

    _linking_libraries: list[Any]

    def finalize(self) -> None:
        """Link the parts, and the parts of parts, each once. Then make machine code."""
        libraries: list[Any] = list(self._linking_libraries)
        for library in libraries:
            if isinstance(library, _PartLibrary):
                libraries += [each for each in library._linking_libraries if each not in libraries]
        self._linking_libraries: list[Any] = libraries
        self._own_names = {function.name for function in self._final_module.functions if not function.is_declaration}
        super().finalize()

    def _optimize_final_module(self) -> None:
        """Optimise once. Parts are internal, so that one with a single caller is inlined and dropped."""
        for function in self._final_module.functions:
            if not function.is_declaration and function.name not in self._own_names:
                function.linkage = llvm.Linkage.internal
        passes, builder = self._codegen._module_pass_manager()
        with self._recorded_timings.record("Module passes", builder):
            passes.run(self._final_module, builder)

    def serialize_using_object_code(self) -> tuple[str, str, tuple[bytes, bytes]]:
        """As numba's, but the LLVM code for other libraries has names alone, since no library takes in a root.

        numba parses that code whenever it loads the kernel, and keeps it. It took 10 MB of the memory of a process.
        """
        self._ensure_finalized()
        stubs = llvm.parse_assembly("".join(f'define void @"{name}"() {{ ret void }}\n' for name in sorted(self._own_names)))
        return self.name, "object", (self._get_compiled_object(), stubs.as_bitcode())


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(BaseNativeLowering):  # type: ignore[misc] # numba has no types
    """Makes LLVM code."""

    _name = "kernel_lowering"

    @property
    def lowering_class(self) -> type[KernelLower]:
        """What makes it."""
        return KernelLower


class _Passes(PassManager):  # type: ignore[misc] # numba has no types
    """As numba's, without the notes that it makes of each pass for listeners."""

    def _runPass(self, _index: int, a_pass: Any, state: Any) -> None:  # noqa: N802 - numba's name
        a_pass.analysis = self._analysis
        a_pass.run_initialization(state)
        a_pass.run_pass(state)
        a_pass.run_finalizer(state)


@register_pass(mutates_CFG=False, analysis_only=False)
class _SingleAssignment(untyped_passes.ReconstructSSA):  # type: ignore[misc] # numba has no types
    """Gives each assignment a variable of its own."""

    _name = "kernel_single_assignment"

    def run_pass(self, state: Any) -> bool:
        """Change the function, without the search for lifetimes, which only generators need."""
        state.func_ir = reconstruct_ssa(state.func_ir)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _NoPhis(typed_passes.PreLowerStripPhis):  # type: ignore[misc] # numba has no types
    """Brings variables together again where branches meet."""

    _name = "kernel_no_phis"

    def run_pass(self, state: Any) -> bool:
        """Change the function, without the search for lifetimes."""
        state.func_ir = self._strip_phi_nodes(state.func_ir)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True


_PASSES = (
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.DeadBranchPrune,
    _SingleAssignment,
    typed_passes.NopythonTypeInference,
    _NoPhis,
    _Lowering,
    typed_passes.NoPythonBackend,
)
"""numba's, without those for what kernels do not use: closures, exceptions, expressions of whole arrays, annotations."""


def _compiler_with(library_class: type[JITCodeLibrary]) -> type[CompilerBase]:
    class KernelCompiler(CompilerBase):  # type: ignore[misc] # numba has no types
        """numba's compiler, with a library of the given class."""

        def define_pipelines(self) -> Any:
            """Returns the passes, after setting the library."""
            library = library_class(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
            library.enable_object_caching()
            self.state.library = library
            self.state.targetctx = KernelContext.of(self.state.targetctx)
            self.state.typingctx = TypingContext.of(self.state.typingctx)
            passes = _Passes("kernel")
            for kind in _PASSES:
                passes.add_pass(kind, "")
            passes.finalize()
            return [passes]

    return KernelCompiler


PartCompiler = _compiler_with(_PartLibrary)
RarePartCompiler = _compiler_with(_RarePartLibrary)
RootCompiler = _compiler_with(_RootLibrary)


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


with_deep_stack = FunctionType(_call.__code__.replace(co_stacksize=70_000), {})
"""Calls a function with its arguments, and has room for all frames of the calls in it.

CPython keeps frames in chunks of 16 KB, and asks the kernel for one each time that a call does not fit into the last. A compiler
calls itself deep enough to do so 80,000 times, which took a tenth of its time. A frame of half a megabyte gets a chunk of one.
"""

_PART_OPTIONS = {"no_compile": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class Part(CPUDispatcher):  # type: ignore[misc] # numba has no types
    """A kernel as other kernels call it."""

    def __init__(self, function: Any, options: dict[str, Any], *, is_rare: bool) -> None:
        """If `is_rare`, the part is never inlined into its callers' machine code."""
        compiler = RarePartCompiler if is_rare else PartCompiler
        super().__init__(py_func=function, locals={}, targetoptions=options, pipeline_class=compiler)
        self._compiler._customize_flags = _only_lowered

    def compile(self, signature: Sequence[Any]) -> Any:
        """Lower the version for these types of arguments, unless that was done before. Returns numba's key for its code."""
        arguments = tuple(signature)
        if arguments not in self.overloads:
            result: CompileResult = self._compiler.compile(arguments, None)
            # numba finds the code by this name. There is no entry point that Python could call.
            name = object()
            self.targetctx.insert_user_function(name, result.fndesc, [result.library])
            self.overloads[arguments] = result._replace(entry_point=name)
        return self.overloads[arguments].entry_point


def _only_lowered(flags: Any) -> Any:
    for name, value in _PART_OPTIONS.items():
        setattr(flags, name, value)
    return flags
