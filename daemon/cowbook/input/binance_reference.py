"""The reference decoder for Binance's records: what docs/rules.md, section 1, says, and nothing faster.

It takes the records that the fast scanner does not recognise, and alone decides what is wrong with a record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Literal, NoReturn, cast

import msgspec

from cowbook.event_batch import DIFF, IS_AGGREGATE, NONE, SELL_AGGRESSOR, SNAPSHOT, TICKER, TRADE
from cowbook.input.decoding import (
    BLANK,
    MAX_ID,
    MAX_TIME_NS,
    UNUSED,
    Decoded,
    DecodedMessage,
    DecoderSettings,
    MisfitError,
    OtherSymbol,
    Reason,
    Rejected,
    explain_misfit,
    find_non_numeral,
    fixed_points,
    nanoseconds,
    shown,
)
from cowbook.venues import BINANCE_FUTURES, BINANCE_SPOT

MAX_NESTING = 100
"""Arrays and objects within each other; more is malformed, whatever the interpreter's own limit is."""

_Object = dict[str, object]
_Levels = tuple[list[str], list[str]]  # prices and sizes

_RECEIVE_TIME = re.compile(rb"([0-9]+)(?:\.([0-9]+))?:? (?=[^ \t\r\n])")
_PLAIN_LEVEL = re.compile(rb'\["[0-9.]*","[0-9.]*"\]')
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"|[][{}]', re.DOTALL)
_TICKER_KEYS = {"u", "b", "B", "a", "A"}
_PARTIAL_BOOKS = ("@depth5", "@depth10", "@depth20")
_ABSENT = object()
_LONGEST_INTEGER = 40  # digits that are read; more are out of any range


class _RefusedError(Exception):
    """A check failed; args are the reason and the detail."""


