"""How kernels hand each other groups, which are named tuples of arrays: by address (ADR 25).

numba takes a group apart for each call, and the callee puts it together again. An array is seven numbers and the engine has
thirty arrays, so more than half of all instructions did only that, until the optimiser had removed most of them. Here the
descriptions of a group's arrays lie on the stack of the function that made it, and are not changed there.

A group that is made in a loop lies at the same address in each turn: it must not be used in a later one.
"""

from __future__ import annotations

import copy
import hashlib
import operator
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.base import _wrap_impl
from numba.core.cpu import CPUContext
from numba.core.datamodel import ArgPacker, DataModelManager, default_manager
from numba.core.datamodel.models import DataModel
from numba.core.lowering import Lower


def is_group(kind: Any) -> bool:
    """Returns whether a type is a named tuple that has arrays, itself or in another group."""
    return isinstance(kind, types.BaseNamedTuple) and any(isinstance(each, types.Array) or is_group(each) for each in kind.types)


def described(kind: Any) -> str:
    """Returns the full name of a type. numba's name of a named tuple leaves out the fields and their types."""
    if isinstance(kind, types.NamedTuple | types.NamedUniTuple):
        members = zip(kind.fields, kind.types, strict=True)
        name = f"{kind.instance_class.__module__}.{kind.instance_class.__qualname__}"  # the file refers to it so
        return f"{name}({', '.join(f'{name}: {described(member)}' for name, member in members)})"
    return repr(kind)


class _Models(DataModelManager):  # type: ignore[misc] # numba has no types
    """As numba's own, but for groups."""

    def __init__(self, group_model: type[DataModel]) -> None:
        super().__init__(default_manager._handlers)  # noqa: SLF001 - numba has no public way to add to it
        self._group_model = group_model

    def lookup(self, kind: Any) -> Any:
        """Returns how values of a type are held."""
        if kind not in self._cache and is_group(kind):
            self._cache[kind] = self._group_model(self, kind)
        return super().lookup(kind)


def _content(kind: Any) -> Any:
    """Returns the LLVM type of what lies at a group's address. The groups in it lie there, too."""
    return ir.LiteralStructType([_content(each) if is_group(each) else _MODELS[each].get_value_type() for each in kind.types])


class _GroupModel(DataModel):  # type: ignore[misc] # numba has no types
    """A group in a kernel: its address. A kernel returns its content."""

    def __init__(self, models: _Models, kind: Any) -> None:
        super().__init__(models, kind)
        self._content = _content(kind)

    def get_value_type(self) -> Any:
        """Returns the type of the address."""
        return self._content.as_pointer()

    def get_return_type(self) -> Any:
        """Returns the type of the content."""
        return self._content

    def as_argument(self, _builder: Any, value: Any) -> Any:
        """Hand on the address."""
        return value

    def from_argument(self, _builder: Any, value: Any) -> Any:
        """Take the address."""
        return value

    def as_return(self, builder: Any, value: Any) -> Any:
        """Hand back the content."""
        return builder.load(value)

    def from_return(self, builder: Any, value: Any) -> Any:
        """Put the content on the caller's stack."""
        return cgutils.alloca_once_value(builder, value)


class _BoxedModel(DataModel):  # type: ignore[misc] # numba has no types
    """A group in the function that Python calls: the value that numba makes, which is put on the stack to call the kernel."""

    def get_argument_type(self) -> Any:
        """Returns the type of the address."""
        return _content(self.fe_type).as_pointer()

    def as_argument(self, builder: Any, value: Any) -> Any:
        """Hand on the address of the value, which has the content's layout."""
        return builder.bitcast(cgutils.alloca_once_value(builder, value), self.get_argument_type())


_MODELS = _Models(_GroupModel)
_BOXED_MODELS = _Models(_BoxedModel)
_INTERNAL_FUNCTIONS: dict[Any, Any] = {}
_KERNELS: set[str] = set()


class _WrapperContext(CPUContext):  # type: ignore[misc] # numba has no types
    """Makes the function that Python calls."""

    def get_arg_packer(self, kinds: Any) -> Any:
        """Returns what hands arguments of these types to a kernel."""
        return ArgPacker(_BOXED_MODELS, kinds)


