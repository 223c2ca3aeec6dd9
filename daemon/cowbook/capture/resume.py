"""Finds a position's file again by content, whatever its name is now, and the files that were consumed before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cowbook.capture.compression import DecodedFile, DecodedStream, open_decoded, read_fully
from cowbook.capture.growing_file import GrowingFile
from cowbook.capture.paths import natural_key
from cowbook.errors import InputError
from cowbook.plain.position import IDENTITY_BYTES, FileIdentity, Position

InputFile = DecodedStream | GrowingFile
Statuses = Mapping[int, os.stat_result]
"""Status of each existing file, by its index in a list of paths."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where to resume: the open file, standing at the offset, and what is known of the other files."""

    index: int  # in the list of paths
    raw: InputFile | None  # None if the file was read to its end and left
    head: bytes = b""
    tail: bytes = b""
    consumed: frozenset[int] = frozenset()  # indices of the files consumed before it
    read_before: int = 0  # bytes on disk of the files that will not be read again
    warnings: tuple[str, ...] = ()


def find(paths: Sequence[Path], position: Position) -> Found:
    """Find a position's file and the files consumed before it, wherever they were renamed to.

    Raises InputError when no file is the position's, or when a consumed file has grown since.
    """
    statuses = stat_all(paths)
    if position.current.disk_bytes:
        return _find_after_left(paths, statuses, position)
    found = find_current(paths, statuses, position)
    if isinstance(found, Unfound):
        raise InputError(found.text)
    try:
        consumed = frozenset(find_consumed(paths, without(statuses, found.index), position.consumed, found.index))
    except BaseException:
        if found.raw is not None:
            found.raw.close()
        raise
    return _judge_others(paths, statuses, replace(found, consumed=consumed), found.index)


def _find_after_left(paths: Sequence[Path], statuses: Statuses, position: Position) -> Found:
    """As `find`, for a position whose file was read to its end and left. The next file is the one behind it.

    If it has vanished, that is the one behind its place among the names, but none before a file that was consumed earlier.
    """
    left = position.current
    key = natural_key(left.path)
    order = sum(natural_key(str(path)) < key for path in paths)
    claimed = find_consumed(paths, statuses, (*position.consumed, left), order, following=True)
    index = next((index for index, identity in claimed.items() if identity is left), None)
    if index is None and order < len(paths) and str(paths[order]) == left.path:
        order -= 1  # another file has taken its name: that one is next
    elif index is None:
        order -= 1
    last = max([order, *claimed]) if index is None else index
    return _judge_others(paths, statuses, Found(last, None, consumed=frozenset(claimed)), last + 1)


def _judge_others(paths: Sequence[Path], statuses: Statuses, found: Found, order: int) -> Found:
    """Add to `found` the warnings and sizes of the files whose index is below `order`."""
    before = [other for other in statuses if other < order and other not in found.consumed]
    warnings = tuple(skipped(paths[other], paths[found.index]) for other in before)
    done = {other for other in statuses if other < order} | found.consumed
    return replace(found, read_before=sum(statuses[other].st_size for other in done), warnings=warnings)


def skipped(path: Path, current: Path | str) -> str:
    """The warning about a file that will not be read."""
    return f"{path} sorts before {current} and was not consumed, as far as is known: it is not read"


def without(statuses: Statuses, index: int) -> Statuses:
    """The statuses of all files but one."""
    return {other: status for other, status in statuses.items() if other != index}


@dataclass(frozen=True, slots=True)
class Unfound:
    """No file is the position's. `text` says why. `may_come` is True if a missing or unreadable file may be the one."""

    text: str
    may_come: bool


