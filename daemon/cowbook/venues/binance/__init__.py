"""Binance: spot, USD-M and COIN-M futures. The only venue with a scanner of its own."""

from __future__ import annotations

from cowbook.input.venue import Venue
from cowbook.venues.binance.reference import decode_record
from cowbook.venues.binance.scanner import BinanceScanner

VENUE = Venue(decode_record, make_scanner=BinanceScanner)
