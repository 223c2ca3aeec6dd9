"""The transactional Parquet sink of one symbol: parts are staged first, and get their final name only when complete."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cowbook.durable_files import PUBLIC_DIRECTORY, PUBLIC_FILE, DurableFiles, output_error
from cowbook.errors import OutputError
from cowbook.event_batch import NONE, DeadLetter
from cowbook.rows import OpenRows
from cowbook.sink.encoding import encode
from cowbook.sink.schemas import STREAMS, StreamTables


@dataclass(frozen=True, slots=True)
class Part:
    """One finished Parquet file: where it waits, where it belongs, and what identifies it."""

    stream: str
    first: int
    last: int
    rows: int
    size_bytes: int
    staged: Path
    final: Path


def part_date(newest: int) -> str:
    """UTC day of a running maximum of event time; 1970-01-01 before any."""
    seconds = 0 if newest == NONE else newest // 1_000_000_000
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


class ParquetSink:
    """Writes the cuts of one symbol below `output_dir`. All methods block: call them from an executor.

    Raises OutputError when the directory cannot be used, is used by another process, or holds parts of an earlier run.
    """

    def __init__(
        self,
        output_dir: Path,
        directory_name: str,
        tables: StreamTables,
        compression: str,
        files: DurableFiles | None = None,
    ) -> None:
        self._output_dir = output_dir
        self._symbol_directory = f"symbol={directory_name}"
        self._staging_root = output_dir / ".staging" / directory_name
        self._tables = tables
        self._compression = compression
        self._files = files or DurableFiles()
        self._staging = self._staging_root
        self._lock: int | None = None

    def open(self, *, allow_fresh: bool) -> None:
        """Take the lock, look at what is there, and make a staging directory.

        Parts of an earlier run are refused, or moved to `.superseded` with `allow_fresh`.
        """
        try:
            self._files.make_directories(self._staging_root, PUBLIC_DIRECTORY)
            self._take_lock()
            earlier = self._existing_parts()
            if earlier and not allow_fresh:
                raise OutputError(
                    f"{earlier[0].parent.parent} has parts of an earlier run and no checkpoint to go on from: "
                    "use --allow-fresh to move them to .superseded and start from the beginning, or another output_dir"
                )
            self._check_device()
            if earlier:
                self._supersede_all()
            self._remove_stagings()
            self._staging = self._new_directory(self._staging_root)
        except OSError as error:
            self._unlock()
            raise output_error("use", self._output_dir, error) from error
        except OutputError:
            self._unlock()
            raise

    def _take_lock(self) -> None:
        path = self._staging_root / "LOCK"
        self._lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, PUBLIC_FILE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{path} is locked: another cowbook writes this symbol; stop it, or use another output_dir"
            ) from error

    def _check_device(self) -> None:
        """Parts are renamed from staging into the streams: both must be on one file system."""
        device = self._staging_root.stat().st_dev
        for stream in STREAMS:
            path = self._output_dir / stream
            if path.is_dir() and path.stat().st_dev != device:
                raise OutputError(f"{path} is on another file system than {self._staging_root}: make it the same")

    def _existing_parts(self) -> list[Path]:
        return [
            path
            for stream in STREAMS
            for path in sorted((self._output_dir / stream / self._symbol_directory).glob("date=*/part-*.parquet"))
        ]

    def _new_directory(self, root: Path) -> Path:
        """A new numbered directory below `root`."""
        taken = [int(path.name) for path in root.iterdir() if path.name.isdigit()] if root.is_dir() else []
        directory = root / str(max(taken, default=0) + 1)
        self._files.make_directories(directory, PUBLIC_DIRECTORY)
        return directory

    def _supersede_all(self) -> None:
        target = self._new_directory(self._output_dir / ".superseded" / self._symbol_directory.removeprefix("symbol="))
        for stream in STREAMS:
            source = self._output_dir / stream / self._symbol_directory
            if source.is_dir():
                self._files.rename(source, target / stream)
                self._files.sync_directory(source.parent)
        self._files.sync_directory(target)

    def stage(self, rows: OpenRows, dead_letters: Sequence[DeadLetter]) -> list[Part]:
        """Encode the rows of a cut and write a part for each stream that has any; durable, but not published yet."""
        parts = []
        date = part_date(rows.newest)
        for stream, table in self._tables.make(rows, dead_letters).items():
            content = memoryview(encode(stream, table, self._compression))
            name = f"part-{rows.first:016d}-{rows.last:016d}.parquet"
            staged = self._staging / f"{stream}-{name}"
            try:
                self._files.create(staged, content, PUBLIC_FILE)
            except OSError as error:
                raise output_error("write", staged, error) from error
            parts.append(
                Part(
                    stream=stream,
                    first=rows.first,
                    last=rows.last,
                    rows=table.num_rows,
                    size_bytes=len(content),
                    staged=staged,
                    final=self._output_dir / stream / self._symbol_directory / f"date={date}" / name,
                )
            )
        return parts

    def publish(self, parts: Sequence[Part]) -> None:
        """Give staged parts their final names, durably."""
        try:
            directories = {part.final.parent for part in parts}
            for directory in sorted(directories):
                self._files.make_directories(directory, PUBLIC_DIRECTORY)
            for part in parts:
                self._files.rename(part.staged, part.final)
            for directory in sorted(directories):
                self._files.sync_directory(directory)
        except OSError as error:
            raise output_error("publish parts in", self._output_dir, error) from error

    def close(self) -> None:
        """Remove the staging directory and give the lock back; nothing to do when `open` failed."""
        if self._lock is None:
            return
        try:
            self._remove_stagings()
        finally:
            self._unlock()

    def _remove_stagings(self) -> None:
        """Remove what was staged and never published, by this run or by one that was killed: its rows come again."""
        for directory in self._staging_root.iterdir():
            if directory.name.isdigit():
                for path in directory.iterdir():
                    self._files.unlink(path)
                self._files.remove_directory(directory)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
