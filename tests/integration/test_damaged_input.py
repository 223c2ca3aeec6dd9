"""A damaged compressed file costs what is lost and nothing else: the rows are the oracle's, and a restart changes none."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.cli.main import main
from cowbook.simulate.capture import write_capture
from support.crash_states import comparable
from support.harness import Reconstruction, Run, reconstruct
from support.members import decode_member, zstd_frame
from support.oracle import OracleHalt, OracleSettings
from support.oracle import run as run_oracle
from support.packets import SWITCHED, Connection, frame, pcap, upgrade

Files = dict[str, bytes]
Pieces = list[tuple[str, bytes | Sequence[bytes]]]
_NS = 1_700_000_000_000_000_000
STREAMS = ("depth", "trades", "bbo", "book", "gaps", "drift", "audits", "dead_letter")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Records of a capture, with snapshots all over it."""
    path = tmp_path_factory.mktemp("capture") / "a"
    write_capture(path, symbol="BTCUSDT", messages=120, seed=3)
    return path.read_bytes().splitlines(keepends=True)


def compress(content: bytes, kind: str) -> bytes:
    """One member, in flushed pieces, as a recorder writes it."""
    if kind == "zstd":
        return zstd_frame(content)
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
    pieces = [compressor.compress(line) + compressor.flush(zlib.Z_SYNC_FLUSH) for line in content.splitlines(keepends=True)]
    return b"".join(pieces) + compressor.flush()


def expect(pieces: Pieces) -> dict[str, list[dict[str, object]]]:
    """The oracle's rows."""
    return run_oracle(pieces, OracleSettings(name="BTCUSDT", part_events=500)).rows


def check(result: Reconstruction, pieces: Pieces) -> None:
    """All streams have the oracle's rows."""
    expected = expect(pieces)
    for stream in STREAMS:
        found = result.rows(stream)
        if stream == "dead_letter":
            found = [row | {"file": Path(str(row["file"])).name} for row in found]
        wanted = [{name: row.get(name) for name in found[0]} for row in expected[stream]] if found else expected[stream]
        assert found == wanted, stream


