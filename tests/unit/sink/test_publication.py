"""Publishing: once and only once, wherever it was interrupted, and nothing that ever stood there is lost."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cowbook.errors import OutputError
from cowbook.plain.durable_files import PUBLIC_DIRECTORY, PUBLIC_FILE, DurableFiles
from cowbook.plain.parts import Cut, Part
from cowbook.sink.publication import Publication
from support.recording_files import Disk, RecordingFiles

ID = "A%2FB"
DAY, NEXT_DAY = "2024-08-08", "2024-08-09"


def final_of(stream: str, first: int, last: int, date: str = DAY) -> str:
    """Where a part belongs."""
    return f"{stream}/symbol={ID}/date={date}/part-{first:016d}-{last:016d}.parquet"


class Unsynced(DurableFiles):
    """Waits for no disk: hundreds of small directories are made here."""

    def create(self, path: Path, content: bytes | memoryview, mode: int) -> None:
        """Write a file that does not exist yet."""
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.write(content)

    def sync_directory(self, path: Path) -> None:
        """See that it is one."""
        assert path.is_dir()


class Output:
    """An output directory with parts that stand there and others that are staged."""

    def __init__(self, directory: Path, files: DurableFiles | None = None) -> None:
        self.root = directory
        self.staging = directory / ".staging" / ID
        self.files = files or Unsynced()

    def publication(self, files: DurableFiles | None = None) -> Publication:
        """As a worker that starts has it."""
        publication = Publication(self.root, ID, files or self.files)
        publication.scan()
        return publication

    def put(self, path: Path, content: bytes) -> None:
        """A durable file."""
        self.files.make_directories(path.parent, PUBLIC_DIRECTORY)
        self.files.create(path, content, PUBLIC_FILE)
        self.files.sync_directory(path.parent)

    def stand(self, final: str, content: bytes) -> None:
        """A part that was published before."""
        self.put(self.root / final, content)

    def stage(self, stream: str, first: int, last: int, content: bytes, date: str = DAY) -> Part:
        """A part that waits for publication."""
        part = part_of(stream, first, last, content, date)
        self.put(self.staging / part.staged, content)
        return part

    def visible(self) -> dict[str, bytes]:
        """What readers see."""
        return {str(path.relative_to(self.root)): path.read_bytes() for path in sorted(self.root.glob("[!.]*/**/*.parquet"))}

    def superseded(self) -> Counter[bytes]:
        """What was moved away."""
        paths = (self.root / ".superseded").rglob("part-*")
        return Counter(path.read_bytes() for path in paths if path.is_file())

    def staged(self) -> Counter[bytes]:
        """What waits."""
        return Counter(path.read_bytes() for path in self.staging.rglob("*.parquet"))

    def listing(self) -> dict[str, bytes | None]:
        """Everything."""
        paths = sorted(self.root.rglob("*"))
        return {str(path.relative_to(self.root)): path.read_bytes() if path.is_file() else None for path in paths}


def part_of(stream: str, first: int, last: int, content: bytes, date: str = DAY) -> Part:
    """What a manifest says of a part."""
    staged = f"2/{stream}-part-{first:016d}-{last:016d}.parquet"
    digest = hashlib.sha256(content).hexdigest()
    return Part(stream, first, last, 1, len(content), digest, staged, final_of(stream, first, last, date))


STANDING = {
    final_of("depth", 0, 9): b"before",
    final_of("depth", 10, 14): b"another end",
    final_of("trades", 10, 14): b"no trades any more",
    final_of("bbo", 10, 19): b"equal",
    final_of("drift", 10, 19): b"other content",
    final_of("gaps", 10, 19): b"of another date",
    final_of("dead_letter", 20, 20): b"withdrawn",
    final_of("depth", 60, 69): b"after",
}
WANTED = [
    (10, 19, {"depth": (b"depth 10", DAY), "bbo": (b"equal", DAY), "drift": (b"drift 10", DAY), "gaps": (b"gap", NEXT_DAY)}),
    (30, 39, {"depth": (b"depth 30", NEXT_DAY), "trades": (b"trades 30", NEXT_DAY)}),
]
WITHDRAWN = ((20, 0), (50, 0))
VISIBLE = {
    final_of("depth", 0, 9): b"before",
    final_of("depth", 60, 69): b"after",
    **{
        final_of(stream, first, last, date): content for first, last, parts in WANTED for stream, (content, date) in parts.items()
    },
}
SUPERSEDED = Counter([b"another end", b"no trades any more", b"other content", b"of another date", b"withdrawn"])


def prepare(directory: Path, files: DurableFiles | None = None) -> tuple[Output, list[Cut]]:
    """Everything that may stand in the way of two cuts, and the cuts, staged."""
    output = Output(directory, files)
    for final, content in STANDING.items():
        output.stand(final, content)
    return output, [
        Cut(first, last, tuple(output.stage(stream, first, last, *wanted) for stream, wanted in parts.items()))
        for first, last, parts in WANTED
    ]


def check_done(output: Output) -> None:
    """All is in its place, each once, and nothing was lost."""
    assert output.visible() == VISIBLE
    assert output.superseded() == SUPERSEDED
    assert not output.staged()


def test_only_equal_parts_are_left_in_place(tmp_path: Path) -> None:
    """Equal parts stay untouched, others of the same first event go, whatever their stream, date, last event or content."""
    output, cuts = prepare(tmp_path)
    equal = (tmp_path / final_of("bbo", 10, 19)).stat()
    output.publication().publish(cuts, WITHDRAWN, output.staging, "2")
    check_done(output)
    after = (tmp_path / final_of("bbo", 10, 19)).stat()
    assert (after.st_ino, after.st_mtime_ns) == (equal.st_ino, equal.st_mtime_ns)
    before = output.listing()
    output.publication().publish(cuts, WITHDRAWN, output.staging, "3")
    assert output.listing() == before


class Stopping(Unsynced):
    """Ends before or behind the n-th operation, as a killed process does, or a file system that fails."""

    def __init__(self, number: int, *, behind: bool) -> None:
        self.left = number
        self.behind = behind

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.left -= 1
        if self.left == 0 and not self.behind:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        yield
        if self.left == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def rename(self, source: Path, target: Path) -> None:
        """Rename, perhaps."""
        with self._counted():
            super().rename(source, target)

    def unlink(self, path: Path) -> None:
        """Unlink, perhaps."""
        with self._counted():
            super().unlink(path)

    def make_directory(self, path: Path, mode: int) -> bool:
        """Make it, perhaps."""
        with self._counted():
            return super().make_directory(path, mode)

    def sync_directory(self, path: Path) -> None:
        """Sync, perhaps."""
        with self._counted():
            super().sync_directory(path)


def stop_at(output: Output, cuts: list[Cut], number: int, start: int, *, behind: bool) -> bool:
    """Publish with an end at an operation; whether it came so far. Nothing is lost then."""
    stopping = Stopping(number, behind=behind)
    try:
        output.publication(stopping).publish(cuts, WITHDRAWN, output.staging, str(start))
    except OSError:
        assert stopping.left == 0
    present = Counter(output.visible().values()) + output.superseded() + output.staged()
    assert present >= Counter(STANDING.values()) - Counter([b"equal"])
    assert all(present[content] for _, _, parts in WANTED for content, _ in parts.values())
    return stopping.left <= 0


@pytest.mark.parametrize("behind", [False, True])
def test_publication_stopped_anywhere_is_finished_by_the_next(tmp_path: Path, behind: bool) -> None:
    """Begun again after any operation, by another start, it comes to the same."""
    number = 0
    stopped = True
    while stopped:
        number += 1
        output, cuts = prepare(tmp_path / str(number))
        stopped = stop_at(output, cuts, number, 2, behind=behind)
        output.publication().check(cuts, output.staging)
        output.publication().publish(cuts, WITHDRAWN, output.staging, "3")
        check_done(output)
    assert number > 30


def test_publication_stopped_repeatedly_is_finished(tmp_path: Path) -> None:
    """Every attempt is stopped somewhere, until one is not."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for number in range(40):
        output, cuts = prepare(tmp_path / str(number))
        start = 2
        while stop_at(output, cuts, rng.randrange(1, 25), start, behind=rng.random() < 0.5):
            start += 1
        check_done(output)


