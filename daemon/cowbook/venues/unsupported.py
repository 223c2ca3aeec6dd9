"""Recognises records of venues that are not read, each by its name.

It serves messages only. A venue that gets a module of its own needs no row here.
"""

from __future__ import annotations

import re

_SIGNATURES = (
    ("OKX's past books as CSV (their `.data` files are read)", rb"ts,(?:bids,asks|asks,bids)\b"),
    ("Gemini's market data v1", rb'"type": ?"update".*"socket_sequence"'),
    ("Upbit", rb'"(?:type|ty)": ?"(?:orderbook|trade)".*"(?:code|cd)": ?"[A-Z]+-'),
    ("Bithumb", rb'"type": ?"orderbookdepth"'),
    ("bitFlyer", rb'"channel": ?"lightning_'),
    ("Crypto.com", rb'"subscription": ?"(?:book|trade|ticker)\.'),
    ("WhiteBIT", rb'"method": ?"depth_update"'),
    ("CoinEx", rb'"method": ?"depth\.update"'),
    ("HitBTC", rb'"ch": ?"orderbook/'),
    ("Bitvavo", rb'"event": ?"book".*"market"'),
    ("WOO", rb'"topic": ?"[A-Z_0-9]+@(?:orderbook|trade)'),
    ("Poloniex", rb'"channel": ?"book_lv2"'),
    ("Poloniex' first API", rb'^\[\d+,\d+,\[\["[iot]",'),
    ("Polymarket", rb'"event_type": ?"(?:book|price_change|last_trade_price)"'),
    ("Kalshi", rb'"type": ?"orderbook_(?:snapshot|delta)".*"market_ticker"'),
    ("Delta Exchange", rb'"type": ?"l2_orderbook".*"limit_price"'),
    ("single orders of Bitstamp (detail_order_book)", rb'"channel": ?"detail_order_book_'),
    ("single orders of Hyperliquid's nodes", rb'"block_number": ?\d+.*"raw_book_diff"'),
    ("a reseller's books of Hyperliquid (l2BookDiff, l4Book)", rb'"channel": ?"(?:l2BookDiff|l4Book)"'),
    ("Tardis' fastBook of Hyperliquid", rb'"channel": ?"fastBook"'),
    ("LOBSTER's messages of single orders", rb"^\d{5}\.\d+,[1-7],\d+,\d+,-?\d+,-?1\r?$"),
    ("LOBSTER's books without times", rb"^(?:-?\d+,\d+,-?\d+,\d+)(?:,-?\d+,\d+,-?\d+,\d+)+\r?$"),
    ("AscendEX", rb'"m": ?"depth(?:-snapshot)?".*"seqnum"'),
)
_PATTERNS = tuple((name, re.compile(pattern)) for name, pattern in _SIGNATURES)
_LOOKED_AT_BYTES = 4_096
_HTML = re.compile(rb"\s*<(?:!doctype\s|html|\?xml)", re.IGNORECASE)


def unsupported_name(record: bytes) -> str | None:
    """What a record is one of, that is not read; None if nobody knows."""
    head = record[:_LOOKED_AT_BYTES]
    if _HTML.match(head):
        return "a page of HTML or XML"
    return next((name for name, pattern in _PATTERNS if pattern.search(head)), None)
