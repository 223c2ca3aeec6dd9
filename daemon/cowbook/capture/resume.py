"""Starting point: where a position's file is by now, and which files were consumed before it, by their content."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cowbook.capture.compression import DecodedFile, PlainFile, open_decoded
from cowbook.capture.growing_file import GrowingFile
from cowbook.capture.parquet_rows import ParquetRows
from cowbook.capture.paths import natural_key
from cowbook.errors import InputError
from cowbook.plain.position import IDENTITY_BYTES, FileIdentity, Position

InputFile = PlainFile | DecodedFile | ParquetRows | GrowingFile
Statuses = Mapping[int, os.stat_result]
"""By place in a list of paths, of the files that are there."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where to go on: the open file, standing at the offset, and what its list says of the other files."""

    place: int  # in the list of paths
    raw: InputFile | None  # None when the file was left and is not to be read any more
    head: bytes = b""
    tail: bytes = b""
    consumed: frozenset[int] = frozenset()  # places of other files that were consumed before it
    read_before: int = 0  # size on disk of the files that will not be read any more
    warnings: tuple[str, ...] = ()


def find(paths: Sequence[Path], position: Position) -> Found:
    """Look for a position's file, and for those that were consumed before it, wherever renaming has put them.

    Raises InputError when no file is the position's, or when one has grown since it was left.
    """
    statuses = stat_all(paths)
    if position.current.disk_bytes:
        return _find_behind(paths, statuses, position)
    found = find_current(paths, statuses, position)
    if isinstance(found, Unfound):
        raise InputError(found.text)
    try:
        consumed = frozenset(find_consumed(paths, without(statuses, found.place), position.consumed, found.place))
    except BaseException:
        if found.raw is not None:
            found.raw.close()
        raise
    return _with_others(paths, statuses, replace(found, consumed=consumed), found.place)


def _find_behind(paths: Sequence[Path], statuses: Statuses, position: Position) -> Found:
    """As `find`, of a position whose file was left: what sorts behind it is next."""
    left = position.current
    key = natural_key(left.path)
    order = sum(natural_key(str(path)) < key for path in paths)
    claimed = find_consumed(paths, statuses, (*position.consumed, left), order, following=True)
    place = next((place for place, identity in claimed.items() if identity is left), None)
    if place is None and order < len(paths) and str(paths[order]) == left.path:
        order -= 1  # another file has its name: that one is next
    elif place is None:
        order -= 1
    last = order if place is None else place
    return _with_others(paths, statuses, Found(last, None, consumed=frozenset(claimed)), last + 1)


def _with_others(paths: Sequence[Path], statuses: Statuses, found: Found, order: int) -> Found:
    before = [other for other in statuses if other < order and other not in found.consumed]
    warnings = tuple(skipped(paths[other], paths[found.place]) for other in before)
    done = {other for other in statuses if other < order} | found.consumed
    return replace(found, read_before=sum(statuses[other].st_size for other in done), warnings=warnings)


def skipped(path: Path, current: Path | str) -> str:
    """The warning of a file that will not be read."""
    return f"{path} sorts before {current} and is not known to have been consumed: it is not read"


def without(statuses: Statuses, place: int) -> Statuses:
    """All but one."""
    return {other: status for other, status in statuses.items() if other != place}


@dataclass(frozen=True, slots=True)
class Unfound:
    """No file is a position's: `text` says why; `may_come` if one that is missing or cannot be read may be it."""

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
    """Open the file of a position; a file that was consumed before it and looks alike so far is not it.

    `order` says which places are to be tried first, by default as FileIdentity.strangeness does; 0 of it spares asking whether it
    is a consumed one.
    """
    current = position.current
    reasons: dict[int, str] = {}
    unreadable = False
    orders = {
        place: order(place) if order else current.strangeness(str(paths[place]), status.st_dev, status.st_ino)
        for place, status in statuses.items()
    }
    for place in sorted(orders, key=lambda place: (orders[place], place)):
        try:
            raw = open_input(paths[place], open_file)
        except InputError as error:
            reasons[place] = f"cannot be read: {error}"
            unreadable |= isinstance(error.__cause__, OSError)
            continue
        try:
            reached = reach(raw, current)
        except OSError as error:
            reached = f"cannot be read: {error.strerror or error}"
            unreadable = True
        if isinstance(reached, str):
            reasons[place] = reached
        elif orders[place] == 0 or all(compare(paths[place], old) != "equal" for old in position.consumed):
            return Found(place, raw, *reached)
        raw.close()
    is_there = any(str(paths[place]) == current.path for place in statuses)
    return Unfound(_not_found(paths, current, reasons), unreadable or not is_there)


