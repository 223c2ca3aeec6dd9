"""Paths and globs: which files, in which order, each once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cowbook.capture.paths import directories_of, expand_paths, list_files
from cowbook.errors import InputError


@pytest.mark.parametrize("link", ["symbolic", "hard", "folder"])
def test_a_file_named_twice_is_read_once(tmp_path: Path, link: str) -> None:
    """It is read once, at its first place, and a warning names both."""
    folder = tmp_path / "folder"
    folder.mkdir()
    first, second = folder / "a", folder / "b"
    first.write_bytes(b"")
    if link == "symbolic":
        second.symlink_to(first)
    elif link == "hard":
        os.link(first, second)
    else:
        (tmp_path / "other").symlink_to(folder)
        second = tmp_path / "other" / "a"
    expanded = expand_paths([str(second), str(first)], Path("/"))
    assert expanded.paths == ((second if link == "hard" else first),)
    assert len(expanded.warnings) == 1
    assert str(first) in expanded.warnings[0]
    assert str(second) in expanded.warnings[0]


def test_relative_paths_are_relative_to_the_base(tmp_path: Path) -> None:
    """Relative paths and globs are relative to the base; `~` is a name like others."""
    base, other = tmp_path / "base", tmp_path / "other"
    for folder in (base / "~", other):
        folder.mkdir(parents=True)
        (folder / "a.jsonl").write_bytes(b"")
    patterns = ["~/a.jsonl", "../other/*.jsonl", f"{base}/*/a.jsonl"]
    expanded = expand_paths(patterns, base)
    assert expanded.paths == (base / "~" / "a.jsonl", other / "a.jsonl")
    assert len(expanded.warnings) == 1


def test_folders_of_a_recursive_glob_sort_naturally(tmp_path: Path) -> None:
    """Folders sort with the numbers in their names as numbers too."""
    for name in ("day10/x", "day9/x", "day9/deep/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    paths = expand_paths(["**/x"], tmp_path).paths
    assert [str(path.relative_to(tmp_path)) for path in paths] == ["day9/deep/x", "day9/x", "day10/x"]


def test_a_glob_that_matches_only_directories_is_an_error(tmp_path: Path) -> None:
    """The error says that something matches, and what."""
    (tmp_path / "day1").mkdir()
    with pytest.raises(InputError, match="day\\*: only directories match"):
        expand_paths(["day*"], tmp_path)


@pytest.mark.parametrize("pattern", ["missing", "missing*", "folder", "pipe", "broken", "brok*", "loop"])
def test_errors_name_the_path(tmp_path: Path, pattern: str) -> None:
    """Missing files, globs without matches, folders, pipes and links to nowhere."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "good").write_bytes(b"")
    with pytest.raises(InputError) as raised:
        expand_paths(["good", pattern], tmp_path)
    assert str(tmp_path / pattern.replace("brok*", "broken")) in str(raised.value)


def test_what_a_link_leads_to_is_watched_before_it_is_there(tmp_path: Path) -> None:
    """A link to nowhere is missing input, and the directory in which its file will appear is watched."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "file")
    (tmp_path / "far").symlink_to(tmp_path / "elsewhere" / "folder" / "file")
    listing = list_files(["link", "far"], tmp_path)
    assert not listing.entries
    watched = directories_of(["link", "far"], tmp_path, listing)
    assert watched[str(tmp_path / "elsewhere")] == {"file", "folder"}


@pytest.mark.parametrize("pattern", ["captures/a.jsonl", "captures/*.jsonl"])
def test_a_path_from_where_somebody_is_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """It is relative to the configuration, which lies elsewhere: the error says so, and what to write."""
    (tmp_path / "captures").mkdir()
    (tmp_path / "captures" / "a.jsonl").write_bytes(b"")
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"relative paths begin at .*/etc, .* or write /") as raised:
        expand_paths([pattern], tmp_path / "etc")
    assert str(raised.value).endswith(f"or write {tmp_path / pattern}")
    assert expand_paths([str(tmp_path / pattern)], tmp_path / "etc").paths == (tmp_path / "captures" / "a.jsonl",)
    with pytest.raises(InputError, match="or provide the file"):
        expand_paths(["nowhere.jsonl"], tmp_path / "etc")
