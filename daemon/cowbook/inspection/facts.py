"""What was found of a file and of its symbols. Nothing is said that the bytes looked at do not show."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class SymbolFacts:
    """What a file has of one symbol, by its name, in one format."""

    name: str
    """What the records say; empty if they name nobody."""
    books: tuple[str, ...] = ()
    """Its markets and channels, as `[[symbol]] channel` names them; empty if there is one only, or none is named."""
    depth: int = 0
    """Depth diffs, of all of its books."""
    snapshots: int = 0
    """Depth snapshots. Those that name nobody count as far as the symbol's book has used them."""
    unlabelled: int = 0
    """Snapshots of the file that name nobody."""
    trades: int = 0
    tickers: int = 0
    first_time: int | None = None
    """Of the first message with a time, in ns since 1970."""
    last_time: int | None = None
    gaps: int = 0
    """Places where ids show that something is missing."""
    missing: int = 0
    """How many ids, where that can be known."""
    shows_loss: bool = True
    """Whether ids or checksums would show a missing depth message."""
    comparable: int = 0
    """Depth messages after which a synced book could be compared with something."""
    matched: int = 0
    """Of these, those of which every comparison matched."""
    proofs: tuple[str, ...] = ()
    """What they were compared with: kinds of audits."""
    synced: bool = False
    """Whether the book was ever synced."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Rejected records by reason. Those of other symbols may be among them."""
    price_decimals: int = 8
    size_decimals: int = 8
    """The decimals that its prices and sizes need; at least 8."""
    has_misfits: bool = False
    """Whether some prices or sizes fit no setting with which the others fit."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it was found."""
        return not (self.depth or self.snapshots or self.unlabelled or self.trades or self.tickers)


@dataclass(slots=True)
class FormatFacts:
    """What a file has in one format."""

    name: str
    symbols: list[SymbolFacts] = field(default_factory=list)
    not_counted: list[str] = field(default_factory=list)
    """Names of further symbols that were seen and not looked at."""


@dataclass(slots=True)
class FileFacts:
    """What a file is."""

    path: str
    size_bytes: int = 0
    container: str = "plain"
    """plain, gzip, zstd or parquet."""
    layout: str = ""
    """What stands around its records: JSON lines, frames, arrays, CSV, ..."""
    looked_bytes: int = 0
    """How many decoded bytes were looked at."""
    is_whole: bool = True
    """Whether these are all."""
    damage: str | None = None
    """What is wrong with it."""
    formats: list[FormatFacts] = field(default_factory=list)
    unreadable: str | None = None
    """What it looks like instead, if no format reads it."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values, times in ns since 1970."""
        return asdict(self)
