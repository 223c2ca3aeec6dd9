"""A capture of packets becomes the messages that were sent, in their order, however the network and the capture had them."""

from __future__ import annotations

import gzip
import json
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from cowbook.capture.compression import open_decoded
from cowbook.capture.growing_file import GrowingFile
from cowbook.capture.pcap import HEADER
from support.packets import SWITCHED, Connection, deflated, frame, pcap, pcapng, shuffled, upgrade

NS = 1_700_000_000_123_456_789
MESSAGES = [json.dumps({"number": number, "text": "x" * (number * 97 % 4001)}).encode() for number in range(60)]
ADDRESS = "ws://stream.example.com/ws"

Packets = list[tuple[int, bytes]]


def read(path: Path) -> tuple[list[bytes], str | None]:
    """All lines behind the first one, and what is wrong at the end."""
    with open_decoded(path) as file:
        content = b""
        while piece := file.read(999):
            content += piece
        lines = content.split(b"\n")
        assert not content or lines[0] + b"\n" == HEADER
        return lines[1:-1], file.damage


def messages_of(lines: list[bytes]) -> list[bytes]:
    """What was received."""
    return [line.split(b" ", 3)[3] for line in lines if line.startswith(b"recv ")]


def session(connection: Connection, messages: list[bytes] = MESSAGES, frames: Callable[[bytes], bytes] = frame) -> Connection:
    """A WebSocket with messages, each a millisecond behind the one before."""
    connection.open(NS)
    connection.send(NS, upgrade(), from_server=False)
    connection.send(NS, SWITCHED, from_server=True)
    for number, message in enumerate(messages, start=1):
        connection.send(NS + number * 1_000_000, frames(message), from_server=True)
        connection.acknowledge(NS + number * 1_000_000)
        if number % 7 == 0:
            connection.send(NS + number * 1_000_000, frame(b"p", code=9), from_server=True)
            connection.send(NS + number * 1_000_000, frame(b"p", code=10, mask=b"\1\2\3\4"), from_server=False)
    return connection


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(pcap, id="ethernet_ns"),
        pytest.param(lambda packets: pcap(packets, order=">"), id="other_byte_order"),
        pytest.param(lambda packets: pcap(packets, vlan=True), id="vlan"),
        pytest.param(lambda packets: pcap(packets, 0), id="loopback"),
        pytest.param(lambda packets: pcap(packets, 101), id="raw"),
        pytest.param(lambda packets: pcap(packets, 113), id="linux_cooked"),
        pytest.param(lambda packets: pcap(packets, 276), id="linux_cooked_2"),
        pytest.param(pcapng, id="pcapng"),
        pytest.param(lambda packets: pcapng(packets, order=">"), id="pcapng_other_byte_order"),
        pytest.param(lambda packets: zstandard.compress(pcap(packets)), id="in_zstd"),
    ],
)
@pytest.mark.parametrize("is_ipv6", [False, True], ids=["ipv4", "ipv6"])
def test_every_form_gives_messages_with_their_times(tmp_path: Path, make: Callable[[Packets], bytes], is_ipv6: bool) -> None:
    """To the nanosecond, where the capture has that."""
    connection = session(Connection(is_ipv6=is_ipv6, options=b"\x01\x01\x08\x0a12345678"))
    path = tmp_path / "capture"
    path.write_bytes(make(connection.segments))
    lines, damage = read(path)
    assert damage is None
    assert lines == [
        f"open {ADDRESS}#1 {NS} {ADDRESS}".encode(),
        *(
            b"recv %s#1 %d %s" % (ADDRESS.encode(), NS + number * 1_000_000, message)
            for number, message in enumerate(MESSAGES, 1)
        ),
    ]


