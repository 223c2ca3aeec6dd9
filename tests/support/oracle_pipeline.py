"""Decoder, engine and tables without files and Parquet, compared with the oracle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import strategies as st

from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.line_decoder import LineDecoder
from cowbook.plain.block import PADDING, Block
from cowbook.plain.frame import Frame
from cowbook.plain.messages import DeadLetter, EventBatch
from cowbook.plain.rows import OpenRows
from cowbook.sink.parquet_sink import part_date
from cowbook.sink.stream_files import StreamFiles
from cowbook.venues import load_venue
from support.generated_captures import Capture, captures
from support.harness import table_rows, tables_of
from support.hostile_captures import hostile_captures
from support.oracle import STREAMS, Cut, OracleSettings
from support.oracle import run as run_oracle


def engine_settings(settings: OracleSettings) -> EngineSettings:
    """The same for an engine."""
    return EngineSettings(
        on_gap=settings.on_gap,
        streams=settings.streams,
        channel=settings.channel,
        book_levels=settings.book_levels,
        book_interval=settings.book_interval_ns,
        part_events=settings.part_events,
        part_interval=settings.part_interval_ns,
        most_open_rows=settings.most_open_rows,
        max_book_bytes=1 << 24,
    )


class Pipeline:
    """Decoder, engine and tables, without files and Parquet."""

    def __init__(self, oracle_settings: OracleSettings) -> None:
        self.settings = oracle_settings
        self.decoder = LineDecoder(
            load_venue("binance"),
            DecoderSettings(
                oracle_settings.name,
                oracle_settings.price_decimals,
                oracle_settings.size_decimals,
                oracle_settings.max_line_bytes,
            ),
        )
        self.engine = OrderBookEngine(engine_settings(oracle_settings))
        self.streams = StreamFiles(oracle_settings.price_decimals, oracle_settings.size_decimals, oracle_settings.book_levels)
        self.batch = EventBatch.allocate(8, 16)
        self.letters: list[DeadLetter] = []
        self.frame: Frame | None = None  # of the open cut
        self.cuts: list[Cut] = []

    def take(self, rows: OpenRows) -> None:
        """The rows of a cut, as the oracle has them."""
        letters, self.letters = self.letters[: len(rows["dead_letter"])], self.letters[len(rows["dead_letter"]) :]
        content: dict[str, list[dict[str, object]]] = {stream: [] for stream in STREAMS}
        for stream, table in tables_of(self.streams.make(rows, letters, self.frame)).items():
            content[stream] = table_rows(table)
        self.cuts.append(Cut(rows.first, rows.last, part_date(rows.newest), content, rows.number))

    def apply(self) -> None:
        """Apply what was decoded."""
        self.letters += self.batch.dead_letters
        place = 0
        while True:
            applied = self.engine.apply(self.batch, place)
            place = applied.consumed
            if not applied.cut:
                return
            self.cut()

    def cut(self) -> None:
        """End the open cut, and begin the next one."""
        self.take(self.engine.take_open_rows())
        self.frame = self.take_frame() if "frame" in self.settings.streams else None

    def take_frame(self) -> Frame | None:
        """The book at the cut that was just made."""
        if not len(self.engine.bids) + len(self.engine.asks):
            return None
        snapshot = self.engine.snapshot()
        frame = snapshot.get_frame()
        snapshot.release()
        return frame

    def run(self, files: list[bytes], block_bytes: int) -> None:
        """Go through the files to the end of the input."""
        for number, content in enumerate(files):
            self.feed(content, f"file-{number}", block_bytes)
        self.take_tail()

    def feed(self, content: bytes, name: str = "file", block_bytes: int = 1 << 20) -> None:
        """Go through a file."""
        for block in blocks(content, name, block_bytes):
            full = True
            while full:
                full = self.decoder.decode(block, self.batch)
                self.apply()
                self.batch.clear()
                self.between_batches()

    def take_tail(self) -> None:
        """The rows behind the last cut."""
        rows = self.engine.open_rows()
        if not rows.is_empty:
            self.take(rows)

    def between_batches(self) -> None:
        """For others to do something between two batches."""

    def counts(self) -> dict[str, int]:
        """What was counted, under the oracle's names."""
        engine = self.engine
        counts = {name: engine.value(name) for name in ("messages", "other_symbol", "unused", "crossed", "locked")}
        counts |= engine.gap_statistics() | {"events": engine.event_count, "drift_rows": engine.value("drifts")}
        counts |= {f"dead_letters.{reason}": number for reason, number in engine.dead_letter_statistics().items()}
        for kind in ("bookTicker", "snapshot"):
            counts |= {f"audits.{kind}.{outcome}": number for outcome, number in engine.audit_statistics()[kind].items()}
        return counts


def blocks(content: bytes, name: str, block_bytes: int, head: bytes = b"") -> Iterator[Block]:
    """A file's blocks, as the follower hands them out. Without its `head` a file is one of lines."""
    start = end = 0
    while True:
        final = end >= len(content)
        end = min(len(content), end + block_bytes)
        buffer = np.zeros(end - start + PADDING, np.uint8)
        buffer[: end - start] = np.frombuffer(content[start:end], np.uint8)
        block = Block(buffer, 0, end - start, name, start, final, head)
        yield block
        if final:
            assert block.start == block.end
            return
        start += block.start


def without_halt(capture: Capture) -> Capture:
    """The same, going on at gaps."""
    return Capture(capture.files, OracleSettings(**{**vars(capture.settings), "on_gap": "continue"}))


ANY_CAPTURE = st.one_of(captures, hostile_captures.map(without_halt))


def compare(pipeline: Pipeline, capture: Capture, block_bytes: int) -> None:
    """Run both, and compare everything."""
    files = [(f"file-{number}", content) for number, content in enumerate(capture.files)]
    expected = run_oracle(files, capture.settings)
    pipeline.run(capture.files, block_bytes)
    assert [(cut.first, cut.last, cut.number, cut.date) for cut in pipeline.cuts] == [
        (cut.first, cut.last, cut.number, cut.date) for cut in expected.cuts
    ]
    for cut, other in zip(pipeline.cuts, expected.cuts, strict=True):
        for stream in STREAMS:
            assert cut.rows[stream] == other.rows[stream], stream
    assert {name: number for name, number in pipeline.counts().items() if number} == {
        name: number for name, number in expected.counts.items() if number
    }


def plain(state: object) -> dict[str, object]:
    """A checkpoint's state, comparable."""
    rows = state.rows  # type: ignore[attr-defined]
    values = {name: getattr(state, name) for name in state.__slots__ if name != "rows"}  # type: ignore[attr-defined]
    values |= {f"rows.{name}": getattr(rows, name) for name in ("first", "last", "newest", "number")}
    values |= {f"rows[{name}]": array for name, array in rows.arrays.items()}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}
