"""Looking after the symbols' threads: whether their loops answer, what systemd is told, and what changes are logged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from cowbook.symbol.symbol_thread import SymbolThread
from cowbook.symbol.symbol_worker import SymbolWorker
from cowbook.telemetry.metrics import ServiceMetrics
from cowbook.telemetry.status import is_ready, status_line
from cowbook.telemetry.systemd import Notifier

_PERIOD_SECONDS = 1.0
_MOST_TURNS = 4
"""Threads are asked in turn, one of so many at each look where time allows: to wake 200 a second costs 3 % of a core."""
_UNHEALTHY_SECONDS = 10.0
"""A loop that has not answered for this long is ailing, where no watchdog says otherwise."""


class Supervision:
    """Asks every thread's loop every few seconds. As long as all answer, systemd's watchdog is told that all is well."""

    def __init__(self, notifier: Notifier, metrics: ServiceMetrics, log: Any) -> None:
        self._notifier = notifier
        self._metrics = metrics
        self._log = log
        watchdog = notifier.watchdog_seconds
        self._period = min(_PERIOD_SECONDS, watchdog / 4) if watchdog else _PERIOD_SECONDS
        self._patience = watchdog / 2 if watchdog else _UNHEALTHY_SECONDS
        self._turns = max(1, min(_MOST_TURNS, int(self._patience / self._period / 2)))
        self._looks = 0
        self._states: dict[str, tuple[str, str | None]] = {}
        self._warned: dict[str, tuple[SymbolWorker, int]] = {}  # by symbol: its worker, and how many of its warnings are logged
        self._ailing: set[str] = set()
        self.is_ready = False
        """Whether all symbols have stood at their place once."""

    async def run(self, threads: Callable[[], list[SymbolThread]]) -> None:
        """Look once a period, until cancelled; `threads` says whom to look after."""
        while True:
            self._look_after(threads())
            await asyncio.sleep(self._period if self.is_ready else _PERIOD_SECONDS / 20)

    def ailing(self, threads: Sequence[SymbolThread]) -> list[str]:
        """Ids of the threads that do not answer."""
        now = time.monotonic()
        return [
            thread.id
            for thread in threads
            if not thread.ended.is_set() and now - thread.answered_at > self._patience + self._turns * self._period
        ]

    def _look_after(self, threads: Sequence[SymbolThread]) -> None:
        ids = {thread.id for thread in threads}
        for gone in self._states.keys() - ids:
            del self._states[gone]
            self._warned.pop(gone, None)
        self._looks += 1
        for place, thread in enumerate(threads):
            if (self._looks + place) % self._turns == 0 and not thread.ended.is_set():
                thread.ask(self._metrics.symbol(thread.id).answered)
            self._log_change(thread)
        ailing = set(self.ailing(threads))
        for symbol_id in sorted(ailing - self._ailing):
            self._log.error("event loop does not answer", symbol=symbol_id, seconds=round(self._patience, 1))
        for symbol_id in sorted(self._ailing - ailing):
            self._log.info("event loop answers again", symbol=symbol_id)
        self._ailing = ailing
        if not ailing:
            self._notifier.alive()
        states = [thread.state for thread in threads]  # once: a state may change at any time, and both are to say the same
        if not self.is_ready:
            if not is_ready(states):
                self._notifier.extend(30.0)
            else:
                self.is_ready = True
                self._notifier.ready()
                self._log.info("ready", symbols=len(threads))
        self._notifier.status(status_line(threads, states))

    def _log_change(self, thread: SymbolThread) -> None:
        """Log what the symbol waits for, when that begins, changes or ends; the end of its input; and new warnings."""
        worker = thread.worker
        figures = thread.figures if worker is None else worker.figures
        waits = figures.waiting_for
        state = thread.state
        before, waited = self._states.get(thread.id, ("starting", None))
        if state == "waiting" and waits not in (None, waited):
            self._log.warning("waiting for input", symbol=thread.id, reason=waits)
        elif before == "waiting" and state in ("starting", "running"):
            self._log.info("input is there", symbol=thread.id)
        elif state == "done" and before != "done" and not thread.was_stopped:
            self._log.info("end of input", symbol=thread.id)
        self._states[thread.id] = state, waits if state == "waiting" else None
        warnings = figures.input.warnings if figures.input is not None else ()
        if worker is not None and warnings:
            known, count = self._warned.get(thread.id, (worker, 0))
            count = count if known is worker else 0
            for warning in warnings[count:]:
                self._log.warning(warning, symbol=thread.id)
            self._warned[thread.id] = worker, len(warnings)
