"""MEXC spot and futures: ranges of ids, answers beside the stream, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cowbook.input.verdict import UNUSED, OtherSymbol, Rejected
from cowbook.plain.messages import (
    DIFF,
    IS_LOOSE,
    IS_PICTURE,
    IS_UNLABELLED,
    NONE,
    SELL_AGGRESSOR,
    SNAPSHOT,
    TICKER,
    TRADE,
    TRADES,
)
from cowbook.plain.schemes import RANGE
from support.verdicts import book_of, decode, engine_after, message_of


def spot(kind: str, key: str, content: dict[str, Any]) -> dict[str, Any]:
    """A record of today's form."""
    channel = f"spot@public.{kind}.v3.api.pb@10ms@A-B"
    return {"channel": channel, "symbol": "A-B", "sendTime": "1746606463137", key: content}


def change(first: int, last: int, **sides: list[dict[str, str]]) -> dict[str, Any]:
    """A change; ids are text."""
    return spot("aggre.depth", "publicAggreDepths", {"fromVersion": str(first), "toVersion": str(last)} | sides)


def level(price: str, quantity: str) -> dict[str, str]:
    """A level."""
    return {"price": price, "quantity": quantity}


def test_ranges_join_an_answer_beside_the_stream(tmp_path: Path) -> None:
    """The answer's symbol is in its address. Of a straddling change all is applied; one that is missing is a gap."""
    diff = message_of("mexc", change(8, 12, asks=[level("1.6", "0")]))
    assert (diff.kind, diff.rule, diff.first_id, diff.last_id) == (DIFF, RANGE, 8, 12)
    assert (diff.bid_prices, diff.ask_prices, diff.ask_sizes) == ([], [160], [0])
    book = {"lastUpdateId": 10, "bids": [["1.5", "1"]], "asks": [["1.6", "1"], ["1.7", "1"]]}
    assert message_of("mexc", book).flags == IS_UNLABELLED
    address = b"https://api.mexc.com/api/v3/depth?symbol=%s&limit=5000 -> 1746606463.5: " + json.dumps(book).encode()
    assert message_of("mexc", address % b"A-B").flags == 0
    assert decode("mexc", address % b"X") == OtherSymbol("X")
    records = [change(8, 12, asks=[level("1.6", "0")]), book, change(13, 13, bids=[level("1.4", "2")])]
    engine = engine_after(tmp_path, "mexc", records)
    assert (engine.synced, engine.gap_statistics()["gaps"]) == (True, 0)
    assert book_of(engine) == ({150: 1000, 140: 2000}, {170: 1000})
    assert engine_after(tmp_path, "mexc", [*records, change(15, 15)]).gap_statistics()["missing_updates"] == 1


def test_older_records_count_by_one() -> None:
    """Their keys are letters; Tardis' own snapshot says so of itself."""
    old = {"c": "spot@public.increase.depth.v3.api@A-B", "d": {"asks": [{"p": "1.6", "v": "0.0"}], "r": "34"}, "s": "A-B", "t": 5}
    diff = message_of("mexc", old)
    assert (diff.kind, diff.first_id, diff.last_id, diff.ask_sizes) == (DIFF, 34, 34, [0])
    whole = message_of("mexc", change(1, 9, bids=[level("1.5", "1")], asks=[]) | {"generated": True})
    assert (whole.kind, whole.flags, whole.first_id, whole.last_id) == (SNAPSHOT, 0, NONE, 9)


