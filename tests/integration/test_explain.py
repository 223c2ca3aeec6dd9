"""`cowbook explain`: one record, whatever the container, with what it does to the book."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cowbook.cli.main import main
from cowbook.inspection.record import Explained, explain, verdict_of
from support.venue_samples import LINES, make_sample, records_of

SCALE = 10**8


def write(tmp_path: Path, sample_id: str) -> Path:
    """The only file of a sample."""
    path = tmp_path / "a"
    path.write_bytes(make_sample(sample_id).files["a"])
    return path


@pytest.mark.parametrize("sample_id", LINES)
def test_the_record_at_every_offset_is_the_line_there(tmp_path: Path, sample_id: str) -> None:
    """By the first and the last byte of some lines, in every venue's format, which is found by itself."""
    path = write(tmp_path, sample_id)
    sent = {record for _, record in records_of(sample_id, make_sample(sample_id).events)}
    content = path.read_bytes()
    lines = [line for line in content.split(b"\n") if line.endswith((b"}", b"]")) and not line[:1].isspace()]
    for line in lines[1 :: max(1, len(lines) // 4)]:
        place = content.index(line + b"\n")
        for offset in (place, place + len(line) - 1):
            found = explain(path, offset)
            assert any(found.content.endswith(record) for record in sent)
            assert found.content.endswith(line)
            assert found.format == LINES[sample_id][0]


def test_a_record_of_a_table_is_all_rows_of_its_message(tmp_path: Path) -> None:
    """The header is none of it."""
    path = tmp_path / "a"
    path.write_bytes(make_sample("tardis-csv").files["1-book"])
    first = path.read_bytes().index(b"\n") + 1
    found = explain(path, 3)
    assert found.offset == first
    assert found.kind == "snapshot"
    assert (len(found.bids), len(found.asks)) == (5, 5)
    assert found.synced == (False, True)
    assert verdict_of(found) == ["it replaces the book", "the book is synced from here on"]


def binance(tmp_path: Path, *records: object) -> tuple[Path, list[int]]:
    """A file of records, with the offset of each."""
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([*lines, b""]))
    return path, [sum(len(line) + 1 for line in lines[:place]) for place in range(len(lines))]


def diff(first: int, last: int, symbol: str = "X", price: str = "1.5") -> dict[str, object]:
    """A depth diff of spot."""
    return {"e": "depthUpdate", "E": 1_700_000_000_000, "s": symbol, "U": first, "u": last, "b": [[price, "2"]], "a": []}


SNAPSHOT = {"lastUpdateId": 10, "bids": [["1.4", "1"]], "asks": [["1.6", "1"]]}


def verdicts(found: Explained) -> str:
    """All lines."""
    return "; ".join(verdict_of(found))


def test_what_a_record_does_is_said(tmp_path: Path) -> None:
    """Applied, stale, a gap, rejected, another symbol's, not used."""
    path, places = binance(
        tmp_path,
        SNAPSHOT,
        diff(11, 11),
        diff(9, 11),
        diff(20, 21),
        diff(1, 2, "Y"),
        {"e": "depthUpdate", "s": "X"},
        {"result": 1},
    )
    said = [verdicts(explain(path, place, symbol="X")) for place in places]
    assert said[0] == "it waits for a message that gives it a time, or that joins it"
    assert said[1] == "a snapshot that waited for it replaces the book; applied; the book is synced from here on"
    assert said[2] == "stale: not newer than the book, and skipped"
    assert said[3] == "a gap before it: 8 ids are missing; applied; the book is not synced from here on"
    assert said[4] == "of another symbol: Y"
    assert said[5].startswith("rejected as malformed: ")
    assert said[6] == "of a kind that says nothing about the book: not used"
    assert explain(path, places[4]).symbol == "Y"  # whose record it is says the record itself
    assert explain(path, places[1]).best == ((150_000_000, 2 * SCALE), (160_000_000, SCALE))


def test_an_offset_behind_the_end_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says where the last record ends."""
    path, places = binance(tmp_path, SNAPSHOT, diff(11, 11))
    assert main(["explain", str(path), "--offset", "5000"]) == 1
    end = path.stat().st_size
    assert capsys.readouterr().err == f"cowbook: {path} has no record at offset 5000: its last one ends at {end}\n"
    assert places[1] < end


def test_it_is_printed_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A record may hold what a terminal would obey."""
    path, places = binance(tmp_path, SNAPSHOT, b'{"e":"depthUpdate","s":"X","\x1b[2J":1}')
    assert main(["explain", str(path), "--offset", str(places[1]), "--format", "binance", "--symbol", "X"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "verdict" in shown
    assert f"at decoded offset {places[1]}" in shown


def test_a_file_of_no_known_format_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, with what to do."""
    (tmp_path / "a").write_text("milk\n")
    assert main(["explain", str(tmp_path / "a"), "--offset", "0"]) == 1
    assert "give --format, or ask `cowbook inspect`" in capsys.readouterr().err


def test_the_offset_of_a_dead_letter_leads_to_its_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each row of `dead_letter`, in a compressed file, too: the same reason and the same bytes."""
    path, _ = binance(tmp_path, SNAPSHOT, diff(11, 11), b"milk", diff(12, 12), {"e": "depthUpdate", "s": "X"}, diff(13, 13))
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    config = tmp_path / "cowbook.toml"
    config.write_text(f'[[symbol]]\nname = "X"\nformat = "binance"\npaths = ["{packed}"]\n')
    assert main(["run", str(config), "--once"]) == 0
    capsys.readouterr()
    letters = [row for part in (tmp_path / "data" / "dead_letter").rglob("*.parquet") for row in pq.read_table(part).to_pylist()]
    assert len(letters) == 2
    for letter in letters:
        found = explain(packed, letter["offset"])
        assert (found.offset, found.reason, found.content) == (letter["offset"], letter["reason"], bytes(letter["content"]))
