"""What the driver knows of a shard: whose answers count, whether it is lost, and how long a takeover has taken. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from cowbook.cluster.nodes import Answer, ShardTask

_LOST_SECONDS = 5.0
"""A shard that has not answered for this long is lost, until it answers again."""


class ShardWatch:
    """One shard. Times are seconds of one monotonic clock."""

    def __init__(self, task: ShardTask, handle: Any, now: float) -> None:
        self.task = task
        self.handle = handle
        self.answer: Answer | None = None
        """The newest one that counts."""
        self.answered_at = now
        self.changed_at = now
        """When it was started, moved or taken over last."""
        self.takeovers = 0
        self.takeover_seconds: float | None = None
        """Of the last takeover, from the last answer before it until all symbols stood at their place again."""
        self.takeover_stages: dict[str, float] = {}
        """Where these went: until somebody noticed (`notice`), then as the shard has it (`nodes.STAGES`)."""
        self.is_stopping = False
        """Whether the driver ends it, to start it again."""
        self.is_moving = False
        """Whether it has ended it so, and the new process is not ready yet. That is no takeover."""
        self.is_adopted = False
        """Whether an earlier driver has started its process: the cluster starts that one again, and no driver does."""
        self._is_gone = False
        self._lost_at: float | None = None
        self._retired: set[str] = set()

    @property
    def shard(self) -> str:
        """Which one, as "I/N"."""
        return self.task.shard

    @property
    def symbol_ids(self) -> list[str]:
        """Its symbols, in the order of the configuration."""
        return [symbol.id for symbol in self.task.config.symbol]

    def take(self, answer: Answer, alive: Collection[str], now: float) -> bool:
        """Take note of an answer. Returns False if it does not count, since the shard runs elsewhere by now.

        The answer of a worker that was cut off may come after that of its successor, and even before it: an engine hands out
        whatever the first call brings. So an instance that another one has followed never counts again, and neither does one
        whose node is not among those alive.
        """
        if answer.node not in alive or answer.instance in self._retired:
            return False
        before = self.answer
        if before is not None and before.instance != answer.instance:
            self._retired.add(before.instance)
            self.changed_at = now
            if not self.is_moving:
                self.takeovers += 1
                self._lost_at = self.answered_at if self._lost_at is None else self._lost_at
        self.answer = answer
        self.answered_at = now
        self._is_gone = False
        if self._lost_at is not None and self.is_ready:
            self.takeover_seconds = now - self._lost_at
            rest = self.takeover_seconds - sum(answer.stages.values())
            self.takeover_stages = {"notice": max(0.0, rest), **answer.stages}
            self._lost_at = None
        if self.is_ready and not self.is_stopping:
            self.is_moving = False
        return True

    def note_gone(self) -> None:
        """Take note that its process is not there: it is lost until it answers again."""
        self._is_gone = True

    def begin_move(self) -> None:
        """Expect its end: the driver has asked for it."""
        self.is_stopping = self.is_moving = True

    def start_again(self, task: ShardTask, handle: Any, now: float) -> None:
        """Go on with a new process, which the driver has started in place of the one before."""
        if self.answer is not None:
            self._retired.add(self.answer.instance)
        self.task, self.handle, self.answer = task, handle, None
        self.is_stopping = self.is_adopted = False
        self.answered_at = self.changed_at = now

    @property
    def has_followed(self) -> bool:
        """Whether it has gone over to its task, by its newest answer. What has ended has no symbol any more."""
        return self.answer is not None and (self.answer.has_ended or self.answer.task_number >= self.task.number)

    def is_lost(self, alive: Collection[str], now: float) -> bool:
        """Whether it has answered once, and does not any more."""
        if self.answer is None:
            return False
        return self._is_gone or self.answer.node not in alive or now - self.answered_at > _LOST_SECONDS

    @property
    def is_ready(self) -> bool:
        """Whether all symbols of its task stood at their place, by its newest answer. An end is a place, too."""
        return self.answer is not None and self.has_followed and (self.answer.has_ended or bool(self.answer.status["ready"]))

    def state(self, alive: Collection[str], now: float) -> str:
        """Returns starting, running, lost, moving, failed or done."""
        if self.is_moving:
            return "moving"
        if self.answer is None:
            return "starting"
        if self.is_lost(alive, now):
            return "lost"
        if self.answer.failure is not None:
            return "failed"
        if self.answer.has_ended:
            return "done"
        return "running" if self.is_ready else "starting"
