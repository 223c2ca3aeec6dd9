"""What the common records of a venue look like, so that they can be decoded at speed.

A `Shape` says by path which values of a record vary, and what they mean. Everything else must be as in a record that the
reference decoder has decoded: from such a one and the shape comes a `Form`, its literal bytes with holes between, which the
scanner compares with the records that follow. So a shape promises one thing only: with the rest of a record as it is, the holes
decide what the decoder says, and as their names say.

Paths are keys and indices with points between, "data.0.bids".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.input.forms import form_scanner as ops
from cowbook.input.forms.form_scanner import HEAD, ROW, Head, Row
from cowbook.input.text.text_scanner import FAILED, word
from cowbook.input.verdict import DecodedMessage
from cowbook.plain.messages import HAS_CHECKSUM, SNAPSHOT, TRADE, TRADES


@dataclass(frozen=True, slots=True)
class Hole:
    """A value that is neither array nor object, by the operation that reads it."""

    operation: int
    argument: int = 0
    prefix: str = ""
    """Of texts: what they begin with."""
    words: tuple[str, str] = ("", "")
    """Of sides: what they are called."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An array of levels or trades, each an array or an object: where its values stand. Others say nothing."""

    operation: int
    argument: int
    holes: Mapping[str, Hole]
    optional: Mapping[str, Hole] = field(default_factory=dict)


Holes = dict[str, Hole | Rows]
"""By path."""

ANY = Hole(ops.ANY)
"""Says nothing, whatever it is."""
SYMBOL = Hole(ops.SYMBOL)
SYMBOL_BEHIND_DOT = Hole(ops.SYMBOL, 1)
"""A text of which the symbol is what stands behind its last point."""
LAST_ID = Hole(ops.LAST_ID)
"""Of a diff, or a trade's id."""
TEXT_ID = Hole(ops.TEXT_ID)
"""A trade's id, if the text is a number; else it has none."""
PREV_ID = Hole(ops.PREV_ID)
PREV_ID_OR_MINUS_1 = Hole(ops.PREV_ID, 1)
ONLY_ID = Hole(ops.ONLY_ID)
"""The only id: first and last one."""
SEQUENCE_FROM_0 = Hole(ops.SEQUENCE, 1)
TIME = Hole(ops.TIME)
"""Of s, ms, µs or ns, by magnitude."""
ISO_TIME = Hole(ops.ISO_TIME)
SECONDS_TIME = Hole(ops.SECONDS_TIME)
CHECKSUM = Hole(ops.CHECKSUM)
CHECKSUM_UNLESS_0 = Hole(ops.CHECKSUM, 1)
ACTION = Hole(ops.ACTION)
"""Of a level: `new`, `change`, or `delete` with a size of 0."""
PRICE = Hole(ops.PRICE)
"""Outside of rows, of the record's only level, or its only trade."""
SIZE = Hole(ops.SIZE)


def text_behind(prefix: str) -> Hole:
    """A text of which the part between how it begins and the next point says nothing."""
    return Hole(ops.TEXT, prefix=prefix)


def side(buy: str = "buy", sell: str = "sell") -> Hole:
    """Which side a level of `changes_of` is of, or whether the aggressor bought or sold, by its names; up to 7 characters."""
    return Hole(ops.SIDE, words=(buy, sell))


def bids_of(holes: Mapping[str, Hole], optional: Mapping[str, Hole] | None = None) -> Rows:
    """Levels with a price and a size; the record's time is the latest, if they have one."""
    return Rows(ops.LEVELS, ops.BIDS, holes, optional or {})


def asks_of(holes: Mapping[str, Hole], optional: Mapping[str, Hole] | None = None) -> Rows:
    """As `bids_of`."""
    return Rows(ops.LEVELS, ops.ASKS, holes, optional or {})


def changes_of(holes: Mapping[str, Hole]) -> Rows:
    """Levels with a price, a size and a side."""
    return Rows(ops.LEVELS, ops.MIXED, holes)


def trades_of(holes: Mapping[str, Hole]) -> Rows:
    """Trades, each with a price, a size, a time and a side, maybe an id and a symbol."""
    return Rows(ops.TRADES_ROWS, int(SYMBOL in holes.values()), holes)


BIDS = bids_of({"0": PRICE, "1": SIZE})
ASKS = asks_of({"0": PRICE, "1": SIZE})


