"""Features from an output directory, against those from the capture of which it was made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cowbook import features, scan
from cowbook.book.order_book_engine import EngineSettings
from cowbook.errors import QueryError, UsageError
from cowbook.plain.streams import CHOSEN_STREAMS
from support.harness import Reconstruction, Run, reconstruct
from support.venue_samples import SAMPLE_IDS, make_sample

ENGINE = EngineSettings(streams=CHOSEN_STREAMS, part_events=100, part_interval=60_000_000_000, book_levels=5)
COUNTED = ("event_index", "buy_count", "sell_count", "buy_volume", "sell_volume")


def made(directory: Path, sample_id: str, engine: EngineSettings = ENGINE) -> tuple[Reconstruction, list[Path], dict[str, Any]]:
    """An output, the files of its capture, and what `features` must be told of these."""
    sample = make_sample(sample_id)
    run = Run(sample.name.replace("/", "-"), sample.name, sample.format, engine=engine)
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
    assert len(common) >= 0.9 * min(len(rows), len(others))
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


@pytest.mark.parametrize("sample_id", SAMPLE_IDS)
def test_the_stream_has_what_the_capture_gives(tmp_path: Path, sample_id: str) -> None:
    """Of any venue, at each point of the grid that both have: exact prices and sizes, and the same features."""
    output, files, given = made(tmp_path, sample_id, replace(ENGINE, book_fill=True))
    found, expected = scan(output.output_dir, "features").to_table(), features(files, every="1s", **given)
    names = [name for name in found.schema.names if name not in ("symbol", "ts", "update_id")]
    assert names == [name for name in expected.schema.names if name not in ("symbol", "time")]
    rows = {(row["ts"], row["event_index"]): row for row in found.to_pylist()}
    others = by_time(expected)
    common = sorted(rows.keys() & others.keys())
    assert len(common) >= 0.9 * len(others) - 2
    for time in common[1:]:  # before the first one, the capture may have points without a row
        row, other = rows[time], others[time]
        for name in names:
            value = None if row[name] is None else float(row[name])
            assert value == (None if other[name] is None else pytest.approx(float(other[name]), rel=1e-9, abs=1e-9)), (time, name)


def test_what_the_streams_show_is_shown(tmp_path: Path) -> None:
    """With all streams nearly everything is; without those that show what is known, nothing of the book."""
    output, files, given = made(tmp_path / "all", "binance")
    expected = features(files, every="2s", **given)
    assert compare(features(output.output_dir, every="2s"), expected) > 0.8
    bare, _, _ = made(tmp_path / "bare", "binance", replace(ENGINE, streams=("depth",)))
    found = features(bare.output_dir, every="2s")
    assert found["mid"].null_count == found["buy_volume"].null_count == len(found)


def test_rows_by_volume_and_by_messages(tmp_path: Path) -> None:
    """A row for so much traded is behind the same trade; messages with rows are counted."""
    output, files, given = made(tmp_path, "binance")
    expected, found = (features(source, volume=5, **chosen) for source, chosen in ((files, given), (output.output_dir, {})))
    assert found["event_index"].equals(expected["event_index"])
    assert found["buy_volume"].equals(expected["buy_volume"])
    depth = {row["event_index"] for row in output.rows("depth") if row["is_last"]}
    events = sorted(depth | {row["event_index"] for row in output.rows("trades")})
    assert features(output.output_dir, every=10)["event_index"].to_pylist()[:-1] == events[9::10][: len(events) // 10]


@pytest.mark.parametrize("numbers", ["float64", "int64"])
def test_numbers_of_every_kind(tmp_path: Path, numbers: Any) -> None:
    """They say the same."""
    sample = make_sample("binance")
    tables = []
    for kind in ("decimal", numbers):
        run = Run(sample.name, sample.name, sample.format, engine=ENGINE, numbers=kind)
        tables.append(features(reconstruct(tmp_path / kind, sample.files, run).output_dir, every="2s"))
    assert tables[0].equals(tables[1])


def test_what_the_output_does_not_have_is_an_error(tmp_path: Path) -> None:
    """Each says what there is."""
    output, _, _ = made(tmp_path / "all", "binance")
    with pytest.raises(QueryError, match=r"has nothing of symbol XRP: it has BTCUSDT"):
        features(output.output_dir, "XRP")
    with pytest.raises(QueryError, match="is no output of cowbook"):
        features(tmp_path)
    without, _, _ = made(tmp_path / "trades", "binance", replace(ENGINE, streams=("trades",)))
    with pytest.raises(QueryError, match=r"has no depth of BTCUSDT.*add depth to \[output\] streams"):
        features(without.output_dir)
    bare, _, _ = made(tmp_path / "bare", "binance", replace(ENGINE, streams=("depth",)))
    with pytest.raises(UsageError, match=r"volume: .* has no trades"):
        features(bare.output_dir, volume=1)
