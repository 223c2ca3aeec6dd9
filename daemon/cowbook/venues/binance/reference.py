"""The reference decoder for Binance's records: docs/rules.md, section 1, in plain Python.

It decodes the records that the fast scanner does not recognise, and alone decides what is wrong with a record.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.envelope import Envelope, open_envelope
from cowbook.input.text.json_fields import (
    Object,
    RefusedError,
    event_time,
    fitting_id,
    integer,
    levels,
    load,
    price_and_size,
    refuse,
    shown_field,
    times,
    with_levels,
)
from cowbook.input.verdict import BLANK, UNUSED, Decoded, DecodedMessage, OtherSymbol, Rejected, shown
from cowbook.plain.messages import (
    DIFF,
    FUTURES,
    IS_AGGREGATE,
    IS_PICTURE,
    IS_UNLABELLED,
    NONE,
    RPI,
    SELL_AGGRESSOR,
    SNAPSHOT,
    SPOT,
    TICKER,
    TRADE,
)
from cowbook.plain.schemes import RANGE, RANGE_WITH_PREVIOUS
from cowbook.plain.vocabulary import SPEED_NAMES

_TICKER_KEYS = {"u", "b", "B", "a", "A"}
_PARTIAL_BOOKS = ("@depth5", "@depth10", "@depth20")
_RPI_DEPTH = "@rpiDepth"
_SPEEDS = {f"@{name}": number for number, name in enumerate(SPEED_NAMES, start=1)}
"""Number of the speed (`MESSAGE.speed`) by what follows the symbol in a stream's name."""

OPTIONS_CHANNEL = 1
"""Number of the channel of options, whose books are pictures."""
_SIDES = {"1": False, "BUY": False, "-1": True, "SELL": True}
_LONGEST_ID = 20  # digits

_ABSENT = object()


def decode_record(record: bytes, settings: DecoderSettings) -> Decoded:
    """Decode one record: a line without its terminator and without the file's byte order mark.

    A bad record is returned as `Rejected`, never raised.
    """
    if len(record) > settings.max_line_bytes:
        return Rejected("overlong", f"{len(record)} bytes: max_line_bytes = {len(record)} would fit")
    if not record.strip(b" \t"):
        return BLANK
    try:
        if not record.isascii():
            record.decode()
        return _decode(record, settings)
    except UnicodeDecodeError as error:
        return Rejected("not_utf8", f"byte {error.start} is not UTF-8: {error.reason}")
    except RefusedError as refusal:
        return Rejected(*refusal.args)


def _decode(record: bytes, settings: DecoderSettings) -> Decoded:
    envelope = open_envelope(record, settings.envelope)
    if envelope is None:
        return UNUSED
    value = load(envelope.message)
    if envelope.url:
        return _decode_answer(value, envelope, settings)
    if not isinstance(value, dict):
        refuse("unknown", f"{shown(value)} is not an object")
    stream = value.get("stream")
    if isinstance(stream, str) and "data" in value:
        value = value["data"]
        if not isinstance(value, dict):
            refuse("unknown", f"the wrapper's data is not an object: {shown(value)}")
    else:
        stream = ""
    build = _choose_builder(value, stream)
    if build is None:
        return UNUSED
    symbol = _named_symbol(value, "symbol" if build is _build_snapshot else "s", stream)
    if symbol is not None and symbol != settings.name:
        return OtherSymbol(symbol)
    message = build(value, settings)
    if message.kind == DIFF:
        _tell_stream(message, stream)
    elif symbol is None and message.kind == SNAPSHOT:
        message.flags |= IS_UNLABELLED
    message.ts_recv = envelope.ts_recv()
    return message


def _decode_answer(value: object, envelope: Envelope, settings: DecoderSettings) -> Decoded:
    """Decode a REST answer. A depth snapshot is used; its symbol is only in the address."""
    try:
        address = urlsplit(envelope.url)
    except ValueError:  # brackets that do not form an address
        return UNUSED
    if not isinstance(value, dict) or "lastUpdateId" not in value or not address.path.endswith("/depth"):
        return UNUSED
    symbol = parse_qs(address.query).get("symbol", [""])[0]
    if symbol != settings.name:
        return OtherSymbol(symbol)
    message = _build_snapshot(value, settings)
    message.ts_recv = envelope.ts_recv()
    return message


def _choose_builder(value: Object, stream: str) -> Callable[[Object, DecoderSettings], DecodedMessage] | None:  # noqa: RET503 - it refuses
    """Choose the function that builds this kind of message; None for a known kind that is not used."""
    event = value.get("e", _ABSENT)
    if event is not _ABSENT:
        if not isinstance(event, str):
            refuse("malformed", f'"e" is not a string: {shown(event)}')
        is_partial = event == "depthUpdate" and any(partial in stream for partial in _PARTIAL_BOOKS)
        return _build_futures_partial_book if is_partial else _EVENTS.get(event)
    if value.keys() >= _TICKER_KEYS:
        return _build_ticker
    if "lastUpdateId" in value:
        return _build_snapshot
    if "result" in value or "error" in value:
        return None
    refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(value))}")


def _named_symbol(value: Object, key: str, stream: str) -> str | None:
    """The symbol that a record names; None if it names none."""
    symbol = value.get(key, _ABSENT)
    if symbol is _ABSENT:
        name, at, _ = stream.partition("@")
        return name.upper() if at else None
    if not isinstance(symbol, str):
        refuse("malformed", f'"{key}" is not a string: {shown(symbol)}')
    return symbol


