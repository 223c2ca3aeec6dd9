"""A symbol's commit log: decides who may write, and which checkpoints count, when locks cannot (ADR 30).

Entries have the numbers 1, 2, 3, …. Each is created once, and never replaced. A process that takes the symbol adds a *claim*, and
each of its checkpoints a *commit*, always at the number behind the writer's own last entry, never behind "the last one there". So
a writer that was only thought to be dead finds its number taken once it writes again, and never comes back: FencedError.

Old entries are removed from the lowest number on, and the last one never is. What a late writer creates below them counts for
nothing: whoever has created an entry looks whether a higher one is there, and is fenced if so.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import UTC, datetime

import msgspec

from cowbook.checkpoint.manifest import DamagedError, FileEntry
from cowbook.checkpoint.storage import Storage
from cowbook.errors import FencedError, RecoveryError, RestartNeededError, StorageError

LOG_VERSION = 1


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the log: a claim, or with `directory` a commit."""

    version: int
    number: int
    owner: int
    """Number of the claim of the process that has written it; its own in a claim."""
    uuid: str
    """Of that claim."""
    host: str
    pid: int
    time: str  # UTC, ISO 8601
    epoch: int = 0
    directory: str = ""
    """Name under which the checkpoint was written, below `checkpoints/`."""
    files: tuple[FileEntry, ...] = ()
    """All files of the checkpoint, its manifest among them."""

    @property
    def is_commit(self) -> bool:
        """Whether it commits a checkpoint."""
        return bool(self.directory)

    @property
    def writer(self) -> str:
        """Who has written it, for people."""
        return f"process {self.pid} on {self.host}"


class _Version(msgspec.Struct, frozen=True):
    version: int


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entry: msgspec.Raw
    sha256: str


# Made once, here: msgspec looks at a type when it is decoded for the first time, and two threads that do so at once crash.
_ENTRY = msgspec.json.Decoder(Entry)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_VERSION = msgspec.json.Decoder(_Version)


def encode_entry(entry: Entry) -> bytes:
    """JSON of the entry, and the SHA-256 of exactly these bytes."""
    return _wrap(msgspec.json.encode(entry))


def _wrap(inner: bytes) -> bytes:
    return b'{"entry": ' + inner + b',\n"sha256": "' + hashlib.sha256(inner).hexdigest().encode() + b'"}\n'


def decode_entry(content: bytes, number: int) -> Entry:
    """Decode what `encode_entry` made. Raises DamagedError for anything else, and for another number's entry.

    Raises RecoveryError for an entry of a later release.
    """
    try:
        inner = bytes(_ENVELOPE.decode(content).entry)
        if _wrap(inner) != content:
            raise DamagedError(f"log/{number} does not match its own digest")
        version = _VERSION.decode(inner).version
        if version > LOG_VERSION:
            raise RecoveryError(
                f"log/{number} has version {version}, and this release reads up to {LOG_VERSION}: use that release"
            )
        entry = _ENTRY.decode(inner)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedError(f"log/{number} cannot be read: {error}") from error
    if entry.number != number:
        raise DamagedError(f"log/{number} is entry {entry.number}")
    return entry


def new_uuid() -> str:
    """A word that nobody else has, in hexadecimal digits."""
    return uuid.uuid4().hex


class FencedBehindError(FencedError):
    """As its base, but this writer's entry is there. Its successor may have read it, and rely on what it lists: that stays."""


class Tenure:
    """What a process knows of its claim of a symbol, across restarts of the worker inside it."""

    def __init__(self) -> None:
        self.uuid = new_uuid()
        self.owner = 0
        """Number of the claim; 0 before there is one."""
        self.tail = 0
        """Number of the last entry that it knows to be its own."""


