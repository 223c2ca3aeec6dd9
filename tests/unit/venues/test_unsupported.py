"""Venues and containers that are not read are named, and nothing that is read is called one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.venues.recognise import SNIFFED_BYTES, misfit_of
from cowbook.venues.unsupported import _SIGNATURES, unsupported_name
from support.venue_samples import SAMPLE_IDS, make_sample

SETTINGS = DecoderSettings("A/B", 8, 8, 1 << 24)

CAPTURES = {
    "KUCOIN.ws.1.0": "kucoin",
    "GATEIO.ws.1.0": "gateio",
    "BITMEX.ws.1.0": "bitmex",
    "BITSTAMP.ws.1.0": "bitstamp",
    "DYDX.ws.1.0": "dydx",
    "GEMINI.ws.1.0": "gemini",
    "HUOBI.ws.44.0": "htx",
    "PHEMEX.ws.1.0": "phemex",
}


@pytest.mark.parametrize("name", CAPTURES)
def test_recorded_captures_under_another_format_are_named(shared_data: Path, name: str) -> None:
    """By their first records, under any format."""
    with (shared_data / "cryptofeed" / name).open("rb") as file:
        head = file.read(SNIFFED_BYTES)
    for format_name in ("binance", "okx"):
        text = misfit_of(head, format_name, SETTINGS)
        assert text is not None
        assert text.endswith(f': these look like {CAPTURES[name]} records: format = "{CAPTURES[name]}" would fit')


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (b"<!DOCTYPE html><html>", "a page of HTML or XML"),
        (b'{"type":"update","eventId":5375504382,"socket_sequence":66,"events":[]}', "Gemini's market data v1"),
        (b'{"type":"orderbook","code":"KRW-BTC","timestamp":1}', "Upbit"),
        (b'{"type":"orderbookdepth","content":{"list":[],"datetime":"1580268255864325"}}', "Bithumb"),
        (b'{"method":"channelMessage","params":{"channel":"lightning_board_BTC_JPY","message":{}}}', "bitFlyer"),
        (b'{"method":"subscribe","result":{"subscription":"book.BTC_USDT.150","channel":"book","data":[]}}', "Crypto.com"),
        (b'{"method":"depth_update","params":[true,{"asks":[],"bids":[]},"BTC_USDT"],"id":null}', "WhiteBIT"),
        (b'{"method":"depth.update","data":{"market":"BTCUSDT","is_full":true,"depth":{"asks":[]}}}', "CoinEx"),
        (b'{"ch":"orderbook/full","update":{"ETHBTC":{"t":1,"s":2,"a":[],"b":[]}}}', "HitBTC"),
        (b'{"event":"book","market":"BTC-EUR","nonce":438,"bids":[["1","2"]],"asks":[]}', "Bitvavo"),
        (b'{"id":"1","topic":"SPOT_BTC_USDT@orderbook","ts":1,"data":{"asks":[],"bids":[]}}', "WOO"),
        (b'{"m":"depth","symbol":"ASD/USDT","data":{"ts":1,"seqnum":2,"asks":[],"bids":[]}}', "AscendEX"),
        (b'{"channel":"book_lv2","data":[{"symbol":"BTC_USDT","asks":[],"bids":[["1","2"]],"lastId":1,"id":2}]}', "Poloniex"),
        (b'[14,8767,[["o",1,"8394.6","1.5","1580000000000"]],"1580000000000"]', "Poloniex' first API"),
        (b'{"event_type":"book","asset_id":"6581","bids":[{"price":".48","size":"30"}],"asks":[],"hash":"0x0"}', "Polymarket"),
        (b'[{"event_type":"price_change","market":"0x5f","price_changes":[]}]', "Polymarket"),
        (b'{"type":"orderbook_delta","sid":2,"seq":3,"msg":{"market_ticker":"FED-23DEC-T3.00","price":96}}', "Kalshi"),
        (b'{"type":"l2_orderbook","symbol":"BTCUSD","buy":[{"limit_price":"1","size":1}],"sell":[]}', "Delta Exchange"),
        (
            b'{"data":{"bids":[["1.5","2","12345"]],"asks":[]},"channel":"detail_order_book_btcusd","event":"data"}',
            "single orders of Bitstamp (detail_order_book)",
        ),
        (
            b'{"local_time":"x","block_time":"x","block_number":5,"events":[{"oid":1,"raw_book_diff":{"new":{"sz":"1"}}}]}',
            "single orders of Hyperliquid's nodes",
        ),
        (b'{"channel":"l4Book","data":{"Snapshot":{}}}', "a reseller's books of Hyperliquid (l2BookDiff, l4Book)"),
        (b'{"channel":"fastBook","generated":true,"data":{"coin":"BTC"}}', "Tardis' fastBook of Hyperliquid"),
        (b"34200.004241176,1,16113575,18,5853300,1", "LOBSTER's messages of single orders"),
        (b"5859400,200,5853300,18,5859800,200,5853000,150", "LOBSTER's books without times"),
        (b"ts,bids,asks,action", "OKX's past books as CSV (their `.data` files are read)"),
    ],
)
def test_records_of_others_are_named(record: bytes, name: str) -> None:
    """Each by what no other has."""
    assert unsupported_name(record) == name


@pytest.mark.parametrize("kind", ["message", "orderbook"])
def test_lobsters_samples_are_named(shared_data: Path, kind: str) -> None:
    """Each of their lines."""
    path = shared_data / f"lobster/AAPL_2012-06-21_34200000_57600000_{kind}_10.csv"
    names = {unsupported_name(line) for line in path.read_bytes().splitlines()}
    assert len(names) == 1
    assert str(names.pop()).startswith("LOBSTER's")


def test_every_name_is_tried() -> None:
    """By a record in the test above."""
    marks = test_records_of_others_are_named.pytestmark  # type: ignore[attr-defined]
    tried = {name for _, name in marks[0].args[1]}
    assert {name for name, _ in _SIGNATURES} <= tried


@pytest.mark.parametrize("sample_id", [name for name in SAMPLE_IDS if not name.endswith(("-zst", "-gz", "-parquet"))])
def test_no_sample_of_a_venue_that_is_read_is_called_another(sample_id: str) -> None:
    """Of the lines of each."""
    for content in make_sample(sample_id).files.values():
        assert [line for line in content.split(b"\n")[:200] if unsupported_name(line)] == []
