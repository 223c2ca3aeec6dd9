"""The fast scanner against the reference decoder: the same messages from any bytes, and never a byte outside the block."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import isal.igzip
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.line_decoder import LineDecoder
from cowbook.input.text.scanner import END
from cowbook.input.text.text_scanner import find_newline
from cowbook.input.verdict import BLANK, DecodedMessage, OtherSymbol, Rejected
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import DEAD_LETTER, OTHER_SYMBOL, TICKER, UNUSED, EventBatch
from cowbook.venues import load_venue
from cowbook.venues.binance.reference import decode_record
from cowbook.venues.binance.scanner import BinanceScanner
from support.search import examples

SEEDS = [
    b'{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,"u":50093239202,'
    b'"b":[["61737.63000000","0.00000000"],["61730.17","1"]],"a":[["61837.64000000","1.54698000"]]}',
    b'1723161253937085768 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,'
    b'"T":1723161255207,"s":"BTCUSDT","U":50093239189,"u":50093239202,"pu":50093239188,"b":[],"a":[]}}',
    b'1680652700.599351: {"e":"depthUpdate","E":1680652700,"T":1680652700123456,"s":"BTCUSDT","ps":"BTCUSD",'
    b'"U":1,"u":2,"pu":0,"b":[["1","2"]],"a":[["3.5","0"]]}',
    b'1723161254206652067 {"lastUpdateId":50093239218,"bids":[["61837.63000000","3.78826000"]],"asks":[["61900","1"]]}',
    b'{"lastUpdateId":5,"E":1723161256567,"T":1723161256561,"bids":[],"asks":[["0.00000001","9999999999.99999999"]]}',
    b'1723161254 {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,'
    b'"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}',
    b'{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":1,"p":"0.1","q":"2","b":88,"a":50,"T":123456785,"m":false,"M":true}',
    b'{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":123456785,"m":true}',
    b'{"u":400900217,"s":"BTCUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}',
    b'{"e":"bookTicker","u":400900217,"s":"ETHUSDT","b":"25.35","B":"0","a":"0","A":"40","T":1568014460891,"E":1568014460893}',
    b'{"e":"markPriceUpdate","E":1680652805013,"s":"BTCUSDT","p":"28155.2"}',
    b'{"result":null,"id":1}',
    b"",
    b"nonsense",
]

FRAGMENTS = [
    b'"', b"{", b"}", b"[", b"]", b",", b":", b" ", b"\\", b"0", b"9", b"-", b".", b"e", b"\x00", b"\xff", b"\t", b"\r",
    b"true", b"false", b"null", b'"T":1,', b'"E":1.5,', b'"s":"ETHUSDT",', b'"u":7,', b'"pu":3,', b'"e":"trade",', b'"e":5,',
    b'"lastUpdateId":9,', b'"bids":[],', b'"asks":[["1","2"]],', b'"b":[["1","2"]],', b'"a":"1.5",', b'"X":"MARKET",', b'"x":1,',
    b"123456789012345678901234567890", b"000", b"1e5", b"99999999999.99999999", b"0.123456789", b"1.5", b"999999999999999999",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """What a decoder made of a record, comparable."""

    kind: int
    fields: tuple[int, ...] = ()
    bids: tuple[tuple[int, int], ...] = ()
    asks: tuple[tuple[int, int], ...] = ()
    reason: str = ""


def by_reference(record: bytes, settings_: DecoderSettings) -> Seen | None:
    """What the reference decoder says of a line's content."""
    decoded = decode_record(record, settings_)
    if decoded is BLANK:
        return None
    if isinstance(decoded, Rejected):
        return Seen(DEAD_LETTER, reason=decoded.reason)
    if isinstance(decoded, OtherSymbol):
        return Seen(OTHER_SYMBOL)
    if not isinstance(decoded, DecodedMessage):
        return Seen(UNUSED)
    is_ticker = decoded.kind == TICKER
    return Seen(
        decoded.kind,
        (
            decoded.last_id,
            0 if is_ticker else decoded.ts_event,
            decoded.ts_recv,
            decoded.flags,
            *((decoded.first_id, decoded.prev_id, decoded.rule) if decoded.kind == 0 else ()),
        ),
        tuple(zip(decoded.bid_prices, decoded.bid_sizes, strict=True)),
        tuple(zip(decoded.ask_prices, decoded.ask_sizes, strict=True)),
    )


