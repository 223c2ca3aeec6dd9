"""A new stream is one entry of the table and one function that writes its rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path

# The entry, in the text of the table, before anything else looks at it.
from cowbook.plain import streams
entry = 'Stream("blocks", (EVENT_INDEX, Column("price", Kind.PRICE), Column("is_sell", Kind.FLAG)), most_rows=1)'
source = Path(streams.__file__).read_text().replace("BY_NAME = {", f"STREAMS += ({entry},)\\nBY_NAME = {{", 1)
exec(compile(source, streams.__file__, "exec"), streams.__dict__)

# The function, called where trades are written.
from cowbook.book import emit
trade_row = emit.trade_row
def trade_and_block_row(engine, message, ts_event, trade_id, is_sell, is_aggregate, price, size):
    event_index = engine.state[0].next_event
    trade_row(engine, message, ts_event, trade_id, is_sell, is_aggregate, price, size)
    if size >= 200:
        row = engine.rows.blocks[engine.state[0].open_blocks]
        engine.state[0].open_blocks += 1
        row.event_index = event_index
        row.price = price
        row.is_sell = 0
emit.trade_row = trade_and_block_row

from cowbook.book.order_book_engine import EngineSettings
from cowbook.checkpoint.triggers import TriggerSettings
from support.harness import Run, reconstruct
from support.venue_samples import make_sample

sample = make_sample("binance-spot")
engine = EngineSettings(part_events=60, part_interval=15_000_000_000, book_levels=3)
run = Run("X", sample.name, sample.format, price_decimals=1, size_decimals=2, engine=engine)
whole = reconstruct(Path(sys.argv[1]) / "whole", sample.files, run)
assert whole.summary.state == "done", whole.summary.error
expected = [row["event_index"] for row in whole.rows("trades") if row["size"] >= 200]
assert [row["event_index"] for row in whole.rows("blocks")] == expected and len(expected) > 3, expected
assert set(whole.rows("blocks")[0]) == {"event_index", "price", "is_sell"}

# Stopped and gone on from a checkpoint that has open rows of it.
for files in sample.phases:
    resumed = reconstruct(Path(sys.argv[1]) / "resumed", files, run)
assert resumed.summary.recovered_epoch is not None
assert resumed.parts == whole.parts
print(len(expected), "rows")
"""


def test_a_stream_is_an_entry_and_a_function(tmp_path: Path) -> None:
    """Dtypes, arrays, room, parts and checkpoints follow."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("rows\n")
