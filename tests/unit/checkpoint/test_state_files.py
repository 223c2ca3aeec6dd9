"""The state in its files: all of it, exactly, after every record and at every cut."""

from __future__ import annotations

import io

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from cowbook.book.order_book_engine import OrderBookEngine
from cowbook.checkpoint.manifest import DamagedError
from cowbook.checkpoint.state_files import BOOK_FILE, decode_state, encode_state
from cowbook.event_batch import EventBatch
from cowbook.input.position import FileIdentity, Position
from cowbook.pipeline_state import DecoderState, DriftTotals, PipelineState
from generated_captures import Capture, make_capture
from oracle import OracleSettings
from oracle_pipeline import ANY_CAPTURE, Pipeline, compare, plain

POSITION = Position(FileIdentity.of("file\udc80", 1, 2, 3, b"abc", b"abc"), (FileIdentity.of("b", 1, 2, 0, b"", b""),))


class Unfinished(Pipeline):
    """Leaves the rows behind the last cut open."""

    def take_tail(self) -> None:
        """Not."""


class ThroughFiles(Pipeline):
    """Takes everything apart into files and makes it anew from them, after every batch and at every cut."""

    def __init__(self, oracle_settings: OracleSettings) -> None:
        super().__init__(oracle_settings)
        self.seen: set[str] = set()

    def apply(self) -> None:
        """As before, with a restart at every cut."""
        self.letters += self.batch.dead_letters
        place = 0
        while True:
            applied = self.engine.apply(self.batch, place)
            place = applied.consumed
            if not applied.cut:
                return
            self.take(self.engine.take_open_rows())
            waiting = self.letters
            self.letters = []  # those of records that are not consumed yet
            self.restart()
            self.letters = waiting

    def between_batches(self) -> None:
        """Restart."""
        self.restart()

    def restart(self) -> None:
        """Through the files."""
        book = self.engine.get_checkpoint_state()
        state = PipelineState(
            id="a/b",
            symbol=self.settings.name,
            order_book_state=book,
            position=POSITION,
            fingerprint={"price_decimals": self.settings.price_decimals, "size_decimals": self.settings.size_decimals},
            dead_letters=tuple(self.letters),
            decoder=DecoderState(("X",), (5, "why"), 77),
            drift=DriftTotals(1, 2, 3, 4, 10**30),
            provisional=(1, 2),
            end_of_input="digest 1",
            processing_rate=0.1,
            checkpoint_timestamp=1_700_000_000_123_456_789,
            snapshot_duration_ms=0.3,
        )
        files = {name: bytes(content) for name, content in encode_state(state, "snappy").items()}
        self.seen |= set(files)
        again = decode_state(files)
        assert plain(again.order_book_state) == plain(book)
        for name in ("id", "symbol", "position", "fingerprint", "dead_letters", "decoder", "drift", "provisional"):
            assert getattr(again, name) == getattr(state, name)
        for name in ("end_of_input", "processing_rate", "checkpoint_timestamp", "snapshot_duration_ms", "drift_metrics"):
            assert getattr(again, name) == getattr(state, name)
        self.engine = OrderBookEngine.restore(self.engine.settings, again.order_book_state)
        self.letters = list(again.dead_letters)


@settings(max_examples=25)
@given(ANY_CAPTURE)
def test_goes_on_from_files(capture: Capture) -> None:
    """Rows are the oracle's, though every batch begins with what files gave."""
    compare(ThroughFiles(capture.settings), capture, 400)


def test_goes_on_after_every_record() -> None:
    """After every single record of long captures; all files come to use."""
    seen: set[str] = set()
    for seed in range(4):
        capture = make_capture(seed, 120)
        pipeline = ThroughFiles(capture.settings)
        pipeline.batch = EventBatch.allocate(1, 16)
        compare(pipeline, capture, 1 << 20)
        seen |= pipeline.seen
    streams = ("depth", "trades", "bbo", "book", "gaps", "drift", "audits", "dead_letter")
    waiting = {"waiting-diffs.arrow", "waiting-tickers.arrow"}
    assert seen >= {BOOK_FILE, *waiting, *(f"open-{stream}.arrow" for stream in streams)}


@pytest.mark.parametrize("compression", ["snappy", "zstd", "lz4", "none"])
def test_compressions(compression: str) -> None:
    """All of them are read; a page whose bytes have changed is found by its checksum."""
    capture = make_capture(1, 60)
    pipeline = Unfinished(capture.settings)
    pipeline.run(capture.files, 1 << 20)
    decimals = {"price_decimals": capture.settings.price_decimals, "size_decimals": capture.settings.size_decimals}
    state = PipelineState("a", "b", pipeline.engine.get_checkpoint_state(), POSITION, decimals, tuple(pipeline.letters))
    files = {name: bytes(content) for name, content in encode_state(state, compression).items()}
    assert plain(decode_state(files).order_book_state) == plain(state.order_book_state)
    group = pq.ParquetFile(io.BytesIO(files[BOOK_FILE])).metadata.row_group(0)
    for column in (group.column(1), group.column(2)):
        end = column.data_page_offset + column.total_compressed_size
        for place in range(end - 10, end):
            damaged = bytearray(files[BOOK_FILE])
            damaged[place] ^= 0x10
            with pytest.raises(OSError, match="checksum"):
                pq.ParquetFile(io.BytesIO(damaged), page_checksum_verification=True).read()
            with pytest.raises(DamagedError):
                decode_state(files | {BOOK_FILE: bytes(damaged)})
