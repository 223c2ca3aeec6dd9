"""Bitfinex v2: `book` (P0 to P4) and `trades`.

A record names its channel by number only. What a number stands for is said by the record that confirms the subscription.

```
{"event":"info","version":2,"serverId":"083bd8d4-...","platform":{"status":1}}             a new connection
{"event":"subscribed","channel":"book","chanId":232957,"symbol":"tTESTBTC:TESTUSD","prec":"P0","freq":"F0","len":"100",...}
[232957,[[60400,1,0.68826974],[60397,1,1.17989099],...],7]                                 snapshot: [price, count, amount]
[232957,[60419,0,1],855]                                                                   change; a count of 0 removes
[232957,"cs",1346253565,856]                                                               checksum of the book
[232960,"te",[670086109,1618677372578,0.018485,282780],857]                                trade: [id, ms, amount, price]
[205046,"hb",128]                                                                          heartbeat
```

An amount is negative for an ask, and for a trade whose aggressor sold. `tu` repeats each trade and is ignored.

* Continuity: with the flag SEQ_ALL (65536) every record of a connection, of any channel, ends with the previous number plus one.
  Without it nothing shows a lost record.
* Proof of the book: with the flag for checksums (131072), `cs` records with a CRC-32 over the 25 best levels of each side.
* Markets: spot and derivatives look alike; `name` is the venue's symbol, such as "tBTCUSD" or "tBTCF0:USTF0".
* Time: changes have none. The capture's receive time is used or, with the flag for timestamps (32768), the record's own.
* Not supported: single orders (`prec` = "R0").

Source: docs.bitfinex.com, "WebSocket", "Book", "Checksum".
"""

from __future__ import annotations

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, fitting_id, refuse
from cowbook.input.venue import Connection, Venue, json_on_connection
from cowbook.input.verdict import UNUSED, Content, Decoded, DecodedMessage, OtherSymbol, Sequenced, shown
from cowbook.plain.messages import DIFF, HAS_CHECKSUM, NONE, SNAPSHOT
from cowbook.plain.schemes import BITFINEX, UNNUMBERED
from cowbook.venues.fields import Trades, an_array, an_object, levels, milliseconds, split_sign, text, with_book

_LATEST_SEQUENCE = 10**12  # larger numbers are times in ms
_PAYLOADS = {"hb": 0, "cs": 1, "te": 1, "tu": 1, "fte": 1, "ftu": 1}
"""How many values follow each kind."""


def _decode(value: object, settings: DecoderSettings, connection: Connection) -> tuple[Decoded, Connection]:
    if isinstance(value, list):
        return _decode_on_channel(value, settings, connection), connection
    return _decode_event(an_object(value, "the record"), settings, connection)


def _decode_event(found: Object, settings: DecoderSettings, connection: Connection) -> tuple[Decoded, Connection]:
    """Track the subscriptions: the connection's state maps a channel's number to its kind and symbol."""
    event = text(found, "event")
    if event == "info" and "version" in found:
        return UNUSED, {}  # a connection begins
    if event not in ("subscribed", "unsubscribed"):
        return UNUSED, connection
    channel = str(_read_number(found.get("chanId")))
    others = {number: what for number, what in connection.items() if number != channel}
    if event == "unsubscribed":
        return UNUSED, others
    symbol = text(found, "symbol") if "symbol" in found else ""
    kind = text(found, "channel")
    if kind == "book" and found.get("prec") == "R0":
        kind = "raw"
    return UNUSED if symbol == settings.name else OtherSymbol(symbol), {**others, channel: f"{kind} {symbol}"}


def _read_number(value: object) -> int:
    if type(value) is not int or value < 0:
        refuse("malformed", f"{shown(value)} is not the number of a channel")
    return value


