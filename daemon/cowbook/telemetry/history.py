"""What the page shows over time: rates, and the freezes of checkpoints. It is kept while somebody looks, and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_SAMPLES = 150
MOST_CHECKPOINTS = 60
SHORTEST_SECONDS = 1.0
"""Two looks that are nearer to each other make no rate: it would be of a few blocks."""


@dataclass(slots=True)
class SymbolHistory:
    """Of one symbol, the oldest first."""

    rates: deque[float | None] = field(default_factory=lambda: deque(maxlen=MOST_SAMPLES))
    """Events per second between two looks; None where it began anew."""
    freezes: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MOST_CHECKPOINTS))
    """Epochs, and how many seconds processing stood still for each."""
    events: int | None = None
    time: float = 0.0

    def add(self, symbol: Mapping[str, Any], now: float) -> None:
        """Note a status of the symbol."""
        events, epoch, freeze = symbol.get("events"), symbol.get("epoch"), symbol.get("freeze_seconds")
        if epoch is not None and freeze is not None and (not self.freezes or self.freezes[-1][0] != epoch):
            self.freezes.append((epoch, freeze))
        if self.events is not None and now - self.time < SHORTEST_SECONDS:
            return
        if self.events is not None:
            done = None if events is None else events - self.events
            self.rates.append(done / (now - self.time) if done is not None and done >= 0 else None)
        self.events, self.time = events, now

    @property
    def rate(self) -> float | None:
        """The newest rate; None if it is not known yet."""
        return self.rates[-1] if self.rates else None


class History:
    """Of all symbols, by id."""

    def __init__(self) -> None:
        self.symbols: dict[str, SymbolHistory] = {}

    def add(self, status: Mapping[str, Any], now: float) -> None:
        """Note a status. `now` is in seconds, of a clock that never goes back. Symbols that are gone are forgotten."""
        symbols = {symbol["id"]: self.symbols.get(symbol["id"], SymbolHistory()) for symbol in status["symbols"]}
        for symbol in status["symbols"]:
            symbols[symbol["id"]].add(symbol, now)
        self.symbols = symbols
