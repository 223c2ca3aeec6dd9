"""`cowbook plot`: three kinds of files, and what it says where it cannot draw."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from cowbook.cli.main import EXIT_FAILED, main
from support.small_output import make_lines, make_output


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An output directory."""
    return str(make_output(tmp_path_factory.mktemp("plot"), make_lines()).output_dir)


def plot(data: str, file: Path) -> int:
    """Run the command."""
    return main(["plot", data, "--symbol", "BTCUSDT", "--from", "2024-08-09T00:00:00.2Z", str(file)])


def test_a_picture_is_of_the_kind_that_its_name_says(data: str, tmp_path: Path) -> None:
    """PNG, SVG, and a page."""
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    for name, begin in (("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.html", b"<!doctype html>")):
        assert plot(data, tmp_path / name) == 0
        assert (tmp_path / name).read_bytes().startswith(begin)
    svg = (tmp_path / "a.SVG").read_text()
    for text in ("gap (1)", "not synced", "unknown", "best ask", "event time, UTC"):
        assert text in svg


def test_the_page_needs_nothing_else(data: str, tmp_path: Path) -> None:
    """No script, no address that is loaded; the gap's time stands in it as text."""
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    assert plot(data, tmp_path / "a.html") == 0
    page = (tmp_path / "a.html").read_text()
    assert "2024-08-09T00:00:01.600Z</td><td>1</td>" in page
    assert "<script" not in page
    loaded = re.findall(r"""(?:\bsrc|href)\s*=\s*["']?([^"'\s>]+)|url\(([^)]+)\)|@import""", page)
    assert loaded
    assert all(("".join(address)).strip("\"'").startswith(("#", "data:")) for address in loaded)


def test_two_pictures_of_the_same_output_are_the_same(data: str, tmp_path: Path) -> None:
    """Byte for byte: they can be compared and kept under version control."""
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    assert plot(data, tmp_path / "a.svg") == plot(data, tmp_path / "b.svg") == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_without_matplotlib_it_says_what_to_install(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And writes nothing."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert plot(data, tmp_path / "a.png") == EXIT_FAILED
    assert "pip install 'cowbook[plot]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    assert plot(data, tmp_path / "a.pdf") == EXIT_FAILED
    assert ".png, .svg or .html" in capsys.readouterr().err
