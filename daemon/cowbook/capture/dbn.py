"""Turns Databento's DBN into lines: one for each trade, and one for each picture of the book.

```
1700000000000000000 {"schema":"mbp-1","symbol":"ESZ3","publisher":1,"flags":130,"ts_event":1699999999999000000,
 "bids":[["4500.25",12]],"asks":[["4500.5",7]]}
1700000000000000000 {"schema":"trades","symbol":"ESZ3","publisher":1,"flags":0,"side":"A","ts_event":1699999999999000000,
 "price":"4500.25","size":3}
```

In front of a line stands its receive time in ns, unless the record says that it is bad. A record of `mbp-1` or `mbp-10` that is a
trade makes both lines, the trade first. Records of `tbbo` are trades alone: they show the book only where one was. Other records
make a line that says what they are, and so do pictures in the middle of an event, of which nothing is used. The symbol is that of
the file's own mapping on the day of the record, else the instrument's number.

A record has no checksum. Where a header says a length that its kind never has, that is damage, as is a damaged place of a
compressed file: reading goes on with the next record of a kind that was read before, of about the same time, which another one or
the end follows.

The library `databento-dbn` reads what stands in front of the records, and says how these are laid out.
"""

from __future__ import annotations

import importlib.util
import json
from bisect import bisect_right
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

from cowbook.capture.members import Damage, Pieces
from cowbook.capture.piece_reader import PieceReader

_PREFIX_BYTES = 8  # the magic, the version, the length of the metadata
_LONGEST_METADATA = 64 << 20
_RECORD_HEADER_BYTES = 16
_SENT_BYTES = 8
_NEAR_NS = 7 * 86_400 * 10**9
_BATCH_BYTES = 1 << 18
_DAY_NS = 86_400 * 10**9
_UNDEFINED_PRICE, _UNDEFINED_TIME = 2**63 - 1, 2**64 - 1
_MOST_TEXTS = 1 << 16

_TRADE, _MBP_1, _MBP_10, _SYMBOL_MAPPING, _MBO = 0, 1, 10, 22, 160  # rtypes
_SIZES = {
    **{kind: frozenset((80,)) for kind in (_MBP_1, 177, 192, 193, 194, 195, 196, 197)},  # and consolidated ones, and samples
    **{kind: frozenset((56,)) for kind in (_MBO, 17, 32, 33, 34, 35, 36)},  # and bars
    _TRADE: frozenset((48,)),
    _MBP_10: frozenset((368,)),
    18: frozenset((40,)),  # status
    19: frozenset((360, 400, 520)),  # definitions
    20: frozenset((112,)),  # imbalances
    21: frozenset((80, 320)),  # errors
    _SYMBOL_MAPPING: frozenset((80, 176)),
    23: frozenset((80, 320)),  # the gateway's own
    24: frozenset((64, 80)),  # statistics
}
"""By rtype, how many bytes a record has in some version of the format, without the time at which it was sent."""
_SCHEMAS = ("mbp-1", "mbp-10", "trades", "tbbo")
_SIDES = {b"A": "A", b"B": "B", b"N": "N"}
_EXTRA = "install cowbook's extra for it: pip install 'cowbook[databento]'"
_WANTED = "ask Databento for mbp-10, mbp-1 or trades"


def _times(header: bytes) -> tuple[int, ...]:
    """The time of an event in ns, if a record's header has one."""
    time = int.from_bytes(header[8:16], "little")
    return () if time == _UNDEFINED_TIME else (time,)


class _BadFileError(Exception):
    """Says what is wrong with a file, from here on."""


def dbn_lines(pieces: Pieces) -> Pieces:
    """The lines of a DBN file, which is not compressed. Returns what is wrong at its end."""
    if importlib.util.find_spec("databento_dbn") is None:
        return f"is Databento's DBN, and the library that reads it is not installed: {_EXTRA}"
    reader = PieceReader(pieces)
    try:
        metadata, version = yield from _read_metadata(reader)
        if metadata.schema is not None and str(metadata.schema) not in _SCHEMAS:
            return f"is Databento's DBN of the schema {metadata.schema}, which is not read: {_WANTED}"
        yield from _Records(metadata, version).lines(reader)
    except _BadFileError as error:
        return reader.damage or str(error)
    return reader.damage


def _read_metadata(reader: PieceReader) -> Generator[None, None, tuple[Any, int]]:
    """Read what stands in front of the records. Returns it, and the version of the format."""
    import databento_dbn  # noqa: PLC0415 - an extra

    if not (yield from reader.fill(_PREFIX_BYTES)):
        raise _BadFileError("is DBN that ends in front of its metadata")
    prefix = reader.peek(_PREFIX_BYTES)
    length = int.from_bytes(prefix[4:], "little")
    if length > _LONGEST_METADATA:
        raise _BadFileError(f"is DBN that cannot be read: its metadata would be {length:,} bytes long")
    if not (yield from reader.fill(_PREFIX_BYTES + length)):
        raise _BadFileError("is DBN that ends in its metadata")
    try:
        return databento_dbn.Metadata.decode(reader.take(_PREFIX_BYTES + length)), prefix[3]
    except (databento_dbn.DBNError, ValueError) as error:
        raise _BadFileError(f"is DBN that cannot be read: {' '.join(str(error).split())}") from error


