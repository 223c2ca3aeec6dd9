"""The reference decoder for Binance's records against a table, and against a naive second one."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, replace
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cowbook.input.numerals import MisfitError, find_non_numeral, fixed_points
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import MAX_NESTING
from cowbook.input.verdict import BLANK, UNUSED, Decoded, DecodedMessage, OtherSymbol, Rejected
from cowbook.plain.messages import (
    DIFF,
    FUTURES,
    IS_AGGREGATE,
    IS_UNLABELLED,
    NONE,
    RPI,
    SELL_AGGRESSOR,
    SNAPSHOT,
    SPOT,
    TICKER,
    TRADE,
)
from cowbook.plain.schemes import RANGE, RANGE_WITH_PREVIOUS
from cowbook.simulate.capture import write_capture
from cowbook.venues.binance.reference import decode_record
from support.search import examples

CAPTURES = Path(__file__).parents[4].parent / "shared" / "data" / "hftbacktest"
SETTINGS = DecoderSettings("BTCUSDT", price_decimals=2, size_decimals=8, max_line_bytes=100_000)

DIFF_TEXT = '{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":10,"u":12,"b":[["1.5","2"],["3.00","0"]],"a":[]}'
TRADE_TEXT = '{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":7,"p":"61837.63","q":"0.02","T":1723161255342,"m":true}'
AGGREGATE_TEXT = '{"e":"aggTrade","E":1723161255343,"s":"BTCUSDT","a":8,"p":"1","q":"2","m":false,"f":1,"l":2}'
TICKER_TEXT = '{"u":12,"s":"BTCUSDT","b":"1.5","B":"2","a":"1.6","A":"0.00000003"}'
SNAPSHOT_TEXT = '{"lastUpdateId":11,"bids":[["1.5","2","spare"]],"asks":[["1.6","3"]]}'
SYMBOL_SNAPSHOT_TEXT = '{"lastUpdateId":11,"symbol":"BTCUSDT","E":1,"T":2,"bids":[],"asks":[]}'


def diff(**changes: Any) -> DecodedMessage:
    """What DIFF_TEXT means."""
    message = DecodedMessage(
        DIFF,
        last_id=12,
        rule=RANGE,
        first_id=10,
        ts_event=1_723_161_255_208_000_000,
        bid_prices=[150, 300],
        bid_sizes=[200_000_000, 0],
        market=SPOT,
    )
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def decode(text: str | bytes) -> Decoded:
    """Decode under SETTINGS."""
    return decode_record(text if isinstance(text, bytes) else text.encode(), SETTINGS)


TRADE_MESSAGE = DecodedMessage(
    TRADE, 7, ts_event=1_723_161_255_342_000_000, flags=SELL_AGGRESSOR, bid_prices=[6_183_763], bid_sizes=[2_000_000]
)
TICKER_MESSAGE = DecodedMessage(
    TICKER, 12, bid_prices=[150], bid_sizes=[200_000_000], ask_prices=[160], ask_sizes=[3], market=SPOT
)
SNAPSHOT_MESSAGE = DecodedMessage(
    SNAPSHOT, 11, bid_prices=[150], bid_sizes=[200_000_000], ask_prices=[160], ask_sizes=[300_000_000], market=SPOT
)
UNLABELLED_MESSAGE = replace(SNAPSHOT_MESSAGE, flags=IS_UNLABELLED)
FUTURES_DIFF_TEXT = DIFF_TEXT.replace('"s"', '"T":1723161255000,"pu":9,"s"')


def futures_diff(**changes: Any) -> DecodedMessage:
    """What FUTURES_DIFF_TEXT means."""
    own = {"rule": RANGE_WITH_PREVIOUS, "ts_event": 1_723_161_255_000_000_000, "prev_id": 9, "market": FUTURES}
    return diff(**{**own, **changes})


def wrap(stream: str, text: str) -> str:
    """A record in a wrapper."""
    return f'{{"stream":"{stream}","data":{text}}}'


MESSAGES: list[tuple[str, Decoded]] = [
    (DIFF_TEXT, diff()),
    (f'{{"stream":"ethusdt@depth","data":{DIFF_TEXT},"more":1}}', diff(speed=1)),
    (f" {DIFF_TEXT} \r", diff()),
    (DIFF_TEXT.replace('"s"', '"pu":9,"s"'), diff(rule=RANGE_WITH_PREVIOUS, prev_id=9, market=FUTURES)),
    (f"12:{DIFF_TEXT}", diff(ts_recv=12_000_000_000)),
    (f"12\t{DIFF_TEXT}", diff(ts_recv=12_000_000_000)),
    (f"12.5 : {DIFF_TEXT}", diff(ts_recv=12_500_000_000)),
    (DIFF_TEXT.replace('"s"', '"T":1723161255000,"s"'), diff(ts_event=1_723_161_255_000_000_000)),
    (DIFF_TEXT.replace('"U":10', '"U":true,"U":10'), diff()),
    (DIFF_TEXT.replace('"s"', '"x":[1e400,-0,{"U":-1}],"s"'), diff()),
    (DIFF_TEXT.replace('"s"', f'"x":{"9" * 5000},"s"'), diff()),
    (DIFF_TEXT.replace('"1.5"', f'"{"0" * 5000}1.5{"0" * 5000}"'), diff()),
    (DIFF_TEXT.replace('"b"', '"\\u0062"'), diff()),
    (TRADE_TEXT, TRADE_MESSAGE),
    (
        AGGREGATE_TEXT,
        DecodedMessage(
            TRADE,
            8,
            ts_event=1_723_161_255_343_000_000,
            flags=IS_AGGREGATE,
            bid_prices=[100],
            bid_sizes=[200_000_000],
        ),
    ),
    (TICKER_TEXT, TICKER_MESSAGE),
    (TICKER_TEXT.replace('{"u"', '{"e":"bookTicker","E":"odd","T":-1,"u"'), replace(TICKER_MESSAGE, market=FUTURES)),
    (SNAPSHOT_TEXT, UNLABELLED_MESSAGE),
    (SYMBOL_SNAPSHOT_TEXT, DecodedMessage(SNAPSHOT, 11, ts_event=2_000_000_000, market=FUTURES)),
]

MARKETS: list[tuple[str, Decoded]] = [
    (FUTURES_DIFF_TEXT, futures_diff()),
    (TRADE_TEXT.replace('"m"', '"M":true,"m"'), replace(TRADE_MESSAGE, market=SPOT)),
    (TRADE_TEXT.replace('"m"', '"X":"MARKET","M":true,"m"'), replace(TRADE_MESSAGE, market=FUTURES)),
    (TRADE_TEXT.replace('"m"', '"X":null,"m"'), replace(TRADE_MESSAGE, market=FUTURES)),
    *(
        (SNAPSHOT_TEXT.replace('"bids"', f'"{key}":1,"bids"'), replace(UNLABELLED_MESSAGE, ts_event=10**9, market=FUTURES))
        for key in "ET"
    ),
    (wrap("btcusdt@rpiDepth@500ms", FUTURES_DIFF_TEXT), futures_diff(market=RPI)),
]

SPEEDS = {
    "btcusdt@depth": 1,
    "@depth": 1,
    "btcusdt@depth@100ms": 2,
    "btcusdt@depth@500ms": 3,
    "btcusdt@depth@250ms": 4,
    "btcusdt@depth@1000ms": 0,
    "btcusdt@depth@100ms@": 0,
    "btcusdt@depth1": 0,
    "btcusdt@x@depth": 0,
    "depth": 0,
}

LABELS: list[tuple[str, Decoded]] = [
    (wrap("btcusdt@depth", SNAPSHOT_TEXT), SNAPSHOT_MESSAGE),
    (wrap("no at sign", SNAPSHOT_TEXT), UNLABELLED_MESSAGE),
    (SNAPSHOT_TEXT.replace('"bids"', '"s":"ETHUSDT","bids"'), UNLABELLED_MESSAGE),
    (SNAPSHOT_TEXT.replace('"bids"', '"symbol":"BTCUSDT","bids"'), SNAPSHOT_MESSAGE),
    (
        f"https://api.binance.com/api/v3/depth?symbol=BTCUSDT -> 1.5: {SNAPSHOT_TEXT}",
        replace(SNAPSHOT_MESSAGE, ts_recv=1_500_000_000),
    ),
]

FUTURES_PARTIAL_MESSAGE = DecodedMessage(
    SNAPSHOT,
    12,
    ts_event=1_723_161_255_000_000_000,
    bid_prices=[150, 300],
    bid_sizes=[200_000_000, 0],
    market=FUTURES,
)
PARTIAL_BOOKS: list[tuple[str, Decoded]] = [
    *((wrap(f"btcusdt@depth{number}", SNAPSHOT_TEXT), SNAPSHOT_MESSAGE) for number in ("5", "10", "20@100ms", "50")),
    (wrap("ethusdt@depth20@100ms", SNAPSHOT_TEXT), OtherSymbol("ETHUSDT")),
    *((wrap(f"btcusdt@depth{number}", FUTURES_DIFF_TEXT), FUTURES_PARTIAL_MESSAGE) for number in ("5", "10@100ms", "20")),
    (wrap("x@depth5", DIFF_TEXT), replace(FUTURES_PARTIAL_MESSAGE, ts_event=1_723_161_255_208_000_000)),
    (wrap("btcusdt@depth5", FUTURES_DIFF_TEXT.replace("BTC", "ETH")), OtherSymbol("ETHUSDT")),
    (wrap("ethusdt@depth5", FUTURES_DIFF_TEXT.replace('"s":"BTCUSDT",', "")), OtherSymbol("ETHUSDT")),
    (wrap("btcusdt@depth5", FUTURES_DIFF_TEXT.replace('"s":"BTCUSDT",', "")), FUTURES_PARTIAL_MESSAGE),
]

NOT_MESSAGES: list[tuple[str, Decoded]] = [
    (" \t", BLANK),
    ("", BLANK),
    (" " * 100_000, BLANK),
    ('{"e":"kline","s":5}', UNUSED),
    ('{"result":null,"id":1}', UNUSED),
    ('{"error":{"code":2},"id":1}', UNUSED),
    ('99999999999 {"e":"kline","s":"ETHUSDT"}', UNUSED),
    ('99999999999 {"e":"trade","s":"ETHUSDT","p":-1}', OtherSymbol("ETHUSDT")),
    (f'{{"stream":"ethusdt@depth","data":{SNAPSHOT_TEXT}}}', OtherSymbol("ETHUSDT")),
    (SYMBOL_SNAPSHOT_TEXT.replace("BTC", "ETH"), OtherSymbol("ETHUSDT")),
    (TICKER_TEXT.replace("BTCUSDT", "btcusdt"), OtherSymbol("btcusdt")),
]

REASONS: list[tuple[str | bytes, str]] = [
    ("x" * 100_001, "overlong"),
    (" " * 100_001, "overlong"),
    (b"{\xff}" + b" " * 100_000, "overlong"),
    (b'{"a":"\xff"}', "not_utf8"),
    (b'"\xed\xa0\x80"', "not_utf8"),
    ("{", "malformed"),
    ("NaN", "malformed"),
    ("{} {}", "malformed"),
    ('{"a":1,}', "malformed"),
    ('{"a":"\x01"}', "malformed"),
    ('{"a":"\\ud800"}', "malformed"),
    (f'{{"a":{"1" * 5000},"b":"\\ud800"}}', "malformed"),
    (f'{{"a":{"1" * 5000}', "malformed"),
    ('{"a":-0,"b":"\\udc00"}', "malformed"),
    ("\ufeff{}", "malformed"),
    (f"12  {DIFF_TEXT}", "malformed"),
    (f"-12 {DIFF_TEXT}", "malformed"),
    (f"12. {DIFF_TEXT}", "malformed"),
    (f"12;{DIFF_TEXT}", "malformed"),
    ("5", "unknown"),
    ("5 ", "unknown"),
    ("5 6", "unknown"),
    ("[]", "unknown"),
    ("{}", "unknown"),
    ('{"stream":"btcusdt@depth","data":[]}', "unknown"),
    ('{"stream":"a@b","data":{"stream":"a@b","data":{"e":"kline"}}}', "unknown"),
    ('{"stream":5,"data":{"e":"kline"}}', "unknown"),
    (TICKER_TEXT.replace('"A"', '"C"'), "unknown"),
    ('{"e":null}', "malformed"),
    (DIFF_TEXT.replace('"BTCUSDT"', "null"), "malformed"),
    *((DIFF_TEXT.replace('"u":12', f'"u":{number}'), "malformed") for number in ("-0", "1.0", "1e3", '"1"', "true")),
    *((DIFF_TEXT.replace(f'"{key}"', '"gone"'), "malformed") for key in ("E", "U", "u", "b", "a")),
    *((TRADE_TEXT.replace(f'"{key}"', '"gone"'), "malformed") for key in ("E", "t", "p", "q", "m")),
    *((SNAPSHOT_TEXT.replace(f'"{key}"', '"gone"'), "malformed") for key in ("bids", "asks")),
    (DIFF_TEXT.replace('"s"', '"pu":null,"s"'), "malformed"),
    (DIFF_TEXT.replace('"s"', '"T":"5","s"'), "malformed"),
    (TRADE_TEXT.replace("true", "1"), "malformed"),
    (DIFF_TEXT.replace('"a":[]', '"a":{}'), "malformed"),
    *(
        (DIFF_TEXT.replace('"a":[]', f'"a":[{level}]'), "malformed")
        for level in ('"12"', "[]", '["1"]', '["1",2]', '[null,"1"]', '["1","2,3"]', '["","1"]', '["1","2\\n"]')
    ),
    *(
        (DIFF_TEXT.replace('"1.5"', f'"{text}"'), "malformed")
        for text in ("--1", "-", "+1", "1.", ".5", "1e", "1_0", " 1", "\u0661")
    ),
    (DIFF_TEXT.replace('"1.5"', '"0.001"').replace('"2"', '"x"'), "malformed"),
    (DIFF_TEXT.replace('"2"', '"-2"'), "malformed"),
    (f"99999999999 {DIFF_TEXT.replace('10', '-1')}", "malformed"),
    (f"9223372036854775808 {DIFF_TEXT}", "out_of_range"),
    (f"9223372037.0 {DIFF_TEXT}", "out_of_range"),
    (f"{'9' * 5000} {DIFF_TEXT}", "out_of_range"),
    (DIFF_TEXT.replace('"u":12', f'"u":{2**63 - 1}'), "out_of_range"),
    (DIFF_TEXT.replace('"u":12', f'"u":{"9" * 5000}'), "out_of_range"),
    (DIFF_TEXT.replace("1723161255208", "99999999999"), "out_of_range"),
    (TRADE_TEXT.replace("1723161255343", "99999999999"), "out_of_range"),
    *(
        (wrap("btcusdt@depth5", FUTURES_DIFF_TEXT.replace(f'"{key}":{number}', f'"{key}":-1')), "malformed")
        for key, number in (("U", 10), ("u", 12), ("pu", 9))
    ),
    (wrap("btcusdt@depth5", FUTURES_DIFF_TEXT.replace('"U":10', f'"U":{2**63 - 1}')), "out_of_range"),
    (wrap("btcusdt@depth5", DIFF_TEXT.replace('"E"', '"gone"')), "malformed"),
]


@pytest.mark.parametrize(("text", "expected"), MESSAGES + NOT_MESSAGES)
def test_each_kind_and_spelling_is_decoded(text: str, expected: Decoded) -> None:
    """Each kind, each spelling, each record that is nothing."""
    assert expected == decode(text)


@pytest.mark.parametrize(("text", "expected"), MARKETS)
def test_the_keys_of_a_record_tell_its_market(text: str, expected: Decoded) -> None:
    """`pu`, `E` and `T` of a snapshot, `X`, `M` and `e` are each of one market; rpiDepth is told by the stream."""
    assert expected == decode(text)


@pytest.mark.parametrize(("stream", "speed"), SPEEDS.items())
def test_what_follows_the_symbol_in_a_stream_tells_the_speed(stream: str, speed: int) -> None:
    """Of a diff, and only if it is the whole rest of the name."""
    assert decode(wrap(stream, DIFF_TEXT)) == diff(speed=speed)


@pytest.mark.parametrize(("text", "expected"), LABELS)
def test_a_snapshot_says_whether_it_names_its_symbol(text: str, expected: Decoded) -> None:
    """By `symbol`, by its stream, or by the address that it answers."""
    assert expected == decode(text)


@pytest.mark.parametrize(("text", "expected"), PARTIAL_BOOKS)
def test_a_partial_book_is_a_snapshot(text: str, expected: Decoded) -> None:
    """Of spot with its lastUpdateId, of futures with its u; U and pu say nothing."""
    assert expected == decode(text)


@pytest.mark.parametrize(("text", "reason"), REASONS)
def test_the_first_failing_check_gives_the_reason(text: str | bytes, reason: str) -> None:
    """The first check that fails gives the reason; the detail is one short line."""
    rejected = decode(text)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == reason
    assert rejected.detail.isprintable()
    assert 5 < len(rejected.detail) < 200


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        pytest.param("1723161253", 1_723_161_253_000_000_000, id="seconds"),
        pytest.param("1723161253937", 1_723_161_253_937_000_000, id="milliseconds"),
        pytest.param("1723161253937085", 1_723_161_253_937_085_000, id="microseconds"),
        pytest.param("1723161253937085768", 1_723_161_253_937_085_768, id="nanoseconds"),
        pytest.param("1723161253937085768:", 1_723_161_253_937_085_768, id="colon"),
        pytest.param("1633998512.320639:", 1_633_998_512_320_639_000, id="fraction_and_colon"),
        pytest.param("1633998512.3206391239", 1_633_998_512_320_639_123, id="digits_after_the_ninth"),
        pytest.param("9223372036.854775807", 2**63 - 1, id="latest"),
        pytest.param("0", 0, id="zero"),
        pytest.param("0" * 5000 + "7.5", 7_500_000_000, id="leading_zeros"),
    ],
)
def test_magnitude_tells_the_unit_of_a_receive_time(prefix: str, expected: int) -> None:
    """The unit is told by magnitude; a fraction makes it seconds; the colon is optional."""
    assert decode(f"{prefix} {DIFF_TEXT}") == diff(ts_recv=expected)


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        pytest.param(
            '"1.5"', '"0.0000000010"', "price 0.0000000010 has 9 decimals: price_decimals = 9 would fit", id="too_many_decimals"
        ),
        pytest.param(
            '"1.5"',
            '"12345678901234567.5"',
            "price 12345678901234567.5 has 17 digits before the point: price_decimals = 1 would fit",
            id="price_too_large",
        ),
        pytest.param(
            '"2"',
            '"10000000000"',
            "size 10000000000 has 11 digits before the point: size_decimals = 7 would fit",
            id="size_too_large",
        ),
        pytest.param(
            '"2"',
            '"1234567890.123456789"',
            "size 1234567890.123456789 needs 19 digits, more than 18: no setting would fit",
            id="too_many_digits",
        ),
    ],
)
def test_misfits_name_the_setting_that_fits(old: str, new: str, detail: str) -> None:
    """The detail names a value of the setting; with it, the record is decoded."""
    text = DIFF_TEXT.replace(old, new)
    assert decode(text) == Rejected("out_of_range", detail)
    advice = re.search(r"(price|size)_decimals = (\d+)", detail)
    if advice:
        decimals = {"price_decimals": 2, "size_decimals": 8, f"{advice[1]}_decimals": int(advice[2])}
        settings = DecoderSettings("BTCUSDT", decimals["price_decimals"], decimals["size_decimals"], 1 << 20)
        fitting = decode_record(text.encode(), settings)
        assert isinstance(fitting, DecodedMessage)
    else:
        assert "no setting" in detail


def test_nesting_has_a_limit_of_its_own() -> None:
    """Exactly MAX_NESTING levels are JSON to us, brackets in strings are not nesting, many levels are not deep."""

    def nested(depth: int) -> Decoded:
        return decode(DIFF_TEXT.replace('"s"', f'"x":{"[" * (depth - 1)}{"]" * (depth - 1)},"s"'))

    assert nested(MAX_NESTING) == diff()
    for depth in (MAX_NESTING + 1, 1_000, 40_000):
        assert nested(depth) == Rejected("malformed", "nested more than 100 deep")
    assert decode(DIFF_TEXT.replace('"s"', f'"x":"{"[" * 500}","s"')) == diff()
    assert decode(DIFF_TEXT.replace('"s"', f'"x":[{"[[]]," * 500}0],"s"')) == diff()


# --- A naive second decoder.


class RefusedError(Exception):
    """The reason is the argument."""


def naive(record: bytes) -> object:
    """What docs/rules.md says of a record under SETTINGS, with json and Decimal."""
    try:
        if not record.strip(b" \t"):
            return BLANK
        return naive_record(record.decode())
    except UnicodeDecodeError:
        return "not_utf8"
    except RefusedError as refusal:
        return refusal.args[0]


def naive_record(text: str) -> object:
    """A record that is text."""
    prefix = re.match(r"([0-9]+(\.[0-9]+)?)(?::? (?=[^ \t\r\n:])|[ \t]*[\t:][ \t]*(?=[\[{]))", text)
    try:
        value = json.loads(
            text[prefix.end() :] if prefix else text,
            parse_int=lambda digits: None if digits.startswith("-") else Decimal(digits),
            parse_float=lambda _: None,
            parse_constant=lambda _: json.loads("not JSON"),
        )
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except ValueError:
        raise RefusedError("malformed") from None
    need(isinstance(value, dict), "unknown")
    stream = ""
    if isinstance(value.get("stream"), str) and "data" in value:
        stream, value = value["stream"], value["data"]
        need(isinstance(value, dict), "unknown")
    kind = naive_kind(value, stream)
    if kind == "unused":
        return UNUSED
    is_labelled = "@" in stream or "symbol" in value
    name = value.get("symbol" if kind == "snapshot" else "s", stream.split("@")[0].upper() if "@" in stream else "BTCUSDT")
    need(isinstance(name, str), "malformed")
    if name != "BTCUSDT":
        return OtherSymbol(name)
    # Grammar first, for all fields; what is deferred are the ranges.
    deferred: list[Callable[[], object]] = []
    if prefix:
        seconds = Decimal(prefix[1]) if prefix[2] else None
        deferred.append(lambda: fit(int(seconds * 10**9)) if seconds is not None else naive_time(Decimal(prefix[1])))
    fields = naive_fields(kind, value, deferred, bool(prefix))
    if kind == "snapshot" and not is_labelled:
        fields = (*fields[:7], IS_UNLABELLED, *fields[8:])
    return (*fields, 0, 0, 0, 0, 0, naive_market(kind, value, stream), naive_speed(kind, stream), [])


def naive_market(kind: str, value: dict[str, Any], stream: str) -> int:
    """The market of a message."""
    if kind == "diff" and "@rpiDepth" in stream:
        return RPI
    marks = {"diff": ["pu"], "snapshot": ["E", "T"], "ticker": ["e"], "partial": ["E"]}.get(kind, ["X"])
    if any(mark in value for mark in marks):
        return FUTURES
    return 0 if kind in ("trade", "aggregate") and "M" not in value else SPOT


def naive_speed(kind: str, stream: str) -> int:
    """The speed of a diff."""
    match = re.fullmatch("[^@]*@depth(|@100ms|@500ms|@250ms)", stream)
    return ["", "@100ms", "@500ms", "@250ms"].index(match[1]) + 1 if match and kind == "diff" else 0


def naive_kind(value: dict[str, Any], stream: str) -> str:
    """The kind of an object."""
    if "e" in value:
        need(isinstance(value["e"], str), "malformed")
        if value["e"] == "depthUpdate" and re.search("@depth(5|10|20)", stream):
            return "partial"
        return {"depthUpdate": "diff", "trade": "trade", "aggTrade": "aggregate", "bookTicker": "ticker"}.get(
            value["e"], "unused"
        )
    if all(key in value for key in "ubBaA"):
        return "ticker"
    if "lastUpdateId" in value:
        return "snapshot"
    need("result" in value or "error" in value, "unknown")
    return "unused"


def naive_fields(kind: str, value: dict[str, Any], deferred: list[Callable[[], Any]], has_prefix: bool) -> tuple[Any, ...]:
    """The message up to its levels, as a tuple like DecodedMessage's."""
    is_partial = kind == "partial"
    kind = "diff" if is_partial else kind
    ids = {
        "diff": ["U", "u"] + ["pu"] * ("pu" in value),
        "snapshot": ["lastUpdateId"],
        "trade": ["t"],
        "aggregate": ["a"],
        "ticker": ["u"],
    }[kind]
    times = [] if kind == "ticker" else [key for key in "ET" if key in value]
    need(kind in ("ticker", "snapshot") or "E" in times, "malformed")
    for key in ids + times:
        need(isinstance(value.get(key), Decimal), "malformed")
    sides: list[Any]
    keys = {"diff": ["b", "a"], "snapshot": ["bids", "asks"]}.get(kind)
    if keys:
        sides = [value.get(key) for key in keys]
    else:
        names = {"ticker": [("b", "B"), ("a", "A")]}.get(kind, [("p", "q")])
        sides = [[[value.get(price), value.get(size)]] for price, size in names] + [[]] * (2 - len(names))
    for side in sides:
        need(isinstance(side, list), "malformed")
        for level in side:
            need(isinstance(level, list) and len(level) >= 2, "malformed")
            for text, sign in zip(level, ("-?", "")):  # noqa: B905 - what comes behind them is ignored
                need(isinstance(text, str) and re.fullmatch(sign + r"[0-9]+(\.[0-9]+)?", text) is not None, "malformed")
    if kind in ("trade", "aggregate"):
        need(isinstance(value.get("m"), bool), "malformed")
    received = deferred[0]() if has_prefix else NONE
    for key in ids:
        need(value[key] < 2**63 - 1, "out_of_range")
    event_times = [naive_time(value[key]) for key in times]
    columns = [[scaled(str(level[place]), decimals) for level in side] for side in sides for place, decimals in enumerate((2, 8))]
    flags = IS_AGGREGATE * (kind == "aggregate") + SELL_AGGRESSOR * (kind != "diff" and value.get("m") is True)
    if is_partial:
        return (SNAPSHOT, int(value["u"]), RANGE, event_times[-1], received, NONE, NONE, 0, *columns)
    return (
        {"diff": DIFF, "snapshot": SNAPSHOT, "ticker": TICKER}.get(kind, TRADE),
        int(value["u" if kind == "diff" else ids[0]]),
        RANGE_WITH_PREVIOUS if "pu" in ids else RANGE,
        event_times[-1] if event_times else NONE,
        received,
        int(value["U"]) if kind == "diff" else NONE,
        int(value["pu"]) if "pu" in ids else NONE,
        flags if kind in ("trade", "aggregate") else 0,
        *columns,
    )


