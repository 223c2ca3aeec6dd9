"""Bitget's three generations of records, and the two markets that share symbols."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cowbook import EngineSettings
from cowbook.input.verdict import UNUSED, OtherSymbol, Rejected
from cowbook.plain.messages import DIFF, FUTURES, HAS_CHECKSUM, IS_PICTURE, IS_RESET, NONE, SELL_AGGRESSOR, SNAPSHOT, SPOT, TRADE
from cowbook.plain.schemes import CHAIN, RISING, UNNUMBERED
from support.harness import Run, reconstruct
from support.naive_book import fold_rows
from support.verdicts import decode, message_of

BIG = 1_343_064_377_779_269_632


def v2(channel: str, data: dict[str, Any], action: str = "update", market: str = "SPOT") -> dict[str, Any]:
    """A record of v2."""
    argument = {"instType": market, "channel": channel, "instId": "A-B"}
    return {"action": action, "arg": argument, "data": [data], "ts": 1_695_716_059_516}


def v3(topic: str, data: dict[str, Any], action: str = "update", market: str = "usdt-futures") -> dict[str, Any]:
    """A record of v3."""
    argument = {"instType": market, "topic": topic, "symbol": "A-B"}
    return {"action": action, "arg": argument, "data": [data], "ts": 1_755_937_421_337}


def book(**more: object) -> dict[str, Any]:
    """Levels with the keys of v3."""
    return {"a": [["1.6", "0"]], "b": [["1.5", "2"], ["1.4", "3"]], "checksum": 0, "ts": "1755937421270"} | more


def test_ids_above_10_to_the_18_chain_as_numbers_or_text() -> None:
    """`pseq` is the id before; it is 0 in a snapshot. Ids of 2^63 - 1 or more do not fit."""
    diff = message_of("bitget", v3("books", book(seq=str(BIG + 1), pseq=BIG)))
    assert (diff.kind, diff.rule, diff.prev_id, diff.last_id, diff.market) == (DIFF, CHAIN, BIG, BIG + 1, FUTURES)
    assert (diff.bid_prices, diff.bid_sizes, diff.ask_prices, diff.ask_sizes) == ([150, 140], [2000, 3000], [160], [0])
    assert diff.flags == 0
    snapshot = message_of("bitget", v3("books", book(seq=BIG, pseq=0), "snapshot"))
    assert (snapshot.kind, snapshot.flags, snapshot.prev_id, snapshot.last_id) == (SNAPSHOT, IS_RESET, 0, BIG)
    beyond = decode("bitget", v3("books", book(seq=2**63 - 1, pseq=0)))
    assert isinstance(beyond, Rejected)
    assert beyond.reason == "out_of_range"


def test_a_book_of_v2_has_a_checksum_and_a_number_that_rises() -> None:
    """Without `pseq` nothing chains, but what is old shows. A checksum of 0 is none."""
    levels = {"asks": [["1.6", "1"]], "bids": [], "ts": "1695716059516", "seq": 123}
    diff = message_of("bitget", v2("books", levels | {"checksum": -5}))
    assert (diff.rule, diff.first_id, diff.last_id, diff.flags, diff.checksum) == (RISING, 123, 123, HAS_CHECKSUM, 2**32 - 5)
    assert diff.market == SPOT
    assert message_of("bitget", v2("books", levels | {"checksum": 0})).flags == 0


@pytest.mark.parametrize(
    "record",
    [
        v2("books15", {"bids": [["1.5", "2"]], "asks": [], "ts": "5", "checksum": 7}, "snapshot"),
        v3("books50", book(seq=3, pseq=2), "snapshot"),
    ],
)
def test_the_other_depths_are_pictures_of_their_own(record: dict[str, Any]) -> None:
    """Their checksums and ids are not those of `books`."""
    picture = message_of("bitget", record)
    assert (picture.kind, picture.flags, picture.rule, picture.last_id) == (SNAPSHOT, IS_PICTURE, UNNUMBERED, NONE)


def test_trades_of_each_generation() -> None:
    """Arrays, objects, and objects with short keys. A snapshot's trades are older than the subscription."""
    old = {"ts": "1730332800983", "price": "1.71", "size": "56.16", "side": "sell", "tradeId": "1235670816495050754"}
    new = {"i": "1235670816495050754", "p": "1.71", "v": "56.16", "S": "sell", "T": "1730332800983"}
    for record in (v2("trade", old), v3("publicTrade", new)):
        trade = message_of("bitget", record)
        assert (trade.kind, trade.last_id, trade.flags) == (TRADE, 1_235_670_816_495_050_754, SELL_AGGRESSOR)
        assert (trade.bid_prices, trade.bid_sizes, trade.ts_event) == ([171], [56_160], 1_730_332_800_983_000_000)
        assert decode("bitget", record | {"action": "snapshot"}) is UNUSED
    assert decode("bitget", v3("publicTrade", new) | {"arg": {"topic": "publicTrade", "symbol": "X"}}) == OtherSymbol("X")
    assert decode("bitget", v3("account", {})) is UNUSED


@pytest.mark.parametrize(("channel", "best_bid"), [("", 150), ("spot", 150), ("futures", 200)])
def test_two_markets_of_a_symbol_are_two_books(tmp_path: Path, channel: str, best_bid: int) -> None:
    """The book is of the market whose snapshot came first, or of the one that `channel` names; so are the trades."""
    trade = {"i": "1", "p": "1.5", "v": "1", "S": "buy", "T": "1755937421270"}
    records = [
        v3("books", book(b=[["1.5", "1"]], a=[["1.6", "1"]], seq=10, pseq=0), "snapshot", "spot"),
        v3("books", book(b=[["2.0", "1"]], a=[["2.1", "1"]], seq=77, pseq=0), "snapshot"),
        v3("books", book(b=[["1.4", "1"]], a=[], seq=11, pseq=10), market="spot"),
        v3("books", book(b=[["1.9", "1"]], a=[], seq=78, pseq=77)),
        v3("publicTrade", trade, market="spot"),
        v3("publicTrade", trade | {"i": "2"}),
        v3("publicTrade", trade | {"i": "3"}),
    ]
    run = Run("X", "A-B", "bitget", price_decimals=2, size_decimals=3, engine=EngineSettings(channel=channel))
    result = reconstruct(tmp_path, {"a": b"".join(json.dumps(record).encode() + b"\n" for record in records)}, run)
    rows = result.rows("depth")
    assert all(row["synced"] for row in rows)
    assert sorted(fold_rows(rows).bids) == [best_bid - 10, best_bid]
    assert result.summary.gaps == 0
    assert len(result.rows("trades")) == (2 if channel == "futures" else 1)
