"""Decodes tables: each run of rows becomes a message. Where a run ends depends on the file's bytes alone, not on the blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cowbook.errors import InputError
from cowbook.input.damage import DEAD_LETTER_BYTES, Unfinished, decode_up_to_damage, unfinished_at
from cowbook.input.settings import DecoderSettings
from cowbook.input.tables import picture_scanner, runs
from cowbook.input.tables import table_scanner as scanner
from cowbook.input.tables.table import Table, find_table_of, level_count
from cowbook.input.tables.table_reference import csv_row, packed_row, shown_packed
from cowbook.input.text.scanner import make_limits
from cowbook.input.text.text_scanner import find_newline
from cowbook.input.venue import Connection
from cowbook.input.verdict import MAX_OTHER_SYMBOLS, Rejected
from cowbook.kernels.jit import as_records, entry_of
from cowbook.plain.block import Block
from cowbook.plain.messages import DEAD_LETTER, IS_NO_DEPTH, DeadLetter, EventBatch
from cowbook.plain.position import IDENTITY_BYTES
from cowbook.plain.table_header import LONGEST_HEADER, Header
from cowbook.plain.vocabulary import REASONS

_ROWS = 1 << 14
_SHOWN_COLUMNS = 1_000  # characters
_OPENS = "opens"
"""What the state says of the file before its first message, if that must be a snapshot to follow the file before."""


@dataclass(slots=True)
class _Overlong:
    """A message longer than `max_line_bytes`, of which only the beginning is kept until its end is found."""

    offset: int
    key: np.void | None
    """Its first row. None if that row is bad; then the message ends with the line."""
    length: int = 0
    content: bytes = b""
    last: bytes = b""  # its last two bytes, which may be a line's terminator
    in_line: bool = False

    def absorb(self, block: Block, end: int) -> None:
        """Consume `buffer[block.start:end]` as part of the message."""
        missing = DEAD_LETTER_BYTES - len(self.content)
        self.content += block.buffer[block.start : min(end, block.start + missing)].tobytes()
        self.last = (self.last + block.buffer[max(block.start, end - 2) : end].tobytes())[-2:]
        self.length += end - block.start
        block.start = end


class TableDecoder:
    """Turns blocks of a table into batches of messages.

    A bad row rejects its whole message; if it names none, the message around it. Half a message would make a wrong book.

    The only state between messages is whether the file's first one is still to come, where that matters
    (`Table.opens_with_snapshot`), and a first line that is too long for `Block.head`. A position alone does not tell the one,
    since rows of other symbols may stand before it, nor the other.
    """

    def __init__(
        self, tables: Sequence[Table], settings: DecoderSettings, formats_of_records: Callable[[bytes], list[str]]
    ) -> None:
        """`formats_of_records` returns the formats in which a file's first records mean something; it serves an error message."""
        self._formats_of_records = formats_of_records
        self._tables = tables
        self._settings = settings
        self._limits = make_limits(settings)
        name = settings.name.encode()
        self._symbol = np.frombuffer(name.ljust(len(name) + 8, b"\0"), np.uint8).copy()[: len(name)]  # read by words
        self._counts = np.zeros(1, runs.COUNTS)
        self._rows: npt.NDArray[np.void] = as_records(np.zeros(_ROWS, scanner.ROW))
        self._rejections: dict[int, Rejected] = {}  # of bad rows, by their offset
        self._header: Header | None = None
        self._table = tables[0]
        self._plan = np.zeros(0, np.int64)
        self._levels = 0  # of each side, in a table of pictures
        self._first_line = b""  # of the file, as the state had it
        self._words = tables[0].words()
        self._run: npt.NDArray[np.void] = as_records(np.zeros(1, runs.RUN))
        self._open_run: npt.NDArray[np.void] = as_records(np.zeros(1, runs.OPEN_RUN))
        self._opens = False  # the file's first message is still to come, and matters
        self._opened_at: int | None = None  # place in the batch of the message that ended this
        self._overlong: _Overlong | None = None
        self._entries: dict[Any, Callable[..., Any]] = {}  # kernels that were needed
        self.other_symbols: list[str] = []
        """As `Decoder.other_symbols`."""

    @property
    def record_offset(self) -> int | None:
        """As `Decoder.record_offset`, of an overlong message."""
        return self._overlong.offset if self._overlong is not None else None

    def connection_after(self, consumed: int) -> Connection:
        """Not the state of a connection, which a table does not have, but that of a file."""
        opens = self._opens if self._opened_at is None else consumed <= self._opened_at
        line = self._header.line if self._header is not None else b""
        return {
            **({"file": _OPENS} if opens else {}),
            **({"first_line": line.decode("latin-1")} if len(line) > IDENTITY_BYTES else {}),
        }

    def restore_connection(self, connection: Connection) -> None:
        """Continue with this state of the file."""
        self._opens = connection.get("file") == _OPENS
        self._first_line = connection.get("first_line", "").encode("latin-1")
        self._header = None

    def decode(self, block: Block, batch: EventBatch) -> bool:
        """Append the block's messages to the empty batch and move `block.start` past them. Returns whether the batch is full.

        If it is full, clear the batch and call again. Otherwise `block.start` is at a message that may go on in the next block,
        or at the block's end. Raises InputError if the file is not one of the venue's tables.
        """
        if block.damage is not None:
            return decode_up_to_damage(block, batch, self._decode, self._give_up)
        return self._decode(block, batch)

    def _give_up(self, block: Block, _batch: EventBatch) -> Unfinished:
        """Take the unfinished message in front of damage, with the last row, which may lack its end."""
        overlong, self._overlong = self._overlong, None
        self._rejections.clear()
        if overlong is None:
            return self._as_shown(*unfinished_at(block))
        overlong.absorb(block, block.end)
        return self._as_shown(overlong.offset, overlong.length, overlong.content)

    def _decode(self, block: Block, batch: EventBatch) -> bool:
        """As `decode`, for a block without damage."""
        self._opened_at = None
        if not self._find_header(block):
            return False
        if self._overlong is not None and not self._skip_overlong(block, batch):
            return False
        count = 0
        position = block.start
        while True:
            why, position, count = self._scan_rows(block, position, count)
            ends = why == scanner.END and block.final
            full, done = self._group_rows(block, batch, count, ends=ends)
            block.start = int(self._rows["start"][done]) - block.offset_of(0) if done < count else position
            if full:
                return True
            if why == scanner.END:
                break
            if done == 0:  # one message has more rows than there is room for
                self._rows = as_records(np.concatenate([self._rows, np.zeros_like(self._rows)]))
            else:
                self._rows[: count - done] = self._rows[done:count]
                count -= done
        if not block.final and block.end - block.start > self._settings.max_line_bytes + 1:
            self._begin_overlong(block, position, self._rows[done].copy() if done < count else None)
        return False

    def _find_header(self, block: Block) -> bool:
        """Read the file's first line and move past it. Returns False while it is incomplete."""
        if block.offset_of(block.start) == 0:
            text = block.buffer[block.start : min(block.end, block.start + LONGEST_HEADER)].tobytes()
            if not text or (b"\n" not in text and not block.final and len(text) < LONGEST_HEADER):
                return False
            self._choose_table(text, block)
            assert self._header is not None
            block.start = min(block.end, block.start + len(self._header.line))
            self._opens = self._table.opens_with_snapshot
        elif self._header is None:  # it goes on where another one stopped
            if block.start == block.end:
                return False
            self._choose_table(self._first_line or block.head, block)
        return True

    def _choose_table(self, head: bytes, block: Block) -> None:
        """Choose the table by the file's first bytes. Raises InputError if it is none, or one that makes no book."""
        found = find_table_of(self._tables, head)
        if found is not None and not found.table.refusal:
            self._table, self._header, self._plan = found
            self._words, self._levels = self._table.words(), 0
            if self._table.levels is not None:
                self._levels = level_count(self._plan)
            self._run = as_records(np.array([_run_of(self._table)], runs.RUN))
            return
        if found is not None:
            raise InputError(f"{block.file} {found.table.refusal}")
        known = " or ".join(table.described() for table in self._tables if not table.refusal)
        columns = head.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r")
        text = f"{block.file} is no such table: its columns are {columns[:_SHOWN_COLUMNS]}, not {known}"
        looks_like = " or ".join(self._formats_of_records(block.buffer[block.start : block.end].tobytes()))
        raise InputError(text + (f"; it looks like format = {looks_like}" if looks_like else ""))

    def _scan_rows(self, block: Block, position: int, count: int) -> tuple[int, int, int]:
        """Scan rows from `position` on into `_rows`, which holds `count` rows.

        Returns END (of the block) or FULL (no room for rows), the position reached, and the new count.
        """
        header, base = self._header, block.offset_of(0)
        assert header is not None
        arrays = self._arrays(block)
        while True:
            where = position, block.end, base
            if header.row_bytes:
                packed = header.kinds, header.places, header.row_bytes
                if self._levels:
                    found = self._call(picture_scanner.scan_packed_pictures, arrays, *where, *packed, self._levels, count)
                else:
                    found = self._call(scanner.scan_packed, arrays, *where, *packed, count)
            elif self._levels:
                found = self._call(picture_scanner.scan_csv_pictures, arrays, *where, self._levels, count)
            else:
                found = self._call(scanner.scan_csv, arrays, *where, count)
            why, position, count = map(int, found)
            if why == scanner.FULL:
                return scanner.FULL, position, count
            following = position
            if why == scanner.STRANGE:
                following = position + (header.row_bytes or int(find_newline(block.buffer, position, block.end)) + 1 - position)
            elif block.final and position < block.end:
                following = block.end  # the last line, without a line feed
            if following == position:
                return scanner.END, position, count
            rows = self._decode_slowly(block, position, following)
            if count + len(rows) > len(self._rows):
                return scanner.FULL, position, count
            self._rows[count : count + len(rows)] = rows
            position, count = following, count + len(rows)

    def _call(self, kernel: Any, *arguments: Any) -> tuple[int, ...]:
        """Call a kernel, which always gets arguments of the same types."""
        if kernel not in self._entries:
            self._entries[kernel] = entry_of(kernel, *arguments)
        found: tuple[int, ...] = self._entries[kernel](*arguments)
        return found

    def _arrays(self, block: Block) -> scanner.TableScan:
        """The arrays that the kernels take for a block."""
        scan: scanner.TableScan = as_records(
            scanner.TableScan(block.buffer, self._limits, self._symbol, self._plan, self._words, self._rows)
        )
        return scan

    def _decode_slowly(self, block: Block, start: int, end: int) -> list[tuple[int, ...]]:
        """Decode one row by the reference decoder. Returns the fields of ROW, in its order; of a picture a row of each level."""
        assert self._header is not None
        content = block.buffer[start:end].tobytes()
        arguments = (self._header, self._plan, self._table, self._settings)
        is_packed = self._header.row_bytes > 0
        decoded = packed_row(content, *arguments) if is_packed else csv_row(_without_terminator(content), *arguments)
        if decoded.rejected is not None:
            self._rejections[block.offset_of(start)] = decoded.rejected
        levels = decoded.levels or [(scanner.HAS_NO_LEVEL if self._levels else 0, decoded.price, decoded.size)]
        common = (
            decoded.first_id,
            decoded.last_id,
            decoded.prev_id,
            decoded.channel,
            block.offset_of(start),
            block.offset_of(end),
        )
        return [
            (decoded.kind, decoded.flags | flag, decoded.ts_event, decoded.ts_recv, price, size, *common)
            for flag, price, size in levels
        ]

    def _group_rows(self, block: Block, batch: EventBatch, count: int, *, ends: bool) -> tuple[bool, int]:
        """Make messages of the rows. Returns whether the batch is full, and how many rows were consumed."""
        arrays = self._arrays(block)
        done = 0
        while True:
            self._counts[0] = batch.message_count, batch.level_count, self._opens, -1
            messages = as_records(runs.Messages(batch.messages, batch.prices, batch.sizes, self._counts))
            why, done, last = map(int, self._call(runs.group, arrays, self._run, self._open_run, messages, done, count, ends))
            batch.message_count, batch.level_count, opens, opened_at = map(int, self._counts[0])
            self._opens = opens != 0
            if opened_at >= 0:
                self._opened_at = opened_at
            if why == scanner.REJECTED:
                self._reject_run(block, batch, done, last)
                done = last
            elif why == scanner.FULL and batch.message_count:
                return True, done
            elif why == scanner.FULL:
                batch.grow_levels(max(last - done, 2 * len(batch.prices)))
            else:
                self._note_other_symbols(block, done)
                return False, done

    def _note_other_symbols(self, block: Block, done: int) -> None:
        """Collect names of other symbols from the consumed rows, while these are still in the block."""
        if len(self.other_symbols) == MAX_OTHER_SYMBOLS:
            return
        others = np.flatnonzero(self._rows["kind"][:done] == scanner.OTHER)
        assert self._header is not None
        for place in others[:: max(1, len(others) // 8)]:
            start, end = (int(self._rows[name][place]) - block.offset_of(0) for name in ("start", "end"))
            content = block.buffer[start:end].tobytes()
            reference = packed_row if self._header.row_bytes else csv_row
            content = content if self._header.row_bytes else _without_terminator(content)
            decoded = reference(content, self._header, self._plan, self._table, self._settings)
            if decoded.symbol not in self.other_symbols and len(self.other_symbols) < MAX_OTHER_SYMBOLS:
                self.other_symbols.append(decoded.symbol)

    def _reject_run(self, block: Block, batch: EventBatch, first: int, last: int) -> None:
        """Make one dead letter of a run of rows."""
        rows = self._rows[first:last]
        start = int(rows["start"][0])
        is_bad = np.isin(rows["kind"], (scanner.BAD, scanner.BAD_OF_MESSAGE))
        bad = [self._rejections.pop(int(offset)) for offset in rows["start"][is_bad]]
        end = int(rows["end"][-1])
        base = block.offset_of(0)
        content = block.buffer[start - base : end - base].tobytes()
        text = self._is_text
        length = len(_without_terminator(content) if text else content)
        longest = self._settings.max_line_bytes
        rejected = Rejected("overlong", _explain_overlong(longest, length)) if length > longest else bad[0]
        self._append_dead_letter(batch, block, start, length, content[: min(length, DEAD_LETTER_BYTES)], rejected, end)

    @property
    def _is_text(self) -> bool:
        return self._header is None or not self._header.row_bytes

    def _append_dead_letter(
        self, batch: EventBatch, block: Block, offset: int, length: int, content: bytes, rejected: Rejected, end_offset: int
    ) -> None:
        offset, length, content = self._as_shown(offset, length, content)
        letter = DeadLetter(block.file, offset, length, rejected.reason, content, rejected.detail)
        message = batch.messages[batch.message_count]
        message["kind"] = DEAD_LETTER
        message["bid_count"] = message["ask_count"] = message["channel"] = 0
        message["end_offset"] = end_offset
        message["flags"] = REASONS.index(letter.reason) | (IS_NO_DEPTH if self._table.trades else 0)
        batch.dead_letters.append(letter)
        batch.message_count += 1

    def _as_shown(self, offset: int, length: int, content: bytes) -> Unfinished:
        """Offset, length and content as a dead letter has them: of Parquet in rows, and as JSON."""
        header = self._header
        if header is None or not header.row_bytes:
            return offset, length, content
        rows = (
            shown_packed(content[place : place + header.row_bytes], header)
            for place in range(0, len(content) - header.row_bytes + 1, header.row_bytes)
        )
        place = max(0, offset - len(header.line)) // header.row_bytes
        return place, length // header.row_bytes, b"\n".join(rows)[:DEAD_LETTER_BYTES]

    def _begin_overlong(self, block: Block, position: int, key: np.void | None) -> None:
        """Drop the part of an overlong message that is in the block; its last whole row ends at `position`."""
        self._overlong = _Overlong(block.offset_of(block.start), key)
        self._overlong.absorb(block, position)
        self._absorb_long_line(block)

    def _absorb_long_line(self, block: Block) -> None:
        """Drop the unfinished line, too, if it is overlong by itself."""
        assert self._overlong is not None
        if block.end - block.start > self._settings.max_line_bytes + 1:
            self._overlong.absorb(block, block.end)
            self._overlong.in_line = True

    def _skip_overlong(self, block: Block, batch: EventBatch) -> bool:
        """Drop more of an overlong message. Returns whether it ended."""
        overlong = self._overlong
        assert overlong is not None
        if overlong.in_line:
            newline = int(find_newline(block.buffer, block.start, block.end))
            overlong.absorb(block, block.end if newline < 0 else newline + 1)
            overlong.in_line = newline < 0
            if overlong.in_line and not block.final:
                return False
            if overlong.key is None:
                return self._end_overlong(block, batch, overlong)
        if overlong.key is None:
            raise AssertionError("a message without a key ends with its line")
        while True:
            why, position, count = self._scan_rows(block, block.start, 0)
            end = int(runs.run_end(self._rows, self._run, self._open_run, overlong.key, 0, count))
            if end < count:
                overlong.absorb(block, int(self._rows["start"][end]) - block.offset_of(0))
                return self._end_overlong(block, batch, overlong)
            overlong.absorb(block, position)
            if why == scanner.END:
                if block.final:
                    return self._end_overlong(block, batch, overlong)
                self._absorb_long_line(block)
                return False

    def _end_overlong(self, block: Block, batch: EventBatch, overlong: _Overlong) -> bool:
        self._overlong = None
        self._rejections.clear()
        length = overlong.length - (len(overlong.last) - len(_without_terminator(overlong.last)) if self._is_text else 0)
        rejected = Rejected("overlong", _explain_overlong(self._settings.max_line_bytes, length))
        # The batch has room: every block begins with an empty one.
        self._append_dead_letter(
            batch, block, overlong.offset, length, overlong.content[:length], rejected, block.offset_of(block.start)
        )
        return True


def _run_of(table: Table) -> tuple[int, ...]:
    """What the messages of a table depend on, as RUN has it."""
    is_pictures = table.levels is not None
    return table.trades, table.rule, table.message_flags, table.by_receipt, is_pictures, table.channel


def _explain_overlong(longest: int, length: int) -> str:
    return f"a message of more than max_line_bytes = {longest} bytes of rows: max_line_bytes = {length} would fit"


def _without_terminator(content: bytes) -> bytes:
    """A line without its terminator, which at the end of a file may be a carriage return alone."""
    return content.removesuffix(b"\n").removesuffix(b"\r")