def block_of(content: bytes, *, behind: bytes = b"", final: bool = True) -> Block:
    """A block with `behind` as the stale bytes behind its end."""
    buffer = np.frombuffer(content + (behind * PADDING)[:PADDING] + bytes(PADDING), np.uint8).copy()
    return Block(buffer, 0, len(content), "file", 0, final)


def by_line_decoder(content: bytes, settings_: DecoderSettings, behind: bytes = b"") -> list[Seen]:
    """What the line decoder, scanner first, makes of lines."""
    decoder = LineDecoder(load_venue("binance"), settings_)
    block = block_of(content, behind=behind)
    batch = EventBatch.allocate(4, 4)
    seen: list[Seen] = []
    full = True
    while full:
        full = decoder.decode(block, batch)
        letters = iter(batch.dead_letters)
        for message in batch.messages[: batch.message_count]:
            kind = int(message["kind"])
            if kind == DEAD_LETTER:
                seen.append(Seen(DEAD_LETTER, reason=next(letters).reason))
            elif kind in (OTHER_SYMBOL, UNUSED):
                seen.append(Seen(kind))
            else:
                seen.append(message_seen(message, batch))
        batch.clear()
    return seen


def message_seen(message: np.void, batch: EventBatch) -> Seen:
    """A message of a batch, comparable."""
    kind = int(message["kind"])
    names = ["last_id", "ts_event", "ts_recv", "flags", *(("first_id", "prev_id", "rule") if kind == 0 else ())]
    fields = tuple(0 if name == "ts_event" and kind == TICKER else int(message[name]) for name in names)
    levels = []
    for side in ("bid", "ask"):
        start, count = int(message[f"{side}_start"]), int(message[f"{side}_count"])
        prices, sizes = batch.prices[start : start + count], batch.sizes[start : start + count]
        levels.append(tuple(zip(prices.tolist(), sizes.tolist(), strict=True)))
    bids, asks = levels
    return Seen(kind, fields, bids, asks)


