"""Deribit: `book.<instrument>.<raw|100ms|agg2>`, `trades.<instrument>.<interval>`, `quote.<instrument>` and `ticker.<…>`.

```
{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.BTC-24SEP21-8000-P.raw","data":{"type":"snapshot",
 "timestamp":1626993723632,"instrument_name":"ETH-30JUL21-2800-C","change_id":13169025645,"bids":[["new",0.0015,4714.0],...],...}}}
{...,"params":{"channel":"book.BTC-24SEP21-8000-P.raw","data":{"type":"change","timestamp":1626993742497,
 "prev_change_id":33195897183,"instrument_name":"BTC-24SEP21-8000-P","change_id":33195897355,"bids":[],"asks":[["new",0.001,2.6]]}}}
{...,"params":{"channel":"trades.BTC-PERPETUAL.raw","data":[{"trade_seq":1,"timestamp":1700000001789,
 "instrument_name":"BTC-PERPETUAL","price":10,"amount":3.89,"direction":"buy"}]}}
```

* Continuity: each change's `prev_change_id` is the `change_id` before it.
* Proof of the book: none but the ids.
* Channels: each interval of an instrument is a chain and a book of its own. The grouped channels, which send whole books without
  ids, are not used.
* Markets: futures, options and spot look alike.

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
    SYMBOL_BEHIND_DOT,
    TIME,
    Holes,
    Shape,
    asks_of,
    bids_of,
    side,
    symbol_between,
    text_behind,
    trades_of,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT
from cowbook.plain.schemes import CHAIN
from cowbook.venues.fields import (
    BestKeys,
    Trades,
    an_array,
    an_object,
    is_sell,
    levels,
    loose_ticker,
    milliseconds,
    text,
    ticker_shape,
    with_book,
)

_KINDS = {"snapshot": SNAPSHOT, "change": DIFF}
_BEST = BestKeys("best_bid_price", "best_bid_amount", "best_ask_price", "best_ask_amount")
_INTERVALS = {"raw": 1, "100ms": 2, "agg2": 3}
"""Numbers of an instrument's channels."""


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if found.get("method") != "subscription":
        if "jsonrpc" in found or "result" in found or "method" in found:
            return UNUSED
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    parameters = an_object(found.get("params"), '"params"')
    kind, _, rest = text(parameters, "channel").partition(".")
    instrument = rest.partition(".")[0]
    if kind in ("quote", "ticker"):
        return _decode_ticker(instrument, parameters.get("data"), settings)
    if kind not in ("book", "trades"):
        return UNUSED
    if kind == "book":
        book = an_object(parameters.get("data"), '"data"')
        if "type" not in book:  # a grouped channel: whole books without ids
            return UNUSED
        if book.get("instrument_name") != settings.name:
            return OtherSymbol(str(book.get("instrument_name")))
        return _decode_book(book, settings, _INTERVALS.get(rest.partition(".")[2], len(_INTERVALS) + 1))
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


def _decode_ticker(instrument: str, best: object, settings: DecoderSettings) -> Decoded:
    if instrument != settings.name:
        return OtherSymbol(instrument)
    return loose_ticker(best, settings, _BEST)


def _decode_book(book: Object, settings: DecoderSettings, channel: int) -> DecodedMessage:
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
    return with_book(message, _read_levels(book, "bids"), _read_levels(book, "asks"), settings)


def _read_levels(book: Object, key: str) -> Levels:
    """Prices and sizes of entries [new | change | delete, price, amount]. A deleted entry has size 0, whatever its amount."""
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
    ticker_shape(_BEST, "params.data", {"params.channel": SYMBOL_BEHIND_DOT}),  # quote
    ticker_shape(_BEST, "params.data", {"params.channel": symbol_between("ticker.")}),
)

VENUE = Venue(json_records(_decode), make_scanner=shaped(*_SHAPES), snapshots="all", channels=_INTERVALS)
