"""The scanner that learns the forms of records: the same messages as from the reference decoder alone, from any records."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cowbook.input.forms.form_learner import MAX_FORMS, MAX_LESSON_BYTES, FormScanner
from cowbook.input.numerals import nanoseconds
from cowbook.input.settings import DecoderSettings
from cowbook.input.text import field_scanner
from cowbook.input.text.json_fields import RefusedError
from cowbook.input.text.line_decoder import LineDecoder
from cowbook.input.venue import Venue
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import DEAD_LETTER, MESSAGE, OTHER_SYMBOL, UNUSED, EventBatch
from cowbook.venues import load_venue
from cowbook.venues.fields import a_checksum, iso_time, seconds_time
from support.search import examples
from support.venue_samples import LINES, Event, bare, framed, make_events, prefixed, records_of, text_of

SAMPLES = {
    sample: (venue, name)
    for sample, (venue, name, *_) in LINES.items()
    if (make_scanner := load_venue(venue).make_scanner) and isinstance(make_scanner(DecoderSettings("", 0, 0, 0)), FormScanner)
}
assert len(SAMPLES) >= 11
EVENTS = tuple(make_events(5, 120))
RECORDS = {sample: records_of(sample, EVENTS) for sample in SAMPLES}
TRADES: dict[str, tuple[str | int, ...]] = {
    **dict.fromkeys(("bitget-v2", "bitget-v3"), ("data",)),
    **dict.fromkeys(("okx", "okx-chain", "bitget", "ftx", "kraken-v2-frames", "bybit"), ("data",)),
    "bybit-v2": ("data",),
    "kraken-v1": (1,),
    **dict.fromkeys(("hyperliquid", "mexc-futures", "okx-history"), ("data",)),
    "mexc": ("publicAggreDeals", "deals"),
    **dict.fromkeys(("htx-mbp", "htx-high-freq", "htx-step0"), ("tick", "data")),
    "coinbase-advanced": ("events", 0, "trades"),
    "deribit": ("params", "data"),
    "gateio-futures": ("result",),
    "bitmex": ("data",),
    "phemex": ("trades",),
    "phemex-perpetual": ("trades_p",),
    "dydx": ("contents", "trades"),
    "dydx-v4": ("contents", "trades"),
}
"""Where records have arrays of trades; others have one trade a record."""
VALUES = [
    *(b"0", b"-0", b"-1", b"1", b"00", b"007", b"1e3", b"1.5E-2", b"1.", b".5", b"-1.5", b"true", b"null", b"[]", b"{}", b'"'),
    *(b"1343064377779269632", b"9223372036854775806", b"9223372036854775807", b"100182534526255757567432481"),
    *(b"999999999999999999", b"9999999999999999999", b"4294967295", b"4294967296", b"-2147483648", b"-2147483649", b"0.5000"),
    *(
        b"1700000000000",
        b"1700000000",
        b"1700000000.123456789123",
        b"9999999999",
        b"100000000000",
        b"123456789012345678.12",
        b"-0.12345678901234567890123",
    ),
    *(b"2023-02-29T00:00:00Z", b"2024-02-29 23:59:59.5Z", b"2023-11-14T22:13:20.000+00:00", b"2262-01-01T00:00:00Z"),
    *(b"buy", b"sell", b"bid", b"offer", b"ask", b"update", b"snapshot", b"BTC-USDT", b"OTHER", b"\\u0041", b"\xc3\xa9", b"\xff"),
    *(b'"a":1,', b'"ts":"5",', b'["1.0","2.0"],', b",", b"]", b"}", b" ", b"\t", b"\r"),
]
TOKEN = re.compile(rb'"[^"]*"|[-0-9.eE]+|true|false|null|[][{},:]')


def decode(venue: Venue, settings_: DecoderSettings, content: bytes, *, behind: bytes = b"", batch: int = 64) -> list[Any]:
    """All that a line decoder makes of a file, comparable."""
    decoder = LineDecoder(venue, settings_)
    return _decode(decoder, content, behind, batch)


def _decode(decoder: LineDecoder, content: bytes, behind: bytes, capacity: int) -> list[Any]:
    buffer = np.frombuffer(content + (behind * PADDING)[:PADDING] + bytes(PADDING), np.uint8).copy()
    block = Block(buffer, 0, len(content), "file", 0, final=True, head=content[:1024])
    batch = EventBatch.allocate(capacity, 16)
    seen: list[Any] = []
    full = True
    while full:
        full = decoder.decode(block, batch)
        letters = iter(batch.dead_letters)
        for message in batch.messages[: batch.message_count]:
            kind = int(message["kind"])
            if kind in (OTHER_SYMBOL, UNUSED, DEAD_LETTER):
                seen.append(
                    (kind, int(message["sequence"]), int(message["end_offset"]), next(letters) if kind == DEAD_LETTER else 0)
                )
                continue
            fields = [int(message[name]) for name in MESSAGE.names or () if not name.endswith("_start")]
            levels = [
                values[message[f"{side}_start"] :][: message[f"{side}_count"]].tolist()
                for side in ("bid", "ask")
                for values in (batch.prices, batch.sizes)
            ]
            seen.append((fields, levels))
        batch.clear()
    return seen


def compare(sample: str, settings_: DecoderSettings, content: bytes, behind: bytes = b"") -> None:
    """With and without the scanner it is the same."""
    venue = load_venue(SAMPLES[sample][0])
    assert venue.make_scanner is not None
    expected = decode(replace(venue, make_scanner=None), settings_, content)
    assert decode(venue, settings_, content, behind=behind) == expected


FRAMES = b"CBCAP1 x\n"


def beginning(container: Callable[..., bytes] | None) -> bytes:
    """How a file of such records begins."""
    return FRAMES if container is framed else b""


def settings_of(sample: str) -> DecoderSettings:
    """Such that everything fits."""
    return DecoderSettings(SAMPLES[sample][1], 8, 8, 1 << 20)


WITHOUT_TIMES = ("gemini-v2", "bitmex-ids", "dydx", "dydx-v4")
"""Samples whose books have no times of their own: bare, their records are malformed."""

WITHOUT_FORMS = ("bitmex-ids",)
"""Samples whose changes are not scanned."""


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample not in WITHOUT_FORMS])
@pytest.mark.parametrize("container", [None, prefixed, framed])
def test_the_reference_sees_only_the_first_records_of_a_form(sample: str, container: Callable[..., bytes] | None) -> None:
    """Of diffs, single trades and others' records, the reference decoder sees only the first ones of each form."""
    if container is None and sample in WITHOUT_TIMES:
        pytest.skip("no time: every record of the book is malformed")
    records = [
        container(event, record) if container else record
        for event, record in RECORDS[sample]
        if event.kind in ("diff", "trade", "other")
    ]
    records += [container(event, record) if container else record for event, record in several_trades(sample)]
    content = beginning(container) + b"\n".join([*records, *records, b""])
    decoder = LineDecoder(load_venue(SAMPLES[sample][0]), settings_of(sample))
    _decode(decoder, content, b"", 1 << 10)
    scanner = decoder._scanner
    assert isinstance(scanner, FormScanner)
    assert 0 < scanner.form_count < MAX_FORMS
    scanner.counts["other_symbol_seen"] = 1  # a person has seen enough of them
    calls = 0
    decode_record = decoder._decode_record

    def counted(record: bytes) -> Any:
        nonlocal calls
        calls += 1
        return decode_record(record)

    decoder._decode_record = counted  # type: ignore[method-assign]
    seen = _decode(decoder, content, b"", 1 << 10)
    assert len(seen) == 2 * len(records) + (container is framed)
    assert calls <= len(records) // 20


