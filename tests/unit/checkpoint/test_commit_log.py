"""The commit log: numbers, claims, fences; interleavings of several writers against a naive model."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cowbook.checkpoint import commit_log as module
from cowbook.checkpoint.commit_log import (
    LOG_VERSION,
    CommitLog,
    Entry,
    FencedBehindError,
    Tenure,
    decode_entry,
    encode_entry,
    read_run,
)
from cowbook.checkpoint.manifest import DamagedError, FileEntry
from cowbook.checkpoint.object_store import ObjectLog
from cowbook.checkpoint.storage import DirectoryStorage, Storage
from cowbook.errors import FencedError, RecoveryError, RestartNeededError, StorageError
from cowbook.objects.bucket import Bucket
from cowbook.plain.durable_files import DurableFiles
from support.fake_s3 import FakeS3
from support.memory_storage import MemoryStorage, Recorded, Stepped
from support.search import examples

FILES = (FileEntry("manifest.json", 3, "abc"),)
_RETAIN = 2


def taken(storage: MemoryStorage, tenure: Tenure | None = None) -> CommitLog:
    """A log whose symbol a process has taken."""
    log = CommitLog(storage, "A", tenure)
    take(log)
    return log


def take(log: CommitLog) -> None:
    """Read and claim, as a start does."""
    log.read()
    if not log.claim():
        log.read()


def kinds(storage: MemoryStorage) -> list[tuple[int, int, int]]:
    """Number, owner and epoch of each entry that counts."""
    return [(entry.number, entry.owner, entry.epoch) for _, entry in sorted(read_run(storage).items()) if entry is not None]


def test_entries_are_numbered_without_holes() -> None:
    """A claim each start of a process, a commit each checkpoint, each behind the one before."""
    storage = MemoryStorage()
    first = taken(storage)
    first.append(1, ".tmp-1", FILES)
    first.append(2, ".tmp-2", FILES)
    second = taken(storage)
    second.append(3, ".tmp-3", FILES)
    assert kinds(storage) == [(1, 1, 0), (2, 1, 1), (3, 1, 2), (4, 4, 0), (5, 4, 3)]
    assert list(second.commits) == [1, 2, 3]
    assert second.commits[2].files == FILES


def test_a_restart_inside_the_process_claims_nothing() -> None:
    """It only looks whether the last entry is its own, and goes on behind it."""
    storage, tenure = MemoryStorage(), Tenure()
    taken(storage, tenure).append(1, ".tmp-1", FILES)
    again = taken(storage, tenure)
    again.append(2, ".tmp-2", FILES)
    assert kinds(storage) == [(1, 1, 0), (2, 1, 1), (3, 1, 2)]
    taken(storage)
    with pytest.raises(FencedError, match="A was taken over by process"):
        taken(storage, tenure)


def test_whoever_was_replaced_commits_nothing_more() -> None:
    """Its number is the claim of its successor: FencedError, however often it tries, and for checks, too."""
    storage = MemoryStorage()
    old = taken(storage)
    old.check()
    new = taken(storage)
    for _ in range(2):
        with pytest.raises(FencedError):
            old.check()
        with pytest.raises(FencedError):
            old.append(1, ".tmp-1", FILES)
    new.check()
    new.append(1, ".tmp-1", FILES)
    assert kinds(storage) == [(1, 1, 0), (2, 2, 0), (3, 2, 1)]


def test_a_writer_that_wakes_behind_a_pruned_log_is_fenced() -> None:
    """Its number is free again, and what it creates there counts for nothing."""
    storage = MemoryStorage()
    old = taken(storage)
    new = taken(storage)
    for epoch in range(1, 6):
        new.append(epoch, f".tmp-{epoch}", FILES)
    new.prune(4)
    assert sorted(map(int, storage.names())) == [6, 7]
    with pytest.raises(FencedError):
        old.check()
    with pytest.raises(FencedError, match="was taken over"):
        old.append(1, ".tmp-1", FILES)
    assert kinds(storage) == [(6, 2, 4), (7, 2, 5)]
    new.append(6, ".tmp-6", FILES)
    new.prune(5)
    assert sorted(map(int, storage.names())) == [7, 8]


def test_what_a_late_writer_creates_next_to_the_log_counts_for_nothing() -> None:
    """The claim of its successor is pruned, and the commit behind that is not: it tells."""
    storage = MemoryStorage()
    old = taken(storage)
    new = taken(storage)
    new.append(1, ".tmp-1", FILES)
    new.append(2, ".tmp-2", FILES)
    new.prune(1)
    with pytest.raises(FencedError):
        old.append(1, ".tmp-late", FILES)
    assert sorted(map(int, storage.names())) == [2, 3, 4]
    assert kinds(storage) == [(3, 2, 1), (4, 2, 2)]
    assert taken(storage).commits[1].directory == ".tmp-1"


class Between(MemoryStorage):
    """Something happens right before or right behind the next object is made."""

    def __init__(self, before: Callable[[], object] = lambda: None, behind: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.before, self.behind = before, behind

    def create(self, name: str, content: bytes, writer: str) -> bool:
        """As its base."""
        before, behind = self.before, self.behind
        self.before = self.behind = lambda: None
        before()
        is_made = super().create(name, content, writer)
        behind()
        return is_made


def claiming_late(storage: Between, oldest_epoch: int) -> tuple[CommitLog, CommitLog]:
    """An owner that commits and prunes right before the other process makes the entry of its claim."""
    old = taken(storage)
    old.append(1, ".tmp-1", FILES)
    late = CommitLog(storage, "A")
    late.read()

    def go_on() -> None:
        for epoch in range(2, 6):
            old.append(epoch, f".tmp-{epoch}", FILES)
        old.prune(oldest_epoch)

    storage.before = go_on
    return old, late


def test_a_claim_that_wakes_in_a_pruned_log_is_made_again() -> None:
    """Its number was that of an entry which is pruned by now: it takes the next one, and fences the owner of before."""
    storage = Between()
    old, late = claiming_late(storage, 4)
    assert not late.claim()
    late.read()
    assert kinds(storage) == [(5, 1, 4), (6, 1, 5), (7, 7, 0)]
    assert sorted(storage.objects) == ["5", "6", "7"]
    with pytest.raises(FencedError):
        old.append(6, ".tmp-6", FILES)
    late.append(6, ".tmp-6", FILES)


def test_a_late_claim_is_made_again_though_the_entry_that_tells_is_pruned_meanwhile() -> None:
    """The owner before commits and prunes between two looks: there is another entry then, and that one tells, too."""

    class Moving(Between):
        def read(self, name: str) -> bytes:
            if name == "6" and "7" not in self.objects:
                for epoch in range(6, 9):
                    old.append(epoch, f".tmp-{epoch}", FILES)
                old.prune(8)
            return super().read(name)

    storage = Moving()
    old, late = claiming_late(storage, 5)
    assert not late.claim()
    late.read()
    assert kinds(storage) == [(9, 1, 8), (10, 10, 0)]


def test_a_claim_in_a_hole_yields_to_one_behind_it() -> None:
    """The last one that claims goes on, however late the others wake."""
    storage = Between()
    old = taken(storage)
    late = CommitLog(storage, "A")
    late.read()

    def be_replaced() -> None:
        for epoch in range(1, 4):
            old.append(epoch, f".tmp-{epoch}", FILES)
        old.prune(3)
        taken(storage)

    storage.before = be_replaced
    with pytest.raises(FencedError):
        late.claim()


def test_who_is_fenced_behind_its_own_entry_is_told_that_this_may_count() -> None:
    """A claim between making an entry and looking behind it: the successor has read the entry, and goes on from what it lists."""
    storage = Between()
    old = taken(storage)
    storage.behind = lambda: taken(storage)
    with pytest.raises(FencedBehindError):
        old.append(1, ".tmp-1", FILES)
    assert kinds(storage) == [(1, 1, 0), (2, 1, 1), (3, 3, 0)]
    with pytest.raises(FencedError):
        old.check()


def test_the_log_of_years_is_short() -> None:
    """With pruning it has the retained commits, and the claims between them."""
    storage = MemoryStorage()
    epoch = 0
    for _ in range(100):
        log = taken(storage)
        for _ in range(10):
            epoch += 1
            log.append(epoch, f".tmp-{epoch}", FILES)
            log.prune(epoch - 2)
    assert len(storage.objects) == 3
    assert min(map(int, storage.names())) > 1000


class LosingStorage(MemoryStorage):
    """An answer gets lost, or the same is sent twice."""

    def create(self, name: str, content: bytes, writer: str) -> bool:
        """The second time it is refused, as it is by storage that was sent it twice."""
        super().create(name, content, writer)
        return super().create(name, content, writer)


def test_an_entry_that_was_sent_twice_is_accepted() -> None:
    """What stands at the number is the same, so the first answer was lost."""
    storage = MemoryStorage()
    log = taken(storage)
    storage.__class__ = LosingStorage
    log.append(1, ".tmp-1", FILES)
    log.append(2, ".tmp-2", FILES)
    assert kinds(storage) == [(1, 1, 0), (2, 1, 1), (3, 1, 2)]


def test_a_commit_of_an_earlier_attempt_needs_a_restart() -> None:
    """The process' own entry arrived late: what it commits counts, and only a restart takes it up."""
    storage, tenure = MemoryStorage(), Tenure()
    log = taken(storage, tenure)
    taken(storage, tenure).append(1, ".tmp-1-late", FILES)
    tenure.tail = 1
    with pytest.raises(RestartNeededError, match="log/2"):
        log.append(1, ".tmp-1", FILES)
    assert taken(storage, tenure).commits[1].directory == ".tmp-1-late"


