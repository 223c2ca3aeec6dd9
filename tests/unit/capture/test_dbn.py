"""Databento's DBN becomes a line for each trade and each picture of the book, with the symbols of its own mapping."""

from __future__ import annotations

import datetime as dt
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cowbook.capture.compression import open_decoded
from support.dbn import LAST, NUMBER, START, UNDEFINED, Interval, Mapping, databento_dbn, make, metadata, pairs_of, record

BAD_TIME = 8
PAIRS = pairs_of({4_500_250_000_000: 12}, {}, 1)


def read(path: Path, content: bytes, piece_bytes: int = 1 << 16) -> tuple[list[bytes], str | None]:
    """All lines, and what is wrong at the end."""
    path.write_bytes(content)
    with open_decoded(path) as file:
        found = b""
        while piece := file.read(piece_bytes):
            found += piece
        return found.splitlines(), file.damage


def values(lines: list[bytes]) -> list[dict[str, Any]]:
    """The objects in lines."""
    return [json.loads(line[line.index(b"{") :]) for line in lines]


@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "zstd"])
@pytest.mark.parametrize("schema", ["mbp-1", "mbp-10", "trades"])
def test_each_picture_and_each_trade_is_a_line(tmp_path: Path, schema: str, is_compressed: bool) -> None:
    """As many as a count of its own has, with their prices to the last digit."""
    made = make(schema, 1, 400)
    lines, damage = read(tmp_path / "a", zstandard.compress(made.content) if is_compressed else made.content)
    assert damage is None
    told = [
        (line, each)
        for line, each in zip(lines, values(lines), strict=True)
        if each != {"rtype": 10 if schema == "mbp-10" else 1}
    ]
    own = [each for _, each in told if each["symbol"] == "ESZ3"]
    assert {each["symbol"] for _, each in told} == {"ESZ3", "NQZ3"}
    assert all(line.startswith(b"%d {" % (each["ts_event"] + 700)) for line, each in told)

    def fixed(text: str) -> int:
        whole, _, fraction = text.partition(".")
        return int(whole) * 10**9 + int(fraction.ljust(9, "0"))

    pictures = [each for each in own if each["schema"] == schema and schema != "trades"]
    found = [
        (each["ts_event"], *([(fixed(price), size) for price, size in each[side]] for side in ("bids", "asks")))
        for each in pictures
    ]
    assert found == made.pictures
    trades = [each for each in own if each["schema"] == "trades"]
    sides = {"A": "sell", "B": "buy"}
    assert [(each["ts_event"], fixed(each["price"]), each["size"], sides[each["side"]]) for each in trades] == made.trades


def test_pieces_do_not_matter(tmp_path: Path) -> None:
    """Records of other kinds and lengths stand between them."""
    made = make("mbp-1", 2, 60)
    own = databento_dbn
    message = bytes(own.SystemMsg(START, "hello"))
    content = metadata(None) + message + made.content[len(metadata("mbp-1")) :] + message
    whole, damage = read(tmp_path / "a", content)
    assert (damage, whole[0], whole[-1]) == (None, b'{"rtype":23}', b'{"rtype":23}')
    for count in (1, 7, 333):
        assert read(tmp_path / "a", content, count) == (whole, None)


def test_without_the_library_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    content = make("mbp-1", 1, 3).content
    monkeypatch.setitem(sys.modules, "databento_dbn", None)
    lines, damage = read(tmp_path / "a", content)
    assert lines == []
    assert damage is not None
    assert "is Databento's DBN" in damage
    assert "pip install 'cowbook[databento]'" in damage


@pytest.mark.parametrize("schema", ["mbo", "ohlcv-1s", "definition"])
def test_other_schemas_are_refused_by_name(tmp_path: Path, schema: str) -> None:
    """With what to ask for instead."""
    _, damage = read(tmp_path / "a", metadata(schema))
    assert damage is not None
    assert f"of the schema {schema}, which is not read: ask Databento for mbp-10" in damage


def test_single_orders_among_other_records_are_refused(tmp_path: Path) -> None:
    """A live recording says no schema."""
    own = databento_dbn
    order = own.MBOMsg(1, NUMBER, START, 7, 4_500 * 10**9, 1, own.Action.ADD, own.Side.BID, START)
    picture = record("mbp-1", START, "A", "B", 4_500 * 10**9, 1, LAST, PAIRS)
    lines, damage = read(tmp_path / "a", metadata(None) + picture + bytes(order) + picture)
    assert len(lines) == 1
    assert damage is not None
    assert "schema mbo, which is not read" in damage


def test_a_trade_shows_the_book_behind_it_but_not_in_tbbo(tmp_path: Path) -> None:
    """There it shows the book in front of the trade, and none of what was between."""
    trade = record("mbp-1", START, "T", "A", 4_500 * 10**9, 3, LAST, PAIRS)
    assert [each["schema"] for each in values(read(tmp_path / "a", metadata("mbp-1") + trade)[0])] == ["trades", "mbp-1"]
    assert [each["schema"] for each in values(read(tmp_path / "a", metadata("tbbo") + trade)[0])] == ["trades"]


