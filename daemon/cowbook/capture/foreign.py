"""Containers that are told by their first bytes and are not read, with what to do about each.

The bytes may be those of the file, or what a compressed file has inside.
"""

from __future__ import annotations

LOOKED_AT_BYTES = 512
"""How many of a file's first bytes tell all of them."""

_UNPACK = "unpack it, and name what is in it"
_MAGICS = (
    (b"\x1f\x8b", "compressed twice, the second time by gzip", "decompress it once"),
    (b"\x28\xb5\x2f\xfd", "compressed twice, the second time by zstd", "decompress it once"),
    (b"PAR1", "Parquet inside of a compressed file", "decompress it"),
    (b"BZh", "compressed by bzip2 (bz2)", "bunzip2 it, or compress it by gzip or zstd"),
    (b"\xfd7zXZ\x00", "compressed by xz", "unxz it, or compress it by gzip or zstd"),
    (b"\x04\x22\x4d\x18", "compressed by lz4", "unlz4 it, or compress it by gzip or zstd"),
    (b"LZIP", "compressed by lzip", "unpack it, or compress it by gzip or zstd"),
    (b"\x1f\x9d", "compressed by compress (.Z)", "uncompress it, or compress it by gzip or zstd"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed by snappy", "unpack it, or compress it by gzip or zstd"),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"PK\x05\x06", "an empty zip archive", _UNPACK),
    (b"PK\x07\x08", "a zip archive in several files", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (b"\xd4\xc3\xb2\xa1", "a pcap file", "export its WebSocket messages, one a line"),
    (b"\xa1\xb2\xc3\xd4", "a pcap file", "export its WebSocket messages, one a line"),
    (b"\x4d\x3c\xb2\xa1", "a pcap file", "export its WebSocket messages, one a line"),
    (b"\xa1\xb2\x3c\x4d", "a pcap file", "export its WebSocket messages, one a line"),
    (b"\x0a\x0d\x0d\x0a", "a pcapng file", "export its WebSocket messages, one a line"),
    (b"DBN", "Databento's DBN", "export it as a table of one of the formats that are read"),
    (b"ARROW1", "an Arrow (Feather) file", "write it as Parquet"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "write it as Parquet"),
    (b"SQLite format 3\x00", "an SQLite database", "export its table as CSV or Parquet"),
    (b"\xff\xfe", "UTF-16 text", "convert it to UTF-8: iconv -f utf-16 -t utf-8"),
    (b"\xfe\xff", "UTF-16 text", "convert it to UTF-8: iconv -f utf-16 -t utf-8"),
)
_TAR_NAME_BYTES = 100
_TAR_CHECKSUM = slice(148, 156)


def what_container(head: bytes) -> str | None:
    """Say what a file with these first bytes is, and what to do about it; None if it is none of these containers.

    `head` has at least LOOKED_AT_BYTES of the file, or all of it.
    """
    for magic, what, advice in _MAGICS:
        if head.startswith(magic):
            return f"is {what}, which is not read: {advice}"
    if _is_tar(head):
        return f"is a tar archive, which is not read: {_UNPACK}"
    return None


def _is_tar(head: bytes) -> bool:
    """Whether it is the header of a tar archive of any format: the oldest has no magic, but all have a name and a checksum."""
    if len(head) < LOOKED_AT_BYTES or not head[:1].strip(b"\0") or b"\0" not in head[:_TAR_NAME_BYTES]:
        return False
    head = head[:LOOKED_AT_BYTES]
    digits = head[_TAR_CHECKSUM].strip(b" \0")
    blanked = head[: _TAR_CHECKSUM.start] + b" " * 8 + head[_TAR_CHECKSUM.stop :]
    return digits.isdigit() and all(digit in b"01234567" for digit in digits) and int(digits, 8) == sum(blanked)
