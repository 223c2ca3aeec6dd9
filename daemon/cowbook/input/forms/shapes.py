"""Declares what a venue's common records look like, so that they can be decoded fast.

A `Shape` names the values of a record that vary, by path, and says what each means. From a shape and one record that the
reference decoder has decoded comes a `Form`: the record's literal bytes with holes for the values that vary. The kernel matches
later records against the form. So a shape makes one promise: if all other bytes of a record stay the same, its result depends
on the holes alone, in the way that they are declared.

A path is keys and indices joined by points, as in "data.0.bids".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from cowbook.input.forms import program as ops
from cowbook.input.forms.json_text import Value
from cowbook.input.forms.program import HEAD, ROW, Head, Row
from cowbook.input.text.text_scanner import FAILED, word
from cowbook.input.verdict import DecodedMessage
from cowbook.plain.messages import HAS_CHECKSUM, SNAPSHOT, TRADE, TRADES


@dataclass(frozen=True, slots=True)
class Hole:
    """A value that varies and is neither array nor object; `operation` reads it."""

    operation: int
    argument: int = 0
    prefix: str = ""
    """The literal start of a text."""
    words: tuple[str, str] = ("", "")
    """The names of the two sides."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An array of levels or trades, each an array or an object. `holes` are the values in each; other values are ignored."""

    operation: int
    argument: int
    holes: Mapping[str, Hole]
    optional: Mapping[str, Hole] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parts:
    """A text of parts with commas between them. `holes` are the parts that vary; None stands for one that does not."""

    holes: tuple[Hole | None, ...]


Holes = dict[str, Hole | Rows | Parts]
"""Holes by path."""

ANY = Hole(ops.ANY)
"""A value that is ignored, whatever it is."""
SYMBOL = Hole(ops.SYMBOL)
SYMBOL_BEHIND_DOT = Hole(ops.SYMBOL, ops.BEHIND_DOT)
"""A text with the symbol after its last point."""
SYMBOL_BEHIND_COLON = Hole(ops.SYMBOL, ops.BEHIND_COLON)
"""A text with the symbol after its last colon."""
SYMBOL_BEHIND_UNDERSCORE = Hole(ops.SYMBOL, ops.BEHIND_UNDERSCORE)
"""A text with the symbol after its last underscore."""
FIRST_ID = Hole(ops.FIRST_ID)
"""The first id of a diff."""
LAST_ID = Hole(ops.LAST_ID)
"""The last id of a diff, or a trade's id."""
TEXT_ID = Hole(ops.TEXT_ID)
"""A trade's id as text; a text that is not a number counts as no id."""
PREV_ID = Hole(ops.PREV_ID)
PREV_ID_OR_MINUS_1 = Hole(ops.PREV_ID, 1)
ONLY_ID = Hole(ops.ONLY_ID)
"""A diff's only id, which is both its first and its last."""
SEQUENCE_FROM_0 = Hole(ops.SEQUENCE, 1)
TIME = Hole(ops.TIME)
"""A time in s, ms, µs or ns, told apart by magnitude."""
TIME_ID = Hole(ops.TIME_ID)
"""A time as `TIME`, which is the diff's only id, too."""
ISO_TIME = Hole(ops.ISO_TIME)
SECONDS_TIME = Hole(ops.SECONDS_TIME)
MILLISECONDS_TIME = Hole(ops.MILLISECONDS_TIME)
"""Milliseconds with or without a fraction."""
CHECKSUM = Hole(ops.CHECKSUM)
CHECKSUM_UNLESS_0 = Hole(ops.CHECKSUM, 1)
ACTION = Hole(ops.ACTION)
"""A level's action: `new`, `change`, or `delete`, which makes its size 0."""
PRICE = Hole(ops.PRICE)
"""A price. Outside of rows, that of the record's only level or trade."""
SIZE = Hole(ops.SIZE)
PRICE_UNLESS_0 = Hole(ops.PRICE, ops.UNLESS_0)
"""A level's price. A level with the price 0 is none."""
SIGNED_SIZE = Hole(ops.SIZE, ops.SIGNED)
"""A trade's size. Before it stands a minus if the aggressor sold."""
RISING = Hole(ops.RISING)
"""A level's number, above that of the level before."""

BID_PRICE, ASK_PRICE = Hole(ops.PRICE, 1), Hole(ops.PRICE, 2)
BID_SIZE, ASK_SIZE = Hole(ops.SIZE, 1), Hole(ops.SIZE, 2)
"""The best prices and sizes of a ticker. Sizes that the form does not have are -1."""


def scaled(hole: Hole, decimals: int) -> Hole:
    """A level's PRICE or SIZE that is an integer, whose last digits are so many decimals."""
    return replace(hole, argument=decimals)


def text_behind(prefix: str) -> Hole:
    """A text that begins with `prefix`; what follows, up to the next point, is ignored."""
    return Hole(ops.TEXT, prefix=prefix)