def compare(lines: list[bytes], settings_: DecoderSettings, behind: bytes = b"") -> None:
    """Both decoders see the same in these lines."""
    expected = [by_reference(line.removesuffix(b"\r"), settings_) for line in lines]
    content = b"".join(line + b"\n" for line in lines)
    assert by_line_decoder(content, settings_, behind) == [seen for seen in expected if seen is not None]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A known record with a few random cuts, insertions, swaps or doubled stretches."""
    record = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(record)))
        action = draw(st.integers(0, 3))
        if action == 0:
            record[place:place] = draw(st.sampled_from(FRAGMENTS))
        elif action == 1:
            del record[place : place + draw(st.integers(1, 6))]
        elif action == 2 and place < len(record):
            record[place] = draw(st.integers(0, 255))
        else:
            stretch = record[place : place + draw(st.integers(1, 30))]
            record[place:place] = stretch
    return bytes(record).replace(b"\n", b"")


SETTINGS = st.builds(
    DecoderSettings,
    name=st.sampled_from(["BTCUSDT", "ETHUSDT"]),
    price_decimals=st.sampled_from([8, 2, 0, 10, 11, 18]),
    size_decimals=st.sampled_from([8, 3, 0, 18]),
    max_line_bytes=st.sampled_from([1 << 20, 200, 64]),
)


@settings(max_examples=examples(1000))
@given(st.lists(mutated(), max_size=6), SETTINGS, st.sampled_from([b"", b"9", b'"', b"\n", b'["1","1"],']))
@example([SEEDS[0], b"\r", SEEDS[0] + b"\r"], DecoderSettings("BTCUSDT", 8, 8, 1 << 20), b"9")
def test_mutated_records_are_scanned_as_by_the_reference(lines: list[bytes], settings_: DecoderSettings, behind: bytes) -> None:
    """Whatever happens to a record, and whatever stands behind the block, both decoders agree."""
    compare(lines, settings_, behind)


def _numeral(whole: str, fraction: str) -> str:
    return f"{whole}.{fraction}" if fraction else whole


DIGITS = st.text("0123456789", max_size=20)
NUMERALS = st.one_of(
    st.builds(_numeral, DIGITS, DIGITS),
    st.builds(_numeral, st.text("0123456789", min_size=1, max_size=10), st.text("0123456789", max_size=8)),
    st.builds(_numeral, st.just("1"), st.builds(lambda digits, zeros: digits + "0" * zeros, DIGITS, st.integers(0, 12))),
)


@settings(max_examples=examples(500))
@given(st.lists(st.tuples(NUMERALS, NUMERALS), min_size=1, max_size=5), SETTINGS)
def test_numerals_are_scanned_as_by_the_reference(levels: list[tuple[str, str]], settings_: DecoderSettings) -> None:
    """Numerals of every length and precision, fitting or not."""
    inner = ",".join(f'["{price}","{size}"]' for price, size in levels)
    compare([b'{"lastUpdateId":5,"E":1,"bids":[%b],"asks":[]}' % inner.encode()], settings_)


@settings(max_examples=examples(500))
@given(
    st.one_of(st.integers(0, 10**20), st.sampled_from([10**k + d for k in range(8, 20) for d in (-1, 0, 1)])),
    st.one_of(st.none(), DIGITS),
    st.sampled_from(["", ":", "::"]),
    st.one_of(st.integers(0, 10**20), st.sampled_from([10**k + d for k in range(8, 20) for d in (-1, 0, 1)])),
)
def test_times_are_scanned_as_by_the_reference(receive: int, fraction: str | None, colon: str, event: int) -> None:
    """Receive and event times of every magnitude."""
    prefix = str(receive) + ("" if fraction is None else f".{fraction}") + colon + " "
    record = f'{prefix}{{"e":"trade","E":{event},"s":"X","t":1,"p":"1","q":"1","m":true}}'
    compare([record.encode()], DecoderSettings("X", 8, 8, 1 << 20))


@pytest.mark.parametrize("name", ["spot_btcusdt_20240808.gz", "usdm_ethusdt_20240808.gz", "usdm_btcusdt_20230404.dat.gz"])
def test_damaged_real_lines_are_scanned_as_by_the_reference(name: str, shared_data: Path) -> None:
    """Real lines, whole and with random damage; most whole ones are the scanner's."""
    path = shared_data / "hftbacktest" / name
    settings_ = DecoderSettings("ETHUSDT" if "eth" in name else "BTCUSDT", 8, 8, 1 << 24)
    with isal.igzip.open(path, "rb") as file:
        lines = file.read().splitlines()
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    sample = rng.sample(lines, 1500)
    compare(sample, settings_)
    damaged = []
    for line in sample:
        record = bytearray(line)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(record))
            choice = rng.randrange(3)
            if choice == 0:
                record[place] = rng.randrange(256)
            elif choice == 1:
                record[place:place] = rng.choice(FRAGMENTS)
            else:
                del record[place : place + rng.randint(1, 4)]
        damaged.append(bytes(record).replace(b"\n", b""))
    compare(damaged, settings_, behind=rng.choice([b"", b"0", b'"']))


def test_a_recorded_file_needs_no_reference(shared_data: Path) -> None:
    """The scanner itself, without the reference decoder, reads a whole recorded file."""
    with isal.igzip.open(shared_data / "hftbacktest" / "spot_btcusdt_20240808.gz", "rb") as file:
        block = block_of(file.read())
    batch = EventBatch.allocate(1 << 16, 1 << 18)
    scanner = BinanceScanner(DecoderSettings("BTCUSDT", 8, 8, 1 << 24))
    assert (scanner.scan(block, batch), block.start) == (END, block.end)
    assert batch.message_count == 41_249


@given(st.binary(max_size=600), st.integers(0, 40), st.integers(0, 40))
def test_find_newline_equals_bytes_find(content: bytes, start: int, cut: int) -> None:
    """As bytes.find, within the bounds."""
    end = max(len(content) - cut, 0)
    block = block_of(content, behind=b"\n")
    assert find_newline(block.buffer, start, end) == content.find(b"\n", start, end)
