"""A cluster in this process: its shards are real services, each in a thread, which have storage and captures in common."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Any

from cowbook.cluster.hosted_service import HostedService
from cowbook.cluster.nodes import GoneError, Node, ShardTask

_PATIENCE_SECONDS = 60.0


class HostedCluster:
    """Nodes by name. `start` chooses the first one where none is named."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._there: dict[str, HostedService] = {}
        self._kept: dict[str, ShardTask] = {}

    def nodes(self) -> list[Node]:
        """As Cluster."""
        return [Node(name, name) for name in self._names]

    def find(self) -> dict[str, Any]:
        """As Cluster."""
        return dict(self._there)

    def assign(self, task: ShardTask) -> None:
        """As Cluster."""
        self._kept[task.shard] = task

    def assigned(self, shard: str) -> ShardTask | None:
        """As Cluster."""
        return self._kept.get(shard)

    def start(self, task: ShardTask, node: str | None, *, outlives: bool) -> Any:
        """As Cluster."""
        self.assign(task)
        self._there[task.shard] = HostedService(task, node or self._names[0], "127.0.0.1")
        return self._there[task.shard]

    def keep_spares(self, nodes: Collection[str], count: int, formats: Collection[str]) -> dict[str, int]:
        """As Cluster: the only process has everything."""
        return dict.fromkeys(nodes, count)

    async def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        """As Cluster."""
        if handle not in self._there.values():
            raise GoneError("no such process")
        return await asyncio.to_thread(getattr(handle, method), *arguments)

    def kill(self, handle: Any, shard: str) -> None:
        """As Cluster, but it must have ended."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not handle.look()["has_ended"]:
            assert time.monotonic() < deadline, "a thread cannot be killed"
            time.sleep(0.01)
        del self._there[shard]

    def close(self) -> None:
        """As Cluster: nothing runs afterwards."""
        for shard, service in list(self._there.items()):
            service.stop()
            self.kill(service, shard)
