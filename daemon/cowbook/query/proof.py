"""What the output says for and against a book at an instant: sync, known levels, gaps, and the comparisons around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cowbook.errors import QueryError
from cowbook.plain.counting import counted
from cowbook.plain.messages import NONE
from cowbook.query.book import Evidence, Proof
from cowbook.query.columns import PartReader
from cowbook.query.fold import Fold, Integers
from cowbook.query.instant import Instant
from cowbook.query.output import SymbolOutput


@dataclass(frozen=True, slots=True)
class Quote:
    """The last row of `bbo` up to an instant."""

    event: int
    best: tuple[float, ...]  # price and size of bid and ask, NONE where a side is empty
    synced: bool
    known: tuple[bool, bool]


def read_quote(output: SymbolOutput, instant: Instant) -> Quote | None:
    """Returns the last row of `bbo` up to the instant, in whatever cut; None if there is none."""
    for cut in range(instant.cut, -1, -1):
        reader = output.reader("bbo", cut)
        if reader is None:
            continue
        events, times = reader.read("event_index", "ts_event")
        row = int(np.searchsorted(events, instant.event, "right")) - 1
        while row >= 0 and events[row] == instant.event and instant.time is not None and times[row] > instant.time:
            row -= 1  # of a message without rows in `depth`, behind the instant
        if row < 0:
            continue
        names = ("bid_price", "bid_size", "ask_price", "ask_size", "synced", "bid_known", "ask_known")
        values = [column[row] for column in reader.read(*names, rows=row + 1)]
        best = tuple(value.item() for value in values[:4])
        return Quote(int(events[row]), best, bool(values[4]), (bool(values[5]), bool(values[6])))
    return None


def check_quote(output: SymbolOutput, fold: Fold, quote: Quote | None) -> None:
    """Raises QueryError if the book's best levels are not those of the last row of `bbo`: then a part is damaged."""
    if quote is None:
        return
    best = tuple(column[0].item() if len(column) else NONE for side in (fold.bids, fold.asks) for column in side)
    if best != quote.best:
        raise QueryError(
            f"depth and bbo of {output.symbol} contradict each other at event {quote.event}: a part of them, or of frame, is "
            f"damaged or not of this output; best levels, as they are written, are {_shown(best)} from depth, and "
            f"{_shown(quote.best)} in bbo; make the output anew"
        )


def _shown(best: tuple[float, ...]) -> str:
    return " ".join("-" if value == NONE else str(value) for value in best)


def find_synced(output: SymbolOutput, instant: Instant, fold: Fold, quote: Quote | None) -> bool | None:
    """Whether the book is synced at the instant. None where the output does not show it."""
    if fold.last is not None:
        event, synced = fold.last.event, fold.last.synced
    elif fold.frame is not None:
        event, synced = fold.frame.event - 1, fold.frame.synced
    else:
        return False
    if quote is not None and quote.event >= event:
        event, synced = quote.event, quote.synced
    if not synced:
        return False
    cuts = range(_cut_with(output, event, instant), instant.cut + 1)
    # Failed comparisons and gaps behind that depth message; of what a message itself did, its own rows tell.
    if any(_count_between(output, stream, cuts, event, instant.event) for stream in ("audits", "gaps")):
        return False
    if _count_between(output, "dead_letter", cuts, event, instant.event):
        return True if _next_is_synced(output, instant) else None
    return True


def _cut_with(output: SymbolOutput, event: int, instant: Instant) -> int:
    """The cut with an event, no later than the instant's."""
    cut = instant.cut
    while cut and output.cuts[cut].first > event:
        cut -= 1
    return cut


def _count_between(output: SymbolOutput, stream: str, cuts: range, after: int, until: int) -> int:
    """Number of a stream's rows with `after` < event_index <= `until`."""
    count = 0
    for cut in cuts:
        reader = output.reader(stream, cut)
        if reader is not None:
            (events,) = reader.read("event_index")
            count += int(np.count_nonzero((events > after) & (events <= until)))
    return count


def _next_is_synced(output: SymbolOutput, instant: Instant) -> bool:
    """Whether the next depth message of the cut is synced, and does not replace the book: then it was synced all the time."""
    reader = output.reader("depth", instant.cut)
    if reader is None:
        return False
    events, synced, kinds = reader.read("event_index", "synced", "kind")
    row = int(np.searchsorted(events, instant.event, "right"))
    return row < len(events) and bool(synced[row]) and bool(kinds[row])  # kind 0 is clear


