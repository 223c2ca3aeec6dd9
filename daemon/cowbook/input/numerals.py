"""Numerals and times for the reference decoders: exact, or refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal, cast

from cowbook.input.verdict import SHOWN

FIXED_DIGITS = 18
"""A fixed-point value has at most this many decimal digits."""

MAX_ID = 2**63 - 2
"""One more must still fit into 63 bits."""
MAX_TIME_NS = 2**63 - 1

_NUMERAL = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_SIGNED_NUMERAL = re.compile("-?" + _NUMERAL.pattern)
_NUMERALS = re.compile(r"(?:[0-9]++(?:\.[0-9]++)?+(?:[eE][-+]?+[0-9]++)?+,)*+")
_SIGNED_NUMERALS = re.compile(r"(?:-?+[0-9]++(?:\.[0-9]++)?+(?:[eE][-+]?+[0-9]++)?+,)*+")
_LONGEST_EXPONENT = 10  # characters of an exponent that is taken as it is
_LARGEST_POWER = 4 * FIXED_DIGITS
_FEW = 8  # up to so many numerals, one match over all of them is slower than one match each


def find_non_numeral(texts: Sequence[object], name: Literal["price", "size"]) -> int:
    r"""Index of the first element that is not a string of the grammar `[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?`; -1 if all are.

    A price may have a minus in front of it. The elements may be any JSON values. They are matched all at once, which is quicker.
    """
    one, several = (_SIGNED_NUMERAL, _SIGNED_NUMERALS) if name == "price" else (_NUMERAL, _NUMERALS)
    try:
        joined = ",".join(cast(Sequence[str], texts))
    except TypeError:
        joined = ""
    if several.fullmatch(joined + ",") and joined.count(",") == len(texts) - 1:
        return -1
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not one.fullmatch(text):
            return index
    return -1


class MisfitError(ValueError):
    """A numeral does not fit the fixed-point format; the only argument is the numeral."""


def fixed_points(numerals: list[str], decimals: int) -> list[int]:
    """Each numeral times 10^decimals. Raises MisfitError if a result is not whole, or not below 10^18 without its sign."""
    if len(numerals) > _FEW and decimals < FIXED_DIGITS:
        # Venues usually write all numerals of a message with the same number of decimals.
        written = len(numerals[0].partition(".")[2])
        joined = ",".join(numerals)
        if 0 < written <= decimals and _same_decimals(decimals, written).fullmatch(joined + ","):
            values = list(map(int, joined.replace(".", "").split(",")))
            factor: int = 10 ** (decimals - written)
            return values if factor == 1 else [value * factor for value in values]
    return [_fixed_point(numeral, decimals) for numeral in numerals]


@cache
def _same_decimals(decimals: int, written: int) -> re.Pattern[str]:
    """Pattern of numerals that each end with a comma, have `written` decimals, and fit when scaled to `decimals`."""
    return re.compile(rf"(?:-?+[0-9]{{1,{FIXED_DIGITS - decimals}}}+\.[0-9]{{{written}}},)++")


def _fixed_point(numeral: str, decimals: int) -> int:
    if numeral.startswith("-"):
        return -_fixed_point(numeral[1:], decimals)
    whole, _, fraction = numeral.partition(".")
    if not (fraction or whole).isdigit():
        return _of_exponent(numeral, decimals)
    if len(fraction) == decimals and len(whole) + decimals <= FIXED_DIGITS:
        return int(whole + fraction)
    whole = whole.lstrip("0")
    fraction = fraction.rstrip("0")
    if len(fraction) > decimals or len(whole) + decimals > FIXED_DIGITS:
        raise MisfitError(numeral)
    return int(whole + fraction.ljust(decimals, "0") or "0")


def _split_exponent(numeral: str) -> tuple[str, int]:
    """The digits of a numeral, without zeros at either end, and the power of ten of the last one. "" and 0 stand for 0.

    An exponent may have any number of digits. Beyond 10^9 its value makes no difference to whether the numeral fits.
    """
    mantissa, _, exponent = numeral.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    power = int(exponent) if len(exponent) < _LONGEST_EXPONENT else int(exponent[0] + "1") * 10**9
    digits = (whole + fraction).lstrip("0")
    stripped = digits.rstrip("0")
    return stripped, power - len(fraction) + len(digits) - len(stripped) if stripped else 0


def _of_exponent(numeral: str, decimals: int) -> int:
    """As `_fixed_point`, for a numeral with an exponent."""
    digits, power = _split_exponent(numeral)
    if power + decimals < 0 or len(digits) + power + decimals > FIXED_DIGITS:
        raise MisfitError(numeral)
    factor: int = 10 ** (power + decimals)
    return int(digits or "0") * factor


def plain(numeral: str) -> str:
    """A numeral without an exponent. Other text, and a numeral that is too large or small to ever fit, stay as they are."""
    if not ("e" in numeral or "E" in numeral) or not _SIGNED_NUMERAL.fullmatch(numeral):
        return numeral
    sign = "-" if numeral.startswith("-") else ""
    digits, power = _split_exponent(numeral.removeprefix("-"))
    if abs(power) > _LARGEST_POWER:
        return numeral
    padded = digits.zfill(1 - power) if power < 0 else digits + "0" * power
    return sign + (f"{padded[:power]}.{padded[power:]}" if power < 0 else padded or "0")


def explain_misfit(name: Literal["price", "size"], numeral: str, decimals: int) -> str:
    """Say why a numeral does not fit with `decimals`, and which setting would fit."""
    numeral = plain(numeral)
    if "e" in numeral.lower():
        return f"{name} {numeral[:SHOWN]} needs more than {FIXED_DIGITS} digits: no setting would fit"
    whole, _, fraction = numeral.partition(".")
    whole_digits = len(whole.removeprefix("-").lstrip("0"))
    needed = len(fraction.rstrip("0"))
    text = numeral if len(numeral) <= SHOWN else f"{numeral[:SHOWN]}..."
    if whole_digits + needed > FIXED_DIGITS:
        return f"{name} {text} needs {whole_digits + needed} digits, more than {FIXED_DIGITS}: no setting would fit"
    if needed > decimals:
        return f"{name} {text} has {needed} decimals: {name}_decimals = {needed} would fit"
    fitting = FIXED_DIGITS - whole_digits
    return f"{name} {text} has {whole_digits} digits before the point: {name}_decimals = {fitting} would fit"


def nanoseconds(value: int) -> int | None:
    """Convert a time since 1970 in s, ms, µs or ns, told apart by magnitude, to ns. None if it is not below 2^63 ns."""
    if value < 10**11:
        value *= 10**9
    elif value < 10**14:
        value *= 10**6
    elif value < 10**17:
        value *= 10**3
    return value if value <= MAX_TIME_NS else None
