"""Features from an output directory, against those from the capture of which it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cowbook import features
from cowbook.book.order_book_engine import EngineSettings
from cowbook.plain.streams import CHOSEN_STREAMS
from support.harness import Reconstruction, Run, reconstruct
from support.venue_samples import SAMPLE_IDS, make_sample

ENGINE = EngineSettings(streams=CHOSEN_STREAMS, part_events=100, part_interval=60_000_000_000, book_levels=5)
COUNTED = ("event_index", "buy_count", "sell_count", "buy_volume", "sell_volume")


def made(directory: Path, sample_id: str, engine: EngineSettings = ENGINE) -> tuple[Reconstruction, list[Path], dict[str, Any]]:
    """An output, the files of its capture, and what `features` must be told of these."""
    sample = make_sample(sample_id)
    run = Run(sample.name, sample.name, sample.format, engine=engine)
    output = reconstruct(directory, sample.files, run)
    assert output.summary.state == "done", output.summary.error
    return output, [directory / "input" / name for name in sample.files], {"symbol": sample.name, "format": sample.format}


def by_time(table: pa.Table) -> dict[Any, dict[str, Any]]:
    """Rows by their place on the grid and the last event."""
    return {(row["time"], row["event_index"]): row for row in table.to_pylist()}


def compare(found: pa.Table, expected: pa.Table) -> float:
    """Nothing is shown that the capture does not show, and all that is shown is the same. Returns the share that is shown."""
    assert found.schema.equals(expected.schema)
    rows, others = by_time(found), by_time(expected)
    common = rows.keys() & others.keys()
    shown = all_there_is = 0
    for key in common:
        row, other = rows[key], others[key]
        assert all(row[name] == pytest.approx(other[name]) for name in COUNTED), (row, other)
        assert not row["synced"] or other["synced"]
        for name, value in row.items():
            if name not in (*COUNTED, "symbol", "time", "synced"):
                assert value is None or value == pytest.approx(other[name], rel=1e-9, abs=1e-9), (key, name, value, other[name])
                shown += value is not None
                all_there_is += other[name] is not None
    assert len(common) >= 0.9 * len(others)
    return shown / max(1, all_there_is)


@pytest.mark.parametrize("sample_id", SAMPLE_IDS)
def test_nothing_is_shown_that_the_capture_does_not_show(tmp_path: Path, sample_id: str) -> None:
    """Of any venue: with all streams, with those alone that are needed, and from a later time on."""
    output, files, given = made(tmp_path, sample_id)
    every = "500ms"
    expected = features(files, every=every, bps=(1, 100), **given)
    found = features(output.output_dir, every=every, bps=(1, 100))
    compare(found, expected)
    middle = found["time"][len(found) // 2].as_py()
    later = features(output.output_dir, every=every, bps=(1, 100), start=middle)
    rows, whole = by_time(later), by_time(found)
    assert rows.keys() == {key for key in whole if key[0] >= middle}
    compare(later, found)
