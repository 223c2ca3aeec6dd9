"""The manifest: what was written is read, and nothing else is."""

from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowbook.checkpoint import manifest as module
from cowbook.checkpoint.manifest import (
    FORMAT_VERSION,
    OLDEST_VERSION,
    DamagedError,
    FileEntry,
    Manifest,
    NewerVersionError,
    OlderVersionError,
    decode_manifest,
    encode_manifest,
)
from cowbook.plain.parts import Cut, Part

PART = Part("depth", 0, 9, 10, 99, "ab" * 32, "3/depth-part", "depth/symbol=A/date=2024-01-01/part")
MANIFEST = Manifest(
    version=FORMAT_VERSION,
    id="A/B",
    symbol="AB",
    epoch=12,
    incarnation=3,
    claim=2,
    triggers=("events", "manual"),
    checkpoint_timestamp="2026-01-01T00:00:00+00:00",
    events_processed=10,
    last_update_id=None,
    current_file='odd "name"\n',
    file_offset=7,
    levels=2,
    snapshot_duration_ms=0.05,
    processing_rate=1e6,
    persist_seconds={"gather": 0.1},
    end_of_input=True,
    files=(FileEntry.of("book.parquet", b"content"),),
    cuts=(Cut(0, 9, (PART,)), Cut(10, 9, (), provisional=True, number=2)),
    withdrawn=((4, 1),),
    output_dir="/srv/data",
)


LATER = {"output_dir", "claim"}
"""Fields that earlier checkpoints of this version lack."""


def test_a_manifest_round_trips_and_is_plain_json() -> None:
    """Everything comes back; others can read it as JSON."""
    content = encode_manifest(MANIFEST)
    assert decode_manifest(content) == MANIFEST
    assert json.loads(content)["manifest"]["current_file"] == MANIFEST.current_file
    assert MANIFEST.size_bytes == 7


def test_any_other_byte_is_damage() -> None:
    """Every byte changed in several ways, every truncation, anything before or after."""
    content = encode_manifest(MANIFEST)
    for place in range(len(content)):
        for mask in (1, 2, 4, 0x20, 0x80, 0xFF):
            with pytest.raises(DamagedError):
                decode_manifest(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
        with pytest.raises(DamagedError):
            decode_manifest(content[:place])
    for other in (content + b"\n", b" " + content, content + content, b"", b"null", b"[]", b'{"manifest": 1, "sha256": ""}'):
        with pytest.raises(DamagedError):
            decode_manifest(other)


def test_a_newer_version_is_not_damage() -> None:
    """A manifest that holds but is of a later version is not damaged; one without a version is."""
    later = json.loads(encode_manifest(MANIFEST))["manifest"] | {"version": FORMAT_VERSION + 1, "more": [1]}
    with pytest.raises(NewerVersionError, match=f"version {FORMAT_VERSION + 1}"):
        decode_manifest(module._wrap(json.dumps(later).encode()))
    del later["version"]
    with pytest.raises(DamagedError):
        decode_manifest(module._wrap(json.dumps(later).encode()))


def test_an_older_version_is_not_damage() -> None:
    """A manifest that holds but is of a version that no release reads any more is not damaged; a version of 0 never was one."""
    for version in range(1, OLDEST_VERSION):
        older = json.loads(encode_manifest(MANIFEST))["manifest"] | {"version": version}
        with pytest.raises(OlderVersionError, match=f"version {version}, .* from {OLDEST_VERSION} on"):
            decode_manifest(module._wrap(json.dumps(older).encode()))


def test_anything_after_the_manifest_is_damage() -> None:
    """Not even white space, nor a second one."""
    content = encode_manifest(MANIFEST)
    for byte in range(256):
        with pytest.raises(DamagedError):
            decode_manifest(content + bytes([byte]))
    for other in (bytes(4096), b"\n" * 4096, content):
        with pytest.raises(DamagedError):
            decode_manifest(content + other)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'], ids=["arrays", "objects"])
def test_endless_nesting_is_damage(opening: bytes) -> None:
    """Garbage is damage however deep it is nested."""
    for content in (opening * 100_000, b'{"manifest": ' + opening * 100_000, b'{"manifest": 1, "sha256": ' + opening * 100_000):
        with pytest.raises(DamagedError):
            decode_manifest(content)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_garbage_is_damage_or_a_newer_version(garbage: bytes, where: int) -> None:
    """Any bytes, alone or in the envelope, whose digest may even hold, are damage or of a newer version, and nothing else."""
    content = encode_manifest(MANIFEST)
    contents = [garbage, module._wrap(garbage), content[: len(content) // 2] + garbage, garbage + content]
    if contents[where] == content:
        return
    with pytest.raises((DamagedError, NewerVersionError)):
        decode_manifest(contents[where])


@pytest.mark.parametrize("field", Manifest.__struct_fields__)
def test_wrong_fields_are_damage_even_with_a_right_digest(field: str) -> None:
    """A field that is missing, of another type, or unknown is damage, though the digest holds. Only later ones may be missing."""
    values = json.loads(encode_manifest(MANIFEST))["manifest"]
    for value in ({"x": 1}, "text", [[1]], True, 1.5):
        changed = values | {field: value}
        with suppress(msgspec.ValidationError):
            msgspec.convert(changed, Manifest)
            continue  # it may be that
        with pytest.raises(DamagedError):
            decode_manifest(module._wrap(json.dumps(changed).encode()))
    del values[field]
    if field in LATER:
        assert not getattr(decode_manifest(module._wrap(json.dumps(values).encode())), field)
    for changed in (*([] if field in LATER else [values]), values | {field: getattr(MANIFEST, field), "unknown": 1}):
        with pytest.raises(DamagedError):
            decode_manifest(module._wrap(msgspec.json.encode(changed)))


@given(st.builds(Manifest, version=st.just(FORMAT_VERSION)))
def test_any_manifest_round_trips(manifest: Manifest) -> None:
    """Whatever the values are, as far as they are text and numbers at all."""
    try:
        content = encode_manifest(manifest)
    except UnicodeEncodeError:
        return  # lone surrogates are no text
    floats = [manifest.snapshot_duration_ms, manifest.processing_rate, *manifest.persist_seconds.values()]
    if all(abs(value) < float("inf") for value in floats):
        assert decode_manifest(content) == manifest
