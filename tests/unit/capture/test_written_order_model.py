"""The order of files against a model: any number of rotations, compressions, copies and deletions between two looks."""

from __future__ import annotations

import asyncio
import random
import tempfile
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from cowbook.capture import follower, live_listing
from cowbook.plain.position import Position
from support.followed import Tail
from support.rotations import HEADER, HOUR_NS, NAMINGS, Naming, Writer, time_of

pytestmark = pytest.mark.long

_RUNS = 10
_LOOKS = 5
_MOST_ACTIONS = 8
_ACTIONS = ("append", "append", "append half", "rotate", "rotate", "compress", "compress", "copy", "delete")


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Followers look often, and trust a directory's time soon: it is that of this machine."""
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(follower, "SAFETY_POLL_SECONDS", 0.005)
    monkeypatch.setattr(live_listing, "_STAMP_SECONDS", 0.01)


class Reader:
    """A follower that is looked away from, stopped and killed; a kill takes it back to an older position."""

    def __init__(self, writer: Writer, folder: Path, executor: Executor, *, has_times: bool) -> None:
        self._writer, self._folder, self._executor = writer, folder, executor
        self._time_of = time_of if has_times else None
        self._kept: list[tuple[Position | None, bytes]] = [(None, b"")]  # what checkpoints would hold
        self._tail: Tail | None = None

    @property
    def safe_files(self) -> int:
        """How many files no kept position needs any more."""
        position = self._kept[0][0]
        return 0 if position is None else len(position.consumed)

    async def look(self, steps: int) -> None:
        """Read all that is there, and fail as soon as something comes that should not; then wait, perhaps in an empty file."""
        writer = self._writer
        if self._tail is None:
            position, consumed = self._kept[-1]
            self._tail = Tail(
                writer.naming.patterns,
                self._folder,
                self._executor,
                None,
                position,
                rotate_wait=0.0,
                slice_seconds=0.005,
                time_of=self._time_of,
            )
            self._tail.consumed = consumed
        tail = self._tail

        def is_read() -> bool:
            consumed = tail.consumed.replace(HEADER, b"")
            assert writer.written.startswith(consumed), (writer.written[:3000], consumed[:3000], tail.follower.warnings)
            return consumed == writer.written and tail.follower.at_end

        await tail.until(is_read, seconds=10.0)
        for _ in range(steps):
            await tail.step()
        assert tail.consumed.replace(HEADER, b"") == writer.written
        lost = [text for text in tail.follower.warnings if "in the order of" not in text]
        assert lost == [], lost
        self._kept = [*self._kept, (tail.position, tail.consumed)][-3:]

    async def stop(self, rng: random.Random) -> None:
        """Stop, or be killed: then what was done since an older position is done again."""
        if self._tail is not None:
            await self._tail.close()
            self._tail = None
        if rng.random() < 0.5:
            self._kept = self._kept[: rng.randint(1, len(self._kept))]


async def play(folder: Path, executor: Executor, naming: Naming, rng: random.Random) -> None:
    """A run of a writer and a reader."""
    has_times = rng.random() < 0.6
    skew_ns = rng.choice((0, -HOUR_NS, HOUR_NS))
    writer = Writer(folder, naming, rng, header=HEADER if rng.random() < 0.4 else b"", skew_ns=skew_ns)
    reader = Reader(writer, folder, executor, has_times=has_times)
    if len(naming.patterns) > 1:  # a glob without a match would be waited for
        writer.append(5)
        writer.rotate()
    for _ in range(_LOOKS):
        for _ in range(rng.randrange(_MOST_ACTIONS)):
            action = rng.choice(_ACTIONS)
            archives = writer.files[:-1]
            if action == "rotate":
                writer.rotate()
            elif action.startswith("append"):
                writer.append(rng.randrange(12), half=action.endswith("half"))
            elif action == "delete" and reader.safe_files:
                writer.delete(rng.choice(archives[: reader.safe_files]))
            elif archives:
                file = rng.choice(archives)
                writer.compress(file) if action == "compress" else writer.copy(file)
        if rng.random() < 0.4:  # a new live file may be empty when it is looked at
            writer.rotate()
        await reader.look(rng.choice((0, 8)))
        if rng.random() < 0.6:
            await reader.stop(rng)
    await reader.stop(rng)


@pytest.mark.parametrize("name", NAMINGS)
def test_files_are_read_in_the_order_of_their_writing(name: str, seed: int) -> None:
    """Whatever rotation does while nobody looks, every line comes once and in order, also after stops and kills."""
    with ThreadPoolExecutor(2) as executor:
        for number in range(_RUNS):
            with tempfile.TemporaryDirectory() as folder:
                print(f"seed {seed}, run {number}, {name}")
                asyncio.run(play(Path(folder), executor, NAMINGS[name], random.Random(f"{seed} {number}")))
