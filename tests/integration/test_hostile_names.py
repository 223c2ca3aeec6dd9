"""Names of files and records may hold escape sequences and forged lines: no way to a person passes them on raw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TIME = "2026-01-01T00:00:00Z"
HOSTILE = f"x\n{TIME} [info     ] FORGED\x1b[31m\x1b]0;title\x07\u202e"
RECORD = {"e": "depthUpdate", "E": 1723161600000, "s": "X", "U": 1, "u": 1, "b": [["150", "1"]], "a": []}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose files and records have hostile names, and which has run once."""
    directory = tmp_path_factory.mktemp("hostile")
    (directory / "in").mkdir()
    (directory / "in" / "a.jsonl").write_text(
        json.dumps(RECORD) + "\n" + json.dumps(RECORD | {"s": HOSTILE}) + "\n" + json.dumps(RECORD | {"E": HOSTILE}) + "\n"
    )
    (directory / "in" / f"b{HOSTILE}.jsonl").write_text("junk\x1b[31m\n")
    (directory / "in" / os.fsdecode(b"c\xff.jsonl")).write_text("junk\n")
    (directory / "in" / f"d{HOSTILE}.jsonl").symlink_to("a.jsonl")
    (directory / "cowbook.toml").write_text(
        f'[log]\nformat = "console"\n[[symbol]]\nid = {json.dumps("X" + HOSTILE)}\nname = "X"\nformat = "binance"\n'
        'paths = ["in/*.jsonl"]\n'
    )
    (directory / "wrong.toml").write_text(
        f'[[symbol]]\nid = {json.dumps("Y" + HOSTILE)}\nname = "Y"\nformat = "binance"\npaths = ["none/*"]\n'
    )
    return directory


def run(directory: Path, *arguments: str) -> tuple[int, str]:
    """A command in a process of its own, without a terminal: its exit code and all that it has printed."""
    done = subprocess.run(
        [sys.executable, "-m", "cowbook", *arguments],
        capture_output=True,
        check=False,
        cwd=directory,
        env=os.environ | {"NO_COLOR": "1", "TERM": "dumb"},
    )
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["check", "cowbook.toml"], 0, id="check"),
        pytest.param(["check", "wrong.toml"], 78, id="check_with_problems"),
        pytest.param(["run", "cowbook.toml", "--once"], 0, id="run"),
        pytest.param(["run", "wrong.toml", "--once"], 78, id="run_that_is_refused"),
        pytest.param(["report", "state"], 0, id="report"),
        pytest.param(["report", "state", "--markdown"], 0, id="report_as_markdown"),
        pytest.param(["checkpoints", "list", "state"], 0, id="checkpoints"),
        pytest.param(["checkpoints", "show", "state"], 0, id="checkpoint"),
        pytest.param(["checkpoints", "verify", "state"], 0, id="verify"),
        pytest.param(["checkpoints", "list", f"no{HOSTILE}"], 1, id="error"),
    ],
)
def test_commands_print_names_escaped(directory: Path, arguments: list[str], code: int) -> None:
    """No control character but the end of a line, no forged line, and the name is there to be read."""
    if not (directory / "state").exists():
        run(directory, "run", "cowbook.toml", "--once")
    done, text = run(directory, *arguments)
    assert done == code, text
    assert all(line.isprintable() for line in text.split("\n")), text
    assert not any(line.startswith(TIME) for line in text.splitlines()), text
    assert "FORGED" in text


def test_a_traceback_forges_no_line(directory: Path) -> None:
    """An error's text may hold a name, too: the lines of its traceback are indented and escaped."""
    program = (
        "from cowbook.log import configure_logging, get_logger\n"
        "configure_logging('info', 'console')\n"
        f"try: raise ValueError({HOSTILE!r})\n"
        "except ValueError: get_logger().exception('failed')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=directory, check=True)
    first, *rest = done.stderr.splitlines()
    assert "failed" in first
    assert any("FORGED" in line for line in rest)
    assert all(line.isprintable() and not line.startswith(TIME) for line in rest)
