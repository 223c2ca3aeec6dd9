"""OrderBookEngine: one symbol's book with its continuity, audits, open rows and copy-on-write snapshots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn
from weakref import ref

import numpy as np
import numpy.typing as npt

from cowbook.book import block_pool, ladder
from cowbook.book.apply import (
    CUT,
    DONE,
    HALTED_AT_GAP,
    OTHER_NEXT,
    OTHER_SPEED,
    POOL_IS_EMPTY,
    ROOM,
    SNAPSHOT_NEXT,
    apply_messages,
    apply_snapshots,
)
from cowbook.book.freeze import (
    EPOCH,
    FIRST_SNAPSHOT,
    POOL,
    PROTECTED,
    SECOND_SNAPSHOT,
    SLOT_COUNT,
    BookSnapshot,
    days_of,
    fill_state,
    open_rows_of,
    records_of,
    to_logs,
    to_rows,
    to_slots,
)
from cowbook.book.ladder_view import Ladder
from cowbook.book.recent import fill
from cowbook.book.room import (
    KEPT_LEVELS_LEFT,
    LEVELS_LEFT,
    LEVELS_NEEDED,
    LEVELS_OF_MESSAGE,
    MESSAGES_AT_A_TIME,
    MESSAGES_LEFT,
    ROOM_WORDS,
    Held,
    is_cut_forced,
    kept_bytes,
    make_room,
    measure_room,
    take_over,
)
from cowbook.book.state import NO_SLOTS, SETTINGS, Batch, Engine, Levels, Logs, Measured, Scratch, Seen, Slots, new_state
from cowbook.errors import BookMemoryError, GapHaltError
from cowbook.kernels.jit import as_records, entry_of
from cowbook.plain.book_state import MOST_SLOTS, PLACES, UNTIMED
from cowbook.plain.engine_state import EngineState
from cowbook.plain.messages import FUTURES, MESSAGE, RPI, SPOT, EventBatch
from cowbook.plain.rows import OpenRows, allocate_rows
from cowbook.plain.streams import CHOSEN_STREAMS, MOST_OPEN_ROWS, OPEN_COUNTS, USUAL_STREAMS
from cowbook.plain.vocabulary import AUDIT_FIELDS, GAP_STATISTICS, MARKET_NAMES, OUTCOMES, REASONS, SPEED_NAMES

_MARKETS = dict(zip(MARKET_NAMES, (SPOT, FUTURES, RPI), strict=True))
_SPEEDS = {name: number for number, name in enumerate(SPEED_NAMES, start=1)}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The settings that a symbol's rows depend on, besides its messages. The daemon fills them from the configuration.

    * `on_gap`, "continue": "halt" makes `apply` raise GapHaltError at a gap instead of going on unsynced.
    * `streams`, all but "features": the optional streams whose rows are collected ("depth", "trades", "bbo", "book", "features"),
      and "frame", which the daemon makes of a snapshot at each cut. Rows of gaps, drift, audits and dead letters are always
      collected.
    * `book_levels`, 20: levels of each side in a row of `book`.
    * `book_interval`, 1 s: ns of event time between two rows of `book` and of `features`.
    * `book_fill`, False: True if they have rows for all points of the grid, as the book stands; else only for changed books.
    * `part_events`, 1,000,000, and `part_interval`, 1 h in ns: how many events, and how much event time, lie between two cuts.
    * `most_open_rows`, 100,000: so many open rows of a stream other than depth and trades make a cut, too.
    * `max_book_bytes`, 1 GiB: memory of the book, snapshots included. It is reserved at once, and touched only as needed.
    * `checksum`, 0 for none: style of the checksums that depth messages carry (cowbook.plain.schemes).
    * `price_decimals`, 8, and `size_decimals`, 8: decimals of the fixed-point numbers, which checksums depend on.
    * `depth`, 0: levels of each side that the venue keeps; 0 takes the number that the capture names, or else keeps all.
    * `snapshots_are_whole`, False: True if a snapshot has all levels of the book, or all that the venue keeps.
    * `channel`, empty: which of several books of the symbol. Of Binance it is a market ("spot", "futures" or "rpi") or a speed
      ("depth", "depth@100ms", ...), else a name of the venue's. Empty: the capture decides.
    * `channel_number`, 0: the number that the messages of a venue's channel have.
    * `dead_letter_ends_sync`, False: True if a rejected record may have been a depth message whose loss nothing else would show.
    """

    on_gap: str = "continue"
    streams: tuple[str, ...] = USUAL_STREAMS  # gaps, drift, audits and dead letters are always collected
    book_levels: int = 20
    book_interval: int = 1_000_000_000
    book_fill: bool = False
    part_events: int = 1_000_000
    part_interval: int = 3_600_000_000_000
    most_open_rows: int = MOST_OPEN_ROWS
    max_book_bytes: int = 1 << 30
    checksum: int = 0  # its style (cowbook.plain.schemes)
    price_decimals: int = 8
    size_decimals: int = 8
    depth: int = 0  # levels of each side that the venue keeps; 0: as the capture says, or all
    snapshots_are_whole: bool = False  # they have all levels, or all that the venue keeps
    channel: str = ""  # which of several books of the symbol; empty: as the capture decides
    channel_number: int = 0  # of its messages; 0 where a market or a speed tells them apart
    dead_letter_ends_sync: bool = False  # it may have been a depth message, and nothing else would show that

    def to_record(self) -> npt.NDArray[np.void]:
        """Returns the settings as the kernels take them: a structured array of shape (1,), all fields int64."""
        record = np.zeros(1, SETTINGS)
        record["halt_on_gap"] = self.on_gap == "halt"
        for stream in CHOSEN_STREAMS:
            record[f"with_{stream}"] = stream in self.streams
        record["with_flows"] = "features" in self.streams
        numbers = ("book_levels", "book_interval", "part_events", "part_interval")
        for name in (*numbers, "checksum", "price_decimals", "size_decimals", "depth"):
            record[name] = getattr(self, name)
        for name in ("dead_letter_ends_sync", "snapshots_are_whole", "book_fill"):
            record[name] = getattr(self, name)
        record["market"] = _MARKETS.get(self.channel, 0)
        record["speed"] = _SPEEDS.get(self.channel, 0)
        record["channel"] = self.channel_number
        return record


