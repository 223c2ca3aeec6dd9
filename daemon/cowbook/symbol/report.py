"""A worker's report to users about its input: dead letters as they arrive, and the summary at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cowbook.book.order_book_engine import OrderBookEngine
from cowbook.checkpoint.pipeline_state import DecoderState, DriftTotals
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.connections import addresses_of
from cowbook.plain.counting import counted
from cowbook.plain.merge_state import SourceFigures
from cowbook.plain.messages import FUTURES, SPOT, DeadLetter, EventBatch
from cowbook.plain.vocabulary import SPEED_NAMES
from cowbook.symbol.naming import has_named, nobody_names
from cowbook.symbol.summary import SymbolSummary
from cowbook.venues import load_venue
from cowbook.venues.recognise import what_records_are

_LOGGED_DEAD_LETTERS = 5
"""How many dead letters are logged one by one. All are counted and written."""

_SNIFFED_DEAD_LETTERS = 64

_REJECTED_IN_A_ROW = 1_000
"""After so many rejected records in a row, an input that was usable is called unusable."""

_CLOCKS_APART_SECONDS = 60
_FOREIGN_RECORDS = 1_000
"""After so many records of other symbols and none of its own it is logged: an input that is followed has no end to say it."""

_GAPS_OF_A_PART = 10
"""After so many gaps in the numbers of a connection the capture may hold a part of its records, rather than have lost some."""

_COUNTS = (
    *("messages", "other_symbol", "unused", "crossed", "locked", "compared", "compared_unsynced", "refuted"),
    *("witnesses", "levels_compared", "levels_wrong", "levels_learned"),
)
"""Counts of the engine that the summary has under the same name."""


class SymbolReport:
    """Collects what users should know about one symbol's input."""

    def __init__(self, decoder: DecoderSettings, format_name: str, log: Any) -> None:
        self._symbol = decoder.name
        self._settings = decoder
        self._format = format_name
        self._looks_like: str | None = None  # what the first rejected record is, of which anybody knows it
        self._sniffed = 0
        self._first_rejected: DeadLetter | None = None
        self._rejected_in_row = 0  # dead letters since the last accepted message
        self._accepted = -1  # messages then
        self._log = log
        self._logged = 0
        self.misfit: tuple[int, str] | None = None
        """Offset of the first record with a value that is out of range, and its error; None if there is none."""
        self.is_named = False
        """Whether a usable record named the symbol."""
        self._said_foreign = False

    def note_names(self, batch: EventBatch, engine: OrderBookEngine, other_symbols: Sequence[str]) -> None:
        """Look for the first record that names the symbol, and log when many name others only."""
        if self.is_named:
            return
        self.is_named = has_named(batch.messages[: batch.message_count])
        if not self._said_foreign and engine.value("other_symbol") >= _FOREIGN_RECORDS:
            text = self.nobody_names_it(other_symbols)
            self._said_foreign = text is not None
            if text is not None:
                self._log.warning(text)

    def nobody_names_it(self, other_symbols: Sequence[str]) -> str | None:
        """What to say if no usable record so far names the symbol, but some name others; None otherwise.

        None, too, if a value was out of range: that record names it, or may do so.
        """
        return None if self.is_named or self.misfit is not None else nobody_names(self._symbol, other_symbols)

    def note_dead_letters(self, letters: Sequence[DeadLetter], accepted: int) -> None:
        """Log the first dead letters, then once that more follow, and each damage. `accepted` messages precede them."""
        if accepted != self._accepted:
            self._accepted, self._rejected_in_row = accepted, 0
        self._rejected_in_row += len(letters)
        for letter in letters:
            self._first_rejected = self._first_rejected or letter
            if letter.reason == "damaged":
                self._log.warning(
                    "the input is damaged: what is lost there is unknown, so the book is not synced until a snapshot comes",
                    detail=letter.detail,
                    remedy="put a sound copy in its place and begin again with --allow-fresh, to have what is missing",
                )
                continue
            if letter.reason == "out_of_range" and self.misfit is None:
                self.misfit = letter.offset, letter.detail
            self._sniff(letter)
            if self._logged == _LOGGED_DEAD_LETTERS:
                self._log.warning("more dead letters follow: they are only counted and written")
            if self._logged <= _LOGGED_DEAD_LETTERS:
                self._logged += 1
            if self._logged <= _LOGGED_DEAD_LETTERS:
                self._log.warning(
                    "dead letter",
                    file=letter.file,
                    offset=letter.offset,
                    length=letter.length,
                    reason=letter.reason,
                    detail=letter.detail,
                )

    def _sniff(self, letter: DeadLetter) -> None:
        """Check whether the record fits another format. Only the first few whose content is complete are checked."""
        if self._looks_like is None and self._sniffed < _SNIFFED_DEAD_LETTERS and len(letter.content) == letter.length:
            self._sniffed += 1
            self._looks_like = what_records_are([letter.content], self._format, self._settings)

    def nothing_usable(self, engine: OrderBookEngine, other_symbols: Sequence[str]) -> str | None:
        """What to say of an input that has records, none of which could be used; None for any other."""
        count = _unused_records(engine)
        if engine.value("messages") or not count:
            return None
        foreign = self.nobody_names_it(other_symbols)
        if foreign is not None:
            return foreign
        return f"no usable record in the input, of {count:,}: {self._why_unusable(engine)}"

    def problem(self, engine: OrderBookEngine, other_symbols: Sequence[str]) -> str | None:
        """What a person should know of an input that goes on and gives nothing; None if it gives something.

        That is an input of which nothing could be used so far, or of which no record for long.
        """
        if engine.value("messages") == 0:
            is_plain = sum(engine.dead_letter_statistics().values()) > 0 or engine.value("other_symbol") >= _FOREIGN_RECORDS
            return self.nothing_usable(engine, other_symbols) if is_plain else None
        if self._rejected_in_row < _REJECTED_IN_A_ROW or engine.value("messages") != self._accepted:
            return None
        return f"the last {self._rejected_in_row:,} records were rejected, and none was used: {self._why_unusable(engine)}"

    def _why_unusable(self, engine: OrderBookEngine) -> str:
        if self._looks_like is not None:
            return self._looks_like
        if self.misfit is not None:
            return self.misfit[1]
        letter = self._first_rejected
        if letter is not None and letter.reason == "damaged":
            return letter.detail
        if letter is not None:
            return f"the first is {letter.reason}, in {letter.file} at offset {letter.offset}: {letter.detail}"
        counts = engine.dead_letter_statistics() | {
            "of other symbols": engine.value("other_symbol"),
            "unused": engine.value("unused"),
        }
        shown = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        return f"{shown or 'tickers alone'}; the stream dead_letter has what was rejected"

    def fill(self, summary: SymbolSummary, engine: OrderBookEngine, decoder: DecoderState, drift: DriftTotals) -> None:
        """Write the counts since the start of the input into the summary. `drift` has the sums over all of the input."""
        summary.events = engine.event_count
        for name in _COUNTS:
            setattr(summary, name, engine.value(name))
        for name, value in engine.gap_statistics().items():
            setattr(summary, name, value)
        summary.drift_rows = engine.value("drifts")
        summary.drift_levels = drift.levels
        summary.dead_letters = engine.dead_letter_statistics()
        summary.audits = engine.audit_statistics()
        summary.depth_messages = sum(engine.value(name) for name in ("diffs", "snapshots", "witnesses"))
        summary.tickers_near, summary.tickers_far = engine.value("tickers_near"), engine.value("tickers_far")
        summary.synced = engine.synced
        summary.days = engine.days()
        summary.input_bytes = decoder.input_bytes
        summary.warnings += [text for text in self._warnings(engine, decoder) if text != summary.error]

    def _warnings(self, engine: OrderBookEngine, decoder: DecoderState) -> list[str]:
        """Returns warnings for users about a run that succeeded."""
        foreign = self.nobody_names_it(decoder.other_symbols)
        warnings = [foreign] if foreign is not None else []
        if engine.value("messages") == 0:
            if foreign is None:
                warnings.append(self.nothing_usable(engine, decoder.other_symbols) or "no usable record in the input")
        elif engine.value("snapshots") == 0 and engine.value("diffs") > 0:
            warnings.append("no depth snapshot in the input: the book is built from diffs alone and never synced")
        checksums = engine.audit_statistics()["checksum"]
        failed = checksums["failed"] + checksums["failed_unsynced"]
        if failed and not checksums["matched"] + checksums["matched_unsynced"]:
            warnings.append(f'none of {failed} checksums matched: is it format = "{self._format}", and are all records there?')
        if count := engine.value("dead_damaged"):
            places = "place" if count == 1 else "places"
            warnings.append(
                f"the input is damaged in {count} {places}: what is lost there is unknown. The stream dead_letter names file and "
                "offset (reason: damaged); with sound copies, begin again with --allow-fresh"
            )
        if self.misfit is not None:
            count = engine.value("dead_out_of_range")
            warnings.append(f"out of range: {counted(count, 'record')}, the first at offset {self.misfit[0]}: {self.misfit[1]}")
        warnings += self._notes_of_time_and_market(engine)
        own, other = addresses_of(decoder.connection)
        if other:
            warnings.append(
                f"the input has {self._symbol} from several connections, {own} and {other}: the book is that of {own}, and what "
                f'is of the other is unused; channel = "{other}" would take that one'
            )
        if engine.waits_for_time:
            warnings.append("a depth snapshot without any time was left: no message followed that could give it one")
        return warnings

    def _notes_of_time_and_market(self, engine: OrderBookEngine) -> list[str]:
        notes = []
        if count := engine.value("time_resets"):
            notes.append(
                f"time fell back by more than a day {counted(count, 'time')}: a record before that had a wrong time in the future"
            )
        both = 1 << SPOT | 1 << FUTURES
        if engine.value("markets_seen") & both == both:
            own = {SPOT: "spot", FUTURES: "futures"}.get(engine.value("market"), "rpi")
            other = "futures" if own == "spot" else "spot"
            notes.append(
                f"the input has {self._symbol} of two markets, spot and futures: the book is that of {own}, and what is of "
                f'{other} is unused; channel = "{other}" would take that one'
            )
        if engine.value("connection_gaps") >= _GAPS_OF_A_PART:
            missing = engine.value("connection_missing")
            share = missing / (missing + engine.value("connection_records"))
            notes.append(
                f"{share:.0%} of the connection's numbers are missing, in {engine.value('connection_gaps'):,} places: if the "
                'capture was meant to hold only some of its products or channels, connection_numbers = "ignore" would read it; '
                "the numbers then prove nothing"
            )
        return notes + self._notes_of_channels(engine)

    def _notes_of_channels(self, engine: OrderBookEngine) -> list[str]:
        """Other books of the symbol that the input has, by the names that `channel` takes."""
        names = {number: name for name, number in load_venue(self._format).channels.items() if number}
        speeds = dict(enumerate(SPEED_NAMES, start=1))
        notes = []
        for known, own, other in (
            (names, engine.value("channel"), engine.value("other_channel")),
            (speeds, engine.value("speed"), engine.value("other_speed")),
        ):
            if own in known and other in known and own != other:
                notes.append(
                    f"the input has several books of {self._symbol}, {known[own]} and {known[other]}: the book is that of "
                    f'{known[own]}, and changes of the other are unused; channel = "{known[other]}" would take that one'
                )
        return notes


