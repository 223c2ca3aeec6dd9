"""Being told of changes."""

from __future__ import annotations

import asyncio


class Watcher:
    """One for the process."""

    @classmethod
    def open(cls, loop: asyncio.AbstractEventLoop) -> Watcher | None:
        return None

    def close(self) -> None:
        pass
