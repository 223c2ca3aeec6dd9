"""The metrics of the daemon: one registry, and the children of each symbol. They are looked up once, and updated once a block.

Counters count from the start of the process. Work that a worker repeats after a restart counts again.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import uvloop
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, Summary, disable_created_metrics

from cowbook import __version__
from cowbook.plain.vocabulary import AUDIT_KINDS, OUTCOMES, REASONS

if TYPE_CHECKING:
    from cowbook.symbol.attempt import Outcome
    from cowbook.symbol.figures import InputFigures, PipelineFigures, WorkerFigures
    from cowbook.symbol.symbol_thread import SymbolThread

F = TypeVar("F")

PHASES = ("gather", "stage", "encode", "write", "commit", "publish", "prune")
"""Phases of persisting a checkpoint."""

STATES = ("starting", "waiting", "running", "unusable", "restarting", "stopping", "done", "failed")
"""States of a symbol. `waiting` means waiting for its input, and `unusable` that it makes dead letters only. `done` and `failed`
are final."""

_FREEZE_BUCKETS = (1e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)
_LAG_BUCKETS = (1e-4, 1e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2.5e-1, 1.0, 5.0)

_COUNTED = {
    "messages": ("cowbook_messages", "Accepted messages"),
    "gaps": ("cowbook_gaps", "Gaps in the update ids"),
    "missing_updates": ("cowbook_missing_updates", "Update ids that are missing in the input, over gaps of known size"),
    "stale": ("cowbook_stale_messages", "Depth messages that were not newer than the book"),
    "crossed": ("cowbook_crossed_books", "Depth messages after which the best bid was above the best ask"),
    "compared": ("cowbook_compared_messages", "Depth messages after which something that proves or disproves the book was there"),
    "refuted": ("cowbook_refuted_messages", "Depth messages after which that disproved the book, while it was synced"),
    "compared_unsynced": ("cowbook_compared_unsynced_messages", "Compared depth messages after which the book was not synced"),
    "foreign_snapshots": ("cowbook_foreign_snapshots", "Depth snapshots that no diff of the symbol joined"),
    "time_resets": ("cowbook_time_resets", "Times that event time fell back by more than a day"),
}
"""Counters of the book's figures: name and help text, by field."""


