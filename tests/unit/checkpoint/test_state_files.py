"""The state in its files: all of it, exactly, after every record and at every cut."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from cowbook.book.order_book_engine import OrderBookEngine
from cowbook.checkpoint.manifest import FORMAT_VERSION, DamagedError
from cowbook.checkpoint.pipeline_state import DecoderState, DriftTotals, PipelineState
from cowbook.checkpoint.state_files import BOOK_FILE, decode_state, encode_state
from cowbook.plain.messages import EventBatch
from cowbook.plain.position import FileIdentity, Position
from support.generated_captures import Capture, make_capture
from support.hostile_captures import make_hostile_capture
from support.oracle import OracleSettings
from support.oracle_pipeline import ANY_CAPTURE, Pipeline, compare, plain, without_halt
from support.search import examples

pytestmark = pytest.mark.long

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
            self.cut()
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
            frame=self.frame,
            decoder=DecoderState(("X",), (5, "why"), 77),
            drift=DriftTotals(1, 2, 3, 4, 10**30),
            provisional=((1, 0), (1, 1)),
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
        self.frame = again.frame


@settings(max_examples=examples(25))
@given(ANY_CAPTURE)
def test_rows_are_the_oracles_after_restoring_from_files(capture: Capture) -> None:
    """Rows are the oracle's, though every batch begins with what files gave."""
    compare(ThroughFiles(capture.settings), capture, 400)


def test_state_restores_after_every_record() -> None:
    """After every single record of long captures; all files come to use."""
    seen: set[str] = set()
    for seed in (0, 1, 2, 39):  # the last one has diffs of another speed
        capture = make_capture(seed, 120)
        pipeline = ThroughFiles(capture.settings)
        pipeline.batch = EventBatch.allocate(1, 16)
        compare(pipeline, capture, 1 << 20)
        seen |= pipeline.seen
    streams = ("depth", "trades", "bbo", "book", "frame", "gaps", "drift", "audits", "dead_letter")
    kept = {"kept-diffs.arrow", "apart-diffs.arrow", "waiting-tickers.arrow", "waiting-messages.arrow", "recent-trades.arrow"}
    assert seen >= {BOOK_FILE, *kept, "days.arrow", *(f"open-{stream}.arrow" for stream in streams)}


@pytest.mark.parametrize("compression", ["snappy", "zstd", "lz4", "none"])
def test_every_compression_is_read_and_checked(compression: str) -> None:
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


def state_of(pipeline: Pipeline) -> PipelineState:
    """What a pipeline knows now."""
    decimals = {"price_decimals": pipeline.settings.price_decimals, "size_decimals": pipeline.settings.size_decimals}
    book = pipeline.engine.get_checkpoint_state()
    return PipelineState("a", "b", book, POSITION, decimals, tuple(pipeline.letters))


def files_of(state: PipelineState) -> dict[str, bytes]:
    """The files as they would be written."""
    return {name: bytes(content) for name, content in encode_state(state, "snappy").items()}


def test_state_of_hostile_captures_restores_after_every_record() -> None:
    """After every single record of captures in which everything waits for something; an untimed snapshot waits, too."""
    seen: set[str] = set()
    for seed in (0, 1, 2, 3, 36, 43, 59, 70):  # an untimed snapshot before any time is rare
        capture = without_halt(make_hostile_capture(seed, 60, 0.03))
        pipeline = ThroughFiles(capture.settings)
        pipeline.batch = EventBatch.allocate(1, 16)
        compare(pipeline, capture, 1 << 20)
        seen |= pipeline.seen
    assert seen >= {"waiting-messages.arrow", "kept-diffs.arrow", "waiting-tickers.arrow", "open-dead_letter.arrow"}


