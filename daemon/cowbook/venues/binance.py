"""Binance: spot, USD-M and COIN-M futures. The only venue with a scanner of its own."""

from __future__ import annotations

from cowbook.input.binance_reference import decode_record
from cowbook.input.binance_scanner import BinanceScanner
from cowbook.input.venue import Venue

VENUE = Venue(decode_record, make_scanner=BinanceScanner)
