"""A cluster in memory: shards that are objects, on nodes that a test takes away."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from cowbook import __version__
from cowbook.cluster.nodes import Answer, GoneError, Node, ShardTask, UnreachableError
from cowbook.config import Config, load_config
from cowbook.symbol.summary import SymbolSummary
from cowbook.telemetry.status import empty_status


def config_of(directory: Path, *symbols: str, more: str = "") -> Config:
    """A configuration of these symbols."""
    tables = [f'[[symbol]]\nname = "{symbol}"\nformat = "binance"\npaths = ["{symbol}"]\nfollow = true\n' for symbol in symbols]
    path = directory / "cowbook.toml"
    path.write_text('[http]\nlisten = ""\n' + more + "".join(tables))
    return load_config(path, {})


def part_of(directory: Path, *symbols: str) -> Config:
    """Such a configuration as the only shard's."""
    config = config_of(directory, *symbols)
    return config.model_copy(update={"service": config.service.model_copy(update={"shard": "0/1"})})


def answer_of(
    instance: str,
    node: str,
    *symbols: str,
    ready: bool = True,
    ended: bool = False,
    failure: str | None = None,
    version: str = __version__,
    cpu_seconds: float = 0.0,
) -> Answer:
    """What a shard would say."""
    statuses = [empty_status(symbol) | {"state": "done" if ended else "running", "events": 7} for symbol in symbols]
    status = {"version": version, "ready": ready, "symbols": statuses}
    return Answer(instance, node, f"host-{node}", 1, None if ended else 9000, cpu_seconds, ended, failure, status, 1)


@dataclass
class FakeShard:
    """One process."""

    the_task: ShardTask
    node: str
    instance: str
    outlives: bool = False
    is_reachable: bool = True
    is_gone: bool = False
    ended: bool = False
    stopped: int = 0
    cpu_seconds: float = 0.0
    version: str = __version__
    is_deaf: bool = False
    """Whether it goes on as it was, whatever it is told."""
    messages: dict[str, int] = field(default_factory=dict)
    followed: list[list[str]] = field(default_factory=list)
    """Ids of the symbols of each task that it has gone over to."""
    checkpoints: list[tuple[str | None, bool]] = field(default_factory=list)

    def look(self) -> dict[str, Any]:
        """As HostedService."""
        ids = [symbol.id for symbol in self.the_task.config.symbol]
        answer = answer_of(self.instance, self.node, *ids, ended=self.ended, version=self.version, cpu_seconds=self.cpu_seconds)
        for symbol in answer.status["symbols"]:
            symbol["messages"] = self.messages.get(symbol["id"], 0)
        return asdict(replace(answer, task_number=self.the_task.number))

    def follow(self, task: ShardTask) -> None:
        """As HostedService; it does so at once."""
        if not self.is_deaf and task.number > self.the_task.number:
            self.the_task = task
            self.followed.append([symbol.id for symbol in task.config.symbol])

    def stop(self) -> None:
        """As HostedService; it ends at once."""
        self.stopped += 1
        self.ended = True

    def summaries(self) -> list[SymbolSummary]:
        """As HostedService."""
        return [SymbolSummary(symbol.id) for symbol in self.the_task.config.symbol]

    def checkpoint(self, symbol_id: str | None, waits: bool) -> list[dict[str, Any]]:
        """As HostedService."""
        self.checkpoints.append((symbol_id, waits))
        ids = [symbol.id for symbol in self.the_task.config.symbol if symbol_id in (None, symbol.id)]
        return [{"id": one, "epoch": 3, "error": None} for one in ids]

    def read_book(self, symbol_id: str, levels: int | None, form: str) -> tuple[bytes, str | None]:
        """As HostedService."""
        return f"{symbol_id} {levels} {form}".encode(), None


class FakeCluster:
    """Nodes by name, and shards that were started on them."""

    def __init__(self, *nodes: str) -> None:
        self.alive = list(nodes)
        self.there: dict[str, FakeShard] = {}
        self.started: list[tuple[str, str | None]] = []
        self.killed: list[FakeShard] = []
        self.kept: dict[str, ShardTask] = {}
        self.spares: tuple[set[str], int, set[str]] | None = None
        """Nodes on which processes wait, how many on each, and the formats whose kernels they have."""
        self.without_spares: set[str] = set()
        self.are_stillborn = False
        """Whether what is started ends at once."""
        self.is_headless = False
        """Whether it keeps nothing."""
        self._numbers = count()

    def nodes(self) -> list[Node]:
        """As Cluster."""
        return [Node(name, name) for name in self.alive]

    def find(self) -> dict[str, Any]:
        """As Cluster."""
        return dict(self.there)

    def assign(self, task: ShardTask) -> None:
        """As Cluster."""
        if self.is_headless:
            raise UnreachableError("no head")
        self.kept[task.shard] = task

    def assigned(self, shard: str) -> ShardTask | None:
        """As Cluster."""
        return self.kept.get(shard)

    def restart(self, shard: str, node: str) -> None:
        """What an engine does when a shard's node has gone: the same handle is another process, with the task that is kept."""
        self.there[shard].node, self.there[shard].instance = node, f"instance-{next(self._numbers)}"
        self.there[shard].the_task = self.kept[shard]

    def start(self, task: ShardTask, node: str | None, *, outlives: bool) -> Any:
        """As Cluster."""
        self.assign(task)
        self.started.append((task.shard, node))
        instance = f"instance-{next(self._numbers)}"
        self.there[task.shard] = FakeShard(task, node or self.alive[0], instance, outlives, is_gone=self.are_stillborn)
        return self.there[task.shard]

    def keep_spares(self, nodes: Collection[str], count: int, formats: Collection[str]) -> dict[str, int]:
        """As Cluster. All are ready at once, but on the nodes of `without_spares`."""
        self.spares = {*nodes}, count, {*formats}
        return {node: 0 if node in self.without_spares else count for node in nodes}

    async def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        """As Cluster."""
        if handle.is_gone:
            raise GoneError("no such process")
        if not handle.is_reachable:
            raise UnreachableError("no answer")
        return getattr(handle, method)(*arguments)

    def kill(self, handle: Any, shard: str) -> None:
        """As Cluster."""
        self.killed.append(handle)
        handle.is_gone = True
        if self.there.get(shard) is handle:
            del self.there[shard]

    def close(self) -> None:
        """As Cluster."""