def need(condition: bool, reason: str) -> None:
    """Refuse unless the condition holds."""
    if not condition:
        raise RefusedError(reason)


def fit(time: int) -> int:
    """A time in ns."""
    need(time < 2**63, "out_of_range")
    return time


def naive_time(number: Decimal) -> int:
    """By magnitude."""
    for limit, factor in ((11, 10**9), (14, 10**6), (17, 10**3)):
        if number < 10**limit:
            return fit(int(number) * factor)
    return fit(int(number))


def scaled(numeral: str, decimals: int) -> int:
    """Fixed-point."""
    with localcontext() as context:
        context.prec = 200
        value = Decimal(numeral).scaleb(decimals)
        need(value == value.to_integral_value() and abs(value) < 10**18, "out_of_range")
    return int(value)


integers = st.one_of(
    st.integers(0, 2**70).map(str),
    st.sampled_from(
        [
            "12",
            "1723161255208",
            "0",
            "-0",
            "-1",
            "1.0",
            "1e3",
            "null",
            '"1"',
            "true",
            str(10**18),
            str(2**63 - 2),
            str(2**63 - 1),
            "9" * 4400,
        ]
    ),
)
numerals = st.one_of(
    st.decimals(0, 10**6, places=2).map(lambda number: f'"{number:f}"'),
    st.from_regex(r"[0-9]{1,19}(\.[0-9]{1,10})?0{0,3}", fullmatch=True).map(json.dumps),
    st.decimals(-1000, 1000, places=2).map(lambda number: f'"{number:f}"'),
    st.sampled_from(['"1.50000000"', '"0"', '"-0"', '"1."', '"x"', '"1,2"', "1.5", "null", "[]", '"-1"', '"\\u0031"', '""']),
)
level = st.one_of(
    st.tuples(numerals, numerals).map(lambda pair: f"[{pair[0]}, {pair[1]}]"),
    st.sampled_from(['["1.25","3"]', '["1","2","3"]', '["1"]', '"12"', "{}"]),
)
levels = st.one_of(
    st.lists(level, max_size=3).map(lambda texts: f"[{','.join(texts)}]"),
    # All of one form, as venues write them.
    st.tuples(
        st.sampled_from(["", "", "-"]),
        st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**8)), min_size=9, max_size=15),
    ).map(lambda made: json.dumps([[f"{made[0]}{p // 100}.{p % 100:02d}", f"{q // 1000}.{q % 1000:03d}"] for p, q in made[1]])),
    st.sampled_from(["null", "{}", '"[]"']),
)
others = st.sampled_from(['"x":"a\\\\b"', '"x":"\\ud83d\\ude00"', '"x":"\\ud800"', '"x":1e400', '"x":[{}]', '"ps":"P"'])


