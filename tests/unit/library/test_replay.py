"""The loop of a researcher: what a book says of itself, steps of time, several symbols, and errors instead of empty results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cowbook import BookCopy, Capture, ReplayedBook, replay
from cowbook.errors import ConfigError, CowbookError, InputError, UsageError
from cowbook.simulate.capture import write_capture

DAY = 1_723_161_600_000
"""2024-08-09 in ms, from which times count here."""

SNAPSHOT = {"lastUpdateId": 10, "E": DAY + 1000, "bids": [["9", "1"], ["8", "3"]], "asks": [["11", "3"], ["12", "1"]]}


def diff(number: int, ms: int, bids: list[list[str]], asks: list[list[str]], symbol: str = "X") -> dict[str, Any]:
    """A diff of one id."""
    return {"e": "depthUpdate", "E": DAY + ms, "s": symbol, "U": number, "u": number, "b": bids, "a": asks}


def trade(number: int, ms: int, price: str, size: str, *, sold: bool = False, symbol: str = "X") -> dict[str, Any]:
    """A trade."""
    return {"e": "trade", "E": DAY + ms, "T": DAY + ms, "s": symbol, "t": number, "p": price, "q": size, "m": sold}


def at(seconds: float) -> int:
    """So many seconds into the day, in ns since 1970."""
    return DAY * 10**6 + round(seconds * 10**3) * 10**6


RECORDS = [
    diff(10, 900, [["9", "1"]], []),
    SNAPSHOT,
    diff(11, 1500, [["9", "2"]], []),
    trade(1, 1600, "11", "0.5"),
    trade(2, 1700, "9", "0.25", sold=True),
    diff(12, 3000, [], [["11", "0"]]),
    diff(13, 3001, [["10", "1"]], []),
]


def write(path: Path, *records: dict[str, Any]) -> Path:
    """A capture with these records, each behind its receive time: half a second after its event time."""
    path.write_text("".join(f"{(record['E'] + 500) * 10**6} {json.dumps(record)}\n" for record in records))
    return path


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """The records above."""
    return write(tmp_path / "x.jsonl", *RECORDS)


def test_a_book_says_when_it_is_and_what_was_read_last(capture: Path) -> None:
    """Event time, receive time, and kind of the last record."""
    seen = [(book.time, book.received, book.kind) for book in replay(capture, "X")]
    assert seen == [
        (ms * 10**6, (ms + 500) * 10**6, kind)
        for ms, kind in zip(
            (record["E"] for record in RECORDS), ("diff", "snapshot", "diff", "trade", "trade", "diff", "diff"), strict=True
        )
    ]


def test_figures_of_a_book(capture: Path) -> None:
    """By hand: 9 x 2, 8 x 3 against 11 x 3, 12 x 1."""
    books = [book.copy() for book in replay(capture, "X")]
    book = books[2]
    assert (book.bid_price, book.bid_size, book.ask_price, book.ask_size) == (9.0, 2.0, 11.0, 3.0)
    assert (book.mid, book.spread, book.microprice) == (10.0, 2.0, (9 * 3 + 11 * 2) / 5)
    assert book.imbalance() == (2 - 3) / 5
    assert book.imbalance(2) == (5 - 4) / 9
    assert book.depth_within(1000) == (2.0, 3.0)  # 9 to 11
    assert book.depth_within(999) == (0.0, 0.0)
    assert book.depth_within(2000) == (5.0, 4.0)
    assert book.levels(1).bid_prices.tolist() == [9.0]
    assert [array.tolist() for array in book.levels()] == [[9.0, 8.0], [2.0, 3.0], [11.0, 12.0], [3.0, 1.0]]
    assert book.synced
    assert book.best_is_known


def test_an_empty_book_has_no_figures(tmp_path: Path) -> None:
    """They are None: no zero, and no NaN that spoils a sum."""
    book = next(replay(write(tmp_path / "x.jsonl", trade(1, 5, "11", "1")), "X"))
    assert (book.bid_price, book.ask_size, book.mid, book.spread, book.microprice) == (None,) * 5
    assert (book.imbalance(), book.depth_within(10), book.best_is_known) == (None, None, False)
    assert book.trades.price.tolist() == [11.0]
    assert repr(book) == "<book of X at 2024-08-09T00:00:00.005Z: nothing | nothing, not synced, 0 bids, 0 asks>"


def test_a_person_can_read_a_book(capture: Path) -> None:
    """One line."""
    *_, book = replay(capture, "X")
    assert repr(book) == "<book of X at 2024-08-09T00:00:03.001Z: 10 x 1 | 12 x 1, synced, 3 bids, 1 asks>"
    assert repr(book.copy()) == repr(book)
    assert str(book.datetime) == "2024-08-09 00:00:03.001000+00:00"


@pytest.mark.parametrize(
    ("numbers", "price", "size", "mid"),
    [("float64", 9.0, 2.0, 10.0), ("int64", 900, 200_000, 1000.0), ("decimal", Decimal("9.00"), Decimal("2.00000"), Decimal(10))],
)
def test_numbers_at_choice(capture: Path, numbers: Any, price: Any, size: Any, mid: Any) -> None:
    """Floats, fixed-point numbers, or Decimals, everywhere."""
    arguments: dict[str, Any] = {"price_decimals": 2, "size_decimals": 5}
    books = [book.copy() for book in replay(capture, "X", numbers=numbers, **arguments)]
    book = books[2]
    for value, expected in (
        (book.bid_price, price),
        (book.bid_size, size),
        (book.mid, mid),
        (book.levels(1).bid_prices[0], price),
    ):
        assert value == expected
        assert isinstance(value, type(expected) if numbers != "int64" else int | np.int64 | float)
    assert books[3].trades.price[0] / price * 9 == 11
    assert book.levels(1, numbers="int64").bid_prices.dtype == np.int64
    *_, live = replay(capture, "X", numbers=numbers, **arguments)
    assert live.bid_price == price / 9 * 10 if numbers != "decimal" else live.bid_price == Decimal(10)


def test_trades_are_those_of_the_step(capture: Path) -> None:
    """Each comes once: with the step that its record is in."""
    for every, expected in ((1, [[], [], [], [1], [2], [], []]), (5, [[1, 2], []]), (4, [[1], [2]]), (100, [[1, 2]])):
        assert [book.trades.id.tolist() for book in replay(capture, "X", every=every)] == expected
    trades = next(book for book in replay(capture, "X", every=5)).trades
    assert trades.time.tolist() == [at(1.6), at(1.7)]
    assert (trades.price.tolist(), trades.size.tolist(), trades.side.tolist()) == ([11.0, 9.0], [0.5, 0.25], [1, -1])


def test_trades_survive_the_cuts_of_a_step(tmp_path: Path) -> None:
    """Rows are dropped at each cut; what the step has had is kept."""
    write_capture(tmp_path / "x.jsonl", symbol="X", messages=500, seed=3)
    from cowbook import EngineSettings

    ids = [
        [
            book.trades.id.tolist()
            for book in replay(tmp_path / "x.jsonl", "X", every=every, settings=EngineSettings(part_events=cut))
        ]
        for every, cut in ((700, 300), (700, 10**9), (10**9, 300))
    ]
    assert ids[0] == ids[1]
    assert [number for step in ids[0] for number in step] == ids[2][0]
    assert len(ids[2][0]) > 100


def test_the_live_book_goes_on_and_a_copy_stays(capture: Path) -> None:
    """One object many times, as documented; a copy has its own levels."""
    books = list(replay(capture, "X"))
    assert len({id(book) for book in books}) == 1
    copies = [book.copy() for book in replay(capture, "X")]
    assert all(isinstance(copy, BookCopy) for copy in copies)
    assert [copy.bid_size for copy in copies] == [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 1.0]
    copy = copies[2]
    assert copy.bids.size_at(8 * 10**8) == 3 * 10**8
    assert copy.bids.size_at(7) == 0
    assert copy.bids.known_to == 8 * 10**8
    assert copy.bids.is_known(10 * 10**8)
    assert not copies[0].bids.is_known(10 * 10**8)
    assert copies[0].bids.known_levels()[0].tolist() == []
    assert copy.asks.known_levels(1)[0].tolist() == [11 * 10**8]


def test_a_copy_reads_as_the_live_book(tmp_path: Path) -> None:
    """Every figure, at every record of a longer capture; also that the best levels at hand are those of the ladder."""
    write_capture(tmp_path / "x.jsonl", symbol="X", messages=300, seed=5)
    for book in replay(tmp_path / "x.jsonl", "X"):
        copy = book.copy()
        for name in ("bid_price", "bid_size", "ask_price", "ask_size", "mid", "spread", "microprice", "time", "kind", "synced"):
            assert getattr(copy, name) == getattr(book, name), name
        assert copy.imbalance(5) == book.imbalance(5)
        assert copy.depth_within(7) == book.depth_within(7)
        assert copy.bids.best() == book.bids.best()


def test_depth_within_is_exact_arithmetic(tmp_path: Path) -> None:
    """Against fractions over all levels, for widths that reach beyond the first levels that are looked at."""
    write_capture(tmp_path / "x.jsonl", symbol="X", messages=2000, seed=6)
    *_, book = replay(tmp_path / "x.jsonl", "X", numbers="int64")
    bid_prices, bid_sizes, ask_prices, ask_sizes = (array.tolist() for array in book.levels())
    middle = Fraction(bid_prices[0] + ask_prices[0], 2)
    for bps in (1, 5, 25, 100, 10_000):
        within = middle * Fraction(bps, 10_000)
        bid = sum(size for price, size in zip(bid_prices, bid_sizes, strict=True) if price >= middle - within)
        ask = sum(size for price, size in zip(ask_prices, ask_sizes, strict=True) if price <= middle + within)
        assert book.depth_within(bps) == (bid, ask)


def test_each_second_has_all_records_up_to_it_and_none_later(capture: Path) -> None:
    """A record at the very second belongs to it; quiet seconds are shown; what is behind the last one is shown at the next."""
    seen = [(book.instant, book.time, book.bid_size, len(book.trades.id)) for book in replay(capture, "X", every="1s")]
    assert seen == [
        (at(1), at(1), 1.0, 0),
        (at(2), at(1.7), 2.0, 2),
        (at(3), at(3), 2.0, 0),
        (at(4), at(3.001), 1.0, 0),
    ]


def test_start_and_end_bound_what_is_shown(capture: Path) -> None:
    """What comes before builds the book."""
    seen = [(book.time, book.bid_size) for book in replay(capture, "X", start="2024-08-09T00:00:01.6", end=at(3.001))]
    assert seen == [(at(1.6), 2.0), (at(1.7), 2.0), (at(3), 2.0)]
    assert [book.instant for book in replay(capture, "X", every="500ms", start=at(2), end=at(3))] == [
        at(2),
        at(2.5),
    ]


def test_an_empty_span_is_an_error_that_says_what_there_is(capture: Path) -> None:
    """It never is an empty result."""
    for arguments in ({"start": "2025-01-01"}, {"end": 5}, {"start": at(3.002), "every": 2}):
        with pytest.raises(InputError, match=r"the input has 2024-08-09T00:00:00\.900Z to 2024-08-09T00:00:0(3\.001|0\.900)Z"):
            list(replay(capture, "X", **arguments))


def two_symbols(directory: Path) -> list[Path]:
    """X and Y in one file, and Y's rest in another."""
    first = write(
        directory / "a.jsonl",
        diff(1, 1000, [["1", "1"]], []),
        diff(1, 1100, [["2", "1"]], [], "Y"),
        diff(2, 1200, [["1", "2"]], []),
        diff(2, 1300, [["2", "2"]], [], "Y"),
    )
    return [first, write(directory / "b.jsonl", diff(3, 1400, [["2", "3"]], [], "Y"))]


