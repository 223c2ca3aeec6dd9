"""Machine instructions that Python has no word for, as numba intrinsics for the kernels.

All work on int64: mixing it with uint64 makes numba compute in floats.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_PACKAGE = Path(__file__).parent
_KERNEL_MODULES = (
    "bits.py",
    "book/*.py",
    "input/*_scanner.py",
    "sink/*_kernel.py",
    "event_batch.py",
    "rows.py",
    "schemes.py",
)


def cache_directory() -> Path:
    """Where compiled kernels are kept: a folder of their own for these very sources.

    numba looks at a function's own file only, and would go on with what it had compiled when a function that is called from
    there has changed in another. Below `$NUMBA_CACHE_DIR`, systemd's `$CACHE_DIRECTORY`, or `$XDG_CACHE_HOME/cowbook`; where
    that cannot be written, in the temporary directory, since numba refuses to import with a cache that is read-only.
    """
    digest = hashlib.sha256()
    for pattern in _KERNEL_MODULES:
        for path in sorted(_PACKAGE.glob(pattern)):
            digest.update(path.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if not base:
        base = str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cowbook")
    for root in (Path(base), Path(tempfile.gettempdir()) / f"cowbook-{os.getuid()}"):
        folder = root / f"kernels-{digest.hexdigest()[:16]}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
            return folder
    return Path(tempfile.mkdtemp(prefix="cowbook-kernels-"))


numba.config.CACHE_DIR = str(cache_directory())

kernel = njit(nogil=True, cache=True, error_model="numpy", _nrt=False)
"""Decorator of every compiled function: without the GIL, cached on disk, and dividing as C does.

Without numba's runtime, too: kernels allocate nothing, and arrays that they hand to each other are not reference-counted. The
counting alone would make the ladder three times as slow.
"""

inlined_kernel = njit(nogil=True, cache=True, error_model="numpy", _nrt=False, inline="always")
"""As `kernel`, for functions that are called at one place: they become part of their caller before it is compiled.

Handing over whole groups of arrays costs more than most of them do, and compiling each with all that it calls takes long.
"""


@intrinsic
def trailing_zeros(typing_context: Any, value: Any) -> Any:
    """Number of zero bits below the lowest set bit; `value` must not be 0."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@intrinsic
def highest_bit(typing_context: Any, value: Any) -> Any:
    """Position of the highest set bit, 0 to 63; `value` must not be 0."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        zeros = builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))
        return builder.sub(ir.Constant(ir.IntType(64), 63), zeros)

    return types.int64(types.int64), codegen


@intrinsic
def load64(typing_context: Any, buffer: Any, index: Any) -> Any:
    """The 8 bytes of a uint8 array from `index` on as a little-endian int64, at any alignment.

    Not checked: the array must hold `index + 8` bytes.
    """
    signature = types.int64(buffer, types.int64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        address = builder.gep(array.data, [args[1]])
        word = builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return signature, codegen


@intrinsic
def as_float(typing_context: Any, value: Any) -> Any:
    """The double that has these 64 bits."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen
