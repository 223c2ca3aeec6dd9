"""Captures that hold a part of what a connection numbers: said by default, and readable with `connection_numbers = "ignore"`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from cowbook.config import SymbolConfig
from support.harness import Reconstruction, Run, reconstruct
from support.venue_samples import make_events, records_of

SAMPLES = {"coinbase-advanced": ("coinbase_advanced", "BTC-USD"), "bitfinex": ("bitfinex", "tBTCUSD")}
EVENTS = make_events(3, 120)


def own_records(sample_id: str) -> list[bytes]:
    """What a recorder of this one symbol's book keeps: neither trades, nor other symbols, nor heartbeats."""
    kept = [record for event, record in records_of(sample_id, EVENTS) if event.kind in ("snapshot", "diff")]
    return [b"1700000000.%06d: %s" % (place, record) for place, record in enumerate(kept)]


def run(directory: Path, sample_id: str, numbers: Literal["check", "ignore"], lines: list[bytes]) -> Reconstruction:
    """A run over these lines."""
    format_name, name = SAMPLES[sample_id]
    settings = Run("X", name, format_name, price_decimals=1, size_decimals=2, connection_numbers=numbers)
    return reconstruct(directory, {"a": b"\n".join([*lines, b""])}, settings)


@pytest.mark.parametrize("sample_id", SAMPLES)
def test_a_part_of_a_connection_is_said_with_its_share_and_the_option(tmp_path: Path, sample_id: str) -> None:
    """The share is of all numbers between the first and the last that are there."""
    result = run(tmp_path, sample_id, "check", own_records(sample_id))
    (note,) = [text for text in result.summary.warnings if "connection_numbers" in text]
    share = result.summary.missing_updates / (result.summary.missing_updates + result.summary.messages)
    shown = int(note.partition("%")[0])
    assert abs(shown - 100 * share) < 3  # Bitfinex' subscriptions have no numbers, and its first record no message before it
    assert f"in {result.summary.gaps} places" in note
    assert result.summary.gaps >= 10


@pytest.mark.parametrize("sample_id", SAMPLES)
def test_a_whole_connection_gets_no_note(tmp_path: Path, sample_id: str) -> None:
    """Nor does one with few losses."""
    lines = [b"1700000000.%06d: %s" % (place, record) for place, (_, record) in enumerate(records_of(sample_id, EVENTS))]
    for place in (90, 70, 60, 50):
        result = run(tmp_path / str(place), sample_id, "check", lines)
        assert not any("connection_numbers" in text for text in result.summary.warnings)
        del lines[place]


@pytest.mark.parametrize("sample_id", SAMPLES)
def test_ignored_numbers_make_no_gap_and_prove_nothing(tmp_path: Path, sample_id: str) -> None:
    """The book is as that of a venue without ids: right if nothing is missing, and every change is counted as unnumbered."""
    lines = own_records(sample_id)
    result = run(tmp_path / "whole", sample_id, "ignore", lines)
    assert result.summary.gaps == result.summary.missing_updates == 0
    assert result.summary.synced
    assert not any("connection_numbers" in text for text in result.summary.warnings)
    last = result.rows("depth")
    book: dict[tuple[str, int], int] = {}
    for row in last:
        if row["kind"] == "clear":
            book = {key: size for key, size in book.items() if key[0] != row["side"]}
        else:
            book[row["side"], row["price"]] = row["size"]
    sides = next(event.book for event in reversed(EVENTS) if event.kind in ("snapshot", "diff"))
    expected = {(name, tick): lots for name, side in zip(("bid", "ask"), sides, strict=True) for tick, lots in side.items()}
    assert {key: size for key, size in book.items() if size} == expected

    kinds = [event.kind for event, _ in records_of(sample_id, EVENTS) if event.kind in ("snapshot", "diff")]
    place = next(place for place in range(60, len(kinds)) if kinds[place : place + 2] == ["diff", "diff"])
    with_bad = [*lines[:place], b"1700000000.%06d: {" % place, *lines[place:]]
    broken = run(tmp_path / "bad", sample_id, "ignore", with_bad)
    rows = broken.rows("depth")
    assert broken.summary.gaps == 0
    assert {row["synced"] for row in rows if row["kind"] == "change"} == {True, False}


def test_only_venues_with_such_numbers_take_the_option() -> None:
    """Elsewhere it would be a setting without effect."""
    values = {"name": "X", "paths": ["x"], "connection_numbers": "ignore"}
    for name in ("coinbase_advanced", "bitfinex"):
        assert SymbolConfig.model_validate({**values, "format": name}).connection_numbers == "ignore"
    with pytest.raises(ValueError, match="has no such numbers"):
        SymbolConfig.model_validate({**values, "format": "kraken"})
