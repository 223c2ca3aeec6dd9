"""Joins the parts of closed days: of each stream and day one, with the same rows in the same order (ADR 26).

A day of a stream is a directory. What is to be in it is made beside it, and then both change places, in one step of the file
system. So a reader sees the parts or the joined one, and never both or neither. Of a crash nothing is left but a directory
that the next time tells apart by what is in it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from cowbook.errors import QueryError, StorageError
from cowbook.plain.durable_files import PUBLIC_DIRECTORY, PUBLIC_FILE, DurableFiles, as_storage_error
from cowbook.plain.parts import CUTS_OF_PART, ROWS_OF_CUT, JoinedCut, is_joined_name, joined_name, parse_part_name
from cowbook.query.columns import UNREADABLE, damaged, read_rows_of_cut, unreadable
from cowbook.query.output import SymbolOutput
from cowbook.query.parquet_join import DamagedFileError, NotAlikeError, join
from cowbook.query.parts import PublishedCut, PublishedPart, list_symbols, retrying

_BESIDE = ".compact-"  # a directory whose name no pattern of docs/output.md matches
_LOCK = ".compact.lock"
_PAUSE_SECONDS = 1.0
"""Before old parts are removed: a reader that was just listing their directory would see some of them, and not notice."""


@dataclass(frozen=True, slots=True)
class CompactedDay:
    """What became of a stream's day."""

    symbol: str
    stream: str
    date: str
    parts_before: int
    parts_after: int
    rows: int


def compact(output_dir: Path, before: str | None = None, files: DurableFiles | None = None) -> Iterator[CompactedDay]:
    """Joins the parts of each stream's closed days, and yields what was done.

    A day is closed if the symbol has a later one, and the newest cut is not of it. `before`, None: a date (YYYY-MM-DD); days
    from it on are left alone. A running cowbook need not stop: it never writes into a closed day again.

    Raises QueryError if the directory holds no output, or a part is missing or damaged; the day is left as it is. Raises
    StorageError where the file system cannot do it, or another one is at work.
    """
    files = files or DurableFiles()
    symbols = list_symbols(output_dir)
    with _locked(output_dir):
        for symbol, directories in sorted(symbols.items()):
            for directory in directories.values():
                with as_storage_error("finish compacting", directory):
                    _finish(directory, files)
            output = retrying(lambda name=symbol: SymbolOutput(output_dir, name))  # type: ignore[misc] # a lambda with a default
            for date, runs in _closed_days(output, before).items():
                days = [_Day(output, stream, path / f"date={date}", runs, files) for stream, path in directories.items()]
                days = [day for day in days if day.is_worth_while]
                cuts = {number: _describe(output, number) for run in runs for number in run} if days else {}
                done = []
                for day in days:
                    with as_storage_error("compact", day.path):
                        done.append(day.compact(cuts))
                if days:
                    time.sleep(_PAUSE_SECONDS)
                for day in days:
                    with as_storage_error("remove the old parts of", day.path):
                        day.remove_old()
                yield from done


