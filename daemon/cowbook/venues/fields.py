"""Helpers of the venues' modules: levels, trades and times in the forms in which venues write them. Bad values are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from cowbook.input.forms.shapes import ASK_PRICE, ASK_SIZE, BID_PRICE, BID_SIZE, Holes, Shape
from cowbook.input.numerals import MAX_TIME_NS, find_non_numeral, nanoseconds, plain
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import (
    Levels,
    Numeral,
    Object,
    RefusedError,
    fitting_id,
    fixed,
    integer,
    refuse,
    shown_field,
    with_levels,
)
from cowbook.input.verdict import UNUSED, Decoded, DecodedMessage, shown
from cowbook.plain.messages import (
    HAS_CHECKSUM,
    HAS_NO_SIDE,
    IS_LOOSE,
    IS_PICTURE,
    IS_RESET,
    NONE,
    SELL_AGGRESSOR,
    SNAPSHOT,
    TICKER,
    TRADE,
    TRADES,
)

_ISO = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(?:Z|\+00:00)")
_SECONDS = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9})[0-9]*)?")
_MILLISECONDS = re.compile(r"([0-9]{1,13})(?:\.([0-9]{1,6})[0-9]*)?")
_LONGEST_ID = 19


def an_object(value: object, what: str) -> Object:
    """Return a value that is a JSON object; refuse others. `what` names it in the refusal."""
    if not isinstance(value, dict):
        refuse("malformed", f"{what} is not an object: {shown(value)}")
    return value


def an_array(value: object, what: str) -> list[object]:
    """Return a value that is a JSON array; refuse others. `what` names it in the refusal."""
    if not isinstance(value, list):
        refuse("malformed", f"{what} is not an array: {shown(value)}")
    return value


def text(value: Object, key: str) -> str:
    """Return a field that is a string."""
    found = value.get(key)
    if not isinstance(found, str) or isinstance(found, Numeral):
        refuse("malformed", f'"{key}" is not a string: {shown_field(value, key)}')
    return found


def only_one(values: list[object], what: str) -> Object:
    """Return an array's only element, an object."""
    if len(values) != 1:
        refuse("malformed", f"{what} has {len(values)} elements, not one")
    return an_object(values[0], what)


def numeral(value: object) -> object:
    """A decimal number as text, from a string or a number. Anything else is returned unchanged, for the caller to refuse."""
    if isinstance(value, str):
        return plain(str(value))
    return str(value) if type(value) is int else value


def split_sign(value: object) -> tuple[object, bool]:
    """An amount without its sign, and whether it was negative."""
    written = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if written.startswith("-"):
        return numeral(type(value)(written[1:])), True  # type: ignore[call-arg]
    return numeral(value), False


def levels(found: object, what: str, price: str | int = 0, size: str | int = 1) -> Levels:
    """Prices and sizes of an array of levels. `price` and `size` are their keys or indices in a level."""
    columns: tuple[list[object], list[object]] = [], []
    for level in an_array(found, what):
        for column, place in zip(columns, (price, size), strict=True):
            try:
                column.append(numeral(level[place]))  # type: ignore[index]
            except (TypeError, KeyError, IndexError):
                refuse("malformed", f"{what} has a level without price and size: {shown(level)}")
    return _require_numerals(columns[0], "price", what), _require_numerals(columns[1], "size", what)


def _require_numerals(texts: Sequence[object], name: Literal["price", "size"], what: str) -> list[str]:
    bad = find_non_numeral(texts, name)
    if bad >= 0:
        refuse("malformed", f"level {bad} of {what} has {shown(texts[bad])} in place of a decimal number")
    return list(texts)  # type: ignore[arg-type]


