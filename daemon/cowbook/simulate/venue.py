"""A simulated venue: its whole book, and the messages that a collector of its feeds writes down.

Every snapshot and every ticker is exactly right for its update id, so a correct reconstruction finds no drift and no failing
audit while no gap is open. Levels beyond the last snapshot's 1,000 are a difficulty: the capture does not show them until
they change. So the venue resizes such a level before it becomes the best one or enters the next snapshot.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from random import Random
from typing import Literal

START_NS = 1_723_161_240_000_000_000  # 2024-08-08T23:54:00Z: the date changes six minutes later
INTERVAL_NS = 100_000_000  # between two diffs, as Binance sends them
SNAPSHOT_LEVELS = 1_000  # per side

_FIRST_FAIR_TICK = 6_183_763
_MAX_OFFSET = 500_000  # ticks from the best price; nothing is quoted beyond
_RECENT = 4_096  # prices per side to which later changes return

Style = Literal["exact", "ahead", "late"]
STYLES: tuple[Style, ...] = ("exact", "ahead", "late")


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """A depth snapshot taken during one interval.

    `exact`: taken at the interval's end, with the diff's u as its id, and written right after the diff. `ahead`: taken within
    the interval and written before its diff. `late`: taken within it and written `delay` intervals later, after the diff there.
    """

    style: Style
    delay: int = 0


class _Side:
    """One side of the venue's book. Prices in ticks of 0.01, sizes in lots."""

    __slots__ = ("heap", "known", "recent", "sign", "sizes", "touched")

    def __init__(self, sign: int) -> None:
        self.sign = sign  # -1 for bids, 1 for asks, so that sign * price is least at the best
        self.sizes: dict[int, int] = {}
        self.heap: list[int] = []  # sign * price; may hold removed prices
        self.known: set[int] = set()  # prices that the capture has shown since the last snapshot, or in it
        self.touched: dict[int, int] = {}  # changes for the next diff
        self.recent: list[int] = []

    def put(self, price: int, size: int) -> None:
        """Set a level. Size 0 removes it, if it exists."""
        if size == 0:
            self.sizes.pop(price, None)
        else:
            if price not in self.sizes:
                heapq.heappush(self.heap, self.sign * price)
            self.sizes[price] = size
        self.touched[price] = size
        self.known.add(price)

    def best(self) -> int:
        """The best price. The side is never empty."""
        heap, sizes, sign = self.heap, self.sizes, self.sign
        while sign * heap[0] not in sizes:
            heapq.heappop(heap)
        return sign * heap[0]

    def top(self) -> list[tuple[int, int]]:
        """The levels that a snapshot shows, best first."""
        prices = sorted(self.sizes, reverse=self.sign < 0)[:SNAPSHOT_LEVELS]
        return [(price, self.sizes[price]) for price in prices]


@dataclass(slots=True)
class Counts:
    """What was written down so far. `events` counts levels of diffs and snapshots, and trades."""

    events: int = 0
    trades: int = 0
    snapshots: int = 0
    tickers: int = 0


class _PriceTexts(dict[int, str]):
    """Maps a price in ticks to its numeral, formatted once."""

    def __init__(self, zeros: str) -> None:
        super().__init__()
        self.zeros = zeros

    def __missing__(self, price: int) -> str:
        text = self[price] = f"{price // 100}.{price % 100:02d}{self.zeros}"
        return text