@contextmanager
def _locked(output_dir: Path) -> Iterator[None]:
    path = output_dir / _LOCK
    with as_storage_error("compact", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PUBLIC_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise QueryError(f"another cowbook compact is at work in {output_dir}: wait until it has ended") from error
    try:
        yield
    finally:
        os.close(descriptor)


def _closed_days(output: SymbolOutput, before: str | None) -> dict[str, list[Sequence[int]]]:
    """Of each closed day its runs of cuts that follow each other, as numbers of cuts."""
    days: dict[str, list[Sequence[int]]] = {}
    for date, numbers in groupby(range(len(output.cuts)), key=lambda number: output.cuts[number].date):
        days.setdefault(date, []).append([*numbers])
    newest = max(days)
    last = output.cuts[-1].date
    return {date: runs for date, runs in sorted(days.items()) if date not in (newest, last) and (before is None or date < before)}


def _describe(output: SymbolOutput, number: int) -> JoinedCut:
    """A cut with the rows of all its streams. Raises QueryError if a part is missing or damaged."""

    def read() -> JoinedCut:
        output.check_parts(number, *output.streams)
        cut: PublishedCut = output.cuts[number]
        rows = {name: count for name, count in read_rows_of_cut(next(iter(cut.parts.values()))).items() if count}
        for stream in cut.parts:
            reader = output.reader(stream, number)
            assert reader is not None
            rows[stream] = reader.row_count
        output.forget(number)
        return JoinedCut(cut.first, cut.last, cut.place[1], rows)

    return retrying(read)


class _Day:
    """One stream's parts of one day."""

    def __init__(self, output: SymbolOutput, stream: str, path: Path, runs: Sequence[Sequence[int]], files: DurableFiles) -> None:
        self.path = path
        self._output, self._stream, self._runs, self._files = output, stream, runs, files
        self._beside = path.with_name(_BESIDE + path.name)
        self._rows = 0

    @property
    def is_worth_while(self) -> bool:
        """Whether two parts can become one."""
        return any(len(self._single_parts(run)) > 1 for run in self._runs)

    def _single_parts(self, run: Sequence[int]) -> list[PublishedPart]:
        """The parts of a run; none if some were joined already."""
        parts = [part for number in run if (part := self._output.cuts[number].parts.get(self._stream)) is not None]
        return parts if all(part.group is None for part in parts) else []

    def compact(self, cuts: Mapping[int, JoinedCut]) -> CompactedDay:
        """Join the parts, and have the result take their place. `cuts` are those of the day, by number."""
        files, before = self._files, _identities(self.path)
        files.make_directory(self._beside, PUBLIC_DIRECTORY)
        joined: set[str] = set()
        for run in self._runs:
            parts = self._single_parts(run)
            if len(parts) > 1:
                self._join([cuts[number] for number in run], parts)
                joined |= {part.path.name for part in parts}
        for name in sorted(before.keys() - joined):
            files.link(self.path / name, self._beside / name)
        files.sync_directory(self._beside)
        self._exchange()
        if _identities(self._beside) != before:  # a part has come meanwhile
            self._exchange()
            files.remove_tree(self._beside)
            raise QueryError(f"{self.path} has changed meanwhile: it is as it was; compact it again")
        count = len(_identities(self.path))
        return CompactedDay(self._output.symbol, self._stream, self.path.name[5:], len(before), count, self._rows)

    def remove_old(self) -> None:
        """Remove the parts that were joined."""
        self._files.remove_tree(self._beside)
        self._files.sync_directory(self.path.parent)

    def _exchange(self) -> None:
        """Have both directories change places."""
        try:
            self._files.exchange(self._beside, self.path)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                raise
            self._files.remove_tree(self._beside)
            raise StorageError(
                f"{self.path} cannot be replaced in one step, and stays as it is: its file system does not exchange directories; "
                "ext4, XFS and Btrfs do",
                error.errno,
            ) from error
        self._files.sync_directory(self.path.parent)

    def _join(self, cuts: Sequence[JoinedCut], parts: Sequence[PublishedPart]) -> None:
        """Write the joined part of a run, and read its footer."""
        path = self._beside / joined_name(cuts[0].first, cuts[-1].last, cuts[0].number)
        own = _metadata_of(parts[0].path) | {CUTS_OF_PART: msgspec.json.encode(cuts).decode()}
        try:
            self._files.create_from(path, join([part.path for part in parts], own), PUBLIC_FILE)
            written = pq.read_metadata(path)
        except DamagedFileError as error:
            raise damaged(error.path, "it has no footer") from error
        except NotAlikeError as error:
            raise QueryError(f"{error.path} has other columns than {parts[0].path}, so they are not joined") from error
        except UNREADABLE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise damaged(path, str(error)) from error
        wanted = [cut.rows[self._stream] for cut in cuts if self._stream in cut.rows]
        found = [written.row_group(group).num_rows for group in range(written.num_row_groups)]
        if wanted != found:
            raise damaged(parts[0].path.parent, f"its parts of {self._stream} do not have the rows that others say")
        self._rows += written.num_rows


def _metadata_of(path: Path) -> dict[str, str]:
    """Keys and values of a part that hold for all of its stream."""
    try:
        found = pq.read_metadata(path).metadata or {}
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    return {key.decode(): value.decode() for key, value in found.items() if key not in (ROWS_OF_CUT.encode(), b"ARROW:schema")}


def _identities(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Which files a directory has, by name."""
    with os.scandir(directory) as entries:
        return {entry.name: (entry.inode(), entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries}


def _finish(directory: Path, files: DurableFiles) -> None:
    """Finish what an interrupted attempt has left in the directory of a symbol's stream."""
    for beside in sorted(directory.glob(f"{_BESIDE}date=*")):
        day = directory / beside.name.removeprefix(_BESIDE)
        there = _identities(day).keys() if day.is_dir() else set[str]()
        ranges = [found for name in there if is_joined_name(name) and (found := parse_part_name(name)) is not None]
        own = _identities(beside)
        if any(is_joined_name(name) and name not in there for name in own) or not ranges:
            files.remove_tree(beside)  # the places were not changed yet
            continue
        for name in own:
            found = parse_part_name(name)
            is_covered = found is not None and any(place <= found[0] and found[1] <= last for place, last in ranges)
            if name not in there and not is_covered:
                files.rename(beside / name, day / name)  # it came while the places were changed
        files.sync_directory(day)
        files.remove_tree(beside)
        files.sync_directory(directory)
