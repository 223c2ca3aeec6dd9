"""The settings of a symbol's worker, and the fingerprint of those that its output depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cowbook.book.order_book_engine import EngineSettings
from cowbook.capture.copies import read_once
from cowbook.capture.paths import ExpandedPaths, expand_paths
from cowbook.capture.rotation import FollowSettings
from cowbook.capture.written_order import in_written_order
from cowbook.checkpoint.settings import CheckpointOwner, CheckpointSettings
from cowbook.checkpoint.triggers import TriggerSettings
from cowbook.config import Config, ObjectPlaces, SourceConfig, SymbolConfig, output_directory_name
from cowbook.input.settings import DecoderSettings
from cowbook.sink.columns import NumberKind
from cowbook.sink.parquet_file import ENCODER
from cowbook.symbol.first_time import FirstTime

FINGERPRINT_OF_SYMBOL = ("id", "name", "format", "on_gap", "on_bad_record", "price_decimals", "size_decimals", "max_line_bytes")
FINGERPRINT_OF_OUTPUT = ("book_levels", "book_interval", "part_events", "part_interval", "compression")


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """How one source of a symbol is read."""

    name: str
    format: str
    paths: tuple[Path, ...]
    decoder: DecoderSettings
    follow: FollowSettings | None


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """All settings of a symbol's worker."""

    id: str
    directory_name: str
    format: str
    paths: tuple[Path, ...]
    state_dir: Path
    output_dir: Path
    on_bad_record: str
    decoder: DecoderSettings
    engine: EngineSettings
    """The engine's settings from the configuration. `engine_settings` adds those that follow from the venue."""
    compression: str
    fingerprint: Mapping[str, Any]
    """The settings that change rows or files, by name. A checkpoint made with others is refused."""
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)
    notes: tuple[str, ...] = ()  # warnings for users about the paths
    block_bytes: int = 1 << 21
    follow: FollowSettings | None = None
    on_damage: str = "skip"
    numbers: NumberKind = "decimal"
    sources: tuple[SourceSettings, ...] = ()
    """The sources that are joined; empty for the usual symbol, whose input is one."""
    source_wait_seconds: float = 10.0
    objects: ObjectPlaces | None = None
    """Where state and output lie in object storage; `state_dir` and `output_dir` are then this machine's copies."""

    @property
    def owner(self) -> CheckpointOwner:
        """The owner of the checkpoints that the worker writes. It may go on only from checkpoints of the same owner."""
        return CheckpointOwner(self.id, self.decoder.name, self.fingerprint)


def worker_settings(config: Config, symbol: SymbolConfig, *, once: bool = False) -> WorkerSettings:
    """Returns the settings of one symbol's worker. Raises InputError if files are missing, unless they are followed."""
    output = config.output
    follows = symbol.follow and not once
    decoder = decoder_settings(symbol)
    sources, notes = source_settings(config, symbol, once=once)
    expanded = None if follows or sources else files_of(symbol, config.base_dir)
    return WorkerSettings(
        id=symbol.id,
        directory_name=output_directory_name(symbol.id),
        format=symbol.format,
        paths=expanded.paths if expanded is not None else (),
        notes=expanded.warnings if expanded is not None else notes,
        follow=_follow_of(config, symbol, sources, once=once),
        sources=sources,
        source_wait_seconds=symbol.source_wait / 1e9,
        state_dir=config.service.state_dir,
        output_dir=config.service.output_dir,
        objects=config.objects,
        on_bad_record=symbol.on_bad_record,
        on_damage=symbol.on_damage,
        decoder=decoder,
        engine=EngineSettings(
            on_gap=symbol.on_gap,
            streams=output.streams,
            book_levels=output.book_levels,
            book_interval=output.book_interval,
            book_fill=output.book_fill,
            part_events=output.part_events,
            part_interval=output.part_interval,
            max_book_bytes=symbol.max_book_bytes,
            depth=symbol.depth,
            channel=symbol.channel,
        ),
        compression=output.compression,
        numbers=output.numbers,
        fingerprint=fingerprint(config, symbol),
        checkpoints=checkpoint_settings(config),
    )


