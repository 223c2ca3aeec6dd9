"""Reads the headers of tar archives: of any form, as a stream."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from cowbook.capture.piece_reader import PieceReader

BLOCK_BYTES = 512
MOST_HEADER_BYTES = 1 << 20
"""What a long name, or the properties of a member, may take."""

_NAME, _SIZE, _CHECKSUM, _TYPE, _MAGIC, _PREFIX = (
    slice(100),
    slice(124, 136),
    slice(148, 156),
    slice(156, 157),
    slice(257, 262),
    slice(345, 500),
)
_MAGIC_BYTES = b"ustar"
_FILES = (b"0", b"\0", b"7")
_SPARSE = b"S"
_LONG_NAME, _PAX = b"L", b"x"
_OF_HEADERS = (b"L", b"K", b"x", b"g")


class TarError(Exception):
    """What stands there is no header of a tar archive; args are the text."""


@dataclass(frozen=True, slots=True)
class Header:
    """A member, of which the content is next."""

    name: str
    size_bytes: int
    is_file: bool
    damage: str | None = None
    """What is wrong in front of it, where something else stood in place of its header."""

    @property
    def padding_bytes(self) -> int:
        """How many bytes stand between the content and the next header."""
        return -self.size_bytes % BLOCK_BYTES


def is_tar_header(head: bytes) -> bool:
    """Whether a file that begins so is a tar archive of any form: the oldest has no magic, but all have a name and a checksum."""
    if len(head) < BLOCK_BYTES or not head[:1].strip(b"\0"):
        return False
    return (b"\0" in head[_NAME] or head[_MAGIC] == _MAGIC_BYTES) and _has_checksum(head[:BLOCK_BYTES])


def _has_checksum(block: bytes) -> bool:
    digits = block[_CHECKSUM].strip(b" \0")
    blanked = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    return digits.isdigit() and all(digit in b"01234567" for digit in digits) and int(digits, 8) == sum(blanked)


def next_header(reader: PieceReader) -> Generator[None, None, Header | None]:
    """Read the next header. Returns None at the archive's end. Raises TarError where something else stands and none follows.

    What stands between is skipped: the content of the member, say, whose header is damaged, or what is left of a member behind a
    damaged place of the compressed archive.
    """
    properties: dict[str, str] = {}
    damage: str | None = None
    while True:
        if not (yield from reader.fill(BLOCK_BYTES)):
            if reader.is_interrupted:
                damage = yield from _go_on_behind_damage(reader)
                properties = {}
                continue
            if reader.held_bytes or reader.damage:
                raise TarError("it ends in the middle")
            return None
        block = reader.take(BLOCK_BYTES)
        if not block.strip(b"\0"):
            return None
        if not _has_checksum(block):
            block, skipped = yield from _search(reader)
            damage = f"is damaged: {skipped} bytes stand in place of a member's header, and are skipped"
            properties = {}
        if block[_TYPE] not in _OF_HEADERS:
            return replace(_header_of(block, properties), damage=damage)
        content = yield from _take_content(reader, _number(block[_SIZE]))
        if block[_TYPE] == _LONG_NAME:
            properties["path"] = content.rstrip(b"\0").decode(errors="backslashreplace")
        elif block[_TYPE] == _PAX:
            properties |= _properties(content)


def _search(reader: PieceReader) -> Generator[None, None, tuple[bytes, int]]:
    """Look for a header behind a block that is none. Returns it, and how many bytes stand in front of it, that block included."""
    skipped = BLOCK_BYTES
    while (yield from reader.fill(BLOCK_BYTES)):
        block = reader.take(BLOCK_BYTES)
        if is_tar_header(block):
            return block, skipped
        skipped += BLOCK_BYTES
    raise TarError("something else stands in the place of a header")


def _go_on_behind_damage(reader: PieceReader) -> Generator[None, None, str]:
    """Skip to the next header behind a damaged place. Returns what is wrong there. Raises TarError, saying so, if none follows.

    Blocks may begin anywhere, since nothing says how many bytes are lost. The oldest form has no magic, and is not found.
    """
    text = ""
    while (place := reader.go_on()) is not None:
        text = place.text
        while (yield from reader.fill(BLOCK_BYTES)):
            window = reader.peek(reader.held_bytes)
            magic = window.find(_MAGIC_BYTES, _MAGIC.start)
            while magic >= 0 and (start := magic - _MAGIC.start) + BLOCK_BYTES <= len(window):
                if is_tar_header(window[start : start + BLOCK_BYTES]):
                    yield from reader.skip(start)
                    return text
                magic = window.find(_MAGIC_BYTES, magic + 1)
            yield from reader.skip(len(window) - BLOCK_BYTES + 1)
    raise TarError(f"it {text}, and no member begins behind it")


def _header_of(block: bytes, properties: dict[str, str]) -> Header:
    """The header of a member, with what stood before it."""
    if block[_TYPE] == _SPARSE or any(key.startswith("GNU.sparse") for key in properties):
        raise TarError("it has a sparse file, which is not read: unpack it")
    name = properties.get("path", _name_of(block))
    size = properties.get("size", "")
    return Header(name, int(size) if size.isdigit() else _number(block[_SIZE]), block[_TYPE] in _FILES and not name.endswith("/"))


def _take_content(reader: PieceReader, length: int) -> Generator[None, None, bytes]:
    """Take what a header of a header holds."""
    if length > MOST_HEADER_BYTES:
        raise TarError(f"a header of {length} bytes")
    padded = length + -length % BLOCK_BYTES
    if not (yield from reader.fill(padded)):
        raise TarError("it ends in the middle")
    return reader.take(padded)[:length]


def _name_of(block: bytes) -> str:
    name = block[_NAME].partition(b"\0")[0]
    prefix = block[_PREFIX].partition(b"\0")[0] if block[_MAGIC] == _MAGIC_BYTES and block[262:263] == b"\0" else b""
    return (prefix + b"/" + name if prefix else name).decode(errors="backslashreplace")


def _number(field: bytes) -> int:
    """A number in octal digits or, if it is large, in binary."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big") + ((field[0] & 0x7F) << 8 * (len(field) - 1))
    digits = field.strip(b" \0") or b"0"
    if any(digit not in b"01234567" for digit in digits):
        raise TarError("a size that is no number")
    return int(digits, 8)


def _properties(content: bytes) -> dict[str, str]:
    """The properties of a pax header: `<length> <key>=<value>` and a line feed each."""
    found = {}
    while content:
        length = content.partition(b" ")[0]
        if not length.isdigit() or not 0 < int(length) <= len(content):
            raise TarError("properties of a member that cannot be read")
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        found[key.decode(errors="backslashreplace")] = value.decode(errors="backslashreplace")
        content = content[int(length) :]
    return found
