"""Events for hftbacktest: its dtype, each side's order, and the book that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowbook.errors import ExportError, QueryError, UsageError
from cowbook.export.hftbacktest import (
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    export_hftbacktest,
    flag_sides,
)
from cowbook.export.span import Span
from support.harness import Reconstruction
from support.naive_book import NaiveBook, fold_rows
from support.small_output import ASKS, BIDS, START_MS, diff, make_lines, make_output, snapshot

START = START_MS * 10**6
MS = 10**6
UNIT = 10**8  # of 8 decimals


@pytest.fixture(scope="module", params=["decimal", "int64"])
def made(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Reconstruction:
    """An output that tests only read, with exact numbers of either kind."""
    return make_output(tmp_path_factory.mktemp("hft"), make_lines(), numbers=request.param)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    """The same with decimals, for what is expected."""
    return make_output(tmp_path_factory.mktemp("hft-exact"), make_lines())


def export(result: Reconstruction, path: Path, start: int | None = None, end: int | None = None) -> tuple[Any, Any]:
    """What is said, and the array."""
    said = export_hftbacktest(Span(result.output_dir, "BTCUSDT", start, end), path)
    return said, np.load(path)["data"]


def book_of(events: Any, side: int) -> NaiveBook:
    """The book that one side's events make."""
    book = NaiveBook()
    for event in events[(events["ev"] & np.uint64(side)) != 0]:
        flags, kind = int(event["ev"]), int(event["ev"]) & 0xFF
        if kind == DEPTH_CLEAR_EVENT:
            assert not flags & (BUY_EVENT | SELL_EVENT)
            book.clear()
        elif kind in (DEPTH_EVENT, DEPTH_SNAPSHOT_EVENT):
            price, size = (round(float(event[name]) * UNIT) for name in ("px", "qty"))
            book.set(is_bid=bool(flags & BUY_EVENT), price=price, size=size)
    return book


def test_the_array_is_hftbacktests(made: Reconstruction, tmp_path: Path) -> None:
    """64 bytes an event, in the one member `data`; unused fields are 0."""
    said, events = export(made, tmp_path / "a.npz")
    assert (events.dtype, events.dtype.itemsize, len(events)) == (EVENT, 64, said.events)
    assert not events["order_id"].any()
    assert not events["ival"].any()
    assert not events["fval"].any()
    assert ((events["ev"] & np.uint64(EXCH_EVENT | LOCAL_EVENT)) != 0).all()


@pytest.mark.parametrize("side", [EXCH_EVENT, LOCAL_EVENT])
def test_each_sides_events_are_in_order_and_make_the_book(
    made: Reconstruction, exact: Reconstruction, tmp_path: Path, side: int
) -> None:
    """Whole, and from any start to any end: the book at the start stands in front."""
    rows = exact.rows("depth")
    for start in (None, START - 1, START + 450 * MS, START + 2250 * MS):
        for end in (None, START + 1050 * MS, START + 2700 * MS):
            if start is not None and end is not None and start >= end:
                continue
            path = tmp_path / f"{start}-{end}.npz"
            _, events = export(made, path, start, end)
            name = "exch_ts" if side == EXCH_EVENT else "local_ts"
            assert (np.diff(events[name][(events["ev"] & np.uint64(side)) != 0]) >= 0).all()
            expected = fold_rows(row for row in rows if end is None or row["ts_event"] < end)
            assert book_of(events, side).levels == expected.levels


def test_trades_are_those_of_the_output(made: Reconstruction, exact: Reconstruction, tmp_path: Path) -> None:
    """With their aggressor."""
    _, events = export(made, tmp_path / "a.npz")
    trades = events[(events["ev"] & np.uint64(0xFF)) == TRADE_EVENT]
    rows = exact.rows("trades")
    assert [(row["price"] / UNIT, row["size"] / UNIT, row["ts_event"]) for row in rows] == [
        (event["px"], event["qty"], event["exch_ts"]) for event in trades
    ]
    assert [bool(event["ev"] & np.uint64(BUY_EVENT)) for event in trades] == [row["side"] == "buy" for row in rows]