def _tell_stream(message: DecodedMessage, stream: str) -> None:
    """Set what only the stream's name says of a diff: that it is of the `rpiDepth` book, and its speed."""
    if _RPI_DEPTH in stream:
        message.market = RPI
    _, at, rest = stream.partition("@")
    message.speed = _SPEEDS.get(at + rest, 0)


# --- The builders. Each checks the grammar of all its fields before any range, so that `malformed` precedes `out_of_range`.


def _build_diff(value: Object, settings: DecoderSettings) -> DecodedMessage:
    first, last = integer(value, "U"), integer(value, "u")
    previous = integer(value, "pu") if "pu" in value else None
    at = times(value, required=True)
    bids, asks = levels(value, "b"), levels(value, "a")
    message = DecodedMessage(
        DIFF,
        fitting_id("u", last),
        rule=RANGE if previous is None else RANGE_WITH_PREVIOUS,
        ts_event=event_time(at),
        first_id=fitting_id("U", first),
        prev_id=NONE if previous is None else fitting_id("pu", previous),
        market=SPOT if previous is None else FUTURES,
    )
    return with_levels(message, bids, asks, settings)


def _build_futures_partial_book(value: Object, settings: DecoderSettings) -> DecodedMessage:
    """A record that is written as a diff, and has the best levels as they are: nothing joins on to the one before."""
    message = _build_diff(value, settings)
    message.kind = SNAPSHOT
    message.rule, message.first_id, message.prev_id = RANGE, NONE, NONE
    message.market = FUTURES
    return message


def _build_snapshot(value: Object, settings: DecoderSettings) -> DecodedMessage:
    last = integer(value, "lastUpdateId")
    at = times(value, required=False)
    bids, asks = levels(value, "bids"), levels(value, "asks")
    market = FUTURES if at else SPOT
    message = DecodedMessage(SNAPSHOT, fitting_id("lastUpdateId", last), ts_event=event_time(at), market=market)
    return with_levels(message, bids, asks, settings)


def _build_trade(value: Object, settings: DecoderSettings, id_key: str = "t", flags: int = 0) -> DecodedMessage:
    trade_id = integer(value, id_key)
    at = times(value, required=True)
    price, size = price_and_size(value, "p", "q")
    maker = value.get("m")
    if not isinstance(maker, bool):
        refuse("malformed", f'"m" is not true or false: {shown_field(value, "m")}')
    if maker:
        flags |= SELL_AGGRESSOR
    market = FUTURES if "X" in value else SPOT if "M" in value else 0
    message = DecodedMessage(TRADE, fitting_id(id_key, trade_id), ts_event=event_time(at), flags=flags, market=market)
    return with_levels(message, ([price], [size]), ([], []), settings)


def _build_trade_or_options_trade(value: Object, settings: DecoderSettings) -> DecodedMessage:
    return _build_options_trade(value, settings) if "S" in value and "m" not in value else _build_trade(value, settings)


def _build_options_trade(value: Object, settings: DecoderSettings) -> DecodedMessage:
    """A trade of options: its id may be text, and `S` is the aggressor's side."""
    text = value.get("t")
    is_text = isinstance(text, str) and text.isascii() and text.isdigit()
    trade_id = integer({"t": int(text[:_LONGEST_ID])} if is_text and isinstance(text, str) else value, "t")
    at = times(value, required=True)
    price, size = price_and_size(value, "p", "q")
    side = value.get("S")
    if not isinstance(side, str) or side not in _SIDES:
        refuse("malformed", f'"S" is no side: {shown_field(value, "S")}')
    flags = SELL_AGGRESSOR if _SIDES[side] else 0
    message = DecodedMessage(TRADE, fitting_id("t", trade_id), ts_event=event_time(at), flags=flags)
    return with_levels(message, ([price], [size]), ([], []), settings)


def _build_options_book(value: Object, settings: DecoderSettings) -> DecodedMessage:
    """The best levels of options, which come anew each time: a picture."""
    last = integer(value, "u")
    at = times(value, required=True)
    bids, asks = levels(value, "b"), levels(value, "a")
    message = DecodedMessage(
        SNAPSHOT, fitting_id("u", last), rule=RANGE, ts_event=event_time(at), flags=IS_PICTURE, channel=OPTIONS_CHANNEL
    )
    return with_levels(message, bids, asks, settings)


def _build_aggregate_trade(value: Object, settings: DecoderSettings) -> DecodedMessage:
    return _build_trade(value, settings, id_key="a", flags=IS_AGGREGATE)


def _build_ticker(value: Object, settings: DecoderSettings) -> DecodedMessage:
    last = integer(value, "u")
    bid, bid_size = price_and_size(value, "b", "B")
    ask, ask_size = price_and_size(value, "a", "A")
    message = DecodedMessage(TICKER, fitting_id("u", last), market=FUTURES if "e" in value else SPOT)
    return with_levels(message, ([bid], [bid_size]), ([ask], [ask_size]), settings)


_EVENTS: dict[str, Callable[[Object, DecoderSettings], DecodedMessage]] = {
    "depthUpdate": _build_diff,
    "depth": _build_options_book,
    "trade": _build_trade_or_options_trade,
    "aggTrade": _build_aggregate_trade,
    "bookTicker": _build_ticker,
}
