"""What the driver asks of a cluster, and what passes between it and the shards. Knows of no engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cowbook.config import Config


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster that is alive."""

    id: str
    name: str
    """For people: its name, or its address."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """The work of one shard: its symbols' configuration, in which `[service] shard` is set.

    The symbols are those that the driver has assigned to it, which need not be those that fall to it by their ids.
    """

    config: Config
    once: bool = False
    number: int = 1
    """Of a shard's tasks a later one has a higher number."""

    @property
    def shard(self) -> str:
        """Which one, as "I/N"."""
        return self.config.service.shard

    def then(self, config: Config) -> ShardTask:
        """Returns the shard's next task, of another configuration."""
        return ShardTask(config, self.once, self.number + 1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a shard says of itself."""

    instance: str
    """Unique to this start of the shard's process."""
    node: str
    host: str
    pid: int
    port: int | None
    """Of its HTTP endpoint; None while it has none."""
    cpu_seconds: float
    """Of its process, since its start."""
    has_ended: bool
    failure: str | None
    """Why the service could not run, or could not go on."""
    status: dict[str, Any]
    """As of /status."""
    task_number: int = 0
    """Of the task that it has gone over to. What was taken from it has ended then, with its last checkpoint."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds of its beginning until it was ready first, by stage, in their order: those of STAGES that are over."""


STAGES = ("process", "kernels", "symbols")
"""Of a shard's beginning: its process starts and imports modules; kernels are loaded; symbols are claimed and recover."""


class UnreachableError(Exception):
    """A shard does not answer now. It may be on its way to another node."""


class GoneError(Exception):
    """A shard is not there, and nobody but the driver starts it again."""


class Cluster(Protocol):
    """The machines, and the shards that run on them. All methods but `call` block."""

    def nodes(self) -> list[Node]:
        """Returns the nodes that are alive, by name."""

    def find(self) -> dict[str, Any]:
        """Returns the handles of all shards of this state directory that outlive their driver, by shard."""

    def assign(self, task: ShardTask) -> None:
        """Keep a shard's task: whatever starts the shard's process from now on, it begins with this one.

        What runs is not told. Raises UnreachableError.
        """

    def assigned(self, shard: str) -> ShardTask | None:
        """Returns the task that was kept last; None without any, or if it is of another release. Raises UnreachableError."""

    def start(self, task: ShardTask, node: str | None, *, outlives: bool) -> Any:
        """Assign a task, and start the shard on a node, or elsewhere if that one is gone. Returns its handle.

        With `outlives` it goes on when the driver ends, and the cluster starts it again where its process has ended. Else the
        driver does (`call` raises GoneError), and a spare process of the node begins at once.
        """

    def keep_spares(self, nodes: Collection[str], count: int, formats: Collection[str]) -> dict[str, int]:
        """Have so many processes wait on each of these nodes, with all modules and the kernels of these formats.

        Waits for none. Returns how many are ready, by node.
        """

    async def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        """Call a method of a shard. Raises UnreachableError or GoneError."""

    def kill(self, handle: Any, shard: str) -> None:
        """End a shard's process at once, and wait until it is gone. It is not started again."""

    def close(self) -> None:
        """Leave the cluster. What does not outlive the driver ends."""
