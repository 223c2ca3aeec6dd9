"""Numbers that a connection gives its records: what is missing ends sync, whatever symbol it was of."""

from __future__ import annotations

import random

import pytest

from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.errors import GapHaltError
from cowbook.plain.messages import DIFF, IS_RESET, NONE, OTHER_SYMBOL, SNAPSHOT, TRADE, UNUSED, EventBatch
from cowbook.plain.schemes import UNNUMBERED


def batch_of(records: list[tuple[int, int]]) -> EventBatch:
    """Records by kind and number, a nanosecond apart; each message has one bid."""
    batch = EventBatch.allocate(len(records), len(records))
    for place, (kind, sequence) in enumerate(records):
        message = batch.messages[place]
        message["kind"], message["sequence"], message["rule"] = kind, sequence, UNNUMBERED
        message["flags"] = IS_RESET if kind == SNAPSHOT else 0
        message["ts_event"] = place if kind in (DIFF, SNAPSHOT, TRADE) else NONE
        for name in ("ts_recv", "first_id", "last_id", "prev_id"):
            message[name] = NONE
        message["bid_start"], message["bid_count"] = place, int(kind in (DIFF, SNAPSHOT, TRADE))
        message["ask_start"] = place
        batch.prices[place], batch.sizes[place] = 100 + place, 1
    batch.message_count = batch.level_count = len(records)
    return batch


def run(records: list[tuple[int, int]], engine: OrderBookEngine) -> list[tuple[int, int, int]]:
    """The gaps: expected and received numbers, and the event that follows; cuts are taken as they come."""
    batch = batch_of(records)
    gaps: list[tuple[int, int, int]] = []
    place = 0
    while True:
        applied = engine.apply(batch, place)
        if applied.cut:
            rows = engine.take_open_rows()
            gaps += [(row["expected_id"], row["received_id"], row["event_index"]) for row in rows["gaps"]]
        elif applied.consumed == batch.message_count:
            rows = engine.open_rows()
            return gaps + [(row["expected_id"], row["received_id"], row["event_index"]) for row in rows["gaps"]]
        place = applied.consumed


def test_records_of_any_kind_count_for_gaps_and_repeats_are_skipped() -> None:
    """Records of other symbols count, a repeated one is skipped, and the first of a connection may follow any number."""
    engine = OrderBookEngine()
    assert run([(UNUSED, 5), (SNAPSHOT, 6), (OTHER_SYMBOL, 7), (DIFF, 8), (UNUSED, 9)], engine) == []
    assert engine.synced
    assert run([(OTHER_SYMBOL, 11), (DIFF, 12), (DIFF, 12)], engine) == [(10, 11, 4)]  # behind two clears, a level and a change
    assert not engine.synced
    assert engine.event_count == 5
    counts = engine.gap_statistics()
    assert {name: count for name, count in counts.items() if count} == {"gaps": 1, "missing_updates": 1, "stale": 1}
    assert len(run([(UNUSED, 1), (SNAPSHOT, 2), (DIFF, 3)], engine)) == 1
    assert engine.synced
    assert run([(DIFF, 2)], engine)[1:] == [(4, 2, 9)]
    assert engine.gap_statistics()["missing_updates"] == 1  # of this one nobody knows how many
    assert not engine.synced


def test_records_before_the_first_message_are_no_gap() -> None:
    """Records missing before the first message are no gap in the book."""
    engine = OrderBookEngine()
    assert run([(UNUSED, 5), (OTHER_SYMBOL, 9), (SNAPSHOT, 20)], engine) == []
    assert engine.synced


def test_a_gap_halts_at_the_record_after_it() -> None:
    """The engine halts at the record after the gap, also if that is of another symbol."""
    engine = OrderBookEngine(EngineSettings(on_gap="halt"))
    with pytest.raises(GapHaltError, match="follows") as error:
        engine.apply(batch_of([(SNAPSHOT, 1), (OTHER_SYMBOL, 3)]))
    assert error.value.message == 1


@pytest.mark.parametrize("seed", range(20))
def test_gaps_are_those_of_a_plain_loop_despite_cuts_and_restores(seed: int) -> None:
    """Each gap is found once and in its place, also with cuts anywhere and an engine restored in between."""
    rng = random.Random(seed)
    records = []
    number = 0
    expected: list[tuple[int, int]] = []
    last = 0
    accepted = False
    for _ in range(300):
        step = rng.choices([0, 1, 2, 3, -5], [3, 80, 4, 2, 1])[0]
        number = 1 if rng.random() < 0.01 else max(1, number + step)
        kind = rng.choice([DIFF, DIFF, SNAPSHOT, TRADE, UNUSED, OTHER_SYMBOL])
        records.append((kind, number))
        if number == last:
            continue
        if last and number not in (1, last + 1) and accepted:
            expected.append((last + 1, number))
        last = number
        accepted |= kind in (DIFF, SNAPSHOT, TRADE)
    settings = EngineSettings(part_events=rng.choice([1, 7, 1000]), part_interval=rng.choice([3, 50, 86_400_000_000_000]))
    engine = OrderBookEngine(settings)
    found = []
    first = 0
    while first < len(records):
        count = rng.randrange(1, 60)
        batch = batch_of(records[:])
        place, end = first, min(first + count, len(records))
        while True:
            applied = engine.apply(batch, place, end)
            place = applied.consumed
            if applied.cut:
                found += [(row["expected_id"], row["received_id"]) for row in engine.take_open_rows()["gaps"]]
                if rng.random() < 0.3:
                    engine = OrderBookEngine.restore(settings, engine.get_checkpoint_state())
            elif place == end:
                break
        first = end
        if rng.random() < 0.3:
            engine = OrderBookEngine.restore(settings, engine.get_checkpoint_state())
    found += [(row["expected_id"], row["received_id"]) for row in engine.open_rows()["gaps"]]
    assert found == expected
