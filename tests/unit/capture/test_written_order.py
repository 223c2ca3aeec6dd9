"""The order of files: what names, times of records and modification times say, and which of them is followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cowbook.capture.paths import expand_paths, natural_key
from cowbook.capture.written_order import Dated, Starts, in_written_order, note_of_order, written_order
from support.rotations import time_of


def order_of(files: dict[str, tuple[int | None, int]], patterns: dict[str, int] | None = None) -> list[str]:
    """Names in the order of reading, of files with the time of their records and of their last change."""
    dated = [
        Dated(f"/in/{name}", ((patterns or {}).get(name, 0), natural_key(name)), begins, modified)
        for name, (begins, modified) in files.items()
    ]
    return [Path(dated[index].path).name for index in written_order(dated)]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"x-10": (None, 1), "x-9": (None, 2)}, "x-9 x-10", id="names_without_times"),
        pytest.param({"x-1": (20, 1), "x-2": (10, 2)}, "x-2 x-1", id="records_overrule_names"),
        pytest.param({"x-1": (10, 9), "x-2": (20, 1)}, "x-1 x-2", id="records_overrule_modification_times"),
        pytest.param({"x-1": (10, 0), "x-2": (None, 0), "x-3": (30, 0)}, "x-1 x-2 x-3", id="a_timeless_file_stays_in_its_place"),
        pytest.param(
            {"x-2.zst": (17, 5), "x-2.zst.bak": (16, 5), "x-3": (20, 6), "x-4": (None, 1)},
            "x-2.zst.bak x-2.zst x-3 x-4",
            id="one_that_is_before_all_of_its_time_moves_alone",
        ),
        pytest.param({"x": (30, 3), "x.1": (20, 2), "x.2": (10, 1)}, "x.2 x.1 x", id="counted_downwards"),
        pytest.param({"x": (30, 3), "x.1": (10, 2), "x.2": (20, 1)}, "x.1 x.2 x", id="counted_upwards"),
        pytest.param({"x": (None, 3), "x.1": (None, 2), "x.2": (None, 1)}, "x.2 x.1 x", id="archives_go_by_modification_times"),
        pytest.param({"x": (None, 1), "x.1": (20, 9), "x.2": (10, 8)}, "x.2 x.1 x", id="a_live_file_without_records_is_last"),
        pytest.param({"x.log": (None, 3), "x.1.log": (None, 2), "x.2.log": (None, 1)}, "x.2.log x.1.log x.log", id="extension"),
        pytest.param(
            {"x.log": (None, 9), "x.1.log": (None, 8), "x.1.log.bak": (None, 5), "x.2.log.gz": (None, 5), "x.3.log": (None, 2)},
            "x.3.log x.1.log.bak x.2.log.gz x.1.log x.log",
            id="a_copied_archive_is_of_its_rotation",
        ),
        pytest.param({"x": (None, 3), "x-20250601.gz": (None, 1)}, "x-20250601.gz x", id="dates_compressed"),
        pytest.param({"x": (5, 0), "x.gz": (5, 0)}, "x x.gz", id="a_compressed_copy_is_no_archive"),
        pytest.param({"x": (5, 2), "x.1": (5, 1)}, "x.1 x", id="equal_times_of_a_rotation"),
        pytest.param({"x-1": (None, 2), "x-1.bak": (None, 1), "x-2": (None, 0)}, "x-1 x-1.bak x-2", id="a_word_makes_no_archive"),
    ],
)
def test_files_of_one_pattern(files: dict[str, tuple[int | None, int]], expected: str) -> None:
    """However they are listed."""
    assert order_of(files) == expected.split()
    assert order_of(dict(reversed(files.items()))) == expected.split()


def test_the_order_of_the_list_holds_between_its_patterns() -> None:
    """Whatever the records say."""
    assert order_of({"a": (30, 0), "b": (10, 0)}, {"a": 0, "b": 1}) == ["a", "b"]


def test_a_note_says_what_is_followed_where_names_say_something_else() -> None:
    """It names the first files, and whether records or modification times were followed."""
    files = [Dated(f"/in/{name}", (0, natural_key(name)), begins, 0) for name, begins in (("x-2", 1), ("x-1", 2))]
    text = note_of_order(files)
    assert text == "/in: files are read in the order of their first records, not of their names: x-2, x-1"
    assert note_of_order(files[::-1]) is None
    many = [Dated(f"/in/x-{number}", (0, natural_key(f"x-{number}")), None, 0) for number in range(9, 0, -1)]
    assert (note_of_order(many) or "").endswith(
        "in the order of their last changes, not of their names: x-9, x-8, x-7, x-6 and 5 more"
    )


def line(number: int) -> bytes:
    """A line with a time."""
    return b"%d,line %d\n" % (1_750_000_000_000_000_000 + number, number)


def test_files_that_do_not_grow_are_put_in_order(tmp_path: Path) -> None:
    """The whole way: heads are read, what has none is left in its place, and a note says what was done."""
    for name, content in {"x": line(3), "x.1": line(2), "x.2": b"a long first record" * 1000 + b"\n" + line(1), "y": b""}.items():
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (0, 0))
    found = in_written_order(expand_paths(["x*", "y"], tmp_path), time_of)
    assert [path.name for path in found.paths] == ["x.2", "x.1", "x", "y"]
    assert found.patterns == (0, 0, 0, 1)
    assert len(found.warnings) == 1


def test_the_start_of_a_file_is_what_is_there(tmp_path: Path) -> None:
    """Missing, damaged, unfinished: what cannot be read is left out. Without a function there is no time."""
    path = tmp_path / "x"
    starts = Starts(time_of, growing=True)
    assert starts.of(path).head == b""
    path.write_bytes(line(7)[:-1])
    assert starts.of(path).begins_ns is None
    path.write_bytes(line(7))
    assert starts.of(path).begins_ns == 1_750_000_000_000_000_007
    assert Starts(None, growing=True).of(path).begins_ns is None
    path.write_bytes(b"\x1f\x8bnonsense")
    assert starts.of(path).begins_ns is None