def find_known(
    output: SymbolOutput, instant: Instant, fold: Fold, quote: Quote | None, *, synced: bool | None
) -> tuple[int | None, int | None]:
    """How many of the best levels of each side are shown to be known.

    While a book stays synced and no snapshot replaces it, what is known does not shrink, but for venues that send whole pictures:
    of those the book has no level that is not known. So a price that was known since then is known, as far as there are levels.
    """
    if not synced:
        return (0, 0) if synced is False else (None, None)
    bounds: list[list[float]] = [[], []]
    was_shown = [False, False]
    since = -1 if fold.restart is None else fold.restart
    if fold.frame is not None and fold.restart is None and fold.frame.synced:
        _note(bounds, was_shown, fold.frame.bound)
    if quote is not None and quote.event >= since and quote.event >= output.cuts[fold.first_cut].first - 1 and quote.synced:
        bid, _, ask, _ = quote.best
        bound = [price if known and price != NONE else None for price, known in zip((bid, ask), quote.known, strict=True)]
        _note(bounds, was_shown, (bound[0], bound[1]))
    grid = _read_grid(output, instant, since)
    if grid is not None:
        _note(bounds, was_shown, grid)
    known: list[int | None] = []
    for number, (prices, _) in enumerate((fold.bids, fold.asks)):
        if not was_shown[number]:
            known.append(None)
        elif not bounds[number]:
            known.append(0)
        else:
            inside = prices >= min(bounds[0]) if number == 0 else prices <= max(bounds[1])
            known.append(int(np.count_nonzero(inside)))
    return known[0], known[1]


def _note(bounds: list[list[float]], was_shown: list[bool], found: tuple[float | None, float | None]) -> None:
    for number, bound in enumerate(found):
        was_shown[number] = True
        if bound is not None:
            bounds[number].append(bound)


def _read_grid(output: SymbolOutput, instant: Instant, since: int) -> tuple[float | None, float | None] | None:
    """The prices of the last levels that the newest row of `book` up to the instant calls known; only of the instant's cut."""
    reader = output.reader("book", instant.cut)
    if reader is None:
        return None
    events, synced, *known = reader.read("event_index", "synced", "bids_known", "asks_known")
    row = int(np.searchsorted(events, instant.event, "right")) - 1
    if row < 0 or events[row] < max(since, output.cuts[instant.cut].first) or not synced[row]:
        return None
    bounds = []
    for side, counts in zip(("bid", "ask"), known, strict=True):
        count = int(counts[row])
        price = reader.read(f"{side}_px_{count - 1:02d}", rows=row + 1)[0][row].item() if count else NONE
        bounds.append(None if price == NONE else price)
    return bounds[0], bounds[1]


def make_proof(output: SymbolOutput, instant: Instant, fold: Fold, quote: Quote | None) -> Proof:
    """Returns the proof of a book."""
    cuts = range(fold.first_cut, instant.cut + 1)
    begin = (fold.frame.event if fold.frame is not None else output.cuts[fold.first_cut].first) - 1
    around = [
        found
        for stream, describe in (("gaps", _describe_gap), ("drift", _describe_drift), ("audits", _describe_audit))
        for found in (_last(output, instant, stream, describe), _next(output, instant, stream, describe))
    ]
    return Proof(
        fold.frame.event if fold.frame is not None else None,
        fold.changes,
        None if quote is None else quote.event,
        _count_between(output, "gaps", cuts, begin, instant.event),
        *around,
    )


_Describe = Callable[[PartReader, int], str]


def _is_before(events: Integers, times: Integers, instant: Instant, stream: str) -> npt.NDArray[np.bool_]:
    """Which rows stand before the instant. A row's event is the next one behind it, so that of the next message counts, too."""
    last = instant.event + (stream != "gaps")  # a gap's row stands before its message's
    before: npt.NDArray[np.bool_] = events <= last
    if instant.time is not None:
        before = before & ((events <= instant.event) | (times <= instant.time))
    return before


def _last(output: SymbolOutput, instant: Instant, stream: str, describe: _Describe) -> Evidence | None:
    for cut in range(min(instant.cut + 1, len(output.cuts) - 1), -1, -1):
        reader = output.reader(stream, cut)
        if reader is not None:
            events, times = reader.read("event_index", "ts_event")
            rows = np.flatnonzero(_is_before(events, times, instant, stream))
            if len(rows):
                return Evidence(int(events[rows[-1]]), int(times[rows[-1]]), describe(reader, int(rows[-1])))
    return None


def _next(output: SymbolOutput, instant: Instant, stream: str, describe: _Describe) -> Evidence | None:
    for cut in range(instant.cut, len(output.cuts)):
        reader = output.reader(stream, cut)
        if reader is not None:
            events, times = reader.read("event_index", "ts_event")
            rows = np.flatnonzero(~_is_before(events, times, instant, stream))
            if len(rows):
                return Evidence(int(events[rows[0]]), int(times[rows[0]]), describe(reader, int(rows[0])))
    return None


def _describe_gap(reader: PartReader, row: int) -> str:
    (missing,) = reader.read("missing")
    return "unknown size" if missing[row] == NONE else f"{counted(missing[row], 'id')} missing"


def _describe_drift(reader: PartReader, row: int) -> str:
    names = ("was_synced", "levels_compared", "levels_missing", "levels_extra", "levels_differing")
    was_synced, compared, *wrong = (column[row] for column in reader.read(*names))
    differing = sum(map(int, wrong))
    book = "the book" if was_synced else "the book before it, which was not synced"
    return f"a snapshot of {compared:,} levels, of which {f'{differing:,} differ' if differing else 'none differs'} from {book}"


def _describe_audit(reader: PartReader, row: int) -> str:
    kind, expected, found = reader.texts(row, "kind", "expected", "found")
    return f"{kind}: expected {expected}, found {found}"