def find_consumed(
    paths: Sequence[Path],
    free: Statuses,
    consumed: Iterable[FileIdentity],
    current: int,
    *,
    following: bool = False,
) -> dict[int, FileIdentity]:
    """Places of the files that were consumed. Each identity stands for one file, so that a copy that lies beside it is read.

    Of a compressed file before the current one the head must do, unless it changed in its place: it is not read in either
    case, and the rest would cost decoding all of it. `free` are the files that may be consumed ones. While `following`, names are
    given again and again: few bytes say nothing of a file on another inode, and none nothing of growth. Raises InputError when
    one has grown since it was left.
    """
    by_path = {str(paths[place]): place for place in free}
    by_inode = {(status.st_dev, status.st_ino): place for place, status in free.items()}

    def is_consumed(place: int, identity: FileIdentity, *, head_is_enough: bool) -> bool:
        return _is_consumed(paths[place], free[place], identity, head_is_enough=head_is_enough, following=following)

    claimed: dict[int, FileIdentity] = {}
    vanished = []
    for identity in consumed:
        same_inode = by_inode.get((identity.device, identity.inode))
        same_path = by_path.get(identity.path) if identity.offset or not following else None
        for place in (same_inode, same_path):
            if place is None or place in claimed:
                continue
            is_same = place == same_inode and free[place].st_size == identity.disk_bytes
            if is_consumed(place, identity, head_is_enough=is_same):
                claimed[place] = identity
                break
        else:
            if not following or identity.offset:
                vanished.append(identity)
    unclaimed = {place: status for place, status in free.items() if place not in claimed}
    heads = {place: _head(paths[place]) for place in unclaimed} if vanished else {}
    for identity in vanished:
        alike = (place for place, head in heads.items() if identity.matches_head(head))
        found = next((place for place in alike if is_consumed(place, identity, head_is_enough=place < current)), None)
        if found is not None:
            claimed[found] = identity
            del heads[found]
    return claimed


def _is_consumed(path: Path, status: os.stat_result, identity: FileIdentity, *, head_is_enough: bool, following: bool) -> bool:
    """Whether a file is a consumed one. Raises InputError if it is, and has grown."""
    judgement = compare(path, identity, head_is_enough=head_is_enough)
    if judgement != "grown":
        return judgement == "equal"
    is_it = str(path) == identity.path
    if following:
        if not identity.offset:
            return False  # nothing of it was consumed: as a new file it is read, or warned about
        is_it &= (status.st_dev, status.st_ino) == (identity.device, identity.inode)
    # Few bytes say little: another file may well begin with the same header, even on a reused inode.
    if is_it or identity.offset >= IDENTITY_BYTES:
        what = f"{path} has grown behind offset {identity.offset}, after it was consumed to there and a later file begun"
        raise InputError(f"{what}; put what is new into a file that sorts last, or start from the beginning with --allow-fresh")
    return False


def stat_all(paths: Sequence[Path]) -> dict[int, os.stat_result]:
    """By place, of the files that are there."""
    statuses = {}
    for place, path in enumerate(paths):
        with suppress(OSError):
            statuses[place] = path.stat()
    return statuses


def check_readable(paths: Sequence[Path]) -> None:
    """Raises InputError for what cannot be read."""
    for path in paths:
        with open_input(path) as raw:
            try:
                raw.read(1)
            except OSError as error:
                raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def alike(paths: Sequence[Path]) -> tuple[str, ...]:
    """Warnings of files of a list whose first KiB is that of an earlier one: each is read, and a copy is read twice."""
    seen: dict[bytes, Path] = {}
    warnings = []
    for path in paths:
        head = _head(path)
        first = seen.setdefault(head, path)
        if first is not path and len(head) == IDENTITY_BYTES:
            warnings.append(f"{path} begins as {first} does: if one is a copy of the other, its records are read twice")
    return tuple(warnings)


