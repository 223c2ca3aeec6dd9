"""The output as a dataset: the same rows as in its files, in their order, and only the files that are needed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cowbook import scan
from cowbook.config import load_config
from cowbook.errors import QueryError, UsageError
from cowbook.export.text import export_csv
from cowbook.plain.streams import CHOSEN_STREAMS, STREAM_NAMES
from cowbook.query.parts import retrying, symbols_like
from cowbook.query.times import parse_time
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture

NAMES = ("BTCUSDT", "ETH/USD")
START, END = "2024-08-08T23:54:20Z", "2024-08-08T23:54:40.5Z"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of two symbols, in parts of ten seconds."""
    directory = tmp_path_factory.mktemp("scan")
    text = f'[output]\npart_interval = "10s"\nstreams = {list(CHOSEN_STREAMS)}\n'
    for seed, name in enumerate(NAMES):
        write_capture(directory / f"{seed}.jsonl", symbol=name, messages=600, seed=seed + 1)
        text += f'[[symbol]]\nname = "{name}"\nformat = "binance"\npaths = ["{seed}.jsonl"]\n'
    (directory / "cowbook.toml").write_text(text)
    assert all(summary.state == "done" for summary in run_once(load_config(directory / "cowbook.toml", {})))
    return directory / "data"


def rows_of(data: Path, stream: str, directory: str) -> pa.Table:
    """The rows of all parts of a symbol, read file by file."""
    paths = sorted((data / stream / f"symbol={directory}").glob("date=*/*.parquet"), key=lambda path: path.name)
    assert len(paths) > 3
    return pa.concat_tables([pq.read_table(path, partitioning=None) for path in paths])


@pytest.mark.parametrize("stream", ["depth", "trades", "bbo", "book", "features"])
def test_all_rows_in_the_order_of_events(data: Path, stream: str) -> None:
    """As they stand in the files, with the symbol behind."""
    found = scan(data, stream, "ETH/USD").to_table()
    assert set(found["symbol"].to_pylist()) == {"ETH/USD"}
    assert found.drop_columns("symbol").equals(rows_of(data, stream, "ETH%2FUSD"))


@pytest.mark.parametrize("stream", ["depth", "book"])
@pytest.mark.parametrize(("reads", "place"), [("scan", 0), ("scan", -2), ("csv", 0), ("csv", -2)])
def test_a_missing_part_is_an_error(data: Path, tmp_path: Path, stream: str, reads: str, place: int) -> None:
    """Another part of its cut says that there was one. Spans in which it is not are as before."""
    shutil.copytree(data, tmp_path / "data")
    missing = sorted((tmp_path / "data" / stream / "symbol=BTCUSDT").rglob("*.parquet"))[place]
    missing.unlink()

    def read() -> object:
        if reads == "scan":
            return scan(tmp_path / "data", stream, "BTCUSDT")
        return retrying(lambda: export_csv(tmp_path / "data", "BTCUSDT", None, None, tmp_path / "csv"))

    with pytest.raises(QueryError, match=f"has no part {missing.name} of {stream} with its"):
        read()
    shutil.rmtree(tmp_path / "data" / stream / "symbol=BTCUSDT")  # on purpose
    assert scan(tmp_path / "data", stream, "BTCUSDT").count_rows() == 0


def test_a_missing_cut_is_an_error(data: Path, tmp_path: Path) -> None:
    """Its events are in no part."""
    shutil.copytree(data, tmp_path / "data")
    name = sorted((tmp_path / "data" / "depth" / "symbol=BTCUSDT").rglob("*.parquet"))[1].name
    for path in (tmp_path / "data").rglob(f"symbol=BTCUSDT/*/{name}"):
        path.unlink()
    with pytest.raises(QueryError, match="are in no part"):
        scan(tmp_path / "data", "trades")


def test_another_parquet_in_the_place_of_a_part_is_an_error(data: Path, tmp_path: Path) -> None:
    """Of other columns, or of other types."""
    shutil.copytree(data, tmp_path / "data")
    path = sorted((tmp_path / "data" / "trades" / "symbol=BTCUSDT").rglob("*.parquet"))[1]
    table = pq.read_table(path, partitioning=None)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(QueryError, match="is no part of cowbook's stream trades"):
        scan(tmp_path / "data", "trades")
    pq.write_table(table.set_column(0, "event_index", table["event_index"].cast(pa.float64())), path)
    with pytest.raises(QueryError, match="has other columns than the first part of trades: event_index double"):
        scan(tmp_path / "data", "trades")