def find_current(
    paths: Sequence[Path],
    statuses: Statuses,
    position: Position,
    *,
    order: Callable[[int], int] | None = None,
    open_file: Callable[[Path], InputFile] | None = None,
) -> Found | Unfound:
    """Open a position's file at its offset. A file that matches but was consumed before the position is passed over.

    `order` ranks the indices, lowest tried first. The default is `FileIdentity.strangeness`; where so few bytes were consumed
    that several files may begin with them, it is the order of the paths. A file of rank 0 is not compared with the consumed ones.
    """
    current = position.current
    reasons: dict[int, str] = {}
    unreadable = False
    if order is None and current.offset < IDENTITY_BYTES:
        order = (1).__add__
    orders = {
        index: order(index) if order else current.strangeness(str(paths[index]), status.st_dev, status.st_ino)
        for index, status in statuses.items()
    }
    for index in sorted(orders, key=lambda index: (orders[index], index)):
        try:
            raw = open_input(paths[index], open_file)
        except InputError as error:
            reasons[index] = f"cannot be read: {error}"
            unreadable |= isinstance(error.__cause__, OSError)
            continue
        try:
            reached = reach(raw, current)
        except OSError as error:
            reached = f"cannot be read: {error.strerror or error}"
            unreadable = True
        if isinstance(reached, str):
            reasons[index] = reached
        elif orders[index] == 0 or all(compare(paths[index], old) != "equal" for old in position.consumed):
            return Found(index, raw, *reached)
        raw.close()
    is_there = any(str(paths[index]) == current.path for index in statuses)
    return Unfound(_explain_not_found(paths, current, reasons), unreadable or not is_there)


def find_consumed(
    paths: Sequence[Path],
    free: Statuses,
    consumed: Iterable[FileIdentity],
    current: int,
    *,
    following: bool = False,
) -> dict[int, FileIdentity]:
    """Map the indices of consumed files to their identities. Each identity claims one file, so a copy of it is read as new.

    `free` are the candidates; `current` is the index of the current file. A compressed file that sorts before the current one
    is matched by its head only, unless it changed in place: comparing the rest would mean decoding all of it, and it is not
    read in either case. While `following`, names are reused, so a file on another inode that matches only a few bytes is a
    new file. Raises InputError when a consumed file has grown since it was left.
    """
    by_path = {str(paths[index]): index for index in free}
    by_inode = {(status.st_dev, status.st_ino): index for index, status in free.items()}

    def is_consumed(index: int, identity: FileIdentity, *, head_is_enough: bool) -> bool:
        return _is_consumed(paths[index], free[index], identity, head_is_enough=head_is_enough, following=following)

    claimed: dict[int, FileIdentity] = {}
    vanished = []
    for identity in consumed:
        same_inode = by_inode.get((identity.device, identity.inode))
        same_path = by_path.get(identity.path) if identity.offset or not following else None
        for index in (same_inode, same_path):
            if index is None or index in claimed:
                continue
            is_same = index == same_inode and free[index].st_size == identity.disk_bytes
            if is_consumed(index, identity, head_is_enough=is_same):
                claimed[index] = identity
                break
        else:
            if not following or identity.offset:
                vanished.append(identity)
    unclaimed = {index: status for index, status in free.items() if index not in claimed}
    heads = {index: _read_head(paths[index]) for index in unclaimed} if vanished else {}
    for identity in vanished:
        alike = (index for index, head in heads.items() if identity.matches_head(head))
        found = next((index for index in alike if is_consumed(index, identity, head_is_enough=index < current)), None)
        if found is not None:
            claimed[found] = identity
            del heads[found]
    return claimed


def _is_consumed(path: Path, status: os.stat_result, identity: FileIdentity, *, head_is_enough: bool, following: bool) -> bool:
    """Whether a file is the consumed one. Raises InputError if it is but has grown."""
    judgement = compare(path, identity, head_is_enough=head_is_enough)
    if judgement != "grown":
        return judgement == "equal"
    is_it = str(path) == identity.path
    if following:
        if not identity.offset:
            return False  # nothing of it was consumed, so it counts as a new file: it is read, or warned about
        is_it &= (status.st_dev, status.st_ino) == (identity.device, identity.inode)
    # A few equal bytes prove little: another file may begin with the same header, even on a reused inode.
    if is_it or identity.offset >= IDENTITY_BYTES:
        what = f"{path} has grown behind offset {identity.offset}, after a later file was begun: the new bytes would be lost"
        raise InputError(f"{what}; move them into a file that sorts last, or start from the beginning with --allow-fresh")
    return False


def stat_all(paths: Sequence[Path]) -> dict[int, os.stat_result]:
    """The status of each existing file, by index."""
    statuses = {}
    for index, path in enumerate(paths):
        with suppress(OSError):
            statuses[index] = path.stat()
    return statuses


