"""Binance's options: each depth is a picture, and trades name the aggressor's side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cowbook import replay
from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import DecodedMessage, OtherSymbol, Rejected
from cowbook.plain.messages import SELL_AGGRESSOR, TRADE
from cowbook.venues.binance.reference import decode_record

NAME = "BTC-231027-34000-C"
SETTINGS = DecoderSettings(NAME, 2, 2, 1 << 20)
TRADE_OF_OPTIONS = {
    "e": "trade",
    "E": 1696118408137,
    "s": NAME,
    "t": "15",
    "p": "2.64",
    "q": "0.01",
    "T": 1696118408134,
    "S": "-1",
}


def depth(number: int, bids: dict[str, str], asks: dict[str, str]) -> str:
    """A picture of these levels."""
    book = {"b": list(map(list, bids.items())), "a": list(map(list, asks.items()))}
    return json.dumps({"e": "depth", "E": 1696118400038 + number, "s": NAME, "u": 10 + number, "pu": 9 + number} | book)


@pytest.mark.parametrize("wrapped", [False, True])
def test_pictures_follow_each_other(tmp_path: Path, wrapped: bool) -> None:
    """What a picture does not show is not in the book any more, and what it shows is known that far."""
    pictures = [
        depth(0, {"60": "7.31", "55": "2.5"}, {"65": "8.28", "70": "1"}),
        depth(1, {"60": "7.31", "50": "2.5"}, {"70": "2"}),
        depth(2, {}, {"70": "2"}),
    ]
    lines = [f'{{"stream":"{NAME}@depth100","data":{text}}}' if wrapped else text for text in pictures]
    (tmp_path / "a").write_text("\n".join([*lines, ""]))
    books = []
    for book in replay(tmp_path / "a", NAME, every=1, price_decimals=2, size_decimals=2):
        bids, asks = (dict(zip(*(array.tolist() for array in side.levels()), strict=True)) for side in (book.bids, book.asks))
        books.append((bids, asks))
        assert book.synced
    assert books == [
        ({6000: 731, 5500: 250}, {6500: 828, 7000: 100}),
        ({6000: 731, 5000: 250}, {7000: 200}),
        ({}, {7000: 200}),
    ]
    assert book.gap_statistics()["gaps"] == 0


@pytest.mark.parametrize(("side", "sold"), [("-1", True), ("1", False), ("SELL", True), ("BUY", False)])
@pytest.mark.parametrize("trade_id", ["15", 15])
def test_a_trade_names_the_aggressors_side(side: str, sold: bool, trade_id: object) -> None:
    """Its id may be text."""
    message = decode_record(json.dumps(TRADE_OF_OPTIONS | {"S": side, "t": trade_id}).encode(), SETTINGS)
    assert isinstance(message, DecodedMessage)
    assert (message.kind, message.last_id, message.flags) == (TRADE, 15, SELL_AGGRESSOR if sold else 0)
    assert (message.bid_prices, message.bid_sizes, message.ts_event) == ([264], [1], 1696118408134 * 10**6)


@pytest.mark.parametrize("change", [{"S": "0"}, {"S": None}, {"S": ["1"]}, {"t": "x"}, {"t": ""}, {"t": -1}, {"p": 1}])
def test_what_is_no_trade_of_options_is_malformed(change: dict[str, object]) -> None:
    """Never a crash."""
    rejected = decode_record(json.dumps(TRADE_OF_OPTIONS | change).encode(), SETTINGS)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "malformed"


def test_other_options_are_other_symbols() -> None:
    """Each strike is a symbol."""
    assert decode_record(json.dumps(TRADE_OF_OPTIONS | {"s": "X"}).encode(), SETTINGS) == OtherSymbol("X")
