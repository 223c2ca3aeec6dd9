"""Tells by its first bytes what holds a file's records: a compression, an archive, an encoding.

The bytes may be those of the file, of an archive's member, or of what a compressed file has inside.
"""

from __future__ import annotations

from cowbook.capture.foreign import MAGICS, what_is_not_read
from cowbook.capture.tar import is_tar_header

LOOKED_AT_BYTES = 512
"""How many of a file's first bytes tell all of them."""

PARQUET = "parquet"
"""The kind of a Parquet file, which is a table rather than a stream of bytes."""
ZIP, TAR, UTF_16, PCAP, DBN = "zip", "tar", "UTF-16", "pcap", "DBN"

_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # after a byte 0x50 to 0x5f; pzstd files begin with such a frame
_KINDS = (
    (b"PAR1", PARQUET),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    *((b"BZh%d1AY&SY" % level, "bzip2") for level in range(1, 10)),
    *((b"BZh%d\x17\x72\x45\x38\x50\x90" % level, "bzip2") for level in range(1, 10)),  # of nothing
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
    (b"\xd4\xc3\xb2\xa1", PCAP),
    (b"\xa1\xb2\xc3\xd4", PCAP),
    (b"\x4d\x3c\xb2\xa1", PCAP),
    (b"\xa1\xb2\x3c\x4d", PCAP),
    (b"\x0a\x0d\x0d\x0a", PCAP),
    *((b"DBN%c" % version, DBN) for version in range(1, 9)),  # a text may begin so, too, but goes on otherwise
)
_COMPRESSIONS = ("gzip", "zstd", "bzip2", "xz", "lz4")


def kind_of(head: bytes) -> str | None:
    """What a file with these first bytes is, of what is read; None for plain bytes, and for what is not read.

    `head` has at least LOOKED_AT_BYTES of the file, or all of it.
    """
    if head[1:4] == _SKIPPABLE_MAGIC and head[0] & 0xF0 == 0x50:
        return "zstd"
    for magic, kind in _KINDS:
        if head.startswith(magic):
            return kind
    return TAR if is_tar_header(head) else None


def what_is_not_read_inside(head: bytes, inside: str) -> str | None:
    """As `what_is_not_read`, of bytes that stand `inside` of something: "an archive", "a compressed file"."""
    kind = kind_of(head)
    if kind == PARQUET:
        return f"is Parquet inside of {inside}, which is not read: unpack it"
    if kind in _COMPRESSIONS and inside != "an archive":
        return f"is compressed twice, the second time by {kind}, which is not read: decompress it once"
    if kind == ZIP or (kind == TAR and inside == "an archive"):
        return f"is a {kind} archive inside of {inside}, which is not read: unpack it, and name what is in it"
    return what_is_not_read(head)


def may_become(head: bytes) -> bool:
    """Whether a file that has only these first bytes yet may turn out as something else than plain bytes as it grows."""
    if len(head) >= LOOKED_AT_BYTES:
        return False
    magics = [magic for magic, _ in _KINDS] + list(MAGICS)
    skippable = len(head) < 4 and (not head or (head[0] & 0xF0 == 0x50 and _SKIPPABLE_MAGIC.startswith(head[1:])))
    begins_as_tar = b"\0" in head and kind_of(head) is None  # no text has a zero; a tar's header has many
    return skippable or begins_as_tar or any(len(head) < len(magic) and magic.startswith(head) for magic in magics)
