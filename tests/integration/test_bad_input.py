"""What bad input gets: a clear error or a dead letter, never a crash, and what was written stays valid."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.capture.paths import expand_paths
from cowbook.cli.main import main
from cowbook.errors import InputError, StorageError
from support.crash_states import comparable
from support.harness import Run, fixed, read_parts, reconstruct

SNAPSHOT = b'{"lastUpdateId":10,"E":1000000000000,"bids":[["1.0","5"]],"asks":[["2.0","5"]]}\n'


def diff(first_id: int, last_id: int, price: str = "1.0", size: str = "5", symbol: str = "BTCUSDT") -> bytes:
    """A spot diff with one bid."""
    ids = f'"U":{first_id},"u":{last_id}'
    return f'{{"e":"depthUpdate","E":1000000000001,"s":"{symbol}",{ids},"b":[["{price}","{size}"]],"a":[]}}\n'.encode()


def test_a_truncated_gzip_is_processed_up_to_the_damage(tmp_path: Path) -> None:
    """A truncated gzip is processed up to the damage, which is a dead letter with file and offset, and a gap."""
    lines = [SNAPSHOT, *(diff(number, number, size=str(number * 7919 % 1000 + 1)) for number in range(11, 2000))]
    content = gzip.compress(b"".join(lines))
    content = content[: len(content) // 2]
    results = [
        reconstruct(tmp_path / str(block_bytes), {"a.gz": content}, Run(block_bytes=block_bytes))
        for block_bytes in (300, 1 << 20)
    ]
    assert comparable(results[0]) == comparable(results[1])
    (first, second) = (result.summary for result in results)
    assert first.state == second.state == "done"
    assert any("damaged in 1 place" in warning for warning in first.warnings)
    assert 100 < first.events < 1990
    assert len(results[0].rows("depth")) == first.events == second.events
    (letter,) = results[0].rows("dead_letter")
    assert (Path(str(letter["file"])).name, letter["reason"]) == ("a.gz", "damaged")
    assert not first.synced
    assert first.gaps == 1


def test_a_gzip_damaged_in_the_wild_is_processed_up_to_the_damage(shared_data: Path, tmp_path: Path) -> None:
    """A gzip that was damaged in the wild: everything up to the damage, and then nothing."""
    content = (shared_data / "tardis" / "CORRUPT_binance-futures_trades.csv.gz").read_bytes()
    result = reconstruct(tmp_path, {"trades.csv.gz": content}, Run(format="tardis"))
    assert result.summary.state == "done"
    assert result.summary.dead_letters["damaged"] == 1
    assert result.summary.events + sum(result.summary.dead_letters.values()) == 200 + 1
    (letter,) = result.rows("dead_letter")[-1:]
    assert letter["reason"] == "damaged"
    assert letter["offset"] + letter["length"] == 17022


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_file_is_done_with_a_warning(tmp_path: Path, content: bytes) -> None:
    """An empty file is done at once, and says that nothing was usable."""
    result = reconstruct(tmp_path, {"a": content})
    assert result.summary.state == "done"
    assert result.summary.warnings == ["no usable record in the input"]
    assert result.parts == {}


def test_a_capture_of_another_symbol_is_named(tmp_path: Path) -> None:
    """A capture of another symbol yields nothing, which is a failure that names what it speaks of."""
    result = reconstruct(tmp_path, {"a": diff(1, 2, symbol="ETHUSDT") * 3 + diff(3, 4, symbol="XRPUSDT")})
    assert result.summary.state == "failed"
    assert result.summary.other_symbol == 4
    assert result.summary.error == "no usable record names BTCUSDT: the input speaks of ETHUSDT, XRPUSDT"
    assert result.summary.warnings == []
    assert result.parts == {}


def test_a_name_in_lower_case_is_a_failure_though_a_snapshot_was_used(tmp_path: Path) -> None:
    """A snapshot that names nobody proves no name; what fits is said, in each run anew, until there is a record of the symbol."""
    told = 'no usable record names btcusdt: the input speaks of BTCUSDT; name = "BTCUSDT" would fit'
    content = SNAPSHOT + diff(11, 11)
    for _ in range(2):
        result = reconstruct(tmp_path, {"a": content}, Run("btcusdt"))
        assert (result.summary.state, result.summary.error, result.summary.messages) == ("failed", told, 1)
    for _ in range(2):
        result = reconstruct(tmp_path, {"a": content + diff(11, 11, symbol="btcusdt")}, Run("btcusdt"))
        assert (result.summary.state, result.summary.other_symbol, result.summary.messages) == ("done", 1, 2)


@pytest.mark.parametrize(
    "own",
    [
        diff(11, 11),
        b'{"stream":"btcusdt@depth5","data":{"lastUpdateId":5,"bids":[],"asks":[]}}\n',
        b'{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}\n',
        diff(11, 11, "0.123456789"),
    ],
)
def test_one_record_of_the_symbol_is_enough(tmp_path: Path, own: bytes) -> None:
    """Of any kind that is used, also one that does not fit: then that is what is wrong."""
    result = reconstruct(tmp_path, {"a": SNAPSHOT + diff(1, 2, symbol="ETHUSDT") * 100 + own})
    assert result.summary.state == "done"
    assert "speaks of" not in str(result.summary.warnings)


def test_a_book_without_a_snapshot_is_never_synced(tmp_path: Path) -> None:
    """Without any snapshot the book is built from diffs, never synced, and the summary says so."""
    result = reconstruct(tmp_path, {"a": diff(1, 2) + diff(3, 4, "1.5")})
    assert result.summary.state == "done"
    assert not result.summary.synced
    assert "no depth snapshot" in result.summary.warnings[0]
    assert [row["synced"] for row in result.rows("depth")] == [False, False]


def test_a_value_out_of_range_is_a_dead_letter(tmp_path: Path) -> None:
    """A numeral that does not fit is a dead letter, never a wrong number."""
    content = SNAPSHOT + diff(11, 11, "0.123456789") + diff(12, 12, "99999999999") + diff(13, 13, "9999999999.99999999")
    result = reconstruct(tmp_path, {"a": content})
    assert [row["reason"] for row in result.rows("dead_letter")] == ["out_of_range"] * 2
    assert "price 0.123456789 has 9 decimals: price_decimals = 9 would fit" in result.summary.warnings[0]
    assert result.rows("depth")[-1]["price"] == fixed("9999999999.99999999")
    assert result.summary.gaps == 1


def test_a_bad_record_halts_before_it(tmp_path: Path) -> None:
    """on_bad_record = halt ends the symbol before the record, with file, offset and reason."""
    good = SNAPSHOT + diff(11, 11)
    result = reconstruct(tmp_path, {"a": good + b"bad\n" + diff(12, 12)}, Run(on_bad_record="halt"))
    assert result.summary.state == "failed"
    assert result.summary.error is not None
    assert f"a at offset {len(good)}: malformed" in result.summary.error
    assert len(result.rows("depth")) == result.summary.events == 5
    assert "dead_letter" not in str(result.parts.keys())


def test_a_gap_halts_before_its_message(tmp_path: Path) -> None:
    """on_gap = halt ends the symbol before the message at the gap, with file, offset and ids."""
    good = SNAPSHOT + diff(11, 11)
    for block_bytes in (100, 1 << 20):
        run = Run(engine=EngineSettings(on_gap="halt"), block_bytes=block_bytes)
        result = reconstruct(tmp_path / str(block_bytes), {"a": good + diff(14, 15) + diff(16, 16)}, run)
        assert result.summary.state == "failed"
        assert result.summary.error is not None
        assert f"a at offset {len(good)}: gap: update id 14 follows where 12 was expected" in result.summary.error
        assert [row["kind"] for row in result.rows("depth")] == ["clear", "clear", "snapshot", "snapshot", "change"]


def test_a_book_beyond_its_memory_names_the_setting(tmp_path: Path) -> None:
    """A book beyond max_book_bytes ends the symbol with an error that names the setting."""
    lines = [diff(number, number, f"{number * 1000}.00000001") for number in range(1, 3000)]
    result = reconstruct(tmp_path, {"a": b"".join(lines)}, Run(engine=EngineSettings(max_book_bytes=1 << 20)))
    assert result.summary.state == "failed"
    assert result.summary.error is not None
    assert "max_book_bytes = 1048576" in result.summary.error


def test_memory_that_cannot_be_reserved_names_the_setting(tmp_path: Path) -> None:
    """More than the machine can reserve is an error that names the setting."""
    result = reconstruct(tmp_path, {"a": SNAPSHOT}, Run(engine=EngineSettings(max_book_bytes=1 << 60)))
    assert result.summary.state == "failed"
    assert "does not reserve max_book_bytes" in str(result.summary.error)


def test_parts_without_checkpoints_are_refused(tmp_path: Path) -> None:
    """Parts whose checkpoints are gone are refused and left alone; with allow_fresh they are moved away."""
    first = reconstruct(tmp_path, {"a": SNAPSHOT})
    shutil.rmtree(tmp_path / "state")
    second = reconstruct(tmp_path, {"a": SNAPSHOT + diff(11, 11)})
    assert second.summary.state == "failed"
    assert "--allow-fresh" in str(second.summary.error)
    assert read_parts(tmp_path / "data") == first.parts
    third = reconstruct(tmp_path, {"a": SNAPSHOT + diff(11, 11)}, allow_fresh=True)
    assert third.summary.state == "done"
    assert len(third.rows("depth")) == 5
    moved = [path.read_bytes() for path in sorted((tmp_path / "data" / ".superseded").rglob("*.parquet"))]
    assert sorted(moved) == sorted(first.parts.values())


def test_unwritable_output_is_named(tmp_path: Path) -> None:
    """An output directory that cannot be made is an error with its path."""
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StorageError, match=str(tmp_path / "data")):
        reconstruct(tmp_path, {"a": SNAPSHOT})


def test_missing_files_are_named(tmp_path: Path) -> None:
    """Missing files and globs without a match are errors that name them."""
    with pytest.raises(InputError, match=r"nothing\.gz: No such file"):
        expand_paths(["nothing.gz"], tmp_path)
    with pytest.raises(InputError, match="no file matches"):
        expand_paths(["*.gz"], tmp_path)


def kraken(pair: str, checksum: str = "1", time: str = "1.5") -> bytes:
    """A snapshot and a change of Kraken's, with a checksum that is wrong."""
    levels = f'[["1.0","1.0","{time}"]]'
    return (
        f'1.5: [0,{{"as":{levels},"bs":{levels}}},"book-10","{pair}"]\n'
        f'1.6: [0,{{"a":{levels},"c":"{checksum}"}},"book-10","{pair}"]\n'
    ).encode()


