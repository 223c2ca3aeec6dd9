"""Puts the segments of one direction of a TCP connection in order: retransmitted ones, overlaps, holes."""

from __future__ import annotations

from collections.abc import Iterator

from cowbook.capture.packets import SYN, Segment

MOST_PENDING_BYTES = 1 << 20
"""How much may stand behind a hole before what is missing counts as lost: more than a connection has on its way."""
PATIENCE_SEGMENTS = 16
"""How many segments may come before a hole counts as lost that the other end has acknowledged: a capture may have the
acknowledgement before what is acknowledged."""
_WRAP = 1 << 32

LOST = None
"""Stands for bytes that the capture does not have."""


class Direction:
    """The bytes of one direction, in order."""

    def __init__(self) -> None:
        self._next: int | None = None  # sequence number of the next byte
        self._pending: dict[int, bytes] = {}  # behind a hole, by sequence number
        self._pending_bytes = 0
        self._patience = PATIENCE_SEGMENTS

    @property
    def pending_bytes(self) -> int:
        """How many bytes stand behind a hole."""
        return self._pending_bytes

    def add(self, segment: Segment) -> Iterator[bytes | None]:
        """Take a segment. Yields the bytes that follow what was given so far, and LOST where some are missing."""
        sequence, content = segment.sequence, segment.content
        if segment.flags & SYN:
            self._next = (sequence + 1) % _WRAP
            self._pending, self._pending_bytes = {}, 0
            sequence = self._next
        if not content:
            return
        if self._next is None:
            self._next = sequence
        ahead = _distance(self._next, sequence)
        if ahead > 0:
            known = self._pending.get(sequence, b"")
            if len(content) > len(known):
                self._pending[sequence] = content
                self._pending_bytes += len(content) - len(known)
            if self._pending_bytes > MOST_PENDING_BYTES:
                yield from self._give_up()
            return
        yield from self._give(content[-ahead:])
        yield from self._give_pending()

    def acknowledge(self, number: int) -> Iterator[bytes | None]:
        """Take note that the other end has all bytes before this number. As `add`: what it has, nobody sends again."""
        if not self._pending:
            self._patience = PATIENCE_SEGMENTS
            return
        assert self._next is not None
        if _distance(self._next, number) > 0:
            self._patience -= 1
            if self._patience < 0:
                self._patience = PATIENCE_SEGMENTS
                yield from self._give_up()

    def _give_up(self) -> Iterator[bytes | None]:
        """Count what is missing as lost, and give what stands behind it, up to the next hole."""
        assert self._next is not None
        place = self._next
        self._next = min(self._pending, key=lambda sequence: _distance(place, sequence))
        yield LOST
        yield from self._give_pending()

    def _give(self, content: bytes) -> Iterator[bytes]:
        if content:
            assert self._next is not None
            self._next = (self._next + len(content)) % _WRAP
            yield content

    def _give_pending(self) -> Iterator[bytes]:
        """Give what has become next."""
        while self._pending:
            assert self._next is not None
            place = self._next
            sequence = min(self._pending, key=lambda each: _distance(place, each))
            ahead = _distance(place, sequence)
            if ahead > 0:
                return
            content = self._pending.pop(sequence)
            self._pending_bytes -= len(content)
            yield from self._give(content[-ahead:] if ahead else content)


def _distance(place: int, sequence: int) -> int:
    """How far a sequence number is ahead of another one; negative if it is behind."""
    return (sequence - place + _WRAP // 2) % _WRAP - _WRAP // 2
