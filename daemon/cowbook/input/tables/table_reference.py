"""The reference decoder for rows of tables. It decodes the rows that the scanners do not recognise, and alone rejects them."""

from __future__ import annotations

import csv
import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import numpy as np
import numpy.typing as npt

from cowbook.input.numerals import MisfitError, explain_misfit, find_non_numeral, fixed_points, nanoseconds
from cowbook.input.settings import DecoderSettings
from cowbook.input.tables import table_scanner as scanner
from cowbook.input.tables.table import MEANINGS, Table, level_count
from cowbook.input.text.json_fields import RefusedError, refuse
from cowbook.input.verdict import Rejected, shown
from cowbook.plain.messages import NONE
from cowbook.plain.table_header import PACKED_FLOAT, PACKED_NOTHING, PACKED_TEXT, PACKED_TEXT_BYTES, Header
from cowbook.plain.vocabulary import Reason

Field = str | int | float | None
_MAX_ID = 10**18 - 1
"""Of a row: the scanner reads 18 digits."""

_NAMES = {number: name for name, number in MEANINGS.items()}
_FLOAT = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][-+]?[0-9]{1,3})?")
_KEY = ("ts_event", "ts_recv", "first_id", "last_id", "prev_id", "is_snapshot", "exchange")
"""The fields of a row that decide which message it belongs to."""

_BOOLS = {"true": True, "false": False, "True": True, "False": False, "1": True, "0": False, 1: True, 0: False}


@dataclass(slots=True)
class Row:
    """A decoded row. All fields but the last three are those of the scanners' rows."""

    kind: int = scanner.GOOD
    flags: int = 0
    ts_event: int = NONE
    ts_recv: int = NONE
    price: int = 0
    size: int = 0
    first_id: int = NONE
    last_id: int = NONE
    prev_id: int = NONE
    channel: int = 0
    symbol: str = ""
    rejected: Rejected | None = None
    levels: list[tuple[int, int, int]] = field(default_factory=list)
    """Of a picture: the flag of the side, price and size of each level, bids first."""


def csv_row(line: bytes, header: Header, plan: npt.NDArray[np.int64], table: Table, settings: DecoderSettings) -> Row:
    """Decode a CSV line without its terminator."""
    if len(line) > settings.max_line_bytes:
        return _rejected_row("overlong", f"{len(line)} bytes: max_line_bytes = {len(line)} would fit")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return _rejected_row("not_utf8", f"byte {error.start} is not UTF-8: {error.reason}")
    if not text.strip(" \t"):
        return Row(scanner.BLANK)
    try:
        fields = next(csv.reader([text], strict=True)) if '"' in text else text.split(",")
    except csv.Error as error:
        return _rejected_row("malformed", f"not CSV: {error}")
    if len(fields) != len(header.names):
        return _rejected_row("malformed", f"{len(fields)} columns, where the first line names {len(header.names)}")
    return _decode_fields(fields, header, plan, table, settings)


def packed_row(row: bytes, header: Header, plan: npt.NDArray[np.int64], table: Table, settings: DecoderSettings) -> Row:
    """Decode a packed row of a Parquet file."""
    return _decode_fields(packed_fields(row, header), header, plan, table, settings)


def _rejected_row(reason: Reason, detail: str) -> Row:
    return Row(scanner.BAD, rejected=Rejected(reason, detail))


def packed_fields(row: bytes, header: Header) -> list[Field]:
    """The values of a packed row; None for null, for a text that was cut, and for a column that is not read."""
    assert header.kinds is not None
    assert header.places is not None
    fields: list[Field] = []
    for kind, place in zip(header.kinds, header.places[:-1], strict=True):
        if kind == PACKED_TEXT:
            text = row[place : place + PACKED_TEXT_BYTES]
            fields.append(None if text[-1] == 0xFF else text.rstrip(b"\0").decode())
        elif kind == PACKED_NOTHING:
            fields.append(None)
        elif kind == PACKED_FLOAT:
            fields.append(struct.unpack_from("<d", row, place)[0])
        else:
            value = struct.unpack_from("<q", row, place)[0]
            fields.append(None if value == NONE else value)
    return fields


