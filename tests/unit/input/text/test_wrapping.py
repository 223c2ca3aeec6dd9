"""What recorders put around messages is taken away, whatever it is; what a venue sends is left as it is."""

from __future__ import annotations

import base64
import gzip
import json
import zlib

import pytest

from cowbook.input.text.envelope import open_envelope
from cowbook.input.text.wrapping import ends_at_blank_lines, is_wrapped, to_time, unwrap

MESSAGE = b'{"e":"trade","s":"BTC \\u00e9","p":"1.50"}'
TEXT = json.dumps(MESSAGE.decode()).encode()
NS = 1_700_000_000_123_456_789


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (b"1700000000", b"1700000000"),
        (b"1700000000.5", b"1700000000.5"),
        (b"1700000000123", b"1700000000123"),
        (b"1700000000123.5", b"1700000000123500000"),
        (b"1.7000000001e9", b"1700000000100000000"),
        (b"2023-11-14T22:13:20Z", b"1700000000000000000"),
        (b"2023-11-14 22:13:20.123456789", b"%d" % NS),
        (b"2023-11-14T23:13:20.1234567+01:00", b"1700000000123456700"),
        (b"2023-11-14T17:43:20-0430", b"1700000000000000000"),
        (b"2023-02-30T00:00:00Z", None),
        (b"1960-01-01T00:00:00Z", None),
        (b"-5", None),
        (b"now", None),
        (b"1e400", None),
        (b"", None),
    ],
)
def test_times_of_any_form_become_one(written: bytes, canonical: bytes | None) -> None:
    """Exact to the nanosecond: no float holds one."""
    assert to_time(written) == canonical


@pytest.mark.parametrize(
    "record",
    [
        b"%d %s" % (NS, MESSAGE),
        b"%d\t%s" % (NS, MESSAGE),
        b"%d:%s" % (NS, MESSAGE),
        b"%d : %s" % (NS, MESSAGE),
        b"2023-11-14T22:13:20.123456789Z %s" % MESSAGE,
        b"2023-11-14 22:13:20.123456789\t%s" % MESSAGE,
        b"2023-11-14T22:13:20.123456789Z: %s" % MESSAGE,
        b'%d,"%s"' % (NS, MESSAGE.replace(b'"', b'""')),
        b'"%d",BTCUSDT,"%s",1' % (NS, MESSAGE.replace(b'"', b'""')),
        b'{"ts":%d,"msg":%s}' % (NS, MESSAGE),
        b'{"ts":"%d","msg":%s}' % (NS, TEXT),
        b'{ "message" : %s , "localTimestamp" : "2023-11-14T22:13:20.123456789Z" }' % MESSAGE,
        b'{"exchange":"binance","recv":%d,"raw":%s,"seq":5}' % (NS, TEXT),
        b'{"t":%d,"data":%s}' % (NS, TEXT),
        b'{"t":"recv","conn":"a","ts":%d,"data":%s}' % (NS, TEXT),
        b'{"ts":%d,"data":%s,"conn":"a","t":"recv"}' % (NS, TEXT),
        b'{"t":"recv","conn":1,"ts":%d,"b64":"%s"}' % (NS, base64.b64encode(gzip.compress(MESSAGE))),
        b'{"t":"recv","conn":1,"ts":%d,"b64":"%s"}' % (NS, base64.b64encode(zlib.compress(MESSAGE)[2:-4])),
        b"recv 3 %d %s" % (NS, MESSAGE),
        b"%d %r" % (NS, gzip.compress(MESSAGE)),
    ],
)
def test_the_message_and_its_time_are_found(record: bytes) -> None:
    """However they were written."""
    envelope = open_envelope(record)
    assert envelope is not None
    assert (envelope.message, envelope.ts_recv()) == (MESSAGE, NS)