def test_symbols_that_are_most_alike_are_named_first() -> None:
    """An output may have hundreds."""
    assert symbols_like("btcusdt", ["ADAUSDT", "XBT", "BTCUSDT-spot", "ETHUSDT"])[0] == "BTCUSDT-spot"


def test_damaged_pages_are_an_error(data: Path, tmp_path: Path) -> None:
    """Their checksums are looked at."""
    shutil.copytree(data, tmp_path / "data")
    path = sorted((tmp_path / "data" / "trades" / "symbol=BTCUSDT").rglob("*.parquet"))[1]
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC"):
        scan(tmp_path / "data", "trades").to_table()
    with pytest.raises(QueryError, match=f"{path.name} is damaged"):
        export_csv(tmp_path / "data", "BTCUSDT", None, None, tmp_path / "csv")


def test_all_symbols(data: Path) -> None:
    """One after the other; a list chooses."""
    count = scan(data, "trades").count_rows()
    assert count == sum(scan(data, "trades", name).count_rows() for name in NAMES)
    assert scan(data, "trades", list(reversed(NAMES))).to_table()["symbol"][0].as_py() == "ETH/USD"


@pytest.mark.parametrize(("stream", "time"), [("bbo", "ts_event"), ("book", "ts"), ("features", "ts")])
def test_a_span_of_time(data: Path, stream: str, time: str) -> None:
    """From `start` on and before `end`; the column of times comes along."""
    begins, ends = parse_time(START, "start"), parse_time(END, "end")
    whole = scan(data, stream, "BTCUSDT").to_table()
    times = whole[time].cast(pa.int64()).to_numpy()
    inside = (times >= begins) & (times < ends)
    found = scan(data, stream, "BTCUSDT", start=START, end=END, columns=["event_index"]).to_table()
    assert found.schema.names == ["event_index", time]
    assert found.equals(whole.filter(pa.array(inside)).select(["event_index", time]))
    assert 0 < inside.sum() < len(whole)
    assert scan(data, stream, "BTCUSDT", columns=["event_index"]).schema.names == ["event_index"]


def test_parts_that_are_not_needed_are_not_read(data: Path, tmp_path: Path) -> None:
    """Of other days not even the footer: they may be broken. Rows are less than a day older than the day of their part."""
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    expected = scan(copy, "bbo", "BTCUSDT", start=START, end=END).count_rows()
    parts = copy / "bbo" / "symbol=BTCUSDT"
    for day in ("2024-08-05", "2024-08-11"):
        (parts / f"date={day}").mkdir()
        number = 10**9 if day > "2024-08-08" else 1  # behind, and between the first two
        (parts / f"date={day}" / f"part-{number:016d}-{number:016d}.parquet").write_bytes(b"broken")
    assert scan(copy, "bbo", "BTCUSDT", start=START, end=END).count_rows() == expected


def test_a_tail_that_is_being_replaced_counts_once(data: Path, tmp_path: Path) -> None:
    """The part with the same first event that has more events is the newer one."""
    copy = tmp_path / "data"
    shutil.copytree(data / "bbo", copy / "bbo")
    count = scan(copy, "bbo", "BTCUSDT").count_rows()
    last = max((copy / "bbo" / "symbol=BTCUSDT").glob("date=*/*.parquet"), key=lambda path: path.name)
    first = last.name.split("-")[1]
    shutil.copy(last, last.with_name(f"part-{first}-{int(first):016d}.parquet"))
    assert scan(copy, "bbo", "BTCUSDT").count_rows() == count


def test_duckdb_reads_it(data: Path) -> None:
    """By the variable's name, with filters pushed down."""
    trades = scan(data, "trades", start=START, end=END)  # noqa: F841 - DuckDB finds it
    (rows,) = duckdb.sql(
        "SELECT count(*), min(ts_event) >= TIMESTAMPTZ '2024-08-08 23:54:20Z' FROM trades WHERE side = 'buy'"
    ).fetchall()
    sides = scan(data, "trades", start=START, end=END).to_table()["side"].to_pylist()
    assert rows == (sides.count("buy"), True)


