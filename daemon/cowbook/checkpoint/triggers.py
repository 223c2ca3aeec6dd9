"""Decides when a checkpoint is due. Pure: the caller passes the time (monotonic, ns) and what has happened."""

from __future__ import annotations

from dataclasses import dataclass

EVENTS = "events"
TIMER = "timer"
MANUAL = "manual"
STOP = "stop"
BACKLOG = "backlog"
CUT = "cut"
END_OF_INPUT = "end_of_input"

_FIRST_BACKOFF_NS = 1_000_000_000
_LONGEST_BACKOFF_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """Settings of the triggers; `every` and `min_pause` are in ns. The timer passes over fewer new events than `min_events`."""

    every_events: int = 1_000_000
    every: int = 300_000_000_000
    min_pause: int = 1_000_000_000
    min_events: int = 1


class Triggers:
    """Decides when an attempt begins. Attempts run one at a time, with a pause after each, and a longer one after a failure.

    An event trigger that fires during an attempt or a pause is dropped until the next multiple; other triggers wait.
    """

    def __init__(self, settings: TriggerSettings, *, now: int, events: int) -> None:
        self._settings = settings
        self._multiple = events // settings.every_events
        self._timer_due_ns = now + settings.every
        self._not_before_ns = now
        self._pending: list[str] = []
        self._running = False
        self._failures = 0
        self.merged = 0
        """Triggers that found another one waiting, or fired during an attempt or a pause and were dropped."""

    @property
    def failures(self) -> int:
        """Failed attempts since the last successful one."""
        return self._failures

    def request(self, trigger: str) -> None:
        """Ask for a checkpoint. It becomes due when no attempt and no pause is in the way."""
        if self._pending:
            self.merged += 1
        if trigger not in self._pending:
            self._pending.append(trigger)

    def want(self, trigger: str) -> None:
        """As `request`, for a caller that asks repeatedly until served; never counted as merged."""
        if trigger not in self._pending:
            self._pending.append(trigger)

    def due(self, *, now: int, events: int, saved: int) -> tuple[str, ...]:
        """The triggers for which an attempt is to begin now; empty if none is.

        `events` is the number of events so far, and `saved` how many of them the newest checkpoint has.
        """
        is_ready = not self._running and now >= self._not_before_ns
        if is_ready and now >= self._timer_due_ns:  # before, nothing could begin, and what is new is not settled
            self._timer_due_ns = now + self._settings.every
            if events - saved >= self._settings.min_events:
                self.request(TIMER)
        multiple = events // self._settings.every_events
        if multiple > self._multiple:
            self._multiple = multiple
            if is_ready:
                self.request(EVENTS)
            else:
                self.merged += 1
        return tuple(self._pending) if is_ready else ()

    def next_due(self, *, now: int) -> int | None:
        """Ns until `due` may change by time alone; None while an attempt runs."""
        if self._running:
            return None
        return max(self._not_before_ns if self._pending else max(self._timer_due_ns, self._not_before_ns), now) - now

    def configure(self, settings: TriggerSettings, *, events: int) -> None:
        """Change the settings."""
        if settings.every_events != self._settings.every_events:
            self._multiple = events // settings.every_events
        # The timer keeps its start, so that repeated calls with the same settings do not put it off.
        self._timer_due_ns += settings.every - self._settings.every
        self._settings = settings

    def begun(self, *, now: int) -> None:
        """Record that an attempt has begun; it serves all pending triggers."""
        assert not self._running
        self._running = True
        self._pending = []
        self._timer_due_ns = now + self._settings.every

    def nothing_new(self) -> None:
        """Drop the pending triggers, which the existing checkpoint answers."""
        self._pending = []

    def succeeded(self, *, now: int) -> None:
        """Record that the attempt succeeded."""
        self._running = False
        self._failures = 0
        self._not_before_ns = now + self._settings.min_pause

    def failed(self, triggers: tuple[str, ...], *, now: int) -> None:
        """Record that the attempt failed. Its triggers are pending again, after a pause that doubles with each failure."""
        self._running = False
        backoff = min(_FIRST_BACKOFF_NS << min(self._failures, 16), _LONGEST_BACKOFF_NS)
        self._failures += 1
        self._not_before_ns = now + max(self._settings.min_pause, backoff)
        self._pending = [*triggers, *(trigger for trigger in self._pending if trigger not in triggers)]
