"""Decodes text records: a fast scanner for the common ones, the reference decoder for all others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cowbook.errors import InputError
from cowbook.input.damage import DEAD_LETTER_BYTES, Unfinished, decode_up_to_damage, unfinished_at
from cowbook.input.settings import DecoderSettings
from cowbook.input.text import array_scanner, connections
from cowbook.input.text import scanner as record_scanner
from cowbook.input.text.array_runs import ArrayRuns
from cowbook.input.text.envelope import FRAME_HEADER, has_frames
from cowbook.input.text.text_scanner import find_newline
from cowbook.input.text.wrapped_runs import Run, WrappedRuns
from cowbook.input.text.wrapping import Unwrapped
from cowbook.input.venue import Connection, Venue
from cowbook.input.verdict import (
    BLANK,
    MAX_OTHER_SYMBOLS,
    Content,
    Decoded,
    DecodedMessage,
    Nothing,
    OtherSymbol,
    Rejected,
    Sequenced,
    Subscription,
)
from cowbook.plain.block import Block
from cowbook.plain.messages import BREAK, DEAD_LETTER, NONE, OTHER_SYMBOL, SUBSCRIPTION, UNUSED, DeadLetter, EventBatch
from cowbook.plain.position import IDENTITY_BYTES
from cowbook.plain.table_header import PACKED_MAGIC
from cowbook.plain.vocabulary import REASONS

_MAY_BE_ARRAY = re.compile(rb'[ \t\r\n]*(?:\[[ \t\r\n]*|\{[ \t\r\n]*(?:"[A-Za-z_]*(?:"[ \t]*(?::[ \t]*(?:\[[ \t\r\n]*)?)?)?)?)')
_ARRAY = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*[\[{]")
_AROUND_ARRAY = re.compile(
    rb'[ \t\r\n]*\{[ \t\r\n]*"(?:(?:messages|records|entries|items|rows|log)"[ \t]*:[ \t]*\[[ \t\r\n]*'
    rb'|[A-Za-z_]+"[ \t]*:[ \t]*\[[ \t]*\r?\n[ \t\r\n]*)[\[{]'
)
_SPREAD_OBJECT = re.compile(rb'[ \t\r\n]*\{(?=[ \t]*\r?\n[ \t\r\n]*")')
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_FEED = 10
_BRACE_END = ord("}")
_LONGEST_FRAME_HEADER = 32


@dataclass(slots=True)
class _Overlong:
    """A record longer than `max_line_bytes`, of which only the beginning is kept until its end is found."""

    offset: int
    length: int = 0
    content: bytes = b""
    value: npt.NDArray[np.int64] | None = None
    """State of the scan for its end, if the record is a value in an array."""

    def absorb(self, block: Block, end: int) -> None:
        """Consume `buffer[block.start:end]` as part of the record."""
        missing = DEAD_LETTER_BYTES - len(self.content)
        self.content += block.buffer[block.start : min(end, block.start + missing)].tobytes()
        self.length += end - block.start
        block.start = end


class LineDecoder:
    """Turns blocks into batches of messages. What a record decodes to depends on its bytes alone, not on the blocks."""

    def __init__(
        self, venue: Venue, settings: DecoderSettings, formats_of_table: Callable[[bytes], list[str]] = lambda _: []
    ) -> None:
        """`formats_of_table` returns the formats that know a table with the given first line; it serves an error message."""
        self._formats_of_table = formats_of_table
        self._venue = venue
        self._settings = settings
        self._scanner = venue.make_scanner(settings) if venue.make_scanner is not None else None
        self._overlong: _Overlong | None = None
        self._first_line: bytes | None = None  # of the current file
        self._connections: list[tuple[int, Connection]] = [(0, {})]  # each with the first message of the batch that it is for
        self._wrapped = WrappedRuns(settings, one_by_one=venue.decode_on_connection is not None)
        self._array_runs: ArrayRuns | None = None  # once a file needs them, and only where there is a scanner
        self._name = ""  # of the connection that the record in hand came from
        self.other_symbols: list[str] = []
        """As `Decoder.other_symbols`."""

    @property
    def record_offset(self) -> int | None:
        """As `Decoder.record_offset`."""
        return self._overlong.offset if self._overlong is not None else None

    def connection_after(self, consumed: int) -> Connection:
        """As `Decoder.connection_after`."""
        first, newest = self._connections[-1]
        if first <= consumed:  # nearly always; a freeze has no time for a generator
            return newest
        return next(connection for first, connection in reversed(self._connections) if first <= consumed)

    def restore_connection(self, connection: Connection) -> None:
        """As `Decoder.restore_connection`."""
        self._connections = [(0, connection)]

    def decode(self, block: Block, batch: EventBatch) -> bool:
        """Append the block's records to the empty batch and move `block.start` past them. Returns whether the batch is full.

        If it is full, clear the batch and call again. Otherwise `block.start` is at an unfinished line or at the block's end.
        Raises InputError if the file is a table.
        """
        if block.damage is not None:
            full = decode_up_to_damage(block, batch, self._decode, self._give_up)
        else:
            full = self._decode(block, batch)
        if self._settings.connection_numbers == "ignore":
            batch.messages["sequence"][: batch.message_count] = 0
        return full

    def _decode(self, block: Block, batch: EventBatch) -> bool:
        """As `decode`, for a block without damage."""
        self._connections = [(0, self._connections[-1][1])]
        self._refuse_table(block)
        opening = array_opening(block.head)
        if opening is None and not block.final:
            return False  # too few bytes to tell
        if self._overlong is not None and not self._skip_overlong(block, batch):
            return False
        if opening:
            return self._decode_array(block, batch, opening)
        if self._wrapped.has(block.head):
            return self._decode_wrapped(block, batch)
        return self._decode_lines(block, batch)

    def _decode_lines(self, block: Block, batch: EventBatch) -> bool:
        """As `decode`, for a file of lines."""
        return self._decode_one_by_one(block, batch) if self._scanner is None else self._decode_by_scanner(block, batch)

    def _give_up(self, block: Block, batch: EventBatch) -> Unfinished | None:
        """Take the unfinished record in front of damage. One that is whole but for its line feed is decoded."""
        overlong, self._overlong = self._overlong, None
        if overlong is not None:
            overlong.absorb(block, block.end)
            return overlong.offset, overlong.length, overlong.content
        unfinished = unfinished_at(block)
        record = block.buffer[block.start : _without_return(block, block.end)].tobytes()
        if array_opening(block.head) or len(record) > self._settings.max_line_bytes:
            return unfinished
        decoded, _ = self._decode_record(record)
        if isinstance(decoded.decoded if isinstance(decoded, Sequenced) else decoded, Rejected):
            return unfinished
        if not self._decode_slowly(block, block.end, block.end, batch):
            return None
        return unfinished_at(block)

    def _refuse_table(self, block: Block) -> None:
        """Raises InputError if the file is a table: otherwise each of its rows would become a dead letter."""
        first_line, has_end, _ = block.head.partition(b"\n")
        if first_line == self._first_line or not has_end:
            return
        formats = self._formats_of_table(first_line) if b"," in first_line else []
        if formats or first_line.startswith(PACKED_MAGIC):
            text = f"; it looks like format = {' or '.join(formats)}" if formats else " of no known format"
            raise InputError(f"{block.file} is a table, and this format has records{text}")
        self._first_line = first_line

    def _decode_by_scanner(self, block: Block, batch: EventBatch) -> bool:
        """As `decode`, for a venue with a scanner."""
        scanner = self._scanner
        assert scanner is not None
        while True:
            why = scanner.scan(block, batch)
            if why == record_scanner.END:
                return self._hold_back_or_finish(block, batch)
            if why == record_scanner.STRANGE:
                end = self._end_of_record(block)
                if end < 0:
                    return self._hold_back_or_finish(block, batch)
                if not self._decode_slowly(block, end, end + 1, batch):
                    return True
            elif batch.message_count:
                return True
            else:  # one message has more levels than an empty batch has room for
                batch.grow_levels(2 * len(batch.prices))

    def _decode_one_by_one(self, block: Block, batch: EventBatch) -> bool:
        """As `decode`, for a venue without a scanner."""
        while (end := self._end_of_record(block)) >= 0:
            if not self._decode_slowly(block, end, end + 1, batch):
                return True
        return self._hold_back_or_finish(block, batch)

    def _decode_wrapped(self, block: Block, batch: EventBatch) -> bool:
        """As `decode`, for a file whose records are to be unwrapped."""
        while (run := self._wrapped.take(block)) is not None:
            is_full = self._decode_run(run, block, batch)
            if is_full:
                return True
            if run.event is not None:
                if batch.message_count == len(batch.messages):
                    return True
                self._take_event(run.event, run.event_end, batch)
                block.start = run.event_end - block.base
            elif run.is_overlong:
                end = self._end_of_record(block)
                end = block.end if end < 0 else end
                if not self._decode_slowly(block, end, min(end + 1, block.end), batch):
                    return True
        return self._hold_back_or_finish(block, batch)

    def _decode_run(self, run: Run, block: Block, batch: EventBatch) -> bool:
        """Decode unwrapped records, and move `block.start` past them. Returns whether the batch is full."""
        if not run.connections:
            return False
        first, first_letter = batch.message_count, len(batch.dead_letters)
        self._name = run.connections[0]
        is_full = self._decode_lines(run.block, batch)
        self._name = ""
        records = run.records_of(batch, first)
        run.restore_letters(block, batch, first_letter)
        messages = batch.messages[first : batch.message_count]
        states = connections.choose(self._connections[-1][1], run, records, messages, self._settings.address)
        self._connections += [(first + place, connection) for place, connection in states]
        block.start = run.offset_after(run.block.start) - block.base
        return is_full

    def _take_event(self, event: Unwrapped, end_offset: int, batch: EventBatch) -> None:
        """Take note of a connection that was opened or lost. The batch has room."""
        connection, is_lost = connections.after_event(self._connections[-1][1], event)
        if event.opens and self._venue.opened is not None:
            connection = connections.merged(connection, event.connection, self._venue.opened(event.address))
        _append(batch, BREAK if is_lost else UNUSED, end_offset)
        self._connections.append((batch.message_count, connection))

    def _decode_array(self, block: Block, batch: EventBatch, opening: bytes) -> bool:
        """As `decode`, for a file whose records are the values of one or several JSON arrays."""
        state = np.zeros(array_scanner.STATE_WORDS, np.int64)
        skips_opening = opening.endswith(b"{")
        while True:
            first = len(opening) - 1  # offset of the first value
            if block.offset_of(block.start) < first:
                block.start = min(block.end, first - block.offset_of(0))
            if self._scanner is not None and self._decode_values(block, batch, skips_opening=skips_opening):
                return True
            start = int(array_scanner.value_start(block.buffer, block.start, block.end, skips_opening))
            if start == block.end:
                block.start = start
                return False
            if block.buffer[start] == _BRACE_END:  # of an object around the array
                block.start = start + 1
                continue
            state[:] = 0
            end = int(array_scanner.value_end(block.buffer, start, block.end, state))
            if end < 0 and not block.final:
                block.start = start
                if block.end - start > self._settings.max_line_bytes:
                    self._overlong = _Overlong(block.offset_of(start), value=state)
                    self._overlong.absorb(block, block.end)
                return False
            before, block.start = block.start, start
            end = block.end if end < 0 else end
            if not self._decode_slowly(block, end, end, batch):
                block.start = before
                return True

    def _decode_values(self, block: Block, batch: EventBatch, *, skips_opening: bool) -> bool:
        """Decode whole values, up to one that is for the reference decoder alone. Returns whether the batch is full."""
        if self._array_runs is None:
            self._array_runs = ArrayRuns(self._settings)
        while (run := self._array_runs.take(block, skips_opening=skips_opening)) is not None:
            if self._decode_run(run, block, batch):
                return True
        return False

    def _end_of_record(self, block: Block) -> int:
        """Index of the line feed that ends the record at `block.start`; -1 if it is not in the block.

        In a file of frames, a record has two lines. The first gives the second's length in bytes.
        """
        newline = int(find_newline(block.buffer, block.start, block.end))
        if newline < 0 or newline - block.start > _LONGEST_FRAME_HEADER or not 48 <= block.buffer[block.start] <= 57:
            return newline
        header = FRAME_HEADER.fullmatch(block.buffer[block.start : newline].tobytes()) if has_frames(block.head) else None
        if header is None:
            return newline
        end = newline + 1 + int(header[1])
        if end - block.start > self._settings.max_line_bytes:
            return newline  # it would have to be held: its lines are all there is to go by, wherever the block ends
        if end < block.end and block.buffer[end] == _LINE_FEED:
            return end
        if end == block.end and block.final:
            return -1  # the file's last record, which has no line feed
        # No line feed follows the frame, so its first line was not a header: each line is a record of its own.
        return newline if end < block.end or block.final else -1

    def _hold_back_or_finish(self, block: Block, batch: EventBatch) -> bool:
        """Hold an unfinished line back, or decode it where the file ends with it, or start dropping it where it is overlong.

        A line that is held back stays in the block, and comes again in front of the next bytes. Returns whether the batch is
        full.
        """
        if block.start == block.end:
            return False
        if block.final:
            return not self._decode_slowly(block, block.end, block.end, batch)
        if block.end - block.start > self._settings.max_line_bytes + 1:
            self._overlong = _Overlong(block.offset_of(block.start))
            self._overlong.absorb(block, _without_return(block, block.end))
        else:
            block.lacks_line_feed = int(find_newline(block.buffer, block.start, block.end)) < 0
        return False

    def _skip_overlong(self, block: Block, batch: EventBatch) -> bool:
        """Drop more of an overlong record. Returns whether it ended."""
        overlong = self._overlong
        assert overlong is not None
        if overlong.value is not None:
            newline = int(array_scanner.value_end(block.buffer, block.start, block.end, overlong.value))
        else:
            newline = int(find_newline(block.buffer, block.start, block.end))
        end = block.end if newline < 0 else newline
        # A carriage return at the end may belong to the terminator, so it stays in the block until that is known.
        overlong.absorb(block, _without_return(block, end) if overlong.value is None else end)
        if newline < 0 and not block.final:
            return False
        block.start = end if newline < 0 or overlong.value is not None else newline + 1
        self._overlong = None
        letter = DeadLetter(
            block.file, overlong.offset, overlong.length, "overlong", overlong.content, self._explain_overlong(overlong.length)
        )
        # The batch has room: every block begins with an empty one.
        _append(batch, DEAD_LETTER, block.offset_of(block.start), letter=letter)
        return True

    def _explain_overlong(self, length: int) -> str:
        limit = self._settings.max_line_bytes
        return f"longer than max_line_bytes = {limit}: max_line_bytes = {length} would fit"

    def _decode_slowly(self, block: Block, end: int, following: int, batch: EventBatch) -> bool:
        """Decode the record `buffer[block.start:end]` by the reference decoder; `following` is where the next record begins.

        Returns False, with nothing changed, if the batch has no room for the record.
        """
        if batch.message_count == len(batch.messages):
            return False
        start = block.start
        end = _without_return(block, end)
        length = end - start
        offset = block.offset_of(start)
        record = block.buffer[start : min(end, start + max(self._settings.max_line_bytes, DEAD_LETTER_BYTES))].tobytes()
        if length > self._settings.max_line_bytes:
            found: Decoded = Rejected("overlong", self._explain_overlong(length))
            connection = None
        else:
            found, connection = self._decode_record(record.removeprefix(_BYTE_ORDER_MARK) if offset == 0 else record)
        decoded, sequence = (found.decoded, found.sequence) if isinstance(found, Sequenced) else (found, 0)
        if isinstance(decoded, DecodedMessage):
            levels = len(decoded.bid_prices) + len(decoded.ask_prices) + len(decoded.level_ids)
            if batch.level_count + levels > len(batch.prices):
                if batch.message_count:
                    return False
                batch.grow_levels(max(levels, 2 * len(batch.prices)))
        block.start = following
        end_offset = block.offset_of(following)
        if isinstance(decoded, DecodedMessage):
            _append_message(batch, decoded, end_offset, sequence)
        elif isinstance(decoded, Rejected):
            letter = DeadLetter(block.file, offset, length, decoded.reason, record[:DEAD_LETTER_BYTES], decoded.detail)
            _append(batch, DEAD_LETTER, end_offset, sequence, letter=letter)
        else:
            self._append_other(batch, decoded, end_offset, sequence)
        if connection is not None and connection is not self._connections[-1][1]:
            self._connections.append((batch.message_count, connection))
        return True

    def _decode_record(self, record: bytes) -> tuple[Decoded, Connection | None]:
        """The verdict on a record, and the connection's state after it; None for venues without such a state."""
        venue = self._venue
        connection: Connection | None
        if venue.decode_on_connection is not None:
            whole = self._connections[-1][1]
            before = connections.view(whole, self._name)
            decoded, after = venue.decode_on_connection(record, self._settings, before)
            connection = whole if after is before else connections.merged(whole, self._name, after)
        else:
            assert venue.decode_record is not None
            decoded, connection = venue.decode_record(record, self._settings), None
        if self._scanner is not None:
            self._scanner.learn(record, decoded)
        return decoded, connection

    def _append_other(self, batch: EventBatch, decoded: Content | Nothing, end_offset: int, sequence: int) -> None:
        """Append a record that is neither a message nor rejected."""
        if isinstance(decoded, Subscription):
            _append(batch, SUBSCRIPTION, end_offset, sequence, depth=decoded.depth)
        elif isinstance(decoded, OtherSymbol):
            self._note_other_symbol(decoded.symbol)
            _append(batch, OTHER_SYMBOL, end_offset, sequence)
        elif decoded is not BLANK:
            _append(batch, UNUSED, end_offset, sequence)

    def _note_other_symbol(self, symbol: str) -> None:
        if self._scanner is not None:
            self._scanner.note_other_symbol()
        if symbol not in self.other_symbols and len(self.other_symbols) < MAX_OTHER_SYMBOLS:
            self.other_symbols.append(symbol)


