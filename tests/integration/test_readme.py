"""The examples of the README and of the pages below docs, as they stand there, on the demo's files in small."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from cowbook import book_at
from cowbook.checkpoint import triggers
from cowbook.checkpoint.manifest import FORMAT_VERSION, Manifest
from cowbook.cli import main as command_line
from cowbook.cli.parser import make_parser
from cowbook.config import load_config
from cowbook.input.venue import Venue
from cowbook.plain.parts import Cut, Part
from cowbook.plain.streams import STREAM_NAMES
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from support.small_output import START_MS, diff, make_output, snapshot

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]

_MODULE = "adding-a-venue.md"
"""Its Python is two pieces of one module."""
_PLACED = "runbook.md"
"""Its queries are about what an installed service has: test_runbook.py runs them."""
_TUTORIAL = "tutorial.md"
"""It makes a capture of its own: a test follows it from its first command to its last."""


PEER_PYTHON = os.environ.get("COWBOOK_PEER_PYTHON")
"""A Python with libraries that are no dependency of the tests."""


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of a language, without what a list indents them by."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def examples(language: str, *but: str) -> list[Any]:
    """Each code block of a language as a parameter, named after its page."""
    return [
        pytest.param(text, id=f"{page.stem}-{number}")
        for page in PAGES
        if page.name not in but
        for number, text in enumerate(blocks(page, language), 1)
    ]


def make_demo(folder: Path, messages: int) -> None:
    """What `make run` leaves in build/demo, of a capture with so many messages."""
    folder.mkdir(parents=True)
    write_capture(folder / "BTCUSDT.jsonl.gz", symbol="BTCUSDT", messages=messages, seed=1, gaps=1)
    cuts = "[output]\npart_events = 20_000\n"  # several, as a longer capture has
    symbol = '[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["BTCUSDT.jsonl.gz"]\n'
    (folder / "cowbook.toml").write_text(cuts + symbol)
    (summary,) = run_once(load_config(folder / "cowbook.toml", {}))
    assert summary.state == "done"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a small build/demo."""
    directory = tmp_path_factory.mktemp("readme")
    make_demo(directory / "build" / "demo", 1500)
    return directory


def run(source: str) -> dict[str, Any]:
    """The names that an example leaves."""
    names: dict[str, Any] = {}
    exec(compile(source, "example", "exec"), names)  # noqa: S102 - it is our own
    return names


def example(page: str, word: str) -> str:
    """The Python block of a page that has the word."""
    return next(text for text in blocks(REPOSITORY / page, "python") if word in text)


