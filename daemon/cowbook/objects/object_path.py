"""Objects as paths, so that what reads captures takes them as it takes files."""

from __future__ import annotations

import fnmatch
import glob
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import PosixPath
from typing import Any, NoReturn

from cowbook.objects.bucket import Bucket, ObjectStatus

_NUMBER_BITS = 62
_FLOATS = 3
"""Times of a status as fractions of seconds, which stand between its whole seconds and its ns."""


class ObjectPath(PosixPath):
    """An object of a bucket, as it was when it was listed: its URL, its size, and what tells it from another content.

    Nothing of it may be opened by the operating system: capture/stored_file.py opens it.
    """

    bucket: Bucket
    listed: ObjectStatus

    def __new__(cls, bucket: Bucket, listed: ObjectStatus) -> ObjectPath:  # noqa: PYI034 - pathlib has no Self here
        """Of a bucket without a prefix."""
        made: ObjectPath = super().__new__(cls, f"{bucket.url}/{listed.key}")
        made.bucket, made.listed = bucket, listed
        return made

    if sys.version_info >= (3, 12):

        def __init__(self, bucket: Bucket, listed: ObjectStatus) -> None:
            """As `__new__`."""
            super().__init__(f"{bucket.url}/{listed.key}")

    def with_segments(self, *segments: str) -> PosixPath:
        """What is made of its parts is no object any more."""
        return PosixPath(*segments)

    @property
    def parent(self) -> PosixPath:  # type: ignore[override]
        """The folder, as a path that only has a name."""
        return PosixPath(str(self)).parent

    def __str__(self) -> str:
        """The URL."""
        return f"{self.bucket.url}/{self.listed.key}"

    def __reduce__(self) -> NoReturn:
        """Raises TypeError: it is of this process."""
        raise TypeError(f"{self} is an object of this process' connections")

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - as a path's
        """What the listing said, in a file's terms: the inode is made of what tells this content from another one."""
        size, modified = self.listed.size_bytes, self.listed.modified_ns
        tag = int.from_bytes((self.listed.etag or "").encode(), "little") % ((1 << _NUMBER_BITS) - 1)
        seconds = modified // 10**9
        times: list[Any] = [seconds] * 3 + [modified / 1e9] * _FLOATS + [modified] * 3
        return os.stat_result((stat.S_IFREG | 0o444, tag, 0, 1, 0, 0, size, *times))

    def is_file(self) -> bool:
        """Always True."""
        return True

    def is_dir(self) -> bool:
        """Always False."""
        return False

    def exists(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as a path's
        """Always True: it was listed."""
        return True


def find_objects(pattern: str) -> list[ObjectPath]:
    """The objects that a URL names, or a URL with wildcards (`*`, `?`, `[…]`, `**` for any number of folders), in no order.

    One that ends with a slash names all objects below it. Raises StorageError when they cannot be listed, MissingExtraError
    without obstore.
    """
    scheme, _, rest = pattern.partition("://")
    name, _, key = rest.partition("/")
    bucket = Bucket(f"{scheme}://{name}")
    if glob.has_magic(key):
        parts = key.split("/")
        first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
        listed = bucket.listed("/".join(parts[:first]))
        return [ObjectPath(bucket, one) for one in listed if _matches(one.key.split("/"), parts)]
    if not key or key.endswith("/"):
        return [ObjectPath(bucket, one) for one in bucket.listed(key)]
    try:
        return [ObjectPath(bucket, bucket.status(key))]
    except FileNotFoundError:
        return []


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether the folders and the name of a key match those of a pattern, as a glob's do: no wildcard takes a leading point."""
    if not patterns or not parts:
        return not patterns and not parts
    if patterns[0] == "**" and len(patterns) > 1:
        return _matches(parts, patterns[1:]) or (not parts[0].startswith(".") and _matches(parts[1:], patterns))
    is_shown = not parts[0].startswith(".") or patterns[0].startswith(".")
    return is_shown and fnmatch.fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])
