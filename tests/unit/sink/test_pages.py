"""Pages: whatever the values are, every reader reads them back."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from cowbook.plain.messages import NONE
from cowbook.sink import pages
from cowbook.sink.parquet_file import Chunk, Encoded, Leaf, Logical, ParquetFile, Physical
from support.search import examples

Values = npt.NDArray[np.int64]

TIME = pa.timestamp("ns", "UTC")
SIZES = (1, 2, 7, 8, 9, 63, 64, 65, 255, 256, 257, 258, 1000)
COMPRESSIONS = ("zstd", "lz4", "snappy", "none")
LARGEST = np.iinfo(np.int64).max

MAKERS: tuple[Callable[[np.random.Generator, int], Values], ...] = (
    lambda rng, n: rng.integers(0, 1 << int(rng.integers(1, 63)), n),
    lambda rng, n: rng.integers(-(1 << 62), 1 << 62, n) * 2 + 1,  # differences wrap around
    lambda rng, n: np.cumsum(rng.integers(0, 1 << int(rng.integers(1, 40)), n)),
    lambda rng, n: rng.choice(rng.integers(-1000, 1000, 10), n),
    lambda rng, n: np.full(n, rng.integers(1 << 40)),
    lambda rng, n: rng.choice(np.array([LARGEST, -LARGEST, 0, 1]), n),
    lambda rng, n: rng.integers(0, 1 << int(rng.integers(1, 30)), n) * 10 ** int(rng.integers(6)),
)


def random_values(rng: np.random.Generator, count: int, *, optional: bool) -> Values:
    """Values of one of the kinds, with no, some or only nulls."""
    values = MAKERS[rng.integers(len(MAKERS))](rng, count).astype(np.int64)
    if optional:
        values[rng.random(count) < rng.choice([0.0, 0.01, 0.5, 1.0])] = NONE
        if rng.random() < 0.3:
            values[rng.integers(count) :] = NONE
    return values


def array_of(values: Values, kind: pa.DataType, divisor: float | None = None) -> pa.Array:
    """What a reader must find."""
    found = [None if value == NONE else value if divisor is None else value / divisor for value in values.tolist()]
    return pa.array(found, kind if divisor is not None else pa.int64()).cast(kind)


def table_of(content: bytes) -> pa.Table:
    """What pyarrow finds, with the checksums of all pages compared."""
    return pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read()


def file_of(chunk: Chunk, leaf: Leaf, rows: int, compression: str = "zstd") -> bytes:
    """A file of one column."""
    file = ParquetFile(rows, compression, {})
    file.add(leaf, chunk)
    return bytes(file.finish())


@pytest.mark.parametrize("number", range(examples(400)))
def test_random_columns_are_read_back(number: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pyarrow and Polars, with any compression, many pages, nulls, and statistics that are true."""
    rng = np.random.default_rng([seed, number])
    monkeypatch.setattr(pages, "PAGE_ROWS", int(rng.choice([1 << 20, 64, 128, 1024])))
    rows = int(rng.choice(np.array([*SIZES, int(rng.integers(1, 3000)), 40_000]), p=[0.05] * 13 + [0.33, 0.02]))
    expected = {}
    file = ParquetFile(rows, str(rng.choice(COMPRESSIONS)), {"a": "b" * 200} if rng.random() < 0.5 else {})
    with pages.scratch_for(rows) as scratch:
        for column in range(int(rng.choice([1, 3, 20]))):
            optional, has_statistics, dictionary = (bool(flag) for flag in rng.random(3) < 0.5)
            values = random_values(rng, rows, optional=optional)
            divisor = 1e3 if rng.random() < 0.3 and np.abs(values[values != NONE]).max(initial=0) < 1 << 53 else None
            kind = pa.float64() if divisor is not None else TIME if rng.random() < 0.3 else pa.int64()
            physical = Physical.INT64 if divisor is None else Physical.DOUBLE
            name = f"c{column}"
            leaf = Leaf(name, physical, Logical.TIME if kind == TIME else Logical.INTEGER, optional)
            has_statistics &= divisor is None
            chunk = pages.numbers(
                scratch, values, optional=optional, has_statistics=has_statistics, dictionary=dictionary, divisor=divisor
            )
            file.add(leaf, chunk)
            expected[name] = array_of(values, kind, divisor), has_statistics
    content = bytes(file.finish())
    found = table_of(content)
    polars = pl.read_parquet(io.BytesIO(content))
    group = pq.ParquetFile(pa.BufferReader(content)).metadata.row_group(0)
    for place, (name, (values, has_statistics)) in enumerate(expected.items()):
        assert found[name].combine_chunks().equals(values), name
        assert polars[name].to_arrow().cast(values.type).equals(values), name
        statistics = group.column(place).statistics
        if statistics is not None and statistics.has_min_max:
            assert has_statistics
            least_greatest = pc.min_max(values.cast(pa.int64())).as_py()
            if values.type != TIME:  # pyarrow needs pandas to show nanoseconds
                assert (statistics.min, statistics.max) == (least_greatest["min"], least_greatest["max"])
            assert statistics.null_count == values.null_count


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_duckdb_reads_every_encoding(compression: str, tmp_path: pytest.TempPathFactory, seed: int) -> None:
    """The column is a dictionary, differences or plain."""
    rng = np.random.default_rng(seed)
    columns = {
        Encoded.DICTIONARY: rng.choice(rng.integers(0, 1 << 50, 30), 5000),
        Encoded.DELTAS: np.cumsum(rng.integers(0, 1 << 20, 5000)),
        Encoded.PLAIN: rng.integers(-(1 << 62), 1 << 62, 5000),
    }
    for encoded, values in columns.items():
        nulls = values.copy()
        nulls[rng.random(5000) < 0.2] = NONE
        for optional, given in ((False, values), (True, nulls)):
            with pages.scratch_for(5000) as scratch:
                chunk = pages.numbers(scratch, given, optional=optional, dictionary=True)
                assert chunk.pages[0].encoded == encoded
                content = file_of(chunk, Leaf("x", Physical.INT64, optional=optional), 5000, compression)
            path = f"{tmp_path}/{encoded.name}.parquet"
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(content)
            assert duckdb.read_parquet(path).to_arrow_table()["x"].combine_chunks().equals(array_of(given, pa.int64()))


