"""The manifest of a checkpoint: what belongs to it, with digests, and its own digest around it."""

from __future__ import annotations

import hashlib

import msgspec

from cowbook.plain.parts import Cut

FORMAT_VERSION = 2
"""Version of the checkpoint format that this release writes; it reads this one and all before it."""


class DamagedError(Exception):
    """A checkpoint is not what was written: proven damage. The text says what is wrong and where."""


class NewerVersionError(Exception):
    """A checkpoint was written by a later release."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the checkpoint."""

    name: str
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes | memoryview) -> FileEntry:
        """Of a file with this content."""
        return cls(name, len(content), hashlib.sha256(content).hexdigest())


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a checkpoint consists of, what it publishes, and the figures by which a person knows it."""

    version: int
    id: str
    symbol: str
    epoch: int
    incarnation: int
    triggers: tuple[str, ...]
    checkpoint_timestamp: str  # UTC, ISO 8601
    events_processed: int
    last_update_id: int | None
    current_file: str
    file_offset: int
    levels: int
    snapshot_duration_ms: float
    processing_rate: float
    persist_seconds: dict[str, float]  # by phase, those before the commit
    end_of_input: bool
    files: tuple[FileEntry, ...]
    cuts: tuple[Cut, ...]  # to publish
    withdrawn: tuple[int, ...]  # first events of provisional cuts that nothing takes the place of

    @property
    def size_bytes(self) -> int:
        """Of all files but the manifest itself."""
        return sum(entry.size_bytes for entry in self.files)


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    manifest: msgspec.Raw
    sha256: str


class _Version(msgspec.Struct, frozen=True):
    version: int


def encode_manifest(manifest: Manifest) -> bytes:
    """The file's content: JSON, the manifest and the SHA-256 of its bytes as they stand there."""
    return _wrap(msgspec.json.format(msgspec.json.encode(manifest), indent=1))


def _wrap(inner: bytes) -> bytes:
    return b'{"manifest": ' + inner + b',\n"sha256": "' + hashlib.sha256(inner).hexdigest().encode() + b'"}'


def decode_manifest(content: bytes) -> Manifest:
    """Raises DamagedError for what `encode_manifest` did not write, and NewerVersionError."""
    try:
        inner = bytes(msgspec.json.decode(content, type=_Envelope).manifest)
        if _wrap(inner) != content:
            raise DamagedError("manifest.json does not match its own digest")
        version = msgspec.json.decode(inner, type=_Version).version
        if version > FORMAT_VERSION:
            raise NewerVersionError(f"has format version {version}, and this release reads up to {FORMAT_VERSION}")
        return msgspec.json.decode(inner, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedError(f"manifest.json cannot be read: {error}") from error
