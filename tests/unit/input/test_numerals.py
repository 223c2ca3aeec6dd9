"""Numerals with exponents: exact, and alike by the reference and by the scanner."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from cowbook.input.numerals import MisfitError, explain_misfit, find_non_numeral, fixed_points, plain
from cowbook.input.text.text_scanner import FAILED, signed_numeral
from cowbook.plain.block import PADDING


def fixed(text: str, decimals: int) -> int | None:
    """What a numeral is, by Decimal; None if it does not fit."""
    value = Decimal(text).scaleb(decimals)
    return int(value) if value == value.to_integral_value() and abs(value) < 10**18 else None


def scanned(text: str, decimals: int) -> tuple[int, int]:
    """Value and length by the kernel; the length is FAILED where it leaves the numeral to the reference."""
    buffer = np.zeros(len(text) + 1 + PADDING, np.uint8)
    buffer[: len(text) + 1] = np.frombuffer(text.encode() + b'"', np.uint8)
    value, after = signed_numeral(buffer, 0, decimals)
    return int(value), int(after)


def made(rng: random.Random) -> str:
    """A numeral, mostly with an exponent, sometimes negative."""
    digits = "".join(rng.choices("0123456789", [4, *[1] * 9], k=rng.randint(1, 12)))
    place = rng.randint(1, len(digits))
    text = rng.choice(["", "", "", "-"]) + digits[:place] + ("." + digits[place:] if place < len(digits) else "")
    if rng.random() < 0.8:
        text += rng.choice("eE") + rng.choice(["", "+", "-", "-"]) + str(rng.choice([0, 1, 2, 5, 7, 8, 12, 17, 300]))
    return text


def test_numerals_are_exact_with_exponents(seed: int) -> None:
    """What the scanner reads is what the reference reads, and that is what Decimal says."""
    rng = random.Random(seed)
    read = 0
    for _ in range(4_000):
        text, decimals = made(rng), rng.choice([0, 2, 8, 12, 18])
        expected = fixed(text, decimals)
        assert find_non_numeral([text], "price") == -1
        assert find_non_numeral([text], "size") == (0 if text.startswith("-") else -1)
        found: int | None
        try:
            (found,) = fixed_points([text], decimals)
        except MisfitError:
            found = None
        assert found == expected, (text, decimals)
        value, after = scanned(text, decimals)
        if after != FAILED:
            assert (value, after) == (expected, len(text)), (text, decimals)
            read += 1
        assert Decimal(plain(text)) == Decimal(text)
    assert read > 1_000


@pytest.mark.parametrize(
    "text", ["1e", "e5", "1e+", ".5", "1.e5", "1e5.0", "1 e5", "+1", "--1", "-", "-.5", "0x1", "1e٣", "", None, 1, 1.5]
)
def test_what_is_no_numeral_is_none(text: Any) -> None:
    """Neither by itself nor among others."""
    assert find_non_numeral([text], "price") == find_non_numeral([text], "size") == 0
    assert find_non_numeral(["1", "2e3", text], "price") == 2


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("1e-9", "price 0.000000001 has 9 decimals: price_decimals = 9 would fit"),
        ("1.5E+12", "price 1500000000000 has 13 digits before the point: price_decimals = 5 would fit"),
        ("1e-300", "no setting would fit"),
        ("1e999999999999999", "no setting would fit"),
        ("9e-99999999999999999999", "no setting would fit"),
    ],
)
def test_a_misfit_names_the_setting_that_fits(text: str, detail: str) -> None:
    """However large its exponent is: nothing of that size is ever made."""
    with pytest.raises(MisfitError):
        fixed_points([text], 8)
    assert detail in explain_misfit("price", text, 8)