def source_settings(
    config: Config, symbol: SymbolConfig, *, once: bool = False
) -> tuple[tuple[SourceSettings, ...], tuple[str, ...]]:
    """Returns how the sources of a symbol are read, and warnings about their paths. Raises InputError as `worker_settings`."""
    found, notes = [], []
    for source, own in zip(symbol.source, symbol.inputs, strict=False):
        follow = follow_settings(config, own) if own.follow and not once else None
        files = files_of(own, config.base_dir) if follow is None else None
        found.append(SourceSettings(source.name, own.format, files.paths if files else (), decoder_settings(own), follow))
        notes += [f"source {source.name}: {warning}" for warning in (files.warnings if files else ())]
    return tuple(found), tuple(notes)


def _follow_of(config: Config, symbol: SymbolConfig, sources: tuple[SourceSettings, ...], *, once: bool) -> FollowSettings | None:
    """How the symbol is followed; as one of its sources is, if it has some."""
    if sources:
        return next((source.follow for source in sources if source.follow is not None), None)
    return follow_settings(config, symbol) if symbol.follow and not once else None


def decoder_settings(symbol: SymbolConfig) -> DecoderSettings:
    """Returns what of a symbol's configuration decides what its records mean."""
    return DecoderSettings(
        symbol.name,
        symbol.price_decimals,
        symbol.size_decimals,
        symbol.max_line_bytes,
        connection_numbers=symbol.connection_numbers,
        envelope=(symbol.envelope.time, symbol.envelope.message) if symbol.envelope is not None else None,
        address=symbol.channel if symbol.is_address else "",
    )


def files_of(symbol: SymbolConfig, base: Path) -> ExpandedPaths:
    """Returns the files of a symbol in the order of reading, without copies. Raises InputError if files are missing."""
    return in_written_order(read_once(expand_paths(symbol.paths, base)), FirstTime(symbol.format, decoder_settings(symbol)))


def follow_settings(config: Config, symbol: SymbolConfig) -> FollowSettings:
    """Returns how to follow the symbol's files."""
    time_of = FirstTime(symbol.format, decoder_settings(symbol))
    return FollowSettings(symbol.paths, config.base_dir, symbol.rotate_wait / 1e9, symbol.follow_delay / 1e9, time_of)


def checkpoint_settings(config: Config) -> CheckpointSettings:
    """Returns the section [checkpoint] as the settings that all workers share."""
    checkpoint = config.checkpoint
    triggers = TriggerSettings(checkpoint.every_events, checkpoint.every, checkpoint.min_pause, checkpoint.min_events)
    return CheckpointSettings(triggers, checkpoint.retain, checkpoint.compression)


def fingerprint(config: Config, symbol: SymbolConfig) -> dict[str, Any]:
    """Returns the settings that change rows or files, by name, with intervals in ns. A checkpoint made with others is refused."""
    return {
        **{name: getattr(symbol, name) for name in FINGERPRINT_OF_SYMBOL},
        **{name: getattr(config.output, name) for name in FINGERPRINT_OF_OUTPUT},
        "streams": sorted(config.output.streams),
        "encoder": ENCODER,
        **({"book_fill": True} if config.output.book_fill else {}),
        **({"numbers": config.output.numbers} if config.output.numbers != "decimal" else {}),
        **({"depth": symbol.depth} if symbol.depth else {}),
        **({"channel": symbol.channel} if symbol.channel else {}),
        **({"connection_numbers": symbol.connection_numbers} if symbol.connection_numbers != "check" else {}),
        **({"envelope": symbol.envelope.model_dump()} if symbol.envelope is not None else {}),
        **({"on_damage": symbol.on_damage} if symbol.on_damage != "skip" else {}),
        **({"sources": [_fingerprint_of_source(source) for source in symbol.source]} if symbol.source else {}),
    }


def _fingerprint_of_source(source: SourceConfig) -> list[Any]:
    return [source.name, source.format, *([source.envelope.model_dump()] if source.envelope is not None else [])]
