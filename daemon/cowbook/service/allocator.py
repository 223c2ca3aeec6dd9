"""Has large arrays mapped by themselves, whatever was freed before.

glibc raises the size from which on it maps an allocation by itself to that of the largest one that was ever freed, up to 32 MB.
What is smaller then comes from a heap, and zeroing it touches all its pages: 4 MB for each symbol, most of which a quiet one
never uses. Two hundred symbols were ready after 8 to 14 s instead of 5, since their threads wait for each other at each new page.
"""

from __future__ import annotations

import ctypes

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_THRESHOLD_BYTES = 128 * 1024  # glibc's own, before it raises it


def map_large_arrays() -> bool:
    """Fix the threshold at 128 KiB for this process. Returns False where the C library has no such setting."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_MMAP_THRESHOLD, _THRESHOLD_BYTES) == 1
