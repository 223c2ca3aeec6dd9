"""Reads fields of JSON records for the reference decoders: grammar first, range second, with the text of each refusal."""

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
"""How deep arrays and objects may nest. Deeper is malformed, whatever the interpreter's own limit."""

Object = dict[str, object]
Levels = tuple[list[str], list[str]]
"""Prices and sizes."""
_COLUMNS: tuple[Literal["price", "size"], ...] = ("price", "size")

RECEIVE_TIME = re.compile(rb"([0-9]+)(?:\.([0-9]+))?:? (?=[^ \t\r\n])")
_SQUARED = bytes.maketrans(b"{}", b"[]")
_NEITHER_BRACKETS_NOR_QUOTES = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"|[][{}]', re.DOTALL)
_LONGEST_INTEGER = 40  # digits; longer integers are out of any range


class RefusedError(Exception):
    """A check failed; args are the reason and the detail."""


def refuse(reason: Reason, detail: str) -> NoReturn:
    """Raise RefusedError."""
    raise RefusedError(reason, detail)


def load(text: bytes) -> object:
    """Decode JSON. A number with fraction or exponent becomes a meaningless float, since no field that is used has one."""
    if _is_deep(text):
        refuse("malformed", f"nested more than {MAX_NESTING} deep")
    try:
        value: object = _JSON.decode(text)
    except msgspec.ValidationError:
        return _load_odd_integers(text)  # an integer of thousands of digits
    except msgspec.DecodeError as error:
        refuse("malformed", str(error))
    # The decoder turns -0 into 0, but an id must not have a sign.
    return _load_odd_integers(text) if b"-0" in text else value


_JSON = msgspec.json.Decoder(float_hook=lambda _: 0.5)


def _load_odd_integers(text: bytes) -> object:
    """Decode JSON with integers of any length. Too long ones become one that no range allows, negative ones -1."""
    try:
        value: object = json.loads(
            text.decode(), parse_int=_odd_integer, parse_float=lambda _: 0.5, parse_constant=_refuse_constant
        )
        json.dumps(value, ensure_ascii=False).encode()  # raises for lone surrogates, as msgspec does
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
    """Whether arrays and objects nest deeper than MAX_NESTING. Exact for JSON, arbitrary for other text."""
    opening = text.count(b"{") + text.count(b"[")
    if opening < MAX_NESTING:
        return False
    if b"\\" not in text:
        # What is left of a string are its quotes, two in a row unless there is a bracket in it.
        brackets = text.translate(_SQUARED, _NEITHER_BRACKETS_NOR_QUOTES).replace(b'""', b"")
        if b'"' not in brackets:
            for _ in range(MAX_NESTING):  # each time the innermost ones go
                brackets = brackets.replace(b"[]", b"")
            if not brackets:
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
    """A field's value as a detail quotes it."""
    return shown(value[key]) if key in value else "it is missing"


class Numeral(str):
    """A JSON number with fraction or exponent, as written."""

    __slots__ = ()


_JSON_WITH_NUMERALS = msgspec.json.Decoder(float_hook=Numeral)


def load_with_numerals(text: bytes) -> object:
    """As `load`, but numbers other than integers become `Numeral`."""
    if _is_deep(text):
        refuse("malformed", f"nested more than {MAX_NESTING} deep")
    try:
        value: object = _JSON_WITH_NUMERALS.decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        refuse("malformed", str(error))
    return value


def integer(value: Object, key: str) -> int:
    """An integer field without sign, of any size."""
    number = value.get(key)
    # In Python a bool is an int; in JSON it is not.
    if type(number) is not int or number < 0:
        refuse("malformed", f'"{key}" is not an integer without sign: {shown_field(value, key)}')
    return number


def times(value: Object, required: bool) -> dict[str, int]:
    """The fields `E` and `T` of a record, the one that counts last."""
    found = {"E": integer(value, "E")} if required or "E" in value else {}
    if "T" in value:
        found["T"] = integer(value, "T")
    return found


def price_and_size(value: Object, price_key: str, size_key: str) -> tuple[str, str]:
    """Two fields that are strings with decimal numbers."""
    found = value.get(price_key), value.get(size_key)
    for text, name, key in zip(found, _COLUMNS, (price_key, size_key), strict=True):
        if find_non_numeral([text], name) >= 0:
            refuse("malformed", f'"{key}" is not a string with a decimal number: {shown_field(value, key)}')
    return cast(tuple[str, str], found)


def levels(value: Object, key: str) -> Levels:
    """Prices and sizes of a field `[[price, size, ...], ...]`, as text."""
    found = value.get(key)
    if not isinstance(found, list):
        refuse("malformed", f'"{key}" is not an array: {shown_field(value, key)}')
    for level in found:
        if not isinstance(level, list) or len(level) < 2:
            refuse("malformed", f'"{key}" has a level that is not an array of price and size: {shown(level)}')
    texts = [level[0] for level in found], [level[1] for level in found]
    for column, name in zip(texts, _COLUMNS, strict=True):
        bad = find_non_numeral(column, name)
        if bad >= 0:
            text = shown(column[bad])
            refuse("malformed", f'level {bad} of "{key}" has {text} in place of a string with a decimal number')
    return texts


# --- Checks of range.


def with_levels(message: DecodedMessage, bids: Levels, asks: Levels, settings: DecoderSettings) -> DecodedMessage:
    """Set the message's levels, converted to fixed-point."""
    count = len(bids[0])
    prices = fixed(bids[0] + asks[0], "price", settings.price_decimals)
    sizes = fixed(bids[1] + asks[1], "size", settings.size_decimals)
    message.bid_prices, message.ask_prices = prices[:count], prices[count:]
    message.bid_sizes, message.ask_sizes = sizes[:count], sizes[count:]
    return message


def fixed(texts: list[str], name: Literal["price", "size"], decimals: int) -> list[int]:
    """Convert numerals to fixed-point."""
    try:
        return fixed_points(texts, decimals)
    except MisfitError as misfit:
        refuse("out_of_range", explain_misfit(name, misfit.args[0], decimals))


def fitting_id(key: str, value: int) -> int:
    """Return an id that is at most MAX_ID; refuse others."""
    if value > MAX_ID:
        refuse("out_of_range", f'the id "{key}" is not below 2^63 - 1: {shown(value)}')
    return value


def event_time(at: dict[str, int]) -> int:
    """The last of the times in ns, NONE if there is none. All must be in range."""
    latest = NONE
    for key, value in at.items():
        time = nanoseconds(value)
        if time is None:
            refuse("out_of_range", f'the time "{key}" is not below 2^63 ns: {shown(value)}')
        latest = time
    return latest


def receive_time(prefix: re.Match[bytes]) -> int:
    """The receive time in ns: seconds with a fraction, or a whole number whose magnitude tells the unit."""
    digits, fraction = prefix.groups()
    whole = int(digits) if len(digits) < _LONGEST_INTEGER else _odd_integer(digits.decode().lstrip("0") or "0")
    time = nanoseconds(whole) if fraction is None else whole * 10**9 + int(fraction[:9].ljust(9, b"0"))
    if time is None or time > MAX_TIME_NS:
        refuse("out_of_range", f"the receive time is not below 2^63 ns: {shown(prefix[0].decode())}")
    return time
