"""Verdicts: which word a day gets, and that none is said without what it claims."""

from __future__ import annotations

from typing import Any

import pytest

from cowbook.report.day_report import DayQuality
from cowbook.report.verdict import WORDS, Verdict, judge_day, worst_of

NOTHING = {"bookTicker": 0, "checksum": 0, "snapshot": 0}
PERFECT: dict[str, Any] = {
    "events": 1000,
    "depth_events": 900,
    "synced_events": 900,
    "depth_messages": 100,
    "unsynced_messages": 0,
    "early_messages": 0,
    "unnumbered": 0,
    "compared": 13,
    "compared_unsynced": 0,
    "snapshots": 1,
    "snapshots_judged": 1,
    "matched": {"bookTicker": 1234, "checksum": 0, "snapshot": 1},
    "first_snapshot_time": 1_700_000_000_000_000_000,
}
"""A proved day: synced all the time, with ids, tickers and a snapshot."""

FROM_PARTS: dict[str, Any] = dict.fromkeys(
    (
        *("depth_messages", "unsynced_messages", "early_messages", "unnumbered", "compared", "compared_unsynced"),
        *("snapshots", "matched"),
    )
) | {"first_snapshot_time": 0}


def judge(**changes: Any) -> Verdict:
    """The verdict on a perfect day but for these figures."""
    return judge_day(DayQuality("X", "2024-01-01", **PERFECT | changes))


@pytest.mark.parametrize(
    ("changes", "word", "reason"),
    [
        pytest.param({}, "proved", "1,234 tickers, 1 snapshot matched", id="perfect"),
        pytest.param(
            {"early_messages": 3, "unsynced_messages": 3, "synced_events": 890},
            "proved",
            "from 22:13:20 on: 1,234 tickers, 1 snapshot matched",
            id="begins_before_its_first_snapshot",
        ),
        pytest.param(
            {"compared": 0, "matched": NOTHING},
            "consistent",
            "ids show no gap, but nothing was there to compare with",
            id="nothing_compared",
        ),
        pytest.param(
            {"compared": 5, "compared_unsynced": 5, "matched": NOTHING, "early_messages": 5, "unsynced_messages": 5},
            "consistent",
            "from 22:13:20 on: ids show no gap, but nothing was there to compare with",
            id="compared_before_the_first_snapshot_only",
        ),
        pytest.param(
            {"compared": 0, "matched": NOTHING, "crossed": 1},
            "consistent",
            "ids show no gap, but nothing was there to compare with; 1 book crossed",
            id="crossed",
        ),
        pytest.param(
            {"compared": 0, "matched": NOTHING, "snapshots": 100, "snapshots_judged": 0},
            "consistent",
            "snapshots alone: what was between them is not known",
            id="snapshots_alone",
        ),
        pytest.param(
            {"unnumbered": 99, "matched": NOTHING | {"checksum": 12}},
            "consistent",
            "12 checksums matched, but no ids show that nothing is missing",
            id="checksums_without_ids",
        ),
        pytest.param(
            {"unnumbered": 99, "compared": 0, "matched": NOTHING},
            "not provable",
            "the messages have no ids, and nothing was there to compare with",
            id="neither_ids_nor_checksums",
        ),
        pytest.param({"gaps": 1}, "gap", "1 gap", id="gap_of_unknown_size"),
        pytest.param({"gaps": 2, "missing_updates": 24}, "gap", "2 gaps, 24 ids missing", id="gaps"),
        pytest.param(
            {"gaps": 1, "gap_times": (1_700_000_000_123_456_789,)}, "gap", "1 gap (22:13:20.123)", id="gap_whose_time_is_known"
        ),
        pytest.param(
            {"gaps": 4, "missing_updates": 9, "gap_times": (1, 10**9, 2 * 10**9, 3 * 10**9)},
            "gap",
            "4 gaps, 9 ids missing (00:00:00.000, 00:00:01.000, 00:00:02.000 …)",
            id="gaps_of_which_the_first_are_shown",
        ),
        pytest.param(
            {"gaps": 1, "missing_updates": 1, "failed": {"bookTicker": 2, "checksum": 0, "snapshot": 1}, "refuted": 3},
            "gap",
            "1 gap, 1 id missing, 2 tickers failed, 1 snapshot failed",
            id="gap_and_failed_audits",
        ),
        pytest.param(
            {"failed": NOTHING | {"checksum": 1}, "unnumbered": 99, "refuted": 1},
            "gap",
            "1 checksum failed",
            id="failed_checksum",
        ),
        pytest.param(
            {"first_snapshot_time": 0, "synced_events": 0, "unsynced_messages": 100, "early_messages": 100, "snapshots": 0},
            "not provable",
            "no depth snapshot so far",
            id="no_snapshot",
        ),
        pytest.param(
            {"synced_events": 0, "unsynced_messages": 100},
            "not provable",
            "not synced after any depth message: sync had ended before, and no snapshot followed",
            id="gap_on_an_earlier_day",
        ),
        pytest.param(
            {"synced_events": 700, "unsynced_messages": 40},
            "not provable",
            "not synced after 40 of 100 depth messages: sync had ended before, or with a rejected record",
            id="not_synced_until_a_snapshot",
        ),
        pytest.param({"synced_events": 899}, "not provable", "not synced all the time", id="checkpoint_of_an_older_release"),
        pytest.param({"depth_messages": 0, "depth_events": 0}, "not provable", "no depth message", id="trades_alone"),
        pytest.param({"depth_messages": 0, "depth_events": 0, "events": 0}, "not provable", "no usable record", id="nothing"),
        pytest.param(
            FROM_PARTS, "no fault found", "no gap, no failed comparison; 1 snapshot matched", id="parts_without_a_problem"
        ),
        pytest.param(
            FROM_PARTS | {"snapshots_judged": 0, "synced_events": 898},
            "no fault found",
            "no gap, no failed comparison; 2 rows of depth not synced",
            id="parts_with_unsynced_rows",
        ),
        pytest.param(FROM_PARTS | {"synced_events": 0}, "not provable", "no row is synced", id="parts_without_a_synced_row"),
        pytest.param(FROM_PARTS | {"gaps": 1}, "gap", "1 gap", id="parts_with_a_gap"),
    ],
)
def test_the_verdict_says_what_the_counts_show(changes: dict[str, Any], word: str, reason: str) -> None:
    """A word and its reason."""
    assert judge(**changes) == Verdict(word, reason)
    assert word in WORDS


def test_the_worst_word_stands_for_several_days() -> None:
    """A gap outweighs all others, and whatever is proved is outweighed by all."""
    assert worst_of(WORDS) == "gap"
    assert worst_of(["proved", "consistent"]) == "consistent"
    assert worst_of(["no fault found", "proved"]) == "no fault found"
    assert worst_of(["not provable", "consistent"]) == "not provable"