def shown_packed(row: bytes, header: Header) -> bytes:
    """A packed row as a dead letter shows it: a JSON object of the columns that are read."""
    assert header.kinds is not None
    fields = [None if field != field else field for field in packed_fields(row, header)]  # noqa: PLR0124 - JSON has no NaN
    named = zip(header.names, fields, header.kinds, strict=True)
    return json.dumps({name: field for name, field, kind in named if kind != PACKED_NOTHING}, default=str).encode()


def _decode_fields(
    fields: list[str] | list[Field], header: Header, plan: npt.NDArray[np.int64], table: Table, settings: DecoderSettings
) -> Row:
    found: dict[str, tuple[str, Field]] = {
        _NAMES[meaning]: (name, field)
        for name, field, meaning in zip(header.names, fields, plan.tolist(), strict=True)
        if scanner.SKIPPED < meaning < scanner.LEVELS
    }
    row = Row()
    if "symbol" in found:
        row.symbol = str(found["symbol"][1])
        if found.pop("symbol")[1] != settings.name:
            row.kind = scanner.OTHER
            return row
    kind = scanner.BAD
    try:
        for meaning in sorted(found, key=lambda meaning: meaning not in _KEY):
            if meaning not in _KEY and kind == scanner.BAD:
                _complete_key(row)
                kind = scanner.BAD_OF_MESSAGE
            _put_field(row, meaning, *found[meaning], table, settings)
        if kind == scanner.BAD:
            _complete_key(row)
            kind = scanner.BAD_OF_MESSAGE
        if table.levels is not None:
            row.flags |= scanner.OF_SNAPSHOT
            row.levels = _levels(header.names, fields, plan, settings)
    except RefusedError as refusal:
        row.kind, row.rejected = kind, Rejected(*refusal.args)
    return row


def _levels(
    names: Sequence[str], fields: Sequence[Field], plan: npt.NDArray[np.int64], settings: DecoderSettings
) -> list[tuple[int, int, int]]:
    """The levels of a picture. One whose price and size are both empty is not there."""
    found = {meaning: (name, field) for name, field, meaning in zip(names, fields, plan.tolist(), strict=True)}
    levels = []
    for part, flag in ((0, 0), (2, scanner.IS_ASK)):
        for place in range(level_count(plan)):
            price, size = (found[scanner.LEVELS + 4 * place + part + which] for which in (0, 1))
            if _is_absent(price[1]) and _is_absent(size[1]):
                continue
            prices = _to_fixed(price[1], "price", settings.price_decimals)
            levels.append((flag, prices, _to_fixed(size[1], "size", settings.size_decimals)))
    return levels


def _is_absent(field: Field) -> bool:
    return field is None or field == "" or (isinstance(field, float) and field != field)  # noqa: PLR0124 - NaN


def _complete_key(row: Row) -> None:
    if row.ts_event == NONE:
        row.ts_event = row.ts_recv
    if row.ts_event == NONE:
        refuse("malformed", "no time")


def _put_field(row: Row, meaning: str, name: str, field: Field, table: Table, settings: DecoderSettings) -> None:
    """Convert one field and store it in the row. Raises RefusedError."""
    if meaning == "price":
        row.price = _to_fixed(field, "price", settings.price_decimals)
    elif meaning == "size":
        row.size = _to_fixed(field, "size", settings.size_decimals)
    elif meaning in ("ts_event", "ts_recv"):
        setattr(row, meaning, _to_time(name, field))
    elif meaning in ("first_id", "last_id", "prev_id"):
        setattr(row, meaning, _to_id(name, field, may_miss=meaning == "prev_id" or isinstance(field, int) or field is None))
    elif meaning == "exchange":
        row.channel = _to_channel(name, field)
    elif meaning == "trade_id":
        text = str(field)
        row.last_id = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_ID)) else NONE
    else:
        if meaning == "side" and table.no_side and field == table.no_side:
            row.flags |= scanner.WITHOUT_SIDE
            return
        names, too = (table.snapshot, table.snapshot_too) if meaning == "is_snapshot" else (table.sides, table.sides_too)
        if too is not None and field in too:
            names = too
        value = (
            _one_of_two(name, field, names)
            if meaning == "side" or (isinstance(field, str) and meaning != "is_bid")
            else _to_bool(name, field)
        )
        if meaning == "is_bid":
            value = not value
        row.flags |= (scanner.OF_SNAPSHOT if meaning == "is_snapshot" else scanner.IS_ASK) if value else 0


