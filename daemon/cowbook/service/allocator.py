"""Keeps the process small: large arrays are mapped by themselves, and code that has run goes back to the system.

glibc raises the size from which on it maps an allocation by itself to that of the largest one that was ever freed, up to 32 MB.
What is smaller then comes from a heap, and zeroing it touches all its pages: 4 MB for each symbol, most of which a quiet one
never uses. Two hundred symbols were ready after 8 to 14 s instead of 5, since their threads wait for each other at each new page.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache
from pathlib import Path

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_THRESHOLD_BYTES = 128 * 1024  # glibc's own, before it raises it
_MADV_DONTNEED = 4  # linux/mman.h
_MAPPING = re.compile(
    r"^(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) r-(?:x|-)p \S+ \S+ [1-9]\d* +/.*\n(?:[A-Z]\w+: .*\n)*?Anonymous: +0 kB$",
    re.MULTILINE,
)
"""In /proc/self/smaps: a private mapping of a file that nobody may write to, and of which no page differs from the file."""


def map_large_arrays() -> bool:
    """Fix the threshold at 128 KiB for this process. Returns False where the C library has no such setting."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_MMAP_THRESHOLD, _THRESHOLD_BYTES) == 1


@cache
def release_code() -> None:
    """Unmap the pages of libraries. What runs again is mapped again, from the system's cache of files, a microsecond for 64 KB.

    Importing and loading kernels runs much code once: 68 MB of LLVM alone. This happens once in a process, since to map again
    what is needed takes a fifth of a second. Nothing happens where the system does not say what is mapped.
    """
    try:
        mappings = Path("/proc/self/smaps").read_text()
    except OSError:
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for mapping in _MAPPING.finditer(mappings):
        start, end = int(mapping["start"], 16), int(mapping["end"], 16)
        madvise(start, end - start, _MADV_DONTNEED)  # advice: a system that does not take it leaves the pages where they are
