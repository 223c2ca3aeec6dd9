"""Copies with losses give the undisturbed capture's rows, for the records of every venue."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cowbook.book.order_book_engine import EngineSettings
from support.harness import Run, reconstruct
from support.joined import join, lossy_copies, rows_without_receipt
from support.venue_samples import LINES, bitfinex_opening, make_events, records_of

_EVENTS = 500
_OPENING = {"bitfinex": len(bitfinex_opening("tBTCUSD"))}
"""How many records agree on what those behind them mean: a recorder that has not heard them has nothing."""


_NOT_EXACT = ("gemini-v2", "mexc", "bitmex-ids")
"""Joined copies of these may differ in some rows from the undisturbed capture, as docs/input.md says."""


@pytest.mark.parametrize("sample_id", [sample_id for sample_id in LINES if sample_id not in _NOT_EXACT])
def test_copies_with_losses_give_the_undisturbed_rows(sample_id: str, tmp_path: Path) -> None:
    """Three copies, of which each lacks other bursts of records, are the whole, by ids, connection, or what they say."""
    seed = 1
    format_name, name, _, wrap, _ = LINES[sample_id]
    lines = [wrap(event, record) for event, record in records_of(sample_id, make_events(seed, _EVENTS))]
    if sample_id == "kraken-v2-frames":
        lines = [line.replace(b"\n", b" ", 1).partition(b" ")[0] + b" " + line.partition(b"\n")[2] for line in lines]
    opening = lines[: _OPENING.get(sample_id, 1)]
    copies = lossy_copies(lines[len(opening) :], 3, random.Random(seed), longest=20)
    engine = EngineSettings(part_events=60, part_interval=15_000_000_000, book_levels=3)
    run = Run("X", name, format_name, price_decimals=1, size_decimals=2, engine=engine)
    whole = reconstruct(tmp_path / "whole", {"x": b"\n".join([*lines, b""])}, run)
    assert whole.summary.gaps == 0
    sources = {source: {"x": b"\n".join([*opening, *copy, b""])} for source, copy in zip("abc", copies, strict=True)}
    result = join(tmp_path / "joined", sources, run)
    assert result.summary.state == "done"
    assert rows_without_receipt(result) == rows_without_receipt(whole)
