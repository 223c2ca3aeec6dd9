"""Replays captures in the caller's own loop, with the book readable between records."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence

from cowbook.book.order_book_engine import EngineSettings
from cowbook.errors import InputError, UsageError
from cowbook.library.book import ReplayedBook
from cowbook.library.inputs import Input, Paths, make_inputs
from cowbook.library.numbers import NUMBERS, Numbers
from cowbook.library.source import Source
from cowbook.library.steps import StepPlanner
from cowbook.library.times import Every, parse_every
from cowbook.query.times import Time, iso, parse_time


def replay(
    paths: Paths,
    symbol: str | None = None,
    *,
    symbols: Sequence[str] | None = None,
    every: Every = 1,
    start: Time | None = None,
    end: Time | None = None,
    numbers: Numbers = "float64",
    format: str = "binance",  # noqa: A002 - the name of the setting
    price_decimals: int = 8,
    size_decimals: int = 8,
    settings: EngineSettings | None = None,
    block_bytes: int = 1 << 20,
) -> Iterator[ReplayedBook]:
    """Go through captures and yield the book after every `every` records, or at points of time.

    It is the same object each time: `list(replay(...))` is one book, as it stands at the end, many times. Read `book.time`,
    `book.bid_price`, `book.mid`, `book.levels(5)`, `book.trades`, `book.synced`, …, or keep `book.copy()`, which does not change.
    Files are read in the order of `paths`, without a daemon, a checkpoint, or any output.

    * `paths`: a path or a glob, or several of them, as str or Path; relative ones start at the current directory. A glob's
      matches are read in natural order, or by the times of their first records where those contradict it. Containers and
      compression are recognised by content. Instead: a configuration file (`.toml`), for the symbols that it names; or several
      `Capture`, each with a format of its own.
    * `symbol`, None: the symbol's name in its records. Records of other symbols count as records and change nothing. Of a
      configuration, or of captures, it selects one by its id.
    * `symbols`, None: several of them, instead of `symbol`. Each has a book of its own, which reads the files for itself. The
      books are merged: of all steps the one with the earliest time is next. Records of other symbols then count for nothing.
    * `every`, 1: records between two steps, at least 1, of each book. Rejected and unused records and those of other symbols
      count; blank lines do not. A message of a table counts as one record. At the end the book is yielded once more, if records
      are left. Or a time, "1s" or a timedelta: the book is shown at each full second, say, from the first record on, as it stands
      when all records up to that time are applied, and none later. `book.instant` is that time. Seconds without a record are
      shown, too, but only the first one of a silence of more than a day.
    * `start`, None, and `end`, None: the book is shown from the first record at `start` or later up to before the first record at
      `end` or later. Records before `start` build the book. A time is an ISO string, a datetime or ns since 1970, UTC if it names
      no zone. A record's time is the running maximum of the event times of depth messages and trades.
    * `numbers`, "float64": what prices and sizes of the book's figures are: "float64", "int64" (in units of 10^-decimals) or
      "decimal", exact. `book.bids` and `book.asks` are int64 always.
    * `format`, "binance": the venue's name, from the table in docs/input.md.
    * `price_decimals`, 8, and `size_decimals`, 8: prices and sizes are int64 in units of 10^-decimals, exact, of at most 18
      digits. A record with more digits is rejected as `out_of_range`.
    * `settings`, None: the engine's settings; None takes them from the configuration or the capture. Rows of the streams that
      they name, and of `bbo` and `trades`, are collected up to each cut (`book.open_rows()`) and dropped there. Their decimals,
      checksum and `dead_letter_ends_sync` are ignored: these follow from the other parameters and the venue.
    * `block_bytes`, 1 MiB: decoded bytes to read at a time. It changes no result.

    Behind a damaged place of a compressed file, reading goes on with what can be decoded. It is a gap, and a record of its own;
    `book.dead_letter_statistics()["damaged"]` counts them.

    Where the first records name other symbols and not this one, no book is shown before the first that does.

    Wrong arguments raise UsageError or ConfigError at once. No file is read before the first `next()`. Then a CowbookError may be
    raised: InputError for a file that is missing or looks like another format, for a symbol that no record names, and where no
    record is between `start` and `end`; GapHaltError at a gap, and DamageHaltError at a damaged place, if `on_gap` is "halt";
    BookMemoryError when the book outgrows `max_book_bytes`.
    """
    if numbers not in NUMBERS:
        raise UsageError(f"numbers = {numbers!r}: must be one of {', '.join(NUMBERS)}")
    if symbol is not None and symbols is not None:
        raise UsageError("symbol and symbols are both given: name all of them in symbols")
    if isinstance(symbols, str):
        raise UsageError(f"symbols = {symbols!r}: must be a list of names; symbol is for one")
    if block_bytes < 1:
        raise UsageError(f"block_bytes = {block_bytes}: must be at least 1")
    names = [symbol] if symbol is not None else list(symbols) if symbols is not None else None
    if names == []:
        raise UsageError("symbols: is empty: name at least one")
    records, interval = parse_every(every)
    begins, ends = parse_time(start, "start"), parse_time(end, "end")
    if begins is not None and ends is not None and begins >= ends:
        raise UsageError(f"start = {iso(begins)} is not before end = {iso(ends)}")
    common = {"format": format, "price_decimals": price_decimals, "size_decimals": size_decimals}
    inputs = make_inputs(paths, names, common, settings)

    def make_source(given: Input) -> Source:
        planner = StepPlanner(records, interval, begins, ends, has_clocks=len(inputs) > 1)
        return Source(given, planner, numbers, block_bytes)

    return _run(inputs, make_source, begins, ends)


def _run(
    inputs: Sequence[Input], make_source: Callable[[Input], Source], begins: int | None, ends: int | None
) -> Iterator[ReplayedBook]:
    sources = [make_source(given) for given in inputs]
    books = sources[0].run() if len(sources) == 1 else _merge(sources)
    first = next(books, None)
    if first is not None:
        yield first
        yield from books
    elif begins is not None or ends is not None:
        spans = [span for source in sources if (span := source.span) is not None]
        if spans:
            earliest, latest = min(span[0] for span in spans), max(span[1] for span in spans)
            what = f"the input has {iso(earliest)} to {iso(latest)}"
            raise InputError(f"nothing is between start and end: {what}")


def _merge(sources: Sequence[Source]) -> Iterator[ReplayedBook]:
    """Steps of several books, the one with the earliest clock first. No book is ahead of the one that is yielded."""
    heap = [(clock, place) for place, source in enumerate(sources) if (clock := source.next_clock()) is not None]
    heapq.heapify(heap)
    while heap:
        place = heap[0][1]
        source = sources[place]
        source.step()
        yield source
        clock = source.next_clock()
        if clock is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (clock, place))
