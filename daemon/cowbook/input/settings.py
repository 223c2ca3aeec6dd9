"""The settings that a decoder needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecoderSettings:
    """The settings of a symbol that decide what its records mean."""

    name: str  # the symbol's name in the records
    price_decimals: int  # 0 to 18
    size_decimals: int  # 0 to 18
    max_line_bytes: int