def test_the_quickstart_runs(demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's commands, one after the other, on the demo's capture instead of `captures/*`; but for the last, a service."""
    monkeypatch.chdir(demo)
    text = (REPOSITORY / "README.md").read_text().partition("\n## Quickstart\n")[2]
    lines = re.findall(r"^\$ cowbook (.*)$", text.partition("\n## ")[0], re.MULTILINE)
    commands = [shlex.split(line.replace("captures/*", "build/demo/BTCUSDT.jsonl.gz"), comments=True) for line in lines]
    assert [command[0] for command in commands] == ["inspect", "init", "run", "report", "run"]
    for command in commands[:-1]:
        words, redirected = (command[: command.index(">")], command[-1]) if ">" in command else (command, None)
        assert command_line.main(words) == 0
        shown = capsys.readouterr().out
        assert shown
        if redirected is not None:
            Path(redirected).write_text(shown)
    assert list(demo.glob("data/depth/symbol=BTCUSDT/*/*.parquet"))


def test_the_tutorial_leads_to_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its commands one after the other, from an empty directory, on a shorter capture; then its Python."""
    monkeypatch.chdir(tmp_path)
    page = REPOSITORY / "docs" / _TUTORIAL
    lines = [line.removeprefix("$ cowbook ") for text in blocks(page, "console") for line in text.splitlines()]
    assert "--messages 36000" in lines[0]
    for line in [lines[0].replace("36000", "3000"), *lines[1:]]:
        command, _, redirected = line.partition(" > ")
        assert command_line.main(shlex.split(command)) == 0
        shown = capsys.readouterr().out
        assert shown
        if redirected:
            Path(redirected).write_text(shown)
        assert not command.startswith("report") or "1 gap" in shown
    (source,) = blocks(page, "python")
    rows = run(source)["minutes"].fetchall()
    assert len(rows) >= 4
    assert all(spread > 0 and changes > 0 for _, spread, changes in rows)


@pytest.mark.parametrize("name", ["inspect", "explain"])
def test_the_commands_of_the_guide_run(demo: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that look at the demo's capture."""
    monkeypatch.chdir(demo)
    lines = re.findall(rf"^\$ cowbook ({name} .*)$", (REPOSITORY / "docs" / "guide.md").read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        assert command_line.main(shlex.split(line, comments=True)) == 0


@pytest.mark.parametrize("query", examples("sql", _PLACED))
def test_every_query_finds_rows(demo: Path, monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    """DuckDB takes each query of the pages, and it finds something in the demo."""
    monkeypatch.chdir(demo)
    assert duckdb.connect().execute(query).fetchall()


@pytest.mark.parametrize("source", examples("python", _MODULE, _TUTORIAL))
def test_every_python_example_runs(demo: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Each Python example of the pages runs on the demo; those of libraries that only peers have, in their Python."""
    monkeypatch.chdir(demo)
    run_anywhere(source)


@pytest.mark.parametrize("language", ["sql", "python"])
def test_no_recipe_overflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    """Prices and sizes near the highest that eight decimals hold: their products are of 36 digits."""
    monkeypatch.chdir(tmp_path)
    make_output(tmp_path / "build" / "demo", huge_lines(), book_levels=20)
    sources = [text for text in blocks(REPOSITORY / "docs" / "cookbook.md", language) if "trades" in text or "bbo" in text]
    assert len(sources) >= 3
    for source in sources:
        if language == "sql":
            assert duckdb.connect().execute(source).fetchall()
        elif not re.search(r"^import (pandas|chdb)", source, re.MULTILINE) or PEER_PYTHON is not None:
            run_anywhere(source)


def huge_lines() -> list[bytes]:
    """A snapshot, and diffs and trades with a price and a size of 9,000,000,000."""
    best, next_best = "9000000000.5", "9000000001"
    lines = [snapshot(1, 0, [(best, "9000000000")], [(next_best, "9000000000")])]
    for number in range(2, 12):
        lines.append(diff(number, 1000 * number, [(best, f"{9_000_000_000 - number}")]))
        made = {
            "e": "trade",
            "E": START_MS + 1000 * number,
            "s": "BTCUSDT",
            "t": number,
            "p": best,
            "q": "9000000000",
            "m": False,
        }
        lines.append(json.dumps(made).encode() + b"\n")
    return lines


def run_anywhere(source: str) -> None:
    """Run an example here, or in the peers' Python if it needs a library that is not here."""
    needed = re.search(r"^import (pandas|chdb)", source, re.MULTILINE)
    if needed is None or importlib.util.find_spec(needed[1]) is not None:
        run(source)
        return
    if PEER_PYTHON is None:
        pytest.skip(f"{needed[1]} is not installed, and COWBOOK_PEER_PYTHON names no Python that has it")
    done = subprocess.run([PEER_PYTHON, "-c", source], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_the_book_by_sql_is_ours(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The query for the book at an instant gives what `cowbook.book_at` gives, with and without a frame before it."""
    monkeypatch.chdir(demo)
    (query,) = (text for text in blocks(REPOSITORY / "docs" / "cookbook.md", "sql") if "cleared" in text)
    asked = "2024-08-08 23:55:30.5+00"
    assert asked in query
    for time in (asked, "2024-08-08 23:54:00.3+00", "2024-08-08 23:54:00.6+00", "2024-08-08 23:56:00+00"):
        rows = duckdb.connect().execute(query.replace(asked, time)).fetchall()
        book = book_at("build/demo/data", "BTCUSDT", time)
        for side, levels in (("bid", book.bids), ("ask", book.asks)):
            assert sorted((price, size) for of, price, size in rows if of == side) == sorted(levels.decimals())


@pytest.mark.parametrize("notebook", sorted((REPOSITORY / "docs" / "notebooks").glob("*.py")), ids=lambda path: path.stem)
def test_every_notebook_runs(demo: Path, monkeypatch: pytest.MonkeyPatch, notebook: Path) -> None:
    """From its first cell to its last, on the demo, and what it ends with makes sense."""
    monkeypatch.chdir(demo)
    names = run(notebook.read_text())
    match notebook.stem:
        case "spread_and_trades":
            assert names["minutes"]["spread"].min() > 0
            assert names["costs"]["side"].to_list() == ["buy", "sell"]
            assert names["costs"]["paid_above_mid"].min() > 0
        case "depth_of_a_book":
            assert all(size > 0 for size, _ in names["depths"])
            assert (names["distance"] >= 0).all()
        case "imbalance_and_returns":
            assert len(names["mids"]) > 100
            assert abs(names["imbalances"]).max() <= 1
            assert len(set(names["quarter"])) == 4
        case other:
            pytest.fail(f"{other}: say here what it must end with")


def test_the_venue_of_the_page_works() -> None:
    """The module that the page on venues builds up, speed included, is a venue."""
    assert isinstance(run("\n".join(blocks(REPOSITORY / "docs" / _MODULE, "python")))["VENUE"], Venue)


@pytest.mark.parametrize("text", examples("toml"))
def test_every_configuration_is_valid(tmp_path: Path, text: str) -> None:
    """Each configuration of the pages can be loaded."""
    (tmp_path / "cowbook.toml").write_text(text)
    assert load_config(tmp_path / "cowbook.toml", {}).symbol[0].id == "BTCUSDT"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_parsed(page: Path) -> None:
    """Each `cowbook …` that a page has in a block of the shell is taken by the command's parser, with its options."""
    shell = "\n".join(blocks(page, "console")).replace("\\\n", " ")
    for line in re.findall(r"^[$#] (?:sudo -u cowbook (?:env \S+ \S+ +)?)?cowbook (.*)$", shell, re.MULTILINE):
        words = shlex.split(line, comments=True)
        assert make_parser().parse_args(words).command == words[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_target_of_make_exists(page: Path) -> None:
    """Each `make target` that a page names is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"`make ([a-z-]+)[^`]*`|^[$#] make ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert {inline or shell for inline, shell in named} <= targets


def test_best_prices_of_a_minute_do_not_cross(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's query gives a row a minute, with the best prices in their order."""
    monkeypatch.chdir(demo)
    (query,) = blocks(REPOSITORY / "README.md", "sql")
    rows = duckdb.connect().execute(query).fetchall()
    assert len(rows) >= 2
    assert all(bid < ask and spread > 0 and changes > 0 for _, bid, ask, spread, changes in rows)


def test_the_query_of_a_checkpoint_shows_its_fields(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's query shows the fields of a checkpoint."""
    monkeypatch.chdir(demo)
    (query,) = blocks(REPOSITORY / "docs" / "guide.md", "sql")
    assert dict(duckdb.connect().execute(query).fetchall())["cowbook.symbol"] == "BTCUSDT"


def test_the_volumes_of_the_example_are_of_both_sides(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Polars example gives volumes of both sides."""
    monkeypatch.chdir(demo)
    volume = run(example("docs/output.md", "polars"))["volume"]
    assert set(volume["side"].to_list()) == {"buy", "sell"}
    assert min(volume["turnover"].to_list()) > 0


def test_the_library_example_shows_a_full_book(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library example ends with a full book and a sensible spread."""
    monkeypatch.chdir(demo)
    names = run(example("docs/library.md", "frozen"))
    assert names["prices"].tolist() == sorted(names["prices"].tolist(), reverse=True)
    assert 0 < names["spread"] < 100
    assert names["depth"] > 0


def test_the_output_page_has_every_column(demo: Path) -> None:
    """The page on output lists each stream's columns as its parts have them, in their order."""
    page = (REPOSITORY / "docs" / "output.md").read_text()
    parts, _, rest = page.partition("\n## Columns\n")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", parts, re.MULTILINE))
    assert tuple(rows) == STREAM_NAMES
    described = re.findall(r"^\| ([^|]*) \|", rest.partition("\n## ")[0], re.MULTILINE)
    listed = [re.findall(r"\w+", " ".join(re.findall("`([^`]*)`", row))) for row in rows.values()]
    assert set(re.findall("`([^`]*)`", " ".join(described))) == {column for columns in listed for column in columns}
    seen = {stream: next((demo / "build" / "demo" / "data").glob(f"{stream}/*/*/*.parquet"), None) for stream in STREAM_NAMES}
    for stream, part in seen.items():
        if part is not None:
            listed = re.findall(r"\w+", " ".join(re.findall("`([^`]*)`", rows[stream])))
            columns = pq.read_schema(part).names
            assert listed == (columns[: len(listed)] if stream == "book" else columns)
    assert sum(part is not None for part in seen.values()) >= 6


def test_ten_lines_make_the_book_of_depth(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fold of the page on output ends with the best prices of the last row of `bbo`, and empties no side for good."""
    monkeypatch.chdir(demo)
    source = example("docs/output.md", '"clear"')
    lines = [line for line in source.splitlines() if line.strip() and not line.lstrip().startswith(("import", "#"))]
    assert len(lines) == 10
    book = run(source)["book"]
    query = "select bid_price, bid_size, ask_price, ask_size from 'build/demo/data/bbo/*/*/*.parquet' order by event_index desc"
    bid, ask = max(book["bid"]), min(book["ask"])
    assert duckdb.connect().execute(query).fetchone() == (bid, book["bid"][bid], ask, book["ask"][ask])


def test_the_readme_names_every_stream() -> None:
    """The README has a line for each stream, in their order."""
    streams = (REPOSITORY / "README.md").read_text().partition("## Streams")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", streams, re.MULTILINE)) == STREAM_NAMES


def test_the_checkpoint_page_names_everything_in_a_checkpoint(demo: Path) -> None:
    """The page on the format names each file, each key of the manifest and of the metadata, and each trigger."""
    page = (REPOSITORY / "docs" / "checkpoint-format.md").read_text()
    words = set(re.findall(r"[\w-]+", page))
    folder = max((demo / "build" / "demo" / "state" / "BTCUSDT" / "checkpoints").iterdir())
    names = {path.stem for path in folder.iterdir()}
    names |= {key.decode().removeprefix("cowbook.") for key in pq.read_metadata(folder / "book.parquet").metadata}
    names |= set(Manifest.__struct_fields__) | set(Cut.__struct_fields__) | set(Part.__struct_fields__)
    names |= {value for name, value in vars(triggers).items() if name.isupper() and isinstance(value, str)}
    assert names <= words
    assert f"# The checkpoint format, version {FORMAT_VERSION}" in page
    assert f"| `version` | {FORMAT_VERSION}. " in page


def test_the_readme_is_short() -> None:
    """It is read at once: a thousand words at most."""
    assert len((REPOSITORY / "README.md").read_text().split()) <= 1000


def test_the_output_that_the_pages_show_is_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the README and the cookbook show of the demo is what it gives: the table, the query and its rows, the book."""
    recipe = (REPOSITORY / "Makefile").read_text()
    assert "simulate --symbol BTCUSDT --messages 60000 --gaps 1 --seed 1" in recipe
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "build" / "demo"
    folder.mkdir(parents=True)
    write_capture(folder / "BTCUSDT.jsonl.gz", symbol="BTCUSDT", messages=60_000, seed=1, gaps=1)
    (folder / "cowbook.toml").write_text('[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["BTCUSDT.jsonl.gz"]\n')
    assert command_line.main(["run", str(folder / "cowbook.toml"), "--once"]) == 0
    printed = capsys.readouterr().out
    table = {re.sub(r"\s+", " ", line) for line in printed.splitlines()}
    run_shown, query_shown = blocks(REPOSITORY / "README.md", "text")
    for line in run_shown.splitlines():
        shown = re.sub(r"\s+", " ", line)
        # A part's size follows the release of pyarrow, which its metadata names.
        assert shown in table or ("parts" in shown and shown.split("(")[0] in {known.split("(")[0] for known in table})
    (inspected,) = (text for text in blocks(REPOSITORY / "docs" / "guide.md", "text") if "can be compared with" in text)
    assert command_line.main(["inspect", "build/demo/BTCUSDT.jsonl.gz"]) == 0
    assert capsys.readouterr().out == inspected
    (query,) = blocks(REPOSITORY / "README.md", "sql")
    assert re.sub(r" LIMIT \d+;", ";", query) in printed.replace(f"{tmp_path}/", "")
    rows = [[str(value) for value in row] for row in duckdb.connect().execute(query).fetchall()]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in query_shown.splitlines() if line.startswith("│ 2")]
    assert cells == rows
    making, *asking = blocks(REPOSITORY / "docs" / "cookbook.md", "console")
    assert "cowbook simulate --symbol BTCUSDT --messages 60000 --gaps 1 --seed 1 " in making
    skipped: list[str] = []
    for block in asking:
        for command, expected in re.findall(r"^\$ cowbook (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
            if "http:" in command:
                continue  # it needs a running one: tests/unit/symbol/test_live_book.py
            if command.startswith("plot") and importlib.util.find_spec("matplotlib") is None:
                skipped.append(command)
                continue
            assert command_line.main(shlex.split(command)) == 0
            said = capsys.readouterr().out
            assert said == expected or not expected
            if command.startswith("sql"):
                check_macros(said)
    if skipped:
        pytest.skip(f"the extra plot is not installed, and all but this was seen: {', '.join(skipped)}")


def check_macros(statements: str) -> None:
    """What the cookbook says of the macros: each is a query that finds something."""
    connection = duckdb.connect()
    connection.execute(statements)
    for query in re.findall(r"^\| `((?:FROM|SELECT) [^`]*)`", (REPOSITORY / "docs" / "cookbook.md").read_text(), re.MULTILINE):
        assert connection.execute(query).fetchall(), query
