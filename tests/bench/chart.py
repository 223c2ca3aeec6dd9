"""Draws what benchmarks have come to over time: one line of JSON a measurement in, one SVG out.

python tests/bench/chart.py docs/benchmarks.jsonl docs/benchmarks.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 300, 48, 250, 28, 44
_LINES = (
    ("with tickers", "decode + apply", "#1f77b4"),
    ("without tickers", "decode + apply", "#6baed6"),
    ("with tickers", "whole pipeline", "#d95f02"),
    ("without tickers", "whole pipeline", "#fdae6b"),
)
_STEP = 2
"""Of the axis: times as fast as the peer."""


def draw(records: list[dict[str, Any]]) -> str:
    """The chart: how many times as fast as the peer, by measurement, with the spread of its rounds."""
    highest = max(record["captures"][capture][subject]["most"] for record in records for capture, subject, _ in _LINES)
    top = (int(highest) // _STEP + 1) * _STEP

    def x(place: int) -> float:
        return _LEFT + (place + 0.5) * (_WIDTH - _LEFT - _RIGHT) / len(records)

    def y(ratio: float) -> float:
        return _HEIGHT - _BOTTOM - ratio * (_HEIGHT - _TOP - _BOTTOM) / top

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="16">times as fast as orjson + order-book, one core; bars: slowest to fastest round</text>',
    ]
    for ratio in range(0, top + 1, _STEP):
        parts.append(f'<path d="M{_LEFT} {y(ratio):.1f}H{_WIDTH - _RIGHT}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(ratio) + 4:.1f}" text-anchor="end">{ratio}</text>')
    for place, record in enumerate(records):
        parts.append(f'<text x="{x(place):.1f}" y="{_HEIGHT - 26}" text-anchor="middle">{record["commit"]}</text>')
        parts.append(f'<text x="{x(place):.1f}" y="{_HEIGHT - 12}" text-anchor="middle" fill="#666666">{record["date"]}</text>')
    for number, (capture, subject, colour) in enumerate(_LINES):
        figures = [record["captures"][capture][subject] for record in records]
        shift = 4 * (number - len(_LINES) / 2 + 0.5)  # so that bars do not hide each other
        points = " ".join(f"{x(place) + shift:.1f},{y(figure['ratio']):.1f}" for place, figure in enumerate(figures))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for place, figure in enumerate(figures):
            across = x(place) + shift
            parts.append(f'<path d="M{across:.1f} {y(figure["least"]):.1f}V{y(figure["most"]):.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{across:.1f}" cy="{y(figure["ratio"]):.1f}" r="3" fill="{colour}"/>')
        beside = _TOP + 18 * number + 10
        parts.append(f'<rect x="{_WIDTH - _RIGHT + 14}" y="{beside - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 30}" y="{beside}">{subject}, {capture}: {figures[-1]["ratio"]}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Read the file of measurements, and write the chart."""
    history, chart = map(Path, sys.argv[1:3])
    chart.write_text(draw([json.loads(line) for line in history.read_text().splitlines()]))


if __name__ == "__main__":
    main()
