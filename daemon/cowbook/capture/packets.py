"""Reads pcap and pcapng captures: packets with their times, and the TCP segments in them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.capture.members import Damage
from cowbook.capture.piece_reader import PieceReader

MOST_PACKET_BYTES = 1 << 22
_MOST_BLOCK_BYTES = 1 << 23
_PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_RECORD_BYTES = 16  # of a packet's header in pcap
_BLOCK_BYTES = 12  # of a block without content in pcapng
_NEAR_SECONDS = 86_400
"""Behind damage a packet is believed that is not farther from the last one in time."""
_SECTION_MAGIC = b"\x0a\x0d\x0d\x0a"
_INTERFACE, _OLD_PACKET, _PACKET = 1, 2, 6  # types of blocks in pcapng
_RESOLUTION, _OFFSET = 9, 14  # options of an interface
_ETHERNET, _NULL, _LOOP, _SLL, _SLL2 = 1, 0, 108, 113, 276  # kinds of links
_RAW = (12, 14, 101, 228, 229)
_VLAN = (0x8100, 0x88A8, 0x9100)
_IPV4, _IPV6, _TCP = 0x0800, 0x86DD, 6
_EXTENSIONS = (0, 43, 60)
SYN, FIN, RST, ACK = 2, 1, 4, 16


class PacketError(Exception):
    """The capture cannot be read on; args are the text."""


class Packet(NamedTuple):
    """What was captured of a packet. `time` is in ns since 1970."""

    time: int
    link: int
    content: bytes


class Segment(NamedTuple):
    """A TCP segment."""

    time: int
    source: tuple[bytes, int]  # address and port
    destination: tuple[bytes, int]
    sequence: int
    acknowledged: int
    flags: int
    content: bytes


@dataclass(slots=True)
class _Interface:
    link: int
    units: int = 1_000_000  # a second
    offset_seconds: int = 0


Packets = Generator[Packet | Damage | None, None, None]


def read_packets(reader: PieceReader) -> Packets:
    """Read all packets. None where nothing more is there yet. Raises PacketError where the capture cannot be read on.

    Where something else stands in place of a packet's header, there is damage, and the next packet is looked for behind it. So it
    is behind a damaged place of the compressed file in which they are.
    """
    if not (yield from reader.fill(24)):
        raise PacketError("it ends in the middle")
    if reader.peek(4) in _PCAP_MAGICS:
        yield from _read_pcap(reader)
    else:
        yield from _read_pcapng(reader)


def _read_pcap(reader: PieceReader) -> Packets:
    head = reader.take(24)
    order, factor = _PCAP_MAGICS[head[:4]]
    link = struct.unpack(order + "I", head[20:24])[0] & 0xFFFF
    record = struct.Struct(order + "IIII")
    last_seconds = 0
    while True:
        places = partial(_places_of_records, last_seconds=last_seconds, parts_of_second=10**9 // factor)
        search = _Search(order, _RECORD_BYTES, places, 8, _RECORD_BYTES)
        is_whole = yield from reader.fill(_RECORD_BYTES)
        if is_whole:
            seconds, fraction, length, original = record.unpack(reader.peek(_RECORD_BYTES))
            if length > MOST_PACKET_BYTES or seconds == length == original == 0:
                yield from _go_on(reader, f"a packet of {length} bytes", search)
                continue
            is_whole = yield from reader.fill(_RECORD_BYTES + length)
        if not is_whole:
            if (yield from _go_on_behind_damage(reader, search)):
                continue
            if reader.held_bytes:
                raise PacketError("it ends in the middle of a packet")
            return
        reader.take(_RECORD_BYTES)
        last_seconds = seconds
        yield Packet(seconds * 10**9 + fraction * factor, link, reader.take(length))


def _read_pcapng(reader: PieceReader) -> Packets:
    order = "<"
    interfaces: list[_Interface] = []
    while True:
        is_whole = yield from reader.fill(_BLOCK_BYTES)
        if is_whole:
            head = reader.peek(_BLOCK_BYTES)
            if head[:4] == _SECTION_MAGIC:
                order = "<" if head[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
                interfaces = []
            kind, length = struct.unpack(order + "II", head[:8])
            if length % 4 or not _BLOCK_BYTES <= length <= _MOST_BLOCK_BYTES:
                yield from _go_on(reader, f"a block of {length} bytes", _blocks(order))
                continue
            is_whole = yield from reader.fill(length)
        if not is_whole:
            if (yield from _go_on_behind_damage(reader, _blocks(order))):
                continue
            if reader.held_bytes:
                raise PacketError("it ends in the middle of a block")
            return
        body = reader.take(length)[8:-4]
        if kind == _INTERFACE and len(body) >= 8:
            interfaces.append(_interface(body, order))
        elif kind in (_PACKET, _OLD_PACKET) and len(body) >= 20:
            yield _packet(kind, body, order, interfaces)


def _packet(kind: int, body: bytes, order: str, interfaces: list[_Interface]) -> Packet:
    """The packet in a block of pcapng."""
    number, high, low, captured = struct.unpack(order + ("HxxIII" if kind == _OLD_PACKET else "IIII"), body[:16])
    if number >= len(interfaces):
        raise PacketError("a packet of an interface that is not described")
    interface = interfaces[number]
    ticks = (high << 32) + low
    time = ticks * 10**9 // interface.units + interface.offset_seconds * 10**9
    return Packet(time, interface.link, body[20 : 20 + captured])


_Words = npt.NDArray[np.uint32]


def _places_of_records(words: _Words, last_seconds: int, parts_of_second: int) -> npt.NDArray[np.bool_]:
    """Where a packet's header in pcap may begin, as `_Search.places`."""
    times, parts, lengths, originals = (words[start : len(words) - 12 + start] for start in (0, 4, 8, 12))
    is_near = np.abs(times.astype(np.int64) - last_seconds) <= _NEAR_SECONDS
    fits = (parts < parts_of_second) & (lengths > 0) & (lengths <= originals) & (lengths <= MOST_PACKET_BYTES)
    found: npt.NDArray[np.bool_] = is_near & fits
    return found