def test_no_difference_is_wider_than_fastparquet_can_read(seed: int) -> None:
    """It reads those of 29 bits and more wrongly, in silence."""
    rng = random.Random(seed)
    with pages.scratch_for(1000) as scratch:
        for bits in range(1, 62):
            values = np.array([rng.randrange(1 << bits) for _ in range(999)] + [1 << bits], np.int64)
            encoded = pages.numbers(scratch, values).pages[0].encoded
            steps = np.diff(values)
            width = int(steps.max() - steps.min()).bit_length()
            assert encoded == (Encoded.DELTAS if width <= 28 else Encoded.PLAIN), bits


@pytest.mark.parametrize("optional", [False, True])
def test_differences_fill_whole_miniblocks_and_never_their_last_block(optional: bool, seed: int) -> None:
    """Fastparquet writes behind its array where a miniblock is not full, and looks for a block behind the last one."""
    rng = np.random.default_rng(seed)
    for count in (*range(700), 1_000_003):
        values = np.cumsum(rng.integers(0, 1 << 20, count))
        if optional and count:
            values[rng.random(count) < 0.3] = NONE
        present = np.cumsum(np.concatenate([[0], values != NONE]))
        with pages.scratch_for(count) as scratch:
            chunk = pages.numbers(scratch, values, optional=optional)
            content = file_of(chunk, Leaf("x", Physical.INT64, optional=optional), count, "zstd")
        assert table_of(content)["x"].combine_chunks().equals(array_of(values, pa.int64()))
        first = 0
        for page in chunk.pages:
            written = int(present[first + page.rows] - present[first])
            first += page.rows
            if page.encoded == Encoded.DELTAS:
                assert written % 64 == 1, (count, written)
                assert written % 256 != 1, (count, written)
            else:
                assert written < 64 + 64 + 1, (count, written)
        assert first == count


def spread(values: Values, counts: Values) -> Values:
    """The messages' values over their rows."""
    return np.repeat(values, counts)


