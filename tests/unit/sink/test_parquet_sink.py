"""The sink: names, modes, locks, and parts that are complete or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from cowbook.errors import LockedError, OutputError, RestartNeededError, StorageError
from cowbook.plain.durable_files import DurableFiles
from cowbook.plain.messages import NONE, DeadLetter
from cowbook.plain.rows import OpenRows, allocate_rows
from cowbook.plain.starts import Start
from cowbook.sink.columns import fixed_point_text
from cowbook.sink.parquet_sink import ParquetSink, part_date
from cowbook.sink.stream_files import StreamFiles


def rows_with_trades(first: int, count: int, newest: int) -> OpenRows:
    """A cut with some trades, and nothing else but a dead letter."""
    arrays = {name: array[:0] for name, array in allocate_rows({}, 2)._asdict().items()}
    trades = arrays["trades"] = np.zeros(count, arrays["trades"].dtype)
    trades["event_index"] = np.arange(first, first + count)
    trades["ts_event"] = newest
    trades["ts_recv"] = NONE
    trades["price"] = 61_737_63000000
    trades["size"] = 1
    arrays["dead_letter"] = np.zeros(1, arrays["dead_letter"].dtype)
    arrays["dead_letter"]["event_index"] = first
    return OpenRows(first, first + count - 1, newest, arrays)


LETTER = DeadLetter("a", 5, 3, "malformed", b"bad", "why")
NEWEST = 1_723_161_240 * 10**9


def sink_in(directory: Path, files: DurableFiles | None = None) -> ParquetSink:
    """A sink that is not open yet."""
    return ParquetSink(directory, "BTC%2FUSD", StreamFiles(8, 8, 2), files)


def opened(directory: Path, files: DurableFiles | None = None, start: int = 1) -> ParquetSink:
    """A sink that is ready for cuts."""
    sink = sink_in(directory, files)
    sink.lock()
    sink.start = Start(1, start)
    sink.scan()
    sink.begin((0, 0))
    return sink


def test_parts_appear_on_publication_with_their_names_dates_and_rows(tmp_path: Path) -> None:
    """Parts have their names, dates and rows, appear on publication, and leave nothing behind."""
    sink = opened(tmp_path)
    cut = sink.stage(rows_with_trades(10, 3, NEWEST), [LETTER])
    assert not list(tmp_path.glob("[!.]*"))
    sink.sync_staged([cut])
    sink.publish([cut])
    sink.close()
    name = "part-0000000000000010-0000000000000012.parquet"
    trades = tmp_path / "trades" / "symbol=BTC%2FUSD" / "date=2024-08-08" / name
    assert {str(path) for path in tmp_path.glob("[!.]*/**/*.parquet")} == {
        str(trades),
        str(tmp_path / "dead_letter" / "symbol=BTC%2FUSD" / "date=2024-08-08" / name),
    }
    assert trades.stat().st_size == cut.parts[0].size_bytes
    assert trades.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    frame = pl.read_parquet(trades)
    assert str(frame["price"].to_list()[0]) == "61737.63000000"
    assert frame["ts_recv"].null_count() == 3
    assert [path.name for path in (tmp_path / ".staging").rglob("*")] == ["BTC%2FUSD", "LOCK"]


def current_umask() -> int:
    """The process's umask."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_files_have_no_arrow_schema_and_one_row_group(tmp_path: Path) -> None:
    """No Arrow schema inside, decimals as INT64, one row group."""
    sink = opened(tmp_path)
    part = sink.stage(rows_with_trades(0, 5, NEWEST), [LETTER]).parts[0]
    metadata = pq.ParquetFile(tmp_path / ".staging" / "BTC%2FUSD" / part.staged)
    assert metadata.metadata.num_row_groups == 1
    assert metadata.schema_arrow.metadata == {b"rows_of_cut": b"trades=5 dead_letter=1"}
    column = metadata.schema.column(5)
    assert (column.name, column.physical_type, str(column.logical_type)) == ("price", "INT64", "Decimal(precision=18, scale=8)")
    sink.close()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """A second writer of the same symbol gets a clear error."""
    sink = opened(tmp_path)
    with pytest.raises(LockedError, match="another cowbook writes this symbol"):
        sink_in(tmp_path).lock()
    sink.close()
    opened(tmp_path, start=2).close()


