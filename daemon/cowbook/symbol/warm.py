"""Compiles the kernels that formats need, or loads them from the cache, before the first event needs them.

A root is a kernel that Python calls, together with the types of its arguments. The roots do not depend on each other, so
several processes compile them in parallel into the cache. Each root is a file of its own; an interruption loses no finished one.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import typeof

from cowbook.book.apply import apply_messages, apply_snapshots
from cowbook.book.block_pool import blocks_available, release
from cowbook.book.clock import fill_day
from cowbook.book.ladder import copy_levels, fill_side, find_size
from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.book.recent import fill
from cowbook.book.state import Batch, Levels
from cowbook.input.forms.form_learner import FormScanner
from cowbook.input.forms.form_scanner import scan_records as scan_forms
from cowbook.input.forms.program import FOUND, HEAD, ROW, Forms
from cowbook.input.settings import DecoderSettings
from cowbook.input.tables import picture_scanner, runs, table_scanner
from cowbook.input.text import array_scanner
from cowbook.input.text.scanner import make_limits
from cowbook.input.text.text_scanner import find_newline
from cowbook.kernels.cache import cache_folder, why_not_cached, why_not_loaded
from cowbook.kernels.jit import IS_COMPILED, Kernel
from cowbook.merge.merger import Merger
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import MESSAGE, EventBatch
from cowbook.plain.rows import DAY_ROW
from cowbook.sink import message_kernel, number_kernel
from cowbook.venues import load_venue, venue_names
from cowbook.venues.binance.scanner import BinanceScanner
from cowbook.venues.binance.scanner import scan_records as scan_binance

__all__ = ["cache_folder", "missing", "roots_of", "warm", "why_not_cached"]

Progress = Callable[[int, int], None]
"""Called with the number of kernels compiled so far and the number to compile."""

SEVERAL_SOURCES = "[[symbol.source]]"
"""Stands among the names of formats for the kernels that join sources."""

_POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SETTINGS = DecoderSettings("X", 8, 8, 1 << 20)


@dataclass(frozen=True, slots=True)
class Root:
    """A kernel, and the types of the arguments with which Python calls it."""

    kernel: Kernel
    signature: tuple[Any, ...]

    @property
    def is_loaded(self) -> bool:
        """True if this process has it."""
        return self.signature in self.kernel.overloads

    @property
    def is_cached(self) -> bool:
        """True if the compiled kernel is in the cache and may be loaded."""
        cache = self.kernel.cache
        return why_not_loaded() is None and cache.path_of(self.signature, self.kernel.targetctx.codegen()).exists()

    def load(self) -> None:
        """Load the kernel from the cache, or compile it."""
        if not self.is_loaded:
            self.kernel.compile(self.signature)


def roots_of(formats: Collection[str]) -> tuple[Root, ...]:
    """Returns the kernels that workers of these formats call. Those that take longest to compile are first."""
    return _roots_of(frozenset(formats))


@cache
def _roots_of(formats: frozenset[str]) -> tuple[Root, ...]:
    venues = [load_venue(name) for name in formats if name != SEVERAL_SOURCES]
    scanners = [venue.make_scanner(_SETTINGS) for venue in venues if venue.make_scanner is not None]
    calls = list(_calls_of_book())
    if any(isinstance(scanner, FormScanner) for scanner in scanners):
        calls += _calls_of_forms()
    if any(isinstance(scanner, BinanceScanner) for scanner in scanners):
        calls += _calls_of_binance()
    if any(venue.tables for venue in venues):
        calls += _calls_of_tables()
    if SEVERAL_SOURCES in formats:
        calls += Merger(1).calls()
    calls += _calls_of_text()
    calls += _calls_of_pages()
    return tuple(Root(kernel, tuple(typeof(argument) for argument in arguments)) for kernel, *arguments in calls)


def missing(formats: Collection[str]) -> int:
    """Returns how many kernels of these formats are not in the cache."""
    return sum(not root.is_cached for root in roots_of(formats)) if IS_COMPILED else 0


def warm(
    formats: Collection[str] | None = None,
    progress: Progress = lambda _done, _all: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> float:
    """Load or compile the kernels of these formats (None: of all) in this process. Returns the seconds that it took.

    Once `is_stopped` says so it gives up, at the latest when the kernel that this process compiles is ready.
    """
    started = time.perf_counter()
    if not IS_COMPILED:
        return 0.0
    formats = [*venue_names(), SEVERAL_SOURCES] if formats is None else formats
    roots = roots_of(formats)
    lacking = [place for place, root in enumerate(roots) if not root.is_loaded and not root.is_cached]
    processes = min(len(os.sched_getaffinity(0)), len(lacking))
    if processes > 1 and why_not_cached() is None:
        with suppress(OSError):  # where no process can be started, this one compiles alone
            _compile_side_by_side(formats, roots, lacking, processes, progress, is_stopped)
    for done, root in enumerate(roots, 1):
        if is_stopped():
            break
        root.load()  # from the cache, if another process has compiled it
        progress(done, len(roots))
    return time.perf_counter() - started


def _compile_side_by_side(
    formats: Collection[str],
    roots: Sequence[Root],
    lacking: Sequence[int],
    processes: int,
    progress: Progress,
    is_stopped: Callable[[], bool],
) -> None:
    """Have processes compile roots into the cache, and wait for them. Roots may be left, which the caller then compiles.

    The processes take the places of roots from one pipe, a byte each, so each takes the next one when it has done one.
    """
    queue, feed = os.pipe()
    running: list[subprocess.Popen[bytes]] = []
    try:
        os.write(feed, bytes(lacking))
        os.close(feed)
        # -P: nothing is imported from the current directory. A session of its own: an interrupt is for this process only.
        command = [sys.executable, "-P", "-m", __name__, str(queue), str(os.getpid()), *formats]
        environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # to import the same modules
        for _ in range(processes):
            running.append(  # noqa: PERF401 - those that were started are known if the next cannot be
                subprocess.Popen(  # noqa: S603
                    command, env=environ, pass_fds=[queue], stdin=subprocess.DEVNULL, start_new_session=True
                )
            )
        while any(process.poll() is None for process in running) and not is_stopped():
            progress(sum(roots[place].is_cached for place in lacking), len(lacking))
            time.sleep(_POLL_SECONDS)
    finally:
        os.close(queue)
        for process in running:
            process.kill()
            process.wait()


def _compile(queue: int, parent: int, formats: Sequence[str]) -> None:
    """Compile the roots whose places come from a pipe, until it ends or the parent has."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    gc.disable()  # a compiler makes millions of objects, few of them garbage: collections take an eighth of its time
    roots = roots_of(formats)
    while os.getppid() == parent and (place := os.read(queue, 1)):
        roots[place[0]].load()


