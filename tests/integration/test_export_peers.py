"""Exported files in the programs that they are for: their best prices and sizes at 1,000 instants are those of `bbo`.

The programs are large, so they are no dependency of the tests: `COWBOOK_PEER_PYTHON` names a Python that has hftbacktest and
nautilus_trader. Without it, tests/unit/export holds the formats' rules.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.cli.main import main
from cowbook.export.hftbacktest import export_hftbacktest
from cowbook.export.span import Span
from support.harness import Reconstruction, Run, reconstruct

SUPPORT = Path(__file__).resolve().parents[1] / "support"
PEER_PYTHON = os.environ.get("COWBOOK_PEER_PYTHON")
INSTANTS = 1000

pytestmark = pytest.mark.skipif(
    PEER_PYTHON is None, reason="COWBOOK_PEER_PYTHON names no Python with hftbacktest and nautilus_trader"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    """Some minutes of a simulated capture with two gaps, in several cuts."""
    directory = tmp_path_factory.mktemp("peers")
    path = directory / "a.jsonl"
    assert main(["simulate", "--messages", "4000", "--gaps", "2", "--seed", "7", str(path)]) == 0
    result = reconstruct(directory, {"a": path.read_bytes()}, Run("BTCUSDT", engine=EngineSettings(part_events=30_000)))
    assert result.summary.state == "done"
    return result


def quotes(result: Reconstruction, times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Price and size of the best bid and ask of `bbo` at times of receipt."""
    names = ["bid_price", "bid_size", "ask_price", "ask_size"]
    table = ds.dataset(result.output_dir / "bbo", format="parquet").to_table(["event_index", "ts_recv", *names])
    table = table.sort_by("event_index")
    received = np.maximum.accumulate(table["ts_recv"].cast(pa.int64()).to_numpy())
    values = np.stack([table[name].cast(pa.float64()).to_numpy() for name in names], axis=1)
    found: npt.NDArray[np.float64] = values[np.searchsorted(received, times, "right") - 1]
    return found


def ask(script: str, directory: Path, times: npt.NDArray[np.int64], *arguments: str) -> dict[str, npt.NDArray[np.float64]]:
    """What a program found at these times."""
    np.savez(directory / "asked.npz", times=times)
    out = directory / "found.npz"
    command = [str(PEER_PYTHON), str(SUPPORT / script), *arguments, str(directory / "asked.npz"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(np.load(out))


def span_of(result: Reconstruction) -> tuple[int, int]:
    """The first and the last time of `bbo`."""
    rows = result.rows("bbo")
    return rows[0]["ts_recv"], rows[-1]["ts_recv"]


@pytest.mark.parametrize("starts", ["at the beginning", "in the middle"])
def test_hftbacktest_has_our_best_prices(made: Reconstruction, tmp_path: Path, starts: str) -> None:
    """It reads the file, finds its order right, and has the same book. Of a crossed one, as behind a gap, it hides levels."""
    first, last = span_of(made)
    start = None if starts == "at the beginning" else (first + last) // 2
    path = tmp_path / "a.npz"
    said = export_hftbacktest(Span(made.output_dir, "BTCUSDT", start, None), path)
    assert said.shift_ns == 0
    times = np.sort(np.random.default_rng(1).integers(start or first + 10**9, last, INSTANTS)) + 10**9
    times = times[times <= last]
    found = ask("peer_hftbacktest.py", tmp_path, times, str(path), str(said.tick_size), str(said.lot_size))["quotes"]
    expected = quotes(made, times)
    plain = expected[:, 0] < expected[:, 2]
    assert np.count_nonzero(plain) > 0.95 * len(times)
    assert np.allclose(found[plain], expected[plain], rtol=0, atol=1e-9)


@pytest.mark.parametrize("starts", ["at the beginning", "in the middle"])
def test_nautilus_trader_has_our_best_prices(made: Reconstruction, tmp_path: Path, starts: str) -> None:
    """Its catalogue finds the files, and its book is the same; all trades are there."""
    first, last = span_of(made)
    start = None if starts == "at the beginning" else (first + last) // 2
    arguments = [] if start is None else ["--from", str(np.datetime64(start, "ns"))]
    command = ["export", "nautilus", str(made.output_dir), "--symbol", "BTCUSDT", str(tmp_path / "catalog")]
    assert main([*command, "--instrument", "BTCUSDT.BINANCE", *arguments]) == 0
    times = np.sort(np.random.default_rng(2).integers(start or first, last, INSTANTS)) + 10**9
    times = times[times <= last]
    found = ask("peer_nautilus.py", tmp_path, times, str(tmp_path / "catalog"), "BTCUSDT.BINANCE")
    assert np.allclose(found["quotes"], quotes(made, times), rtol=0, atol=1e-9, equal_nan=True)
    assert found["trades"] == sum(start is None or row["ts_event"] >= start for row in made.rows("trades"))