LEVELS = [[f"{1000 - place}.50", "1.25"] for place in range(900)]
LONG: dict[str, Any] = {
    "kraken-v1": [0, {"as": [[*level, "1700000000.5"] for level in LEVELS], "bs": []}, "book-1000", "XBT/USD"],
    "kraken-v2-frames": {
        "channel": "book",
        "type": "snapshot",
        "data": [
            {"symbol": "BTC/USD", "bids": [], "asks": [{"price": 5.5, "qty": 1}] * 900}
            | {"checksum": 1, "timestamp": "2023-11-14T22:13:20.000Z"}
        ],
    },
    "okx-chain": {
        "arg": {"channel": "books", "instId": "BTC-USDT"},
        "action": "snapshot",
        "data": [
            {"asks": [[*level, "0", "3"] for level in LEVELS], "bids": [], "ts": "1700000000000"}
            | {"checksum": 0, "seqId": 7, "prevSeqId": -1}
        ],
    },
    "coinbase": {"type": "snapshot", "product_id": "BTC-USD", "asks": LEVELS, "bids": LEVELS[:1]},
}


@pytest.mark.parametrize("sample", LONG)
def test_long_snapshots_are_scanned(sample: str) -> None:
    """The form of a long record is learned from a shorter one, and read as the reference decoder reads it."""
    record = b"1700000000.5 " + text_of(LONG[sample])
    assert len(record) > MAX_LESSON_BYTES
    content = b"\n".join([record, record, b""])
    venue, settings_ = load_venue(SAMPLES[sample][0]), settings_of(sample)
    expected = decode(replace(venue, make_scanner=None), settings_, content, batch=2)
    decoder = LineDecoder(venue, settings_)
    assert _decode(decoder, content, b"", 2) == expected
    assert len(expected[0][1][2]) == 900
    assert isinstance(decoder._scanner, FormScanner)
    assert decoder._scanner.form_count == 1
    decoder._decode_record = lambda _record: pytest.fail("the reference decoder was asked")  # type: ignore[assignment, method-assign]
    assert _decode(decoder, content, b"", 2) == expected


