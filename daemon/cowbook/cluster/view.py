"""What the driver's HTTP endpoint shows: all shards as if they were one service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from cowbook.cluster.nodes import Cluster, GoneError, Node, UnreachableError
from cowbook.cluster.overview import ClusterMetrics, discover, merge_status
from cowbook.cluster.shard_watch import ShardWatch
from cowbook.config import Config
from cowbook.errors import StorageError


class ClusterView:
    """A `telemetry.http.View` of shards and nodes, which the driver goes on changing."""

    def __init__(self, cluster: Cluster, config: Config, shards: Mapping[str, ShardWatch], nodes: Mapping[str, Node]) -> None:
        """`shards` are by name, `nodes` those alive by id."""
        self._cluster = cluster
        self._shards = shards
        self._nodes = nodes
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self.config = config
        self.metrics = ClusterMetrics()
        self.is_complete = False
        """Whether all shards have been started, so that they can be ready."""
        self.moving: str | None = None
        """The symbol that is on its way from one shard to another one."""
        self.spares = {"wanted": 0, "ready": 0}
        """Processes that are to wait for a shard, on all nodes together, and those that do."""

    def render_metrics(self, *, openmetrics: bool) -> bytes:
        """The driver's metrics, as they are now."""
        self.metrics.refresh(list(self._shards.values()), self._nodes, time.monotonic())
        render: Callable[[Any], bytes] = generate_openmetrics if openmetrics else generate_latest
        return render(self.metrics.registry)

    def status(self) -> dict[str, Any]:
        """What /status says: as of one service, and a line about each shard."""
        order = {symbol.id: place for place, symbol in enumerate(self.config.symbol)}
        status = merge_status(list(self._shards.values()), self._nodes, order, self._started, time.monotonic(), self.moving)
        return status | {"ready": status["ready"] and self.is_complete, "spares": dict(self.spares)}

    def discover(self) -> list[dict[str, Any]]:
        """What /sd says: the endpoints of the shards."""
        return discover(list(self._shards.values()), self._nodes, time.monotonic())

    def ailing(self) -> list[str]:
        """None: whoever asks for the driver's health would end it for what is a shard's. That shows in /readyz and /status."""
        return []

    async def read_book(self, symbol_id: str, levels: int | None, form: str) -> bytes:
        """As Service.read_book, of whichever shard has the symbol."""
        try:
            answer = await self._cluster.call(self._shard_of(symbol_id).handle, "read_book", symbol_id, levels, form)
        except (UnreachableError, GoneError) as error:
            raise StorageError(f"the shard of {symbol_id} does not answer: {error}") from error
        body, problem = answer
        if problem is not None:
            raise StorageError(problem)
        return bytes(body)

    async def checkpoint(self, symbol_id: str | None, *, waits: bool) -> list[dict[str, Any]]:
        """As Service.checkpoint, of all shards."""
        try:
            watches = list(self._shards.values()) if symbol_id is None else [self._shard_of(symbol_id)]
        except StorageError as error:
            return [{"id": symbol_id, "epoch": None, "error": str(error)}]

        async def of(watch: ShardWatch) -> list[dict[str, Any]]:
            try:
                answers: list[dict[str, Any]] = await self._cluster.call(watch.handle, "checkpoint", symbol_id, waits)
            except (UnreachableError, GoneError) as error:
                ids = watch.symbol_ids if symbol_id is None else [symbol_id]
                text = f"shard {watch.shard} does not answer: {error}"
                return [{"id": one, "epoch": None, "error": text} for one in ids]
            return answers

        return [answer for answers in await asyncio.gather(*map(of, watches)) for answer in answers]

    def _shard_of(self, symbol_id: str) -> ShardWatch:
        """Raises KeyError for an unknown symbol, StorageError for one that no shard has now."""
        for watch in self._shards.values():
            if symbol_id in watch.symbol_ids:
                return watch
        if symbol_id == self.moving:
            raise StorageError(f"{symbol_id} is on its way to another shard: ask again in a second")
        raise KeyError(symbol_id)
