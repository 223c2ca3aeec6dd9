"""What a symbol's state directory holds: its committed checkpoints, by their directories and the commit log; changes nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cowbook.checkpoint.commit_log import Entry, read_run
from cowbook.checkpoint.load import Checkpoint, is_published, read_checkpoint, read_manifest
from cowbook.checkpoint.manifest import DamagedError, Manifest
from cowbook.checkpoint.storage import DirectoryStorage
from cowbook.errors import RecoveryError
from cowbook.plain.durable_files import DurableFiles
from cowbook.plain.starts import Start

CHECKPOINTS, QUARANTINE, LOG = "checkpoints", "quarantine", "log"
"""Directories below a symbol's."""

_BEGUN = re.compile(r"\.tmp-(\d+)-(?:([1-9]\d*)-)?(\d+)(?:-\d+)?")
"""A checkpoint that was begun: its epoch, the claim, the start, the attempt. Before there were claims: epoch and start."""


def read_entries(root: Path) -> dict[int, Entry | None]:
    """The entries of a symbol's commit log that count, by number; None for a damaged one. Raises RecoveryError, StorageError."""
    return read_run(DirectoryStorage(root / LOG, DurableFiles(), root.lstat().st_uid))


def commits_of(entries: Mapping[int, Entry | None]) -> dict[int, Entry]:
    """The commits among entries, by epoch."""
    return {entry.epoch: entry for _, entry in sorted(entries.items()) if entry is not None and entry.is_commit}


def places(root: Path, commits: Mapping[int, Entry]) -> dict[int, Path]:
    """Where the committed checkpoints of a symbol lie, newest first, by epoch.

    The newest commit of the log is among them, unless it is in quarantine: where it was written if it could not be named, and
    under its name if it is gone, which is damage like any other.
    """
    epochs = epochs_in(root / CHECKPOINTS)
    newest = max(commits, default=0)
    if newest and newest not in (*epochs, *leading_numbers(path.name for path in entries_in(root / QUARANTINE))):
        epochs.insert(0, newest)
    return {epoch: place_of(root, epoch, commits) for epoch in epochs}


def place_of(root: Path, epoch: int, commits: Mapping[int, Entry]) -> Path:
    """Where a committed checkpoint lies: under its name, or where it was written."""
    named, commit = root / CHECKPOINTS / str(epoch), commits.get(epoch)
    if commit is None or start_of(commit.directory) is None or os.path.lexists(named):
        return named
    begun = root / CHECKPOINTS / commit.directory
    return begun if begun.exists() else named


def newest_checkpoint(root: Path, symbol_id: str) -> Checkpoint | None:
    """The newest checkpoint of a symbol that is whole, verified; None if the symbol has none.

    Raises RecoveryError if all are damaged, and that or StorageError if state cannot be read, or only by another release.
    """
    commits, owner = commits_of(read_entries(root)), root.lstat().st_uid
    problems = []
    for epoch, directory in places(root, commits).items():
        committed = commits[epoch].files if epoch in commits else ()
        reasons = []
        # Its writer may give it its name between the two looks. Of what is damaged, a run goes on from the one before.
        for place in dict.fromkeys((directory, root / CHECKPOINTS / str(epoch))):
            try:
                return read_checkpoint(place, symbol_id, owner, epoch, committed)
            except DamagedError as error:
                reasons.append(f"{epoch}: {error}")
        problems.append(reasons[0])
    if problems:
        raise RecoveryError(f"{root} has no valid checkpoint: {'; '.join(problems)}")
    return None


def overview(root: Path, symbol_id: str) -> list[dict[str, Any]]:
    """Figures of each committed checkpoint below a symbol's state directory, newest first, from its manifest.

    A checkpoint whose manifest cannot be used has a `problem` instead.
    """
    owner = root.lstat().st_uid
    return [_overview_row(root / CHECKPOINTS / str(epoch), symbol_id, owner) for epoch in epochs_in(root / CHECKPOINTS)]


def _overview_row(directory: Path, symbol_id: str, owner: int) -> dict[str, Any]:
    try:
        return figures(read_manifest(directory, symbol_id, owner), is_published(directory))
    except (DamagedError, RecoveryError) as error:
        return {"epoch": int(directory.name), "valid": False, "problem": str(error)}


def figures(manifest: Manifest, published: bool) -> dict[str, Any]:
    """A valid checkpoint's figures for the user, as JSON values."""
    return {
        "epoch": manifest.epoch,
        "time": manifest.checkpoint_timestamp,
        "trigger": "+".join(manifest.triggers),
        "events_processed": manifest.events_processed,
        "last_update_id": manifest.last_update_id,
        "current_file": manifest.current_file,
        "file_offset": manifest.file_offset,
        "bytes": manifest.size_bytes,
        "levels": manifest.levels,
        "snapshot_duration_ms": manifest.snapshot_duration_ms,
        "processing_rate": manifest.processing_rate,
        "persist_seconds": manifest.persist_seconds,
        "end_of_input": manifest.end_of_input,
        "claim": manifest.claim,
        "incarnation": manifest.incarnation,
        "published": published,
        "valid": True,
        "problem": None,
    }


def epochs_in(checkpoints: Path) -> list[int]:
    """Epochs of the committed checkpoints in a directory, newest first."""
    return sorted((int(path.name) for path in entries_in(checkpoints) if is_epoch(path.name)), reverse=True)


def is_epoch(name: str) -> bool:
    """Whether a directory's name is that of a committed checkpoint."""
    return name.isascii() and name.isdigit() and str(int(name)) == name


def entries_in(directory: Path) -> list[Path]:
    """What a directory holds, sorted; nothing if there is none."""
    return sorted(directory.iterdir()) if directory.is_dir() else []


def leading_numbers(names: Iterable[str]) -> list[int]:
    """The numbers with which names begin."""
    parts = (name.partition("-")[0] for name in names)
    return [int(part) for part in parts if part.isascii() and part.isdigit()]


def start_of(name: str) -> Start | None:
    """The start that has begun a checkpoint, by its temporary directory's name; None for all other names."""
    match = _BEGUN.fullmatch(name) if name.isascii() else None
    return None if match is None else Start(int(match[2] or 0), int(match[3]))
