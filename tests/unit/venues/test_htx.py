"""HTX: changes with a chain and with a counter, pictures, and a recorded capture of pictures."""

from __future__ import annotations

import ast
import gzip
import json
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cowbook.input.verdict import UNUSED, OtherSymbol
from cowbook.plain.messages import DIFF, IS_LOOSE, IS_PICTURE, IS_RESET, NONE, SELL_AGGRESSOR, SNAPSHOT, TICKER, TRADES
from cowbook.plain.schemes import CHAIN, COUNTER, RANGE_WITH_PREVIOUS, UNNUMBERED
from cowbook.venues import load_venue
from support.fold import check_fold
from support.harness import Run, reconstruct
from support.verdicts import book_of, decode, engine_after, message_of

CHANNELS = load_venue("htx").channels


def record(channel: str, tick: dict[str, Any], **more: object) -> dict[str, Any]:
    """A record of a channel."""
    return {"ch": f"market.A-B.{channel}", "ts": 1_618_678_069_870, "tick": tick} | more


def test_changes_of_mbp_are_a_chain_and_may_have_one_side() -> None:
    """A side without changes is missing, or null."""
    tick = {"seqNum": 12, "prevSeqNum": 9, "asks": [[1.6, 3], [1.7, 0]]}
    for sides in ({}, {"bids": None}):
        diff = message_of("htx", record("mbp.150", tick | sides))
        assert (diff.kind, diff.rule, diff.prev_id, diff.last_id) == (DIFF, RANGE_WITH_PREVIOUS, 9, 12)
        assert (diff.bid_prices, diff.ask_prices, diff.ask_sizes) == ([], [160, 170], [3000, 0])
        assert (diff.depth, diff.channel, diff.ts_event) == (150, CHANNELS["mbp.150"], 1_618_678_069_870_000_000)


def answer(number: int, bids: list[list[float]], asks: list[list[float]], depth: int = 20) -> dict[str, Any]:
    """What a request for a whole book is answered with."""
    data = {"seqNum": number, "bids": bids, "asks": asks}
    return {"id": "1", "rep": f"market.A-B.mbp.{depth}", "status": "ok", "data": data}


def test_an_answer_that_comes_late_is_joined_by_the_changes_behind_it(tmp_path: Path) -> None:
    """The changes above its number are applied to it. A later one judges the book, and one of another depth is no answer."""
    changes = [record("mbp.20", {"seqNum": n, "prevSeqNum": n - 3, "bids": [[n / 10, 1]], "asks": []}) for n in (13, 16, 19)]
    late = answer(13, [[1.3, 1], [1.0, 5]], [[2.5, 1]])
    assert message_of("htx", late).flags == 0
    engine = engine_after(tmp_path, "htx", [*changes, late, answer(16, [[9, 1]], [], 150)])
    assert engine.synced
    assert engine.value("last_id") == 19
    assert book_of(engine) == ({100: 5000, 130: 1000, 160: 1000, 190: 1000}, {250: 1000})
    witness = answer(19, [[1.9, 1], [1.6, 1], [1.3, 1], [1.0, 5]], [[2.5, 1]])
    engine = engine_after(tmp_path, "htx", [*changes, late, witness])
    assert engine.audit_statistics()["snapshot"]["matched"] == 1
    lost = engine_after(tmp_path, "htx", [changes[0], late, changes[2]])
    assert (lost.gap_statistics()["gaps"], lost.synced) == (1, False)


def test_high_freq_counts_and_has_its_snapshots_in_the_stream(tmp_path: Path) -> None:
    """`version` goes up by one; the time is the tick's own."""

    def high_freq(event: str, version: int, **sides: list[list[float]]) -> dict[str, Any]:
        tick = {"asks": [], "bids": [], "event": event, "version": version, "ts": 1_597_930_123_130} | sides
        return record("depth.size_150.high_freq", tick)

    first, second = high_freq("snapshot", 7, bids=[[1.5, 2]]), high_freq("update", 8, asks=[[1.6, 4]])
    snapshot = message_of("htx", first)
    assert (snapshot.kind, snapshot.rule, snapshot.flags, snapshot.last_id) == (SNAPSHOT, COUNTER, IS_RESET, 7)
    assert (snapshot.depth, snapshot.ts_event) == (150, 1_597_930_123_130_000_000)
    engine = engine_after(tmp_path, "htx", [first, second])
    assert book_of(engine) == ({150: 2000}, {160: 4000})
    assert engine_after(tmp_path, "htx", [first, high_freq("update", 9)]).gap_statistics()["gaps"] == 1


def test_pictures_have_numbers_and_stored_differences_have_none() -> None:
    """`version` of `depth`, `seqNum` of `mbp.refresh`. Of merged prices nothing is used. Tardis stores what differs."""
    levels = {"bids": [[1.5, 2]], "asks": [[1.6, 3]]}
    for channel, key in (("depth.step0", "version"), ("mbp.refresh.20", "seqNum")):
        picture = message_of("htx", record(channel, levels | {key: 5}))
        assert (picture.kind, picture.flags, picture.rule, picture.last_id) == (SNAPSHOT, IS_PICTURE, CHAIN, 5)
        assert (picture.depth, picture.channel) == (0, CHANNELS[channel])
    diff = message_of("htx", record("depth.step0", levels, update=True))
    assert (diff.kind, diff.rule, diff.last_id) == (DIFF, UNNUMBERED, NONE)
    for channel in ("depth.step1", "depth.step7", "kline.1min", "detail"):
        assert decode("htx", record(channel, levels)) is UNUSED
    assert decode("htx", record("depth.step0", levels) | {"ch": "market.x.depth.step0"}) == OtherSymbol("x")
    for other in (
        {"ping": 1},
        {"id": 1, "status": "ok", "subbed": "market.x.bbo", "ts": 1},
        {"status": "error", "err-code": "x"},
    ):
        assert decode("htx", other) is UNUSED