@pytest.mark.long
def test_publication_is_finished_after_a_power_cut_anywhere(tmp_path: Path) -> None:
    """What a power cut leaves of any prefix of the operations, all or only some of what was not synced, can be finished."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    recording = RecordingFiles(tmp_path)
    output, cuts = prepare(tmp_path / "data", recording)
    recording.sync_directory(tmp_path)
    begun = len(recording.operations)
    output.publication().publish(cuts, WITHDRAWN, output.staging, "2")
    for length in range(begun, len(recording.operations) + 1):
        for way in range(3):
            disk = Disk()
            for operation in recording.operations[:length]:
                disk.apply(operation)
            if way:
                disk.keep_some(rng.randrange(1 << 30))
            root = tmp_path / f"{length}-{way}"
            disk.write(root)
            left = Output(root / "data")
            left.publication().check(cuts, left.staging)
            left.publication().publish(cuts, WITHDRAWN, left.staging, "3")
            assert left.visible() == VISIBLE
            assert set(left.superseded()) == set(SUPERSEDED)  # a rename that is half durable leaves both names
            assert not left.staged()


def test_superseded_parts_are_durable_before_they_are_replaced(tmp_path: Path) -> None:
    """What is superseded is durable where it went, then where it came from, before anything takes its place."""
    recording = RecordingFiles(tmp_path)
    output, cuts = prepare(tmp_path, recording)
    begun = len(recording.operations)
    output.publication().publish(cuts, WITHDRAWN, output.staging, "2")
    synced: list[Path] = []
    moved: list[tuple[Path, Path]] = []
    for operation in recording.operations[begun:]:
        if operation.kind == "sync":
            synced.append(operation.path)
        elif operation.kind in ("rename", "link") and operation.target is not None:
            if operation.path.parts[0] == ".staging":
                assert len(moved) == len(SUPERSEDED)
                for source, target in moved:
                    assert target in synced[: synced.index(source)]
            else:
                synced.clear()
                moved.append((operation.path.parent, operation.target.parent))
    places = {Path(final).parent for final in VISIBLE if not final.endswith(("09.parquet", "69.parquet"))}
    assert places <= set(synced)
    begun = len(recording.operations)
    output.publication().publish(cuts, WITHDRAWN, output.staging, "3")  # whoever has moved them may not have synced
    assert {operation.path for operation in recording.operations[begun:] if operation.kind == "sync"} == places


class StoppingRecording(RecordingFiles):
    """Ends before the n-th operation, and remembers those until then."""

    left = 1 << 30

    def _look(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def rename(self, source: Path, target: Path) -> None:
        """Rename, perhaps."""
        self._look()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        """Unlink, perhaps."""
        self._look()
        super().unlink(path)

    def make_directory(self, path: Path, mode: int) -> bool:
        """Make it, perhaps."""
        self._look()
        return super().make_directory(path, mode)

    def sync_directory(self, path: Path) -> None:
        """Sync, perhaps."""
        self._look()
        super().sync_directory(path)


def test_a_finished_publication_is_durable_after_any_stop(tmp_path: Path) -> None:
    """What was begun, stopped, and then finished by another start is as durable as if it had never been stopped."""
    number = 0
    lost = []
    stopped = True
    while stopped:
        number += 1
        root = tmp_path / str(number)
        root.mkdir()
        recording = StoppingRecording(root)
        output, cuts = prepare(root / "data", recording)
        recording.sync_directory(root)
        recording.left = number
        try:
            output.publication().publish(cuts, WITHDRAWN, output.staging, "2")
            stopped = False
        except OSError:
            recording.left = 1 << 30
            again = output.publication()
            again.publish(cuts, WITHDRAWN, output.staging, "3")
            again.sync_all()
        disk = Disk()
        for operation in recording.operations:
            disk.apply(operation)
        disk.write(root / "after")
        after = Output(root / "after" / "data")
        if after.visible() != VISIBLE:
            lost.append(number)
    assert not lost


def test_a_part_moved_away_meanwhile_is_no_failure(tmp_path: Path) -> None:
    """A part that someone moves away while it is to be superseded is no failure."""
    output, cuts = prepare(tmp_path)
    publication = output.publication()
    for final in STANDING:
        if "part-0000000000000010-" in final:
            (tmp_path / final).unlink()
    publication.publish(cuts, WITHDRAWN, output.staging, "2")
    assert output.visible() == VISIBLE
    assert output.superseded() == Counter([b"withdrawn"])


def test_superseded_parts_never_replace_each_other(tmp_path: Path) -> None:
    """What was moved away is not replaced by what is moved away later under the same name."""
    output = Output(tmp_path)
    final = final_of("depth", 0, 9)
    for content in (b"first", b"second", b"third"):
        part = output.stage("depth", 0, 9, content)
        output.publication().publish([Cut(0, 9, (part,))], (), output.staging, "2")
        assert output.visible() == {final: content}
    assert output.superseded() == Counter([b"first", b"second"])


def test_a_tail_of_the_same_run_is_replaced(tmp_path: Path) -> None:
    """What this publication itself has published as provisional is replaced, too; what was forgotten stays."""
    output = Output(tmp_path)
    publication = output.publication()
    tail = Cut(0, 5, (output.stage("depth", 0, 5, b"tail"), output.stage("gaps", 0, 5, b"gap")), provisional=True)
    publication.publish([tail], (), output.staging, "2")
    assert output.visible() == {final_of("depth", 0, 5): b"tail", final_of("gaps", 0, 5): b"gap"}
    publication.publish([Cut(0, 9, (output.stage("depth", 0, 9, b"whole"),))], (), output.staging, "2")
    assert output.visible() == {final_of("depth", 0, 9): b"whole"}
    assert output.superseded() == Counter([b"tail", b"gap"])
    again = output.publication()
    again.forget_before((10, 0))
    again.publish([], ((0, 0),), output.staging, "3")
    assert output.visible() == {final_of("depth", 0, 9): b"whole"}


@pytest.mark.parametrize("how", ["removed", "cut", "changed"])
def test_a_lost_staged_part_is_an_error_that_touches_nothing(tmp_path: Path, how: str) -> None:
    """A staged part that is gone or not what was written is an error that names both places, and nothing is touched."""
    output, cuts = prepare(tmp_path)
    part = cuts[1].parts[0]
    staged = output.staging / part.staged
    if how == "removed":
        staged.unlink()
    else:
        staged.write_bytes(b"depth" if how == "cut" else b"depth 31")
    before = output.listing()
    with pytest.raises(OutputError, match=f"neither there nor staged as {staged}") as error:
        output.publication().check(cuts, output.staging)
    assert str(tmp_path / part.final) in str(error.value)
    assert "--allow-fresh" in str(error.value)
    assert output.listing() == before


def test_a_part_lost_while_publishing_deletes_nothing(tmp_path: Path) -> None:
    """A staged part that vanishes after the check is an error, and what was there before is somewhere still."""
    output, cuts = prepare(tmp_path)
    (output.staging / cuts[1].parts[1].staged).unlink()
    with pytest.raises(OutputError, match="neither there nor staged"):
        output.publication().publish(cuts, WITHDRAWN, output.staging, "2")
    present = Counter(output.visible().values()) + output.superseded() + output.staged()
    assert present >= Counter(STANDING.values())
    output.put(output.staging / cuts[1].parts[1].staged, b"trades 30")  # it was restored
    output.publication().publish(cuts, WITHDRAWN, output.staging, "3")
    check_done(output)


def test_a_published_part_is_right_whatever_is_staged(tmp_path: Path) -> None:
    """A part that is in its place already is right whatever stands in the staging."""
    output, cuts = prepare(tmp_path)
    output.publication().publish(cuts, WITHDRAWN, output.staging, "2")
    output.put(output.staging / cuts[1].parts[0].staged, b"something else")
    output.publication().check(cuts, output.staging)
    output.publication().publish(cuts, WITHDRAWN, output.staging, "3")
    check_done(output)


def test_missing_names_parts_that_are_gone_or_shorter(tmp_path: Path) -> None:
    """Parts that are not where they were, or not as long."""
    output, cuts = prepare(tmp_path)
    publication = output.publication()
    publication.publish(cuts, WITHDRAWN, output.staging, "2")
    assert publication.missing(cuts) == []
    (tmp_path / final_of("bbo", 10, 19)).unlink()
    (tmp_path / final_of("depth", 10, 19)).write_bytes(b"d")
    assert publication.missing(cuts) == [tmp_path / final_of("depth", 10, 19), tmp_path / final_of("bbo", 10, 19)]


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    """Other symbols, other names and what was staged by nobody are none of its business."""
    output, cuts = prepare(tmp_path)
    strangers = {
        final_of("depth", 10, 14).replace(ID, "C"): b"another symbol",
        final_of("depth", 10, 14).replace("part-", "copy-"): b"another name",
        final_of("notes", 10, 14): b"another stream",
    }
    for final, content in strangers.items():
        output.stand(final, content)
    assert output.publication().scan() == len(STANDING)
    output.publication().publish(cuts, WITHDRAWN, output.staging, "2")
    assert output.visible() == VISIBLE | strangers


def test_a_fresh_start_moves_everything_away(tmp_path: Path) -> None:
    """To start from the beginning everything is moved away, once and again, wherever that was interrupted."""
    number = 0
    stopped = True
    while stopped:
        number += 1
        output, _ = prepare(tmp_path / str(number))
        stopping = Stopping(number, behind=bool(number % 2))
        try:
            output.publication(stopping).supersede_all("2")
            stopped = False
        except OSError:
            assert stopping.left == 0
        assert Counter(output.visible().values()) + output.superseded() == Counter(STANDING.values())
        output.publication().supersede_all("2")
        assert not output.visible()
        assert output.superseded() == Counter(STANDING.values())
        assert output.publication().scan() == 0
    assert number > 8
    for final, content in STANDING.items():
        output.stand(final, content)
    output.publication().supersede_all("2")  # the same start again: nothing is replaced
    assert output.superseded() == Counter(STANDING.values()) + Counter(STANDING.values())
