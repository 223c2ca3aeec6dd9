"""Turns a capture of packets into lines: the messages of its WebSockets, in the order in which they were complete.

| line | |
|---|---|
| `open <connection> <time> <address>` | a WebSocket was opened, or goes on behind packets that the capture does not have |
| `join <connection> <time> <address>` | it was open before, in another capture, and nothing is missing between |
| `recv <connection> <time> <message>` | a message |
| `answer <connection> <time> <url> <message>` | the answer to a request |

Times are ns since 1970. A connection has the name that cryptofeed gave it, else its address and a number: the lowest that no open
connection to the same address has, so that a connection that replaces a closed one has the name of that one (ADR 22).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from cowbook.capture.members import Damage, Pieces
from cowbook.capture.packets import ACK, FIN, RST, SYN, PacketError, Segment, read_packets, segment_of
from cowbook.capture.piece_reader import PieceReader
from cowbook.capture.tcp import Direction
from cowbook.capture.websocket import Answer, Client, Found, Message, Opened, Server

HEADER = b"COWBOOK-STREAMS 1\n"
_MOST_CONVERSATIONS = 4096
_LINE_ENDS = re.compile(rb"[\r\n]+")
_ODD = re.compile(r"[^!-~]+")

_End = tuple[bytes, int]


@dataclass(slots=True)
class _Conversation:
    """A TCP connection."""

    client: _End
    parser: Client
    server: Server
    directions: dict[_End, Direction] = field(default_factory=dict)
    name: str = ""  # once it is a WebSocket
    address: str = ""


class Dissector:
    """All connections of a capture."""

    def __init__(self) -> None:
        self._conversations: dict[frozenset[_End], _Conversation] = {}  # the one that had a segment last is last
        self._open_names: set[str] = set()
        self.has_tls = False
        self.has_messages = False

    def add(self, segment: Segment) -> Iterator[bytes]:
        """Take a segment. Yields the lines that it completes."""
        key = frozenset((segment.source, segment.destination))
        conversation = self._conversations.pop(key, None)
        if conversation is None or segment.flags & (SYN | ACK) == SYN:
            if conversation is not None:
                self._close(conversation)
            conversation = self._begin(segment)
        self._conversations[key] = conversation
        direction = conversation.directions.setdefault(segment.source, Direction())
        for content in direction.add(segment):
            yield from self._take(conversation, segment.source, segment.time, content)
        other = conversation.directions.get(segment.destination)
        if other is not None and segment.flags & ACK:
            for content in other.acknowledge(segment.acknowledged):
                yield from self._take(conversation, segment.destination, segment.time, content)
        if segment.flags & (FIN | RST):
            self._close(conversation)
            if segment.flags & RST:
                del self._conversations[key]
        elif len(self._conversations) > _MOST_CONVERSATIONS:
            self._close(self._conversations.pop(next(iter(self._conversations))))

    @property
    def pending_bytes(self) -> int:
        """How many bytes stand behind holes that may still be filled."""
        directions = (each for conversation in self._conversations.values() for each in conversation.directions.values())
        return sum(direction.pending_bytes for direction in directions)

    def _begin(self, segment: Segment) -> _Conversation:
        """A connection that is new. Without its first packets the server is the one with the lower port."""
        if segment.flags & SYN:
            client = segment.destination if segment.flags & ACK else segment.source
        else:
            client = max(segment.source, segment.destination, key=lambda end: end[1])
        parser = Client()
        return _Conversation(client, parser, Server(parser, is_whole=bool(segment.flags & SYN)))

    def _take(self, conversation: _Conversation, source: _End, time: int, content: bytes | None) -> Iterator[bytes]:
        if source == conversation.client:
            conversation.parser.add(content)
            return
        for found in conversation.server.add(content):
            yield from self._lines(conversation, source, time, found)
        self.has_tls |= conversation.server.is_tls

    def _lines(self, conversation: _Conversation, source: _End, time: int, found: Found) -> Iterator[bytes]:
        if not self.has_messages:
            self.has_messages = True
            yield HEADER
        if isinstance(found, Opened):
            kind = "open"
            if not found.is_again:
                self._close(conversation)
                kind = self._name(conversation, source)
            yield f"{kind} {conversation.name} {time} {conversation.address}\n".encode()
        elif isinstance(found, Answer):
            url = _ODD.sub("%20", found.url)
            yield b"answer http %d %s %s\n" % (time, url.encode(), _LINE_ENDS.sub(b" ", found.content))
        else:
            yield b"recv %s %d %s\n" % (conversation.name.encode(), time, _text(found))

    def _name(self, conversation: _Conversation, source: _End) -> str:
        """Give a connection that has become a WebSocket its name. Returns the kind of its line."""
        request = conversation.server.request
        headers = request.headers if request is not None else {}
        address = headers.get("x-cryptofeed-address", "")
        if not address and request is not None:
            address = request.url.replace("http://", "ws://", 1)
        if not address:
            host, port = source
            address = f"ws://{'.'.join(map(str, host)) if len(host) == 4 else host.hex(':', 2)}:{port}"
        conversation.address = _ODD.sub("_", address)
        named = _ODD.sub("_", headers.get("x-cryptofeed-conn-id", ""))
        number = 1
        while not named and f"{conversation.address}#{number}" in self._open_names:
            number += 1
        conversation.name = named or f"{conversation.address}#{number}"
        self._open_names.add(conversation.name)
        return "join" if headers.get("x-cryptofeed-resumed", "0") not in ("0", "") else "open"

    def _close(self, conversation: _Conversation) -> None:
        self._open_names.discard(conversation.name)


def dissected(pieces: Pieces) -> Pieces:
    """The lines of a capture of packets."""
    reader = PieceReader(pieces)
    dissector = Dissector()
    packets = read_packets(reader)
    text: str | None = None
    try:
        for packet in packets:
            if packet is None or isinstance(packet, Damage):
                yield packet
                continue
            segment = segment_of(packet)
            if segment is not None:
                yield from dissector.add(segment)
    except PacketError as error:
        text = f"is a capture of packets that cannot be read on: {error}"
    if not dissector.has_messages and text is None and reader.damage is None:
        why = "its connections are encrypted (TLS)" if dissector.has_tls else "no plain WebSocket is in it"
        return f"is a capture of packets without a message: {why}"
    if text is None and dissector.pending_bytes:
        # They are not given: a capture that grows may still have what is missing.
        text = f"lacks packets near its end: {dissector.pending_bytes} bytes behind them are not read"
    return reader.damage or text


def _text(message: Message) -> bytes:
    """A message as one line; one that is no text as Python writes bytes, from which it is inflated where it is read."""
    content = message.content
    if content[:1] not in (b"{", b"[") and not _is_text(content):
        return repr(content).encode()
    return _LINE_ENDS.sub(b" ", content)


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content
