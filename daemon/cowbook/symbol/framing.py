"""The frame of the open cut, which is the book at the cut before: gathered beside processing, kept until the cut is staged."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from cowbook.book.freeze import BookSnapshot
from cowbook.book.order_book_engine import OrderBookEngine
from cowbook.plain.frame import Frame


class Framing:
    """Takes a frame at each cut. Its methods run on the loop of the symbol's worker.

    An engine gives two snapshots at most. One is for checkpoints, of which one is under way at a time; the other is for frames:
    `begin` waits until the one before is given back. So a snapshot is there whenever one is due.
    """

    def __init__(self, engine: OrderBookEngine, executor: Executor, frame: Frame | None) -> None:
        """`frame` is that of the open cut, from a checkpoint."""
        self._engine = engine
        self._executor = executor
        self._gathering: asyncio.Task[Frame] | None = None  # until its snapshot is given back, and no longer than the next begins
        self.of_open_cut: asyncio.Future[Frame] | None = None
        """The frame of the open cut, as soon as it is gathered; None if the cut has none."""
        if "frame" in engine.settings.streams and frame is not None:
            self.of_open_cut = asyncio.get_running_loop().create_future()
            self.of_open_cut.set_result(frame)

    async def begin(self) -> None:
        """A cut was made, and nothing was applied since: freeze the book, and have it gathered. An empty one makes no frame."""
        await self.snapshot_released()
        self.of_open_cut = None
        engine = self._engine
        if "frame" in engine.settings.streams and len(engine.bids) + len(engine.asks):
            self.of_open_cut = self._gathering = asyncio.create_task(self._gather(engine.snapshot()))

    async def _gather(self, snapshot: BookSnapshot) -> Frame:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, snapshot.get_frame)
        finally:
            snapshot.release()

    async def snapshot_released(self) -> None:
        """Wait until no frame holds a snapshot. How gathering has ended shows where the frame is asked for."""
        if self._gathering is not None:
            await asyncio.wait([self._gathering])
            self._gathering = None


async def gathered(frame: asyncio.Future[Frame] | None) -> Frame | None:
    """The frame, once it is gathered. Whoever waits may be cancelled; the frame is not."""
    return None if frame is None else await asyncio.shield(frame)
