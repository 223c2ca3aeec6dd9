"""Tickers that no id ties to a depth message are a rate: how many show a state that the book had shortly before or after them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.input.forms.form_learner import FormScanner
from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import UNUSED, DecodedMessage, OtherSymbol
from cowbook.plain.messages import IS_LOOSE, TICKER
from cowbook.report.day_report import read_report
from cowbook.venues import load_venue
from support.harness import Run, reconstruct
from support.in_memory import go_through
from support.venue_samples import LINES, Event, make_events, number_of, price, records_of, size, text_of

Best = tuple[tuple[int, int], tuple[int, int]]


def coinbase(name: str, bid: str, bid_size: str, ask: str, ask_size: str) -> Any:
    """As it is sent today."""
    best = {"best_bid": bid, "best_bid_size": bid_size, "best_ask": ask, "best_ask_size": ask_size}
    more = {"side": "buy", "time": "2023-11-14T22:13:20.000000Z", "trade_id": 5, "last_size": "1.0"}
    return {"type": "ticker", "sequence": 7, "product_id": name, "price": bid, "open_24h": "1"} | best | more


def old_coinbase(name: str, bid: str, _bid_size: str, ask: str, _ask_size: str) -> Any:
    """Without sizes."""
    return {"type": "ticker", "sequence": 7, "product_id": name, "price": bid, "best_bid": bid, "best_ask": ask}


def okx(name: str, bid: str, bid_size: str, ask: str, ask_size: str) -> Any:
    """`tickers`."""
    best = {"instType": "SPOT", "instId": name, "last": bid, "askPx": ask, "askSz": ask_size, "bidPx": bid, "bidSz": bid_size}
    return {"arg": {"channel": "tickers", "instId": name}, "data": [best | {"ts": "1700000000000"}]}


def okx_bbo(name: str, bid: str, bid_size: str, ask: str, ask_size: str) -> Any:
    """`bbo-tbt`."""
    best = {"asks": [[ask, ask_size, "0", "1"]], "bids": [[bid, bid_size, "0", "1"]], "ts": "1700000000000", "seqId": 7}
    return {"arg": {"channel": "bbo-tbt", "instId": name}, "data": [best]}


def kraken_v2(name: str, bid: str, bid_size: str, ask: str, ask_size: str) -> Any:
    """Numbers."""
    best = {"symbol": name, "bid": f"#{bid}#", "bid_qty": f"#{bid_size}#", "ask": f"#{ask}#", "ask_qty": f"#{ask_size}#"}
    return {"channel": "ticker", "type": "update", "data": [best | {"last": 1.5, "change": -0.5}]}


def bybit(name: str, bid: str, bid_size: str, ask: str, ask_size: str) -> Any:
    """Of derivatives."""
    best = {"symbol": name, "bid1Price": bid, "bid1Size": bid_size, "ask1Price": ask, "ask1Size": ask_size}
    return {"topic": f"tickers.{name}", "type": "delta", "data": best, "cs": 7, "ts": 1_700_000_000_000}


def bitget(name: str, bid: str, bid_size: str, ask: str, ask_size: str) -> Any:
    """Of spot."""
    best = {"instId": name, "last": bid, "bestBid": bid, "bidSz": bid_size, "bestAsk": ask, "askSz": ask_size}
    return {"action": "snapshot", "arg": {"instType": "sp", "channel": "ticker", "instId": name}, "data": [best]}


def deribit(name: str, bid: str, bid_size: str, ask: str, ask_size: str) -> Any:
    """`quote`."""
    best = {"best_bid_price": number_of(bid), "best_bid_amount": number_of(bid_size)}
    best |= {"best_ask_price": number_of(ask), "best_ask_amount": number_of(ask_size)}
    data = {"timestamp": 1_700_000_000_000, "instrument_name": name} | best
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": f"quote.{name}", "data": data}}


def deribit_ticker(name: str, bid: str, bid_size: str, ask: str, ask_size: str) -> Any:
    """`ticker`, with figures that do not matter."""
    record = deribit(name, bid, bid_size, ask, ask_size)
    record["params"]["channel"] = f"ticker.{name}.100ms"
    record["params"]["data"] |= {"stats": {"volume": 10.1, "low": None}, "mark_price": 0.0009, "state": "open"}
    return record


Write = Callable[[str, str, str, str, str], Any]
VENUES: list[tuple[str, Write]] = [
    *(("coinbase", coinbase), ("coinbase", old_coinbase), ("okx", okx), ("okx-chain", okx_bbo), ("kraken-v2-frames", kraken_v2)),
    *(("bybit", bybit), ("bitget", bitget), ("deribit", deribit), ("deribit", deribit_ticker)),
]
EVENTS = [event for event in make_events(12, 200, (1, 0, 0, 0, 0)) if all(event.book)]


def best_of(event: Event) -> Best:
    """Best bid and ask."""
    return max(event.book[0].items()), min(event.book[1].items())


def ticker(sample_id: str, write: Write, best: Best) -> bytes:
    """A record."""
    (bid, bid_size), (ask, ask_size) = best
    return text_of(write(LINES[sample_id][1], price(bid), size(bid_size), price(ask), size(ask_size)))


def capture(sample_id: str, write: Write, shift: int, tickers: range) -> bytes:
    """A book, and tickers that are `shift` depth messages late (early, if below 0)."""
    lines = []
    for place, event in enumerate(EVENTS):
        if place in tickers:
            lines.append((place + shift + 0.5, ticker(sample_id, write, best_of(event))))
        lines += [(float(place), record) for _event, record in records_of(sample_id, [event])]
    return b"\n".join([*(record for _place, record in sorted(lines, key=lambda each: each[0])), b""])


@pytest.mark.parametrize(("sample_id", "write"), VENUES)
@pytest.mark.parametrize("shift", [-8, -1, 0, 3, 7])
def test_tickers_near_their_depth_message_are_near(sample_id: str, write: Write, shift: int) -> None:
    """Late or early by a few depth messages; nothing else depends on them."""
    venue, name, *_ = LINES[sample_id]
    chosen = range(20, 150, 3)
    outcome = go_through(venue, name, [capture(sample_id, write, shift, chosen)])
    assert (outcome.count("tickers_near"), outcome.count("tickers_far")) == (len(chosen) - 3, 0)  # the first ones are unused
    without = go_through(venue, name, [capture(sample_id, write, shift, range(0))])
    assert outcome.rows == without.rows
    assert outcome.engine.synced
    assert outcome.engine.days()["tickers_near"].tolist()[-1] == len(chosen) - 3


@pytest.mark.parametrize(("sample_id", "write"), VENUES)
def test_others_are_far(sample_id: str, write: Write) -> None:
    """A ticker of another price; it ends no sync and has no row."""
    venue, name, *_ = LINES[sample_id]
    lines = capture(sample_id, write, 0, range(0)).split(b"\n")
    wrong = [ticker(sample_id, write, ((1, 1), (2, 2)))] * 5
    outcome = go_through(venue, name, [b"\n".join([*lines[:30], wrong[0], *lines[30:50], *wrong, *lines[50:]])])
    assert (outcome.count("tickers_near"), outcome.count("tickers_far")) == (0, 5)
    assert outcome.engine.synced
    assert outcome.rows["audits"] == []


@pytest.mark.parametrize(("sample_id", "write"), VENUES)
def test_tickers_are_scanned(sample_id: str, write: Write) -> None:
    """Their form is learned; one that does not fit, or lacks a value, is unused, and one of another symbol is that."""
    venue = load_venue(LINES[sample_id][0])
    settings = DecoderSettings(LINES[sample_id][1], 1, 2, 1 << 20)
    assert venue.decode_record is not None
    assert venue.make_scanner is not None
    record = ticker(sample_id, write, best_of(EVENTS[0]))
    decoded = venue.decode_record(record, settings)
    assert isinstance(decoded, DecodedMessage)
    assert (decoded.kind, decoded.flags) == (TICKER, IS_LOOSE)
    scanner = venue.make_scanner(settings)
    assert isinstance(scanner, FormScanner)
    scanner.learn(record, decoded)
    assert scanner.form_count == (0 if write is okx_bbo else 1)
    other = ticker(sample_id, write, best_of(EVENTS[50])).replace(b"1.5", b"2.75").replace(b"0000", b"0001")
    scanner.learn(other, venue.decode_record(other, settings))
    assert scanner.form_count == (0 if write is okx_bbo else 1)
    assert isinstance(venue.decode_record(record, replace(settings, name="OTHER")), OtherSymbol)
    fine = text_of(write(settings.name, "10.05", "1", "11.0", "1"))
    assert venue.decode_record(fine, settings) == UNUSED
    empty = json.dumps(write(settings.name, "", "1", "11.0", "1")).encode() if write not in (deribit, deribit_ticker) else b""
    assert not empty or venue.decode_record(empty, settings) == UNUSED


def test_tickers_of_a_book_that_is_not_synced_are_unused() -> None:
    """Before the first snapshot they say nothing."""
    lines = capture("okx-chain", okx, 0, range(0)).split(b"\n")
    outcome = go_through("okx", "BTC-USDT", [b"\n".join([ticker("okx-chain", okx, best_of(EVENTS[0])), *lines])])
    assert (outcome.count("tickers_near"), outcome.count("tickers_far"), outcome.count("unused")) == (0, 0, 1)


def test_checkpoints_keep_tickers_and_states(tmp_path: Path) -> None:
    """Stopped anywhere and gone on: the same figures, in the summary and in the report."""
    content = capture("coinbase", coinbase, -8, range(20, 150)) + capture("coinbase", coinbase, 7, range(20, 150))
    run = Run("X", "BTC-USD", "coinbase", price_decimals=1, size_decimals=2, triggers=TriggerSettings(3, 10**12, 0))
    expected = reconstruct(tmp_path / "reference", {"a": content}, replace(run, triggers=TriggerSettings())).summary
    assert expected.tickers_near > 100
    result = expected
    for length in (*range(7000, len(content), 9001), len(content)):
        result = reconstruct(tmp_path / "other", {"a": content[:length]}, run).summary
    assert (result.tickers_near, result.tickers_far) == (expected.tickers_near, expected.tickers_far)
    days = read_report(tmp_path / "other" / "state")
    assert sum(day.tickers_near or 0 for day in days) == expected.tickers_near
