"""Files that are JSON arrays of records: each value is a record, wherever lines end."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.line_decoder import LineDecoder, array_opening
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import DEAD_LETTER, DIFF, OTHER_SYMBOL, TRADE, EventBatch
from cowbook.venues import load_venue

SETTINGS = DecoderSettings("BTCUSDT", 2, 3, 2_000)


def decode(content: bytes, block_bytes: int, format_name: str = "binance") -> list[tuple[object, ...]]:
    """Kind, ids and levels of each message; of dead letters where they stand and what they hold."""
    decoder = LineDecoder(load_venue(format_name), SETTINGS)
    batch = EventBatch.allocate(4, 4)
    seen: list[tuple[object, ...]] = []
    start = end = 0
    while True:
        count = min(block_bytes, len(content) - end)
        buffer = np.zeros(end + count - start + PADDING, np.uint8)
        buffer[: end + count - start] = np.frombuffer(content[start : end + count], np.uint8)
        end += count
        block = Block(buffer, 0, end - start, "f", start, count == 0, content[: min(end, 1024)])
        full = True
        while full:
            full = decoder.decode(block, batch)
            letters = iter(batch.dead_letters)
            for message in batch.messages[: batch.message_count]:
                if message["kind"] == DEAD_LETTER:
                    letter = next(letters)
                    seen.append((DEAD_LETTER, letter.offset, letter.length, letter.reason, letter.content))
                else:
                    levels = slice(int(message["bid_start"]), int(message["bid_start"] + message["bid_count"]))
                    kind = int(message["kind"])
                    seen.append(
                        (kind, int(message["last_id"]), batch.prices[levels].tolist()) if kind != OTHER_SYMBOL else (kind,)
                    )
            batch.clear()
        start = block.offset_of(block.start)
        if block.final:
            assert start == len(content)
            return seen


RECORDS = [
    {"e": "depthUpdate", "E": 1_700_000_000_000, "s": "BTCUSDT", "U": 1, "u": 2, "b": [["1.5", "2"], ["1.4", "1"]], "a": []},
    {"e": "trade", "E": 1_700_000_000_001, "T": 1, "s": "BTCUSDT", "t": 7, "p": "1.5", "q": "1", "m": True, "x": 'a ]} \\ "b" ['},
    {"e": "depthUpdate", "E": 1_700_000_000_002, "s": "ETHUSDT", "U": 1, "u": 2, "b": [], "a": []},
    {
        "stream": "s",
        "data": {"e": "depthUpdate", "E": 1_700_000_000_003, "s": "BTCUSDT", "U": 3, "u": 3, "b": [["2", "1"]], "a": []},
    },
]
EXPECTED = [(DIFF, 2, [150, 140]), (TRADE, 7, [150]), (OTHER_SYMBOL,), (DIFF, 3, [200])]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("before", ["", "\ufeff", " \n"])
def test_an_array_may_be_laid_out_in_any_way(indent: int | None, before: str) -> None:
    """One line or many, at any size of blocks, several arrays one behind the other, too."""
    content = (before + json.dumps(RECORDS, indent=indent)).encode()
    for block_bytes in (1, 7, 100, 10_000):
        assert decode(content, block_bytes) == EXPECTED
    one_a_line = b"[\n" + b",\n".join(json.dumps(record).encode() for record in RECORDS) + b"\n]\n"
    assert decode(one_a_line + one_a_line, 64) == EXPECTED * 2


def test_records_may_be_arrays_themselves() -> None:
    """Venues that send arrays."""
    trade = [0, [["5541.20", "0.158", "1534614057.32", "s", "l", ""]], "trade", "BTCUSDT"]
    content = json.dumps([trade, trade]).encode()
    for block_bytes in (1, 50, 1000):
        assert [kind for kind, *_ in decode(content, block_bytes, "kraken")] == [TRADE, TRADE]
    line = json.dumps(trade).encode() + b"\n"
    assert [kind for kind, *_ in decode(line, 50, "kraken")] == [TRADE]


def test_each_bad_value_is_a_dead_letter_of_its_own() -> None:
    """What is no record, too long, or without an end is a dead letter of its own, at any size of blocks."""
    rng = random.Random(3)
    good = json.dumps(RECORDS[0]).encode()
    long = b'{"x": "' + b"y ]" * 1000 + b'"}'
    pieces = [good, b"17", b'"text, [ of"', b"nonsense", b"null", long, good, b"[]", b'{"e": }', good, b'{"unfinished": [']
    content = b"[" + b" , ".join(pieces)
    expected = decode(content, 10**6)
    letters = [found[4] for found in expected if found[0] == DEAD_LETTER]
    assert letters == [b"17", b'"text, [ of"', b"nonsense", b"null", long[:4096], b'{"e": }', b'{"unfinished": [']
    assert [found[3] for found in expected if found[0] == DEAD_LETTER].count("overlong") == 1
    assert [found for found in expected if found[0] == DIFF] == EXPECTED[:1] * 3
    for _ in range(30):
        assert decode(content, rng.randrange(1, 900)) == expected


def test_an_array_begins_with_two_brackets_or_an_object() -> None:
    """Two brackets, or an object in an array; a line that is an array of something else is a record."""
    assert array_opening(b"") == b""
    assert array_opening(b" \n") == b""
    assert array_opening(b" [\n ") is None
    assert array_opening(b" [\n {x") == b" [\n {"
    assert array_opening(b"[[1") == b"[["
    assert array_opening(b"[1920,{}]") == b""
    assert array_opening(b'{"a":[{') == b""
