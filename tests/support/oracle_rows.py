"""Rows, cuts and time: section 3 of docs/rules.md, for whatever happens to the book."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from support.oracle_book import SIDES, WHOLE, Book, Bound, best_first, is_known
from support.oracle_features import OracleFeatures
from support.oracle_records import OPTIONAL_STREAMS, STREAMS, OracleSettings

DAY_NS = 86_400 * 10**9

Row = dict[str, Any]


@dataclass
class Cut:
    """The rows of a part in every stream."""

    first: int
    last: int
    date: str
    rows: dict[str, list[Row]]
    number: int = 0  # of cuts before it that begin with the same event


class OracleRows:
    """The book's state as far as rows show it, and the rows."""

    def __init__(self, settings: OracleSettings) -> None:
        self.settings = settings
        self.book: Book = ({}, {})
        self.known: list[Bound] = [None, None]
        self.last: int | None = None
        self.synced = False
        self.next = 0
        self.newest: int | None = None
        self.last_time: int | None = None  # of the last accepted message
        self.depth_time: int | None = None  # of the last applied depth message
        self.cut_first = 0
        self.cut_number = 0
        self.grid_due = False
        self.last_bbo: tuple[Any, ...] | None = None
        self.features = OracleFeatures(settings.price_decimals, settings.size_decimals)
        self.frame: list[Row] = []
        self.open: dict[str, list[Row]] = {stream: [] for stream in STREAMS}
        self.cuts: list[Cut] = []
        self.counts: dict[str, int] = {}

    def count(self, name: str, number: int = 1) -> None:
        """Count something."""
        self.counts[name] = self.counts.get(name, 0) + number

    def emit(self, stream: str, row: Row) -> None:
        """Add a row to a stream, if it is wanted."""
        if stream not in OPTIONAL_STREAMS or stream in self.settings.streams:
            self.open[stream].append(row)

    def end_sync(self) -> None:
        """While not synced nothing is known."""
        self.synced = False
        self.known = [None, None]
        self.features.forget()

    # --- before and after a message

    def enter(self, ts: int) -> None:
        """What comes before an accepted message's own rows: its grid row, a time cut; then its time counts."""
        for place, grid in enumerate(self.grid_points(ts)):
            if place:
                self.bound_open_rows()
            self.grid_due = False
            row = self.grid_row(grid)
            self.emit("book", row)
            common = {name: row[name] for name in ("event_index", "ts", "update_id", "synced")}
            self.emit("features", common | self.features.row(self.book, self.known))
        newest = ts
        if self.newest is not None:
            if ts < self.newest - DAY_NS:
                self.count("time_resets")
            else:
                newest = max(ts, self.newest)
            part = self.settings.part_interval_ns
            if newest // part != self.newest // part and self.next > self.cut_first:
                self.cut()
        self.newest = newest
        self.last_time = ts

    def grid_points(self, ts: int) -> range:
        """The grid points that have a row before a message at `ts`."""
        interval = self.settings.book_interval_ns
        is_due = self.grid_due or (self.settings.book_fill and self.depth_time is not None)
        if not is_due or self.newest is None or self.next == 0:
            return range(0)
        first = -(-self.newest // interval) * interval
        if self.settings.book_fill and ts - self.newest <= DAY_NS:
            return range(first, ts, interval)
        return range(first, min(ts, first + 1))

    def leave(self, before: int) -> None:
        """After a message: the count cut, or a forced one."""
        self.count("messages")
        if self.next // self.settings.part_events > before // self.settings.part_events:
            self.cut()
        self.bound_open_rows()

    def bound_open_rows(self) -> None:
        """Too many rows that are no events force a cut."""
        if any(len(self.open[stream]) >= self.settings.most_open_rows for stream in STREAMS if stream not in ("depth", "trades")):
            self.cut()

    def cut(self) -> None:
        """End a part; the book as it is now is the frame of the next one."""
        seconds = 0 if self.newest is None else self.newest // 10**9
        date = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%d")
        if any(self.open.values()):
            self.open["frame"] = self.frame
        self.cuts.append(Cut(self.cut_first, self.next - 1, date, self.open, self.cut_number))
        self.open = {stream: [] for stream in STREAMS}
        self.cut_number = self.cut_number + 1 if self.next == self.cut_first else 0
        self.cut_first = self.next
        self.frame = self.frame_rows() if "frame" in self.settings.streams else []

    def end(self) -> None:
        """End of input."""
        if any(self.open.values()):
            self.cut()
        self.count("events", self.next)

    # --- rows

    def frame_rows(self) -> list[Row]:
        """The whole book, at the cut that was just made."""
        return [
            {
                "event_index": self.next,
                "ts_event": self.depth_time,
                "update_id": self.last,
                "side": SIDES[number],
                "price": price,
                "size": size,
                "known": is_known(number, self.known[number], price),
                "synced": self.synced,
            }
            for number in (0, 1)
            for price, size in best_first(number, self.book[number])
        ]

    def grid_row(self, grid: int) -> Row:
        """The book at a grid point."""
        row: Row = {"event_index": self.next - 1, "ts": grid, "update_id": self.last, "synced": self.synced}
        sides = [best_first(number, self.book[number])[: self.settings.book_levels] for number in (0, 1)]
        for number, name in enumerate(("bids_known", "asks_known")):
            row[name] = 0
            for price, _size in sides[number]:
                if not is_known(number, self.known[number], price):
                    break
                row[name] += 1
        for level in range(self.settings.book_levels):
            for name, side in zip(SIDES, sides, strict=True):
                row[f"{name}_px_{level:02d}"], row[f"{name}_sz_{level:02d}"] = side[level] if level < len(side) else (None, None)
        return row

    def depth_rows(self, ts: int, ts_recv: int | None, update_id: int, levels: list[tuple[str, int, int, str]]) -> list[Row]:
        """Rows of a depth message from (side, price, size, kind); `synced` is stamped when they are emitted."""
        rows = [
            {
                "event_index": self.next + place,
                "ts_event": ts,
                "ts_recv": ts_recv,
                "update_id": update_id,
                "side": side,
                "price": price,
                "size": size,
                "kind": kind,
                "is_last": place == len(levels) - 1,
            }
            for place, (side, price, size, kind) in enumerate(levels)
        ]
        self.next += len(rows)
        return rows

    def gap_row(self, ts: int, expected: int | None, received: int | None, missing: int | None) -> None:
        """A gap; it ends sync."""
        row: Row = {"event_index": self.next, "ts_event": ts, "expected_id": expected, "received_id": received}
        self.emit("gaps", row | {"missing": missing})
        self.count("gaps")
        self.count("missing_updates", missing or 0)
        self.end_sync()

    def best(self) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """Best bid and best ask."""
        bid = max(self.book[0], default=None)
        ask = min(self.book[1], default=None)
        return (
            None if bid is None else (bid, self.book[0][bid]),
            None if ask is None else (ask, self.book[1][ask]),
        )

    def bbo_row(self, ts: int, ts_recv: int | None) -> None:
        """After a depth message: crossed and locked books, and a row if anything differs from the last one."""
        self.grid_due = True
        self.features.depth(self.book, self.known)
        bid, ask = self.best()
        if bid and ask:
            self.count("crossed", bid[0] > ask[0])
            self.count("locked", bid[0] == ask[0])
        if self.next == 0 or "bbo" not in self.settings.streams:
            return
        known = [
            self.known[number] == WHOLE if best is None else is_known(number, self.known[number], best[0])
            for number, best in enumerate((bid, ask))
        ]
        if self.last_bbo == (bid, ask, self.synced, known):
            return
        self.last_bbo = (bid, ask, self.synced, known)
        row: Row = {"event_index": self.next - 1, "ts_event": ts, "ts_recv": ts_recv, "update_id": self.last}
        row["bid_price"], row["bid_size"] = bid or (None, None)
        row["ask_price"], row["ask_size"] = ask or (None, None)
        self.emit("bbo", row | {"synced": self.synced, "bid_known": known[0], "ask_known": known[1]})
