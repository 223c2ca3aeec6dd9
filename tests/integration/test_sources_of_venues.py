"""Copies with losses give the undisturbed capture's rows, for the records and tables of every venue."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from cowbook.checkpoint.triggers import TriggerSettings
from support.copies import (
    COPY_IDS,
    GROWING_IDS,
    VENUES_WITHOUT_TIMES,
    WITHOUT_TIMES,
    copies_in_containers,
    copies_of_capture,
    lines_of_capture,
    make_copies,
    rows_but_for_receipt,
)
from support.harness import Run, reconstruct
from support.joined import cut_off, follow_appends, join, rows_without_receipt
from support.venue_captures import CAPTURES
from support.venue_samples import binance_csv, make_events

_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.mark.parametrize("sample_id", COPY_IDS)
def test_copies_with_losses_give_the_undisturbed_rows(sample_id: str, tmp_path: Path) -> None:
    """Three copies, of which each lacks other bursts of records, are the whole, by ids, connection, or what they say."""
    copies = make_copies(sample_id, seed=1, have_clocks=False)
    whole = reconstruct(tmp_path / "whole", copies.whole, copies.run)
    assert whole.summary.gaps == 0
    result = join(tmp_path / "joined", copies.sources, copies.run)
    assert result.summary.state == "done"
    assert rows_without_receipt(result) == rows_without_receipt(whole)


@pytest.mark.parametrize("sample_id", ["binance", "bitfinex", "gemini-v2", "bitmex-ids", "mexc", "bitmex", "tardis-parquet"])
def test_clocks_of_recorders_change_no_row(sample_id: str, tmp_path: Path) -> None:
    """Each copy has a clock of its own that is seconds off, and jitters."""
    has_times = sample_id not in WITHOUT_TIMES
    copies = make_copies(sample_id, seed=2)
    whole = reconstruct(tmp_path / "whole", copies.whole, copies.run)
    result = join(tmp_path / "joined", copies.sources, copies.run)
    assert rows_but_for_receipt(result, has_times=has_times) == rows_but_for_receipt(whole, has_times=has_times)


@pytest.mark.parametrize(
    ("venue", "symbol", "seed"),
    [
        pytest.param("bitfinex", "tIOTETH", 5, id="numbers_of_a_connection"),
        pytest.param("gemini", "BATBTC", 13, id="one_level_comes_and_goes"),
        pytest.param("gemini", "LINKETH", 6, id="no_message_with_a_time"),
        pytest.param("bitmex", "XBTUSD", 7, id="orders_that_contradict_each_other"),
        pytest.param("bitmex", "XBTUSD", 8, id="contents_that_come_again"),
        pytest.param("kraken", "SC/EUR", 2, id="trades_in_a_file_behind_that_of_the_book"),
        pytest.param("okx", "BTC-USDT", 5, id="tickers_that_come_again"),
    ],
)
def test_copies_of_a_recorded_capture_give_its_rows(venue: str, symbol: str, seed: int, tmp_path: Path) -> None:
    """Each lacks bursts and has a clock of its own that jitters; a run ends in the middle, and another one goes on."""
    capture = next(each for each in CAPTURES if (each.venue, each.symbol) == (venue, symbol))
    if not (_DATA / capture.paths[0]).exists():
        pytest.skip("the recorded captures lie beside the checkout, in ../shared/data")
    lines, has_times = lines_of_capture(_DATA, capture), venue not in VENUES_WITHOUT_TIMES
    run = Run("X", symbol, venue, price_decimals=capture.price_decimals)
    whole = reconstruct(tmp_path / "whole", {"x": b"".join(lines)}, run)
    copies = copies_of_capture(lines, seed)
    join(tmp_path / "joined", cut_off(copies, seed), run)
    result = join(tmp_path / "joined", copies, run)
    assert rows_but_for_receipt(result, has_times=has_times) == rows_but_for_receipt(whole, has_times=has_times)


def _tried(seed: int) -> list[str]:
    """The samples of files that grow: one that follows from the seed, or all (`make test-venues`)."""
    if os.environ.get("COWBOOK_TEST_VENUES") == "all":
        return list(GROWING_IDS)
    return random.Random(seed).sample(GROWING_IDS, 1)


def test_copies_in_different_containers_give_the_undisturbed_parts(tmp_path: Path, seed: int) -> None:
    """Lines, wrappers, cryptofeed's records, packets and archives, compressed in other ways, are one feed, byte for byte."""
    for sample_id in _tried(seed):
        print(sample_id)
        for grow in (True, False):
            directory = tmp_path / f"{sample_id} {grow}"
            copies = copies_in_containers(sample_id, seed, grow=grow)
            whole = reconstruct(directory / "whole", copies.whole, copies.run)
            assert (whole.summary.state, whole.summary.gaps) == ("done", 0)
            if grow:
                join(directory, cut_off(copies.sources, seed), copies.run)
            assert join(directory, copies.sources, copies.run).parts == whole.parts, (sample_id, grow)