class _Symbols:
    """Which symbol an instrument's number means on a day."""

    def __init__(self, metadata: Any) -> None:
        self._starts: dict[int, list[tuple[int, int, str]]] = {}  # first day, day behind the last one, symbol
        self._now: dict[int, str] = {}  # as records in the file say
        by_number = str(metadata.stype_in) == "instrument_id"
        for wanted, intervals in metadata.mappings.items():
            for each in intervals:
                number, symbol = (wanted, each["symbol"]) if by_number else (each["symbol"], wanted)
                if number.isdecimal():
                    days = (_day_of(each["start_date"]), _day_of(each["end_date"]))
                    self._starts.setdefault(int(number), []).append((*days, symbol))
        for spans in self._starts.values():
            spans.sort()
        self._quoted: dict[tuple[int, int], str] = {}

    def quoted(self, number: int, time: int) -> str:
        """The symbol at a time in ns, as JSON."""
        key = number, time // _DAY_NS
        found = self._quoted.get(key)
        if found is None:
            if len(self._quoted) >= _MOST_TEXTS:
                self._quoted.clear()
            found = self._quoted[key] = json.dumps(self._find(*key), ensure_ascii=False)
        return found

    def set(self, number: int, symbol: str) -> None:
        """From here on the number means this symbol."""
        self._now[number] = symbol
        self._quoted.clear()

    def _find(self, number: int, day: int) -> str:
        if number in self._now:
            return self._now[number]
        spans = self._starts.get(number, [])
        place = bisect_right(spans, day, key=lambda span: span[0]) - 1
        return spans[place][2] if place >= 0 and day < spans[place][1] else str(number)


def _day_of(date: Any) -> int:
    return int(np.datetime64(date, "D").astype(np.int64))


class _PriceTexts(dict[int, str]):
    """The decimal numerals of prices, which have nine decimals."""

    def __missing__(self, price: int) -> str:
        if len(self) >= _MOST_TEXTS:
            self.clear()
        whole, fraction = divmod(abs(price), 10**9)
        text = f"{whole}.{fraction:09d}".rstrip("0").rstrip(".")
        self[price] = text = f"-{text}" if price < 0 else text
        return text


