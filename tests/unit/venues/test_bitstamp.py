"""Bitstamp: ids are times, and answers are spliced by them."""

from __future__ import annotations

import json
from typing import Any

from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import UNUSED, OtherSymbol, Rejected
from cowbook.venues import load_venue
from support.in_memory import Outcome, go_through

START = 1_700_000_000_000_000


def diff(time: int, bids: Any = (), asks: Any = (), pair: str = "btcusd") -> str:
    """A change, so many µs after the start."""
    book = {"timestamp": "1700000000", "microtimestamp": str(START + time), "bids": list(bids), "asks": list(asks)}
    return json.dumps({"data": book, "channel": f"diff_order_book_{pair}", "event": "data"})


def answer(time: int, bids: Any = (), asks: Any = (), pair: str = "btcusd") -> str:
    """An answer with its address."""
    book = {"timestamp": "1700000000", "microtimestamp": str(START + time), "bids": list(bids), "asks": list(asks)}
    return f"https://www.bitstamp.net/api/v2/order_book/{pair}/ -> 1700000000.5: {json.dumps(book)}"


def run(*lines: str) -> Outcome:
    """What comes of records."""
    return go_through("bitstamp", "btcusd", ["\n".join([*lines, ""]).encode()])


BID, ASK = ["10.0", "1"], ["11.0", "1"]


def test_changes_above_the_answer_apply_and_others_are_stale() -> None:
    """Also where the answer comes after newer changes, which are applied again."""
    changes = [diff(10, [["9.0", "1"]]), diff(20, [["9.0", "2"]]), diff(30, [], [["12.0", "3"]])]
    for records in ([answer(20, [BID, ["9.0", "2"]], [ASK]), *changes], [*changes, answer(20, [BID, ["9.0", "2"]], [ASK])]):
        outcome = run(*records)
        assert outcome.book == ({100: 100, 90: 200}, {110: 100, 120: 300})
        assert outcome.engine.synced
        assert outcome.engine.last_id == START + 30
        assert outcome.engine.gap_statistics()["gaps"] == 0


def test_an_answer_shows_what_was_lost() -> None:
    """Nothing else does."""
    whole = [answer(5, [BID], [ASK]), diff(10, [["9.0", "1"]]), diff(20, [["10.0", "2"]])]
    good = run(*whole, answer(15, [BID, ["9.0", "1"]], [ASK]))
    assert good.engine.audit_statistics()["snapshot"]["matched"] == 1
    lost = run(whole[0], whole[2], answer(15, [BID, ["9.0", "1"]], [ASK]), diff(30))
    assert lost.count("levels_learned") == 1  # below what the first answer has shown
    wrong = run(*whole[:2], answer(15, [["10.0", "5"], ["9.0", "1"]], [ASK]), diff(30))
    assert wrong.engine.audit_statistics()["snapshot"]["failed"] == 1
    assert not wrong.engine.synced


def test_an_unlabelled_answer_is_nobodys_where_several_symbols_are() -> None:
    """Ids that only rise would join any."""
    unlabelled = answer(20, [["99.0", "1"]], [ASK]).partition(": ")[2]
    alone = run(unlabelled, diff(30))
    assert alone.engine.synced
    outcome = run(answer(5, [BID], [ASK]), diff(10, pair="ethusd"), unlabelled, diff(30))
    assert outcome.book == ({100: 100}, {110: 100})
    assert outcome.count("foreign_snapshots") == 1
    assert outcome.engine.synced


def test_a_wrong_time_far_ahead_stops_the_book_for_a_thousand_changes() -> None:
    """They are stale; the thousandth is a gap, and answers bring sync back and judge as before."""
    changes = [diff(10 * number, [["9.0", str(number)]]) for number in range(2, 1102)]
    outcome = run(answer(5, [BID], [ASK]), diff(10**12, [["8.0", "1"]]), *changes)
    assert outcome.count("stale") == 999
    assert [row["missing"] for row in outcome.rows["gaps"]] == [None]
    assert outcome.book == ({100: 100, 90: 110_100, 80: 100}, {110: 100})
    assert not outcome.engine.synced
    whole = answer(11_010, [BID, ["9.0", "1101"]], [ASK])
    judged = run(answer(5, [BID], [ASK]), diff(10**12), *changes, whole, diff(11_020, [], [["12.0", "1"]]), whole, diff(11_030))
    assert judged.engine.synced
    assert judged.engine.audit_statistics()["snapshot"]["matched"] == 1


def test_a_requested_reconnect_ends_sync() -> None:
    """What was sent between the two connections is lost."""
    reconnect = '1700000000.5: {"event":"bts:request_reconnect","channel":"","data":""}'
    outcome = run(answer(5, [BID], [ASK]), diff(10), reconnect, diff(20))
    assert not outcome.engine.synced
    assert run(answer(5, [BID], [ASK]), reconnect, diff(20), answer(20, [BID], [ASK])).engine.synced


def test_what_is_not_used() -> None:
    """Answers that cannot be spliced, single orders, other channels."""
    decode = load_venue("bitstamp").decode_record
    assert decode is not None
    settings = DecoderSettings("btcusd", 2, 3, 10_000)
    old = answer(5).replace(', "microtimestamp"', ', "x"')
    assert decode(old.encode(), settings) is UNUSED
    assert decode(answer(5).replace("/ ->", "/?group=2 ->").encode(), settings) is UNUSED
    assert decode(answer(5, pair="ethusd").encode(), settings) == OtherSymbol("ethusd")
    assert decode(diff(5, pair="ethusd").encode(), settings) == OtherSymbol("ethusd")
    assert decode(diff(5).replace("diff_order_book", "detail_order_book").encode(), settings) is UNUSED
    trade = {"id": 7, "microtimestamp": str(START), "price_str": "1.5", "amount_str": "1", "type": 2}
    record = {"data": trade, "channel": "live_trades_btcusd", "event": "trade"}
    assert isinstance(decode(json.dumps(record).encode(), settings), Rejected)
