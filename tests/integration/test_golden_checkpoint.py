"""A checkpoint that an earlier release wrote is loaded for ever, and gone on from; what no release reads is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint import manifest as manifest_module
from cowbook.checkpoint.commit_log import decode_entry
from cowbook.checkpoint.load import read_checkpoint
from cowbook.checkpoint.manifest import OLDEST_VERSION
from cowbook.plain.book_state import FOREIGN
from support.harness import Run, reconstruct

GOLDEN = Path(__file__).parent.parent / "golden"
LINES = 118
"""How many lines of the capture the checkpoint has seen."""

RUN = Run(engine=EngineSettings(part_events=100_000, book_levels=3, book_interval=100_000_000))
CAPTURE = {"capture.jsonl": (GOLDEN / "capture.jsonl").read_bytes()}
STREAMS = ("depth", "trades", "bbo", "book", "gaps", "drift", "audits")


def install(directory: Path) -> Path:
    """Put the checkpoint where a worker looks for it, with the modes that a checkout does not keep."""
    checkpoints = directory / "state" / "BTCUSDT" / "checkpoints"
    checkpoints.mkdir(parents=True)
    target = checkpoints / "1"
    shutil.copytree(GOLDEN / "checkpoint-v3", target)
    for path in target.iterdir():
        path.chmod(0o600)
    for path in (target, checkpoints, checkpoints.parent):
        path.chmod(0o700)
    return target


def test_version_3_is_read(tmp_path: Path) -> None:
    """Every field of the mission, and the state beside it."""
    target = install(tmp_path)
    checkpoint = read_checkpoint(target, "BTCUSDT", target.stat().st_uid)
    state = checkpoint.state
    assert checkpoint.manifest.version == 3
    assert (state.id, state.symbol) == ("BTCUSDT", "BTCUSDT")
    assert state.events_processed == 951
    assert state.file_offset == len(b"".join(CAPTURE["capture.jsonl"].splitlines(keepends=True)[:LINES]))
    assert state.last_update_id == 50093240234
    assert {name: count for name, count in state.gap_statistics.items() if count} == {"gaps": 1, "missing_updates": 44}
    book = state.order_book_state
    assert (len(book.diffs), len(book.apart), len(book.tickers), len(state.dead_letters)) == (27, 1, 10, 1)
    assert book.slots["purpose"].tolist() == [FOREIGN]
    assert len(book.trades) == 23
    assert state.dead_letters[0].content == b"this is no record"
    assert (len(book.bid_prices), len(book.ask_prices)) == (94, 48)
    assert (int(book.bid_prices[0]), int(book.ask_prices[0])) == (6183867000000, 6183797000000)


def test_a_run_goes_on_from_version_3(tmp_path: Path) -> None:
    """The rows are those of a run over the whole capture, in which all that waited in the checkpoint comes to something."""
    undisturbed = reconstruct(tmp_path / "undisturbed", CAPTURE, RUN)
    install(tmp_path / "resumed")
    resumed = reconstruct(tmp_path / "resumed", CAPTURE, RUN)
    assert resumed.summary.state == "done", resumed.summary.error
    assert resumed.summary.recovered_epoch == 1
    for stream in STREAMS:
        assert resumed.rows(stream) == undisturbed.rows(stream)
    assert len(resumed.rows("dead_letter")) == len(undisturbed.rows("dead_letter")) == 1
    assert 50093240327 in {row["update_id"] for row in undisturbed.rows("depth") if row["kind"] == "clear"}


def test_a_run_goes_on_from_a_log_of_version_1(tmp_path: Path) -> None:
    """Its commit is seen as another process's, whose checkpoint is taken over by a claim of one's own."""
    undisturbed = reconstruct(tmp_path / "undisturbed", CAPTURE, RUN)
    place = tmp_path / "resumed" / "state" / "BTCUSDT"
    shutil.copytree(GOLDEN / "state-log-v1", place)
    for path in (place, *place.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    before = decode_entry((place / "log" / "2").read_bytes(), 2)
    assert (before.version, before.owner, before.epoch, len(before.files)) == (1, 1, 1, 15)
    resumed = reconstruct(tmp_path / "resumed", CAPTURE, RUN)
    assert resumed.summary.state == "done", resumed.summary.error
    assert resumed.summary.recovered_epoch == 1
    for stream in STREAMS:
        assert resumed.rows(stream) == undisturbed.rows(stream)
    entries = {int(path.name): decode_entry(path.read_bytes(), int(path.name)) for path in (place / "log").iterdir()}
    assert max(entries) == 4  # the claim, and the commit at the end of the input
    assert (entries[4].owner, entries[4].is_commit) == (3, True)
    assert entries[4].uuid != before.uuid


@pytest.mark.parametrize("version", [1, 2])
def test_state_of_versions_that_are_not_read_is_refused(tmp_path: Path, version: int) -> None:
    """The message names the version and the ways out; nothing is changed, until --allow-fresh moves all of it aside."""
    path = install(tmp_path) / "manifest.json"
    inner = json.loads(path.read_bytes())["manifest"] | {"version": version}
    path.write_bytes(manifest_module._wrap(json.dumps(inner).encode()))
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    refused = reconstruct(tmp_path, CAPTURE, RUN)
    assert refused.summary.state == "failed"
    assert f"has format version {version}, and this release reads from {OLDEST_VERSION} on" in str(refused.summary.error)
    assert "the release that wrote it" in str(refused.summary.error)
    assert "--allow-fresh" in str(refused.summary.error)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    fresh = reconstruct(tmp_path, CAPTURE, RUN, allow_fresh=True)
    assert fresh.summary.state == "done", fresh.summary.error
    assert fresh.summary.recovered_epoch is None
    undisturbed = reconstruct(tmp_path / "undisturbed", CAPTURE, RUN)
    for stream in STREAMS:
        assert fresh.rows(stream) == undisturbed.rows(stream)
    moved = tmp_path / "state" / "BTCUSDT" / "quarantine" / "1"
    assert {file.name: file.read_bytes() for file in moved.iterdir()} == before