@st.composite
def field_texts(draw: st.DrawFn) -> str:
    """One member of an object: mostly one that some kind needs."""
    key = draw(st.sampled_from(["E", "T", "U", "u", "pu", "t", "a", "A", "b", "B", "p", "q", "m", "bids", "asks", "X", "M"]))
    value = draw(st.one_of(integers, numerals, levels, st.sampled_from(["true", "false"])))
    return f'"{key}":{value}'


@st.composite
def objects(draw: st.DrawFn) -> str:
    """An object of some kind, most often a good one, sometimes with a member less, one changed or one more."""
    good = draw(
        st.sampled_from(
            [DIFF_TEXT, FUTURES_DIFF_TEXT, TRADE_TEXT, AGGREGATE_TEXT, TICKER_TEXT, SNAPSHOT_TEXT, SYMBOL_SNAPSHOT_TEXT]
        )
    )
    members = [f"{json.dumps(key)}:{json.dumps(value)}" for key, value in json.loads(good).items()]
    keys = [member.split(":")[0] for member in members]
    for place, key in enumerate(keys):
        if draw(st.integers(0, 4)) == 0:
            value = {'"p"': numerals, '"q"': numerals, '"b"': levels, '"bids"': levels, '"asks"': levels}.get(key, integers)
            if key in ('"b"', '"a"', '"B"', '"A"') and "depthUpdate" not in good:
                value = numerals
            elif key in ('"a"', '"b"'):
                value = levels
            elif key in ('"s"', '"symbol"', '"e"'):
                value = st.sampled_from(['"BTCUSDT"', '"ETHUSDT"', '"kline"', "5", "1.5", "null", '"aggTrade"'])
            members[place] = f"{key}:{draw(value)}"
    if draw(st.integers(0, 9)) == 0:
        members.pop(draw(st.integers(0, len(members) - 1)))
    members += draw(st.lists(st.one_of(field_texts(), others), max_size=1))
    return "{" + draw(st.sampled_from([",", ", "])).join(draw(st.permutations(members))) + "}"


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """A record, wrapped or not, with or without receive time, sometimes damaged."""
    text = draw(st.one_of(objects(), st.sampled_from(["5", "[]", "{}", '{"result":null}', ""])))
    known = ["btcusdt@depth", "ethusdt@trade", "btcusdt@depth10@100ms", "btcusdt@depth@500ms", "btcusdt@rpiDepth@500ms", "x"]
    stream = draw(st.sampled_from(["", "", *known]))
    if stream:
        text = f'{{"stream":"{stream}","data":{text}}}'
    time = draw(
        st.one_of(st.just(""), st.integers(0, 2**64).map(str), st.from_regex(r"[0-9]{1,11}\.[0-9]{1,12}:?", fullmatch=True))
    )
    record = (f"{time} {text}" if time else text).encode()
    if record and draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(record) - 1))
        damage = draw(st.one_of(st.binary(max_size=2), st.sampled_from([b'"', b"[", b"}", b",", b" ", b"-", b"0", b"\\"])))
        record = record[:place] + damage + record[place + draw(st.integers(0, 2)) :]
    return record


