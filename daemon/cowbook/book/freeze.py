"""What a freeze leaves: a `BookSnapshot`, which gathers the state for a checkpoint, and arrays made from such a state again.

`OrderBookEngine.snapshot` takes it, between two messages.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from cowbook.book import block_pool, ladder
from cowbook.book.block_pool import POOL_STATE
from cowbook.book.clock import fill_day
from cowbook.book.ladder_view import Ladder
from cowbook.book.room import in_line
from cowbook.book.state import Logs, Slots
from cowbook.kernels.jit import as_records
from cowbook.plain.book_state import FREE, PLACES, SLOT, STATE, WAITING
from cowbook.plain.engine_state import EngineState
from cowbook.plain.frame import FRAME_ROW, Frame
from cowbook.plain.messages import MESSAGE
from cowbook.plain.rows import DAY_ROW, OpenRows, allocate_rows
from cowbook.plain.streams import OPEN_COUNTS, ROW_ARRAYS

# Places in an engine's words, which are the state, the pool's state and the sides, in this order.
POOL = STATE.itemsize // 8
SIDES = POOL + POOL_STATE.itemsize // 8
SLOT_COUNT = PLACES["slot_count"]
POOL_PLACES = {name: POOL + place for place, name in enumerate(POOL_STATE.names or ())}
EPOCH, PROTECTED = POOL_PLACES["epoch"], POOL_PLACES["protected"]
FIRST_SNAPSHOT, SECOND_SNAPSHOT = POOL_PLACES["first_snapshot"], POOL_PLACES["second_snapshot"]
FREE_HEAD, FREE_COUNT = POOL_PLACES["free_head"], POOL_PLACES["free_count"]
RETIRED_HEAD, RETIRED_TAIL = POOL_PLACES["retired_head"], POOL_PLACES["retired_tail"]
RETIRED_COUNT = POOL_PLACES["retired_count"]
_LOG_RANGES = (
    *(f"{log}_{what}" for log in ("diff", "apart") for what in ("start", "end", "level_end")),
    *(f"{log}_{what}" for log in ("ticker", "trade", "recent") for what in ("start", "end")),
    "slot_level_end",
)


class BookSnapshot(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """An engine frozen between two messages (ADR 7), made by `OrderBookEngine.snapshot`.

    Any thread may read it until `release`, which the engine's thread must call.
    """

    arrays: ladder.Book
    live: memoryview  # the live engine's words
    content: bytes  # of the words, from the moment of the freeze: bytes are copied in a third of the time of an array
    rows: Any  # plain.rows.Rows
    logs: Logs
    slots: Slots

    @property
    def words(self) -> npt.NDArray[np.int64]:
        """A copy of the frozen words. Kernels are compiled for arrays that may be written."""
        return np.frombuffer(self.content, np.int64).copy()

    @property
    def epoch(self) -> int:
        """The ladder's epoch that this snapshot ended, not a checkpoint's epoch. Each snapshot of an engine raises it by 1."""
        return int(np.frombuffer(self.content, np.int64)[EPOCH])

    def _side(self, side_number: int) -> Ladder:
        state, pool, sides = records_of(self.words)
        return Ladder(side_number, ladder.Book(pool, sides, self.arrays.blocks), state)

    @property
    def bids(self) -> Ladder:
        """The frozen bid side, highest price first."""
        return self._side(ladder.BID)

    @property
    def asks(self) -> Ladder:
        """The frozen ask side, lowest price first."""
        return self._side(ladder.ASK)

    def value(self, name: str) -> int:
        """A field of the frozen engine's state (plain.book_state.STATE)."""
        return int(self.words[PLACES[name]])

    def get_checkpoint_state(self) -> EngineState:
        """Returns everything that later output depends on, as plain arrays and numbers. Any thread may call it.

        It gathers the levels from the frozen trees, which takes longer for a deeper book.
        """
        states, _, _ = records_of(self.words)
        rows = open_rows_of(states[0], self.rows)
        return gather(states, rows, self.logs, self.slots, *self.bids.levels(), *self.asks.levels())

    def get_frame(self) -> Frame:
        """Returns all levels with what the stream `frame` says of them. Any thread may call it.

        The snapshot is that of a cut, so its next event is the first of the cut that begins.
        """
        state = records_of(self.words)[0][0]
        bids, asks = self.bids, self.asks
        row = np.zeros(1, FRAME_ROW)
        row["event_index"], row["ts_event"] = state["next_event"], state["last_depth_time"]
        row["update_id"], row["synced"] = state["last_id"], state["synced"]
        row["bid_count"], row["ask_count"] = bid_count, ask_count = len(bids), len(asks)
        prices, sizes = np.empty(bid_count + ask_count, np.int64), np.empty(bid_count + ask_count, np.int64)
        bids.fill(prices[:bid_count], sizes[:bid_count])
        asks.fill(prices[bid_count:], sizes[bid_count:])
        # Levels are sorted, so those inside the bound of a side are the first ones.
        row["bids_known"] = np.count_nonzero(prices[:bid_count] >= state["bid_bound"])
        row["asks_known"] = np.count_nonzero(prices[bid_count:] <= state["ask_bound"])
        return Frame(row, prices, sizes)

    def release(self) -> None:
        """Free the blocks that only this snapshot held. Call it once, in the engine's thread.

        The snapshot must not be read afterwards. The time does not depend on the number of blocks, unless another is held.
        """
        live = self.live
        if block_pool.NO_SNAPSHOT not in (live[FIRST_SNAPSHOT], live[SECOND_SNAPSHOT]):
            block_pool.release(as_records(self.arrays.pool), self.arrays.blocks, self.epoch)
            return
        live[FIRST_SNAPSHOT] = live[SECOND_SNAPSHOT] = live[PROTECTED] = block_pool.NO_SNAPSHOT
        head = live[RETIRED_HEAD]
        if head != block_pool.NO_BLOCK:  # no other snapshot sees these blocks: the whole list is free
            self.arrays.blocks[live[RETIRED_TAIL] + block_pool.NEXT] = live[FREE_HEAD]
            live[FREE_HEAD] = head
            live[FREE_COUNT] += live[RETIRED_COUNT]
            live[RETIRED_HEAD] = block_pool.NO_BLOCK
            live[RETIRED_COUNT] = 0


