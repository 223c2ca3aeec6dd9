"""When checkpoints are due: the rules one by one, and long random histories against them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cowbook.checkpoint.triggers import BACKLOG, CUT, EVENTS, MANUAL, STOP, TIMER, Triggers, TriggerSettings
from support.search import examples

SECOND = 1_000_000_000
SETTINGS = TriggerSettings(every_events=1000, every=300 * SECOND, min_pause=SECOND, min_events=0)


def new(events: int = 0) -> Triggers:
    """At time 0."""
    return Triggers(SETTINGS, now=0, events=events)


@pytest.mark.parametrize(
    ("events", "due"),
    [
        pytest.param(999, (), id="below"),
        pytest.param(1000, (EVENTS,), id="reached"),
        pytest.param(1001, (EVENTS,), id="passed"),
        pytest.param(5000, (EVENTS,), id="several_passed"),
    ],
)
def test_an_event_trigger_fires_once_per_multiple(events: int, due: tuple[str, ...]) -> None:
    """A multiple that is reached or passed, once."""
    triggers = new()
    assert triggers.due(now=1, events=events, saved=0) == due
    if due:
        triggers.begun(now=1)
        triggers.succeeded(now=2)
        assert triggers.due(now=2 + SECOND, events=events, saved=0) == ()


def test_a_recovered_multiple_is_not_due_again() -> None:
    """The multiple that the recovered state stands behind is not due again."""
    assert new(1500).due(now=1, events=1999, saved=1500) == ()
    assert new(1500).due(now=1, events=2000, saved=1500) == (EVENTS,)


def test_the_timer_counts_from_the_last_attempt() -> None:
    """So long after the beginning of the last attempt."""
    triggers = new()
    assert triggers.due(now=300 * SECOND - 1, events=0, saved=0) == ()
    assert triggers.due(now=300 * SECOND, events=0, saved=0) == (TIMER,)
    triggers.begun(now=310 * SECOND)
    triggers.succeeded(now=311 * SECOND)
    assert triggers.due(now=609 * SECOND, events=0, saved=0) == ()
    assert triggers.due(now=610 * SECOND, events=0, saved=0) == (TIMER,)


def test_the_timer_passes_over_few_new_events() -> None:
    """Fewer than `min_events` behind the newest checkpoint: no attempt, and the timer starts anew. Others ask all the same."""
    triggers = Triggers(replace(SETTINGS, min_events=10), now=0, events=500)
    assert triggers.due(now=300 * SECOND, events=509, saved=500) == ()
    assert triggers.next_due(now=300 * SECOND) == 300 * SECOND
    assert triggers.due(now=599 * SECOND, events=600, saved=500) == ()
    assert triggers.due(now=600 * SECOND, events=600, saved=591) == ()
    assert triggers.due(now=900 * SECOND, events=601, saved=591) == (TIMER,)
    triggers.nothing_new()
    triggers.request(MANUAL)
    assert triggers.due(now=901 * SECOND, events=601, saved=601) == (MANUAL,)
    assert triggers.merged == 0


def test_an_overdue_timer_fires_once() -> None:
    """A timer that is overdue many times over, while an attempt takes long, is due once, and starts anew from there."""
    triggers = new()
    triggers.request(MANUAL)
    triggers.begun(now=0)
    for now in (1500 * SECOND, 1501 * SECOND, 1799 * SECOND):
        assert triggers.due(now=now, events=0, saved=0) == ()
        assert triggers.merged == 0
    triggers.succeeded(now=1799 * SECOND)
    assert triggers.due(now=1800 * SECOND, events=0, saved=0) == (TIMER,)
    assert triggers.merged == 0


@pytest.mark.parametrize("fails", [False, True])
def test_requests_wait_for_attempt_and_pause(fails: bool) -> None:
    """Requests wait for the attempt and the pause after it, whatever came of it; events wait for the next multiple."""
    triggers = new()
    assert triggers.due(now=0, events=1000, saved=0) == (EVENTS,)
    triggers.begun(now=0)
    triggers.request(MANUAL)
    assert triggers.due(now=5 * SECOND, events=2000, saved=0) == ()
    assert triggers.merged == 1
    if fails:
        triggers.failed((EVENTS,), now=10 * SECOND)
    else:
        triggers.succeeded(now=10 * SECOND)
    assert triggers.due(now=11 * SECOND - 1, events=3000, saved=0) == ()
    assert triggers.merged == 2
    assert triggers.due(now=11 * SECOND, events=3001, saved=0) == ((EVENTS, MANUAL) if fails else (MANUAL,))


def test_triggers_that_meet_are_one_attempt() -> None:
    """Triggers that meet are one attempt."""
    triggers = new()
    triggers.request(MANUAL)
    triggers.request(MANUAL)
    assert triggers.due(now=400 * SECOND, events=1000, saved=0) == (MANUAL, TIMER, EVENTS)
    assert triggers.merged == 3
    triggers.begun(now=400 * SECOND)
    triggers.succeeded(now=400 * SECOND)
    assert triggers.due(now=402 * SECOND, events=1000, saved=0) == ()


def test_pauses_grow_with_failures_until_a_success() -> None:
    """Longer and longer pauses after failures, up to a minute; a success ends that."""
    triggers = new()
    triggers.request(MANUAL)
    now = 0
    pauses = []
    for _ in range(10):
        due = triggers.due(now=now, events=0, saved=0)
        assert MANUAL in due
        triggers.begun(now=now)
        triggers.failed(due, now=now)
        before = now
        while not triggers.due(now=now, events=0, saved=0):
            now += SECOND // 4
        pauses.append((now - before) / SECOND)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert triggers.failures == 10
    triggers.begun(now=now)
    triggers.succeeded(now=now)
    assert triggers.failures == 0


def test_nothing_new_drops_pending_triggers() -> None:
    """What is pending is forgotten."""
    triggers = new()
    triggers.request(MANUAL)
    assert triggers.due(now=0, events=0, saved=0) == (MANUAL,)
    triggers.nothing_new()
    assert triggers.due(now=0, events=0, saved=0) == ()


def test_attempts_never_overlap_and_requests_are_never_lost() -> None:
    """Never two at once, never inside a pause, no request is forgotten, and no attempt without a reason."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(200):
        triggers = new()
        now = events = 0
        ended = -SECOND  # no pause before the first one
        running: tuple[str, ...] = ()
        asked = False
        for _ in range(300):
            now += rng.randrange(40 * SECOND)
            events += rng.randrange(600)
            if rng.random() < 0.1:
                triggers.request(MANUAL)
                asked = True
            due = triggers.due(now=now, events=events, saved=0)
            if running:
                assert not due
                if rng.random() < 0.5:
                    if rng.random() < 0.3:
                        triggers.failed(running, now=now)
                        asked = asked or MANUAL in running
                    else:
                        triggers.succeeded(now=now)
                    running, ended = (), now
                continue
            assert not due or now >= ended + SECOND
            if now >= ended + 60 * SECOND:
                assert (MANUAL in due) == asked
            if due:
                triggers.begun(now=now)
                running, asked = due, False


