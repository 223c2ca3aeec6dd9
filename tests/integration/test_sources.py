"""Several sources of one symbol are one book: what one of them lost comes from another, and what comes twice is once."""

from __future__ import annotations

import asyncio
import gzip
import random
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
import zstandard

import cowbook
from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.config import load_config
from cowbook.errors import ConfigError
from cowbook.report.day_report import read_sources
from cowbook.simulate.capture import write_capture
from cowbook.symbol.settings import fingerprint
from support.harness import Reconstruction, Run, reconstruct
from support.joined import follow_appends, join, lossy_copies, rows_without_receipt, with_clock

_ENGINE = EngineSettings(part_events=2000, part_interval=15_000_000_000, book_levels=5, book_interval=100_000_000)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A simulated capture with receive times."""
    path = tmp_path_factory.mktemp("capture") / "capture.jsonl"
    write_capture(path, symbol="BTCUSDT", messages=600, seed=3)
    lines = path.read_bytes().splitlines()
    if not lines[0][:1].isdigit():
        lines = [b"%d %s" % (1_700_000_000_000_000_000 + number * 7_000_000, line) for number, line in enumerate(lines)]
    return lines


@pytest.fixture(scope="module")
def whole(records: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    """What the undisturbed capture gives."""
    result = reconstruct(tmp_path_factory.mktemp("whole"), {"a": _text(records)}, Run(engine=_ENGINE))
    assert result.summary.gaps == 0
    assert result.summary.synced
    assert len(result.parts) > 20
    return result


def _text(records: list[bytes]) -> bytes:
    return b"".join(record + b"\n" for record in records)


def test_copies_with_losses_give_the_undisturbed_parts(
    records: list[bytes], whole: Reconstruction, tmp_path: Path, seed: int
) -> None:
    """Three copies of which each lacks other records give the parts of the whole, byte for byte."""
    copies = lossy_copies(records, 3, random.Random(seed))
    assert all(len(copy) < len(records) for copy in copies)
    sources = {
        "a": {"a.jsonl": _text(copies[0])},
        "b": {"b.jsonl.zst": zstandard.compress(_text(copies[1]))},
        "c": {"c.jsonl.gz": gzip.compress(_text(copies[2]))},
    }
    result = join(tmp_path, sources, Run(engine=_ENGINE))
    assert result.summary.state == "done"
    assert result.parts == whole.parts


def test_clocks_of_recorders_change_no_row(records: list[bytes], whole: Reconstruction, tmp_path: Path, seed: int) -> None:
    """Receive times of other clocks, 50 ms to and fro, change nothing but the receive times."""
    rng = random.Random(seed)
    copies = lossy_copies(records, 3, rng)
    shifts = (0, 37_000_000, -3_600_000_000_000)
    sources = {
        name: {"x.jsonl": _text(with_clock(copy, shift, 50_000_000, rng))}
        for name, copy, shift in zip("abc", copies, shifts, strict=True)
    }
    result = join(tmp_path, sources, Run(engine=_ENGINE))
    expected = rows_without_receipt(whole)
    found = rows_without_receipt(result)
    for stream in ("trades", "gaps", "audits"):
        assert found.get(stream) == expected.get(stream)
    # A snapshot of the REST interface has no time but that of its receipt.
    own_time = [row for row in expected["depth"] if row["kind"] == "change"]
    assert [row for row in found["depth"] if row["kind"] == "change"] == own_time


def test_growing_files_give_the_parts_of_one_run(records: list[bytes], whole: Reconstruction, tmp_path: Path, seed: int) -> None:
    """Runs over sources that grow in between, each by as much as it likes, leave the parts of one run over all of it."""
    rng = random.Random(seed)
    copies = [_text(copy) for copy in lossy_copies(records, 3, rng)]
    run = Run(engine=_ENGINE, block_bytes=3_001, triggers=TriggerSettings(every_events=500, every=10**12, min_pause=0))
    lengths = [0, 0, 0]
    for number in range(6):
        last = number == 5
        lengths = [
            len(copy) if last else rng.randint(length, min(len(copy), length + len(copy) // 3))
            for copy, length in zip(copies, lengths, strict=True)
        ]
        sources = {name: {"x.jsonl": copy[:length]} for name, copy, length in zip("abc", copies, lengths, strict=True)}
        result = join(tmp_path, sources, run)
        assert result.summary.state == "done", result.summary.error
    assert result.parts == whole.parts


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_order_of_arrival_changes_no_byte(
    records: list[bytes], whole: Reconstruction, tmp_path: Path, seed: int, loop_factory: object
) -> None:
    """Sources that are followed, and appended to in any order and at any byte, leave the parts of the undisturbed capture."""
    rng = random.Random(seed)
    rest = dict(zip("abc", map(_text, lossy_copies(records, 3, rng)), strict=True))
    appends = []
    while any(rest.values()):
        name = rng.choice([name for name, text in rest.items() if text])
        length = rng.randint(1, 60_000)
        appends.append((name, rest[name][:length]))
        rest[name] = rest[name][length:]
    run = Run(engine=_ENGINE, triggers=TriggerSettings(every_events=700, every=10**12, min_pause=0), loop_factory=loop_factory)  # type: ignore[arg-type]
    followed = follow_appends(tmp_path, appends, run)
    assert followed.error is None
    assert followed.events > 0.8 * whole.summary.events
    assert join(tmp_path, {name: {} for name in "abc"}, run).parts == whole.parts


def test_a_silent_source_is_passed_over_and_its_late_records_are_counted(records: list[bytes], tmp_path: Path) -> None:
    """Others go on without it after source_wait; what it then brings of the time before is not applied."""
    middle = len(records) // 2
    lost = [record for record in records[10:middle] if b'"trade"' in record][:20]
    first = [record for record in records if record not in lost]
    appends = [("a", _text(first[:middle])), ("b", _text(records[:2]))]
    run = Run(engine=_ENGINE)
    stopped = follow_appends(tmp_path, appends, run, wait_seconds=0.3)
    assert stopped.error is None
    assert stopped.events > 1000
    again = follow_appends(tmp_path, [("b", _text(records[2:middle])), ("a", _text(first[middle:]))], run, wait_seconds=0.3)
    assert again.error is None
    late = {source["name"]: source["late_records"] for source in again.sources}
    assert late["a"] == 0
    assert len(lost) <= late["b"] < middle
    assert again.late_records == late["b"]
    assert again.gaps == 0
    assert any("source b was silent" in warning for warning in again.warnings)


def test_trades_in_a_file_of_their_own_are_ordered_by_receive_time(records: list[bytes], tmp_path: Path) -> None:
    """Two files, split by kind, give what the one file gave."""
    trades = [record for record in records if b'"trade"' in record]
    others = [record for record in records if b'"trade"' not in record]
    assert trades
    sources = {"book": {"x.jsonl": _text(others)}, "trades": {"x.jsonl": _text(trades)}}
    split = join(tmp_path / "split", sources, Run(engine=_ENGINE))
    by_time = sorted(records, key=lambda record: int(record.partition(b" ")[0]))
    one = reconstruct(tmp_path / "one", {"x.jsonl": _text(by_time)}, Run(engine=_ENGINE))
    assert split.parts == one.parts
    assert {source["name"]: source["duplicates"] for source in split.summary.sources} == {"book": 0, "trades": 0}


def test_a_contradiction_is_said_and_the_first_source_wins(records: list[bytes], tmp_path: Path) -> None:
    """The same ids with other prices are counted and warned of."""
    place = next(number for number, record in enumerate(records) if b'"trade"' in record)
    wrong = list(records)
    wrong[place] = records[place].replace(b'"q":"', b'"q":"1')
    sources = {"a": {"x.jsonl": _text(records)}, "b": {"x.jsonl": _text(wrong)}}
    result = join(tmp_path / "two", sources, Run(engine=_ENGINE))
    assert [source["contradictions"] for source in result.summary.sources] == [0, 1]
    assert any("source b contradicts" in warning for warning in result.summary.warnings)
    assert result.parts == reconstruct(tmp_path / "one", {"x.jsonl": _text(records)}, Run(engine=_ENGINE)).parts


@pytest.mark.parametrize("content", [b"", b"\x00\xff\n" * 200, b"root:x:0:0\n"], ids=["empty", "binary", "text"])
def test_a_source_without_a_record_is_said(records: list[bytes], whole: Reconstruction, tmp_path: Path, content: bytes) -> None:
    """The others make the book, and a note names it."""
    result = join(tmp_path, {"a": {"x": _text(records)}, "b": {"x": content}}, Run(engine=_ENGINE))
    assert [text for text in result.summary.warnings if text.startswith("source b has no record that is used")]
    assert {name: part for name, part in result.parts.items() if not name.startswith("dead_letter")}.keys() == whole.parts.keys()


def test_a_source_of_another_symbol_is_said(records: list[bytes], tmp_path: Path) -> None:
    """Its snapshots, which name nobody, may be taken for the symbol's."""
    others = [record.replace(b"BTCUSDT", b"ETHUSDT").replace(b"btcusdt", b"ethusdt") for record in records]
    result = join(tmp_path, {"a": {"x": _text(records)}, "b": {"x": _text(others)}}, Run(engine=_ENGINE))
    assert [text for text in result.summary.warnings if text.startswith("source b has depth snapshots that name no symbol")]


