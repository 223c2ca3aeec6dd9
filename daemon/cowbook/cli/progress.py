"""Progress of a run on standard error: bars on a terminal, below the lines of the log; elsewhere a line every two seconds."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from cowbook.log import lines_above
from cowbook.plain.escaping import escaped

MOST_BARS = 4
"""Up to so many symbols have a bar each; more share one, since a terminal cannot move up beyond its first line."""
_LONGEST_NAME = 18
_PAUSE_SECONDS = 0.1  # between two drawings


def make_reporter(console: Console, symbols: int) -> Bars | Lines:
    """What shows the progress of a run of so many symbols."""
    return Bars(console, symbols) if console.is_terminal else Lines()


def make_bars(console: Console, *, stays: bool = True, draws_itself: bool = True) -> Progress:
    """Bars of one line each, whatever the width: the name, the bar, percent, the field `text`, and the time that is left.

    Unless they draw themselves, `refresh` does it.
    """
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=_LONGEST_NAME)),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
        TaskProgressColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=console,
        expand=True,
        transient=not stays,
        auto_refresh=draws_itself,
    )


class Bars:
    """A bar for each of a few symbols, or one for all of many. Logs go above the bars while they are shown."""

    def __init__(self, console: Console, symbols: int) -> None:
        self._console = console
        self._progress = make_bars(console, draws_itself=False)
        self._drawing = threading.Lock()
        """Held by whoever writes to the terminal. rich notes by how many lines to go up, and goes up later: if another thread
        draws one bar more meanwhile, the topmost is left behind."""
        self._ended = threading.Event()
        self._drawer = threading.Thread(target=self._draw, name="progress")
        self._symbols = symbols
        self._started = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self._figures: dict[str, tuple[int, int, int]] = {}  # bytes done, of all, and events of each symbol
        self._before: dict[str, int] = {}  # events of the checkpoint from which the run continued
        self._compiling: TaskID | None = None
        self._lock = threading.Lock()
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Show them."""
        self._resources.enter_context(lines_above(self._print_above))
        self._resources.enter_context(self._progress)
        self._drawer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave them as they stand, but for that of compiling: it says nothing once it has ended."""
        self._ended.set()
        self._drawer.join()
        with self._lock:
            self._forget_compiling()
        with self._drawing:
            self._resources.close()

    def _draw(self) -> None:
        while not self._ended.wait(_PAUSE_SECONDS):
            with self._drawing:
                self._progress.refresh()

    def update(self, symbol: str, bytes_done: int, bytes_total: int, events: int) -> None:
        """A ProgressCallback; called by the workers' threads."""
        with self._lock:
            if not self._before:
                self._started = time.monotonic()  # compiling is over: it does not count
                self._forget_compiling()
            self._before.setdefault(symbol, events)
            self._figures[symbol] = bytes_done, bytes_total, events
            if self._symbols <= MOST_BARS:
                self._show(symbol, [symbol], escaped(symbol))
            else:
                done = sum(done >= total for done, total, _ in self._figures.values())
                self._show("", list(self._figures), f"{done} of {self._symbols} done")

    def update_compiling(self, done: int, of: int) -> None:
        """Show how many kernels are compiled."""
        with self._lock:
            if self._compiling is None:
                self._compiling = self._add("compiling")
            self._progress.update(self._compiling, completed=done, total=of, text=f"{done} of {of} kernels are ready")

    def _show(self, key: str, symbols: list[str], name: str) -> None:
        """Update the bar of these symbols."""
        if key not in self._tasks:
            self._tasks[key] = self._add(name)
        done, total, events = (sum(figures) for figures in zip(*(self._figures[each] for each in symbols), strict=True))
        rate = (events - sum(self._before[each] for each in symbols)) / max(time.monotonic() - self._started, 1e-9)
        text = f"{done / 1e6:,.0f} MB  {_in_millions(events)} events  {rate / 1e6:.1f} M/s"
        self._progress.update(self._tasks[key], description=name, completed=done, total=total, text=text)

    def _add(self, name: str) -> TaskID:
        with self._drawing:  # rich draws at once
            return self._progress.add_task(name, text="")

    def _forget_compiling(self) -> None:
        if self._compiling is not None:
            self._progress.remove_task(self._compiling)
            self._compiling = None

    def _print_above(self, line: str) -> None:
        """Print a line of the log. A long one is wrapped by the terminal, so that it stays one line when it is copied."""
        with self._drawing:
            self._console.print(Text.from_ansi(line), soft_wrap=True, highlight=False)


class Lines:
    """A line every two seconds, for output that is not a terminal."""

    def __init__(self) -> None:
        self._started = self._printed = time.monotonic()
        self._lock = threading.Lock()
        self._first: dict[str, tuple[int, int]] = {}  # bytes and events of a symbol when the run began

    def __enter__(self) -> Self:
        """Nothing is to be prepared."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is to be given back."""

    def update_compiling(self, done: int, of: int) -> None:
        """Say nothing: the log has said that kernels are compiled."""

    def update(self, symbol: str, bytes_done: int, bytes_total: int, events: int) -> None:
        """A ProgressCallback; called by the workers' threads."""
        with self._lock:
            now = time.monotonic()
            if not self._first:  # time before the first call was not spent processing
                self._started = self._printed = now
            bytes_before, events_before = self._first.setdefault(symbol, (bytes_done, events))
            if now - self._printed < 2:
                return
            self._printed = now
        elapsed = now - self._started
        bytes_now = bytes_done - bytes_before
        remaining = elapsed * (bytes_total - bytes_done) / bytes_now if bytes_now else 0
        print(
            f"{escaped(symbol)}: {bytes_done / 1e6:,.0f} of {bytes_total / 1e6:,.0f} MB, {events:,} events, "
            f"{(events - events_before) / elapsed / 1e6:.1f} M events/s, {remaining:.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def _in_millions(count: int) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1_000_000 else f"{count:,}"
