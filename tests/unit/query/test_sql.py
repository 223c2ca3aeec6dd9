"""The statements of `cowbook sql`, run in DuckDB, give the books of `book_at`."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from cowbook import book_at
from cowbook.cli.main import main
from cowbook.errors import QueryError
from cowbook.query.sql import make_sql
from support.small_output import ASKS, BIDS, START_MS, diff, make_lines, make_output, snapshot


def connect(data: Path) -> duckdb.DuckDBPyConnection:
    """DuckDB with the views and macros of an output."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(make_sql(data))
    return connection


@pytest.mark.parametrize("streams", [("depth", "trades", "bbo", "book", "frame"), ("depth", "trades"), ("depth", "frame")])
def test_books_at_instants_are_those_of_the_library(tmp_path: Path, streams: tuple[str, ...]) -> None:
    """With and without frames and trades, in a directory and with a symbol of odd names."""
    result = make_output(tmp_path, make_lines(), streams=streams)
    data = result.output_dir.rename(tmp_path / "it's [all] here*")
    for directory in data.glob("[!.]*/symbol=BTCUSDT"):
        directory.rename(directory.with_name("symbol=BTC%2FUSD%20%C3%A9"))
    connection = connect(data)
    for milliseconds in range(0, 3000, 250):
        time = f"2024-08-09 00:00:{milliseconds / 1000:06.3f}"
        book = book_at(data, "BTC/USD é", time)
        rows = connection.execute("FROM book_at('BTC/USD é', $1::TIMESTAMPTZ)", [time]).fetchall()
        assert rows == [(side, *level) for side, of in (("bid", book.bids), ("ask", book.asks)) for level in of.decimals()], (
            milliseconds
        )
        assert connection.execute("SELECT spread('BTC/USD é', $1)", [time]).fetchone() == (book.spread,)


def test_depth_within_counts_levels_size_and_turnover(tmp_path: Path) -> None:
    """Of a book of three levels a side, those within 1,500 basis points of 10.5."""
    connection = connect(make_output(tmp_path, make_lines()).output_dir)
    rows = connection.execute("FROM depth_within('BTCUSDT', TIMESTAMPTZ '2024-08-09 00:00:00+00', 1500)").fetchall()
    assert rows == [("bid", 2, 3.0, 28.0), ("ask", 2, 3.0, 35.0)]
    assert connection.execute("SELECT mid, spread, microprice FROM quotes ORDER BY event_index LIMIT 1").fetchone() == (
        10.5,
        1.0,
        10.5,
    )


def test_a_time_far_ahead_spoils_no_other_day(tmp_path: Path) -> None:
    """As in the library: parts of that day alone are looked at."""
    wild = 76 * 365 * 86_400_000
    lines = [snapshot(100, 0, BIDS, ASKS), diff(101, wild, [("6", "1")])]
    lines += [diff(number, (number - 101) * 100, [("5", str(number))]) for number in range(102, 110)]
    data = make_output(tmp_path, lines, part_events=1000).output_dir
    connection = connect(data)
    for milliseconds in (0, 99, 100, 450, 10_000):
        time = (START_MS + milliseconds) * 10**6
        (event,) = connection.execute(f"SELECT event_at('BTCUSDT', make_timestamptz({time // 1000}))").fetchone() or (None,)
        assert event == book_at(data, "BTCUSDT", time).event


def test_the_command_prints_the_statements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Or says what the directory has."""
    data = make_output(tmp_path, make_lines()).output_dir
    capsys.readouterr()
    assert main(["sql", str(data)]) == 0
    assert capsys.readouterr().out == make_sql(data)
    with pytest.raises(QueryError, match="is no output of cowbook"):
        make_sql(tmp_path)


def test_without_depth_there_are_views_alone(tmp_path: Path) -> None:
    """And a word why."""
    connection = connect(make_output(tmp_path, make_lines(), streams=("bbo",)).output_dir)
    assert connection.execute("SELECT count(*) FROM bbo").fetchone() != (0,)
    with pytest.raises(duckdb.Error, match="book_at"):
        connection.execute("FROM book_at('BTCUSDT', now())")
