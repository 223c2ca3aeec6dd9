"""Draws a depth map with matplotlib: PNG, SVG, or one HTML file."""

from __future__ import annotations

from datetime import UTC
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from cowbook.errors import MissingExtraError, QueryError
from cowbook.plain.destination import replace
from cowbook.plain.escaping import escaped
from cowbook.plain.vocabulary import BOUGHT, SOLD, UNTOLD
from cowbook.plot.depth_map import DepthMap
from cowbook.plot.page import make_page
from cowbook.query.times import iso

_INCHES, _DOTS_PER_INCH = (13, 7), 120
_UNSYNCED, _UNKNOWN, _GAP, _FAILED = "#b8b8b8", "#555555", "#e00000", "#c000c0"
_BUY, _SELL, _BID, _ASK = "#007a33", "#b3005e", "#0b3d91", "#8a4b00"
_UNTOLD = "#444444"
_ROOM_FOR_TRADES = 60.0  # points^2: the largest dot


def write_picture(depth: DepthMap, path: Path) -> None:
    """Writes the picture, of the kind that the name's ending says: .png, .svg or .html.

    Raises what `check_picture` raises, and ExportError for a file that cannot be written.
    """
    kind = check_picture(path)
    content = _draw(depth, "svg" if kind == "html" else kind)
    replace(path, make_page(depth, content.decode()).encode() if kind == "html" else content)


def _minute(time: int) -> str:
    return iso(int(time)).replace("T", " ")[:16]


def check_picture(path: Path) -> str:
    """Returns the kind of a picture: png, svg or html.

    Raises QueryError for another ending, and MissingExtraError without matplotlib, which cowbook alone does not need.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg", "html"):
        raise QueryError(f"{path} ends in {path.suffix or 'nothing'}: name a file that ends in .png, .svg or .html")
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise MissingExtraError("plot", f"pictures need matplotlib ({error})") from error
    return kind


def _draw(depth: DepthMap, kind: str) -> bytes:
    matplotlib = import_module("matplotlib")
    figure_module, dates = import_module("matplotlib.figure"), import_module("matplotlib.dates")
    styles = {"svg.hashsalt": "cowbook", "hatch.linewidth": 0.6, "font.size": 10, "svg.fonttype": "none"}
    with matplotlib.rc_context(styles):
        figure = figure_module.Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
        axes = figure.subplots()
        times = depth.edges.astype("datetime64[ns]")
        _draw_depth(figure, axes, depth, dates.date2num(times))
        _draw_unknown(axes, depth, times)
        _draw_lines(axes, depth, times)
        axes.set_xlim(times[0], times[-1])
        axes.set_ylim(depth.low, depth.high)
        locator = dates.AutoDateLocator(tz=UTC)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=UTC, show_offset=False))
        axes.yaxis.set_major_formatter(import_module("matplotlib.ticker").StrMethodFormatter("{x:,g}"))
        axes.set_xlabel(f"event time, UTC: {_minute(depth.edges[0])} to {_minute(depth.edges[-1])}")
        axes.set_ylabel("price")
        axes.set_title(f"{escaped(depth.symbol)}: depth, trades and what is known", loc="left", parse_math=False)
        axes.legend(handles=_legend(depth), loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=5, frameon=False, fontsize=9)
        buffer = BytesIO()
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def _draw_depth(figure: Any, axes: Any, depth: DepthMap, numbers: Any) -> None:
    """The heat map: colour is the logarithm of the size; no level, no colour."""
    colors = import_module("matplotlib.colors")
    there = depth.sizes[depth.sizes > 0]
    low, high = np.quantile(there, (0.02, 0.998)) if len(there) else (0.1, 1.0)
    scale = colors.LogNorm(low, high if high > low else low * 10)
    palette = import_module("matplotlib").colormaps["YlGnBu"]
    shown = colors.LinearSegmentedColormap.from_list("depth", palette(np.linspace(0.12, 1, 256)))
    image = axes.imshow(
        np.ma.masked_less_equal(depth.sizes.T, 0),
        extent=(numbers[0], numbers[-1], depth.low, depth.high),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        norm=scale,
        cmap=shown,
        zorder=1,
    )
    figure.colorbar(image, ax=axes, label="size in a row of the grid, logarithmic", pad=0.01)


def _draw_unknown(axes: Any, depth: DepthMap, times: Any) -> None:
    """Hatched: levels that nobody showed. Grey: nothing says that the book follows the exchange's."""

    def steps(values: Any) -> Any:
        return np.append(values, values[-1:])

    best = [np.where(np.isnan(side), other, side) for side, other in (depth.best, depth.best[::-1])]
    best = [np.where(np.isnan(side), (depth.low + depth.high) / 2, side) for side in best]
    # What is there pales, so that the hatching shows on dark colours, too.
    hatched = {"step": "post", "facecolor": "#ffffff73", "edgecolor": _UNKNOWN, "hatch": "////", "linewidth": 0, "zorder": 2}
    half = depth.tick / 2  # a level stands in the middle of its tick
    down, up = (
        np.where(np.isnan(known), touch, known + side * half)
        for known, touch, side in zip(depth.known, best, (-1, 1), strict=True)
    )
    synced = steps(depth.is_synced)
    axes.fill_between(times, depth.low, np.clip(steps(down), depth.low, depth.high), where=synced, **hatched)
    axes.fill_between(times, np.clip(steps(up), depth.low, depth.high), depth.high, where=synced, **hatched)
    for start, stop in _runs(~depth.is_synced):
        axes.axvspan(times[start], times[stop], color=_UNSYNCED, alpha=0.55, linewidth=0, zorder=3)


