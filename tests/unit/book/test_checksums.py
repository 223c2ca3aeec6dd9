"""Checksums against zlib and plain text; levels beyond the depth against sorting."""

from __future__ import annotations

import random
import zlib
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.plain.messages import DIFF, HAS_CHECKSUM, IS_RESET, NONE, SNAPSHOT, SUBSCRIPTION, EventBatch
from cowbook.plain.schemes import BITFINEX, BITGET, FTX, KRAKEN, NO_CHECKSUM, OKX, UNNUMBERED
from support.search import examples

DECIMALS = 8

Side = dict[int, int]


def numeral(style: int, value: int, written: int) -> str:
    """As the venue writes it; by Python's own means."""
    number = Decimal(value).scaleb(-DECIMALS)
    if style == FTX:
        return repr(float(number))
    if style == BITFINEX:  # as JavaScript: 1, 0.000001, 1e-7, 1.5e-8
        if abs(number) >= Decimal("0.000001"):
            return format(number.normalize(), "f")
        mantissa, _, exponent = format(number.normalize(), "e").partition("e-")
        return f"{mantissa}e-{int(exponent)}"
    if style == OKX:
        text = format(number.normalize(), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    fixed = format(number.quantize(Decimal(1).scaleb(-written)), "f")
    return fixed.replace(".", "").lstrip("0") if style == KRAKEN else fixed


def expected_checksum(style: int, bids: Side, asks: Side, written: tuple[int, int]) -> int:
    """By the venue's description."""
    count = {KRAKEN: 10, OKX: 25, BITGET: 25, BITFINEX: 25, FTX: 100}[style]
    best_bids = sorted(bids.items(), reverse=True)[:count]
    best_asks = sorted(asks.items())[:count]

    def texts(level: tuple[int, int]) -> list[str]:
        return [numeral(style, value, decimals) for value, decimals in zip(level, written, strict=True)]

    if style == KRAKEN:
        text = "".join("".join(texts(level)) for level in (*best_asks, *best_bids))
    else:
        pieces: list[str] = []
        for place in range(max(len(best_bids), len(best_asks))):
            for side in (best_bids, best_asks):
                if place < len(side):
                    price, size = texts(side[place])
                    pieces += [price, f"-{size}" if style == BITFINEX and side is best_asks else size]
        text = ":".join(pieces)
    return zlib.crc32(text.encode())


def depth_message(
    kind: int,
    bids: Side,
    asks: Side,
    *,
    checksum: int | None = None,
    written: tuple[int, int] = (0, 0),
    depth: int = 0,
    time: int = 1,
    sequence: int = 0,
) -> EventBatch:
    """One depth message."""
    batch = EventBatch.allocate(4, 4096)
    message = batch.messages[0]
    levels = [*bids.items(), *asks.items()]
    batch.prices[: len(levels)] = [price for price, _ in levels]
    batch.sizes[: len(levels)] = [size for _, size in levels]
    values = {
        "kind": kind,
        "rule": UNNUMBERED,
        "ts_event": time,
        "ts_recv": NONE,
        "first_id": NONE,
        "last_id": NONE,
        "prev_id": NONE,
    }
    values |= {"bid_start": 0, "bid_count": len(bids), "ask_start": len(bids), "ask_count": len(asks), "depth": depth}
    values |= {"sequence": sequence}
    values |= {"flags": IS_RESET if kind == SNAPSHOT else 0, "price_decimals": written[0], "size_decimals": written[1]}
    for name, value in values.items():
        message[name] = value
    if checksum is not None:
        message["flags"] |= HAS_CHECKSUM
        message["checksum"] = checksum
    batch.message_count, batch.level_count = 1, len(levels)
    return batch


def engine_of(style: int, depth: int = 0) -> OrderBookEngine:
    """An empty one."""
    return OrderBookEngine(EngineSettings(checksum=style, depth=depth, price_decimals=DECIMALS, size_decimals=DECIMALS))


@settings(max_examples=examples(150), deadline=None)
@given(
    st.sampled_from([KRAKEN, OKX, BITGET, BITFINEX, FTX]),
    st.integers(0, 2**32),
    st.integers(0, 8),
    st.integers(0, 8),
    st.sampled_from([(1,), (1,), (-1,), (-1, 1)]),
)
def test_checksums_equal_those_of_zlib_in_every_style(
    style: int, seed: int, price_decimals: int, size_decimals: int, signs: tuple[int, ...]
) -> None:
    """In every style, with any number of levels on either side, for numerals of any length, and for prices of either sign."""
    rng = random.Random(seed)
    steps = 10 ** (DECIMALS - price_decimals), 10 ** (DECIMALS - size_decimals)

    def side() -> Side:
        def value(step: int) -> int:
            return rng.randint(1, 10 ** rng.randint(1, 15 - (DECIMALS if step == 1 else 8))) * step

        return {
            rng.choice(signs) * value(steps[0]): value(steps[1])
            for _ in range(rng.choice([0, 1, 9, 10, 11, 24, 26, 99, 101, 130]))
        }

    bids, asks = side(), side()
    checksum = expected_checksum(style, bids, asks, (price_decimals, size_decimals))
    engine = engine_of(style)
    engine.apply(depth_message(SNAPSHOT, bids, asks, checksum=checksum, written=(price_decimals, size_decimals)))
    assert engine.audit_statistics()["checksum"]["matched"] == 1
    engine.apply(depth_message(DIFF, {}, {}, checksum=checksum ^ 1))
    assert engine.audit_statistics()["checksum"]["failed"] == 1
    assert not engine.synced
    rows = engine.open_rows()["audits"]
    assert [(row["expected_bid_price"], row["found_bid_price"]) for row in rows] == [(checksum ^ 1, checksum)]
    engine.apply(depth_message(DIFF, {}, {}, checksum=checksum))
    engine.apply(depth_message(DIFF, {}, {}, checksum=checksum ^ 1, time=2))
    engine.apply(depth_message(DIFF, {}, {}))
    counts = engine.audit_statistics()["checksum"]
    assert counts == {"matched": 1, "failed": 1, "matched_unsynced": 1, "failed_unsynced": 1, "not_comparable": 1}
    engine.apply(depth_message(SNAPSHOT, bids, asks, checksum=checksum, written=(price_decimals, size_decimals), time=3))
    assert engine.synced


@pytest.mark.parametrize("style", [KRAKEN, BITGET])
def test_zeros_behind_all_decimals_are_part_of_the_text(style: int) -> None:
    """A venue may write more decimals than the book has. Behind more than 18 of them nothing is compared."""
    bids, asks = {-5: 1, 123_450_000_000: 7, 99: 10**9}, {123_460_000_000: 10**11}
    for written in ((8, 8), (9, 12), (18, 18), (8, 9)):
        checksum = expected_checksum(style, bids, asks, written)
        engine = engine_of(style)
        engine.apply(depth_message(SNAPSHOT, bids, asks, checksum=checksum, written=written))
        assert engine.audit_statistics()["checksum"]["matched"] == 1
    for written in ((19, 8), (8, 19), (8, 100_000)):
        engine = engine_of(style)
        engine.apply(depth_message(SNAPSHOT, bids, asks, checksum=checksum, written=written))
        counts = engine.audit_statistics()["checksum"]
        assert counts == dict.fromkeys(counts, 0) | {"not_comparable": 1}


@pytest.mark.parametrize("style", [KRAKEN, OKX, BITGET, BITFINEX, FTX])
def test_checksums_kept_from_before_change_nothing(style: int) -> None:
    """Of thousands of levels, more than are kept, and with other decimals from time to time, every checksum is that of zlib."""
    rng = random.Random(style)
    engine = engine_of(style)
    sides: tuple[Side, Side] = {}, {}
    written = (2, 2)
    for number in range(400):
        if number % 150 == 100:
            written = (written[0] + 1, written[1] + 2)
        changes: tuple[Side, Side] = {}, {}
        for _ in range(rng.randint(1, 12)):
            place = rng.randrange(2)
            price = rng.randint(1, 60) * 10**6 + place * 10**8
            is_gone = price in sides[place] and rng.random() < 0.5
            changes[place][price] = 0 if is_gone else rng.randint(1, 10 ** rng.randint(1, 9)) * 10**6
        for side, own in zip(sides, changes, strict=True):
            side.update(own)
            for price in [price for price, size in side.items() if size == 0]:
                del side[price]
        kind = SNAPSHOT if number == 0 else DIFF
        checksum = expected_checksum(style, *sides, written)
        engine.apply(depth_message(kind, *changes, checksum=checksum, written=written, time=number + 1))
        assert engine.audit_statistics()["checksum"]["matched"] == number + 1


def test_a_message_that_comes_twice_counts_once() -> None:
    """An unnumbered message with the venue's time and levels of an earlier one is skipped: it may not take the book back."""
    engine = engine_of(NO_CHECKSUM)
    engine.apply(depth_message(SNAPSHOT, {1: 1}, {3: 1}))
    engine.apply(depth_message(DIFF, {1: 2}, {}, time=2))
    engine.apply(depth_message(DIFF, {1: 3}, {}, time=3))
    events = engine.event_count
    for again in (depth_message(DIFF, {1: 2}, {}, time=2), depth_message(SNAPSHOT, {1: 1}, {3: 1})):
        engine.apply(again)
        assert engine.bids.best() == (1, 3)
        assert engine.event_count == events
    engine.apply(depth_message(DIFF, {1: 2}, {}, time=4))
    assert engine.bids.best() == (1, 2)
    assert engine.event_count == events + 1


def test_messages_that_differ_in_their_checksum_are_two() -> None:
    """Of two messages with one time and equal levels, both are compared if their checksums differ."""
    engine = engine_of(KRAKEN)
    bids, asks = {1 * 10**DECIMALS: 10**DECIMALS}, {2 * 10**DECIMALS: 10**DECIMALS}
    checksum = expected_checksum(KRAKEN, bids, asks, (0, 0))
    engine.apply(depth_message(SNAPSHOT, bids, asks, checksum=checksum))
    for each in (checksum, checksum ^ 1, checksum):
        engine.apply(depth_message(DIFF, {}, {}, checksum=each))
    assert engine.audit_statistics()["checksum"]["matched"] == 2
    assert engine.audit_statistics()["checksum"]["failed"] == 1


def test_messages_with_numbers_of_their_connection_are_two() -> None:
    """A level that changes and changes back at one time ends as it was: the numbers show three messages, not a repetition."""
    engine = engine_of(NO_CHECKSUM)
    engine.apply(depth_message(SNAPSHOT, {1: 1}, {3: 1}, sequence=1))
    for number, size in enumerate((5, 6, 5)):
        engine.apply(depth_message(DIFF, {1: size}, {}, time=2, sequence=2 + number))
    assert engine.bids.best() == (1, 5)
    assert engine.synced


def test_a_venue_without_checksums_counts_none() -> None:
    """An engine without a checksum style counts no checksum audits."""
    engine = engine_of(NO_CHECKSUM)
    engine.apply(depth_message(SNAPSHOT, {1: 1}, {2: 1}))
    assert not any(engine.audit_statistics()["checksum"].values())


@pytest.mark.parametrize("way", ["setting", "message", "subscription"])
def test_only_the_best_levels_stay_within_the_venues_depth(way: str) -> None:
    """Only the best levels stay, and a snapshot of the book keeps its levels."""
    rng = random.Random(3)
    depth = 7
    engine = engine_of(NO_CHECKSUM, depth if way == "setting" else 0)
    if way == "subscription":
        batch = depth_message(SUBSCRIPTION, {}, {}, depth=depth)
        engine.apply(batch)
    sides: tuple[Side, Side] = {}, {}
    for number in range(300):
        changes: tuple[Side, Side] = {}, {}
        for place, change in enumerate(changes):
            for _ in range(rng.randint(0, 12)):
                change[rng.randint(1, 40) + 100 * place] = rng.choice([0, 1, 5])
        kind = DIFF if number % 50 else SNAPSHOT
        if kind == SNAPSHOT:
            sides = {}, {}
        for side, change, is_bid in zip(sides, changes, (True, False), strict=True):
            side.update(change)
            for price in [price for price, size in side.items() if not size]:
                del side[price]
            for price in sorted(side, reverse=is_bid)[depth:]:
                del side[price]
        frozen = engine.snapshot()
        before = [levels.copy() for view in (frozen.bids, frozen.asks) for levels in view.levels()]
        engine.apply(depth_message(kind, *changes, depth=depth if way == "message" else 0))
        after = [levels for view in (frozen.bids, frozen.asks) for levels in view.levels()]
        assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
        frozen.release()
        for view, side in zip((engine.bids, engine.asks), sides, strict=True):
            prices, sizes = view.levels()
            assert dict(zip(prices.tolist(), sizes.tolist(), strict=True)) == side
