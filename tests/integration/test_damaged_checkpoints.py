"""Damage is found and never loaded; what merely cannot be read refuses; and nothing is changed before everything is checked."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint import load as reading
from cowbook.checkpoint import manifest as manifest_module
from cowbook.errors import RestartNeededError
from cowbook.plain.durable_files import DurableFiles
from cowbook.simulate.capture import write_capture
from support.harness import Run, read_parts, reconstruct

RUN = Run(engine=EngineSettings(part_events=1500, part_interval=15_000_000_000, book_levels=3), retain=3)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A capture with gaps and a bad line."""
    path = tmp_path_factory.mktemp("capture") / "capture.jsonl"
    write_capture(path, symbol="BTCUSDT", messages=150, seed=21, gaps=2)
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(len(lines) // 2, b"nonsense\n")
    return b"".join(lines)


@pytest.fixture(scope="module")
def original(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints over two thirds of the capture, and the parts so far; made where its copies will stand."""
    directory = tmp_path_factory.mktemp("original") / "copy"
    for share in (0.3, 0.45, 0.66):
        assert reconstruct(directory, {"a.jsonl": content[: int(len(content) * share)]}, RUN).summary.state == "done"
    assert epochs(directory) == [1, 2, 3]
    return directory.rename(directory.with_name("original"))


@pytest.fixture
def directory(original: Path) -> Path:
    """A copy of it, always at the same place: dead letters name their file."""
    copy = original.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(original, copy, symlinks=True)
    return copy


@pytest.fixture(scope="module")
def reference(original: Path, content: bytes) -> dict[str, bytes]:
    """The parts at the end of the whole capture, undisturbed."""
    copy = original.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    return reconstruct(copy, {"a.jsonl": content}, RUN).parts


def epochs(directory: Path) -> list[int]:
    """Committed checkpoints."""
    return sorted(int(path.name) for path in (directory / "state" / "BTCUSDT" / "checkpoints").iterdir())


def checkpoint(directory: Path, epoch: int) -> Path:
    """A checkpoint's directory."""
    return directory / "state" / "BTCUSDT" / "checkpoints" / str(epoch)


def listing(directory: Path) -> dict[str, bytes]:
    """All that is in state and output, but for the locks."""
    files = {}
    for root in (directory / "state", directory / "data"):
        for path in sorted(root.rglob("*")):
            if path.name != "LOCK" and not path.is_fifo():
                files[f"{path} {path.lstat().st_mode:o}"] = path.read_bytes() if path.is_file() else b""
    return files


def flip(path: Path, rng: random.Random) -> None:
    """One bit, anywhere."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def replace_by(make: Callable[[Path], object]) -> Callable[[Path, random.Random], None]:
    """Something else stands there."""

    def damage(path: Path, _: random.Random) -> None:
        path.unlink()
        make(path)

    return damage


DAMAGES: dict[str, Callable[[Path, random.Random], object]] = {
    "flipped": flip,
    "cut": lambda path, rng: os.truncate(path, rng.randrange(path.stat().st_size)),
    "empty": lambda path, _: os.truncate(path, 0),
    "longer": lambda path, _: path.write_bytes(path.read_bytes() + b"\0"),
    "zeros": lambda path, _: path.write_bytes(bytes(path.stat().st_size)),
    "missing": lambda path, _: path.unlink(),
    "a directory": replace_by(Path.mkdir),
    "a link": replace_by(lambda path: path.symlink_to("/etc/passwd")),
    "a pipe": replace_by(os.mkfifo),
    "of another epoch": lambda path, _: shutil.copy2(path.parent.parent / "2" / path.name, path),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_after_damage_the_checkpoint_before_is_loaded(
    directory: Path, content: bytes, reference: dict[str, bytes], damage: str
) -> None:
    """Any file, damaged in any way: the checkpoint before is loaded, and the output is right all the same."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    names = sorted(path.name for path in checkpoint(directory, 3).iterdir() if path.name != "published")
    assert {"book.parquet", "manifest.json", "open-depth.arrow"} <= set(names)
    names = ["book.parquet", "manifest.json", *rng.sample(sorted(set(names) - {"book.parquet", "manifest.json"}), 2)]
    kept = directory.with_name("kept")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(directory, kept)
    for name in names:
        if damage == "of another epoch" and not (checkpoint(directory, 2) / name).exists():
            continue
        shutil.rmtree(directory)
        shutil.copytree(kept, directory)
        DAMAGES[damage](checkpoint(directory, 3) / name, rng)
        result = reconstruct(directory, {"a.jsonl": content}, RUN)
        assert result.summary.state == "done", (name, result.summary.error)
        assert result.summary.recovered_epoch == 2, name
        assert result.parts == reference, name
        assert (directory / "state" / "BTCUSDT" / "quarantine" / "3").is_dir()
        assert max(epochs(directory)) == 4


def test_a_flipped_bit_anywhere_is_damage(directory: Path) -> None:
    """A bit flipped in each of many places of each file is damage, whatever the place."""
    owner = os.getuid()
    target = checkpoint(directory, 3)
    reading.read_checkpoint(target, "BTCUSDT", owner)
    rng = random.Random(1)
    for path in sorted(target.iterdir()):
        whole = path.read_bytes()
        for place in rng.sample(range(len(whole)), min(60, len(whole))):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
            with pytest.raises(manifest_module.DamagedError):
                reading.read_checkpoint(target, "BTCUSDT", owner)
        path.write_bytes(whole)
    reading.read_checkpoint(target, "BTCUSDT", owner)


def test_a_checkpoint_of_another_symbol_or_epoch_is_damage(directory: Path, content: bytes, reference: dict[str, bytes]) -> None:
    """A whole checkpoint of another symbol, or under another epoch, is damage, though its digests hold."""
    other = directory.with_name("other")
    shutil.rmtree(other, ignore_errors=True)
    ether = content.replace(b"BTCUSDT", b"ETHUSDT").replace(b"btcusdt", b"ethusdt")
    for share in (0.2, 0.3, 0.4):
        reconstruct(other, {"a.jsonl": ether[: int(len(ether) * share)]}, Run(name="ETHUSDT", engine=RUN.engine))
    shutil.rmtree(checkpoint(directory, 3))
    shutil.copytree(other / "state" / "ETHUSDT" / "checkpoints" / "3", checkpoint(directory, 3))
    shutil.copytree(checkpoint(directory, 1), checkpoint(directory, 7))
    result = reconstruct(directory, {"a.jsonl": content}, RUN)
    assert result.summary.recovered_epoch == 2
    assert result.parts == reference
    assert max(epochs(directory)) == 8


def test_a_start_without_a_valid_checkpoint_is_refused(directory: Path, content: bytes, reference: dict[str, bytes]) -> None:
    """Refused, and nothing is changed; with allow_fresh everything is moved aside, and made again."""
    for epoch in (1, 2, 3):
        (checkpoint(directory, epoch) / "manifest.json").write_bytes(b"{}")
    before = listing(directory)
    refused = reconstruct(directory, {"a.jsonl": content}, RUN)
    assert refused.summary.state == "failed"
    assert "has 3 checkpoints and none is valid" in str(refused.summary.error)
    assert "--allow-fresh" in str(refused.summary.error)
    assert listing(directory) == before
    fresh = reconstruct(directory, {"a.jsonl": content}, RUN, allow_fresh=True)
    assert fresh.summary.state == "done"
    assert fresh.parts == reference
    assert epochs(directory) == [4]
    assert sorted(path.name for path in (directory / "state" / "BTCUSDT" / "quarantine").iterdir()) == ["1", "2", "3"]
    assert list((directory / "data" / ".superseded" / "BTCUSDT").rglob("*.parquet"))


def cannot_be_read(code: int) -> Callable[[pytest.MonkeyPatch, Path], None]:
    """Opening the book fails with an errno."""

    def prepare(monkeypatch: pytest.MonkeyPatch, _: Path) -> None:
        really = os.open

        def fail(path: Any, *arguments: int) -> int:
            if str(path).endswith("3/book.parquet"):
                raise OSError(code, os.strerror(code))
            return really(path, *arguments)

        monkeypatch.setattr(os, "open", fail)

    return prepare


def newer(_: pytest.MonkeyPatch, directory: Path) -> None:
    """A later release has written it."""
    path = checkpoint(directory, 3) / "manifest.json"
    inner = json.loads(path.read_bytes())["manifest"] | {"version": manifest_module.FORMAT_VERSION + 1, "news": True}
    path.write_bytes(manifest_module._wrap(json.dumps(inner).encode()))


UNREADABLE: dict[str, tuple[Callable[[pytest.MonkeyPatch, Path], object], str]] = {
    "EIO": (cannot_be_read(errno.EIO), "Input/output error"),
    "EACCES": (cannot_be_read(errno.EACCES), "Permission denied"),
    "EMFILE": (cannot_be_read(errno.EMFILE), "Too many open files"),
    "file mode": (lambda _, path: (checkpoint(path, 3) / "book.parquet").chmod(0o640), "mode 0640"),
    "directory mode": (lambda _, path: checkpoint(path, 3).chmod(0o770), "mode 0770"),
    "state mode": (lambda _, path: (path / "state" / "BTCUSDT").chmod(0o755), "mode 0755"),
    "newer": (newer, f"format version {manifest_module.FORMAT_VERSION + 1}"),
}


@pytest.mark.parametrize("why", UNREADABLE)
@pytest.mark.parametrize("allow_fresh", [False, True])
def test_an_unreadable_checkpoint_is_refused_and_not_moved(
    directory: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, why: str, allow_fresh: bool
) -> None:
    """What may be whole refuses to start, even a fresh start, and nothing is changed."""
    prepare, words = UNREADABLE[why]
    prepare(monkeypatch, directory)
    before = listing(directory)
    result = reconstruct(directory, {"a.jsonl": content}, RUN, allow_fresh=allow_fresh)
    assert result.summary.state == "failed"
    assert words in str(result.summary.error)
    monkeypatch.undo()
    assert listing(directory) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_checkpoint_of_another_owner_is_refused(directory: Path, content: bytes) -> None:
    """A checkpoint that belongs to someone else is refused."""
    os.chown(checkpoint(directory, 3) / "book.parquet", 12345, -1)
    result = reconstruct(directory, {"a.jsonl": content}, RUN)
    assert "belongs to user 12345" in str(result.summary.error)


@pytest.mark.parametrize("change", ["truncated", "replaced", "missing"])
def test_other_input_is_refused_by_name(directory: Path, content: bytes, change: str) -> None:
    """Input that is not the one of the checkpoint is refused by name, and nothing is changed."""
    path = directory / "input" / "a.jsonl"
    path.unlink()
    files = {"truncated": {"a.jsonl": content[:1000]}, "replaced": {"a.jsonl": b"{}\n" * 300_000}, "missing": {"b.jsonl": b""}}
    before = listing(directory)
    result = reconstruct(directory, files[change], RUN)
    assert result.summary.state == "failed"
    assert str(path) in str(result.summary.error)
    assert listing(directory) == before


def test_other_settings_are_refused_by_name(directory: Path, content: bytes) -> None:
    """Settings that change rows are refused by name, and nothing is changed."""
    before = listing(directory)
    result = reconstruct(directory, {"a.jsonl": content}, Run(engine=RUN.engine, price_decimals=7))
    assert "price_decimals was 8 and is 7" in str(result.summary.error)
    assert listing(directory) == before


def test_a_lost_marker_and_index_are_made_again(directory: Path, content: bytes, reference: dict[str, bytes]) -> None:
    """Publication is rolled forward where nothing says that it was done; the index is made anew."""
    (checkpoint(directory, 3) / "published").unlink()
    (directory / "state" / "BTCUSDT" / "index.json").unlink()
    result = reconstruct(directory, {"a.jsonl": content}, RUN)
    assert result.parts == reference
    index = json.loads((directory / "state" / "BTCUSDT" / "index.json").read_text())
    assert [row["epoch"] for row in index["checkpoints"]] == [4, 3, 2]


def test_a_missing_unpublished_part_is_named(directory: Path, content: bytes) -> None:
    """A part that was to be published and is neither staged nor in its place is an error that names it."""
    (checkpoint(directory, 3) / "published").unlink()
    manifest = reading.read_manifest(checkpoint(directory, 3), "BTCUSDT", os.getuid())
    part = directory / "data" / manifest.cuts[-1].parts[0].final
    part.unlink()
    before = listing(directory)
    result = reconstruct(directory, {"a.jsonl": content}, RUN)
    assert result.summary.state == "failed"
    assert f"{part} was to be published, but is neither there nor staged" in str(result.summary.error)
    assert listing(directory) == before


def test_published_parts_that_were_moved_away_stay_away(directory: Path, content: bytes, reference: dict[str, bytes]) -> None:
    """Published parts are the user's: they may be moved away, and do not come back."""
    gone = read_parts(directory / "data")
    for name in gone:
        (directory / "data" / name).unlink()
    result = reconstruct(directory, {"a.jsonl": content}, RUN)
    assert result.summary.state == "done"
    assert set(result.parts) < set(reference)
    assert all(reference[name] == part for name, part in result.parts.items())


class Stopping(DurableFiles):
    """The publication of a checkpoint fails at its n-th part: it is committed, and not all of it is published."""

    def __init__(self, data: Path, parts: int) -> None:
        self.data = data
        self.parts = parts

    def rename(self, source: Path, target: Path) -> None:
        """Fail or rename."""
        if self.data in target.parents:
            if self.parts == 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self.parts -= 1
        super().rename(source, target)


@pytest.fixture(params=[0, 3])
def unpublished(directory: Path, content: bytes, request: pytest.FixtureRequest) -> Path:
    """Epoch 4, the end of the whole capture, is committed; none of its parts is published, or the first three are."""
    files = Stopping(directory / "data", request.param)
    with pytest.raises(RestartNeededError, match="cannot publish parts"):
        reconstruct(directory, {"a.jsonl": content}, RUN, durable_files=files)
    assert max(epochs(directory)) == 4
    assert not (checkpoint(directory, 4) / "published").exists()
    return directory


def staged_parts(directory: Path) -> list[Path]:
    """What waits for publication."""
    return sorted((directory / "data" / ".staging" / "BTCUSDT").rglob("*.parquet"))


def test_a_committed_checkpoint_is_published_by_the_next_start(
    unpublished: Path, content: bytes, reference: dict[str, bytes]
) -> None:
    """What was committed and not published is published by the next start, and made no second time."""
    staged = staged_parts(unpublished)
    assert staged
    inodes = {path.stat().st_ino for path in staged}
    result = reconstruct(unpublished, {"a.jsonl": content}, RUN)
    assert result.summary.recovered_epoch == 4
    assert result.summary.checkpoints == 0
    assert result.parts == reference
    assert inodes <= {(unpublished / "data" / name).stat().st_ino for name in result.parts}
    assert (checkpoint(unpublished, 4) / "published").exists()
    assert not staged_parts(unpublished)


@pytest.mark.parametrize("how", ["removed", "all removed", "cut", "flipped"])
def test_a_lost_staged_part_is_named(unpublished: Path, content: bytes, reference: dict[str, bytes], how: str) -> None:
    """A staged part that is gone or damaged is named, and nothing is changed; a fresh start makes everything again."""
    victim = staged_parts(unpublished)[-1]
    if how == "all removed":
        shutil.rmtree(unpublished / "data" / ".staging" / "BTCUSDT")
    elif how == "removed":
        victim.unlink()
    elif how == "cut":
        os.truncate(victim, victim.stat().st_size - 1)
    else:
        flip(victim, random.Random(1))
    reconstruct_fails(unpublished, content, ["was to be published, but is neither there nor staged", "--allow-fresh"])
    if how != "all removed":
        reconstruct_fails(unpublished, content, [str(victim)])
    fresh = reconstruct(unpublished, {"a.jsonl": content}, RUN, allow_fresh=True)
    assert fresh.summary.state == "done"
    assert fresh.parts == reference


def reconstruct_fails(directory: Path, content: bytes, words: list[str], run: Run = RUN) -> None:
    """A start is refused in these words, and nothing is changed."""
    before = listing(directory)
    refused = reconstruct(directory, {"a.jsonl": content}, run)
    assert refused.summary.state == "failed"
    for some in words:
        assert some in str(refused.summary.error)
    after = listing(directory)
    made = {path.rpartition(" ")[0] for path in after.keys() - before.keys()}
    assert made <= {str(directory / "data" / ".staging" / "BTCUSDT")}  # where the lock is
    assert {path: after.get(path) for path in before} == before


def test_a_damaged_unpublished_checkpoint_is_made_again(unpublished: Path, content: bytes, reference: dict[str, bytes]) -> None:
    """The epoch before is gone on from: what the damaged one has staged is made again, what it has published is equal."""
    (checkpoint(unpublished, 4) / "manifest.json").write_bytes(b"{}")
    result = reconstruct(unpublished, {"a.jsonl": content}, RUN)
    assert result.summary.recovered_epoch == 3
    assert result.parts == reference
    assert not staged_parts(unpublished)
    assert max(epochs(unpublished)) == 5


@pytest.fixture(scope="module")
def other_symbol(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints of another symbol over the same input."""
    directory = tmp_path_factory.mktemp("ether")
    ether = content.replace(b"BTCUSDT", b"ETHUSDT").replace(b"btcusdt", b"ethusdt")
    for share in (0.3, 0.45, 0.66):
        reconstruct(directory, {"a.jsonl": ether[: int(len(ether) * share)]}, Run(name="ETHUSDT", engine=RUN.engine))
    return directory / "state" / "ETHUSDT" / "checkpoints" / "3"


def test_a_single_file_of_another_symbol_is_damage(
    directory: Path, content: bytes, reference: dict[str, bytes], other_symbol: Path
) -> None:
    """Each single file of another symbol's checkpoint is damage in this one."""
    mine = checkpoint(directory, 3)
    for path in sorted(mine.iterdir()):
        stranger = other_symbol / path.name
        if path.name == "published" or not stranger.exists() or stranger.read_bytes() == path.read_bytes():
            continue
        kept = path.read_bytes()
        path.write_bytes(stranger.read_bytes())
        with pytest.raises(manifest_module.DamagedError, match=f"{path.name}|of symbol ETHUSDT"):
            reading.read_checkpoint(mine, "BTCUSDT", os.getuid())
        path.write_bytes(kept)
    shutil.copy2(other_symbol / "book.parquet", mine / "book.parquet")
    shutil.copy2(other_symbol / "manifest.json", mine / "manifest.json")
    result = reconstruct(directory, {"a.jsonl": content}, RUN)
    assert result.summary.recovered_epoch == 2
    assert result.parts == reference


@pytest.mark.parametrize("what", ["file", "link", "empty", "emptied link"])
def test_anything_else_in_place_of_a_checkpoint_is_quarantined(
    directory: Path, content: bytes, reference: dict[str, bytes], what: str, tmp_path: Path
) -> None:
    """What has a checkpoint's name and is no directory, or not one of its own, is damage and goes to quarantine as it is."""
    path = checkpoint(directory, 3)
    whole = path.rename(tmp_path / "elsewhere")
    if what == "file":
        path.write_bytes(b"x")
    elif what == "empty":
        path.mkdir(mode=0o700)
    else:
        path.symlink_to(whole if what == "link" else tmp_path / "nowhere")
    result = reconstruct(directory, {"a.jsonl": content}, RUN)
    assert result.summary.recovered_epoch == 2
    assert result.parts == reference
    assert os.path.lexists(directory / "state" / "BTCUSDT" / "quarantine" / "3")
    assert (whole / "manifest.json").is_file()


def test_a_newer_format_below_damage_is_refused(directory: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage is passed over only down to what may be whole: then it refuses, and what is damaged stays where it is."""
    shutil.copytree(checkpoint(directory, 3), checkpoint(directory, 4))  # says that it is another one
    newer(monkeypatch, directory)
    reconstruct_fails(directory, content, ["checkpoints/3", f"format version {manifest_module.FORMAT_VERSION + 1}"])


def test_after_two_damaged_ones_the_oldest_is_loaded(directory: Path, content: bytes, reference: dict[str, bytes]) -> None:
    """The oldest that is left is as good as any."""
    (checkpoint(directory, 3) / "book.parquet").unlink()
    os.truncate(checkpoint(directory, 2) / "manifest.json", 10)
    result = reconstruct(directory, {"a.jsonl": content}, RUN)
    assert result.summary.recovered_epoch == 1
    assert result.parts == reference
    assert epochs(directory) == [1, 4]


SNAPSHOT = b'{"lastUpdateId":10,"E":1000000000000,"bids":[["1.0","5"]],"asks":[["2.0","5"]]}\n'
DIFF = b'{"e":"depthUpdate","E":1000000000001,"s":"BTCUSDT","U":11,"u":11,"b":[["1.0","7"]],"a":[]}\n'


@pytest.mark.parametrize("damaged", [False, True])
def test_a_tail_that_comes_to_nothing_is_removed(tmp_path: Path, damaged: bool) -> None:
    """A tail whose only record was unfinished, and comes to nothing: its part goes, also when its checkpoint is damaged."""
    run = Run(engine=EngineSettings(part_events=3))
    whole = SNAPSHOT + DIFF
    other = DIFF.replace(b"BTCUSDT", b"ETHUSDT")
    reconstruct(tmp_path, {"a": whole}, run)
    tail = reconstruct(tmp_path, {"a": whole + other[:20]}, run)
    assert any("dead_letter" in name for name in tail.parts)
    if damaged:
        (checkpoint(tmp_path, 2) / "manifest.json").write_bytes(b"{}")
    result = reconstruct(tmp_path, {"a": whole + other}, run)
    shutil.rmtree(tmp_path / "state")
    shutil.rmtree(tmp_path / "data")
    assert result.parts == reconstruct(tmp_path, {"a": whole + other}, run).parts
