"""One symbol's transactional Parquet sink: parts are staged, and published once a committed checkpoint lists them (ADR 5)."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cowbook.errors import LockedError, OutputError, RestartNeededError
from cowbook.objects.bucket import Bucket
from cowbook.plain.durable_files import (
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    PUBLIC_DIRECTORY,
    PUBLIC_FILE,
    DurableFiles,
    as_storage_error,
    is_file_of,
    storage_error,
)
from cowbook.plain.frame import Frame
from cowbook.plain.messages import NONE, DeadLetter
from cowbook.plain.parts import Cut, CutPlace, Part, part_name
from cowbook.plain.rows import OpenRows
from cowbook.plain.starts import Start, parse_start
from cowbook.plain.streams import STREAM_NAMES
from cowbook.sink.object_publication import ObjectPublication
from cowbook.sink.publication import Publication
from cowbook.sink.stream_files import StreamFiles

_REMOVED = ".removed"
"""Behind the name of a staging that is being removed."""


def part_date(newest: int) -> str:
    """The UTC day of an event time (ns) as YYYY-MM-DD; 1970-01-01 for NONE."""
    seconds = 0 if newest == NONE else newest // 1_000_000_000
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


class ParquetSink:
    """Writes one symbol's cuts below `output_dir`. All methods block: call them from an executor.

    Call order: `lock` and `scan`, which change no parts; `publish_again` for what an earlier run left, and `begin`; then `stage`
    for each cut and `publish` for each checkpoint; at the end `close`. Methods raise OutputError if the directory must not be
    used, StorageError if a file operation fails, and RestartNeededError if its outcome is unknown.
    """

    def __init__(
        self,
        output_dir: Path,
        directory_name: str,
        streams: StreamFiles,
        files: DurableFiles | None = None,
        bucket: Bucket | None = None,
    ) -> None:
        """With `bucket` parts are staged below `output_dir`, which is this machine's own, and published there."""
        self.output_dir = output_dir
        self._symbol_directory = f"symbol={directory_name}"
        self._staging_root = output_dir / ".staging" / directory_name
        self._streams = streams
        self._files = files or DurableFiles()
        self._publication: Publication | ObjectPublication = (
            Publication(output_dir, directory_name, self._files) if bucket is None else ObjectPublication(bucket, self._files)
        )
        self.place = str(output_dir.absolute()) if bucket is None else bucket.url
        """Where parts are published."""
        self._bucket = bucket
        self.start = Start(0, 0)
        """The start of the worker, after which its stagings are named; to be set before anything is staged or published."""
        self._lock: int | None = None

    @property
    def object_puts(self) -> int:
        """Requests that have written objects, or tried to; 0 without a bucket."""
        return self._bucket.puts if self._bucket is not None else 0

    def lock(self) -> None:
        """Take the lock against a second writer, and check that staging and streams are on one file system.

        Raises LockedError if another process holds it.
        """
        path = self._staging_root / "LOCK"
        try:
            self._make_staging()
            self._lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
            os.fchmod(self._lock, PRIVATE_FILE)  # who may open it may hold it: an earlier release let everyone read it
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check_device()
        except BlockingIOError as error:
            self.unlock()
            raise LockedError(
                f"{path} is locked: another cowbook writes this symbol, or a process that has opened it holds it; stop that one "
                f"(`fuser {path}` names it), or use another output_dir"
            ) from error
        except OSError as error:
            self.unlock()
            raise storage_error("use", self.output_dir, error) from error
        except OutputError:
            self.unlock()
            raise

    def _make_staging(self) -> None:
        """Make the directory where parts are staged, and let nobody else in.

        Raises OutputError if links are there, or a directory of another user.
        """
        _refuse_links(self._staging_root.parent, self._staging_root)
        self._files.make_directories(self._staging_root.parent, PUBLIC_DIRECTORY)
        self._files.make_directories(self._staging_root, PRIVATE_DIRECTORY)
        _refuse_links(*self._staging_root.iterdir())
        status = self._staging_root.stat()
        if status.st_uid != os.geteuid():
            raise OutputError(
                f"{self._staging_root} belongs to user {status.st_uid}, not to {os.geteuid()}: run as that user, or `chown` it"
            )
        self._staging_root.chmod(PRIVATE_DIRECTORY)

    def check_lock(self) -> None:
        """Check that the lock file is still there. Raises RestartNeededError if it was removed or replaced."""
        path = self._staging_root / "LOCK"
        if self._lock is None or not is_file_of(path, self._lock):
            raise RestartNeededError(
                f"{path} was removed or replaced while this symbol runs: never remove output of a running symbol"
            )

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_device(self) -> None:
        """Raises OutputError if staging and a stream are on different file systems, between which parts cannot be renamed."""
        device = self._staging_root.stat().st_dev
        for stream in STREAM_NAMES:
            path = self.output_dir / stream
            if path.is_dir() and path.stat().st_dev != device:
                raise OutputError(f"{path} is on another file system than {self._staging_root}: put both on one")

    def scan(self) -> int:
        """Find this symbol's published parts. Returns their number."""
        with as_storage_error("read", self.output_dir):
            return self._publication.scan()

    def supersede_all(self) -> None:
        """Move all published parts to `.superseded`."""
        with as_storage_error("move parts away in", self.output_dir):
            self._publication.supersede_all(self.start.name)

    def begin(self, first: CutPlace) -> None:
        """Remove the stagings of this claim's earlier starts, and of earlier claims, and make this start's.

        `first` is the place of the first cut.
        """
        has_others = False
        with as_storage_error("use", self._staging_root):
            for directory in sorted(self._staging_root.iterdir()):
                start = parse_start(directory.name.removesuffix(_REMOVED))
                if start is not None and start.claim <= self.start.claim:
                    self._remove_staging(directory)
                    has_others = True
            self._files.make_directory(self._staging, PRIVATE_DIRECTORY)
            # An earlier start may have been killed between making these directories and syncing their names.
            for directory in (self._staging_root, self._staging_root.parent, self.output_dir):
                self._files.sync_directory(directory)
        if has_others:
            self.scan()  # whoever wrote here before can publish nothing more from now on: what it has staged is gone
        self._publication.forget_before(first)

    def _remove_staging(self, directory: Path) -> None:
        """Remove a start's staging. Whoever still writes there finds it gone."""
        renamed = directory.with_name(directory.name.removesuffix(_REMOVED) + _REMOVED)
        try:
            if renamed != directory:
                self._files.rename(directory, renamed)
            self._files.remove_tree(renamed)
        except FileNotFoundError:
            return  # its own writer has removed it, empty
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # a file that was on its way into it: the next start removes it
                raise

    @property
    def _staging(self) -> Path:
        return self._staging_root / self.start.name

    def stage(
        self, rows: OpenRows, dead_letters: Sequence[DeadLetter], frame: Frame | None = None, *, provisional: bool = False
    ) -> Cut:
        """Encode a cut's rows and write one part per stream that has any. The bytes are then durable, the names not yet.

        `frame` is the book at the cut before.
        """
        parts = []
        date = part_date(rows.newest)
        name = part_name(rows.first, rows.last, rows.number)
        for file in self._streams.make(rows, dead_letters, frame):
            staged = f"{self.start.name}/{file.stream}-{'tail-' if provisional else ''}{name}"
            with as_storage_error("write", self._staging_root / staged, RestartNeededError):
                self._files.create(self._staging_root / staged, file.content, PUBLIC_FILE)
            parts.append(
                Part(
                    stream=file.stream,
                    first=rows.first,
                    last=rows.last,
                    rows=file.rows,
                    size_bytes=len(file.content),
                    sha256=hashlib.sha256(file.content).hexdigest(),
                    staged=staged,
                    final=f"{file.stream}/{self._symbol_directory}/date={date}/{name}",
                )
            )
        return Cut(rows.first, rows.last, tuple(parts), provisional, rows.number)

    def sync_staged(self, cuts: Sequence[Cut]) -> None:
        """Make the names of staged parts durable. Raises RestartNeededError if one is missing."""
        with as_storage_error("sync", self._staging, RestartNeededError):
            for part in (part for cut in cuts for part in cut.parts):
                (self._staging_root / part.staged).lstat()
            self._files.sync_directory(self._staging)

    def discard(self, cuts: Sequence[Cut]) -> None:
        """Remove the staged parts of cuts that no checkpoint lists."""
        with as_storage_error("remove staged parts in", self._staging, RestartNeededError):
            for part in (part for cut in cuts for part in cut.parts):
                self._files.unlink(self._staging_root / part.staged)

    def check(self, cuts: Sequence[Cut]) -> None:
        """Raises OutputError if a part is neither staged nor published."""
        with as_storage_error("read", self.output_dir):
            self._publication.check(cuts, self._staging_root)

    def standing(self) -> tuple[CutPlace, ...]:
        """Places of the published cuts from `begin`'s first one on."""
        return self._publication.standing()

    def missing(self, cuts: Sequence[Cut]) -> list[Path]:
        """Final paths of parts that are missing or have another size."""
        with as_storage_error("read", self.output_dir):
            return self._publication.missing(cuts)

    def publish(self, cuts: Sequence[Cut], withdrawn: Sequence[CutPlace] = ()) -> None:
        """Move staged parts to their final names, durably. The cuts may be an earlier start's."""
        self.check_lock()
        with as_storage_error("publish parts in", self.output_dir, RestartNeededError):
            self._publication.publish(cuts, withdrawn, self._staging_root, self.start.name)

    def publish_again(self, cuts: Sequence[Cut], withdrawn: Sequence[CutPlace]) -> None:
        """As `publish`, for cuts whose publication an earlier start may have begun before it was killed."""
        self.publish(cuts, withdrawn)
        with as_storage_error("sync", self.output_dir, RestartNeededError):
            self._publication.sync_all()

    def close(self) -> None:
        """Release the lock. Parts that are staged but not published stay for the next start."""
        if self._lock is not None:
            with suppress(OSError):  # not empty, or gone
                self._files.remove_directory(self._staging)
            self.unlock()


def _refuse_links(*paths: Path) -> None:
    for path in paths:
        if path.is_symlink():
            raise OutputError(f"{path} is a symbolic link, and parts would be written where it leads: remove it")
