"""Members of compressed files, as simple as can be: made in one call, and decoded byte by byte up to the first damage."""

from __future__ import annotations

import zlib

import zstandard


def zstd_frame(content: bytes) -> bytes:
    """One frame with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def decode_member(member: bytes, kind: str) -> tuple[bytes, bool]:
    """All that a decompressor of "gzip" or "zstd" gives before it refuses or ends, and whether it ends well."""
    decoder = zlib.decompressobj(31) if kind == "gzip" else zstandard.ZstdDecompressor().decompressobj()
    decoded = b""
    try:
        for value in member:
            decoded += decoder.decompress(bytes((value,)))
            if decoder.eof:
                return decoded, True
    except (zlib.error, zstandard.ZstdError):
        pass
    return decoded, False
