"""Recorded captures of every venue: all checksums verified, all chains without a false gap; and what is damaged is noticed."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from cowbook import EngineSettings, OrderBookEngine, replay
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.venues import load_venue, venue_names
from support.harness import Run, reconstruct
from support.venue_captures import CAPTURES, Capture
from support.venue_samples import make_sample

QUIET = ("AMD/USD", "NVDA-0625")  # hardly an update has levels
PROVABLE = [
    capture
    for capture in CAPTURES
    if capture.proves and capture.depth_messages > 9 and ".cbcap" not in capture.paths[0] and capture.symbol not in QUIET
]

Damage = Callable[[list[bytes], int, random.Random], list[bytes]]


def rebuild(capture: Capture, paths: Sequence[Path]) -> OrderBookEngine:
    """The engine at the end of the input."""
    names = [str(path) for path in paths]
    *_, engine = replay(names, capture.symbol, every=10**9, format=capture.venue, price_decimals=capture.price_decimals)
    return engine


@pytest.mark.parametrize("capture", CAPTURES, ids=str)
def test_a_recorded_capture_matches_every_audit(shared_data: Path, capture: Capture) -> None:
    """Everything that can be checked matches, and nothing is lost on the way."""
    engine = rebuild(capture, [shared_data / path for path in capture.paths])
    checksums = engine.audit_statistics()["checksum"]
    assert checksums["matched"] == capture.checksums
    assert checksums["failed"] == checksums["failed_unsynced"] == checksums["matched_unsynced"] == 0
    tickers = engine.audit_statistics()["bookTicker"]
    assert (tickers["matched"], tickers["failed"]) == (capture.tickers, 0)
    assert engine.gap_statistics()["gaps"] == capture.gaps
    assert engine.value("snapshots") + engine.value("diffs") == capture.depth_messages
    assert engine.value("crossed") == 0
    assert sum(engine.dead_letter_statistics().values()) == 0
    assert engine.synced == capture.synced
    assert capture.trades is None or engine.value("trades") == capture.trades


def test_totals_are_those_of_the_datas_description() -> None:
    """The audits' totals are those of the data's own description."""
    totals: dict[tuple[str, str], int] = {}
    for capture in CAPTURES:
        key = capture.venue, capture.paths[0].rpartition("/")[2]
        totals[key] = totals.get(key, 0) + capture.checksums + capture.tickers
    assert totals["kraken", "KRAKEN.ws.50.0"] == 4_269
    assert totals["kraken", "kraken_btcusd_sample.cbcap"] == 2_052
    assert totals["kraken", "kraken_btcusd_l2.cbcap"] == 301
    assert totals["okx", "OKX.ws.1.0"] == 290
    assert totals["bitget", "BITGET.ws.1.0"] == 443
    assert totals["ftx", "FTX.ws.32.0"] == 1_276
    assert totals["binance", "BINANCE.http.0.0"] == 26
    assert totals["binance", "BINANCE_FUTURES.http.0.0"] == 50


_LEVELS = re.compile(rb'"(?:a|b|asks|bids)": ?\[(?=\[|\{)(.*?)\](?=[,}]"?)')
_DIGIT = re.compile(rb"[1-9](?=[0-9.]*\"?[,\]}])")


def deleted(lines: list[bytes], place: int, _rng: random.Random) -> list[bytes]:
    """One message is missing."""
    return lines[:place] + lines[place + 1 :]


def altered(lines: list[bytes], place: int, rng: random.Random) -> list[bytes]:
    """One digit of one of the levels is another one."""
    line = lines[place]
    levels = _LEVELS.search(line)
    assert levels is not None
    digits = [match.start() for match in _DIGIT.finditer(line, *levels.span(1))]
    position = rng.choice(digits)
    other = bytes([ord(b"1") + (line[position] - ord(b"1") + 1) % 9])
    return [*lines[:place], line[:position] + other + line[position + 1 :], *lines[place + 1 :]]


def damaged_runs(shared_data: Path, directory: Path, capture: Capture, damage: Damage) -> list[OrderBookEngine]:
    """What comes of captures with one damaged change of the book each, at a few places."""
    rng = random.Random(7)
    contents = [(shared_data / path).read_bytes().splitlines(keepends=True) for path in capture.paths]
    paths = [directory / f"{number}" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(b"".join(content))
    of_file = [[place for place, line in enumerate(content) if capture.is_depth_update(line)] for content in contents]
    number = max(range(len(paths)), key=lambda number: len(of_file[number]))
    lines, places = contents[number], of_file[number]
    if capture.venue in ("binance", "gateio", "kucoin"):
        places = places[8:]  # the first ones are older than the snapshot
    if capture.venue == "bitfinex":
        places = places[len(places) // 2 :]  # by then every symbol has a book
    if capture.checksums:  # one without levels changes nothing
        places = [place for place in places if _LEVELS.search(lines[place])]
    engines = []
    for place in rng.sample(places[:-1], min(8, len(places) - 1)):
        paths[number].write_bytes(b"".join(damage(lines, place, rng)))
        engines.append(rebuild(capture, paths))
    assert engines
    return engines


def is_noticed(engine: OrderBookEngine) -> bool:
    """By a gap, a checksum or a dead letter."""
    failed = engine.audit_statistics()["checksum"]["failed"]
    return bool(engine.gap_statistics()["gaps"] or failed or sum(engine.dead_letter_statistics().values()))


@pytest.mark.parametrize("capture", [capture for capture in PROVABLE if not capture.checksums], ids=str)
def test_ids_show_every_missing_message(shared_data: Path, tmp_path: Path, capture: Capture) -> None:
    """Venues with ids show every missing message."""
    assert all(is_noticed(engine) for engine in damaged_runs(shared_data, tmp_path, capture, deleted))


@pytest.mark.parametrize("damage", [deleted, altered])
@pytest.mark.parametrize("capture", [capture for capture in PROVABLE if capture.checksums], ids=str)
def test_checksums_show_damage_of_the_best_levels(shared_data: Path, tmp_path: Path, capture: Capture, damage: Damage) -> None:
    """A checksum sees the best levels only: what lies deeper is noticed when it comes up, or never."""
    assert any(is_noticed(engine) for engine in damaged_runs(shared_data, tmp_path, capture, damage))


@pytest.mark.parametrize("capture", [CAPTURES[0], *(capture for capture in CAPTURES if ".cbcap" in capture.paths[0])], ids=str)
@pytest.mark.parametrize("block_bytes", [9_000, 70_000])
def test_rows_do_not_depend_on_blocks(shared_data: Path, tmp_path: Path, capture: Capture, block_bytes: int) -> None:
    """Frames of two lines and long snapshots, cut anywhere; rows have nulls where the venue has no ids."""
    files = {f"{number}": (shared_data / path).read_bytes() for number, path in enumerate(capture.paths)}
    run = Run(name="X", symbol=capture.symbol, format=capture.venue, price_decimals=capture.price_decimals)
    reference = reconstruct(tmp_path / "reference", files, run)
    assert reference.summary.state == "done"
    assert reference.summary.audits["checksum"]["matched"] == capture.checksums
    parts = reconstruct(tmp_path / "other", files, replace(run, block_bytes=block_bytes)).parts
    assert parts == reference.parts
    depth = reference.rows("depth")
    assert {row["update_id"] for row in depth} == {None}
    assert depth[-1]["synced"]


@pytest.mark.parametrize(
    ("capture", "best"),
    [
        (next(capture for capture in CAPTURES if schema in capture.paths[0]), best)
        for schema, best in (("mbp-1_", (552_900, 24, 552_925, 6)), ("mbp-10", (372_025, 24, 372_050, 10)))
    ],
    ids=str,
)
def test_the_last_picture_of_databentos_samples_is_the_book(
    shared_data: Path, capture: Capture, best: tuple[int, int, int, int]
) -> None:
    """Prices in hundredths, and sizes, as a script of its own reads the last record."""
    engine = rebuild(capture, [shared_data / capture.paths[0]])
    assert engine.bids.best() == (best[0] * 10**6, best[1] * 10**8)
    assert engine.asks.best() == (best[2] * 10**6, best[3] * 10**8)


@pytest.mark.parametrize("name", ["esh4-glbx-mdp3-20231224", "orderbooks_mbo_2024-05-08T00-00-00_2024-05-08T00-00-02"])
def test_single_orders_of_databento_are_refused_by_name(shared_data: Path, tmp_path: Path, name: str) -> None:
    """A run of nothing else fails, and says what to ask for."""
    suffix = "mbo.dbn.zst" if name.startswith("esh4") else "dbn.zst"
    result = reconstruct(
        tmp_path, {"x": (shared_data / f"databento/{name}.{suffix}").read_bytes()}, Run("ESH4", format="databento")
    )
    assert result.summary.state == "failed"
    assert "is Databento's DBN of the schema mbo, which is not read: ask Databento for mbp-10" in str(result.summary.error)


def test_every_venue_has_a_capture_or_none_was_found() -> None:
    """Each has a recorded capture, but for those that none was found of."""
    without = {"coinbase_advanced", "cryptolake", "dydx_v4", "gateio_futures", "hyperliquid", "kucoin_futures"}
    without |= {"mexc", "mexc_futures"}
    assert {capture.venue for capture in CAPTURES} | without == set(venue_names())
    for name in venue_names():
        load_venue(name)
    with pytest.raises(KeyError):
        load_venue("_fields")


@pytest.mark.parametrize(
    "capture",
    [
        capture
        for capture in CAPTURES
        if str(capture) in ("kraken-XMR/USD", "okx-BTC-USDT", "bitget-GOGUSDT", "kraken_futures-PI_XRPUSD")
    ]
    + [capture for capture in CAPTURES if "_l2.cbcap" in capture.paths[0]],
    ids=str,
)
def test_stops_anywhere_change_no_part(shared_data: Path, tmp_path: Path, capture: Capture) -> None:
    """Stopped in the middle of anything, a frame too, and gone on: the parts are those of one run, checksums and all."""
    rng = random.Random(11)
    content = (shared_data / capture.paths[0]).read_bytes()
    engine = EngineSettings(part_events=500)
    run = Run("X", capture.symbol, capture.venue, price_decimals=capture.price_decimals, engine=engine)
    reference = reconstruct(tmp_path / "reference", {"a": content}, run)
    assert reference.summary.audits["checksum"]["matched"] == capture.checksums
    result = reference
    for length in (*sorted(rng.sample(range(1, len(content)), 3)), len(content)):
        run = replace(run, block_bytes=rng.choice([30_000, 100_000]), triggers=TriggerSettings(rng.choice([200, 700]), 10**12, 0))
        result = reconstruct(tmp_path / "other", {"a": content[:length]}, run)
    assert result.summary.recovered_epoch is not None
    assert result.parts == reference.parts
    assert result.summary.audits == reference.summary.audits


def test_a_wrong_format_is_named(shared_data: Path, tmp_path: Path) -> None:
    """The run's summary names the format that the capture looks like."""
    content = (shared_data / "cryptofeed/KRAKEN.ws.50.0").read_bytes()
    result = reconstruct(tmp_path, {"a": content}, Run(name="X", format="okx"))
    assert result.summary.state == "failed"
    assert 'these look like kraken records: format = "kraken" would fit' in str(result.summary.error)


