"""What a file looks like that is not what the configuration says."""

from __future__ import annotations

import gzip
from pathlib import Path

from cowbook.input.decoding import DecoderSettings
from cowbook.input.sniffing import formats_of, what_it_looks_like
from cowbook.simulate import write_capture

SETTINGS = DecoderSettings("A/B", 8, 8, 10_000)
KRAKEN = b'1618678134.2 [1,{"a":[["1.60","1.000","1.5"]],"c":"7"},"book-10","A/B"]\n'
DERIBIT = b'{"method":"subscription","params":{"channel":"book.X.raw","data":{"type":"snapshot","instrument_name":"X"}}}\n'


def test_records() -> None:
    """Of the symbol or of another one; what means nothing to any venue has no format."""
    assert formats_of(KRAKEN.strip(), SETTINGS) == ["kraken"]
    assert formats_of(DERIBIT.strip(), SETTINGS) == ["deribit"]
    assert formats_of(b'{"event":"heartbeat"}', SETTINGS) == []
    assert formats_of(b"\xff\x00", SETTINGS) == []


def test_files(tmp_path: Path) -> None:
    """Compressed ones, too; one that fits, is empty or unreadable is no news."""
    wrong, right, empty = tmp_path / "a.gz", tmp_path / "b", tmp_path / "c"
    wrong.write_bytes(gzip.compress(b"#header\n" + DERIBIT))
    write_capture(right, symbol="BTCUSDT", messages=20, seed=1)
    empty.write_bytes(b"")
    text = what_it_looks_like(wrong, "binance", SETTINGS)
    assert text == f'{wrong} is no capture of format = "binance": it looks like deribit'
    assert what_it_looks_like(right, "binance", SETTINGS) is None
    assert what_it_looks_like(right, "okx", SETTINGS) == f'{right} is no capture of format = "okx": it looks like binance'
    assert what_it_looks_like(empty, "binance", SETTINGS) is None
    assert what_it_looks_like(tmp_path / "missing", "binance", SETTINGS) is None
