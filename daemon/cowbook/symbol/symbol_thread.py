"""One symbol's thread: runs a worker on an event loop of its own, and another one after a failure that may pass."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from cowbook.capture.inotify import Watcher
from cowbook.checkpoint.commit_log import Tenure
from cowbook.checkpoint.settings import CheckpointSettings
from cowbook.errors import StorageError, SymbolError
from cowbook.log import get_logger
from cowbook.plain.durable_files import LASTING, SCARCE, storage_error
from cowbook.symbol.figures import WorkerFigures
from cowbook.symbol.settings import WorkerSettings
from cowbook.symbol.summary import SymbolSummary
from cowbook.symbol.symbol_worker import ProgressCallback, SymbolWorker, WorkerObserver

_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0
_MOST_ERRORS = 10
"""Restarts after errors that nobody has foreseen; storage is waited for without end."""
_ERROR_WINDOW_SECONDS = 600.0

_MISTAKES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)
"""What does not pass by itself when the symbol has never worked since the process has started."""

_NO_FIGURES = WorkerFigures()
"""Of a thread that has no worker yet."""

# libuv would give each loop a thread of the kernel that polls for file operations, of which there are none. It reads this once.
os.environ.setdefault("UV_USE_IO_URING", "0")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}
"""What makes an event loop, by the name in the configuration."""


@dataclass(frozen=True, slots=True)
class ThreadContext:
    """What the symbols of a process share."""

    loop: str
    readers: Executor
    writers: Executor
    watcher: Watcher | None = None
    progress: ProgressCallback | None = None
    allow_fresh: bool = False
    retries_errors: bool = True
    """Whether an unforeseen error makes the worker start again; else it ends the symbol."""
    waits_for_locks: bool = False
    """Whether a lock that another process holds is waited for, since that one is going to end; else the symbol fails."""
    on_restart: Callable[[str, str], None] = lambda _id, _reason: None
    """Told the symbol's id, and why its worker is started again: storage, error."""
    on_end: Callable[[], None] = lambda: None
    """Called in the symbol's thread when it has ended."""


