"""Files that are JSON arrays of records: each value is a record, wherever lines end."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.line_decoder import LineDecoder, array_opening
from cowbook.input.venue import Venue
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import (
    DEAD_LETTER,
    DIFF,
    MESSAGE,
    OTHER_SYMBOL,
    SNAPSHOT,
    TICKER,
    TRADE,
    TRADES,
    UNUSED,
    EventBatch,
)
from cowbook.venues import load_venue
from support.venue_samples import LINES, make_events, records_of

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


_STARTS = ("bid_start", "ask_start")
_BUT_END = tuple(name for name in MESSAGE.names or () if name not in ("kind", "end_offset"))
SAY_NOTHING = {
    DIFF: _STARTS,
    SNAPSHOT: _STARTS,
    TRADE: (*_STARTS, "first_id", "prev_id"),
    TRADES: (*_STARTS, "first_id", "prev_id"),
    TICKER: (*_STARTS, "first_id", "prev_id"),
    UNUSED: _BUT_END,
    OTHER_SYMBOL: _BUT_END,
    DEAD_LETTER: _STARTS,
}
"""Fields of messages of a kind that mean nothing, and where the levels are."""


def _all_of(
    content: bytes, venue: Venue, name: str, random_splits: random.Random | None
) -> tuple[list[Any], list[Any], list[str]]:
    """All that a decoder says of a file: messages with their levels, dead letters, other symbols."""
    decoder = LineDecoder(venue, DecoderSettings(name, 8, 8, 3_000))
    batch = EventBatch.allocate(50, 400)
    messages: list[Any] = []
    letters: list[Any] = []
    start = end = 0
    while True:
        count = len(content) - end if random_splits is None else min(random_splits.randrange(1, 20_000), len(content) - end)
        end += count
        buffer = np.zeros(end - start + PADDING, np.uint8)
        buffer[: end - start] = np.frombuffer(content[start:end], np.uint8)
        final = end == len(content)
        block = Block(buffer, 0, end - start, "f", start, final, content[: min(end, 1024)])
        full = True
        while full:
            full = decoder.decode(block, batch)
            for message in batch.messages[: batch.message_count]:
                levels = [
                    (batch.prices[at : at + number].tolist(), batch.sizes[at : at + number].tolist())
                    for at, number in ((message[f"{side}_start"], message[f"{side}_count"]) for side in ("bid", "ask"))
                ]
                kind = int(message["kind"])
                left_out = SAY_NOTHING.get(kind, ())
                plain = {field: message[field].item() for field in message.dtype.names if field not in left_out}
                messages.append((plain, levels))
            letters += batch.dead_letters
            batch.clear()
        start = block.offset_of(block.start)
        if final:
            return messages, letters, decoder.other_symbols


BAD = [
    b'{"e": }',
    b'{"line end": "a\nb"}',
    b"[1, 2",
    b'{"x": "' + b"y ]" * 1100 + b'"}',
    b'{"e"\n: \r\n}',
    b"17",
    b"[]",
    b'{"a": "\\""}',
]


@pytest.mark.parametrize("layout", ["one line", "one a line", "spread"])
@pytest.mark.parametrize("sample", ["binance", "kraken-v1", "okx-chain", "bitmex"])
def test_values_are_read_by_scanners_as_by_the_reference_decoder(
    sample: str, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they are, wherever blocks end, and however few of them a run has room for."""
    rng = random.Random(f"{sample} {layout}")
    format_name, name, *_ = LINES[sample]
    values = [record for _, record in records_of(sample, make_events(5, 150))]
    if layout == "spread":
        values = [json.dumps(json.loads(value), indent=1).encode() for value in values]
    for bad in BAD:
        if bad != b"[1, 2":
            values.insert(rng.randrange(2, len(values)), bad)
    values.append(b"[1, 2")  # takes in what comes behind it
    content = b"[" + (b", " if layout == "one line" else b",\r\n").join(values) + b"]\n"
    venue = load_venue(format_name)
    expected = _all_of(content, replace(venue, make_scanner=None), name, None)
    assert len(expected[0]) >= len(values)
    assert len(expected[1]) >= 4
    assert _all_of(content, venue, name, None) == expected
    for room in (700, 5_000):
        monkeypatch.setattr("cowbook.input.text.array_runs.RUN_BYTES", room)
        for _ in range(2):
            assert _all_of(content, venue, name, rng) == expected
