"""Closed days are joined: the same rows in the same order for every reader, at every moment, whatever interrupts it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cowbook import book_at, features, scan
from cowbook.config import load_config
from cowbook.errors import QueryError, StorageError
from cowbook.export.text import export_csv
from cowbook.plain.durable_files import DurableFiles
from cowbook.plain.streams import CHOSEN_STREAMS, STREAM_NAMES
from cowbook.query import compact as module
from cowbook.query.compact import compact
from cowbook.query.parts import retrying
from cowbook.report.day_report import read_report
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from support.recording_files import Disk, Operation, RecordingFiles

CLOSED, NEWEST = "date=2024-08-08", "date=2024-08-09"
NAMES = ("BTCUSDT", "ETH/USD")
_OPERATIONS = ("create_from", "make_directory", "link", "exchange", "rename", "unlink", "remove_directory", "sync_directory")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State and output of two symbols, over midnight, in parts of a minute and checkpoints of fewer events."""
    directory = tmp_path_factory.mktemp("compact")
    text = '[checkpoint]\nevery_events = 2000\nretain = 100\nmin_pause = "0s"\n'
    text += f'[output]\npart_interval = "1min"\nbook_levels = 3\nstreams = {list(CHOSEN_STREAMS)}\n'
    for seed, name in enumerate(NAMES):
        write_capture(directory / f"{seed}.jsonl", symbol=name, messages=3800, seed=seed + 1, gaps=3)
        text += f'[[symbol]]\nname = "{name}"\nformat = "binance"\npaths = ["{seed}.jsonl"]\n'
    (directory / "cowbook.toml").write_text(text)
    assert all(summary.state == "done" for summary in run_once(load_config(directory / "cowbook.toml", {})))
    return directory


