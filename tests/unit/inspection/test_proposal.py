"""Globs for files that belong together, and ids that tell symbols apart."""

from __future__ import annotations

import glob
import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowbook.inspection.facts import FileFacts, FormatFacts, SymbolFacts
from cowbook.inspection.proposal import Proposed, find_patterns, propose


def matches(patterns: Sequence[str]) -> list[str]:
    """All that the patterns match, as a run reads them."""
    return [match for pattern in patterns for match in sorted(glob.glob(pattern))]  # noqa: PTH207 - as a run does


def place(folder: Path, *names: str) -> list[str]:
    """Make empty files. Returns their paths."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [str(folder / name) for name in names]


@pytest.mark.parametrize(
    ("own", "others", "pattern"),
    [
        pytest.param(["book.jsonl", "book.jsonl.1", "book.jsonl.2.gz"], [], "book.jsonl*", id="rotated"),
        pytest.param(["book.jsonl", "book-20240809.jsonl.gz"], [], "book*.jsonl*", id="rotated_by_date"),
        pytest.param(["a.jsonl", "a.jsonl.gz"], [], "a.jsonl*", id="a_compressed_copy"),
        pytest.param(["BTC-2024-08-08.csv", "BTC-2024-08-09.csv"], ["ETH-2024-08-08.csv"], "BTC-*.csv", id="dated"),
        pytest.param(["8_BTC_20240808T10.gz", "8_BTC_20240808T11.gz"], [], "8_BTC_*.gz", id="hours_of_one_day"),
    ],
)
def test_files_of_one_series_share_a_glob(own: list[str], others: list[str], pattern: str, tmp_path: Path) -> None:
    """What differs is what rotation and dates change; the whole of a date is left out."""
    paths = place(tmp_path, *own)
    place(tmp_path, *others)
    assert find_patterns(paths, {}) == [str(tmp_path / pattern)]


@pytest.mark.parametrize(
    ("own", "others"),
    [
        pytest.param(["1.csv", "3.csv"], ["2.csv"], id="another_one_between"),
        pytest.param(["a.csv", "b.csv"], [], id="names_that_are_not_a_series"),
        pytest.param(["x/1.csv", "y/2.csv"], [], id="two_directories"),
        pytest.param(["a[1].csv", "a[x].csv", "a*.csv"], ["a1.csv", "ax.csv"], id="names_with_wildcards"),
    ],
)
def test_where_no_glob_fits_the_files_are_named(own: list[str], others: list[str], tmp_path: Path) -> None:
    """Each by itself, so that no other file is read."""
    paths = place(tmp_path, *own)
    place(tmp_path, *others)
    patterns = find_patterns(paths, {})
    assert len(patterns) == len(own)
    assert sorted(matches(patterns)) == sorted(paths)


def test_patterns_are_in_the_order_of_time(tmp_path: Path) -> None:
    """A run reads them in this order, and names say little of time."""
    late, early = place(tmp_path, "book_snapshot.csv", "trades.csv")
    assert find_patterns([late, early], {late: 2, early: 1}) == [early, late]


@given(st.data())
def test_patterns_match_the_files_and_no_others(data: st.DataObject) -> None:
    """Whatever the names are, and whichever of them are the symbol's."""
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    pieces = ["a", "b", "-", "_", ".", "1", "2", "10", "2024-08-09", ".gz", "[", "*", "?", "x y", ".jsonl"]
    names = {"".join(rng.choices(pieces, k=rng.randint(1, 4))).lstrip(".") for _ in range(rng.randint(1, 8))} - {""}
    with tempfile.TemporaryDirectory() as folder:
        paths = place(Path(folder), *sorted(names))
        own = rng.sample(paths, rng.randint(1, len(paths)))
        found = matches(find_patterns(own, {}))
    assert sorted(found) == sorted(own)


def facts(path: str, format_name: str, *symbols: SymbolFacts) -> FileFacts:
    """A file that has these symbols."""
    return FileFacts(path, formats=[FormatFacts(format_name, list(symbols))])


def ids(proposed: Sequence[Proposed]) -> list[tuple[str, str]]:
    """Ids and channels."""
    return [(symbol.id, symbol.channel) for symbol in proposed]


def test_ids_differ_also_where_case_is_ignored() -> None:
    """Directories are named by them."""
    files = [
        facts("a", "binance", SymbolFacts("BTCUSDT", depth=1), SymbolFacts("btcusdt", depth=1)),
        facts("b", "bybit", SymbolFacts("BTCUSDT", depth=1)),
    ]
    found = [symbol for symbol, _ in ids(propose(files))]
    assert len({symbol.lower() for symbol in found}) == len(found) == 3


def test_spot_and_futures_of_one_name_are_two_symbols() -> None:
    """Trades in a file of their own are read by both: nothing says whose they are."""
    files = [
        facts("depth", "binance", SymbolFacts("X", books=("futures", "spot"), depth=5)),
        facts("spot", "binance", SymbolFacts("X", books=("spot",), depth=5)),
        facts("trades", "binance", SymbolFacts("X", trades=5)),
    ]
    proposed = propose(files)
    assert sorted(ids(proposed)) == [("X-futures", "futures"), ("X-spot", "spot")]
    by_channel = {symbol.channel: [file.path for file, _ in symbol.files] for symbol in proposed}
    assert by_channel == {"spot": ["depth", "spot", "trades"], "futures": ["depth", "trades"]}


def test_a_symbol_without_a_name_is_labelled_by_its_directory(tmp_path: Path) -> None:
    """`symbol=…` first, then what distinguishes its file, then the directory."""
    nameless = SymbolFacts("", depth=1)
    hive, file, plain = place(tmp_path, "symbol=BTC-USDT/1.parquet", "book_ETH_2024.parquet", "some/1-book.parquet")
    labels = {
        symbol.files[0][0].path: symbol.name
        for symbol in propose([facts(path, "cryptolake", nameless) for path in (hive, file, plain)])
    }
    assert {os.path.relpath(path, tmp_path): label for path, label in labels.items()} == {
        "symbol=BTC-USDT/1.parquet": "BTC-USDT",
        "book_ETH_2024.parquet": "ETH",
        "some/1-book.parquet": "some",
    }