class BlindStorage(MemoryStorage):
    """Entries are made, and cannot be looked at."""

    def names(self) -> list[str]:
        """Fail."""
        raise StorageError("cannot read", 5)


def test_a_commit_that_cannot_be_looked_at_needs_a_restart() -> None:
    """The entry is there: nothing of the checkpoint may be removed."""
    storage, tenure = MemoryStorage(), Tenure()
    log = taken(storage, tenure)
    storage.__class__ = BlindStorage
    with pytest.raises(RestartNeededError, match="whether log/2 counts cannot be told: cannot read") as error:
        log.append(1, ".tmp-1", FILES)
    assert error.value.code == 5
    storage.__class__ = MemoryStorage
    assert list(taken(storage, tenure).commits) == [1]


def test_a_removed_log_is_noticed_and_begun_anew() -> None:
    """Somebody has removed the state of a running symbol."""
    storage, tenure = MemoryStorage(), Tenure()
    log = taken(storage, tenure)
    storage.objects.clear()
    with pytest.raises(RestartNeededError, match="never remove state of a running symbol"):
        log.check()
    assert taken(storage, tenure).owner == 1


@pytest.mark.parametrize(
    "garbage", [b"", b"garbage", b'{"entry": 1, "sha256": ""}', None], ids=["empty", "text", "envelope", "bit"]
)
def test_a_damaged_entry_keeps_its_number(garbage: bytes | None) -> None:
    """What it said is lost, and the claim behind it counts all the same."""
    storage = MemoryStorage()
    old = taken(storage)
    old.append(1, ".tmp-1", FILES)
    whole = storage.objects["2"]
    storage.objects["2"] = whole.replace(b"abc", b"abd") if garbage is None else garbage
    new = taken(storage)
    assert new.owner == 3
    assert new.commits == {}
    with pytest.raises(FencedError):
        old.append(2, ".tmp-2", FILES)


