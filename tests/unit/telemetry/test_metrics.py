"""The metrics: which there are, what they count, and that they tell the truth."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import structlog
import uvloop
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cowbook import __version__
from cowbook.checkpoint.commit_log import CommitLog
from cowbook.checkpoint.manifest import Manifest
from cowbook.checkpoint.storage import DirectoryStorage
from cowbook.checkpoint.store import CheckpointStore
from cowbook.config import load_config
from cowbook.errors import RestartNeededError
from cowbook.plain.durable_files import DurableFiles
from cowbook.simulate.capture import write_capture
from cowbook.symbol import symbol_thread as module
from cowbook.symbol.settings import worker_settings
from cowbook.symbol.symbol_thread import SymbolThread, ThreadContext
from cowbook.symbol.symbol_worker import SymbolWorker
from cowbook.telemetry.metrics import STATES, ServiceMetrics

AUDITS = [
    {"kind": kind, "outcome": outcome}
    for kind in ("bookTicker", "checksum", "snapshot")
    for outcome in ("matched", "failed", "matched_unsynced", "failed_unsynced", "not_comparable")
]
ONE: list[dict[str, str]] = [{}]

EXPECTED: dict[str, tuple[str, list[dict[str, str]]]] = {
    "cowbook_snapshot_seconds": ("histogram", ONE),
    "cowbook_checkpoint_bytes": ("gauge", ONE),
    "cowbook_object_puts": ("counter", ONE),
    "cowbook_claim": ("gauge", ONE),
    "cowbook_fenced": ("counter", ONE),
    "cowbook_recovery_seconds": ("gauge", ONE),
    "cowbook_gaps_after_recovery": ("counter", ONE),
    "cowbook_throughput_impact_ratio": ("gauge", ONE),
    "cowbook_throughput_events_per_second": ("gauge", [{"phase": phase} for phase in ("persisting", "quiet")]),
    "cowbook_events": ("counter", [{"kind": kind} for kind in ("depth", "trade")]),
    "cowbook_messages": ("counter", ONE),
    "cowbook_depth_messages": ("counter", ONE),
    "cowbook_compared_messages": ("counter", ONE),
    "cowbook_refuted_messages": ("counter", ONE),
    "cowbook_compared_unsynced_messages": ("counter", ONE),
    "cowbook_duplicates": ("counter", [{"kind": kind} for kind in ("trade", "message")]),
    "cowbook_foreign_snapshots": ("counter", ONE),
    "cowbook_time_resets": ("counter", ONE),
    "cowbook_witness_levels": ("counter", [{"outcome": outcome} for outcome in ("compared", "wrong", "learned")]),
    "cowbook_tickers": ("counter", [{"outcome": outcome} for outcome in ("near", "far")]),
    "cowbook_kept_diffs_bytes": ("gauge", ONE),
    "cowbook_known_seconds": ("counter", [{"depth": depth} for depth in ("best", "grid")]),
    "cowbook_event_time_passed_seconds": ("counter", ONE),
    "cowbook_input_bytes": ("counter", ONE),
    "cowbook_input_lag_bytes": ("gauge", ONE),
    "cowbook_input_present": ("gauge", ONE),
    "cowbook_input_rotations": ("counter", ONE),
    "cowbook_input_skipped_files": ("counter", ONE),
    "cowbook_event_time_seconds": ("gauge", ONE),
    "cowbook_checkpoints": (
        "counter",
        [{"trigger": trigger, "outcome": "committed"} for trigger in ("events", "end_of_input")],
    ),
    "cowbook_checkpoint_persist_seconds": (
        "summary",
        [{"phase": phase} for phase in ("gather", "stage", "encode", "write", "commit", "publish", "prune")],
    ),
    "cowbook_checkpoint_last_success_timestamp_seconds": ("gauge", ONE),
    "cowbook_checkpoint_epoch": ("gauge", ONE),
    "cowbook_events_since_checkpoint": ("gauge", ONE),
    "cowbook_gaps": ("counter", ONE),
    "cowbook_missing_updates": ("counter", ONE),
    "cowbook_stale_messages": ("counter", ONE),
    "cowbook_crossed_books": ("counter", ONE),
    "cowbook_source_messages": ("counter", []),  # of symbols with several sources alone
    "cowbook_synced": ("gauge", ONE),
    "cowbook_drift_size_error": ("gauge", ONE),
    "cowbook_dead_letters": (
        "counter",
        [{"reason": reason} for reason in ("overlong", "not_utf8", "malformed", "unknown", "out_of_range", "damaged")],
    ),
    "cowbook_audits": ("counter", AUDITS),
    "cowbook_book_levels": ("gauge", [{"side": side} for side in ("bid", "ask")]),
    "cowbook_best_price": ("gauge", [{"side": side} for side in ("bid", "ask")]),
    "cowbook_spread": ("gauge", ONE),
    "cowbook_known_price": ("gauge", [{"side": side} for side in ("bid", "ask")]),
    "cowbook_book_pages": ("gauge", ONE),
    "cowbook_cow_page_copies": ("counter", ONE),
    "cowbook_event_loop_lag_seconds": ("histogram", ONE),
    "cowbook_worker_restarts": ("counter", [{"reason": reason} for reason in ("storage", "error")]),
    "cowbook_symbol_state": ("gauge", [{"state": state} for state in STATES]),
}
"""Families with a label `symbol`: type, and the other labels of every series. The parser takes _total off counters' names."""

