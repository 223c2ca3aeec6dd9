"""A second implementation of docs/rules.md, as naive as can be: dictionaries, whole numbers, the standard library's json.

Nothing of cowbook is imported here. It is slow, and there is nothing in it that could be clever. `oracle_records` says what
records mean, `oracle_book` what is known of a book, `oracle_rows` which rows are written; here is what messages do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from support.oracle_book import SIDES, WHOLE, best_first, bounds, compare, set_levels, text, wider
from support.oracle_records import FUTURES, OPTIONAL_STREAMS, RPI, SPOT, STREAMS, Bad, Message, OracleSettings, decode
from support.oracle_rows import Cut, OracleRows, Row

__all__ = ["OPTIONAL_STREAMS", "STREAMS", "Cut", "Oracle", "OracleHalt", "OracleResult", "OracleSettings", "Row", "run"]

KEPT_DIFFS = 16_384
WAITING_TICKERS = 16_384
RECENT_TRADES = 65_536
WAITING_SNAPSHOTS = 16
EXPIRY = 1000  # applied diffs that a witness waits for; unused diffs of another speed, or stale ones, that are a gap

Gap = tuple[int, int, int | None]
"""Expected id, received id, number of missing ones."""


class OracleHalt(Exception):  # noqa: N818
    """A gap with on_gap = halt."""


@dataclass
class OracleResult:
    """All that came out."""

    cuts: list[Cut]
    counts: dict[str, int]
    synced: bool

    @property
    def rows(self) -> dict[str, list[Row]]:
        """All rows of each stream."""
        return {stream: [row for cut in self.cuts for row in cut.rows[stream]] for stream in STREAMS}


def run(files: Sequence[tuple[str, bytes | Sequence[bytes]]], settings: OracleSettings) -> OracleResult:
    """Go through the files, each (name, decoded content). Raises OracleHalt at a gap with on_gap = halt.

    The content of a damaged file is a sequence: between each two pieces something is lost. Where the file ends damaged, the last
    piece is empty.
    """
    oracle = Oracle(settings)
    for name, content in files:
        pieces = [content] if isinstance(content, bytes) else content
        start = 0
        for number, piece in enumerate(pieces):
            *lines, rest = piece.split(b"\n")
            offset = start
            for line in [*lines, rest] if number == len(pieces) - 1 else lines:
                record = line.removesuffix(b"\r")
                content_of_record = record.removeprefix(b"\xef\xbb\xbf") if offset == 0 else record
                if offset < start + len(piece):
                    oracle.record(name, offset, record, content_of_record)
                offset += len(line) + 1
            if number < len(pieces) - 1:
                oracle.damage(name, offset, rest)
            start += len(piece) + 1
    oracle.end()
    return OracleResult(oracle.cuts, oracle.counts, oracle.synced)


def usual_gap(diff: Message, last: int) -> Gap:
    """Expected and received id of a diff behind `last`, and how many are missing."""
    if diff.prev_id is None:
        return last + 1, diff.first_id, diff.first_id - last - 1
    return last, diff.prev_id, diff.prev_id - last if diff.prev_id >= last else None


def judge(diff: Message, last: int | None, first: bool) -> str:
    """Verdict on a diff behind `last`, which was a depth snapshot's id if `first`."""
    if last is None:
        return "apply"
    if diff.prev_id is None:
        if diff.id <= last:
            return "stale"
        return "apply" if diff.first_id <= last + 1 else "gap"
    if diff.id < last or (diff.id == last and not first):
        return "stale"
    if diff.prev_id == last or (first and diff.first_id <= last <= diff.id):
        return "apply"
    return "gap"


def chain(snapshot_id: int, diffs: list[Message], end: int) -> list[Message] | None:
    """The diffs newer than a snapshot, if they join it without a hole and end at an id."""
    newer = [diff for diff in diffs if diff.id > snapshot_id]
    last, first = snapshot_id, True
    for diff in newer:
        if judge(diff, last, first) != "apply":
            return None
        last, first = diff.id, False
    return newer if last == end else None