def with_book(
    message: DecodedMessage,
    bids: Levels,
    asks: Levels,
    settings: DecoderSettings,
    checksum: int | None = None,
    *,
    resets: bool = True,
) -> DecodedMessage:
    """Set a depth message's levels and the checksum of the book after it.

    A snapshot that is no picture replaces the book, unless it stands beside the stream (`resets` is False) and its id decides.
    """
    with_levels(message, bids, asks, settings)
    if message.kind == SNAPSHOT and resets and message.flags & IS_PICTURE == 0:
        message.flags |= IS_RESET
    if checksum is not None:
        message.flags |= HAS_CHECKSUM
        message.checksum = checksum & 0xFFFFFFFF
    if checksum is not None or message.kind == SNAPSHOT:
        message.price_decimals = _most_decimals(bids[0] + asks[0])
        message.size_decimals = _most_decimals(bids[1] + asks[1])
    return message


class BestKeys(NamedTuple):
    """The keys of a venue's tickers that no id ties to a depth message: price and size of the best bid and ask."""

    bid: str
    bid_size: str
    ask: str
    ask_size: str


def loose_ticker(value: object, settings: DecoderSettings, keys: BestKeys) -> Decoded:
    """The ticker in an object with these keys. Without sizes their values are -1.

    It proves nothing, so a value that is no object, and one whose values are no numerals or do not fit, is unused: a dead letter
    would end sync.
    """
    if not isinstance(value, dict):
        return UNUSED
    has_sizes = keys.bid_size in value or keys.ask_size in value
    prices = [numeral(value.get(key)) for key in (keys.bid, keys.ask)]
    sizes = [numeral(value.get(key)) for key in (keys.bid_size, keys.ask_size)] if has_sizes else ["0", "0"]
    if find_non_numeral(prices, "price") >= 0 or find_non_numeral(sizes, "size") >= 0:
        return UNUSED
    (bid, ask), (bid_size, ask_size) = map(str, prices), map(str, sizes)
    message = DecodedMessage(TICKER, NONE, flags=IS_LOOSE)
    try:
        with_levels(message, ([bid], [bid_size]), ([ask], [ask_size]), settings)
    except RefusedError:
        return UNUSED
    if not has_sizes:
        message.bid_sizes, message.ask_sizes = [-1], [-1]
    return message


def ticker_shape(keys: BestKeys, place: str, others: Holes, optional: Holes | None = None) -> Shape:
    """The shape of records with such a ticker in the object at the path `place`, of which nothing else matters."""
    holes = (BID_PRICE, BID_SIZE, ASK_PRICE, ASK_SIZE)
    best = {f"{place}.{key}": hole for key, hole in zip(keys, holes, strict=True)}
    return Shape(others | best, optional or {}, ignored=place)


def _most_decimals(texts: list[str]) -> int:
    """The largest number of decimals among numerals."""
    return max((len(text) - text.find(".") - 1 if "." in text else 0 for text in texts), default=0)


def a_checksum(value: Object, key: str) -> int | None:
    """A field that is a 32-bit checksum, signed or not, as a number or text. None if it is missing."""
    found = value.get(key)
    if isinstance(found, str) and re.fullmatch(r"-?[0-9]{1,10}", found):
        found = int(found)
    if found is None:
        return None
    if type(found) is not int or not -(2**31) <= found < 2**32:
        refuse("malformed", f'"{key}" is not a checksum of 32 bits: {shown(found)}')
    return found