def test_followed_copies_give_the_undisturbed_parts(tmp_path: Path, seed: int) -> None:
    """Each is in a container and a compression of its own, and grows at any byte, in any order, while all are followed."""
    for sample_id in _tried(seed):
        print(sample_id)
        rng = random.Random(f"{sample_id} {seed}")
        copies = copies_in_containers(sample_id, seed, 240)
        run = replace(copies.run, triggers=TriggerSettings(every_events=100, every=10**12, min_pause=0))
        whole = reconstruct(tmp_path / sample_id / "whole", copies.whole, run)
        appends, rest = [], {name: files["x"] for name, files in copies.sources.items()}
        while rest := {name: content for name, content in rest.items() if content}:
            name = rng.choice(sorted(rest))
            length = rng.randint(1, max(len(copies.sources[name]["x"]) // 8, 1))
            appends.append((name, rest[name][:length]))
            rest[name] = rest[name][length:]
        followed = follow_appends(tmp_path / sample_id, appends, run, least_events=whole.summary.events // 2)
        assert followed.error is None
        assert join(tmp_path / sample_id, {name: {} for name in copies.sources}, run).parts == whole.parts, sample_id


@pytest.mark.parametrize("lacking", ["a", "b"])
def test_a_row_that_a_copy_of_a_table_lacks_is_a_contradiction(tmp_path: Path, lacking: str) -> None:
    """Not a loss: nothing says which of two messages with the same ids the venue has sent. The first source's is used."""
    events = [event for event in make_events(3, 120) if event.kind in ("snapshot", "diff")]
    lines = binance_csv(events, "BTCUSDT").splitlines(keepends=True)
    ids = [b",".join(line.split(b",")[2:4]) for line in lines]
    place = next(place for place in range(len(lines) // 2, len(lines)) if ids[place - 1] == ids[place] == ids[place + 1])
    without = b"".join(lines[:place] + lines[place + 1 :])
    files = {name: {"x": without if name == lacking else b"".join(lines)} for name in "ab"}
    run = Run("BTCUSDT", format="binance_csv", price_decimals=1, size_decimals=2)
    result = join(tmp_path / "joined", files, run)
    assert [source["contradictions"] for source in result.summary.sources] == [0, 1]
    assert any(text.startswith("source b contradicts") for text in result.summary.warnings)
    assert result.rows("depth") == reconstruct(tmp_path / "first", files["a"], run).rows("depth")


@pytest.mark.parametrize("seed", range(9000, 9020))
def test_the_first_record_of_another_symbol_has_its_place(seed: int, tmp_path: Path) -> None:
    """It says that an answer without a symbol may be another's."""
    copies = make_copies("binance", seed, count=60)
    whole = reconstruct(tmp_path / "whole", copies.whole, copies.run)
    result = join(tmp_path / "joined", copies.sources, copies.run)
    assert rows_but_for_receipt(result, has_times=True) == rows_but_for_receipt(whole, has_times=True)


def test_neighbouring_snapshots_with_one_id_are_two_in_binance_archive(tmp_path: Path) -> None:
    """A side that begins again with another time begins the next one."""
    first, *_ = make_events(1, 1)
    later = [replace(first, time_ms=first.time_ms + 1_000 * number) for number in range(3)]
    result = reconstruct(tmp_path, {"x": binance_csv(later, "BTCUSDT")}, Run("BTCUSDT", format="binance_csv", price_decimals=1))
    rows = result.rows("drift")
    assert [row["ts_event"] for row in rows] == [event.time_ms * 1_000_000 for event in later[1:]]
