"""Finds the files of a list that hold the same, such as a file and its compressed copy under one glob: they are read once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cowbook.capture.compression import open_decoded, read_fully
from cowbook.capture.paths import ExpandedPaths
from cowbook.errors import InputError
from cowbook.plain.position import IDENTITY_BYTES

_BEGINNING_BYTES = 1 << 16
"""A recorder's files may begin alike. So much of those that do is hashed before pairs are compared: there may be thousands."""

_CHUNK_BYTES = 1 << 20


def read_once(expanded: ExpandedPaths) -> ExpandedPaths:
    """Leave out each file whose decoded content is that of an earlier match of the same pattern, with a warning.

    There is also a warning about a file that begins as an earlier one does and is read all the same, because the rest differs, or
    another pattern has matched it: if one is a copy of the other, its records count twice.
    """
    first_of: dict[bytes, int] = {}  # by the first KiB; files of which nothing can be read have none
    beginnings: dict[int, bytes] = {}  # hashes, of files whose first KiB another one has
    copies, warnings = set(), list(expanded.warnings)
    paths, patterns = expanded.paths, expanded.patterns
    for index, path in enumerate(paths):
        head = _read(path, IDENTITY_BYTES)
        first = first_of.setdefault(head, index)
        if first == index or not head:
            continue
        for each in (first, index):
            if each not in beginnings:
                beginnings[each] = hashlib.sha256(_read(paths[each], _BEGINNING_BYTES)).digest()
        earlier = [
            other
            for other, beginning in beginnings.items()
            if other < index and beginning == beginnings[index] and patterns[other] == patterns[index] and other not in copies
        ]
        original = next((paths[other] for other in earlier if _is_equal(paths[other], path)), None)
        if original is not None:
            copies.add(index)
            warnings.append(f"{path} has the content of {original}: it is read once")
        elif len(head) == IDENTITY_BYTES:
            warnings.append(f"{path} begins as {paths[first]} does: if one is a copy of the other, its records count twice")
    kept = [index for index in range(len(paths)) if index not in copies]
    return ExpandedPaths(tuple(paths[index] for index in kept), tuple(warnings), tuple(patterns[index] for index in kept))


def _read(path: Path, count: int) -> bytes:
    """The first decoded bytes of a file; empty if it cannot be read: the error is raised when it is read in its turn."""
    try:
        with open_decoded(path) as file:
            return read_fully(file, count)
    except (OSError, InputError):
        return b""


def _is_equal(path: Path, other: Path) -> bool:
    """Whether two files have the same decoded content, of which all can be read."""
    try:
        with open_decoded(path) as file, open_decoded(other) as original:
            while (content := read_fully(file, _CHUNK_BYTES)) == read_fully(original, _CHUNK_BYTES):
                if not content:  # what is lost of a damaged one is not known
                    return file.damage is None and original.damage is None
            return False
    except (OSError, InputError):
        return False
