"""`[output] numbers`: the same rows as decimals, as doubles and as whole numbers."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.plain.messages import NONE
from cowbook.sink.columns import NumberColumn, NumberKind
from support.harness import Run, reconstruct
from support.venue_samples import make_sample

NUMBERS = {
    "depth": ("price", "size"),
    "trades": ("price", "size"),
    "frame": ("price", "size"),
    "bbo": ("bid_price", "bid_size", "ask_price", "ask_size"),
    "book": tuple(f"{side}_{what}_{level:02d}" for level in range(3) for side in ("bid", "ask") for what in ("px", "sz")),
}
"""The columns of prices and sizes, by stream."""


def parts_as(directory: Path, numbers: NumberKind) -> dict[str, Path]:
    """The parts of a sample with gaps, by their place, written with this kind of numbers."""
    sample = make_sample("binance", 5, 200)
    lines = sample.files["a"].split(b"\n")
    content = b"\n".join(line for place, line in enumerate(lines) if place % 23)
    engine = EngineSettings(part_events=60, book_levels=3)
    run = Run("X", sample.name, sample.format, price_decimals=1, size_decimals=2, engine=engine, numbers=numbers)
    result = reconstruct(directory / numbers, {"a": content}, run)
    assert result.summary.state == "done"
    return {name: result.output_dir / name for name in result.parts}


@pytest.mark.parametrize("numbers", ["float64", "int64"])
def test_other_numbers_are_the_same_rows(numbers: NumberKind, tmp_path: Path) -> None:
    """Doubles are the nearest ones. Whole numbers are those of the decimals, which the file names. Other columns are equal."""
    exact, others = parts_as(tmp_path, "decimal"), parts_as(tmp_path, numbers)
    assert list(exact) == list(others)
    assert {name.partition("/")[0] for name in exact} >= set(NUMBERS) | {"gaps"}
    compared = 0
    for name in exact:
        was, now = pq.ParquetFile(exact[name]).read(), pq.ParquetFile(others[name]).read()
        assert was.column_names == now.column_names
        for column in was.column_names:
            values, found = was.column(column).to_pylist(), now.column(column).to_pylist()
            if column == "size_error" and numbers == "float64":
                values = [float(value) for value in values]
            if column not in NUMBERS.get(name.partition("/")[0], ()):
                assert found == values, (name, column)
                continue
            decimals = 1 if "price" in column or "_px_" in column else 2
            if numbers == "float64":
                assert now.schema.field(column).type == pa.float64()
                assert found == [None if value is None else float(value) for value in values]
            else:
                assert now.schema.field(column).type == pa.int64()
                assert found == [None if value is None else int(value.scaleb(decimals)) for value in values]
            compared += sum(value is not None for value in values)
        metadata = pq.ParquetFile(others[name]).metadata.metadata or {}
        if numbers == "int64":
            assert (metadata[b"price_decimals"], metadata[b"size_decimals"]) == (b"1", b"2")
        else:
            assert set(metadata) == {b"rows_of_cut"}
    assert compared > 500


@pytest.mark.parametrize("decimals", [0, 1, 2, 8, 15])
def test_doubles_are_the_nearest_ones(decimals: int) -> None:
    """They are what the decimal's text is read as, up to 15 digits."""
    values = [0, 1, 3, 7, 10**decimals - 1, 123_456_789_012_345, 999_999_999_999_999, NONE]
    made = NumberColumn(decimals, "float64").make(np.array(values, np.int64), may_be_null=True).to_pylist()
    assert made == [*(float(Decimal(value).scaleb(-decimals)) for value in values[:-1]), None]