@settings(max_examples=examples(1_500), deadline=None)
@given(records())
def test_equals_a_naive_decoder(record: bytes) -> None:
    """Message, symbol, reason: the same as those of json and Decimal under the same rules."""
    decoded = decode_record(record, SETTINGS)
    expected = naive(record)
    if isinstance(decoded, DecodedMessage):
        assert expected == astuple(decoded)
    elif isinstance(decoded, Rejected):
        assert expected == decoded.reason
    else:
        assert expected == decoded


@settings(max_examples=examples(300), deadline=None)
@given(
    values=st.lists(st.integers(-(10**19), 10**19), min_size=9, max_size=12),
    written=st.integers(0, 12),
    decimals=st.integers(0, 18),
)
@example(values=[10**18] * 9, written=2, decimals=2)
@example(values=[1] * 8 + [10**18 - 1], written=8, decimals=8)
@example(values=[5 * 10**18] * 9, written=18, decimals=18)
def test_many_numerals_of_one_form_scale_as_one_does(values: list[int], written: int, decimals: int) -> None:
    """What is decoded in one go fits, scales and is refused like each numeral by itself."""
    factor = 10**written
    texts = []
    for value in values:
        whole, fraction = divmod(abs(value), factor)
        texts.append("-" * (value < 0) + (f"{whole}.{fraction:0{written}d}" if written else str(whole)))
    assert find_non_numeral(texts, "price") == -1
    assert find_non_numeral(texts, "size") == next((place for place, value in enumerate(values) if value < 0), -1)
    try:
        expected = [scaled(text, decimals) for text in texts]
    except RefusedError:
        with pytest.raises(MisfitError):
            fixed_points(texts, decimals)
    else:
        assert fixed_points(texts, decimals) == expected


