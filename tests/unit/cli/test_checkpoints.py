"""`cowbook checkpoints`: what it shows is what lies there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cowbook.checkpoint.store import CheckpointStore
from cowbook.cli.main import main
from cowbook.simulate.capture import write_capture
from support.harness import Reconstruction, Run, reconstruct


@pytest.fixture
def ran(tmp_path: Path) -> Reconstruction:
    """Runs over a growing file, with a checkpoint at the end of each, four of them kept."""
    write_capture(tmp_path / "a", symbol="BTCUSDT", messages=100, seed=2)
    content = (tmp_path / "a").read_bytes()
    for part in range(1, 7):
        result = reconstruct(tmp_path, {"a.jsonl": content[: len(content) * part // 6]}, Run(retain=4))
        assert result.summary.checkpoints == 1
    return result


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Run the command; what it prints."""
    assert main(["checkpoints", *arguments]) == code
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[dict[str, object]]:
    """The same, as JSON."""
    value: list[dict[str, object]] = json.loads(shown(capsys, *arguments, "--json", code=code))
    return value


def test_list_has_all_checkpoints_and_show_has_all_of_one(
    tmp_path: Path, ran: Reconstruction, capsys: pytest.CaptureFixture[str]
) -> None:
    """All figures of each, newest first; everything of one."""
    state = str(tmp_path / "state")
    capsys.readouterr()
    rows = as_json(capsys, "list", state)
    epochs = [int(str(row["epoch"])) for row in rows]
    assert epochs == sorted(epochs, reverse=True)
    assert len(epochs) == 4
    newest = rows[0]
    assert newest["events_processed"] == ran.summary.events
    assert newest["trigger"] == "end_of_input"
    assert newest["valid"] is True
    assert set(newest) >= {"time", "last_update_id", "current_file", "file_offset", "bytes", "levels", "snapshot_duration_ms"}
    assert set(newest["persist_seconds"]) == {"gather", "stage", "encode", "write"}  # type: ignore[call-overload]
    table = shown(capsys, "list", state)
    assert f"{ran.summary.events:,}" in table
    (details,) = as_json(capsys, "show", state, "--symbol", "BTCUSDT", "--epoch", str(epochs[1]))
    assert details["epoch"] == epochs[1]
    assert details["gap_statistics"]["gaps"] == 0  # type: ignore[index]
    assert "order_book_state" in shown(capsys, "show", state)


@pytest.mark.usefixtures("ran")
def test_verify_names_damage_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Damage is found, named, and the exit code."""
    state = tmp_path / "state"
    assert "0 of them not valid" in shown(capsys, "verify", str(state))
    path = min((state / "BTCUSDT" / "checkpoints").glob("*/book.parquet"))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    text = shown(capsys, "verify", str(state), code=1)
    assert f"BTCUSDT {path.parent.name}: book.parquet does not match its digest" in text
    assert "1 of them not valid" in text
    assert "does not match" in str(as_json(capsys, "list", str(state), "--epoch", path.parent.name, code=1)[0]["problem"])


@pytest.mark.usefixtures("ran")
def test_prune_keeps_the_newest_two_and_refuses_beside_a_worker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Old ones go, the newest two stay, and nothing goes while a worker runs."""
    state = str(tmp_path / "state")
    capsys.readouterr()
    epochs = [int(str(row["epoch"])) for row in as_json(capsys, "list", state)]
    assert main(["checkpoints", "prune", state, "--epoch", str(epochs[0])]) == 1
    assert "they stay" in capsys.readouterr().err
    store = CheckpointStore(tmp_path / "state", "BTCUSDT", "BTCUSDT")
    store.lock()
    try:
        assert main(["checkpoints", "prune", state]) == 1
        assert "is locked" in capsys.readouterr().err
    finally:
        store.unlock()
    assert as_json(capsys, "prune", state, "--epoch", str(epochs[2])) == [{"symbol": "BTCUSDT", "epoch": epochs[2]}]
    assert "1 checkpoint removed" in shown(capsys, "prune", state, "--retain", "2")
    assert [row["epoch"] for row in as_json(capsys, "list", state)] == epochs[:2]
    index = json.loads((tmp_path / "state" / "BTCUSDT" / "index.json").read_text())
    assert [row["epoch"] for row in index["checkpoints"]] == epochs[:2]


@pytest.mark.parametrize("action", ["list", "show", "verify", "prune"])
def test_a_directory_without_checkpoints_is_one_line(tmp_path: Path, action: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, no traceback."""
    for directory in (tmp_path, tmp_path / "gone"):
        assert main(["checkpoints", action, str(directory)]) == 1
        assert str(directory) in capsys.readouterr().err