class SymbolThread(threading.Thread):
    """Runs one symbol's worker to its end; other threads ask it for its state, a stop, a checkpoint."""

    def __init__(
        self,
        symbol_id: str,
        make_settings: Callable[[], WorkerSettings],
        context: ThreadContext,
        observer: WorkerObserver | None = None,
    ) -> None:
        """`make_settings` is called for each start of the worker; it may raise InputError."""
        super().__init__(name=f"symbol-{symbol_id}")
        self.id = symbol_id
        # Waited for instead of `join`: one that an interrupt ends takes the thread for ended, too, before Python 3.13.
        self.ended = threading.Event()
        self.summary: SymbolSummary | None = None
        """What came of it, once it has ended."""
        self.failure: BaseException | None = None
        """The unforeseen error that has ended it."""
        self.restarts = 0
        self.last_error: str | None = None
        """Why the worker was started again last, or why the symbol has failed."""
        self.answered_at = time.monotonic()
        """When its event loop has answered last; it need not while it has none."""
        self._make_settings = make_settings
        self._context = context
        self._observer = observer
        self._log = get_logger().bind(symbol=symbol_id)
        self._tenure = Tenure()
        self._stop_asked = threading.Event()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: SymbolWorker | None = None
        self._checkpoints: CheckpointSettings | None = None  # those of the last reload; before it, those of the start
        self._asked_at: float | None = None
        self._failures = 0
        self._errors: deque[float] = deque()
        self._has_worked = False
        self._requests: set[Future[Any]] = set()  # checkpoints and books that were asked for and not answered yet

    @property
    def worker(self) -> SymbolWorker | None:
        """The worker, as long as one runs, and the last one afterwards."""
        return self._worker

    @property
    def figures(self) -> WorkerFigures:
        """What that worker says of itself; take it once, and all of it is of one moment."""
        worker = self._worker
        return worker.figures if worker is not None else _NO_FIGURES

    @property
    def claim(self) -> int:
        """Number of this process' claim in the symbol's commit log; 0 before it has one."""
        return self._tenure.owner

    @property
    def was_stopped(self) -> bool:
        """Whether it was asked to end."""
        return self._stop_asked.is_set()

    @property
    def state(self) -> str:
        """One of cowbook.telemetry.metrics.STATES."""
        if self.ended.is_set():
            return "done" if self.summary is not None and self.summary.state == "done" else "failed"
        if self._stop_asked.is_set():
            return "stopping"
        if self._loop is None:
            return "restarting" if self.restarts else "starting"
        figures = self.figures
        if figures.waiting_for is not None:
            return "waiting"
        if figures.pipeline is None:
            return "starting"
        return "running" if figures.pipeline.problem is None else "unusable"

    @property
    def may_change(self) -> bool:
        """Whether a reload may change any of its settings: it has failed, or has made nothing that a person would keep."""
        pipeline = self.figures.pipeline
        return self.state == "failed" or (pipeline is not None and pipeline.is_useless)

    def run(self) -> None:
        """Run workers until one comes to its end."""
        try:
            while (pause := self._run_and_judge()) is not None:
                self.restarts += 1
                self._stop_asked.wait(pause)
        except BaseException as error:  # noqa: BLE001 - kept for the main thread, which raises it
            self.failure = error
            self.last_error = repr(error)
        finally:
            self.ended.set()
            self._context.on_end()

    def stop(self) -> None:
        """Ask for the end, with a final checkpoint. From any thread."""
        self._stop_asked.set()
        self._call_on_loop(lambda worker: worker.stop())

    def configure(self, checkpoints: CheckpointSettings) -> None:
        """Take checkpoints by other settings from now on: this worker, and those after it. From any thread."""
        self._checkpoints = checkpoints
        self._call_on_loop(lambda worker: worker.configure(checkpoints))

    def checkpoint(self) -> Future[int]:
        """Ask for a checkpoint of everything consumed so far: its epoch, or StorageError. From any thread."""
        answer: Future[int] = Future()
        answer.set_running_or_notify_cancel()  # it is always answered, also when nobody waits any more
        with self._lock:
            if self._loop is not None and self._worker is not None:
                self._requests.add(answer)
                answer.add_done_callback(self._requests.discard)
                self._loop.call_soon_threadsafe(_request_checkpoint, self._worker, answer)
                return answer
        figures = self.figures
        if self.state == "done" and figures.pipeline is not None:
            answer.set_result(figures.checkpoints.epoch)  # everything is in it
        else:
            why = self.last_error or "there is nothing to take a checkpoint of"
            answer.set_exception(StorageError(f"the symbol is {self.state}: {why}"))
        return answer

    def read_book(self, levels: int | None, form: str) -> Future[bytes]:
        """Ask for the live book, encoded as `live_book.BookRequest` says. From any thread. StorageError where there is none."""
        answer: Future[bytes] = Future()
        answer.set_running_or_notify_cancel()
        with self._lock:
            if self._loop is not None and self._worker is not None:
                self._requests.add(answer)
                answer.add_done_callback(self._requests.discard)
                self._loop.call_soon_threadsafe(_request_book, self._worker, levels, form, answer)
                return answer
        why = self.last_error or "its last book is in its output and its checkpoint"
        answer.set_exception(StorageError(f"the symbol is {self.state}: {why}"))
        return answer

    def ask(self, answer: Callable[[float], None]) -> None:
        """Have the event loop say that it is alive; `answer` gets the seconds that it took, in the symbol's thread."""
        asked_at = time.monotonic()
        with self._lock:
            if self._loop is None:
                self.answered_at = asked_at
                return
            if self._asked_at is not None:
                return  # it has not answered the last time yet
            self._asked_at = asked_at

            def reply() -> None:
                self._asked_at = None
                self.answered_at = time.monotonic()
                answer(self.answered_at - asked_at)

            self._loop.call_soon_threadsafe(reply)

    def _call_on_loop(self, what: Callable[[SymbolWorker], None]) -> None:
        """Do something with the worker on its loop, while there is one."""
        with self._lock:
            if self._loop is not None and self._worker is not None:
                self._loop.call_soon_threadsafe(what, self._worker)

    def _run_and_judge(self) -> float | None:
        """Run one worker to its end. Returns the seconds until the next one starts; None when there is to be none."""
        try:
            self.summary = self._run_worker()
        except SymbolError as error:
            self._fail(error)
            return None
        except StorageError as error:
            return self._judge_storage_error(error)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in SCARCE:
                return self._judge_storage_error(storage_error("run", Path(self.id), error))
            if isinstance(error, MemoryError):
                return self._judge_memory_error(error)
            if not self._context.retries_errors:
                raise
            return self._judge_unforeseen_error(error)
        self.summary.restarts = self.restarts
        if self.summary.state == "failed":
            self.last_error = self.summary.error
        return None

    def _run_worker(self) -> SymbolSummary:
        """Run a worker on a new loop. Whoever still waits for a checkpoint then is told that there is none."""
        try:
            with asyncio.Runner(loop_factory=LOOPS[self._context.loop]) as runner:
                try:
                    return runner.run(self._make_worker(runner.get_loop()))
                finally:
                    with self._lock:
                        self._loop = self._asked_at = None
        finally:
            for answer in list(self._requests):
                answer.set_exception(StorageError("the worker ended before what was asked for"))

    def _make_worker(self, loop: asyncio.AbstractEventLoop) -> Coroutine[Any, Any, SymbolSummary]:
        """Make a worker, and let other threads reach it on this loop; what is left to do is to run it."""
        context = self._context
        worker = SymbolWorker(
            self._make_settings(),
            context.readers,
            context.writers,
            allow_fresh=context.allow_fresh,
            progress=context.progress,
            observer=self._observer,
            watcher=context.watcher,
            tenure=self._tenure,
            waits_for_locks=context.waits_for_locks,
        )
        worker.is_restart = self._has_worked
        if self._checkpoints is not None:
            worker.configure(self._checkpoints)
        with self._lock:
            self._worker, self._loop = worker, loop
            if self._stop_asked.is_set():
                worker.stop()
        return worker.run()

    def _fail(self, error: Exception) -> None:
        """End the symbol with this error."""
        self.last_error = str(error)
        self.summary = SymbolSummary(self.id, state="failed", error=str(error), restarts=self.restarts)
        self._log.error("symbol failed", error=str(error))

    def _judge_storage_error(self, error: StorageError) -> float | None:
        """Storage has failed: restart the worker as often as it takes, unless the error is one that does not pass by itself."""
        self._has_worked |= self.figures.recovery_seconds is not None
        is_final = error.code in LASTING or (error.code in _MISTAKES and not self._has_worked)
        if is_final or self._stop_asked.is_set():
            self._fail(error)
            return None
        return self._plan_restart(error, "storage", "storage failed, going on from the last checkpoint")

    def _judge_memory_error(self, error: MemoryError) -> float | None:
        """Memory ran out: a service waits until there is some; a single run has nothing to wait for."""
        text = (
            f"there is not enough memory: {str(error) or 'none'}; raise the limit (MemoryMax=, `ulimit -v`) or run fewer symbols"
        )
        if self._context.retries_errors:
            return self._judge_storage_error(StorageError(text, errno.ENOMEM))
        self._fail(SymbolError(text))
        return None

    def _judge_unforeseen_error(self, error: Exception) -> float | None:
        """An error came that nobody has foreseen: restart the worker, unless there were too many of them lately."""
        now = time.monotonic()
        self._errors.append(now)
        while self._errors[0] < now - _ERROR_WINDOW_SECONDS:
            self._errors.popleft()
        self._log.error("worker ended with an error", exc_info=error)
        if len(self._errors) > _MOST_ERRORS or self._stop_asked.is_set():
            text = f"{len(self._errors)} errors in {_ERROR_WINDOW_SECONDS / 60:.0f} minutes, the last: {error!r}"
            self._fail(SymbolError(f"{text}; this is a bug: please report it with the log"))
            return None
        return self._plan_restart(error, "error", "going on from the last checkpoint")

    def _plan_restart(self, error: Exception, reason: str, event: str) -> float:
        """Note and log why; the seconds until then, more after each failure in a row."""
        # A worker that has committed found its storage in order: the pauses begin anew.
        self._failures = 1 if self.figures.checkpoints.committed else self._failures + 1
        delay: float = min(_FIRST_BACKOFF_SECONDS * 2 ** min(self._failures - 1, 16), _LONGEST_BACKOFF_SECONDS)
        self.last_error = str(error) or repr(error)
        self._log.warning(event, error=self.last_error, seconds_until_then=delay)
        self._context.on_restart(self.id, reason)
        return delay


def _request_checkpoint(worker: SymbolWorker, answer: Future[int]) -> None:
    """Ask the worker, on its loop, and hand on what it answers."""
    try:
        request = worker.request_checkpoint()
    except StorageError as error:
        answer.set_exception(error)
        return

    def pass_on(request: asyncio.Future[int]) -> None:
        if request.cancelled():
            return  # the loop ends: `_run_worker` tells whoever waits
        error = request.exception()
        if error is None:
            answer.set_result(request.result())
        else:
            answer.set_exception(error)

    request.add_done_callback(pass_on)


def _request_book(worker: SymbolWorker, levels: int | None, form: str, answer: Future[bytes]) -> None:
    """Have the worker, on its loop, read its book, and hand on what comes of it."""
    reading = asyncio.ensure_future(worker.read_book(levels, form))

    def pass_on(reading: asyncio.Future[bytes]) -> None:
        if reading.cancelled() or answer.done():
            return  # the loop ends: `_run_worker` tells whoever waits
        error = reading.exception()
        if error is None:
            answer.set_result(reading.result())
        else:
            answer.set_exception(error)

    reading.add_done_callback(pass_on)
