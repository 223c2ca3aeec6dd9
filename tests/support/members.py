"""Members of compressed files, as simple as can be: made in one call, and decoded byte by byte up to the first damage."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame
import zstandard

_DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
}


def zstd_frame(content: bytes) -> bytes:
    """One frame with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def decode_member(member: bytes, kind: str) -> tuple[bytes, bool]:
    """All that a decompressor gives before it refuses or ends, and whether it ends well."""
    decoder = _DECODERS[kind]()
    decoded = b""
    try:
        for value in member:
            # lz4 holds back what it has no room for, unless it is told how much it may give.
            decoded += decoder.decompress(bytes((value,)), **({"max_length": 1 << 20} if kind == "lz4" else {}))
            if decoder.eof:
                return decoded, True
    except (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError, RuntimeError):
        pass
    return decoded, False
