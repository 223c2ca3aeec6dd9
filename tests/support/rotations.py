"""A writer whose files rotate by any scheme, for tests of the order in which they are read: what it has written, in order."""

from __future__ import annotations

import gzip
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import zstandard

_BEGIN_NS = 1_750_000_000 * 10**9
HOUR_NS = 3600 * 10**9
HEADER = b"time,side,price,size\n"


@dataclass(frozen=True, slots=True)
class Naming:
    """How a scheme names its files: patterns, the live file's name, and the archives' names."""

    patterns: tuple[str, ...]
    live: str
    archive: str
    """Of the archive with `{number}`; the live file itself where they are equal."""
    shifts: bool = False
    """Archives are numbered from the newest one on, so every rotation renames all of them."""


NAMINGS = {
    "numbers shifted by logrotate": Naming(("x.log*",), "x.log", "x.log.{number}", shifts=True),
    "numbers shifted before an extension": Naming(("x*.log*",), "x.log", "x.{number}.log", shifts=True),
    "numbers counted up": Naming(("x.log*",), "x.log", "x.log.{number}"),
    "dates": Naming(("x.log*",), "x.log", "x.log-202506{number:02}"),
    "archives in a list before the live file": Naming(("arc-*", "x.log"), "x.log", "arc-{number:04}"),
    "live file named like the last archive": Naming(("x-*",), "x-current", "x-{number}"),
    "new names": Naming(("x-*",), "x-{number}", "x-{number}"),
}


@dataclass(slots=True)
class File:
    """A file as it was written."""

    path: Path | None
    """None once it was deleted."""
    content: bytes
    modified_ns: int
    halves: list[Path] = field(default_factory=list)
    """Where a compressed copy of it is being made."""


class Writer:
    """Writes lines into files that rotate.

    Where `skew_ns` is given, modification times follow a clock of their own, as a file server's do: the time of the last line and
    so much more.
    """

    def __init__(
        self,
        folder: Path,
        naming: Naming,
        rng: random.Random,
        *,
        header: bytes = b"",
        skew_ns: int | None = None,
        source: Iterator[bytes] | None = None,
    ) -> None:
        """`source` gives the lines; the default are lines with a number and a time a second after the last."""
        self.naming = naming
        self.files: list[File] = []
        """Every file, oldest first; the last one is live."""
        self._folder, self._rng = folder, rng
        self._header, self._skew_ns = header, skew_ns
        self._lines = self._writes = 0
        self._source = source if source is not None else self._numbered()
        self._unfinished = b""  # what is still to be written of a line
        self._begin()

    @property
    def written(self) -> bytes:
        """All complete lines without headers, in the order of their writing."""
        content = b"".join(file.content.removeprefix(self._header) for file in self.files)
        return content[: content.rfind(b"\n") + 1]

    @property
    def _now_ns(self) -> int:
        return _BEGIN_NS + self._lines * 10**9

    def _numbered(self) -> Iterator[bytes]:
        while True:
            line = b"%d,line %d\n" % (self._now_ns, self._lines)
            self._lines += 1
            yield line

    def append(self, lines: int, *, half: bool = False) -> None:
        """Write lines to the live file, and perhaps the beginning of one more, which the next call ends first."""
        self.end_line()
        content = b"".join(islice(self._source, lines))
        if half:
            line = next(self._source, b"")
            cut = len(line) // 2
            content, self._unfinished = content + line[:cut], line[cut:]
        self._write(content)

    def end_line(self) -> None:
        """End an unfinished line."""
        if self._unfinished:
            self._write(self._unfinished)
            self._unfinished = b""

    def rotate(self) -> None:
        """End the live file and begin a new one. Nothing is renamed before it was written to."""
        self.end_line()
        if self.files[-1].content in (b"", self._header):
            return
        if self.naming.shifts:
            for file in self.files[:-1]:
                if file.path is not None:
                    self._finish_compressing(file)
            for file in self.files[:-1]:  # the oldest has the highest number: it moves first
                if file.path is not None:
                    file.path = file.path.rename(file.path.with_name(_next_number(file.path.name)))
            number = 1
        else:
            number = len(self.files)
        live = self.files[-1]
        assert live.path is not None
        if self.naming.live != self.naming.archive:
            live.path = live.path.rename(self._folder / self.naming.archive.format(number=number))
        self._begin()

    def compress(self, file: File) -> None:
        """Begin to compress an archive, or end it: the original stays until then, as with gzip(1) and zstd(1) --rm."""
        if file.path is None or file is self.files[-1] or file.path.suffix in (".gz", ".zst"):
            return
        if file.halves:
            self._finish_compressing(file)
            return
        suffix, compressed = self._rng.choice(((".gz", gzip.compress(file.content)), (".zst", zstandard.compress(file.content))))
        copy = file.path.with_name(file.path.name + suffix)
        copy.write_bytes(compressed[: self._rng.randrange(len(compressed))])
        file.halves = [copy]
        if self._rng.random() < 0.5:
            self._finish_compressing(file)

    def delete(self, file: File) -> None:
        """Delete an archive and what a compressor had made of it."""
        for path in (file.path, *file.halves):
            if path is not None:
                path.unlink()
        file.path, file.halves = None, []

    def copy(self, file: File) -> None:
        """Copy an archive beside it, with its time: two names of equal content."""
        if file.path is None or file is self.files[-1] or file.path.suffix == ".bak":
            return
        copy = file.path.with_name(f"{file.path.name}.bak")
        copy.write_bytes(file.path.read_bytes())
        os.utime(copy, ns=(file.modified_ns, file.modified_ns))

    def _begin(self) -> None:
        path = self._folder / self.naming.live.format(number=len(self.files) + 1)
        self.files.append(File(path, b"", 0))
        self._write(self._header)

    def _write(self, content: bytes) -> None:
        file = self.files[-1]
        assert file.path is not None
        with file.path.open("ab") as opened:
            opened.write(content)
        file.content += content
        self._writes += 1
        file.modified_ns = file.path.stat().st_mtime_ns
        if self._skew_ns is not None:
            file.modified_ns = self._now_ns + self._skew_ns + self._writes
            os.utime(file.path, ns=(file.modified_ns, file.modified_ns))

    def _finish_compressing(self, file: File) -> None:
        for copy in file.halves:
            assert file.path is not None
            compressed = gzip.compress(file.content) if copy.suffix == ".gz" else zstandard.compress(file.content)
            with copy.open("r+b") as opened:
                opened.write(compressed)
            os.utime(copy, ns=(file.modified_ns, file.modified_ns))
            file.path.unlink()
            file.path = copy
        file.halves = []


def _next_number(name: str) -> str:
    """The archive's name after one more rotation."""
    return re.sub(r"\.(\d+)", lambda match: f".{int(match[1]) + 1}", name, count=1)


def time_of(head: bytes, whole: bool) -> int | None:  # noqa: ARG001 - as `TimeOf`
    """The time of the first complete line that has one."""
    match = re.search(rb"^(\d{19}),line \d+$", head[: head.rfind(b"\n") + 1], re.MULTILINE)
    return int(match[1]) if match else None