def test_undefined_prices_and_times_are_left_out(tmp_path: Path) -> None:
    """So is a receive time that is said to be bad."""
    nothing = 2**64 - 1
    empty = [databento_dbn.BidAskPair(UNDEFINED, UNDEFINED, 0, 0, 0, 0)]
    content = metadata("mbp-1") + b"".join(
        (
            record("mbp-1", START, "R", "N", UNDEFINED, 0, LAST, empty, ts_event=nothing),
            record("mbp-1", START, "A", "B", 0, 0, LAST | BAD_TIME, PAIRS),
            record("mbp-1", START, "A", "B", 0, 0, LAST, PAIRS, ts_recv=nothing),
        )
    )
    lines, _ = read(tmp_path / "a", content)
    picture = b'{"schema":"mbp-1","symbol":"ESZ3","publisher":1,"flags":%d,"ts_event":%d,"bids":[["4500.25",12]],"asks":[]}'
    assert lines == [
        b'%d {"schema":"mbp-1","symbol":"ESZ3","publisher":1,"flags":128,"bids":[],"asks":[]}' % (START + 700),
        picture % (136, START),
        picture % (128, START),
    ]


@pytest.mark.parametrize(
    ("price", "text"), [(-37_630_000_000, "-37.63"), (1, "0.000000001"), (-1, "-0.000000001"), (0, "0"), (10**10, "10")]
)
def test_prices_are_exact(tmp_path: Path, price: int, text: str) -> None:
    """Nine decimals, and a sign."""
    lines, _ = read(tmp_path / "a", metadata("trades") + record("trades", START, "T", "A", price, 3, 0, []))
    assert values(lines)[0]["price"] == text


def test_a_symbol_is_that_of_the_day(tmp_path: Path) -> None:
    """A contract that rolls; a number without a mapping is its own name."""
    days = [dt.date(2023, 11, day) for day in (14, 15, 16)]
    rolls = Mapping("ES.c.0", [Interval(days[0], days[1], "17"), Interval(days[1], days[2], "18")])
    day = 86_400 * 10**9
    times = [(START, 17), (START + day, 17), (START, 18), (START + day, 18), (START + 2 * day, 18), (START - day, 17)]
    content = metadata("mbp-1", (rolls,)) + b"".join(
        record("mbp-1", time, "A", "B", 1, 1, LAST, PAIRS, instrument_id=number) for time, number in times
    )
    names = [each["symbol"] for each in values(read(tmp_path / "a", content)[0])]
    assert names == ["ES.c.0", "17", "18", "ES.c.0", "18", "17"]


def test_instruments_asked_for_by_number_have_their_symbols(tmp_path: Path) -> None:
    """The mapping goes the other way."""
    own = databento_dbn
    mapping = Mapping("17", [Interval(dt.date(2023, 11, 1), dt.date(2023, 12, 1), "ESZ3")])
    head = metadata("mbp-1", (mapping,), stype_in=own.SType.INSTRUMENT_ID, stype_out=own.SType.RAW_SYMBOL)
    lines, _ = read(tmp_path / "a", head + record("mbp-1", START, "A", "B", 1, 1, LAST, PAIRS))
    assert values(lines)[0]["symbol"] == "ESZ3"


def test_a_live_recording_maps_as_it_goes(tmp_path: Path) -> None:
    """By the instrument's own symbol: of several that were asked for by one name, only that tells them apart."""
    own = databento_dbn
    kinds = own.SType.PARENT, own.SType.RAW_SYMBOL
    mapped = own.SymbolMappingMsg(1, NUMBER, START, kinds[0], "ES.FUT", kinds[1], "ÉSZ3", START, START + 1)
    picture = record("mbp-1", START, "A", "B", 1, 1, LAST, PAIRS)
    lines, damage = read(tmp_path / "a", metadata(None, ()) + picture + bytes(mapped) + picture)
    assert damage is None
    assert [each.get("symbol") for each in values(lines)] == ["17", None, "ÉSZ3"]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_all_versions_are_read(tmp_path: Path, version: int) -> None:
    """They differ in front of the records."""
    content = metadata("mbp-1", version=version) + record("mbp-1", START, "A", "B", 1, 1, LAST, PAIRS)
    assert content[3] == version
    lines, damage = read(tmp_path / "a", content)
    assert (damage, values(lines)[0]["symbol"]) == (None, "ESZ3")


