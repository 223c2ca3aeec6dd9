"""Takes messages out of what recorders put around them, and gives them the one form that all else reads: `<time> <message>`.

* A time of another form: ISO 8601; a tab or a colon behind the time; a CSV row with the message as a quoted field.
* A wrapper: an object with one time and one message, which is an object, an array, or JSON in a string.
* cryptofeed 3: objects with `"t"`. `recv` and `http` have messages, `connect` opens a connection, others say nothing.
* Streams, as a capture of packets becomes them (capture/pcap.py): `recv <connection> <time> <message>`, and with the same
  beginning `open` and `join`, an address behind it, and `answer`, an address and a message.
* Python's `repr` of an object in place of JSON, and `b'...'` for a compressed frame.

What a record becomes depends on its bytes alone. Whatever is none of these is left as it is, for the venue to judge.
"""

from __future__ import annotations

import ast
import base64
import binascii
import json
import re
import zlib
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import NamedTuple

import msgspec

STREAMS_HEADER = b"COWBOOK-STREAMS 1"
"""First line of what a capture of packets becomes."""

HEARTBEATS = (b"pong", b"ping")
"""What OKX, Bitget and others send as text that is no JSON, some of them every thirty seconds."""

Names = tuple[str, str]
"""Paths of the time and of the message in a wrapper, such as ("ts", "data.msg")."""

_TIME_KEYS = frozenset(
    (
        *("t", "ts", "time", "timestamp", "ts_ns", "ts_ms", "time_ns", "timestamp_ns"),
        *("recv", "recv_ts", "recv_time", "rx", "rx_ts", "ts_recv", "received", "received_at", "receive_time", "receive_ts"),
        *("local_ts", "local_time", "local_timestamp", "localTime", "localTimestamp", "ts_local", "capture_time", "captured_at"),
    )
)
_MESSAGE_KEYS = frozenset(
    ("msg", "message", "data", "payload", "raw", "body", "record", "event", "content", "text", "json", "m", "d")
)
_OTHER_KEYS = frozenset(
    (
        *("exchange", "venue", "source", "symbol", "pair", "market", "instrument", "conn", "connection", "conn_id"),
        *("seq", "n", "host", "type", "name", "recorder", "version", "feed_id"),
    )
)
"""What else may stand in a wrapper that is found by itself: a venue's own record with a time and an object has other keys."""

