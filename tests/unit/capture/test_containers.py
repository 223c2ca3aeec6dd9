"""Containers are told by their first bytes; records and tables are none of them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from cowbook.capture.containers import LOOKED_AT_BYTES, TAR, kind_of
from cowbook.capture.foreign import what_is_not_read


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_archives_of_every_form_are_told_by_their_checksum(form: int) -> None:
    """The oldest has no magic, so the magic of the others is taken away, too."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        info = tarfile.TarInfo("captures/BTCUSDT-2024-01-01.jsonl")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"{}\n"))
    content = file.getvalue()
    assert kind_of(content[:LOOKED_AT_BYTES]) == TAR
    old = bytearray(content[:LOOKED_AT_BYTES])
    old[257:265] = bytes(8)
    old[148:156] = b"%06o\0 " % (sum(old[:148]) + 8 * 32 + sum(old[156:]))
    assert kind_of(bytes(old)) == TAR
    old[0] ^= 1
    assert kind_of(bytes(old)) is None


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(LOOKED_AT_BYTES), id="zeros"),
        pytest.param(b'{"e":"depthUpdate"}\n' * 40, id="records"),
        pytest.param(b"1700000000.5 [1,2]\n" * 40, id="times"),
        pytest.param(b"BTC,price\n" * 80, id="table"),
        pytest.param(b"\xef\xbb\xbf{}\n" * 80, id="byte_order_mark"),
    ],
)
def test_what_is_read_is_no_container(head: bytes) -> None:
    """Nor are zeros, which a recorder's file may begin with after a power cut."""
    assert kind_of(head) is None
    assert what_is_not_read(head) is None


def test_recorded_captures_are_no_containers(shared_data: Path) -> None:
    """Of any venue and recorder."""
    paths = [path for path in shared_data.rglob("*") if path.is_file() and path.suffix not in (".gz", ".zst")]
    assert len(paths) > 20
    for path in paths:
        with path.open("rb") as file:
            head = file.read(LOOKED_AT_BYTES)
        assert kind_of(head) is None, path
        assert what_is_not_read(head) is None, path
