"""What a file looks like that is not what the configuration says."""

from __future__ import annotations

import gzip
from pathlib import Path

from cowbook.input.settings import DecoderSettings
from cowbook.simulate.capture import write_capture
from cowbook.symbol.input_check import what_it_looks_like
from cowbook.venues.recognise import formats_of
from support.venue_samples import make_sample

SETTINGS = DecoderSettings("A/B", 8, 8, 10_000)
KRAKEN = b'1618678134.2 [1,{"a":[["1.60","1.000","1.5"]],"c":"7"},"book-10","A/B"]\n'
DERIBIT = b'{"method":"subscription","params":{"channel":"book.X.raw","data":{"type":"snapshot","instrument_name":"X"}}}\n'


def test_records_of_any_symbol_are_recognised() -> None:
    """Of the symbol or of another one; what means nothing to any venue has no format."""
    assert formats_of(KRAKEN.strip(), SETTINGS) == ["kraken"]
    assert formats_of(DERIBIT.strip(), SETTINGS) == ["deribit"]
    assert formats_of(b'{"event":"heartbeat"}', SETTINGS) == []
    assert formats_of(b"\xff\x00", SETTINGS) == []


def test_files_that_fit_are_not_reported(tmp_path: Path) -> None:
    """Compressed ones, too; one that fits, is empty or unreadable is no news."""
    wrong, right, empty = tmp_path / "a.gz", tmp_path / "b", tmp_path / "c"
    wrong.write_bytes(gzip.compress(b"#header\n" + DERIBIT))
    write_capture(right, symbol="BTCUSDT", messages=20, seed=1)
    empty.write_bytes(b"")
    text = what_it_looks_like(wrong, "binance", SETTINGS)
    assert text == f'{wrong} is no capture of format = "binance": these look like deribit records: format = "deribit" would fit'
    assert what_it_looks_like(right, "binance", SETTINGS) is None
    assert (
        what_it_looks_like(right, "okx", SETTINGS)
        == f'{right} is no capture of format = "okx": these look like binance records: format = "binance" would fit'
    )
    assert what_it_looks_like(empty, "binance", SETTINGS) is None
    assert what_it_looks_like(tmp_path / "missing", "binance", SETTINGS) is None


def test_tables_are_recognised_by_their_columns(tmp_path: Path) -> None:
    """Known by their columns, in both containers; what is no table is said to be none."""
    csv, parquet, other = tmp_path / "a.csv", tmp_path / "b", tmp_path / "c"
    csv.write_bytes(make_sample("tardis-csv").files["1-book"])
    parquet.write_bytes(make_sample("cryptolake-parquet").files["1-book"])
    other.write_bytes(b"a,b\n1,2\n")
    assert what_it_looks_like(csv, "tardis", SETTINGS) is None
    assert what_it_looks_like(parquet, "cryptolake", SETTINGS) is None
    expected = {
        (
            csv,
            "binance",
        ): f'{csv} is no capture of format = "binance": these look like tardis records: format = "tardis" would fit',
        (
            parquet,
            "tardis",
        ): f'{parquet} is no capture of format = "tardis": these look like cryptolake records: format = "cryptolake" would fit',
        (other, "tardis"): f"{other} is no table of format = \"tardis\": its columns are 'a,b'",
        (other, "binance"): None,
    }
    for (path, format_name), text in expected.items():
        assert what_it_looks_like(path, format_name, SETTINGS) == text
