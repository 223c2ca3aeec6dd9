"""Objects in memory or elsewhere, and writers whose operations on them are interleaved at will."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from cowbook.checkpoint.storage import Storage


class MemoryStorage:
    """What `checkpoint/storage.py:Storage` asks for, in a dictionary; `created` are the names in the order of their making."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.created: list[str] = []

    def names(self) -> list[str]:
        """Names of all objects."""
        return list(self.objects)

    def read(self, name: str) -> bytes:
        """The content."""
        try:
            return self.objects[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def create(self, name: str, content: bytes, writer: str) -> bool:
        """Make an object unless there is one."""
        if name in self.objects:
            return False
        self.objects[name] = content
        self.created.append(name)
        return True

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        self.objects.pop(name, None)

    def sweep(self, below: int) -> None:
        """Nothing is ever half made."""


class Recorded:
    """A storage that notes what was created in it, in order, as MemoryStorage does."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.created: list[str] = []

    def names(self) -> list[str]:
        """As the storage's."""
        return self._storage.names()

    def read(self, name: str) -> bytes:
        """As the storage's."""
        return self._storage.read(name)

    def create(self, name: str, content: bytes, writer: str) -> bool:
        """As the storage's, noted."""
        is_created = self._storage.create(name, content, writer)
        if is_created:
            self.created.append(name)
        return is_created

    def delete(self, name: str) -> None:
        """As the storage's."""
        self._storage.delete(name)

    def sweep(self, below: int) -> None:
        """As the storage's."""
        self._storage.sweep(below)


class Stepped:
    """A storage that does an operation only when it is told to: for one writer, which runs in a thread of its own."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._turn, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self.result: Any = None
        """What the last call has returned or raised."""

    def begin(self, call: Callable[[], Any]) -> None:
        """Call something in the thread, up to its first operation."""
        assert self._thread is None

        def run() -> None:
            try:
                self.result = call()
            except Exception as error:  # noqa: BLE001 - handed on to the test
                self.result = error
            self._thread = None
            self._done.release()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        self._done.acquire()

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way."""
        return self._thread is not None

    def step(self) -> None:
        """Let it do one operation, up to the next one or to the end of the call."""
        self._turn.release()
        self._done.acquire()

    def _wait(self) -> None:
        self._done.release()
        self._turn.acquire()

    def names(self) -> list[str]:
        """As the storage's, in its turn."""
        self._wait()
        return self._storage.names()

    def read(self, name: str) -> bytes:
        """As the storage's, in its turn."""
        self._wait()
        return self._storage.read(name)

    def create(self, name: str, content: bytes, writer: str) -> bool:
        """As the storage's, in its turn."""
        self._wait()
        return self._storage.create(name, content, writer)

    def delete(self, name: str) -> None:
        """As the storage's, in its turn."""
        self._wait()
        self._storage.delete(name)

    def sweep(self, below: int) -> None:
        """As the storage's, in its turn."""
        self._wait()
        self._storage.sweep(below)
