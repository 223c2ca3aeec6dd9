"""A look at a file says what it is: its compression or archive, what stands around its records, and what is not read, by name."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from cowbook.inspection.look import look_at, look_at_head
from support.packets import Connection, pcap
from support.venue_samples import cryptofeed_3_of, make_sample, packets_of, tar_gz_of, zip_of

SAMPLE = make_sample("binance", count=30)
LINES = SAMPLE.files["a"]
RECORDS = [(time.rstrip(b":"), message) for time, _, message in (line.partition(b" ") for line in LINES.splitlines())]
TIMED = "lines with a receive time"


def wrapped(time: str, message: str) -> bytes:
    """Records in a wrapper with these keys."""
    return b"".join(b'{"%s":%s,"%s":%s}\n' % (time.encode(), at, message.encode(), text) for at, text in RECORDS)


@pytest.mark.parametrize(
    ("content", "container", "layout"),
    [
        pytest.param(LINES, "plain", TIMED, id="plain"),
        pytest.param(bz2.compress(LINES), "bzip2", TIMED, id="bzip2"),
        pytest.param(lzma.compress(LINES), "xz", TIMED, id="xz"),
        pytest.param(lz4.frame.compress(LINES), "lz4", TIMED, id="lz4"),
        pytest.param(zip_of({"a": LINES}), "zip", TIMED, id="zip"),
        pytest.param(tar_gz_of({"a": LINES}), "tar in gzip", TIMED, id="tar_gz"),
        pytest.param(gzip.decompress(tar_gz_of({"a": LINES})), "tar", TIMED, id="tar"),
        pytest.param(LINES.decode().encode("utf-16"), "UTF-16", TIMED, id="utf_16"),
        pytest.param(zstandard.compress(cryptofeed_3_of(RECORDS)), "zstd", "cryptofeed's JSON lines", id="cryptofeed_3"),
        pytest.param(packets_of(RECORDS), "pcap", "WebSocket messages of a capture of packets", id="pcap"),
        pytest.param(
            zstandard.compress(packets_of(RECORDS)), "pcap in zstd", "WebSocket messages of a capture of packets", id="pcap_zst"
        ),
        pytest.param(wrapped("ts", "msg"), "plain", "lines in a wrapper with a time", id="wrapper"),
    ],
)
def test_what_is_read_is_said_with_its_symbol(tmp_path: Path, content: bytes, container: str, layout: str) -> None:
    """The records are counted whatever stands around them."""
    path = tmp_path / "capture"
    path.write_bytes(content)
    facts = look_at(path)
    assert (facts.container, facts.layout, facts.unreadable) == (container, layout, None)
    plain = tmp_path / "plain"
    plain.write_bytes(LINES)
    counts, expected = (
        [(symbol.name, symbol.depth, symbol.trades, symbol.gaps) for symbol in each.formats[0].symbols]
        for each in (facts, look_at(plain))
    )
    assert counts == expected
    assert SAMPLE.name in [name for name, depth, *_ in counts if depth]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(wrapped("at", "update"), 'envelope = { time = "at", message = "update" }', id="unknown_wrapper"),
        pytest.param(
            b"".join(
                b'{"meta":{"at":%s},"body":{"x":%s}}\n' % (time, json.dumps(text.decode()).encode()) for time, text in RECORDS
            ),
            'envelope = { time = "meta.at", message = "body.x" }',
            id="deep_wrapper",
        ),
        pytest.param(b"7z\xbc\xaf\x27\x1c" + bytes(600), "a 7z archive", id="7z"),
        pytest.param(gzip.compress(zip_of({"a": LINES})), "a zip archive inside of a compressed file", id="zip_in_gzip"),
        pytest.param(zip_of({"b": gzip.compress(gzip.compress(LINES))}), "compressed twice", id="twice_in_zip"),
        pytest.param(zip_of({"a": b"PAR1" + bytes(600)}), "Parquet inside of an archive", id="parquet_in_zip"),
        pytest.param(
            zip_of({"a": LINES}).replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
            "encrypted",
            id="encrypted",
        ),
        pytest.param(
            cryptofeed_3_of([(b"1", b'{"type":"orderbook","code":"KRW-BTC","timestamp":1}')]),
            "Upbit in cryptofeed's JSON lines, which is not supported",
            id="unsupported_in_wrapper",
        ),
        pytest.param(pcap([]), "no plain WebSocket is in it", id="empty_pcap"),
        pytest.param(
            struct.pack("<IIII", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1) + bytes(12), "no plain WebSocket is in it", id="empty_pcapng"
        ),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    """With what to do about it, where something can be done."""
    path = tmp_path / "capture"
    path.write_bytes(content)
    facts = look_at(path)
    assert facts.unreadable is not None
    assert words in facts.unreadable


def test_encrypted_packets_are_named(tmp_path: Path) -> None:
    """Nobody can read them without the keys."""
    connection = Connection(server_port=443)
    connection.open(1)
    connection.send(1, b"\x16\x03\x03\x02\x00" + bytes(512), from_server=True)
    path = tmp_path / "capture"
    path.write_bytes(pcap(connection.segments))
    assert "encrypted (TLS)" in str(look_at_head(path).unreadable)
