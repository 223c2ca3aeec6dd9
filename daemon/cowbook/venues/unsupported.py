"""Recognises records of venues that are not read, each by its name.

It serves messages only. A venue that gets a module of its own needs no row here.
"""

from __future__ import annotations

import re

_SIGNATURES = (
    ("KuCoin", rb'"topic": ?"/(?:market|spotMarket|contractMarket|contract)/'),
    ("Gate.io", rb'"channel": ?"(?:spot|futures|options)\.(?:order_book|obu|trades|tickers|book_ticker|candlesticks)'),
    ("BitMEX", rb'"table": ?"(?:orderBookL2|orderBook10|trade|quote|instrument)|BitMEX Realtime API'),
    ("Bitstamp", rb'"channel": ?"(?:diff_order_book|order_book|detail_order_book|live_trades|live_orders)_'),
    ("dYdX", rb'"channel": ?"v[34]_(?:orderbook|trades|markets)'),
    ("Gemini", rb'"type": ?"l2_updates"|"type": ?"update".*"socket_sequence"'),
    ("HTX (Huobi)", rb'"(?:ch|sub)": ?"market\.[^"]+\.(?:depth|mbp|trade|bbo|detail)'),
    ("Phemex", rb'"(?:book|orderbook_p)": ?\{"asks".*"sequence"|"method": ?"(?:orderbook|trade)(?:_p)?\.subscribe"'),
    ("MEXC", rb'spot@public\.|"channel": ?"push\.(?:depth|deal|ticker)'),
    ("Hyperliquid", rb'"channel": ?"(?:l2Book|l4Book|bbo|trades)".*"coin"'),
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