def records_of(words: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Returns views of an engine's words: STATE (1,), POOL_STATE (1,) and SIDE_STATE (5,)."""
    return words[:POOL].view(STATE), words[POOL:SIDES].view(POOL_STATE), words[SIDES:].view(ladder.SIDE_STATE)


def open_rows_of(state: np.void, rows: Any) -> OpenRows:
    """Returns the valid entries of `plain.rows.Rows`, as views."""
    return OpenRows(
        first=int(state["cut_first"]),
        last=int(state["next_event"]) - 1,
        newest=int(state["newest"]),
        arrays={array.name: getattr(rows, array.name)[: int(state[f"open_{array.count}"])] for array in ROW_ARRAYS},
        number=int(state["cut_number"]),
    )


def gather(
    states: npt.NDArray[np.void],
    rows: OpenRows,
    logs: Logs,
    slots: Slots,
    bid_prices: npt.NDArray[np.int64],
    bid_sizes: npt.NDArray[np.int64],
    ask_prices: npt.NDArray[np.int64],
    ask_sizes: npt.NDArray[np.int64],
) -> EngineState:
    """Returns the engine's state, with the logs trimmed to their valid entries.

    `states` is a STATE array of shape (1,). The levels are int64 arrays, best level first.
    """
    state = states[0]
    values = {name: int(state[name]) for name in STATE.names or () if name not in (*_LOG_RANGES, *OPEN_COUNTS)}
    diffs = _kept_diffs(state, "diff", logs.diffs, logs.diff_prices, logs.diff_sizes)
    apart = _kept_diffs(state, "apart", logs.apart, logs.apart_prices, logs.apart_sizes)
    waiting, slot_prices, slot_sizes = _waiting(slots, logs)
    return EngineState(
        values=values,
        bid_prices=bid_prices,
        bid_sizes=bid_sizes,
        ask_prices=ask_prices,
        ask_sizes=ask_sizes,
        rows=rows,
        diffs=diffs[0],
        diff_prices=diffs[1],
        diff_sizes=diffs[2],
        apart=apart[0],
        apart_prices=apart[1],
        apart_sizes=apart[2],
        tickers=logs.tickers[int(state["ticker_start"]) : int(state["ticker_end"])],
        slots=waiting,
        slot_prices=slot_prices,
        slot_sizes=slot_sizes,
        trades=logs.trades[int(state["trade_start"]) : int(state["trade_end"])],
        recent=logs.recent[int(state["recent_start"]) : int(state["recent_end"])],
        days=days_of(states, logs),
    )


def _kept_diffs(
    state: np.void, name: str, entries: npt.NDArray[np.void], prices: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The valid entries of a log of diffs, with their levels."""
    kept = entries[int(state[f"{name}_start"]) : int(state[f"{name}_end"])]
    return in_line(kept, prices, sizes, int(state[f"{name}_level_end"]))


def _waiting(slots: Slots, logs: Logs) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The messages that wait, with their levels: bids, then asks, message by message."""
    used = [place for place, slot in enumerate(slots.info) if slot["purpose"] != FREE]
    waiting = np.zeros(len(used), WAITING)
    prices: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    sizes: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    at = 0
    for number, place in enumerate(used):
        message = slots.messages[place]
        for name in MESSAGE.names or ():
            waiting[number][name] = message[name]
        for name in SLOT.names or ():
            waiting[number][name] = slots.info[place][name]
        first, count = int(message["bid_start"]), int(message["bid_count"] + message["ask_count"])
        waiting[number]["level_start"] = at
        waiting[number]["bid_start"] = waiting[number]["ask_start"] = 0
        at += count
        prices.append(logs.slot_prices[first : first + count])
        sizes.append(logs.slot_sizes[first : first + count])
    return waiting, np.concatenate(prices), np.concatenate(sizes)


def fill_state(checkpoint: EngineState, state: npt.NDArray[np.void]) -> None:
    """Write the checkpoint's values and counts into a STATE array of shape (1,)."""
    for name, value in checkpoint.values.items():
        state[name] = value
    for array in ROW_ARRAYS:
        state[f"open_{array.count}"] = len(checkpoint.rows[array.name])
    state["diff_end"], state["diff_level_end"] = len(checkpoint.diffs), len(checkpoint.diff_prices)
    state["apart_end"], state["apart_level_end"] = len(checkpoint.apart), len(checkpoint.apart_prices)
    state["ticker_end"] = len(checkpoint.tickers)
    state["trade_end"] = len(checkpoint.trades)
    state["recent_end"] = len(checkpoint.recent)
    state["slot_level_end"] = len(checkpoint.slot_prices)


def to_rows(checkpoint: EngineState, book_levels: int) -> Any:
    """Returns new `plain.rows.Rows` to append to, which begin with the checkpoint's open rows."""
    rows = checkpoint.rows
    copies = allocate_rows({name: len(array) for name, array in rows.arrays.items()}, book_levels)
    for name, array in rows.arrays.items():
        getattr(copies, name)[: len(array)] = array
    return copies


def to_logs(checkpoint: EngineState) -> Logs:
    """Returns new logs to append to, which begin with the checkpoint's contents."""
    return Logs(
        checkpoint.diffs.copy(),
        checkpoint.diff_prices.copy(),
        checkpoint.diff_sizes.copy(),
        checkpoint.apart.copy(),
        checkpoint.apart_prices.copy(),
        checkpoint.apart_sizes.copy(),
        checkpoint.tickers.copy(),
        checkpoint.slot_prices.copy(),
        checkpoint.slot_sizes.copy(),
        checkpoint.trades.copy(),
        checkpoint.recent.copy(),
        checkpoint.days[: checkpoint.values.get("day_count", 0)].copy(),
    )


def to_slots(checkpoint: EngineState) -> Slots:
    """Returns new slots with the checkpoint's messages."""
    slots = Slots.allocate()
    for place, waiting in enumerate(checkpoint.slots):
        for name in MESSAGE.names or ():
            slots.messages[place][name] = waiting[name]
        for name in SLOT.names or ():
            slots.info[place][name] = waiting[name]
        slots.messages[place]["bid_start"] = waiting["level_start"]
        slots.messages[place]["ask_start"] = waiting["level_start"] + waiting["bid_count"]
    return slots


def days_of(state: npt.NDArray[np.void], logs: Logs) -> npt.NDArray[np.void]:
    """Returns the rows of all days (DAY_ROW), the current day last. `state` is a STATE array of shape (1,)."""
    ended = logs.days[: int(state["day_count"][0])]
    if state["day_end"][0] == 0:
        return ended
    days = np.zeros(len(ended) + 1, DAY_ROW)
    days[:-1] = ended
    fill_day(as_records(days)[-1], as_records(state)[0])
    return days
