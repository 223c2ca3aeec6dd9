"""The driver: starts a shard's service on each of several machines, looks after them, and shows them as one."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from cowbook import __version__
from cowbook.cluster.balance import divide, measure_loads, plan_move, spread, usual_count
from cowbook.cluster.nodes import Answer, Cluster, GoneError, Node, ShardTask, UnreachableError
from cowbook.cluster.overview import is_ready, status_line
from cowbook.cluster.shard_watch import ShardWatch
from cowbook.cluster.view import ClusterView
from cowbook.config import Config
from cowbook.errors import ConfigError, ServiceError
from cowbook.log import get_logger, set_level
from cowbook.service import early_signals
from cowbook.service.reload import plan_reload
from cowbook.symbol.summary import SymbolSummary
from cowbook.telemetry.http import HttpServer
from cowbook.telemetry.systemd import Notifier

T = TypeVar("T")

_LOOK_SECONDS = 1.0
_BALANCE_SECONDS = 300.0
_PROGRESS_SECONDS = 10.0
_LEAST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_STOP_PATIENCE_SECONDS = 30.0
"""How long a shard that is being stopped may be lost before it is given up: the next start goes on from its checkpoints."""


class Driver:
    """Runs a configuration on a cluster. `run` is called once, in the main thread."""

    def __init__(
        self,
        cluster: Cluster,
        load: Callable[[], Config],
        environ: MutableMapping[str, str],
        *,
        shards: int | None = None,
        once: bool = False,
        detach: bool = False,
    ) -> None:
        """`load` reads the configuration, at once and for each reload. `shards` is how many to make; None: as fits the nodes.

        With `once` all input is taken to its end; with `detach` the driver ends when all is ready, and the shards go on.
        """
        self._cluster = cluster
        self._load = load
        self._config = load()
        self._count = shards
        self._once = once
        self._detach = detach
        self._log = get_logger()
        self._notifier = Notifier(environ)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="cluster")  # one: what is asked of it keeps its order
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._reload_asked = self._was_ready = False
        self._was_stopped = False
        self._balanced_at = self._reported_at = time.monotonic()
        self._spent: dict[str, tuple[str, float]] = {}  # instance and processor time of each shard then
        self._shards: dict[str, ShardWatch] = {}
        self._nodes: dict[str, Node] = {}
        self.view = ClusterView(cluster, self._config, self._shards, self._nodes)
        """What the endpoint shows: all shards as one service."""
        self.summaries: list[SymbolSummary] = []
        """What came of the symbols, in the order of the configuration, once a run with `once` has come to its end."""

    @property
    def was_stopped(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._was_stopped

    async def run(self) -> int:
        """Run until a signal comes, or as `once` and `detach` say. Returns 1 if a symbol has failed by then, else 0."""
        self._wake = asyncio.Event()
        loop = asyncio.get_running_loop()
        early_signals.hold_signals()  # Ray has put handlers of its own there
        early_signals.deliver_to(lambda number: self._receive(number, loop))
        http = (
            HttpServer(self.view, self._config.http.listen, self._config.http.token, self.view.discover) if self._serves else None
        )
        try:
            if http is not None:
                await http.start()
            await self._begin()
            if not await self._serve():
                return await self._shut_down()
            return int(any(summary.state == "failed" for summary in self.summaries))
        finally:
            for task in self._watching.values():
                task.cancel()
            await asyncio.gather(*self._watching.values(), return_exceptions=True)
            if http is not None:
                await http.close()
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._notifier.close()
            early_signals.deliver_to(lambda _: None)

    @property
    def _serves(self) -> bool:
        return bool(self._config.http.listen) and not self._once and not self._detach

    # Signals. What was asked for is only noted.

    def _receive(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        if number == signal.SIGHUP:
            self._reload_asked = not self._once
        elif number == signal.SIGUSR1:
            loop.call_soon_threadsafe(self._checkpoint_all)
        elif self._was_stopped:
            os._exit(128 + number)
        else:
            self._was_stopped = True
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._wake.set)

    def _checkpoint_all(self) -> None:
        self._log.info("checkpoint asked for")
        self._background = [
            asyncio.ensure_future(self._cluster.call(watch.handle, "checkpoint", None, False)) for watch in self._shards.values()
        ]

    # Starting.

    async def _begin(self) -> None:
        """Take over the shards that are there, and start the others."""
        await self._see_nodes()
        if not self._nodes:
            raise ServiceError("the cluster has no node that is alive")
        found = await self._ask(self._cluster.find)
        counts = {int(shard.partition("/")[2]) for shard in found}
        count = self._count or (counts.pop() if len(counts) == 1 else usual_count(len(self._nodes), len(self._config.symbol)))
        parts = divide(self._config, count)
        for shard in sorted(found.keys() - parts.keys()):
            await self._end(found.pop(shard), shard)
        nodes = spread([shard for shard in parts if shard not in found], {}, list(self._nodes))
        for shard, config in parts.items():
            task = ShardTask(config, self._once)
            if shard in found:
                await self._adopt(task, found[shard])
            else:
                handle = await self._ask(lambda task=task, node=nodes[shard]: self._start(task, node))  # type: ignore[misc]
                self._watch(ShardWatch(task, handle, time.monotonic()))
        self.view.is_complete = True
        self._log.info("shards", shards=len(self._shards), nodes=len(self._nodes), adopted=len(found))

    async def _adopt(self, task: ShardTask, handle: Any) -> None:
        """Go on with a shard that another driver has started, unless it was for something else or by another release."""
        watch = ShardWatch(task, handle, time.monotonic())
        self._watch(watch)
        if not await self._is_for(task, handle):
            await self._replace(watch, task, None)

    async def _is_for(self, task: ShardTask, handle: Any) -> bool:
        """Whether a shard that is there was made for a task, by this release. One that does not answer for long is not."""
        asked_at = time.monotonic()
        while time.monotonic() - asked_at < _STOP_PATIENCE_SECONDS:
            try:
                version = (await self._cluster.call(handle, "look"))["status"]["version"]
                return bool(version == __version__ and await self._cluster.call(handle, "task") == task)
            except GoneError:
                return False
            except UnreachableError:
                self._notifier.extend(30.0)
                await asyncio.sleep(_LOOK_SECONDS / 4)
        return False

    def _start(self, task: ShardTask, node: str | None) -> Any:
        return self._cluster.start(task, node, outlives=self._detach)

    def _watch(self, watch: ShardWatch) -> None:
        self._shards[watch.shard] = watch
        self._watching[watch.shard] = asyncio.create_task(self._look_after(watch))

    # Looking after the shards.

    async def _look_after(self, watch: ShardWatch) -> None:
        """Ask a shard how it is, again and again; start it where nothing else does."""
        pause = _LEAST_PAUSE_SECONDS
        while True:
            handle = watch.handle
            try:
                answer = Answer(**await self._cluster.call(handle, "look"))
            except UnreachableError:
                await asyncio.sleep(_LOOK_SECONDS / 4)
                continue
            except GoneError as error:
                if handle is watch.handle and not watch.is_stopping:
                    watch.note_gone()
                    self._log.warning(
                        "shard is gone, starting it again", shard=watch.shard, error=str(error), seconds_until_then=pause
                    )
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                    watch.handle = await self._ask(lambda: self._start(watch.task, None))
                else:
                    await asyncio.sleep(_LOOK_SECONDS / 4)
                continue
            if handle is watch.handle:
                self._take(watch, answer)
            pause = _LEAST_PAUSE_SECONDS
            await asyncio.sleep(_LOOK_SECONDS if watch.is_ready else _LOOK_SECONDS / 10)

    def _take(self, watch: ShardWatch, answer: Answer) -> None:
        before, seconds = watch.answer, watch.takeover_seconds
        if not watch.take(answer, self._nodes, time.monotonic()):
            return
        node = self._nodes[answer.node].name
        if before is None:
            self._log.info("shard is up", shard=watch.shard, node=node)
        elif before.instance != answer.instance and not watch.is_moving:
            self._log.warning("shard was taken over", shard=watch.shard, node=node)
        if watch.takeover_seconds != seconds and watch.takeover_seconds is not None:
            self._log.info("takeover is done", shard=watch.shard, node=node, seconds=round(watch.takeover_seconds, 3))

    async def _serve(self) -> bool:
        """Look after everything until a signal comes: False; or until nothing is left to do: True."""
        while not self._was_stopped:
            await self._see_nodes()
            now = time.monotonic()
            self._notifier.alive()
            self._notifier.status(status_line(list(self._shards.values()), self._nodes, now))
            ready = all(is_ready(watch, self._nodes, now) for watch in self._shards.values())
            if ready and not self._was_ready:
                self._was_ready = True
                self._notifier.ready()
                self._log.info("ready", shards=len(self._shards), symbols=len(self._config.symbol))
            elif not self._was_ready:
                self._notifier.extend(30.0)
            if self._reload_asked:
                self._reload_asked = False
                await self._reload()
            elif self._detach and self._was_ready:
                self._log.info(
                    "the shards go on without this driver", urls=[shard["url"] for shard in self.view.status()["shards"]]
                )
                return True
            elif self._once and await self._has_come_to_an_end():
                return True
            elif now - self._balanced_at >= _BALANCE_SECONDS:
                await self._balance(now)
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS if self._was_ready else _LOOK_SECONDS / 10)
        return False

    async def _has_come_to_an_end(self) -> bool:
        """Whether every shard has, whose summaries are then taken and whose processes end. Tells of the progress."""
        answers = [watch.answer for watch in self._shards.values()]
        if time.monotonic() - self._reported_at > _PROGRESS_SECONDS:
            self._reported_at = time.monotonic()
            self._log.info("progress", said=status_line(list(self._shards.values()), self._nodes, self._reported_at))
        if not all(answer is not None and answer.has_ended for answer in answers):
            return False
        found: dict[str, SymbolSummary] = {}
        for watch in self._shards.values():
            if watch.answer is not None and watch.answer.failure is not None:
                raise ServiceError(f"shard {watch.shard} could not run: {watch.answer.failure}")
            try:
                summaries = await self._cluster.call(watch.handle, "summaries")
            except (UnreachableError, GoneError):
                return False  # its node has gone at the last moment: another one finds that all is done
            if len(summaries) < len(watch.symbol_ids):
                return False  # that is a new process, which has not come to the end yet
            found |= {summary.id: summary for summary in summaries}
        self.summaries = [found[symbol.id] for symbol in self._config.symbol]
        for watch in self._shards.values():
            await self._ask(lambda watch=watch: self._cluster.kill(watch.handle, watch.shard))  # type: ignore[misc]
        return True

    async def _see_nodes(self) -> None:
        nodes = await self._ask(self._cluster.nodes)
        self._nodes.clear()
        self._nodes.update((node.id, node) for node in nodes)

    async def _ask(self, what: Callable[[], T]) -> T:
        """Have something done that blocks, and give signs of life meanwhile."""
        asked = asyncio.get_running_loop().run_in_executor(self._executor, what)
        while not (await asyncio.wait({asked}, timeout=_LOOK_SECONDS))[0]:
            self._notifier.alive()
        return await asked

    # Moving, reloading, stopping.

    async def _balance(self, now: float) -> None:
        """Move a shard if the load that was measured since the last time asks for it."""
        before, seconds = self._spent, now - self._balanced_at
        answers = {shard: watch.answer for shard, watch in self._shards.items() if watch.answer is not None}
        self._spent = {shard: (answer.instance, answer.cpu_seconds) for shard, answer in answers.items()}
        self._balanced_at = now
        loads = measure_loads(before, self._spent, seconds)
        if len(loads) < len(self._shards):
            return  # some were started meanwhile: their load is not known
        move = plan_move(loads, {shard: answer.node for shard, answer in answers.items()}, list(self._nodes))
        if move is not None:
            watch = self._shards[move.shard]
            self._log.info("moving a shard", shard=move.shard, to=self._nodes[move.node].name, cores=round(loads[move.shard], 3))
            self.view.metrics.moves.inc()
            await self._replace(watch, watch.task, move.node)

    async def _replace(self, watch: ShardWatch, task: ShardTask, node: str | None) -> None:
        """End a shard with its last checkpoints, and start it for a task, on this node or on any."""
        watch.begin_move()
        await self._end(watch.handle, watch.shard)
        handle = await self._ask(lambda: self._start(task, node))
        watch.start_again(task, handle, time.monotonic())

    async def _end(self, handle: Any, shard: str) -> bool:
        """Stop a shard with its last checkpoints, then end its process. Returns whether it came to its end by itself."""
        stopped: set[str] = set()
        lost_at = time.monotonic()
        ended = False
        while not ended and time.monotonic() - lost_at < _STOP_PATIENCE_SECONDS:
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
                    self._take(self._shards[shard], answer)
            except GoneError:
                break
            except UnreachableError:
                pass
            if not ended:
                await asyncio.sleep(_LOOK_SECONDS / 20)
        if not ended:
            self._log.error("shard was lost while it stopped: the next start goes on from its last checkpoints", shard=shard)
        await self._ask(lambda: self._cluster.kill(handle, shard))
        return ended

    async def _reload(self) -> None:
        self._notifier.reloading()
        try:
            await self._change(self._load())
        except ConfigError as error:
            self._log.error("reload refused: everything goes on as before", problems=error.problems)
        finally:
            self._notifier.ready()

    async def _change(self, config: Config) -> None:
        """Go over to another configuration: shards whose part has changed are stopped, and started for the new one.

        Raises ConfigError when that is not possible, having changed nothing.
        """
        failed = [symbol["id"] for symbol in self.view.status()["symbols"] if symbol["state"] == "failed"]
        _, problems = plan_reload(self._config, config, failed)
        if problems:
            raise ConfigError("the configuration", problems)
        count = int(next(iter(self._shards)).partition("/")[2])
        parts = divide(config, count)
        self._config = self.view.config = config
        set_level(config.log.level)
        for shard in sorted(self._shards.keys() - parts.keys()):
            self._watching.pop(shard).cancel()
            await self._end(self._shards.pop(shard).handle, shard)
        changed = []
        for shard, part in parts.items():
            task = ShardTask(part, self._once)
            if shard not in self._shards:
                self._watch(ShardWatch(task, await self._ask(lambda task=task: self._start(task, None)), time.monotonic()))  # type: ignore[misc]
            elif self._shards[shard].task != task:
                await self._replace(self._shards[shard], task, None)
            else:
                continue
            changed.append(shard)
        self._log.info("reloaded", changed=changed)

    async def _shut_down(self) -> int:
        """Stop every shard, all at once, with final checkpoints."""
        self._notifier.stopping()
        self._log.info("stopping", shards=len(self._shards))
        failed_before = {symbol["id"] for symbol in self.view.status()["symbols"] if symbol["state"] == "failed"}
        for task in self._watching.values():
            task.cancel()
        ended = await asyncio.gather(*(self._end(watch.handle, watch.shard) for watch in self._shards.values()))
        failed = {symbol["id"] for symbol in self.view.status()["symbols"] if symbol["state"] == "failed"} - failed_before
        self._log.info("stopped", failed=sorted(failed))
        return int(bool(failed) or not all(ended))
