"""What commands print stays right when ids, paths and values are unusual."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import structlog
from rich.console import Console

from cowbook.cli.main import main
from cowbook.log import configure_logging, get_logger
from cowbook.simulate.capture import write_capture

ODD = """[service]
output_dir = "[/x]/o'ut"
[[symbol]]
id = "[/b]:cat:"
name = "BTCUSDT"
format = "binance"
paths = ["a.jsonl"]
"""


@pytest.fixture
def odd_config(tmp_path: Path) -> Path:
    """A configuration whose id and paths look like markup, a pattern, and the end of a string of SQL."""
    write_capture(tmp_path / "a.jsonl", symbol="BTCUSDT", messages=100, seed=1)
    path = tmp_path / "cowbook.toml"
    path.write_text(ODD)
    return path


def test_odd_names_are_shown_as_they_are(
    odd_config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brackets and colons are no markup, and the query names the parts in spite of quotes and brackets."""
    import duckdb

    monkeypatch.setenv("COLUMNS", "200")
    assert main(["check", str(odd_config)]) == 0
    assert "[/b]:cat:" in capsys.readouterr().out
    assert main(["run", str(odd_config), "--once"]) == 0
    shown = capsys.readouterr().out
    assert "[/b]:cat:" in shown
    with duckdb.connect() as connection:
        assert connection.execute(shown[shown.index("SELECT") :]).fetchall()


def test_progress_on_a_terminal(odd_config: Path) -> None:
    """A terminal gets a bar that names the symbol as it is; standard output has the JSON alone."""
    master, terminal = pty.openpty()
    command = [sys.executable, "-m", "cowbook", "run", str(odd_config), "--once", "--json"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, env=environment) as process:
        os.close(terminal)
        shown = _read_to_end(master)
        assert process.stdout is not None
        assert process.stdout.read(2) == b"[\n"
    assert process.returncode == 0
    assert b"[/b]:cat:" in shown
    assert b"Traceback" not in shown


def _read_to_end(master: int) -> bytes:
    """Everything that was written to a terminal, until nobody has it open any more."""
    content = b""
    try:
        while piece := os.read(master, 1 << 16):
            content += piece
    except OSError:  # what a terminal's other side gives at the end
        pass
    finally:
        os.close(master)
    return content


def test_interrupt_is_not_a_traceback(tmp_path: Path) -> None:
    """Ctrl-C ends a command with 130 and one line."""
    command = [sys.executable, "-m", "cowbook", "simulate", "--messages", "100000000", str(tmp_path / "x.jsonl")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == "cowbook: interrupted\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("symbol", ["a b", 'a"', "a\\", "a\u200b", ""])
def test_simulate_refuses_symbols_that_no_configuration_takes(
    symbol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A symbol that would break the JSON, or that `run` would refuse, is wrong usage."""
    with pytest.raises(SystemExit) as caught:
        main(["simulate", "--symbol", symbol, "--messages", "5", str(tmp_path / "x.jsonl")])
    assert caught.value.code == 2
    assert "printable characters" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["--version", "--help"])
def test_answers_without_the_compiler(command: str) -> None:
    """What needs no kernels does not wait for the libraries that compile them."""
    program = (
        "import sys; from cowbook.cli.main import main\n"
        f"try: main([{command!r}])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numba', 'numpy', 'pyarrow', 'pydantic', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stderr == "[]\n"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_both_log_formats_show_exceptions(log_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both formats say what happened and where, without a warning of their own."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("info", log_format)
    try:
        _log_failure()
    finally:
        structlog.reset_defaults()
    lines = stream.getvalue()
    assert "ZeroDivisionError" in lines
    assert "BTCUSDT" in lines
    assert "not to be seen" not in lines
    assert "\x1b" not in lines
    assert len(lines.splitlines()) == 1 or log_format == "console"


def _log_failure() -> None:
    log = get_logger().bind(symbol="BTCUSDT")
    log.debug("not to be seen")
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        log.exception("failed")


def test_progress_without_a_terminal_says_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plain lines, one in two seconds: bytes, events, and of this run events per second and seconds left."""
    from cowbook.cli.progress import make_reporter

    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with make_reporter(Console(file=io.StringIO()), 1) as reporter:
        now[0] = 101.0
        reporter.update("A", 1_000_000, 4_000_000, 1_000_000)
        assert capsys.readouterr().err == ""
        now[0] = 103.5
        reporter.update("A", 2_000_000, 4_000_000, 6_000_000)
    assert capsys.readouterr().err == "A: 2 of 4 MB, 6,000,000 events, 2.0 M events/s, 5 s left\n"
