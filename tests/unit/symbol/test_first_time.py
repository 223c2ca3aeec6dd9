"""The time of a file's first records, as the decoder reads them."""

from __future__ import annotations

import json

import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.symbol.first_time import FirstTime
from support.venue_samples import SAMPLE_IDS, START_MS, make_sample

BEGIN_MS = 1_750_000_000_000


def diff(number: int, time_ms: int) -> bytes:
    """A diff of Binance's."""
    record = {"e": "depthUpdate", "E": time_ms, "s": "X", "U": number, "u": number, "b": [["1", "1"]], "a": []}
    return json.dumps(record).encode() + b"\n"


def trade(time_ms: int) -> bytes:
    """A trade of Binance's."""
    record = {"e": "trade", "E": time_ms, "s": "X", "t": 1, "p": "1", "q": "1", "T": time_ms, "m": True}
    return json.dumps(record).encode() + b"\n"


def first_time(head: bytes, *, whole: bool = False, name: str = "X", format_name: str = "binance") -> int | None:
    """Of a head."""
    return FirstTime(format_name, DecoderSettings(name, 8, 8, 1 << 20))(head, whole)


def test_it_is_the_median_of_the_first_depth_messages() -> None:
    """One wild clock does not move a file, nor do trades from before the connection."""
    diffs = [diff(number, BEGIN_MS + number) for number in range(1, 20)]
    assert first_time(b"".join(diffs)) == (BEGIN_MS + 3) * 10**6
    assert first_time(b"".join([diff(0, 4_000_000_000_000), *diffs])) == (BEGIN_MS + 3) * 10**6
    assert first_time(b"".join([*(trade(BEGIN_MS - 10**7) for _ in range(9)), *diffs])) == (BEGIN_MS + 3) * 10**6
    assert first_time(trade(BEGIN_MS)) == BEGIN_MS * 10**6


def test_without_a_time_there_is_none() -> None:
    """Snapshots without a time, other symbols, nonsense, tables, nothing, an unfinished record."""
    snapshot = b'{"lastUpdateId":1,"bids":[],"asks":[]}\n'
    for head in (
        b"",
        snapshot,
        diff(1, BEGIN_MS).replace(b'"X"', b'"Y"'),
        b"nonsense\n",
        b"a,b,c\n1,2,3\n",
        diff(1, BEGIN_MS)[:-1],
    ):
        assert first_time(head) is None
    assert first_time(diff(1, BEGIN_MS)[:-1], whole=True) == BEGIN_MS * 10**6


@pytest.mark.parametrize("sample_id", SAMPLE_IDS)
def test_every_venue_has_one(sample_id: str) -> None:
    """In every container: close behind the first event."""
    sample = make_sample(sample_id)
    content = next(iter(sample.files.values()))
    if sample_id.endswith(("gz", "zst", "parquet")):
        pytest.skip("its decoded bytes are those of another sample")
    found = first_time(content[: 1 << 16], name=sample.name, format_name=sample.format)
    assert found is not None
    assert 0 <= found / 1e6 - START_MS < 60_000
