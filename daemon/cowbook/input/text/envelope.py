"""What stands around a venue's message in a capture: receive times, directions, addresses, frames. Told by content, of any venue.

| container | a record |
|---|---|
| plain | `message` |
| prefixed | `<receive time> <message>`, `<receive time>: <message>` |
| cryptofeed's raw capture | as prefixed; `<url> -> <time>: <message>` is an answer to a request, and not for us are |
| | `<address> <- <time>: <message>`, which was sent, and `<address> <-> <time>`, a connection |
| cbcap | a first line `CBCAP1 ...`, then `<receive time> <bytes>`, a line feed and the message |
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cowbook.input.text.json_fields import RECEIVE_TIME, receive_time
from cowbook.plain.messages import NONE

_OUTGOING = re.compile(rb"wss?://\S* (?:<->|<-) [0-9]+(?:\.[0-9]+)?(?:: |$)")
_ANSWER = re.compile(rb"https?://\S* -> ([0-9]+)(?:\.([0-9]+))?: ")
_FRAME = re.compile(rb"([0-9]+)(?:\.([0-9]+))? [0-9]+\r?\n")
FRAME_HEADER = re.compile(rb"[0-9]{1,20} ([0-9]{1,10})\r?")
"""The first line of a frame: its receive time, and how many bytes follow the line feed."""

_FILE_HEADER = b"CBCAP1 "


@dataclass(frozen=True, slots=True)
class Envelope:
    """A record without what the collector has put around it."""

    message: bytes
    time: re.Match[bytes] | None = None
    url: str = ""
    """Of what it answers to."""

    def ts_recv(self) -> int:
        """The receive time in ns since 1970, NONE without one. Raises RefusedError when it is out of range."""
        return receive_time(self.time) if self.time is not None else NONE


def open_envelope(record: bytes) -> Envelope | None:
    """The message of a record; None for one that is no message of the venue's: what was sent, a connection, a file's header."""
    if record[:1].isdigit():
        prefix = _FRAME.match(record) or RECEIVE_TIME.match(record)
        return Envelope(record[prefix.end() :], prefix) if prefix else Envelope(record)
    if record.startswith((b"ws", b"http", _FILE_HEADER)):
        if record.startswith(_FILE_HEADER) or _OUTGOING.match(record):
            return None
        answer = _ANSWER.match(record)
        if answer:
            return Envelope(record[answer.end() :], answer, record.partition(b" ")[0].decode())
    return Envelope(record)