_ISO = rb"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-9]{2})?"
_ISO_TIME = re.compile(_ISO)
_ISO_PREFIX = re.compile(_ISO + rb"[ \t]*[ \t:,][ \t]*(?=[^ \t\r\n])")
_OTHER_PREFIX = re.compile(rb"([0-9]+(?:\.[0-9]+)?)[ \t]*[\t:][ \t]*(?=[\[{]|p[io]ng$)")
_PLAIN_PREFIX = re.compile(rb"[0-9]+(?:\.[0-9]+)?:? (?=[^ \t\r\n:])")
_CSV_ROW = re.compile(rb'"?([0-9][0-9T:.+Z -]*)"?,(?:[^",\r\n]*,)*"([{\[](?:[^"]|"")*)"(?:,[^\r\n]*)?')
_CSV_HEADER = re.compile(rb'"?(?:%s)"?(?:,"?[A-Za-z_]+"?){1,8}' % b"|".join(key.encode() for key in sorted(_TIME_KEYS)))
_NUMBER = re.compile(rb"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_CRYPTOFEED = re.compile(rb'\{[^{}\[\]]{0,200}?"t": ?"(?:header|connect|recv|send|http|open|close)"')
_FIRST_KEY = re.compile(rb'[ \t]*\{[ \t\r\n]*"([A-Za-z_]+)"[ \t]*:')
_LINE_ENDS = re.compile(rb"[\r\n]+")
_STREAM_LINE = re.compile(rb"(?:recv|open|join|answer) [!-~]+ [0-9]+ |" + re.escape(STREAMS_HEADER) + rb"$")
_TARDIS = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{7}Z \{")
_MOST_INFLATED_BYTES = 1 << 24
_MOST_LITERAL_BYTES = 1 << 24
_MOST_MEMBERS = 64
_FIRST_TIME = 1_262_304_000  # 2010
_KEYS = _TIME_KEYS | _MESSAGE_KEYS | _OTHER_KEYS
_FIRST_KEYS = _KEYS | {"b64", "url", "addr", "format", "config"}
_KINDS = {b'"header"', b'"connect"', b'"recv"', b'"send"', b'"http"', b'"open"', b'"close"'}
_LITERALS = (b"{'", b"b'", b'b"')
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)


class Unwrapped(NamedTuple):
    """What a record is inside."""

    record: bytes | None
    """`<time> <message>`, `<url> -> <time>: <message>`, or what is left as it is; None if it says nothing of a book."""
    connection: str = ""
    """The connection that it came from; empty if the capture does not say."""
    opens: bool = False
    """Whether the connection was opened here."""
    address: str = ""
    """Of a connection that was opened."""


def is_wrapped(head: bytes, names: Names | None) -> bool:
    """Whether records of a file that begins with `head` are to be unwrapped before they are scanned, which is faster."""
    first = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
    key = _FIRST_KEY.match(first)
    if names is None and (plain := _PLAIN_PREFIX.match(first)) is not None:
        return first[plain.end() :].startswith(_LITERALS)
    return (
        names is not None
        or first.rstrip(b"\r") == STREAMS_HEADER
        or (key is not None and key[1].decode() in _KEYS and _starts_as_wrapper(first))
        or any(pattern.match(first) for pattern in (_CRYPTOFEED, _ISO_PREFIX, _OTHER_PREFIX, _CSV_ROW, _CSV_HEADER))
    )


def name_of_wrapping(head: bytes) -> str | None:
    """What stands around the records of a file that begins with `head`, in words; None for what is scanned as it is."""
    first = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].rstrip(b"\r")
    if not is_wrapped(head, None):
        return None
    if first == STREAMS_HEADER:
        return "WebSocket messages of a capture of packets"
    if _CRYPTOFEED.match(first):
        return "cryptofeed's JSON lines"
    if _TARDIS.match(first):
        return "Tardis' raw slices"
    if first[:1] == b"{":
        return "lines in a wrapper with a time"
    return "CSV with a column of JSON" if _CSV_ROW.match(first) or _CSV_HEADER.match(first) else "lines with a receive time"


def find_members(record: bytes) -> tuple[str | None, dict[str, bytes]]:
    """The path of the first time in a record, and all messages in it by their paths, as `Names` would name them."""
    time: str | None = None
    messages: dict[str, bytes] = {}
    objects = [("", record)]
    while objects and len(messages) < _MOST_MEMBERS:
        prefix, value = objects.pop(0)
        try:
            members = _OBJECT.decode(value)
        except (msgspec.MsgspecError, RecursionError):
            continue
        for key, raw in members.items():
            content = bytes(raw)
            found = _message(content)
            if found is not None:
                messages[prefix + key] = found
                objects.append((f"{prefix}{key}.", content))
            elif time is None and key.lower().rstrip("_") not in ("id", "seq") and _is_plausible_time(to_time(_text(content))):
                time = prefix + key
    return time, messages


def _is_plausible_time(time: bytes | None) -> bool:
    """Whether a number may be a time since 2010 in some unit."""
    return time is not None and int(time.partition(b".")[0]) > _FIRST_TIME


def ends_at_blank_lines(head: bytes) -> bool:
    """Whether a blank line in a file that begins with `head` is a lost connection: in Tardis' raw slices."""
    return _TARDIS.match(head) is not None


def unwrap(record: bytes, names: Names | None = None) -> Unwrapped:
    """Take the message out of a record. `names` are those of the members of a wrapper, where the configuration gives them."""
    if names is not None and record[:1] == b"{":
        return Unwrapped(_unwrap_named(record, names) or record)
    if record[:1] == b"{":
        key = _FIRST_KEY.match(record)
        if key is not None and key[1].decode() in _FIRST_KEYS:
            return _unwrap_members(record)
        return Unwrapped(_literal(record) if record[1:2] == b"'" else record)
    if record[:1].isalpha() and _STREAM_LINE.match(record):
        return _unwrap_stream(record)
    return Unwrapped(_unwrap_prefixed(record))


