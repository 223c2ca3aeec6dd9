"""The process: one thread with an event loop of its own for each symbol, started again where storage has failed."""

from __future__ import annotations

import asyncio
import errno
import gc
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import uvloop

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.config import Config, SymbolConfig, output_directory_name
from cowbook.errors import StorageError, SymbolError
from cowbook.input.decoding import DecoderSettings
from cowbook.input.paths import ExpandedPaths, expand_paths
from cowbook.kernels import is_compiled, warm
from cowbook.pipeline import WorkerSettings
from cowbook.summary import SymbolSummary
from cowbook.symbol_worker import ProgressCallback, SymbolWorker
from cowbook.telemetry.logging import get_logger

_READERS = 4
_WRITERS = 2
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0

_FOR_GOOD = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR, errno.EEXIST, errno.EXDEV)
"""What does not pass by itself: something stands in the way, and someone has to set it right."""

_MISTAKES = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What does not pass by itself when the symbol has never worked since the process has started."""

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}
"""What makes an event loop, by the name in the configuration."""


def worker_settings(config: Config, symbol: SymbolConfig, expanded: ExpandedPaths) -> WorkerSettings:
    """What one symbol's worker is told."""
    output, checkpoint = config.output, config.checkpoint
    return WorkerSettings(
        id=symbol.id,
        directory_name=output_directory_name(symbol.id),
        format=symbol.format,
        paths=expanded.paths,
        notes=expanded.warnings,
        state_dir=config.service.state_dir,
        output_dir=config.service.output_dir,
        on_bad_record=symbol.on_bad_record,
        decoder=DecoderSettings(symbol.name, symbol.price_decimals, symbol.size_decimals, symbol.max_line_bytes),
        engine=EngineSettings(
            on_gap=symbol.on_gap,
            streams=output.streams,
            book_levels=output.book_levels,
            book_interval=output.book_interval,
            part_events=output.part_events,
            part_interval=output.part_interval,
            max_book_bytes=symbol.max_book_bytes,
        ),
        compression=output.compression,
        fingerprint=fingerprint(config, symbol),
        triggers=TriggerSettings(checkpoint.every_events, checkpoint.every, checkpoint.min_pause),
        retain=checkpoint.retain,
        checkpoint_compression=checkpoint.compression,
    )


def fingerprint(config: Config, symbol: SymbolConfig) -> dict[str, Any]:
    """The settings that change rows or files, by name; intervals in ns. A checkpoint is only for the same ones."""
    output = config.output
    of_symbol = ("id", "name", "format", "on_gap", "on_bad_record", "price_decimals", "size_decimals", "max_line_bytes")
    of_output = ("book_levels", "book_interval", "part_events", "part_interval", "compression")
    return {
        **{name: getattr(symbol, name) for name in of_symbol},
        **{name: getattr(output, name) for name in of_output},
        "streams": sorted(output.streams),
    }


def run_once(config: Config, *, allow_fresh: bool = False, progress: ProgressCallback | None = None) -> list[SymbolSummary]:
    """Take every symbol through its input to the end, side by side; the summaries in the order of the configuration.

    A symbol that cannot go on has state "failed" in its summary. Anything unforeseen is raised when all have ended.
    """
    if not is_compiled():
        get_logger().info("compiling the kernels, once for this user and release: about half a minute")
    warm()
    # What is there now stays: a later collection need not look at it, and is short.
    gc.collect()
    gc.freeze()
    summaries: dict[str, SymbolSummary] = {}
    failures: list[BaseException] = []
    workers: list[_Thread] = []
    with (
        ThreadPoolExecutor(_READERS, thread_name_prefix="read") as readers,
        ThreadPoolExecutor(_WRITERS, thread_name_prefix="write") as writers,
    ):
        for symbol in config.symbol:
            thread = _Thread(config, symbol, readers, writers, allow_fresh, progress, summaries, failures)
            workers.append(thread)
            thread.start()
        try:
            for thread in workers:
                thread.ended.wait()
        except KeyboardInterrupt:
            for thread in workers:
                thread.stop()
            for thread in workers:
                thread.ended.wait()
            raise
        finally:
            for thread in workers:
                thread.join()
    if failures:
        raise failures[0]
    return [summaries[symbol.id] for symbol in config.symbol]


class _Thread(threading.Thread):
    """Runs one symbol's worker on a loop of its own."""

    def __init__(
        self,
        config: Config,
        symbol: SymbolConfig,
        readers: Executor,
        writers: Executor,
        allow_fresh: bool,
        progress: ProgressCallback | None,
        summaries: dict[str, SymbolSummary],
        failures: list[BaseException],
    ) -> None:
        super().__init__(name=f"symbol-{symbol.id}")
        # Waited for instead of `join`: one that an interrupt ends takes the thread for ended, too, before Python 3.13.
        self.ended = threading.Event()
        self._config = config
        self._symbol = symbol
        self._executors = readers, writers
        self._allow_fresh = allow_fresh
        self._progress = progress
        self._summaries = summaries
        self._failures = failures
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: SymbolWorker | None = None

    def run(self) -> None:
        """Run the worker to its end."""
        try:
            with asyncio.Runner(loop_factory=LOOPS[self._config.service.loop]) as runner:
                self._summaries[self._symbol.id] = runner.run(self._run())
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it
            self._failures.append(error)
        finally:
            self.ended.set()

    async def _run(self) -> SymbolSummary:
        self._loop = asyncio.get_running_loop()
        self._stop_asked = asyncio.Event()
        log = get_logger().bind(symbol=self._symbol.id)
        restarts = failures = 0
        has_worked = False
        while True:
            try:
                expanded = expand_paths(self._symbol.paths, self._config.base_dir)
                settings = worker_settings(self._config, self._symbol, expanded)
                worker = SymbolWorker(settings, *self._executors, allow_fresh=self._allow_fresh, progress=self._progress)
                self._worker = worker
                if self._stop_asked.is_set():
                    worker.stop()
                summary = await worker.run()
            except SymbolError as error:
                return SymbolSummary(self._symbol.id, state="failed", error=str(error))
            except StorageError as error:
                has_worked |= worker.recovery_seconds is not None
                is_final = error.code in _FOR_GOOD or (error.code in _MISTAKES and not has_worked)
                if is_final or self._stop_asked.is_set():
                    return SymbolSummary(self._symbol.id, state="failed", error=str(error), restarts=restarts)
                failures = 1 if worker.has_committed else failures + 1
                delay = min(_FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 16), _LONGEST_BACKOFF_SECONDS)
                log.warning("storage failed, going on from the last checkpoint", error=str(error), seconds_until_then=delay)
                restarts += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop_asked.wait(), delay)
            else:
                summary.restarts = restarts
                return summary

    def stop(self) -> None:
        """Ask the worker to stop, from another thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ask_to_stop)

    def _ask_to_stop(self) -> None:
        self._stop_asked.set()
        if self._worker is not None:
            self._worker.stop()