def test_an_entry_of_a_later_release_is_refused() -> None:
    """It is not damaged, and what it says is not known."""
    storage = MemoryStorage()
    taken(storage)
    inner = json.loads(storage.objects["1"])["entry"] | {"version": LOG_VERSION + 1, "more": 1}
    storage.objects["1"] = module._wrap(json.dumps(inner).encode())
    with pytest.raises(RecoveryError, match=f"has version {LOG_VERSION + 1}"):
        taken(storage)


def test_any_other_byte_is_damage() -> None:
    """Every byte changed, every truncation, and another entry's content."""
    entry = Entry(LOG_VERSION, 7, 3, "u", "h", 1, "t", 2, ".tmp-2", FILES)
    content = encode_entry(entry)
    assert decode_entry(content, 7) == entry
    with pytest.raises(DamagedError, match="log/8 is entry 7"):
        decode_entry(content, 8)
    for place in range(len(content)):
        for other in (content[:place], content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]):
            with pytest.raises(DamagedError):
                decode_entry(other, 7)


class Writer:
    """One process, whose storage operations are done one by one."""

    def __init__(self, storage: Storage) -> None:
        self.storage = Stepped(storage)
        self.tenure = Tenure()
        self.log = CommitLog(self.storage, "A", self.tenure)
        self.call = ""
        self.epoch = 0
        self.is_fenced = False


