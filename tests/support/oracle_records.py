"""Records of Binance as docs/rules.md, section 1, reads them: whole numbers, and the standard library's json."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

OPTIONAL_STREAMS = ("depth", "trades", "bbo", "book", "frame", "features")
STREAMS = (*OPTIONAL_STREAMS, "gaps", "drift", "audits", "dead_letter")

SPOT, FUTURES, RPI = 1, 2, 3
_SPEEDS = {"depth": 1, "depth@100ms": 2, "depth@500ms": 3, "depth@250ms": 4}

Levels = list[tuple[int, int]]


@dataclass(frozen=True)
class OracleSettings:
    """The settings that decide rows; intervals in ns."""

    name: str = "BTCUSDT"
    price_decimals: int = 8
    size_decimals: int = 8
    on_gap: str = "continue"
    max_line_bytes: int = 16_777_216
    streams: tuple[str, ...] = OPTIONAL_STREAMS
    book_levels: int = 20
    book_interval_ns: int = 10**9
    book_fill: bool = False
    part_events: int = 1_000_000
    part_interval_ns: int = 3600 * 10**9
    most_open_rows: int = 100_000
    channel: str = ""  # spot, futures or rpi, or a speed


@dataclass
class Message:
    """What a record says, as far as it matters."""

    kind: str  # diff, snapshot, trade, ticker
    id: int
    ts: int | None = None
    ts_recv: int | None = None
    first_id: int = 0
    prev_id: int | None = None
    bids: Levels = field(default_factory=list)
    asks: Levels = field(default_factory=list)
    side: str = ""
    is_aggregate: bool = False
    market: int = 0  # SPOT, FUTURES, RPI; 0: not said
    speed: int = 0  # of a diff; 0: not said
    labelled: bool = True  # the record says whose it is

    def levels(self) -> list[tuple[int, str, int, int]]:
        """(side number, side, price, size), bids first."""
        bids = [(0, "bid", price, size) for price, size in self.bids]
        return bids + [(1, "ask", price, size) for price, size in self.asks]


class Bad(Exception):  # noqa: N818
    """A record is a dead letter; the argument is the reason."""


def _no_constant(_name: str) -> None:
    raise ValueError


class _Float(str):
    """A JSON number that is not an integer in its text."""

    __slots__ = ()


class _Integer(str):
    """A JSON integer, as text."""

    __slots__ = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


def _parse_json(text: str) -> Any:
    depth = deepest = 0
    inside = escaped = False
    for character in text:
        if inside:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                inside = False
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    if deepest > 100:
        raise Bad("malformed")
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_Float, parse_int=_Integer, object_pairs_hook=_pairs)
        json.dumps(value, ensure_ascii=False).encode()  # an escaped lone surrogate is no text
    except (ValueError, RecursionError):
        raise Bad("malformed") from None
    return value


def _time(value: int) -> int:
    for limit, factor in ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3)):
        if value < limit:
            value *= factor
            break
    if value >= 2**63:
        raise Bad("out_of_range")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, _Integer) or value.startswith("-"):
        raise Bad("malformed")
    # More digits than this are out of any range.
    return int(value) if len(value) < 100 else 10**99


def _identifier(value: int) -> int:
    if value >= 2**63 - 1:
        raise Bad("out_of_range")
    return value


def _numeral(text: Any, sign: str = "") -> str:
    if (
        not isinstance(text, str)
        or isinstance(text, (_Float, _Integer))
        or not re.fullmatch(sign + r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text)
    ):
        raise Bad("malformed")
    return text


def _price(text: Any) -> str:
    return _numeral(text, "-?")


def _fixed(text: str, decimals: int) -> int:
    mantissa, _, exponent = text.lower().partition("e")
    if exponent and Fraction(mantissa) == 0:
        return 0
    if exponent and abs(int(exponent)) > 10_000:
        raise Bad("out_of_range")
    value = Fraction(text) * 10**decimals
    if value.denominator != 1 or abs(value) >= 10**18:
        raise Bad("out_of_range")
    return int(value)


def _text_levels(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise Bad("malformed")
    levels = []
    for level in value:
        if not isinstance(level, list) or len(level) < 2:
            raise Bad("malformed")
        levels.append((_price(level[0]), _numeral(level[1])))
    return levels


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, (_Float, _Integer))


def decode(record: bytes, settings: OracleSettings) -> Message | str:
    """A message, or "blank", "unused", "other_symbol". Raises Bad with the reason of a dead letter."""
    if len(record) > settings.max_line_bytes:
        raise Bad("overlong")
    if not record.strip(b" \t"):
        return "blank"
    try:
        text = record.decode()
    except UnicodeDecodeError:
        raise Bad("not_utf8") from None
    prefix = re.match(r"([0-9]+)(?:\.([0-9]+))?(?::? (?=[^ \t\r\n:])|[ \t]*[\t:][ \t]*(?=[\[{]))", text, re.ASCII)
    value = _parse_json(text[prefix.end() :] if prefix else text)
    if not isinstance(value, dict):
        raise Bad("unknown")
    stream = ""
    if "data" in value and _is_text(value.get("stream")):
        stream = value["stream"]
        value = value["data"]
        if not isinstance(value, dict):
            raise Bad("unknown")
    kind = _kind(value, stream)
    if kind == "unused":
        return kind
    key = "symbol" if kind == "snapshot" else "s"
    symbol = None
    if key in value:
        symbol = value[key]
        if not _is_text(symbol):
            raise Bad("malformed")
    elif "@" in stream:
        symbol = stream.partition("@")[0].upper()
    if symbol is not None and symbol != settings.name:
        return "other_symbol"
    message = _build(kind, value, settings)
    message.labelled = symbol is not None
    message.market = _market(kind, value, stream)
    if kind == "diff":
        message.speed = _SPEEDS.get(stream.partition("@")[2], 0)
    if prefix:
        message.ts_recv = _receive_time(int(prefix[1]), prefix[2])
    return message


def _receive_time(whole: int, fraction: str | None) -> int:
    if fraction is None:
        return _time(whole)
    if whole >= 10**11:
        raise Bad("out_of_range")
    time = _time(whole) + int(fraction[:9].ljust(9, "0"))
    if time >= 2**63:
        raise Bad("out_of_range")
    return time


def _kind(value: dict[str, Any], stream: str) -> str:
    """The kind of a record; a `partial` is futures' book of the best levels, which is a snapshot."""
    if "e" in value:
        if not _is_text(value["e"]):
            raise Bad("malformed")
        kinds = {"depthUpdate": "diff", "trade": "trade", "aggTrade": "aggTrade", "bookTicker": "ticker"}
        kind = kinds.get(value["e"], "unused")
        return "partial" if kind == "diff" and _is_partial(stream) else kind
    if all(key in value for key in ("u", "b", "B", "a", "A")):
        return "ticker"
    if "lastUpdateId" in value:
        return "snapshot"
    if "result" in value or "error" in value:
        return "unused"
    raise Bad("unknown")