@pytest.mark.parametrize("number", range(examples(300)))
def test_what_is_constant_in_a_message_is_read_in_each_of_its_rows(number: int, seed: int) -> None:
    """With many or few rows a message, and messages without rows."""
    rng = np.random.default_rng([seed, number])
    count = int(rng.integers(1, 60))
    most = int(rng.choice([2, 8, 300]))
    bids, asks = (np.where(rng.random(count) < 0.3, 0, rng.integers(0, most, count)) for _ in range(2))
    bids[rng.integers(0, count)] += 1
    counts = bids + asks
    firsts = np.cumsum(counts + np.where(rng.random(count) < 0.5, 0, rng.integers(0, 1 << 34, count))) - counts
    values = random_values(rng, count, optional=True)
    flags, kinds = rng.integers(0, 2, count), rng.integers(0, 5, count)
    names = ("clear", "snapshot", "change", "learned", "dropped")
    rows = int(counts.sum())
    with pages.scratch_for(max(rows, count)) as scratch:
        messages = pages.Messages(scratch, bids, asks)
        assert messages.rows == rows
        file = ParquetFile(rows, "zstd", {})
        file.add(Leaf("rising", Physical.INT64), messages.rising(firsts))
        file.add(Leaf("number", Physical.INT64, optional=True), messages.numbers(values, optional=True, has_statistics=True))
        required = np.where(values == NONE, 5, values)
        file.add(Leaf("required", Physical.INT64), messages.numbers(required, optional=False, has_statistics=True))
        file.add(Leaf("flag", Physical.BOOLEAN), messages.flags(flags))
        file.add(Leaf("last", Physical.BOOLEAN), messages.ends(flags))
        file.add(Leaf("kind", Physical.BYTE_ARRAY, Logical.TEXT), messages.choices(kinds, names))
        file.add(Leaf("side", Physical.BYTE_ARRAY, Logical.TEXT), messages.sides())
        content = bytes(file.finish())
    found = table_of(content)
    assert found["rising"].to_pylist() == [int(first) + at for first, n in zip(firsts, counts, strict=True) for at in range(n)]
    assert found["number"].combine_chunks().equals(array_of(spread(values, counts), pa.int64()))
    assert found["required"].to_pylist() == spread(required, counts).tolist()
    assert found["flag"].to_pylist() == spread(flags == 1, counts).tolist()
    assert found["last"].to_pylist() == [
        bool(flag) and at == n - 1 for flag, n in zip(flags, counts, strict=True) for at in range(n)
    ]
    assert found["kind"].to_pylist() == [names[kind] for kind in spread(kinds, counts)]
    assert found["side"].to_pylist() == [
        side for pair in zip(bids, asks, strict=True) for side, n in zip(("bid", "ask"), pair, strict=True) for _ in range(n)
    ]
    statistics = pq.ParquetFile(pa.BufferReader(content)).metadata.row_group(0).column(0).statistics
    assert (statistics.min, statistics.max) == (found["rising"][0].as_py(), found["rising"][-1].as_py())


def test_flags_choices_and_small_numbers_are_read_back(seed: int) -> None:
    """A row each, of any number of rows."""
    rng = np.random.default_rng(seed)
    for rows in (*SIZES, 5000):
        flags, kinds, small = (rng.integers(0, most, rows) for most in (2, 3, 1 << 15))
        with pages.scratch_for(rows) as scratch:
            file = ParquetFile(rows, "zstd", {})
            file.add(Leaf("flag", Physical.BOOLEAN), pages.flags(scratch, flags))
            file.add(Leaf("kind", Physical.BYTE_ARRAY, Logical.TEXT), pages.choices(scratch, kinds, ("a", "", "ccc")))
            file.add(Leaf("small", Physical.INT32, Logical.SHORT), pages.small_numbers(scratch, small))
            found = table_of(bytes(file.finish()))
        assert found["flag"].to_pylist() == (flags == 1).tolist()
        assert found["kind"].to_pylist() == [("a", "", "ccc")[kind] for kind in kinds]
        assert found["small"].to_pylist() == small.tolist()
        assert found.schema.field("small").type == pa.int16()


def test_a_dictionary_is_given_up_where_new_values_do_not_cease() -> None:
    """And kept where they recur, however many rows there are."""
    with pages.scratch_for(200_000) as scratch:
        rising = np.arange(200_000, dtype=np.int64) * 1000
        assert pages.numbers(scratch, rising, dictionary=True).pages[0].encoded == Encoded.DELTAS
        assert pages.numbers(scratch, rising % 17_000_000, dictionary=True).pages[0].encoded == Encoded.DICTIONARY


def test_scratch_is_not_shared_between_threads_and_large_one_is_not_kept() -> None:
    """What two threads encode at the same time does not mix."""
    with pages.scratch_for(1) as first, pages.scratch_for(1) as second:
        assert first is not second
    with pages.scratch_for(1) as third:
        assert third in (first, second)
    with pages.scratch_for(pages._MOST_KEPT_ROWS + 1) as large:
        pass
    with pages.scratch_for(1) as again:
        assert again is not large
