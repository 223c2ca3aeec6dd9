"""`cowbook book`: what it prints, beside or below the levels, and what it writes."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cowbook.cli.book import level_lines
from cowbook.cli.main import EXIT_FAILED, EXIT_USAGE, main
from support.small_output import make_lines, make_output


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An output directory."""
    return str(make_output(tmp_path_factory.mktemp("book"), make_lines()).output_dir)


def test_levels_stand_side_by_side_with_the_decimals_that_one_of_them_needs() -> None:
    """A side that has ended leaves its place empty."""
    bids = [(Decimal("61837.62"), Decimal("0.412")), (Decimal("61837.6"), Decimal("0.01"))]
    asks = [(Decimal("61837.63000000"), Decimal("3.7883"))]
    assert level_lines(bids, asks) == [
        "        61,837.62  0.4120 │ 61,837.63  3.7883",
        "        61,837.60  0.0100 │                  ",
    ]
    assert level_lines([(Decimal(100), Decimal("1E+2"))], []) == ["        100  100 │         "]


def test_the_proof_stands_beside_the_levels_where_there_is_room(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And below them at 80 columns."""
    arguments = ["book", data, "--symbol", "BTCUSDT", "--at", "2024-08-09T00:00:00.750Z", "--levels", "2"]
    monkeypatch.setenv("COLUMNS", "200")
    assert main(arguments) == 0
    wide = capsys.readouterr().out.splitlines()
    assert wide[0] == "        10  2 │ 11  1        at event 22, 2024-08-09 00:00:00.700"
    monkeypatch.setenv("COLUMNS", "80")
    assert main(arguments) == 0
    narrow = capsys.readouterr().out.splitlines()
    assert narrow[:3] == ["        10  2 │ 11  1", "         9  1 │ 12  2", "at event 22, 2024-08-09 00:00:00.700"]
    assert narrow[3] == "synced at least since 2024-08-09 00:00:00.500; known at least: bids to 9, asks to 13"


def test_json_has_the_exact_levels_and_the_proof(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As `to_json` of the library's book."""
    assert main(["book", data, "--symbol", "BTCUSDT", "--event", "7", "--levels", "1", "--json"]) == 0
    book = json.loads(capsys.readouterr().out)
    assert (book["bids"], book["event"], book["synced"]) == ([["10.00000000", "1.00000000"]], 7, True)
    assert book["proof"]["gaps"] == 0


def test_the_file_has_all_levels(data: str, tmp_path: Path) -> None:
    """Exact decimals, both sides."""
    file = tmp_path / "book.parquet"
    assert main(["book", data, "--symbol", "BTCUSDT", "--event", "7", "--parquet", str(file)]) == 0
    assert pq.read_table(file).num_rows == 6


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--symbol", "ETHUSDT"], EXIT_FAILED, "has nothing of symbol ETHUSDT: it has BTCUSDT"),
        (["--symbol", "BTCUSDT", "--at", "noon"], EXIT_USAGE, "--at = 'noon': must be a time"),
        (
            ["--symbol", "BTCUSDT", "--event", "7", "--parquet", "/dev/null/x.parquet"],
            EXIT_FAILED,
            "/dev/null cannot be written",
        ),
        (
            ["--symbol", "BTCUSDT", "--event", "7", "--parquet", __file__],
            EXIT_FAILED,
            "test_book.py exists: remove it",
        ),
        (["--symbol", "BTCUSDT", "--event", "-7"], EXIT_USAGE, "must be a number, 0 or more"),
        (["--symbol", "BTCUSDT", "--event", "x"], EXIT_USAGE, "must be a number"),
        ([], EXIT_USAGE, "--symbol"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_a_code(
    data: str, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    """Each with what there is."""
    try:
        assert main(["book", data, *arguments]) == code
    except SystemExit as error:
        assert error.code == code  # noqa: PT017 - argparse ends the process
    assert words in capsys.readouterr().err
