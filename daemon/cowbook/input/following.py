"""Following files that grow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """What is followed."""

    patterns: tuple[str, ...]
    base_dir: Path
    rotate_wait_seconds: float = 5.0
