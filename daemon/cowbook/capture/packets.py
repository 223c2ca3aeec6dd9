"""Reads pcap and pcapng captures: packets with their times, and the TCP segments in them."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cowbook.capture.piece_reader import PieceReader

MOST_PACKET_BYTES = 1 << 22
_MOST_BLOCK_BYTES = 1 << 23
_PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
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


def read_packets(reader: PieceReader) -> Generator[Packet | None, None, None]:
    """Read all packets. None where nothing more is there yet. Raises PacketError where the capture cannot be read on."""
    if not (yield from reader.fill(24)):
        raise PacketError("it ends in the middle")
    if reader.peek(4) in _PCAP_MAGICS:
        yield from _read_pcap(reader)
    else:
        yield from _read_pcapng(reader)


def _read_pcap(reader: PieceReader) -> Generator[Packet | None, None, None]:
    head = reader.take(24)
    order, factor = _PCAP_MAGICS[head[:4]]
    link = struct.unpack(order + "I", head[20:24])[0] & 0xFFFF
    record = struct.Struct(order + "IIII")
    while (yield from reader.fill(16)):
        seconds, fraction, length, _ = record.unpack(reader.take(16))
        if length > MOST_PACKET_BYTES:
            raise PacketError(f"a packet of {length} bytes")
        if not (yield from reader.fill(length)):
            raise PacketError("it ends in the middle of a packet")
        yield Packet(seconds * 10**9 + fraction * factor, link, reader.take(length))
    if reader.held_bytes:
        raise PacketError("it ends in the middle of a packet")


def _read_pcapng(reader: PieceReader) -> Generator[Packet | None, None, None]:
    order = "<"
    interfaces: list[_Interface] = []
    while (yield from reader.fill(12)):
        head = reader.peek(12)
        if head[:4] == _SECTION_MAGIC:
            order = "<" if head[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, length = struct.unpack(order + "II", head[:8])
        if length % 4 or not 12 <= length <= _MOST_BLOCK_BYTES:
            raise PacketError(f"a block of {length} bytes")
        if not (yield from reader.fill(length)):
            raise PacketError("it ends in the middle of a block")
        body = reader.take(length)[8:-4]
        if kind == _INTERFACE and len(body) >= 8:
            interfaces.append(_interface(body, order))
        elif kind in (_PACKET, _OLD_PACKET) and len(body) >= 20:
            number, high, low, captured = struct.unpack(order + ("HxxIII" if kind == _OLD_PACKET else "IIII"), body[:16])
            if number >= len(interfaces):
                raise PacketError("a packet of an interface that is not described")
            interface = interfaces[number]
            ticks = (high << 32) + low
            time = ticks * 10**9 // interface.units + interface.offset_seconds * 10**9
            yield Packet(time, interface.link, body[20 : 20 + captured])
    if reader.held_bytes:
        raise PacketError("it ends in the middle of a block")


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