class ServiceMetrics:
    """All metric families, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry or CollectorRegistry()
        self._families: list[Any] = []  # families with a label `symbol`
        ProcessCollector(registry=self.registry)
        self.snapshot_seconds = self._make(
            Histogram, "cowbook_snapshot_seconds", "Processing stood still for a checkpoint's freeze", buckets=_FREEZE_BUCKETS
        )
        self.checkpoint_bytes = self._make(Gauge, "cowbook_checkpoint_bytes", "Size of the newest checkpoint of this process")
        self.recovery_seconds = self._make(
            Gauge, "cowbook_recovery_seconds", "Time the last start took until the input was found"
        )
        self.gaps_after_recovery = self._make(
            Counter, "cowbook_gaps_after_recovery", "Gaps between the recovered state and the first depth message after it"
        )
        self.impact = self._make(
            Gauge, "cowbook_throughput_impact_ratio", "1 - rate while persisting / rate otherwise, in events per busy second"
        )
        self.rate = self._make(Gauge, "cowbook_throughput_events_per_second", "Events per busy second", "phase")
        self.events = self._make(
            Counter, "cowbook_events", "Accepted events: level changes and levels of snapshots, trades", "kind"
        )
        self.counted = {field: self._make(Counter, *texts) for field, texts in _COUNTED.items()}
        self.depth_messages = self._make(Counter, "cowbook_depth_messages", "Depth messages that were applied")
        self.input_bytes = self._make(Counter, "cowbook_input_bytes", "Decoded bytes of the input that were consumed")
        self.lag_bytes = self._make(Gauge, "cowbook_input_lag_bytes", "Bytes on disk that were not read yet")
        self.present = self._make(Gauge, "cowbook_input_present", "1 while the input is there, 0 while it is waited for")
        self.rotations = self._make(Counter, "cowbook_input_rotations", "Files that were left for a newer one while following")
        self.skipped_files = self._make(
            Counter, "cowbook_input_skipped_files", "Files that sort before the current one and are never read"
        )
        self.event_time = self._make(Gauge, "cowbook_event_time_seconds", "Newest event time, as Unix time")
        self.checkpoints = self._make(Counter, "cowbook_checkpoints", "Attempts at a checkpoint", "trigger", "outcome")
        self.persist_seconds = self._make(
            Summary, "cowbook_checkpoint_persist_seconds", "Time that committed checkpoints took in the background", "phase"
        )
        self.object_puts = self._make(
            Counter, "cowbook_object_puts", "Requests that have written to object storage; always 0 with directories"
        )
        self.claim, self.fenced = (
            self._make(
                Gauge, "cowbook_claim", "Number of this process' claim of the symbol in its commit log; 0 before it has one"
            ),
            self._make(Counter, "cowbook_fenced", "Times that the symbol ended here because another process had taken it over"),
        )
        self.last_success = self._make(
            Gauge, "cowbook_checkpoint_last_success_timestamp_seconds", "When the newest checkpoint was frozen; 0: never"
        )
        self.epoch = self._make(Gauge, "cowbook_checkpoint_epoch", "Epoch of the newest checkpoint; 0: none")
        self.since_checkpoint = self._make(Gauge, "cowbook_events_since_checkpoint", "Events that the newest checkpoint lacks")
        self.synced = self._make(Gauge, "cowbook_synced", "1 while the book is synced")
        self.drift = self._make(
            Gauge, "cowbook_drift_size_error", "Sum of absolute size differences over all comparisons with depth snapshots"
        )
        self.dead_letters = self._make(Counter, "cowbook_dead_letters", "Rejected records", "reason")
        self.audits = self._make(Counter, "cowbook_audits", "Comparisons with what the exchange says", "kind", "outcome")
        self.duplicates = self._make(Counter, "cowbook_duplicates", "Trades and depth messages that were there already", "kind")
        self.sources = self._make(Counter, "cowbook_source_messages", "Messages of each of several sources", "source", "outcome")
        self.witness_levels = self._make(
            Counter, "cowbook_witness_levels", "Levels of depth snapshots that judged the book", "outcome"
        )
        self.tickers = self._make(
            Counter,
            "cowbook_tickers",
            "Tickers without ids, by whether the book had their state shortly before or after",
            "outcome",
        )
        self.known_seconds = self._make(
            Counter, "cowbook_known_seconds", "Event time while the best levels, or all levels of the grid, were known", "depth"
        )
        self.passed_seconds = self._make(Counter, "cowbook_event_time_passed_seconds", "Event time that has passed")
        self.levels = self._make(Gauge, "cowbook_book_levels", "Price levels of the book", "side")
        self.best_price = self._make(Gauge, "cowbook_best_price", "Best price of the book; NaN without levels", "side")
        self.spread = self._make(Gauge, "cowbook_spread", "Best ask minus best bid; below 0 while the book is crossed")
        self.known_price = self._make(
            Gauge,
            "cowbook_known_price",
            "Price down (bids) or up (asks) to which every level is known: NaN for none; -Inf and +Inf for all",
            "side",
        )
        self.pages = self._make(Gauge, "cowbook_book_pages", "Blocks of the book's ladder in use, those of snapshots included")
        self.kept_bytes = self._make(Gauge, "cowbook_kept_diffs_bytes", "Diffs that are kept for depth snapshots that come late")
        self.copies = self._make(Counter, "cowbook_cow_page_copies", "Blocks that were copied because a snapshot was held")
        self.loop_lag = self._make(
            Histogram, "cowbook_event_loop_lag_seconds", "Time until the worker's event loop answers", buckets=_LAG_BUCKETS
        )
        self.restarts = self._make(Counter, "cowbook_worker_restarts", "Starts of a worker after one had failed", "reason")
        self.state = self._make(Gauge, "cowbook_symbol_state", "1 for the state that the symbol is in", "state")
        self._interval = Gauge(
            "cowbook_checkpoint_interval_seconds", "Longest time between two checkpoints, as configured", registry=self.registry
        )
        build = Gauge("cowbook_build_info", "What runs", ["version", "python", "pyarrow", "uvloop"], registry=self.registry)
        build.labels(__version__, platform.python_version(), pa.__version__, uvloop.__version__).set(1)
        self._symbols: dict[str, SymbolMetrics] = {}

    def _make(self, kind: Any, name: str, text: str, *labels: str, **options: Any) -> Any:
        family = kind(name, text, ["symbol", *labels], registry=self.registry, **options)
        self._families.append(family)
        return family

    def set_interval(self, seconds: float) -> None:
        """Set the gauge of the setting `[checkpoint] every`."""
        self._interval.set(seconds)

    def symbol(self, symbol_id: str) -> SymbolMetrics:
        """Returns the symbol's children. The first call makes them."""
        if symbol_id not in self._symbols:
            self._symbols[symbol_id] = SymbolMetrics(self, symbol_id)
        return self._symbols[symbol_id]

    def forget(self, symbol_id: str) -> None:
        """Remove the series of a symbol that is no longer configured."""
        self._symbols.pop(symbol_id, None)
        for family in self._families:
            family.remove_by_labels({"symbol": symbol_id})

    def refresh(self, threads: Iterable[SymbolThread]) -> None:
        """Set the gauges whose values are read at the moment of a scrape."""
        for thread in threads:
            self.symbol(thread.id).look_at(thread)