def test_times_in_microseconds_are_read(tmp_path: Path) -> None:
    """As tcpdump writes them."""
    path = tmp_path / "capture"
    for content in (pcap(session(Connection()).segments, is_nano=False), pcapng(session(Connection()).segments, digits=6)):
        path.write_bytes(content)
        assert read(path)[0][1].split(b" ")[2] == b"%d" % ((NS + 1_000_000) // 1000 * 1000)


@pytest.mark.parametrize("seed", range(10))
def test_segments_that_overtake_or_come_twice_change_nothing(tmp_path: Path, seed: int) -> None:
    """Nor does their size."""
    rng = random.Random(seed)
    connection = session(Connection(segment_bytes=rng.choice((1, 100, 1400))), MESSAGES[:8])
    handshake = connection.segments[:3]
    path = tmp_path / "capture"
    path.write_bytes(pcap(handshake + shuffled(connection.segments[3:], rng)))
    lines, damage = read(path)
    assert (messages_of(lines), damage) == (MESSAGES[:8], None)
    assert len([line for line in lines if line.startswith(b"open ")]) == 1


def test_messages_in_parts_and_in_compression_are_whole(tmp_path: Path) -> None:
    """With the window of the connection, and without; a binary frame that is compressed by itself is left for its reader."""
    path = tmp_path / "capture"

    def in_parts(content: bytes) -> bytes:
        return frame(content[:5], is_final=False) + frame(b"", code=9) + frame(content[5:], code=0)

    path.write_bytes(pcap(session(Connection(), frames=in_parts).segments))
    assert messages_of(read(path)[0]) == MESSAGES
    for extension, contents in (
        (b"permessage-deflate", deflated(MESSAGES)),
        (b"permessage-deflate; server_no_context_takeover", [deflated([message])[0] for message in MESSAGES]),
    ):
        connection = Connection()
        connection.open(NS)
        connection.send(NS, upgrade(), from_server=False)
        answer = SWITCHED[:-2] + b"Sec-WebSocket-Extensions: " + extension + b"\r\n\r\n"
        connection.send(NS, answer, from_server=True)
        for content in contents:
            connection.send(NS, frame(content, is_compressed=True), from_server=True)
        path.write_bytes(pcap(connection.segments))
        assert messages_of(read(path)[0]) == MESSAGES
    connection = session(Connection(), [gzip.compress(MESSAGES[3])], lambda content: frame(content, code=2))
    path.write_bytes(pcap(connection.segments))
    assert messages_of(read(path)[0]) == [repr(gzip.compress(MESSAGES[3])).encode()]


def test_what_the_capture_lacks_is_a_reconnect(tmp_path: Path) -> None:
    """Messages go on behind the hole, at the next one that begins a segment, and the connection is opened again there."""
    connection = session(Connection(), MESSAGES[:30])
    lost = next(place for place, (_, packet) in enumerate(connection.segments) if MESSAGES[9] in packet)
    segments = connection.segments[:lost] + connection.segments[lost + 1 :]
    path = tmp_path / "capture"
    path.write_bytes(pcap(segments))
    lines, _ = read(path)
    received = messages_of(lines)
    assert received == MESSAGES[:9] + MESSAGES[10:30]
    opened = [place for place, line in enumerate(lines) if line.startswith(b"open ")]
    assert opened == [0, 10]
    path.write_bytes(pcap(segments[: lost + 9]))
    lines, damage = read(path)
    assert messages_of(lines) == MESSAGES[:9]
    assert "lacks packets near its end" in str(damage)


def test_a_capture_that_begins_in_the_middle_is_read(tmp_path: Path) -> None:
    """Without the handshake the connection has its address alone."""
    connection = session(Connection(), MESSAGES[:10])
    place = next(place for place, (_, packet) in enumerate(connection.segments) if MESSAGES[2] in packet)
    path = tmp_path / "capture"
    path.write_bytes(pcap(connection.segments[place:]))
    lines, _ = read(path)
    assert messages_of(lines) == MESSAGES[2:10]
    assert lines[0].endswith(b" ws://10.0.0.2:80")


def test_a_connection_that_replaces_a_closed_one_has_its_name(tmp_path: Path) -> None:
    """One beside it has another."""
    first, second, third = (session(Connection(client_port=port), MESSAGES[:2]) for port in (40_000, 40_001, 40_002))
    first.close(NS)
    path = tmp_path / "capture"
    path.write_bytes(pcap(second.segments + first.segments + third.segments))
    names = [line.split(b" ")[1].decode() for line in read(path)[0] if line.startswith(b"open ")]
    assert names == [f"{ADDRESS}#1", f"{ADDRESS}#2", f"{ADDRESS}#2"]


def test_cryptofeeds_headers_name_the_connection(tmp_path: Path) -> None:
    """One that was open in the capture before is joined, not opened."""
    path = tmp_path / "capture"
    for resumed, kind in (("0", b"open"), ("1", b"join")):
        headers = (
            f"X-Cryptofeed-Conn-Id: BYBIT.ws.1\r\nX-Cryptofeed-Address: wss://x/linear\r\nX-Cryptofeed-Resumed: {resumed}\r\n"
        )
        connection = Connection()
        connection.open(NS)
        connection.send(NS, upgrade(headers=headers), from_server=False)
        connection.send(NS, SWITCHED + frame(b"{}"), from_server=True)
        path.write_bytes(pcap(connection.segments))
        assert read(path)[0] == [kind + b" BYBIT.ws.1 %d wss://x/linear" % NS, b"recv BYBIT.ws.1 %d {}" % NS]


def test_answers_to_requests_are_lines_with_their_address(tmp_path: Path) -> None:
    """Plain, in chunks, compressed; several on one connection."""
    bodies = [b'{"a":1}', b'{"b":\r\n 2}', b'{"c":3}']
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(bodies[0]), bodies[0]),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n"
        % (bodies[1][:3], len(bodies[1]) - 3, bodies[1][3:]),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
        % (len(gzip.compress(bodies[2])), gzip.compress(bodies[2])),
    ]
    connection = Connection(segment_bytes=11)
    connection.open(NS)
    for number, answer in enumerate(answers):
        request = f"GET /depth?symbol=A&n={number} HTTP/1.1\r\nHost: api.example.com\r\n\r\n".encode()
        connection.send(NS, request, from_server=False)
        connection.send(NS, answer, from_server=True)
    path = tmp_path / "capture"
    path.write_bytes(pcap(connection.segments))
    assert read(path)[0] == [
        b"answer http %d http://api.example.com/depth?symbol=A&n=%d %s" % (NS, number, body.replace(b"\r\n", b" "))
        for number, body in enumerate(bodies)
    ]


