"""How far from the best price every level is shown to be known, column by column: never further than the output shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cowbook.plain.messages import NONE
from cowbook.plain.vocabulary import CLEAR
from cowbook.plot.grid import Booleans
from cowbook.plot.window import Integers, Window, read_whole
from cowbook.query.columns import PartReader

NOTHING = (np.iinfo(np.int64).max, np.iinfo(np.int64).min)
"""The bounds of bids and asks of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Known:
    """Of each column's end."""

    is_synced: Booleans  # all through the column
    bounds: tuple[Integers, Integers]  # bids down to, and asks up to; NOTHING where nothing is known


def read_known(window: Window) -> Known:
    """Reads sync and known depth.

    While a book stays synced and no snapshot replaces it, what is known only widens, and only by a snapshot that judges it. So
    what is shown at one moment is known until sync ends, and was known back to the last such snapshot.
    """
    events, columns, synced = _read_sync(window)
    is_synced, last_event = _by_column(window, events, columns, synced)
    restarts, witnesses = _read_restarts(window), _read_witnesses(window)
    breaks = np.concatenate([restarts, witnesses[0]])
    is_witness = np.arange(len(breaks)) >= len(restarts)
    times = np.concatenate([np.zeros(len(restarts), np.int64), witnesses[1]])
    order = np.argsort(breaks, kind="stable")
    breaks, is_witness, times = breaks[order], is_witness[order], times[order]
    group = np.searchsorted(breaks, last_event, "right")
    if len(breaks):  # a snapshot that names the next event may come long after the last one
        newest = np.maximum(group - 1, 0)
        group -= (group > 0) & is_witness[newest] & (times[newest] > window.edges[1:])
    bounds = []
    for number in range(2):
        shown = np.full(len(breaks) + 1, NOTHING[number])
        worse = np.minimum if number == 0 else np.maximum
        for event, bound in _shown(window, number):
            worse.at(shown, np.searchsorted(breaks, event, "right"), bound)
        for place in np.flatnonzero(is_witness):  # the group behind it knows what the one before it knew
            shown[place + 1] = worse(shown[place], shown[place + 1])
        bounds.append(np.where(is_synced, shown[group], NOTHING[number]))
    return Known(is_synced, (bounds[0], bounds[1]))


def _read_sync(window: Window) -> tuple[Integers, Integers, Booleans]:
    """Events, columns and `synced` of all rows in the window that tell it."""
    none = np.empty(0, np.int64)
    rows: list[tuple[Integers, Integers, Booleans]] = [(none, none, np.empty(0, np.bool_))]
    for stream in ("depth", "bbo"):
        for events, times, synced in window.read(stream, "synced"):
            rows.append((events, window.column_of(times), synced))
    events, columns, flags = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    order = np.argsort(events, kind="stable")
    return events[order], columns[order], flags[order]


def _read_restarts(window: Window) -> Integers:
    """The events of all parts of the window at which what was known ends."""
    restarts = [np.empty(0, np.int64)]
    for reader in window.readers("depth"):
        events, kinds, synced = reader.read("event_index", "kind", "synced")
        restarts.append(events[(kinds == CLEAR) | ~synced])
    for reader in window.readers("bbo"):
        events, synced = reader.read("event_index", "synced")
        restarts.append(events[~synced])
    return np.unique(np.concatenate(restarts))


def _by_column(window: Window, events: Integers, columns: Integers, synced: Booleans) -> tuple[Booleans, Integers]:
    """Whether each column is synced all through, and the last event at its end."""
    columns = np.maximum.accumulate(columns) if len(columns) else columns
    begins = _synced_at_begin(window)
    last_row = np.searchsorted(columns, np.arange(window.columns), "right") - 1
    flags = np.concatenate([[begins], synced])[last_row + 1]
    last_event = np.concatenate([[window.first_event - 1], events])[last_row + 1]
    unsynced = np.bincount(columns[~synced], minlength=window.columns)[: window.columns]
    before = np.concatenate([[begins or window.begin is None], flags[:-1]])
    return before & flags & (unsynced == 0), last_event


def _synced_at_begin(window: Window) -> bool:
    """Whether the book is synced where the window begins: as the last row before it says."""
    if window.begin is None:
        return False
    for cut in range(window.begin.cut, -1, -1):
        for stream in ("depth", "frame"):
            reader = window.output.reader(stream, cut)
            if reader is not None:
                events, synced = reader.read("event_index", "synced")
                count = int(np.searchsorted(events, window.begin.event + (stream == "frame"), "right"))
                if count:
                    return bool(synced[count - 1])
    return False


def _read_witnesses(window: Window) -> tuple[Integers, Integers]:
    """Events and times of the snapshots that judged the book."""
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for reader in window.readers("drift"):
        events, times, was_synced = reader.read("event_index", "ts_event", "was_synced")
        found.append((events[was_synced] - 1, times[was_synced]))
    events, times = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return events, times


def _shown(window: Window, side: int) -> Iterator[tuple[Integers, Integers]]:
    """Events, and prices that are known behind them: of frames, of the grid's rows and of best prices."""
    name = ("bid", "ask")[side]
    for reader in window.readers("frame"):
        events, sides, prices, known, synced = read_whole(reader, "event_index", "side", "price", "known", "synced")
        own = (sides == side) & known & synced
        yield events[own] - 1, prices[own]
    for reader in window.readers("book"):
        yield from _shown_by_grid(reader, name)
    for reader in window.readers("bbo"):
        events, prices, known, synced = read_whole(reader, "event_index", f"{name}_price", f"{name}_known", "synced")
        own = known & synced & (prices != NONE)
        yield events[own], prices[own]


def _shown_by_grid(reader: PartReader, name: str) -> Iterator[tuple[Integers, Integers]]:
    events, synced, counts = reader.read("event_index", "synced", f"{name}s_known")
    for count in np.unique(counts[synced & (counts > 0)]):
        (prices,) = read_whole(reader, f"{name}_px_{count - 1:02d}")
        own = synced & (counts == count) & (prices != NONE)
        yield events[own], prices[own]