def test_pictures_trades_and_best_prices_of_spot() -> None:
    """Trades have no ids; type 2 is a selling aggressor."""
    picture = message_of("mexc", spot("limit.depth", "publicLimitDepths", {"bids": [level("1.5", "1")], "version": "3"}))
    assert (picture.kind, picture.flags, picture.last_id) == (SNAPSHOT, IS_PICTURE, NONE)
    deal = level("1.5", "2") | {"tradeType": 2, "time": "1746606463139"}
    deals = message_of("mexc", spot("aggre.deals", "publicAggreDeals", {"deals": [deal, deal | {"tradeType": 1}]}))
    assert (deals.kind, deals.ask_prices[2:], deals.ask_sizes[:2]) == (TRADES, [NONE, NONE], [SELL_AGGRESSOR, 0])
    wrong = decode("mexc", spot("aggre.deals", "publicAggreDeals", {"deals": [deal | {"tradeType": "2"}]}))
    assert isinstance(wrong, Rejected)
    best = {"bidPrice": "1.5", "bidQuantity": "2", "askPrice": "1.6", "askQuantity": "3"}
    ticker = message_of("mexc", spot("aggre.bookTicker", "publicAggreBookTicker", best))
    assert (ticker.kind, ticker.flags) == (TICKER, IS_LOOSE)
    assert decode("mexc", spot("kline", "publicSpotKline", {})) is UNUSED
    assert decode("mexc", {"id": 0, "code": 0, "msg": "x"}) is UNUSED


def futures(channel: str, data: object, **more: object) -> dict[str, Any]:
    """A record of futures."""
    return {"channel": f"push.{channel}", "data": data, "symbol": "A-B", "ts": 1_587_442_022_003} | more


def test_futures_have_contracts_and_single_or_several_versions(tmp_path: Path) -> None:
    """A level is price, contracts, number of orders; a price may have an exponent. A picture judges the book at its version."""
    single = message_of("mexc_futures", futures("depth", {"asks": [[1.6, 3, 1]], "bids": [], "version": 7}))
    assert (single.kind, single.rule, single.first_id, single.last_id, single.ask_sizes) == (DIFF, RANGE, 7, 7, [3000])
    several = futures("depth", {"asks": [], "bids": [[1, 0, 0]], "begin": 8, "end": 12, "version": 12, "cts": 5})
    several_text = json.dumps(several).replace("[[1, 0, 0]]", "[[1.5E+1, 0, 0]]").encode()
    merged = message_of("mexc_futures", several_text)
    assert (merged.first_id, merged.last_id, merged.bid_prices) == (8, 12, [1500])
    answer = {"success": True, "code": 0, "data": {"asks": [[1.6, 1, 1]], "bids": [[1.5, 2, 1]], "version": 6, "timestamp": 5}}
    assert message_of("mexc_futures", answer).flags == IS_UNLABELLED
    address = b"https://contract.mexc.com/api/v1/contract/depth/A-B?limit=1000 -> 1587442022.5: " + json.dumps(answer).encode()
    assert message_of("mexc_futures", address).flags == 0
    change = futures("depth", {"asks": [[1.6, 3, 1]], "bids": [], "version": 7})
    picture = futures("depth.full", {"asks": [[1.6, 3, 1]], "bids": [[1.5, 2, 1]], "version": 7})
    engine = engine_after(tmp_path, "mexc_futures", [address, change, picture, several_text])
    assert (engine.synced, engine.audit_statistics()["snapshot"]["matched"]) == (True, 1)
    assert book_of(engine) == ({150: 2000}, {160: 3000})
    gap = engine_after(tmp_path, "mexc_futures", [address, several_text])
    assert (gap.synced, gap.gap_statistics()["missing_updates"]) == (False, 1)


def test_futures_trades_and_tickers() -> None:
    """A trade alone, or several; tickers have no sizes. Merged prices are not used."""
    deal = {"p": 1.5, "v": 55, "T": 2, "O": 3, "M": 1, "t": 1_755_487_578_276}
    one = message_of("mexc_futures", futures("deal", deal))
    assert (one.kind, one.flags, one.last_id, one.bid_sizes) == (TRADE, SELL_AGGRESSOR, NONE, [55_000])
    assert message_of("mexc_futures", futures("deal", [deal | {"i": "81"}])).last_id == 81
    ticker = message_of("mexc_futures", futures("ticker", {"bid1": 1.5, "ask1": 1.6, "symbol": "A-B"}))
    assert (ticker.kind, ticker.flags, ticker.bid_sizes) == (TICKER, IS_LOOSE, [-1])
    assert decode("mexc_futures", futures("depth.step", {"asks": [], "bids": [], "version": 3})) is UNUSED
    assert decode("mexc_futures", {"channel": "rs.sub.depth", "data": "success", "ts": 5}) is UNUSED
