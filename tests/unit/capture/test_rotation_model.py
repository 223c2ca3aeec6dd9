"""Following against a model: files that are written, rotated, compressed, deleted and truncated, and a follower that restarts."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import uvloop
import zstandard
from hypothesis import event, given, settings
from hypothesis import strategies as st

from cowbook.capture.inotify import Watcher
from cowbook.errors import InputError
from support.followed import Tail

pytestmark = pytest.mark.long


class Scheme(NamedTuple):
    """How files are named: the pattern, the live file, and where it goes when it is rotated."""

    pattern: str
    live: str
    rotated: str


SCHEMES = {
    "new names": Scheme("x-*", "x-{number}", "x-{number}"),
    "one path": Scheme("x.log", "x.log", "old-{number}"),
    "renamed and shown": Scheme("x*", "x.log", "x.log.{number}"),
}


class Model:
    """What was written to which file, in order: the bytes that have to come out."""

    def __init__(self, scheme: Scheme, folder: Path) -> None:
        self.scheme, self.folder = scheme, folder
        self.contents: list[bytes] = []
        self.paths: list[Path | None] = []  # None once deleted
        self.lines = 0

    def create(self) -> None:
        """Begin a new live file; the one before is renamed first."""
        if self.paths and self.paths[-1] is not None:
            name = self.scheme.rotated.format(number=len(self.paths) - 1)
            self.paths[-1] = self.paths[-1].rename(self.folder / name)
        self.paths.append(self.folder / self.scheme.live.format(number=len(self.paths)))
        self.contents.append(b"")
        self.append(0, partial=False)

    def append(self, count: int, *, partial: bool) -> None:
        """Write lines to the live file, and the first half of one."""
        content = b"".join(b"line %d\n" % number for number in range(self.lines, self.lines + count))
        self.lines += count
        content += b"half " if partial else b""
        self.contents[-1] += content
        assert self.paths[-1] is not None
        with self.paths[-1].open("ab") as file:
            file.write(content)

    @property
    def written(self) -> bytes:
        """Everything, in order."""
        return b"".join(self.contents)

    @property
    def complete(self) -> bytes:
        """Everything but an unfinished line at the end, which waits while its file is there."""
        if self.paths[-1] is None:
            return self.written
        return self.written[: len(self.written) - len(self.contents[-1]) + self.contents[-1].rfind(b"\n") + 1]


class Run:
    """Applies actions to the files and to a follower."""

    def __init__(self, scheme: Scheme, folder: Path, executor: Executor, watcher: Watcher | None, block_bytes: int) -> None:
        self.model = Model(scheme, folder)
        self.executor, self.watcher, self.block_bytes = executor, watcher, block_bytes
        self.tail = self.start(None)

    def start(self, before: Tail | None) -> Tail:
        """A new follower, at the last position."""
        model = self.model
        position = before.position if before is not None else None
        tail = Tail(
            (model.scheme.pattern,),
            model.folder,
            self.executor,
            self.watcher,
            position,
            rotate_wait=0.02,
            block_bytes=self.block_bytes,
            slice_seconds=0.005,
        )
        tail.consumed = before.consumed if before is not None else b""
        return tail

    async def settle(self) -> None:
        """Wait until everything that can come has come, from the live file."""
        await self.tail.until(lambda: self.tail.consumed == self.model.complete and self.is_live())

    def is_live(self) -> bool:
        """Whether the follower is at the end of the last file, or has left it because it was deleted."""
        if self.model.paths[-1] is None:
            follower = self.tail.follower
            return follower.has_position and follower.mark_at(self.tail._offset()).left is not None
        file = self.tail.follower._reader.file
        # An empty one on the inode of an empty one that was deleted is taken for that until it grows.
        is_open = file is not None and file.inode == self.model.paths[-1].stat().st_ino
        is_read = is_open and file is not None and file.offset == len(self.model.contents[-1])
        return self.tail.follower.at_end and (is_read or not self.model.contents[-1])

    def warnings(self) -> list[str]:
        """What nothing explains: a copy that was deleted as soon as it was made may have looked like something new."""
        return [text for text in self.tail.follower.warnings if not re.search(r"\.(gz|zst) has vanished", text)]

    async def act(self, action: str, amount: int) -> None:
        """Do one thing."""
        model, tail = self.model, self.tail
        is_alive = model.paths[-1] is not None
        if action == "append" and is_alive:
            model.append(amount, partial=False)
        elif action == "append half" and is_alive:
            model.append(amount, partial=True)
        elif action == "rotate":
            if is_alive and model.scheme.live != model.scheme.rotated:
                if not model.contents[-1]:
                    return
                await self.settle()  # one that was never seen under its name cannot be found under another
            model.create()
        elif action in ("gzip", "zstd"):
            await self.compress(amount, gzip.compress if action == "gzip" else zstandard.compress)
        elif action == "delete consumed":
            place = amount % len(model.paths)
            path = model.paths[place]
            if place < tail.follower.files_consumed and path is not None:
                path.unlink()
                model.paths[place] = None
        elif action == "delete live" and is_alive and model.contents[-1]:
            await self.settle()
            path = model.paths[-1]
            assert path is not None
            path.unlink()
            model.paths[-1] = None
            await self.tail.until(lambda: self.tail.consumed == model.written and self.is_live())
        elif action == "restart":
            if model.scheme.pattern == "x.log":
                if not model.contents[-1]:
                    return
                await self.settle()  # what was renamed out of sight cannot be found again
            await tail.close()
            self.tail = self.start(tail)
        elif action == "pause":
            for _ in range(amount):
                await tail.step()

    async def compress(self, amount: int, function: Callable[[bytes], bytes]) -> None:
        """Compress a file that was rotated; the follower sees it half done."""
        place = amount % len(self.model.paths)
        path = self.model.paths[place]
        if place == len(self.model.paths) - 1 or path is None or path.suffix in (".gz", ".zst"):
            return
        compressed = function(path.read_bytes())
        copy = path.with_name(path.name + (".gz" if function is gzip.compress else ".zst"))
        with copy.open("wb", buffering=0) as file:
            for part in (compressed[: len(compressed) // 2], compressed[len(compressed) // 2 :]):
                await self.tail.step()
                file.write(part)
        path.unlink()
        self.model.paths[place] = copy


ACTIONS = st.tuples(
    st.sampled_from(
        ["append", "append half", "rotate", "gzip", "zstd", "delete consumed", "delete live", "restart", "pause", "append"]
    ),
    st.integers(0, 40),
)


async def play(run: Run, actions: list[tuple[str, int]], truncate: int | None) -> None:
    """Everything that was written comes out once, in order; what is truncated is an error."""
    try:
        run.model.create()
        for action, amount in actions:
            await run.act(action, amount)
        if run.model.paths[-1] is None:
            run.model.create()
            run.model.append(3, partial=False)
        await run.settle()
        assert run.tail.consumed == run.model.complete
        assert run.warnings() == []
        live = run.model.paths[-1]
        size = len(run.model.contents[-1])
        if truncate is not None and size and live is not None:
            event("truncated")
            os.truncate(live, truncate % size)
            run.model.append(truncate, partial=False)
            with pytest.raises(InputError, match="was truncated or replaced"):
                await run.tail.until(lambda: False)
            assert run.tail.consumed == run.model.complete[: len(run.tail.consumed)]
    finally:
        await run.tail.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=max(settings().max_examples // 5, 1))  # each waits a good second
@given(
    actions=st.lists(ACTIONS, max_size=12),
    truncate=st.none() | st.integers(0, 500),
    with_watcher=st.booleans(),
    with_uvloop=st.booleans(),
    block_bytes=st.sampled_from([16, 4096]),
)
def test_any_rotation_gives_the_bytes_that_were_written(
    scheme: str,
    actions: list[tuple[str, int]],
    truncate: int | None,
    with_watcher: bool,
    with_uvloop: bool,
    block_bytes: int,
) -> None:
    """Random actions, on both kinds of loop, with and without inotify."""

    async def main(folder: Path) -> None:
        watcher = Watcher.open(asyncio.get_running_loop()) if with_watcher else None
        with ThreadPoolExecutor(2) as executor:
            try:
                await play(Run(SCHEMES[scheme], folder, executor, watcher, block_bytes), actions, truncate)
            finally:
                if watcher is not None:
                    watcher.close()

    folder = Path(tempfile.mkdtemp())
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if with_uvloop else asyncio.new_event_loop) as runner:
            runner.run(main(folder))
    finally:
        shutil.rmtree(folder)