class KernelContext(CPUContext):  # type: ignore[misc] # numba has no types
    """Lowers kernels."""

    @classmethod
    def of(cls, context: CPUContext) -> KernelContext:
        """Returns a copy of numba's context that lowers kernels."""
        made: KernelContext = _copy_as(context, cls)
        made.data_model_manager = _MODELS
        made.cached_internal_func = _INTERNAL_FUNCTIONS
        return made

    def refresh(self) -> None:
        """Take in the intrinsics that were met since numba's context was copied. It knew the rest."""
        for registry in [*self._registries]:
            self.install_registry(registry)

    def mangler(self, name: str, kinds: Any, *, abi_tags: Any = (), uid: int | None = None) -> str:
        """Returns the name of a function's code. Of groups, whose names are long, it has a digest."""
        return str(super().mangler(name, tuple(map(_short_name, kinds)), abi_tags=abi_tags, uid=uid))

    def get_getattr(self, kind: Any, attribute: str) -> Any:
        """Returns what lowers reading an attribute."""
        if is_group(kind):
            return _member
        if isinstance(kind, types.Record):  # a field: otherwise numba looks for a special one, and words in vain what it missed
            return self._getattrs[None].find((kind,))
        return super().get_getattr(kind, attribute)

    def get_setattr(self, attribute: str, signature: Any) -> Any:
        """Returns what lowers writing an attribute."""
        if not isinstance(signature.args[0], types.Record):
            return super().get_setattr(attribute, signature)
        lower = self._setattrs[None].find(signature.args)
        return lambda builder, arguments: lower(self, builder, signature, arguments, attribute)

    def get_function(self, function: Any, signature: Any, _firstcall: bool = True) -> Any:
        """Returns what lowers a call. Products wrap around."""
        if isinstance(function, types.Function) and function.typing_key in _PRODUCTS and signature.return_type == types.int64:
            return _wrap_impl(_multiply, self, signature)
        if isinstance(function, types.NamedTupleClass) and is_group(signature.return_type):
            return _wrap_impl(_make_group, self, signature)
        return super().get_function(function, signature, _firstcall)

    def declare_function(self, module: Any, description: Any) -> Any:
        """Declare a function. Nothing is stored at the address of a group that it is given.

        Raises TypeError for one that takes a group and is no kernel: it would not know what to do with an address.
        """
        function = super().declare_function(module, description)
        if any(is_group(kind) for kind in description.argtypes):
            if description.mangled_name not in _KERNELS:
                raise TypeError(f"a kernel hands a group to {description.qualname}, which is none")
            for argument in self.call_conv.get_arguments(function):
                if isinstance(argument.type, ir.PointerType) and isinstance(argument.type.pointee, ir.LiteralStructType):
                    argument.add_attribute("noalias")
        return function

    def create_cpython_wrapper(self, *arguments: Any, **options: Any) -> None:
        """Make the function that Python calls."""
        wrapper: _WrapperContext = _copy_as(self, _WrapperContext)
        wrapper.data_model_manager = default_manager
        wrapper.create_cpython_wrapper(*arguments, **options)


_PRODUCTS = (operator.mul, operator.imul)


def _multiply(context: Any, builder: Any, signature: Any, factors: Any) -> Any:
    """Multiply two integers. The result has the low 64 bits of the product.

    numba tells LLVM that no product overflows. Digests and the digits of a word do, and LLVM has made other code for the same
    digest in one kernel than in the next: it may take any value for the constant part of a product that overflows.
    """
    one, other = (context.cast(builder, *each, types.int64) for each in zip(factors, signature.args, strict=True))
    return builder.mul(one, other)


@cache
def _short_name(kind: Any) -> Any:
    """Returns what stands for a type in the names of functions."""
    if isinstance(kind, types.BaseNamedTuple | types.Array | types.Record):
        return hashlib.sha256(described(kind).encode()).hexdigest()[:16]
    return kind


def _copy_as(context: Any, kind: type) -> Any:
    made = copy.copy(context)
    made.__class__ = kind
    return made


def _member(_context: Any, builder: Any, kind: Any, group: Any, attribute: str) -> Any:
    """Read a member of a group: an array's description, a number, or the address of a group that is in it."""
    place = kind.fields.index(attribute)
    address = cgutils.gep_inbounds(builder, group, 0, place)
    return address if is_group(kind.types[place]) else builder.load(address)


def _make_group(context: Any, builder: Any, signature: Any, members: Any) -> Any:
    """Put a new group on the stack."""
    kind = signature.return_type
    group = cgutils.alloca_once(builder, _content(kind))
    for place, member in enumerate(members):
        value = context.cast(builder, member, signature.args[place], kind.types[place])
        if is_group(kind.types[place]):
            value = builder.load(value)
        builder.store(value, cgutils.gep_inbounds(builder, group, 0, place))
    return group


class KernelLower(Lower):  # type: ignore[misc] # numba has no types
    """As numba's, without what counts references and what describes variables to a debugger."""

    def setup_function(self, description: Any) -> None:
        """Declare the kernel."""
        _KERNELS.add(description.mangled_name)
        super().setup_function(description)

    def delvar(self, name: str) -> None:
        """Do nothing. numba would load the variable, and overwrite it with zeros."""

    def storevar(self, value: Any, name: str, argidx: int | None = None) -> None:  # noqa: ARG002 - numba's name
        """Store a variable, without a look at its old value."""
        self._alloca_var(name, self.typeof(name))
        if name in self._singly_assigned_vars:
            self._blk_local_varmap[name] = value
        else:
            self.builder.store(value, self.getvar(name))

    def alloca_lltype(self, name: str, lltype: Any, datamodel: Any = None) -> Any:  # noqa: ARG002 - numba's name
        """Make room for a variable on the stack."""
        return cgutils.alloca_once(self.builder, lltype, name=name)
