"""What a driver does with shards: starts and ends their processes, and gives their symbols from one to another (ADR 35)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cowbook.cluster.balance import part_of
from cowbook.cluster.nodes import Answer, Cluster, GoneError, Node, ShardTask, UnreachableError
from cowbook.cluster.shard_watch import ShardWatch
from cowbook.config import Config
from cowbook.log import get_logger
from cowbook.telemetry.systemd import Notifier

T = TypeVar("T")

_SIGN_SECONDS = 1.0
_POLL_SECONDS = 0.05
STOP_PATIENCE_SECONDS = 30.0
"""How long a shard that is being stopped may be lost before it is given up: the next start goes on from its checkpoints."""


class ShardControl:
    """Acts on the shards of one driver. `shards` and `nodes` are the driver's, which goes on looking after them."""

    def __init__(
        self, cluster: Cluster, shards: Mapping[str, ShardWatch], nodes: Mapping[str, Node], notifier: Notifier, *, outlives: bool
    ) -> None:
        """`shards` are by name, `nodes` those alive by id. With `outlives` shards go on when the driver ends."""
        self._cluster = cluster
        self._shards = shards
        self._nodes = nodes
        self._notifier = notifier
        self._outlives = outlives
        self._log = get_logger()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="cluster")  # one: what is asked of it keeps its order
        self.was_stopped = False
        """Whether the end was asked for: nothing is waited for any more that only goes on."""

    def close(self) -> None:
        """Have nothing more done."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def ask(self, what: Callable[[], T]) -> T:
        """Have something done that blocks, and give signs of life meanwhile."""
        asked = asyncio.get_running_loop().run_in_executor(self._executor, what)
        while not (await asyncio.wait({asked}, timeout=_SIGN_SECONDS))[0]:
            self._notifier.alive()
        return await asked

    async def start(self, task: ShardTask, node: str | None) -> Any:
        """Start a shard on a node, or on any. Returns its handle."""
        return await self.ask(lambda: self._cluster.start(task, node, outlives=self._outlives))

    async def end(self, handle: Any, shard: str) -> bool:
        """Stop a shard with its last checkpoints, then end its process. Returns whether it came to its end by itself."""
        stopped: set[str] = set()
        lost_at = time.monotonic()
        ended = False
        while not ended and time.monotonic() - lost_at < STOP_PATIENCE_SECONDS:
            self._notifier.extend(30.0)
            self._notifier.alive()
            try:
                answer = Answer(**await self._cluster.call(handle, "look"))
                lost_at = time.monotonic()
                ended = answer.has_ended
                if answer.instance not in stopped:  # also one that has come up on another node meanwhile
                    await self._cluster.call(handle, "stop")
                    stopped.add(answer.instance)
                if shard in self._shards and not ended:
                    self._shards[shard].take(answer, self._nodes, time.monotonic())
            except GoneError:
                break
            except UnreachableError:
                pass
            if not ended:
                await asyncio.sleep(_POLL_SECONDS)
        if not ended:
            self._log.error("shard was lost while it stopped: the next start goes on from its last checkpoints", shard=shard)
        await self.ask(lambda: self._cluster.kill(handle, shard))
        return ended

    async def replace(self, watch: ShardWatch, task: ShardTask, node: str | None) -> None:
        """End a shard with its last checkpoints, and start it for a task, on this node or on any."""
        watch.begin_move()
        await self.end(watch.handle, watch.shard)
        watch.start_again(task, await self.start(task, node), time.monotonic())

    async def give(self, watch: ShardWatch, config: Config) -> bool:
        """Have a shard go over to another part of the configuration. Symbols that are in both do not notice.

        What was taken from it has ended with its last checkpoint when this returns. If its process is lost meanwhile, the next
        one begins with the new task, which is kept before anybody is told of it. Returns False if the end was asked for before.
        """
        task = watch.task.then(config)
        if watch.answer is not None and watch.answer.has_ended:  # by a failure: a new process may do better
            await self.replace(watch, task, None)
            return True
        while True:
            try:
                await self.ask(lambda: self._cluster.assign(task))
                break
            except UnreachableError as error:
                if self.was_stopped:
                    return False
                self._log.warning("the cluster does not keep a shard's task", shard=watch.shard, error=str(error))
                await asyncio.sleep(_SIGN_SECONDS)
        watch.task = task  # from now on, whoever looks after it tells it so
        while not watch.has_followed:
            if self.was_stopped:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    async def move(self, config: Config, symbol_id: str, giver: ShardWatch, taker: ShardWatch) -> bool:
        """Take a symbol from one shard, and give it to another one when it has ended there, with its last checkpoint.

        At no moment two shards have it among their tasks. If the driver ends in between, none has, and the next driver finds
        that. Returns when the taker has it and is ready: False if the end was asked for before.
        """
        if not await self.give(giver, part_of(config, giver.shard, {*giver.symbol_ids} - {symbol_id})):
            return False
        if not await self.give(taker, part_of(config, taker.shard, {*taker.symbol_ids, symbol_id})):
            return False
        while not taker.is_ready:
            if self.was_stopped:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True
