"""Bitfinex v2 `book` (P0 to P4) and `trades`: channels by number, one sequence over the whole connection, checksums if asked for.

With the configuration flag SEQ_ALL (65536) every record of a connection ends with its number; with the flag for checksums
(131072) one follows the changes now and then. `name` is the venue's symbol, "tBTCUSD". Changes carry no time: they have the
capture's receive time, or with the flag for timestamps (32768) their own. Source: docs.bitfinex.com, "WebSocket", "Book",
"Checksum".
"""

from __future__ import annotations

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, Object, fitting_id, refuse
from cowbook.input.venue import Connection, Venue, json_on_connection
from cowbook.input.verdict import UNUSED, Content, Decoded, DecodedMessage, OtherSymbol, Sequenced, shown
from cowbook.plain.messages import DIFF, HAS_CHECKSUM, NONE, SNAPSHOT
from cowbook.plain.schemes import BITFINEX, UNNUMBERED
from cowbook.venues.fields import Trades, an_array, an_object, levels, milliseconds, numeral, text, with_book

_LATEST_SEQUENCE = 10**12  # behind it, numbers are times in ms
_PAYLOADS = {"hb": 0, "cs": 1, "te": 1, "tu": 1, "fte": 1, "ftu": 1}
"""How many values follow the kind of a record."""


def _decode(value: object, settings: DecoderSettings, connection: Connection) -> tuple[Decoded, Connection]:
    if isinstance(value, list):
        return _on_channel(value, settings, connection), connection
    return _event(an_object(value, "the record"), settings, connection)


def _event(found: Object, settings: DecoderSettings, connection: Connection) -> tuple[Decoded, Connection]:
    """What is agreed on: the number of a channel stands for its kind and symbol."""
    event = text(found, "event")
    if event == "info" and "version" in found:
        return UNUSED, {}  # a connection begins
    if event not in ("subscribed", "unsubscribed"):
        return UNUSED, connection
    channel = str(_channel(found.get("chanId")))
    others = {number: what for number, what in connection.items() if number != channel}
    if event == "unsubscribed":
        return UNUSED, others
    symbol = text(found, "symbol") if "symbol" in found else ""
    kind = text(found, "channel")
    if kind == "book" and found.get("prec") == "R0":
        kind = "raw"
    return UNUSED if symbol == settings.name else OtherSymbol(symbol), {**others, channel: f"{kind} {symbol}"}


def _channel(value: object) -> int:
    if type(value) is not int or value < 0:
        refuse("malformed", f"{shown(value)} is not the number of a channel")
    return value


def _on_channel(value: list[object], settings: DecoderSettings, connection: Connection) -> Decoded:
    if len(value) < 2:
        refuse("malformed", f"an array of no known kind: {shown(value)}")
    number = _channel(value[0])
    kind = value[1] if isinstance(value[1], str) else "data"
    if kind not in (*_PAYLOADS, "data"):
        refuse("unknown", f"a record of the kind {shown(kind)}")
    end = 2 + _PAYLOADS.get(kind, 0)
    sequence, time = _trailer(value[end:])
    payload = value[end - 1]
    if number == 0:
        decoded: Content = UNUSED  # of the account
    elif str(number) not in connection:
        decoded = OtherSymbol(f"channel {number}")  # nothing in this capture says whose it is
    else:
        channel, _, symbol = connection[str(number)].partition(" ")
        if symbol != settings.name:
            decoded = OtherSymbol(symbol)
        elif channel == "raw":
            refuse("unknown", 'single orders (prec = "R0"): subscribe to a book of levels, P0')
        else:
            decoded = _payload(channel, kind, payload, settings)
            if isinstance(decoded, DecodedMessage):
                decoded.channel = number
                if decoded.ts_event == NONE:
                    decoded.ts_event = time
    return Sequenced(decoded, sequence) if sequence else decoded


def _trailer(rest: list[object]) -> tuple[int, int]:
    """The number and the time that a record ends with: 0 and NONE where it has none."""
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


def _payload(channel: str, kind: str, payload: object, settings: DecoderSettings) -> Content:
    if channel == "trades" and kind == "te":
        return _trade(an_array(payload, "a trade"), settings)
    if channel != "book" or kind == "hb":
        return UNUSED  # also the trades before the subscription, and each trade a second time, as "tu"
    if kind == "cs":
        if type(payload) is not int or not -(2**31) <= payload < 2**32:
            refuse("malformed", f"{shown(payload)} is not a checksum of 32 bits")
        return DecodedMessage(DIFF, NONE, rule=UNNUMBERED, flags=HAS_CHECKSUM, checksum=payload & 0xFFFFFFFF)
    entries = an_array(payload, "a book")
    is_snapshot = not entries or isinstance(entries[0], list)
    bids, asks = _levels([an_array(entry, "a level") for entry in entries] if is_snapshot else [entries])
    return with_book(DecodedMessage(SNAPSHOT if is_snapshot else DIFF, NONE, rule=UNNUMBERED), bids, asks, settings)


def _levels(entries: list[list[object]]) -> tuple[Levels, Levels]:
    """Bids and asks of `[price, count, amount]`: of asks the amount is negative, and without orders the level goes."""
    sides: tuple[list[object], list[object]] = [], []
    for entry in entries:
        if len(entry) != 3 or type(entry[1]) is not int or entry[1] < 0:
            refuse("malformed", f"a level that is not price, count and amount: {shown(entry)}")
        amount, is_ask = _amount(entry[2])
        sides[is_ask].append([entry[0], amount if entry[1] else "0"])
    return levels(sides[0], "the book"), levels(sides[1], "the book")


def _amount(value: object) -> tuple[object, bool]:
    """An amount without its sign, and whether it has one."""
    written = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if written.startswith("-"):
        return numeral(type(value)(written[1:])), True  # type: ignore[call-arg]
    return numeral(value), False


def _trade(trade: list[object], settings: DecoderSettings) -> DecodedMessage:
    if len(trade) < 4:
        refuse("malformed", f"a trade without id, time, amount and price: {shown(trade)}")
    found = {"id": trade[0], "time": trade[1]}
    amount, sold = _amount(trade[2])
    trades = Trades(settings)
    trade_id = fitting_id("id", _channel(trade[0]))
    trades.add(trade[3], amount, milliseconds(found, "time"), trade_id, sold=sold)
    return trades.to_message()


VENUE = Venue(decode_on_connection=json_on_connection(_decode), has_ids=False, shows_loss=False, checksum=BITFINEX)