def keep(diffs: list[Message], diff: Message) -> None:
    """Add a diff to the most recent ones, each once, in the order of ids."""
    if not diffs or diff.id > diffs[-1].id:
        diffs.append(diff)
        del diffs[:-KEPT_DIFFS]


class Oracle(OracleRows):
    """One symbol."""

    def __init__(self, settings: OracleSettings) -> None:
        super().__init__(settings)
        self.first = False
        self.kept: list[Message] = []
        self.tickers: list[Message] = []
        self.trades: dict[tuple[bool, int], None] = {}  # the recent ones, in order
        self.last_diff: tuple[int, int] | None = None  # id and event time of the last applied diff
        self.waiting: Message | None = None  # the witness that waits
        self.waited = 0  # applied diffs since it began to
        self.untimed: list[Message] = []  # snapshots before anything has a time
        self.others = False  # a labelled record of another symbol was read
        self.queue: list[Message] = []  # snapshots that wait for a diff to show whose they are
        self.unproved: Message | None = None  # an unlabelled snapshot that replaced the book, and that no diff has joined
        self.stands: Message | None = None  # the snapshot that replaced the book, while no diff was applied behind it
        self.stale_in_row = 0  # diffs that were stale against it
        self.held: Message | None = None  # a diff with which ids may have begun anew
        self.remembered: Message | None = None  # the newest snapshot that was stale since the last applied diff
        speeds = ("", "depth", "depth@100ms", "depth@500ms", "depth@250ms")
        self.only_speed = speeds.index(settings.channel) if settings.channel in speeds else 0
        self.market = {"spot": SPOT, "futures": FUTURES, "rpi": RPI}.get(settings.channel, 0)
        self.markets: set[int] = set()  # of which diffs were seen
        self.speed = 0
        self.apart: dict[int, list[Message]] = {}  # unused diffs of other speeds
        self.apart_speed = 0  # of the last unused diff
        self.unused_in_row = 0

    # --- records

    def record(self, file: str, offset: int, record: bytes, content: bytes) -> None:
        """Take one record."""
        try:
            # The mark at the front is part of the length that counts, but not of the content.
            if len(record) > self.settings.max_line_bytes:
                raise Bad("overlong")
            message = decode(content, self.settings)
        except Bad as bad:
            reason = str(bad)
            self.count(f"dead_letters.{reason}")
            row: Row = {"event_index": self.next, "file": file, "offset": offset, "length": len(record)}
            self.open["dead_letter"].append(row | {"reason": reason, "content": record[:4096]})
            self.bound_open_rows()
            return
        if isinstance(message, str):
            if message != "blank":
                self.count(message)
            self.others |= message == "other_symbol"
        elif not self.is_of_the_books_market(message):
            self.count("unused")
        elif message.kind == "ticker":
            self.ticker(message)
        elif message.kind == "snapshot" and self.others and not message.labelled:
            self.wait_for_a_diff(message)
        elif not self.untimed or self.end_untimed(message):
            self.take(message)

    def damage(self, file: str, offset: int, unfinished: bytes) -> None:
        """A damaged place behind a record without its line feed, which counts if it is whole all the same."""
        try:
            if len(unfinished) > self.settings.max_line_bytes:
                raise Bad("overlong")
            decode(unfinished.removesuffix(b"\r"), self.settings)
        except Bad:
            pass
        else:
            self.record(file, offset, unfinished.removesuffix(b"\r"), unfinished.removesuffix(b"\r"))
            offset, unfinished = offset + len(unfinished), b""
        self.count("dead_letters.damaged")
        row: Row = {"event_index": self.next, "file": file, "offset": offset, "length": len(unfinished)}
        self.open["dead_letter"].append(row | {"reason": "damaged", "content": unfinished[:4096]})
        if self.last_time is not None:
            self.gap_row(self.last_time, None, None, None)
        self.end_sync()
        self.settle()

    def take(self, message: Message) -> None:
        """A trade, diff or snapshot, once everything has a time."""
        if message.kind == "trade":
            self.trade(message)
        elif message.kind == "diff":
            self.diff(message)
        elif self.time_of(message) is None:
            self.untimed.append(message)
        else:
            self.snapshot(message)

    def time_of(self, message: Message) -> int | None:
        """Event time of a message; of a snapshot, what stands for it."""
        if message.ts is None and message.kind == "snapshot":
            return message.ts_recv if message.ts_recv is not None else self.last_time
        return message.ts

    def is_of_the_books_market(self, message: Message) -> bool:
        """The book's market is that of the first diff, or the setting's; what is of another one is unused."""
        if message.kind == "diff":
            if self.only_speed and message.speed not in (0, self.only_speed):
                return False
            if message.market != RPI:
                self.markets.add(message.market)
                self.market = self.market or message.market
            return message.market == self.market
        market = FUTURES if self.market == RPI else self.market
        return len(self.markets) < 2 or message.market in (0, market)

    # --- snapshots before anything has a time

    def end_untimed(self, message: Message) -> bool:
        """Whether a message goes on behind the untimed snapshots, which take its time if it does."""
        first = self.untimed[0]
        if message.kind == "snapshot" and self.time_of(message) is None:
            self.untimed.append(message)
            if len(self.untimed) > WAITING_SNAPSHOTS:
                self.stale_snapshot(self.untimed.pop(1))
            return False
        if message.kind == "diff":
            verdict = judge(message, first.id, True)
            if verdict == "gap" and self.settings.on_gap == "halt":
                raise OracleHalt
            if verdict == "stale" and (first.labelled or not self.others) and self.stale_in_row + 1 < EXPIRY:
                self.count("stale")
                self.stale_in_row += 1
                keep(self.kept, message)
                return False
        snapshots, self.untimed = self.untimed, []
        # Until the first of them is accepted, this stands for the last accepted message's time.
        self.last_time = self.time_of(message)
        for snapshot in snapshots:
            self.snapshot(snapshot)
        return True

    # --- trades

    def trade(self, message: Message) -> None:
        """A trade; one whose id is among the recent ones is a duplicate."""
        key = (message.is_aggregate, message.id)
        if key in self.trades:
            self.count("duplicate_trades")
            return
        self.trades[key] = None
        if len(self.trades) > RECENT_TRADES:
            del self.trades[next(iter(self.trades))]
        assert message.ts is not None
        self.enter(message.ts)
        ((price, size),) = message.bids
        row: Row = {"event_index": self.next, "ts_event": message.ts, "ts_recv": message.ts_recv}
        row |= {"trade_id": message.id, "side": message.side}
        self.emit("trades", row | {"price": price, "size": size, "is_aggregate": message.is_aggregate})
        self.features.trade(message.side, size)
        self.next += 1
        self.leave(self.next - 1)

    # --- diffs

    def diff(self, message: Message) -> None:
        """A diff of the book's market."""
        if self.held is not None:
            held, self.held = self.held, None
            if judge(message, held.id, False) == "apply" and self.may_begin_anew(message):
                self.begin_anew(held, message)
                return
            self.stale(held)
        verdict = judge(message, self.last, self.first)
        if verdict == "stale":
            self.stale_diff(message)
        elif verdict == "apply":
            self.apply(message)
            self.after_diff(message)
        elif self.is_of_another_speed(message) and not self.first:
            self.other_speed(message)
        else:
            assert self.last is not None
            self.apply(message, usual_gap(message, self.last))
            self.after_diff(message)

    def stale_diff(self, message: Message) -> None:
        """A diff whose ids are behind the book's."""
        snapshot = self.unproved if self.others else None
        if self.stale_in_row + 1 >= EXPIRY:
            snapshot = self.stands
        if snapshot is not None:
            assert self.last is not None
            self.apply(message, (*usual_gap(message, self.last)[:2], None))
            self.wait_for_a_diff(snapshot)
            self.after_diff(message)
        elif self.may_begin_anew(message):
            self.held = message
        else:
            self.stale(message)

    def stale(self, message: Message) -> None:
        """A diff that is skipped; kept all the same."""
        self.count("stale")
        self.stale_in_row += 1
        keep(self.kept, message)
        self.settle()

    def apply(self, message: Message, gap: Gap | None = None) -> None:
        """Apply a diff, behind a gap or not."""
        if gap is not None and self.settings.on_gap == "halt":
            raise OracleHalt
        assert message.ts is not None
        self.enter(message.ts)
        if gap is not None:
            self.gap_row(message.ts, *gap)
        before = self.next
        set_levels(self.book, message)
        levels = [(side, price, size, "change") for _number, side, price, size in message.levels()]
        rows = self.depth_rows(message.ts, message.ts_recv, message.id, levels)
        self.last, self.first = message.id, False
        keep(self.kept, message)
        self.last_diff = (message.id, message.ts)
        self.speed = message.speed or self.speed
        self.unused_in_row = 0
        self.remembered = self.unproved = self.stands = None
        self.finish_depth(message, message.ts, rows)
        self.leave(before)

    def after_diff(self, diff: Message) -> None:
        """What an applied diff makes due, behind it: the witness that waits, then snapshots that wait to be proved."""
        waiting = self.waiting
        self.settle()
        if self.waiting is not None and self.waiting is waiting:
            self.waited += 1
            if self.waited >= EXPIRY:
                self.stale_snapshot(self.waiting)
                self.waiting = None
        reached = [snapshot for snapshot in self.queue if snapshot.id <= diff.id]
        self.queue = [snapshot for snapshot in self.queue if snapshot.id > diff.id]
        for snapshot in reached:
            if snapshot.id == diff.id or chain(snapshot.id, self.kept, diff.id) is not None:
                self.snapshot(snapshot, proved=True)
            else:
                self.count("foreign_snapshots")

    # --- ids that begin anew

    def may_begin_anew(self, diff: Message) -> bool:
        """Stale against the last applied diff by id, and later than it."""
        assert diff.ts is not None
        return self.last_diff is not None and diff.id <= self.last_diff[0] and diff.ts > self.last_diff[1]

    def begin_anew(self, first: Message, second: Message) -> None:
        """A gap of unknown size; both are applied."""
        assert self.last is not None
        expected, received, _missing = usual_gap(first, self.last)
        if self.settings.on_gap == "halt":
            raise OracleHalt
        self.kept, self.apart = [], {}
        self.count("audits.bookTicker.not_comparable", len(self.tickers))
        self.tickers = []
        if self.waiting is not None:
            self.count("stale_snapshots")
            self.waiting = None
        snapshot = self.remembered
        self.apply(first, (expected, received, None))
        self.apply(second)
        if snapshot is not None:
            self.wait_for_a_diff(snapshot)
        self.after_diff(second)

    # --- speeds

    def is_of_another_speed(self, diff: Message) -> bool:
        """Both speeds must be told."""
        return diff.speed not in (0, self.speed) and self.speed != 0

    def other_speed(self, diff: Message) -> None:
        """A diff of another speed that would be a gap."""
        assert self.last is not None
        witness = self.waiting
        if witness is not None and self.unused_in_row > 0 and judge(diff, witness.id, True) == "apply":
            self.waiting = None
            self.begin_with_speed(diff.speed)
            self.replace(witness, [])
            self.apply(diff)
            self.after_diff(diff)
            return
        self.unused_in_row += 1
        if self.unused_in_row == EXPIRY:
            self.begin_with_speed(diff.speed)
            self.apply(diff, (*usual_gap(diff, self.last)[:2], None))
            self.after_diff(diff)
            return
        self.count("unused")
        self.apart_speed = diff.speed
        keep(self.apart.setdefault(diff.speed, []), diff)

    def begin_with_speed(self, speed: int) -> None:
        """The diffs of this speed that were kept apart are the kept ones; all others are forgotten."""
        self.speed = speed
        self.kept, self.apart = self.apart.get(speed, []), {}
        self.unused_in_row = 0

    def take_over(self, snapshot: Message) -> list[Message] | None:
        """The diffs of another speed that a snapshot joins, if it takes over with them."""
        assert self.last is not None
        if self.unused_in_row < 2:
            return None
        diffs = self.apart[self.apart_speed]
        return chain(snapshot.id, diffs, diffs[-1].id) if diffs[-1].id > self.last else None

    # --- snapshots

    def wait_for_a_diff(self, snapshot: Message) -> None:
        """A snapshot of which nothing shows whose it is waits for a diff that joins it."""
        self.queue = [*self.queue, snapshot][-WAITING_SNAPSHOTS:]

    def stale_snapshot(self, snapshot: Message) -> None:
        """A snapshot that came too late, or that nothing joins."""
        self.count("stale_snapshots")
        self.remembered = snapshot

    def snapshot(self, message: Message, *, proved: bool = False) -> None:
        """A depth snapshot: a witness of a synced book, else a book."""
        if self.last is None:
            self.replace(message, [], proved=proved)
            self.settle()
            return
        again = chain(message.id, self.kept, self.last)
        others = self.take_over(message) if again is None else None
        if again is not None:
            if self.synced:
                self.witness(message, again)
            else:
                self.replace(message, again, proved=proved)
        elif others is not None:
            self.begin_with_speed(self.apart_speed)
            self.replace(message, others, proved=True)
        elif self.synced and (message.id > self.last or not self.kept or self.kept[-1].id < self.last):
            self.wait(message)
        elif not self.synced and message.id >= self.last:
            self.replace(message, [], proved=proved)
        else:
            self.stale_snapshot(message)
        self.settle()

    def wait(self, message: Message) -> None:
        """One witness waits: of two the one with more levels, of equally many the newer."""
        if self.waiting is not None:
            self.count("replaced_witnesses")
            if len(self.waiting.levels()) > len(message.levels()):
                return
        self.waiting, self.waited = message, 0

    def settle(self) -> None:
        """Use the witness that waits, if it is due or sync has ended."""
        witness = self.waiting
        if witness is None:
            return
        assert self.last is not None
        if not self.synced:
            self.waiting = None
            self.snapshot(witness)
            return
        reaches = witness.id == self.last or (self.kept and self.kept[-1].id >= self.last)
        if witness.id > self.last or not reaches:
            return
        self.waiting = None
        again = chain(witness.id, self.kept, self.last)
        if again is None:
            self.stale_snapshot(witness)
        else:
            self.witness(witness, again)

    def replace(self, message: Message, again: list[Message], *, proved: bool = False) -> None:
        """A snapshot becomes the book, with diffs applied again."""
        ts = self.time_of(message)
        assert ts is not None
        self.enter(ts)
        before, was = self.next, self.book
        same_moment = not self.synced and self.last == (again[-1].id if again else message.id)
        self.book = ({}, {})
        for each in [message, *again]:
            set_levels(self.book, each)
            self.last = each.id
        self.first = not again
        self.synced, self.known = True, bounds(message)
        self.unproved = None if proved or again or message.labelled else message
        self.stands = None if again else message
        self.stale_in_row = 0
        levels = [(side, 0, 0, "clear") for side in SIDES]
        for number, side in enumerate(SIDES):
            levels += [(side, price, size, "snapshot") for price, size in best_first(number, self.book[number])]
        rows = self.depth_rows(ts, message.ts_recv, again[-1].id if again else message.id, levels)
        row: Row | None = None
        if same_moment:
            drift = compare(was, self.book, bounds(message), [WHOLE, WHOLE])
            row = {"levels_compared": drift.compared, "levels_missing": drift.missing, "levels_extra": drift.extra}
            row |= {"levels_differing": drift.differing, "size_error": drift.error, "levels_learned": 0}
        self.finish_depth(message, ts, rows, drift=row, was_synced=False)
        self.leave(before)

    def witness(self, message: Message, again: list[Message]) -> None:
        """A snapshot with the later diffs applied is what the book must be, as far as the snapshot goes."""
        ts = self.time_of(message)
        assert ts is not None
        assert self.last is not None
        self.enter(ts)
        before = self.next
        right: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for each in [message, *again]:
            set_levels(right, each)
        reach = bounds(message)
        found = compare(self.book, right, reach, self.known)
        levels = []
        for number, price, _old, new in found.levels:
            self.book[number][price] = new
            if not new:
                del self.book[number][price]
            levels.append((SIDES[number], price, new, "learned"))
        rows = self.depth_rows(ts, message.ts_recv, self.last, levels)
        self.depth_time = ts
        self.count("audits.snapshot." + ("failed" if found.first_blamed else "matched"))
        if found.first_blamed is None:
            self.known = [wider(number, self.known[number], reach[number]) for number in (0, 1)]
        else:
            number, price, old, new = found.first_blamed
            self.audit_row("snapshot", f"{SIDES[number]} {self.pair(price, new)}", f"{SIDES[number]} {self.pair(price, old)}")
        row: Row = {"levels_compared": found.compared, "levels_missing": found.missing, "levels_extra": found.extra}
        row |= {"levels_differing": found.differing, "size_error": found.error, "levels_learned": found.learned}
        self.finish_depth(message, ts, rows, drift=row, was_synced=True)
        self.leave(before)

    def finish_depth(
        self, message: Message, ts: int, rows: list[Row], *, drift: Row | None = None, was_synced: bool = False
    ) -> None:
        """After a depth message's levels: tickers, the stamp `synced` on its rows, drift, bbo."""
        self.depth_time = ts
        self.audit_waiting()
        for row in rows:
            self.emit("depth", row | {"synced": self.synced})
        if drift is not None:
            self.count("drift_rows")
            place: Row = {"event_index": self.next, "ts_event": ts, "update_id": message.id, "was_synced": was_synced}
            self.emit("drift", place | drift)
        self.bbo_row(ts, message.ts_recv)

    # --- audits

    def ticker(self, message: Message) -> None:
        """A bookTicker."""
        if self.last is not None and message.id < self.last:
            self.count("audits.bookTicker.not_comparable")
        elif message.id == self.last:
            self.compare_ticker(message)
            self.bound_open_rows()
            self.settle()
        else:
            self.tickers.append(message)
            if len(self.tickers) > WAITING_TICKERS:
                del self.tickers[0]
                self.count("audits.bookTicker.not_comparable")

    def audit_waiting(self) -> None:
        """After a depth message: the tickers that waited for its id."""
        assert self.last is not None
        tickers, self.tickers = self.tickers, []
        for ticker in tickers:
            if ticker.id > self.last:
                self.tickers.append(ticker)
            elif ticker.id == self.last:
                self.compare_ticker(ticker)
            else:
                self.count("audits.bookTicker.not_comparable")

    def compare_ticker(self, ticker: Message) -> None:
        """Hold a ticker against the book."""
        found = [side or (0, 0) for side in self.best()]
        expected = [(price, size) if size else (0, 0) for ((price, size),) in (ticker.bids, ticker.asks)]
        outcome = ("matched" if found == expected else "failed") + ("" if self.synced else "_unsynced")
        self.count(f"audits.bookTicker.{outcome}")
        if outcome == "failed":
            quotes = [" / ".join(self.pair(*side) for side in sides) for sides in (expected, found)]
            self.audit_row("bookTicker", quotes[0], quotes[1])

    def audit_row(self, kind: str, expected: str, found: str) -> None:
        """An audit that failed; it ends sync."""
        self.end_sync()
        row: Row = {"event_index": self.next, "ts_event": self.depth_time, "update_id": self.last, "kind": kind}
        self.emit("audits", row | {"expected": expected, "found": found})

    def pair(self, price: int, size: int) -> str:
        """Price and size with their decimals written out."""
        return f"{text(price, self.settings.price_decimals)} x {text(size, self.settings.size_decimals)}"