@pytest.mark.parametrize("container", [None, prefixed, framed])
def test_unused_records_that_come_again_are_scanned(container: Callable[..., bytes] | None) -> None:
    """Heartbeats are read by the kernel from the third on, and others of their kind are not taken for them."""
    venue, settings_ = load_venue("kraken"), settings_of("kraken-v1")
    texts = [b'{"event":"heartbeat"}', b'{"channel":"heartbeat"}', b'{"event":"heartbeat"} ', b'{"event":"heartbeat","x":1}']
    texts += [b'{"event":"systemStatus","connectionID":%d}' % number for number in range(60)]
    records = [container(EVENTS[0], text) if container else text for text in texts]
    content = beginning(container) + b"\n".join([*records, *records[:4], b""])
    expected = decode(replace(venue, make_scanner=None), settings_, content)
    decoder = LineDecoder(venue, settings_)
    assert _decode(decoder, content, b"", 64) == expected
    assert isinstance(decoder._scanner, FormScanner)
    assert decoder._scanner.form_count == 0  # none has come again soon
    heartbeats = beginning(container) + b"\n".join([*records[:4], *records[:4], *records[:4], b""])
    assert _decode(decoder, heartbeats, b"", 64) == decode(replace(venue, make_scanner=None), settings_, heartbeats)
    assert decoder._scanner.form_count == 4


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("container", [None, prefixed, framed])
def test_forms_do_not_change_the_messages_of_a_sample(sample: str, container: Callable[..., bytes] | None) -> None:
    """The messages are the same with and without forms, for either symbol, also if numerals do not fit."""
    records = [container(event, record) if container else record for event, record in RECORDS[sample]]
    for terminator in (b"\n", b"\r\n"):
        content = beginning(container) + terminator.join([*records, b""])
        for change in (
            {},
            {"name": "OTHER"},
            {"name": "OTHER/X"},
            {"price_decimals": 0},
            {"size_decimals": 1},
            {"max_line_bytes": 120},
        ):
            compare(sample, replace(settings_of(sample), **change), content)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """A sample, whole records to learn from, and records of which a few tokens are others."""
    sample = draw(st.sampled_from(sorted(SAMPLES)))
    records = [
        draw(st.sampled_from([bare, prefixed, framed]))(event, record)
        for event, record in draw(st.lists(st.sampled_from([*RECORDS[sample], *several_trades(sample)]), min_size=1, max_size=6))
    ]
    changed = []
    for whole in records:
        record = whole
        for _ in range(draw(st.integers(0, 3))):
            tokens = list(TOKEN.finditer(record))
            if not tokens:
                break
            token = draw(st.sampled_from(tokens))
            start, end = token.span()
            if token[0][:1] == b'"' and draw(st.booleans()):
                start, end = start + 1, end - 1
            cut, going_on = draw(st.sampled_from([(start, start), (start, end), (end, end)]))
            record = record[:cut] + draw(st.sampled_from([b"", *VALUES])) + record[going_on:]
        changed.append(record)
    return sample, draw(st.sampled_from([b"", FRAMES])) + b"\n".join([*records, b""]), b"\n".join([*changed, b""])


