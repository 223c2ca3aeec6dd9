"""Objects below a URL, by obstore: read, whole or in part, put, created only if absent, listed, deleted (ADR 31)."""

from __future__ import annotations

import errno
import importlib
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from cowbook.errors import MissingExtraError, RestartNeededError, ServiceError, StorageError

_CONNECT_TIMEOUT = timedelta(seconds=5)
_TIMEOUT = timedelta(seconds=30)
_MOST_RETRIES = 5
_RETRY_TIMEOUT = timedelta(seconds=60)


class ReplacedError(Exception):
    """There is another object under the key than the one that was listed; args are its URL."""


class ObjectStatus(NamedTuple):
    """What a listing says of an object."""

    key: str
    size_bytes: int
    etag: str | None
    """Tells its content from another one under the same key; None where the storage has no such thing."""
    modified_ns: int
    """When it was written, ns since 1970."""


class Bucket:
    """Objects below a URL, by their keys. All methods block, and raise StorageError when retries have not helped.

    Requests that are throttled, or that fail on the way, are sent again within a minute. Credentials, region and endpoint come
    from the environment, as the provider's own tools read them.
    """

    def __init__(self, url: str) -> None:
        """Raises MissingExtraError without obstore, and ServiceError for a URL that it does not take."""
        try:
            self._api: Any = importlib.import_module("obstore")
            self._faults: Any = importlib.import_module("obstore.exceptions")
        except ImportError:
            raise MissingExtraError("s3", f"{url} is object storage, which needs obstore") from None
        self.url = url.rstrip("/")
        self.puts = 0
        """Requests that have written an object, or tried to."""
        self._lock = threading.Lock()
        try:
            self._store: Any = importlib.import_module("obstore.store").from_url(
                self.url,
                client_options={"connect_timeout": _CONNECT_TIMEOUT, "timeout": _TIMEOUT, "allow_http": _is_plain()},
                retry_config={"max_retries": _MOST_RETRIES, "retry_timeout": _RETRY_TIMEOUT},
            )
        except self._faults.BaseError as error:
            raise ServiceError(f"{url} cannot be used: {_line(error)}") from error

    def read(self, key: str) -> bytes:
        """An object's content. Raises FileNotFoundError if there is none."""
        with self._errors("read", key):
            return bytes(self._api.get(self._store, key).bytes())

    def put(self, key: str, content: bytes) -> None:
        """Write an object, replacing what is there."""
        self._count()
        with self._errors("write", key):
            self._api.put(self._store, key, content)

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one: then False. Raises RestartNeededError when it cannot be told which."""
        self._count()
        with self._errors("create", key, RestartNeededError):
            try:
                self._api.put(self._store, key, content, mode="create", use_multipart=False)
            except (self._faults.AlreadyExistsError, self._faults.PreconditionError):
                return False
        return True

    def sizes(self, prefix: str) -> dict[str, int]:
        """Size in bytes of each object whose key begins with `prefix`, which ends with a slash."""
        return {one.key: one.size_bytes for one in self.listed(prefix)}

    def listed(self, folder: str) -> list[ObjectStatus]:
        """All objects below a folder, an empty one being the whole bucket."""
        with self._errors("list", folder):
            pages = self._api.list(self._store, folder.rstrip("/"))
            return [_status(entry) for page in pages for entry in page]

    def status(self, key: str) -> ObjectStatus:
        """What there is under a key. Raises FileNotFoundError if there is nothing."""
        with self._errors("look at", key):
            return _status(self._api.head(self._store, key))

    def read_range(self, one: ObjectStatus, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`, where that is not behind the object's end: of the content that was listed.

        Raises FileNotFoundError when the object is gone, and ReplacedError when there is another one in its place.
        """
        options = {"range": (start, end)} | ({"if_match": one.etag} if one.etag is not None else {})
        with self._errors("read", one.key):
            try:
                content = bytes(self._api.get(self._store, one.key, options=options).bytes())
            except self._faults.PreconditionError as error:
                raise ReplacedError(f"{self.url}/{one.key}") from error
        if len(content) != end - start:
            raise ReplacedError(f"{self.url}/{one.key}")
        return content

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        with self._errors("remove", key):
            try:
                self._api.delete(self._store, key)
            except (self._faults.NotFoundError, FileNotFoundError):
                return

    def probe(self) -> None:
        """See that an object is created once. Raises ServiceError if a second one replaces it: nothing would fence here."""
        key = f".cowbook-probe-{secrets.token_hex(8)}"
        try:
            is_created, is_created_again = self.create(key, b"1"), self.create(key, b"2")
        finally:
            self.delete(key)
        if is_created_again or not is_created:
            raise ServiceError(
                f"{self.url} ignores If-None-Match: two writers could both commit there; use storage with conditional writes "
                "(AWS S3, GCS, Azure, R2, Ceph, RustFS), or directories"
            )

    def _count(self) -> None:
        with self._lock:
            self.puts += 1

    @contextmanager
    def _errors(self, action: str, key: str, kind: type[StorageError] = StorageError) -> Iterator[None]:
        try:
            yield
        except (self._faults.NotFoundError, FileNotFoundError) as error:
            raise FileNotFoundError(errno.ENOENT, "there is no such object", f"{self.url}/{key}") from error
        except (self._faults.PermissionDeniedError, self._faults.UnauthenticatedError) as error:
            text = f"cannot {action} {self.url}/{key}: {_line(error)}; look at the credentials and what they allow"
            raise StorageError(text, errno.EACCES) from error
        except (self._faults.InvalidPathError, ValueError) as error:
            text = f"cannot {action} {self.url}/{key}: {_line(error)}; an object with such a key must not be there"
            raise StorageError(text, errno.ENAMETOOLONG) from error
        except self._faults.BaseError as error:
            raise kind(f"cannot {action} {self.url}/{key}: {_line(error)}") from error


def _status(entry: Any) -> ObjectStatus:
    modified = entry["last_modified"]
    modified_ns = int(modified.timestamp()) * 10**9 + modified.microsecond * 1000
    return ObjectStatus(entry["path"], entry["size"], entry["e_tag"], modified_ns)


def _is_plain() -> bool:
    """Whether the environment names an endpoint without TLS: one of the machine, or of a private network."""
    return os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")


def _line(error: BaseException) -> str:
    """An error's text in one line, as far as it is for people."""
    return " ".join(str(error).partition("Debug source")[0].split())[:300]
