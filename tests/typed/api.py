"""The public library as a user's program sees it. mypy --strict checks these types; nothing here is run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt

import cowbook
from cowbook import (
    BookCopy,
    BookSnapshot,
    Capture,
    CowbookError,
    EngineSettings,
    Ladder,
    OrderBookEngine,
    ReplayedBook,
    features,
    replay,
    scan,
)

Levels = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def check_replay() -> None:
    assert_type(replay("capture.jsonl.gz", "BTCUSDT"), Iterator[ReplayedBook])
    settings = EngineSettings(on_gap="halt", streams=("trades",), book_levels=5, max_book_bytes=1 << 24)
    replay(
        ["a.jsonl", "b-*.jsonl.zst"],
        symbol="BTCUSDT",
        every=1000,
        format="okx",
        price_decimals=2,
        size_decimals=6,
        settings=settings,
        block_bytes=1 << 16,
    )


def check_book() -> None:
    for book in replay(
        Path("a.jsonl"), symbols=["A", "B"], every="1s", start="2024-08-09", end=datetime.now(UTC), numbers="decimal"
    ):
        assert_type(book.time, int | None)
        assert_type(book.instant, int | None)
        assert_type(book.datetime, datetime | None)
        assert_type(book.received, int | None)
        assert_type(book.imbalance(5), float | None)
        assert_type(book.trades.time, npt.NDArray[np.int64])
        assert_type(book.bids, Ladder)
        assert_type(book.copy(), BookCopy)
        assert_type(book.copy(5).synced, bool)
    replay([Capture("a.jsonl", "A"), Capture(["b.jsonl"], "B", format="okx", id="b")], every=timedelta(seconds=1))
    replay("cowbook.toml")


def check_features() -> None:
    features(Path("a.jsonl"), "A", every=1000, levels=3, bps=(1, 2.5), start="2024-08-09").to_pandas()
    features("cowbook.toml", volume=10)


def check_scan() -> None:
    scan("data", "trades").to_table()
    scan(Path("data"), "book", ["A", "B"], start="2024-08-09", end=datetime.now(UTC), columns=["ts"]).count_rows()


def check_engine(engine: OrderBookEngine) -> None:
    assert_type(engine.bids, Ladder)
    assert_type(engine.asks, Ladder)
    assert_type(engine.synced, bool)
    assert_type(engine.last_id, int)
    assert_type(engine.event_count, int)
    assert_type(engine.gap_statistics(), dict[str, int])
    assert_type(engine.audit_statistics(), dict[str, dict[str, int]])
    assert_type(engine.dead_letter_statistics(), dict[str, int])
    assert_type(engine.pool_statistics(), dict[str, int])
    assert_type(engine.value("gaps"), int)
    assert_type(engine.snapshot(), BookSnapshot)
    assert_type(OrderBookEngine(), OrderBookEngine)
    assert_type(OrderBookEngine.restore(engine.settings, engine.get_checkpoint_state()), OrderBookEngine)


def check_snapshot(snapshot: BookSnapshot) -> None:
    assert_type(snapshot.bids, Ladder)
    assert_type(snapshot.asks, Ladder)
    assert_type(snapshot.epoch, int)
    snapshot.release()


def check_ladder(ladder: Ladder) -> None:
    assert_type(len(ladder), int)
    assert_type(ladder.best(), tuple[int, int] | None)
    assert_type(ladder.size_at(6_183_764_000_000), int)
    assert_type(ladder.levels(), Levels)
    assert_type(ladder.levels(10), Levels)
    assert_type(ladder.known_to, int | None)
    assert_type(ladder.is_whole, bool)
    assert_type(ladder.is_known(6_183_764_000_000), bool)
    assert_type(ladder.known_levels(), Levels)
    assert_type(ladder.known_levels(10), Levels)


def check_errors() -> None:
    try:
        next(replay("missing", "BTCUSDT"))
    except CowbookError as error:
        assert_type(str(error), str)
    assert_type(cowbook.__version__, str)
