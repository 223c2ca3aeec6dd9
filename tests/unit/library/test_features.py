"""Features against a loop over the records that computes them from the levels, one by one, in exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from cowbook import ReplayedBook, features, replay
from cowbook.errors import ConfigError, InputError, UsageError
from cowbook.simulate.capture import write_capture
from support.harness import write_files
from support.venue_samples import SAMPLE_IDS, make_sample

DEPTH = 3
BPS = (2, 10, 400.5)

Level = tuple[Fraction, Fraction] | None
"""Price and size, None where there is none."""

Side = list[tuple[Level, bool]]
"""The best levels, each with whether it is known."""


def side_of(book: ReplayedBook, side: Any) -> Side:
    """Its best levels. One that there is not is known if the side is known as a whole."""
    price_unit, size_unit = 10**book.settings.price_decimals, 10**book.settings.size_decimals
    prices, sizes = (array.tolist() for array in side.levels(DEPTH))
    levels: Side = [
        ((Fraction(price, price_unit), Fraction(size, size_unit)), side.is_known(price))
        for price, size in zip(prices, sizes, strict=True)
    ]
    return levels + [(None, side.is_whole)] * (DEPTH - len(levels))


def flow(before: Level, now: Level, sign: int) -> Fraction:
    """What a level of the bids (sign 1) or asks (sign -1) adds to the order flow."""
    total = Fraction(0)
    if now is not None and (before is None or sign * now[0] >= sign * before[0]):
        total += now[1]
    if before is not None and (now is None or sign * now[0] <= sign * before[0]):
        total -= before[1]
    return sign * total


class Oracle:
    """Goes through the books record by record."""

    def __init__(self) -> None:
        self.sides: tuple[Side, Side] | None = None
        self.begin()

    def begin(self) -> None:
        """Begin a row."""
        self.flows: list[Fraction | None] = [Fraction(0)] * DEPTH
        if self.sides is None:
            self.flows = [None] * DEPTH
        else:
            self.flows = [Fraction(0) if all(side[level][1] for side in self.sides) else None for level in range(DEPTH)]
        self.trades: list[tuple[float, int]] = []

    def see(self, book: ReplayedBook) -> None:
        """The book behind one more record."""
        sides = side_of(book, book.bids), side_of(book, book.asks)
        for level in range(DEPTH):
            so_far = self.flows[level]
            if so_far is None or not all(side[level][1] for side in sides):
                self.flows[level] = None
            elif self.sides is not None:
                (bids, asks), (bids_now, asks_now) = self.sides, sides
                change = flow(bids[level][0], bids_now[level][0], 1) + flow(asks[level][0], asks_now[level][0], -1)
                self.flows[level] = so_far + change
        self.sides = sides
        self.trades += zip(book.trades.size.tolist(), book.trades.side.tolist(), strict=True)

    def row(self, book: ReplayedBook) -> dict[str, Any]:
        """The row here."""
        assert self.sides is not None
        bids, asks = self.sides
        (bid, bid_known), (ask, ask_known) = bids[0], asks[0]
        both = bid is not None and ask is not None and bid_known and ask_known
        row: dict[str, Any] = {"event_index": book.event_count - 1, "synced": book.synced}
        row["bid_price"] = bid[0] if bid is not None and bid_known else None
        row["ask_size"] = ask[1] if ask is not None and ask_known else None
        row["mid"] = (bid[0] + ask[0]) / 2 if both else None  # type: ignore[index]
        row["spread"] = ask[0] - bid[0] if both else None  # type: ignore[index]
        row["microprice"] = (bid[0] * ask[1] + ask[0] * bid[1]) / (bid[1] + ask[1]) if both else None  # type: ignore[index]
        for level in range(DEPTH):
            sizes = [sum((each[0][1] for each in side[: level + 1] if each[0] is not None), Fraction(0)) for side in self.sides]
            is_known = all(side[level][1] for side in self.sides) and sum(sizes) > 0
            row[f"imbalance_{level + 1}"] = (sizes[0] - sizes[1]) / sum(sizes) if is_known else None
            row[f"ofi_{level + 1}"] = self.flows[level]
        for bps in BPS:
            row |= self.within(book, bps)
        for name, side in (("buy", 1), ("sell", -1)):
            sizes_of_side = [size for size, aggressor in self.trades if aggressor == side]
            row |= {f"{name}_volume": sum(sizes_of_side), f"{name}_count": len(sizes_of_side)}
        return row

    def within(self, book: ReplayedBook, bps: float) -> dict[str, Any]:
        """Sizes so near to the mid, if all of that is known."""
        names = f"bid_size_{bps}bps", f"ask_size_{bps}bps"
        bid, ask = book.bids.best(), book.asks.best()
        if bid is None or ask is None:
            return dict.fromkeys(names)
        middle = Fraction(bid[0] + ask[0], 2)
        reach = abs(middle) * Fraction(bps) / 10_000
        found: dict[str, Any] = {}
        for name, side, limit in zip(names, (book.bids, book.asks), (middle - reach, middle + reach), strict=True):
            is_bid = side.side_number == 0
            prices, sizes = (array.tolist() for array in side.levels())
            near = [size for price, size in zip(prices, sizes, strict=True) if (price >= limit if is_bid else price <= limit)]
            is_known = side.known_to is not None and (side.known_to <= limit if is_bid else side.known_to >= limit)
            found[name] = Fraction(sum(near), 10**book.settings.size_decimals) if is_known else None
        return found


def compare(rows: list[dict[str, Any]], expected: Iterable[dict[str, Any]]) -> None:
    """The same values, floats as near as floats are, and null where the oracle has None."""
    expected = list(expected)
    assert len(rows) == len(expected)
    for number, (row, other) in enumerate(zip(rows, expected, strict=True)):
        for name, value in other.items():
            if value is None or isinstance(value, bool | int):
                assert row[name] == value, (number, name)
            else:
                assert row[name] is not None, (number, name)
                assert math.isclose(row[name], value, rel_tol=1e-9, abs_tol=1e-9), (number, name, row[name], float(value))


@pytest.mark.long
def test_every_record_of_a_simulated_capture(tmp_path: Path) -> None:
    """With a gap, which ends what is known, and a snapshot that brings it back."""
    path = tmp_path / "x.jsonl"
    write_capture(path, symbol="X", messages=60, seed=4, gaps=1)
    oracle, expected = Oracle(), []
    for book in replay(path, "X"):
        oracle.see(book)
        expected.append(oracle.row(book))
        oracle.begin()
    rows = features(path, "X", every=1, levels=DEPTH, bps=BPS).drop_columns("time").to_pylist()
    compare(rows, expected)
    assert any(row["ofi_3"] for row in expected)
    assert any(row["mid"] is None for row in expected[30:])
    assert any(row["sell_count"] for row in expected)


@pytest.mark.parametrize("sample_id", SAMPLE_IDS)
def test_every_seventh_record_of_every_venue(sample_id: str, tmp_path: Path) -> None:
    """Flows add up over several records, through cuts, gaps and what waits."""
    sample = make_sample(sample_id, seed=3)
    paths = [tmp_path / name for name in write_files(tmp_path, sample.files)]
    arguments: dict[str, Any] = {"format": sample.format, "price_decimals": 1, "size_decimals": 2}
    oracle, expected = Oracle(), []
    left = 0
    for book in replay(paths, sample.name, **arguments):
        oracle.see(book)
        left += 1
        if left == 7:
            expected.append(oracle.row(book))
            oracle.begin()
            left = 0
    if left:
        expected.append(oracle.row(book))
    rows = features(paths, sample.name, every=7, levels=DEPTH, bps=BPS, **arguments).drop_columns("time").to_pylist()
    compare(rows, expected)


def test_points_of_time_are_those_of_replay(tmp_path: Path) -> None:
    """The same books, and flows between them; `start` leaves rows out and changes none."""
    path = tmp_path / "x.jsonl"
    write_capture(path, symbol="X", messages=500, seed=8)
    books = [book.copy() for book in replay(path, "X", every="500ms")]
    table = features(path, "X", every="500ms", bps=())
    assert table["time"].cast("int64").to_pylist() == [book.instant for book in books]
    for name in ("bid_price", "ask_size", "mid", "microprice"):
        values = [(value, getattr(book, name)) for value, book in zip(table[name].to_pylist(), books, strict=True)]
        assert all(math.isclose(value, other) for value, other in values if value is not None)
        assert sum(value is not None for value, _ in values) > 50
    assert sum(table["buy_count"].to_pylist()) == sum((book.trades.side > 0).sum() for book in books)
    later = features(path, "X", every="500ms", bps=(), start=books[20].instant)
    assert later.equals(table.slice(20))


def test_rows_of_traded_volume(tmp_path: Path) -> None:
    """Each row has at least the volume, and no more than the message that brought it there."""
    path = tmp_path / "x.jsonl"
    write_capture(path, symbol="X", messages=2000, seed=9)
    sizes = [size for book in replay(path, "X") for size in book.trades.size.tolist()]
    expected, total = [], 0.0
    for size in sizes:
        total += size
        if total >= 0.5 - 1e-12:
            expected.append(total)
            total = 0.0
    table = features(path, "X", volume=0.5)
    bought, sold = table["buy_volume"].to_pylist(), table["sell_volume"].to_pylist()
    assert [round(sum(pair), 8) for pair in zip(bought, sold, strict=True)] == [round(value, 8) for value in expected]
    assert len(expected) > 10
    with pytest.raises(InputError, match="there is no row"):
        features(path, "X", volume=1e9)


@pytest.mark.long
def test_cuts_lose_no_trade(tmp_path: Path) -> None:
    """More events than a cut has."""
    path = tmp_path / "x.jsonl"
    write_capture(path, symbol="X", messages=6000, seed=10)
    *_, book = replay(path, "X", every=10**9)
    assert book.event_count > 1 << 16
    table = features(path, "X", every=10**9)
    assert table["buy_count"][0].as_py() + table["sell_count"][0].as_py() == book.value("trades")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"levels": 0}, "levels = 0"),
        ({"levels": True}, "levels = True"),
        ({"bps": (0,)}, r"bps = \(0,\)"),
        ({"bps": 5}, "bps = 5: must be a sequence"),
        ({"bps": "5"}, "bps = '5': must be a sequence"),
        ({"volume": 0}, "volume = 0"),
        ({"volume": "1"}, "volume = '1'"),
        ({"volume": math.nan}, "volume = nan"),
        ({"volume": math.inf}, "volume = inf"),
        ({"start": "2024-08-10", "end": "2024-08-09"}, "is not before end = 2024-08-09"),
        ({"every": 0}, "every = 0"),
        ({"format": "okex"}, "did you mean okx"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: dict[str, Any], text: str) -> None:
    """By name."""
    with pytest.raises((UsageError, ConfigError), match=text):
        features(tmp_path / "x", "X", **arguments)
