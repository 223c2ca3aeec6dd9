"""The driver: starts a shard's service on each of several machines, looks after them, and shows them as one."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, MutableMapping
from contextlib import suppress
from typing import Any

from cowbook import __version__
from cowbook.cluster.balance import (
    ShardMove,
    Spent,
    SymbolMove,
    divide,
    measure_loads,
    plan_moves,
    spares_needed,
    spread,
    usual_count,
)
from cowbook.cluster.nodes import Answer, Cluster, GoneError, Node, ShardTask, UnreachableError
from cowbook.cluster.overview import is_ready, status_line
from cowbook.cluster.shard_control import STOP_PATIENCE_SECONDS, ShardControl
from cowbook.cluster.shard_watch import ShardWatch
from cowbook.cluster.view import ClusterView
from cowbook.config import Config
from cowbook.errors import ServiceError
from cowbook.log import get_logger, set_level
from cowbook.service import early_signals
from cowbook.service.reload import check_reload, plan_reload, reload
from cowbook.service.service import formats_of
from cowbook.symbol.summary import SymbolSummary
from cowbook.telemetry.http import HttpServer
from cowbook.telemetry.systemd import Notifier

_LOOK_SECONDS = 1.0
BALANCE_SECONDS = 300.0
"""How often load is measured and evened out."""
_PROGRESS_SECONDS = 10.0
_LEAST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


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
        balance_seconds: float = BALANCE_SECONDS,
    ) -> None:
        """`load` reads the configuration, at once and for each reload. `shards` is how many to make; None: as fits the nodes.

        With `once` all input is taken to its end; with `detach` the driver ends when all is ready, and the shards go on.
        With `balance_seconds` 0 nothing moves for its load.
        """
        self._cluster = cluster
        self._load = load
        self._config = load()
        self._count = shards
        self._once = once
        self._detach = detach
        self._log = get_logger()
        self._notifier = Notifier(environ)
        self._balance_seconds = balance_seconds
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._reload_asked = self._was_ready = False
        self._changing: asyncio.Task[None] | None = None  # a reload, or moves: one at a time
        self._balanced_at = self._reported_at = time.monotonic()
        self._spent: dict[str, Spent] = {}  # by each shard then
        self._placed: dict[str, str] = {}  # each shard's node
        self._spares: dict[str, int] = {}  # processes that are ready for a shard, by node
        self._shards: dict[str, ShardWatch] = {}
        self._nodes: dict[str, Node] = {}
        self._control = ShardControl(cluster, self._shards, self._nodes, self._notifier, outlives=detach)
        self.view = ClusterView(cluster, self._config, self._shards, self._nodes)
        """What the endpoint shows: all shards as one service."""
        self.summaries: list[SymbolSummary] = []
        """What came of the symbols, in the order of the configuration, once a run with `once` has come to its end."""

    @property
    def was_stopped(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._control.was_stopped

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
            self._control.close()
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
        elif self.was_stopped:
            os._exit(128 + number)
        else:
            self._control.was_stopped = True
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
        found = await self._control.ask(self._cluster.find)
        counts = {int(shard.partition("/")[2]) for shard in found}
        count = self._count or (counts.pop() if len(counts) == 1 else usual_count(len(self._nodes), len(self._config.symbol)))
        kept = {shard: await self._assigned(shard, handle) for shard, handle in found.items()}
        placed = {one.id: shard for shard, task in kept.items() if task is not None for one in task.config.symbol}
        parts = divide(self._config, count, {one: shard for one, shard in placed.items() if shard.endswith(f"/{count}")})
        for shard in sorted(found.keys() - parts.keys()):
            await self._control.end(found.pop(shard), shard)
        nodes = spread([shard for shard in parts if shard not in found], {}, list(self._nodes))
        for shard, config in parts.items():
            if shard in found:
                await self._adopt(config, found[shard], kept[shard])
            else:
                task = ShardTask(config, self._once)
                self._watch(ShardWatch(task, await self._control.start(task, nodes[shard]), time.monotonic()))
        self.view.is_complete = True
        self._log.info("shards", shards=len(self._shards), nodes=len(self._nodes), adopted=len(found))

    async def _assigned(self, shard: str, handle: Any) -> ShardTask | None:
        """Returns the task of a shard that is there; None if it is of another release. One that does not answer for long is."""
        asked_at = time.monotonic()
        while time.monotonic() - asked_at < STOP_PATIENCE_SECONDS:
            try:
                version = (await self._cluster.call(handle, "look"))["status"]["version"]
                return await self._control.ask(lambda: self._cluster.assigned(shard)) if version == __version__ else None
            except GoneError:
                return None
            except UnreachableError:
                self._notifier.extend(30.0)
                await asyncio.sleep(_LOOK_SECONDS / 4)
        return None

    async def _adopt(self, config: Config, handle: Any, kept: ShardTask | None) -> None:
        """Go on with a shard that another driver has started: as it is, or by a reload, or with a new process.

        A driver may have ended before a shard that it took a symbol from had given it up. Then two processes may have it for a
        moment, and its commit log decides between them.
        """
        watch = ShardWatch(kept or ShardTask(config, self._once), handle, time.monotonic())
        watch.is_adopted = True
        self._watch(watch)
        if kept is None or kept.once != self._once or plan_reload(kept.config, config, ())[1]:
            await self._control.replace(watch, ShardTask(config, self._once), None)
        elif kept.config != config:
            await self._control.give(watch, config)

    def _watch(self, watch: ShardWatch) -> None:
        self._shards[watch.shard] = watch
        self._watching[watch.shard] = asyncio.create_task(self._look_after(watch))

    # Looking after the shards.

    async def _look_after(self, watch: ShardWatch) -> None:
        """Ask a shard how it is, again and again; start it where nothing else does."""
        pause = 0.0
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
                    pause = min(max(_LEAST_PAUSE_SECONDS, 2 * pause), _LONGEST_PAUSE_SECONDS)
                    watch.handle, watch.is_adopted = await self._start_again(watch), False
                else:
                    await asyncio.sleep(_LOOK_SECONDS / 4)
                continue
            if handle is watch.handle:
                self._take(watch, answer)
                if not watch.has_followed and not watch.is_stopping:
                    with suppress(UnreachableError, GoneError):  # the next look finds that, too
                        await self._cluster.call(handle, "follow", watch.task)
            pause = 0.0
            for _ in range(10):
                await asyncio.sleep(_LOOK_SECONDS / 10)
                if not watch.is_ready:  # nor is one as soon as there is another task for it
                    break

    async def _start_again(self, watch: ShardWatch) -> Any:
        """Start a shard whose process is gone, on the node with the fewest of those with a spare. Returns its handle."""
        await self._see_nodes()
        placed = {shard: node for shard, node in self._placed.items() if shard != watch.shard}
        nodes = [node for node in self._nodes if self._spares.get(node)] or list(self._nodes)
        node = spread([watch.shard], placed, nodes)[watch.shard] if nodes else None
        if node is not None:  # others that were lost with it see that
            self._placed[watch.shard] = node
            self._spares[node] = max(0, self._spares.get(node, 0) - 1)
        return await self._control.start(watch.task, node)

    def _take(self, watch: ShardWatch, answer: Answer) -> None:
        before, seconds = watch.answer, watch.takeover_seconds
        if not watch.take(answer, self._nodes, time.monotonic()):
            return
        node = self._nodes[answer.node].name
        self._placed[watch.shard] = answer.node
        if before is None:
            self._log.info("shard is up", shard=watch.shard, node=node)
        elif before.instance != answer.instance and not watch.is_moving:
            self._log.warning("shard was taken over", shard=watch.shard, node=node)
        if watch.takeover_seconds != seconds and watch.takeover_seconds is not None:
            stages = {stage: round(seconds, 3) for stage, seconds in watch.takeover_stages.items()}
            self._log.info(
                "takeover is done", shard=watch.shard, node=node, seconds=round(watch.takeover_seconds, 3), stages=stages
            )

    async def _serve(self) -> bool:
        """Look after everything until a signal comes: False; or until nothing is left to do: True."""
        while not self.was_stopped:
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
            if ready and not self._once and not self._detach:
                await self._keep_spares()  # not before: what has work to do comes first
            self._raise_errors()
            if self._reload_asked and self._changing is None:
                self._reload_asked = False
                self._begin_change(reload(self._reload(), self._notifier))
            elif self._detach and self._was_ready:
                self._log.info(
                    "the shards go on without this driver", urls=[shard["url"] for shard in self.view.status()["shards"]]
                )
                return True
            elif self._once and await self._has_come_to_an_end():
                return True
            elif self._balance_seconds and self._changing is None and now - self._balanced_at >= self._balance_seconds:
                self._begin_change(self._balance(now))
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS if self._was_ready else _LOOK_SECONDS / 10)
        return False

    def _raise_errors(self) -> None:
        """Raise what has ended one of the tasks beside this one, and forget a change that has come to its end."""
        for task in self._watching.values():
            if task.done() and not task.cancelled():
                task.result()  # it ends by an error only
        if self._changing is not None and self._changing.done():
            self._changing.result()
            self._changing = None

    def _begin_change(self, change: Coroutine[Any, Any, None]) -> None:
        self._changing = asyncio.create_task(change)
        self._changing.add_done_callback(lambda _: self._wake.set())

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
            await self._control.ask(lambda watch=watch: self._cluster.kill(watch.handle, watch.shard))  # type: ignore[misc]
        return True

    async def _keep_spares(self) -> None:
        nodes, formats = list(self._nodes), formats_of(self._config)
        own = [shard for shard, watch in self._shards.items() if not watch.is_adopted]
        count = spares_needed({shard: self._placed.get(shard, "") for shard in own}, nodes)
        self._spares = await self._control.ask(lambda: self._cluster.keep_spares(nodes, count, formats))
        self.view.spares = {"wanted": count * len(nodes), "ready": sum(self._spares.values())}

    async def _see_nodes(self) -> None:
        nodes = await self._control.ask(self._cluster.nodes)
        self._nodes.clear()
        self._nodes.update((node.id, node) for node in nodes)

    # Moving, reloading, stopping.

    async def _balance(self, now: float) -> None:
        """Move what the load asks for that was measured since the last time, one after the other."""
        before, seconds = self._spent, now - self._balanced_at
        answers = {shard: watch.answer for shard, watch in self._shards.items() if watch.answer is not None}
        self._spent = {shard: Spent.of(answer) for shard, answer in answers.items()}
        self._balanced_at = now
        loads = measure_loads(before, self._spent, seconds)
        if len(loads) < len(self._shards):
            return  # some were started meanwhile: their load is not known
        placed = {shard: answer.node for shard, answer in answers.items()}
        for move in plan_moves(loads, placed, list(self._nodes), whole=self._once):
            now = time.monotonic()
            if (
                self.was_stopped
                or self._reload_asked
                or not all(is_ready(one, self._nodes, now) for one in self._shards.values())
            ):
                return  # what has happened meanwhile comes first, and shows in the next plan
            await (self._move_shard(move) if isinstance(move, ShardMove) else self._move_symbol(move))
            self.view.metrics.moves.inc()

    async def _move_shard(self, move: ShardMove) -> None:
        watch, node = self._shards[move.shard], self._nodes.get(move.node)
        if node is not None:
            self._log.info("moving a shard", shard=move.shard, to=node.name, symbols=len(watch.symbol_ids))
            await self._control.replace(watch, watch.task, node.id)

    async def _move_symbol(self, move: SymbolMove) -> None:
        started = time.monotonic()
        self.view.moving = move.symbol
        try:
            done = await self._control.move(self._config, move.symbol, self._shards[move.giver], self._shards[move.taker])
        finally:
            self.view.moving = None
        if done:
            seconds = round(time.monotonic() - started, 3)
            self._log.info("moved", symbol=move.symbol, source=move.giver, target=move.taker, seconds=seconds)

    async def _reload(self) -> None:
        """Read the configuration again, and go over to it: a symbol stays in its shard, and what is new falls to one by its id.

        Raises ConfigError when that is not possible, having changed nothing.
        """
        config = self._load()
        failed = [symbol["id"] for symbol in self.view.status()["symbols"] if symbol["state"] == "failed"]
        await self._control.ask(lambda: check_reload(self._config, config, failed))
        count = int(next(iter(self._shards)).partition("/")[2])
        parts = divide(config, count, {one: shard for shard, watch in self._shards.items() for one in watch.symbol_ids})
        self._config = self.view.config = config
        set_level(config.log.level)
        for shard in sorted(self._shards.keys() - parts.keys()):
            self._watching.pop(shard).cancel()
            await self._control.end(self._shards.pop(shard).handle, shard)
        changed = []
        for shard, part in parts.items():
            if shard not in self._shards:
                task = ShardTask(part, self._once)
                self._watch(ShardWatch(task, await self._control.start(task, None), time.monotonic()))
            elif self._shards[shard].task.config != part:
                await self._control.give(self._shards[shard], part)
            else:
                continue
            changed.append(shard)
        self._log.info("reloaded", changed=changed)

    async def _shut_down(self) -> int:
        """Stop every shard, all at once, with final checkpoints."""
        self._notifier.stopping()
        if self._changing is not None:
            await self._changing  # it begins nothing new
        self._log.info("stopping", shards=len(self._shards))
        failed_before = {symbol["id"] for symbol in self.view.status()["symbols"] if symbol["state"] == "failed"}
        for task in self._watching.values():
            task.cancel()
        ended = await asyncio.gather(*(self._control.end(watch.handle, watch.shard) for watch in self._shards.values()))
        failed = {symbol["id"] for symbol in self.view.status()["symbols"] if symbol["state"] == "failed"} - failed_before
        self._log.info("stopped", failed=sorted(failed))
        return int(bool(failed) or not all(ended))