def decode_record(record: bytes, settings: DecoderSettings) -> Decoded:
    """What one record says: a line's content without its terminator, and without the file's byte order mark.

    Raises nothing that depends on the record: a bad one is `Rejected`.
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
    except _RefusedError as refusal:
        return Rejected(*refusal.args)


def _refuse(reason: Reason, detail: str) -> NoReturn:
    raise _RefusedError(reason, detail)


def _decode(record: bytes, settings: DecoderSettings) -> Decoded:
    prefix = _RECEIVE_TIME.match(record)
    value = _load(record[prefix.end() :] if prefix else record)
    if not isinstance(value, dict):
        _refuse("unknown", f"{shown(value)} is not an object")
    stream = value.get("stream")
    if isinstance(stream, str) and "data" in value:
        value = value["data"]
        if not isinstance(value, dict):
            _refuse("unknown", f"the wrapper's data is not an object: {shown(value)}")
    else:
        stream = ""
    build = _kind(value, stream)
    if build is None:
        return UNUSED
    symbol = _symbol(value, "symbol" if build is _snapshot else "s", stream)
    if symbol is not None and symbol != settings.name:
        return OtherSymbol(symbol)
    message = build(value, settings)
    if prefix:
        message.ts_recv = _receive_time(prefix)
    return message


def _kind(value: _Object, stream: str) -> Callable[[_Object, DecoderSettings], DecodedMessage] | None:
    """The function for this kind of record; None for a known kind that is not used."""
    event = value.get("e", _ABSENT)
    if event is not _ABSENT:
        if not isinstance(event, str):
            _refuse("malformed", f'"e" is not a string: {shown(event)}')
        return _EVENTS.get(event)
    if value.keys() >= _TICKER_KEYS:
        return _ticker
    if "lastUpdateId" in value:
        return None if any(partial in stream for partial in _PARTIAL_BOOKS) else _snapshot
    if "result" in value or "error" in value:
        return None
    _refuse("unknown", f"an object of no known kind, with the keys {shown(', '.join(value))}")


def _symbol(value: _Object, key: str, stream: str) -> str | None:
    """The symbol that a record names; None when it names none."""
    symbol = value.get(key, _ABSENT)
    if symbol is _ABSENT:
        name, at, _ = stream.partition("@")
        return name.upper() if at else None
    if not isinstance(symbol, str):
        _refuse("malformed", f'"{key}" is not a string: {shown(symbol)}')
    return symbol


# --- The kinds. Each looks at all its fields' grammar before it looks at any range.


def _diff(value: _Object, settings: DecoderSettings) -> DecodedMessage:
    first, last = _integer(value, "U"), _integer(value, "u")
    previous = _integer(value, "pu") if "pu" in value else None
    times = _times(value, required=True)
    bids, asks = _levels(value, "b"), _levels(value, "a")
    message = DecodedMessage(
        DIFF,
        _fitting_id("u", last),
        rule=BINANCE_SPOT if previous is None else BINANCE_FUTURES,
        ts_event=_event_time(times),
        first_id=_fitting_id("U", first),
        prev_id=NONE if previous is None else _fitting_id("pu", previous),
    )
    return _with_levels(message, bids, asks, settings)


def _snapshot(value: _Object, settings: DecoderSettings) -> DecodedMessage:
    last = _integer(value, "lastUpdateId")
    times = _times(value, required=False)
    bids, asks = _levels(value, "bids"), _levels(value, "asks")
    message = DecodedMessage(SNAPSHOT, _fitting_id("lastUpdateId", last), ts_event=_event_time(times))
    return _with_levels(message, bids, asks, settings)


def _trade(value: _Object, settings: DecoderSettings, id_key: str = "t", flags: int = 0) -> DecodedMessage:
    trade_id = _integer(value, id_key)
    times = _times(value, required=True)
    price, size = _numerals(value, "p", "q")
    maker = value.get("m")
    if not isinstance(maker, bool):
        _refuse("malformed", f'"m" is not true or false: {_shown_field(value, "m")}')
    if maker:
        flags |= SELL_AGGRESSOR
    message = DecodedMessage(TRADE, _fitting_id(id_key, trade_id), ts_event=_event_time(times), flags=flags)
    return _with_levels(message, ([price], [size]), ([], []), settings)


def _aggregate_trade(value: _Object, settings: DecoderSettings) -> DecodedMessage:
    return _trade(value, settings, id_key="a", flags=IS_AGGREGATE)


def _ticker(value: _Object, settings: DecoderSettings) -> DecodedMessage:
    last = _integer(value, "u")
    bid, bid_size, ask, ask_size = _numerals(value, "b", "B", "a", "A")
    message = DecodedMessage(TICKER, _fitting_id("u", last))
    return _with_levels(message, ([bid], [bid_size]), ([ask], [ask_size]), settings)


_EVENTS: dict[str, Callable[[_Object, DecoderSettings], DecodedMessage]] = {
    "depthUpdate": _diff,
    "trade": _trade,
    "aggTrade": _aggregate_trade,
    "bookTicker": _ticker,
}


# --- Grammar.


def _load(text: bytes) -> object:
    """Decode JSON. Numbers with fraction or exponent become floats of no meaning: no field of ours has them."""
    if _is_deep(text):
        _refuse("malformed", f"nested more than {MAX_NESTING} deep")
    try:
        value: object = _JSON.decode(text)
    except msgspec.ValidationError:
        return _load_odd_integers(text)  # an integer of thousands of digits
    except msgspec.DecodeError as error:
        _refuse("malformed", str(error))
    # The decoder gives 0 for -0 too, and an id must not have a sign.
    return _load_odd_integers(text) if b"-0" in text else value


_JSON = msgspec.json.Decoder(float_hook=lambda _: 0.5)


def _load_odd_integers(text: bytes) -> object:
    """Decode JSON with integers of any length; too long ones become some that no range allows, signed ones -1."""
    try:
        value: object = json.loads(
            text.decode(), parse_int=_odd_integer, parse_float=lambda _: 0.5, parse_constant=_refuse_constant
        )
        json.dumps(value, ensure_ascii=False).encode()  # raises for lone surrogates, as the other decoder does
    except ValueError as error:
        _refuse("malformed", f"not JSON: {error}")
    return value


def _odd_integer(text: str) -> int:
    if text.startswith("-"):
        return -1
    return int(text) if len(text) <= _LONGEST_INTEGER else 10**_LONGEST_INTEGER


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a value")


def _is_deep(text: bytes) -> bool:
    """Whether arrays and objects are nested more than MAX_NESTING deep; exact for JSON, anything for other text."""
    opening = text.count(b"{") + text.count(b"[")
    if opening < MAX_NESTING:
        return False
    # Levels are innermost: the others and one of them bound the depth.
    if opening - len(_PLAIN_LEVEL.findall(text)) < MAX_NESTING:
        return False
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        symbol = token[0]
        if symbol in (b"[", b"{"):
            depth += 1
            if depth > MAX_NESTING:
                return True
        elif symbol in (b"]", b"}"):
            depth -= 1
    return False


def _shown_field(value: _Object, key: str) -> str:
    return shown(value[key]) if key in value else "it is missing"


def _integer(value: _Object, key: str) -> int:
    """An integer without sign, of any size."""
    number = value.get(key)
    # A bool is an int to Python, not to JSON.
    if type(number) is not int or number < 0:
        _refuse("malformed", f'"{key}" is not an integer without sign: {_shown_field(value, key)}')
    return number


def _times(value: _Object, required: bool) -> dict[str, int]:
    """The times that a record has, the one that counts last."""
    times = {"E": _integer(value, "E")} if required or "E" in value else {}
    if "T" in value:
        times["T"] = _integer(value, "T")
    return times


def _numerals(value: _Object, *keys: str) -> list[str]:
    texts = [value.get(key) for key in keys]
    bad = find_non_numeral(texts)
    if bad >= 0:
        _refuse("malformed", f'"{keys[bad]}" is not a string with a decimal number: {_shown_field(value, keys[bad])}')
    return cast(list[str], texts)


def _levels(value: _Object, key: str) -> _Levels:
    """Prices and sizes of `[[price, size, ...], ...]`."""
    levels = value.get(key)
    if not isinstance(levels, list):
        _refuse("malformed", f'"{key}" is not an array: {_shown_field(value, key)}')
    for level in levels:
        if not isinstance(level, list) or len(level) < 2:
            _refuse("malformed", f'"{key}" has a level that is not an array of price and size: {shown(level)}')
    texts = [level[0] for level in levels], [level[1] for level in levels]
    for column in texts:
        bad = find_non_numeral(column)
        if bad >= 0:
            text = shown(column[bad])
            _refuse("malformed", f'level {bad} of "{key}" has {text} in place of a string with a decimal number')
    return texts


# --- Ranges.


def _with_levels(message: DecodedMessage, bids: _Levels, asks: _Levels, settings: DecoderSettings) -> DecodedMessage:
    count = len(bids[0])
    prices = _fixed(bids[0] + asks[0], "price", settings.price_decimals)
    sizes = _fixed(bids[1] + asks[1], "size", settings.size_decimals)
    message.bid_prices, message.ask_prices = prices[:count], prices[count:]
    message.bid_sizes, message.ask_sizes = sizes[:count], sizes[count:]
    return message


def _fixed(numerals: list[str], name: Literal["price", "size"], decimals: int) -> list[int]:
    try:
        return fixed_points(numerals, decimals)
    except MisfitError as misfit:
        _refuse("out_of_range", explain_misfit(name, misfit.args[0], decimals))


def _fitting_id(key: str, value: int) -> int:
    if value > MAX_ID:
        _refuse("out_of_range", f'the id "{key}" is 10^18 or more: {shown(value)}')
    return value


def _event_time(times: dict[str, int]) -> int:
    """The last of the times in ns, or NONE; all must fit."""
    event_time = NONE
    for key, value in times.items():
        time = nanoseconds(value)
        if time is None:
            _refuse("out_of_range", f'the time "{key}" is not below 2^63 ns: {shown(value)}')
        event_time = time
    return event_time


def _receive_time(prefix: re.Match[bytes]) -> int:
    """The receive time in ns: a whole number of a unit told by its magnitude, or seconds with a fraction."""
    digits, fraction = prefix.groups()
    whole = int(digits) if len(digits) < _LONGEST_INTEGER else _odd_integer(digits.decode().lstrip("0") or "0")
    time = nanoseconds(whole) if fraction is None else whole * 10**9 + int(fraction[:9].ljust(9, b"0"))
    if time is None or time > MAX_TIME_NS:
        _refuse("out_of_range", f"the receive time is not below 2^63 ns: {shown(prefix[0].decode())}")
    return time
