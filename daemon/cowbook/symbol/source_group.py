"""All sources of a symbol together, for those who only ask a follower how its input stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cowbook.capture.follower import Follower
from cowbook.merge.merger import Merger
from cowbook.plain.merge_state import MergeState
from cowbook.symbol.settings import SourceSettings
from cowbook.symbol.source_input import SourceInput


class SourceGroup:
    """The sources of a symbol, and the merger that joins their messages. Its other properties are as those of `Follower`."""

    def __init__(
        self, sources: Sequence[SourceSettings], followers: Sequence[Follower], state: MergeState | None, block_bytes: int
    ) -> None:
        """`state` is that of the checkpoint at whose positions the followers stand."""
        self.block_bytes = block_bytes
        self.merger = Merger(len(sources))
        if state is not None:
            self.merger.restore(state)
        self.other_symbols: list[str] = []
        """The first other symbols that records of any source named."""
        places = state.places if state is not None else [None] * len(sources)
        self.sources = [
            SourceInput(number, settings, follower, place, self.merger, self.other_symbols)
            for number, (settings, follower, place) in enumerate(zip(sources, followers, places, strict=True))
        ]
        self._followers = list(followers)

    def _sum(self, value: Callable[[Follower], int]) -> int:
        return sum(map(value, self._followers))

    @property
    def files_total_bytes(self) -> int:
        """As `Follower.files_total_bytes`, of all sources."""
        return self._sum(lambda follower: follower.files_total_bytes)

    @property
    def bytes_read_on_disk(self) -> int:
        """As `Follower.bytes_read_on_disk`, of all sources."""
        return self._sum(lambda follower: follower.bytes_read_on_disk)

    @property
    def unread_bytes(self) -> int:
        """As `Follower.unread_bytes`, of all sources."""
        return self._sum(lambda follower: follower.unread_bytes)

    @property
    def skipped_files(self) -> int:
        """As `Follower.skipped_files`, of all sources."""
        return self._sum(lambda follower: follower.skipped_files)

    @property
    def rotations(self) -> int:
        """As `Follower.rotations`, of all sources."""
        return self._sum(lambda follower: follower.rotations)

    @property
    def waiting_for(self) -> str | None:
        """As `Follower.waiting_for`, of the first source that waits."""
        waiting = ((source.name, source.follower.waiting_for) for source in self.sources)
        return next((f"source {name}: {text}" for name, text in waiting if text is not None), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """As `Follower.warnings`, of all sources."""
        return tuple(f"source {source.name}: {text}" for source in self.sources for text in source.follower.warnings)

    @property
    def at_end(self) -> bool:
        """As `Follower.at_end`, of all sources."""
        return all(follower.at_end for follower in self._followers)

    @property
    def has_position(self) -> bool:
        """Whether a file of any source was opened."""
        return any(follower.has_position for follower in self._followers)

    @property
    def input_bytes(self) -> int:
        """Decoded bytes that were taken from blocks since the start of the input."""
        return sum(source.input_bytes for source in self.sources)

    async def seek(self) -> None:
        """As `Follower.seek`, of all sources."""
        for follower in self._followers:
            await follower.seek()

    async def check_readable(self) -> None:
        """As `Follower.check_readable`, of all sources."""
        for follower in self._followers:
            await follower.check_readable()

    async def close(self) -> None:
        """Close all files, after waiting for what is under way."""
        for source in self.sources:
            await source.cancel_reading()
        await asyncio.gather(*(follower.close() for follower in self._followers))