def symbol_between(prefix: str) -> Hole:
    """A text that begins with `prefix`, the symbol and a point. What follows is literal."""
    return Hole(ops.SYMBOL, ops.BEFORE_DOT, prefix)


def side(buy: str = "buy", sell: str = "sell") -> Hole:
    """A level's side in `changes_of`, or a trade's aggressor, by name or number. Names have at most 7 characters."""
    return Hole(ops.SIDE, words=(buy, sell))


def bids_of(holes: Mapping[str, Hole], optional: Mapping[str, Hole] | None = None) -> Rows:
    """Levels with a price and a size. If they have times, the latest is the record's time."""
    return Rows(ops.LEVELS, ops.BIDS, holes, optional or {})


def asks_of(holes: Mapping[str, Hole], optional: Mapping[str, Hole] | None = None) -> Rows:
    """As `bids_of`."""
    return Rows(ops.LEVELS, ops.ASKS, holes, optional or {})


def changes_of(holes: Mapping[str, Hole], optional: Mapping[str, Hole] | None = None, *, more: bool = False) -> Rows:
    """Levels of both sides, each with a price, a side and a size, which is 0 where it has none, and optionally a symbol.

    A record may have several such arrays, in the order of the shape, of which all but the last have `more` behind them.
    """
    argument = ops.MIXED | (ops.NAMED if SYMBOL in holes.values() else 0) | (ops.MORE if more else 0)
    return Rows(ops.LEVELS, argument, holes, optional or {})


def trades_of(holes: Mapping[str, Hole]) -> Rows:
    """Trades, each with a price, a size, a time and a side, and optionally an id and a symbol."""
    return Rows(ops.TRADES_ROWS, int(SYMBOL in holes.values()), holes)


BIDS = bids_of({"0": PRICE, "1": SIZE})
ASKS = asks_of({"0": PRICE, "1": SIZE})


@dataclass(frozen=True, slots=True)
class Shape:
    """The values that vary in one kind of record. Of a venue's shapes, the first whose `holes` are all present applies."""

    holes: Mapping[str, Hole | Rows | Parts]
    optional: Mapping[str, Hole | Rows | Parts] = field(default_factory=dict)
    ignored: str = ""
    """Path of an object of which all other values are ignored, those of objects in it too."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Strings that a record must have at these paths, where what another value means depends on them."""


@dataclass(frozen=True, slots=True)
class RowsPiece:
    """A piece of a form: an array of levels or trades. `program` reads one of them; None while only an empty array was seen."""

    operation: int
    argument: int
    program: tuple[Row, ...] | None


@dataclass(frozen=True, slots=True)
class Form:
    """The pattern of a record, piece by piece, and what all records of the form have in common."""

    pieces: tuple[Row | RowsPiece, ...]
    head: Head

    def merged(self, other: Form) -> Form | None:
        """Merge two forms that differ only in arrays which one of them has only seen empty. None if they differ otherwise."""
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
    """Programs (ROW, one per instruction) and heads (HEAD, one per form), as the kernel takes them."""
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


def make_form(text: bytes, tree: Value, shape: Shape, symbol: str, decoded: DecodedMessage | None) -> Form | None:
    """Make the form of a message. `decoded` is what the reference decoder made of it, None if it is another symbol's.

    Returns None if the message does not have this shape.
    """
    try:
        if any(tree.find(path).text_of(text) != f'"{wanted}"'.encode() for path, wanted in shape.where.items()):
            return None
        found = [(path, tree.find(path)) for path in shape.holes]
        found += [(path, tree.find(path)) for path in shape.optional if tree.has(path)]
        holes: list[_Span] = []
        for path, value in found:
            hole = shape.holes.get(path) or shape.optional[path]
            if isinstance(hole, Parts):
                holes += _make_parts(text, value, hole, symbol)
            else:
                holes.append(_make_piece(text, value, hole, symbol))
        if shape.ignored:
            named = {path for path, _value in found}
            rest = [value for path, value in tree.find(shape.ignored).leaves(shape.ignored) if path not in named]
            holes += [_make_piece(text, value, ANY, symbol) for value in rest]
    except LookupError:
        return None
    mixed = [start for start, _, piece in holes if piece.operation == ops.LEVELS and piece.argument & ops.MIXED]
    if mixed != sorted(mixed):
        return None
    return Form(_make_pieces(text, 0, len(text), holes), _make_head([piece for _, _, piece in holes], decoded))


def literal_form(text: bytes, kind: int) -> Form:
    """Make the form of a message that comes with the same bytes again; `kind` is that of the record."""
    return Form(_make_pieces(text, 0, len(text), []), Head(kind))


