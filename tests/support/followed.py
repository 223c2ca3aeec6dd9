"""A follower at work, for tests: consumes whole lines, and remembers the position after each block."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from cowbook.capture.follower import Follower
from cowbook.capture.inotify import Watcher
from cowbook.capture.rotation import FollowSettings
from cowbook.capture.written_order import TimeOf
from cowbook.plain.position import Position

ROTATE_WAIT = 0.05


class Tail:
    """Reads what a follower gives. Waiting with a deadline cancels the follower's calls all the time."""

    def __init__(
        self,
        patterns: tuple[str, ...],
        base: Path,
        executor: Executor,
        watcher: Watcher | None = None,
        position: Position | None = None,
        *,
        rotate_wait: float = ROTATE_WAIT,
        block_bytes: int = 4096,
        slice_seconds: float = 0.02,
        time_of: TimeOf | None = None,
    ) -> None:
        self.follower = Follower(
            [],
            executor=executor,
            block_bytes=block_bytes,
            max_line_bytes=1 << 20,
            position=position,
            follow=FollowSettings(patterns, base, rotate_wait, time_of=time_of),
            watcher=watcher,
        )
        self.consumed = b""
        self.finals: list[str] = []
        """Names of the files that ended."""
        self.damages: list[str] = []
        """What was wrong with files, in order. In `consumed` each damaged place is a line feed."""
        self.position = position
        self._slice = slice_seconds

    async def step(self) -> bool:
        """Take a block if one comes soon; whether one came."""
        try:
            async with asyncio.timeout(self._slice):
                block = await self.follower.next_block()
        except TimeoutError:
            if self.follower.has_position and self.position is not None:
                self.position = self.follower.position_at(self._offset())
            return False
        assert block is not None
        assert not self.follower.is_last
        content = block.buffer[block.start : block.end].tobytes()
        if block.damage is not None:
            self.damages.append(block.damage)
        if block.final:
            self.finals.append(Path(block.file).name)
        else:
            content = content[: content.rfind(b"\n") + 1]
        self.consumed += content
        block.start += len(content)
        self.position = self.follower.position_at(block.offset_of(block.start))
        return True

    def _offset(self) -> int:
        block = self.follower._reader.block
        return block.offset_of(block.start)

    async def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Read until the condition holds; fails when it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (
                self.consumed[-200:],
                self.finals,
                self.follower.waiting_for,
                self.follower.at_end,
                self.follower.warnings,
            )
            await self.step()

    async def expect(self, content: bytes) -> None:
        """Read until everything that was consumed is this, and nothing else comes."""
        await self.until(lambda: len(self.consumed) >= len(content) and self.follower.at_end)
        assert self.consumed == content

    async def close(self) -> Position | None:
        """Stop; the last position."""
        await self.follower.close()
        return self.position