def _unwrap_prefixed(record: bytes) -> bytes | None:
    """A time of any form, and a message."""
    if not record[:1].isdigit() and _CSV_HEADER.fullmatch(record):
        return None
    plain = _PLAIN_PREFIX.match(record)
    if plain is not None:
        end = plain.end()
        return plain[0] + _literal(record[end:]) if record[end : end + 2] in _LITERALS else record
    if (row := _CSV_ROW.fullmatch(record)) is not None and (time := to_time(row[1].strip())) is not None:
        return time + b" " + _one_line(row[2].replace(b'""', b'"'))
    if (prefix := _OTHER_PREFIX.match(record)) is not None:
        return prefix[1] + b" " + _literal(record[prefix.end() :])
    if (prefix := _ISO_PREFIX.match(record)) is not None:
        time = to_time(prefix[0].rstrip(b" \t:,"))
        return record if time is None else time + b" " + _literal(record[prefix.end() :])
    return record


def _starts_as_wrapper(first: bytes) -> bool:
    """Whether the beginning of a record may be that of a wrapper, as far as it is there."""
    depth_one = re.findall(rb'[{,][ \t]*"([A-Za-z_]+)"[ \t]*:[ \t]*([^ \t])', first[:200])
    for key, value in depth_one:
        if key.decode() not in _KEYS:
            return False
        if value in (b"{", b"["):
            return True
    return True


def _unwrap_members(record: bytes) -> Unwrapped:
    """A wrapper that is found by itself, or a record of cryptofeed 3."""
    try:
        members = _OBJECT.decode(record)
    except (msgspec.MsgspecError, RecursionError):
        return Unwrapped(record)
    if bytes(members.get("t", b"")) in _KINDS:
        return _unwrap_entry(record, members)
    return Unwrapped(_unwrap_wrapper(members) or record)


def _unwrap_wrapper(members: dict[str, msgspec.Raw]) -> bytes | None:
    """A wrapper that is found by itself; None if it is none."""
    time = message = None
    for key, raw in members.items():
        value = bytes(raw)
        if key in _TIME_KEYS and value[:1] not in (b"{", b"["):
            if time is not None:
                return None
            time = to_time(_text(value))
            if time is None:
                return None
        elif key in _MESSAGE_KEYS and (found := _message(value)) is not None:
            if message is not None:
                return None
            message = found
        elif key not in _OTHER_KEYS or value[:1] in (b"{", b"["):
            return None
    return time + b" " + message if time is not None and message is not None else None


def _unwrap_named(record: bytes, names: Names) -> bytes | None:
    """A wrapper whose members the configuration names; None if they are not there."""
    message = _member(record, names[1])
    text = _message(message) if message is not None else None
    if text is None:
        return None
    value = _member(record, names[0])
    time = to_time(_text(value)) if value is not None else None
    return text if time is None else time + b" " + text


def _member(record: bytes, path: str) -> bytes | None:
    value = record
    for key in path.split("."):
        try:
            members = _OBJECT.decode(value)
        except (msgspec.MsgspecError, RecursionError):
            return None
        if key not in members:
            return None
        value = bytes(members[key])
    return value


def _message(value: bytes) -> bytes | None:
    """A message in a wrapper: an object, an array, or either as JSON in a string, or a heartbeat; None for any other value."""
    if value[:1] in (b"{", b"["):
        return _one_line(value)
    if value[:1] != b'"':
        return None
    text = _text(value).strip()
    return _one_line(text) if text[:1] in (b"{", b"[") or text in HEARTBEATS else None


def _text(value: bytes) -> bytes:
    """What a string says; other values as they are."""
    if value[:1] != b'"':
        return value
    if b"\\" not in value:
        return value[1:-1]
    try:
        return _STRING.decode(value).encode()
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return value


def _one_line(text: bytes) -> bytes:
    return _LINE_ENDS.sub(b" ", text) if b"\n" in text or b"\r" in text else text


