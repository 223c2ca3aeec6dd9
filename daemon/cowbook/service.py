"""The process: one thread with an event loop of its own for each symbol."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

import uvloop

from cowbook.book.order_book_engine import EngineSettings
from cowbook.config import Config, SymbolConfig, output_directory_name
from cowbook.errors import SymbolError
from cowbook.input.decoding import DecoderSettings
from cowbook.input.paths import ExpandedPaths, expand_paths
from cowbook.kernels import warm
from cowbook.summary import SymbolSummary
from cowbook.symbol_worker import ProgressCallback, SymbolWorker, WorkerSettings

_READERS = 4
_WRITERS = 2

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}
"""What makes an event loop, by the name in the configuration."""


def worker_settings(config: Config, symbol: SymbolConfig, expanded: ExpandedPaths) -> WorkerSettings:
    """What one symbol's worker is told."""
    output = config.output
    return WorkerSettings(
        id=symbol.id,
        directory_name=output_directory_name(symbol.id),
        format=symbol.format,
        paths=expanded.paths,
        notes=expanded.warnings,
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
    )


def run_once(config: Config, *, allow_fresh: bool = False, progress: ProgressCallback | None = None) -> list[SymbolSummary]:
    """Take every symbol through its input to the end, side by side; the summaries in the order of the configuration.

    A symbol that cannot go on has state "failed" in its summary. Anything unforeseen is raised when all have ended.
    """
    warm()
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
                thread.join()
        except KeyboardInterrupt:
            for thread in workers:
                thread.stop()
            for thread in workers:
                thread.join()
            raise
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

    async def _run(self) -> SymbolSummary:
        symbol = self._symbol
        try:
            expanded = expand_paths(symbol.paths, self._config.base_dir)
            settings = worker_settings(self._config, symbol, expanded)
            self._worker = SymbolWorker(settings, *self._executors, allow_fresh=self._allow_fresh, progress=self._progress)
        except SymbolError as error:
            return SymbolSummary(symbol.id, state="failed", error=str(error))
        self._loop = asyncio.get_running_loop()
        return await self._worker.run()

    def stop(self) -> None:
        """Ask the worker to stop, from another thread."""
        if self._loop is not None and self._worker is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._worker.stop)
