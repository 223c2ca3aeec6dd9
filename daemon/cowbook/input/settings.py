"""The settings that a decoder needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class DecoderSettings:
    """The settings of a symbol that decide what its records mean."""

    name: str  # the symbol's name in the records
    price_decimals: int  # 0 to 18
    size_decimals: int  # 0 to 18
    max_line_bytes: int
    connection_numbers: Literal["check", "ignore"] = "check"
    """Whether the numbers that a connection gives to its records are followed, or taken as absent: where a capture holds only
    some of a connection's records, they would show gaps that are none."""
    envelope: tuple[str, str] | None = None
    """Paths of the time and the message in a home-made wrapper around each record; None: as it is found."""
    address: str = ""
    """Of several connections in one capture, the address of the one whose book it is; empty: as the capture decides."""