@dataclass(frozen=True, slots=True)
class Shape:
    """Records of one kind: where the values stand that vary. The first of a venue's shapes counts whose `holes` are all there."""

    holes: Mapping[str, Hole | Rows]
    optional: Mapping[str, Hole | Rows] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RowsPiece:
    """A piece of a form: an array of levels or trades, and the program of one; None while only an empty array was seen."""

    operation: int
    argument: int
    program: tuple[Row, ...] | None


@dataclass(frozen=True, slots=True)
class Form:
    """How records look, piece by piece, and what they have in common."""

    pieces: tuple[Row | RowsPiece, ...]
    head: Head

    def merged(self, other: Form) -> Form | None:
        """Both forms in one, if they differ at most in levels that one of them has only seen empty."""
        if self.head != other.head or len(self.pieces) != len(other.pieces):
            return None
        pieces: list[Row | RowsPiece] = []
        for piece, own in zip(other.pieces, self.pieces, strict=True):
            if piece == own:
                pieces.append(own)
                continue
            if not (isinstance(piece, RowsPiece) and isinstance(own, RowsPiece)):
                return None
            if piece.argument != own.argument or (piece.program is not None and own.program is not None):
                return None
            pieces.append(own if piece.program is None else piece)
        return replace(self, pieces=tuple(pieces))


