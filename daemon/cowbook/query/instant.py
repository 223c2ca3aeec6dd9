"""Finds the place of an instant in a symbol's events (docs/output.md, "The book at an instant"; ADR 20)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from cowbook.errors import QueryError
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import PublishedCut, check_contiguous
from cowbook.query.times import iso

_EPOCH = date(1970, 1, 1)
_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Instant:
    """A place between two messages."""

    cut: int  # the cut that it lies in, or ends
    event: int  # the last event before it; that of the cut before, if it lies in front of the cut's first one
    time: int | None  # ns; None if an event was asked for
    is_at_end: bool  # no later event is in the output


def at_event(output: SymbolOutput, event: int) -> Instant:
    """The instant behind the message that an event belongs to. Raises QueryError if the output does not have the event."""
    cut = output.cut_of(event)
    reader = output.reader("depth", cut)
    if reader is not None:
        events, is_last = reader.read("event_index", "is_last")
        row = int(np.searchsorted(events, event, "right")) - 1
        if row >= 0 and not is_last[row]:
            event = int(events[row + int(np.argmax(is_last[row:]))])
    return Instant(cut, event, None, event >= max(each.last for each in output.cuts))


def at_end(output: SymbolOutput) -> Instant:
    """The instant behind the last event."""
    last = len(output.cuts) - 1
    return Instant(last, output.cuts[last].last, None, is_at_end=True)


def at_time(output: SymbolOutput, time: int) -> Instant:
    """The instant behind the last message at which the running maximum of event time is not above `time` (ns).

    Messages are those with rows in `depth` or `trades`. The maximum falls where event time falls by more than a day, which no
    cut contains: the days of cuts show it. Raises QueryError if all of the output is later.
    """
    found = find_time(output, time)
    if found is None:
        raise QueryError(f"{output.output_dir} has nothing of {output.symbol} at or before {iso(time)}: {describe_span(output)}")
    return found


def find_time(output: SymbolOutput, time: int) -> Instant | None:
    """As `at_time`, but returns None if all of the output is later."""
    day = (_EPOCH + timedelta(days=time // _DAY_NS)).isoformat() if time < 2**63 else "9999"
    cuts = output.cuts
    for start, stop in reversed(list(_stretches(cuts))):
        days = [cut.date for cut in cuts[start:stop]]
        end = start + bisect_right(days, day)
        for number in range(_passed(output, start + bisect_left(days, day), end, time), end):
            later = _first_later(output, number, time)
            if later is not None:
                if number == start and later == cuts[start].first:
                    break  # nothing of this stretch is at or before it
                return _between(output, number, later - 1, time)
        else:
            if end > start:
                return _between(output, end - 1, cuts[end - 1].last, time)
    return None


def _between(output: SymbolOutput, cut: int, event: int, time: int) -> Instant:
    """The instant behind an event. Nothing may be missing where it touches the next cut, or the one before."""
    cuts = output.cuts
    if event == cuts[cut].last:
        check_contiguous(cuts[cut : cut + 2])
    if event < cuts[cut].first:
        check_contiguous(cuts[max(cut - 1, 0) : cut + 1])
        output.check_depth(max(cut - 1, 0))
    return Instant(cut, event, time, is_at_end=event >= max(each.last for each in cuts))


def _stretches(cuts: Sequence[PublishedCut]) -> Iterator[tuple[int, int]]:
    """Ranges of cuts whose days do not fall."""
    start = 0
    for number in range(1, len(cuts)):
        if cuts[number].date < cuts[number - 1].date:
            yield start, number
            start = number
    yield start, len(cuts)


def _passed(output: SymbolOutput, start: int, stop: int, time: int) -> int:
    """A cut of a range before which no message is later than a time: the last one with a row of `book` that is not.

    Such a row is written where the maximum is not above it, and these rows are in order. So a few files are opened, not all.
    """
    cuts = [number for number in range(start, stop) if "book" in output.cuts[number].parts]

    def is_later(number: int) -> bool:
        reader = output.reader("book", number)
        extremes = None if reader is None else reader.extremes("ts")
        return extremes is None or extremes[0] > time

    place = bisect_left(cuts, True, key=is_later)
    return cuts[place - 1] if place else start


def _first_later(output: SymbolOutput, cut: int, time: int) -> int | None:
    """The first event of a cut that is later than a time; None if none is."""
    found = None
    for stream in ("depth", "trades"):
        reader = output.reader(stream, cut)
        if reader is None:
            continue
        extremes = reader.extremes("ts_event")
        if extremes is not None and extremes[1] <= time:
            continue
        events, times = reader.read("event_index", "ts_event")
        later = times > time
        if later.any():
            event = int(events[np.argmax(later)])
            found = event if found is None else min(found, event)
    return found


def describe_span(output: SymbolOutput) -> str:
    """Where the output begins and ends, for people."""
    first, last = output.cuts[0], output.cuts[-1]
    days = f"{first.date}" if first.date == last.date else f"{first.date} to {last.date}"
    return f"it has events {first.first} to {last.last}, of {days}"