def several_trades(sample: str) -> list[tuple[Event, bytes]]:
    """Records of the sample with two and three trades, of both sides."""
    if sample not in TRADES:
        return []
    found = [(event, record) for event, record in RECORDS[sample] if event.kind == "trade"]
    records = [json.loads(record) for _, record in found[:9]]
    arrays = [reduce(lambda value, key: value[key], TRADES[sample], record) for record in records]
    for place, count in ((0, 1), (2, 2), (5, 2)):
        for array in arrays[place + 1 : place + 1 + count]:
            arrays[place] += array
    return [(found[place][0], text_of(records[place])) for place in (0, 2, 5)]


def altered(record: bytes) -> list[bytes]:
    """The record with each of its tokens replaced by each of the values, and begun and ended by each of the short ones."""
    found = []
    for token in TOKEN.finditer(record):
        start, end = token.span()
        spans = [(start, start), (start, end), (end, end)]
        if token[0].startswith(b'"'):
            spans += [(start + 1, start + 1), (start + 1, end - 1), (end - 1, end - 1)]
        found += [
            record[:cut] + value + record[going_on:]
            for cut, going_on in spans
            for value in [b"", *VALUES]
            if cut < going_on or len(value) < 4
        ]
    return found


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("step", [20, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.whole])])
def test_an_altered_value_is_scanned_as_by_the_reference(sample: str, step: int) -> None:
    """In a diff with both sides, one with several levels on a side, a trade, and another symbol's record; or a share of them."""
    events = [
        next(event for event in EVENTS if event.kind == "diff" and event.bids and event.asks),
        next(event for event in EVENTS if event.kind == "diff" and len(event.bids) > 1),
        next(event for event in EVENTS if event.kind == "trade"),
        next(event for event in EVENTS if event.kind == "other"),
    ]
    chosen = [framed(event, record) for event, record in RECORDS[sample] if event in events]
    assert len(chosen) >= 3
    several = several_trades(sample)
    chosen += [framed(event, record) for event, record in several[:2]]
    lines = [changed for record in chosen for changed in altered(record)][::step]
    lessons = [record for _, record in (*RECORDS[sample], *several)]
    compare(sample, settings_of(sample), FRAMES + b"\n".join([*lessons, *lines, b""]))


def test_a_symbol_in_another_place_is_not_mistaken() -> None:
    """In a record with one more part, the channel is in the place of the symbol in other records."""
    lines = [
        b'[0,{"a":[["1.0","1.0","1.5"]],"c":"1"},{},"%b","OTHER/X"]' % channel for channel in (b"book-10", b"ohlc-5", b"book-10")
    ]
    compare("kraken-v1", settings_of("kraken-v1"), b"\n".join([*lines, *lines, b""]))


