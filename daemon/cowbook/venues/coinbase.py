"""Coinbase Exchange: `level2`, `level2_batch`, `matches` and `ticker`.

```
{"type":"snapshot","product_id":"SKL-GBP","asks":[["0.5762","2865.9"],...],"bids":[["0.5742","1029.5"],...]}
{"type":"l2update","product_id":"SKL-USD","changes":[["buy","0.7898","0.0"]],"time":"2021-04-17T16:43:41.785392Z"}
{"type":"match","trade_id":1568286,"maker_order_id":"67f40214-...","taker_order_id":"741a1fea-...","side":"buy",
 "size":"17","price":"0.791","product_id":"SKL-USD","sequence":201392504,"time":"2021-04-17T16:43:59.325463Z"}
```

A match's `side` is the maker's; the aggressor's is the opposite.

* Continuity: changes have no ids, so nothing shows a lost one.
* Proof of the book: none. Tickers have no ids, so only their rate says something.
* Markets: spot only.

Source: Coinbase's API documentation, "WebSocket channels".
"""

from __future__ import annotations

from cowbook.input.forms.form_learner import shaped
from cowbook.input.forms.shapes import (
    ANY,
    ASK_PRICE,
    ASK_SIZE,
    ASKS,
    BID_PRICE,
    BID_SIZE,
    BIDS,
    ISO_TIME,
    LAST_ID,
    PRICE,
    SIZE,
    SYMBOL,
    Holes,
    Shape,
    changes_of,
    side,
)
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, fitting_id, integer, refuse
from cowbook.input.venue import Venue, json_records
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, OtherSymbol, shown
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT
from cowbook.plain.schemes import UNNUMBERED
from cowbook.venues.fields import BestKeys, Trades, an_array, an_object, is_sell, iso_time, levels, loose_ticker, text, with_book

_BEST = BestKeys("best_bid", "best_bid_size", "best_ask", "best_ask_size")


def _decode(value: object, settings: DecoderSettings) -> Decoded:
    found = an_object(value, "the record")
    kind = text(found, "type")
    if kind not in ("snapshot", "l2update", "match", "ticker"):
        return UNUSED
    symbol = text(found, "product_id")
    if symbol != settings.name:
        return OtherSymbol(symbol)
    if kind == "ticker":
        return loose_ticker(found, settings, _BEST)
    if kind == "match":
        trades = Trades(settings)
        trade_id = fitting_id("trade_id", integer(found, "trade_id"))
        # `side` is the maker's.
        trades.add(
            found.get("price"), found.get("size"), iso_time(found.get("time")), trade_id, sold=not is_sell(found.get("side"))
        )
        return trades.to_message()
    time = iso_time(found["time"]) if "time" in found else NONE
    if kind == "snapshot":
        message = DecodedMessage(SNAPSHOT, NONE, rule=UNNUMBERED, ts_event=time)
        return with_book(message, levels(found.get("bids"), '"bids"'), levels(found.get("asks"), '"asks"'), settings)
    bids, asks = _split_changes(an_array(found.get("changes"), '"changes"'))
    return with_book(DecodedMessage(DIFF, NONE, rule=UNNUMBERED, ts_event=time), bids, asks, settings)


def _split_changes(changes: list[object]) -> tuple[Levels, Levels]:
    """Split changes `[side, price, size]` into bids and asks."""
    sides: tuple[list[object], list[object]] = [], []
    for entry in changes:
        change = an_array(entry, "a change")
        if len(change) < 3:
            refuse("malformed", f"a change without side, price and size: {shown(change)}")
        sides[is_sell(change[0])].append(change[1:])
    return levels(sides[0], '"changes"'), levels(sides[1], '"changes"')


_TICKER: Holes = {"product_id": SYMBOL, _BEST.bid: BID_PRICE, _BEST.ask: ASK_PRICE}
_IGNORED: Holes = dict.fromkeys(
    (
        *("sequence", "price", "open_24h", "volume_24h", "low_24h", "high_24h", "volume_30d"),
        *("side", "time", "trade_id", "last_size"),
    ),
    ANY,
)
_CHANGES = changes_of({"0": side(), "1": PRICE, "2": SIZE})
_SHAPES = (
    Shape({"product_id": SYMBOL, "asks": ASKS, "bids": BIDS}, {"time": ISO_TIME}),
    Shape({"product_id": SYMBOL, "changes": _CHANGES, "time": ISO_TIME}),
    Shape(
        {"product_id": SYMBOL, "trade_id": LAST_ID, "price": PRICE, "size": SIZE, "time": ISO_TIME},
        {"maker_order_id": ANY, "taker_order_id": ANY, "sequence": ANY},
    ),
    Shape(_TICKER | {_BEST.bid_size: BID_SIZE, _BEST.ask_size: ASK_SIZE}, _IGNORED),
    Shape(_TICKER, _IGNORED),
)

VENUE = Venue(json_records(_decode), make_scanner=shaped(*_SHAPES), has_ids=False, shows_loss=False, snapshots="all")