def test_a_warning_says_that_no_checksum_matches(tmp_path: Path) -> None:
    """One that fails may be a lost message; if all do, it may be another format."""
    result = reconstruct(tmp_path, {"a": kraken("A/B") + kraken("A/B", time="2.5")}, Run("A/B", format="kraken"))
    assert result.summary.warnings == ['none of 2 checksums matched: is it format = "kraken", and are all records there?']


def test_the_first_other_symbols_are_named(tmp_path: Path) -> None:
    """The first ones are named, and that there may be more, though most records of them are scanned."""
    content = b"".join(kraken(f"X{number}/Y") for number in range(100))
    result = reconstruct(tmp_path, {"a": content}, Run("A/B", format="kraken"))
    names = ", ".join(f"X{n}/Y" for n in range(16))
    assert result.summary.error == f"no usable record names A/B: the input speaks of {names} and maybe more"


def test_another_format_after_the_collectors_own_lines_is_recognised(tmp_path: Path) -> None:
    """What a capture begins with says nothing of its format."""
    lines = [b'wss://a.b <- 1.5: {"op":"subscribe"}\n', *(b'1.5: {"event":"subscribe","number":%d}\n' % n for n in range(20))]
    lines.append(b'1.6: {"arg":{"channel":"trades","instId":"A"},"data":[{"px":"1","sz":"1","side":"buy","ts":"1"}]}\n')
    result = reconstruct(tmp_path, {"a": b"".join(lines)}, Run("A", format="deribit"))
    assert result.summary.state == "failed"
    text = 'no usable record in the input, of 22: these look like okx records: format = "okx" would fit'
    assert result.summary.error == text


@pytest.mark.parametrize(
    "content", [b"PAR1", gzip.compress(b"x", mtime=0)[:10], b"PK\x03\x04" + bytes(40)], ids=["parquet", "gzip", "zip"]
)
def test_check_names_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """A file whose beginning cannot be read is a problem before anything runs."""
    (tmp_path / "a").write_bytes(content)
    path = tmp_path / "c.toml"
    path.write_text('[[symbol]]\nname = "A"\nformat = "okx"\npaths = ["a"]\n[service]\noutput_dir = "o"\nstate_dir = "s"\n')
    assert main(["check", str(path)]) != 0
    assert f"{tmp_path / 'a'}" in capsys.readouterr().err.replace("\n", "")
