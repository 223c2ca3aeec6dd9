"""`cowbook export`: what it says, and where it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cowbook.cli.main import EXIT_FAILED, EXIT_USAGE, main
from support.small_output import make_lines, make_output


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An output directory."""
    return str(make_output(tmp_path_factory.mktemp("export"), make_lines()).output_dir)


def test_hftbacktest_is_told_its_tick_and_lot_and_what_is_not_proved(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The suffix is added, since its loader looks for it."""
    assert main(["export", "hftbacktest", data, "--symbol", "BTCUSDT", str(tmp_path / "day")]) == 0
    out = capsys.readouterr().out.splitlines()
    events = np.load(tmp_path / "day.npz")["data"]
    assert out[0].startswith(f"{tmp_path}/day.npz: {len(events)} events: ")
    assert out[1] == "tick_size(1), lot_size(1): the greatest steps that fit all prices and sizes in it"
    assert out[2].startswith("warning: not synced: ")
    assert "lacks times of receipt" in out[3]


def test_nautilus_has_a_simulated_venue_unless_one_is_named(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files are named."""
    for more, name in (([], "BTCUSDT.SIM"), (["--instrument", "BTCUSDT.BINANCE"], "BTCUSDT.BINANCE")):
        assert main(["export", "nautilus", data, "--symbol", "BTCUSDT", str(tmp_path), *more]) == 0
        files = sorted(tmp_path.glob(f"data/*/{name}/*.parquet"))
        out = capsys.readouterr().out.splitlines()
        assert (len(files), out[:2]) == (2, [str(path) for path in files])
        assert out[2].startswith(f"{name}: ")


def test_the_grid_says_its_shape_and_how_holes_are_filled(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two points of one second."""
    assert main(["export", "npz", data, "--symbol", "BTCUSDT", str(tmp_path / "a.npz"), "--holes", "nan"]) == 0
    assert capsys.readouterr().out == (f"{tmp_path}/a.npz: book (3, 3, 4), one point every 1 s; 0 points without a row, as NaN\n")


def test_csv_counts_the_rows_of_each_stream(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a time on, and before another. One of five diffs is missing in the capture."""
    start = ["--from", "2024-08-09T00:00:01.5Z", "--to", "2024-08-09T00:00:02Z"]
    assert main(["export", "csv", data, "--symbol", "BTCUSDT", str(tmp_path / "out"), *start]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{tmp_path}/out/depth.csv: 8 rows" in lines
    assert len((tmp_path / "out" / "depth.csv").read_text().splitlines()) == 1 + 4 * 2


def test_what_cannot_be_done_is_one_line(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 for what the output does not have, 2 for wrong usage."""
    target = str(tmp_path / "a.npz")
    assert main(["export", "npz", data, "--symbol", "XBT", target]) == EXIT_FAILED
    assert main(["export", "hftbacktest", data, "--symbol", "BTCUSDT", "--from", "yesterday", target]) == EXIT_USAGE
    turned = ["--from", "2024-08-09T00:00:02Z", "--to", "2024-08-09T00:00:01Z"]
    assert main(["export", "csv", data, "--symbol", "BTCUSDT", str(tmp_path / "out"), *turned]) == EXIT_USAGE
    assert main(["export", "csv", data, "--symbol", "BTCUSDT", str(tmp_path / "out"), "--from", "2034-01-01"]) == EXIT_FAILED
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "--to 2024-08-09T00:00:01.000Z is not behind --from" in lines[2]
    assert "no row of BTCUSDT in that span: it has events 0 to" in lines[3]
    with pytest.raises(SystemExit) as left:
        main(["export", "hftbackest", data, "--symbol", "BTCUSDT", target])
    assert left.value.code == EXIT_USAGE
    assert "did you mean hftbacktest?" in capsys.readouterr().err