SETTINGS = st.fixed_dictionaries(
    {
        "price_decimals": st.sampled_from([8, 1, 0, 18]),
        "size_decimals": st.sampled_from([8, 2, 1, 18]),
        "max_line_bytes": st.sampled_from([1 << 20, 150]),
    }
)


@settings(max_examples=examples(1500))
@given(damaged(), SETTINGS, st.sampled_from([b"", b"9", b'"', b"\n", b"]"]))
@example(("okx", b"", RECORDS["okx"][0][1] + b"\n"), {}, b"9")
def test_damaged_records_are_scanned_as_by_the_reference(
    case: tuple[str, bytes, bytes], changes: dict[str, Any], behind: bytes
) -> None:
    """Both decoders agree on any values of a record, whatever forms were learned before."""
    sample, lessons, content = case
    compare(sample, replace(settings_of(sample), **changes), lessons + content, behind)


def by_kernel(kernel: Callable[..., Any], text: bytes, *more: int) -> tuple[int, int]:
    """Value and end of a field with a quote behind it."""
    buffer = np.frombuffer(text + b'"' + bytes(PADDING), np.uint8).copy()
    value, after = kernel(buffer, 0, *more)
    return int(value), int(after)


def refused(decode_field: Callable[[], int]) -> int | None:
    """What the reference decoder says of a field, None where it refuses."""
    try:
        return decode_field()
    except RefusedError:
        return None


TWO = st.integers(0, 99).map("{:02d}".format)


@settings(max_examples=examples(800))
@given(
    st.tuples(st.sampled_from(["1969", "1970", "2000", "2023", "2024", "2100", "2261", "2262"]), TWO, TWO, TWO, TWO, TWO),
    st.sampled_from("T t"),
    st.sampled_from(["", ".", ".5", ".123456789", ".1234567891"]),
    st.sampled_from(["Z", "+00:00", "", "+01:00"]),
)
@example(("2024", "02", "29", "00", "00", "00"), "T", "", "Z")
@example(("2023", "02", "29", "00", "00", "00"), "T", "", "Z")
@example(("2100", "02", "29", "00", "00", "00"), "T", "", "Z")
@example(("2000", "12", "31", "23", "59", "59"), " ", ".999999999", "+00:00")
def test_iso_times_are_read_as_by_the_reference(parts: tuple[str, ...], separator: str, fraction: str, zone: str) -> None:
    """What the kernel takes is what the reference decoder reads, and it takes all between 1970 and 2261."""
    year, month, day, hour, minute, second = parts
    text = f"{year}-{month}-{day}{separator}{hour}:{minute}:{second}{fraction}{zone}"
    value, after = by_kernel(field_scanner.iso_time, text.encode())
    expected = refused(lambda: iso_time(text))
    if expected is None or year == "2262":
        assert after == -1 or (expected is not None and after == len(text))
    else:
        assert (value, after) == (expected, len(text))


@settings(max_examples=examples(500))
@given(st.from_regex(r"\A-?[0-9]{0,20}(\.[0-9]{0,20})?\Z"))
@example("0.5")
@example("9999999999.5")
def test_numbers_are_read_as_by_the_reference(text: str) -> None:
    """What the kernels take in whole is what the reference decoder reads."""
    whole = len(text)
    value, after = by_kernel(field_scanner.seconds_time, text.encode())
    assert after != whole or value == refused(lambda: seconds_time(text))
    value, after = by_kernel(field_scanner.magnitude_time, text.encode())
    assert after != whole or value == nanoseconds(int(text))
    value, after = by_kernel(field_scanner.checksum_32, text.encode())
    assert after != whole or value == refused(lambda: a_checksum({"c": text}, "c") or 0)
    value, after = by_kernel(field_scanner.unsigned, text.encode())
    assert after != whole or str(value) == text