def test_books_of_several_symbols_are_merged_by_time(tmp_path: Path) -> None:
    """Each has its own book; records of the others are no steps; and no book is ahead of the one that is shown."""
    latest: dict[str, ReplayedBook] = {}
    seen = []
    for book in replay(two_symbols(tmp_path), symbols=["X", "Y"]):
        latest[book.id] = book
        seen.append((book.symbol, book.time, book.bid_size))
        assert max(other.time or 0 for other in latest.values()) == book.time
    assert seen == [("X", at(1), 1.0), ("Y", at(1.1), 1.0), ("X", at(1.2), 2.0), ("Y", at(1.3), 2.0), ("Y", at(1.4), 3.0)]
    grid = [(book.instant, book.id, book.bid_size) for book in replay(two_symbols(tmp_path), symbols=["X", "Y"], every="200ms")]
    assert grid == [
        (at(1), "X", 1.0),
        (at(1.2), "X", 2.0),
        (at(1.2), "Y", 1.0),
        (at(1.4), "Y", 3.0),
    ]


def test_captures_of_several_venues_are_merged(tmp_path: Path) -> None:
    """Each with its format; the same symbol twice needs ids."""
    paths = two_symbols(tmp_path)
    bybit = {
        "topic": "orderbook.50.X",
        "ts": DAY + 1150,
        "type": "snapshot",
        "data": {"s": "X", "b": [["5", "1"]], "a": [], "u": 1, "seq": 1},
    }
    (tmp_path / "c.jsonl").write_text(json.dumps(bybit) + "\n")
    captures = [Capture(paths, "X"), Capture(tmp_path / "c.jsonl", "X", format="bybit", id="X at Bybit")]
    assert [(book.id, book.format, book.bid_price) for book in replay(captures)] == [
        ("X", "binance", 1.0),
        ("X at Bybit", "bybit", 5.0),
        ("X", "binance", 1.0),
    ]
    assert [book.id for book in replay(captures, "X at Bybit")] == ["X at Bybit"]
    with pytest.raises(UsageError, match="an id of its own"):
        replay([Capture(paths, "X"), Capture(paths, "X")])