@pytest.mark.parametrize("futures", [False, True])
def test_every_simulated_record_is_decoded(tmp_path: Path, futures: bool) -> None:
    """Every record of a simulated capture is decoded, as many of each kind as its summary says."""
    summary = write_capture(tmp_path / "c.jsonl", symbol="BTCUSDT", messages=50, seed=2, futures=futures)
    kinds: Counter[int] = Counter()
    for line in summary.path.read_bytes().splitlines():
        decoded = decode(line)
        assert isinstance(decoded, DecodedMessage)
        assert astuple(decoded) == naive(line)
        kinds[decoded.kind] += 1
    assert kinds == {
        DIFF: summary.messages,
        SNAPSHOT: summary.snapshots,
        TRADE: summary.trades,
        TICKER: summary.tickers,
    }


@pytest.mark.parametrize(
    ("name", "symbol", "expected"),
    [
        pytest.param("spot_btcusdt_20240808.gz", "BTCUSDT", {DIFF: 3_451, TICKER: 28_040, TRADE: 9_757, SNAPSHOT: 1}, id="spot"),
        pytest.param(
            "usdm_btcusdt_20230404.dat.gz",
            "BTCUSDT",
            {DIFF: 4_322, TICKER: 6_765, TRADE: 2_197, SNAPSHOT: 1, None: 99},
            id="usdm",
        ),
    ],
)
def test_real_captures_hold_the_counted_records(name: str, symbol: str, expected: dict[int | None, int]) -> None:
    """Real captures hold as many records of each kind as were counted in them; None stands for unused ones."""
    path = CAPTURES / name
    if not path.exists():
        pytest.skip(f"the real capture {name} is not here")
    real = DecoderSettings(symbol, 8, 8, 1 << 24)
    kinds: Counter[int | None] = Counter()
    for line in gzip.decompress(path.read_bytes()).splitlines():
        decoded = decode_record(line, real)
        assert isinstance(decoded, DecodedMessage) or decoded is UNUSED
        kinds[decoded.kind if isinstance(decoded, DecodedMessage) else None] += 1
    assert kinds == expected
