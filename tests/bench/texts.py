"""How fast records of venues other than Binance are read, on one core.

The captures are made up: changes of one to three levels, trades, and records of another symbol, 66 a second. With `--faster 1`
they are two a second, so that every other one has a row of the grid. Beside it, what orjson takes to make Python objects of the
same records, and the reference decoder alone.

With `--recorded` recorded sessions are measured besides. They last seconds, so that starting would be all there is to see: the
session is repeated behind itself, without the records that only open it, up to 200,000 records; each copy begins with its
snapshots. Every message of every copy is applied, and every checksum verified.

python tests/bench/texts.py [--events N] [--rounds N] [--faster N] [--recorded ../shared/data]
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import structlog
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.rates import measure_rates
from cowbook import replay
from cowbook.config import load_config
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.envelope import has_frames, open_envelope
from cowbook.input.text.line_decoder import LineDecoder
from cowbook.input.venue import Venue
from cowbook.input.verdict import DecodedMessage, OtherSymbol, Sequenced
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import EventBatch
from cowbook.service.service import run_once
from cowbook.symbol.warm import warm
from cowbook.venues import load_venue
from support.venue_samples import START_MS, make_events, records_of

SAMPLES = {
    "kraken-v1": ("kraken", "XBT/USD"),
    "kraken-v2-frames": ("kraken", "BTC/USD"),
    "okx-chain": ("okx", "BTC-USDT"),
    "bitget": ("bitget", "BTCUSDT"),
    "bybit": ("bybit", "BTCUSDT"),
    "coinbase": ("coinbase", "BTC-USD"),
    "coinbase-advanced": ("coinbase_advanced", "BTC-USD"),
    "deribit": ("deribit", "BTC-PERPETUAL"),
    "kraken-futures": ("kraken_futures", "PI_XBTUSD"),
}
RECORDED = {
    "cryptofeed/KRAKEN.ws.50.0": ("kraken", "XMR/USD"),
    "crossbook/kraken_btcusd_sample.cbcap": ("kraken", "BTC/USD"),
    "cryptofeed/OKX.ws.1.0": ("okx", "BTC-USDT"),
    "cryptofeed/BYBIT.ws.25.0": ("bybit", "ETHUSDT"),
    "cryptofeed/COINBASE.ws.28.0": ("coinbase", "YFI-BTC"),
    "cryptofeed/DERIBIT.ws.1.0": ("deribit", "BTC-31DEC21-34000-P"),
}
_LEAST_RECORDS = 200_000
_SESSION_SECONDS = 64
_EPOCH_SECONDS = re.compile(
    rb'(?<![0-9.-])(?<!"checksum":)(?<!"c":")1[4-9][0-9]{8}(?=[0-9]{3}(?![0-9])|[0-9]{6}(?![0-9])|[0-9]{9}(?![0-9])|(?![0-9]))'
)
"""Of a time of any unit: its seconds. A checksum may look like one."""
_ISO_TIME = re.compile(rb"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_CONFIG = """
[service]
output_dir = "data"
state_dir = "state"
[log]
level = "warning"
[[symbol]]
id = "X"
name = "{name}"
format = "{format}"
paths = ["{path}"]
"""


def run_orjson(records: list[bytes]) -> int:
    """Python objects, and nothing done with them; how many records."""
    for record in records:
        orjson.loads(record)
    return len(records)


def run_decoder(venue: Venue, name: str, buffer: npt.NDArray[np.uint8]) -> int:
    """Batches of messages, and nothing done with them; how many messages."""
    block = Block(buffer, 0, len(buffer) - PADDING, "", 0, final=True, head=buffer[:1024].tobytes())
    decoder = LineDecoder(venue, DecoderSettings(name, 8, 8, 1 << 20))
    batch = EventBatch.allocate()
    count = 0
    while decoder.decode(block, batch):
        count += batch.message_count
        batch.clear()
    return count + batch.message_count


def apply_to_book(format_name: str, name: str, path: Path) -> int:
    """The book at the end, audited, and no rows; how many messages."""
    *_, engine = replay(str(path), name, format=format_name, every=1 << 60)
    return engine.value("messages") + engine.value("other_symbol")


def run_pipeline(format_name: str, name: str, path: Path) -> int:
    """The whole of it, from the file to published parts of all streams; how many messages."""
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        config = Path(directory) / "cowbook.toml"
        config.write_text(_CONFIG.format(name=name, format=format_name, path=path))
        (summary,) = run_once(load_config(config, {}))
    assert summary.state == "done", summary.error
    assert not any(summary.dead_letters.values())
    return summary.messages + summary.other_symbol


def later(content: bytes, seconds: int) -> bytes:
    """The same records with all times so many seconds later."""

    def iso(match: re.Match[bytes]) -> bytes:
        return (datetime.fromisoformat(match[0].decode()) + timedelta(seconds=seconds)).isoformat().encode()

    return _ISO_TIME.sub(iso, _EPOCH_SECONDS.sub(lambda match: b"%d" % (int(match[0]) + seconds), content))


def repeat_session(content: bytes, venue: Venue, name: str) -> tuple[bytes, list[bytes]]:
    """A recorded session, and copies of it behind it; and the venue's messages in all of that."""
    lines = content.rstrip(b"\n").split(b"\n")
    frames = lines[1:] if has_frames(content) else []
    records = [b"\n".join(frames[place : place + 2]) for place in range(0, len(frames), 2)] or lines
    settings = DecoderSettings(name, 8, 8, 1 << 20)
    connection: dict[str, str] = {}
    first, again = [], []
    for record in records:
        assert venue.decode_record is not None or venue.decode_on_connection is not None
        if venue.decode_record is not None:
            decoded = venue.decode_record(record, settings)
        else:
            assert venue.decode_on_connection is not None
            decoded, connection = venue.decode_on_connection(record, settings, connection)  # type: ignore[assignment]
        decoded = decoded.decoded if isinstance(decoded, Sequenced) else decoded
        envelope = open_envelope(record)
        if envelope is None or envelope.message[:1] not in (b"{", b"["):
            continue
        first.append(record)
        if isinstance(decoded, DecodedMessage | OtherSymbol):
            again.append(record)
    one = b"\n".join(again) + b"\n"
    copies = -(-_LEAST_RECORDS // len(again))
    texts = [b"\n".join(first) + b"\n", *(later(one, number * _SESSION_SECONDS) for number in range(1, copies))]
    head = lines[0] + b"\n" if frames else b""
    messages = [envelope.message for record in first if (envelope := open_envelope(record)) is not None]
    messages += [envelope.message for record in again if (envelope := open_envelope(record)) is not None] * (copies - 1)
    return head + b"".join(texts), messages


def measure_recorded(directory: Path, rounds: int) -> Table:
    """Processor time for each record, the best of the rounds."""
    table = Table(title="recorded sessions, repeated: ns a record on one core")
    for column in (
        "session",
        "records",
        "orjson, objects only",
        "decode + apply",
        "x orjson",
        "messages applied",
        "checksums verified",
    ):
        table.add_column(column, justify="left" if column == "session" else "right")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "session"
        for session, (format_name, name) in RECORDED.items():
            content, messages = repeat_session((directory / session).read_bytes(), load_venue(format_name), name)
            path.write_bytes(content)
            best = [float("inf"), float("inf")]
            for _ in range(rounds):
                for place, subject in enumerate((partial(run_orjson, messages), partial(apply_to_book, format_name, name, path))):
                    started = time.process_time()
                    subject()
                    best[place] = min(best[place], (time.process_time() - started) / len(messages) * 1e9)
            *_, engine = replay(str(path), name, format=format_name, every=1 << 60)
            audits = engine.audit_statistics()["checksum"]
            assert audits["failed"] == audits["failed_unsynced"] == 0, audits
            table.add_row(
                session,
                f"{len(messages):,}",
                *(f"{value:.0f}" for value in best),
                f"{best[0] / best[1]:.2f}",
                f"{engine.value('messages'):,}",
                f"{audits['matched'] + audits['matched_unsynced']:,}",
            )
    return table


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--recorded", type=Path)
    parser.add_argument("--only-recorded", action="store_true")
    parser.add_argument("--events", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--faster", type=int, default=30)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    warm()
    gc.collect()
    gc.freeze()  # as the daemon does: a collection of all that was imported takes as long as 100,000 records
    if arguments.recorded is not None:
        Console(width=160).print(measure_recorded(arguments.recorded, arguments.rounds))
    if arguments.only_recorded:
        return
    table = Table(title="text venues, on one core: M messages/s")
    columns = ("orjson, objects only", "reference decoder", "decode", "decode + apply", "to parts, all streams")
    for column in ("records", *columns, "decode x orjson", "+ apply x orjson"):
        table.add_column(column, justify="left" if column == "records" else "right")
    events = [
        replace(event, time_ms=START_MS + (event.time_ms - START_MS) // arguments.faster)
        for event in make_events(3, arguments.events, (75, 15, 10, 0, 0))
    ]
    with tempfile.TemporaryDirectory() as directory:
        for sample, (format_name, name) in SAMPLES.items():
            records = [record for _, record in records_of(sample, events)]
            few = records[: len(records) // 10]
            content, start = (np.frombuffer(b"\n".join([*some, bytes(PADDING)]), np.uint8).copy() for some in (records, few))
            path = Path(directory) / sample
            path.write_bytes(content[:-PADDING].tobytes())
            venue = load_venue(format_name)
            subjects: dict[str, Callable[[], int]] = {
                columns[0]: partial(run_orjson, records),
                columns[1]: partial(run_decoder, replace(venue, make_scanner=None), name, start),
                columns[2]: partial(run_decoder, venue, name, content),
                columns[3]: partial(apply_to_book, format_name, name, path),
                columns[4]: partial(run_pipeline, format_name, name, path),
            }
            measured = measure_rates(subjects, arguments.rounds)
            rates = {column: statistics.median(values) for column, values in measured.items()}
            ratios = (rates[column] / rates[columns[0]] for column in columns[2:4])
            table.add_row(sample, *(f"{rates[column]:.3f}" for column in columns), *(f"{ratio:.1f}" for ratio in ratios))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
