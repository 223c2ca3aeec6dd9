"""The unchanged service, in a thread of a process that something else has started: what runs on a node for a shard."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Coroutine
from dataclasses import fields
from itertools import pairwise
from typing import Any, TypeVar
from uuid import uuid4

from cowbook.cluster.nodes import STAGES, Answer, ShardTask
from cowbook.errors import CowbookError, StorageError
from cowbook.log import configure_logging, get_logger
from cowbook.service.service import Service
from cowbook.symbol.summary import SymbolSummary
from cowbook.symbol.symbol_thread import LOOPS

T = TypeVar("T")

_ENDED = "the shard's service has ended"
_PAUSE_SECONDS = 5.0
"""Before a process that has met a bug ends, so that one that always fails is not started again without a pause."""


class HostedService:
    """Runs a shard's service from its making on, so that whoever starts the process again need not know what it is for.

    Other threads call the methods. What they return are plain values: a driver may be of another release.
    """

    def __init__(self, task: ShardTask, node: str, host: str, process_seconds: float = 0.0) -> None:
        """`node` is the cluster's name of this machine, and `host` the address on which others reach it.

        `process_seconds` is how long the process took to come here, if it was started for this.
        """
        self._began = time.monotonic()
        self._process_seconds = process_seconds
        self._ready_at: float | None = None
        configure_logging(task.config.log.level, "json")
        self._task = self._asked = task
        self._node = node
        self._host = host
        self._instance = uuid4().hex
        self._ended = threading.Event()
        self._is_stopping = False
        self._failure: str | None = None
        self._log = get_logger().bind(shard=task.shard)
        config = _served_at(task, host)
        # What had the shard before may not have noticed yet that it is taken for dead.
        self._service = Service(lambda: config, {}, once=task.once, waits_for_locks=True)
        self._runner = asyncio.Runner(loop_factory=LOOPS[config.service.loop])
        self._loop = self._runner.get_loop()
        threading.Thread(target=self._run, name="service", daemon=True).start()

    def look(self) -> dict[str, Any]:
        """Returns the fields of an Answer."""
        number = self._task.number  # before the status, so that what belongs to this task is in it
        status = self._service.status()
        if status["ready"] and self._ready_at is None:
            self._ready_at = time.monotonic()
        answer = Answer(
            instance=self._instance,
            node=self._node,
            host=self._host,
            pid=os.getpid(),
            port=self._service.http_port,
            cpu_seconds=time.process_time(),
            has_ended=self._ended.is_set(),
            failure=self._failure,
            status=status,
            task_number=number,
            stages=self._stages(),
        )
        return {field.name: getattr(answer, field.name) for field in fields(answer)}  # `asdict` would copy thousands of values

    def _stages(self) -> dict[str, float]:
        """Seconds by stage, as Answer has them. The last one ends when somebody looks."""
        ends = (self._began, self._service.warm_at, self._ready_at)
        seconds = [end - begin for begin, end in pairwise(ends) if begin is not None and end is not None]
        return dict(zip(STAGES, [self._process_seconds, *seconds], strict=False))

    def follow(self, task: ShardTask) -> None:
        """Go over to a later task. Returns at once: `look` says when that is done. Symbols that are in both do not notice."""
        if task.number > self._asked.number:
            self._asked = task
            self._service.follow(_served_at(task, self._host), lambda: self._note(task))

    def _note(self, task: ShardTask) -> None:
        self._task = task

    def stop(self) -> None:
        """Ask every symbol for its last checkpoint and its end. Returns at once: `look` says when that is done."""
        if not self._is_stopping:
            self._is_stopping = True
            self._service.receive(signal.SIGTERM)

    def summaries(self) -> list[SymbolSummary]:
        """Returns what came of the symbols that have ended."""
        return [thread.summary for thread in self._service.threads.values() if thread.summary is not None]

    def checkpoint(self, symbol_id: str | None, waits: bool) -> list[dict[str, Any]]:
        """As `Service.checkpoint`. Where the service has ended, there is nothing to take one of."""
        if self._ended.is_set():
            ids = [symbol.id for symbol in self._task.config.symbol if symbol_id in (None, symbol.id)]
            return [{"id": one, "epoch": None, "error": _ENDED} for one in ids]
        return self._on_loop(self._service.checkpoint(symbol_id, waits=waits))

    def read_book(self, symbol_id: str, levels: int | None, form: str) -> tuple[bytes, str | None]:
        """Returns the live book as `Service.read_book` does, and why there is none."""
        if self._ended.is_set():
            return b"", _ENDED
        try:
            return self._on_loop(self._service.read_book(symbol_id, levels, form)), None
        except StorageError as error:
            return b"", str(error)

    def _on_loop(self, what: Coroutine[Any, Any, T]) -> T:
        """Have the service's loop do something, and wait. Raises StorageError if it has ended meanwhile."""
        try:
            return asyncio.run_coroutine_threadsafe(what, self._loop).result()
        except RuntimeError as error:  # the loop is closed
            what.close()
            raise StorageError(_ENDED) from error

    def _run(self) -> None:
        try:
            with self._runner:
                self._runner.run(self._service.run())
            for thread in self._service.threads.values():
                if self._task.once and thread.failure is not None:
                    raise thread.failure
        except CowbookError as error:
            self._log.error("the shard cannot run", error=str(error))
            self._failure = str(error)
        except BaseException as error:  # noqa: BLE001 - a bug, which ends the process, or is told to whoever waits for an end
            self._log.exception("the shard's service ended with an error")
            self._failure = repr(error)
            if not self._task.once:  # a new process goes on from the last checkpoints, as systemd would have it
                time.sleep(_PAUSE_SECONDS)
                os._exit(1)
        finally:
            self._ended.set()


def _served_at(task: ShardTask, host: str) -> Any:
    """Returns the configuration with an endpoint on a free port of this machine, if it has one at all."""
    http = task.config.http
    if not http.listen:
        return task.config
    address = f"[{host}]:0" if ":" in host else f"{host}:0"
    return task.config.model_copy(update={"http": http.model_copy(update={"listen": address})})
