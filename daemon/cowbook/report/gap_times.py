"""When the gaps of a checkpoint's days were, and how many ids each lacks.

A checkpoint only counts gaps. Their times are rows of the stream `gaps`: those of the open cut lie in the checkpoint itself, all
others in parts.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cowbook.errors import StorageError
from cowbook.plain.messages import NONE
from cowbook.plain.parts import parse_part_name
from cowbook.plain.rows import OpenRows

Gaps: TypeAlias = list[tuple[int, int | None]]
"""Of each gap its event time in ns, and the number of ids that are missing; None where that cannot be known."""


def find_gaps(output_dir: Path, directory_name: str, rows: OpenRows, counts: Mapping[str, int]) -> dict[str, Gaps]:
    """A symbol's gaps by day (YYYY-MM-DD), of the days on which as many are found as `counts` has.

    `rows` are those of the open cut. At the end of the input it has parts, too, with what comes behind these rows. Raises
    StorageError for a part that cannot be read.
    """
    closed: dict[str, Gaps] = {}
    published: dict[str, Gaps] = {}
    for path in sorted(output_dir.glob(f"gaps/symbol={glob.escape(directory_name)}/date=*/part-*.parquet")):
        named, day = parse_part_name(path.name), path.parent.name.removeprefix("date=")
        if named is not None and counts.get(day):
            gaps = _read(path)
            published.setdefault(day, []).extend(gaps)
            if named[0] < rows.place:
                closed.setdefault(day, []).extend(gaps)
    if len(rows["gaps"]):
        closed.setdefault(_day(rows.newest), []).extend(_open_gaps(rows["gaps"]))
    both = [(day, found.get(day, [])) for day in counts for found in (closed, published)]
    return {day: gaps for day, gaps in both if len(gaps) == counts[day]}


def _read(path: Path) -> Gaps:
    try:
        table = pq.ParquetFile(path).read(["ts_event", "missing"])
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from error
    return list(zip(table["ts_event"].cast(pa.int64()).to_pylist(), table["missing"].to_pylist(), strict=True))


def _open_gaps(rows: npt.NDArray[Any]) -> Gaps:
    missing = rows["missing"].astype(np.int64).tolist()
    return [(time, None if count == NONE else count) for time, count in zip(rows["ts_event"].tolist(), missing, strict=True)]


def _day(newest: int) -> str:
    """The day of a cut: that of the running maximum of event time."""
    return datetime.fromtimestamp(newest // 1_000_000_000, UTC).date().isoformat()
