"""Removes what a collector puts around a venue's message: receive times, directions, addresses, frames.

The container is told by the record's content and is independent of the venue.
Frames are only in a file that says so at its start.

| container | a record |
|---|---|
| plain | `message` |
| prefixed | `<receive time> <message>`, `<receive time>: <message>` |
| cryptofeed's raw capture | as prefixed; `<url> -> <time>: <message>` is an answer to a request. Not used: |
| | `<address> <- <time>: <message>`, which was sent, and `<address> <-> <time>`, a new connection |
| cbcap | a first line `CBCAP1 ...`, then per record a frame: `<receive time> <bytes>`, a line feed and the message |
| wrapped | see wrapping.py, which gives it one of the forms above |
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cowbook.input.text.json_fields import RECEIVE_TIME, receive_time
from cowbook.input.text.wrapping import HEARTBEATS, Names, unwrap
from cowbook.plain.messages import NONE

_OUTGOING = re.compile(rb"wss?://\S* (?:<->|<-) [0-9]+(?:\.[0-9]+)?(?:: |$)")
_ANSWER = re.compile(rb"https?://\S* -> ([0-9]+)(?:\.([0-9]+))?: ")
_FRAME = re.compile(rb"([0-9]+)(?:\.([0-9]+))? [0-9]+\r?\n")
FRAME_HEADER = re.compile(rb"[0-9]{1,20} ([0-9]{1,10})\r?")
"""The first line of a frame: its receive time, and the number of bytes after the line feed."""

_FILE_HEADER = b"CBCAP1 "
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A record's message, with what stood around it."""

    message: bytes
    time: re.Match[bytes] | None = None
    url: str = ""
    """The address that the message answers; empty if it is not an answer."""

    def ts_recv(self) -> int:
        """The receive time in ns since 1970; NONE if there is none. Raises RefusedError if it is out of range."""
        return receive_time(self.time) if self.time is not None else NONE


def has_frames(head: bytes) -> bool:
    """Whether a file that begins with these bytes is made of frames: a cbcap file says so in its first line."""
    return head.removeprefix(_BYTE_ORDER_MARK).startswith(_FILE_HEADER)


def open_envelope(record: bytes, names: Names | None = None) -> Envelope | None:
    """Open a record's envelope. Returns None if no venue's message is in it.

    That is so of what was sent to the venue, a connection, a file's header, and a heartbeat that is no JSON. `names` are those of
    the members of a home-made wrapper, where the configuration gives them.
    """
    envelope = _open(record, names)
    return None if envelope is not None and envelope.message in HEARTBEATS else envelope


def _open(record: bytes, names: Names | None) -> Envelope | None:
    if record[:1].isdigit() and (frame := _FRAME.match(record)) is not None:
        return Envelope(record[frame.end() :], frame)
    unwrapped = unwrap(record, names).record
    if unwrapped is None:
        return None
    record = unwrapped
    if record[:1].isdigit():
        prefix = RECEIVE_TIME.match(record)
        return Envelope(record[prefix.end() :], prefix) if prefix else Envelope(record)
    if record.startswith((b"ws", b"http", _FILE_HEADER)):
        if record.startswith(_FILE_HEADER) or _OUTGOING.match(record):
            return None
        answer = _ANSWER.match(record)
        if answer:
            return Envelope(record[answer.end() :], answer, record.partition(b" ")[0].decode())
    return Envelope(record)
