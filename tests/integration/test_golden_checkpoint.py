"""A checkpoint that an earlier release wrote is loaded for ever, and gone on from."""

from __future__ import annotations

import shutil
from pathlib import Path

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.load import read_checkpoint
from support.harness import Run, reconstruct

GOLDEN = Path(__file__).parent.parent / "golden"
RUN = Run(engine=EngineSettings(part_events=100_000, book_levels=3, book_interval=100_000_000))


def install(directory: Path) -> Path:
    """Put the checkpoint where a worker looks for it, with the modes that a checkout does not keep."""
    checkpoints = directory / "state" / "BTCUSDT" / "checkpoints"
    checkpoints.mkdir(parents=True)
    target = checkpoints / "1"
    shutil.copytree(GOLDEN / "checkpoint-v1", target)
    for path in target.iterdir():
        path.chmod(0o600)
    for path in (target, checkpoints, checkpoints.parent):
        path.chmod(0o700)
    return target


def test_version_1_is_read(tmp_path: Path) -> None:
    """Every field of the mission, and the state beside it."""
    target = install(tmp_path)
    checkpoint = read_checkpoint(target, "BTCUSDT", target.stat().st_uid)
    state = checkpoint.state
    assert checkpoint.manifest.version == 1
    assert checkpoint.published
    assert (state.id, state.symbol) == ("BTCUSDT", "BTCUSDT")
    assert state.events_processed == 941
    assert state.file_offset == 48349
    assert state.last_update_id == 50093240234
    assert state.gap_statistics == {"gaps": 1, "missing_updates": 44, "stale": 0, "stale_snapshots": 0}
    book = state.order_book_state
    assert (len(book.diffs), len(book.tickers), len(state.dead_letters)) == (6, 10, 1)
    assert state.dead_letters[0].content == b"this is no record"
    assert (len(book.bid_prices), len(book.ask_prices)) == (94, 48)
    assert (int(book.bid_prices[0]), int(book.ask_prices[0])) == (6183867000000, 6183797000000)


def test_a_run_goes_on_from_version_1(tmp_path: Path) -> None:
    """The rows are those of a run over the whole capture."""
    capture = {"capture.jsonl": (GOLDEN / "capture.jsonl").read_bytes()}
    undisturbed = reconstruct(tmp_path / "undisturbed", capture, RUN)
    install(tmp_path / "resumed")
    resumed = reconstruct(tmp_path / "resumed", capture, RUN)
    assert resumed.summary.state == "done", resumed.summary.error
    assert resumed.summary.recovered_epoch == 1
    for stream in ("depth", "trades", "bbo", "book", "gaps", "drift", "audits"):
        assert resumed.rows(stream) == undisturbed.rows(stream)
    assert len(resumed.rows("dead_letter")) == len(undisturbed.rows("dead_letter")) == 1
