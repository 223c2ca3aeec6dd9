"""A second implementation of docs/rules.md, as naive as can be: dictionaries, whole numbers, the standard library's json.

Nothing of cowbook is imported here. It is slow, and there is nothing in it that could be clever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

OPTIONAL_STREAMS = ("depth", "trades", "bbo", "book")
STREAMS = (*OPTIONAL_STREAMS, "gaps", "drift", "audits", "dead_letter")
WAITING_LIMIT = 16_384

Row = dict[str, Any]
Levels = list[tuple[int, int]]
Book = tuple[dict[int, int], dict[int, int]]


@dataclass(frozen=True)
class OracleSettings:
    """The settings that decide rows; intervals in ns."""

    name: str = "BTCUSDT"
    price_decimals: int = 8
    size_decimals: int = 8
    on_gap: str = "continue"
    max_line_bytes: int = 16_777_216
    streams: tuple[str, ...] = OPTIONAL_STREAMS
    book_levels: int = 20
    book_interval_ns: int = 10**9
    part_events: int = 1_000_000
    part_interval_ns: int = 3600 * 10**9


@dataclass
class Cut:
    """The rows of a part in every stream."""

    first: int
    last: int
    date: str
    rows: dict[str, list[Row]]


@dataclass
class Message:
    """What a record says, as far as it matters."""

    kind: str  # diff, snapshot, trade, ticker
    id: int
    ts: int | None = None
    ts_recv: int | None = None
    first_id: int = 0
    prev_id: int | None = None
    bids: Levels = field(default_factory=list)
    asks: Levels = field(default_factory=list)
    side: str = ""
    is_aggregate: bool = False

    def levels(self) -> list[tuple[int, str, int, int]]:
        """(side number, side, price, size), bids first."""
        bids = [(0, "bid", price, size) for price, size in self.bids]
        return bids + [(1, "ask", price, size) for price, size in self.asks]


class OracleHalt(Exception):  # noqa: N818
    """A gap with on_gap = halt."""


class _Bad(Exception):  # noqa: N818
    """A record is a dead letter; the argument is the reason."""


# --- records -----------------------------------------------------------------------------------------------------


def _no_constant(_name: str) -> None:
    raise ValueError


class _Float(str):
    """A JSON number that is not an integer in its text."""

    __slots__ = ()


class _Integer(str):
    """A JSON integer, as text."""

    __slots__ = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


def _parse_json(text: str) -> Any:
    depth = deepest = 0
    inside = escaped = False
    for character in text:
        if inside:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                inside = False
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    if deepest > 100:
        raise _Bad("malformed")
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_Float, parse_int=_Integer, object_pairs_hook=_pairs)
        json.dumps(value, ensure_ascii=False).encode()  # an escaped lone surrogate is no text
    except (ValueError, RecursionError):
        raise _Bad("malformed") from None
    return value


def _time(value: int) -> int:
    for limit, factor in ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3)):
        if value < limit:
            value *= factor
            break
    if value >= 2**63:
        raise _Bad("out_of_range")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, _Integer) or value.startswith("-"):
        raise _Bad("malformed")
    # More digits than this are out of any range.
    return int(value) if len(value) < 100 else 10**99


def _identifier(value: int) -> int:
    if value >= 10**18:
        raise _Bad("out_of_range")
    return value


def _numeral(text: Any) -> str:
    if not isinstance(text, str) or isinstance(text, (_Float, _Integer)) or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise _Bad("malformed")
    return text


def _fixed(text: str, decimals: int) -> int:
    value = Fraction(text) * 10**decimals
    if value.denominator != 1 or value >= 10**18:
        raise _Bad("out_of_range")
    return int(value)


def _text_levels(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise _Bad("malformed")
    levels = []
    for level in value:
        if not isinstance(level, list) or len(level) < 2:
            raise _Bad("malformed")
        levels.append((_numeral(level[0]), _numeral(level[1])))
    return levels


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, (_Float, _Integer))


def decode(record: bytes, settings: OracleSettings) -> Message | str:
    """A message, or "blank", "unused", "other_symbol". Raises _Bad with the reason of a dead letter."""
    if len(record) > settings.max_line_bytes:
        raise _Bad("overlong")
    if not record.strip(b" \t"):
        return "blank"
    try:
        text = record.decode()
    except UnicodeDecodeError:
        raise _Bad("not_utf8") from None
    prefix = re.match(r"([0-9]+)(?:\.([0-9]+))?:? (?=[^ \t\r\n])", text, re.ASCII)
    value = _parse_json(text[prefix.end() :] if prefix else text)
    if not isinstance(value, dict):
        raise _Bad("unknown")
    stream = ""
    if "data" in value and _is_text(value.get("stream")):
        stream = value["stream"]
        value = value["data"]
        if not isinstance(value, dict):
            raise _Bad("unknown")
    kind = _kind(value, stream)
    if kind == "unused":
        return kind
    symbol = value.get("symbol" if kind == "snapshot" else "s")
    if symbol is not None or ("symbol" if kind == "snapshot" else "s") in value:
        if not _is_text(symbol):
            raise _Bad("malformed")
    elif "@" in stream:
        symbol = stream.partition("@")[0].upper()
    if symbol is not None and symbol != settings.name:
        return "other_symbol"
    message = _build(kind, value, settings)
    if prefix:
        whole, fraction = int(prefix[1]), prefix[2]
        if fraction is None:
            message.ts_recv = _time(whole)
        else:
            if whole >= 10**11:
                raise _Bad("out_of_range")
            message.ts_recv = _time(whole) + int(fraction[:9].ljust(9, "0"))
            if message.ts_recv >= 2**63:
                raise _Bad("out_of_range")
    return message


def _kind(value: dict[str, Any], stream: str) -> str:
    if "e" in value:
        if not _is_text(value["e"]):
            raise _Bad("malformed")
        kinds = {"depthUpdate": "diff", "trade": "trade", "aggTrade": "aggTrade", "bookTicker": "ticker"}
        kind = kinds.get(value["e"], "unused")
        return "unused" if kind == "diff" and _is_partial(stream) else kind
    if all(key in value for key in ("u", "b", "B", "a", "A")):
        return "ticker"
    if "lastUpdateId" in value:
        return "unused" if _is_partial(stream) else "snapshot"
    if "result" in value or "error" in value:
        return "unused"
    raise _Bad("unknown")


def _is_partial(stream: str) -> bool:
    return any(f"@depth{depth}" in stream for depth in (5, 10, 20))


def _need(value: dict[str, Any], key: str) -> Any:
    if key not in value:
        raise _Bad("malformed")
    return value[key]


def _build(kind: str, value: dict[str, Any], settings: OracleSettings) -> Message:
    # First the grammar of all that is needed, then whether it fits.
    times = {}
    if kind != "ticker":
        for key in ("E", "T"):
            if key in value or (key == "E" and kind != "snapshot"):
                times[key] = _whole(_need(value, key))
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    first = 0
    prev: int | None = None
    maker = False
    if kind == "diff":
        first, last = _whole(_need(value, "U")), _whole(_need(value, "u"))
        if "pu" in value:
            prev = _whole(value["pu"])
        bids, asks = _text_levels(_need(value, "b")), _text_levels(_need(value, "a"))
    elif kind == "snapshot":
        last = _whole(_need(value, "lastUpdateId"))
        bids, asks = _text_levels(_need(value, "bids")), _text_levels(_need(value, "asks"))
    elif kind == "ticker":
        last = _whole(_need(value, "u"))
        bids = [(_numeral(_need(value, "b")), _numeral(_need(value, "B")))]
        asks = [(_numeral(_need(value, "a")), _numeral(_need(value, "A")))]
    else:
        last = _whole(_need(value, "t" if kind == "trade" else "a"))
        bids = [(_numeral(_need(value, "p")), _numeral(_need(value, "q")))]
        maker = _need(value, "m")
        if not isinstance(maker, bool):
            raise _Bad("malformed")
    fitted = {key: _time(time) for key, time in times.items()}

    def fit(levels: list[tuple[str, str]]) -> Levels:
        return [(_fixed(price, settings.price_decimals), _fixed(size, settings.size_decimals)) for price, size in levels]

    return Message(
        kind="trade" if kind == "aggTrade" else kind,
        id=_identifier(last),
        ts=fitted.get("T", fitted.get("E")),
        first_id=_identifier(first),
        prev_id=None if prev is None else _identifier(prev),
        bids=fit(bids),
        asks=fit(asks),
        side="sell" if maker else "buy",
        is_aggregate=kind == "aggTrade",
    )


# --- the book ----------------------------------------------------------------------------------------------------


@dataclass
class OracleResult:
    """All that came out."""

    cuts: list[Cut]
    counts: dict[str, int]

    @property
    def rows(self) -> dict[str, list[Row]]:
        """All rows of each stream."""
        return {stream: [row for cut in self.cuts for row in cut.rows[stream]] for stream in STREAMS}


def run(files: Sequence[tuple[str, bytes]], settings: OracleSettings) -> OracleResult:
    """Go through the files, each (name, decoded content). Raises OracleHalt at a gap with on_gap = halt."""
    oracle = Oracle(settings)
    for name, content in files:
        offset = 0
        for line in content.split(b"\n"):
            record = line.removesuffix(b"\r")
            content_of_record = record.removeprefix(b"\xef\xbb\xbf") if offset == 0 else record
            if offset < len(content):
                oracle.record(name, offset, record, content_of_record)
            offset += len(line) + 1
    oracle.end()
    return OracleResult(oracle.cuts, oracle.counts)


class Oracle:
    """One symbol."""

    def __init__(self, settings: OracleSettings) -> None:
        self.settings = settings
        self.book: Book = ({}, {})
        self.last: int | None = None
        self.first = False
        self.synced = False
        self.next = 0
        self.newest: int | None = None
        self.last_time: int | None = None
        self.depth_time: int | None = None
        self.cut_first = 0
        self.grid_due = False
        self.last_bbo: tuple[Any, ...] | None = None
        self.buffer: list[Message] = []
        self.tickers: list[Message] = []
        self.waiting: Message | None = None
        self.open: dict[str, list[Row]] = {stream: [] for stream in STREAMS}
        self.cuts: list[Cut] = []
        self.counts: dict[str, int] = {}

    def count(self, name: str, number: int = 1) -> None:
        """Count something."""
        self.counts[name] = self.counts.get(name, 0) + number

    def record(self, file: str, offset: int, record: bytes, content: bytes) -> None:
        """Take one record."""
        try:
            # The mark at the front is part of the length that counts, but not of the content.
            if len(record) > self.settings.max_line_bytes:
                raise _Bad("overlong")
            message = decode(content, self.settings)
        except _Bad as bad:
            reason = str(bad)
            self.count(f"dead_letters.{reason}")
            row: Row = {"event_index": self.next, "file": file, "offset": offset, "length": len(record)}
            self.open["dead_letter"].append(row | {"reason": reason, "content": record[:4096]})
            return
        if isinstance(message, str):
            if message != "blank":
                self.count(message)
            return
        if message.kind == "ticker":
            self.ticker(message)
            return
        if self.waiting is not None:
            if self.would_follow(message):
                snapshot, self.waiting = self.waiting, None
                snapshot.ts = self.time_of(message)
                self.snapshot(snapshot)
            else:
                self.meet_waiting(message)
                return
        if message.kind == "trade":
            self.trade(message)
        elif message.kind == "diff":
            self.diff(message)
        else:
            message.ts = self.time_of(message)
            if message.ts is None:
                self.waiting = message
            else:
                self.snapshot(message)

    def time_of(self, message: Message) -> int | None:
        """Event time of a message; of a snapshot, what stands for it."""
        if message.ts is None and message.kind == "snapshot":
            return message.ts_recv if message.ts_recv is not None else self.last_time
        return message.ts

    def judge(self, message: Message, last: int | None, first: bool) -> tuple[str, int, int]:
        """Verdict, expected and received id of a diff."""
        if last is None:
            return "apply", 0, 0
        if message.prev_id is None:
            if message.id <= last:
                return "stale", 0, 0
            if message.first_id <= last + 1:
                return "apply", 0, 0
            return "gap", last + 1, message.first_id
        if message.id < last or (message.id == last and not first):
            return "stale", 0, 0
        if message.prev_id == last or (first and message.first_id <= last <= message.id):
            return "apply", 0, 0
        return "gap", last, message.prev_id

    def would_follow(self, message: Message) -> bool:
        """Whether a message would be accepted after the snapshot that waits."""
        assert self.waiting is not None
        if message.kind == "trade":
            return True
        if message.kind == "snapshot":
            return self.time_of(message) is not None and message.id >= self.waiting.id
        verdict = self.judge(message, self.waiting.id, True)[0]
        return verdict == "apply" or (verdict == "gap" and self.settings.on_gap != "halt")

    def meet_waiting(self, message: Message) -> None:
        """A message that would not be accepted after the snapshot that waits."""
        assert self.waiting is not None
        if message.kind == "diff":
            if self.judge(message, self.waiting.id, True)[0] == "gap":
                raise OracleHalt
            self.count("stale")
            return
        self.count("stale_snapshots")
        if self.time_of(message) is None and message.id >= self.waiting.id:
            self.waiting = message

    def enter(self, ts: int) -> None:
        """What comes before a message's own rows: grid row and time cut."""
        interval = self.settings.book_interval_ns
        if self.grid_due and self.newest is not None and self.next > 0:
            grid = -(-self.newest // interval) * interval
            if ts > grid:
                self.grid_due = False
                self.emit("book", self.grid_row(grid))
        part = self.settings.part_interval_ns
        if self.newest is not None and ts // part > self.newest // part and self.next > self.cut_first:
            self.cut()

    def grid_row(self, grid: int) -> Row:
        """The book at a grid point."""
        row: Row = {"event_index": self.next - 1, "ts": grid, "update_id": self.last, "synced": self.synced}
        sides = [sorted(self.book[0].items(), reverse=True), sorted(self.book[1].items())]
        for level in range(self.settings.book_levels):
            for name, side in zip(("bid", "ask"), sides, strict=True):
                price, size = side[level] if level < len(side) else (None, None)
                row[f"{name}_px_{level:02d}"] = price
                row[f"{name}_sz_{level:02d}"] = size
        return row

    def emit(self, stream: str, row: Row) -> None:
        """Add a row to a stream, if it is wanted."""
        if stream not in OPTIONAL_STREAMS or stream in self.settings.streams:
            self.open[stream].append(row)

    def leave(self, before: int) -> None:
        """After a message: the count cut."""
        self.count("messages")
        if self.next // self.settings.part_events > before // self.settings.part_events:
            self.cut()

    def cut(self) -> None:
        """End a part."""
        seconds = 0 if self.newest is None else self.newest // 10**9
        date = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%d")
        self.cuts.append(Cut(self.cut_first, self.next - 1, date, self.open))
        self.open = {stream: [] for stream in STREAMS}
        self.cut_first = self.next

    def end(self) -> None:
        """End of input."""
        if any(self.open.values()):
            self.cut()
        self.count("events", self.next)

    def advance(self, ts: int, events: int) -> None:
        """Number events, move the clock."""
        self.next += events
        self.newest = ts if self.newest is None else max(self.newest, ts)
        self.last_time = ts

    def trade(self, message: Message) -> None:
        """A trade."""
        assert message.ts is not None
        self.enter(message.ts)
        ((price, size),) = message.bids
        row: Row = {"event_index": self.next, "ts_event": message.ts, "ts_recv": message.ts_recv, "trade_id": message.id}
        row |= {"side": message.side, "price": price, "size": size, "is_aggregate": message.is_aggregate}
        self.emit("trades", row)
        self.advance(message.ts, 1)
        self.leave(self.next - 1)

    def set_levels(self, message: Message) -> None:
        """Apply a message's levels."""
        for number, _side, price, size in message.levels():
            if size:
                self.book[number][price] = size
            else:
                self.book[number].pop(price, None)

    def depth_rows(self, message: Message, ts: int, is_snapshot: bool) -> list[Row]:
        """Rows of a depth message; `synced` is filled in later."""
        rows = []
        for place, (_number, side, price, size) in enumerate(message.levels()):
            row = {
                "event_index": self.next + place,
                "ts_event": ts,
                "ts_recv": message.ts_recv,
                "update_id": message.id,
            }
            rows.append(row | {"side": side, "price": price, "size": size, "is_snapshot": is_snapshot})
        return rows

    def diff(self, message: Message) -> None:
        """A diff."""
        verdict, expected, received = self.judge(message, self.last, self.first)
        if verdict == "stale":
            self.count("stale")
            return
        if verdict == "gap" and self.settings.on_gap == "halt":
            raise OracleHalt
        ts = message.ts
        assert ts is not None
        self.enter(ts)
        if verdict == "gap":
            missing = received - expected if received >= expected else None
            row: Row = {"event_index": self.next, "ts_event": ts, "expected_id": expected, "received_id": received}
            self.emit("gaps", row | {"missing": missing})
            self.count("gaps")
            self.count("missing_updates", missing or 0)
            self.synced = False
        before = self.next
        self.set_levels(message)
        rows = self.depth_rows(message, ts, is_snapshot=False)
        self.advance(ts, len(rows))
        self.last, self.first, self.depth_time = message.id, False, ts
        self.audit_waiting()
        if not self.synced:
            self.buffer = [*self.buffer, message][-WAITING_LIMIT:]
        self.finish_depth(message, ts, rows)
        self.leave(before)

    def snapshot(self, message: Message) -> None:
        """A depth snapshot that has its time."""
        again: list[Message] = []
        if self.last is not None and message.id < self.last:
            if not self.synced:
                again = self.joining(message.id)
            if not again:
                self.count("stale_snapshots")
                return
        ts = message.ts
        assert ts is not None
        self.enter(ts)
        before = self.next
        old_book, old_last, was_synced = self.book, self.last, self.synced
        self.book = ({}, {})
        self.set_levels(message)
        self.last, self.first = message.id, True
        for diff in again:
            self.set_levels(diff)
            self.last, self.first = diff.id, False
        self.synced = True
        self.buffer = []
        rows = self.depth_rows(message, ts, is_snapshot=True)
        self.advance(ts, len(rows))
        self.depth_time = ts
        self.audit_waiting()
        if self.last == old_last:
            self.drift(message, ts, old_book, was_synced)
        self.finish_depth(message, ts, rows)
        self.leave(before)

    def joining(self, snapshot_id: int) -> list[Message]:
        """The buffered diffs newer than a snapshot, if they join it without a hole."""
        newer = [diff for diff in self.buffer if diff.id > snapshot_id]
        last, first = snapshot_id, True
        for diff in newer:
            if self.judge(diff, last, first)[0] != "apply":
                return []
            last, first = diff.id, False
        return newer

    def drift(self, message: Message, ts: int, old: Book, was_synced: bool) -> None:
        """Compare the book before a snapshot with the one after it."""
        prices = [price for _number, _side, price, _size in message.levels()]
        compared = missing = extra = differing = error = 0
        for number in (0, 1):
            for price in set(old[number]) | set(self.book[number]):
                if not prices or not min(prices) <= price <= max(prices):
                    continue
                before, after = old[number].get(price), self.book[number].get(price)
                compared += after is not None
                missing += before is None
                extra += after is None
                differing += None not in (before, after) and before != after
                error += abs((after or 0) - (before or 0))
        self.count("drift_rows")
        row: Row = {"event_index": self.next, "ts_event": ts, "update_id": message.id, "was_synced": was_synced}
        row |= {"levels_compared": compared, "levels_missing": missing, "levels_extra": extra}
        self.emit("drift", row | {"levels_differing": differing, "size_error": error})

    def best(self) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """Best bid and best ask."""
        bid = max(self.book[0], default=None)
        ask = min(self.book[1], default=None)
        return (
            None if bid is None else (bid, self.book[0][bid]),
            None if ask is None else (ask, self.book[1][ask]),
        )

    def finish_depth(self, message: Message, ts: int, rows: list[Row]) -> None:
        """After the audits: the message's rows get their `synced`, and the bbo is looked at."""
        self.grid_due = True
        for row in rows:
            self.emit("depth", row | {"synced": self.synced})
        bid, ask = self.best()
        if bid and ask:
            self.count("crossed", bid[0] > ask[0])
            self.count("locked", bid[0] == ask[0])
        if self.next == 0 or "bbo" not in self.settings.streams:
            return
        if self.last_bbo == (bid, ask, self.synced):
            return
        self.last_bbo = (bid, ask, self.synced)
        row = {"event_index": self.next - 1, "ts_event": ts, "ts_recv": message.ts_recv, "update_id": self.last}
        row["bid_price"], row["bid_size"] = bid or (None, None)
        row["ask_price"], row["ask_size"] = ask or (None, None)
        self.emit("bbo", row | {"synced": self.synced})

    def ticker(self, message: Message) -> None:
        """A bookTicker."""
        if self.last is not None and message.id < self.last:
            self.count("audits.bookTicker.not_comparable")
        elif message.id == self.last:
            self.compare(message)
        else:
            self.tickers.append(message)
            if len(self.tickers) > WAITING_LIMIT:
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
                self.compare(ticker)
            else:
                self.count("audits.bookTicker.not_comparable")

    def compare(self, ticker: Message) -> None:
        """Hold a ticker against the book."""
        found = [side or (0, 0) for side in self.best()]
        expected = [(price, size) if size else (0, 0) for ((price, size),) in (ticker.bids, ticker.asks)]
        outcome = ("matched" if found == expected else "failed") + ("" if self.synced else "_unsynced")
        self.count(f"audits.bookTicker.{outcome}")
        if outcome != "failed":
            return
        self.synced = False
        row: Row = {"event_index": self.next, "ts_event": self.depth_time, "update_id": self.last, "kind": "bookTicker"}
        self.emit("audits", row | {"expected": self.quote(expected), "found": self.quote(found)})

    def quote(self, sides: list[tuple[int, int]]) -> str:
        """Best bid and ask as text."""

        def text(value: int, decimals: int) -> str:
            digits = str(value).rjust(decimals + 1, "0")
            return f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits

        return " / ".join(
            f"{text(price, self.settings.price_decimals)} x {text(size, self.settings.size_decimals)}" for price, size in sides
        )