def test_trades_and_best_prices() -> None:
    """Of two ids the shorter is used; spot has the best prices as numbers, derivatives as levels."""
    trade = {"id": 10**26, "ts": 5, "tradeId": 45, "amount": 2, "price": 1.5, "direction": "sell"}
    derivative = {"id": 46, "ts": 6, "amount": 4, "price": 1.5, "direction": "buy", "quantity": 0.004}
    both = message_of("htx", record("trade.detail", {"id": 1, "ts": 6, "data": [trade, derivative]}))
    assert (both.kind, both.bid_sizes, both.ask_prices[2:], both.ask_sizes[:2]) == (
        TRADES,
        [2000, 4000],
        [45, 46],
        [SELL_AGGRESSOR, 0],
    )
    spot = {"bid": 1.5, "bidSize": 2, "ask": 1.6, "askSize": 3, "seqId": 5, "symbol": "A-B"}
    for tick in (spot, {"bid": [1.5, 2], "ask": [1.6, 3], "version": 5}):
        best = message_of("htx", record("bbo", tick))
        assert (best.kind, best.flags, best.bid_prices, best.ask_sizes) == (TICKER, IS_LOOSE, [150], [3000])
    assert decode("htx", record("bbo", {"bid": None, "ask": [1.6, 3]})) is UNUSED


_FRAME = re.compile(rb"([0-9.]+): (b['\"].*)")


@cache
def frames(path: Path) -> list[tuple[bytes, bytes]]:
    """Receive times and messages of a recorded capture: each frame is gzip, written as a literal."""
    matches = [match for line in path.read_bytes().splitlines() if (match := _FRAME.fullmatch(line))]
    return [(match[1], gzip.decompress(ast.literal_eval(match[2].decode()))) for match in matches]


SYMBOLS = {
    "trioeth": (26, 2),
    "borusdt": (27, 14),
    "omgbtc": (31, 13),
    "xvgeth": (31, 11),
    "yfihusd": (31, 6),
    "zeneth": (31, 4),
    "dogeeth": (30, 2),
    "fil3susdt": (31, 9),
    "propyeth": (25, 2),
    "nesteth": (29, 2),
}
"""Pictures of each symbol in the capture, 292 in all, and the decimals of its sizes, where 18 digits suffice for all."""


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_picture_of_a_recorded_capture_is_the_book(shared_data: Path, tmp_path: Path, symbol: str) -> None:
    """The rows fold to the levels of each picture, exponents exact; only the first one clears, and what differs is a change.

    Three symbols have sizes of up to 20 digits: such a picture is a dead letter, as a whole.
    """
    count, decimals = SYMBOLS[symbol]
    found = frames(shared_data / "cryptofeed/HUOBI.ws.44.0")
    channel = f"market.{symbol}.depth.step0"
    records = [json.loads(text, parse_float=Decimal) for _, text in found]
    ticks = [value["tick"] for value in records if value.get("ch") == channel]
    assert len(ticks) == count
    trades = [value["tick"]["data"] for value in records if value.get("ch") == f"market.{symbol}.trade.detail"]
    used = [data for data in trades if all(fit(trade["amount"], decimals) for trade in data)]
    run = Run("X", symbol, "htx", price_decimals=10, size_decimals=decimals)
    result = reconstruct(tmp_path, {"a": (shared_data / "cryptofeed/HUOBI.ws.44.0").read_bytes()}, run)
    assert result.summary.state == "done"
    fitting = [tick for tick in ticks if all(fit(size, decimals) for key in ("bids", "asks") for _, size in tick[key])]
    rejected = count - len(fitting) + len(trades) - len(used)
    assert result.summary.dead_letters == dict.fromkeys(result.summary.dead_letters, 0) | {"out_of_range": rejected}
    assert (len(fitting) == count) == (symbol not in ("borusdt", "xvgeth", "fil3susdt"))
    assert len(result.rows("trades")) == sum(map(len, used))
    rows = result.rows("depth")
    if not fitting:
        assert rows == []
        return
    assert sum(row["kind"] == "clear" for row in rows) == 2
    assert {row["kind"] for row in rows} <= {"clear", "snapshot", "change"}
    books_sent = [sides(tick, decimals) for tick in fitting]
    expected = [book for book, before in zip(books_sent, [None, *books_sent], strict=False) if book != before]
    books: list[tuple[dict[int, int], dict[int, int]]] = []
    check_fold(rows, result.rows("bbo"), lambda _row, book: books.append((dict(book[0]), dict(book[1]))))
    assert books == expected


def fit(size: Decimal | int, decimals: int) -> bool:
    """Whether a size fits into 18 digits."""
    value = Decimal(size) * 10**decimals
    return bool(value == value.to_integral_value() and value < 10**18)


def sides(tick: dict[str, Any], decimals: int) -> tuple[dict[int, int], dict[int, int]]:
    """Sizes by price, in units of the run."""
    bids, asks = ({int(price * 10**10): int(size * 10**decimals) for price, size in tick[key]} for key in ("bids", "asks"))
    return bids, asks
