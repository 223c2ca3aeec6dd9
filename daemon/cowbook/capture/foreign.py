"""Files that are told by their first bytes and are not read, with what to do about each.

The bytes may be those of the file, or what a compressed file or an archive has inside.
"""

from __future__ import annotations

_UNPACK = "unpack it, and name what is in it"
_MAGICS = (
    (b"LZIP", "compressed by lzip", "unpack it, or compress it by gzip or zstd"),
    (b"\x02\x21\x4c\x18", "compressed by an old lz4", "unpack it, or compress it by gzip or zstd"),
    (b"\x5d\x00\x00", "compressed by lzma", "unpack it, or compress it by gzip or zstd"),
    (b"\x1f\x9d", "compressed by compress (.Z)", "uncompress it, or compress it by gzip or zstd"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed by snappy", "unpack it, or compress it by gzip or zstd"),
    (b"PK\x07\x08", "a zip archive in several files", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (b"ARROW1", "an Arrow (Feather) file", "write it as Parquet"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "write it as Parquet"),
    (b"SQLite format 3\x00", "an SQLite database", "export its table as CSV or Parquet"),
)

MAGICS = tuple(magic for magic, _, _ in _MAGICS)


def what_is_not_read(head: bytes) -> str | None:
    """Say what a file with these first bytes is, and what to do about it; None if it is none of what is not read.

    `head` has at least `containers.LOOKED_AT_BYTES` of the file, or all of it.
    """
    for magic, what, advice in _MAGICS:
        if head.startswith(magic):
            return f"is {what}, which is not read: {advice}"
    return None
