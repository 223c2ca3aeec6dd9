"""Fields of JSON records as venues write them: grammar first, range second, and what is said when one is broken."""

from __future__ import annotations

import json
import re
from typing import Literal, NoReturn, cast

import msgspec

from cowbook.input.numerals import MAX_ID, MAX_TIME_NS, MisfitError, explain_misfit, find_non_numeral, fixed_points, nanoseconds
from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import DecodedMessage, shown
from cowbook.plain.messages import NONE
from cowbook.plain.vocabulary import Reason

MAX_NESTING = 100
"""Arrays and objects within each other; more is malformed, whatever the interpreter's own limit is."""

Object = dict[str, object]
Levels = tuple[list[str], list[str]]
"""Prices and sizes."""

RECEIVE_TIME = re.compile(rb"([0-9]+)(?:\.([0-9]+))?:? (?=[^ \t\r\n])")
_PLAIN_LEVEL = re.compile(rb'\["[0-9.]*","[0-9.]*"\]')
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"|[][{}]', re.DOTALL)
_LONGEST_INTEGER = 40  # digits that are read; more are out of any range


class RefusedError(Exception):
    """A check failed; args are the reason and the detail."""


def refuse(reason: Reason, detail: str) -> NoReturn:
    """Raise RefusedError."""
    raise RefusedError(reason, detail)


def load(text: bytes) -> object:
    """Decode JSON. Numbers with fraction or exponent become floats of no meaning: no field of ours has them."""
    if _is_deep(text):
        refuse("malformed", f"nested more than {MAX_NESTING} deep")
    try:
        value: object = _JSON.decode(text)
    except msgspec.ValidationError:
        return _load_odd_integers(text)  # an integer of thousands of digits
    except msgspec.DecodeError as error:
        refuse("malformed", str(error))
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
        refuse("malformed", f"not JSON: {error}")
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


def shown_field(value: Object, key: str) -> str:
    """A field as a detail quotes it."""
    return shown(value[key]) if key in value else "it is missing"


class Numeral(str):
    """A JSON number with fraction or exponent, as it was written."""

    __slots__ = ()


_JSON_WITH_NUMERALS = msgspec.json.Decoder(float_hook=Numeral)


def load_with_numerals(text: bytes) -> object:
    """As `load`, with numbers that are no integers as they are written."""
    if _is_deep(text):
        refuse("malformed", f"nested more than {MAX_NESTING} deep")
    try:
        value: object = _JSON_WITH_NUMERALS.decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        refuse("malformed", str(error))
    return value


def integer(value: Object, key: str) -> int:
    """An integer without sign, of any size."""
    number = value.get(key)
    # A bool is an int to Python, not to JSON.
    if type(number) is not int or number < 0:
        refuse("malformed", f'"{key}" is not an integer without sign: {shown_field(value, key)}')
    return number


def times(value: Object, required: bool) -> dict[str, int]:
    """The times that a record has by `E` and `T`, the one that counts last."""
    found = {"E": integer(value, "E")} if required or "E" in value else {}
    if "T" in value:
        found["T"] = integer(value, "T")
    return found


def numerals(value: Object, *keys: str) -> list[str]:
    """Strings with decimal numbers."""
    texts = [value.get(key) for key in keys]
    bad = find_non_numeral(texts)
    if bad >= 0:
        refuse("malformed", f'"{keys[bad]}" is not a string with a decimal number: {shown_field(value, keys[bad])}')
    return cast(list[str], texts)


def levels(value: Object, key: str) -> Levels:
    """Prices and sizes of `[[price, size, ...], ...]`."""
    found = value.get(key)
    if not isinstance(found, list):
        refuse("malformed", f'"{key}" is not an array: {shown_field(value, key)}')
    for level in found:
        if not isinstance(level, list) or len(level) < 2:
            refuse("malformed", f'"{key}" has a level that is not an array of price and size: {shown(level)}')
    texts = [level[0] for level in found], [level[1] for level in found]
    for column in texts:
        bad = find_non_numeral(column)
        if bad >= 0:
            text = shown(column[bad])
            refuse("malformed", f'level {bad} of "{key}" has {text} in place of a string with a decimal number')
    return texts


# --- Ranges.


def with_levels(message: DecodedMessage, bids: Levels, asks: Levels, settings: DecoderSettings) -> DecodedMessage:
    """The message with these levels in fixed-point."""
    count = len(bids[0])
    prices = fixed(bids[0] + asks[0], "price", settings.price_decimals)
    sizes = fixed(bids[1] + asks[1], "size", settings.size_decimals)
    message.bid_prices, message.ask_prices = prices[:count], prices[count:]
    message.bid_sizes, message.ask_sizes = sizes[:count], sizes[count:]
    return message


def fixed(texts: list[str], name: Literal["price", "size"], decimals: int) -> list[int]:
    """Numerals in fixed-point."""
    try:
        return fixed_points(texts, decimals)
    except MisfitError as misfit:
        refuse("out_of_range", explain_misfit(name, misfit.args[0], decimals))


def fitting_id(key: str, value: int) -> int:
    """An id below 10^18."""
    if value > MAX_ID:
        refuse("out_of_range", f'the id "{key}" is 10^18 or more: {shown(value)}')
    return value


def event_time(at: dict[str, int]) -> int:
    """The last of the times in ns, or NONE; all must fit."""
    latest = NONE
    for key, value in at.items():
        time = nanoseconds(value)
        if time is None:
            refuse("out_of_range", f'the time "{key}" is not below 2^63 ns: {shown(value)}')
        latest = time
    return latest


def receive_time(prefix: re.Match[bytes]) -> int:
    """The receive time in ns: a whole number of a unit told by its magnitude, or seconds with a fraction."""
    digits, fraction = prefix.groups()
    whole = int(digits) if len(digits) < _LONGEST_INTEGER else _odd_integer(digits.decode().lstrip("0") or "0")
    time = nanoseconds(whole) if fraction is None else whole * 10**9 + int(fraction[:9].ljust(9, b"0"))
    if time is None or time > MAX_TIME_NS:
        refuse("out_of_range", f"the receive time is not below 2^63 ns: {shown(prefix[0].decode())}")
    return time
