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

_NUMERAL = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_NUMERALS = re.compile(r"(?:[0-9]++(?:\.[0-9]++)?+,)*+")
_FEW = 8  # up to so many numerals, one match over all of them is slower than one match each


def find_non_numeral(texts: Sequence[object]) -> int:
    r"""Index of the first element that is not a string of the grammar `[0-9]+(\.[0-9]+)?`; -1 if all are.

    The elements may be any JSON values. They are matched all at once, which is quicker.
    """
    try:
        joined = ",".join(cast(Sequence[str], texts))
    except TypeError:
        joined = ""
    if _NUMERALS.fullmatch(joined + ",") and joined.count(",") == len(texts) - 1:
        return -1
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not _NUMERAL.fullmatch(text):
            return index
    return -1


class MisfitError(ValueError):
    """A numeral does not fit the fixed-point format; the only argument is the numeral."""


def fixed_points(numerals: list[str], decimals: int) -> list[int]:
    """Each numeral times 10^decimals. Raises MisfitError if a result is not whole or not below 10^18."""
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
    return re.compile(rf"(?:[0-9]{{1,{FIXED_DIGITS - decimals}}}+\.[0-9]{{{written}}},)++")


def _fixed_point(numeral: str, decimals: int) -> int:
    whole, _, fraction = numeral.partition(".")
    if len(fraction) == decimals and len(whole) + decimals <= FIXED_DIGITS:
        return int(whole + fraction)
    whole = whole.lstrip("0")
    fraction = fraction.rstrip("0")
    if len(fraction) > decimals or len(whole) + decimals > FIXED_DIGITS:
        raise MisfitError(numeral)
    return int(whole + fraction.ljust(decimals, "0") or "0")


def explain_misfit(name: Literal["price", "size"], numeral: str, decimals: int) -> str:
    """Say why a numeral does not fit with `decimals`, and which setting would fit."""
    whole, _, fraction = numeral.partition(".")
    whole_digits = len(whole.lstrip("0"))
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
