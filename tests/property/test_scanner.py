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
from cowbook.plain.messages import (
    DEAD_LETTER,
    DIFF,
    FUTURES,
    IS_AGGREGATE,
    IS_UNLABELLED,
    OTHER_SYMBOL,
    RPI,
    SELL_AGGRESSOR,
    SNAPSHOT,
    SPOT,
    TICKER,
    TRADE,
    UNUSED,
    EventBatch,
)
from cowbook.venues import load_venue
from cowbook.venues.binance.reference import decode_record
from cowbook.venues.binance.scanner import BinanceScanner
from support.search import examples

SEEDS = [
    b'{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,"u":50093239202,'
    b'"b":[["61737.63000000","0.00000000"],["61730.17","1"]],"a":[["61837.64000000","1.54698000"]]}',
    b'{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":1,"u":2,"b":[["61737.6","0.00"],["6173.5","1.25"],["7.4","012.50"]],'
    b'"a":[["61837.64","1.546"],["61838.65","22.500"],["61839.660","3.5"],["61840.67","0.100"],["161841.68","9999999.999"]]}',
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
    b'{"stream":"btcusdt@depth5@100ms","data":{"lastUpdateId":50093239218,"bids":[["61837.63","3.788"]],"asks":[["61900","1"]]}}',
    b'1723161255 {"stream":"btcusdt@depth20@500ms","data":{"e":"depthUpdate","E":1723161255208,"T":1723161255207,"s":"BTCUSDT",'
    b'"U":50093239189,"u":50093239202,"pu":50093239188,"b":[["61837.6","2"]],"a":[["61837.7","1"],["61838","4"]]}}',
    b'{"stream":"btcusdt@rpiDepth@500ms","data":{"e":"depthUpdate","E":1723161255208,"T":1723161255207,"s":"BTCUSDT",'
    b'"U":50093239189,"u":50093239202,"pu":50093239188,"b":[["61837.6","2"]],"a":[]}}',
    b'{"e":"trade","E":1723161255343,"T":1723161255342,"s":"BTCUSDT","t":1,"p":"0.1","q":"2","X":"MARKET","m":true}',
    b'{"e":"markPriceUpdate","E":1680652805013,"s":"BTCUSDT","p":"28155.2"}',
    b'{"result":null,"id":1}',
    b"",
    b"nonsense",
]

