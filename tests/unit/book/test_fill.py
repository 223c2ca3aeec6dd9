"""Idle points of the grid: rows for all of them, in rounds, bounded, and the same ones after a restart among them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cowbook.book.order_book_engine import OrderBookEngine
from support.oracle import OracleSettings
from support.oracle import run as run_oracle
from support.oracle_pipeline import Pipeline

SECOND, START = 10**9, 1_723_161_600
SETTINGS = OracleSettings(book_levels=2, book_fill=True, streams=("depth", "trades", "book", "features", "frame"))


def snapshot(number: int, bid: str) -> str:
    """A snapshot of two levels."""
    return f'{{"lastUpdateId":{number},"bids":[["{bid}","1"]],"asks":[["11","1"]]}}'


def diff(number: int, seconds: float, bid: str) -> str:
    """A diff of one level, so many seconds behind the start."""
    ms = round((START + seconds) * 1000)
    return f'{{"e":"depthUpdate","E":{ms},"s":"BTCUSDT","U":{number},"u":{number},"b":[["{bid}","2"]],"a":[]}}'


def trade(number: int, seconds: float) -> str:
    """A trade."""
    ms = round((START + seconds) * 1000)
    return f'{{"e":"trade","E":{ms},"T":{ms},"s":"BTCUSDT","t":{number},"p":"10","q":"1","m":true}}'


def content(*lines: str) -> bytes:
    """A file of these lines."""
    return "\n".join(lines).encode() + b"\n"


def rows_of(pipeline: Pipeline, stream: str) -> list[dict[str, object]]:
    """All rows of a stream."""
    return [row for cut in pipeline.cuts for row in cut.rows[stream]]


def ran(file: bytes, settings: OracleSettings, kind: type[Pipeline] = Pipeline) -> Pipeline:
    """A run over one file, which is held against the oracle."""
    pipeline = kind(settings)
    pipeline.run([file], 1 << 20)
    expected = run_oracle([("file-0", file)], settings)
    assert [(cut.first, cut.last, cut.number, cut.rows) for cut in pipeline.cuts] == [
        (cut.first, cut.last, cut.number, cut.rows) for cut in expected.cuts
    ]
    return pipeline


class RestartingAtCuts(Pipeline):
    """Goes on with an engine from a checkpoint at each cut: also where the message that ended a silence is not consumed."""

    def cut(self) -> None:
        """Restore a new engine."""
        super().cut()
        self.engine = OrderBookEngine.restore(self.engine.settings, self.engine.get_checkpoint_state())


SILENCE = content(snapshot(1, "9"), diff(2, 0.5, "9"), trade(1, 2), diff(3, 40.25, "9.5"), trade(2, 40.5), trade(3, 44.5))


def test_each_point_has_a_row_with_the_book_as_it_stands() -> None:
    """Behind a depth message, behind a trade, and through a silence."""
    pipeline = ran(SILENCE, SETTINGS)
    for stream in ("book", "features"):
        rows = rows_of(pipeline, stream)
        assert [row["ts"] for row in rows] == [(START + second) * SECOND for second in range(1, 45)]
    book = rows_of(pipeline, "book")
    assert {row["bid_px_00"] for row in book[:40]} == {9 * 10**8}
    assert {row["bid_px_00"] for row in book[40:]} == {95 * 10**7}
    assert [row["sell_count"] for row in rows_of(pipeline, "features")][:4] == [0, 1, 0, 0]


def test_without_it_idle_points_have_none() -> None:
    """Only points behind a changed book."""
    rows = rows_of(ran(SILENCE, replace(SETTINGS, book_fill=False)), "book")
    assert [row["ts"] for row in rows] == [(START + second) * SECOND for second in (1, 41)]


@pytest.mark.parametrize("most", [1, 2, 7])
def test_a_restart_in_the_middle_of_a_silence_changes_no_row(most: int) -> None:
    """Open rows force cuts between the rows of one silence."""
    settings = replace(SETTINGS, most_open_rows=most)
    one, other = ran(SILENCE, settings), ran(SILENCE, settings, RestartingAtCuts)
    assert one.cuts == other.cuts
    assert len(one.cuts) > 40 // most


def test_only_the_first_point_of_more_than_a_day_has_a_row() -> None:
    """It may be a wrong clock. A day has them all."""
    day = 86_400
    interval = replace(SETTINGS, book_interval_ns=3600 * SECOND)
    counts = []
    for seconds in (day, day + 0.5):
        file = content(snapshot(1, "9"), diff(2, 0, "9"), diff(3, seconds, "9.5"))
        counts.append(len(rows_of(ran(file, interval), "book")))
    assert counts == [24, 1]


def test_points_come_again_behind_a_time_reset() -> None:
    """A time more than a day back takes the grid with it."""
    two_days = 2 * 86_400.0
    file = content(snapshot(1, "9"), diff(2, two_days, "9"), diff(3, two_days + 2.5, "8"), diff(4, 0, "9"), diff(5, 2.5, "8"))
    rows = rows_of(ran(file, SETTINGS), "book")
    assert [row["ts"] for row in rows] == [(START + second) * SECOND for second in (172_800, 172_801, 172_802, 0, 1, 2)]


def test_more_rows_than_there_is_room_for_at_a_time() -> None:
    """86,400 points, for which room is made again and again, and a cut behind 60,000."""
    settings = replace(SETTINGS, most_open_rows=60_000, streams=("book",), book_levels=1)
    pipeline = Pipeline(settings)
    pipeline.run([content(snapshot(1, "9"), diff(2, 0, "9"), diff(3, 86_400, "9.5"))], 1 << 20)
    assert [len(cut.rows["book"]) for cut in pipeline.cuts] == [60_000, 26_400]