class SimulatedVenue:
    """The venue, and the collector that writes down what it sends.

    All bids are at or below the fair tick, all asks above it, so the book is never crossed.
    """

    def __init__(self, symbol: str, random: Random, futures: bool, interval_ns: int = INTERVAL_NS) -> None:
        self.interval_ns = interval_ns
        self.symbol = symbol
        self.stream = symbol.lower()
        self.random = random
        self.futures = futures
        self.counts = Counts()
        self.fair = _FIRST_FAIR_TICK
        self.bids = _Side(-1)
        self.asks = _Side(1)
        self.update_id = 5_123_107_832_006 if futures else 50_093_239_188
        self.previous_diff_id = self.update_id
        self.first_id = 0  # of the interval's changes; 0 = none yet
        self.trade_id = 3_735_683_258
        self.now = START_NS  # the venue's clock
        self.received = START_NS
        self.intervals = 0
        self.lines: list[str] = []
        self.late: list[tuple[int, str]] = []  # each late snapshot, with the interval in which it arrives
        self.price_texts = _PriceTexts("" if futures else "000000")
        self.size_zeros = "" if futures else "000"
        self.last_ticker = (0, 0, 0, 0)
        for side in (self.bids, self.asks):
            self._fill_side(side)

    def _fill_side(self, side: _Side) -> None:
        """Fill a side as it is before the capture: dense near the best price, every other round price up to 3,000.00 away."""
        nearest = self.fair + (side.sign > 0)
        for offsets, occupied in ((range(100), 0.6), (range(100, 1_000, 10), 0.7), (range(1_000, 300_000, 100), 0.5)):
            for offset in offsets:
                if offset == 0 or self.random.random() < occupied:
                    side.put(_on_grid(nearest + side.sign * offset, offset, side.sign), self._new_size(offset))
        side.touched.clear()

    def next_interval(self, lost: bool, snapshot: SnapshotPlan | None) -> list[str]:
        """The lines of the next interval, without the diff if it is `lost`."""
        self.lines = []
        end = START_NS + (self.intervals + 1) * self.interval_ns
        self.first_id = 0
        changes = 2 + int(min(500.0, math.exp(self.random.gauss(3.28, 0.65))))
        for change in range(changes):
            # Changes leave the last 2 ms to the diff, which must be later than all that it reports.
            self.now = end - self.interval_ns + (self.interval_ns - 2_000_000) * change // changes
            if change == changes // 2 and snapshot is not None and snapshot.style != "exact":
                self._take_snapshot(snapshot)
            self._make_change()
        if self.random.random() < 0.12:
            self._move_price(int(self.random.expovariate(1 / 150)) + 1)
        self._close_spread()
        if snapshot is not None and snapshot.style == "exact":
            self._resize_unknown_levels()
        if self.random.random() < 0.35:
            side = self.bids if self.random.random() < 0.5 else self.asks
            self._change_level(side, side.best(), self._new_size(0))
        self.now = end
        self._send_diff(lost)
        if snapshot is not None and snapshot.style == "exact":
            self._take_snapshot(snapshot)
        while self.late and self.late[0][0] <= self.intervals:
            self._write_down(self.late.pop(0)[1])
        self.intervals += 1
        return self.lines

    def late_snapshots(self) -> list[str]:
        """The lines of snapshots that had not arrived when the capture ended."""
        self.lines = []
        for _, text in self.late:
            self._write_down(text)
        self.late.clear()
        return self.lines

    def _make_change(self) -> None:
        """Make a trade, or place, change or withdraw an order, most often near the best price."""
        random = self.random.random
        side = self.bids if random() < 0.5 else self.asks
        kind = random()
        if kind < 0.03:
            self._make_trade(side)
            return
        nearest = self.fair + (side.sign > 0)
        recent = side.recent
        price = recent[int(random() * len(recent))] if kind < 0.45 and recent else 0
        offset = (price - nearest) * side.sign
        if price == 0 or not 0 <= offset <= _MAX_OFFSET:
            offset = min(_MAX_OFFSET, int(15 * (random() ** -1.43 - 1)))  # Pareto: 5 % beyond 1,000 ticks
            price = _on_grid(nearest + side.sign * offset, offset, side.sign)
            if len(recent) < _RECENT:
                recent.append(price)
            else:
                recent[int(random() * _RECENT)] = price
        if price in side.sizes:
            size = 0 if random() < 0.5 else self._new_size(offset)
        else:
            # One in seven orders came and went within the interval: the diff removes a level that nobody knew.
            size = 0 if random() < 0.14 else self._new_size(offset)
        self._change_level(side, price, size)

    def _new_size(self, offset: int) -> int:
        """A random size in lots: heavy-tailed, and larger away from the best price."""
        random = self.random.random
        scale = 12_000 if offset > 1_000 else 4_000
        lots = min(int(scale * (random() ** -0.6 - 0.98)) + 1, 90_000_000)
        return lots // 50 + 1 if self.futures else lots

    def _move_price(self, ticks: int) -> None:
        """Move the fair price: orders in its way are removed, and new ones follow it."""
        low, high = _FIRST_FAIR_TICK // 2, _FIRST_FAIR_TICK * 2
        up = self.random.random() < 0.5 if low < self.fair < high else self.fair <= low
        retreating, following = (self.asks, self.bids) if up else (self.bids, self.asks)
        self.fair += ticks if up else -ticks
        nearest = self.fair + (retreating.sign > 0)
        if nearest not in retreating.sizes:
            self._change_level(retreating, nearest, self._new_size(0))
        while (best := retreating.best()) != nearest:
            self._change_level(retreating, best, 0)
        for offset in range(0, min(ticks, 24), 3):
            self._change_level(following, self.fair + (following.sign > 0) + following.sign * offset, self._new_size(offset))

    def _close_spread(self) -> None:
        """Bring the best bid and the best ask back next to the fair price."""
        for side in (self.bids, self.asks):
            nearest = self.fair + (side.sign > 0)
            if side.best() != nearest:
                self._change_level(side, nearest, self._new_size(0))

    def _resize_unknown_levels(self) -> None:
        """Resize the levels that a snapshot would show but that the capture has not shown."""
        for side in (self.bids, self.asks):
            for price, size in side.top():
                if price not in side.known:
                    self._change_level(side, price, size + 1)

    def _change_level(self, side: _Side, price: int, size: int) -> None:
        """Change one level under a new update id, and send the ticker if the best prices changed."""
        self.update_id += 1 + int(self.random.random() * 400) if self.futures else 1
        if not self.first_id:
            self.first_id = self.update_id
        side.put(price, size)
        bid, ask = self.bids.best(), self.asks.best()
        ticker = (bid, self.bids.sizes[bid], ask, self.asks.sizes[ask])
        if ticker != self.last_ticker:
            self.last_ticker = ticker
            self._send_ticker()
            if (best := side.best()) not in side.known:
                self._change_level(side, best, side.sizes[best] + 1)

    def _make_trade(self, side: _Side) -> None:
        """Take from the best level of `side`."""
        price = side.best()
        standing = side.sizes[price]
        taken = min(standing, self._new_size(0) // 4 + 1)
        self.trade_id += 1
        self.counts.trades += 1
        self.counts.events += 1
        ms = self.now // 1_000_000
        maker = "true" if side is self.bids else "false"
        head, tail = (f'"T":{ms},', "") if self.futures else ("", f'"T":{ms},')
        data = (
            f'{{"e":"trade","E":{ms + 1},{head}"s":"{self.symbol}","t":{self.trade_id},'
            f'"p":"{self.price_texts[price]}","q":"{self._size_text(taken)}",{tail}"m":{maker}}}'
        )
        self._write_down_stream("trade", data)
        self._change_level(side, price, standing - taken)

    def _send_ticker(self) -> None:
        bid, bid_size, ask, ask_size = self.last_ticker
        ms = self.now // 1_000_000
        kind, times = ('"e":"bookTicker",', f',"T":{ms},"E":{ms + 1}') if self.futures else ("", "")
        self.counts.tickers += 1
        self._write_down_stream(
            "bookTicker",
            f'{{{kind}"u":{self.update_id},"s":"{self.symbol}","b":"{self.price_texts[bid]}",'
            f'"B":"{self._size_text(bid_size)}","a":"{self.price_texts[ask]}","A":"{self._size_text(ask_size)}"{times}}}',
        )

    def _send_diff(self, lost: bool) -> None:
        """Send all changes since the last diff as one message, unless it is `lost` on its way to the collector."""
        bids, asks = sorted(self.bids.touched.items(), reverse=True), sorted(self.asks.touched.items())
        self.bids.touched.clear()
        self.asks.touched.clear()
        first = self.first_id if self.futures else self.previous_diff_id + 1
        previous, self.previous_diff_id = self.previous_diff_id, self.update_id
        if lost:
            return
        ms = self.now // 1_000_000
        transaction = f'"T":{ms - 1},' if self.futures else ""
        chain = f'"pu":{previous},' if self.futures else ""
        self.counts.events += len(bids) + len(asks)
        self._write_down_stream(
            "depth@100ms",
            f'{{"e":"depthUpdate","E":{ms},{transaction}"s":"{self.symbol}","U":{first},"u":{self.update_id},{chain}'
            f'"b":[{self._levels_text(bids)}],"a":[{self._levels_text(asks)}]}}',
        )

    def _take_snapshot(self, plan: SnapshotPlan) -> None:
        """Answer a request for the book. From here on only the levels in the answer are known."""
        bids, asks = self.bids.top(), self.asks.top()
        self.bids.known = {price for price, _ in bids}
        self.asks.known = {price for price, _ in asks}
        ms = self.now // 1_000_000
        times = f'"E":{ms},"T":{ms},' if self.futures else ""
        self.counts.snapshots += 1
        self.counts.events += len(bids) + len(asks)
        text = f'{{"lastUpdateId":{self.update_id},{times}"bids":[{self._levels_text(bids)}],"asks":[{self._levels_text(asks)}]}}'
        if plan.style == "late":
            self.late.append((self.intervals + plan.delay, text))
        else:
            self._write_down(text)

    def _size_text(self, size: int) -> str:
        if self.futures:
            return f"{size // 1_000}.{size % 1_000:03d}"
        return f"{size // 100_000}.{size % 100_000:05d}000"

    def _levels_text(self, levels: list[tuple[int, int]]) -> str:
        prices, size_text = self.price_texts, self._size_text
        return ",".join([f'["{prices[price]}","{size_text(size)}"]' for price, size in levels])

    def _write_down_stream(self, channel: str, data: str) -> None:
        self._write_down(f'{{"stream":"{self.stream}@{channel}","data":{data}}}')

    def _write_down(self, text: str) -> None:
        """Let the collector write a message down, some milliseconds after the venue sent it."""
        latency = 2_000_000 - int(4_000_000 * math.log(1.0 - self.random.random()))
        self.received = max(self.received + 800, self.now + latency)
        self.lines.append(f"{self.received} {text}\n")


def _on_grid(price: int, offset: int, sign: int) -> int:
    """Round a price away from the best: to multiples of 0.10, further away of 1.00, as people quote."""
    step = 1 if offset < 100 else 10 if offset < 1_000 else 100
    return price - price % step if sign < 0 else price + -price % step
