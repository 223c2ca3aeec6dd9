"""Whole runs in a terminal of 80 columns: no line is torn, no bar is left behind, and no table is broken."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cowbook.simulate.capture import write_capture
from support.terminal import Recording, record

BAR = "━"
SYMBOL = {
    "state": "running",
    "events": 11_604_112,
    "synced": True,
    "known": {"bids": {"to": "61631.55", "whole": False}, "asks": {"to": None, "whole": True}, "best": 1.0, "grid": 0.9},
    "gaps": 0,
    "dead_letters": 0,
    "lag_bytes": 3,
    "event_time": "2026-01-01T00:00:00Z",
    "epoch": 7,
    "checkpoint_time": "2026-01-01T00:00:01Z",
    "waiting_for": None,
    "error": None,
    "checkpoint_error": None,
}
LOGGED = re.compile(r"\d\d:\d\d:\d\dZ \[\w+\] \S.*")
CHECKPOINT = re.compile(r"\d\d:\d\d:\d\dZ \[info\] SYM\d+USDT: checkpoint epoch=\d+ events=\d+ frozen_ms=[\d.]+")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture that takes long enough for several looks at it."""
    path = tmp_path_factory.mktemp("terminal") / "a.jsonl"
    write_capture(path, symbol="BTCUSDT", messages=2000, seed=1)
    return path


def run_symbols(folder: Path, capture: Path, count: int) -> Recording:
    """So many symbols of one capture, with a checkpoint every 20,000 events."""
    symbols = "".join(
        f'[[symbol]]\nid = "SYM{number}USDT"\nname = "BTCUSDT"\nformat = "binance"\npaths = ["{capture}"]\n'
        for number in range(count)
    )
    (folder / "cowbook.toml").write_text(f'[checkpoint]\nevery_events = 20_000\nmin_pause = "1ms"\n{symbols}')
    return record(["run", "cowbook.toml", "--once"], folder)


@pytest.mark.parametrize(("symbols", "bars"), [(1, 1), (3, 3), (12, 1)])
def test_a_run_tears_no_line_and_leaves_no_bar(tmp_path: Path, capture: Path, symbols: int, bars: int) -> None:
    """At each look: whole lines of the log, then at most one bar for each of a few symbols, or one for all of many.

    The table at the end fits: each row of it is one line, or has its cells folded inside of the borders.
    """
    ran = run_symbols(tmp_path, capture, symbols)
    assert ran.returncode == 0
    shown = ran.lines()
    middle = next(place for place, line in enumerate(shown) if line.strip() == "cowbook")
    lines, below = shown[: middle - bars], shown[middle - bars : middle]
    assert all(BAR in line and "100%" in line and "events" in line for line in below), below
    assert [line for line in lines if not LOGGED.fullmatch(line)] == []
    checkpoints = [line for line in lines if "checkpoint" in line]
    assert len(checkpoints) >= symbols
    assert [line for line in checkpoints if not CHECKPOINT.fullmatch(line)] == []
    for look in ran.lines_on_the_way():
        before_table = look[: next((place for place, line in enumerate(look) if line.strip() == "cowbook"), len(look))]
        assert sum(BAR in line for line in before_table) <= bars, before_table
    end = next(place for place, line in enumerate(shown) if line.startswith("The parts are in"))
    table = [line for line in shown[middle + 1 : end] if not line.startswith("note: ")]
    assert all(line[0] in "┌│└┏┃┡└" and line[-1] in "┐│┘┓┃┩┘" for line in table), table
    assert {f"SYM{number}USDT" for number in range(symbols)} <= set(re.findall(r"SYM\d+USDT", "\n".join(table)))


@pytest.fixture(scope="module")
def ended_run(tmp_path_factory: pytest.TempPathFactory, capture: Path) -> Path:
    """The directory of a run of two symbols."""
    folder = tmp_path_factory.mktemp("ended")
    assert run_symbols(folder, capture, 2).returncode == 0
    return folder


@pytest.mark.parametrize("command", [["report", "state"], ["report", "data"], ["checkpoints", "list", "state"]], ids=" ".join)
def test_wide_tables_become_blocks(ended_run: Path, command: list[str]) -> None:
    """At 80 columns no border and no cell is broken: what does not fit is a block for each row. At 200 it is a table."""
    narrow = record(command, ended_run)
    assert narrow.returncode == 0
    assert not re.search("[│┃╇]", "\n".join(narrow.lines()))
    heads = [line for line in narrow.lines() if line.startswith(("SYM0USDT  ", "SYM1USDT  "))]
    assert len(heads) >= 2
    assert any(" · " in line and line.startswith("    ") for line in narrow.lines())
    wide = record(command, ended_run, columns=200)
    rows = [line for line in wide.lines() if re.search(r"\bSYM[01]USDT\b", line)]
    assert len(rows) >= 2
    assert not any(" · " in line for line in wide.lines())