def array_opening(head: bytes) -> bytes | None:
    """The first bytes of a file of JSON values that are not one a line, up to and including the bracket of the first value.

    These are arrays of records, an object around one, and objects that are spread over lines. Empty for a file of lines; None
    while too few bytes are there to tell. No venue sends a line that begins with two brackets, or with an object in an array.
    """
    text = head.removeprefix(_BYTE_ORDER_MARK)
    if not _MAY_BE_ARRAY.fullmatch(text):
        match = _ARRAY.match(text) or _AROUND_ARRAY.match(text) or _SPREAD_OBJECT.match(text)
        return head[: len(head) - len(text) + match.end()] if match else b""
    return None if len(head) < IDENTITY_BYTES else b""


def _without_return(block: Block, end: int) -> int:
    """`end`, or one less if a carriage return precedes it."""
    return end - 1 if end > block.start and block.buffer[end - 1] == ord("\r") else end


def _append(
    batch: EventBatch, kind: int, end_offset: int, sequence: int = 0, *, letter: DeadLetter | None = None, depth: int = 0
) -> None:
    message = DecodedMessage(kind, NONE, depth=depth)
    if letter is not None:
        message.flags = REASONS.index(letter.reason)
        batch.dead_letters.append(letter)
    _append_message(batch, message, end_offset, sequence)


def _append_message(batch: EventBatch, decoded: DecodedMessage, end_offset: int, sequence: int) -> None:
    middle = batch.level_count + len(decoded.bid_prices)
    end = middle + len(decoded.ask_prices)
    batch.prices[batch.level_count : middle] = decoded.bid_prices
    batch.sizes[batch.level_count : middle] = decoded.bid_sizes
    batch.prices[middle:end] = decoded.ask_prices
    batch.sizes[middle:end] = decoded.ask_sizes
    behind = end + len(decoded.level_ids)
    batch.prices[end:behind] = decoded.level_ids
    batch.messages[batch.message_count] = (  # all fields of MESSAGE, in its order: one assignment is faster than 21
        decoded.kind,
        decoded.rule,
        decoded.ts_event,
        decoded.ts_recv,
        decoded.first_id,
        decoded.last_id,
        decoded.prev_id,
        batch.level_count,
        len(decoded.bid_prices),
        middle,
        len(decoded.ask_prices),
        decoded.flags,
        decoded.checksum,
        decoded.price_decimals,
        decoded.size_decimals,
        decoded.depth,
        decoded.channel,
        decoded.market,
        decoded.speed,
        sequence,
        end_offset,
    )
    batch.level_count = behind
    batch.message_count += 1