def test_a_table_in_place_of_records_is_an_error(tmp_path: Path) -> None:
    """The error names the format that the file looks like, for CSV and Parquet. Its rows are no dead letters."""
    for sample_id, formats in (("tardis-csv", "tardis"), ("cryptolake-parquet", "cryptolake"), ("binance-csv", "binance_csv")):
        files = make_sample(sample_id).files
        result = reconstruct(tmp_path / sample_id, files, Run("BTCUSDT", format="binance"))
        assert result.summary.state == "failed"
        assert f"it looks like format = {formats}" in (result.summary.error or "")
        assert result.summary.dead_letters == {} or not sum(result.summary.dead_letters.values())
    result = reconstruct(tmp_path / "other", {"a": b'{"e":"trade"}\n'}, Run("BTCUSDT", format="tardis"))
    assert "is no such table: its columns are" in (result.summary.error or "")


def test_each_trade_of_a_record_is_a_row(shared_data: Path, tmp_path: Path) -> None:
    """Each is a row with its own time and side; a cut comes behind the record, not within it."""
    content = (shared_data / "cryptofeed/KRAKEN.ws.48.0").read_bytes()
    run = Run("X", "XMR/USD", "kraken", engine=EngineSettings(part_events=2))
    result = reconstruct(tmp_path, {"a": content}, run)
    expected = [
        (1618678142557535000, "sell", 35411000000, 89594024),
        (1618678145715785000, "buy", 35455000000, 125690315),
        (1618678150826417000, "sell", 35404000000, 28245396),
        (1618678150827816000, "sell", 35381000000, 171754604),
    ]
    rows = result.rows("trades")
    assert [(row["ts_event"], row["side"], row["price"], row["size"]) for row in rows] == expected
    assert [row["event_index"] for row in rows] == [0, 1, 2, 3]
    assert {row["trade_id"] for row in rows} == {None}
    assert rows[2]["ts_recv"] == rows[3]["ts_recv"] == 1618678150856557100