class CommitLog:
    """The log in its storage, for one writer. Methods raise StorageError, and RestartNeededError if an outcome is unknown."""

    def __init__(self, storage: Storage, symbol_id: str, tenure: Tenure | None = None) -> None:
        self._storage = storage
        self._id = symbol_id
        self._tenure = tenure or Tenure()
        self._commits: dict[int, Entry] = {}  # by number
        self._seen = 0

    @property
    def owner(self) -> int:
        """Number of this process' claim."""
        return self._tenure.owner

    @property
    def commits(self) -> dict[int, Entry]:
        """The commits that the log holds, by epoch: those before this process took it, and its own."""
        return {entry.epoch: entry for _, entry in sorted(self._commits.items())}

    def read(self) -> None:
        """Look what the log holds. Raises FencedError if this process has claimed the symbol, and another one since."""
        tenure = self._tenure
        run = read_run(self._storage)
        if not run:
            tenure.owner = 0  # somebody has removed it with the state, and it begins anew
        self._seen = number = max(run, default=0)
        if tenure.owner:
            last = run[number]
            is_own = number == tenure.tail if last is None else last.uuid == tenure.uuid
            if not is_own:
                raise self._fenced(last)
            tenure.tail = number
        self._commits = {number: entry for number, entry in run.items() if entry is not None and entry.is_commit}

    @property
    def is_as_read(self) -> bool:
        """Whether nothing has come since it was read."""
        return max(_numbers(self._storage), default=0) == self._seen

    def claim(self) -> bool:
        """Claim the symbol, unless this process has. Returns whether the log was still as it was read: else read it again.

        Raises FencedError if another process has claimed it meanwhile: the last one goes on.
        """
        tenure = self._tenure
        if tenure.owner:
            return True
        while True:
            last = max(_numbers(self._storage), default=0)
            number = last + 1
            entry = self._make(number, owner=number)
            if not self._storage.create(str(number), encode_entry(entry), tenure.uuid):
                continue
            if self._is_late(number):
                self._storage.delete(str(number))
                continue
            self._see_that_none_is_above(number)
            tenure.owner = tenure.tail = number
            return last == self._seen

    def _is_late(self, number: int) -> bool:
        """Whether a claim has filled a hole: the owner before has committed beyond it and removed its older entries meanwhile."""
        looked_at = 0
        while (last := max(_numbers(self._storage), default=0)) > number and last != looked_at:
            above = read_entry(self._storage, last)
            if above is not None:
                return above.owner < number
            looked_at = last  # damaged, or removed between the two looks: then there is a later one
        return False

    def _make(self, number: int, owner: int, epoch: int = 0, directory: str = "", files: tuple[FileEntry, ...] = ()) -> Entry:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        host, pid, claim = os.uname().nodename, os.getpid(), self._tenure.uuid
        return Entry(LOG_VERSION, number, owner, claim, host, pid, now, epoch, directory, files)

    def _see_that_none_is_above(self, number: int) -> None:
        """Raises FencedError if there is an entry of a higher number: then this one counts for nothing, or not for long."""
        last = max(_numbers(self._storage), default=0)
        if last > number:
            raise self._fenced(read_entry(self._storage, last))

    def check(self) -> None:
        """See that the last entry is this writer's own. Raises FencedError if not.

        This is no lock: a writer may sleep right behind it. What it does then must be harmless when it comes late.
        """
        self._see_that_none_is_above(self._tenure.tail)
        if self._tenure.tail not in _numbers(self._storage):
            raise RestartNeededError(
                f"the commit log of {self._id} was removed while it runs: never remove state of a running symbol"
            )

    def append(self, epoch: int, directory: str, files: tuple[FileEntry, ...]) -> None:
        """Commit a checkpoint: durable from here on. Raises FencedError if somebody has claimed the symbol.

        It is a FencedBehindError if the entry was created, and may count. Raises StorageError when nothing was committed; that
        attempt has used no number.
        """
        tenure = self._tenure
        number = tenure.tail + 1
        entry = self._make(number, tenure.owner, epoch, directory, files)
        is_there = self._storage.create(str(number), encode_entry(entry), tenure.uuid)
        try:
            if not is_there:
                self._see_whose(number, entry)
                is_there = True
            self._see_that_none_is_above(number)
        except FencedError as error:
            raise FencedBehindError(str(error)) if is_there else error from None
        except (StorageError, RecoveryError) as error:  # the entry may be there
            code = error.code if isinstance(error, StorageError) else 0
            raise RestartNeededError(f"{self._id}: whether log/{number} counts cannot be told: {error}", code) from error
        tenure.tail = number
        self._commits[number] = entry

    def _see_whose(self, number: int, entry: Entry) -> None:
        """The number of a new entry is taken. Raises FencedError unless it is the entry itself: its answer had been lost."""
        there = read_entry(self._storage, number)
        if there is None:
            self._see_that_none_is_above(number - 1)
            raise RestartNeededError(f"log/{number} could not be created, and is not there")
        if there.uuid != entry.uuid:
            raise self._fenced(there)
        if there != entry:
            raise RestartNeededError(f"log/{number} was committed by an attempt that had been given up")

    def prune(self, oldest_epoch: int) -> None:
        """Remove the entries below the commit of the oldest checkpoint that is kept, from the lowest on."""
        kept = [number for number, entry in self._commits.items() if entry.epoch >= oldest_epoch]
        for number in sorted(_numbers(self._storage)):
            if not kept or number >= min(kept):
                return
            self._storage.delete(str(number))
            self._commits.pop(number, None)

    def sweep(self) -> None:
        """Remove what earlier writers have left of entries that they never created."""
        self._storage.sweep(self._tenure.tail + 1)

    def _fenced(self, other: Entry | None) -> FencedError:
        who = "another process" if other is None else f"{other.writer}, since {other.time}"
        return FencedError(
            f"{self._id} was taken over by {who}: this process writes it no more; nothing is lost, and nothing is to be done, "
            "unless two were started for it by mistake"
        )


def read_run(storage: Storage) -> dict[int, Entry | None]:
    """The entries that count, by number: all from the last one down to the first number that is not there. None: damaged.

    All from a claim on, up to the next one, are of one writer. Another writer's among them was created late, where that claim or
    a commit had been removed: it and what is below count for nothing.
    """
    numbers = _numbers(storage)
    run: dict[int, Entry | None] = {}
    number = max(numbers, default=0)
    above: Entry | None = None
    while number in numbers:
        entry = read_entry(storage, number)
        if entry is not None:
            if above is not None and number >= above.owner and entry.uuid != above.uuid:
                break
            above = entry
        run[number] = entry
        number -= 1
    return run


def read_entry(storage: Storage, number: int) -> Entry | None:
    """An entry; None if it is damaged or gone."""
    try:
        return decode_entry(storage.read(str(number)), number)
    except (DamagedError, FileNotFoundError):
        return None


def _numbers(storage: Storage) -> set[int]:
    return {int(name) for name in storage.names() if name.isascii() and name.isdigit() and str(int(name)) == name}