def _head(path: Path) -> bytes:
    try:
        with open_input(path) as raw:
            return raw.read(IDENTITY_BYTES) or b""
    except (OSError, InputError):
        return b""  # when its turn comes, reading says what is wrong with it


def compare(path: Path, identity: FileIdentity, *, head_is_enough: bool = False) -> Literal["equal", "grown", "other"]:
    """Whether a file is one that was consumed: as it was, with more behind it, or another (or one that cannot be read).

    `head_is_enough` spares decoding a compressed file.
    """
    try:
        with open_input(path) as raw:
            if head_is_enough and isinstance(raw, DecodedFile):
                return "equal" if identity.matches_head(raw.read(identity.length) or b"") else "other"
            if isinstance(reach(raw, identity), str):
                return "other"
            return "grown" if raw.read(1) else "equal"
    except (OSError, InputError):
        return "other"  # when its turn comes, reading says what is wrong with it


def is_copy(path: Path, originals: Iterable[Path]) -> bool | None:
    """Whether a file holds only what one of the originals begins with, so far, or is a compressed nothing; None while it is open.

    Copying and compressing take a while, with both files there until it is done. A new file that begins like an old one, with
    the same header say, is taken for a copy until it differs.
    """
    try:
        with GrowingFile(path) as copy:
            if not copy.is_compressed and not os.fstat(copy.fileno()).st_size:
                # An empty file of such a name is one that a compressor has just begun.
                return None if path.suffix in (".gz", ".zst") else False
            if copy.is_compressed and not copy.read(1):
                return True if _is_complete(copy) else None
    except (OSError, InputError):
        return False  # when its turn comes, reading says what is wrong with it
    for original in originals:
        with suppress(OSError, InputError), GrowingFile(path) as copy, open_decoded(original) as other:
            if _begins_with(other, copy):
                return True
    return False


def _is_complete(file: GrowingFile) -> bool:
    """Whether a compressed file, read to its end, ends there with a member."""
    file.finish()
    try:
        return not file.read(1)
    except InputError:
        return False


def _begins_with(other: InputFile, copy: GrowingFile) -> bool:
    size = IDENTITY_BYTES  # others differ there already
    while piece := copy.read(size):
        wanted = other.read(len(piece)) or b""
        while len(wanted) < len(piece) and (more := other.read(len(piece) - len(wanted))):
            wanted += more
        if wanted != piece:
            return False
        size = 1 << 20
    return True


def reach(raw: InputFile, wanted: FileIdentity) -> tuple[bytes, bytes] | str:
    """Stand at the offset of an identity: the stretches that it hashes, or, if this is not the file, what speaks against it.

    Raises OSError when it cannot be read.
    """
    length = wanted.length
    try:
        head = raw.read(length) or b""
        if len(head) < length and not raw.read(1):  # it ends there; damage there is raised
            return "is shorter: it was truncated"
        if not wanted.matches_head(head):
            return "has another content: it was replaced"
        tail = raw.go_to(wanted.offset, head)
    except InputError as error:
        return f"cannot be decoded up to there: {error}"
    if len(tail) < length:
        return "is shorter: it was truncated"
    return (head, tail) if wanted.matches_tail(tail) else "has another content: it was replaced"


def _not_found(paths: Sequence[Path], wanted: FileIdentity, reasons: dict[int, str]) -> str:
    """The error text; the file of that name is the first of `reasons`."""
    texts = [f"{paths[place]} {reason}" for place, reason in reasons.items()]
    shown = "; ".join(texts[:3]) + (f"; and {len(texts) - 3} more" if len(texts) > 3 else "")
    what = f"the input of the checkpoint, {wanted.path} up to offset {wanted.offset}, is not there"
    return f"{what}: {shown or 'no file exists'}. Restore it, or begin again with --allow-fresh"


def open_input(path: Path, open_file: Callable[[Path], InputFile] | None = None) -> InputFile:
    """Open a file; raises InputError when that fails, caused by the OSError."""
    try:
        return (open_file or open_decoded)(path)
    except OSError as error:
        reason = f"{error.strerror or error} (as user {os.getuid()})"
        raise InputError(f"{path} cannot be opened: {reason}; correct that and restart") from error