def test_a_configuration_says_it_all(tmp_path: Path) -> None:
    """Its symbols, with their formats and decimals; paths are relative to it."""
    two_symbols(tmp_path)
    config = tmp_path / "cowbook.toml"
    config.write_text(
        "".join(f'[[symbol]]\nname = "{name}"\nid = "{name}-1"\nformat = "binance"\npaths = ["?.jsonl"]\n' for name in "XY")
    )
    assert [book.id for book in replay(config)] == ["X-1", "Y-1", "X-1", "Y-1", "Y-1"]
    assert [book.id for book in replay(str(config), symbols=["Y"])] == ["Y-1"] * 5
    with pytest.raises(UsageError, match=r"symbol Z: .*cowbook.toml has X-1, Y-1"):
        replay(config, "Z")


def test_globs_paths_and_lists_of_them(tmp_path: Path) -> None:
    """All are the same files."""
    paths = two_symbols(tmp_path)
    for named in (tmp_path / "?.jsonl", str(tmp_path / "*.jsonl"), paths, tuple(map(str, paths))):
        assert [book.last_id for book in replay(named, "Y", every=10)] == [3]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param({"symbol": "X", "format": "okex"}, "did you mean okx", id="unknown_format"),
        pytest.param({"symbol": "X", "every": 0}, "every = 0: must be at least 1 record", id="steps_of_nothing"),
        pytest.param({"symbol": "X", "price_decimals": 40}, "price_decimals = 40", id="too_many_decimals"),
        pytest.param({"symbol": "two words"}, "symbol = 'two words'", id="no_symbol"),
        pytest.param({"symbol": "X", "numbers": "floats"}, "numbers = 'floats': must be one of float64", id="unknown_numbers"),
        pytest.param({"symbol": "X", "symbols": ["Y"]}, "both given", id="two_answers"),
        pytest.param({"symbols": "XY"}, "must be a list of names", id="text_for_a_list"),
        pytest.param({"symbols": []}, "is empty", id="no_symbols"),
        pytest.param({"symbols": ["X", "X"]}, "two symbols X", id="one_twice"),
        pytest.param({}, "symbol is missing: the input speaks of X, Y", id="symbol_is_missing"),
        pytest.param({"symbol": "X", "start": 5, "end": 5}, "is not before end", id="nothing_between"),
        pytest.param({"symbol": "X", "start": "soon"}, "start = 'soon'", id="no_time"),
    ],
)
def test_wrong_arguments_are_refused_at_once(tmp_path: Path, arguments: dict[str, Any], text: str) -> None:
    """Before anything is asked for, by an error that names the argument."""
    paths = two_symbols(tmp_path)
    with pytest.raises((UsageError, ConfigError), match=text):
        replay(paths, **arguments)


