"""Whether an input names the configured symbol, as runs and `cowbook check` find out."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cowbook.cli.main import main
from cowbook.input.settings import DecoderSettings
from cowbook.plain.messages import (
    DEAD_LETTER,
    DIFF,
    IS_UNLABELLED,
    MESSAGE,
    OTHER_SYMBOL,
    SNAPSHOT,
    SUBSCRIPTION,
    TICKER,
    TRADE,
    TRADES,
    UNUSED,
)
from cowbook.symbol.naming import check_name, has_named, nobody_names

SNAPSHOT_LINE = b'{"lastUpdateId":1,"bids":[],"asks":[]}\n'
TABLE = b"exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"


def trade(symbol: bytes) -> bytes:
    """A trade of Binance's."""
    return b'{"e":"trade","E":1,"s":"%b","t":1,"p":"1","q":"1","m":true}\n' % symbol


@pytest.mark.parametrize(
    ("kind", "flags", "expected"),
    [
        *((kind, 0, True) for kind in (DIFF, SNAPSHOT, TRADE, TICKER, TRADES)),
        (SNAPSHOT, IS_UNLABELLED, False),
        *((kind, 0, False) for kind in (DEAD_LETTER, OTHER_SYMBOL, UNUSED, SUBSCRIPTION)),
    ],
)
def test_only_usable_records_that_say_a_name_are_named(kind: int, flags: int, expected: bool) -> None:
    """A snapshot that does not say its name proves nothing, and neither does what is not used."""
    messages = np.zeros(2, MESSAGE)
    messages["kind"] = UNUSED, kind
    messages["flags"][1] = flags
    assert has_named(messages) == expected


def test_a_name_that_differs_only_in_case_is_advised() -> None:
    """It is what was meant."""
    assert nobody_names("btcusdt", ["ETHUSDT", "BTCUSDT"]) == (
        'no usable record names btcusdt: the input speaks of ETHUSDT, BTCUSDT; name = "BTCUSDT" would fit'
    )
    assert nobody_names("X", ["A"]) == "no usable record names X: the input speaks of A"
    assert nobody_names("X", [""]) is None


@pytest.mark.parametrize(
    ("format_name", "files", "others"),
    [
        ("binance", [SNAPSHOT_LINE + trade(b"ETHUSDT") * 3 + trade(b"XRPUSDT")], "ETHUSDT, XRPUSDT"),
        ("binance", [trade(b"ETHUSDT"), gzip.compress(trade(b"XRPUSDT"))], "ETHUSDT, XRPUSDT"),
        ("binance", [trade(b"ETHUSDT"), trade(b"BTCUSDT")], ""),
        ("binance", [trade(b"ETHUSDT") + trade(b"BTCUSDT").replace(b"\n", b"\r\n")], ""),
        ("binance", [trade(b"ETHUSDT") * 5_000 + trade(b"BTCUSDT")], "ETHUSDT"),
        ("binance", [b"\x1f\x8bdamaged", trade(b"ETHUSDT")], "ETHUSDT"),
        ("binance", [SNAPSHOT_LINE], ""),
        ("binance", [b""], ""),
        ("kraken", [b'1.5: [0,{"as":[["1.0","1.0","1.5"]],"bs":[]},"book-10","A/B"]\n'], "A/B"),
        ("tardis", [TABLE + b"x,ETHUSDT,1,1,1,buy,1,1\n"], "ETHUSDT"),
        ("tardis", [TABLE + b"x,ETHUSDT,1,1,1,buy,1,1\nx,BTCUSDT,1,1,1,buy,1,1\n"], ""),
        ("tardis", [b"a,b\n1,2\n"], ""),
    ],
)
def test_check_says_whom_the_first_records_name(tmp_path: Path, format_name: str, files: list[bytes], others: str) -> None:
    """Of the first files, and nothing if one of them has the symbol."""
    paths = [tmp_path / str(number) for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    found = check_name(paths, format_name, DecoderSettings("BTCUSDT", 8, 8, 1 << 20))
    told = f"no usable record names BTCUSDT: the input speaks of {others} (by the first records of the first files)"
    assert found == ([told] if others else [])


def test_check_reads_the_names_of_a_parquet_table(tmp_path: Path) -> None:
    """As those of any other."""
    columns: dict[str, list[object]] = {"exchange": ["x"], "symbol": ["ETHUSDT"], "timestamp": [1], "local_timestamp": [1]}
    columns |= {"id": ["1"], "side": ["buy"], "price": [1.0], "amount": [1.0]}
    pq.write_table(pa.table(columns), tmp_path / "a")
    assert "speaks of ETHUSDT" in str(check_name([tmp_path / "a"], "tardis", DecoderSettings("BTCUSDT", 8, 8, 1 << 20)))
    assert check_name([tmp_path / "a"], "tardis", DecoderSettings("ETHUSDT", 8, 8, 1 << 20)) == []


def test_the_command_notes_a_name_that_no_record_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`cowbook check` says it before anything runs."""
    (tmp_path / "a").write_bytes(SNAPSHOT_LINE + trade(b"BTCUSDT"))
    path = tmp_path / "c.toml"
    path.write_text('[[symbol]]\nname = "btcusdt"\nformat = "binance"\npaths = ["a"]\n')
    assert main(["check", str(path)]) == 0
    assert 'note: "btcusdt": no usable record names btcusdt: the input speaks of BTCUSDT' in capsys.readouterr().out
