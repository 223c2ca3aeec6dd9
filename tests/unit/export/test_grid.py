"""The grid as dense arrays: what a point without a row has, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cowbook.errors import ExportError, QueryError
from cowbook.export.grid import GridExport, Holes, Numbers, export_grid
from support.harness import Reconstruction
from support.small_output import ASKS, BIDS, START_MS, diff, make_output, snapshot

START = START_MS * 10**6
SECOND = 10**9
UNIT = 10**8


def lines() -> list[bytes]:
    """Changes in the 1st, 2nd, 3rd, 6th and 7th second; a level that float32 does not hold."""
    changes = [diff(number, 1000 * second - 500, [("9", str(second))], [("12.00000001", "1")]) for number, second in
               enumerate((1, 2, 3, 6, 7, 9), 101)]  # fmt: skip
    return [snapshot(100, 0, BIDS, ASKS), *changes]


@pytest.fixture(scope="module", params=["decimal", "int64", "float64"])
def made(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Reconstruction:
    """An output of a few cuts that tests only read."""
    return make_output(tmp_path_factory.mktemp("grid"), lines(), numbers=request.param, part_events=6)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rows of `book`."""
    return make_output(tmp_path_factory.mktemp("grid-exact"), lines()).rows("book")


def export(
    result: Reconstruction, path: Path, *span: int | None, holes: Holes = "fill", numbers: Numbers = "float64"
) -> tuple[GridExport, dict[str, Any]]:
    """What is said, and the arrays."""
    start, end = span or (None, None)
    said = export_grid(result.output_dir, "BTCUSDT", start, end, path, holes=holes, numbers=numbers)
    return said, dict(np.load(path))


def expected(row: dict[str, Any], levels: int = 3) -> Any:
    """The levels of a row as floats."""
    names = ("bid_px", "bid_sz", "ask_px", "ask_sz")
    values = [[row[f"{name}_{level:02d}"] for name in names] for level in range(levels)]
    return np.array([[np.nan if value is None else value / UNIT for value in level] for level in values])


def test_every_point_has_its_row_or_the_one_before(made: Reconstruction, exact: list[dict[str, Any]], tmp_path: Path) -> None:
    """So a point has the book as it stands."""
    said, arrays = export(made, tmp_path / "a.npz")
    rows = {row["ts"]: row for row in exact}
    times = np.arange(min(rows), max(rows) + 1, SECOND)
    assert arrays["ts"].tolist() == times.tolist()
    assert arrays["has_row"].tolist() == [time in rows for time in times]
    assert (said.points, said.levels, said.filled, said.interval_ns) == (len(times), 3, len(times) - len(rows), SECOND)
    assert said.filled > 0
    for place, time in enumerate(times):
        row = rows[max(each for each in rows if each <= time)]
        assert np.array_equal(arrays["book"][place], expected(row), equal_nan=True)
        names = ("event_index", "synced", "bids_known", "asks_known")
        assert [arrays[name][place] for name in names] == [row[name] for name in names]


def test_holes_are_nan_where_that_is_asked_for(made: Reconstruction, tmp_path: Path) -> None:
    """All other points stay as they are."""
    filled = export(made, tmp_path / "a.npz")[1]
    arrays = export(made, tmp_path / "b.npz", holes="nan")[1]
    assert np.isnan(arrays["book"][~arrays["has_row"]]).all()
    assert np.array_equal(arrays["book"][arrays["has_row"]], filled["book"][filled["has_row"]], equal_nan=True)


def test_float32_is_said_to_lose_digits(made: Reconstruction, tmp_path: Path) -> None:
    """Where two prices become equal, and only there."""
    said, arrays = export(made, tmp_path / "a.npz", numbers="float32")
    assert (arrays["book"].dtype, said.is_exact) == (np.float32, False)
    assert export(made, tmp_path / "b.npz")[0].is_exact
    assert export(made, tmp_path / "c.npz", START, START + SECOND, numbers="float32")[0].is_exact


def test_a_span_is_of_points_from_a_time_on_and_before_another(made: Reconstruction, tmp_path: Path) -> None:
    """A single point has no interval."""
    arrays = export(made, tmp_path / "a.npz", START + SECOND, START + 3 * SECOND)[1]
    assert arrays["ts"].tolist() == [START + SECOND, START + 2 * SECOND]
    said, arrays = export(made, tmp_path / "b.npz", START + SECOND, START + SECOND + 1)
    assert (said.points, said.interval_ns, arrays["book"].shape) == (1, 0, (1, 3, 4))
    with pytest.raises(QueryError, match="no row of book of BTCUSDT in that span"):
        export(made, tmp_path / "c.npz", START - 2, START - 1)
    with pytest.raises(ExportError, match="exists"):
        export(made, tmp_path / "a.npz")


def test_a_grid_that_a_wild_time_makes_endless_is_refused(tmp_path: Path) -> None:
    """A clock that says the year 2100; what lies before it is exported."""
    wild = diff(107, 76 * 365 * 86_400_000, [("9", "5")])
    result = make_output(tmp_path, [*lines(), wild, diff(108, 2**42, [("9", "6")])])
    with pytest.raises(ExportError, match=r"points, .* GiB: export shorter spans"):
        export(result, tmp_path / "a.npz")
    assert not list(tmp_path.glob("*.npz"))
    assert export(result, tmp_path / "b.npz", None, START + 60 * SECOND)[0].points == 10


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    """And the setting that would have it."""
    result = make_output(tmp_path, lines(), streams=["depth"])
    with pytest.raises(QueryError, match="no book of BTCUSDT, which is to be written: it has depth; add book to"):
        export(result, tmp_path / "a.npz")