CONFIG = """
[checkpoint]
every_events = 4000
min_pause = "0s"
[output]
part_events = 3000
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = ["input/*"]
"""


class Scrape:
    """What a scrape says, by name and labels."""

    def __init__(self, metrics: ServiceMetrics, *threads: SymbolThread) -> None:
        metrics.refresh(threads)
        text = generate_latest(metrics.registry).decode()
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.values = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """The value of one series of the symbol."""
        return self.values[name, tuple(sorted(({"symbol": "BTCUSDT"} | labels).items()))]

    def counters(self) -> dict[Any, float]:
        """All that only ever grow."""
        return {key: value for key, value in self.values.items() if key[0].startswith("cowbook_") and key[0].endswith("_total")}


class Bench:
    """Runs a symbol with metrics."""

    def __init__(self, directory: Path, executor: ThreadPoolExecutor) -> None:
        self.directory = directory
        self.context = ThreadContext("uvloop", executor, executor)
        self.metrics = ServiceMetrics()
        (directory / "cowbook.toml").write_text(CONFIG)

    def run(self, state: str = "done") -> SymbolThread:
        """To the end of the input, or to what else it is to end in."""
        config = load_config(self.directory / "cowbook.toml", {})
        thread = SymbolThread(
            "BTCUSDT",
            lambda: worker_settings(config, config.symbol[0]),
            self.context,
            self.metrics.symbol("BTCUSDT"),
        )
        thread.start()
        assert thread.ended.wait(120)
        thread.join()
        assert thread.state == state, thread.last_error
        return thread


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A capture with gaps and bad records."""
    (tmp_path / "input").mkdir()
    write_capture(tmp_path / "capture", symbol="BTCUSDT", messages=1500, seed=3, gaps=3)
    lines = (tmp_path / "capture").read_bytes().splitlines(keepends=True)
    lines[100:100] = [b"{nonsense\n", b"\xff\xfe\n", b'{"e":"what"}\n']
    lines[-1] = lines[-1].rstrip()  # as of a file that ends without a newline: its last record comes with the end
    third = len(lines) // 3
    for number in range(3):
        (tmp_path / "input" / f"{number}").write_bytes(
            b"".join(lines[number * third : (number + 1) * third if number < 2 else None])
        )
    with ThreadPoolExecutor(2) as executor, structlog.testing.capture_logs():
        yield Bench(tmp_path, executor)


def test_families_have_exactly_these_names_types_and_labels(bench: Bench) -> None:
    """Exactly these names, types and labels."""
    thread = bench.run()
    scrape = Scrape(bench.metrics, thread)
    ours = {name: family for name, family in scrape.families.items() if name.startswith("cowbook_")}
    assert sorted(ours) == sorted([*EXPECTED, "cowbook_checkpoint_interval_seconds", "cowbook_build_info"])
    for name, (kind, series) in EXPECTED.items():
        family = ours[name]
        assert family.type == kind, name
        assert family.documentation
        seen = {
            tuple(sorted((label, value) for label, value in sample.labels.items() if label not in ("le", "quantile")))
            for sample in family.samples
        }
        assert seen == {tuple(sorted(({"symbol": "BTCUSDT"} | labels).items())) for labels in series}, name
    for family in ours.values():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
        allowed = {family.name + ending for ending in endings.get(family.type, ("",))}
        assert {sample.name for sample in family.samples} == (allowed if family.samples else set()), family.name
    assert any(name.startswith("process_") for name in scrape.families)


def test_the_interval_and_the_build_have_no_symbol(bench: Bench) -> None:
    """The configured interval and the versions have no label `symbol`."""
    bench.metrics.set_interval(300.0)
    scrape = Scrape(bench.metrics)
    assert scrape.values["cowbook_checkpoint_interval_seconds", ()] == 300
    (sample,) = scrape.families["cowbook_build_info"].samples
    assert sample.value == 1
    assert sample.labels == {
        "version": __version__,
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
        "uvloop": uvloop.__version__,
    }


def assert_true(scrape: Scrape, thread: SymbolThread) -> None:
    """Against the summary of a run from the beginning."""
    summary = thread.summary
    assert summary is not None
    assert summary.events > 5000
    assert summary.gaps == 3
    depth, trades = (scrape("cowbook_events_total", kind=kind) for kind in ("depth", "trade"))
    assert depth > 0
    assert trades > 0
    assert depth + trades == summary.events
    for name, value in (
        ("messages", summary.messages),
        ("depth_messages", summary.depth_messages),
        ("compared_messages", summary.compared),
        ("refuted_messages", summary.refuted),
        ("compared_unsynced_messages", summary.compared_unsynced),
        ("foreign_snapshots", summary.foreign_snapshots),
        ("time_resets", summary.time_resets),
        ("gaps", summary.gaps),
        ("missing_updates", summary.missing_updates),
        ("stale_messages", summary.stale),
        ("crossed_books", summary.crossed),
        ("input_bytes", summary.input_bytes),
    ):
        assert scrape(f"cowbook_{name}_total") == value, name
    assert sum(summary.dead_letters.values()) == 2
    for reason, value in summary.dead_letters.items():
        assert scrape("cowbook_dead_letters_total", reason=reason) == value
    assert summary.audits["bookTicker"]["matched"] > 0
    for kind, outcomes in summary.audits.items():
        for outcome, value in outcomes.items():
            assert scrape("cowbook_audits_total", kind=kind, outcome=outcome) == value
    assert scrape("cowbook_duplicates_total", kind="trade") == summary.duplicate_trades
    assert scrape("cowbook_duplicates_total", kind="message") == summary.duplicate_messages
    for outcome in ("compared", "wrong", "learned"):
        assert scrape("cowbook_witness_levels_total", outcome=outcome) == getattr(summary, f"levels_{outcome}")
    passed = scrape("cowbook_event_time_passed_seconds_total")
    assert passed > 1
    for which in ("best", "grid"):
        assert scrape("cowbook_known_seconds_total", depth=which) / passed == pytest.approx(summary.known[which])


def test_metrics_agree_with_the_summary(bench: Bench) -> None:
    """All counts at the end of the input agree with the run's summary."""
    before = time.time()
    thread = bench.run()
    scrape = Scrape(bench.metrics, thread)
    assert_true(scrape, thread)
    summary, worker = thread.summary, thread.worker
    assert summary is not None
    assert worker is not None
    assert worker.pipeline is not None
    engine = worker.pipeline.engine
    taken = {key: value for key, value in scrape.values.items() if key[0] == "cowbook_checkpoints_total"}
    assert sum(taken.values()) == summary.checkpoints > 1
    assert scrape("cowbook_checkpoints_total", trigger="end_of_input", outcome="committed") == 1
    assert scrape("cowbook_snapshot_seconds_count") == summary.checkpoints
    assert 0 < scrape("cowbook_snapshot_seconds_sum") < 60
    for phase in ("gather", "prune"):
        assert scrape("cowbook_checkpoint_persist_seconds_count", phase=phase) == summary.checkpoints
    assert scrape("cowbook_checkpoint_epoch") == summary.checkpoints
    assert before <= scrape("cowbook_checkpoint_last_success_timestamp_seconds") <= time.time()
    assert scrape("cowbook_checkpoint_bytes") > 1000
    assert scrape("cowbook_events_since_checkpoint") == engine.event_count - worker.pipeline.checkpointer.figures.events
    assert scrape("cowbook_recovery_seconds") == summary.recovery_seconds
    assert scrape("cowbook_synced") == summary.synced
    assert scrape("cowbook_event_time_seconds") == pytest.approx(engine.value("newest") / 1e9)
    assert scrape("cowbook_book_levels", side="bid") == len(engine.bids) > 0
    assert scrape("cowbook_book_levels", side="ask") == len(engine.asks) > 0
    bid, ask = engine.bids.best(), engine.asks.best()
    assert bid is not None
    assert ask is not None
    assert scrape("cowbook_best_price", side="bid") == bid[0] / 10**8
    assert scrape("cowbook_best_price", side="ask") == ask[0] / 10**8
    assert scrape("cowbook_spread") == (ask[0] - bid[0]) / 10**8 > 0
    assert engine.bids.known_to is not None
    assert scrape("cowbook_known_price", side="bid") == engine.bids.known_to / 10**8 < bid[0] / 10**8
    assert scrape("cowbook_known_price", side="ask") > ask[0] / 10**8
    assert scrape("cowbook_book_pages") > 0
    assert scrape("cowbook_drift_size_error") == pytest.approx(worker.pipeline.drift.size_error / 1e8)
    assert scrape("cowbook_throughput_events_per_second", phase="quiet") > 1000
    assert scrape("cowbook_input_present") == 1
    assert {state: scrape("cowbook_symbol_state", state=state) for state in STATES} == {
        state: float(state == "done") for state in STATES
    }


