"""Bybit v5 `orderbook.<depth>.<symbol>`: update ids without holes; a snapshot at any time replaces the book.

Source: bybit-exchange.github.io, v5, "Orderbook" and "Trade".
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ASKS,
    BIDS,
    ONLY_ID,
    PRICE,
    SIZE,
    SYMBOL_BEHIND_DOT,
    TEXT_ID,
    TIME,
    Holes,
    Shape,
    side,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, SNAPSHOT
from cowbook.plain.schemes import COUNTER
from cowbook.venues.fields import Trades, an_array, an_object, is_sell, levels, milliseconds, text, text_id, with_book

_KINDS = {"snapshot": SNAPSHOT, "delta": DIFF}


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "topic" not in found:
        if "op" in found or "success" in found:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    channel, _, rest = text(found, "topic").partition(".")
    if channel not in ("orderbook", "publicTrade"):
        return UNUSED
    symbol = rest.rpartition(".")[2]
    if symbol != settings.name:
        return OtherSymbol(symbol)
    if channel == "orderbook":
        depth = rest.partition(".")[0]
        if depth == "1" or not (depth.isascii() and depth.isdigit() and len(depth) < 9):
            return UNUSED  # depth 1 has no changes, only the best prices again and again
        return _book(found, an_object(found.get("data"), '"data"'), settings, int(depth))
    trades = Trades(settings)
    data = an_array(found.get("data"), '"data"')
    for entry in data:
        trade = an_object(entry, "a trade")
        time, sold = milliseconds(trade, "T"), is_sell(trade.get("S"), "Buy", "Sell")
        trades.add(trade.get("p"), trade.get("v"), time, text_id(trade.get("i")), sold=sold)
    return trades.to_message() if data else UNUSED


def _book(found: Object, book: Object, settings: DecoderSettings, channel: int) -> DecodedMessage:
    """Of the channel of a depth: each is a book of its own."""
    kind = found.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        refuse("unknown", f"a book of the type {shown(kind)}")
    number = fitting_id("u", integer(book, "u"))
    time = milliseconds(found, "cts" if "cts" in found else "ts")
    message = DecodedMessage(_KINDS[kind], number, rule=COUNTER, ts_event=time, first_id=number, channel=channel)
    return with_book(message, levels(book.get("b"), '"b"'), levels(book.get("a"), '"a"'), settings)


_BOOK: Holes = {"topic": SYMBOL_BEHIND_DOT, "data.b": BIDS, "data.a": ASKS, "data.u": ONLY_ID}
_TRADES = trades_of({"T": TIME, "S": side("Buy", "Sell"), "p": PRICE, "v": SIZE, "i": TEXT_ID})
_SHAPES = (
    Shape(_BOOK | {"cts": TIME}, {"ts": ANY, "data.s": ANY, "data.seq": ANY}),
    Shape(_BOOK | {"ts": TIME}, {"data.s": ANY, "data.seq": ANY}),
    Shape({"topic": SYMBOL_BEHIND_DOT, "data": _TRADES}, {"ts": ANY}),
)

VENUE = Venue(json_records(_decode), make_scanner=shaped(*_SHAPES), has_ids=False)
