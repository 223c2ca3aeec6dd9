"""Publishes staged parts to object storage: each is put under its final key once a committed checkpoint lists it (ADR 31)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cowbook.errors import LostPartsError, OutputError
from cowbook.objects.bucket import Bucket
from cowbook.plain.durable_files import DurableFiles
from cowbook.plain.parts import Cut, CutPlace, Part


class ObjectPublication:
    """One symbol's parts below a URL. As `sink/publication.py:Publication`, for cuts none of which is provisional.

    Without provisional cuts parts are functions of the input alone: one that stands is equal to any that would replace it, and
    nothing is ever moved away.
    """

    def __init__(self, bucket: Bucket, files: DurableFiles) -> None:
        self._bucket = bucket
        self._files = files

    def scan(self) -> int:
        """Number of parts that a start without a checkpoint must not meet: none, since those that stand are right."""
        return 0

    def forget_before(self, first: CutPlace) -> None:
        """Nothing is remembered."""

    def standing(self) -> tuple[CutPlace, ...]:
        """No cut will be replaced."""
        return ()

    def publish(self, cuts: Sequence[Cut], withdrawn: Sequence[CutPlace], staging: Path, start: str) -> None:  # noqa: ARG002
        """Put each part, unless it stands there, and remove it from the staging. Raises OutputError as `check` does."""
        for part in (part for cut in cuts for part in cut.parts):
            staged = staging / part.staged
            content = _read(staged)
            if _is_content(content, part):
                if not self._bucket.create(part.final, content):
                    self._check_equal(part)
                self._files.unlink(staged)
            else:
                self._check_equal(part)

    def _check_equal(self, part: Part) -> None:
        if not self._has(part):
            raise LostPartsError(
                f"{self._bucket.url}/{part.final} was to be published, but there is something else, or nothing, and its "
                "staged copy is lost: remove what is there, or use another output_dir"
            )

    def _has(self, part: Part) -> bool:
        try:
            return _is_content(self._bucket.read(part.final), part)
        except FileNotFoundError:
            return False

    def check(self, cuts: Sequence[Cut], staging: Path) -> None:
        """Raises OutputError if a part is neither staged nor published with its content."""
        for part in (part for cut in cuts for part in cut.parts):
            if not _is_content(_read(staging / part.staged), part):
                self._check_equal(part)

    def missing(self, cuts: Sequence[Cut]) -> list[Path]:
        """Nothing is looked for: whoever takes parts away may do so."""
        del cuts
        return []

    def sync_all(self) -> None:
        """What was put is durable."""

    def supersede_all(self, start: str) -> None:
        """Raises OutputError: objects cannot be moved away at once."""
        del start
        raise OutputError(
            f"{self._bucket.url} cannot be begun anew in place: use another state_dir and output_dir, or remove what is there"
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _is_content(content: bytes, part: Part) -> bool:
    return len(content) == part.size_bytes and hashlib.sha256(content).hexdigest() == part.sha256