def test_an_empty_state_is_a_state() -> None:
    """Nothing at all is a state, too: a book without levels, no rows, no update id."""
    state = PipelineState(
        "a", "b", OrderBookEngine().get_checkpoint_state(), POSITION, {"price_decimals": 0, "size_decimals": 18}
    )
    files = files_of(state)
    assert set(files) == {BOOK_FILE}
    again = decode_state(files)
    assert plain(again.order_book_state) == plain(state.order_book_state)
    assert again.last_update_id is None
    assert again == replace(state, order_book_state=again.order_book_state)


def test_many_consumed_files_are_rows_of_a_file() -> None:
    """Few of them are in the position's JSON. Whatever their names, they come back."""
    for count in (999, 1000, 1001, 5000):
        consumed = tuple(FileIdentity.of(f"{number}\udc80\n", 1, number, 3, b"abc", b"abc", 7) for number in range(count))
        book = OrderBookEngine().get_checkpoint_state()
        state = PipelineState("a", "b", book, replace(POSITION, consumed=consumed), {"price_decimals": 0, "size_decimals": 18})
        files = files_of(state)
        assert ("consumed-files.arrow" in files) == (count > 1000)
        assert decode_state(files).position == state.position


@pytest.mark.parametrize(("bids", "asks"), [(0, 1), (1, 0), (70_000, 3), (3, 70_000), (200_000, 200_000)])
def test_books_of_any_size(bids: int, asks: int) -> None:
    """One-sided ones, and those of many pages, with all 18 digits."""
    rng = np.random.default_rng(bids)
    levels = {
        "bid_prices": np.sort(rng.integers(0, 10**18, bids)),
        "bid_sizes": rng.integers(1, 10**18, bids),
        "ask_prices": np.sort(rng.integers(0, 10**18, asks)),
        "ask_sizes": rng.integers(1, 10**18, asks),
    }
    changes: dict[str, Any] = dict(levels)
    book = replace(OrderBookEngine().get_checkpoint_state(), **changes)
    state = PipelineState("a", "b", book, POSITION, {"price_decimals": 18, "size_decimals": 0})
    again = decode_state(files_of(state)).order_book_state
    for name, values in levels.items():
        assert np.array_equal(getattr(again, name), values), name


def test_duckdb_reads_the_book_file(tmp_path: Path) -> None:
    """DuckDB reads sides, prices and sizes as what they are, and the scalars from the metadata."""
    capture = make_capture(1, 60)
    pipeline = Unfinished(capture.settings)
    pipeline.run(capture.files, 1 << 20)
    state = state_of(pipeline)
    path = tmp_path / BOOK_FILE
    path.write_bytes(files_of(state)[BOOK_FILE])
    book = state.order_book_state
    decimals = capture.settings.price_decimals, capture.settings.size_decimals
    expected = [
        (side, *(Decimal(int(value)).scaleb(-scale) for value, scale in zip(level, decimals, strict=True)))
        for side, prices, sizes in (("bid", book.bid_prices, book.bid_sizes), ("ask", book.ask_prices, book.ask_sizes))
        for level in zip(prices, sizes, strict=True)
    ]
    assert len({side for side, _, _ in expected}) == 2
    with duckdb.connect() as connection:
        assert connection.execute("select side, price, size from read_parquet(?)", [str(path)]).fetchall() == expected
        query = "select decode(key), decode(value) from parquet_kv_metadata(?)"
        metadata = dict(connection.execute(query, [str(path)]).fetchall())
    assert metadata["cowbook.format_version"] == str(FORMAT_VERSION)
    assert metadata["cowbook.symbol"] == "b"
    assert metadata["cowbook.row_count"] == str(len(expected))
    assert metadata["cowbook.events_processed"] == str(state.events_processed)
    assert metadata["cowbook.last_update_id"] == str(state.last_update_id)
    assert metadata["cowbook.current_file"] == "file\\udc80"
    assert metadata["cowbook.file_offset"] == "3"


