"""Draw how far the book of a recorded capture is known over time: docs/known-depth.svg.

python tests/bench/known_depth.py [FILE.svg]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.captures import CAPTURES, FOLDER
from cowbook import replay

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "known-depth.svg"
LEVELS = 20
_UNIT = 100_000_000
_SECOND = 1_000_000_000

_LEFT, _TOP, _WIDTH, _HEIGHT = 70, 40, 700, 320
_STRIPS = (("best bid and ask", 1), (f"best {LEVELS} levels of each side", LEVELS))
_STRIP_HEIGHT, _STRIP_GAP = 16, 8
_INK, _KNOWN, _UNKNOWN, _GRID_BAND = "#1f2933", "#cfe8d5", "#f6d5cf", "#5b7fa6"


@dataclass(frozen=True, slots=True)
class Sample:
    """The book at a second of event time; prices as numbers."""

    second: int
    bids: list[float]
    asks: list[float]
    known_from: float | None
    """Down to here every bid is known; None if nothing is."""
    known_to: float | None

    def knows(self, levels: int) -> bool:
        """Whether so many levels of each side are known."""
        if self.known_from is None or self.known_to is None or len(self.bids) < levels or len(self.asks) < levels:
            return False
        return self.bids[levels - 1] >= self.known_from and self.asks[levels - 1] <= self.known_to


def samples() -> Iterator[Sample]:
    """One for each second of the spot capture: the book behind the first 10 records of it."""
    capture = CAPTURES["spot-btcusdt"]
    last = 0
    for engine in replay([str(FOLDER / name) for name in capture.files], capture.name, every=10):
        second = max(engine.value("newest"), 0) // _SECOND
        if second <= last or not len(engine.bids) or not len(engine.asks):
            continue
        last = second
        bids, asks = ([price / _UNIT for price in side.levels(LEVELS)[0].tolist()] for side in (engine.bids, engine.asks))
        bounds = [None if side.known_to is None else side.known_to / _UNIT for side in (engine.bids, engine.asks)]
        yield Sample(second, bids, asks, bounds[0], bounds[1])


def draw(found: Sequence[Sample]) -> str:
    """The picture."""
    begin, span = found[0].second, found[-1].second - found[0].second
    low = min(sample.bids[-1] for sample in found) - 20
    high = max(sample.known_to or sample.asks[-1] for sample in found) + 20
    bottom = _TOP + _HEIGHT

    def x(second: int) -> float:
        return round(_LEFT + _WIDTH * (second - begin) / span, 1)

    def y(price: float) -> float:
        return round(_TOP + _HEIGHT * (high - price) / (high - low), 1)

    parts = [f'<rect x="{_LEFT}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="{_UNKNOWN}"/>']
    for bounds, group in groupby(found, key=lambda sample: (sample.known_from, sample.known_to)):
        seconds = [sample.second for sample in group]
        if bounds[0] is None or bounds[1] is None:
            continue
        top, floor = y(min(bounds[1], high)), y(max(bounds[0], low))
        first, last = x(seconds[0]), x(seconds[-1])
        parts.append(f'<rect x="{first}" y="{top}" width="{last - first:.1f}" height="{floor - top:.1f}" fill="{_KNOWN}"/>')
        for place, words in ((floor - 6, "known, down to the snapshot's lowest bid"), (top + 15, "known, up to its highest ask")):
            parts.append(_text(first + 6, place, words))
        parts += [_line(first, place, last, place) for place in (floor, top)]
    band = [f"{x(sample.second)},{y(sample.asks[-1])}" for sample in found]
    band += [f"{x(sample.second)},{y(sample.bids[-1])}" for sample in reversed(found)]
    parts.append(f'<polygon points="{" ".join(band)}" fill="{_GRID_BAND}" fill-opacity="0.55"/>')
    parts.append(_text(_LEFT + 6, bottom - 8, "not known: levels that no snapshot has shown"))
    best = " ".join(f"{x(sample.second)},{y(sample.bids[0])}" for sample in found)
    parts.append(f'<polyline points="{best}" fill="none" stroke="{_INK}" stroke-width="1"/>')
    parts += _axes(begin, span, x, y, (low, high))
    for number, (words, levels) in enumerate(_STRIPS):
        parts += _strip(found, x, bottom + 34 + number * (_STRIP_HEIGHT + _STRIP_GAP + 14), words, levels)
    height = bottom + 34 + len(_STRIPS) * (_STRIP_HEIGHT + _STRIP_GAP + 14) + 4
    title = _text(_LEFT, 22, "BTCUSDT spot, one REST snapshot of 1,000 levels a side at the start", size=15)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 20} {height}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join([title, *parts]) + "\n</svg>\n"
    )


def _axes(
    begin: int, span: int, x: Callable[[int], float], y: Callable[[float], float], prices: tuple[float, float]
) -> list[str]:
    """Minutes below, prices at the left."""
    parts = []
    for minute in range(span // 60 + 1):
        place = x(begin + 60 * minute)
        parts.append(_line(place, _TOP + _HEIGHT, place, _TOP + _HEIGHT + 4))
        parts.append(_text(place, _TOP + _HEIGHT + 16, f"{minute} min", anchor="middle"))
    for price in range(int(prices[0]) // 100 * 100 + 100, int(prices[1]) + 1, 100):
        parts.append(_line(_LEFT - 4, y(price), _LEFT, y(price)))
        parts.append(_text(_LEFT - 7, y(price) + 4, f"{price:,}", anchor="end"))
    return parts


def _strip(found: Sequence[Sample], x: Callable[[int], float], top: float, words: str, levels: int) -> list[str]:
    """A bar of the seconds in which so many levels are known."""
    share = sum(sample.knows(levels) for sample in found) / len(found)
    parts = [_text(_LEFT, top - 3, f"{words}: known {int(1000 * share) / 10} % of the time")]
    for known, group in groupby(found, key=lambda sample: sample.knows(levels)):
        seconds = [sample.second for sample in group]
        width = max(x(seconds[-1] + 1) - x(seconds[0]), 0.1)
        colour = _KNOWN if known else _UNKNOWN
        parts.append(f'<rect x="{x(seconds[0])}" y="{top}" width="{width:.1f}" height="{_STRIP_HEIGHT}" fill="{colour}"/>')
    return parts


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{_INK}" stroke-width="0.8"/>'


def _text(x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{_INK}">{words}</text>'


def main() -> None:
    """Draw it."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    target.write_text(draw(list(samples())))
    print(target)


if __name__ == "__main__":
    main()
