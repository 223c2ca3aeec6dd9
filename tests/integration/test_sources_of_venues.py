"""Copies with losses give the undisturbed capture's rows, for the records and tables of every venue."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.copies import COPY_IDS, make_copies, rows_but_for_receipt
from support.harness import reconstruct
from support.joined import join, rows_without_receipt


@pytest.mark.parametrize("sample_id", COPY_IDS)
def test_copies_with_losses_give_the_undisturbed_rows(sample_id: str, tmp_path: Path) -> None:
    """Three copies, of which each lacks other bursts of records, are the whole, by ids, connection, or what they say."""
    copies = make_copies(sample_id, seed=1, have_clocks=False)
    whole = reconstruct(tmp_path / "whole", copies.whole, copies.run)
    assert whole.summary.gaps == 0
    result = join(tmp_path / "joined", copies.sources, copies.run)
    assert result.summary.state == "done"
    assert rows_without_receipt(result) == rows_without_receipt(whole)


@pytest.mark.parametrize("sample_id", ["binance", "bitfinex", "gemini-v2", "bitmex-ids", "mexc", "bitmex", "tardis-parquet"])
def test_clocks_of_recorders_change_no_row(sample_id: str, tmp_path: Path) -> None:
    """Each copy has a clock of its own that is seconds off, and jitters."""
    copies = make_copies(sample_id, seed=2)
    whole = reconstruct(tmp_path / "whole", copies.whole, copies.run)
    result = join(tmp_path / "joined", copies.sources, copies.run)
    assert rows_but_for_receipt(result, sample_id) == rows_but_for_receipt(whole, sample_id)