class Trades:
    """The trades of one record, in order."""

    def __init__(self, settings: DecoderSettings) -> None:
        self._settings = settings
        self._prices: list[object] = []
        self._sizes: list[object] = []
        self._rows: list[tuple[int, int, int]] = []

    def add(self, price: object, size: object, ts_event: int, trade_id: int, *, sold: bool | None) -> None:
        """Add a trade. `ts_event` is in ns; `sold` says whether the aggressor sold, None that the venue does not say it."""
        self._prices.append(numeral(price))
        self._sizes.append(numeral(size))
        self._rows.append((ts_event, trade_id, HAS_NO_SIDE if sold is None else SELL_AGGRESSOR if sold else 0))

    def to_message(self) -> DecodedMessage:
        """Make one message. Of several trades the ask levels hold the times and flags, then the ids."""
        prices = fixed(_require_numerals(self._prices, "price", "the trades"), "price", self._settings.price_decimals)
        sizes = fixed(_require_numerals(self._sizes, "size", "the trades"), "size", self._settings.size_decimals)
        newest = max(row[0] for row in self._rows)
        if len(self._rows) == 1:
            _, trade_id, flags = self._rows[0]
            return DecodedMessage(TRADE, trade_id, ts_event=newest, flags=flags, bid_prices=prices, bid_sizes=sizes)
        message = DecodedMessage(TRADES, self._rows[-1][1], ts_event=newest, bid_prices=prices, bid_sizes=sizes)
        message.ask_prices = [row[0] for row in self._rows] + [row[1] for row in self._rows]
        message.ask_sizes = [row[2] for row in self._rows] + [0] * len(self._rows)
        return message


def text_id(value: object) -> int:
    """A trade's id that is text. NONE if it is missing or not a number below 2^63."""
    is_number = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _LONGEST_ID
    number = int(str(value)) if is_number else NONE
    return number if number < 2**63 else NONE


def is_sell(value: object, buy: str = "buy", sell: str = "sell") -> bool:
    """Whether a side's name is `sell`; refuses what is neither."""
    if value not in (buy, sell):
        refuse("malformed", f"{shown(value)} is not {buy} or {sell}")
    return value == sell


def milliseconds(value: Object, key: str) -> int:
    """A time field since 1970 in s, ms, µs or ns, told by magnitude, as an integer or text; returned in ns."""
    found = value.get(key)
    if isinstance(found, str) and found.isascii() and found.isdigit():
        value = {key: int(found[:40])}
    time = nanoseconds(integer(value, key))
    if time is None:
        refuse("out_of_range", f'the time "{key}" is not below 2^63 ns: {shown(found)}')
    return time


def iso_time(value: object) -> int:
    """A time such as `2026-08-02T03:36:03.328024Z`, in ns since 1970."""
    match = _ISO.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        refuse("malformed", f"{shown(value)} is not a time in UTC")
    try:
        seconds = int(datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp())
    except ValueError:
        refuse("malformed", f"{shown(value)} is not a time")
    time = seconds * 10**9 + int((match[2] or "0").ljust(9, "0"))
    if not 0 <= time <= MAX_TIME_NS:
        refuse("out_of_range", f"{shown(value)} is not between 1970 and 2262")
    return time


def seconds_time(value: object) -> int:
    """A time in seconds since 1970 with a fraction, as a number or text; returned in ns."""
    match = _SECONDS.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if match is None:
        refuse("malformed", f"{shown(value)} is not a time in seconds")
    time = int(match[1]) * 10**9 + int((match[2] or "0").ljust(9, "0"))
    if time > MAX_TIME_NS:
        refuse("out_of_range", f"the time {shown(value)} is not below 2^63 ns")
    return time


def fractional_milliseconds(value: object) -> int:
    """A time in milliseconds since 1970 with a fraction or without, as a number or text; returned in ns."""
    match = _MILLISECONDS.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if match is None:
        refuse("malformed", f"{shown(value)} is not a time in milliseconds")
    time = int(match[1]) * 10**6 + int((match[2] or "0").ljust(6, "0"))
    if time > MAX_TIME_NS:
        refuse("out_of_range", f"the time {shown(value)} is not below 2^63 ns")
    return time


def whole_number(value: Object, key: str) -> int:
    """An id that is a whole number, or text of one."""
    found = value.get(key)
    if isinstance(found, str) and found.isascii() and found.isdigit():
        value = {key: int(found[:40])}
    return fitting_id(key, integer(value, key))


def latest(times: Iterable[int]) -> int:
    """The latest of times; NONE if there are none."""
    return max(times, default=NONE)
