"""Finds one record of a file by its offset, and takes the book through all records before it, to say what it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cowbook.capture.compression import open_decoded, read_fully
from cowbook.errors import InputError
from cowbook.input.tables.table import find_table_of
from cowbook.input.verdict import OtherSymbol, Sequenced
from cowbook.inspection.look import NOBODY
from cowbook.inspection.pieces import Piece, go_through, settings_of
from cowbook.plain.messages import DEAD_LETTER, IS_UNLABELLED, NONE, OTHER_SYMBOL, SNAPSHOT, TRADES, UNUSED
from cowbook.plain.table_header import LONGEST_HEADER
from cowbook.plain.vocabulary import AUDIT_FIELDS, GAP_STATISTICS, OUTCOMES
from cowbook.venues import load_venue
from cowbook.venues.recognise import SNIFFED_BYTES, formats_of_file, names_in

KINDS = ("diff", "snapshot", "trade", "ticker", "dead letter", "other symbol", "unused", "subscription", "trades", "break")
"""Names of the kinds of messages, in the order of their numbers (plain/messages.py)."""

_FIELDS = ("first_id", "last_id", "prev_id", "ts_event", "ts_recv", "checksum", "depth", "channel", "market", "speed", "sequence")
_COUNTS = (
    *GAP_STATISTICS,
    *("messages", "snapshots", "witnesses", "levels_learned", "diffs", "trades", "unused", "crossed"),
    *(f"{field}_{outcome}" for field in AUDIT_FIELDS.values() for outcome in OUTCOMES),
)
"""Counters that a record may move."""


@dataclass(slots=True)
class Explained:
    """What one record is, and what it does to the book that the file's earlier records made."""

    format: str
    symbol: str
    """Whose record it was taken for; empty if it names nobody."""
    offset: int
    """Decoded offset of its first byte."""
    content: bytes
    """The record; of a long one the beginning."""
    size_bytes: int
    kind: str
    reason: str = ""
    """Of a dead letter: why it was rejected, and the detail."""
    detail: str = ""
    fields: dict[str, int] = field(default_factory=dict)
    """Ids, times and numbers that it has, by the names of the message's fields."""
    bids: list[tuple[int, int]] = field(default_factory=list)
    """Prices and sizes, in units of 10^-8. Of a trade the first is the trade."""
    asks: list[tuple[int, int]] = field(default_factory=list)
    moved: dict[str, int] = field(default_factory=dict)
    """By how much it moved counters of the book."""
    synced: tuple[bool, bool] = (False, False)
    """Before and after it."""
    best: tuple[tuple[int, int] | None, tuple[int, int] | None] = (None, None)
    """The best bid and ask after it."""


def explain(path: Path, offset: int, format_name: str | None = None, symbol: str | None = None) -> Explained:
    """Explain the record that has the decoded byte at `offset`; without a format or symbol, by what it looks like.

    Raises OSError, or InputError where there is no such record, or no format reads the file.
    """
    with open_decoded(path) as file:
        head = read_fully(file, SNIFFED_BYTES)
        damage = file.damage
    if not head and damage is not None:
        raise InputError(damage)
    formats = [format_name] if format_name is not None else formats_of_file(head, settings_of(NOBODY))
    if not formats:
        raise InputError(f"{path} has no records of a known format at its beginning: give --format, or ask `cowbook inspect`")
    found = [_explain_as(path, offset, name, symbol, head) for name in formats]
    return next((each for each in found if each.kind not in ("dead letter", "unused")), found[0])


def _explain_as(path: Path, offset: int, format_name: str, symbol: str | None, head: bytes) -> Explained:
    if symbol is not None:
        return _explain_for(path, offset, format_name, symbol)
    found = _explain_for(path, offset, format_name, NOBODY)
    if found.kind != KINDS[OTHER_SYMBOL]:
        found.symbol = ""
        return found
    for name in [found.symbol] if found.symbol != NOBODY else names_in(head, format_name, settings_of(NOBODY))[1]:
        own = _explain_for(path, offset, format_name, name)
        if own.kind != KINDS[OTHER_SYMBOL]:
            return own
    found.symbol = ""
    return found


def _explain_for(path: Path, offset: int, format_name: str, symbol: str) -> Explained:
    """Explain the record as one of a symbol's input. Of another symbol's record, `symbol` is then that one's, if it is known."""
    start = _first_row(path, format_name)
    for piece in go_through(path, format_name, settings_of(symbol)):
        ends = piece.messages()["end_offset"]
        place = int(ends.searchsorted(offset, side="right"))
        piece.apply(0, min(place, len(ends)))
        if place < len(ends):
            start = int(ends[place - 1]) if place else start
            return _explain_message(piece, place, start, format_name, symbol)
        start = int(ends[-1]) if len(ends) else start
    raise InputError(f"{path} has no record at offset {offset}: its last one ends at {start}")


def _first_row(path: Path, format_name: str) -> int:
    """The offset of a table's first row; 0 of a file of records."""
    tables = load_venue(format_name).tables
    if not tables:
        return 0
    with open_decoded(path) as file:
        found = find_table_of(tables, read_fully(file, LONGEST_HEADER))
    return len(found.header.line) if found is not None else 0