@pytest.mark.parametrize(
    "record",
    [
        b'{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1700000000619,"data":{"s":"BTCUSDT"}}',
        b'{"type":"delta","ts":1700000000619,"data":{"s":"BTCUSDT"},"topic":"orderbook.50.BTCUSDT"}',
        b'{"id":"1","rep":"market.btcusdt.mbp.150","status":"ok","ts":1489474082831,"data":{"seqNum":1}}',
        b'{"code":"0","msg":"","data":[{"ts":"1"}]}',
        b'{"ts":1700000000,"time":1700000000,"data":{}}',
        b'{"ts":1700000000,"msg":{},"data":{}}',
        b'{"ts":"soon","msg":{}}',
        b'{"ts":1700000000,"msg":"text"}',
        b'{"ts":1700000000,"msg":{}',
        b'{"data":{"a":1}}',
        b'{"t":"recv","conn":"a","ts":1700000000,"b64":"AAAA"}',
        b'{"t":"recv","conn":"a","data":"{}"}',
        b'{"t":"recv",',
        b"{'e': open('x')}",
        b"1700000000 {'e': x}",
        b"2023-02-30T00:00:00Z {}",
        b"recv {}",
    ],
)
def test_what_is_no_wrapper_is_left_as_it_is(record: bytes) -> None:
    """A venue's own records with a time and an object among them."""
    assert unwrap(record).record == record


@pytest.mark.parametrize(
    "record",
    [
        b'{"t":"header","format":2,"exchange":"BYBIT"}',
        b'{"t":"send","conn":"a","ts":1,"data":"{}"}',
        b'{"t":"connect","conn":"a","addr":"wss://x","ts":1}',
        b"open 1 1700000000 wss://x",
        b"ts,message",
        b'"timestamp","symbol","data"',
    ],
)
def test_what_the_venue_did_not_send_says_nothing(record: bytes) -> None:
    """Headers, what was sent, connections."""
    assert open_envelope(record) is None


def test_an_answer_keeps_its_address_and_is_one_line() -> None:
    """Its symbol may stand in the address only."""
    record = json.dumps({"t": "http", "url": "https://x/depth?symbol=A", "ts": 1700000000.5, "data": '{"a":\n 1}'}).encode()
    envelope = open_envelope(record)
    assert envelope is not None
    assert (envelope.url, envelope.message, envelope.ts_recv()) == (
        "https://x/depth?symbol=A",
        b'{"a":  1}',
        1700000000_500_000_000,
    )


def test_a_named_wrapper_is_found_where_it_says() -> None:
    """At any depth; a record without these members is left as it is, and a message without a time is one."""
    names = ("meta.at", "body.msg")
    record = b'{"meta":{"at":%d,"ts":1},"body":{"msg":%s,"topic":1}}' % (NS, TEXT)
    envelope = open_envelope(record, names)
    assert envelope is not None
    assert (envelope.message, envelope.ts_recv()) == (MESSAGE, NS)
    assert unwrap(record).record == record
    assert unwrap(b'{"body":{"msg":%s}}' % MESSAGE, names).record == MESSAGE
    for other in (b'{"meta":{"at":1}}', b'{"body":5}', b"{", MESSAGE):
        assert unwrap(other, names).record == other


def test_a_file_is_told_by_its_first_line() -> None:
    """Also where that is longer than what is known of it. What venues send is scanned as it is."""
    for first in (
        b'{"ts":1,"msg":{"a":[',
        b'{"msg":{"a":{"b":1',
        b'{"t":"header"',
        b"2024-05-01T00:00:00.0123456Z {",
        b"1\t{",
        b"ts,msg\n",
    ):
        assert is_wrapped(first, None), first
    for first in (
        b'{"e":"trade"',
        b'{"topic":"x","ts":1,"data":{',
        b"1700000000.5 {",
        b"1700000000.5: {",
        b"[1,",
        b'{"stream":"x","data":{',
        b"",
    ):
        assert not is_wrapped(first, None), first
        assert is_wrapped(first, ("a", "b"))
    assert ends_at_blank_lines(b"2024-05-01T00:00:00.0123456Z {")
    assert not ends_at_blank_lines(b"2024-05-01T00:00:00Z {")