def to_arrays(forms: list[Form]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Programs (ROW) and heads (HEAD) of forms, as the scanner takes them."""
    rows: list[Row] = []
    heads: list[Head] = []
    done = Row(ops.DONE)
    for form in forms:
        own: list[Row] = []
        for piece in form.pieces:
            if not isinstance(piece, RowsPiece):
                own.append(piece)
                continue
            start = FAILED if piece.program is None else len(rows)
            rows += [*piece.program, done] if piece.program is not None else []
            own.append(Row(piece.operation, piece.argument, start))
        heads.append(form.head._replace(first_row=len(rows)))
        rows += [*own, done]
    return np.array(rows, ROW), np.array(heads, HEAD)


def parse(text: bytes) -> Value | None:
    """The tree of a message, which is JSON for sure. None for odd ones: with escapes, or the same key twice."""
    if b"\\" in text or text[:1] not in (b"{", b"["):
        return None
    try:
        return _value(text, 0)
    except LookupError:
        return None


def make_form(text: bytes, tree: Value, shape: Shape, symbol: str, decoded: DecodedMessage | None) -> Form | None:
    """The form of a message of this symbol that the reference decoder has decoded so, None for another symbol's.

    None where the message has another shape.
    """
    try:
        found = [(path, tree.find(path)) for path in shape.holes]
        found += [(path, tree.find(path)) for path in shape.optional if tree.has(path)]
        holes = [_spanned(text, value, shape.holes.get(path) or shape.optional[path], symbol) for path, value in found]
    except LookupError:
        return None
    return Form(_with_literals(text, 0, len(text), holes), _head([piece for _, _, piece in holes], decoded))


def _head(pieces: list[Row | RowsPiece], decoded: DecodedMessage | None) -> Head:
    """What all records of a form have in common."""
    has_checksums = any(not isinstance(piece, RowsPiece) and piece.operation == ops.CHECKSUM for piece in pieces)
    if decoded is None:
        return Head(is_other=1, measures=int(has_checksums))
    if decoded.kind in (TRADE, TRADES):
        has_sides = any(isinstance(piece, RowsPiece) for piece in pieces)  # each trade its own
        return Head(TRADE, flags=0 if has_sides else decoded.flags, measures=int(has_checksums))
    return Head(
        decoded.kind,
        decoded.rule,
        decoded.flags & ~HAS_CHECKSUM,
        decoded.depth,
        decoded.channel,
        single_side=ops.ASKS if decoded.ask_prices and not decoded.bid_prices else ops.BIDS,
        measures=int(has_checksums or decoded.kind == SNAPSHOT),
    )


# --- The text of a message as values with places.

_TOKEN = re.compile(rb'[ \t\r\n]*("[^"]*"|[{}\[\],:]|[^ \t\r\n{}\[\],:"]+)')


class Value(NamedTuple):
    """Where a value stands."""

    start: int
    end: int
    members: dict[str, Value] | None  # of an array or object

    def find(self, path: str) -> Value:
        """The value of a path. Raises KeyError when there is none."""
        value = self
        for key in path.split("."):
            value = (value.members or {})[key]
        return value

    def has(self, path: str) -> bool:
        """Whether there is a value of this path."""
        try:
            self.find(path)
        except KeyError:
            return False
        return True


def _token(text: bytes, position: int) -> tuple[bytes, int, int]:
    match = _TOKEN.match(text, position)
    if match is None:
        raise LookupError(position)
    return match[1], match.start(1), match.end()


def _value(text: bytes, position: int) -> Value:
    """The value at a position. Raises LookupError for objects that have a key twice."""
    token, start, end = _token(text, position)
    if token not in (b"{", b"["):
        return Value(start, end, None)
    members: dict[str, Value] = {}
    closing = b"}" if token == b"{" else b"]"
    while (_token(text, end))[0] != closing:
        if members:
            end = _token(text, end)[2]  # a comma
        key = str(len(members))
        if closing == b"}":
            name, _, end = _token(text, end)
            key, end = name[1:-1].decode(), _token(text, end)[2]  # a colon
        if key in members:
            raise LookupError(key)
        members[key] = _value(text, end)
        end = members[key].end
    return Value(start, _token(text, end)[2], members)


# --- Holes in it.

_TEXTS = (ops.SYMBOL, ops.TEXT, ops.TEXT_ID, ops.SIDE, ops.ACTION)
_Spanned = tuple[int, int, Row | RowsPiece]
"""From where to where a hole goes, and its piece."""


def _spanned(text: bytes, value: Value, hole: Hole | Rows, symbol: str) -> _Spanned:
    """Raises LookupError when the value is no such one, or names another symbol."""
    if isinstance(hole, Rows):
        return value.start, value.end, RowsPiece(hole.operation, hole.argument, _program(text, value, hole, symbol))
    if value.members is not None:
        raise LookupError(hole)
    row = Row(hole.operation, hole.argument)
    if hole.operation == ops.ANY:
        return value.start, value.end, row
    start, end = value.start, value.end
    if text.startswith(b'"', start):
        start, end = start + 1, end - 1
    elif hole.operation in _TEXTS:
        raise LookupError(hole)
    if hole.operation == ops.SIDE:
        buy, sell = (f'{name}"'.encode() for name in hole.words)
        sides = Row(ops.SIDE, word=word(buy), length=len(buy), other_word=word(sell), other_length=len(sell))
        return start, end + 1, sides
    if hole.operation == ops.ACTION:
        return start, end + 1, row
    start += _prefix_length(text[start:end], hole, symbol)
    if hole.operation == ops.TEXT:
        end = text.find(b".", start, end)
        if end < 0:
            raise LookupError(hole)
    return start, end, row


def _prefix_length(content: bytes, hole: Hole, symbol: str) -> int:
    """How much of a hole's text is literal. Raises LookupError when it begins otherwise, or names another symbol."""
    prefix = hole.prefix.encode()
    if hole.operation == ops.SYMBOL:
        prefix = content[: content.rfind(b".") + 1] if hole.argument else b""
        if content.removeprefix(prefix) != symbol.encode():
            raise LookupError(hole)
    if not content.startswith(prefix):
        raise LookupError(hole)
    return len(prefix)


def _program(text: bytes, value: Value, hole: Rows, symbol: str) -> tuple[Row, ...] | None:
    """Of the first level or trade."""
    if value.members is None or text[value.start : value.start + 1] != b"[":
        raise LookupError(hole)
    first = value.members.get("0")
    if first is None:
        return None
    if first.members is None or not hole.holes.keys() <= first.members.keys():
        raise LookupError(hole)
    holes = {**hole.optional, **hole.holes}
    spans = [_spanned(text, member, holes.get(key, ANY), symbol) for key, member in first.members.items()]
    return tuple(piece for piece in _with_literals(text, first.start, first.end, spans) if not isinstance(piece, RowsPiece))


def _with_literals(text: bytes, start: int, end: int, holes: list[_Spanned]) -> tuple[Row | RowsPiece, ...]:
    """The pieces of `text[start:end]`: what stands between the holes is literal."""
    pieces: list[Row | RowsPiece] = []
    for hole_start, hole_end, piece in (*sorted(holes, key=itemgetter(0)), (end, end, None)):
        for place in range(start, hole_start, 8):
            literal = text[place : min(place + 8, hole_start)]
            mask = word(b"\xff" * len(literal))
            pieces.append(Row(ops.LITERAL, word=word(literal), length=len(literal), mask=mask))
        start = hole_end
        if piece is not None:
            pieces.append(piece)
    return tuple(pieces)
