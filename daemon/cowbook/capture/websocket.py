"""Finds WebSocket messages, and answers to HTTP requests, in the bytes of a server's direction of a TCP connection."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_MESSAGE_BYTES = 1 << 25
_MOST_HEADER_BYTES = 1 << 16
_MOST_REQUESTS = 64
_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_FIRST_BYTES = (0x81, 0x82, 0x01, 0x02, 0xC1, 0xC2, 0x41, 0x42)  # of frames that begin a message
_ANSWER = b"HTTP/1."
_DEFLATE_END = b"\x00\x00\xff\xff"
_TLS = (b"\x16\x03", b"\x17\x03", b"\x14\x03")


class Opened(NamedTuple):
    """The connection has become a WebSocket, or goes on as one behind a hole (`is_again`)."""

    is_again: bool


class Message(NamedTuple):
    """A message, without its compression."""

    content: bytes


class Answer(NamedTuple):
    """The body of an answer to a request."""

    url: str
    content: bytes


Found = Opened | Message | Answer


class UnreadableError(Exception):
    """What stands in the bytes cannot be told; args are the text."""


@dataclass(slots=True)
class Request:
    """A request that waits for its answer."""

    url: str
    headers: dict[str, str]


@dataclass(slots=True)
class Client:
    """The client's direction: its requests. What it sends over a WebSocket is not looked at."""

    requests: deque[Request] = field(default_factory=deque)
    _held: bytearray = field(default_factory=bytearray)
    _skip_bytes: int = 0
    _is_over: bool = False

    def add(self, content: bytes | None) -> None:
        """Take the next bytes; None where some are missing."""
        if self._is_over:
            return
        if content is None:
            self._held.clear()
            self._skip_bytes = 0
            return
        self._held += content
        while self._held:
            skipped = min(self._skip_bytes, len(self._held))
            del self._held[:skipped]
            self._skip_bytes -= skipped
            end = self._held.find(b"\r\n\r\n")
            if end < 0:
                self._is_over = len(self._held) > _MOST_HEADER_BYTES
                return
            line, headers = _headers(bytes(self._held[:end]))
            del self._held[: end + 4]
            words = line.split(" ")
            if len(words) != 3 or not words[2].startswith("HTTP/"):
                self._is_over = True
                return
            url = headers.get("x-cryptofeed-url") or f"http://{headers.get('host', '')}{words[1]}"
            if len(self.requests) < _MOST_REQUESTS:
                self.requests.append(Request(url, headers))
            self._is_over = headers.get("upgrade", "").lower() == "websocket"
            self._skip_bytes = _number(headers.get("content-length", "0"))