def test_a_claim_that_another_process_took_over_is_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of the own claim, in each run a higher one; and that the symbol was lost, once, also where it is tried again."""
    last = (bench.directory / "input" / "2").rename(bench.directory / "later")
    first = bench.run()
    scrape = Scrape(bench.metrics, first)
    assert scrape("cowbook_claim") == 1
    assert scrape("cowbook_fenced_total") == 0
    last.rename(bench.directory / "input" / "2")
    commit = CheckpointStore.commit

    def commit_late(self: CheckpointStore, manifest: Manifest) -> Path:
        log = CommitLog(DirectoryStorage(self.root / "log", DurableFiles()), "BTCUSDT")
        log.read()
        assert log.claim()
        return commit(self, manifest)

    monkeypatch.setattr(CheckpointStore, "commit", commit_late)
    lost = bench.run("failed")
    assert "was taken over by" in str(lost.last_error)
    scrape = Scrape(bench.metrics, lost)
    own = scrape("cowbook_claim")
    assert own > 1
    assert scrape("cowbook_fenced_total") == 1
    monkeypatch.undo()
    again = bench.run()
    scrape = Scrape(bench.metrics, again)
    assert scrape("cowbook_claim") == own + 2  # its successor's claim is between
    assert scrape("cowbook_fenced_total") == 1


def test_a_restarted_worker_counts_only_its_own_work(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts from the recovered checkpoint are not added again, but work that is repeated is."""
    monkeypatch.setattr(module, "_FIRST_BACKOFF_SECONDS", 0.0)
    consume = SymbolWorker._consume
    failures: list[int] = []

    async def fail_once(worker: Any, pipeline: Any) -> None:
        if failures:
            await consume(worker, pipeline)
            return
        process = pipeline.process

        async def process_and_fail(block: Any) -> None:
            await process(block)
            await pipeline.checkpointer.finish()
            figures = pipeline.checkpointer.figures
            again = pipeline.engine.event_count - figures.events
            if figures.committed and pipeline._tail is None and again:
                failures.append(again)
                raise RestartNeededError("as if")

        pipeline.process = process_and_fail
        await consume(worker, pipeline)

    monkeypatch.setattr(SymbolWorker, "_consume", fail_once)
    thread = bench.run()
    assert thread.restarts == 1
    assert failures[0] > 0
    assert thread.summary is not None
    scrape = Scrape(bench.metrics, thread)
    events = sum(scrape("cowbook_events_total", kind=kind) for kind in ("depth", "trade"))
    assert events == thread.summary.events + failures[0]


