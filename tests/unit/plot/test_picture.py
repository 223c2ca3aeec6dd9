"""The drawing: names are text, and what is odd is drawn all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cowbook.plot.depth_map import DepthMap, Gaps, read_depth_map
from cowbook.plot.picture import write_picture
from support.small_output import START_MS, make_lines, make_output

pytest.importorskip("matplotlib", reason="the extra plot is not installed")


@pytest.fixture(scope="module")
def depth(tmp_path_factory: pytest.TempPathFactory) -> DepthMap:
    """Of a small output."""
    return read_depth_map(make_output(tmp_path_factory.mktemp("picture"), make_lines()).output_dir, "BTCUSDT", columns=40)


def test_a_name_is_text_in_every_picture(depth: DepthMap, tmp_path: Path) -> None:
    """No markup, no formula, no control character."""
    hostile = replace(depth, symbol='<script>alert("x")</script>$\\frac{$\x1b[31m')
    for name in ("a.svg", "a.html"):
        write_picture(hostile, tmp_path / name)
        text = (tmp_path / name).read_text()
        assert "<script" not in text
        assert "\x1b" not in text
        assert "&lt;script&gt;" in text
        assert "$\\frac{$" in text


def test_an_empty_book_of_which_nothing_is_known_is_drawn(depth: DepthMap, tmp_path: Path) -> None:
    """Without levels, best prices, or a synced column."""
    nothing = np.full(len(depth.is_synced), np.nan)
    empty = replace(
        depth,
        sizes=np.zeros_like(depth.sizes),
        best=(nothing, nothing),
        known=(nothing, nothing),
        is_synced=np.zeros(len(nothing), np.bool_),
    )
    write_picture(empty, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_a_page_lists_only_so_many_gaps(depth: DepthMap, tmp_path: Path) -> None:
    """And says how many more there are."""
    times = START_MS * 10**6 + np.arange(1000, dtype=np.int64) * 10**6
    write_picture(replace(depth, gaps=Gaps(times, np.ones(1000, np.int64))), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert text.count("<td>1</td>") == 200
    assert "and 800 more" in text
    assert "1,000 gaps" in text
