"""Frames and readers of the live book take turns: one snapshot at a time, and a cut waits for one reader at most."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cowbook import OrderBookEngine, replay
from cowbook.book.freeze import BookSnapshot
from cowbook.symbol.framing import Framing, gathered
from support.small_output import ASKS, BIDS, snapshot


@pytest.fixture
def engine(tmp_path: Path) -> OrderBookEngine:
    """An engine with a book."""
    (tmp_path / "a").write_bytes(snapshot(100, 0, BIDS, ASKS))
    (engine,) = replay(str(tmp_path / "a"), "BTCUSDT")
    return engine


class SlowReader:
    """Reads for a while, and counts."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = self.done = 0

    def __call__(self, frozen: BookSnapshot) -> int:
        """The number of bids."""
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self.lock:
            self.now -= 1
            self.done += 1
        return len(frozen.bids)


async def test_readers_and_frames_take_turns(engine: OrderBookEngine) -> None:
    """With a checkpoint's snapshot held besides, there is never a third one."""
    engine.settings = type(engine.settings)(streams=("frame",))
    checkpoints = engine.snapshot()
    reader = SlowReader()
    with ThreadPoolExecutor(2) as executor:
        framing = Framing(engine, executor, None)
        readings = [asyncio.create_task(framing.read(reader)) for _ in range(6)]
        await asyncio.sleep(0.005)
        before = reader.done
        await framing.begin()
        assert reader.done <= before + 1
        frame = await gathered(framing.of_open_cut)
        assert await asyncio.gather(*readings) == [3] * 6
        assert frame is not None
        assert len(frame) == 6
        await framing.snapshot_released()
    assert reader.most == 1
    checkpoints.release()


async def test_what_a_reader_raises_reaches_it_and_gives_the_snapshot_back(engine: OrderBookEngine) -> None:
    """The next one is served."""

    def fail(_: BookSnapshot) -> None:
        raise ValueError("broken")

    with ThreadPoolExecutor(1) as executor:
        framing = Framing(engine, executor, None)
        for _ in range(3):
            with pytest.raises(ValueError, match="broken"):
                await framing.read(fail)
        assert await framing.read(lambda frozen: len(frozen.asks)) == 3
