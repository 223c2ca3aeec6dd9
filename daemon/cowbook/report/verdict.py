"""The verdict on a day: one of a few words, with the reason.

A word is only said where the counts show it. An output directory has what contradicts a book, and not what proves it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cowbook.report.day_report import DayQuality

PROVED = "proved"
CONSISTENT = "consistent"
GAP = "gap"
NOT_PROVABLE = "not provable"
NO_FAULT_FOUND = "no fault found"

WORDS = {
    PROVED: "as far as it is known, the book was synced all the time, no ids are missing, and all that was compared matched",
    CONSISTENT: "nothing contradicts the book, but it is not proved: the reason says what was not there",
    GAP: "messages are missing, or a comparison showed that the book was wrong: the reason says which",
    NOT_PROVABLE: "nothing shows whether the book is right: the reason says why",
    NO_FAULT_FOUND: "the output has no gap and no failed comparison; what proves a book is counted in the state directory alone",
}
"""The words, with what they mean."""

_FROM_BEST = (PROVED, CONSISTENT, NO_FAULT_FOUND, NOT_PROVABLE, GAP)

_SHOWN_TIMES = 3

_NAMES = {"bookTicker": ("ticker", "tickers"), "checksum": ("checksum", "checksums"), "snapshot": ("snapshot", "snapshots")}
"""What audits are called, one and several, by kind."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word, and why."""

    word: str
    reason: str


def judge_day(day: DayQuality) -> Verdict:
    """Returns the verdict on a day."""
    problems = _problems(day)
    if problems:
        return Verdict(GAP, ", ".join(problems))
    if day.depth_messages is None:
        return _judge_output(day)
    if day.depth_messages == 0:
        return Verdict(NOT_PROVABLE, "no depth message" if day.events else "no usable record")
    reason = _why_unsynced(day, day.depth_messages)
    if reason is not None:
        return Verdict(NOT_PROVABLE, reason)
    return _judge_synced(day, day.depth_messages)


def worst_of(words: Collection[str]) -> str:
    """The word that says the least for a book."""
    return max(words, key=_FROM_BEST.index)


def _judge_output(day: DayQuality) -> Verdict:
    """The verdict on a day of which only the rows are known, and that nothing contradicts."""
    if day.depth_events and not day.synced_events:
        return Verdict(NOT_PROVABLE, "no row is synced")
    unsynced = day.depth_events - day.synced_events
    shown = [
        "no gap, no failed comparison",
        *([f"{_count(day.snapshots_judged, *_NAMES['snapshot'])} matched"] if day.snapshots_judged else []),
        *([f"{_count(unsynced, 'row', 'rows')} of depth not synced"] if unsynced else []),
    ]
    return Verdict(NO_FAULT_FOUND, "; ".join(shown))


def _problems(day: DayQuality) -> list[str]:
    """What contradicts the book."""
    problems = []
    if day.gaps:
        text = _count(day.gaps, "gap", "gaps")
        missing = f", {_count(day.missing_updates, 'id', 'ids')} missing" if day.missing_updates else ""
        problems.append(f"{text}{missing}{_times(day.gap_times or ())}")
    return problems + [f"{_count(count, *_NAMES[kind])} failed" for kind, count in day.failed.items() if count]


def _why_unsynced(day: DayQuality, messages: int) -> str | None:
    """Why a day without a contradiction was not synced from the first snapshot on; None if it was."""
    if not day.first_snapshot_time and not day.synced_events:
        return "no depth snapshot so far"
    later = (day.unsynced_messages or 0) - (day.early_messages or 0)
    if later > 0:
        if later == messages:
            return "not synced after any depth message: sync had ended before, and no snapshot followed"
        return f"not synced after {later:,} of {messages:,} depth messages: sync had ended before, or with a rejected record"
    if day.synced_events < day.depth_events and not day.unsynced_messages:
        return "not synced all the time"  # from the checkpoint of an older release
    return None


def _judge_synced(day: DayQuality, messages: int) -> Verdict:
    """The verdict on a day that was synced from the first snapshot on, and that nothing contradicts."""
    matched = ", ".join(_count(count, *_NAMES[kind]) for kind, count in (day.matched or {}).items() if count)
    since = "" if not day.early_messages else f"from {_clock(day.first_snapshot_time)} on: "
    crossed = f"; {_count(day.crossed, 'book', 'books')} crossed" if day.crossed else ""
    if day.unnumbered and not day.verified:
        return Verdict(NOT_PROVABLE, "the messages have no ids, and nothing was there to compare with")
    if day.unnumbered:
        return Verdict(CONSISTENT, f"{since}{matched} matched, but no ids show that nothing is missing{crossed}")
    if day.verified:
        return Verdict(PROVED, f"{since}{matched} matched")
    if messages == (day.snapshots or 0) + (day.snapshots_judged or 0):
        return Verdict(CONSISTENT, f"{since}snapshots alone: what was between them is not known{crossed}")
    return Verdict(CONSISTENT, f"{since}ids show no gap, but nothing was there to compare with{crossed}")


def _count(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def _times(times: Sequence[int]) -> str:
    """The first few times of gaps, in brackets."""
    if not times:
        return ""
    shown = [f"{_clock(time)}.{time // 1_000_000 % 1000:03}" for time in times[:_SHOWN_TIMES]]
    return f" ({', '.join(shown)}{' …' if len(times) > _SHOWN_TIMES else ''})"


def _clock(time: int) -> str:
    """The time of day in UTC."""
    seconds = time // 1_000_000_000 % 86_400
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