def _explain_message(piece: Piece, place: int, start: int, format_name: str, symbol: str) -> Explained:
    message, engine = piece.messages()[place], piece.engine
    content = _content(piece, start, int(message["end_offset"]))
    start += len(content) - len(content.lstrip(b" \t\r\n,"))
    content = content.strip(b" \t\r\n,")
    kind = int(message["kind"])
    explained = Explained(format_name, symbol, start, content, len(content), KINDS[kind])
    if kind == DEAD_LETTER:
        letter = piece.batch.dead_letters[int((piece.messages()["kind"][:place] == DEAD_LETTER).sum())]
        explained.reason, explained.detail = letter.reason, letter.detail
        explained.offset, explained.size_bytes = letter.offset, letter.length
    elif kind == OTHER_SYMBOL:
        explained.symbol = _other_symbol(piece, place, content, format_name) or symbol
    elif kind == SNAPSHOT and int(message["flags"]) & IS_UNLABELLED:
        explained.detail = "nothing in it says whose it is"
    if kind not in (DEAD_LETTER, OTHER_SYMBOL, UNUSED):
        explained.fields = {name: int(message[name]) for name in _FIELDS if int(message[name]) not in (NONE, 0)}
        explained.bids = _levels(piece, int(message["bid_start"]), int(message["bid_count"]))
        if kind != TRADES:  # what stands there are times and ids
            explained.asks = _levels(piece, int(message["ask_start"]), int(message["ask_count"]))
    before = {name: engine.value(name) for name in _COUNTS}
    was_synced = engine.synced
    piece.apply(place, place + 1)
    explained.moved = {name: moved for name in _COUNTS if (moved := engine.value(name) - before[name])}
    explained.synced = was_synced, engine.synced
    explained.best = engine.bids.best(), engine.asks.best()
    return explained


def _content(piece: Piece, start: int, end: int) -> bytes:
    """The record's bytes, as far as the block still has them."""
    first = max(start - piece.block.base, 0)
    return piece.block.buffer[first : max(end - piece.block.base, first)].tobytes()


def _levels(piece: Piece, start: int, count: int) -> list[tuple[int, int]]:
    prices, sizes = piece.batch.prices[start : start + count], piece.batch.sizes[start : start + count]
    return list(zip(prices.tolist(), sizes.tolist(), strict=True))


def _other_symbol(piece: Piece, place: int, content: bytes, format_name: str) -> str | None:
    """The symbol that another symbol's record names; None for tables."""
    venue, settings = load_venue(format_name), settings_of(NOBODY)
    if venue.decode_on_connection is not None:
        decoded, _ = venue.decode_on_connection(content, settings, piece.decoder.connection_after(place))
    elif venue.decode_record is not None:
        decoded = venue.decode_record(content, settings)
    else:
        return None
    inside = decoded.decoded if isinstance(decoded, Sequenced) else decoded
    return inside.symbol if isinstance(inside, OtherSymbol) else None


def verdict_of(explained: Explained) -> Sequence[str]:
    """What the record does, in words: a line each."""
    moved: dict[str, Any] = explained.moved
    if explained.kind == "dead letter":
        return [f"rejected as {explained.reason}: {explained.detail}"]
    if explained.kind == "other symbol":
        return [f"of another symbol: {explained.symbol}" if explained.symbol else "of another symbol"]
    if explained.kind == "unused":
        return ["of a kind that says nothing about the book: not used"]
    lines = []
    if moved.get("gaps"):
        missing = moved.get("missing_updates")
        lines.append(f"a gap before it{f': {missing:,} ids are missing' if missing else ''}")
    effects = _EFFECTS if explained.kind == "snapshot" else _EFFECTS | _OF_SNAPSHOTS_THAT_WAITED
    lines += [text for name, text in effects.items() if moved.get(name, 0) > 0]
    before, after = explained.synced
    if before != after:
        lines.append("the book is synced from here on" if after else "the book is not synced from here on")
    if explained.kind == "ticker" and not lines:
        return ["it waits for the depth message with its id, to be compared with the book after that"]
    if explained.kind == "snapshot" and not lines:
        return ["it waits for a message that gives it a time, or that joins it"]
    return lines or ["it changes nothing"]


_EFFECTS = {
    "stale": "stale: not newer than the book, and skipped",
    "stale_snapshots": "a stale snapshot: older than the book, and skipped",
    "foreign_snapshots": "a snapshot that no diff of the symbol joins: not used",
    "duplicate_trades": "a trade that was there already: skipped",
    "duplicate_messages": "a message that was there already: skipped",
    "snapshots": "it replaces the book",
    "witnesses": "it judges the book",
    "diffs": "applied",
    "trades": "a trade, which changes no level",
    "unused": "of another book of the symbol: not used",
    "audit_matched": "its best prices match the book",
    "audit_failed": "its best prices do NOT match the book",
    "audit_matched_unsynced": "its best prices match the book, which is not synced",
    "audit_failed_unsynced": "its best prices do not match the book, which is not synced",
    "checksum_matched": "its checksum matches the book",
    "checksum_failed": "its checksum does NOT match the book",
    "checksum_matched_unsynced": "its checksum matches the book, which is not synced",
    "checksum_failed_unsynced": "its checksum does not match the book, which is not synced",
    "witness_matched": "its levels match the book",
    "witness_failed": "its levels do NOT match the book",
    "levels_learned": "it shows levels that were not known",
    "crossed": "the best bid is above the best ask after it",
}
"""What moving a counter means, of the record in hand."""

_OF_SNAPSHOTS_THAT_WAITED = {
    "snapshots": "a snapshot that waited for it replaces the book",
    "witnesses": "a snapshot that waited for it judges the book",
    "witness_matched": "the levels of that snapshot match the book",
    "witness_failed": "the levels of that snapshot do NOT match the book",
    "levels_learned": "that snapshot shows levels that were not known",
}
"""The same where the record is none, but what a snapshot has waited for."""
