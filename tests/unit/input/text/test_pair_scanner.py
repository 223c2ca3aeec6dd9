"""Levels that are written like the one before: read exactly as far as they are, and as what they say."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.pair_scanner import note_places, read_pairs
from cowbook.input.text.scanner import COUNTS, Scan, make_limits
from cowbook.input.text.text_scanner import WORD_2, WORD_3, word
from cowbook.kernels.jit import as_records
from cowbook.plain.block import PADDING
from cowbook.plain.messages import MESSAGE

STRINGS = (word(b'["'), word(b'","'), word(b'"]'), WORD_2, WORD_3, WORD_2, 2, 3, 2)
NOTED = b'["1.25","0.125"]'  # two decimals and three
ODD = [b"", b".", b"e", b"E1", b'"', b",", b"[", b"]", b" ", b"-", b"0", b"7", b"00", b"12345678", b"\xb0", b"/", b":", b"\x00"]


def scan_of(text: bytes, capacity: int = 64, decimals: tuple[int, int] = (8, 8)) -> Scan:
    """The arrays of a scanner over a text, all of whose levels fit."""
    buffer = np.frombuffer(text + bytes(PADDING), np.uint8).copy()
    limits, counts = make_limits(DecoderSettings("BTCUSDT", *decimals, 1 << 20)), np.zeros(1, COUNTS)
    arrays = (np.zeros(1, MESSAGE), np.zeros(capacity, np.int64), np.zeros(capacity, np.int64))
    scan: Scan = as_records(Scan(buffer, limits, np.zeros(1, np.uint8), *arrays, counts))
    return scan


def read(
    text: bytes, *, end: int | None = None, capacity: int = 64, decimals: tuple[int, int] = (8, 8)
) -> tuple[int, list[tuple[int, int]]]:
    """What is read of an array, `[` and on, by places that `NOTED` shows: (position, levels)."""
    scan = scan_of(NOTED + text, capacity, decimals)
    note_places(scan, 0, STRINGS)
    end = len(text) if end is None else end
    position, count = read_pairs(scan, len(NOTED), len(NOTED) + end, STRINGS, 0)
    return position - len(NOTED), list(zip(scan.prices[:count].tolist(), scan.sizes[:count].tolist(), strict=True))


def by_pattern(text: bytes, decimals: tuple[int, int]) -> tuple[int, list[tuple[int, int]]]:
    """The same by a regular expression."""
    pattern = re.compile(rb'[^\n]\["(-?)(0|[1-9][0-9]{0,6})\.([0-9]{2})","(0|[1-9][0-9]{0,6})\.([0-9]{3})"\](?=[],])')
    position, levels = 0, []
    while found := pattern.match(text, position):
        price, size = int(found[1] + found[2] + found[3]), int(found[4] + found[5])
        levels.append((price * 10 ** (decimals[0] - 2), size * 10 ** (decimals[1] - 3)))
        position = found.end()
        if text[position : position + 1] == b"]":
            break
    return position, levels


def random_array(random_: random.Random) -> bytes:
    """Up to six levels, most of them written like `NOTED`, and in half of the arrays something odd."""
    levels = []
    minus_share = random_.choice([0, 0, 0.5, 1])
    for _ in range(random_.randint(1, 6)):
        price_places, size_places = (usual if random_.random() < 0.95 else random_.randint(1, 9) for usual in (2, 3))
        price, size = (random_.randrange(10 ** random_.randint(1, 8)) for _ in range(2))
        fractions = [f"{random_.randrange(10**places):0{places}}" for places in (price_places, size_places)]
        minus = "-" if random_.random() < minus_share else ""
        levels.append(f'["{minus}{price}.{fractions[0]}","{size}.{fractions[1]}"]')
    text = f"[{','.join(levels)}]".encode()
    if random_.random() < 0.5:
        place = random_.randrange(1, len(text))
        text = text[:place] + random_.choice(ODD) + text[place + random_.randint(0, 2) :]
    return text


@pytest.mark.parametrize("decimals", [(2, 3), (8, 8), (10, 10)])
def test_levels_are_read_as_far_as_they_are_written_like_the_one_before(decimals: tuple[int, int]) -> None:
    """Against a regular expression, with odd bytes at any place, and prices of either sign."""
    random_ = random.Random(17)
    whole = 0
    for _ in range(3_000):
        text = random_array(random_)
        expected = by_pattern(text, decimals)
        assert read(text, decimals=decimals) == expected, text
        whole += expected[0] == len(text) - 1
    assert 500 < whole < 2_500


@pytest.mark.parametrize("places", range(1, 9))
def test_any_number_of_decimals_up_to_eight_is_noted_and_read(places: int) -> None:
    """Also as the last byte of a word, and one more than eight is none."""
    numeral = "9876543." + "7" * places
    text = f'[["-{numeral}","{numeral}"],["-{numeral}","{numeral}"]]'.encode()
    scan = scan_of(text)
    note_places(scan, 1, STRINGS)
    assert read_pairs(scan, 0, len(text), STRINGS, 0) == (len(text) - 1, 2)
    assert scan.sizes[:2].tolist() == [int(numeral.replace(".", "")) * 10 ** (8 - places)] * 2
    assert (scan.prices[:2] == -scan.sizes[:2]).all()


@pytest.mark.parametrize(("text", "decimals"), [(b'["1","2"]', (8, 8)), (b'["1.5","2.5"]', (11, 8)), (b'["1.25","2.5"]', (1, 8))])
def test_what_is_no_fraction_or_does_not_fit_is_left_to_the_caller(text: bytes, decimals: tuple[int, int]) -> None:
    """Whole numbers, more decimals than 10, and more than the setting has."""
    scan = scan_of(b"[" + text + b"]", decimals=decimals)
    note_places(scan, 1, STRINGS)
    assert read_pairs(scan, 0, len(text) + 2, STRINGS, 0) == (0, 0)


def test_reading_ends_with_the_room_and_with_the_block() -> None:
    """A level that begins behind the end is not read, nor one for which there is no place."""
    text = b'[["1.00","2.000"],["3.00","4.000"],["5.00","6.000"]]'
    first, second = text.index(b',["3'), text.index(b',["5')
    assert read(text, end=first) == (first, [(10**8, 2 * 10**8)])
    assert len(read(text, end=first + 1)[1]) == 2
    assert read(text, capacity=2)[0] == second
