"""Venues and containers that are not read are named, and nothing that is read is called one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.venues.recognise import SNIFFED_BYTES, misfit_of
from cowbook.venues.unsupported import unsupported_name
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
    ],
)
def test_records_of_others_are_named(record: bytes, name: str) -> None:
    """Each by what no other has."""
    assert unsupported_name(record) == name


@pytest.mark.parametrize("sample_id", [name for name in SAMPLE_IDS if not name.endswith(("-zst", "-gz", "-parquet"))])
def test_no_sample_of_a_venue_that_is_read_is_called_another(sample_id: str) -> None:
    """Of the lines of each."""
    for content in make_sample(sample_id).files.values():
        assert [line for line in content.split(b"\n")[:200] if unsupported_name(line)] == []