def _make_head(pieces: list[Row | RowsPiece], decoded: DecodedMessage | None) -> Head:
    """The form's head: what all its records have in common."""
    has_checksums = any(not isinstance(piece, RowsPiece) and piece.operation == ops.CHECKSUM for piece in pieces)
    if decoded is None:
        return Head(is_other=1, measures=int(has_checksums))
    if decoded.kind in (TRADE, TRADES):
        has_sides = any(isinstance(piece, RowsPiece) for piece in pieces)  # each trade has its own side
        flags = 0 if has_sides else decoded.flags
        return Head(TRADE, flags=flags, market=decoded.market, measures=int(has_checksums))
    return Head(
        decoded.kind,
        decoded.rule,
        decoded.flags & ~HAS_CHECKSUM,
        decoded.depth,
        decoded.channel,
        decoded.market,
        single_side=ops.ASKS if decoded.ask_prices and not decoded.bid_prices else ops.BIDS,
        measures=int(has_checksums or decoded.kind == SNAPSHOT),
    )


# --- The holes in that text.

_TEXTS = (ops.SYMBOL, ops.TEXT, ops.TEXT_ID, ops.SIDE, ops.ACTION)
_Span = tuple[int, int, Row | RowsPiece]
"""The positions where a hole begins and ends in the text, and its piece."""


def _make_piece(text: bytes, value: Value, hole: Hole | Rows, symbol: str) -> _Span:
    """The piece of a hole. Raises LookupError if the value is not of the hole's type, or names another symbol."""
    if isinstance(hole, Rows):
        return value.start, value.end, RowsPiece(hole.operation, hole.argument, _make_program(text, value, hole, symbol))
    if value.members is not None:
        raise LookupError(hole)
    row = Row(hole.operation, hole.argument)
    if hole.operation == ops.ANY:
        return value.start, value.end, row
    start, end = value.start, value.end
    if text.startswith(b'"', start):
        start, end = start + 1, end - 1
    elif hole.operation in _TEXTS and hole.operation != ops.SIDE:
        raise LookupError(hole)
    if hole.operation == ops.SIDE:
        quote = text[end : value.end]
        buy, sell = (name.encode() + quote for name in hole.words)
        sides = Row(ops.SIDE, word=word(buy), length=len(buy), other_word=word(sell), other_length=len(sell))
        return start, value.end, sides
    if hole.operation == ops.ACTION:
        return start, end + 1, row
    if hole.operation == ops.TEXT or (hole.operation == ops.SYMBOL and hole.argument == ops.BEFORE_DOT):
        end = text.find(b".", start + len(hole.prefix.encode()), end)
        if end < 0:
            raise LookupError(hole)
    start += _prefix_length(text[start:end], hole, symbol)
    return start, end, row


def _make_parts(text: bytes, value: Value, hole: Parts, symbol: str) -> list[_Span]:
    """The pieces of a text of parts. Raises LookupError if it has another number of them."""
    parts = text[value.start + 1 : value.end - 1].split(b",")
    if value.members is not None or not text.startswith(b'"', value.start) or len(parts) != len(hole.holes):
        raise LookupError(hole)
    spans = []
    start = value.start + 1
    for part, own in zip(parts, hole.holes, strict=True):
        if own is not None:
            spans.append(_make_piece(text, Value(start, start + len(part), None), own, symbol))
        start += len(part) + 1
    return spans


def _prefix_length(content: bytes, hole: Hole, symbol: str) -> int:
    """Length of a hole's literal prefix. Raises LookupError if the text begins differently, or names another symbol."""
    prefix = hole.prefix.encode()
    if hole.operation == ops.SYMBOL:
        if hole.argument != ops.BEFORE_DOT:
            separator = (b"", b".", b":", b"_")[hole.argument]
            prefix = content[: content.rfind(separator) + 1] if separator else b""
        if content.removeprefix(prefix) != symbol.encode():
            raise LookupError(hole)
    if not content.startswith(prefix):
        raise LookupError(hole)
    return len(prefix)


def _make_program(text: bytes, value: Value, hole: Rows, symbol: str) -> tuple[Row, ...] | None:
    """The program that reads one level or trade, made from the first one."""
    if value.members is None or text[value.start : value.start + 1] != b"[":
        raise LookupError(hole)
    first = value.members.get("0")
    if first is None:
        return None
    if first.members is None or not hole.holes.keys() <= first.members.keys():
        raise LookupError(hole)
    holes = {**hole.optional, **hole.holes}
    spans = []
    for key, member in first.members.items():
        named = [(holes[key], member)] if key in holes else [(ANY, leaf) for _, leaf in member.leaves(key)]
        spans += [_make_piece(text, value, hole, symbol) for hole, value in named]
    return tuple(piece for piece in _make_pieces(text, first.start, first.end, spans) if not isinstance(piece, RowsPiece))


def _make_pieces(text: bytes, start: int, end: int, holes: list[_Span]) -> tuple[Row | RowsPiece, ...]:
    """The pieces of `text[start:end]`: holes, and literals between them in words of 8 bytes."""
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