def _unwrap_entry(record: bytes, members: dict[str, msgspec.Raw]) -> Unwrapped:
    """A record of cryptofeed 3."""
    kind, name, time, data, packed, url, address = (
        _text(bytes(members.get(key, b""))) for key in ("t", "conn", "ts", "data", "b64", "url", "addr")
    )
    connection = name.decode(errors="replace")
    if kind in (b"connect", b"open"):
        return Unwrapped(None, connection, True, address.decode(errors="replace"))
    if kind not in (b"recv", b"http"):
        return Unwrapped(None, connection)
    content = _unpacked(packed) if packed else data
    at = to_time(time)
    if content is None or at is None:
        return Unwrapped(record, connection)
    if kind == b"http":
        return Unwrapped(_answer(url, at, content), connection)
    return Unwrapped(at + b" " + _one_line(content), connection)


def _unwrap_stream(record: bytes) -> Unwrapped:
    """A line of what a capture of packets became."""
    if record == STREAMS_HEADER:
        return Unwrapped(None)
    kind, _, rest = record.partition(b" ")
    connection, _, rest = rest.partition(b" ")
    name = connection.decode(errors="replace")
    time, _, content = rest.partition(b" ")
    if kind == b"recv":
        return Unwrapped(time + b" " + _literal(content), name)
    if kind in (b"open", b"join"):
        return Unwrapped(None, name, kind == b"open", content.decode(errors="replace"))
    url, _, content = content.partition(b" ")
    return Unwrapped(_answer(url, time, content), name)


def _answer(url: bytes, time: bytes, content: bytes) -> bytes:
    """An answer to a request, as cryptofeed 2 writes it: the time is in seconds, or in any other unit as a whole number."""
    return url.replace(b" ", b"%20") + b" -> " + time + b": " + _one_line(content)


def _literal(text: bytes) -> bytes:
    """JSON for what Python's `repr` wrote; the text itself if it is none."""
    if text[:2] not in _LITERALS or len(text) > _MOST_LITERAL_BYTES:
        return text
    try:
        value = ast.literal_eval(text.decode().rstrip())
        found = inflated(value) if isinstance(value, bytes) else json.dumps(value).encode()
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text
    return text if found is None else _one_line(found)


def _unpacked(text: bytes) -> bytes | None:
    """What a binary frame holds that is written in base 64; None if that is no text."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return inflated(content)


def inflated(content: bytes) -> bytes | None:
    """The text of a binary frame: compressed by gzip or without a header, or as it is; None if it is no text."""
    if content[:1] in (b"{", b"["):
        return content
    for form in (31, -zlib.MAX_WBITS):
        decompressor = zlib.decompressobj(form)
        try:
            text = decompressor.decompress(content, _MOST_INFLATED_BYTES)
        except zlib.error:
            continue
        if text[:1] in (b"{", b"[") and not decompressor.unconsumed_tail:
            return text
    return None


def to_time(text: bytes) -> bytes | None:
    """A time as a whole number of s, ms, µs or ns, or as seconds with a fraction; None if it is none."""
    if text.isdigit():
        return text
    if _NUMBER.fullmatch(text):
        whole = text.partition(b".")[0]
        if whole.isdigit() and len(whole) <= 11 and b"e" not in text.lower():
            return text
        return _to_nanoseconds(text)
    match = _ISO_TIME.fullmatch(text)
    if match is None:
        return None
    seconds = _to_seconds(match[1] + b"T" + match[2], match[4])
    return b"%d" % (seconds * 10**9 + int((match[3] or b"").ljust(9, b"0"))) if seconds is not None else None


def _to_nanoseconds(text: bytes) -> bytes | None:
    """A number with a fraction or an exponent, of a unit that its magnitude tells."""
    try:
        value = Decimal(text.decode())
        if value.adjusted() > 30:
            return None
    except InvalidOperation:
        return None
    factor = 10**9 if value < 10**11 else 10**6 if value < 10**14 else 10**3 if value < 10**17 else 1
    return b"%d" % int(value * factor)


@lru_cache(64)
def _to_seconds(text: bytes, zone: bytes | None) -> int | None:
    """Seconds since 1970 of a time in a zone, which is UTC where none is given; None if there is no such time."""
    try:
        offset = timedelta()
        if zone not in (None, b"Z"):
            assert zone is not None
            sign = -1 if zone[:1] == b"-" else 1
            offset = sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
        time = datetime.fromisoformat(text.decode()).replace(tzinfo=timezone(offset) if offset else UTC)
    except ValueError:
        return None
    seconds = int(time.timestamp())
    return seconds if seconds >= 0 else None
