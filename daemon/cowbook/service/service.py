"""The process (ADR 8): a thread and a loop for each symbol, and a main loop for signals, HTTP, systemd and supervision."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Collection, MutableMapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from cowbook import __version__
from cowbook.capture.inotify import Watcher
from cowbook.checkpoint.load import who_could_remove
from cowbook.config import Config, SymbolConfig
from cowbook.errors import CowbookError, ServiceError
from cowbook.log import get_logger, set_level
from cowbook.objects.bucket import Bucket
from cowbook.service import early_signals
from cowbook.service.allocator import map_large_arrays, release_code
from cowbook.service.reload import ReloadPlan, check_reload, plan_reload, reload
from cowbook.service.supervision import Supervision
from cowbook.symbol.settings import checkpoint_settings, worker_settings
from cowbook.symbol.summary import SymbolSummary
from cowbook.symbol.symbol_thread import LOOPS, SymbolThread, ThreadContext
from cowbook.symbol.symbol_worker import ProgressCallback
from cowbook.symbol.warm import SEVERAL_SOURCES, missing, warm, why_not_cached
from cowbook.telemetry.http import HttpServer
from cowbook.telemetry.metrics import ServiceMetrics
from cowbook.telemetry.status import is_ready, symbol_status
from cowbook.telemetry.systemd import Notifier

_READERS = 4
_WRITERS = 2
_OBJECT_WRITERS = 16
"""With object storage, where they wait for answers most of the time."""
_ENOUGH_DESCRIPTORS = 65_536
_FEWEST_DESCRIPTORS = 32
_DESCRIPTORS_PER_SYMBOL = 10


def run_once(
    config: Config,
    *,
    allow_fresh: bool = False,
    progress: ProgressCallback | None = None,
    compiling: Callable[[int, int], None] | None = None,
) -> list[SymbolSummary]:
    """Take every symbol through its input to the end, side by side; the summaries in the order of the configuration.

    A symbol that cannot go on has state "failed" in its summary. Anything unforeseen is raised when all have ended, and
    KeyboardInterrupt when a signal has ended it before. `compiling` is told how many kernels are ready, and of how many, while
    some have to be compiled.
    """
    service = Service(lambda: config, {}, once=True, allow_fresh=allow_fresh, progress=progress, compiling=compiling)
    with asyncio.Runner(loop_factory=LOOPS[config.service.loop]) as runner:
        runner.run(service.run())
    for thread in service.threads.values():
        if thread.failure is not None:
            raise thread.failure
    if service.was_stopped:
        raise KeyboardInterrupt
    return [thread.summary for thread in service.threads.values() if thread.summary is not None]


class Service:
    """Everything between the configuration and the symbols' threads.

    `run` is called once. Only in the main thread does it take signals; elsewhere they come by `receive`.
    """

    def __init__(
        self,
        load: Callable[[], Config],
        environ: MutableMapping[str, str],
        *,
        once: bool = False,
        allow_fresh: bool = False,
        waits_for_locks: bool = False,
        progress: ProgressCallback | None = None,
        compiling: Callable[[int, int], None] | None = None,
    ) -> None:
        """`load` reads the configuration, at once and for each reload; it may raise ConfigError.

        With `waits_for_locks` a symbol waits until another process has given it up; so does an engine's successor of a process.
        With `once` nothing is followed or served, and the end of all input is the end. Raises ServiceError if this process may
        open too few files.
        """
        self._load = load
        self._config = load()
        _provide_descriptors(0)  # before the event loop, which needs some
        self._once = once
        self._log = get_logger()
        self._notifier = Notifier(environ)
        self._metrics = ServiceMetrics()
        self._http: HttpServer | None = None
        self._allow_fresh = allow_fresh
        self._waits_for_locks = waits_for_locks
        self._progress = progress
        self._compiling = compiling
        self._resources = ExitStack()
        self._supervising: asyncio.Task[None] | None = None
        self._warm_formats: set[str] = set()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._reload_asked = self._checkpoint_asked = False
        self._to_follow: tuple[Config, Callable[[], None]] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._supervision = Supervision(self._notifier, self._metrics, self._log)
        self.threads: dict[str, SymbolThread] = {}
        """By id, in the order of the configuration."""
        self.was_stopped = False
        """Whether a signal has asked for the end."""
        self.http_port: int | None = None
        """The port on which the endpoint listens; None while there is none."""
        self.warm_at: float | None = None
        """When all kernels were there, by the monotonic clock; None before."""

    async def run(self) -> int:
        """Run until a signal comes, or with `once` until all input is consumed: 0, or 1 when a symbol failed at the end."""
        map_large_arrays()
        loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._loop = loop
        previous = self._take_signals()
        try:
            await self._start(loop)
            await self._serve()
            return await self._shut_down()
        finally:
            await self._release(previous)

    async def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Kernels first, so that no symbol waits for them; then what listens; then the symbols."""
        count = _WRITERS if self._config.objects is None else _OBJECT_WRITERS
        writers = self._resources.enter_context(ThreadPoolExecutor(count, thread_name_prefix="write"))
        await self._warm(loop, writers, formats_of(self._config))
        self.warm_at = time.monotonic()
        # What is there now stays: a later collection need not look at it, and is short.
        gc.collect()
        gc.freeze()
        release_code()
        scarce = _provide_descriptors(len(self._config.symbol))
        if scarce is not None:
            self._log.warning("few descriptors", reason=scarce)
        readers = self._resources.enter_context(ThreadPoolExecutor(_READERS, thread_name_prefix="read"))
        watcher = None if self._once else Watcher.open(loop, readers)
        if watcher is not None:
            self._resources.callback(watcher.close)
        self._context = ThreadContext(
            self._config.service.loop,
            readers=readers,
            writers=writers,
            watcher=watcher,
            progress=self._progress,
            allow_fresh=self._allow_fresh,
            retries_errors=not self._once,
            waits_for_locks=self._waits_for_locks,
            on_restart=lambda symbol, reason: self._metrics.symbol(symbol).restarts[reason].inc(),
            on_end=lambda: _call_if_open(loop, self._wake.set),
        )
        if self._config.objects is not None:
            for url in self._config.objects:
                await loop.run_in_executor(writers, Bucket(url).probe)
        exposed = who_could_remove(self._config.service.state_dir)
        if exposed is not None:
            self._log.warning("state is open to others", reason=exposed)
        http = self._config.http
        if http.listen and not self._once:
            self._http = HttpServer(self, http.listen, http.token)
            await self._http.start()
            self.http_port = self._http.port
        self._metrics.set_interval(self._config.checkpoint.every / 1e9)
        if self.was_stopped:
            return
        for symbol in self._config.symbol:
            self._add(symbol)
        self._supervising = asyncio.create_task(self._supervision.run(lambda: list(self.threads.values())))
        self._supervising.add_done_callback(lambda _: self._wake.set())

    async def _warm(self, loop: asyncio.AbstractEventLoop, executor: Executor, formats: Collection[str]) -> None:
        """Have the kernels of these formats at hand, if that is not so already."""
        formats = {*formats} - self._warm_formats
        if not formats:
            return
        count, why = missing(formats), why_not_cached()
        if count and why is not None:
            self._log.warning("compiled kernels cannot be kept: each start compiles them again", reason=why)
        if count:
            self._log.info("compiling kernels, once for this user and release: about twenty seconds", kernels=count)
            self._notifier.status(f"compiling {count} kernels")
        told = self._compiling if count and self._compiling is not None else lambda _done, _of: None
        compiling = loop.run_in_executor(executor, lambda: warm(formats, told, lambda: self.was_stopped))
        while not (await asyncio.wait({compiling}, timeout=5.0))[0]:
            self._notifier.extend(30.0)
        await compiling
        self._warm_formats |= formats

    async def _serve(self) -> None:
        """Do what signals ask for, until the end."""
        while not self.was_stopped:
            self._wake.clear()
            if self._supervising is not None and self._supervising.done():
                self._supervising.result()  # it ends by an error only
            if self._reload_asked:
                self._reload_asked = False
                await reload(self._change(), self._notifier)
            elif self._to_follow is not None:
                (config, done), self._to_follow = self._to_follow, None
                await self._follow(config, done)
            elif self._checkpoint_asked:
                self._checkpoint_asked = False
                self._log.info("checkpoint asked for")
                for thread in self.threads.values():
                    before = thread.figures.checkpoints.epoch
                    thread.checkpoint().add_done_callback(self._log_answer(thread.id, before))
            elif self._once and all(thread.ended.is_set() for thread in self.threads.values()):
                return
            else:
                await self._wake.wait()

    async def _shut_down(self) -> int:
        """Stop every symbol, with a final checkpoint."""
        if self._once and not self.was_stopped:
            return int(any(thread.state == "failed" for thread in self.threads.values()))
        self._notifier.stopping()
        running = [thread for thread in self.threads.values() if not thread.ended.is_set()]
        self._log.info("stopping", symbols=len(running))
        for thread in running:
            thread.stop()
        await self._ended(running)
        failed = [thread.id for thread in self.threads.values() if thread.state == "failed"]
        self._log.info("stopped", failed=failed)
        # One that had failed before is no news: stopping has ended well.
        return int(any(thread.id in failed for thread in running))

    async def _release(self, previous: dict[int, Any]) -> None:
        """Give everything back, whatever has happened."""
        for thread in self.threads.values():
            thread.stop()
        await self._ended(list(self.threads.values()))
        for thread in self.threads.values():
            thread.join()
        if self._supervising is not None:
            self._supervising.cancel()
            await asyncio.gather(self._supervising, return_exceptions=True)  # an error was raised already
        self.http_port = None
        if self._http is not None:
            await self._http.close()
        self._resources.close()
        self._notifier.close()
        if threading.current_thread() is threading.main_thread():
            early_signals.deliver_to(None if previous else lambda _: None)  # what comes now comes too late
            for number, handler in previous.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    async def _ended(self, threads: list[SymbolThread]) -> None:
        """Wait for their ends, while systemd is asked for patience."""
        while not all(thread.ended.is_set() for thread in threads):
            self._wake.clear()
            if all(thread.ended.is_set() for thread in threads):
                return
            self._notifier.extend(30.0)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 5.0)

    def _add(self, symbol: SymbolConfig) -> None:
        thread = SymbolThread(
            symbol.id,
            lambda: worker_settings(self._config, symbol, once=self._once),
            self._context,
            self._metrics.symbol(symbol.id),
        )
        self.threads[symbol.id] = thread
        thread.start()

    # Signals. What was asked for is only noted: `_serve` does it.

    def receive(self, number: int) -> None:
        """Do what a signal asks for. From any thread, and before `run`, too."""
        self._note(number)
        if self._loop is not None:
            _call_if_open(self._loop, self._wake.set)

    def follow(self, config: Config, done: Callable[[], None]) -> None:
        """Go over to another configuration, as by a reload, but without checks: whoever calls has made them.

        From any thread, and before `run`, too. `done` is called on the service's loop afterwards: what was removed has ended
        with its last checkpoint, and what was added has begun. If another call comes before that, only the last one counts.
        """
        self._to_follow = config, done
        if self._loop is not None:
            _call_if_open(self._loop, self._wake.set)

    def _take_signals(self) -> dict[int, Any]:
        """Receive them from here on; the handlers that were there before, if they are not cowbook's own already."""
        if threading.current_thread() is not threading.main_thread():
            return {}  # they are the business of whoever has the main thread
        previous = {} if early_signals.are_held() else early_signals.hold_signals()
        early_signals.deliver_to(self.receive)
        return previous

    def _note(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self._checkpoint_asked = True
        elif number == signal.SIGHUP and not self._once:
            self._reload_asked = True
        elif self.was_stopped:
            # The second one: whoever sends it will not wait. What is not in a checkpoint is made again.
            os._exit(128 + number)
        else:
            self.was_stopped = True

    def _log_refusal(self, symbol_id: str) -> Callable[[Any], None]:
        def log(future: Any) -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                self._log.warning("no checkpoint", symbol=symbol_id, error=str(error))

        return log

    def _log_answer(self, symbol_id: str, before: int) -> Callable[[Any], None]:
        """As `_log_refusal`, and log that no checkpoint newer than `before` was needed. A new one is logged by its worker."""
        log_refusal = self._log_refusal(symbol_id)

        def log(future: Any) -> None:
            log_refusal(future)
            if not future.cancelled() and future.exception() is None and future.result() == before:
                text = "nothing new: this checkpoint covers everything" if before else "no checkpoint: nothing is consumed yet"
                self._log.info(text, symbol=symbol_id, epoch=before)

        return log

    async def _change(self) -> None:
        """Read the configuration again, and go over to it. Raises ConfigError where that is refused, having changed nothing."""
        config = self._load()
        open_ids = [thread.id for thread in self.threads.values() if thread.may_change]
        # Storage may be slow, and the loop has signs of life to give.
        check = asyncio.get_running_loop().run_in_executor(self._context.writers, check_reload, self._config, config, open_ids)
        await self._go_over(config, await check)

    async def _follow(self, config: Config, done: Callable[[], None]) -> None:
        """Go over to a configuration that somebody else has checked. Raises RuntimeError if that was not so."""
        open_ids = [thread.id for thread in self.threads.values() if thread.may_change]
        plan, problems = plan_reload(self._config, config, open_ids)
        if problems:
            raise RuntimeError(f"only a new process can go over to this configuration: {problems}")
        await self._go_over(config, plan)
        done()

    async def _go_over(self, config: Config, plan: ReloadPlan) -> None:
        """Change the symbols that a plan has. Those that end have taken their last checkpoints when this returns."""
        await self._warm(asyncio.get_running_loop(), self._context.writers, formats_of(config))
        ending = [self.threads[symbol_id] for symbol_id in (*plan.removed, *plan.restarted)]
        for thread in ending:
            thread.stop()
        await self._ended(ending)
        self._config = config
        set_level(config.log.level)
        self._metrics.set_interval(config.checkpoint.every / 1e9)
        symbols = {symbol.id: symbol for symbol in config.symbol}
        for symbol_id in plan.removed:
            del self.threads[symbol_id]
            self._metrics.forget(symbol_id)
        for symbol_id in (*plan.restarted, *plan.added):
            self._add(symbols[symbol_id])
        self.threads = {symbol_id: self.threads[symbol_id] for symbol_id in symbols}
        for thread in self.threads.values():
            thread.configure(checkpoint_settings(config))
        self._log.info("reloaded", added=plan.added, removed=plan.removed, restarted=plan.restarted)

    # What the HTTP endpoint shows.

    def render_metrics(self, *, openmetrics: bool) -> bytes:
        """All metrics, as they are now."""
        self._metrics.refresh(self.threads.values())
        render: Callable[[Any], bytes] = generate_openmetrics if openmetrics else generate_latest
        return render(self._metrics.registry)

    def status(self) -> dict[str, Any]:
        """What /status says."""
        threads = list(self.threads.values())
        return {
            "version": __version__,
            "started": self._started,
            "shard": self._config.service.shard or None,
            "ready": self._supervision.is_ready and is_ready([thread.state for thread in threads]),
            "symbols": [symbol_status(thread) for thread in threads],
        }

    def ailing(self) -> list[str]:
        """Ids of the symbols whose event loop does not answer."""
        return self._supervision.ailing(list(self.threads.values()))

    async def read_book(self, symbol_id: str, levels: int | None, form: str) -> bytes:
        """The live book of a symbol. Raises KeyError for an unknown symbol, StorageError where it has none."""
        return await asyncio.wrap_future(self.threads[symbol_id].read_book(levels, form))

    async def checkpoint(self, symbol_id: str | None, *, waits: bool) -> list[dict[str, Any]]:
        """Take checkpoints: for each id, the epoch or the error. Raises KeyError for an unknown symbol."""
        threads = list(self.threads.values()) if symbol_id is None else [self.threads[symbol_id]]
        futures = [thread.checkpoint() for thread in threads]
        if not waits:
            for thread, future in zip(threads, futures, strict=True):
                future.add_done_callback(self._log_refusal(thread.id))
            statuses = [symbol_status(thread) for thread in threads]
            return [{"id": status["id"], "epoch": status["epoch"], "error": None} for status in statuses]
        results = await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
        answers = []
        for thread, result in zip(threads, results, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, CowbookError):
                raise result
            error = str(result) if isinstance(result, BaseException) else None
            answers.append({"id": thread.id, "epoch": result if error is None else None, "error": error})
        return answers


def formats_of(config: Config) -> set[str]:
    """What `warm` is asked for: the formats of all inputs, and what joins several of one symbol."""
    formats = {own.format for symbol in config.symbol for own in symbol.inputs}
    return formats | {SEVERAL_SOURCES} if any(symbol.source for symbol in config.symbol) else formats


def _call_if_open(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    """From another thread; where the loop has ended, nobody waits."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function)


def _provide_descriptors(symbols: int) -> str | None:
    """Take as many descriptors as the system allows. Returns a warning if they may not suffice for so many symbols.

    Raises ServiceError if there are too few to run anything.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY:
        return None
    if soft < _FEWEST_DESCRIPTORS:
        text = f"this process may open {soft} files and needs {_FEWEST_DESCRIPTORS} at least"
        raise ServiceError(f"{text}: raise the limit (`ulimit -n`, LimitNOFILE=)")
    needed = _FEWEST_DESCRIPTORS + _DESCRIPTORS_PER_SYMBOL * symbols
    if soft >= needed:
        return None
    text = f"this process may open {soft} files, and {symbols} symbols may need {needed}"
    return f"{text}: symbols wait when they run out; raise the limit (`ulimit -n`, LimitNOFILE=)"
