"""Deribit `book.<instrument>.<raw|100ms>`: each change names the one before it.

Source: docs.deribit.com, "book.(instrument_name).(interval)".
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ACTION,
    LAST_ID,
    PREV_ID,
    PRICE,
    SIZE,
    SYMBOL,
    TIME,
    Holes,
    Shape,
    asks_of,
    bids_of,
    side,
    text_behind,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT
from cowbook.plain.schemes import CHAIN
from cowbook.venues.fields import Trades, an_array, an_object, is_sell, levels, milliseconds, text, with_book

_KINDS = {"snapshot": SNAPSHOT, "change": DIFF}
_INTERVALS = {"raw": 1, "100ms": 2, "agg2": 3}
"""Channels of one instrument: each is a chain of its own."""


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if found.get("method") != "subscription":
        if "jsonrpc" in found or "result" in found or "method" in found:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    parameters = an_object(found.get("params"), '"params"')
    kind, _, rest = text(parameters, "channel").partition(".")
    instrument = rest.partition(".")[0]
    if kind not in ("book", "trades"):
        return UNUSED
    if kind == "book":
        book = an_object(parameters.get("data"), '"data"')
        if "type" not in book:  # the grouped channel: no changes, no chain
            return UNUSED
        if book.get("instrument_name") != settings.name:
            return OtherSymbol(str(book.get("instrument_name")))
        return _book(book, settings, _INTERVALS.get(rest.partition(".")[2], len(_INTERVALS) + 1))
    trades = Trades(settings)
    own = 0
    for entry in an_array(parameters.get("data"), '"data"'):
        trade = an_object(entry, "a trade")
        if trade.get("instrument_name") == settings.name:
            own += 1
            number = fitting_id("trade_seq", integer(trade, "trade_seq"))
            sold = is_sell(trade.get("direction"))
            trades.add(trade.get("price"), trade.get("amount"), milliseconds(trade, "timestamp"), number, sold=sold)
    return trades.to_message() if own else OtherSymbol(instrument)


def _book(book: Object, settings: DecoderSettings, channel: int) -> DecodedMessage:
    kind = book["type"]
    if not isinstance(kind, str) or kind not in _KINDS:
        refuse("unknown", f"a book of the type {shown(kind)}")
    message = DecodedMessage(
        _KINDS[kind],
        fitting_id("change_id", integer(book, "change_id")),
        rule=CHAIN,
        ts_event=milliseconds(book, "timestamp"),
        prev_id=fitting_id("prev_change_id", integer(book, "prev_change_id")) if "prev_change_id" in book else NONE,
        channel=channel,
    )
    return with_book(message, _levels(book, "bids"), _levels(book, "asks"), settings)


def _levels(book: Object, key: str) -> Levels:
    """Entries are [new | change | delete, price, amount]; a deleted one has no size, whatever its amount."""
    entries: list[object] = []
    for entry in an_array(book.get(key), f'"{key}"'):
        level = an_array(entry, "a level")
        if len(level) < 3 or level[0] not in ("new", "change", "delete"):
            refuse("malformed", f'"{key}" has a level that is not new, change or delete, price, amount: {shown(level)}')
        entries.append([level[1], "0" if level[0] == "delete" else level[2]])
    return levels(entries, f'"{key}"')


_BOOK: Holes = {
    "params.channel": text_behind("book."),
    "params.data.instrument_name": SYMBOL,
    "params.data.timestamp": TIME,
    "params.data.change_id": LAST_ID,
    "params.data.bids": bids_of({"0": ACTION, "1": PRICE, "2": SIZE}),
    "params.data.asks": asks_of({"0": ACTION, "1": PRICE, "2": SIZE}),
}
_TRADES = trades_of(
    {
        "instrument_name": SYMBOL,
        "trade_seq": LAST_ID,
        "timestamp": TIME,
        "direction": side(),
        "price": PRICE,
        "amount": SIZE,
    }
)
_SHAPES = (
    Shape(_BOOK | {"params.data.prev_change_id": PREV_ID}),
    Shape(_BOOK),
    Shape({"params.channel": text_behind("trades."), "params.data": _TRADES}),
)

VENUE = Venue(json_records(_decode), make_scanner=shaped(*_SHAPES))
