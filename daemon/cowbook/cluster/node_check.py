"""Whether all nodes of a cluster fit together: the same programs, the same input, and state that all of them share."""

from __future__ import annotations

import fcntl
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from cowbook import __version__
from cowbook.cluster.nodes import Node
from cowbook.config import Config
from cowbook.errors import InputError, StorageError
from cowbook.symbol.settings import files_of

_PROBE = ".cowbook-probe-"
_PRIVATE = 0o600


class StorageProbe:
    """A file in each directory that nodes must share, while it is entered. Makes the directories, as a run does."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._name = f"{_PROBE}{uuid4().hex}"
        self.directories = directories
        self._locks: list[int] = []

    def __enter__(self) -> Self:
        """Write and lock the files. Raises OSError where that is not possible."""
        for directory in self.directories:
            directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(directory / self._name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, _PRIVATE)
            self._locks.append(lock)
            os.write(lock, self._name.encode())
            os.fsync(lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove them, and what nodes have written."""
        for lock in self._locks:
            os.close(lock)
        for directory in self.directories:
            for path in directory.glob(f"{self._name}*"):
                path.unlink(missing_ok=True)

    def request(self, config: Config) -> dict[str, Any]:
        """Returns what `describe_node` is to be asked."""
        return {"name": self._name, "directories": [str(path) for path in self.directories], "config": config}

    def seen_from(self, mark: str) -> list[bool]:
        """Returns whether what a node has written is there, for each directory. `mark` is what the node said it wrote."""
        return [(directory / f"{self._name}{mark}").exists() for directory in self.directories]


def describe_node(request: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a node is, and what it sees. Runs on the node."""
    config: Config = request["config"]
    mark = f"-{uuid4().hex}"
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "cowbook": __version__,
        "mark": mark,
        "storage": [_look(Path(directory), request["name"], mark) for directory in request["directories"]],
        "input": {symbol.id: _digest_of_input(config, symbol.id) for symbol in config.symbol},
    }


def _look(directory: Path, name: str, mark: str) -> dict[str, Any]:
    """Returns whether the probe is there, cannot be created a second time, and is locked."""
    found: dict[str, Any] = {"is_shared": False, "is_conditional": False, "has_locks": False, "error": None}
    probe = directory / name
    try:
        found["is_shared"] = probe.read_text() == name
        with suppress(FileExistsError):
            os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _PRIVATE))
            return found
        found["is_conditional"] = True
        descriptor = os.open(probe, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found["has_locks"] = True
        finally:
            os.close(descriptor)
        (directory / f"{name}{mark}").touch(_PRIVATE)
    except OSError as error:
        found["error"] = f"{error.filename or directory}: {error.strerror}"
    return found


def _digest_of_input(config: Config, symbol_id: str) -> str:
    """Returns a digest of the names of a symbol's files, in their order; or why there are none."""
    digest = blake2b(digest_size=8)
    (symbol,) = (symbol for symbol in config.symbol if symbol.id == symbol_id)
    for own in symbol.inputs:
        try:
            for path in files_of(own, config.base_dir).paths:
                digest.update(os.fsencode(path) + b"\0")
        except (InputError, StorageError) as error:
            return str(error)
    return digest.hexdigest()


def judge_nodes(
    nodes: Sequence[Node], described: Mapping[str, dict[str, Any] | str], own: Mapping[str, Any], probe: StorageProbe
) -> tuple[list[str], list[str]]:
    """Returns the problems that forbid a run, and warnings, a line each. `own` is this machine's own description."""
    problems: list[str] = []
    warnings: list[str] = []
    for node in nodes:
        found = described[node.id]
        if isinstance(found, str):
            problems.append(f"node {node.name}: cowbook cannot run there: {found}; install the same cowbook[ray] on all nodes")
            continue
        problems += [
            f"node {node.name} has {program} {found[key]}, and this one {own[key]}: all nodes need the same"
            for key, program in (("python", "Python"), ("cowbook", "cowbook"))
            if found[key] != own[key]
        ]
        written = probe.seen_from(found["mark"])
        for directory, storage, is_back in zip(probe.directories, found["storage"], written, strict=True):
            problems += _judge_storage(node, directory, storage, is_back)
            if storage["is_conditional"] and not storage["has_locks"]:
                warnings.append(
                    f"node {node.name}: {directory}: locks of other nodes do not hold there; the commit log fences alone"
                )
        warnings += [
            f'node {node.name} does not see the files of "{symbol}" that this one sees: mount them at the same path'
            for symbol, digest in found["input"].items()
            if digest != own["input"][symbol]
        ]
    return problems, warnings


def _judge_storage(node: Node, directory: Path, storage: Mapping[str, Any], is_back: bool) -> list[str]:
    if not storage["is_shared"] or not (is_back or storage["error"] or not storage["is_conditional"]):
        why = f" ({storage['error']})" if storage["error"] else ""
        return [f"node {node.name} does not see what this one writes to {directory}{why}: mount the same storage at that path"]
    if not storage["is_conditional"]:
        return [f"node {node.name}: {directory}: a file could be created a second time: two writers would not notice each other"]
    if storage["error"]:
        return [f"node {node.name} cannot write to {storage['error']}"]
    return []