class Server:
    """The server's direction."""

    def __init__(self, client: Client, *, is_whole: bool) -> None:
        """`is_whole` says that the capture has the connection's first bytes."""
        self._client = client
        self._held = bytearray()
        # first; start (nothing is known), http, websocket, lost (in a WebSocket, behind a hole), over
        self._state = "first" if is_whole else "start"
        self._inflater: _Inflater | None = None
        self._parts: list[bytes] = []  # of a message in several frames
        self._part_bytes = 0
        self._is_compressed = False
        self.request: Request | None = None
        """What the WebSocket was asked for by; None if the capture does not have that."""
        self.is_tls = False
        """Whether the connection is encrypted."""

    def add(self, content: bytes | None) -> Iterator[Found]:
        """Take the next bytes, of one segment; None where some are missing."""
        if content is None:
            self._lose()
            return
        if self._state == "over":
            return
        if self._state in ("start", "lost"):
            yield from self._find_beginning(content)
        self._held += content
        if self._state == "first" and len(self._held) >= len(_ANSWER):
            self.is_tls = self._held.startswith(_TLS)
            self._state = "http" if self._held.startswith(_ANSWER) else "over"
        try:
            while self._state in ("http", "websocket"):
                found = self._next_answer() if self._state == "http" else self._next_frame()
                if found is None:
                    break
                yield from found
        except UnreadableError:
            self._lose()
        if self._state in ("start", "lost", "over"):
            self._held.clear()

    def _lose(self) -> None:
        """Wait for a segment that begins with a message's first frame."""
        self._held.clear()
        self._parts, self._part_bytes = [], 0
        if self._state != "over":
            self._state = "lost" if self._state in ("websocket", "lost") else "start"
        if self._inflater is not None and self._inflater.keeps_window:
            self._state = "over"  # what follows refers to what is missing

    def _find_beginning(self, content: bytes) -> Iterator[Found]:
        """Tell what a segment begins with, where nothing before it is known."""
        if content.startswith(_ANSWER):
            self._state = "http"
        elif self._state == "start" and content.startswith(_TLS):
            self.is_tls, self._state = True, "over"
        elif _begins_message(content):
            if content[0] & 0x40 and self._inflater is None:
                self._inflater = _Inflater(keeps_window=False)
            self._state, is_again = "websocket", self._state == "lost"
            yield Opened(is_again)

    def _next_answer(self) -> list[Found] | None:
        """The next answer; None if it is not whole yet."""
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            if len(self._held) > _MOST_HEADER_BYTES:
                raise UnreadableError("a header without an end")
            return None
        line, headers = _headers(bytes(self._held[:end]))
        status = line.split(" ")[1] if line.startswith("HTTP/") and " " in line else ""
        if status == "101":
            del self._held[: end + 4]
            self.request = self._client.requests.popleft() if self._client.requests else None
            extension = headers.get("sec-websocket-extensions", "")
            if "permessage-deflate" in extension:
                self._inflater = _Inflater(keeps_window="server_no_context_takeover" not in extension)
            self._state = "websocket"
            return [Opened(is_again=False)]
        if not status.isdigit():
            raise UnreadableError("no answer")
        body = self._body(end + 4, headers, status)
        if body is None:
            return None
        request = self._client.requests.popleft() if self._client.requests and not status.startswith("1") else None
        if request is None or status != "200":
            return []
        return [Answer(request.url, _decoded(body, headers.get("content-encoding", "")))]

    def _body(self, start: int, headers: dict[str, str], status: str) -> bytes | None:
        """Take an answer's body; None if it is not whole yet."""
        if status.startswith("1") or status in ("204", "304"):
            del self._held[:start]
            return b""
        if "chunked" not in headers.get("transfer-encoding", "").lower():
            length = _number(headers.get("content-length", "0"))
            if length > MOST_MESSAGE_BYTES:
                raise UnreadableError("a body that is too long")
            if len(self._held) < start + length:
                return None
            body = bytes(self._held[start : start + length])
            del self._held[: start + length]
            return body
        place, chunks = start, []
        while (end := self._held.find(b"\r\n", place)) >= 0:
            text = bytes(self._held[place:end]).partition(b";")[0].strip()
            try:
                length = int(text, 16)
            except ValueError as error:
                raise UnreadableError("a chunk without a length") from error
            if len(self._held) > MOST_MESSAGE_BYTES:
                raise UnreadableError("a body that is too long")
            if len(self._held) < end + 2 + length + 2:
                return None
            chunks.append(bytes(self._held[end + 2 : end + 2 + length]))
            place = end + 2 + length + 2
            if not length:
                del self._held[:place]
                return b"".join(chunks)
        return None

    def _next_frame(self) -> list[Found] | None:
        """Take the next frame; None if it is not whole yet."""
        held = self._held
        if len(held) < 2:
            return None
        first, second = held[0], held[1]
        length, start = second & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(held) < start:
                return None
            length = int.from_bytes(held[2:start], "big")
        mask_bytes = 4 if second & 0x80 else 0
        if length > MOST_MESSAGE_BYTES or first & 0x30:
            raise UnreadableError("no frame")
        end = start + mask_bytes + length
        if len(held) < end:
            return None
        content = bytes(held[start + mask_bytes : end])
        if mask_bytes:
            content = _unmasked(content, bytes(held[start : start + 4]))
        del held[:end]
        return self._take_frame(first, content)

    def _take_frame(self, first: int, content: bytes) -> list[Found]:
        code = first & 0x0F
        if code >= 8:
            return []  # ping, pong, close
        if code in (_TEXT, _BINARY):
            self._parts, self._part_bytes, self._is_compressed = [], 0, bool(first & 0x40)
        elif code != _CONTINUATION:
            raise UnreadableError("no frame")
        self._parts.append(content)
        self._part_bytes += len(content)
        if self._part_bytes > MOST_MESSAGE_BYTES:
            raise UnreadableError("a message that is too long")
        if not first & 0x80:
            return []
        message = b"".join(self._parts)
        self._parts, self._part_bytes = [], 0
        if self._is_compressed:
            if self._inflater is None:
                raise UnreadableError("compressed without a word")
            message = self._inflater.inflate(message)
        return [Message(message)]


class _Inflater:
    """Decompresses messages of permessage-deflate."""

    def __init__(self, *, keeps_window: bool) -> None:
        self.keeps_window = keeps_window
        self._decompressor = zlib.decompressobj(-zlib.MAX_WBITS)

    def inflate(self, content: bytes) -> bytes:
        """A message's text. Raises UnreadableError."""
        try:
            text = self._decompressor.decompress(content + _DEFLATE_END, MOST_MESSAGE_BYTES)
        except zlib.error as error:
            raise UnreadableError("bad data") from error
        if self._decompressor.unconsumed_tail:
            raise UnreadableError("a message that is too long")
        if not self.keeps_window or self._decompressor.eof:
            self._decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
        return text


def _begins_message(content: bytes) -> bool:
    """Whether a segment seems to begin with a message's first frame, as servers send it: not masked, and text as JSON."""
    if len(content) < 4 or content[0] not in _FIRST_BYTES or content[1] & 0x80:
        return False
    length = content[1]
    start = 2 if length < 126 else 4 if length == 126 else 10
    size = length if length < 126 else int.from_bytes(content[2:start], "big")
    if size > MOST_MESSAGE_BYTES or len(content) <= start or (start == 10 and size < 1 << 16) or (start == 4 and size < 126):
        return False
    is_compressed = content[0] & 0x40
    return bool(is_compressed) or content[0] & 0x0F == _BINARY or content[start : start + 1] in (b"{", b"[", b'"')


def _unmasked(content: bytes, mask: bytes) -> bytes:
    key = mask * (len(content) // 4 + 1)
    return (int.from_bytes(content, "big") ^ int.from_bytes(key[: len(content)], "big")).to_bytes(len(content), "big")


def _headers(text: bytes) -> tuple[str, dict[str, str]]:
    """The first line, and the headers by their names in lower case."""
    lines = text.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    return lines[0], {name.strip().lower(): value.strip() for name, _, value in pairs}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def _decoded(body: bytes, encoding: str) -> bytes:
    """A body without its compression."""
    forms = {"gzip": 31, "deflate": zlib.MAX_WBITS}
    if encoding not in forms:
        return body
    try:
        return zlib.decompressobj(forms[encoding]).decompress(body, MOST_MESSAGE_BYTES)
    except zlib.error as error:
        raise UnreadableError("bad data") from error
