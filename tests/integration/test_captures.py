"""The recorded captures: no gap, no dead letter, and every comparable ticker matches."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from support.harness import read_parts

BENCH = Path(__file__).resolve().parents[1] / "bench"


def load(name: str) -> Any:
    """A module of the benchmarks."""
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("shared_data")
def test_recorded_captures_have_all_their_trades_and_tickers(tmp_path: Path) -> None:
    """Files that cross midnight are one input; their known trades and tickers are all there."""
    captures = load("captures")
    for summary in captures.reconstruct(tmp_path):
        known = captures.CAPTURES[summary.id]
        assert (summary.state, summary.gaps, summary.crossed, sum(summary.dead_letters.values())) == ("done", 0, 0, 0)
        audits = summary.audits["bookTicker"]
        assert audits["matched"] == known.comparable
        assert audits["failed"] == audits["failed_unsynced"] == audits["matched_unsynced"] == 0
        assert summary.synced
    names = read_parts(tmp_path / "data")
    days = {name.split("date=")[1][:10] for name in names if "usdm-btcusdt" in name}
    assert days == {"2023-04-04", "2023-04-05"}


@pytest.mark.usefixtures("shared_data")
def test_the_picture_of_known_depth_is_of_the_capture() -> None:
    """What the page shows and says comes out of the capture that it names."""
    picture = load("known_depth")
    drawn = picture.draw(list(picture.samples()))
    assert picture.PICTURE.read_text() == drawn
    page = (picture.PICTURE.parent / "output.md").read_text()
    assert "known 86." in drawn
    assert "known 81." in drawn
    assert "during 86 % of the time, and the best 20 levels of each side during 81 %" in page
