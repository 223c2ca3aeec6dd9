"""The stream `book` as dense arrays for machine learning: one .npz file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cowbook.errors import ExportError, QueryError
from cowbook.export.span import check_order
from cowbook.plain.destination import new_path
from cowbook.plain.messages import NONE
from cowbook.query.instant import describe_span
from cowbook.query.output import SymbolOutput
from cowbook.query.parts import check_contiguous
from cowbook.query.times import iso

Holes = Literal["fill", "nan"]
Numbers = Literal["float32", "float64"]

_MOST_BYTES = 8 << 30
_SCALARS = ("event_index", "ts", "synced", "bids_known", "asks_known")


@dataclass(frozen=True, slots=True)
class GridExport:
    """What was written."""

    points: int
    levels: int
    filled: int  # points for which `book` has no row
    interval_ns: int  # 0 for a single point
    is_exact: bool  # the numbers tell any two prices and any two sizes apart that differ


def export_grid(
    output_dir: Path, symbol: str, start: int | None, end: int | None, path: Path, *, holes: Holes, numbers: Numbers
) -> GridExport:
    """Writes the points of `book` with `start` <= ts < `end` (ns; None: all) as arrays of one length T in order of time.

    * `book`: (T, levels, 4), price and size of the bid and of the ask at each level. NaN where the book ends.
    * `ts`: int64, ns since 1970, one every `interval_ns`.
    * `has_row`: whether `book` has a row of this point. It has none where no depth message came since the last one: with "fill"
      such a point has the row before it, which is the book as it still stands, with "nan" NaN.
    * `event_index`, `synced`, `bids_known`, `asks_known`: as in the row; of a point without one as in the row before.

    Raises QueryError for what cannot be read, ExportError for what cannot be written.
    """
    check_order(start, end)
    output = SymbolOutput(output_dir, symbol)
    rows = _read(output, start, end)
    times = rows["ts"]
    interval = int(np.gcd.reduce(np.diff(times))) if len(times) > 1 else 0
    if len(times) > 1 and (np.diff(times) <= 0).any():
        row = int(np.argmax(np.diff(times) <= 0))
        raise ExportError(
            f"ts of book falls from {iso(int(times[row]))} to {iso(int(times[row + 1]))}: one of them is wrong; "
            "export what lies before and behind it with --from and --to"
        )
    places = (times - times[0]) // interval if interval else np.zeros(1, np.int64)
    points = int(places[-1]) + 1
    levels = rows["book"].shape[1]
    size = np.dtype(numbers).itemsize * 4 * levels * points
    if size > _MOST_BYTES:
        raise ExportError(
            f"the grid from {iso(int(times[0]))} to {iso(int(times[-1]))} has {points:,} points, {size / 2**30:,.0f} GiB: "
            "export shorter spans with --from and --to"
        )
    has_row = np.zeros(points, np.bool_)
    has_row[places] = True
    source = np.cumsum(has_row) - 1  # the row at or before each point
    exact = rows["book"]
    book = exact.astype(numbers)[source]
    if holes == "nan":
        book[~has_row] = np.nan
    arrays: dict[str, npt.NDArray[Any]] = {name: rows[name][source] for name in _SCALARS if name != "ts"}
    arrays |= {"book": book, "ts": times[0] + interval * np.arange(points), "has_row": has_row, "interval_ns": np.array(interval)}
    with new_path(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return GridExport(points, levels, points - len(times), interval, _are_told_apart(exact, numbers))


def _read(output: SymbolOutput, start: int | None, end: int | None) -> dict[str, npt.NDArray[Any]]:
    """The rows of `book` between two times: the scalar columns, and `book`: (rows, levels, 4) float64."""
    output.need("book", "which is to be written")
    check_contiguous(output.cuts)
    pieces: list[dict[str, npt.NDArray[Any]]] = []
    for cut in range(len(output.cuts)):
        reader = output.reader("book", cut)
        if reader is None:
            output.check_parts(cut, "book")
            continue
        (times,) = reader.read("ts")
        chosen = np.ones(len(times), np.bool_) if start is None else times >= start
        if end is not None:
            chosen &= times < end
        if not chosen.any():
            output.forget(cut)
            continue
        piece = dict(zip(_SCALARS, (column[chosen] for column in reader.read(*_SCALARS)), strict=True))
        names = [f"{name}_{level:02d}" for level in range(reader.levels) for name in ("bid_px", "bid_sz", "ask_px", "ask_sz")]
        scales = [10.0 ** (reader.decimals(name) or 0) for name in names[:4]]  # doubles are as they are
        columns = np.stack(reader.read(*names), axis=1)[chosen].reshape(-1, reader.levels, 4)
        piece["book"] = np.where(columns == NONE, np.nan, columns / np.array(scales))
        pieces.append(piece)
        output.forget(cut)
    if not pieces:
        raise QueryError(f"{output.output_dir} has no row of book of {output.symbol} in that span: {describe_span(output)}")
    if len({piece["book"].shape[1] for piece in pieces}) > 1:
        raise QueryError(f"{output.output_dir} has parts of book with different numbers of levels")
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _are_told_apart(exact: npt.NDArray[np.float64], numbers: Numbers) -> bool:
    """Whether all numbers that differ still do so when they are rounded."""
    for columns in (exact[:, :, 0::2], exact[:, :, 1::2]):
        values = np.unique(columns[~np.isnan(columns)])
        if len(np.unique(values.astype(numbers))) != len(values):
            return False
    return True