class SymbolMetrics:
    """One symbol's children of the families. It is a WorkerObserver."""

    def __init__(self, service: ServiceMetrics, symbol_id: str) -> None:
        def child(family: Any, *labels: str) -> Any:
            return family.labels(symbol_id, *labels)

        self._service, self._id = service, symbol_id
        self._snapshot_seconds = child(service.snapshot_seconds)
        self._checkpoint_bytes = child(service.checkpoint_bytes)
        self._object_puts = child(service.object_puts)
        self._claim, self._fenced = child(service.claim), child(service.fenced)
        self._recovery_seconds = child(service.recovery_seconds)
        self._impact = child(service.impact)
        self._rates = child(service.rate, "quiet"), child(service.rate, "persisting")
        self._persist_seconds = {phase: child(service.persist_seconds, phase) for phase in PHASES}
        self._synced, self._event_time = child(service.synced), child(service.event_time)
        self._last_success, self._epoch = child(service.last_success), child(service.epoch)
        self._since_checkpoint, self._drift = child(service.since_checkpoint), child(service.drift)
        self._levels = child(service.levels, "bid"), child(service.levels, "ask")
        self._best_prices = child(service.best_price, "bid"), child(service.best_price, "ask")
        self._spread = child(service.spread)
        self._known_prices = child(service.known_price, "bid"), child(service.known_price, "ask")
        self._pages, self._kept_bytes = child(service.pages), child(service.kept_bytes)
        self._lag_bytes, self._present = child(service.lag_bytes), child(service.present)
        self._states = {state: child(service.state, state) for state in STATES}
        self._loop_lag = child(service.loop_lag)
        self.restarts = {reason: child(service.restarts, reason) for reason in ("storage", "error")}
        self._counters: list[tuple[Any, Callable[[PipelineFigures], float]]] = [
            *((child(family), _count(name)) for name, family in service.counted.items()),
            *((child(service.dead_letters, reason), _dead_letters(reason)) for reason in REASONS),
            *((child(service.audits, kind, outcome), _audits(kind, outcome)) for kind in AUDIT_KINDS for outcome in OUTCOMES),
            *((child(service.duplicates, kind), _count(f"duplicate_{kind}s")) for kind in ("trade", "message")),
            *(
                (child(service.witness_levels, outcome), _count(f"levels_{outcome}"))
                for outcome in ("compared", "wrong", "learned")
            ),
            *((child(service.tickers, outcome), _count(f"tickers_{outcome}")) for outcome in ("near", "far")),
            (child(service.known_seconds, "best"), lambda figures: figures.book.known.time_best / 1e9),
            (child(service.known_seconds, "grid"), lambda figures: figures.book.known.time_grid / 1e9),
            (child(service.passed_seconds), lambda figures: figures.book.known.time_total / 1e9),
            (child(service.events, "depth"), lambda figures: figures.book.events - figures.book.trades),
            (child(service.events, "trade"), _count("trades")),
            (child(service.copies), _count("block_copies")),
            (child(service.depth_messages), _count("depth_messages")),
            (child(service.input_bytes), lambda figures: figures.input_bytes),
            (child(service.gaps_after_recovery), lambda figures: figures.gaps_after_recovery),
        ]
        self._input_counters: list[tuple[Any, Callable[[InputFigures], float]]] = [
            (child(service.rotations), lambda figures: figures.rotations),
            (child(service.skipped_files), lambda figures: figures.skipped_files),
        ]
        self._before = [0.0] * len(self._counters)
        self._input_before = [0.0] * len(self._input_counters)
        self._sources_before: dict[tuple[str, str], int] = {}
        for gauge in (self._impact, *self._rates, *self._best_prices, self._spread, *self._known_prices):
            gauge.set(math.nan)

    @staticmethod
    def _count_of_sources(figures: PipelineFigures) -> dict[tuple[str, str], int]:
        """Messages of each source, by its name and what became of them."""
        counts = {}
        for source in figures.sources:
            for outcome in ("first", "duplicates", "late_records", "contradictions"):
                counts[source.name, outcome.removesuffix("s")] = int(getattr(source, outcome))
        return counts

    def recovered(self, figures: WorkerFigures) -> None:
        """As WorkerObserver."""
        assert figures.recovery_seconds is not None
        assert figures.pipeline is not None
        self._recovery_seconds.set(figures.recovery_seconds)
        # The checkpoint's counts are not added again. The counts of the input begin anew with each worker.
        self._before = [read(figures.pipeline) for _, read in self._counters]
        self._input_before = [0.0] * len(self._input_counters)
        self._sources_before = self._count_of_sources(figures.pipeline)

    def processed(self, figures: WorkerFigures) -> None:
        """As WorkerObserver."""
        assert figures.input is not None
        assert figures.pipeline is not None
        _count_on(self._counters, self._before, figures.pipeline)
        _count_on(self._input_counters, self._input_before, figures.input)
        for (source, outcome), count in self._count_of_sources(figures.pipeline).items():
            growth = count - self._sources_before.get((source, outcome), 0)
            self._service.sources.labels(self._id, source, outcome).inc(growth)
            self._sources_before[source, outcome] = count
        book = figures.pipeline.book
        self._synced.set(book.synced)
        if book.newest is not None:
            self._event_time.set(book.newest / 1e9)
        for gauge, levels in zip(self._levels, (book.bid_levels, book.ask_levels), strict=True):
            gauge.set(levels)
        market = book.market
        for gauge, price in zip(
            (*self._best_prices, self._spread, *self._known_prices),
            (market.bid, market.ask, market.spread, market.bid_known_to, market.ask_known_to),
            strict=True,
        ):
            gauge.set(price)
        self._pages.set(book.blocks_used)
        self._kept_bytes.set(book.kept_bytes)
        self._drift.set(book.drift_size_error)

    def attempted(self, outcome: Outcome) -> None:
        """As WorkerObserver."""
        self._service.checkpoints.labels(self._id, outcome.trigger, outcome.result).inc()
        self._snapshot_seconds.observe(outcome.frozen_seconds)
        self._object_puts.inc(outcome.object_puts)
        if outcome.committed is not None:
            self._checkpoint_bytes.set(outcome.committed.size_bytes)
            for phase, seconds in outcome.committed.phases.items():
                self._persist_seconds[phase].observe(seconds)

    def fenced(self) -> None:
        """As WorkerObserver."""
        self._fenced.inc()

    def answered(self, seconds: float) -> None:
        """Observe how long the event loop took to answer."""
        self._loop_lag.observe(seconds)

    def look_at(self, thread: SymbolThread) -> None:
        """Set the gauges that change without an event of the worker."""
        state, figures = thread.state, thread.figures
        for name, gauge in self._states.items():
            gauge.set(name == state)
        self._claim.set(thread.claim)
        if figures.input is None:
            return
        self._present.set(figures.waiting_for is None)
        self._lag_bytes.set(figures.input.unread_bytes if state != "failed" else math.nan)  # it has stopped watching
        pipeline, checkpoints = figures.pipeline, figures.checkpoints
        if pipeline is None:
            return
        self._epoch.set(checkpoints.epoch)
        self._last_success.set(checkpoints.timestamp / 1e9)
        self._since_checkpoint.set(pipeline.book.events - checkpoints.events)
        self._impact.set(pipeline.impact)
        for gauge, rate in zip(self._rates, (pipeline.quiet_rate, pipeline.persisting_rate), strict=True):
            gauge.set(rate)


def _count(name: str) -> Callable[[PipelineFigures], int]:
    """Returns a function that reads a count of the book by its name."""
    return lambda figures: getattr(figures.book, name)


def _dead_letters(reason: str) -> Callable[[PipelineFigures], int]:
    return lambda figures: figures.book.dead_letters[reason]


def _audits(kind: str, outcome: str) -> Callable[[PipelineFigures], int]:
    return lambda figures: figures.book.audits[kind][outcome]


def _count_on(counters: list[tuple[Any, Callable[[F], float]]], before: list[float], figures: F) -> None:
    """Add to each counter the growth of its count, and note the new counts in `before`."""
    for place, (counter, read) in enumerate(counters):
        now = read(figures)
        if now != before[place]:
            counter.inc(now - before[place])
            before[place] = now