class _Records:
    """The records of a file."""

    def __init__(self, metadata: Any, version: int) -> None:
        import databento_dbn  # noqa: PLC0415 - an extra

        self._library = databento_dbn
        self._version = version
        self._schema = None if metadata.schema is None else str(metadata.schema)
        self._symbols = _Symbols(metadata)
        self._texts = _PriceTexts()
        self._layouts = {
            _TRADE: databento_dbn.TradeMsg._dtypes,  # noqa: SLF001 - for numpy; the library's own readers use it so
            _MBP_1: databento_dbn.MBP1Msg._dtypes,  # noqa: SLF001
            _MBP_10: databento_dbn.MBP10Msg._dtypes,  # noqa: SLF001
        }
        self._kinds: set[tuple[int, int]] = set()  # lengths and rtypes of what was read
        self._last_time = 0

    def lines(self, reader: PieceReader) -> Generator[bytes | Damage | None, None, None]:
        """Give the lines of all records, and damaged places between them."""
        while True:
            is_whole = yield from reader.fill(_RECORD_HEADER_BYTES)
            if is_whole:
                head = reader.peek(2)
                length, rtype = 4 * head[0], head[1]
                if not {length, length - _SENT_BYTES} & _SIZES.get(rtype, frozenset()):
                    yield from self._go_on(reader, f"a record of the kind {rtype} with {length} bytes")
                    continue
                is_whole = yield from reader.fill(length)
            if not is_whole:
                if (yield from self._go_on_behind_damage(reader)):
                    continue
                if reader.held_bytes:
                    raise _BadFileError("is DBN that ends in the middle of a record")
                return
            held = reader.peek(min(reader.held_bytes, _BATCH_BYTES) // length * length or length)
            rows = np.frombuffer(held, np.uint8).reshape(-1, length)
            differs = np.flatnonzero((rows[:, 0] != head[0]) | (rows[:, 1] != rtype))
            content = reader.take((int(differs[0]) if len(differs) else len(rows)) * length)
            self._kinds.add((length, rtype))
            for time in _times(content[-length:]):
                self._last_time = time
            yield self._give(content, length, rtype)

    def _go_on(self, reader: PieceReader, what: str) -> Generator[Damage | None, None, None]:
        """Skip to the next record behind damage. Raises _BadFileError, saying what was found, if there is none."""
        start = reader.taken_bytes
        yield from reader.skip(1)
        if (yield from self._find_record(reader)):
            yield Damage(f"is damaged at byte {start} of its content: {what}. {reader.taken_bytes - start} bytes are skipped")
        elif not (yield from self._go_on_behind_damage(reader)):
            raise _BadFileError(f"is DBN with {what} at byte {start} of its content")

    def _go_on_behind_damage(self, reader: PieceReader) -> Generator[Damage | None, None, bool]:
        """Go on behind a damaged place at which the bytes have ended. Returns False if they end there, or no record follows."""
        while (place := reader.go_on()) is not None:
            yield place
            if (yield from self._find_record(reader)):
                return True
        return False

    def _find_record(self, reader: PieceReader) -> Generator[None, None, bool]:
        """Skip to the next record of a kind that was read before, which another one or the end follows; whether there is one."""
        while (yield from reader.fill(_RECORD_HEADER_BYTES)):
            window = reader.peek(reader.held_bytes)
            count = len(window) - _RECORD_HEADER_BYTES + 1
            content = np.frombuffer(window, np.uint8)
            may_begin = np.zeros(count, np.bool_)
            for length, rtype in self._kinds:
                may_begin |= (content[:count] == length // 4) & (content[1 : count + 1] == rtype)
            for place in np.flatnonzero(may_begin).tolist():
                near = self._is_near(window[place : place + _RECORD_HEADER_BYTES])
                if near and (yield from self._is_followed(reader, window, place + 4 * window[place])):
                    yield from reader.skip(place)
                    return True
            yield from reader.skip(count)
        return False

    def _is_followed(self, reader: PieceReader, window: bytes, end: int) -> Generator[None, None, bool]:
        """Whether a record begins so many bytes from here, or the bytes end there. `window` has those that were held before."""
        head = window[end : end + _RECORD_HEADER_BYTES]
        if len(head) < _RECORD_HEADER_BYTES:
            if not (yield from reader.fill(end + _RECORD_HEADER_BYTES)):
                return reader.held_bytes == end
            head = reader.peek(end + _RECORD_HEADER_BYTES)[end:]
        return (4 * head[0], head[1]) in self._kinds and self._is_near(head)

    def _is_near(self, header: bytes) -> bool:
        """Whether what may be a record's header has a time within a week of the last one that was read, or none."""
        return all(abs(time - self._last_time) <= _NEAR_NS for time in _times(header))

    def _give(self, content: bytes, length: int, rtype: int) -> bytes:
        """The lines of records of one kind."""
        if rtype == _MBO:
            raise _BadFileError(f"has records of Databento's schema mbo, which is not read: {_WANTED}")
        if rtype == _SYMBOL_MAPPING:
            self._take_mappings(content)
        layout = self._layouts.get(rtype)
        if layout is None:
            return b'{"rtype":%d}\n' % rtype * (len(content) // length)
        own = np.dtype(layout)
        names = own.names or ()
        fields = [own.fields[name] for name in names] if own.fields is not None else []
        padded = np.dtype(
            {"names": names, "formats": [each[0] for each in fields], "offsets": [each[1] for each in fields], "itemsize": length}
        )
        return "".join(self._texts_of(np.frombuffer(content, padded).tolist(), rtype)).encode()

    def _take_mappings(self, content: bytes) -> None:
        decoder = self._library.DBNDecoder(has_metadata=False, input_version=self._version)
        decoder.write(content)
        for record in decoder.decode():
            self._symbols.set(record.instrument_id, record.stype_out_symbol)

    def _texts_of(self, records: list[tuple[Any, ...]], rtype: int) -> Iterator[str]:
        """The lines of trades or pictures, as the library lays them out."""
        schema = "mbp-10" if rtype == _MBP_10 else "mbp-1"
        shows_book = rtype != _TRADE and self._schema != "tbbo"
        bad_time = self._library.F_BAD_TS_RECV
        told = self._library.F_LAST | self._library.F_MAYBE_BAD_BOOK
        for _, _, publisher, number, ts_event, price, size, action, side, flags, _, ts_recv, _, _, *values in records:
            has_time = ts_recv != _UNDEFINED_TIME
            symbol = self._symbols.quoted(number, ts_recv if has_time else ts_event)
            prefix = f"{ts_recv} " if has_time and not flags & bad_time else ""
            event = f'"ts_event":{ts_event},' if ts_event != _UNDEFINED_TIME else ""
            common = f'"symbol":{symbol},"publisher":{publisher},"flags":{flags},'
            if action == b"T":
                trade = f'"side":"{_SIDES.get(side, "?")}",{event}"price":"{self._texts[price]}","size":{size}'
                yield f'{prefix}{{"schema":"trades",{common}{trade}}}\n'
            if shows_book and flags & told:
                bids, asks = self._levels(values[0::6], values[2::6]), self._levels(values[1::6], values[3::6])
                yield f'{prefix}{{"schema":"{schema}",{common}{event}"bids":[{bids}],"asks":[{asks}]}}\n'
            elif action != b"T":
                yield f'{{"rtype":{rtype}}}\n'

    def _levels(self, prices: list[int], sizes: list[int]) -> str:
        texts = self._texts
        return ",".join(
            [f'["{texts[price]}",{size}]' for price, size in zip(prices, sizes, strict=True) if price != _UNDEFINED_PRICE]
        )