def test_records_may_have_the_time_at_which_they_were_sent(tmp_path: Path) -> None:
    """It stands behind the rest of a record."""
    sent = record("mbp-1", START, "A", "B", 1, 1, LAST, PAIRS, ts_out=START + 900)
    lines, damage = read(tmp_path / "a", metadata("mbp-1", ts_out=True) + sent * 3)
    assert (len(sent), damage, len(lines)) == (88, None, 3)


def test_a_cut_is_damage_at_the_end(tmp_path: Path) -> None:
    """What stands in front of it is read."""
    made = make("mbp-10", 3, 20)
    whole, _ = read(tmp_path / "a", made.content)
    head = len(metadata("mbp-10"))
    for cut in (5, 40, head - 1, head + 9, head + 368 * 5 + 100, len(made.content) - 1):
        lines, damage = read(tmp_path / "a", made.content[:cut])
        assert whole[: len(lines)] == lines
        assert damage is not None
        assert "is DBN that ends" in damage
        assert cut < head + 368 or lines


def _read_around_damage(path: Path, content: bytes) -> tuple[list[bytes], list[int], str | None]:
    """All lines, the numbers of those in front of which a place is damaged, and what is wrong at the end."""
    path.write_bytes(content)
    with open_decoded(path) as file:
        found, places = b"", []
        while piece := file.read(1 << 16):
            found += piece
            if file.damage is not None:
                places.append(found.count(b"\n") - found.count(b"\n\n") - 1 + found.startswith(b"\n"))
        return [line for line in found.splitlines() if line], places, file.damage


@pytest.mark.parametrize("byte", [0, 15, 19, 255])
def test_behind_a_damaged_header_the_next_record_follows(tmp_path: Path, byte: int) -> None:
    """A length that no record of its kind has is damage, and costs one record."""
    pictures = [record("mbp-1", START + number, "A", "B", 1, 1, LAST, PAIRS) for number in range(50)]
    whole, _ = read(tmp_path / "a", metadata("mbp-1") + b"".join(pictures))
    broken = bytes((byte,)) + pictures[20][1:]
    content = metadata("mbp-1") + b"".join([*pictures[:20], broken, *pictures[21:]])
    lines, places, damage = _read_around_damage(tmp_path / "a", content)
    assert lines == whole[:20] + whole[21:]
    assert len(places) == 1
    assert damage is None


def test_behind_a_damaged_frame_records_go_on(tmp_path: Path) -> None:
    """Frames end where they like. What stands between the damage and the next record's beginning is skipped."""
    made = make("mbp-10", 5, 400)
    whole, _ = read(tmp_path / "a", made.content)
    third = len(made.content) // 3
    parts = [made.content[:third], made.content[third : 2 * third], made.content[2 * third :]]
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    frames = [compressor.compress(part) for part in parts]
    frames[1] = frames[1][: len(frames[1]) // 2]
    lines, places, damage = _read_around_damage(tmp_path / "a", b"".join(frames))
    kept = next(number for number, (line, other) in enumerate(zip(lines, whole, strict=False)) if line != other)
    behind = len(lines) - kept
    assert third // len(made.content) * len(whole) <= kept
    assert lines == whole[:kept] + whole[-behind:]
    assert behind > len(whole) // 4
    assert len(places) == 1
    assert damage is None


@pytest.mark.random
def test_damage_costs_one_record_wherever_it_is(tmp_path: Path, seed: int) -> None:
    """Whatever its length and its kind are then."""
    rng = random.Random(seed)
    pictures = [record("mbp-1", START + number, "A", "B", 1 + number, 1, LAST, PAIRS) for number in range(30)]
    whole, _ = read(tmp_path / "a", metadata("mbp-1") + b"".join(pictures))
    for _ in range(60):
        place = rng.randrange(1, 29)
        length, kind = rng.randrange(256), rng.choice([1, 2, 10, 18, rng.randrange(256)])
        if {4 * length, 4 * length - 8} & {40, 48, 56, 64, 80, 112, 176, 320, 360, 368, 400, 520}:
            continue  # which records of some kind have
        broken = bytes((length, kind)) + pictures[place][2:]
        content = metadata("mbp-1") + b"".join([*pictures[:place], broken, *pictures[place + 1 :]])
        lines, places, damage = _read_around_damage(tmp_path / "a", content)
        assert lines == whole[:place] + whole[place + 1 :]
        assert len(places) == 1
        assert damage is None


@pytest.mark.random
def test_damage_is_never_a_crash(tmp_path: Path, seed: int) -> None:
    """Whatever bytes change: lines as they may be, and damage."""
    rng = random.Random(seed)
    made = make("mbp-1", 4, 12)
    for _ in range(300):
        content = bytearray(made.content)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(4, len(content))] = rng.randrange(256)
        lines, damage = read(tmp_path / "a", bytes(content[: rng.randrange(4, len(content))]))
        assert damage is None or str(tmp_path) in damage
        for line in filter(None, lines):  # a damaged place is a blank one
            json.loads(line[line.index(b"{") :].decode())
