"""Tables against a naive reading of them: the same messages and dead letters from any bytes, however they are cut into blocks."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cowbook.capture.compression import open_decoded
from cowbook.input.settings import DecoderSettings
from cowbook.input.tables.table_scanner import NAME_FACTORS, fixed_of_float
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import (
    BREAK,
    DEAD_LETTER,
    DIFF,
    HAS_NO_SIDE,
    IS_RESET,
    NONE,
    OTHER_SYMBOL,
    SELL_AGGRESSOR,
    SNAPSHOT,
    TRADE,
    EventBatch,
)
from cowbook.venues.decoders import make_decoder

HEADER = b"exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
TRADES_HEADER = b"exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
SETTINGS = DecoderSettings("AB", 2, 3, 1024)


@dataclass(frozen=True, slots=True)
class Seen:
    """A message, comparable."""

    kind: int
    times: tuple[int, int] = (0, 0)
    last_id: int = 0
    flags: int = 0
    bids: tuple[tuple[int, int], ...] = ()
    asks: tuple[tuple[int, int], ...] = ()
    where: tuple[int, int] = (0, 0)  # of a dead letter
    reason: str = ""
    end_offset: int = 0
    channel: int = 0


def decode(content: bytes, format_name: str, block_sizes: list[int], settings: DecoderSettings = SETTINGS) -> list[Seen]:
    """What the decoder makes of a file that is handed out in blocks."""
    return decode_files([content], format_name, block_sizes, settings)


def decode_files(
    contents: list[bytes],
    format_name: str,
    block_sizes: list[int],
    settings: DecoderSettings = SETTINGS,
    stops: frozenset[int] = frozenset(),
) -> list[Seen]:
    """What is made of files, one after the other. After so many messages (`stops`) another decoder goes on, as after a crash."""
    decoder = make_decoder(format_name, settings)
    batch = EventBatch.allocate(8, 8)
    seen: list[Seen] = []
    turn = 0
    for content in contents:
        start = end = read = 0
        final = False
        while not final:
            count = min(block_sizes[turn % len(block_sizes)], len(content) - end)
            turn += 1
            final = count == 0
            buffer = np.zeros(end + count - start + PADDING, np.uint8)
            buffer[: end + count - start] = np.frombuffer(content[start : end + count], np.uint8)
            end += count
            read = max(read, end)
            block = Block(buffer, 0, end - start, "f", start, final, content[: min(read, 1024)])
            full = True
            while full:
                before = decoder.record_offset if decoder.record_offset is not None else block.offset_of(block.start)
                full = decoder.decode(block, batch)
                found = of_batch(batch)
                batch.clear()
                stop = next((place for place in range(len(found) + 1) if len(seen) + place in stops), None)
                if stop is None or decoder.record_offset is not None:
                    seen += found
                    start = block.offset_of(block.start)
                    continue
                seen += found[:stop]
                stops -= {len(seen)}
                start = block.offset_of(block.start)
                if stop < len(found):
                    start = found[stop - 1].end_offset if stop else before
                end, final = start, False
                connection = decoder.connection_after(stop)
                decoder = make_decoder(format_name, settings)
                decoder.restore_connection(connection)
                break
        assert start == end or not content.count(b"\n")
    return seen


def of_batch(batch: EventBatch) -> list[Seen]:
    """The messages of a batch."""
    letters = iter(batch.dead_letters)
    seen = []
    for message in batch.messages[: batch.message_count]:
        kind, end = int(message["kind"]), int(message["end_offset"])
        if kind == DEAD_LETTER:
            letter = next(letters)
            seen.append(Seen(kind, where=(letter.offset, letter.length), reason=letter.reason, end_offset=end))
            continue
        if kind in (OTHER_SYMBOL, BREAK):
            assert not message["bid_count"] or kind == OTHER_SYMBOL
            seen.append(Seen(kind, end_offset=end))
            continue

        def levels(name: str, message: np.void = message) -> tuple[tuple[int, int], ...]:
            place = slice(int(message[f"{name}_start"]), int(message[f"{name}_start"] + message[f"{name}_count"]))
            return tuple(zip(batch.prices[place].tolist(), batch.sizes[place].tolist(), strict=True))

        times = int(message["ts_event"]), int(message["ts_recv"])
        asks = levels("ask") if message["ask_count"] else ()
        numbers = int(message["last_id"]), int(message["flags"])
        bids, channel = levels("bid") if message["bid_count"] else (), int(message["channel"])
        seen.append(Seen(kind, times, *numbers, bids, asks, end_offset=end, channel=channel))
    return seen


def naive_fixed(text: str, decimals: int) -> int:
    """A numeral as fixed-point; ValueError and OverflowError when it is none, or does not fit."""
    mantissa, has_exponent, exponent = text.partition("e")
    if has_exponent and exponent.lstrip("-").isdigit() and mantissa.replace(".", "").isdigit():
        text = format(Decimal(text), "f")
    if not text or not all(part.isascii() and part.isdigit() for part in text.split(".")) or text.count(".") > 1:
        raise ValueError
    value = Decimal(text).scaleb(decimals)
    if value != int(value) or value >= 10**18:
        raise OverflowError
    return int(value)


def naive_time(text: str) -> int:
    """A time in ns."""
    if text.isascii() and text.isdigit():
        value = int(text)
    elif text[:1].isdigit() and text[-1:].isdigit() and Decimal(text) == int(Decimal(text)) <= 2**53:
        value = int(Decimal(text))
    else:
        raise ValueError
    for limit, factor in ((11, 9), (14, 6), (17, 3)):
        if value < 10**limit:
            value *= 10**factor
            break
    if value >= 2**63:
        raise OverflowError
    return value


def naive_number(name: str) -> int:
    """The number of an exchange: the sum of its words, each times a factor."""
    text = name.encode()
    words = [int.from_bytes(text[place : place + 8], "little") for place in range(0, len(text), 8)]
    factors: list[int] = NAME_FACTORS.tolist()
    return max(1, sum(word * factor for word, factor in zip(words, factors, strict=False)) % 2**64 // 2)


@dataclass(frozen=True, slots=True)
class Line:
    """A row. What it says is "good", "blank", "other" or a reason."""

    says: str
    start: int
    end: int
    bare_end: int  # without its terminator
    key: tuple[int, str] | None = None  # exchange, is_snapshot or the id
    times: tuple[int, int] = (0, 0)
    is_ask: bool = False
    level: tuple[int, int] = (0, 0)
    has_no_side: bool = False

    @property
    def is_bad(self) -> bool:
        """Whether it rejects its message."""
        return self.says not in ("good", "blank", "other")


def naive_line(line: bytes, place: tuple[int, int, int], *, trades: bool) -> Line:
    """One row of a file, at `place`."""
    if len(line) > SETTINGS.max_line_bytes:
        return Line("overlong", *place)
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return Line("not_utf8", *place)
    if not text.strip(" \t"):
        return Line("blank", *place)
    fields = text.split(",")
    if len(fields) != 8:
        return Line("malformed", *place)
    exchange, symbol, event, received, fifth, side, price, size = fields
    if symbol != "AB":
        return Line("other", *place)
    key, times = None, (0, 0)
    try:
        times = naive_time(event), naive_time(received)
        if trades:
            fifth = fifth if fifth.isascii() and fifth.isdigit() and len(fifth) <= 18 else str(NONE)
        elif fifth not in ("true", "false", "True", "False"):
            raise ValueError
        key = naive_number(exchange), fifth.lower()
        if side not in (("buy", "sell", "unknown") if trades else ("bid", "ask")):
            raise ValueError
        unsigned = naive_fixed(price.removeprefix("-"), 2)
        level = -unsigned if price.startswith("-") else unsigned, naive_fixed(size, 3)
    except ValueError:
        return Line("malformed", *place, key, times)
    except OverflowError:
        return Line("out_of_range", *place, key, times)
    return Line("good", *place, key, times, side in ("ask", "sell"), level, side == "unknown")


def goes_on(run: list[Line], line: Line) -> bool:
    """Whether a row belongs to the message of these rows."""
    if line.says == "other" or line.key is None:
        return line.says != "other"
    if line.key != run[0].key or line.times[1] == run[0].times[1]:
        return line.key == run[0].key
    sides = "".join("ba"[row.is_ask] for row in [*run, line] if row.says == "good")
    return line.key[1] == "true" and "bab" not in squeezed(sides) and "aba" not in squeezed(sides)


def squeezed(text: str) -> str:
    """Equal letters that follow each other, as one."""
    return "".join(letter for before, letter in zip(" " + text, text, strict=False) if letter != before)


def naive(content: bytes, *, trades: bool) -> list[Seen]:
    """Messages of a file, read line by line."""
    rows = []
    offset = content.find(b"\n") + 1
    if not offset:
        return []  # a first line is no row, whether it ends or not
    for line in content[offset:].splitlines(keepends=True) if b"\r" not in content else content[offset:].split(b"\n"):
        whole = line if line.endswith(b"\n") else line + b"\n" * (offset + len(line) < len(content))
        if whole:
            bare = whole.removesuffix(b"\n").removesuffix(b"\r")
            rows.append(naive_line(bare, (offset, offset + len(whole), offset + len(bare)), trades=trades))
        offset += len(whole)
    seen: list[Seen] = []
    opens = not trades
    while rows:
        last = 1
        if rows[0].key and not trades:
            while last < len(rows) and goes_on(rows[:last], rows[last]):
                last += 1
        run, rows = rows[:last], rows[last:]
        first, end, bare_end = run[0], run[-1].end, run[-1].bare_end
        reasons = [row.says for row in run if row.is_bad]
        if bare_end - first.start > SETTINGS.max_line_bytes:
            reasons = ["overlong"]
        if first.says == "blank":
            continue
        if first.says == "other":
            seen.append(Seen(OTHER_SYMBOL, end_offset=end))
            continue
        if reasons:
            where = first.start, bare_end - first.start
            seen.append(Seen(DEAD_LETTER, where=where, reason=reasons[0], end_offset=end))
            continue
        assert first.key is not None
        channel, fifth = first.key
        levels = [row for row in run if row.says == "good"]
        times = max(row.times[0] for row in levels), max(row.times[1] for row in levels)
        if trades:
            flags = HAS_NO_SIDE if first.has_no_side else SELL_AGGRESSOR if first.is_ask else 0
            seen.append(Seen(TRADE, times, int(fifth), flags, (first.level,), end_offset=end, channel=channel))
            continue
        bids, asks = (tuple(row.level for row in levels if row.is_ask == is_ask) for is_ask in (False, True))
        kind, flags = (SNAPSHOT, IS_RESET) if fifth == "true" else (DIFF, 0)
        if opens and kind == DIFF:
            seen.append(Seen(BREAK, end_offset=first.start))
        opens = False
        seen.append(Seen(kind, times, NONE, flags, bids, asks, end_offset=end, channel=channel))
    return seen


_times = st.sampled_from(
    [
        *(b"1585699200245000", b"1585699200355684", b"1585699200", b"9999999999999999999", b"x", b"", b"1" * 50),
        *(b"1585699200245000.0", b"1585699200355684.000", b"1.585699200245e15", b"1585699200355684E+0", b"1585699200.245e6"),
        *(b"1585699200245000.5", b"1585699200.", b".5", b"1e-3", b"1e400", b"0.0", b"9007199254740993.0", b"9007199254740992.0"),
        *(b"nan", b"inf", b"-1.0", b"1.585699200245e+18", b"1585699200245000.0000000000000000000000"),
    ]
)
_numerals = st.sampled_from(
    [
        b"1",
        b"6421.5",
        b"0",
        b"0.001",
        b"1.23",
        b"00012.50",
        b"12345678901234567",
        b"1.2345",
        b"1e5",
        b"1.5e-2",
        b"2e-9",
        b"e5",
        b"1e",
        b"-1",
        b"-0.5",
        b"-0",
        b"--1",
        b"-12345678901234567",
        b"-1.5e-2",
        b" 1",
        b"",
    ]
)
_line = st.tuples(
    st.sampled_from([b"x", b"deribit", "é".encode(), b"\xff", b"a much longer name than eight characters"]),
    st.sampled_from([b"AB"] * 8 + [b"ABC", b"B"]),
    _times,
    _times,
    st.sampled_from([b"true", b"false"] * 6 + [b"True", b"False", b"TRUE", b"1", b"77", b"42377944", b"ccc3c1fa-212c"]),
    st.sampled_from([b"bid", b"ask"] * 6 + [b"unknown"] * 3 + [b"buy", b"sell", b"", b"bids are long"]),
    _numerals,
    _numerals,
).map(b",".join)
_good = st.tuples(
    st.sampled_from([b"x,AB"] * 8 + [b"another exchange,AB"]),
    st.sampled_from(
        [
            *(b"1585699200245000,1585699200355684", b"1585699200245001,1585699200355684", b"1585699200245001,1585699200355690"),
            *(b"1585699200245000.0,1585699200355684.0", b"1585699200245002,1585699200355691"),
        ]
    ),
    st.sampled_from([b"true", b"true", b"True", b"false", b"false", b"False"]),
    st.sampled_from([b"bid", b"ask"]),
    st.sampled_from([b"6421.5,18640", b"6422,0", b"6421.49,1.001", b"-37.63,2"]),
).map(b",".join)
_other = st.sampled_from(
    [b"", b"nonsense", b"\r", b"x" * 1100, b",,,,,,,", b" \t", b"x,AB,1585699200245000,1585699200355684,true,bid,1,1,1"]
)
_lines = st.lists(st.one_of(*[_good] * 8, _line, _other), max_size=40)


@example([b"x,AB,1,1,true,bid,1,1", b"junk", b"x,AB,1,1,true,bid,2,1"], b"\n", True, [7])
@example([b"x,AB,1,1,false,bid,1,1"] * 60 + [b"x,AB,2,1,false,bid,1,1"], b"\n", False, [100])
@example([b"x,AB,1,1,false,bid,1,1", b"y" * 3000, b"x,AB,1,1,false,bid,1,1", b"x,AB,2,1,false,bid,1,1"], b"\r\n", False, [100])
@given(_lines, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_book_messages_equal_a_naive_reading(lines: list[bytes], terminator: bytes, ends: bool, block_sizes: list[int]) -> None:
    """Of books: messages are runs of rows, and a bad row rejects the whole of its message."""
    lines = [line for line in lines if terminator == b"\n" or b"\r" not in line]
    content = terminator.join([HEADER, *lines]) + (terminator if ends else b"")
    assert decode(content, "tardis", block_sizes) == naive(content, trades=False)


_few = st.lists(st.one_of(*[_good] * 6, st.just(b"x,ABC,1,1,true,bid,1,1"), _other), max_size=8)


@given(
    st.lists(st.tuples(_few, st.booleans()), min_size=1, max_size=4),
    st.lists(st.integers(1, 400), min_size=1, max_size=5),
    st.frozensets(st.integers(0, 20)),
)
def test_files_and_stops_make_no_difference(
    files: list[tuple[list[bytes], bool]], block_sizes: list[int], stops: frozenset[int]
) -> None:
    """A file that does not begin with a snapshot begins with one BREAK, wherever a decoder stops and another one goes on."""
    contents = [b"\n".join([HEADER, *lines]) + (b"\n" if ends else b"") for lines, ends in files]
    expected = [seen for content in contents for seen in naive(content, trades=False)]
    assert decode_files(contents, "tardis", block_sizes, stops=stops) == expected


@given(_lines, st.permutations(range(10)), st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_order_and_number_of_columns_make_no_difference(lines: list[bytes], order: list[int], block_sizes: list[int]) -> None:
    """Columns in any order, and with unknown ones, are the same rows. Lines without eight fields have no columns to move."""
    lines = [line for line in lines if line.count(b",") == 7 and len(line) < 1000]
    moved = []
    for number, line in enumerate([HEADER, *lines]):
        fields = [*line.split(b","), b"%d" % number if number else b"", b"more" if number == 0 else b"any thing;"]
        moved.append(b",".join(fields[place] for place in order))
    settings = replace(SETTINGS, max_line_bytes=10**6)
    plain = decode(b"\n".join([HEADER, *lines]), "tardis", [10**6], settings)
    found = decode(b"\n".join(moved), "tardis", block_sizes, settings)
    assert [bare(seen) for seen in found] == [bare(seen) for seen in plain]


def bare(seen: Seen) -> Seen:
    """Without places in the file, and without the reason of a bad row, which is that of its first bad column."""
    return replace(seen, where=(0, 0), reason="", end_offset=0)


@given(_lines, st.booleans(), st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_trades_equal_a_naive_reading(lines: list[bytes], ends: bool, block_sizes: list[int]) -> None:
    """Each row of trades is a message."""
    lines = [line.replace(b"bid", b"buy").replace(b"ask", b"sell") for line in lines]
    content = b"\n".join([TRADES_HEADER, *lines]) + (b"\n" if ends else b"")
    assert decode(content, "tardis", block_sizes) == naive(content, trades=True)


@given(st.integers(0, 10**16), st.integers(0, 9))
def test_a_double_made_of_a_decimal_number_gives_it_back(number: int, decimals: int) -> None:
    """A double made of a decimal number gives that number back, or is left to the reference."""
    value = float(Decimal(number).scaleb(-decimals))
    found = fixed_of_float(value, decimals)
    if number < 10**15:
        assert found == number
    else:
        assert found < 0 or Decimal(repr(value)).scaleb(decimals) == found


@given(st.floats(0, 1e12), st.integers(0, 9))
def test_a_double_is_never_another_number(value: float, decimals: int) -> None:
    """The result is never a number to which the double is not nearest."""
    found = fixed_of_float(value, decimals)
    exact = Decimal(repr(value)).scaleb(decimals)
    assert found == exact if found >= 0 else exact != int(exact) or exact >= 10**15


def test_parquet_and_csv_give_the_same_messages(tmp_path: Path) -> None:
    """The same rows in both containers are the same messages, at any size of blocks and of row groups."""
    rng = random.Random(5)
    start = 1_600_000_000_000_000_000
    rows = []
    for place in range(500):
        price, size = rng.randrange(1, 10**6) / 100, rng.randrange(10**6) / 1000
        rows.append((start + place // 5 * 1_000_000, place // 5, rng.random() < 0.5, price, size))
    columns = list(zip(*rows, strict=True))
    table = pa.table(
        {
            "origin_time": pa.array(columns[0], pa.timestamp("ns")),
            "received_time": pa.array(
                [None if place % 100 > 90 else time for place, time in enumerate(columns[0])], pa.timestamp("ns")
            ),
            "exchange": ["X"] * 500,
            "symbol": ["AB" if place % 50 > 4 else "A rather long name of some other symbol, too" for place in range(500)],
            "sequence_number": columns[1],
            "side_is_bid": columns[2],
            "price": columns[3],
            "size": columns[4],
        }
    )
    text = io.StringIO()
    text.write("origin_time,received_time,exchange,symbol,sequence_number,side_is_bid,price,size\n")
    for place, (time, number, is_bid, price, size) in enumerate(rows):
        symbol = "AB" if place % 50 > 4 else '"A rather long name of some other symbol, too"'
        received = "" if place % 100 > 90 else str(time)
        text.write(f"{time},{received},X,{symbol},{number},{is_bid},{price!r},{size!r}\n")
    expected = decode(text.getvalue().encode().replace(b",,X", b",1,X"), "cryptolake", [10**6])
    for group_rows, block in ((500, 10**6), (7, 64), (100, 1)):
        path = tmp_path / "t.parquet"
        pq.write_table(table, path, row_group_size=group_rows)
        with open_decoded(path) as file:
            content = b""
            while piece := file.read(rng.randrange(1, 5000)):
                content += piece
            found = decode(content, "cryptolake", [block])
            assert [strip(seen) for seen in found] == [strip(seen) for seen in expected]
            assert {seen.kind for seen in found} == {0, OTHER_SYMBOL}
        with open_decoded(path) as file:
            head = file.read(1024) or b""
            for offset in (1024, 1025, 5000, len(content)):
                assert file.go_to(offset, head) == content[offset - 1024 : offset]
                assert (file.read(100) or b"") == content[offset : offset + 100]
            assert file.go_to(len(content) + 1, head) == b""
            assert file.go_to(1024, head) == head


def strip(seen: Seen) -> tuple[object, ...]:
    """Without what differs between the containers: offsets, and the receive time that text cannot leave out."""
    return seen.kind, seen.times[0], seen.last_id, seen.flags, seen.bids, seen.asks


def test_a_float_of_32_bits_is_its_shortest_number(tmp_path: Path) -> None:
    """A float of 32 bits is also read as the number with the fewest digits to which it is nearest."""
    times = pa.array([10**18 + place for place in range(100)], pa.timestamp("ns"))
    prices = [place / 10 + 1000.1 for place in range(100)]
    columns = {"origin_time": times, "received_time": times, "sequence_number": range(100), "side_is_bid": [True] * 100}
    table = pa.table(columns | {"price": pa.array(prices, pa.float32()), "size": pa.array([0.25] * 100, pa.float16())})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path)
    with open_decoded(path) as file:
        content = file.read(10**6) or b""
    seen = decode(content, "cryptolake", [1000])
    assert [message.bids for message in seen] == [((round(price * 100), 250),) for price in prices]


@pytest.mark.parametrize(
    ("price", "size", "reason"),
    [
        (float("nan"), 1.0, "malformed"),
        (1.0, -1.0, "malformed"),
        (float("-inf"), 1.0, "malformed"),
        (-1.23456, 1.0, "out_of_range"),
        (-0.29, 1.0, ""),
        (None, 1.0, "malformed"),
        (1.23456, 1.0, "out_of_range"),
        (1.0, 1e16, "out_of_range"),
        (1e-9, 1.0, "out_of_range"),
        (0.3, 123456789012.125, ""),
    ],
)
def test_a_rejected_packed_row_is_named_by_its_number(tmp_path: Path, price: float | None, size: float, reason: str) -> None:
    """Dead letters name the row by its number, and show it."""
    times = pa.array([10**18, 10**18 + 1, 10**18 + 2], pa.timestamp("ns"))
    table = pa.table(
        {"origin_time": times, "received_time": times, "sequence_number": [1, 2, 3], "side_is_bid": [True] * 3}
        | {"price": pa.array([1.0, price, 2.0], pa.float64()), "size": [1.0, size, 2.0]}
    )
    path = tmp_path / "t.parquet"
    pq.write_table(table, path)
    with open_decoded(path) as file:
        content = file.read(10**6) or b""
    seen = decode(content, "cryptolake", [1000])
    assert [message.kind for message in seen] == [0, DEAD_LETTER if reason else 0, 0]
    assert seen[1].reason == reason
    assert seen[1].where == ((1, 1) if reason else (0, 0))