def test_trades_of_one_record_are_written_once_after_a_restart(shared_data: Path, tmp_path: Path) -> None:
    """A record with several trades has one end, so that none of them is written twice."""
    content = (shared_data / "cryptofeed/KRAKEN.ws.48.0").read_bytes()
    run = Run("X", "SC/EUR", "kraken", engine=EngineSettings(part_events=1), triggers=TriggerSettings(1, 10**12, 0))
    reference = reconstruct(tmp_path / "reference", {"a": content}, run)
    assert len(reference.rows("trades")) == 6
    for length in (*range(1, len(content), 97), len(content)):
        result = reconstruct(tmp_path / "other", {"a": content[:length]}, run)
    assert result.parts == reference.parts


def test_trades_before_the_damage_of_a_table_are_published(shared_data: Path, tmp_path: Path) -> None:
    """A table whose compression is broken: the trades before the damage are published, and a warning says that there is some."""
    content = (shared_data / "tardis/CORRUPT_binance-futures_trades.csv.gz").read_bytes()
    result = reconstruct(tmp_path, {"a.csv.gz": content}, Run("BTCUSDT", format="tardis"))
    assert result.summary.state == "done"
    assert any("the input is damaged in 1 place" in warning for warning in result.summary.warnings)
    decoder = zlib.decompressobj(31)
    decoded = b""
    with suppress(zlib.error):
        for byte in content:
            decoded += decoder.decompress(bytes([byte]))
    lines = decoded.split(b"\n")[1:-1]
    rows = result.rows("trades")
    assert len(rows) == len(lines) > 150
    assert [row["trade_id"] for row in rows] == [int(line.split(b",")[4]) for line in lines]