@dataclass(frozen=True, slots=True)
class Applied:
    """How far `apply` got.

    `consumed` is the index of the first message of the batch that is not applied. `cut` is True if a cut is due before it.
    """

    consumed: int
    cut: bool


class PoolScarceError(Exception):
    """The free blocks may not suffice for the next message while snapshots are held: release one, and go on from `consumed`."""

    def __init__(self, consumed: int) -> None:
        self.consumed = consumed
        super().__init__(consumed)


class OrderBookEngine:
    """One symbol's book. It applies batches of messages and collects rows, as docs/rules.md says. `replay` yields one.

    It is not thread-safe: one thread applies messages, reads the book, and takes and releases snapshots. Any thread may read a
    snapshot.

    `settings` is None by default, for `EngineSettings()`. Raises BookMemoryError if the machine does not reserve
    `max_book_bytes`.
    """

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()
        self._settings = self.settings.to_record()
        try:
            allocated = ladder.allocate(self.settings.max_book_bytes)
        except MemoryError as error:
            raise BookMemoryError(
                f"this machine does not reserve max_book_bytes = {self.settings.max_book_bytes}: make it smaller"
            ) from error
        # Everything that a snapshot must copy is in one array, so that a snapshot takes one copy.
        self._words = np.concatenate([record.view(np.int64) for record in (new_state(), allocated.pool, allocated.sides)])
        self._view = self._words.data  # faster than numpy for single numbers
        state, pool, sides = records_of(self._words)
        # Untouched memory costs nothing, while enlarging an array later costs a copy.
        levels = min(self.settings.part_events, 1 << 20) + 4096
        self.arrays = Engine(
            words=self._words[:POOL],
            state=state,
            settings=self.settings.to_record(),
            book=allocated._replace(pool=pool, sides=sides),
            rows=allocate_rows({"depth_prices": levels, "depth_sizes": levels}, self.settings.book_levels),
            logs=Logs.allocate(),
            room=np.zeros(ROOM_WORDS, np.int64),
            waiting=np.zeros(1, MESSAGE),
            slots=Slots.allocate(),
            seen=Seen.allocate(),
            scratch=Scratch.allocate(),
            measured=Measured.of_state(self._words),
        )
        """The arrays that the kernels work on. The tuple is replaced whenever one of its arrays is."""
        for name in ("market", "channel"):
            state[name] = self.arrays.settings[name]
        self._taken: tuple[Callable[[], BookSnapshot | None], ...] = (lambda: None, lambda: None)  # the last two snapshots
        self._kernels: list[Callable[..., tuple[int, int]]] | None = (
            None  # apply_messages and apply_snapshots, once they are needed
        )
        self._measure_room()

    def _measure_room(self) -> None:
        arrays = self.arrays
        measure_room(arrays.room, arrays.state[0], arrays.rows, arrays.logs, self.settings.most_open_rows, self._held())

    def _held(self) -> list[Held]:
        """What the snapshots that are held still read."""
        epochs = self._view[FIRST_SNAPSHOT], self._view[SECOND_SNAPSHOT]
        if epochs == (block_pool.NO_SNAPSHOT, block_pool.NO_SNAPSHOT):
            return []
        taken = [snapshot for reference in self._taken if (snapshot := reference()) is not None]
        return [Held(records_of(frozen.words)[0][0], frozen.logs) for frozen in taken if frozen.epoch in epochs]

    def measure_features(self, depth: int, distances: Sequence[float]) -> None:
        """From now on measure what features of the best `depth` levels are made of. It is in `arrays.measured`, for the caller.

        `distances` from the mid are in hundredths of a percent, ascending.
        """
        self.arrays.settings["with_flows"] = True
        self.arrays = self.arrays._replace(measured=Measured.allocate(depth, distances))

    def apply(self, batch: EventBatch, start: int = 0, stop: int | None = None) -> Applied:
        """Apply the messages from `start` (0) to before `stop` (None: all) of the batch, at most up to the next cut.

        At a cut, call `take_open_rows` and go on from `consumed`. Raises GapHaltError at a gap if `on_gap` is "halt"; neither the
        message at the gap nor any later one is applied. Raises BookMemoryError if the book needs more than `max_book_bytes`; the
        book is lost then. Raises PoolScarceError if held snapshots leave too few blocks for the next message; release one, and go
        on from its `consumed`.
        """
        end = batch.message_count if stop is None else stop
        return Applied(*self._apply(as_records(Batch(batch.messages, Levels(batch.prices, batch.sizes))), start, end))

    def _apply(self, batch: Batch, start: int, end: int) -> tuple[int, bool]:
        """As `apply`, for a caller who steps through the arrays of one batch. Returns the fields of `Applied`."""
        why, start = self._entries(batch)[0](as_records(self.arrays), batch, start, end)
        return (start, False) if why == DONE else self._go_on(why, batch, start, end)

    def _entries(self, batch: Batch) -> list[Callable[..., tuple[int, int]]]:
        """The machine code of apply_messages and apply_snapshots, compiled if need be."""
        if self._kernels is None:
            self._kernels = [
                entry_of(kernel, as_records(self.arrays), batch, 0, 0) for kernel in (apply_messages, apply_snapshots)
            ]
        return self._kernels

    def _go_on(self, why: int, batch: Batch, start: int, end: int) -> tuple[int, bool]:
        """Do what a kernel has returned for, and go on as `_apply` does, from the message `start`."""
        kernels = self._entries(batch)
        apply = kernels[0]
        had_room, times = (-1, 0), 0  # the message and grid point before which room was last made, and how often
        while True:
            if why == DONE:
                return start, False
            if why == CUT:
                return start, True
            if why in (SNAPSHOT_NEXT, OTHER_NEXT):
                apply = kernels[why == SNAPSHOT_NEXT]
            elif why == ROOM:
                if is_cut_forced(self.arrays.state[0], self.settings.most_open_rows):
                    return start, True
                here = start, self.value("grid_next")
                had_room, times = here, times + 1 if here == had_room else 0
                assert times <= MOST_SLOTS, "make_room and has_room do not agree"  # each message that waited may need some
                self._make_room()
            elif why == OTHER_SPEED:
                self.arrays = self.arrays._replace(logs=take_over(self.arrays.state[0], self.arrays.logs))
                self._measure_room()
            else:
                self._raise(why, start)
            why, start = apply(as_records(self.arrays), batch, start, end)

    def _raise(self, why: int, start: int) -> NoReturn:
        """Raise what a kernel has returned for. `start` is the message that is not applied."""
        if why == HALTED_AT_GAP:
            expected, received = self.value("gap_expected"), self.value("gap_received")
            raise GapHaltError(f"gap: update id {received} follows where {expected} was expected", start)
        if why == POOL_IS_EMPTY:
            raise BookMemoryError(
                f"the book needs more than max_book_bytes = {self.settings.max_book_bytes}; "
                "raise it, or look for a capture that never removes levels"
            )
        raise PoolScarceError(start)

    def _make_room(self) -> None:
        arrays, room = self.arrays, self.arrays.room
        if (
            min(room[[MESSAGES_LEFT, LEVELS_LEFT, KEPT_LEVELS_LEFT]]) < 0
        ):  # by the upper bound; the true counts are lower nearly always
            self._measure_room()
            if (
                room[MESSAGES_LEFT] > MESSAGES_AT_A_TIME
                and room[LEVELS_LEFT] > room[LEVELS_NEEDED]
                and room[KEPT_LEVELS_LEFT] > room[LEVELS_OF_MESSAGE]
            ):
                return
        rows, logs = make_room(arrays.state[0], room, arrays.rows, arrays.logs, arrays.slots, self._held())
        self.arrays = arrays._replace(rows=rows, logs=logs)
        self._measure_room()

    def take_open_rows(self) -> OpenRows:
        """End the open cut, return its rows, and begin the next cut. The arrays then belong to the caller."""
        rows = self.open_rows()
        arrays = self.arrays
        capacity = {name: len(array) for name, array in arrays.rows._asdict().items()}
        self.arrays = arrays._replace(rows=allocate_rows(capacity, self.settings.book_levels))
        for name in OPEN_COUNTS:
            arrays.state[name] = 0
        state = arrays.state[0]
        state["cut_number"] = state["cut_number"] + 1 if state["cut_first"] == state["next_event"] else 0
        state["cut_first"] = state["next_event"]
        self._measure_room()
        return rows

    def open_rows(self) -> OpenRows:
        """The rows since the last cut, as views (cowbook.plain.rows). Rows that are appended later never change them."""
        return open_rows_of(self.arrays.state[0], self.arrays.rows)

    def value(self, name: str) -> int:
        """Returns a field of the state by its name in cowbook.plain.book_state.STATE, such as "gaps" or "newest".

        Raises KeyError for any other name.
        """
        number: int = self._view[PLACES[name]]
        return number

    @property
    def bids(self) -> Ladder:
        """The live bid side, highest price first."""
        return Ladder(ladder.BID, self.arrays.book, self.arrays.state)

    @property
    def asks(self) -> Ladder:
        """The live ask side, lowest price first."""
        return Ladder(ladder.ASK, self.arrays.book, self.arrays.state)

    @property
    def last_id(self) -> int:
        """Update id of the last applied depth message.

        It is -2**63 (cowbook.plain.messages.NONE) before the first one, and where depth messages have no ids.
        """
        return self.value("last_id")

    @property
    def synced(self) -> bool:
        """True if a depth snapshot was applied and neither a gap nor a failed audit has followed it.

        `bids` and `asks` say how far each side is known then.
        """
        return bool(self.value("synced"))

    @property
    def event_count(self) -> int:
        """Number of events so far, which are levels of applied depth messages, and trades. It is the index of the next event."""
        return self.value("next_event")

    @property
    def waits_for_time(self) -> bool:
        """True if a depth snapshot waits for a message that gives it a time."""
        return bool((self.arrays.slots.info["purpose"] == UNTIMED).any())

    def gap_statistics(self) -> dict[str, int]:
        """Counts, since the start, of missing messages and of messages that were not applied.

        The keys are `gaps`, `missing_updates` (in gaps of known size), `stale`, `stale_snapshots`, `foreign_snapshots`,
        `replaced_witnesses`, `time_resets`, `duplicate_trades` and `duplicate_messages`.
        """
        return {name: self.value(name) for name in GAP_STATISTICS}

    def audit_statistics(self) -> dict[str, dict[str, int]]:
        """Audits since the start, by kind ("bookTicker", "checksum", "snapshot") and outcome.

        Outcomes are "matched", "failed", "matched_unsynced", "failed_unsynced" and "not_comparable" (docs/rules.md, section 2).
        """
        return {kind: {outcome: self.value(f"{field}_{outcome}") for outcome in OUTCOMES} for kind, field in AUDIT_FIELDS.items()}

    def dead_letter_statistics(self) -> dict[str, int]:
        """Rejected records since the start, by reason.

        Reasons are "overlong", "not_utf8", "malformed", "unknown" and "out_of_range" (docs/rules.md, section 1), and "damaged"
        for a place in a damaged file.
        """
        return {reason: self.value(f"dead_{reason}") for reason in REASONS}

    def days(self) -> npt.NDArray[np.void]:
        """One record for each UTC day so far (cowbook.plain.rows.DAY_ROW). The last day has not ended."""
        return days_of(self.arrays.state, self.arrays.logs)

    def pool_statistics(self) -> dict[str, int]:
        """Figures of the ladder's pool of blocks, by name.

        They are `blocks_used`, by the book and by snapshots, `blocks_total`, `block_bytes`, the size of one block, and
        `block_copies`, the number of blocks copied because a snapshot was held.
        """
        book = self.arrays.book
        pool = book.pool[0]
        total = (int(pool["end"]) - block_pool.FIRST_BLOCK) // block_pool.BLOCK_WORDS
        return {
            "blocks_used": total - int(block_pool.blocks_available(as_records(book.pool))),
            "blocks_total": total,
            "block_copies": int(pool["block_copies"]),
            "block_bytes": block_pool.BLOCK_BYTES,
        }

    @property
    def kept_bytes(self) -> int:
        """Bytes of the diffs that are kept to bring late snapshots to the book's moment: at most 130 MiB."""
        return kept_bytes(self.arrays.state[0], self.arrays.logs)

    def snapshot(self) -> BookSnapshot:
        """Freeze the engine, in microseconds at any depth of the book. Release the snapshot after reading it.

        It copies one small array and refers to the others; the book then writes later changes to other blocks. At most two
        snapshots may be held. Raises RuntimeError for a third.
        """
        words = self._view
        slot = FIRST_SNAPSHOT
        if words[slot] >= 0:
            slot = SECOND_SNAPSHOT
            if words[slot] >= 0:
                raise RuntimeError("two snapshots are held already: release one first")
        arrays = self.arrays
        logs = arrays.logs
        slots = NO_SLOTS
        if words[SLOT_COUNT]:  # slots are overwritten in place: a few kilobytes
            slots = Slots(arrays.slots.messages.copy(), arrays.slots.info.copy())
        frozen = BookSnapshot(arrays.book, words, words.tobytes(), arrays.rows, logs, slots)
        self._taken = self._taken[1], ref(frozen)
        words[slot] = words[PROTECTED] = epoch = words[EPOCH]
        words[EPOCH] = epoch + 1
        return frozen

    def get_checkpoint_state(self) -> EngineState:
        """Returns everything that later output depends on, as plain arrays and numbers.

        It holds a snapshot while it gathers the state; a worker that must not pause takes its own `snapshot`. Raises RuntimeError
        if two snapshots are held already.
        """
        frozen = self.snapshot()
        try:
            return frozen.get_checkpoint_state()
        finally:
            frozen.release()

    @classmethod
    def restore(cls, settings: EngineSettings, checkpoint: EngineState) -> OrderBookEngine:
        """Returns an engine that goes on exactly where `checkpoint` was taken.

        `settings` must be those of the checkpointed engine, except for `max_book_bytes`. Raises BookMemoryError if the book does
        not fit into that.
        """
        engine = cls(settings)
        arrays = engine.arrays
        fill_state(checkpoint, arrays.state)
        engine.arrays = arrays._replace(
            rows=to_rows(checkpoint, settings.book_levels), logs=to_logs(checkpoint), slots=to_slots(checkpoint)
        )
        fill(arrays.seen.trades, engine.arrays.logs.trades)
        fill(arrays.seen.recent, engine.arrays.logs.recent)
        engine._measure_room()
        sides = (
            (ladder.BID, checkpoint.bid_prices, checkpoint.bid_sizes),
            (ladder.ASK, checkpoint.ask_prices, checkpoint.ask_sizes),
        )
        for side_number, prices, sizes in sides:
            if ladder.fill_side(as_records(arrays.book), side_number, prices, sizes) != ladder.OK:
                raise BookMemoryError(f"the checkpoint's book does not fit into max_book_bytes = {settings.max_book_bytes}")
        return engine