def _calls_of_book() -> Iterator[tuple[Any, ...]]:
    engine = OrderBookEngine(EngineSettings(max_book_bytes=1))
    book = engine.arrays.book
    numbers = np.zeros(1, np.int64)
    batch = Batch(np.zeros(1, MESSAGE), Levels(numbers, numbers))
    yield apply_messages, engine.arrays, batch, 0, 0
    yield apply_snapshots, engine.arrays, batch, 0, 0
    yield fill_side, book, 0, numbers, numbers
    yield copy_levels, book, 0, 0, numbers, numbers, 0, 1
    yield find_size, book, 0, 0
    yield fill, numbers, numbers
    yield fill_day, np.zeros(1, DAY_ROW)[0], engine.arrays.state[0]
    yield blocks_available, book.pool
    yield release, book.pool, book.blocks, 0


def _block() -> tuple[Block, EventBatch]:
    return Block(np.zeros(PADDING, np.uint8), 0, 0, "", 0, final=True), EventBatch.allocate(1, 1)


def _calls_of_pages() -> Iterator[tuple[Any, ...]]:
    numbers, table, out, pages = np.zeros(1, np.int64), np.zeros(1, np.int32), np.zeros(1, np.uint8), np.zeros((1, 4), np.int64)
    one_column = np.zeros((1, 1), np.int64)
    work = number_kernel.Work(table, numbers, numbers, numbers, numbers, out, pages)
    yield number_kernel.number_pages, numbers, numbers, True, True, True, True, 1, work
    yield number_kernel.build_dictionary, numbers, 0, table, numbers, numbers, 0
    yield number_kernel.packed_indices, numbers, 0, 0, 0, numbers, out, 0
    yield number_kernel.row_flags, numbers, out, 0
    yield number_kernel.columns_of, one_column, one_column
    yield number_kernel.whole_deltas, 0
    yield message_kernel.rising_deltas, numbers, numbers, 0, numbers, out, 0
    yield message_kernel.last_rising, numbers, numbers, numbers
    yield message_kernel.message_values, numbers, numbers, True, numbers, out, 0
    yield message_kernel.message_levels, numbers, numbers, out, 0
    yield message_kernel.message_choices, numbers, numbers, 0, out, 0
    yield message_kernel.message_sides, numbers, numbers, out, 0
    yield message_kernel.message_flags, numbers, numbers, out, 0
    yield message_kernel.message_ends, numbers, numbers, out, 0
    yield message_kernel.spread_values, numbers, numbers, numbers


