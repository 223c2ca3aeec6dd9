"""When a checkpoint is due. Pure: the caller says what time it is and what has happened. Times are monotonic, in ns."""

from __future__ import annotations

from dataclasses import dataclass

EVENTS = "events"
TIMER = "timer"
MANUAL = "manual"
STOP = "stop"
BACKLOG = "backlog"
CUT = "cut"
END_OF_INPUT = "end_of_input"

_FIRST_BACKOFF = 1_000_000_000
_LONGEST_BACKOFF = 60_000_000_000


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """`every` and `min_pause` in ns."""

    every_events: int = 1_000_000
    every: int = 300_000_000_000
    min_pause: int = 1_000_000_000


class Triggers:
    """Decides when an attempt begins: one at a time, with a pause after each, and longer ones after failures.

    An event trigger that meets an attempt or the pause waits for the next multiple; the other triggers wait for their time.
    """

    def __init__(self, settings: TriggerSettings, *, now: int, events: int) -> None:
        self._settings = settings
        self._multiple = events // settings.every_events
        self._timer_due = now + settings.every
        self._not_before = now
        self._pending: list[str] = []
        self._running = False
        self._failures = 0
        self.merged = 0
        """Triggers that found another one waiting, or that an attempt or a pause has swallowed."""

    @property
    def failures(self) -> int:
        """Attempts that have failed since the last one that did not."""
        return self._failures

    def request(self, trigger: str) -> None:
        """Ask for a checkpoint: it comes when its time has come."""
        if self._pending:
            self.merged += 1
        if trigger not in self._pending:
            self._pending.append(trigger)

    def want(self, trigger: str) -> None:
        """As `request`, by something that goes on asking until it is served: it is not counted as merged."""
        if trigger not in self._pending:
            self._pending.append(trigger)

    def due(self, *, now: int, events: int) -> tuple[str, ...]:
        """The triggers of an attempt that is to begin now; empty when none is. `events` is the number of events so far."""
        if now >= self._timer_due:
            self._timer_due = now + self._settings.every
            self.request(TIMER)
        is_ready = not self._running and now >= self._not_before
        multiple = events // self._settings.every_events
        if multiple > self._multiple:
            self._multiple = multiple
            if is_ready:
                self.request(EVENTS)
            else:
                self.merged += 1
        return tuple(self._pending) if is_ready else ()

    def next_due(self, *, now: int) -> int | None:
        """Ns until `due` is worth asking again, if nothing happens meanwhile; None while an attempt runs."""
        if self._running:
            return None
        return max(self._not_before if self._pending else max(self._timer_due, self._not_before), now) - now

    def configure(self, settings: TriggerSettings, *, events: int) -> None:
        """Other settings from now on."""
        if settings.every_events != self._settings.every_events:
            self._multiple = events // settings.every_events
        # From where it was running: asking for the same again and again does not put the timer off.
        self._timer_due += settings.every - self._settings.every
        self._settings = settings

    def begun(self, *, now: int) -> None:
        """An attempt begins, for all that is pending."""
        assert not self._running
        self._running = True
        self._pending = []
        self._timer_due = now + self._settings.every

    def nothing_new(self) -> None:
        """What is pending is answered with the checkpoint that is there."""
        self._pending = []

    def succeeded(self, *, now: int) -> None:
        """The attempt ended well."""
        self._running = False
        self._failures = 0
        self._not_before = now + self._settings.min_pause

    def failed(self, triggers: tuple[str, ...], *, now: int) -> None:
        """The attempt was dropped: its triggers are pending again, with a longer pause each time."""
        self._running = False
        backoff = min(_FIRST_BACKOFF << min(self._failures, 16), _LONGEST_BACKOFF)
        self._failures += 1
        self._not_before = now + max(self._settings.min_pause, backoff)
        self._pending = [*triggers, *(trigger for trigger in self._pending if trigger not in triggers)]
