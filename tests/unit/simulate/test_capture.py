"""The simulated capture, replayed with a dictionary of levels: it must be what it claims to be."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cowbook.simulate import capture
from cowbook.simulate.capture import DIFFS_PER_GAP, write_capture
from support.search import examples

Book = dict[str, dict[float, tuple[str, str]]]  # side -> price -> price and size, as texts


pytestmark = pytest.mark.long


class Replay:
    """A naive reader of a capture: diffs, snapshots that may come late, tickers, all by the venue's rules."""

    def __init__(self, futures: bool) -> None:
        self.futures = futures
        self.book: Book = {"bids": {}, "asks": {}}
        self.last: int | None = None
        self.first = False
        self.synced = False
        self.buffer: list[dict[str, Any]] = []
        self.tickers: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.drift: list[tuple[bool, int]] = []  # synced before, levels that differ

    def read(self, lines: list[bytes]) -> None:
        """Take the lines one after the other."""
        received = 0
        for line in lines:
            prefix, _, text = line.partition(b" ")
            assert len(prefix) == 19
            assert received <= int(prefix)
            received = int(prefix)
            record = json.loads(text)
            data = record.get("data", record)
            if "lastUpdateId" in data:
                self.snapshot(data)
            elif data.get("e") == "depthUpdate":
                self.diff(data)
            elif data.get("e") == "trade":
                self.counts["trades"] += 1
                self.counts["events"] += 1
            else:
                self.counts["tickers"] += 1
                self.tickers.append(data)

    def verdict(self, diff: dict[str, Any], last: int | None, first: bool) -> str:
        """apply, stale or gap."""
        if last is None:
            return "apply"
        if self.futures:
            if diff["u"] < last or (diff["u"] == last and not first):
                return "stale"
            return "apply" if diff["pu"] == last or (first and diff["U"] <= last <= diff["u"]) else "gap"
        if diff["u"] <= last:
            return "stale"
        return "apply" if diff["U"] <= last + 1 else "gap"

    def diff(self, diff: dict[str, Any]) -> None:
        """A depth diff."""
        self.counts["messages"] += 1
        verdict = self.verdict(diff, self.last, self.first)
        self.counts[verdict] += 1
        assert verdict != "stale"
        if verdict == "gap":
            self.synced = False
        put(self.book, diff["b"], diff["a"])
        self.counts["events"] += len(diff["b"]) + len(diff["a"])
        self.last, self.first = diff["u"], False
        self.audit()
        self.buffer = [] if self.synced else [*self.buffer, diff]

    def snapshot(self, snapshot: dict[str, Any]) -> None:
        """A depth snapshot; the diffs that are newer than it are applied again."""
        assert max(len(snapshot["bids"]), len(snapshot["asks"])) <= 1000
        self.counts["snapshots"] += 1
        self.counts["events"] += len(snapshot["bids"]) + len(snapshot["asks"])
        book: Book = {"bids": {}, "asks": {}}
        put(book, snapshot["bids"], snapshot["asks"])
        last, first = snapshot["lastUpdateId"], True
        if self.last is not None and last < self.last:
            assert not self.synced
            self.counts["late"] += 1
            again = [diff for diff in self.buffer if diff["u"] > last]
            assert again
            for diff in again:
                assert self.verdict(diff, last, first) == "apply"
                put(book, diff["b"], diff["a"])
                last, first = diff["u"], False
        if last == self.last:
            prices = [float(price) for price, _ in snapshot["bids"] + snapshot["asks"]]
            self.drift.append((self.synced, differing(self.book, book, min(prices), max(prices))))
        self.book, self.last, self.first, self.synced, self.buffer = book, last, first, True, []
        self.audit()

    def audit(self) -> None:
        """Compare the tickers whose id the book has reached."""
        assert self.last is not None
        for ticker in [ticker for ticker in self.tickers if ticker["u"] == self.last]:
            matches = best(self.book) == [ticker["b"], ticker["B"], ticker["a"], ticker["A"]]
            self.counts[f"{'matched' if matches else 'failed'}{'' if self.synced else '_unsynced'}"] += 1
        self.tickers = [ticker for ticker in self.tickers if ticker["u"] > self.last]


def put(book: Book, bids: list[list[str]], asks: list[list[str]]) -> None:
    """Set levels; a size of zero removes."""
    for side, levels in (("bids", bids), ("asks", asks)):
        for price, size in levels:
            if float(size):
                book[side][float(price)] = price, size
            else:
                book[side].pop(float(price), None)


def best(book: Book) -> list[str]:
    """Best bid price and size, best ask price and size; "0" and "0" for a side that is empty."""
    bid = book["bids"][max(book["bids"])] if book["bids"] else ("0", "0")
    ask = book["asks"][min(book["asks"])] if book["asks"] else ("0", "0")
    return [*bid, *ask]


def differing(before: Book, after: Book, low: float, high: float) -> int:
    """How many levels between two prices are not the same in both books."""
    return sum(
        before[side].get(price) != after[side].get(price)
        for side in ("bids", "asks")
        for price in before[side].keys() | after[side].keys()
        if low <= price <= high
    )


