"""What a symbol's checkpoints are told: by whom they are read later, and how they are taken until then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cowbook.checkpoint.triggers import TriggerSettings


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """When checkpoints are taken, how many are kept, and how their files are compressed.

    One value from the configuration to the attempt that obeys it. A reload replaces it whole while the symbol runs: the next
    attempt is the first that knows the new one.
    """

    triggers: TriggerSettings = field(default_factory=TriggerSettings)
    retain: int = 3
    compression: str = "snappy"


@dataclass(frozen=True, slots=True)
class CheckpointOwner:
    """Whose checkpoints they are. Never changes while the symbol runs: another owner must not go on from them."""

    id: str
    symbol: str
    """What records call the symbol."""
    fingerprint: Mapping[str, Any]
    """The settings that change rows or files, by name."""
