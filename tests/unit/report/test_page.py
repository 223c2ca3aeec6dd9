"""The report's page: every day in its calendar, gaps with their times, and nothing that comes from elsewhere."""

from __future__ import annotations

import errno
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cowbook.cli.main import EXIT_FAILED, main
from cowbook.report.day_report import DayQuality
from cowbook.report.page import make_report_page
from cowbook.report.verdict import WORDS
from support.small_output import make_lines, make_output

VOID = {"meta", "rect", "br"}
HOSTILE = '<script>alert("x")</script>&\x1b[31m'


class Checker(HTMLParser):
    """Holds that tags are closed in their order, and keeps texts, ids and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it, its ids, links and titles."""
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.texts += [value or "" for name, value in attrs if name in ("title", "aria-label")]

    def handle_endtag(self, tag: str) -> None:
        """It closes the tag that was opened last."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep it."""
        self.texts.append(data)


def check(page: str) -> Checker:
    """Parse a page."""
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open
    assert "script" not in checker.tags
    assert checker.links
    assert all(link.startswith("#") for link in checker.links)
    assert {link[1:] for link in checker.links} <= set(checker.ids)
    assert not re.search(r"url\(|@import", page)
    assert '<meta name="viewport"' in page
    return checker


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's directory, with its state and its output."""
    return make_output(tmp_path_factory.mktemp("report"), make_lines()).output_dir.parent


def test_the_page_of_an_output_has_the_times_of_its_gaps(made: Path, tmp_path: Path) -> None:
    """As the JSON has them. So has that of a state directory whose output is where it was; else it says that it is not."""
    data = next(path for path in made.iterdir() if (path / "gaps").is_dir())
    assert main(["report", str(data), "--html", str(tmp_path / "a.html")]) == 0
    page = (tmp_path / "a.html").read_text()
    checker = check(page)
    assert "2024-08-09 00:00:01.600000" in checker.texts
    assert "2024-08-09: gap: 1 gap, 1 id missing (00:00:01.600)" in checker.texts
    assert main(["report", str(made / "state"), "--html", str(tmp_path / "b.html")]) == 0
    assert "2024-08-09 00:00:01.600000" in check((tmp_path / "b.html").read_text()).texts
    data.rename(made / "elsewhere")
    try:
        assert main(["report", str(made / "state"), "--html", str(tmp_path / "c.html")]) == 0
    finally:
        (made / "elsewhere").rename(data)
    assert "1 gap. Their times are in the output, which is not where it was" in (tmp_path / "c.html").read_text()


def test_the_json_has_the_times_of_gaps(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside their sizes."""
    data = next(path for path in made.iterdir() if (path / "gaps").is_dir())
    assert main(["report", str(data), "--json"]) == 0
    day = json.loads(capsys.readouterr().out)["days"][0]
    assert (day["gap_sizes"], day["gap_times"]) == ([1], ["2024-08-09T00:00:01.600000+00:00"])


def test_what_symbols_are_called_is_text_alone() -> None:
    """Tags, quotes and control characters of a name change nothing of the page."""
    days = [
        DayQuality(HOSTILE, "2024-02-29", gaps=1, gap_sizes=(None,), gap_times=(1_709_210_000_000_000_000,)),
        DayQuality("b", ""),
    ]
    tables = [(("symbol", "day", "verdict", "why"), [[HOSTILE, "2024-02-29", "gap", HOSTILE]], ["total", "1 day", "", HOSTILE])]
    page = make_report_page(days, tables, WORDS)
    checker = check(page)
    assert "\x1b" not in page
    assert HOSTILE.replace("\x1b", r"\x1b") in checker.texts
    assert "February 2024" in checker.texts


def test_every_verdict_has_a_sign_of_its_own() -> None:
    """States are told apart without colour."""
    page = make_report_page(
        [DayQuality("a", "2024-01-01")],
        [(("symbol", "day", "verdict"), [["a", "2024-01-01", "proved"]], ["total", "1 day", ""])],
        WORDS,
    )
    badges = re.findall(r'<dt><span class="verdict (\w+)">(\S+)', page)
    assert len(badges) == len(WORDS)
    assert len({sign.partition("<")[0] for _, sign in badges}) == len({name for name, _ in badges}) == len(WORDS)


def test_a_file_that_cannot_be_written_is_named(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    (tmp_path / "file").touch()
    assert main(["report", str(made / "state"), "--html", str(tmp_path / "file" / "a.html")]) == EXIT_FAILED
    assert "file cannot be written: File exists" in capsys.readouterr().err


def test_a_page_that_is_not_whole_replaces_none(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the older page, and nothing else."""
    (tmp_path / "a.html").write_text("older")

    def fill(path: Path, _content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fill)
    assert main(["report", str(made / "state"), "--html", str(tmp_path / "a.html")]) == EXIT_FAILED
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.html", "older")]


@pytest.mark.parametrize("stream", ["depth", "bbo"])
def test_a_missing_part_is_an_error_of_the_report(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stream: str
) -> None:
    """What it had would be missing in the figures, and nothing would say so."""
    shutil.copytree(made / "data", tmp_path / "data")
    missing = max((tmp_path / "data" / stream).rglob("*.parquet"))
    missing.unlink()
    assert main(["report", str(tmp_path / "data")]) == EXIT_FAILED
    assert f"has no part {missing.name} of {stream} with its " in capsys.readouterr().err


def test_another_programs_parquet_is_an_error_of_the_report(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its name."""
    shutil.copytree(made / "data", tmp_path / "data")
    part = min((tmp_path / "data" / "trades").rglob("*.parquet"))
    pq.write_table(pa.table({"a": [1]}), part)
    assert main(["report", str(tmp_path / "data")]) == EXIT_FAILED
    assert f"{part} is no part of cowbook" in capsys.readouterr().err