def check_readable(paths: Sequence[Path]) -> None:
    """Open each file and read its first byte. Raises InputError for one that cannot be read."""
    for path in paths:
        with open_input(path) as raw:
            try:
                raw.read(1)
            except OSError as error:
                raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_head(path: Path) -> bytes:
    try:
        with open_input(path) as raw:
            return read_fully(raw, IDENTITY_BYTES)
    except (OSError, InputError):
        return b""  # the error is raised when the file is read


def compare(path: Path, identity: FileIdentity, *, head_is_enough: bool = False) -> Literal["equal", "grown", "other"]:
    """Compare a file with a consumed one: "equal", "grown" (the same with more after it), or "other" (or unreadable).

    With `head_is_enough` a compressed file is compared by its head only, which saves decoding it.
    """
    try:
        with open_input(path) as raw:
            if head_is_enough and isinstance(raw, DecodedFile):
                return "equal" if identity.matches_head(read_fully(raw, identity.length)) else "other"
            if isinstance(reach(raw, identity), str):
                return "other"
            return "grown" if raw.read(1) else "equal"
    except (OSError, InputError):
        return "other"  # the error is raised when the file is read


def is_copy(path: Path, originals: Iterable[Path]) -> bool | None:
    """Whether a file's content so far is the beginning of one of the originals, or nothing at all; None if it cannot be told yet.

    Copying and compressing take a while, and both files exist meanwhile. A new file that begins like an old one, for instance
    with the same header, counts as a copy until it differs.
    """
    try:
        with GrowingFile(path) as copy:
            if not copy.is_compressed and not os.fstat(copy.fileno()).st_size:
                # An empty file with such a name is one that a compressor has just created.
                return None if path.suffix in (".gz", ".zst") else False
            if copy.is_compressed and not copy.read(1):
                return True if _is_complete(copy) else None
    except (OSError, InputError):
        return False  # the error is raised when the file is read
    for original in originals:
        with suppress(OSError, InputError), GrowingFile(path) as copy, open_decoded(original) as other:
            if _begins_with(other, copy):
                return True
    return False


def _is_complete(file: GrowingFile) -> bool:
    """Whether a compressed file, read to its end, ends there with a whole member."""
    file.finish()
    return not file.read(1) and file.damage is None


def _begins_with(other: InputFile, copy: GrowingFile) -> bool:
    size = IDENTITY_BYTES  # small at first: most files differ there already
    while piece := copy.read(size):
        if read_fully(other, len(piece)) != piece:
            return False
        size = 1 << 20
    return True


def reach(raw: InputFile, wanted: FileIdentity) -> tuple[bytes, bytes] | str:
    """Go to an identity's offset. Returns the head and the tail that it hashes or, if this is not the file, why not.

    Raises OSError when the file cannot be read.
    """
    length = wanted.length
    try:
        head = read_fully(raw, length)
        if len(head) < length:
            return _describe_end(raw)
        if not wanted.matches_head(head):
            return "has different content: it was replaced"
        tail = raw.go_to(wanted.offset, head)
    except InputError as error:
        return f"cannot be decoded up to there: {error}"
    if len(tail) < length:
        return _describe_end(raw)
    return (head, tail) if wanted.matches_tail(tail) else "has different content: it was replaced"


def _describe_end(raw: InputFile) -> str:
    """Why a file ends before the offset that was looked for."""
    return "is shorter: it was truncated" if raw.damage is None else f"cannot be decoded up to there: {raw.damage}"


def _explain_not_found(paths: Sequence[Path], wanted: FileIdentity, reasons: dict[int, str]) -> str:
    """The error text. `reasons` come in the order in which the files were tried."""
    texts = [f"{paths[index]} {reason}" for index, reason in reasons.items()]
    shown = "; ".join(texts[:3]) + (f"; and {len(texts) - 3} more" if len(texts) > 3 else "")
    what = f"the input of the checkpoint, {wanted.path} up to offset {wanted.offset}, was not found"
    return f"{what}: {shown or 'no file exists'}. Restore it, or begin again with --allow-fresh"


def open_input(path: Path, open_file: Callable[[Path], InputFile] | None = None) -> InputFile:
    """Open a file's decoded bytes. Raises InputError, caused by the OSError, when that fails."""
    try:
        return (open_file or open_decoded)(path)
    except OSError as error:
        reason = f"{error.strerror or error} (as user {os.getuid()})"
        raise InputError(f"{path} cannot be opened: {reason}; correct that and restart") from error
