"""Mistakes of people between two runs: one clear line each, and nothing lost or moved that need not be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cowbook.config import load_config
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from cowbook.symbol.summary import SymbolSummary
from support.harness import read_parts, reconstruct


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """A capture with a bad line in the middle."""
    write_capture(tmp_path / "capture", symbol="BTCUSDT", messages=60, seed=4)
    lines = (tmp_path / "capture").read_bytes().splitlines(keepends=True)
    lines.insert(len(lines) * 2 // 3, b"nonsense\n")
    return b"".join(lines)


def run(directory: Path, service: str = "", symbol: str = "") -> SymbolSummary:
    """As the command does it."""
    path = directory / "cowbook.toml"
    tables = f'[service]\n{service}\n[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["input/*"]\n{symbol}\n'
    path.write_text(tables)
    (summary,) = run_once(load_config(path, {}))
    return summary


def write(directory: Path, name: str, content: bytes) -> None:
    """Put a file into the input."""
    (directory / "input").mkdir(exist_ok=True)
    (directory / "input" / name).write_bytes(content)


def test_missing_published_parts_are_reported(tmp_path: Path, content: bytes) -> None:
    """Published parts that are not there any more are said; also when it is another output directory."""
    write(tmp_path, "a", content[: len(content) // 2])
    first = run(tmp_path)
    write(tmp_path, "a", content)
    second = run(tmp_path, 'output_dir = "elsewhere"')
    assert second.state == "done"
    assert (
        f"{first.parts} of the {first.parts} parts that checkpoint 1 has published are not where they were" in second.warnings[0]
    )
    shutil.rmtree(tmp_path / "elsewhere" / "depth")
    third = run(tmp_path, 'output_dir = "elsewhere"')
    assert "parts that checkpoint 2 has published" in third.warnings[0]


def test_a_file_that_sorts_before_the_current_one_is_reported(tmp_path: Path, content: bytes) -> None:
    """A file that joins before the current one is never read, and that is said."""
    write(tmp_path, "b", content)
    run(tmp_path)
    write(tmp_path, "a", content[:5000])
    summary = run(tmp_path)
    assert summary.state == "done"
    assert any("input/a sorts before" in warning for warning in summary.warnings)


def test_a_fresh_start_over_unreadable_input_moves_nothing(tmp_path: Path, content: bytes) -> None:
    """Input that cannot be read is no reason to move anything away."""
    result = reconstruct(tmp_path, {"a": content})
    (tmp_path / "input" / "a").unlink()
    (tmp_path / "input" / "a").mkdir()
    (tmp_path / "input" / "b").write_bytes(content[:100])
    refused = reconstruct(tmp_path, {}, allow_fresh=True, paths=("a", "b"))
    assert refused.summary.state == "failed"
    assert "cannot be opened: Is a directory" in str(refused.summary.error)
    assert read_parts(tmp_path / "data") == result.parts
    assert (tmp_path / "state" / "BTCUSDT" / "checkpoints" / "1").is_dir()


@pytest.mark.parametrize("place", ["data/depth", "data/.staging", "state/BTCUSDT", "data", "state/BTCUSDT/checkpoints"])
def test_a_file_in_place_of_a_directory_is_named(tmp_path: Path, content: bytes, place: str) -> None:
    """A file where a directory belongs is an error at once, with its name."""
    write(tmp_path, "a", content)
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text("x")
    summary = run(tmp_path)
    assert summary.state == "failed"
    assert place in str(summary.error)


def test_a_halt_is_undone_by_the_setting_that_it_names(tmp_path: Path, content: bytes) -> None:
    """What an error advises works: a halt is undone by the setting that it names, and the output is that setting's."""
    write(tmp_path, "a", content)
    halted = run(tmp_path, symbol='on_bad_record = "halt"')
    assert halted.state == "failed"
    assert halted.parts
    went_on = run(tmp_path)
    assert went_on.state == "done"
    assert went_on.recovered_epoch == 1
    parts = read_parts(tmp_path / "data")
    shutil.rmtree(tmp_path / "data")
    shutil.rmtree(tmp_path / "state")
    run(tmp_path)
    assert read_parts(tmp_path / "data") == parts


def test_a_linked_state_directory_is_named(tmp_path: Path, content: bytes) -> None:
    """A link where the symbol's state belongs is called one."""
    write(tmp_path, "a", content)
    run(tmp_path)
    (tmp_path / "state" / "BTCUSDT").rename(tmp_path / "real")
    (tmp_path / "state" / "BTCUSDT").symlink_to(tmp_path / "real")
    assert "state/BTCUSDT is a symbolic link" in str(run(tmp_path).error)
