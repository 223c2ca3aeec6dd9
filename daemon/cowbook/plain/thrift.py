"""Structs in Thrift's compact protocol, of which headers and footers of Parquet files are made (thrift-compact-protocol.md).

A struct is read without knowing what its fields mean, and written again as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12
"""Types of values. Those of booleans are values, too."""

_DEEPEST = 32
_LAST_FIELD = 32_767
_LONGEST_VARINT = 64  # bits


class ThriftError(ValueError):
    """The bytes are no struct. Says why."""


@dataclass(slots=True)
class Value:
    """A value: an integer, bytes, the values of a list or set with the type of its items, or the fields of a struct by number."""

    kind: int
    content: Any
    items: int = 0


Fields = dict[int, Value]


class StructReader:
    """Reads structs. Raises IndexError where the content ends, ThriftError for what is no struct."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._depth = 0
        self.place = 0

    def fields(self) -> Fields:
        """Returns the fields of the struct at the place."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ThriftError("is nested too deeply")
        fields: Fields = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            if not 0 < number <= _LAST_FIELD:
                raise ThriftError(f"has a field of the number {number}")
            fields[number] = self._value(head & 15)
        self._depth -= 1
        return fields

    def _byte(self) -> int:
        self.place += 1
        return self._content[self.place - 1]

    def _varint(self) -> int:
        value = shift = 0
        while shift < _LONGEST_VARINT:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ThriftError("has a number that is too long")

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _bytes(self, count: int) -> bytes:
        self.place += count
        if self.place > len(self._content):
            raise IndexError
        return self._content[self.place - count : self.place]

    def _value(self, kind: int) -> Value:
        match kind:
            case 1 | 2:
                return Value(kind, None)
            case 3:
                return Value(kind, self._byte())
            case 4 | 5 | 6:
                return Value(kind, self._integer())
            case 7:
                return Value(kind, self._bytes(8))
            case 8:
                return Value(kind, self._bytes(self._varint()))
            case 9 | 10:
                return self._list(kind)
            case 12:
                return Value(kind, self.fields())
        raise ThriftError(f"has a value of an unknown type, {kind}")

    def _list(self, kind: int) -> Value:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ThriftError("is nested too deeply")
        head = self._byte()
        count, items = head >> 4, head & 15
        if count == 15:
            count = self._varint()
        if items in (TRUE, FALSE):
            content = [Value(BYTE, byte) for byte in self._bytes(count)]
        else:
            content = [self._value(items) for _ in range(count)]
        self._depth -= 1
        return Value(kind, content, items)


def write_struct(fields: Fields) -> bytes:
    """Returns the struct with these fields."""
    written = bytearray()
    _write_struct(fields, written)
    return bytes(written)


def _write_varint(value: int, into: bytearray) -> None:
    while value > 127:
        into.append(value & 127 | 128)
        value >>= 7
    into.append(value)


def _write_struct(fields: Fields, into: bytearray) -> None:
    last = 0
    for number in sorted(fields):
        value = fields[number]
        step = number - last
        last = number
        if step < 16:
            into.append(step << 4 | value.kind)
        else:
            into.append(value.kind)
            _write_varint(number << 1, into)
        _write_value(value, into)
    into.append(0)


def _write_value(value: Value, into: bytearray) -> None:
    match value.kind:
        case 1 | 2:
            pass
        case 3:
            into.append(value.content)
        case 7:
            into += value.content
        case 8:
            _write_varint(len(value.content), into)
            into += value.content
        case 9 | 10:
            count = len(value.content)
            into.append(min(count, 15) << 4 | value.items)
            if count >= 15:
                _write_varint(count, into)
            for item in value.content:
                _write_value(item, into)
        case 12:
            _write_struct(value.content, into)
        case _:
            _write_varint(value.content << 1 ^ value.content >> 63, into)