@dataclass
class Model:
    """The rules over again, as slowly as can be: everything is worked out anew from what has happened since the start."""

    settings: TriggerSettings
    events: int
    looks: list[tuple[int, int]] = field(default_factory=list)  # time and events of each
    timer_from: int = 0
    waiting: list[str] = field(default_factory=list)
    running: tuple[str, ...] | None = None
    ended: int | None = None
    failures: int = 0
    merged: int = 0

    def request(self, trigger: str) -> None:
        """Whoever comes second is merged; nobody waits twice."""
        self.merged += bool(self.waiting)
        self.waiting += [trigger] * (trigger not in self.waiting)

    def pause(self) -> int:
        """The setting, or more after failures: a second, doubled each time, and a minute at most."""
        backoff = 0
        for number in range(self.failures):
            backoff = min(60 * SECOND, SECOND * 2**number)
        return max(self.settings.min_pause, backoff)

    def due(self, now: int, events: int, saved: int) -> tuple[str, ...]:
        """What may begin."""
        ready = self.running is None and (self.ended is None or now >= self.ended + self.pause())
        if ready and now - self.timer_from >= self.settings.every:
            self.timer_from = now
            if len(range(saved, events)) >= self.settings.min_events:
                self.request(TIMER)
        seen = self.looks[-1][1] if self.looks else self.events
        self.looks.append((now, events))
        if any(number % self.settings.every_events == 0 for number in range(seen + 1, events + 1)):
            if ready:
                self.request(EVENTS)
            else:
                self.merged += 1
        return tuple(self.waiting) if ready else ()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("look"), st.sampled_from([0, 1, SECOND // 2, SECOND, 7 * SECOND, 70 * SECOND]), st.integers(0, 25)),
        st.tuples(st.just("request"), st.sampled_from([MANUAL, STOP, BACKLOG])),
        st.tuples(st.just("end"), st.booleans()),
        st.tuples(st.just("nothing new")),
    ),
    max_size=60,
)


