"""Recorded captures say the same in every container: messages, checksums, gaps, best prices."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from cowbook.inspection.pieces import go_through, settings_of
from cowbook.plain.messages import BREAK, DEAD_LETTER, UNUSED
from support.packets import SWITCHED, Connection, frame, pcap, upgrade

ADDRESS = "wss://stream.example.com/ws"
_LINE = re.compile(rb"([0-9]+)\.([0-9]+): (.*)")

Records = list[tuple[int, bytes]]
"""Receive times in ns, and messages."""


def records_of(path: Path) -> Records:
    """What a capture of cryptofeed's older text has, by a program of its own."""
    found = (_LINE.fullmatch(line) for line in path.read_bytes().split(b"\n"))
    return [(int(line[1]) * 10**9 + int(line[2].ljust(9, b"0")), line[3]) for line in found if line is not None]


def lines(records: Records) -> bytes:
    """A time and a message a line."""
    return b"".join(b"%d %s\n" % record for record in records)


def cryptofeed_3(records: Records) -> bytes:
    """JSON lines of cryptofeed 3, in zstd."""
    entries = [
        {"t": "header", "format": 2, "exchange": "X"},
        {"t": "connect", "conn": "a", "addr": ADDRESS, "ts": records[0][0] / 1e9},
        {"t": "send", "conn": "a", "ts": records[0][0] / 1e9, "data": "{}"},
        *({"t": "recv", "conn": "a", "ts": time, "data": message.decode()} for time, message in records),
    ]
    return zstandard.compress(b"".join(json.dumps(entry).encode() + b"\n" for entry in entries))


def packets(records: Records) -> bytes:
    """Packets of cryptofeed 3.0.1, in zstd."""
    connection = Connection(segment_bytes=65_495)
    connection.open(records[0][0])
    headers = f"X-Cryptofeed-Conn-Id: a\r\nX-Cryptofeed-Address: {ADDRESS}\r\n"
    connection.send(records[0][0], upgrade(headers=headers), from_server=False)
    connection.send(records[0][0], SWITCHED, from_server=True)
    for time, message in records:
        connection.send(time, frame(message), from_server=True)
    return zstandard.compress(pcap(connection.segments))


def zipped(records: Records) -> bytes:
    """Two halves in a zip archive, the second one first and compressed by itself."""
    file = io.BytesIO()
    half = len(records) // 2
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("capture-10.xz", lzma.compress(lines(records[half:]), preset=0))
        archive.writestr("capture-9.jsonl", lines(records[:half]))
    return file.getvalue()


def tarred(records: Records) -> bytes:
    """The same in a compressed tar archive."""
    file = io.BytesIO()
    half = len(records) // 2
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, part in (("b", records[half:]), ("a", records[:half])):
            info = tarfile.TarInfo(name)
            info.size = len(lines(part))
            archive.addfile(info, io.BytesIO(lines(part)))
    return gzip.compress(file.getvalue(), 1)


def wrapped(records: Records) -> bytes:
    """A home-made wrapper with the message as text, in UTF-16."""
    text = "".join(json.dumps({"recv": time, "exchange": "x", "msg": message.decode()}) + "\n" for time, message in records)
    return text.encode("utf-16")


CONTAINERS = {
    "cryptofeed_3": cryptofeed_3,
    "packets": packets,
    "zip": zipped,
    "tar_gz": tarred,
    "wrapper_in_utf_16": wrapped,
}


def outcome(path: Path, format_name: str, symbol: str) -> dict[str, object]:
    """What an engine makes of a capture."""
    kinds: Counter[int] = Counter()
    for piece in go_through(path, format_name, settings_of(symbol)):
        kinds.update(piece.messages()["kind"].tolist())
        piece.apply(0, piece.batch.message_count)
        engine = piece.engine
    counters = ("diffs", "snapshots", "trades", "gaps", "checksum_matched", "checksum_failed", "ticker_start")
    del kinds[UNUSED]
    return {
        **{name: engine.value(name) for name in counters},
        "kinds": kinds,
        "synced": engine.synced,
        "best": (engine.bids.best(), engine.asks.best()),
        "last_time": engine.value("last_time"),
    }


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    ("name", "format_name", "symbol", "pattern"),
    [
        pytest.param("OKX.ws.1.0", "okx", "BTC-USDT", rb'"channel":"books","instId":"BTC-USDT"\},"action"', id="okx"),
        pytest.param("KRAKEN.ws.50.0", "kraken", "SC/EUR", rb'"book-1000","SC/EUR"\]', id="kraken"),
        pytest.param(
            "BINANCE_FUTURES.ws.1.0", "binance", "SUSHIUSDT", rb'"e":"depthUpdate".*"s":"SUSHIUSDT"', id="binance_futures"
        ),
    ],
)
def test_a_recorded_capture_says_the_same_in_every_container(
    tmp_path: Path, shared_data: Path, container: str, name: str, format_name: str, symbol: str, pattern: bytes
) -> None:
    """Every depth message of the symbol, as the file has it, and no dead letter."""
    make: Callable[[Records], bytes] = CONTAINERS[container]
    path = shared_data / "cryptofeed" / name
    records = records_of(path)
    assert len(records) > 300
    capture = tmp_path / "capture"
    capture.write_bytes(make(records))
    found, expected = outcome(capture, format_name, symbol), outcome(path, format_name, symbol)
    assert found == expected
    kinds = found["kinds"]
    assert isinstance(kinds, Counter)
    assert kinds[DEAD_LETTER] == kinds[BREAK] == 0
    assert kinds[0] + kinds[1] == sum(re.search(pattern, message) is not None for _, message in records) > 0
    assert found["checksum_failed"] == 0
