"""How many of something a second, measured in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TypeVar

_Key = TypeVar("_Key", bound=Hashable)


def measure_rates(subjects: dict[_Key, Callable[[], int]], rounds: int) -> dict[_Key, list[float]]:
    """Millions a second of what each subject says to have done, in each round, after one that does not count."""
    rates: dict[_Key, list[float]] = {key: [] for key in subjects}
    for number in range(rounds + 1):
        for key, subject in subjects.items():
            started = time.perf_counter()
            count = subject()
            if number:
                rates[key].append(count / (time.perf_counter() - started) / 1e6)
    return rates
