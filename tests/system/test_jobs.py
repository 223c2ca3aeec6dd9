"""What people come for, done as the pages say it, by a stranger: with the wheel, from an empty directory, without the checkout.

Commands and programs are those of the pages, as they stand there. So a page that leaves out a step fails here.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.daemon_process import free_port
from support.pages import blocks, chapter
from support.terminal import record
from support.wheel import Shell, add_duckdb, commands, why_not

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

_PATIENCE_SECONDS = 60.0
_DEFAULT = "127.0.0.1:9464"
"""Where the pages expect a running one; another port takes its place, since something may listen there."""


@pytest.fixture(scope="module")
def shell(wheel_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A stranger's shell, in a directory with what the cookbook's first lines make."""
    add_duckdb(wheel_environment)
    shell = Shell(wheel_environment, tmp_path_factory.mktemp("stranger"))
    shell.run(" && ".join(command for command, _ in commands(blocks(chapter("docs/cookbook.md"), "console")[0])))
    return shell


def follow(shell: Shell, text: str) -> list[str]:
    """Run all commands of a text in their order. They must print what it shows below them. Returns what was printed."""
    printed = []
    for block in blocks(text, "console"):
        for command, expected in commands(block):
            said = shell.run(command)
            assert said == expected or not expected, command
            printed.append(said)
    return printed


def run_programs(shell: Shell, text: str) -> int:
    """Run all Python and SQL of a text whose libraries are there. Returns how many."""
    missing = re.compile(r"^import (pandas|chdb|hftbacktest)", re.MULTILINE)
    programs = [source for source in blocks(text, "python") if not missing.search(source)]
    for source in programs:
        shell.python(source)
    queries = blocks(text, "sql")
    for query in queries:
        assert shell.query(query), query
    return len(programs) + len(queries)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)