def test_a_hole_of_all_sources_is_one_gap(records: list[bytes], tmp_path: Path) -> None:
    """What nobody has recorded is missing, and once."""
    diffs = [number for number, record in enumerate(records) if b'"depthUpdate"' in record]
    hole = set(diffs[100:105])
    kept = [record for number, record in enumerate(records) if number not in hole]
    copies = lossy_copies(kept, 3, random.Random(1))
    result = join(
        tmp_path, {name: {"x.jsonl": _text(copy)} for name, copy in zip("abc", copies, strict=True)}, Run(engine=_ENGINE)
    )
    assert result.summary.gaps == 1


def test_replay_takes_sources_through_a_configuration(records: list[bytes], whole: Reconstruction, tmp_path: Path) -> None:
    """`cowbook.replay` of a configuration joins the sources as the daemon does, and `check` shows them."""
    copies = lossy_copies(records, 2, random.Random(3))
    for name, copy in zip("ab", copies, strict=True):
        (tmp_path / f"{name}.jsonl").write_bytes(_text(copy))
    config = tmp_path / "cowbook.toml"
    config.write_text(
        '[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\n'
        + "".join(f'[[symbol.source]]\nname = "{name}"\npaths = ["{name}.jsonl"]\n' for name in "ab")
    )
    *_, book = cowbook.replay(config, every=10**9)
    assert book.event_count == whole.summary.events
    assert book.gap_statistics()["gaps"] == 0
    assert book.synced
    loaded = load_config(config, {})
    assert [own.paths for own in loaded.symbol[0].inputs] == [("a.jsonl",), ("b.jsonl",)]
    assert fingerprint(loaded, loaded.symbol[0])["sources"] == [["a", "binance"], ["b", "binance"]]