@pytest.mark.parametrize("paths", [[], [5], b"x", [b"x"]])
def test_what_is_no_path_is_refused(paths: Any) -> None:
    """A list of nothing, too."""
    with pytest.raises(UsageError, match="paths"):
        replay(paths, "X")


def read(books: Iterator[ReplayedBook]) -> list[float]:
    return [book.bid_price for book in books]


def test_a_wrong_symbol_is_an_error_before_any_book(tmp_path: Path) -> None:
    """It names what the input speaks of."""
    books = replay(two_symbols(tmp_path), "Z")
    with pytest.raises(InputError, match="no usable record names Z: the input speaks of X, Y"):
        next(books)


def test_a_symbol_that_comes_late_is_found(tmp_path: Path) -> None:
    """Behind more records than are looked at before: its books begin with its first record."""
    others = [diff(number, 1000 + number, [["1", "1"]], [], "Y") for number in range(1, 5000)]
    path = write(tmp_path / "x.jsonl", *others, diff(1, 9000, [["7", "1"]], []), diff(2, 9001, [["8", "1"]], []))
    assert read(replay(path, "X")) == [7.0, 8.0]


def test_a_wrong_format_is_an_error_that_names_the_right_one(tmp_path: Path) -> None:
    """As `cowbook check` says it."""
    books = replay(two_symbols(tmp_path), "X", format="kraken")
    with pytest.raises(InputError, match='is no capture of format = "kraken": these look like binance'):
        next(books)