def _decode_on_channel(value: list[object], settings: DecoderSettings, connection: Connection) -> Decoded:
    if len(value) < 2:
        refuse("malformed", f"an array of no known kind: {shown(value)}")
    number = _read_number(value[0])
    kind = value[1] if isinstance(value[1], str) else "data"
    if kind not in (*_PAYLOADS, "data"):
        refuse("unknown", f"a record of the kind {shown(kind)}")
    end = 2 + _PAYLOADS.get(kind, 0)
    sequence, time = _read_trailer(value[end:])
    payload = value[end - 1]
    if number == 0:
        decoded: Content = UNUSED  # account records
    elif str(number) not in connection:
        decoded = OtherSymbol(f"channel {number}")  # the capture lacks its subscription
    else:
        channel, _, symbol = connection[str(number)].partition(" ")
        if symbol != settings.name:
            decoded = OtherSymbol(symbol)
        elif channel == "raw":
            refuse("unknown", 'single orders (prec = "R0"): subscribe to a book of levels, P0')
        else:
            decoded = _decode_payload(channel, kind, payload, settings)
            if isinstance(decoded, DecodedMessage):
                decoded.channel = number
                if decoded.ts_event == NONE:
                    decoded.ts_event = time
    return Sequenced(decoded, sequence) if sequence else decoded


def _read_trailer(rest: list[object]) -> tuple[int, int]:
    """The sequence number and the time (ns) at the end of a record; 0 and NONE where it has none."""
    numbers = [value for value in rest if type(value) is int and value >= 0]
    if len(numbers) != len(rest) or len(rest) > 2:
        refuse("malformed", f"a record that ends with {shown(rest)}")
    sequence, time = 0, NONE
    for value in numbers:
        if value < _LATEST_SEQUENCE:
            sequence = value
        else:
            time = milliseconds({"time": value}, "time")
    return sequence, time


def _decode_payload(channel: str, kind: str, payload: object, settings: DecoderSettings) -> Content:
    if channel == "trades" and kind == "te":
        return _decode_trade(an_array(payload, "a trade"), settings)
    if channel != "book" or kind == "hb":
        return UNUSED  # includes trades from before the subscription, and "tu", which repeats each trade
    if kind == "cs":
        if type(payload) is not int or not -(2**31) <= payload < 2**32:
            refuse("malformed", f"{shown(payload)} is not a checksum of 32 bits")
        return DecodedMessage(DIFF, NONE, rule=UNNUMBERED, flags=HAS_CHECKSUM, checksum=payload & 0xFFFFFFFF)
    entries = an_array(payload, "a book")
    is_snapshot = not entries or isinstance(entries[0], list)
    bids, asks = _split_levels([an_array(entry, "a level") for entry in entries] if is_snapshot else [entries])
    return with_book(DecodedMessage(SNAPSHOT if is_snapshot else DIFF, NONE, rule=UNNUMBERED), bids, asks, settings)


def _split_levels(entries: list[list[object]]) -> tuple[Levels, Levels]:
    """Split levels `[price, count, amount]` into bids and asks. An ask's amount is negative; a count of 0 removes the level."""
    sides: tuple[list[object], list[object]] = [], []
    for entry in entries:
        if len(entry) != 3 or type(entry[1]) is not int or entry[1] < 0:
            refuse("malformed", f"a level that is not price, count and amount: {shown(entry)}")
        amount, is_ask = split_sign(entry[2])
        sides[is_ask].append([entry[0], amount if entry[1] else "0"])
    return levels(sides[0], "the book"), levels(sides[1], "the book")


def _decode_trade(trade: list[object], settings: DecoderSettings) -> DecodedMessage:
    if len(trade) < 4:
        refuse("malformed", f"a trade without id, time, amount and price: {shown(trade)}")
    found = {"id": trade[0], "time": trade[1]}
    amount, sold = split_sign(trade[2])
    trades = Trades(settings)
    trade_id = fitting_id("id", _read_number(trade[0]))
    trades.add(trade[3], amount, milliseconds(found, "time"), trade_id, sold=sold)
    return trades.to_message()


VENUE = Venue(
    decode_on_connection=json_on_connection(_decode),
    has_ids=False,
    numbers_connection=True,
    shows_loss=False,
    checksum=BITFINEX,
    snapshots="depth",
)
