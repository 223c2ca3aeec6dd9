"""What a book is, how far it is known, and how two books differ; in dictionaries."""

from __future__ import annotations

from dataclasses import dataclass, field

from support.oracle_records import Message

Book = tuple[dict[int, int], dict[int, int]]
Side = list[tuple[int, int]]
Bound = int | str | None
"""How far a side is known: to a price, WHOLE, or not at all."""

WHOLE = "whole"
SIDES = ("bid", "ask")


def set_levels(book: Book, message: Message) -> None:
    """Apply a message's levels in their order; a size of 0 removes."""
    for number, _side, price, size in message.levels():
        if size:
            book[number][price] = size
        else:
            book[number].pop(price, None)


def best_first(number: int, prices: dict[int, int]) -> Side:
    """The levels of a side, best first."""
    return sorted(prices.items(), reverse=number == 0)


def is_known(number: int, bound: Bound, price: int) -> bool:
    """Whether a price lies inside a bound."""
    if bound is None or isinstance(bound, str):
        return bound == WHOLE
    return price >= bound if number == 0 else price <= bound


def bounds(snapshot: Message) -> list[Bound]:
    """How far a snapshot knows: a side as a whole if it has fewer levels than the other, else to its farthest price."""
    bids, asks = [price for price, _size in snapshot.bids], [price for price, _size in snapshot.asks]
    return [
        WHOLE if len(bids) < len(asks) else min(bids, default=None),
        WHOLE if len(asks) < len(bids) else max(asks, default=None),
    ]


def wider(number: int, one: Bound, other: Bound) -> Bound:
    """The wider of two bounds of a side."""
    if isinstance(one, str) or isinstance(other, str):
        return WHOLE
    if one is None or other is None:
        return other if one is None else one
    return min(one, other) if number == 0 else max(one, other)


@dataclass
class Difference:
    """Where a book differs from what it must be, inside a range."""

    compared: int = 0  # levels of the book after
    missing: int = 0
    extra: int = 0
    differing: int = 0
    error: int = 0
    learned: int = 0
    levels: list[tuple[int, int, int, int]] = field(default_factory=list)  # side number, price, size before, size after
    first_blamed: tuple[int, int, int, int] | None = None


def compare(before: Book, after: Book, reach: list[Bound], blamed: list[Bound]) -> Difference:
    """Compare two books inside the range `reach`; what differs inside `blamed` counts as wrong, the rest as learned."""
    result = Difference()
    for number in (0, 1):
        prices = {price for price in before[number] | after[number] if is_known(number, reach[number], price)}
        for price in sorted(prices, reverse=number == 0):
            old, new = before[number].get(price, 0), after[number].get(price, 0)
            result.compared += new != 0
            if old == new:
                continue
            result.levels.append((number, price, old, new))
            if not is_known(number, blamed[number], price):
                result.learned += 1
                continue
            result.missing += old == 0
            result.extra += new == 0
            result.differing += old != 0 and new != 0
            result.error += abs(old - new)
            if result.first_blamed is None:
                result.first_blamed = (number, price, old, new)
    return result


def text(value: int, decimals: int) -> str:
    """A fixed-point number, written out."""
    digits = str(abs(value)).rjust(decimals + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}" if decimals else sign + digits