def _places_of_blocks(words: _Words) -> npt.NDArray[np.bool_]:
    """Where a packet's block in pcapng may begin, as `_Search.places`."""
    kinds, lengths = words[: len(words) - 4], words[4:]
    fits = (lengths % 4 == 0) & (lengths >= _BLOCK_BYTES) & (lengths <= _MOST_BLOCK_BYTES)
    found: npt.NDArray[np.bool_] = fits & ((kinds == _PACKET) | (kinds == _OLD_PACKET))
    return found


class _Search(NamedTuple):
    """How the next packet is known."""

    order: str
    header_bytes: int
    places: Callable[[_Words], npt.NDArray[np.bool_]]
    """Returns where a packet may begin, by the number of four bytes at each place; that of the last header is the last place."""
    length_place: int
    """Where in a header the length is."""
    added_bytes: int
    """What a packet has more than its length."""
    beginning: bytes = b""
    """With what the packets of another capture begin, if it can be told."""


def _blocks(order: str) -> _Search:
    return _Search(order, _BLOCK_BYTES, _places_of_blocks, 4, 0, _SECTION_MAGIC)


def _go_on(reader: PieceReader, what: str, search: _Search) -> Generator[Damage | None, None, None]:
    """Skip to the next packet behind damage. Raises PacketError, saying what was found, if there is none."""
    start = reader.taken_bytes
    yield from reader.skip(1)
    if not (yield from _find_packet(reader, search)):
        raise PacketError(what)
    yield Damage(f"is damaged at byte {start} of its packets: {what}. {reader.taken_bytes - start} bytes are skipped")


def _go_on_behind_damage(reader: PieceReader, search: _Search) -> Generator[Damage | None, None, bool]:
    """Go on behind a damaged place at which the bytes have ended. Returns False if they end there, or no packet follows."""
    while (place := reader.go_on()) is not None:
        yield place
        begins = (yield from reader.fill(4)) and reader.peek(4) == search.beginning
        if begins or (yield from _find_packet(reader, search)):
            return True
    return False