def notes_of_sources(sources: Sequence[SourceFigures]) -> list[str]:
    """Returns warnings for users about several sources that do not fit together."""
    notes = []
    for source in sources:
        if not source.missed and any(other.missed for other in sources):
            notes.append(f"source {source.name} has no record that is used: is it a capture of this symbol in this format?")
        used = source.first + source.duplicates + source.late_records
        if set(source.missed) == {"snapshots"} and source.messages > 2 * used:
            notes.append(
                f"source {source.name} has depth snapshots that name no symbol, and most of its records are of others: they may "
                "have spoilt the book. Is it a capture of this symbol?"
            )
        if source.contradictions:
            notes.append(
                f"source {source.name} contradicts the others in {source.contradictions:,} messages: the same ids, other levels "
                "or prices; the ones that came first were used. Is it another venue or symbol?"
            )
        if source.late_records:
            notes.append(
                f"source {source.name} was silent for longer than source_wait, and {source.late_records:,} records that it then "
                "brought were of the time before: they are not applied"
            )
        if abs(source.clock_seconds) > _CLOCKS_APART_SECONDS:
            notes.append(f"the clock of source {source.name} is {source.clock_seconds:+,.0f} s from that of the first source")
    with_book = [source for source in sources if "depth" in source.missed]
    notes += [
        f"source {source.name} has no message in common with the others: is it of the same symbol and venue?"
        for source in with_book[1:]
        if source.first > _FOREIGN_RECORDS and not source.duplicates
    ]
    return notes


def _unused_records(engine: OrderBookEngine) -> int:
    """How many records of an input without an accepted message there were."""
    counts = sum(engine.value(name) for name in ("other_symbol", "unused", "stale", "stale_snapshots", "slot_count"))
    tickers = engine.value("ticker_end") - engine.value("ticker_start")
    return counts + sum(engine.dead_letter_statistics().values()) + tickers