def test_what_holds_no_message_says_why(tmp_path: Path) -> None:
    """Encrypted connections by name; a capture that was cut gives what is there."""
    path = tmp_path / "capture"
    connection = Connection(server_port=443)
    connection.open(NS)
    connection.send(NS, b"\x16\x03\x01\x02\x00" + bytes(512), from_server=False)
    connection.send(NS, b"\x16\x03\x03\x02\x00" + bytes(512), from_server=True)
    path.write_bytes(pcap(connection.segments))
    assert read(path) == ([], f"{path} is a capture of packets without a message: its connections are encrypted (TLS)")
    path.write_bytes(pcap([]))
    assert "no plain WebSocket" in str(read(path)[1])
    content = pcap(session(Connection(), MESSAGES[:5]).segments)
    path.write_bytes(content[:-300])
    lines, damage = read(path)
    assert messages_of(lines) == MESSAGES[: len(messages_of(lines))]
    assert "in the middle of a packet" in str(damage)
    path.write_bytes(content + struct.pack("<IIII", 1, 1, 1 << 30, 1 << 30))
    assert "a packet of 1073741824 bytes" in str(read(path)[1])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(pcap, id="pcap"),
        pytest.param(lambda packets: pcap(packets, order=">", is_nano=False), id="other_byte_order"),
        pytest.param(pcapng, id="pcapng"),
        pytest.param(lambda packets: pcapng(packets, order=">"), id="pcapng_other_byte_order"),
    ],
)
@pytest.mark.parametrize(
    "damage", [bytes(3_000), b"\xff" * 3_000, random.Random(5).randbytes(3_001)], ids=["zeros", "ones", "noise"]
)
def test_what_stands_behind_damage_is_read(tmp_path: Path, make: Callable[[Packets], bytes], damage: bytes) -> None:
    """Whatever it is, and wherever it begins: the messages around it are there, and one place of damage or more."""
    segments = session(Connection(segment_bytes=1_400)).segments
    before, behind = len(make(segments[: len(segments) // 3])), len(make(segments[: len(segments) // 2]))
    path = tmp_path / "capture"
    for offset in (0, 5, 21):
        content = make(segments)
        path.write_bytes(content[: before + offset] + damage + content[behind + 7 * offset :])
        content = b""
        places = []
        with open_decoded(path) as file:
            while piece := file.read(999):
                content += piece
                if file.damage is not None:
                    places.append(file.damage)
        received = messages_of(content.replace(b"\0", b"").split(b"\n"))
        assert received == [message for message in MESSAGES if message in received]
        assert received[0] == MESSAGES[0]
        assert received[-1] == MESSAGES[-1]
        assert len(received) > len(MESSAGES) // 2
        assert any("is damaged at byte" in place for place in places)


@pytest.mark.parametrize("make", [pytest.param(pcap, id="pcap"), pytest.param(pcapng, id="pcapng")])
@pytest.mark.parametrize("is_again", [False, True], ids=["goes_on", "begins_again"])
def test_what_stands_behind_a_damaged_member_is_read(tmp_path: Path, make: Callable[[Packets], bytes], is_again: bool) -> None:
    """Of a capture in several gzip members, one of them cut off: the next packets of the same capture, or another capture."""
    segments = session(Connection(segment_bytes=1_400)).segments
    third = len(segments) // 3
    whole = make(segments)
    middle = len(make(segments[: 2 * third]))
    second = make(segments[2 * third :]) if is_again else whole[middle + 7 :]
    first = gzip.compress(whole[: len(make(segments[:third])) + 11], mtime=0)
    path = tmp_path / "capture"
    path.write_bytes(first[: len(first) * 3 // 4] + gzip.compress(second, mtime=0))
    content, places = b"", []
    with open_decoded(path) as file:
        while piece := file.read(999):
            content += piece
            if file.damage is not None:
                places.append(file.damage)
        assert file.damage is None
    received = messages_of(content.replace(b"\0", b"").split(b"\n"))
    assert received == [message for message in MESSAGES if message in received]
    assert (received[0], received[-1]) == (MESSAGES[0], MESSAGES[-1])
    assert len(received) > len(MESSAGES) // 3
    assert any("the next one is at byte" in place for place in places)


def test_a_capture_that_grows_gives_its_messages_as_they_come(tmp_path: Path) -> None:
    """However it is cut up."""
    content = pcap(session(Connection(), MESSAGES[:20]).segments)
    path = tmp_path / "capture"
    path.write_bytes(content)
    whole = read(path)[0]
    rng = random.Random(1)
    growing = tmp_path / "growing"
    decoded = b""
    with growing.open("wb") as writer, GrowingFile(growing) as file:
        place = 0
        while place < len(content):
            step = rng.randrange(1, 3000)
            writer.write(content[place : place + step])
            writer.flush()
            place += step
            while piece := file.read(500):
                decoded += piece
        file.finish()
        assert file.read(10) == b""
        assert file.damage is None
    assert decoded.split(b"\n")[1:-1] == whole


def test_noise_is_no_message_and_takes_no_memory(tmp_path: Path) -> None:
    """Whatever stands in segments: they are bounded, and nothing is raised."""
    rng = random.Random(3)
    segments: Packets = []
    for port in range(30):
        connection = Connection(client_port=40_000 + port)
        connection.open(NS)
        for _ in range(40):
            start = rng.choice((b"", b"HTTP/1.1 200 OK\r\n", b"\x81\x7e", b"\x82\x7f\0\0\0\0\1", b"HTTP/1.1 101 x\r\n\r\n"))
            connection.send(NS, start + rng.randbytes(rng.randrange(1400)), from_server=rng.random() < 0.7)
        segments += connection.segments
    path = tmp_path / "capture"
    path.write_bytes(pcap(shuffled(segments, rng, repeats=100)))
    tracemalloc.start()
    read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
