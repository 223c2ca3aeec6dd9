"""Whole runs in a terminal of 80 columns: no line is torn, no bar is left behind, and no table is broken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cowbook.simulate.capture import write_capture
from support.terminal import Recording, record

BAR = "━"
LOGGED = re.compile(r"\d\d:\d\d:\d\dZ \[\w+ *\] \S.*")
CHECKPOINT = re.compile(r"\d\d:\d\d:\d\dZ \[info *\] checkpoint epoch=\d+ events=\d+ frozen_ms=[\d.]+ symbol=S\d+")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture that takes long enough for several looks at it."""
    path = tmp_path_factory.mktemp("terminal") / "a.jsonl"
    write_capture(path, symbol="BTCUSDT", messages=2000, seed=1)
    return path


def run_symbols(folder: Path, capture: Path, count: int) -> Recording:
    """So many symbols of one capture, with a checkpoint every 20,000 events."""
    symbols = "".join(
        f'[[symbol]]\nid = "S{number}"\nname = "BTCUSDT"\nformat = "binance"\npaths = ["{capture}"]\n' for number in range(count)
    )
    (folder / "cowbook.toml").write_text(f'[checkpoint]\nevery_events = 20_000\nmin_pause = "1ms"\n{symbols}')
    return record(["run", "cowbook.toml", "--once"], folder)


@pytest.mark.parametrize(("symbols", "bars"), [(1, 1), (3, 3), (12, 1)])
def test_logs_stand_above_the_bars(tmp_path: Path, capture: Path, symbols: int, bars: int) -> None:
    """At each look: whole lines of the log, then at most one bar for each of a few symbols, or one for all of many."""
    ran = run_symbols(tmp_path, capture, symbols)
    assert ran.returncode == 0
    shown = ran.lines()
    end = next(place for place, line in enumerate(shown) if line.strip() == "cowbook")
    lines, below = shown[: end - bars], shown[end - bars : end]
    assert all(BAR in line and "100%" in line and "events" in line for line in below), below
    assert [line for line in lines if not LOGGED.fullmatch(line)] == []
    checkpoints = [line for line in lines if "checkpoint" in line]
    assert len(checkpoints) >= symbols
    assert [line for line in checkpoints if not CHECKPOINT.fullmatch(line)] == []
    for look in ran.lines_on_the_way():
        before_table = look[: next((place for place, line in enumerate(look) if line.strip() == "cowbook"), len(look))]
        assert sum(BAR in line for line in before_table) <= bars, before_table


@pytest.mark.parametrize("symbols", [1, 3, 12])
def test_the_table_of_a_run_fits(tmp_path: Path, capture: Path, symbols: int) -> None:
    """Each row of it is one line, or has its cells folded inside of the borders."""
    shown = run_symbols(tmp_path, capture, symbols).lines()
    start = next(place for place, line in enumerate(shown) if line.strip() == "cowbook")
    end = next(place for place, line in enumerate(shown) if line.startswith("The parts are in"))
    table = [line for line in shown[start + 1 : end] if not line.startswith("note: ")]
    assert all(line[0] in "┌│└┏┃┡└" and line[-1] in "┐│┘┓┃┩┘" for line in table), table
    assert {f"S{number}" for number in range(symbols)} <= set(re.findall(r"S\d+", "\n".join(table)))


@pytest.mark.parametrize("command", [["report", "state"], ["report", "data"], ["checkpoints", "list", "state"]], ids=" ".join)
def test_wide_tables_become_blocks(tmp_path: Path, capture: Path, command: list[str]) -> None:
    """At 80 columns no border and no cell is broken: what does not fit is a block for each row. At 200 it is a table."""
    run_symbols(tmp_path, capture, 2)
    narrow = record(command, tmp_path)
    assert narrow.returncode == 0
    assert not re.search("[│┃╇]", "\n".join(narrow.lines()))
    heads = [line for line in narrow.lines() if line.startswith(("S0  ", "S1  "))]
    assert len(heads) >= 2
    assert any(" · " in line and line.startswith("    ") for line in narrow.lines())
    wide = record(command, tmp_path, columns=200)
    rows = [line for line in wide.lines() if re.search(r"\bS[01]\b", line)]
    assert len(rows) >= 2
    assert not any(" · " in line for line in wide.lines())


def test_simulating_shows_how_far_it_is(tmp_path: Path) -> None:
    """A bar while it runs, and in its place at the end what was written."""
    ran = record(["simulate", "--messages", "2000", "x.jsonl"], tmp_path)
    assert ran.returncode == 0
    assert b"of 2,000 diffs" in ran.content
    (line,) = (line for line in ran.lines() if "events in" in line)
    assert line.startswith("x.jsonl: ")
    assert not any(BAR in line for line in ran.lines())