def test_nobody_else_can_hold_the_lock_or_enter_staging(tmp_path: Path) -> None:
    """Their modes keep others out, at any umask, and also where an earlier release has made them: who can open it can hold it."""
    before = os.umask(0)
    try:
        opened(tmp_path).close()
        staging = tmp_path / ".staging" / "BTC%2FUSD"
        modes = {path: path.stat().st_mode & 0o777 for path in (staging / "LOCK", staging, staging.parent)}
        assert list(modes.values()) == [0o600, 0o700, 0o775]
        (staging / "LOCK").chmod(0o644)
        staging.chmod(0o777)
        sink = opened(tmp_path, start=2)
        assert {path: path.stat().st_mode & 0o777 for path in modes} == modes
        sink.publish([sink.stage(rows_with_trades(0, 1, NEWEST), [LETTER])])
        sink.close()
    finally:
        os.umask(before)
    directories = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(directories) > 4
    assert not [path for path in directories if path.stat().st_mode & 0o002]


@pytest.mark.parametrize("name", [".staging", ".staging/BTC%2FUSD", ".staging/BTC%2FUSD/2", ".staging/BTC%2FUSD/LOCK"])
def test_links_in_staging_are_refused(tmp_path: Path, name: str) -> None:
    """Parts would be written where they lead, and nothing is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tmp_path / "data" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises((OutputError, StorageError), match="symbolic link"):
        sink_in(tmp_path / "data").lock()
    assert not list(outside.iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give directories away")
def test_staging_of_another_user_is_refused(tmp_path: Path) -> None:
    """That user could replace parts before they are published."""
    opened(tmp_path).close()
    os.chown(tmp_path / ".staging" / "BTC%2FUSD", 65534, -1)
    with pytest.raises(OutputError, match="belongs to user 65534"):
        sink_in(tmp_path).lock()


def test_a_fresh_start_moves_parts_away_and_deletes_none(tmp_path: Path) -> None:
    """Starting from the beginning moves what was there away, and never deletes it."""
    for number in (1, 2):
        sink = sink_in(tmp_path)
        sink.lock()
        sink.start = Start(1, number)
        sink.scan()
        sink.supersede_all()
        sink.begin((0, 0))
        sink.publish([sink.stage(rows_with_trades(0, number, NEWEST), [LETTER])])
        sink.close()
    moved = list((tmp_path / ".superseded" / "BTC%2FUSD" / "1-2").rglob("*.parquet"))
    assert len(moved) == 2
    assert len(list(tmp_path.glob("[!.]*/**/*.parquet"))) == 2


def test_staging_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    """What a run that was killed had staged is removed by the next one; what was published is counted."""
    left = tmp_path / ".staging" / "BTC%2FUSD" / "7"
    left.mkdir(parents=True)
    (left / "depth-part-x.parquet").write_bytes(b"half")
    sink = opened(tmp_path)
    assert not left.exists()
    sink.publish([sink.stage(rows_with_trades(0, 1, NEWEST), [LETTER])])
    assert sink.scan() == 2
    sink.close()


class FullDisk(DurableFiles):
    """Every new file fails."""

    def create(self, path: Path, content: bytes | memoryview, mode: int) -> None:
        """As a full disk does."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """A full disk is an error that names the file and says what to do."""
    sink = opened(tmp_path, FullDisk())
    with pytest.raises(RestartNeededError, match=r"trades-part.*No space left on device; free some space"):
        sink.stage(rows_with_trades(0, 1, NEWEST), [LETTER])
    sink.close()


@pytest.mark.parametrize(
    ("newest", "date"),
    [
        pytest.param(NONE, "1970-01-01", id="no_time"),
        pytest.param(0, "1970-01-01", id="first"),
        pytest.param(NEWEST, "2024-08-08", id="usual"),
        pytest.param(2**63 - 1, "2262-04-11", id="last"),
    ],
)
def test_a_part_date_is_the_utc_day_of_its_newest_time(newest: int, date: str) -> None:
    """The UTC day, over the whole range of times."""
    assert part_date(newest) == date


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(0, 0, "0"), (-5, 0, "-5"), (0, 2, "0.00"), (105, 2, "1.05"), (-150, 2, "-1.50"), (10**18 - 1, 18, "0." + "9" * 18)],
)
def test_fixed_point_text_has_all_decimals(value: int, decimals: int, text: str) -> None:
    """All decimals are written."""
    assert fixed_point_text(value, decimals) == text