def _find_packet(reader: PieceReader, search: _Search) -> Generator[None, None, bool]:
    """Skip to the next packet. Returns False if there is none."""
    while (yield from reader.fill(search.header_bytes)):
        window = reader.peek(reader.held_bytes)
        words = _words(window, search.order)
        for place in np.flatnonzero(search.places(words)).tolist():
            if (yield from _is_followed(reader, place, int(words[place + search.length_place]) + search.added_bytes, search)):
                yield from reader.skip(place)
                return True
        yield from reader.skip(len(window) - search.header_bytes + 1)
    return False


def _is_followed(reader: PieceReader, place: int, length: int, search: _Search) -> Generator[None, None, bool]:
    """Whether what may be a packet, `place` bytes from here, is whole, and followed by another one or by the end."""
    end = place + length
    if not (yield from reader.fill(end + search.header_bytes)):
        return reader.held_bytes == end
    return bool(search.places(_words(reader.peek(end + search.header_bytes)[end:], search.order))[0])


def _words(content: bytes, order: str) -> _Words:
    """The number that the four bytes from each place on are."""
    parts = [np.frombuffer(content, np.uint8, len(content) - 3, place).astype(np.uint32) for place in range(4)]
    parts = parts if order == "<" else parts[::-1]
    words: _Words = parts[0] + parts[1] * 2**8 + parts[2] * 2**16 + parts[3] * 2**24
    return words


def _interface(body: bytes, order: str) -> _Interface:
    interface = _Interface(struct.unpack(order + "H", body[:2])[0])
    place = 8
    while place + 4 <= len(body):
        code, length = struct.unpack(order + "HH", body[place : place + 4])
        value = body[place + 4 : place + 4 + length]
        if code == 0:
            break
        if code == _RESOLUTION and len(value) == 1:
            interface.units = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** min(value[0], 18)
        elif code == _OFFSET and len(value) == 8:
            interface.offset_seconds = struct.unpack(order + "q", value)[0]
        place += 4 + length + -length % 4
    return interface


def segment_of(packet: Packet) -> Segment | None:
    """The TCP segment in a packet; None if it holds none, or a part of one."""
    for kind, content in _network(packet):
        try:
            return _of_ipv4(packet.time, content) if kind == _IPV4 else _of_ipv6(packet.time, content)
        except (struct.error, IndexError):
            return None  # captured in part
    return None


def _network(packet: Packet) -> Iterator[tuple[int, bytes]]:
    """The IP packet in a frame of the link, if there is one, and its kind."""
    content, link = packet.content, packet.link
    if link in _RAW or link in (_NULL, _LOOP):
        content = content if link in _RAW else content[4:]
        version = content[0] >> 4 if content else 0
        kind = {4: _IPV4, 6: _IPV6}.get(version, 0)
    elif link in (_ETHERNET, _SLL, _SLL2):
        place, start = {_ETHERNET: (12, 14), _SLL: (14, 16), _SLL2: (0, 20)}[link]
        kind = int.from_bytes(content[place : place + 2], "big")
        while kind in _VLAN:
            kind = int.from_bytes(content[start + 2 : start + 4], "big")
            start += 4
        content = content[start:]
    else:
        return
    if kind in (_IPV4, _IPV6):
        yield kind, content


def _of_ipv4(time: int, content: bytes) -> Segment | None:
    header, total, fragment, protocol = (content[0] & 15) * 4, *struct.unpack(">HxxHxB", content[2:10])
    if protocol != _TCP or fragment & 0x3FFF:
        return None  # parts of a packet leave a hole
    total = total or len(content)  # 0 where the network card cuts it up
    return _of_tcp(time, content[12:16], content[16:20], content[header:total])


def _of_ipv6(time: int, content: bytes) -> Segment | None:
    length, kind = struct.unpack(">HB", content[4:7])
    payload = content[40 : 40 + length] if length else content[40:]
    while kind in _EXTENSIONS:
        kind, payload = payload[0], payload[8 + payload[1] * 8 :]
    return _of_tcp(time, content[8:24], content[24:40], payload) if kind == _TCP else None


def _of_tcp(time: int, source: bytes, destination: bytes, content: bytes) -> Segment | None:
    from_port, to_port, sequence, acknowledged, offset, flags = struct.unpack(">HHIIBB", content[:14])
    header = (offset >> 4) * 4
    if header < 20 or header > len(content):
        return None
    return Segment(time, (source, from_port), (destination, to_port), sequence, acknowledged, flags, content[header:])