@pytest.mark.parametrize("content", [b"root:x:0:0\n" * 25, b"\x7fELF\xff\n\x00" * 300], ids=["text", "binary"])
def test_what_is_no_capture_is_an_error_before_any_book(tmp_path: Path, content: bytes) -> None:
    """As `cowbook run` says it."""
    (tmp_path / "x").write_bytes(content)
    books = replay(tmp_path / "x", "X")
    with pytest.raises(InputError, match=r'no usable record in the input, of \d+: is it a capture of format = "binance"'):
        next(books)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """When the first book is asked for."""
    books = replay(tmp_path / "none*.jsonl", "X")
    with pytest.raises(CowbookError, match="none"):
        next(books)


def test_decimals_that_do_not_fit_are_an_error_that_names_those_that_do(tmp_path: Path) -> None:
    """Else the book would be empty, without a word. A single record that does not fit is rejected as ever."""
    path = tmp_path / "a.jsonl"
    lines = [SNAPSHOT | {"bids": [["9.25", "1"]]}, diff(11, 1100, [["9.25", "2"]], []), diff(12, 1200, [["9", "2"]], [])]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputError, match=r"a.jsonl: offset 0: price 9.25 has 2 decimals: price_decimals = 2 would fit; 2 of the"):
        next(replay(path, "X", price_decimals=1))
    path.write_text("".join(json.dumps(line) + "\n" for line in [SNAPSHOT, *lines[1:]]))
    *_, book = replay(path, "X", price_decimals=1)
    assert book.dead_letter_statistics()["out_of_range"] == 1
    assert book.event_count > 0


@pytest.mark.parametrize("below", ["", "depth", "depth/symbol=X", "depth/symbol=X/date=2024-08-09/*.parquet"])
def test_an_output_is_no_capture(tmp_path: Path, below: str) -> None:
    """The error names what reads outputs."""
    part = tmp_path / "data/depth/symbol=X/date=2024-08-09/part-0000000000000000-0000000000000005.parquet"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"is output of cowbook's.*cowbook.features, book_at and scan"):
        next(replay(tmp_path / "data" / below, "X"))
