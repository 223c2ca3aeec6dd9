"""Events for hftbacktest 2: one structured array, `data`, in an .npz file.

Each event is valid for the exchange's side of a backtest at `exch_ts`, for the trader's side at `local_ts`, or for both. The
reader takes the events of each side in the order of the file, so each side's times may not fall: an event that stands at
different places in the two orders is written once for each.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cowbook.errors import ExportError
from cowbook.export.span import Piece, Rows, Span, StartBook, receive_times, rising, step
from cowbook.plain.destination import new_path
from cowbook.plain.messages import NONE
from cowbook.plain.vocabulary import CLEAR, OF_SNAPSHOT

EVENT = np.dtype(
    [
        *(("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8")),
        *(("order_id", "u8"), ("ival", "i8"), ("fval", "f8")),
    ],
    align=True,
)
"""hftbacktest's dtype of an event: 64 bytes."""

DEPTH_EVENT, TRADE_EVENT, DEPTH_CLEAR_EVENT, DEPTH_SNAPSHOT_EVENT = 1, 2, 3, 4
EXCH_EVENT, LOCAL_EVENT, BUY_EVENT, SELL_EVENT = 1 << 31, 1 << 30, 1 << 29, 1 << 28

_SIDES = np.array([BUY_EVENT, SELL_EVENT, 0], np.uint64)
"""Flags of an event of a bid or buyer, of an ask or seller, and of a trade of which the venue says neither."""

Events = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class HftExport:
    """What was written."""

    events: int  # those of the file; what stands at two places counts twice
    depth_rows: int
    trades: int
    start_levels: int  # levels of the book at the start
    unsynced_rows: int  # rows of depth that the output does not call synced
    tick_size: Decimal  # greatest step that all prices are multiples of
    lot_size: Decimal
    has_receive_times: bool  # False: some local_ts are times of the exchange
    shift_ns: int  # what was added to all local_ts, so that none is before its exch_ts


