"""Places of state and output: directories, or URLs of object storage."""

from __future__ import annotations

SCHEMES = ("s3://", "gs://", "az://")
"""How URLs of object storage begin."""


def is_url(place: object) -> bool:
    """Whether a place names object storage, and not a directory."""
    return isinstance(place, str) and place.startswith(SCHEMES)