def _calls_of_forms() -> Iterator[tuple[Any, ...]]:
    scanner = FormScanner(_SETTINGS, ())
    scan = scanner.arrays(*_block())
    yield scan_forms, Forms(scan, np.zeros(1, ROW), np.zeros(1, HEAD), np.zeros(1, FOUND)), 0, 0, 0


def _calls_of_binance() -> Iterator[tuple[Any, ...]]:
    scanner = BinanceScanner(_SETTINGS)
    yield scan_binance, scanner.arrays(*_block()), 0, 0, 0, np.zeros(1, np.int64)


def _calls_of_tables() -> Iterator[tuple[Any, ...]]:
    block, batch = _block()
    numbers, rows = np.zeros(1, np.int64), np.zeros(1, table_scanner.ROW)
    words = np.zeros(1, table_scanner.WORDS)
    scan = table_scanner.TableScan(block.buffer, make_limits(_SETTINGS), np.zeros(1, np.uint8), numbers, words, rows)
    messages = runs.Messages(batch.messages, batch.prices, batch.sizes, np.zeros(1, runs.COUNTS))
    yield table_scanner.scan_csv, scan, 0, 0, 0, 0
    yield table_scanner.scan_packed, scan, 0, 0, 0, numbers, numbers, 8, 0
    yield picture_scanner.scan_csv_pictures, scan, 0, 0, 0, 1, 0
    yield picture_scanner.scan_packed_pictures, scan, 0, 0, 0, numbers, numbers, 8, 1, 0
    yield runs.group, scan, np.zeros(1, runs.RUN), np.zeros(1, runs.OPEN_RUN), messages, 0, 0, True
    yield runs.run_end, rows, np.zeros(1, runs.RUN), np.zeros(1, runs.OPEN_RUN), rows[0], 0, 0


def _calls_of_text() -> Iterator[tuple[Any, ...]]:
    buffer = np.zeros(1, np.uint8)
    yield array_scanner.value_end, buffer, 0, 0, np.zeros(1, np.int64)
    yield array_scanner.value_start, buffer, 0, 0, True
    numbers = np.zeros(1, np.int64)
    yield array_scanner.copy_values, buffer, 0, 0, True, 0, buffer, 0, numbers, numbers
    yield find_newline, buffer, 0, 0


if __name__ == "__main__":
    _compile(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
