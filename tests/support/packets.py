"""Makes captures of packets: WebSockets and requests over TCP, in the many forms that captures have."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass, field

SYN, ACK, FIN, PSH = 2, 16, 1, 8


@dataclass
class Connection:
    """A TCP connection, of which segments are made. Times are ns."""

    client_port: int = 40_000
    server_port: int = 80
    is_ipv6: bool = False
    options: bytes = b""
    segment_bytes: int = 1400
    first_number: int = 4_294_967_000  # near the end, so that it begins anew
    segments: list[tuple[int, bytes]] = field(default_factory=list)
    """Times and IP packets, as they were sent."""
    _numbers: list[int] = field(default_factory=list)

    def open(self, time: int) -> None:
        """The three packets of a handshake."""
        self._numbers = [self.first_number, self.first_number + 77]
        self._add(time, 0, SYN, b"")
        self._add(time, 1, SYN | ACK, b"")
        self._numbers = [number + 1 for number in self._numbers]
        self._add(time, 0, ACK, b"")

    def acknowledge(self, time: int) -> None:
        """The client has everything so far."""
        self._add(time, 0, ACK, b"")

    def close(self, time: int) -> None:
        """The server closes it."""
        self._add(time, 1, FIN | ACK, b"")
        self._numbers[1] += 1

    def send(self, time: int, content: bytes, *, from_server: bool) -> None:
        """Send bytes in as many segments as they take."""
        side = int(from_server)
        for start in range(0, len(content), self.segment_bytes):
            piece = content[start : start + self.segment_bytes]
            self._add(time, side, ACK | PSH, piece)
            self._numbers[side] += len(piece)

    def _add(self, time: int, side: int, flags: int, content: bytes) -> None:
        ports = (self.client_port, self.server_port)
        padding = self.options + bytes(-len(self.options) % 4)
        offset = (20 + len(padding)) // 4
        number, acknowledged = self._numbers[side] % (1 << 32), self._numbers[1 - side] % (1 << 32)
        tcp = struct.pack(">HHIIBBHHH", ports[side], ports[1 - side], number, acknowledged, offset << 4, flags, 65535, 0, 0)
        tcp += padding + content
        if self.is_ipv6:
            ends = [bytes([0xFD, *[0] * 14, 1]), bytes([0xFD, *[0] * 14, 2])]
            extension = bytes([6, 0, 1, 4, 0, 0, 0, 0])
            packet = struct.pack(">IHBB", 6 << 28, len(tcp) + 8, 0, 64) + ends[side] + ends[1 - side] + extension + tcp
        else:
            ends = [bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])]
            packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0) + ends[side] + ends[1 - side] + tcp
        self.segments.append((time, packet))


def frame(content: bytes, *, code: int = 1, is_final: bool = True, is_compressed: bool = False, mask: bytes = b"") -> bytes:
    """A WebSocket frame."""
    first = code | (0x80 if is_final else 0) | (0x40 if is_compressed else 0)
    masked = 0x80 if mask else 0
    length = len(content)
    size = bytes([masked | length]) if length < 126 else None
    if size is None:
        size = (
            bytes([masked | 126]) + length.to_bytes(2, "big")
            if length < 1 << 16
            else bytes([masked | 127]) + length.to_bytes(8, "big")
        )
    body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(content)) if mask else content
    return bytes([first]) + size + mask + body


def deflated(contents: list[bytes]) -> list[bytes]:
    """Messages compressed one after the other with one window, as permessage-deflate does."""
    compressor = zlib.compressobj(wbits=-15)
    return [(compressor.compress(content) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4] for content in contents]


def upgrade(path: str = "/ws", headers: str = "") -> bytes:
    """A request for a WebSocket."""
    return f"GET {path} HTTP/1.1\r\nHost: stream.example.com\r\nUpgrade: websocket\r\n{headers}\r\n".encode()


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def link_layer(packet: bytes, link: int, *, vlan: bool = False) -> bytes:
    """A packet as a kind of link carries it: Ethernet (1), raw (101), Linux cooked (113, 276), loopback (0)."""
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    tag = b"\x81\x00\x00\x07" if vlan else b""
    return {
        0: (b"\x02\0\0\0" if kind == b"\x08\x00" else b"\x1e\0\0\0") + packet,
        1: bytes(12) + tag + kind + packet,
        101: packet,
        113: bytes(14) + kind + packet,
        276: kind + bytes(18) + packet,
    }[link]


def pcap(packets: list[tuple[int, bytes]], link: int = 1, *, order: str = "<", is_nano: bool = True, vlan: bool = False) -> bytes:
    """A pcap file."""
    magic, unit = (0xA1B23C4D, 1) if is_nano else (0xA1B2C3D4, 1000)
    content = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, link)
    for time, packet in packets:
        framed = link_layer(packet, link, vlan=vlan)
        content += struct.pack(order + "IIII", time // 10**9, time % 10**9 // unit, len(framed), len(framed)) + framed
    return content


def pcapng(packets: list[tuple[int, bytes]], link: int = 1, *, order: str = "<", digits: int = 9) -> bytes:
    """A pcapng file with times of so many digits behind the point."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)

    content = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    content += block(1, struct.pack(order + "HHI", link, 0, 262_144) + struct.pack(order + "HHBxxxHH", 9, 1, digits, 0, 0))
    content += block(5, bytes(12))  # statistics
    for time, packet in packets:
        framed = link_layer(packet, link)
        ticks = time // 10 ** (9 - digits)
        content += block(6, struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(framed), len(framed)) + framed)
    return content


def shuffled(packets: list[tuple[int, bytes]], rng: random.Random, *, repeats: int = 5) -> list[tuple[int, bytes]]:
    """Packets that overtook one another, some of them sent twice; each has the time of its place."""
    times = [time for time, _ in packets]
    contents = [packet for _, packet in packets]
    places = sorted(range(len(contents)), key=lambda place: place + rng.random() * 4)
    found = [contents[place] for place in places]
    for _ in range(repeats):
        place = rng.randrange(len(found))
        found.insert(min(len(found), place + rng.randrange(1, 4)), found[place])
        times.append(times[-1])
    return list(zip(times, found, strict=True))