def export_hftbacktest(span: Span, path: Path) -> HftExport:
    """Writes a span as one file. Raises QueryError for what cannot be read, ExportError for what cannot be written."""
    with new_path(path) as partial:
        gathered = _Gathered(span)
        start = span.start_book()
        for piece in span.pieces():
            gathered.add(piece)
        events, shift = gathered.events(start)
        archive = zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        with archive, archive.open("data.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, events, allow_pickle=False)
    return gathered.summary(start, len(events), shift)


class _Gathered:
    """The events of a span in the order of its rows, without flags of sides."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._pieces: list[Events] = []
        self._newest_depth = self._newest_trade = self._newest_local = -(2**63)
        self._price_step = self._size_step = 0
        self._depth_rows = self._trades = self._unsynced = 0
        self._has_receive_times = True

    def add(self, piece: Piece) -> None:
        """Add a cut's rows."""
        depth, trades = piece.depth, piece.trades
        made = np.zeros(len(depth) + len(trades), EVENT)
        order = np.argsort(np.concatenate([depth["event_index"], trades["event_index"]]), kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        of_depth, of_trades = place[: len(depth)], place[len(depth) :]
        local = np.empty(len(made), np.int64)
        for rows, at in ((depth, of_depth), (trades, of_trades)):
            made["ev"][at] = _SIDES[rows["side"]]
            made["px"][at] = rows["price"] / 10.0**self._span.price_decimals
            made["qty"][at] = rows["size"] / 10.0**self._span.size_decimals
            local[at] = receive_times(rows)
            self._note(rows)
        made["ev"][of_depth] |= _depth_kinds(depth)
        made["ev"][of_trades] |= np.uint64(TRADE_EVENT)
        # An exchange's depth and trades have times of their own; each is in order by itself.
        made["exch_ts"][of_depth] = rising(depth["ts_event"], self._newest_depth, "ts_event of depth")
        made["exch_ts"][of_trades] = rising(trades["ts_event"], self._newest_trade, "ts_event of trades")
        made["local_ts"] = rising(local, self._newest_local, "ts_recv")
        if len(depth):
            self._newest_depth = int(made["exch_ts"][of_depth[-1]])
            self._unsynced += int(np.count_nonzero(~depth["synced"].astype(np.bool_)))
        if len(trades):
            self._newest_trade = int(made["exch_ts"][of_trades[-1]])
        if len(made):
            self._newest_local = int(made["local_ts"][-1])
        self._depth_rows += len(depth)
        self._trades += len(trades)
        self._pieces.append(_with_one_clear(made))

    def _note(self, rows: Rows) -> None:
        self._price_step = step([np.array([self._price_step]), rows["price"]])
        self._size_step = step([np.array([self._size_step]), rows["size"]])
        self._has_receive_times &= not (rows["ts_recv"] == NONE).any()

    def events(self, start: StartBook | None) -> tuple[Events, int]:
        """All events with their flags, and what was added to `local_ts`."""
        made = np.concatenate([np.zeros(0, EVENT), *self._pieces])
        del self._pieces
        shift = max(0, int((made["exch_ts"] - made["local_ts"]).max(initial=0)))
        made["local_ts"] += shift
        if start is not None:
            first = min(int(made["exch_ts"].min()), int(made["local_ts"].min()))
            self._price_step = step([np.array([self._price_step]), start.bids[0], start.asks[0]])
            self._size_step = step([np.array([self._size_step]), start.bids[1], start.asks[1]])
            made = np.concatenate([self._start(start, first), made])
        return flag_sides(made), shift

    def _start(self, book: StartBook, time: int) -> Events:
        made = np.zeros(1 + len(book), EVENT)
        made["exch_ts"] = made["local_ts"] = time
        made["ev"][0] = DEPTH_CLEAR_EVENT
        bids = len(book.bids[0])
        made["ev"][1 : 1 + bids] = DEPTH_SNAPSHOT_EVENT | BUY_EVENT
        made["ev"][1 + bids :] = DEPTH_SNAPSHOT_EVENT | SELL_EVENT
        made["px"][1:] = np.concatenate([book.bids[0], book.asks[0]]) / 10.0**self._span.price_decimals
        made["qty"][1:] = np.concatenate([book.bids[1], book.asks[1]]) / 10.0**self._span.size_decimals
        return made

    def summary(self, start: StartBook | None, events: int, shift: int) -> HftExport:
        """What was written."""
        return HftExport(
            events,
            self._depth_rows,
            self._trades,
            0 if start is None else len(start),
            self._unsynced,
            Decimal(self._price_step).scaleb(-self._span.price_decimals).normalize(),
            Decimal(self._size_step).scaleb(-self._span.size_decimals).normalize(),
            self._has_receive_times,
            shift,
        )


def _depth_kinds(depth: Rows) -> npt.NDArray[np.uint64]:
    """The kind of event of each row of `depth`: a clear, a level of a snapshot, or a change."""
    kinds = depth["kind"]
    made = np.full(len(kinds), DEPTH_EVENT, np.uint64)
    made[kinds == OF_SNAPSHOT] = DEPTH_SNAPSHOT_EVENT
    made[kinds == CLEAR] = DEPTH_CLEAR_EVENT
    return made


def _with_one_clear(made: Events) -> Events:
    """One event that clears both sides in place of two.

    hftbacktest clears one side only up to a price, and both sides wholly. `depth` has a clear of each side, bids first.
    """
    is_clear = (made["ev"] & np.uint64(0xFF)) == DEPTH_CLEAR_EVENT
    is_sell = (made["ev"] & np.uint64(SELL_EVENT)) != 0
    places = np.flatnonzero(is_clear)
    if len(places) % 2 or is_sell[places[0::2]].any() or not is_sell[places[1::2]].all() or (np.diff(places)[::2] != 1).any():
        raise ExportError("depth is damaged: rows of kind clear are not in pairs, one of bids and one of asks")
    made["ev"][places[0::2]] = DEPTH_CLEAR_EVENT
    keep = np.ones(len(made), np.bool_)
    keep[places[1::2]] = False
    return made[keep]


def flag_sides(made: Events) -> Events:
    """Returns events that are in order by `exch_ts` for the exchange's side, and by `local_ts` for the trader's.

    Of equal times the order stays as it is. An event is written once where all those before it are the same in both orders,
    else once for each.
    """
    count = len(made)
    by_exch, by_local = (np.argsort(made[name], kind="stable") for name in ("exch_ts", "local_ts"))
    exch_place = np.empty(count, np.int64)
    exch_place[by_exch] = np.arange(count)
    crossing = exch_place[by_local]  # of the k-th event of the trader's side, its place on the exchange's
    places = np.arange(count)
    same = (crossing == places) & (np.maximum.accumulate(crossing) == places) if count else np.empty(0, np.bool_)
    both = by_local[same]
    exch, local = by_exch[~same], by_local[~same]  # an event that both have in common has one place in both orders
    chosen = np.concatenate([both, exch, local])
    flags = np.repeat(
        np.array([EXCH_EVENT | LOCAL_EVENT, EXCH_EVENT, LOCAL_EVENT], np.uint64), [len(both), len(exch), len(local)]
    )
    order = np.argsort(np.concatenate([places[same], places[~same], places[~same]]), kind="stable")
    out: Events = made[chosen[order]]
    out["ev"] |= flags[order]
    return out
