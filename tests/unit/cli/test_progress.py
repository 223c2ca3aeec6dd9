"""Bars and lines of the log share a terminal: threads print while the bars are drawn."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator

import pytest
from rich.console import Console

from cowbook.cli.progress import MOST_BARS, Bars
from support.terminal import Recording

BAR = "━"
ROUNDS, LINES = 25, 3


@pytest.fixture
def _busy_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_busy_threads")
def test_lines_of_many_threads_leave_no_bar_behind() -> None:
    """Each line stands once and whole, above as many bars as there are symbols; also where a line comes while a bar joins."""
    for _ in range(ROUNDS):
        file = io.StringIO()
        bars = Bars(Console(file=file, force_terminal=True, width=80, height=24), MOST_BARS)
        threads = [threading.Thread(target=work, args=(bars, number)) for number in range(MOST_BARS)]
        with bars:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        shown = Recording(file.getvalue().replace("\n", "\r\n").encode(), 0, 80, 24).lines()
        expected = sorted(f"line {number} {line}" for number in range(MOST_BARS) for line in range(LINES))
        assert sorted(shown[:-MOST_BARS]) == expected
        assert all(BAR in line and "100%" in line for line in shown[-MOST_BARS:])


def work(bars: Bars, number: int) -> None:
    """What a symbol's thread does: lines of the log between steps of its bar."""
    for line in range(LINES):
        bars.update(f"S{number}", line + 1, LINES, line)
        bars._print_above(f"line {number} {line}")