def test_the_proof_of_a_book_is_broken_between_words(ended_run: Path) -> None:
    """Not by the terminal, in the midst of a number."""
    shown = record(["book", "data", "--symbol", "SYM0USDT", "--at", "2024-08-09T00:00:00Z"], ended_run)
    assert shown.returncode == 0
    proof = [line for line in shown.lines() if "│" not in line]
    assert any(line.startswith("synced ") and len(line) < 80 for line in proof)
    assert re.search(r"known at least: bids to [\d,.]+\d, asks to [\d,.]+\d ", " ".join(proof))


def test_symbols_of_long_names_have_a_block_each(tmp_path: Path, capture: Path) -> None:
    """A name is never broken."""
    names = [f"BTC-24JUN22-{strike}-C-OF-A-LONG-NAME" for strike in range(15_000, 20_000, 1000)]
    symbols = "".join(
        f'[[symbol]]\nid = "{name}"\nname = "BTCUSDT"\nformat = "binance"\npaths = ["{capture}"]\n' for name in names
    )
    (tmp_path / "cowbook.toml").write_text(symbols)
    shown = record(["run", "cowbook.toml", "--once"], tmp_path)
    assert shown.returncode == 0
    assert [line for line in shown.lines() if line.startswith("BTC-")] == [f"{name}  done  proved" for name in names]
    assert not re.search("[│┃╇]", "\n".join(shown.lines()))


def test_simulating_shows_how_far_it_is(tmp_path: Path) -> None:
    """A bar while it runs, and in its place at the end what was written."""
    ran = record(["simulate", "--messages", "2000", "x.jsonl"], tmp_path)
    assert ran.returncode == 0
    assert b"of 2,000 diffs" in ran.content
    (line,) = (line for line in ran.lines() if "events in" in line)
    assert line.startswith("x.jsonl: ")
    assert not any(BAR in line for line in ran.lines())


@pytest.fixture
def service() -> Iterator[str]:
    """The URL of something that answers as a cowbook with twelve symbols, one of which has failed."""
    symbols = [SYMBOL | {"id": f"S{number}"} for number in range(11)]
    failed = SYMBOL | {"id": "BROKEN", "state": "failed", "error": "gap of 7 ids in a.jsonl at offset 4711"}
    status = {"version": "9.9", "started": "2026-01-01T00:00:00+00:00", "ready": True, "symbols": [*symbols, failed]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(status).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_status_of_many_symbols_fits(tmp_path: Path, service: str) -> None:
    """A block for each symbol at 80 columns, a line for each at 200."""
    narrow = record(["status", service], tmp_path)
    assert narrow.returncode == 1  # one has failed
    assert not re.search("[│┃╇]", "\n".join(narrow.lines()))
    assert "failed: BROKEN: gap of 7 ids in a.jsonl at offset 4711" in narrow.lines()
    wide = record(["status", service], tmp_path, columns=200)
    assert len([line for line in wide.lines() if re.match(r"│ (S\d+|BROKEN) ", line)]) == 12


def test_watching_ends_by_an_interrupt(tmp_path: Path, service: str) -> None:
    """The problem stands at the top of a screen of its own, which goes away; it is no error to stop looking."""
    watched = record(["status", service, "--watch"], tmp_path, until=b"Ctrl-C ends")
    assert watched.returncode == 1  # one has failed
    assert watched.content.count(b"\x1b[?1049h") == watched.content.count(b"\x1b[?1049l") == 1
    assert watched.content.index(b"failed: BROKEN") < watched.content.index(b"S0 ")
    assert b"Traceback" not in watched.content
    assert b"interrupted" not in watched.content


def test_an_interrupted_run_leaves_no_bar_of_compiling(tmp_path: Path, capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that were not compiled are compiled by the next start, which says so again."""
    (tmp_path / "cowbook.toml").write_text(f'[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["{capture}"]\n')
    (tmp_path / "cache").mkdir(mode=0o700)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    for _ in range(2):
        ran = record(["run", "cowbook.toml", "--once"], tmp_path, until=b"kernels are ready")
        assert ran.returncode == 130
        assert any("compiling kernels, once" in line for line in ran.lines())
        assert not any(BAR in line for line in ran.lines())


def test_what_inspect_says_is_wrapped_between_words(capture: Path) -> None:
    """Below its own beginning."""
    shown = record(["inspect", capture.name], capture.parent)
    assert shown.returncode == 0
    text = " ".join(line.strip() for line in shown.lines())
    assert re.search(r"ids would show a loss; [\d,]+ of [\d,]+ books can be compared with tickers: all match", text)
    assert all(line.startswith("    ") for line in shown.lines()[1:])