def _is_partial(stream: str) -> bool:
    return any(f"@depth{depth}" in stream for depth in (5, 10, 20))


def _market(kind: str, value: dict[str, Any], stream: str) -> int:
    """The market that a message is of, as far as it says."""
    if kind == "diff":
        if "rpiDepth" in stream:
            return RPI
        return FUTURES if "pu" in value else SPOT
    if kind == "ticker":
        return FUTURES if "e" in value else SPOT
    if kind in ("snapshot", "partial"):
        return FUTURES if "E" in value or "T" in value else SPOT
    if "X" in value:
        return FUTURES
    return SPOT if "M" in value else 0


def _need(value: dict[str, Any], key: str) -> Any:
    if key not in value:
        raise Bad("malformed")
    return value[key]


def _build(kind: str, value: dict[str, Any], settings: OracleSettings) -> Message:
    # First the grammar of all that is needed, then whether it fits.
    times = {}
    if kind != "ticker":
        for key in ("E", "T"):
            if key in value or (key == "E" and kind != "snapshot"):
                times[key] = _whole(_need(value, key))
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    first = 0
    prev: int | None = None
    maker = False
    if kind in ("diff", "partial"):
        first, last = _whole(_need(value, "U")), _whole(_need(value, "u"))
        if "pu" in value:
            prev = _whole(value["pu"])
        bids, asks = _text_levels(_need(value, "b")), _text_levels(_need(value, "a"))
    elif kind == "snapshot":
        last = _whole(_need(value, "lastUpdateId"))
        bids, asks = _text_levels(_need(value, "bids")), _text_levels(_need(value, "asks"))
    elif kind == "ticker":
        last = _whole(_need(value, "u"))
        bids = [(_price(_need(value, "b")), _numeral(_need(value, "B")))]
        asks = [(_price(_need(value, "a")), _numeral(_need(value, "A")))]
    else:
        last = _whole(_need(value, "t" if kind == "trade" else "a"))
        bids = [(_price(_need(value, "p")), _numeral(_need(value, "q")))]
        maker = _need(value, "m")
        if not isinstance(maker, bool):
            raise Bad("malformed")
    fitted = {key: _time(time) for key, time in times.items()}

    def fit(levels: list[tuple[str, str]]) -> Levels:
        return [(_fixed(price, settings.price_decimals), _fixed(size, settings.size_decimals)) for price, size in levels]

    return Message(
        kind={"aggTrade": "trade", "partial": "snapshot"}.get(kind, kind),
        id=_identifier(last),
        ts=fitted.get("T", fitted.get("E")),
        first_id=_identifier(first),
        prev_id=None if prev is None else _identifier(prev),
        bids=fit(bids),
        asks=fit(asks),
        side="sell" if maker else "buy",
        is_aggregate=kind == "aggTrade",
    )
