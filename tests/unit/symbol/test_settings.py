"""What a worker is told, and that it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from cowbook.book.order_book_engine import OrderBookEngine
from cowbook.checkpoint.settings import CheckpointSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.config import load_config
from cowbook.library.inputs import make_inputs
from cowbook.library.source import Source
from cowbook.library.steps import StepPlanner
from cowbook.simulate.capture import write_capture
from cowbook.symbol import symbol_worker
from cowbook.symbol.attempt import Attempt, Committed
from cowbook.symbol.pipeline_integration import Start, start_pipeline
from cowbook.symbol.settings import WorkerSettings, worker_settings
from cowbook.symbol.symbol_worker import SymbolWorker
from cowbook.venues import load_venue, venue_names
from support import harness
from support.harness import Run


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def executor() -> Iterator[Executor]:
    """A thread."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.mark.parametrize("format_name", venue_names())
async def test_every_engine_follows_its_venue(format_name: str, tmp_path: Path, executor: Executor) -> None:
    """The daemon's, that of tests and replay's: each has what the venue decides of checksums and of lost records."""
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "a").write_bytes(b"no record of any venue\n")
    (tmp_path / "cowbook.toml").write_text(
        f'[[symbol]]\nname = "X"\nformat = "{format_name}"\npaths = ["input/a"]\nprice_decimals = 3\nsize_decimals = 5\n'
    )
    config = load_config(tmp_path / "cowbook.toml", {})
    of_daemon = worker_settings(config, config.symbol[0])
    run = Run("X", format=format_name, price_decimals=3, size_decimals=5)
    of_tests = replace(harness.worker_settings(tmp_path / "tests", [], run), paths=of_daemon.paths)
    engines = [await engine_of(settings, executor) for settings in (of_daemon, of_tests)]
    venue = load_venue(format_name)
    (given,) = make_inputs(of_daemon.paths[0], ["X"], {"format": format_name, "price_decimals": 3, "size_decimals": 5}, None)
    engines.append(Source(given, StepPlanner(2, 0, None, None, has_clocks=False), "float64", 1 << 20))
    for settings in (engine.settings for engine in engines):
        assert (settings.checksum, settings.dead_letter_ends_sync) == (venue.checksum, not venue.shows_loss)
        assert (settings.price_decimals, settings.size_decimals) == (3, 5)


async def engine_of(settings: WorkerSettings, executor: Executor) -> OrderBookEngine:
    """Of a worker that has run."""
    worker = SymbolWorker(settings, executor, executor)
    await worker.run()
    assert worker.pipeline is not None
    return worker.pipeline.engine


async def test_a_reload_during_recovery_reaches_the_first_attempt(
    tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that arrive before there is anything to take a checkpoint of are not lost."""
    (tmp_path / "input").mkdir()
    write_capture(tmp_path / "input" / "a", symbol="BTCUSDT", messages=100, seed=5)
    worker = SymbolWorker(harness.worker_settings(tmp_path, ["a"], Run()), executor, executor)
    settings = CheckpointSettings(TriggerSettings(100, 10**18, 0), 2, "zstd")

    async def start_and_reload(*arguments: Any, **options: Any) -> Start:
        start = await start_pipeline(*arguments, **options)
        worker.configure(settings)
        return start

    monkeypatch.setattr(symbol_worker, "start_pipeline", start_and_reload)
    seen = []
    persist = Attempt._persist

    def persist_and_note(attempt: Attempt) -> Committed:
        seen.append(attempt.settings)
        return persist(attempt)

    monkeypatch.setattr(Attempt, "_persist", persist_and_note)
    summary = await worker.run()
    assert summary.checkpoints == len(seen) > 0
    assert set(seen) == {settings}


def test_a_channel_reaches_the_engine_and_the_fingerprint(tmp_path: Path) -> None:
    """A checkpoint of one market is not gone on from with the other; without a channel the fingerprint is as ever."""
    (tmp_path / "a").write_bytes(b"")
    path = tmp_path / "cowbook.toml"
    for channel in ("", "spot", "futures", "rpi"):
        path.write_text(f'[[symbol]]\nname = "X"\nformat = "binance"\npaths = ["a"]\nchannel = "{channel}"\n')
        config = load_config(path, {})
        settings = worker_settings(config, config.symbol[0])
        assert settings.engine.channel == channel
        assert settings.fingerprint.get("channel", "") == channel
