"""A worker that ends behind any batch of records: it stops with a checkpoint, or as if it were killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cowbook.symbol.pipeline import Pipeline
from cowbook.symbol.symbol_worker import SymbolWorker
from support.harness import Run, worker_settings, write_files


class _EndedError(Exception):
    """The worker has ended at the place."""


def end_behind(directory: Path, files: Mapping[str, bytes], run: Run, batches: int, *, stops: bool = True) -> None:
    """Run as `reconstruct` does, until so many batches are applied; then stop with a checkpoint, or end without one."""

    class EndingWorker(SymbolWorker):
        async def _consume(self, pipeline: Pipeline) -> None:
            apply, left = pipeline._apply, batches

            async def apply_and_count(place_of: Callable[[int], tuple[str, int]]) -> None:
                nonlocal left
                await apply(place_of)
                left -= 1
                if left == 0:
                    raise _EndedError

            pipeline._apply = apply_and_count  # type: ignore[method-assign]
            try:
                await super()._consume(pipeline)
            except _EndedError:
                if not stops:
                    raise
                await pipeline.stop()

    with ThreadPoolExecutor(2) as executor, asyncio.Runner(loop_factory=run.loop_factory) as runner:

        async def go() -> None:
            names = write_files(directory / "input", files)
            await EndingWorker(worker_settings(directory, names, run), executor, executor).run()

        try:
            runner.run(go())
        except _EndedError:
            assert not stops
