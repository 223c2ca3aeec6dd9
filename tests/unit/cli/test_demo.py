"""`cowbook demo`: from nothing to a report, without overwriting anything."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

import pytest

from cowbook.cli import demo
from cowbook.cli import main as command_line
from cowbook.simulate.capture import write_capture


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of fewer messages, of a day all the same."""
    monkeypatch.setattr(demo, "_MESSAGES", 400)
    monkeypatch.setattr(demo, "_INTERVAL_NS", 86_400_000_000_000 // 400)


@pytest.mark.long
@pytest.mark.usefixtures("small")
def test_a_demo_ends_with_a_day_and_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary of the run, a verdict for both dates of the day, and commands that work."""
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["demo", "a demo"]) == 0
    printed = capsys.readouterr().out
    assert "2024-08-08" in printed
    assert "2024-08-09" in printed
    assert "1 gap" in printed
    commands = [line.strip() for line in printed.splitlines() if line.startswith("  cowbook ")]
    assert commands == demo.next_commands(Path("a demo"))
    for command in commands[:-1]:  # the last one is for captures of one's own
        if " plot " in command and importlib.util.find_spec("matplotlib") is None:
            pytest.skip("the extra plot is not installed")
        assert command_line.main(shlex.split(command)[1:]) == 0
        assert capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_a_demo_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory with a file in it, and a file in the directory's place, stay as they were."""
    kept = tmp_path / "kept"
    kept.write_text("mine")
    for directory in (tmp_path, kept):
        assert command_line.main(["demo", str(directory)]) == 1
        assert str(directory) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert kept.read_text() == "mine"


def test_a_longer_interval_makes_a_longer_capture(tmp_path: Path) -> None:
    """As many diffs over ten times the time. One that leaves the diff no time of its own is refused."""

    def times(interval_ns: int) -> list[int]:
        write_capture(tmp_path / "a.jsonl", symbol="A", messages=50, seed=3, interval_ns=interval_ns)
        return [int(line[:19]) for line in (tmp_path / "a.jsonl").read_text().splitlines()]

    short, long = times(100_000_000), times(1_000_000_000)
    assert len(short) == len(long)
    assert (long[-1] - long[0]) / (short[-1] - short[0]) == pytest.approx(10, rel=0.2)
    with pytest.raises(ValueError, match="interval_ns = 1"):
        times(1)