@settings(max_examples=examples(300))
@given(
    steps=STEPS,
    every_events=st.integers(1, 30),
    every=st.sampled_from([1, SECOND, 10 * SECOND, 10**18]),
    min_pause=st.sampled_from([0, 1, SECOND, 20 * SECOND]),
    min_events=st.integers(0, 40),
    events=st.integers(0, 100),
)
def test_any_history_equals_the_model(
    steps: list[tuple[object, ...]], every_events: int, every: int, min_pause: int, min_events: int, events: int
) -> None:
    """The same attempts at the same times, the same merged triggers and failures, whatever happens in whatever order."""
    chosen = TriggerSettings(every_events, every, min_pause, min_events)
    saved = frozen = events
    triggers, model = Triggers(chosen, now=0, events=events), Model(chosen, events)
    now = 0
    for step, *arguments in steps:
        if step == "look":
            now += int(str(arguments[0]))
            events += int(str(arguments[1]))
            due = triggers.due(now=now, events=events, saved=saved)
            assert due == model.due(now, events, saved)
            if due:
                frozen = events
                triggers.begun(now=now)
                model.running, model.waiting, model.timer_from = due, [], now
        elif step == "request":
            triggers.request(str(arguments[0]))
            model.request(str(arguments[0]))
        elif step == "end" and model.running is not None:
            if arguments[0]:
                triggers.succeeded(now=now)
                saved = frozen
                model.failures = 0
            else:
                triggers.failed(model.running, now=now)
                model.failures += 1
                model.waiting = [*model.running, *(one for one in model.waiting if one not in model.running)]
            model.running, model.ended = None, now
        elif step == "nothing new" and model.running is None:
            triggers.nothing_new()
            model.waiting = []
        assert (triggers.merged, triggers.failures) == (model.merged, model.failures)


