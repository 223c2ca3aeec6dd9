"""Unwraps the records of a block, a run at a time, so that the scanners find them in the form that they know.

A run is a block of its own. What is decoded of it gets the offsets that its records have in the file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.wrapping import Unwrapped, ends_at_blank_lines, is_wrapped, unwrap
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import DeadLetter, EventBatch

RUN_BYTES = 1 << 18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SENT = b"ws:// <- 0"
"""Stands for a record that says nothing: as what was sent does."""
_NO_HEAD = b""  # a run has no frames, and is no array

Event = Unwrapped | None


@dataclass(slots=True)
class Run:
    """Unwrapped records, and what stands behind them."""

    block: Block
    """The records in the form that scanners know, one a line, from decoded offset 0."""
    starts: npt.NDArray[np.int64]
    """Decoded offset in the file of each record."""
    ends: npt.NDArray[np.int64]
    """The same behind its line feed."""
    places: npt.NDArray[np.int64]
    """Where each one ends in the run's block, its line feed included."""
    connections: list[str]
    """The connection of each; empty where the capture does not say."""
    event: Event = None
    """A connection that was opened or lost behind the records."""
    event_end: int = 0
    """Decoded offset behind it."""
    is_overlong: bool = False
    """Whether a record that is too long to be unwrapped stands behind them."""

    def offset_after(self, place: int) -> int:
        """The decoded offset in the file of a place in the run's block, which is between two records."""
        if place == 0:
            return int(self.starts[0]) if len(self.starts) else 0
        return int(self.ends[self.places.searchsorted(place)])

    def records_of(self, batch: EventBatch, first: int) -> npt.NDArray[np.int64]:
        """The index of the record of each message from `first` on. Their end offsets become those in the file."""
        messages = batch.messages[first : batch.message_count]
        records = self.places.searchsorted(messages["end_offset"])
        messages["end_offset"] = self.ends[records]
        return records

    def restore_letters(self, block: Block, batch: EventBatch, first: int) -> None:
        """Give the dead letters from `first` on the places and the contents that their records have in the file."""
        for index in range(first, len(batch.dead_letters)):
            letter = batch.dead_letters[index]
            record = int(self.places.searchsorted(letter.offset, side="right"))
            start, end = int(self.starts[record]), int(self.ends[record])
            content = block.buffer[start - block.base : end - block.base].tobytes().rstrip(b"\r\n")
            batch.dead_letters[index] = DeadLetter(
                letter.file, start, len(content), letter.reason, content[: max(len(letter.content), 4096)], letter.detail
            )


class WrappedRuns:
    """Takes runs from the blocks of files whose records are to be unwrapped."""

    def __init__(self, settings: DecoderSettings, *, one_by_one: bool) -> None:
        """`one_by_one` makes each record a run of its own."""
        self._settings = settings
        self._one_by_one = one_by_one
        self._head: bytes | None = None
        self._is_wrapped = self._ends_at_blank_lines = False

    def has(self, head: bytes) -> bool:
        """Whether the records of the file that begins so are to be unwrapped."""
        if head is not self._head:
            self._head = head
            self._ends_at_blank_lines = ends_at_blank_lines(head)
            self._is_wrapped = is_wrapped(head, self._settings.envelope)
        return self._is_wrapped

    def take(self, block: Block) -> Run | None:
        """The next records of a block, which are not consumed by this; None if there is no whole one."""
        text, is_cut = self._whole_lines(block)
        if not text:
            return None
        offset = block.offset_of(block.start)
        records: list[bytes] = []
        starts: list[int] = []
        ends: list[int] = []
        connections: list[str] = []
        event: Event = None
        event_end, is_overlong = 0, False
        lines = text.split(b"\n")
        lines.pop()
        for line in lines:
            end = offset + len(line) + 1
            if len(line) > self._settings.max_line_bytes:
                is_overlong = True
                break
            unwrapped = self._unwrap(line, offset)
            if unwrapped.opens or unwrapped.address:
                event, event_end = unwrapped, end
                break
            records.append(_SENT if unwrapped.record is None else unwrapped.record)
            starts.append(offset)
            ends.append(end)
            connections.append(unwrapped.connection)
            offset = end
            if self._one_by_one:
                break
        if is_cut and ends:
            ends[-1] = min(ends[-1], block.offset_of(block.end))
        lengths = np.fromiter((len(record) + 1 for record in records), np.int64, len(records))
        return Run(
            _block_of(records, block.file),
            np.array(starts, np.int64),
            np.array(ends, np.int64),
            lengths.cumsum(),
            connections,
            event,
            min(event_end, block.offset_of(block.end)),
            is_overlong,
        )

    def _unwrap(self, line: bytes, offset: int) -> Unwrapped:
        line = line.removesuffix(b"\r")
        if offset == 0:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line.strip(b" \t"):
            return Unwrapped(b"", opens=self._ends_at_blank_lines)
        return unwrap(line, self._settings.envelope)

    def _whole_lines(self, block: Block) -> tuple[bytes, bool]:
        """The next whole lines, and whether the last one is that of a file that ends without a line feed."""
        end = min(block.end, block.start + RUN_BYTES)
        while True:
            text = block.buffer[block.start : end].tobytes()
            place = text.rfind(b"\n")
            if end == block.end and block.final and text and place != len(text) - 1:
                return text + b"\n", True
            if place >= 0 or end == block.end:
                return text[: place + 1], False
            end = min(block.end, end + RUN_BYTES)


def _block_of(records: list[bytes], file: str) -> Block:
    content = b"\n".join([*records, b""])
    buffer = np.zeros(len(content) + PADDING, np.uint8)
    buffer[: len(content)] = np.frombuffer(content, np.uint8)
    return Block(buffer, 0, len(content), file, 0, final=False, head=_NO_HEAD)