def _runs(flags: Any) -> list[tuple[int, int]]:
    """Begin and end of the runs that are true."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in changes.reshape(-1, 2)]


def _draw_lines(axes: Any, depth: DepthMap, times: Any) -> None:
    """Best prices, trades, gaps and failed comparisons."""
    for prices, color in zip(depth.best, (_BID, _ASK), strict=True):
        axes.step(times, np.append(prices, prices[-1:]), where="post", color=color, linewidth=0.9, zorder=5.5)
    trades = depth.trades
    if len(trades.sizes):
        areas = 2 + (_ROOM_FOR_TRADES - 2) * np.sqrt(trades.sizes / trades.sizes.max())
        for side, marker, color in ((BOUGHT, "^", _BUY), (SOLD, "v", _SELL), (UNTOLD, "d", _UNTOLD)):
            own = trades.sides == side
            axes.scatter(
                trades.times[own].astype("datetime64[ns]"),
                trades.prices[own],
                s=areas[own],
                marker=marker,
                color=color,
                alpha=0.55,
                linewidths=0,
                zorder=5,
                rasterized=True,
            )
    for time in depth.gaps.times.astype("datetime64[ns]"):
        axes.axvline(time, color=_GAP, linewidth=1.6, zorder=6)
    for time in depth.failed.astype("datetime64[ns]"):
        axes.axvline(time, color=_FAILED, linewidth=1.2, linestyle=":", zorder=6)


def _legend(depth: DepthMap) -> list[Any]:
    lines, patches = import_module("matplotlib.lines"), import_module("matplotlib.patches")

    def mark(marker: str, color: str, label: str) -> Any:
        return lines.Line2D([], [], marker=marker, color=color, linestyle="none", label=label)

    handles = [
        lines.Line2D([], [], color=_BID, label="best bid"),
        lines.Line2D([], [], color=_ASK, label="best ask"),
        mark("^", _BUY, "trade, buyer aggressive"),
        mark("v", _SELL, "trade, seller aggressive"),
        patches.Patch(facecolor="none", edgecolor=_UNKNOWN, hatch="////", label="unknown: other levels may be there"),
        patches.Patch(facecolor=_UNSYNCED, alpha=0.55, label="not synced: nothing proves the book"),
        patches.Patch(facecolor="white", edgecolor="#cccccc", label="known, and no level"),
        lines.Line2D([], [], color=_GAP, label=f"gap ({len(depth.gaps.times)})"),
    ]
    if (depth.trades.sides == UNTOLD).any():
        handles.append(mark("d", _UNTOLD, "trade, aggressor not told"))
    if len(depth.failed):
        handles.append(lines.Line2D([], [], color=_FAILED, linestyle=":", label=f"failed comparison ({len(depth.failed)})"))
    return handles
