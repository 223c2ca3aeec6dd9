"""A small output of a made-up capture of Binance: a snapshot, diffs, trades, a gap, a later snapshot; parts of a few events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from cowbook.book.order_book_engine import EngineSettings
from cowbook.plain.streams import CHOSEN_STREAMS
from cowbook.sink.columns import NumberKind
from support.harness import Reconstruction, Run, reconstruct

START_MS = 1_723_161_600_000
"""2024-08-09T00:00:00Z."""

Level = tuple[str, str]


def diff(number: int, time_ms: int, bids: Iterable[Level] = (), asks: Iterable[Level] = ()) -> bytes:
    """A diff with one update id, so many ms after the start."""
    levels = {"b": [list(level) for level in bids], "a": [list(level) for level in asks]}
    return _line({"e": "depthUpdate", "E": START_MS + time_ms, "s": "BTCUSDT", "U": number, "u": number, **levels})


def trade(number: int, time_ms: int) -> bytes:
    """A trade."""
    return _line({"e": "trade", "E": START_MS + time_ms, "s": "BTCUSDT", "t": number, "p": "10", "q": "1", "m": True})


def snapshot(number: int, time_ms: int, bids: Iterable[Level], asks: Iterable[Level]) -> bytes:
    """A depth snapshot with a time."""
    levels = {"bids": [list(level) for level in bids], "asks": [list(level) for level in asks]}
    return _line({"lastUpdateId": number, "E": START_MS + time_ms, **levels})


def ticker(number: int, bid: Level, ask: Level) -> bytes:
    """A best bid and ask."""
    return _line({"u": number, "s": "BTCUSDT", "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]})


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


BIDS = [("10", "1"), ("9", "2"), ("8", "3")]
ASKS = [("11", "1"), ("12", "2"), ("13", "4")]


def make_lines() -> list[bytes]:
    """The capture. Its diffs are 100 ms apart; 115 is missing."""
    lines = [snapshot(100, 0, BIDS, ASKS)]
    for number in range(101, 130):
        if number % 5 == 0:
            lines.append(trade(number, (number - 100) * 100 - 50))
        if number != 115:
            bids, asks = [(str(number % 7 + 4), str(number % 3))], [(str(number % 5 + 11), str(number % 4))]
            lines.append(diff(number, (number - 100) * 100, bids, asks))
        if number == 122:
            lines.append(snapshot(122, 2250, BIDS, ASKS))
    return lines


def make_output(
    directory: Path, lines: Iterable[bytes], part_events: int = 9, numbers: NumberKind = "decimal", **settings: object
) -> Reconstruction:
    """Reconstruct these lines, with all streams unless `streams` says otherwise."""
    chosen: dict[str, object] = {"part_events": part_events, "book_levels": 3, "streams": CHOSEN_STREAMS, **settings}
    run = Run("BTCUSDT", "BTCUSDT", engine=EngineSettings(**chosen), numbers=numbers)  # type: ignore[arg-type]
    result = reconstruct(directory, {"a": b"".join(lines)}, run)
    assert result.summary.state == "done", result.summary.error
    return result
