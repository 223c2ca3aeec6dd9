"""Containers: what stands around a message is taken off, whatever the venue."""

from __future__ import annotations

import numpy as np
import pytest

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.envelope import open_envelope
from cowbook.input.text.json_fields import RefusedError
from cowbook.input.text.line_decoder import LineDecoder
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import DEAD_LETTER, DIFF, NONE, UNUSED, EventBatch
from cowbook.venues import load_venue


@pytest.mark.parametrize(
    ("record", "message", "ts_recv", "url"),
    [
        pytest.param(b'{"a":1}', b'{"a":1}', NONE, "", id="bare"),
        pytest.param(b'1618678134 {"a":1}', b'{"a":1}', 1_618_678_134_000_000_000, "", id="seconds"),
        pytest.param(b"1618678134.237761: [1]", b"[1]", 1_618_678_134_237_761_000, "", id="fraction_and_colon"),
        pytest.param(b"201603688723400 139\n{}", b"{}", 201_603_688_723_400_000, "", id="frame"),
        pytest.param(b"1785641762878662700 2\r\n{}", b"{}", 1_785_641_762_878_662_700, "", id="frame_with_return"),
        pytest.param(b"https://a.b/c?d=e -> 1.5: {}", b"{}", 1_500_000_000, "https://a.b/c?d=e", id="answer"),
        pytest.param(b"https://a.b/c?d=e -> x: {}", b"https://a.b/c?d=e -> x: {}", NONE, "", id="answer_without_time"),
        pytest.param(b"wss://a <- x: {}", b"wss://a <- x: {}", NONE, "", id="sent_without_time"),
    ],
)
def test_an_envelope_gives_message_time_and_address(record: bytes, message: bytes, ts_recv: int, url: str) -> None:
    """The message, its receive time in ns, and the address of an answer."""
    envelope = open_envelope(record)
    assert envelope is not None
    assert (envelope.message, envelope.ts_recv(), envelope.url) == (message, ts_recv, url)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b"wss://ws.kraken.com <-> 1618678132.3", id="connection"),
        pytest.param(b"wss://a:1/b <- 1618678132.8: {}", id="sent"),
        pytest.param(b"CBCAP1 kraken BTC/USD 1785552832693693000", id="file_header"),
        pytest.param(b"pong", id="heartbeat"),
        pytest.param(b"1618678132.3: pong", id="heartbeat_with_a_time"),
        pytest.param(b"1618678132300\tping", id="heartbeat_of_the_venue"),
        pytest.param(b'{"recv":1618678132.3,"msg":"pong"}', id="heartbeat_in_a_wrapper"),
    ],
)
def test_what_holds_no_message_of_the_venue_is_unused(record: bytes) -> None:
    """What was sent, a connection, a file's header, and heartbeats that are no JSON."""
    assert open_envelope(record) is None


def test_a_time_out_of_range_is_refused_when_it_is_read() -> None:
    """Is told when it is asked for: other mistakes come first."""
    envelope = open_envelope(b"99999999999 {}")
    assert envelope is not None
    with pytest.raises(RefusedError):
        envelope.ts_recv()


HEADER = b"CBCAP1 kraken A/B 1\n"
_UPDATE = b'{"channel":"book","type":"update","data":[{"symbol":"A/B",\n"bids":[],"asks":[],"timestamp":"2024-01-01T00:00:00Z"}]}'
FRAME = b"5 %d\n%s\n" % (len(_UPDATE), _UPDATE)


def kinds(content: bytes, size: int, start: int = 0, max_line_bytes: int = 1000) -> list[int]:
    """Kinds of the messages of a file that comes in blocks of this size, from an offset on."""
    decoder = LineDecoder(load_venue("kraken"), DecoderSettings("A/B", 8, 8, max_line_bytes))
    found: list[int] = []
    batch = EventBatch.allocate()
    end = start
    while True:
        end = min(end + size, len(content))
        buffer = np.zeros(end - start + PADDING, np.uint8)
        buffer[: end - start] = np.frombuffer(content[start:end], np.uint8)
        block = Block(buffer, 0, end - start, "x", start, end == len(content), content[: min(end, 1024)])
        batch.clear()
        assert not decoder.decode(block, batch)
        found += batch.messages["kind"][: batch.message_count].tolist()
        start += block.start
        if block.final:
            return found


@pytest.mark.parametrize("size", [1, 2, 7, 30, 1000])
def test_frames_in_blocks(size: int) -> None:
    """A frame is one record, also when its message has a line feed; what only looks like one is two lines."""
    assert kinds(HEADER + FRAME + HEADER + FRAME, size) == [UNUSED, DIFF, UNUSED, DIFF]
    wrong = b'5 3\n{"channel":"heartbeat"}\n'
    assert kinds(HEADER + wrong + FRAME, size) == [UNUSED, DEAD_LETTER, UNUSED, DIFF]
    assert kinds(HEADER + FRAME + FRAME[:-1], size) == [UNUSED, DIFF, DIFF]
    assert DEAD_LETTER in kinds(HEADER + FRAME[:30], size)  # an unfinished one at the end


@pytest.mark.parametrize("size", [1, 2, 7, 30, 1000])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_frames_from_the_middle(size: int, mark: bytes) -> None:
    """What a file is made of, its first bytes say, wherever reading begins."""
    content = mark + HEADER + FRAME * 20
    for number in range(20):
        assert kinds(content, size, len(content) - number * len(FRAME)) == [DIFF] * number


@pytest.mark.parametrize("size", [1, 2, 7, 30, 1000])
def test_lines_that_look_like_frames(size: int) -> None:
    """In a file that does not say that it has frames, a line is a record, however long its neighbour is."""
    heartbeat = b'{"channel":"heartbeat"}\n'
    assert kinds(b"1 1\n\n", size) == [DEAD_LETTER]  # and a blank one
    assert kinds(b"5 23\n" + heartbeat, size) == [DEAD_LETTER, UNUSED]
    assert kinds(b"CBCAP\n5 23\n" + heartbeat, size) == [DEAD_LETTER, DEAD_LETTER, UNUSED]
    lessons = b'5 {"channel":"book","type":"update","data":[{"symbol":"A/B","bids":[],"asks":[]}]}\n' * 2
    assert kinds(lessons + FRAME.replace(b",\n", b", "), size) == [DIFF, DIFF, DEAD_LETTER, DIFF]


@pytest.mark.parametrize("size", [1, 2, 7, 30, 1000])
def test_frames_that_are_too_long(size: int) -> None:
    """A frame may have as many bytes as a line may; a longer one is lines, wherever blocks end."""
    longest = len(FRAME) - 1
    assert kinds(HEADER + FRAME, size, max_line_bytes=longest) == [UNUSED, DIFF]
    assert kinds(HEADER + FRAME, size, max_line_bytes=longest - 1) == [UNUSED, DEAD_LETTER, DEAD_LETTER, DEAD_LETTER]
    update = FRAME.partition(b"\n")[2].replace(b"\n", b" ").strip()
    frame = b"5 %d\n%s\n" % (len(update), update)
    assert kinds(HEADER + frame, size, max_line_bytes=len(frame) - 2) == [UNUSED, DEAD_LETTER, DIFF]
    assert kinds(HEADER + frame * 2, size, max_line_bytes=len(frame) - 1) == [UNUSED, DIFF, DIFF]