def _one_of_two(name: str, field: Field, names: tuple[str, str]) -> bool:
    if field not in names:
        refuse("malformed", f"{name} is {shown(field)}, not {' or '.join(names)}")
    return field == names[1]


def _to_bool(name: str, field: Field) -> bool:
    if isinstance(field, float) or field not in _BOOLS:
        refuse("malformed", f"{name} is {shown(field)}, not true or false")
    return _BOOLS[field]


def _to_time(name: str, field: Field) -> int:
    if field is None:
        return NONE
    if isinstance(field, float) and field != field:  # noqa: PLR0124 - a null among doubles
        return NONE
    if isinstance(field, str) and field.isascii() and field.isdigit():
        whole: Field = int(field[:40])
    else:
        whole = _whole_of_float(field)
    if not isinstance(whole, int) or whole < 0:
        refuse("malformed", f"{name} is {shown(field)}, not a time in s, ms, µs or ns")
    time = nanoseconds(whole)
    if time is None:
        refuse("out_of_range", f"the time {name} is not below 2^63 ns: {whole}")
    return time


def _whole_of_float(field: Field) -> int | None:
    """A whole number, as a float of which the digits after the point are 0, too. None for a float that may stand for several."""
    if isinstance(field, int):
        return field
    if isinstance(field, str) and not _FLOAT.fullmatch(field):
        return None
    value = Decimal(field) if field is not None else Decimal("NaN")
    is_exact = value.is_finite() and value <= scanner.MAX_EXACT and value == value.to_integral_value()
    return int(value) if is_exact else None


def _to_channel(name: str, field: Field) -> int:
    """The number of an exchange (table_scanner, `_number_of_name`)."""
    if field is None:
        refuse("malformed", f"{name} is null, or longer than the name of an exchange")
    text = str(field).encode()
    total = 0
    factors = scanner.NAME_FACTORS
    for place, start in enumerate(range(0, len(text), 8)):
        total += int.from_bytes(text[start : start + 8], "little") * int(factors[place % len(factors)])
    return max(total % 2**64 >> 1, 1)


def _to_id(name: str, field: Field, *, may_miss: bool) -> int:
    if may_miss and (field is None or field == "-1" or (isinstance(field, int) and not 0 <= field <= _MAX_ID)):
        return NONE
    if isinstance(field, str) and field.isascii() and field.isdigit():
        field = int(field[:40])
    if not isinstance(field, int):
        refuse("malformed", f"{name} is {shown(field)}, not an integer without sign")
    if field > _MAX_ID:
        refuse("out_of_range", f"{name} is not below 10^18: {field}")
    return field


def _to_fixed(field: Field, what: Literal["price", "size"], decimals: int) -> int:
    if isinstance(field, float | int):
        if not math.isfinite(field):
            refuse("malformed", f"the {what} is {field}, not a number")
        field = format(Decimal(repr(field or 0)), "f").removesuffix(".0")
    if find_non_numeral([field], what) >= 0:
        refuse("malformed", f"{shown(field)} in place of a {what}")
    assert isinstance(field, str)
    try:
        return fixed_points([field], decimals)[0]
    except MisfitError as error:
        refuse("out_of_range", explain_misfit(what, error.args[0], decimals))