class Interleaved(RuleBasedStateMachine):
    """Three writers, each operation of their storage in any order; the model is a list of who was the first at a number."""

    def __init__(self) -> None:
        super().__init__()
        self.storage: MemoryStorage | Recorded = self.make_storage()
        self.writers = [Writer(self.storage) for _ in range(3)]
        self.uuids = {writer.tenure.uuid: writer for writer in self.writers}
        self.seen = 0
        self.counted: list[tuple[int, str, bool]] = []
        """Number, writer and whether it is a commit, of each entry that was higher than all before when it was made."""
        self.committed: dict[int, str] = {}

    def make_storage(self) -> MemoryStorage | Recorded:
        """An empty storage, for one history."""
        return MemoryStorage()

    def begin(self, writer: Writer, name: str, call: Callable[[], object]) -> None:
        """Begin a call of a writer."""
        writer.call = name
        writer.storage.begin(call)
        self.settle(writer)

    @rule(who=st.integers(0, 2))
    def take(self, who: int) -> None:
        """Claim, or start again inside the process."""
        writer = self.writers[who]
        if not writer.storage.is_busy and not writer.is_fenced:  # else its process has ended
            log = writer.log = CommitLog(writer.storage, "A", writer.tenure)
            self.begin(writer, "take", lambda: take(log))

    @rule(who=st.integers(0, 2), call=st.sampled_from(["append", "append", "check", "prune"]))
    def use(self, who: int, call: str) -> None:
        """Commit, check or prune."""
        writer = self.writers[who]
        log = writer.log
        if writer.storage.is_busy or not writer.tenure.owner:
            return
        epoch = max(log.commits, default=0) + 1
        calls: dict[str, Callable[[], object]] = {
            "append": lambda: log.append(epoch, f".tmp-{epoch}", FILES),
            "check": log.check,
            "prune": lambda: log.prune(epoch - _RETAIN),
        }
        writer.epoch = epoch
        self.begin(writer, call, calls[call])

    @rule(who=st.integers(0, 2), count=st.integers(1, 6))
    def step(self, who: int, count: int) -> None:
        """Let a writer go on for some operations."""
        writer = self.writers[who]
        for _ in range(count):
            if writer.storage.is_busy:
                writer.storage.step()
                self.observe()
                self.settle(writer)

    def observe(self) -> None:
        """Note what was created."""
        for name in self.storage.created[self.seen :]:
            number = int(name)
            if number > max((other for other, _, _ in self.counted), default=0):
                entry = decode_entry(self.storage.read(name), number)
                self.counted.append((number, entry.uuid, entry.is_commit))
        self.seen = len(self.storage.created)

    def settle(self, writer: Writer) -> None:
        """Compare what a call has come to with the model."""
        if writer.storage.is_busy or not writer.call:
            return
        result, own, call = writer.storage.result, writer.tenure.uuid, writer.call
        writer.call = ""
        claims = [number for number, uuid, is_commit in self.counted if uuid == own and not is_commit]
        others = [number for number, uuid, _ in self.counted if uuid != own]
        if isinstance(result, FencedError):
            assert max(others, default=0) > max(claims, default=0), "fenced without a successor"
            writer.is_fenced = True
        elif isinstance(result, Exception):
            raise result
        elif call == "append":
            number = writer.tenure.tail
            assert not writer.is_fenced, "it came back"
            assert (number, own, True) in self.counted, "a commit that does not count"
            assert number not in self.committed
            assert not [other for other in others if claims[-1] < other < number], "it passed its successor"
            self.committed[number] = own
        elif call == "take":
            assert claims, "a claim that does not count"
            assert not writer.is_fenced

    @invariant()
    def entries_that_count_are_dense(self) -> None:
        """From the lowest that was not pruned to the last one that was ever made."""
        numbers = [number for number, _, _ in self.counted]
        assert numbers == list(range(1, len(numbers) + 1))
        run = read_run(self.storage)
        assert max(run, default=0) == len(numbers)
        for number, entry in run.items():
            assert entry is not None
            assert (number, entry.uuid, entry.is_commit) == self.counted[number - 1]

    @invariant()
    def the_newest_commits_are_there(self) -> None:
        """Nobody prunes what a recovery could need."""
        run = read_run(self.storage)
        newest = [number for number, _, is_commit in self.counted if is_commit][-1:]
        assert all(number in run for number in newest)

    @precondition(lambda self: all(not writer.storage.is_busy for writer in self.writers))
    @rule()
    def the_last_owner_is_not_fenced(self) -> None:
        """Whoever made the last entry may write."""
        if self.counted:
            writer = self.uuids[self.counted[-1][1]]
            self.begin(writer, "check", writer.log.check)
            while writer.storage.is_busy:
                writer.storage.step()
            if writer.tenure.owner and writer.tenure.tail == self.counted[-1][0]:
                assert writer.storage.result is None

    def teardown(self) -> None:
        """Let all calls end."""
        for writer in self.writers:
            while writer.storage.is_busy:
                writer.storage.step()
                self.observe()
            self.settle(writer)


