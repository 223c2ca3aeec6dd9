"""Known situations of real captures through the real command line; what is right in each is decided beside its input."""

from __future__ import annotations

from decimal import Decimal

import pytest

from support.cases import CASES, Outcome, Part, case_names, expected_of, judge, run_case

NAMES = case_names()


def test_there_are_cases() -> None:
    """Where the cases are, there are some to judge."""
    if not CASES.is_dir():
        pytest.skip(f"the cases are not there: {CASES}")
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", NAMES)
def test_a_known_situation_comes_out_right(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that is decided of it."""
    assert judge(expected_of(name), run_case(name, tmp_path_factory.mktemp("run"))) == []


def outcome() -> Outcome:
    """One of a book of two levels."""
    row = {"event_index": 0, "side": "bid", "price": Decimal(5), "size": Decimal(1), "kind": "change", "is_last": True}
    best = {"bid_price": Decimal(5), "bid_size": Decimal(1), "ask_price": None, "ask_size": None, "event_index": 0}
    parts = {"depth": [Part("2025-06-15", [row | {"synced": False}])], "bbo": [Part("2025-06-15", [best])]}
    return Outcome(0, {"gaps": 0, "audits": {"snapshot": {"failed": 0}}}, '{"error": "a ZIP of it"}', parts)


RIGHT = [
    {"summary": {"gaps": 0, "audits.snapshot.failed": 0}},
    {"summary": {"gaps": {"min": 0}}},
    {"book_end": {"bids": [["5", "1"]], "asks": []}},
    {"bbo_last": {"bid_price": "5.0", "ask_price": None}},
    {"rows": {"depth": 1, "gaps": 0, "bbo": {"min": 1}}},
    {"rows_unsynced": {"depth": 1}},
    {"max_part_rows": {"depth": 1}},
    {"last_date": {"depth": "2025-06-15"}},
    {"stderr_or_json_contains": ["tar|zip", "error"]},
    {"exit": [0, 1], "summary": {"gaps": 0}},
    {"exit": 1, "summary": {"gaps": 0}, "or": {"exit": 0, "rows": {"depth": 1}}},
]

WRONG = [
    {},
    {"exit": 0},
    {"exit": 0, "what": "nothing to judge", "decision": "D1"},
    {"nonsense": 1, "summary": {"gaps": 0}},
    {"summary": {"gaps": 1}},
    {"summary": {"gaps": False}},
    {"summary": {"time_resets": 0}},
    {"summary": {"audits.checksum.failed": 0}},
    {"summary": {"gaps": {"min": 1}}},
    {"summary": {"time_resets": {"min": 0}}},
    {"book_end": {"bids": [["5", "2"]], "asks": []}},
    {"book_end": {"bids": [["5", "1"], ["4", "1"]], "asks": []}},
    {"bbo_last": {"bid_price": "6"}},
    {"bbo_last": {"bid_known": None}},
    {"book_last": {"bid_px_00": None}},
    {"rows": {"depth": 2}},
    {"rows_unsynced": {"depth": 0}},
    {"rows_unsynced": {"book": 0}},
    {"max_part_rows": {"depth": 0}},
    {"max_part_rows": {"dead_letter": 100}},
    {"last_date": {"depth": "2025-06-16"}},
    {"last_date": {"book": "2025-06-15"}},
    {"stderr_or_json_contains": ["ip"]},
    {"stderr_or_json_contains": ["Zip"]},
    {"exit": 1, "summary": {"gaps": 0}},
    {"exit": 1, "summary": {"gaps": 0}, "or": {"exit": 0, "rows": {"depth": 2}}},
    {"exit": 1, "summary": {"gaps": 0}, "or": {"exit": 0}},
]


@pytest.mark.parametrize("expected", RIGHT, ids=str)
def test_the_judge_takes_what_is_right(expected: dict[str, object]) -> None:
    """Each key, with a value that fits."""
    assert judge(expected, outcome()) == []


@pytest.mark.parametrize("expected", WRONG, ids=str)
def test_the_judge_refuses_what_is_wrong_or_says_nothing(expected: dict[str, object]) -> None:
    """Each key, with a value that does not fit; what is not there fits nothing."""
    assert judge(expected, outcome())


def test_the_judge_refuses_a_depth_that_does_not_fold() -> None:
    """The end may be right by chance: the fold must be the book all the way, and there must be one."""
    book = {"book_end": {"bids": [["5", "1"]], "asks": []}}
    for change in ({"bid_size": Decimal(2)}, {"event_index": 1}, {"ask_price": Decimal(7)}):
        wrong = outcome()
        wrong.parts["bbo"][0].rows[0] |= change
        assert judge(book, wrong)
    for stream in ("depth", "bbo"):
        wrong = outcome()
        del wrong.parts[stream]
        assert judge({"book_end": {"bids": [], "asks": []}}, wrong)
