"""cowbook's stages over a capture held in memory, for benchmarks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cowbook.book import ladder
from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.line_decoder import LineDecoder
from cowbook.kernels.jit import kernel
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import DIFF, SNAPSHOT, EventBatch
from cowbook.plain.rows import OpenRows
from cowbook.venues import load_venue

BLOCK_BYTES = 1 << 20


class LoadedCapture:
    """A capture's bytes, as the follower would hand them out block by block."""

    def __init__(self, path: Path, name: str) -> None:
        content = path.read_bytes()
        self.path = path
        self.name = name
        self.size_bytes = len(content)
        self.lines = content.splitlines()
        self.buffer = np.zeros(len(content) + PADDING, np.uint8)
        self.buffer[: len(content)] = np.frombuffer(content, np.uint8)


def run_stages(capture: LoadedCapture, *, apply: bool, settings: EngineSettings | None = None) -> tuple[int, float]:
    """Decode, and apply if asked: (levels and trades decoded, seconds). Rows are collected, not written."""
    decoder = LineDecoder(load_venue("binance"), DecoderSettings(capture.name, 8, 8, 1 << 24))
    batch = EventBatch.allocate()
    engine = OrderBookEngine(settings or EngineSettings())
    levels = 0
    start = 0
    started = time.perf_counter()
    while start < capture.size_bytes:
        end = min(capture.size_bytes, start + BLOCK_BYTES)
        block = Block(capture.buffer, start, end, capture.name, 0, end == capture.size_bytes)
        full = True
        while full:
            full = decoder.decode(block, batch)
            levels += batch.level_count
            if apply:
                apply_all(engine, batch)
            batch.clear()
        start = block.start
    return engine.event_count if apply else levels, time.perf_counter() - started


def apply_all(engine: OrderBookEngine, batch: EventBatch) -> None:
    """Apply a whole batch, dropping the rows of every cut."""
    place = 0
    while True:
        applied = engine.apply(batch, place)
        place = applied.consumed
        if not applied.cut:
            return
        engine.take_open_rows()


def rows_of_cuts(capture: LoadedCapture) -> list[OpenRows]:
    """The rows of all cuts of a capture, the last one's included."""
    decoder = LineDecoder(load_venue("binance"), DecoderSettings(capture.name, 8, 8, 1 << 24))
    batch, engine = EventBatch.allocate(), OrderBookEngine(EngineSettings())
    block = Block(capture.buffer, 0, capture.size_bytes, capture.name, 0, True)
    cuts, full = [], True
    while full:
        full = decoder.decode(block, batch)
        place, cut = 0, True
        while cut:
            applied = engine.apply(batch, place)
            place, cut = applied.consumed, applied.cut
            if cut:
                cuts.append(engine.take_open_rows())
        batch.clear()
    return [*cuts, engine.open_rows()]


def depth_levels(capture: LoadedCapture, most: int) -> list[list[tuple[int, int, int]]]:
    """(side, price, size) of the levels of each depth message, about `most` levels in all."""
    decoder = LineDecoder(load_venue("binance"), DecoderSettings(capture.name, 8, 8, 1 << 24))
    block = Block(capture.buffer, 0, capture.size_bytes, capture.name, 0, True)
    batch = EventBatch.allocate()
    messages: list[list[tuple[int, int, int]]] = []
    count = 0
    full = True
    while full and count < most:
        full = decoder.decode(block, batch)
        for message in batch.messages[: batch.message_count]:
            if message["kind"] not in (DIFF, SNAPSHOT):
                continue
            levels = []
            for side, name in enumerate(("bid", "ask")):
                start, number = int(message[f"{name}_start"]), int(message[f"{name}_count"])
                prices, sizes = batch.prices[start : start + number], batch.sizes[start : start + number]
                levels += [(side, int(price), int(size)) for price, size in zip(prices, sizes, strict=True)]
            messages.append(levels)
            count += len(levels)
        batch.clear()
    return messages


@kernel
def _set_all(book, side_numbers, prices, sizes):
    for level in range(prices.size):
        ladder.set_level(book, side_numbers[level], prices[level], sizes[level])


def run_ladder(levels: npt.NDArray[np.int64]) -> tuple[int, float]:
    """The ladder alone: `levels` has rows (side, price, size); (levels, seconds)."""
    columns = [np.ascontiguousarray(levels[:, column]) for column in range(3)]
    _set_all(ladder.allocate(1 << 26), *(column[:1] for column in columns))  # compiled
    arrays = ladder.allocate(1 << 28)
    started = time.perf_counter()
    _set_all(arrays, *columns)
    return len(levels), time.perf_counter() - started
