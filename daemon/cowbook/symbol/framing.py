"""The frame of the open cut, which is the book at the cut before: gathered beside processing, kept until the cut is staged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from cowbook.book.freeze import BookSnapshot
from cowbook.book.order_book_engine import OrderBookEngine
from cowbook.plain.frame import Frame

T = TypeVar("T")


class Framing:
    """Takes a frame at each cut. Its methods run on the loop of the symbol's worker.

    An engine gives two snapshots at most. One is for checkpoints, of which one is under way at a time; the other is for frames:
    `begin` waits until the one before is given back. So a snapshot is there whenever one is due. Who asks for the live book takes
    turns with frames (`read`), and waits for them.
    """

    def __init__(self, engine: OrderBookEngine, executor: Executor, frame: Frame | None) -> None:
        """`frame` is that of the open cut, from a checkpoint."""
        self._engine = engine
        self._executor = executor
        self._gathering: asyncio.Task[Any] | None = None  # until its snapshot is given back, and no longer than the next begins
        self._reading = asyncio.Lock()  # one reader of the live book at a time, so that a cut waits for one at most
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
            self.of_open_cut = self._gathering = self._gather(BookSnapshot.get_frame)

    async def read(self, read: Callable[[BookSnapshot], T]) -> T:
        """Freeze the book as it is now, between two messages, and return what `read` makes of it in a thread of the writers."""
        async with self._reading:
            await self.snapshot_released()
            gathering = self._gathering = self._gather(read)
            return await asyncio.shield(gathering)

    def _gather(self, read: Callable[[BookSnapshot], T]) -> asyncio.Task[T]:
        """Freeze the book, and have a thread read it. The thread is asked now: what is asked of it later takes much longer."""
        snapshot = self._engine.snapshot()
        reading = asyncio.get_running_loop().run_in_executor(self._executor, read, snapshot)
        return asyncio.create_task(self._released(snapshot, reading))

    async def _released(self, snapshot: BookSnapshot, reading: asyncio.Future[T]) -> T:
        try:
            return await reading
        finally:
            snapshot.release()

    async def snapshot_released(self) -> None:
        """Wait until neither a frame nor a reader holds a snapshot. How that has ended shows where its result is asked for."""
        while (gathering := self._gathering) is not None:
            await asyncio.wait([gathering])
            if self._gathering is gathering:
                self._gathering = None


async def gathered(frame: asyncio.Future[Frame] | None) -> Frame | None:
    """The frame, once it is gathered. Whoever waits may be cancelled; the frame is not."""
    return None if frame is None else await asyncio.shield(frame)