def test_another_process_counts_from_zero(bench: Bench) -> None:
    """Counters begin at zero, whatever the process recovers. Gauges show the present."""
    first = bench.run()
    scrape = Scrape(bench.metrics, first)
    bench.metrics = ServiceMetrics()
    again = bench.run()
    assert again.summary is not None
    assert again.summary.recovered_epoch is not None
    second = Scrape(bench.metrics, again)
    assert again.worker is not None
    assert again.worker.pipeline is not None
    rest = again.summary.events - again.summary.recovered_events
    assert sum(second("cowbook_events_total", kind=kind) for kind in ("depth", "trade")) == rest < 100
    assert second("cowbook_dead_letters_total", reason="malformed") == 0
    assert second("cowbook_gaps_total") == 0
    for name in ("epoch", "last_success_timestamp_seconds"):
        assert second(f"cowbook_checkpoint_{name}") == scrape(f"cowbook_checkpoint_{name}")
    for name in ("synced", "event_time_seconds", "drift_size_error"):
        assert second(f"cowbook_{name}") == scrape(f"cowbook_{name}")


def test_a_forgotten_symbol_leaves_no_series(bench: Bench) -> None:
    """A removed symbol leaves no series, the others keep theirs, and a symbol that returns begins at zero."""
    thread = bench.run()
    bench.metrics.symbol("OTHER").answered(0.1)
    bench.metrics.forget("BTCUSDT")
    bench.metrics.forget("NEVER")
    scrape = Scrape(bench.metrics)
    symbols = {sample.labels.get("symbol") for family in scrape.families.values() for sample in family.samples}
    assert symbols == {None, "OTHER"}
    again = Scrape(bench.metrics, thread)
    assert again("cowbook_messages_total") == 0


def test_unknown_ratios_are_nan_before_the_first_event() -> None:
    """Counts are zero before the first event, and ratios and rates are NaN."""
    metrics = ServiceMetrics()
    metrics.symbol("BTCUSDT")
    scrape = Scrape(metrics)
    assert set(scrape.counters().values()) == {0}
    assert math.isnan(scrape("cowbook_throughput_impact_ratio"))
    for phase in ("quiet", "persisting"):
        assert math.isnan(scrape("cowbook_throughput_events_per_second", phase=phase))
    assert scrape("cowbook_checkpoint_last_success_timestamp_seconds") == 0


def test_each_answer_of_the_loop_is_observed() -> None:
    """Each answer of the loop is one observation."""
    metrics = ServiceMetrics()
    for seconds in (0.00005, 0.3):
        metrics.symbol("BTCUSDT").answered(seconds)
    scrape = Scrape(metrics)
    assert scrape("cowbook_event_loop_lag_seconds_count") == 2
    assert scrape("cowbook_event_loop_lag_seconds_bucket", le="0.0001") == 1
    assert scrape("cowbook_event_loop_lag_seconds_bucket", le="1.0") == 2