TestInterleaved = Interleaved.TestCase
TestInterleaved.settings = settings(max_examples=examples(600), stateful_step_count=60, deadline=None)


class InterleavedInDirectories(Interleaved):
    """The same in a directory, as on one machine or on NFS."""

    def make_storage(self) -> Recorded:
        """A new directory."""
        self.directory = tempfile.TemporaryDirectory(prefix="cowbook-log-")
        return Recorded(DirectoryStorage(Path(self.directory.name) / "log", DurableFiles()))

    def teardown(self) -> None:
        """As of the others."""
        super().teardown()
        self.directory.cleanup()


class InterleavedInObjects(Interleaved):
    """The same by requests to object storage."""

    def make_storage(self) -> Recorded:
        """A new server."""
        pytest.importorskip("obstore")
        self.server = FakeS3().__enter__()
        with mock.patch.dict(os.environ, self.server.environment):
            return Recorded(ObjectLog(Bucket("s3://bucket/state"), "A"))

    def teardown(self) -> None:
        """As of the others."""
        super().teardown()
        self.server.__exit__()


TestInterleavedInDirectories = InterleavedInDirectories.TestCase
TestInterleavedInDirectories.settings = settings(max_examples=examples(60), stateful_step_count=60, deadline=None)
TestInterleavedInObjects = InterleavedInObjects.TestCase
TestInterleavedInObjects.settings = settings(max_examples=examples(20), stateful_step_count=60, deadline=None)