def read_lines(path: Path) -> list[bytes]:
    """The lines of a capture, whatever its compression."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    elif path.suffix == ".zst":
        raw = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    return raw.splitlines()


@pytest.mark.parametrize("futures", [False, True])
def test_reconstruction_is_perfect_without_gaps(tmp_path: Path, futures: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snapshot of a synced book shows no drift, every ticker that can be compared matches."""
    monkeypatch.setattr(capture, "SNAPSHOT_EVERY", 2_000)
    summary = write_capture(tmp_path / "c.jsonl", symbol="BTCUSDT", messages=4_050, seed=3, futures=futures)
    replay = Replay(futures)
    replay.read(read_lines(summary.path))
    assert replay.drift[0][0] is False
    assert replay.drift[0][1] > 1_000
    assert replay.drift[1:] == [(True, 0), (True, 0)]
    assert replay.counts["late"] == 1
    assert replay.counts["gap"] == replay.counts["failed"] == 0
    assert replay.counts["matched"] > 1_000
    for name in ("messages", "events", "trades", "snapshots", "tickers"):
        assert getattr(summary, name) == replay.counts[name]
    assert summary.size_bytes == summary.path.stat().st_size
    bid, _, ask, _ = best(replay.book)
    assert Decimal(bid) < Decimal(ask)


@settings(max_examples=examples(15), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    messages=st.integers(1, 300),
    gap_share=st.floats(0, 1),
    futures=st.booleans(),
)
def test_gaps_are_as_many_as_asked_for_and_heal(
    tmp_path_factory: pytest.TempPathFactory, seed: int, messages: int, gap_share: float, futures: bool
) -> None:
    """Each gap is seen once, a usable snapshot follows it, and no ticker ever fails while synced."""
    gaps = int(messages // DIFFS_PER_GAP * gap_share)
    path = tmp_path_factory.getbasetemp() / "gaps.jsonl"
    summary = write_capture(path, symbol="BTCUSDT", messages=messages, seed=seed, gaps=gaps, futures=futures)
    replay = Replay(futures)
    replay.read(read_lines(path))
    assert replay.counts["gap"] == gaps == summary.gaps
    assert replay.counts["messages"] == messages == summary.messages
    assert replay.counts["snapshots"] == gaps + 1
    assert replay.counts["events"] == summary.events
    assert replay.synced
    assert replay.counts["failed"] == 0
    assert all(levels == 0 for synced, levels in replay.drift if synced)


def test_bytes_depend_on_the_arguments_alone(tmp_path: Path) -> None:
    """The same seed gives the same bytes, compressed or not, over an older file too; another seed gives others."""

    def write(name: str, seed: int) -> Path:
        return write_capture(tmp_path / name, symbol="ETHUSDT", messages=60, seed=seed, gaps=1).path

    for suffix in ("", ".gz", ".zst"):
        (tmp_path / f"b.jsonl{suffix}").write_bytes(b"older")
        assert write(f"a.jsonl{suffix}", 5).read_bytes() == write(f"b.jsonl{suffix}", 5).read_bytes()
        assert read_lines(tmp_path / f"a.jsonl{suffix}") == read_lines(tmp_path / "a.jsonl")
    assert write("c.jsonl", 6).read_bytes() != (tmp_path / "a.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"{name}.jsonl{suffix}" for name in "ab" for suffix in ("", ".gz", ".zst")] + ["c.jsonl"]
    )


def test_records_look_like_the_venues(tmp_path: Path) -> None:
    """Spot and futures numerals, wrappers, names and times stand as the venue and the collectors write them."""
    spot = write_capture(tmp_path / "s.jsonl", symbol="BTCUSDT", messages=20, seed=1)
    futures = write_capture(tmp_path / "f.jsonl", symbol="BTCUSDT", messages=20, seed=1, futures=True)
    diffs = {}
    for summary in (spot, futures):
        records = [json.loads(line.partition(b" ")[2]) for line in read_lines(summary.path)]
        streams = {record["stream"] for record in records if "stream" in record}
        assert streams == {"btcusdt@depth@100ms", "btcusdt@trade", "btcusdt@bookTicker"}
        diffs[summary.path] = [r["data"] for r in records if r.get("stream") == "btcusdt@depth@100ms"]
    assert set(diffs[spot.path][0]) == {"e", "E", "s", "U", "u", "b", "a"}
    assert set(diffs[futures.path][0]) == {"e", "E", "T", "s", "U", "u", "pu", "b", "a"}
    assert diffs[spot.path][0]["E"] == 1_723_161_240_100
    price, size = diffs[spot.path][0]["b"][0]
    assert (len(price.partition(".")[2]), len(size.partition(".")[2])) == (8, 8)
    price, size = diffs[futures.path][0]["b"][0]
    assert (len(price.partition(".")[2]), len(size.partition(".")[2])) == (2, 3)
    pairs = list(zip(diffs[spot.path], diffs[spot.path][1:], strict=False))
    assert all(after["U"] == before["u"] + 1 for before, after in pairs)
    pairs = list(zip(diffs[futures.path], diffs[futures.path][1:], strict=False))
    assert all(after["pu"] == before["u"] for before, after in pairs)
    assert any(after["U"] > before["u"] + 1 for before, after in pairs)


def test_wrong_requests_and_failures_leave_nothing(tmp_path: Path) -> None:
    """Too many gaps or no messages are refused by name; a target that cannot be replaced leaves no temporary file."""
    with pytest.raises(ValueError, match="gaps = 5"):
        write_capture(tmp_path / "c.jsonl", symbol="X", messages=4 * DIFFS_PER_GAP, seed=1, gaps=5)
    with pytest.raises(ValueError, match="messages = 0"):
        write_capture(tmp_path / "c.jsonl", symbol="X", messages=0, seed=1)
    target = tmp_path / "directory.gz"
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_capture(target, symbol="X", messages=1, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["directory.gz"]
