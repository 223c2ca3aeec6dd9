"""Running cowbook on files that a test makes, and reading back what it wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cowbook.book.order_book_engine import EngineSettings
from cowbook.capture.paths import expand_paths
from cowbook.checkpoint.settings import CheckpointSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.input.settings import DecoderSettings
from cowbook.plain.durable_files import DurableFiles
from cowbook.plain.parts import CutPlace, cut_of_name
from cowbook.sink.columns import NumberKind
from cowbook.sink.stream_files import StreamFile
from cowbook.symbol.settings import WorkerSettings
from cowbook.symbol.summary import SymbolSummary
from cowbook.symbol.symbol_worker import SymbolWorker

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A finished run: its summary, and every part by its path below the output directory."""

    summary: SymbolSummary
    output_dir: Path
    parts: dict[str, bytes]

    def rows(self, stream: str) -> list[dict[str, Any]]:
        """All rows of a stream in order, as plain values: times in ns, prices and sizes as fixed-point integers."""
        return [row for rows in self.cuts(stream).values() for row in rows]

    def cuts(self, stream: str) -> dict[CutPlace, list[dict[str, Any]]]:
        """The same, by the place of the cut, in order."""
        found = {}
        for name in self.parts:
            place = cut_of_name(name.rpartition("/")[2])
            if name.startswith(f"{stream}/") and place is not None:
                found[place] = table_rows(pq.ParquetFile(self.output_dir / name).read())
        return dict(sorted(found.items()))


def tables_of(files: Iterable[StreamFile]) -> dict[str, pa.Table]:
    """The tables in a cut's files, by stream, with checksums compared."""
    return {file.stream: pq.ParquetFile(pa.BufferReader(file.content), page_checksum_verification=True).read() for file in files}


def table_rows(table: pa.Table) -> list[dict[str, Any]]:
    """A table's rows with times in ns and decimals as fixed-point integers."""
    columns = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        values = column.to_pylist()
        if pa.types.is_decimal(column.type):
            scale = column.type.scale
            values = [None if value is None else int(value.scaleb(scale)) for value in values]
        columns[name] = values
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@dataclass(frozen=True, slots=True)
class Run:
    """What to run."""

    name: str = "BTCUSDT"
    symbol: str = ""  # what records say; default: the name
    format: str = "binance"
    price_decimals: int = 8
    size_decimals: int = 8
    max_line_bytes: int = 1 << 24
    on_bad_record: str = "skip"
    on_damage: str = "skip"
    engine: EngineSettings = field(default_factory=EngineSettings)
    block_bytes: int = 1 << 20
    triggers: TriggerSettings = field(default_factory=TriggerSettings)
    retain: int = 3
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    numbers: NumberKind = "decimal"
    compression: str = "zstd"


def write_files(directory: Path, files: Mapping[str, bytes]) -> list[str]:
    """Put files into a directory; their names, in order."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return list(files)


def worker_settings(directory: Path, names: Sequence[str], run: Run) -> WorkerSettings:
    """Settings of a worker on files of `directory/input`, with state and output beside them."""
    return WorkerSettings(
        id=run.name,
        directory_name=run.name,
        format=run.format,
        paths=expand_paths(names, directory / "input").paths if names else (),
        state_dir=directory / "state",
        output_dir=directory / "data",
        on_bad_record=run.on_bad_record,
        decoder=DecoderSettings(run.symbol or run.name, run.price_decimals, run.size_decimals, run.max_line_bytes),
        engine=run.engine,
        compression=run.compression,
        fingerprint={"price_decimals": run.price_decimals, "size_decimals": run.size_decimals},
        checkpoints=CheckpointSettings(run.triggers, run.retain),
        block_bytes=run.block_bytes,
        on_damage=run.on_damage,
        numbers=run.numbers,
    )


def reconstruct(
    directory: Path,
    files: Mapping[str, bytes],
    run: Run | None = None,
    *,
    allow_fresh: bool = False,
    durable_files: DurableFiles | None = None,
    paths: Sequence[str] = (),
) -> Reconstruction:
    """Write the files into `directory/input`, run a worker on them, and collect the parts below `directory/data`.

    `paths` are names in the input that are read though they are not written.
    """
    run = run or Run()
    settings = worker_settings(directory, write_files(directory / "input", files), run)
    if paths:
        settings = replace(settings, paths=tuple(directory / "input" / name for name in paths))
    with ThreadPoolExecutor(2) as executor, asyncio.Runner(loop_factory=run.loop_factory) as runner:

        async def go() -> SymbolSummary:
            return await SymbolWorker(settings, executor, executor, allow_fresh=allow_fresh, files=durable_files).run()

        summary = runner.run(go())
    return Reconstruction(summary, directory / "data", read_parts(directory / "data"))


def read_parts(output_dir: Path) -> dict[str, bytes]:
    """Every part below an output directory, by its relative path; nothing that is hidden."""
    return {
        str(path.relative_to(output_dir)): path.read_bytes()
        for path in sorted(output_dir.glob("[!.]*/symbol=*/date=*/*.parquet"))
    }


def fixed(text: str, decimals: int = 8) -> int:
    """A numeral as a fixed-point integer."""
    return int(Decimal(text).scaleb(decimals))
