"""The merger's order against naive ones, over messages made at random."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from cowbook.merge.merger import BATCH_MESSAGES, Merger
from cowbook.plain.messages import DIFF, NONE, TRADE, EventBatch
from cowbook.plain.schemes import UNNUMBERED

_START = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class _Message:
    """A trade or a change of one level, of which the size is the number in its source."""

    kind: int
    ts_event: int
    ts_recv: int
    last_id: int
    price: int
    size: int
    sequence: int = 0


def _batch(messages: list[_Message]) -> EventBatch:
    batch = EventBatch.allocate(BATCH_MESSAGES, BATCH_MESSAGES)
    rows = batch.messages[: len(messages)]
    for field in ("kind", "ts_event", "ts_recv", "last_id", "sequence"):
        rows[field] = [getattr(message, field) for message in messages]
    rows["rule"] = UNNUMBERED
    rows["first_id"] = rows["prev_id"] = NONE
    rows["bid_start"], rows["bid_count"] = np.arange(len(messages)), 1
    batch.prices[: len(messages)] = [message.price for message in messages]
    batch.sizes[: len(messages)] = [message.size for message in messages]
    batch.message_count = batch.level_count = len(messages)
    return batch


def _join(sources: list[list[_Message]], rng: np.random.Generator, most_at_once: int) -> list[tuple[int, int]]:
    """Returns (source, size) of the joined messages, of sources that bring at most so many messages at a time."""
    merger, places, found = Merger(len(sources)), [0] * len(sources), []
    batch, numbers = EventBatch.allocate(512, 512), np.zeros(512, np.int64)
    while True:
        batch.clear()
        needed = merger.join(batch, numbers, most=int(rng.integers(1, 512)))
        sizes = batch.sizes[batch.messages["bid_start"][: batch.message_count]]
        found += list(zip(numbers[: batch.message_count].tolist(), sizes.tolist(), strict=True))
        if needed is None:
            return found
        if needed < 0:
            continue
        more = sources[needed][places[needed] : places[needed] + int(rng.integers(1, most_at_once + 1))]
        places[needed] += len(more)
        if more:
            merger.append(needed, _batch(more))
        else:
            merger.end(needed)


def _make_sources(rng: np.random.Generator, count: int, span_ns: int, *, jitter_ns: int) -> list[list[_Message]]:
    """Sources without a message in common. Times of receipt are often in another order than those of the venue."""
    sources = []
    for source in range(count):
        size = int(rng.integers(1, 1_500))
        times = _START + np.sort(rng.integers(0, span_ns, size)) // 1_000 * 1_000
        sources.append(
            [
                _Message(
                    DIFF,
                    int(time),
                    int(time) + 500 + int(rng.integers(0, jitter_ns + 1)),
                    NONE,
                    1 + source * 10_000 + number,
                    number + 1,
                )
                for number, time in enumerate(times)
            ]
        )
    return sources


def _by_receipt(sources: list[list[_Message]]) -> list[tuple[int, int]]:
    """The naive order of what has nothing in common: of the messages in front, the one that was received first."""
    heads, found = [0] * len(sources), []
    while any(head < len(source) for head, source in zip(heads, sources, strict=True)):
        waiting = [number for number, source in enumerate(sources) if heads[number] < len(source)]
        first = min(waiting, key=lambda number: (sources[number][heads[number]].ts_recv, number))
        found.append((first, sources[first][heads[first]].size))
        heads[first] += 1
    return found


@pytest.mark.parametrize("jitter_ns", [0, 2_000, 5_000_000_000])
@pytest.mark.parametrize("span_ns", [2_000_000, 60_000_000_000])
def test_what_has_nothing_in_common_is_ordered_by_receipt(span_ns: int, jitter_ns: int, seed: int) -> None:
    """Whether or not the order shows by the times of the heads alone, and however much is brought at once."""
    rng = np.random.default_rng(seed)
    sources = _make_sources(rng, 6, span_ns, jitter_ns=jitter_ns)
    assert _join(sources, rng, 700) == _by_receipt(sources)


@pytest.mark.parametrize("span_ns", [50_000_000, 60_000_000_000])
def test_the_order_depends_on_what_the_sources_hold_alone(span_ns: int, seed: int) -> None:
    """Copies that lack messages, trades with ids among them, clocks apart, pieces of any size: one order, each message once."""
    rng = np.random.default_rng(seed)
    (whole,) = _make_sources(rng, 1, span_ns, jitter_ns=0)
    whole = [replace(message, kind=TRADE, last_id=place) if place % 3 == 0 else message for place, message in enumerate(whole)]
    sources: list[list[_Message]] = [[], [], []]
    for place, message in enumerate(whole):
        for number, source in enumerate(sources):
            if place // 20 % 4 != number:
                source.append(replace(message, ts_recv=message.ts_recv + number * 1_000_000))
    orders = [_join(sources, rng, most) for most in (3, 60, BATCH_MESSAGES)]
    assert [size for _, size in orders[0]] == [message.size for message in whole]
    assert orders[1:] == orders[:1] * 2


def _nameless(rng: np.random.Generator, count: int) -> list[_Message]:
    """Changes that only their content names, each of which comes many times, seconds apart, and trades with ids."""
    found: list[_Message] = []
    time, last = _START, dict.fromkeys(range(1, 16), 0)
    for number in range(count):
        time += int(rng.integers(100_000_000, 700_000_000))
        free = [content for content, before in last.items() if time - before > 2_000_000_000]
        if number % 5 == 0 or not free:
            found.append(_Message(TRADE, time - 1_000_000, time, number, 7, 1_000 + number))
            continue
        content = int(rng.choice(free))
        last[content] = time
        found.append(_Message(DIFF, time, time, NONE, 1, content))
    return found


def _lossy(whole: list[_Message], rng: np.random.Generator) -> list[list[_Message]]:
    """Three copies that lack bursts; all have the first message."""
    sources: list[list[_Message]] = [[], [], []]
    victim, left = 0, 0
    for message in whole:
        if not left:
            victim, left = int(rng.integers(0, 4)), int(rng.integers(1, 20))
        left -= 1
        for number, source in enumerate(sources):
            if number != victim or message is whole[0]:
                source.append(message)
    return sources


@pytest.mark.parametrize("most_at_once", [5, 300])
def test_the_numbers_of_a_connection_name_a_record_whenever_it_was_brought(most_at_once: int, seed: int) -> None:
    """Before it shows that the sources share the numbers, and after that."""
    rng = np.random.default_rng(seed)
    whole = [replace(message, sequence=number + 1) for number, message in enumerate(_nameless(rng, 900))]
    assert [size for _, size in _join(_lossy(whole, rng), rng, most_at_once)] == [message.size for message in whole]


def _late(message: _Message, late_ns: int) -> _Message:
    """As a recorder writes it whose clock is ahead, or that is held up; a receive time stands in for the venue's as before."""
    ts_event = message.ts_event + (late_ns if message.ts_event == message.ts_recv else 0)
    return replace(message, ts_recv=message.ts_recv + late_ns, ts_event=ts_event)


@pytest.mark.parametrize("clock_ns", [0, 40_000_000, 7_000_000_000])
def test_equal_contents_at_other_places_stay_apart(clock_ns: int, seed: int) -> None:
    """Three copies that lack bursts are the whole, whatever the clocks say."""
    rng = np.random.default_rng(seed)
    whole = _nameless(rng, 900)
    sources = [[_late(message, number * clock_ns) for message in copy] for number, copy in enumerate(_lossy(whole, rng))]
    assert [size for _, size in _join(sources, rng, 300)] == [message.size for message in whole]


def test_a_recorder_that_is_held_up_brings_nothing_twice(seed: int) -> None:
    """From the middle on one source brings everything five seconds later than before."""
    rng = np.random.default_rng(seed)
    whole = _nameless(rng, 900)
    held_up = [_late(message, 5_000_000_000 if place > 450 else 0) for place, message in enumerate(whole)]
    assert [size for _, size in _join([whole, held_up], rng, 300)] == [message.size for message in whole]