class Driver:
    """Triggers and a clock: attempts begin when they are due, and what began is written down."""

    def __init__(self, settings: TriggerSettings) -> None:
        self.triggers = Triggers(settings, now=0, events=0)
        self.now = self.events = self.saved = self.frozen = 0
        self.running: tuple[str, ...] = ()
        self.begun: list[tuple[int, list[str]]] = []

    def look(self) -> None:
        """Ask, and begin what is due."""
        due = self.triggers.due(now=self.now, events=self.events, saved=self.saved)
        if due:
            self.triggers.begun(now=self.now)
            self.frozen = self.events
            self.begun.append((self.now, sorted(due)))
            self.running = due

    def happens(self, what: str, argument: int) -> None:
        """Something that the triggers are looked at after."""
        if what == "events":
            self.events += argument
        elif what == "request":
            self.triggers.request(MANUAL)
        elif what == "want":
            self.triggers.want(CUT)
        elif what == "configure":
            self.look()  # a timer that has passed by then has passed for both
            self.triggers.configure(TriggerSettings(7, argument, argument // 2), events=self.events)
        elif self.running:
            if argument % 2:
                self.triggers.succeeded(now=self.now)
                self.saved = self.frozen
            else:
                self.triggers.failed(self.running, now=self.now)
            self.running = ()
        self.look()


HAPPENINGS = st.lists(
    st.tuples(
        st.integers(0, 40),  # quarters of seconds until then
        st.sampled_from(["events", "request", "want", "end", "end", "configure"]),
        st.integers(1, 60),
    ),
    max_size=25,
)


@settings(max_examples=examples(200))
@given(happenings=HAPPENINGS, every=st.integers(1, 80), min_pause=st.integers(0, 20), min_events=st.integers(0, 60))
def test_asking_only_when_due_misses_nothing(
    happenings: list[tuple[int, str, int]], every: int, min_pause: int, min_events: int
) -> None:
    """Who asks only when `next_due` says so, and when something has happened, begins the same as who asks all the time."""
    quarter = SECOND // 4
    chosen = TriggerSettings(7, every * quarter, min_pause * quarter, min_events)
    always, seldom = Driver(chosen), Driver(chosen)
    for quarters, what, argument in [*happenings, (400, "events", 0)]:
        end = always.now + quarters * quarter
        while always.now < end:
            always.now += quarter
            always.look()
        looks = 0
        while (wait := seldom.triggers.next_due(now=seldom.now)) is not None and seldom.now + wait <= end:
            seldom.now += wait
            seldom.look()
            looks += 1
        assert looks <= quarters + 2  # never asks without end at one moment
        seldom.now = end
        for driver in (always, seldom):
            driver.happens(what, 2 * argument * quarter if what == "configure" else argument)
        assert seldom.begun == always.begun


def test_next_due_is_the_timer_the_pause_or_at_once() -> None:
    """The timer; at once when something waits; the pause; and never during an attempt."""
    triggers = new()
    assert triggers.next_due(now=0) == 300 * SECOND
    assert triggers.next_due(now=301 * SECOND) == 0
    triggers.request(MANUAL)
    assert triggers.next_due(now=5) == 0
    triggers.begun(now=5)
    assert triggers.next_due(now=6) is None
    triggers.request(MANUAL)
    assert triggers.next_due(now=6) is None
    triggers.succeeded(now=10)
    assert triggers.next_due(now=11) == SECOND - 1
    triggers.begun(now=SECOND + 10)
    triggers.succeeded(now=2 * SECOND)
    assert triggers.next_due(now=2 * SECOND) == 299 * SECOND + 10


def test_wanting_repeatedly_is_one_trigger() -> None:
    """Asked for again and again it is one trigger, and nothing is merged; a request beside it is."""
    triggers = new()
    for _ in range(5):
        triggers.want(CUT)
    assert triggers.merged == 0
    assert triggers.due(now=0, events=0, saved=0) == (CUT,)
    triggers.request(MANUAL)
    assert triggers.merged == 1
    assert triggers.due(now=0, events=0, saved=0) == (CUT, MANUAL)


@pytest.mark.parametrize("change", [-100, 0, 100])
def test_a_changed_timer_counts_from_the_last_attempt(change: int) -> None:
    """Another time counts from the beginning of the last attempt; the same one, said often, puts nothing off."""
    triggers = new()
    triggers.request(MANUAL)
    assert triggers.due(now=10 * SECOND, events=0, saved=0)
    triggers.begun(now=10 * SECOND)
    triggers.succeeded(now=11 * SECOND)
    every = (300 + change) * SECOND
    for _ in range(3):
        triggers.configure(TriggerSettings(1000, every, SECOND, 0), events=0)
    assert triggers.due(now=10 * SECOND + every - 1, events=0, saved=0) == ()
    assert triggers.next_due(now=10 * SECOND) == every
    assert triggers.due(now=10 * SECOND + every, events=0, saved=0) == (TIMER,)


def test_a_changed_multiple_counts_from_now() -> None:
    """Another multiple counts from here on; the same one is not forgotten."""
    triggers = new()
    triggers.configure(TriggerSettings(1000, 300 * SECOND, SECOND), events=1500)
    assert triggers.due(now=1, events=1500, saved=0) == (EVENTS,)
    triggers.nothing_new()
    triggers.configure(TriggerSettings(100, 300 * SECOND, SECOND), events=1550)
    assert triggers.due(now=1, events=1599, saved=0) == ()
    assert triggers.due(now=1, events=1600, saved=0) == (EVENTS,)


def test_a_changed_pause_counts_from_the_next_attempt() -> None:
    """Another pause counts from the next attempt on."""
    triggers = new()
    triggers.begun(now=0)
    triggers.succeeded(now=0)
    triggers.configure(TriggerSettings(1000, 300 * SECOND, 5 * SECOND), events=0)
    triggers.request(MANUAL)
    assert triggers.due(now=SECOND, events=0, saved=0) == (MANUAL,)
    triggers.begun(now=SECOND)
    triggers.succeeded(now=SECOND)
    triggers.request(MANUAL)
    assert triggers.due(now=6 * SECOND - 1, events=0, saved=0) == ()
    assert triggers.due(now=6 * SECOND, events=0, saved=0) == (MANUAL,)
