"""A checkpoint's manifest: lists its files with their digests, and carries a digest of itself."""

from __future__ import annotations

import hashlib

import msgspec

from cowbook.plain.parts import Cut, CutPlace

FORMAT_VERSION = 3
"""Version of the checkpoint format that this release writes."""

OLDEST_VERSION = 3
"""The oldest version that is read. Whatever is read once is read for ever: this number never grows again."""


class DamagedError(Exception):
    """A checkpoint provably differs from what was written. The text says what is wrong and where."""


class NewerVersionError(Exception):
    """A checkpoint was written by a later release."""


class OlderVersionError(Exception):
    """A checkpoint was written by a release whose state this one cannot read."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the checkpoint."""

    name: str
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes | memoryview) -> FileEntry:
        """The entry of a file with this content."""
        return cls(name, len(content), hashlib.sha256(content).hexdigest())


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A checkpoint's files, the parts that it publishes, and figures for the user."""

    version: int
    id: str
    symbol: str
    epoch: int
    incarnation: int  # number of the start
    triggers: tuple[str, ...]
    checkpoint_timestamp: str  # UTC, ISO 8601
    events_processed: int
    last_update_id: int | None
    current_file: str
    file_offset: int
    levels: int
    snapshot_duration_ms: float
    processing_rate: float
    persist_seconds: dict[str, float]  # seconds by phase, up to the commit
    end_of_input: bool
    files: tuple[FileEntry, ...]
    cuts: tuple[Cut, ...]  # to publish
    withdrawn: tuple[CutPlace, ...]  # places of provisional cuts to remove without a replacement
    output_dir: str = ""  # where the parts lie, unless somebody has moved them
    claim: int = 0  # of the process that has written it, in the commit log; 0 before there was one

    @property
    def size_bytes(self) -> int:
        """Size of all files except the manifest."""
        return sum(entry.size_bytes for entry in self.files)


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    manifest: msgspec.Raw
    sha256: str


class _Version(msgspec.Struct, frozen=True):
    version: int


# Made once, here: msgspec looks at a type when it is decoded for the first time, and two threads that do so at once crash.
_MANIFEST = msgspec.json.Decoder(Manifest)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_VERSION = msgspec.json.Decoder(_Version)


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest file's content: JSON of the manifest, and the SHA-256 of exactly these bytes."""
    return _wrap(msgspec.json.format(msgspec.json.encode(manifest), indent=1))


def _wrap(inner: bytes) -> bytes:
    return b'{"manifest": ' + inner + b',\n"sha256": "' + hashlib.sha256(inner).hexdigest().encode() + b'"}'


def decode_manifest(content: bytes) -> Manifest:
    """Decode what `encode_manifest` made. Raises DamagedError for anything else, and NewerVersionError or OlderVersionError."""
    try:
        inner = bytes(_ENVELOPE.decode(content).manifest)
        if _wrap(inner) != content:
            raise DamagedError("manifest.json does not match its own digest")
        version = _VERSION.decode(inner).version
        if version > FORMAT_VERSION:
            raise NewerVersionError(f"has format version {version}, and this release reads up to {FORMAT_VERSION}")
        if 0 < version < OLDEST_VERSION:
            raise OlderVersionError(f"has format version {version}, and this release reads from {OLDEST_VERSION} on")
        return _MANIFEST.decode(inner)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedError(f"manifest.json cannot be read: {error}") from error