def run_of(**settings: object) -> Run:
    """Small cuts."""
    return Run(engine=EngineSettings(part_events=500), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("attempts", [9, pytest.param(36, marks=[pytest.mark.slow, pytest.mark.whole])])
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_damage_anywhere_gives_the_rows_of_what_is_left(lines: list[bytes], tmp_path: Path, kind: str, attempts: int) -> None:
    """A byte, a cut, or an overwritten stretch in one of three members, and a whole file behind them."""
    rng = random.Random(kind)
    third = len(lines) // 4
    contents = [b"".join(lines[place * third : (place + 1) * third]) for place in range(4)]
    members = [compress(content, kind) for content in contents]
    for attempt in range(attempts):
        number = rng.randrange(3)
        member = members[number]
        place = rng.randrange(4 if number == 0 else 0, len(member))
        damaged = (
            member[:place] + bytes((member[place] ^ rng.choice((1, 0x55, 0x80)),)) + member[place + 1 :],
            member[:place],
            member[:place] + rng.randbytes(min(60, len(member) - place)) + member[place + 60 :],
        )[attempt % 3]
        decoded, is_sound = decode_member(damaged, kind)
        pieces = [b"".join([*contents[:number], decoded])]
        if is_sound:
            pieces[0] += b"".join(contents[number + 1 : 3])
        else:
            pieces.append(b"".join(contents[number + 1 : 3]))
        files = {"1": b"".join([*members[:number], damaged, *members[number + 1 : 3]]), "2": members[3]}
        result = reconstruct(tmp_path / str(attempt), files, run_of(block_bytes=rng.choice((512, 1 << 20))))
        assert result.summary.state == "done"
        check(result, [("1", pieces if len(pieces) > 1 else pieces[0]), ("2", contents[3])])


def test_restarts_anywhere_in_damaged_files_change_no_byte(lines: list[bytes], tmp_path: Path) -> None:
    """Every kind of damage in four files, read with a checkpoint after each few events, as far as a halt, again and again."""
    quarter = len(lines) // 4
    contents = [b"".join(lines[place * quarter : (place + 1) * quarter]) for place in range(4)]
    first, second, third, fourth = (compress(content, "gzip") for content in contents)
    files = {
        "1.gz": first[: len(first) // 2] + second,
        "2.gz": bytes(100) + first[100:] + third + b"garbage",
        "3.gz": third[:-40],
        "4.gz": fourth + fourth[len(fourth) // 3 :],
    }
    whole = reconstruct(tmp_path / "whole", files, run_of())
    assert whole.summary.dead_letters["damaged"] == 5
    assert whole.summary.gaps >= 4
    halting = None
    for attempt in range(12):
        limited = {name: content for number, (name, content) in enumerate(files.items()) if number <= attempt // 3}
        halting = reconstruct(
            tmp_path / "halting",
            limited if attempt < 11 else files,
            run_of(block_bytes=300 + 97 * attempt, triggers=TriggerSettings(50, 1 << 60, 0)),
            paths=list(limited if attempt < 11 else files),
        )
        assert halting.summary.state == "done", halting.summary.error
    assert halting is not None
    assert comparable(halting) == comparable(whole)


def test_a_member_that_is_appended_to_an_unfinished_file_between_two_runs_is_read(lines: list[bytes], tmp_path: Path) -> None:
    """The end of the first run is provisional: the second gives what one run over the whole gives."""
    half = len(lines) // 2
    first, second = (compress(b"".join(part), "gzip") for part in (lines[:half], lines[half:]))
    for cut, name in ((len(first) // 2, "cut"), (len(first) - 4, "trailer")):
        whole = reconstruct(tmp_path / name / "whole", {"a": first[:cut] + second}, run_of())
        before = reconstruct(tmp_path / name / "twice", {"a": first[:cut]}, run_of())
        assert before.summary.dead_letters["damaged"] == 1
        after = reconstruct(tmp_path / name / "twice", {"a": first[:cut] + second}, run_of())
        assert after.summary.state == "done", after.summary.error
        assert comparable(after) == comparable(whole)


def test_an_unfinished_member_that_is_finished_between_two_runs_leaves_no_trace(lines: list[bytes], tmp_path: Path) -> None:
    """A recorder's file that is read while it is written, day by day."""
    content = compress(b"".join(lines), "gzip")
    whole = reconstruct(tmp_path / "whole", {"a": content}, run_of())
    for share in (0.3, 0.6, 1.0):
        result = reconstruct(tmp_path / "daily", {"a": content[: int(share * len(content))]}, run_of())
        assert result.summary.dead_letters["damaged"] == int(share < 1)
    assert comparable(result) == comparable(whole)


@pytest.mark.parametrize("settings", [{"on_damage": "halt"}, {"on_gap": "halt"}], ids=["on_damage", "on_gap"])
def test_a_halt_keeps_what_precedes_the_damage_and_names_the_remedy(
    lines: list[bytes], tmp_path: Path, settings: dict[str, str]
) -> None:
    """A sound copy in its place lets the symbol go on, and so does the other setting."""
    content = b"".join(lines)
    sound, damaged = gzip.compress(content), gzip.compress(content)[:-30]
    engine = EngineSettings(part_events=500, on_gap=settings.get("on_gap", "continue"))
    halting = Run(engine=engine, on_damage=settings.get("on_damage", "skip"))
    result = reconstruct(tmp_path / "a", {"a": damaged}, halting)
    assert result.summary.state == "failed"
    assert result.summary.error is not None
    assert f"{tmp_path / 'a' / 'input' / 'a'} is damaged at decoded offset" in result.summary.error
    assert "put a sound copy in its place and restart" in result.summary.error
    assert "on_damage" in result.summary.error
    assert result.summary.dead_letters["damaged"] == 0
    assert len(result.rows("depth")) > 0
    mended = reconstruct(tmp_path / "a", {"a": sound}, halting)
    assert mended.summary.state == "done", mended.summary.error
    assert mended.parts == reconstruct(tmp_path / "whole", {"a": sound}, run_of()).parts


def test_the_oracle_halts_at_no_damage_but_at_gaps(lines: list[bytes]) -> None:
    """It is told of damage, so `on_gap` stops it only where ids are missing."""
    content = b"".join(lines[:40]), b"".join(lines[60:])
    with pytest.raises(OracleHalt):
        run_oracle([("a", content)], OracleSettings(name="BTCUSDT", on_gap="halt"))


def test_a_broken_parquet_file_is_passed_over_for_the_next(tmp_path: Path) -> None:
    """Its footer is missing, or one of its row groups is: dead letter, gap, and the next file."""
    rows = {
        "exchange": ["x"] * 50,
        "symbol": ["BTCUSDT"] * 50,
        "timestamp": [1_600_000_000_000_000 + number for number in range(50)],
        "local_timestamp": [1_600_000_000_000_000 + number for number in range(50)],
        "id": [str(number) for number in range(50)],
        "side": ["buy"] * 50,
        "price": [1.5] * 50,
        "amount": [2.0] * 50,
    }
    path = tmp_path / "sound"
    pq.write_table(pa.table(rows), path)
    sound = path.read_bytes()
    for number, broken in enumerate((sound[:-20], b"PAR1", sound[:4] + bytes(100) + sound[104:])):
        result = reconstruct(tmp_path / str(number), {"1": broken, "2": sound}, Run(format="tardis"))
        assert result.summary.state == "done", result.summary.error
        assert result.summary.dead_letters["damaged"] == 1
        assert len(result.rows("trades")) == 50
    alone = reconstruct(tmp_path / "alone", {"1": sound[:-20]}, Run(format="tardis"))
    assert alone.summary.state == "failed"
    assert "not a whole Parquet file" in str(alone.summary.error)


def test_damaged_tables_lose_the_unfinished_message_and_no_more(tmp_path: Path) -> None:
    """A row that may lack its end is none: `0.5` may have been `0.55`."""
    header = b"exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
    rows = [
        b"x,BTCUSDT,%d,%d,%d,buy,100.25,0.5%d\n" % (1_600_000_000_000_000 + n, 1_600_000_000_000_000 + n, n, n) for n in range(60)
    ]
    first, second = compress(header + b"".join(rows[:30]), "gzip"), compress(b"".join(rows[30:]), "gzip")
    for cut in range(len(first) // 2, len(first) // 2 + 60):
        content, _ = decode_member(first[:cut], "gzip")
        result = reconstruct(tmp_path / str(cut), {"1": first[:cut] + second}, Run(format="tardis"))
        *whole, rest = content.split(b"\n")
        assert len(result.rows("trades")) == len(whole) - 1 + 30
        (letter,) = result.rows("dead_letter")
        assert (letter["reason"], letter["content"], letter["length"]) == ("damaged", rest, len(rest))
        assert letter["offset"] == len(content) - len(rest)


def test_check_and_run_take_a_damaged_file_that_has_records(lines: list[bytes], tmp_path: Path) -> None:
    """Damage is no reason to refuse what can be read."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"".join(lines))[:-30])
    config = tmp_path / "c.toml"
    config.write_text(
        '[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["a.gz"]\n[service]\noutput_dir = "o"\nstate_dir = "s"\n'
    )
    assert main(["check", str(config)]) == 0
    assert main(["run", str(config), "--once", "--json"]) == 0


def test_behind_damage_in_packets_the_book_goes_on(tmp_path: Path) -> None:
    """The place is a dead letter and a gap; messages that were in it are missing by their ids, and none else."""
    connection = Connection()
    connection.open(_NS)
    connection.send(_NS, upgrade(), from_server=False)
    connection.send(_NS, SWITCHED, from_server=True)
    for number in range(1, 200):
        bids = [[f"{100 + number % 7}.0", str(number)]]
        record = {"e": "depthUpdate", "E": _NS // 10**6 + number, "s": "BTCUSDT", "U": number, "u": number, "b": bids, "a": []}
        connection.send(_NS + number * 10**6, frame(json.dumps(record).encode()), from_server=True)
        connection.acknowledge(_NS + number * 10**6)
    content = pcap(connection.segments)
    middle = len(content) // 2
    result = reconstruct(tmp_path, {"a": content[:middle] + b"\xff" * 900 + content[middle + 900 :]})
    letters, gaps = result.rows("dead_letter"), result.rows("gaps")
    ids = [row["update_id"] for row in result.rows("depth")]
    assert [row["reason"] for row in letters] == ["damaged"]
    assert [gap["missing"] for gap in gaps] == [None, 199 - len(ids)]
    assert (ids[0], ids[-1], ids == sorted(set(ids))) == (1, 199, True)
    assert 190 < len(ids) < 199