def test_each_source_may_have_a_wrapper_of_its_own(records: list[bytes], whole: Reconstruction, tmp_path: Path) -> None:
    """A copy as it is, and one in a wrapper that only its configuration names, are one book."""
    plain, other = lossy_copies(records, 2, random.Random(4))
    wrapped = []
    for record in other:
        time, _, message = record.partition(b" ")
        wrapped.append(b'{"meta":{"received":%s},"body":{"msg":%s}}' % (time, message))
    (tmp_path / "a.jsonl").write_bytes(_text(plain))
    (tmp_path / "b.jsonl").write_bytes(_text(wrapped))
    config = tmp_path / "cowbook.toml"
    config.write_text(
        '[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\n'
        '[[symbol.source]]\nname = "a"\npaths = ["a.jsonl"]\n'
        '[[symbol.source]]\nname = "b"\npaths = ["b.jsonl"]\nenvelope = { time = "meta.received", message = "body.msg" }\n'
    )
    *_, book = cowbook.replay(config, every=10**9)
    assert book.event_count == whole.summary.events
    assert book.gap_statistics()["gaps"] == 0
    loaded = load_config(config, {})
    envelope = {"time": "meta.received", "message": "body.msg"}
    assert fingerprint(loaded, loaded.symbol[0])["sources"] == [["a", "binance"], ["b", "binance", envelope]]