@contextmanager
def running(shell: Shell, configuration: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`cowbook run` of a configuration, until the end of the block. Yields where it answers once it is ready, and its process."""
    place = f"127.0.0.1:{free_port()}"
    with (shell.directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [shell.environment / "bin" / "cowbook", "run", configuration],
            cwd=shell.directory,
            env=shell.environ() | {"COWBOOK_HTTP__LISTEN": place},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: '"event": "ready"' in (shell.directory / "log").read_text() or process.poll() is not None, "it is ready")
        assert process.poll() is None, (shell.directory / "log").read_text()
        yield place, process
        process.send_signal(signal.SIGTERM)
        assert process.wait(_PATIENCE_SECONDS) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_the_book_at_an_instant(shell: Shell) -> None:
    """By command, by Python and by DuckDB; what the page prints is what it is."""
    text = chapter("docs/cookbook.md", "The book at an instant").replace(_DEFAULT, "{live}")
    at_rest = re.sub(r"^\$ .*\{live\}.*\n", "", text, flags=re.MULTILINE)
    follow(shell, at_rest)
    assert (shell.directory / "book.parquet").is_file()
    assert run_programs(shell, text) == 1
    assert run_programs(shell, chapter("docs/cookbook.md", "The book at an instant, in SQL")) == 1
    for query in re.findall(r"^\| `((?:FROM|SELECT) [^`]*)`", text, re.MULTILINE):
        assert shell.run(f'duckdb books.duckdb -c "{query}"').strip() != "[]", query


def following(shell: Shell, directory: Path) -> Shell:
    """A shell in a directory with a short capture and what `init` prints for it, with `follow` as its comment says."""
    follower = Shell(shell.environment, directory)
    follower.run("cowbook simulate --symbol BTCUSDT --messages 600 --seed 2 a.jsonl && cowbook init a.jsonl > cowbook.toml")
    configuration = directory / "cowbook.toml"
    changed = configuration.read_text().replace("follow = false", "follow = true")
    assert changed.count("follow = true") == 1
    configuration.write_text(changed)
    return follower


def test_the_book_of_a_running_cowbook(shell: Shell, tmp_path: Path) -> None:
    """By the command and over HTTP, as the same chapter says."""
    follower = following(shell, tmp_path)
    text = chapter("docs/cookbook.md", "The book at an instant")
    asked = [command for block in blocks(text, "console") for command, _ in commands(block) if _DEFAULT in command]
    assert len(asked) == 2
    with running(follower, "cowbook.toml") as (place, _):
        shown, answered = (follower.run(command.replace(_DEFAULT, place)) for command in asked)
    assert "│" in shown
    assert '"synced": true' in answered


def test_mid_spread_and_a_picture(shell: Shell) -> None:
    """The figures by SQL and Polars; the picture by `plot`, whose library the wheel names as an extra."""
    assert run_programs(shell, chapter("docs/cookbook.md", "Mid and spread")) >= 2
    text = chapter("docs/cookbook.md", "A picture of the book over time")
    install, *drawn = [command for command, _ in commands(blocks(text, "console")[0])]
    assert install == "pip install 'cowbook[plot]'"
    for command in drawn:
        shell.run(command)
    assert (shell.directory / "depth.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (shell.directory / "gap.html").read_text()


def test_loading(shell: Shell) -> None:
    """DuckDB and Polars read what was written; so do the queries by minute and of times."""
    for title, count in (("Loading", 2), ("Volume by minute", 2), ("Differences of times", 2)):
        assert run_programs(shell, chapter("docs/cookbook.md", title)) >= count


def test_exports(shell: Shell) -> None:
    """For a backtest, for machine learning, and as plain files."""
    for title in ("An array for machine learning", "hftbacktest", "nautilus_trader", "Plain files"):
        follow(shell, chapter("docs/cookbook.md", title))
    assert run_programs(shell, chapter("docs/cookbook.md", "An array for machine learning")) == 1
    for name in ("book.npz", "hour.npz", "catalog/data", "csv/depth.csv"):
        assert (shell.directory / "build" / "demo" / name).exists()


def test_the_library(shell: Shell) -> None:
    """Every program of its page: replay, several symbols, features, the output."""
    assert run_programs(shell, chapter("docs/library.md")) >= 7


def test_from_an_installed_wheel_to_a_table(shell: Shell, tmp_path: Path) -> None:
    """The tutorial, to the letter, and the demo that the README names."""
    newcomer = Shell(shell.environment, tmp_path)
    text = chapter("docs/tutorial.md")
    printed = follow(newcomer, text)
    assert any("1 gap" in said for said in printed)
    assert "spread" in newcomer.python(*blocks(text, "python"))
    installing = [command for block in blocks(chapter("README.md", "Install"), "console") for command, _ in commands(block)]
    (demo,) = (command for command in installing if command.startswith("cowbook"))
    said = newcomer.run(demo)
    offered = re.findall(r"^  (cowbook .*)$", said, re.MULTILINE)
    assert len(offered) >= 4
    for command in offered[:-1]:  # the last one is for captures of one's own
        newcomer.run(command)


def test_a_run_on_a_terminal(shell: Shell, tmp_path: Path) -> None:
    """The README's quick start on 180 MB of captures of one's own, in a terminal of 80 columns: no line is wider or torn."""
    (tmp_path / "captures").mkdir()
    quick = Shell(shell.environment, tmp_path)
    quick.run("cowbook simulate --symbol BTCUSDT --messages 60000 --gaps 3 --seed 4 captures/BTCUSDT-1.jsonl")
    assert (tmp_path / "captures/BTCUSDT-1.jsonl").stat().st_size > 150_000_000
    asked = [command.split("#")[0].strip() for command, _ in commands(blocks(chapter("README.md", "Quickstart"), "console")[0])]
    inspect, init, run, report, service = asked
    quick.run(inspect)
    quick.run(init)
    shown = record(run.split()[1:], tmp_path, program=[shell.environment / "bin" / "cowbook"], variables=quick.environ())
    assert shown.returncode == 0
    assert sum("━" in line for line in shown.lines()) == 1
    assert any(line.startswith("│ verdict") for line in shown.lines())
    assert "gap" in quick.run(report)
    with running(quick, service.split()[-1]):
        pass


def test_watching_a_running_one(shell: Shell, tmp_path: Path) -> None:
    """Status, checkpoint, metrics, the page; and the dashboard that `cowbook files` copies."""
    asked = [
        command.split("  #")[0].rstrip()
        for command, _ in commands(blocks(chapter("docs/operating.md", "The service"), "console")[0])
    ]
    service, status, watch, checkpoint, metrics = asked
    assert (service, watch) == ("cowbook run cowbook.toml", f"{status} --watch")
    follower = following(shell, tmp_path)
    with running(follower, "cowbook.toml") as (place, _):
        assert "BTCUSDT" in follower.run(f"{status} http://{place}")
        assert re.search(r"BTCUSDT: epoch \d+", follower.run(f"{checkpoint} http://{place}"))
        assert "cowbook_synced" in follower.run(metrics.replace(_DEFAULT, place))
        with urllib.request.urlopen(f"http://{place}/") as page:
            assert b"BTCUSDT" in page.read()
    follower.run("cowbook files copies")
    for line in re.findall(r"^# (?:cp|install -D -m 644) (\S+)", chapter("docs/operating.md", "HTTP"), re.MULTILINE):
        assert (tmp_path / "copies" / line).is_file()


def test_operating(shell: Shell, tmp_path: Path) -> None:
    """A file is rotated, a reload and a stop, as the page on operating has them; then the guide's commands of checkpoints."""
    operator = Shell(shell.environment, tmp_path)
    operator.run("cowbook simulate --symbol BTCUSDT --messages 600 --gaps 1 --seed 2 all.jsonl")
    lines = (tmp_path / "all.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "captures").mkdir()
    live, configuration = tmp_path / "captures" / "book.jsonl", tmp_path / "cowbook.toml"
    live.write_bytes(b"".join(lines[: len(lines) // 2]))
    paths = re.findall(r'^`(paths = \["book\.jsonl\*"\])`', chapter("docs/operating.md", "Files that grow"), re.MULTILINE)
    assert paths
    symbol = f'[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\n{paths[0].replace("book", "captures/book")}\nfollow = true\n'
    configuration.write_text(f'{symbol}rotate_wait = "1s"\n')
    with running(operator, "cowbook.toml") as (place, process):

        def status() -> dict[str, Any]:
            (found,) = json.loads(operator.run(f"cowbook status http://{place} --json"))["symbols"]
            return dict(found)

        live.rename(tmp_path / "captures" / "book.jsonl.1")
        live.write_bytes(b"".join(lines[len(lines) // 2 :]))
        wait_for(lambda: str(status()["file"]).endswith("book.jsonl") and status()["lag_bytes"] == 0, "it is rotated")
        configuration.write_text(f'[checkpoint]\nevery = "2min"\n{symbol}rotate_wait = "1s"\n')
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: '"event": "reloaded"' in (tmp_path / "log").read_text(), "it has reloaded")
    assert follow(operator, chapter("docs/guide.md", "Stop it anywhere"))
    assert "1 gap" in operator.run("cowbook report state")
    assert operator.run("cowbook report data").count("gap")
