"""Numbers of things, as people write them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun, whose plural ends in s: 1 gap, 0 gaps, 12,000 gaps."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
