"""Features of a book, as section 3 of docs/rules.md says of the stream `features`, from sorted lists and whole numbers."""

from __future__ import annotations

from typing import Any

from support.oracle_book import SIDES, WHOLE, Book, Bound, best_first, is_known

LEVELS = 5
BPS = (1, 5, 10)
UNIT = 10**18

Level = tuple[float, int]
"""Price and size; a level that there is not has size 0 and stands beyond all others."""


class OracleFeatures:
    """What is summed up between two rows."""

    def __init__(self, price_decimals: int, size_decimals: int) -> None:
        self.price_decimals, self.size_decimals = price_decimals, size_decimals
        self.before: list[list[Level]] = [[], []]
        self.begin(0)

    def begin(self, known: int) -> None:
        """Begin anew behind a row, at which so many levels were known."""
        self.known = known  # the fewest since then
        self.flows = [0] * LEVELS
        self.volumes = {"buy": 0, "sell": 0}
        self.counts = {"buy": 0, "sell": 0}

    def forget(self) -> None:
        """Nothing is known."""
        self.known = 0

    def trade(self, side: str, size: int) -> None:
        """A trade."""
        self.volumes[side] += size
        self.counts[side] += 1

    def depth(self, book: Book, known: list[Bound]) -> None:
        """The book behind a depth message."""
        now = best_levels(book)
        self.known = min(self.known, *known_levels(now, known))
        for level in range(self.known):
            (bid, bid_size), (ask, ask_size) = now[0][level], now[1][level]
            (old_bid, old_bid_size), (old_ask, old_ask_size) = self.before[0][level], self.before[1][level]
            self.flows[level] += (bid >= old_bid) * bid_size - (bid <= old_bid) * old_bid_size
            self.flows[level] += (ask >= old_ask) * old_ask_size - (ask <= old_ask) * ask_size
        self.before = now

    def row(self, book: Book, known: list[Bound]) -> dict[str, Any]:
        """The columns of a row, behind those that a row of `book` has, too."""
        best, counts = best_levels(book), known_levels(best_levels(book), known)
        has = [counts[number] > 0 and best[number][0][1] > 0 for number in (0, 1)]
        row: dict[str, Any] = {}
        for number, side in enumerate(SIDES):
            row[f"{side}_price"], row[f"{side}_size"] = best[number][0] if has[number] else (None, None)
        row |= dict.fromkeys(("mid", "spread", "microprice"))
        unit = 10**self.price_decimals
        if all(has):
            bid, ask = int(best[0][0][0]), int(best[1][0][0])
            sizes = [self.double(best[number][0][1]) for number in (0, 1)]
            row["mid"] = float(bid + ask) / (2 * unit)
            row["spread"] = float(ask - bid) / unit
            row["microprice"] = (float(bid) / unit * sizes[1] + float(ask) / unit * sizes[0]) / (sizes[0] + sizes[1])
        sums = [0.0, 0.0]
        for level in range(LEVELS):
            sums = [sums[number] + self.double(best[number][level][1]) for number in (0, 1)]
            is_there = min(counts) > level and sum(sums) > 0
            row[f"imbalance_{level + 1}"] = (sums[0] - sums[1]) / (sums[0] + sums[1]) if is_there else None
        for level in range(LEVELS):
            row[f"ofi_{level + 1}"] = self.double(self.flows[level]) if level < self.known else None
        for number, side in enumerate(SIDES):
            for distance in BPS:
                row[f"{side}_size_{distance}bps"] = self.within(book, known, number, distance)
        row |= {f"{side}_volume": self.double(self.volumes[side]) for side in ("buy", "sell")}
        row |= {f"{side}_count": self.counts[side] for side in ("buy", "sell")}
        self.begin(min(counts))
        return row

    def within(self, book: Book, known: list[Bound], number: int, distance: int) -> float | None:
        """The sizes of a side up to a distance from the mid."""
        if not book[0] or not book[1]:
            return None
        twice_mid, sign = max(book[0]) + min(book[1]), (-1.0, 1.0)[number]
        reach = sign * twice_mid + abs(twice_mid) * distance / 10_000.0
        bound = known[number]
        if bound != WHOLE and (bound is None or isinstance(bound, str) or sign * 2.0 * bound < reach):
            return None
        return self.double(sum(size for price, size in book[number].items() if sign * 2.0 * price <= reach))

    def double(self, number: int) -> float:
        """A size as a double: of one above 10^18 the two parts are added as doubles."""
        high, low = divmod(abs(number), UNIT)
        size = (high * float(UNIT) + low) / 10.0**self.size_decimals
        return -size if number < 0 else size


def best_levels(book: Book) -> list[list[Level]]:
    """The best levels of both sides, filled up."""
    none = [[(-float("inf"), 0)] * LEVELS, [(float("inf"), 0)] * LEVELS]
    return [[*best_first(number, book[number]), *none[number]][:LEVELS] for number in (0, 1)]


def known_levels(best: list[list[Level]], known: list[Bound]) -> list[int]:
    """How many of the best levels are known, from the first one on. One that there is not is known if its side is, as a whole."""
    counts = []
    for number in (0, 1):
        count = 0
        for price, size in best[number]:
            if not (is_known(number, known[number], int(price)) if size else known[number] == WHOLE):
                break
            count += 1
        counts.append(count)
    return counts
