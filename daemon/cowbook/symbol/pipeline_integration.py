"""Starts a symbol's pipeline: recovers a checkpoint, seeks in the input, and reports whether the first messages join on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cowbook.book.order_book_engine import OrderBookEngine
from cowbook.capture.follower import Follower
from cowbook.checkpoint.load import Checkpoint
from cowbook.checkpoint.pipeline_state import PipelineState
from cowbook.checkpoint.store import CheckpointStore, Found
from cowbook.errors import InputError, LockedError, LostPartsError, OutputError, RecoveryError
from cowbook.plain.counting import counted
from cowbook.plain.parts import CutPlace
from cowbook.sink.parquet_sink import ParquetSink
from cowbook.symbol.source_group import SourceGroup

_MOST_MESSAGES = 10_000
"""After so many messages without a depth message, continuity is not judged: a capture of trades has none."""

_LOCK_POLL_SECONDS = 0.5
"""Between two looks at a lock that another process holds."""

_MAY_HALT = ("on_gap", "on_bad_record", "on_damage")


@dataclass(frozen=True, slots=True)
class Start:
    """The starting point of a pipeline: the recovered checkpoint, if any, and the input at its position."""

    checkpoint: Checkpoint | None
    follower: Follower | SourceGroup
    warnings: tuple[str, ...] = ()
    """Warnings for users about the files and parts that were found."""
    provisional: tuple[CutPlace, ...] = ()
    """Places of published cuts that may not be made again. Those that are not must be removed."""


async def start_pipeline(
    store: CheckpointStore,
    sink: ParquetSink,
    make_input: Callable[[PipelineState | None], Follower | SourceGroup],
    fingerprint: Mapping[str, Any],
    executor: Executor,
    log: Any,
    *,
    allow_fresh: bool,
    on_locked: Callable[[str], None] | None = None,
) -> Start:
    """Take the locks, find the newest valid checkpoint, check everything, and only then claim the symbol and change anything.

    With `on_locked` a lock that another process holds is waited for, and that is told who holds it; else LockedError is raised.
    Where locks have no effect, another process may write until the claim fences it: if it has committed meanwhile, everything is
    looked at once more.

    Raises RecoveryError, OutputError or InputError if the symbol must not go on. With `allow_fresh` it then starts from the
    beginning, unless the input merely cannot be read; so it does where the checkpoint has no accepted message, since nothing was
    made that is worth keeping: the format, the name or the files were wrong and have been corrected. The caller must release the
    locks, also after an error.
    """
    loop = asyncio.get_running_loop()
    await _take_locks(store, sink, executor, log, on_locked)
    while True:
        found = await loop.run_in_executor(executor, store.find)
        part_count = await loop.run_in_executor(executor, sink.scan)
        try:
            follower = await _check_all(found, part_count, store, sink, make_input, fingerprint, executor)
        except (RecoveryError, OutputError, InputError) as error:
            if not await loop.run_in_executor(executor, store.is_as_found):
                await loop.run_in_executor(executor, _claim, store, sink)  # another process has changed it while it was looked at
                continue
            if (
                isinstance(error, LostPartsError)
                and found.checkpoint is not None
                and store.give_up(found.checkpoint.manifest.epoch)
            ):
                log.warning("going on from an older checkpoint", reason=str(error))
                continue
            if not (allow_fresh or _is_useless(found)):
                raise
            await make_input(None).check_readable()  # an unreadable input is no reason to move anything
            if not await loop.run_in_executor(executor, _claim, store, sink):
                continue
            log.warning("starting from the beginning, what was there is moved away", reason=str(error))
            await loop.run_in_executor(executor, _start_afresh, store, sink)
            return Start(None, make_input(None))
        try:
            if await loop.run_in_executor(executor, _claim, store, sink):
                return await _go_on(found, store, sink, follower, executor, log)
        except BaseException:
            await follower.close()
            raise
        await follower.close()


async def _check_all(
    found: Found,
    part_count: int,
    store: CheckpointStore,
    sink: ParquetSink,
    make_input: Callable[[PipelineState | None], Follower | SourceGroup],
    fingerprint: Mapping[str, Any],
    executor: Executor,
) -> Follower | SourceGroup:
    """The input at the place of what was found, once everything fits together."""
    _check(found, part_count, store, fingerprint)
    checkpoint = found.checkpoint
    if checkpoint is not None and not checkpoint.published:
        await asyncio.get_running_loop().run_in_executor(executor, sink.check, checkpoint.manifest.cuts)
    follower = make_input(checkpoint.state if checkpoint is not None else None)
    await follower.seek()
    return follower


def _claim(store: CheckpointStore, sink: ParquetSink) -> bool:
    """Claim the symbol. Returns whether what was found is still the newest."""
    is_newest = store.claim()
    sink.start = store.start
    return is_newest


async def _go_on(
    found: Found, store: CheckpointStore, sink: ParquetSink, follower: Follower | SourceGroup, executor: Executor, log: Any
) -> Start:
    """Make the disk match what was found, and say what is odd about it."""
    loop, checkpoint = asyncio.get_running_loop(), found.checkpoint
    await loop.run_in_executor(executor, _settle, store, sink, found)
    warnings = follower.warnings
    if checkpoint is not None and checkpoint.published:
        missing = await loop.run_in_executor(executor, sink.missing, checkpoint.manifest.cuts)
        if missing:
            count = sum(len(cut.parts) for cut in checkpoint.manifest.cuts)
            warnings = (*warnings, _missing_parts(missing, count, checkpoint.manifest.epoch))
    for damaged in found.damaged:
        log.error("damaged checkpoint moved to quarantine", epoch=damaged.epoch, reason=damaged.reason)
    for warning in warnings:
        log.warning(warning)
    provisional: tuple[CutPlace, ...] = checkpoint.state.provisional if checkpoint is not None else ()
    if found.is_passed_over:
        # Only those that were passed over knew which of the parts after this one were provisional, so all of them may be.
        provisional = sink.standing()
    return Start(checkpoint, follower, warnings, provisional)


async def _take_locks(
    store: CheckpointStore, sink: ParquetSink, executor: Executor, log: Any, on_locked: Callable[[str], None] | None
) -> None:
    """Take the locks of state and output."""
    loop = asyncio.get_running_loop()
    told = ""
    while True:
        try:
            await loop.run_in_executor(executor, store.lock)
            await loop.run_in_executor(executor, sink.lock)
        except LockedError as error:
            if on_locked is None:
                raise
            await loop.run_in_executor(executor, store.unlock)
            if str(error) != told:
                told = str(error)
                log.warning("waiting until another process gives the symbol up", reason=told)
                on_locked(told)
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        else:
            return


def _is_useless(found: Found) -> bool:
    """Whether there is a valid checkpoint, and it has no accepted message."""
    return found.checkpoint is not None and is_useless(found.checkpoint)


def is_useless(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint has no accepted message, so that a run which may not go on from it begins anew."""
    return not checkpoint.state.order_book_state.values["messages"]


