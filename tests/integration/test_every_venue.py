"""Every venue, in every container: the book at the end, and the same bytes whatever the blocks, the stops and the loops are."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from cowbook import OrderBookEngine, replay
from cowbook.book.order_book_engine import EngineSettings
from cowbook.capture.rotation import FollowSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.symbol.symbol_worker import SymbolWorker
from cowbook.venues import load_venue, venue_names
from support.harness import Reconstruction, Run, read_parts, reconstruct, worker_settings
from support.venue_samples import CONTAINER_IDS, SAMPLE_IDS, Sample, Side, make_sample


def run_of(sample: Sample) -> Run:
    """Small parts, so that there are many cuts."""
    engine = EngineSettings(part_events=60, part_interval=15_000_000_000, book_levels=3)
    return Run("X", sample.name, sample.format, price_decimals=1, size_decimals=2, engine=engine)


@pytest.fixture(scope="module", params=(*SAMPLE_IDS, *CONTAINER_IDS))
def sample(request: pytest.FixtureRequest) -> Sample:
    """Each."""
    return make_sample(request.param)


@pytest.fixture(scope="module")
def reference(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    """An undisturbed run over all of it."""
    result = reconstruct(tmp_path_factory.mktemp(sample.id), sample.files, run_of(sample))
    assert result.summary.state == "done", result.summary.error
    assert len(result.parts) > 10
    return result


def rebuild(directory: Path, sample: Sample) -> OrderBookEngine:
    """The engine at the end of the input."""
    paths = []
    directory.mkdir(exist_ok=True)
    for name, content in sample.files.items():
        (directory / name).write_bytes(content)
        paths.append(str(directory / name))
    *_, engine = replay(paths, sample.name, every=10**9, format=sample.format, price_decimals=1, size_decimals=2)
    return engine


def book_of(engine: OrderBookEngine) -> tuple[Side, Side]:
    """As the samples have it."""
    bids, asks = (view.levels() for view in (engine.bids, engine.asks))
    return dict(zip(bids[0].tolist(), bids[1].tolist(), strict=True)), dict(zip(asks[0].tolist(), asks[1].tolist(), strict=True))


def test_every_format_has_a_sample() -> None:
    """Each format has a sample."""
    assert {make_sample(name).format for name in SAMPLE_IDS} == set(venue_names())


def test_the_book_at_the_end_is_the_venues(sample: Sample, tmp_path: Path) -> None:
    """It is the one that the venue had; what the venue lets one check was checked, and nothing was lost."""
    engine = rebuild(tmp_path, sample)
    bids, asks = book_of(engine)
    expected = sample.final_book
    if sample.format == "cryptolake":  # of a later snapshot only what is in it is known
        assert expected[0].items() <= bids.items()
        assert expected[1].items() <= asks.items()
    else:
        assert (bids, asks) == expected
        assert engine.synced
    assert engine.gap_statistics()["gaps"] == 0
    assert sum(engine.dead_letter_statistics().values()) == 0
    kinds = [event.kind for event in sample.events]
    assert engine.value("trades") == (kinds.count("trade") if sample.format != "binance_csv" else 0)
    checksums = engine.audit_statistics()["checksum"]
    assert checksums["failed"] == checksums["failed_unsynced"] == 0
    if sample.proof == "checksum" or sample.format == "bitfinex":
        assert checksums["matched"] >= kinds.count("diff")
    assert engine.audit_statistics()["bookTicker"]["matched"] == (
        kinds.count("diff") if sample.format in ("binance", "kucoin") else 0
    )


@pytest.mark.parametrize("block_bytes", [300, 5_000])
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_blocks_and_loops_change_no_part(
    sample: Sample, reference: Reconstruction, tmp_path: Path, block_bytes: int, loop_factory: type[asyncio.AbstractEventLoop]
) -> None:
    """The parts depend on the input alone."""
    result = reconstruct(tmp_path, sample.files, replace(run_of(sample), block_bytes=block_bytes, loop_factory=loop_factory))
    assert result.parts == reference.parts
    assert result.summary.audits == reference.summary.audits


def test_stops_and_checkpoints_change_no_part(sample: Sample, reference: Reconstruction, tmp_path: Path) -> None:
    """Stopped at its first end and gone on with more; checkpoints wherever they fall."""
    for seed in range(3):
        rng = random.Random(seed)
        directory = tmp_path / str(seed)
        for files in sample.phases:
            triggers = TriggerSettings(rng.choice([1, 20, 90]), 10**12, 0)
            run = replace(run_of(sample), block_bytes=rng.choice([500, 20_000]), triggers=triggers)
            result = reconstruct(directory, files, run)
            assert result.summary.state == "done", result.summary.error
        assert result.summary.recovered_epoch is not None
        assert result.parts == reference.parts
        assert result.summary.audits == reference.summary.audits
        assert result.summary.gaps == 0


def test_a_file_that_grows_by_any_bytes_gives_the_parts_of_one_run(
    sample: Sample, reference: Reconstruction, tmp_path: Path
) -> None:
    """Text may end anywhere; a run at each of many ends, each from the checkpoint of the one before, comes to the same."""
    packed = (b"PAR1", b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"PK\x03\x04")
    if any(content.startswith(packed) for content in sample.files.values()):
        pytest.skip("what is compressed does not grow")
    rng = random.Random(5)
    name = max(sample.files, key=lambda name: len(sample.files[name]))
    content = sample.files[name]
    before = {other: text for other, text in sample.files.items() if other < name}
    run = replace(run_of(sample), triggers=TriggerSettings(25, 10**12, 0))
    for length in sorted(rng.sample(range(1, len(content)), 8)):
        reconstruct(tmp_path, before | {name: content[:length]}, run)
    result = reconstruct(tmp_path, sample.files, run)
    assert result.summary.state == "done", result.summary.error
    assert result.parts == reference.parts


def test_loss_is_shown_as_promised() -> None:
    """What venues say of themselves is what the samples say of them: of these, each depth message has an id or a number."""
    always_ids = {"binance", "deribit", "kraken_futures", "coinbase_advanced"}
    always_ids |= {"kucoin", "kucoin_futures", "dydx_v4"}
    for name in SAMPLE_IDS:
        sample = make_sample(name)
        assert load_venue(sample.format).shows_loss == (sample.format in always_ids)
        assert sample.proof in ("ids", "connection") or not load_venue(sample.format).shows_loss


async def follow(directory: Path, sample: Sample, run: Run, rng: random.Random) -> None:
    """Write the files piece by piece, while a worker follows them; stop it when it has seen everything."""
    source = directory / "input"
    source.mkdir(parents=True)
    patterns = tuple(sample.files)
    settings = replace(worker_settings(directory, [], run), follow=FollowSettings(patterns, source, 0.05))
    with ThreadPoolExecutor(3) as executor:
        worker = SymbolWorker(settings, executor, executor)
        running = asyncio.ensure_future(worker.run())
        written = 0
        for name, content in sample.files.items():
            places = sorted(rng.sample(range(1, len(content)), 6))
            for start, end in zip([0, *places], [*places, len(content)], strict=True):
                with (source / name).open("ab") as file:
                    file.write(content[start:end])
                await asyncio.sleep(0.01)
            written += len(content)
        deadline = time.monotonic() + 120
        while worker.follower is None or not (worker.follower.at_end and worker.follower.bytes_read_on_disk == written):
            assert not running.done(), running.result()
            assert time.monotonic() < deadline, worker.follower and (
                worker.follower.waiting_for,
                worker.follower.bytes_read_on_disk,
            )
            await asyncio.sleep(0.01)
        worker.stop()
        summary = await running
        assert summary.state == "done", summary.error


def test_followed_files_give_the_parts_of_one_run(sample: Sample, reference: Reconstruction, tmp_path: Path) -> None:
    """Files that grow while they are read, Parquet ones, too; the rest comes with a run to the end."""
    run = replace(run_of(sample), triggers=TriggerSettings(40, 10**12, 0))
    asyncio.run(follow(tmp_path, sample, run, random.Random(7)))
    assert read_parts(tmp_path / "data")
    result = reconstruct(tmp_path, sample.files, run)
    assert result.summary.state == "done", result.summary.error
    assert result.summary.recovered_epoch is not None
    assert result.parts == reference.parts