def test_a_run_that_finds_nothing_new_leaves_nothing_staged(records: list[bytes], tmp_path: Path) -> None:
    """The tail behind the shorter source's end is cut and staged before it shows that it is known already."""
    run = Run(engine=replace(_ENGINE, part_events=300), block_bytes=60_001)
    sources = {"a": {"x.jsonl": _text(records[: len(records) // 3])}, "b": {"x.jsonl": _text(records)}}
    first = join(tmp_path, sources, run)
    again = join(tmp_path, sources, run)
    assert first.summary.checkpoints > 0
    assert again.summary.checkpoints == 0
    assert again.parts == first.parts
    assert [path.name for path in (tmp_path / "data" / ".staging").rglob("*.parquet")] == []


@pytest.mark.parametrize("shorter", ["a", "b"])
def test_a_run_that_finds_nothing_new_takes_no_checkpoint(records: list[bytes], tmp_path: Path, shorter: str) -> None:
    """Also where a source is one batch, so that its first position is all that a checkpoint has of it."""
    few = records[:300]
    sources = {name: {"x.jsonl": _text(few[:100] if name == shorter else few)} for name in "ab"}
    assert join(tmp_path, sources).summary.checkpoints == 1
    assert join(tmp_path, sources).summary.checkpoints == 0


def test_a_restart_counts_the_decoded_bytes_of_each_source_once(records: list[bytes], tmp_path: Path) -> None:
    """Though what waited at the checkpoint is decoded again, and the files have grown meanwhile."""
    half = {name: {"x.jsonl": _text(records[: len(records) // part])} for name, part in (("a", 3), ("b", 2))}
    join(tmp_path, half)
    all_of_it = {name: {"x.jsonl": _text(records)} for name in "ab"}
    again = join(tmp_path, all_of_it)
    assert again.summary.input_bytes == sum(len(content) for files in all_of_it.values() for content in files.values())


def test_the_report_has_the_figures_of_the_tail(records: list[bytes], tmp_path: Path) -> None:
    """What comes behind the end of the first source is in the figures of the last checkpoint, and a restart counts on rightly."""
    sources = {"a": {"x.jsonl": _text(records[: len(records) // 3])}, "b": {"x.jsonl": _text(records)}}
    first = join(tmp_path, sources, Run(engine=_ENGINE))
    assert [source["messages"] for source in first.summary.sources] == [len(records) // 3, len(records)]
    (reported,) = read_sources(tmp_path / "state").values()
    assert [source.to_json() for source in reported] == first.summary.sources
    longer = {**sources, "a": {"x.jsonl": _text(records)}}
    last = join(tmp_path, longer, Run(engine=_ENGINE))
    assert [source["messages"] for source in last.summary.sources] == [len(records), len(records)]
    (reported,) = read_sources(tmp_path / "state").values()
    assert [source.to_json() for source in reported] == last.summary.sources


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('paths = ["x"]\n[[symbol.source]]\nname = "a"\npaths = ["a"]', "paths beside [[symbol.source]]"),
        ('[[symbol.source]]\nname = "a"\npaths = ["a"]\n[[symbol.source]]\nname = "a"\npaths = ["b"]', 'two sources "a"'),
        ('[[symbol.source]]\nname = "a"\npaths = ["a"]\nformat = "kraken"', "of another venue (kraken)"),
        ('[[symbol.source]]\nname = "a"', "[[symbol.source]] #1 paths: is required"),
        ('[[symbol.source]]\nname = "a"\npaths = ["a"]\npath = "b"', "unknown key path; did you mean paths?"),
    ],
)
def test_what_is_wrong_with_sources_is_said(tmp_path: Path, text: str, problem: str) -> None:
    """Each mistake is a problem of the configuration, by name."""
    config = tmp_path / "cowbook.toml"
    config.write_text(f'[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\n{text}\n')
    with pytest.raises(ConfigError) as raised:
        load_config(config, {})
    assert problem in str(raised.value)


def test_a_halt_at_a_gap_keeps_what_stands_before_it(records: list[bytes], tmp_path: Path) -> None:
    """With on_gap = "halt" the symbol ends at a hole of all sources, what precedes it is published, and a restart halts again."""
    diffs = [number for number, record in enumerate(records) if b'"depthUpdate"' in record]
    hole = set(diffs[200:205])
    kept = [record for number, record in enumerate(records) if number not in hole]
    copies = lossy_copies(kept, 3, random.Random(1))
    sources = {name: {"x.jsonl": _text(copy)} for name, copy in zip("abc", copies, strict=True)}
    engine = replace(_ENGINE, on_gap="halt")
    alone = reconstruct(tmp_path / "alone", {"x.jsonl": _text(kept)}, Run(engine=engine))
    assert alone.summary.state == "failed"
    for _ in range(2):
        halted = join(tmp_path / "joined", sources, Run(engine=engine))
        assert halted.summary.state == "failed"
        assert "gap: update id" in str(halted.summary.error)
        assert "x.jsonl at offset" in str(halted.summary.error)
        assert halted.summary.events == alone.summary.events
        assert halted.parts == alone.parts