def _missing_parts(missing: list[Path], count: int, epoch: int) -> str:
    return (
        f"{len(missing)} of the {count} parts that checkpoint {epoch} has published are not where they were, the first: "
        f"{missing[0]}; if they were moved away on purpose all is well: they are not made again. To make everything anew, "
        "remove the symbol's state and output, or use another state_dir and output_dir"
    )


def _shown(settings: Mapping[str, object], name: str) -> str:
    """A setting's value. Some are written only where they are not the default."""
    return repr(settings[name]) if name in settings else "the default"


def _check(found: Found, part_count: int, store: CheckpointStore, fingerprint: Mapping[str, Any]) -> None:
    """Raises RecoveryError if the symbol must not go on from what was found."""
    if found.outdated is not None:
        raise found.outdated
    if found.checkpoint is None:
        if found.damaged:
            newest = found.damaged[0]
            raise RecoveryError(
                f"{store.checkpoints} has {counted(len(found.damaged), 'checkpoint')} and none is valid "
                f"(newest: {newest.epoch}: {newest.reason}): restore one, or use --allow-fresh to move them to quarantine and "
                "the parts to .superseded, and start from the beginning"
            )
        if part_count:
            raise RecoveryError(
                f"{part_count} parts of an earlier run exist, and {store.checkpoints} has no checkpoint to go on from: "
                "restore the checkpoints, use --allow-fresh to move the parts to .superseded and start from the beginning, "
                "or use another output_dir"
            )
        return
    refusal = refusal_of(found.checkpoint, fingerprint)
    if refusal is not None:
        raise RecoveryError(refusal)


def refusal_of(checkpoint: Checkpoint, fingerprint: Mapping[str, Any]) -> str | None:
    """Why a run with these settings would not go on from a checkpoint, and what to do; None if it would."""
    then = checkpoint.state.fingerprint
    changed = [
        f"{name} was {_shown(then, name)} and is {_shown(fingerprint, name)}"
        for name in sorted({*then, *fingerprint})
        # A halt has changed no row, and its error message advised to continue.
        if then.get(name) != fingerprint.get(name) and not (name in _MAY_HALT and then.get(name) == "halt")
    ]
    if not changed:
        return None
    return (
        f"checkpoint {checkpoint.directory} was made with other settings: {'; '.join(changed)}: set them back, "
        "use other directories, or use --allow-fresh to start from the beginning"
    )


def _settle(store: CheckpointStore, sink: ParquetSink, found: Found) -> None:
    """Make the disk match the recovered checkpoint."""
    store.quarantine([damaged.epoch for damaged in found.damaged])
    first = (0, 0)
    if found.checkpoint is not None:
        checkpoint = store.adopt(found.checkpoint)
        if not checkpoint.published:
            with store.unless_fenced():
                sink.publish_again(checkpoint.manifest.cuts, checkpoint.manifest.withdrawn)
                store.mark_published(checkpoint.directory)
        first = checkpoint.state.order_book_state.rows.place
    store.sweep()
    sink.begin(first)


def _start_afresh(store: CheckpointStore, sink: ParquetSink) -> None:
    # The checkpoints go first. If this stops half-way, the next start refuses parts without a checkpoint, but would go on from a
    # checkpoint without its parts.
    store.quarantine(store.committed())
    store.check_claim()
    sink.supersede_all()
    store.sweep()
    sink.begin((0, 0))


class ContinuityReport:
    """Reports whether the first depth message after a recovery continues the recovered book."""

    def __init__(self, engine: OrderBookEngine) -> None:
        self._gaps = engine.value("gaps")
        self._judged = _judged(engine)
        self._messages = 0
        self.is_open = True
        """True until the first depth message is judged. Until then, apply messages one by one."""
        self.gaps = 0

    def observe(self, engine: OrderBookEngine, log: Any) -> None:
        """Call this after each message while `is_open`."""
        self._messages += 1
        if _judged(engine) == self._judged and self._messages < _MOST_MESSAGES:
            return
        self.is_open = False
        self.gaps = engine.value("gaps") - self._gaps
        if self.gaps:
            log.warning("the first depth message after recovery does not join on: update ids are missing in the input")
        else:
            log.info("the first messages after recovery join on")


def _judged(engine: OrderBookEngine) -> int:
    """Returns the number of depth messages that were judged so far."""
    return sum(engine.value(name) for name in ("diffs", "snapshots", "stale", "stale_snapshots"))
