"""OKX v5: `books`, `books-l2-tbt`, `books50-l2-tbt`, `books5`, `trades`, `trades-all`, `tickers` and `bbo-tbt`.

```
{"arg":{"channel":"books","instId":"UNI-USD-SWAP"},"action":"snapshot","data":[{"asks":[["5.148","60","0","1"],...],
 "bids":[["5.14","251","0","2"],...],"ts":"1652459225363","checksum":555605283}]}
{"arg":{"channel":"books","instId":"UNI-USD-SWAP"},"action":"update","data":[{"asks":[["5.158","129","0","2"]],
 "bids":[["5.117","0","0","0"]],"ts":"1652459225464","checksum":1361161687}]}
{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"338476356","px":"30230","sz":"0.033",
 "side":"sell","ts":"1652459233109"}]}
```

OKX's files of past books (`<instId>-L2orderbook-400lv-<date>.tar.gz`, one `.data` member) have bare books:

```
{"instId":"BTC-USDT","action":"update","ts":"1700000000000","asks":[["37000.1","0.5","2"]],"bids":[["37000","0","0"]]}
```

The live ones are of 2022. Today a book has `"seqId":1002,"prevSeqId":1001`, too (-1 in a snapshot), and a checksum of 0.

* Continuity: each update's `prevSeqId` is the `seqId` before it. Without them only a failing checksum shows a lost record.
* Proof of the book: in older captures a CRC-32 over the 25 best levels of each side. Newer ones send 0, which means none.
* Past books have neither ids nor checksums, so nothing shows a lost record. The best 400 (5,000) levels a side are known.
* Channels: each is a chain and a book of its own. `books5` has no changes: each record shows the best five levels anew.
* Markets: spot, swaps, futures and options look alike; sizes of derivatives are in contracts.

Source: OKX's API documentation, "WebSocket / Order book channel".
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ASKS,
    BIDS,
    CHECKSUM_UNLESS_0,
    LAST_ID,
    PREV_ID_OR_MINUS_1,
    PRICE,
    SIZE,
    SYMBOL,
    TEXT_ID,
    TIME,
    Holes,
    Shape,
    side,
    trades_of,
)
from cowbook.input.numerals import MAX_ID
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Object, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, IS_PICTURE, NONE, SNAPSHOT
from cowbook.plain.schemes import CHAIN, OKX, UNNUMBERED
from cowbook.venues.fields import (
    BestKeys,
    Trades,
    a_checksum,
    an_array,
    an_object,
    is_sell,
    levels,
    loose_ticker,
    milliseconds,
    only_one,
    text,
    text_id,
    ticker_shape,
    with_book,
)

_BOOKS = {"books": 1, "books-l2-tbt": 2, "books50-l2-tbt": 3}
"""Numbers of the channels that send changes."""

_HISTORY = {"L2orderbook": 5}
"""Number of the books in files of the past."""

_PICTURES = {"books5": 4}
"""Numbers of those that send the best levels anew each time."""

_BEST = BestKeys("bidPx", "bidSz", "askPx", "askSz")


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    if "event" in found or "op" in found:
        return UNUSED
    if "instId" in found and "action" in found:
        return _decode_history(found, settings)
    if "arg" not in found or "data" not in found:
        refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(found))}")
    argument = an_object(found["arg"], '"arg"')
    channel = text(argument, "channel")
    if channel not in (*_BOOKS, *_PICTURES, "trades", "trades-all", "tickers", "bbo-tbt"):
        return UNUSED
    symbol = text(argument, "instId")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    data = an_array(found["data"], '"data"')
    if channel in _BOOKS:
        return _decode_book(found.get("action"), only_one(data, '"data"'), settings, _BOOKS[channel])
    if channel in _PICTURES:
        return _decode_picture(only_one(data, '"data"'), settings, _PICTURES[channel])
    if channel in ("tickers", "bbo-tbt"):
        return _decode_ticker(data, settings)
    trades = Trades(settings)
    for entry in data:
        trade = an_object(entry, '"data"')
        time, sold = milliseconds(trade, "ts"), is_sell(trade.get("side"))
        trades.add(trade.get("px"), trade.get("sz"), time, text_id(trade.get("tradeId")), sold=sold)
    return trades.to_message() if data else UNUSED


def _decode_ticker(data: list[object], settings: DecoderSettings) -> Decoded:
    if len(data) != 1 or not isinstance(data[0], dict):
        return UNUSED
    best = data[0]
    if "bids" in best and "asks" in best:
        try:
            (bid, bid_size, *_), (ask, ask_size, *_) = best["bids"][0], best["asks"][0]
        except (TypeError, ValueError, LookupError):
            return UNUSED
        best = dict(zip(_BEST, (bid, bid_size, ask, ask_size), strict=True))
    return loose_ticker(best, settings, _BEST)


def _decode_book(action: object, book: Object, settings: DecoderSettings, channel: int) -> DecodedMessage:
    if action not in ("snapshot", "update"):
        refuse("unknown", f"a book with the action {shown(action)}")
    message = DecodedMessage(SNAPSHOT if action == "snapshot" else DIFF, NONE, rule=UNNUMBERED, ts_event=milliseconds(book, "ts"))
    message.channel = channel
    if "seqId" in book:
        message.rule = CHAIN
        message.last_id = _read_sequence(book, "seqId")
        message.prev_id = _read_sequence(book, "prevSeqId")
    bids, asks = levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"')
    return with_book(message, bids, asks, settings, a_checksum(book, "checksum") or None)


def _decode_history(book: Object, settings: DecoderSettings) -> Decoded:
    """Decode a book of the past: those of a channel without what is around it."""
    symbol = text(book, "instId")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    return _decode_book(book["action"], book, settings, _HISTORY["L2orderbook"])


def _decode_picture(book: Object, settings: DecoderSettings, channel: int) -> DecodedMessage:
    """Decode the best levels. Their `seqId` is that of the book in the other channels."""
    message = DecodedMessage(
        SNAPSHOT, NONE, rule=UNNUMBERED, ts_event=milliseconds(book, "ts"), flags=IS_PICTURE, channel=channel
    )
    if "seqId" in book:
        message.rule, message.last_id = CHAIN, _read_sequence(book, "seqId")
    return with_book(message, levels(book.get("bids"), '"bids"'), levels(book.get("asks"), '"asks"'), settings)


def _read_sequence(book: Object, key: str) -> int:
    """A field that is a sequence number; -1 precedes the first."""
    number = book.get(key)
    if type(number) is not int or not -1 <= number <= MAX_ID:
        refuse("malformed", f'"{key}" is not a sequence number: {shown(number)}')
    return number


_BOOK: Holes = {"arg.instId": SYMBOL, "data.0.asks": ASKS, "data.0.bids": BIDS, "data.0.ts": TIME}
_CHAIN: Holes = {"data.0.seqId": LAST_ID, "data.0.prevSeqId": PREV_ID_OR_MINUS_1}
_TRADES = trades_of({"tradeId": TEXT_ID, "px": PRICE, "sz": SIZE, "side": side(), "ts": TIME})
_SHAPES = (
    Shape(_BOOK | _CHAIN, {"data.0.checksum": CHECKSUM_UNLESS_0}),
    Shape(_BOOK | {"data.0.seqId": LAST_ID}),
    Shape(_BOOK, {"data.0.checksum": CHECKSUM_UNLESS_0}),
    Shape({"instId": SYMBOL, "asks": ASKS, "bids": BIDS, "ts": TIME}),
    Shape({"arg.instId": SYMBOL, "data": _TRADES}),
    ticker_shape(_BEST, "data.0", {"arg.instId": SYMBOL}),
)

VENUE = Venue(
    json_records(_decode),
    make_scanner=shaped(*_SHAPES),
    has_ids=False,
    shows_loss=False,
    checksum=OKX,
    snapshots="depth",
    channels=_BOOKS | _PICTURES | _HISTORY,
)