@pytest.fixture
def here(written: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(written, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads meanwhile, but where a test says so."""
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)


def rows_of(data: Path) -> dict[str, pa.Table]:
    """What a reader finds who follows the pattern of docs/output.md, by stream and symbol, in the order of names."""
    found = {}
    for stream in STREAM_NAMES:
        for directory in sorted((data / stream).glob("symbol=*")):
            tables = [pq.ParquetFile(path).read() for path in sorted(directory.glob("date=*/part-*.parquet"))]
            found[f"{stream}/{directory.name}"] = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    return found


def test_a_day_of_a_stream_is_one_part_with_the_same_rows(here: Path) -> None:
    """Of closed days; the newest one is left alone. A second time there is nothing to do."""
    data = here / "data"
    before = rows_of(data)
    newest = {path: path.read_bytes() for path in data.rglob(f"{NEWEST}/*.parquet")}
    done = list(compact(data))
    assert {(day.symbol, day.stream) for day in done} >= {(name, stream) for name in NAMES for stream in CHOSEN_STREAMS}
    assert {day.date for day in done} == {CLOSED.removeprefix("date=")}
    assert all(day.parts_before > day.parts_after == 1 for day in done)
    assert all(len(list(path.iterdir())) == 1 for path in data.glob(f"*/*/{CLOSED}"))
    assert rows_of(data) == before
    assert {path: path.read_bytes() for path in data.rglob(f"{NEWEST}/*.parquet")} == newest
    assert not list(data.rglob(".compact-*"))
    assert list(compact(data)) == []


def test_pages_and_what_the_footer_says_of_them_are_those_of_the_parts(here: Path) -> None:
    """Checksums hold, and each row group has the statistics of its part."""
    data = here / "data"
    before = {
        directory: [pq.ParquetFile(path) for path in sorted(directory.iterdir())] for directory in data.glob(f"*/*/{CLOSED}")
    }
    list(compact(data))
    for directory, parts in before.items():
        (path,) = directory.iterdir()
        joined = pq.ParquetFile(path, page_checksum_verification=True)
        assert joined.schema.equals(parts[0].schema)
        for group, part in enumerate(parts):
            assert joined.read_row_group(group).equals(part.read())
            one, other = joined.metadata.row_group(group), part.metadata.row_group(0)
            for column in range(one.num_columns):
                assert one.column(column).statistics == other.column(column).statistics


def test_readers_find_what_they_found(here: Path, tmp_path: Path) -> None:
    """Books at instants, features, the report, CSV, a dataset and DuckDB are as before."""
    data = here / "data"
    random = Random(7)
    last = book_at(data, NAMES[0]).event
    events = [random.randrange(last) for _ in range(20)]

    def read(name: str) -> list[object]:
        retrying(lambda: export_csv(data, NAMES[1], None, None, tmp_path / name))
        texts = {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.csv")}
        count = f"SELECT count(*), sum(size) FROM read_parquet('{data}/depth/*/*/part-*.parquet')"  # noqa: S608 - our own
        return [
            [book_at(data, NAMES[0], event=event).to_json() for event in events],
            book_at(data, NAMES[0], "2024-08-08T23:57:12.345Z").to_json(),
            features(data, NAMES[0]),
            read_report(data),
            read_report(data.parent / "state"),
            texts,
            [scan(data, stream, NAMES[0]).to_table() for stream in STREAM_NAMES],
            scan(data, "depth", start="2024-08-08T23:56:30Z", end="2024-08-08T23:57:30Z").to_table(),
            duckdb.sql(count).fetchall(),
        ]

    before = read("before")
    list(compact(data))
    for one, other in zip(read("after"), before, strict=True):
        assert one == other


def test_days_from_a_date_on_are_left_alone(here: Path) -> None:
    """`before` is the first of them."""
    assert list(compact(here / "data", "2024-08-08")) == []
    assert list(compact(here / "data", "2024-08-09"))


class Interrupted(BaseException):
    """The process ends here."""


class EndingFiles(DurableFiles):
    """Files whose n-th operation does not come."""

    def __init__(self, operation: int) -> None:
        self.left = operation

    def __getattribute__(self, name: str) -> object:
        """Each look at an operation is a call."""
        if name in _OPERATIONS:
            self.left -= 1
            if self.left < 0:
                raise Interrupted
        return super().__getattribute__(name)


def test_an_interruption_leaves_all_rows_once(written: Path, tmp_path: Path) -> None:
    """At any operation. The next attempt finishes it."""
    data = tmp_path / "data"
    small = [path for stream in ("trades", "gaps", "frame") for path in [written / "data" / stream / "symbol=BTCUSDT"]]
    operation = 0
    before: dict[str, pa.Table] = {}
    while True:
        shutil.rmtree(data, ignore_errors=True)
        for path in small:
            shutil.copytree(path, data / path.parent.name / path.name)
        before = before or rows_of(data)
        try:
            list(compact(data, files=EndingFiles(operation)))
        except Interrupted:
            assert rows_of(data) == before, operation
            list(compact(data))
            assert rows_of(data) == before, operation
            assert not list(data.rglob(".compact-*"))
            assert all(len(list(path.iterdir())) == 1 for path in data.glob(f"*/*/{CLOSED}"))
        else:
            break
        operation += 1
    assert operation > 20


def _as_operations(root: Path) -> list[Operation]:
    """What makes a tree, and makes it durable."""
    made = []
    for path in sorted(root.rglob("*")):
        own = path.relative_to(root)
        made.append(Operation("mkdir", own, mode=0o755) if path.is_dir() else Operation("create", own, content=path.read_bytes()))
    directories = [Path(), *(path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_dir())]
    return made + [Operation("sync", path) for path in directories]


def _after(operations: list[Operation], keep: Callable[[Disk], None], path: Path) -> None:
    """What a power cut behind these operations may leave."""
    disk = Disk()
    for operation in operations:
        disk.apply(operation)
    keep(disk)
    disk.write(path)


def test_a_power_cut_leaves_all_rows_once(written: Path, tmp_path: Path) -> None:
    """Whatever was not synced is lost, all of it or some. The next attempt finishes what was begun."""
    data = tmp_path / "data"
    for stream in ("trades", "frame"):
        own = written / "data" / stream / "symbol=BTCUSDT"
        for path in [*sorted((own / CLOSED).iterdir())[-3:], *sorted((own / NEWEST).iterdir())[:1]]:
            target = data / path.relative_to(written / "data")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    before, operations = rows_of(data), _as_operations(tmp_path)
    files = RecordingFiles(tmp_path)
    list(compact(data, files=files))
    assert {operation.kind for operation in files.operations} >= {"create", "exchange", "unlink", "rmdir", "mkdir", "sync"}
    keeps: list[Callable[[Disk], None]] = [
        lambda _: None,
        Disk.keep_all,
        *(partial(Disk.keep_some, seed=seed) for seed in range(4)),
    ]
    for place in range(len(files.operations) + 1):
        for number, keep in enumerate(keeps):
            state = tmp_path / f"state-{place}-{number}"
            _after([*operations, *files.operations[:place]], keep, state)
            assert rows_of(state / "data") == before, (place, number)
            list(compact(state / "data"))
            assert rows_of(state / "data") == before, (place, number)
            assert not list(state.rglob(".compact-*"))
            assert all(len(list(path.iterdir())) == 1 for path in state.glob(f"data/*/*/{CLOSED}"))
            shutil.rmtree(state)


class LateFiles(DurableFiles):
    """Files of a day into which a part comes while it is compacted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exchange(self, one: Path, other: Path) -> None:
        """After the part has come."""
        self.path.write_bytes(b"late")
        super().exchange(one, other)


def test_a_day_that_changes_meanwhile_is_left_as_it_is(here: Path) -> None:
    """The part that came is there, too."""
    data = here / "data"
    before = {path.name for path in (data / f"depth/symbol=BTCUSDT/{CLOSED}").iterdir()}
    late = data / f"depth/symbol=BTCUSDT/{CLOSED}/part-9999999999999999-9999999999999999.parquet"
    with pytest.raises(QueryError, match="has changed meanwhile"):
        list(compact(data, files=LateFiles(late)))
    assert {path.name for path in late.parent.iterdir()} == before | {late.name}


def test_readers_meanwhile_find_each_row_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be gone before it is opened, which is an error for most readers, and asked again by cowbook's."""
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 1.0)
    data = here / "data"
    expected = {stream: scan(data, stream, "BTCUSDT").count_rows() for stream in ("depth", "trades", "frame")}
    is_over = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not is_over.is_set():
            for stream, count in expected.items():
                try:
                    paths = sorted((data / stream / "symbol=BTCUSDT").glob("date=*/part-*.parquet"))
                    found = sum(pq.read_metadata(path).num_rows for path in paths)
                except FileNotFoundError:
                    continue
                if found != count:
                    wrong.append((stream, found))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    list(compact(data))
    is_over.set()
    for reader in readers:
        reader.join()
    assert wrong == []


@pytest.mark.parametrize("kept", [1, 2])
def test_a_restart_from_an_older_checkpoint_writes_no_row_again(here: Path, kept: int) -> None:
    """What it makes once more lies in joined parts already, and is not published beside them."""
    data = here / "data"
    before = rows_of(data)
    list(compact(data))
    for directory in (here / "state").glob("*/checkpoints"):
        numbers = sorted((path for path in directory.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
        assert len(numbers) > kept
        for path in numbers[kept:]:
            shutil.rmtree(path)
    assert all(summary.state == "done" for summary in run_once(load_config(here / "cowbook.toml", {})))
    assert rows_of(data) == before


def _files_of(path: Path) -> Iterator[tuple[str, bytes]]:
    return ((each.name, each.read_bytes()) for each in sorted(path.iterdir()))


def test_a_damaged_or_missing_part_leaves_its_day_as_it_is(here: Path) -> None:
    """With what is wrong."""
    day = here / f"data/depth/symbol=BTCUSDT/{CLOSED}"
    second = sorted(day.iterdir())[1]
    content = second.read_bytes()
    second.write_bytes(content[: len(content) // 2])
    before = dict(_files_of(day))
    with pytest.raises(QueryError, match=f"{second.name} is damaged"):
        list(compact(here / "data"))
    assert dict(_files_of(day)) == before
    second.unlink()
    with pytest.raises(QueryError, match=f"has no part {second.name} of depth"):
        list(compact(here / "data"))
    second.write_bytes(content)
    list(compact(here / "data"))
    assert len(list(day.iterdir())) == 1


class OldFiles(DurableFiles):
    """Files of a system that cannot exchange directories."""

    def exchange(self, one: Path, other: Path) -> None:
        """Fails as such a system does."""
        raise OSError(22, "Invalid argument", str(one))


def test_a_file_system_that_cannot_exchange_directories_is_named(here: Path) -> None:
    """All rows are there as before."""
    before = rows_of(here / "data")
    with pytest.raises(StorageError, match="its file system does not exchange directories"):
        list(compact(here / "data", files=OldFiles()))
    assert not list(here.rglob(".compact-*"))
    assert rows_of(here / "data") == before
