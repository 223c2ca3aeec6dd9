"""A file system that remembers which of its operations were made durable, and what a power cut may leave of them.

The model is as harsh as file systems are: a file's bytes count once they were fsynced; a name in a directory, be it new,
changed or removed, counts once the directory was synced; until then each directory keeps any prefix of its changes, whatever
the others keep. Only a rename between two directories never loses both names: POSIX calls it atomic, and journals make it so.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cowbook.plain.durable_files import DurableFiles


@dataclass(frozen=True, slots=True)
class Operation:
    """One recorded operation; paths are relative to the root."""

    kind: str  # create, link, rename, exchange, unlink, rmdir, mkdir, sync
    path: Path
    target: Path | None = None
    content: bytes = b""
    mode: int = 0


class RecordingFiles(DurableFiles):
    """The real file system below `root`, with a list of all operations."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.operations: list[Operation] = []

    def _note(self, kind: str, path: Path, target: Path | None = None, content: bytes = b"", mode: int = 0) -> None:
        relative = target.relative_to(self._root) if target is not None else None
        self.operations.append(Operation(kind, path.relative_to(self._root), relative, content, mode))

    def create_from(self, path: Path, pieces: Iterable[bytes | memoryview], mode: int) -> None:
        """Create, and remember the content."""
        content = b"".join(pieces)
        super().create_from(path, (content,), mode)
        self._note("create", path, content=content, mode=mode)

    def rename(self, source: Path, target: Path) -> None:
        """Rename."""
        super().rename(source, target)
        self._note("rename", source, target)

    def exchange(self, one: Path, other: Path) -> None:
        """Exchange."""
        super().exchange(one, other)
        self._note("exchange", one, other)

    def link(self, source: Path, target: Path) -> None:
        """Link."""
        super().link(source, target)
        self._note("link", source, target)

    def unlink(self, path: Path) -> None:
        """Unlink."""
        super().unlink(path)
        self._note("unlink", path)

    def remove_directory(self, path: Path) -> None:
        """Remove a directory."""
        super().remove_directory(path)
        self._note("rmdir", path)

    def make_directory(self, path: Path, mode: int) -> bool:
        """Make a directory."""
        made = super().make_directory(path, mode)
        if made:
            self._note("mkdir", path, mode=mode)
        return made

    def sync_directory(self, path: Path) -> None:
        """Sync a directory."""
        super().sync_directory(path)
        self._note("sync", path)


@dataclass(slots=True)
class File:
    """A file's bytes."""

    content: bytes
    mode: int


@dataclass(slots=True, eq=False)
class Change:
    """Of a directory: a name gone, a name come, or both in one step."""

    gone: str | None
    come: str | None = None
    node: File | Directory | None = None
    also: tuple[str, File | Directory] | None = None
    """Another name that comes in the same step."""
    elsewhere: tuple[Directory, Change] | None = None
    """What a rename into another directory has changed there: it counts if this does."""

    def apply(self, names: dict[str, File | Directory]) -> None:
        """Change names."""
        if self.gone is not None:
            names.pop(self.gone, None)
        if self.come is not None and self.node is not None:
            names[self.come] = self.node
        if self.also is not None:
            names[self.also[0]] = self.also[1]


@dataclass(slots=True, eq=False)
class Directory:
    """Names as they are, as they are durable, and the changes between."""

    mode: int = 0o700
    entries: dict[str, File | Directory] = field(default_factory=dict)
    durable: dict[str, File | Directory] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> Change:
        """Something happens to the names; it does not count yet."""
        self.pending.append(change)
        change.apply(self.entries)
        return change

    def sync(self, last: Change | None = None) -> None:
        """All changes count, or those up to `last`."""
        while self.pending:
            change = self.pending.pop(0)
            change.apply(self.durable)
            _sync_elsewhere(change)
            if change is last:
                return


def _sync_elsewhere(change: Change) -> None:
    if change.elsewhere is not None:
        directory, other = change.elsewhere
        if other in directory.pending:
            directory.sync(other)


class Disk:
    """What the operations so far have made, and what is durable of it."""

    def __init__(self) -> None:
        self.root = Directory()

    def directory(self, path: Path) -> Directory:
        """A directory by its path."""
        node: File | Directory = self.root
        for name in path.parts:
            assert isinstance(node, Directory)
            node = node.entries[name]
        assert isinstance(node, Directory)
        return node

    def apply(self, operation: Operation) -> None:
        """One operation happens."""
        path = operation.path
        if operation.kind == "sync":
            self.directory(path).sync()
            return
        parent = self.directory(path.parent)
        if operation.kind == "create":
            parent.change(Change(None, path.name, File(operation.content, operation.mode)))
        elif operation.kind == "mkdir":
            parent.change(Change(None, path.name, Directory(operation.mode)))
        elif operation.kind in ("unlink", "rmdir"):
            parent.change(Change(path.name))
        elif operation.kind == "link":
            assert operation.target is not None
            node = parent.entries[path.name]
            self.directory(operation.target.parent).change(Change(None, operation.target.name, node))
        elif operation.kind == "exchange":
            assert operation.target is not None
            other = operation.target.name
            assert operation.target.parent == path.parent
            parent.change(Change(None, path.name, parent.entries[other], also=(other, parent.entries[path.name])))
        else:
            self._rename(parent, path.name, operation.target)

    def _rename(self, parent: Directory, name: str, path: Path | None) -> None:
        assert path is not None
        target = self.directory(path.parent)
        node = parent.entries[name]
        if target is parent:
            parent.change(Change(name, path.name, node))
        else:
            come = target.change(Change(None, path.name, node))
            parent.change(Change(name, elsewhere=(target, come)))

    def tear(self, operation: Operation, content: bytes) -> None:
        """The power cut meets the writing of a file: its name is there, its bytes are as they may be."""
        self.directory(operation.path.parent).change(Change(None, operation.path.name, File(content, operation.mode)))

    def keep_all(self) -> None:
        """The power cut comes when everything has reached the disk."""
        for directory in self._directories():
            directory.sync()

    def keep_some(self, seed: int) -> None:
        """The power cut comes when a random prefix of every directory's changes has reached the disk."""
        rng = random.Random(seed)
        for directory in self._directories():
            count = rng.randint(0, len(directory.pending))
            if count:
                directory.sync(directory.pending[count - 1])

    def _directories(self) -> list[Directory]:
        """All of them, also those whose names are lost."""
        found = [self.root]
        for directory in found:  # grows meanwhile
            nodes = [*directory.entries.values(), *directory.durable.values(), *(change.node for change in directory.pending)]
            found += [node for node in nodes if isinstance(node, Directory) and node not in found]
        return found

    def write(self, path: Path) -> None:
        """Materialise what counts."""
        _write(self.root, path)


def _write(directory: Directory, path: Path) -> None:
    path.mkdir(mode=directory.mode, exist_ok=True)
    for name, node in directory.durable.items():
        if isinstance(node, Directory):
            _write(node, path / name)
        else:
            (path / name).write_bytes(node.content)
            (path / name).chmod(node.mode & 0o644)


def torn_contents(content: bytes) -> Iterator[bytes]:
    """What may stand in a file that was being written."""
    yield b""
    if content:
        yield content[: len(content) // 2]
        yield bytes(len(content))
