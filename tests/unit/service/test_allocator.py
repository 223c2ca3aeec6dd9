"""Large arrays take memory where they are used, and give all of it back. Code that has run gives its memory back, too."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import resource
import numpy as np
from cowbook.service.allocator import map_large_arrays
print(map_large_arrays())
np.ones(1 << 20, np.uint8)  # freed: from now on glibc would take what is smaller from a heap
held = [np.ones(1 << 17, np.uint8) for _ in range(50)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
del held
held = [np.zeros(1 << 19, np.uint8) for _ in range(50)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_what_nobody_has_written_to_takes_no_memory() -> None:
    """Zeroed arrays are not touched, although as large ones were freed before: they have 6,400 pages."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    is_set, faults = done.stdout.split()
    if is_set == "False":
        pytest.skip("this C library has no such setting")
    assert int(faults) < 1000


_RELEASING = """
import re
from pathlib import Path
import llvmlite.binding as llvm
from cowbook.service.allocator import release_code
def resident_kilobytes():
    code = anonymous = 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if (head := re.match("[0-9a-f]+-[0-9a-f]+ (....) .*", line)) is not None:
            counts = "llvmlite" in line
        elif counts and line.startswith("Rss:"):
            code += int(line.split()[1])
        elif counts and line.startswith("Anonymous:"):
            anonymous += int(line.split()[1])
    return code - anonymous, anonymous
parse = lambda: llvm.parse_assembly("define i64 @f() { ret i64 1 }").as_bitcode()
before = parse()
had, had_written = resident_kilobytes()
release_code()
has, has_written = resident_kilobytes()
assert parse() == before
print(had, has, had_written, has_written)
"""


def test_code_that_has_run_is_released_and_runs_again() -> None:
    """Of LLVM nothing stays but the pages that were written to, which are not in the file."""
    done = subprocess.run([sys.executable, "-c", _RELEASING], capture_output=True, text=True, check=True)
    had, has, had_written, has_written = map(int, done.stdout.split())
    assert had > 10_000
    assert has < had / 10
    assert has_written == had_written > 0


_HOLDING = """
import ctypes, mmap, sys
from pathlib import Path
from cowbook.service.allocator import release_code
file = open(sys.argv[1], "r+b")
memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
memory[0] = 65  # from now on a page that differs from the file
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, 1) == 0  # as the linker does
release_code()
print(ctypes.string_at(address, 1).decode())
"""


def test_pages_that_differ_from_their_file_stay(tmp_path: Path) -> None:
    """The linker writes addresses into libraries, and then protects these pages against writing."""
    path = tmp_path / "library"
    path.write_bytes(b"B" * mmap.PAGESIZE)
    done = subprocess.run([sys.executable, "-c", _HOLDING, path], capture_output=True, text=True, check=True)
    assert done.stdout == "A\n"
