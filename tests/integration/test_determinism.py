"""Output is a function of the input alone: block sizes, loops, compression and the cutting into files do not show in it."""

from __future__ import annotations

import asyncio
import gzip
import random
from pathlib import Path

import pytest
import uvloop
import zstandard

from cowbook.book.order_book_engine import EngineSettings
from cowbook.simulate.capture import write_capture
from support.harness import Reconstruction, Run, reconstruct

BAD_LINES = [
    b"nonsense",
    b"\xff\xfe",
    b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":"1"}',
    b"",
    b" ",
    b"[]",
    b"x" * 3000,
]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A simulated capture with gaps, and bad lines strewn in; its last line has no newline."""
    path = tmp_path_factory.mktemp("capture") / "capture.jsonl"
    write_capture(path, symbol="BTCUSDT", messages=400, seed=3, gaps=3)
    lines = path.read_bytes().splitlines()
    rng = random.Random(4)
    for number, bad in enumerate(BAD_LINES * 3):
        lines.insert(rng.randrange(len(lines)), bad + (b"\r" if number % 2 else b""))
    return b"\n".join(lines)


def settings(**changes: object) -> Run:
    """Small parts, so that there are many cuts, and a small limit for lines."""
    engine = EngineSettings(part_events=1000, part_interval=15_000_000_000, book_levels=5, book_interval=100_000_000)
    return Run(engine=engine, max_line_bytes=200_000, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reference(capture: bytes, tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    """The capture as one plain file."""
    result = reconstruct(tmp_path_factory.mktemp("reference"), {"a.jsonl": capture}, settings())
    assert result.summary.state == "done"
    assert result.summary.gaps == 3
    assert sum(result.summary.dead_letters.values()) == 15
    streams = {name.split("/")[0] for name in result.parts}
    assert streams >= {"depth", "trades", "bbo", "book", "gaps", "dead_letter"}
    assert len(result.parts) > 50
    return result


def without_places(result: Reconstruction) -> dict[str, object]:
    """Parts by content, but dead letters by their rows without file and offset."""
    contents: dict[str, object] = {name: part for name, part in result.parts.items() if "dead_letter" not in name}
    places = ("file", "offset")
    letters = [{key: value for key, value in row.items() if key not in places} for row in result.rows("dead_letter")]
    return contents | {"dead_letter": letters}


@pytest.mark.parametrize("block_bytes", [257, 4_096, 65_537, 1 << 22])
def test_block_sizes_change_no_byte(capture: bytes, reference: Reconstruction, tmp_path: Path, block_bytes: int) -> None:
    """The size of blocks changes no byte."""
    result = reconstruct(tmp_path, {"a.jsonl": capture}, settings(block_bytes=block_bytes))
    assert without_places(result) == without_places(reference)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_event_loops_change_no_byte(capture: bytes, reference: Reconstruction, tmp_path: Path, loop_factory: object) -> None:
    """The kind of event loop changes no byte."""
    result = reconstruct(tmp_path, {"a.jsonl": capture}, settings(loop_factory=loop_factory))
    assert without_places(result) == without_places(reference)


def test_compression_changes_no_byte(capture: bytes, reference: Reconstruction, tmp_path: Path) -> None:
    """Compression changes no byte, also with several members or frames and a misleading file name."""
    half = len(capture) // 2
    compressed = {
        "gz": gzip.compress(capture[:half]) + gzip.compress(capture[half:]),
        "zst": zstandard.compress(capture[:half]) + zstandard.compress(capture[half:]),
        "misnamed.zst": gzip.compress(capture),
    }
    for name, content in compressed.items():
        result = reconstruct(tmp_path / name, {name: content}, settings(block_bytes=10_000))
        assert without_places(result) == without_places(reference)


def test_the_cutting_into_files_changes_no_byte(capture: bytes, reference: Reconstruction, tmp_path: Path, seed: int) -> None:
    """Cutting the capture into files at any lines changes no byte, compressed or not, also with an empty file between."""
    lines = capture.splitlines(keepends=True)
    rng = random.Random(seed)
    for attempt in range(5):
        cuts = sorted(rng.sample(range(1, len(lines)), 3))
        pieces = [b"".join(lines[a:b]) for a, b in zip([0, *cuts], [*cuts, len(lines)], strict=True)]
        files = {"1": pieces[0], "2.gz": gzip.compress(pieces[1]), "3": b"", "4": pieces[2], "5": pieces[3]}
        result = reconstruct(tmp_path / str(attempt), files, settings(block_bytes=rng.choice([997, 1 << 20])))
        assert without_places(result) == without_places(reference)


def test_dead_letters_name_their_bytes(capture: bytes, reference: Reconstruction) -> None:
    """File, offset and length of a dead letter lead to exactly the record that was rejected."""
    rows = reference.rows("dead_letter")
    assert len(rows) == 15
    for row in rows:
        record = capture[row["offset"] : row["offset"] + row["length"]]
        assert record.startswith(row["content"])
        assert len(row["content"]) == min(row["length"], 4096)
        assert row["file"].endswith("a.jsonl")
        assert record.removesuffix(b"\r") in BAD_LINES