FRAGMENTS = [
    b'"', b"{", b"}", b"[", b"]", b",", b":", b" ", b"\\", b"0", b"9", b"-", b".", b"e", b"\x00", b"\xff", b"\t", b"\r",
    b"true", b"false", b"null", b'"T":1,', b'"E":1.5,', b'"s":"ETHUSDT",', b'"u":7,', b'"pu":3,', b'"e":"trade",', b'"e":5,',
    b'"lastUpdateId":9,', b'"bids":[],', b'"asks":[["1","2"]],', b'"b":[["1","2"]],', b'"a":"1.5",', b'"X":"MARKET",', b'"x":1,',
    b'"M":true,', b'"X":1,', b'"symbol":"BTCUSDT",', b"@", b"@depth", b"@depth5", b"@depth10", b"@rpiDepth", b"@100ms",
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
            decoded.market,
            decoded.speed,
            *((decoded.first_id, decoded.prev_id, decoded.rule) if decoded.kind in (DIFF, SNAPSHOT) else ()),
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
    names = ["last_id", "ts_event", "ts_recv", "flags", "market", "speed"]
    names += ["first_id", "prev_id", "rule"] if kind in (DIFF, SNAPSHOT) else []
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


_STREAMS = [
    "@depth",
    "@depth@100ms",
    "@depth@500ms",
    "@depth@250ms",
    "@rpiDepth@500ms",
    "@depth5",
    "@depth10@100ms",
    "@depth20@500ms",
]


@st.composite
def streams(draw: st.DrawFn) -> str:
    """A stream's name: mostly one of a depth stream of this symbol, often of another one, or one that Binance does not have."""
    if draw(st.integers(0, 2)):
        return "btcusdt" + draw(st.sampled_from(_STREAMS))
    symbol = draw(st.sampled_from(["btcusdt", "btcusdt", "BTCUSDT", "BtcUsdt", "btcusd", "btcusdt_", "ethusdt", "", "btc@usdt"]))
    kind = draw(
        st.sampled_from(["@depth", "@depth5", "@depth10", "@depth20", "@rpiDepth", "@depth1", "@depth50", "@dept", "@", ""])
    )
    speed = draw(st.sampled_from(["", "@100ms", "@500ms", "@250ms", "@1000ms", "@100m", "@0100ms", "@depth5", "@rpiDepth", "@"]))
    return symbol + kind + speed


_RECORDS: dict[str, list[tuple[str, list[str]]]] = {
    "depth": [
        ("e", ['"depthUpdate"']),
        ("E", ["1723161255208", "1", "99999999999", "1.5"]),
        ("s", ['"BTCUSDT"', '"BTCUSDT"', '"ETHUSDT"', '"btcusdt"', "1"]),
        ("U", ["5", "0", "-1", "1000000000000000000"]),
        ("u", ["7", "1000000000000000000"]),
        ("b", ['[["1","2"]]', '[["-1.5","2.0"],["-0.25","1.0"]]', "[]", '[["1","2"],["1","x"]]', '[["1","-2"]]', '"1"']),
        ("a", ['[["3","2"],["3.5","0"]]', "[]", "5"]),
    ],
    "snapshot": [
        ("lastUpdateId", ["9", "9", "true", '"9"', "1000000000000000000"]),
        ("bids", ['[["1","2"]]', "[]", '[["1","2"],["1","x"]]', "true"]),
        ("asks", ['[["3","2"],["3.5","0"]]', "[]", "{}"]),
    ],
    "trade": [
        ("e", ['"trade"', '"aggTrade"', '"kline"']),
        ("E", ["1723161255343", '"1"']),
        ("s", ['"BTCUSDT"', '"BTCUSDT"', '"ETHUSDT"']),
        ("t", ["1", "true"]),
        ("p", ['"0.1"', '"-0.1"', "1"]),
        ("q", ['"2"', '"-2"', '""']),
        ("m", ["true", "false", "1"]),
    ],
    "aggTrade": [
        ("e", ['"aggTrade"', '"trade"']),
        ("E", ["1723161255343"]),
        ("a", ["2", "[]"]),
        ("s", ['"BTCUSDT"', '"ETHUSDT"']),
        ("p", ['"0.1"']),
        ("q", ['"2"']),
        ("m", ["true", "false", "1"]),
    ],
    "ticker": [
        ("u", ["400900217", '"1"', "true"]),
        ("s", ['"BTCUSDT"', '"BTCUSDT"', '"ETHUSDT"']),
        ("b", ['"25.3"', "true"]),
        ("B", ['"31"', "true"]),
        ("a", ['"25.4"', "true"]),
        ("A", ['"40"', "true"]),
    ],
    "futures ticker": [
        ("e", ['"bookTicker"', '"x"', "1"]),
        ("u", ["400900217"]),
        ("s", ['"BTCUSDT"', '"ETHUSDT"']),
        ("b", ['"25.3"']),
        ("B", ['"31"']),
        ("a", ['"25.4"']),
        ("A", ['"40"']),
    ],
}
"""Kinds of records by their usual members. The first of a member's values is the usual one."""

_USUALLY_MORE = [
    [],
    [],
    ['"T":1723161255207', '"pu":4'],
    ['"X":"MARKET"'],
    ['"M":true'],
    ['"E":1723161255208', '"T":1723161255207'],
]
_MORE = [
    '"T":1723161255207', '"T":true', '"E":1723161255208', '"pu":4', '"pu":null', '"pu":"4"', '"ps":"BTCUSD"', '"lastUpdateId":9',
    '"X":"MARKET"', '"X":5', '"X":false', '"M":true', '"M":1', '"M":"y"', '"symbol":"BTCUSDT"', '"symbol":"ETHUSDT"',
    '"e":"bookTicker"',
]  # fmt: skip


@st.composite
def told_by_stream(draw: st.DrawFn) -> bytes:
    """A record of any kind, mostly usual, else with members of its own or of another kind changed, alone or in a wrapper."""
    is_usual = draw(st.integers(0, 3)) > 0
    members = []
    for key, values in _RECORDS[draw(st.sampled_from(sorted(_RECORDS)))]:
        chance = 9 if is_usual else draw(st.integers(0, 9))
        if chance:
            members.append(f'"{key}":{draw(st.sampled_from(values)) if chance < 4 else values[0]}')
    more = draw(st.sampled_from(_USUALLY_MORE)) if is_usual else draw(st.lists(st.sampled_from(_MORE), max_size=3))
    for member in more:
        place = draw(st.integers(0, len(members))) if draw(st.booleans()) else len(members)
        members.insert(place, member)
    text = "{" + ",".join(members) + "}"
    if draw(st.integers(0, 3)):
        text = f'{{"stream":"{draw(streams())}","data":{text}}}'
    return (draw(st.sampled_from(["", "", "1723161254 "])) + text).encode()


@settings(max_examples=examples(1000))
@given(st.lists(told_by_stream(), min_size=4, max_size=8), st.sampled_from([b"", b"@depth5", b'"']), st.integers(0, 3))
@example([b'{"u":true,"b":true,"B":true,"a":true,"A":true,"lastUpdateId":9,"bids":[],"asks":[]}'], b"", 0)
def test_markets_speeds_and_partial_books_are_told_as_by_the_reference(lines: list[bytes], behind: bytes, others: int) -> None:
    """Whatever a stream's name and the keys of a record say of its kind, its symbol, its market and its speed."""
    known = [SEEDS[0].replace(b"BTCUSDT", b"LTCUSDT")] * 64 if others else []  # from then on the scanner itself skips others
    compare(known + lines, DecoderSettings("BTCUSDT", 8, 8, 1 << 20), behind)


_DIFF = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1","2"]],"a":[]}'
_FUTURES_DIFF = _DIFF.replace(b'"b"', b'"pu":0,"b"')
_BOOK = b'{"lastUpdateId":5,"bids":[["1","2"]],"asks":[]}'
_TIMED_BOOK = _BOOK.replace(b'"bids"', b'"E":1,"T":1,"bids"')
_TRADE = b'{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true}'
_AGGREGATE = b'{"e":"aggTrade","E":1,"s":"BTCUSDT","a":1,"p":"1","q":"1","m":true}'
_TICKER = b'{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}'
_ODD_TICKER = b'{"s":"BTCUSDT","u":1,"b":"1","B":"1","a":"2","A":"1"}'


def _in(stream: bytes, record: bytes) -> bytes:
    return b'{"stream":"%b","data":%b}' % (stream, record)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (_DIFF, (DIFF, SPOT, 0, 0)),
        (_FUTURES_DIFF, (DIFF, FUTURES, 0, 0)),
        (_in(b"btcusdt@depth", _DIFF), (DIFF, SPOT, 1, 0)),
        (_in(b"btcusdt@depth@100ms", _DIFF), (DIFF, SPOT, 2, 0)),
        (_in(b"btcusdt@depth@500ms", _FUTURES_DIFF), (DIFF, FUTURES, 3, 0)),
        (_in(b"btcusdt@depth@250ms", _FUTURES_DIFF), (DIFF, FUTURES, 4, 0)),
        (_in(b"btcusdt@depth@1000ms", _DIFF), (DIFF, SPOT, 0, 0)),
        (_in(b"btcusdt@depth@100ms@", _DIFF), (DIFF, SPOT, 0, 0)),
        (_in(b"btcusdt@rpiDepth@500ms", _FUTURES_DIFF), (DIFF, RPI, 0, 0)),
        (_in(b"btcusdt@depth5", _FUTURES_DIFF), (SNAPSHOT, FUTURES, 0, 0)),
        (_in(b"btcusdt@depth20@100ms", _FUTURES_DIFF), (SNAPSHOT, FUTURES, 0, 0)),
        (_in(b"btcusdt@depth10@100ms", _BOOK), (SNAPSHOT, SPOT, 0, 0)),
        (_in(b"ethusdt@depth10@100ms", _BOOK), (OTHER_SYMBOL,)),
        (_in(b"btcusdt_@depth10@100ms", _BOOK), (OTHER_SYMBOL,)),
        (_in(b"nothing", _BOOK), (SNAPSHOT, SPOT, 0, IS_UNLABELLED)),
        (_BOOK, (SNAPSHOT, SPOT, 0, IS_UNLABELLED)),
        (_TIMED_BOOK, (SNAPSHOT, FUTURES, 0, IS_UNLABELLED)),
        (_in(b"btcusdt@depth", _TIMED_BOOK), (SNAPSHOT, FUTURES, 0, 0)),
        (_TIMED_BOOK.replace(b'"E":1,', b""), (SNAPSHOT, FUTURES, 0, IS_UNLABELLED)),
        (_TRADE, (TRADE, 0, 0, SELL_AGGRESSOR)),
        (_TRADE.replace(b"}", b',"M":true}'), (TRADE, SPOT, 0, SELL_AGGRESSOR)),
        (_TRADE.replace(b"}", b',"X":"MARKET","M":true}'), (TRADE, FUTURES, 0, SELL_AGGRESSOR)),
        (_AGGREGATE, (TRADE, 0, 0, SELL_AGGRESSOR | IS_AGGREGATE)),
        (_AGGREGATE.replace(b"}", b',"M":true}'), (TRADE, SPOT, 0, SELL_AGGRESSOR | IS_AGGREGATE)),
        (_TICKER, (TICKER, SPOT, 0, 0)),
        (_TICKER.replace(b'{"u"', b'{"e":"bookTicker","u"'), (TICKER, FUTURES, 0, 0)),
        (_ODD_TICKER, (TICKER, SPOT, 0, 0)),
        (_ODD_TICKER.replace(b'{"s"', b'{"e":"bookTicker","s"'), (TICKER, FUTURES, 0, 0)),
    ],
)
def test_the_scanner_itself_tells_market_speed_and_label(record: bytes, expected: tuple[int, ...]) -> None:
    """Without the reference decoder, and with nothing left of what stood in the batch before."""
    batch = EventBatch.allocate(1, 4)
    batch.messages.view(np.int64)[:] = 77
    scanner = BinanceScanner(DecoderSettings("BTCUSDT", 8, 8, 1 << 20))
    scanner.counts["other_symbol_seen"] = 1
    assert scanner.scan(block_of(record + b"\n"), batch) == END
    message = batch.messages[0]
    assert tuple(int(message[name]) for name in ("kind", "market", "speed", "flags"))[: len(expected)] == expected
    compare([record], DecoderSettings("BTCUSDT", 8, 8, 1 << 20))


def _numeral(whole: str, fraction: str) -> str:
    return f"{whole}.{fraction}" if fraction else whole


DIGITS = st.text("0123456789", max_size=20)
EXPONENTS = st.builds("{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 25))
NUMERALS = st.one_of(
    st.builds("{}{}".format, st.builds(_numeral, DIGITS, st.text("0123456789", max_size=8)), EXPONENTS),
    st.builds(_numeral, DIGITS, DIGITS),
    st.builds(_numeral, st.text("0123456789", min_size=1, max_size=10), st.text("0123456789", max_size=8)),
    st.builds(_numeral, st.from_regex("-{1,2}[0-9]{0,10}", fullmatch=True), st.text("0123456789", max_size=8)),
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
