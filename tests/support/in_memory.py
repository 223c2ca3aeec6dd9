"""A venue's records through its decoder and the engine, without files and parts: the rows, the engine, and that `depth` folds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.input.settings import DecoderSettings
from cowbook.plain.messages import DeadLetter, EventBatch
from cowbook.plain.position import IDENTITY_BYTES
from cowbook.sink.stream_files import StreamFiles
from cowbook.symbol.engine_settings import engine_settings
from cowbook.venues import load_venue
from cowbook.venues.decoders import make_decoder
from support.fold import Fold, fold_row
from support.harness import table_rows, tables_of
from support.oracle_pipeline import blocks

Rows = dict[str, list[dict[str, Any]]]
See = Callable[[OrderBookEngine], None]

SETTINGS = EngineSettings(book_levels=3, max_book_bytes=1 << 24)


@dataclass
class Outcome:
    """What came of a capture."""

    engine: OrderBookEngine
    rows: Rows = field(default_factory=dict)

    @property
    def book(self) -> Fold:
        """Bids and asks."""
        return book_of(self.engine)

    def kinds(self) -> list[str]:
        """Kinds of depth rows, a run of one kind once."""
        kinds = [row["kind"] for row in self.rows["depth"]]
        return [kind for place, kind in enumerate(kinds) if place == 0 or kinds[place - 1] != kind]

    def count(self, name: str) -> int:
        """A counter of the engine."""
        return self.engine.value(name)


def book_of(engine: OrderBookEngine) -> Fold:
    """The engine's book as the fold has it."""
    bids, asks = (side.levels() for side in (engine.bids, engine.asks))
    return dict(zip(*(array.tolist() for array in bids), strict=True)), dict(
        zip(*(array.tolist() for array in asks), strict=True)
    )


def go_through(
    venue: str,
    name: str,
    files: Sequence[bytes],
    *,
    settings: EngineSettings = SETTINGS,
    decimals: tuple[int, int] = (1, 2),
    see: See | None = None,
) -> Outcome:
    """Read files one after the other, message by message; `see` sees the engine behind each. There must be no cut."""
    decoder_settings = DecoderSettings(name, *decimals, 1 << 24)
    decoder = make_decoder(venue, decoder_settings)
    engine = OrderBookEngine(engine_settings(replace(settings, part_interval=1 << 62), load_venue(venue), decoder_settings))
    batch = EventBatch.allocate(1, 16)
    letters: list[DeadLetter] = []
    books = {0: book_of(engine)}
    for number, content in enumerate(files):
        for block in blocks(content, f"file-{number}", 1 << 20, content[:IDENTITY_BYTES]):
            full = True
            while full:
                full = decoder.decode(block, batch)
                letters += batch.dead_letters
                assert not engine.apply(batch).cut
                books[engine.event_count] = book_of(engine)
                if see is not None and batch.message_count:
                    see(engine)
                batch.clear()
    tables = tables_of(StreamFiles(*decimals, settings.book_levels).make(engine.open_rows(), letters))
    rows: Rows = {stream: [] for stream in ("depth", "trades", "bbo", "gaps", "drift", "audits", "dead_letter")}
    rows |= {stream: table_rows(table) for stream, table in tables.items()}
    check_fold(rows["depth"], books)
    return Outcome(engine, rows)


def check_fold(depth: Sequence[dict[str, Any]], books: dict[int, Fold]) -> None:
    """The fold is the engine's book wherever the engine was seen."""
    book: Fold = ({}, {})
    for row in depth:
        fold_row(book, row)
        number = row["event_index"] + 1
        if row["is_last"] and number in books:
            assert book == books[number], f"event {number}"
    assert book == books[max(books)]


def lines_of(*records: Any) -> bytes:
    """A file of records: JSON, or text as it is."""
    lines = [record if isinstance(record, str) else json.dumps(record, separators=(",", ":")) for record in records]
    return "\n".join([*lines, ""]).encode()
