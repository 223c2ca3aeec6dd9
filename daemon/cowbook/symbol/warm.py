"""Compiling all kernels, or loading them from the cache, before the first event needs them."""

from __future__ import annotations

import time

import numpy as np

from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.line_decoder import LineDecoder
from cowbook.kernels.cache import cache_folder
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import EventBatch
from cowbook.sink.schemas import StreamTables
from cowbook.venues import load_venue

__all__ = ["cache_folder", "is_compiled", "warm"]

_SHAPED = b'{"arg":{"channel":"books","instId":"X"},"action":"update","data":[{"asks":[["2","1"]],"bids":[],"ts":"1"}]}\n'
_SAMPLE = b"""{"lastUpdateId":1,"E":1,"bids":[["1.00","2"]],"asks":[["2.00","2"]]}
{"e":"depthUpdate","E":2,"s":"X","U":2,"u":2,"b":[["1.00","0"]],"a":[]}
"""


def is_compiled() -> bool:
    """Whether the cache has compiled kernels, as far as can be told without loading them."""
    return any(cache_folder().glob("*.kernel"))


def warm() -> float:
    """Run every kernel once on a small sample; the seconds that it took."""
    started = time.perf_counter()
    decoder = LineDecoder(load_venue("binance"), DecoderSettings("X", 8, 8, 1 << 20))
    engine = OrderBookEngine(EngineSettings(max_book_bytes=1 << 20))
    batch = EventBatch.allocate(64, 64)
    buffer = np.zeros(len(_SAMPLE) + PADDING, np.uint8)
    buffer[: len(_SAMPLE)] = np.frombuffer(_SAMPLE, np.uint8)
    decoder.decode(Block(buffer, 0, len(_SAMPLE), "", 0, final=True), batch)
    _warm_shapes()
    engine.apply(batch)
    engine.asks.levels()
    engine.asks.size_at(1)
    OrderBookEngine.restore(engine.settings, engine.get_checkpoint_state())
    engine.pool_statistics()
    StreamTables(8, 8, engine.settings.book_levels).make(engine.open_rows(), [])
    return time.perf_counter() - started


def _warm_shapes() -> None:
    """The scanner of venues that have shapes: it checks a form with itself when it learns it."""
    decoder = LineDecoder(load_venue("okx"), DecoderSettings("X", 8, 8, 1 << 20))
    buffer = np.zeros(len(_SHAPED) + PADDING, np.uint8)
    buffer[: len(_SHAPED)] = np.frombuffer(_SHAPED, np.uint8)
    decoder.decode(Block(buffer, 0, len(_SHAPED), "", 0, final=True), EventBatch.allocate(64, 64))