def test_polars_reads_it(data: Path) -> None:
    """Lazily."""
    lazy = pl.scan_pyarrow_dataset(scan(data, "trades", "BTCUSDT", start=START, end=END))
    total = lazy.filter(pl.col("side") == "sell").select(pl.col("size").sum()).collect().item()
    rows = (
        scan(data, "trades", "BTCUSDT", start=START, end=END, columns=["side", "size"])
        .to_table()
        .select(["side", "size"])
        .to_pylist()
    )
    assert total == sum(row["size"] for row in rows if row["side"] == "sell")


def with_other_decimals(data: Path) -> None:
    """The prices of one symbol with two decimals."""
    for path in (data / "trades" / "symbol=BTCUSDT").glob("date=*/*.parquet"):
        table = pq.read_table(path, partitioning=None)
        price = table["price"].cast(pa.decimal128(18, 2))
        pq.write_table(table.set_column(table.schema.get_field_index("price"), "price", price), path)


def test_symbols_of_different_decimals_are_refused_together(data: Path, tmp_path: Path) -> None:
    """One of them would be rounded."""
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    with_other_decimals(copy)
    with pytest.raises(UsageError, match=r"columns of different types: scan them one by one"):
        scan(copy, "trades")
    assert scan(copy, "trades", "BTCUSDT").schema.field("price").type == pa.decimal128(18, 2)


@pytest.mark.parametrize("stream", STREAM_NAMES)
def test_a_stream_without_parts_has_no_rows_and_its_columns(data: Path, tmp_path: Path, stream: str) -> None:
    """The columns that its parts have where there are some, and a span and a choice of them as usual."""
    copy = tmp_path / "data"
    shutil.copytree(data, copy, ignore=lambda _, names: [stream] if stream in names else [])
    found = scan(copy, stream, "BTCUSDT").to_table()
    assert len(found) == 0
    if (data / stream / "symbol=BTCUSDT").exists():
        expected = scan(data, stream, "BTCUSDT").schema
        assert found.schema.equals(expected.remove_metadata()), (found.schema, expected)
    assert scan(copy, stream, columns=["event_index"]).to_table().schema.names == ["event_index"]


def test_a_symbol_without_rows_of_a_stream_is_none_that_is_unknown(data: Path, tmp_path: Path) -> None:
    """It has no rows beside another one that has some."""
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    shutil.rmtree(copy / "trades" / "symbol=BTCUSDT")
    assert scan(copy, "trades", "BTCUSDT").count_rows() == 0
    assert scan(copy, "trades", list(NAMES)).count_rows() == scan(data, "trades", "ETH/USD").count_rows() > 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda data: scan(data, "ticks"), "stream = 'ticks': must be one of depth, trades"),
        (lambda data: scan(data, "trades", "XRP"), "symbol XRP: .* has BTCUSDT, ETH/USD"),
        (lambda data: scan(data, "trades", []), "has BTCUSDT, ETH/USD"),
        (lambda data: scan(data, "trades", columns=["prize"]), "columns: 'prize': must be some of event_index"),
        (lambda data: scan(data, "trades", columns=[]), "must be some of"),
        (lambda data: scan(data, "trades", start="then"), "start = 'then'"),
        (lambda data: scan(data, "dead_letter", start=0), "has no times"),
        (lambda data: scan(data.parent, "trades"), "is no output of cowbook"),
    ],
)
def test_what_is_not_there_is_an_error_that_says_what_is(data: Path, call: Callable[[Path], Any], text: str) -> None:
    """Never an empty result."""
    with pytest.raises((UsageError, QueryError), match=text):
        call(data)


def test_a_torn_first_part_is_named(data: Path, tmp_path: Path) -> None:
    """Its columns are asked for at once. An export says the same of any part."""
    torn = shutil.copytree(data, tmp_path / "torn")
    part = min((torn / "depth").rglob("*.parquet"))
    symbol = part.parents[1].name.removeprefix("symbol=")
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(QueryError, match=rf"{part} is damaged: .*; restore it"):
        scan(torn, "depth", symbol)
    with pytest.raises(QueryError, match=r"is damaged: .*; restore it"):
        export_csv(torn, symbol, None, None, tmp_path / "out")
