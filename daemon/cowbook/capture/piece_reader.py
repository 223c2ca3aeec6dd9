"""Reads exact numbers of bytes from pieces that come as they come, and waits where nothing more is there yet."""

from __future__ import annotations

from collections.abc import Generator

from cowbook.capture.members import Damage, Pieces


class PieceReader:
    """The bytes of pieces, up to their end or to a damaged place. Its generators yield None where they wait."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._held = bytearray()
        self._first = 0  # index of the first byte that was not taken
        self._has_ended = False
        self._place: Damage | None = None  # the damaged place at which it has ended, with more behind it
        self.taken_bytes = 0
        """How many bytes were taken."""
        self.damage: str | None = None
        """What is wrong where the bytes end, once they have ended."""

    @property
    def held_bytes(self) -> int:
        """How many bytes can be taken without waiting."""
        return len(self._held) - self._first

    @property
    def is_interrupted(self) -> bool:
        """Whether the bytes have ended at a damaged place with more behind it."""
        return self._place is not None

    def fill(self, count: int) -> Generator[None, None, bool]:
        """Hold at least `count` bytes. Returns False if there are fewer."""
        while self.held_bytes < count:
            if not (yield from self._fill_more()):
                return False
        return True

    def take(self, count: int) -> bytes:
        """The next bytes, at most `count`, of those that are held."""
        taken = bytes(self._held[self._first : self._first + count])
        self._first += len(taken)
        self.taken_bytes += len(taken)
        return taken

    def peek(self, count: int) -> bytes:
        """As `take`, but the bytes stay."""
        return bytes(self._held[self._first : self._first + count])

    def content(self, count: int) -> Pieces:
        """The next `count` bytes, piece by piece. Returns what is wrong if there are fewer."""
        while count:
            if not self.held_bytes and not (yield from self._fill_more()):
                return self.damage or "it ends in the middle"
            piece = self.take(min(count, self.held_bytes))
            count -= len(piece)
            yield piece
        return None

    def skip(self, count: int) -> Generator[None, None, bool]:
        """Pass over bytes. Returns False if there are fewer."""
        while count:
            if not self.held_bytes and not (yield from self._fill_more()):
                return False
            count -= len(self.take(min(count, self.held_bytes)))
        return True

    def rest(self) -> Pieces:
        """All that is left, piece by piece."""
        while self.held_bytes or (yield from self._fill_more()):
            yield self.take(self.held_bytes)
        return self.damage

    def go_on(self) -> Damage | None:
        """Drop what is held, and go on behind the damaged place that has ended the bytes. Returns it; None if none has."""
        place = self._place
        if place is not None:
            self.take(self.held_bytes)
            self._has_ended, self._place, self.damage = False, None, None
        return place

    def _fill_more(self) -> Generator[None, None, bool]:
        """Hold more bytes. Returns False at the end."""
        while not self._has_ended:
            try:
                piece = next(self._pieces)
            except StopIteration as end:
                self._has_ended, self.damage = True, end.value
                break
            if piece is None:
                yield None
            elif isinstance(piece, Damage):
                self._has_ended, self._place, self.damage = True, piece, piece.text
            elif piece:
                del self._held[: self._first]
                self._first = 0
                self._held += piece
                return True
        return False
