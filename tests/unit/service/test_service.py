"""The process: an interrupt ends every symbol well."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from cowbook.checkpoint.load import read_manifest
from cowbook.config import load_config
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from cowbook.symbol import symbol_worker
from cowbook.symbol.symbol_thread import SymbolThread
from support.harness import read_parts

_CONFIG = """
[checkpoint]
every_events = 100000000
[output]
part_events = 1000
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = ["input/*"]
"""


def test_an_interrupted_run_takes_a_last_checkpoint_and_the_next_goes_on_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C stops at a message boundary with a last checkpoint, and the next run goes on there to the same parts."""
    monkeypatch.setattr(symbol_worker, "_REPORT_SECONDS", 0.0)  # progress after each block
    asked = threading.Event()
    stop = SymbolThread.stop

    def stop_and_tell(thread: SymbolThread) -> None:
        stop(thread)
        asked.set()

    monkeypatch.setattr(SymbolThread, "stop", stop_and_tell)
    write_capture(tmp_path / "capture", symbol="BTCUSDT", messages=100, seed=3)
    lines = (tmp_path / "capture").read_bytes().splitlines(keepends=True)
    parts = []
    for interrupted in (False, True):
        directory = tmp_path / str(interrupted)
        (directory / "input").mkdir(parents=True)
        for number in range(10):
            piece = b"".join(lines[len(lines) * number // 10 : len(lines) * (number + 1) // 10])
            (directory / "input" / f"{number}").write_bytes(piece)
        (directory / "cowbook.toml").write_text(_CONFIG)
        config = load_config(directory / "cowbook.toml", {})
        if interrupted:
            sent: list[int] = []

            def interrupt(_symbol: str, _done: int, _total: int, events: int, sent: list[int] = sent) -> None:
                if events > 2000 and not sent:
                    sent.append(events)
                    os.kill(os.getpid(), signal.SIGINT)
                    assert asked.wait(60)

            with pytest.raises(KeyboardInterrupt):
                run_once(config, progress=interrupt)
            manifest = read_manifest(directory / "state" / "BTCUSDT" / "checkpoints" / "1", "BTCUSDT", os.getuid())
            assert manifest.triggers == ("stop",)
            assert manifest.events_processed >= sent[0]
        (summary,) = run_once(config)
        assert summary.state == "done"
        assert summary.recovered_epoch == (1 if interrupted else None)
        parts.append(read_parts(directory / "data"))
    assert parts[0] == parts[1]