def test_any_changed_byte_of_the_book_is_damage_or_harmless() -> None:
    """A byte changed anywhere in the book's file is damage or does not matter: never another exception, never other levels."""
    capture = make_capture(3, 40)
    pipeline = Unfinished(capture.settings)
    pipeline.run(capture.files, 1 << 20)
    files = files_of(state_of(pipeline))
    levels = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
    right = decode_state(files).order_book_state
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    damaged = 0
    for place in rng.sample(range(len(files[BOOK_FILE])), 600):
        content = bytearray(files[BOOK_FILE])
        content[place] ^= 1 << rng.randrange(8)
        try:
            again = decode_state(files | {BOOK_FILE: bytes(content)}).order_book_state
        except DamagedError:
            damaged += 1
        else:
            assert all(np.array_equal(getattr(again, name), getattr(right, name)) for name in levels), place
    assert damaged > 100


def without(column: str) -> Callable[[pa.Table], pa.Table]:
    """A column is missing."""
    return lambda table: table.drop_columns(column)


def shorter(table: pa.Table) -> pa.Table:
    """The lists of levels lack one."""
    lists = [values[:-1] if number == 0 else values for number, values in enumerate(table["prices"].to_pylist())]
    return table.set_column(table.column_names.index("prices"), "prices", pa.array(lists, pa.large_list(pa.int64())))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param("open-depth.arrow", without("event_index"), id="column_missing"),
        pytest.param("open-depth.arrow", shorter, id="levels_missing"),
        pytest.param("open-depth.arrow", lambda table: table.slice(0, 0), id="rows_missing"),
        pytest.param("open-trades.arrow", without("price"), id="price_missing"),
        pytest.param("open-book.arrow", without("levels"), id="grid_levels_missing"),
        pytest.param("open-dead_letter.arrow", without("reason"), id="reason_missing"),
        pytest.param("open-dead_letter.arrow", lambda table: table.append_column("more", table["reason"]), id="column_unknown"),
    ],
)
def test_whole_files_with_other_content_are_damage(name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Whole files that say something else than the format has are damage, never another exception."""
    for seed in range(20):
        capture = make_capture(seed, 60)
        pipeline = Unfinished(capture.settings)
        pipeline.run(capture.files, 1 << 20)
        files = files_of(state_of(pipeline))
        if name in files:
            break
    table = change(pa.ipc.open_file(pa.BufferReader(files[name])).read_all())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DamagedError):
        decode_state(files | {name: sink.getvalue().to_pybytes()})


def test_missing_and_foreign_files_are_damage() -> None:
    """Without the book, or with something else in a file's place, it is damage."""
    decimals = {"price_decimals": 8, "size_decimals": 8}
    files = files_of(PipelineState("a", "b", OrderBookEngine().get_checkpoint_state(), POSITION, decimals))
    bad_rows = [files | {"open-depth.arrow": content} for content in (b"", b"x", files[BOOK_FILE])]
    for others in ({}, {BOOK_FILE: b""}, {BOOK_FILE: b"PAR1"}, *bad_rows):
        with pytest.raises(DamagedError):
            decode_state(others)


def test_a_days_count_that_an_older_release_did_not_have_is_zero() -> None:
    """Days are only reported on: a checkpoint of which they lack a count is whole."""
    capture = make_capture(1, 60)
    pipeline = Unfinished(capture.settings)
    pipeline.run(capture.files, 1 << 20)
    state = state_of(pipeline)
    assert len(state.order_book_state.days)
    files = files_of(state)
    days = pa.ipc.open_file(files["days.arrow"]).read_all()
    sink = pa.BufferOutputStream()
    older = days.drop_columns(["levels_wrong", "unsynced_messages"])
    with pa.ipc.new_file(sink, older.schema) as writer:
        writer.write_table(older)
    read = decode_state(files | {"days.arrow": sink.getvalue().to_pybytes()}).order_book_state.days
    for name in read.dtype.names or ():
        right = 0 if name in ("levels_wrong", "unsynced_messages") else state.order_book_state.days[name]
        assert (read[name] == right).all(), name