def test_steps_and_what_is_not_proved_are_said(made: Reconstruction, exact: Reconstruction, tmp_path: Path) -> None:
    """The steps that fit all; rows of an unsynced book; that the capture has no times of receipt."""
    said, _ = export(made, tmp_path / "a.npz", START + 450 * MS)
    rows = [row for row in exact.rows("depth") if row["ts_event"] >= START + 450 * MS]
    assert (said.tick_size, said.lot_size) == (1, 1)
    assert said.unsynced_rows == sum(not row["synced"] for row in rows) > 0
    assert said.depth_rows == len(rows)
    assert (said.has_receive_times, said.shift_ns) == (False, 0)
    assert said.start_levels == len(export(made, tmp_path / "b.npz", START + 450 * MS)[1]) - said.events + said.start_levels > 0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_each_side_gets_every_event_once_and_in_order(times: list[tuple[int, int]]) -> None:
    """Of equal times in the order in which they came; an event is written twice only where the orders differ."""
    events = np.zeros(len(times), EVENT)
    events["exch_ts"], events["local_ts"] = np.array(times, np.int64).reshape(-1, 2).T
    events["order_id"] = np.arange(len(times))
    made = flag_sides(events)
    for side, name in ((EXCH_EVENT, "exch_ts"), (LOCAL_EVENT, "local_ts")):
        own = made[(made["ev"] & np.uint64(side)) != 0]
        assert own["order_id"].tolist() == np.argsort(events[name], kind="stable").tolist()
    if all(np.argsort(events["exch_ts"], kind="stable") == np.argsort(events["local_ts"], kind="stable")):
        assert len(made) == len(events)


def test_a_recorders_slow_clock_moves_all_local_times(tmp_path: Path) -> None:
    """By as much as makes none of them lie before its time at the exchange."""
    changes = [diff(number, 100 * number, [("9", str(number))]) for number in (1, 2, 3)]
    lines = [snapshot(0, 0, BIDS, ASKS), *changes]
    behind = (-3, 5, -7, 0)
    timed = [b"%d %s" % (START_MS + 100 * number + behind[number], line) for number, line in enumerate(lines)]
    result = make_output(tmp_path, timed)
    said, events = export(result, tmp_path / "a.npz")
    received = [row["ts_recv"] for row in result.rows("depth")]
    assert None not in received
    assert (said.shift_ns, said.has_receive_times) == (7 * MS, True)
    assert (events["local_ts"] >= events["exch_ts"]).all()
    assert set(events["local_ts"].tolist()) == {time + 7 * MS for time in received}


def test_a_time_that_falls_by_more_than_a_day_is_refused(tmp_path: Path) -> None:
    """One of both is wrong, and hftbacktest takes none that goes back. Either part of it is exported."""
    day = 86_400_000
    lines = [*make_lines(), diff(130, 400 * day, [("7", "1")]), diff(131, 3200, [("7", "2")])]
    result = make_output(tmp_path, lines)
    with pytest.raises(ExportError, match=r"falls from 2025-09-13T00:00:00.000Z to 2024-08-09T00:00:03.200Z, more than a day"):
        export(result, tmp_path / "a.npz")
    assert not list(tmp_path.glob("*.npz"))
    assert not list(tmp_path.glob(".*partial"))
    said, _ = export(result, tmp_path / "b.npz", None, START + 3000 * MS)
    assert said.depth_rows > 0


def test_nothing_is_overwritten_and_an_empty_span_is_an_error(made: Reconstruction, tmp_path: Path) -> None:
    """Each says what to do."""
    (tmp_path / "a.npz").write_text("mine")
    with pytest.raises(ExportError, match="exists: remove it"):
        export(made, tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_text() == "mine"
    with pytest.raises(QueryError, match="no event of BTCUSDT in that span"):
        export(made, tmp_path / "b.npz", START - 2, START - 1)
    with pytest.raises(UsageError, match="is not behind --from"):
        export(made, tmp_path / "b.npz", START, START)


def test_doubles_are_refused_since_they_are_not_exact(tmp_path: Path) -> None:
    """The message names the setting."""
    result = make_output(tmp_path, make_lines(), numbers="float64")
    with pytest.raises(QueryError, match='numbers = "decimal" or "int64"'):
        export(result, tmp_path / "a.npz")
