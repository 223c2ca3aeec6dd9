"""One record of a capture is deleted, repeated or altered, at every place: what each venue shows of that, and what it cannot.

The table in docs/input.md says the same.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from cowbook import OrderBookEngine, replay
from support.venue_samples import SAMPLE_IDS, Event, Side, make_events, records_of

FORMATS = {
    "binance": ("binance", "BTCUSDT", "diffs"),
    "kraken-v1": ("kraken", "XBT/USD", "checksum"),
    "kraken-v2-frames": ("kraken", "BTC/USD", "checksum"),
    "okx": ("okx", "BTC-USDT", "checksum"),
    "okx-chain": ("okx", "BTC-USDT", "ids"),
    "bitget": ("bitget", "BTCUSDT", "checksum"),
    "bitget-v2": ("bitget", "BTCUSDT", "checksum"),
    "bitget-v3": ("bitget", "BTCUSDT", "ids"),
    "ftx": ("ftx", "BTC-PERP", "checksum"),
    "bitfinex": ("bitfinex", "tBTCUSD", "connection"),
    "coinbase": ("coinbase", "BTC-USD", "nothing"),
    "coinbase-advanced": ("coinbase_advanced", "BTC-USD", "connection"),
    "bybit": ("bybit", "BTCUSDT", "ids"),
    "bybit-v2": ("bybit", "BTCUSDT", "nothing"),
    "deribit": ("deribit", "BTC-PERPETUAL", "ids"),
    "kraken-futures": ("kraken_futures", "PI_XBTUSD", "ids"),
    "htx-mbp": ("htx", "btcusdt", "diffs"),
    "htx-high-freq": ("htx", "BTC-USDT", "ids"),
    "htx-step0": ("htx", "btcusdt", "nothing"),
    "hyperliquid": ("hyperliquid", "BTC", "nothing"),
    "gemini-v2": ("gemini", "BTCUSD", "nothing"),
    "mexc": ("mexc", "BTCUSDT", "diffs"),
    "mexc-futures": ("mexc_futures", "BTC_USDT", "diffs"),
    "okx-history": ("okx", "BTC-USDT", "nothing"),
    "gateio": ("gateio", "BTC_USDT", "diffs"),
    "gateio-futures": ("gateio_futures", "BTC_USDT", "diffs"),
    "kucoin": ("kucoin", "BTC-USDT", "diffs"),
    "kucoin-futures": ("kucoin_futures", "XBTUSDTM", "diffs"),
    "bitstamp": ("bitstamp", "btcusd", "nothing"),
    "bitmex": ("bitmex", "XBTUSD", "nothing"),
    "bitmex-ids": ("bitmex", "XBTUSD", "levels"),
    "phemex": ("phemex", "sBTCUSDT", "nothing"),
    "phemex-perpetual": ("phemex", "BTCUSDT", "nothing"),
    "dydx": ("dydx", "BTC-USD", "nothing"),
    "dydx-v4": ("dydx_v4", "BTC-USD", "connection"),
}
EVENTS = make_events(3, 70)
Records = list[tuple[Event, bytes]]


def rebuild(path: Path, sample_id: str, records: Sequence[tuple[Event, bytes]]) -> OrderBookEngine:
    """The engine at the end; each record with a receive time, the next one a microsecond later."""
    format_name, name, _ = FORMATS[sample_id]
    path.write_bytes(b"".join(b"1700000000.%06d: %s\n" % (place, record) for place, (_, record) in enumerate(records)))
    *_, engine = replay(str(path), name, every=10**9, format=format_name, price_decimals=1, size_decimals=2)
    return engine


def book_of(engine: OrderBookEngine) -> tuple[Side, Side]:
    """As the samples have it."""
    bids, asks = (view.levels() for view in (engine.bids, engine.asks))
    return dict(zip(bids[0].tolist(), bids[1].tolist(), strict=True)), dict(zip(asks[0].tolist(), asks[1].tolist(), strict=True))


def failures(engine: OrderBookEngine) -> int:
    """Gaps, dead letters, and comparisons that failed."""
    audits = engine.audit_statistics().values()
    failed = sum(outcomes["failed"] + outcomes["failed_unsynced"] for outcomes in audits)
    return engine.gap_statistics()["gaps"] + sum(engine.dead_letter_statistics().values()) + failed


def is_book(event: Event) -> bool:
    """Whether it says something of the book."""
    return event.kind in ("diff", "snapshot")


def is_ticker(record: bytes) -> bool:
    """Whether it is one of the tickers with ids, which are no change of the book."""
    return b'"B":' in record or b'"bestBid":' in record


def without(records: Records, place: int) -> Records:
    """One record is missing."""
    return records[:place] + records[place + 1 :]


def undisturbed(tmp_path: Path, sample_id: str) -> Records:
    """The records; a run over all of them has nothing to say."""
    records = records_of(sample_id, EVENTS)
    engine = rebuild(tmp_path / "a", sample_id, records)
    assert failures(engine) == 0
    assert engine.synced
    return records


def shows_deletion(records: Records, place: int, proof: str) -> bool:
    """Whether what comes behind a deleted record must show it."""
    event = records[place][0]
    behind = [other for other, _ in records[place + 1 :]]
    if proof == "connection":  # every record has a number; before the first of the book nothing can be missing from it
        return bool(behind) and any(is_book(other) for other, _ in records[:place] if other.time_ms)
    if proof in ("nothing", "levels") or not is_book(event) or is_ticker(records[place][1]):
        return False
    if proof == "diffs":  # snapshots stand beside the stream, and have no number of their own
        return event.kind == "diff" and any(other.kind == "diff" for other in behind)
    following = next((other for other in behind if is_book(other)), None)
    if following is None or following.kind == "snapshot":
        return False  # it replaces whatever the book was
    if proof == "ids":
        return True
    return event.kind == "diff" and not heals(records, place, following)


def heals(records: Records, place: int, following: Event) -> bool:
    """Whether the next diff happens to mend what is missing."""
    book = next((event.book for event, _ in reversed(records[:place]) if is_book(event)), ({}, {}))
    for side, changes, right in zip(book, (following.bids, following.asks), following.book, strict=True):
        damaged = {tick: lots for tick, lots in (side | changes).items() if lots}
        if damaged != right:
            return False
    return True


@pytest.mark.parametrize("sample_id", FORMATS)
def test_a_deleted_record_is_shown_as_promised(tmp_path: Path, sample_id: str) -> None:
    """Ids and connections show every one that counts, checksums every one that changes the book; else the book may be wrong."""
    proof = FORMATS[sample_id][2]
    records = undisturbed(tmp_path, sample_id)
    first_book = next(
        place for place, (event, record) in enumerate(records) if is_book(event) and not record.startswith(b'{"event"')
    )
    shown = 0
    for place in range(first_book + 1, len(records)):
        engine = rebuild(tmp_path / "a", sample_id, without(records, place))
        if shows_deletion(records, place, proof):
            assert failures(engine) > 0, (place, records[place])
            shown += 1
        elif proof != "connection" and not is_book(records[place][0]):
            assert failures(engine) == 0, (place, records[place])
    assert shown > 20 or proof in ("nothing", "levels")


@pytest.mark.parametrize("sample_id", FORMATS)
def test_a_repeated_record_is_shown_or_changes_nothing(tmp_path: Path, sample_id: str) -> None:
    """Ids and connections show it; where nothing does, it changes nothing: sizes are absolute."""
    proof = FORMATS[sample_id][2]
    records = undisturbed(tmp_path, sample_id)
    expected = next(event.book for event, _ in reversed(records) if is_book(event))
    for place, (event, _) in enumerate(records):
        engine = rebuild(tmp_path / "a", sample_id, [*records[: place + 1], *records[place:]])
        assert book_of(engine) == expected, (place, event)
        if proof == "levels" and event.kind == "diff":
            is_shown = b'"update"' not in records[place][1]  # what is there twice was new, what is removed twice was there
            assert engine.gap_statistics()["gaps"] == is_shown, (place, records[place])
            continue
        assert engine.synced
        assert failures(engine) == 0
        statistics = engine.gap_statistics()
        seen = statistics["stale"] + statistics["stale_snapshots"]
        if event.kind == "diff" and proof in ("ids", "diffs"):
            assert seen == (0 if is_ticker(records[place][1]) else 1), (place, records[place])
        if proof == "connection" and place > 5:  # number 1 again begins a connection
            assert seen == 1, (place, records[place])


_DIGIT = re.compile(rb"(?<=[\[\":,\-.0-9])[1-9](?=[0-9.]*[\"\],}])")


@pytest.mark.parametrize("sample_id", [name for name in FORMATS if FORMATS[name][2] == "checksum"])
def test_an_altered_record_is_shown_by_checksums_only(tmp_path: Path, sample_id: str) -> None:
    """A checksum shows every digit of a level that is another one; ids show none of them, which docs/input.md says."""
    rng = random.Random(5)
    records = undisturbed(tmp_path, sample_id)
    tried = 0
    for place, (event, record) in enumerate(records):
        if event.kind != "diff":
            continue
        levels = [match.start() for match in _DIGIT.finditer(record) if is_of_level(record, match.start())]
        if not levels:
            continue
        position = rng.choice(levels)
        other = bytes([ord(b"1") + (record[position] - ord(b"1") + 1) % 9])
        altered = record[:position] + other + record[position + 1 :]
        engine = rebuild(tmp_path / "a", sample_id, [*records[:place], (event, altered), *records[place + 1 :]])
        assert failures(engine) > 0, altered
        tried += 1
    assert tried > 20


def is_of_level(record: bytes, position: int) -> bool:
    """Whether a digit is one of a price, or of a size that is not zero."""
    for match in re.finditer(rb'\["([0-9.]+)","([0-9.]+)"|\[([0-9.]+),([0-9.]+)\]|"price":([0-9.]+),"qty":([0-9.]+)', record):
        groups = [number for number in range(1, 7) if match.group(number) is not None]
        for number in groups:
            if match.start(number) <= position < match.end(number):
                is_removal = float(match.group(groups[1])) == 0
                return not is_removal
    return False


def test_every_sample_of_lines_is_tried() -> None:
    """Every sample of lines is here; the others are the same records in other containers, or tables.

    Databento's is of bytes, which tests/unit/capture/test_dbn.py damages.
    """
    assert set(FORMATS) <= set(SAMPLE_IDS)
    others = {name for name in SAMPLE_IDS if name not in FORMATS} - {"databento"}
    assert all(name.endswith(("-array", "-zst", "-csv", "-gz", "-parquet", "-connections")) for name in others)
