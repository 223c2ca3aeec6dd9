"""Databento: pictures where an event ends, books that may be bad, publishers, trades with a side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cowbook import replay
from cowbook.input.verdict import UNUSED, OtherSymbol, Rejected
from cowbook.plain.messages import HAS_NO_SIDE, IS_PICTURE, NONE, SELL_AGGRESSOR, SNAPSHOT, TRADE
from support.dbn import LAST, make
from support.harness import Run, reconstruct
from support.verdicts import book_of, decode, engine_after, message_of

TIME = 1_700_000_000_000_000_000
MAYBE_BAD = 4


def picture(time: int = TIME, bids: str = '["1.5",2]', flags: int = LAST, **more: Any) -> bytes:
    """A line of `mbp-10`."""
    values = {"schema": "mbp-10", "symbol": "A-B", "publisher": 1, "flags": flags, "ts_event": time} | more
    return json.dumps(values, separators=(",", ":")).encode()[:-1] + b',"bids":[%s],"asks":[["1.6",1]]}' % bids.encode()


def test_each_picture_at_the_end_of_an_event_is_the_book(tmp_path: Path) -> None:
    """Those before it in the event are none: half an event may show a book that never was."""
    message = message_of("databento", picture())
    assert (message.kind, message.flags, message.last_id, message.ts_event) == (SNAPSHOT, IS_PICTURE, NONE, TIME)
    assert decode("databento", picture(flags=2)) is UNUSED
    engine = engine_after(tmp_path, "databento", [picture(), picture(TIME + 1, '["1.7",9]', 0), picture(TIME + 2, '["1.4",3]')])
    assert book_of(engine) == ({140: 3000}, {160: 1000})
    assert engine.synced


def test_a_book_that_may_be_bad_ends_sync(tmp_path: Path) -> None:
    """Until the next one that is not."""
    rejected = decode("databento", picture(flags=LAST | MAYBE_BAD))
    assert isinstance(rejected, Rejected)
    assert (rejected.reason, "F_MAYBE_BAD_BOOK" in rejected.detail) == ("damaged", True)
    lines = [picture(), picture(TIME + 1, '["1.4",3]', LAST | MAYBE_BAD)]
    assert not engine_after(tmp_path, "databento", lines).synced
    assert engine_after(tmp_path, "databento", [*lines, picture(TIME + 2)]).synced


def test_publishers_and_depths_are_books_of_their_own() -> None:
    """Each has a channel."""
    others = [picture(publisher=2), picture(schema="mbp-1"), picture(schema="mbp-1", publisher=2)]
    channels = [message_of("databento", line).channel for line in (picture(), *others)]
    assert len(set(channels)) == 4
    assert isinstance(decode("databento", picture(publisher=0)), Rejected)


def test_a_trade_has_the_side_of_its_aggressor() -> None:
    """Or none, as those of auctions; none has an id."""
    trade = {"schema": "trades", "symbol": "A-B", "publisher": 1, "flags": 0, "side": "A", "ts_event": TIME}
    trade |= {"price": "1.5", "size": 3}
    message = message_of("databento", trade)
    assert (message.kind, message.flags, message.last_id, message.bid_prices) == (TRADE, SELL_AGGRESSOR, NONE, [150])
    assert message_of("databento", trade | {"side": "B"}).flags == 0
    assert message_of("databento", trade | {"side": "N"}).flags == HAS_NO_SIDE
    assert decode("databento", trade | {"symbol": "X"}) == OtherSymbol("X")
    assert decode("databento", {"rtype": 23}) is UNUSED


@pytest.mark.parametrize("schema", ["mbp-1", "mbp-10"])
def test_a_file_shows_the_books_and_trades_that_were_put_in(tmp_path: Path, schema: str) -> None:
    """Each picture equals the best levels of a naive book, and every trade is there."""
    made = make(schema, 7, 600)
    path = tmp_path / "a.dbn.zst"
    path.write_bytes(zstandard.compress(made.content))
    shown: list[Any] = []
    trades: list[tuple[int, ...]] = []
    for book in replay(str(path), "ESZ3", format="databento", numbers="int64", price_decimals=9, size_decimals=0):
        sides = [dict(zip(*(array.tolist() for array in view.levels()), strict=True)) for view in (book.bids, book.asks)]
        shown.append((sorted(sides[0].items(), reverse=True), sorted(sides[1].items())))
        found = book.trades
        trades += zip(found.time.tolist(), found.price.tolist(), found.size.tolist(), found.side.tolist(), strict=True)
    expected = [(bids, asks) for _, bids, asks in made.pictures]
    assert _runs([each for each in shown if each != ([], [])]) == _runs([each for each in expected if each != ([], [])])
    assert trades == [(time, price, size, -1 if side == "sell" else 1) for time, price, size, side in made.trades]


def test_a_file_that_grows_gives_the_parts_of_the_whole(tmp_path: Path) -> None:
    """Each run stops in the middle of a record, and the next one goes on there."""
    content = make("mbp-10", 8, 200).content
    run = Run(name="ESZ3", format="databento")
    whole = reconstruct(tmp_path / "whole", {"a": content}, run)
    for size in (len(content) // 3, len(content) // 2 + 5, len(content)):
        grown = reconstruct(tmp_path / "grown", {"a": content[:size]}, run)
    assert grown.parts == whole.parts


def _runs(books: list[Any]) -> list[Any]:
    """Each book that differs from the one before."""
    return [book for place, book in enumerate(books) if place == 0 or books[place - 1] != book]
