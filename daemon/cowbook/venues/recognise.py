"""Recognises the formats that records and tables look like, for messages when they do not fit the configured one."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from cowbook.input.settings import DecoderSettings
from cowbook.input.tables import table_scanner
from cowbook.input.tables.table import Table, find_table_of
from cowbook.input.tables.table_reference import csv_row, packed_row
from cowbook.input.text.line_decoder import array_opening
from cowbook.input.text.wrapping import find_members, unwrap
from cowbook.input.venue import Connection, Venue
from cowbook.input.verdict import Decoded, DecodedMessage, Nothing, OtherSymbol, Rejected, Sequenced, Subscription, shown
from cowbook.plain.counting import counted
from cowbook.plain.messages import IS_UNLABELLED, SNAPSHOT
from cowbook.plain.table_header import LONGEST_HEADER, read_header
from cowbook.venues import load_venue, venue_names
from cowbook.venues.unsupported import unsupported_name

_BETWEEN_VALUES = re.compile(r"[ \t\r\n,]*")

SNIFFED_BYTES = 1 << 20
"""How much of a file is looked at."""
_SNIFFED_RECORDS = 50
_SEARCHED_RECORDS = 1_000
"""Among how many of a file's first records so many are looked for that mean something: a third of a second at most."""
_NAMING_RECORDS = 4_000
"""In how many of a file's first records the symbol is looked for: a tenth of a second at most."""


_NARROWER = {"gemini": "binance"}
"""Formats that take only some of the records which another one takes, too: those that have what only they have."""


def formats_of(record: bytes, settings: DecoderSettings) -> list[str]:
    """Names of the formats in which a record means something for a book, of whatever symbol."""
    names = [name for name in venue_names() if _means_something(name, record, settings)]
    wider = {_NARROWER[name] for name in names if name in _NARROWER}
    return [name for name in names if name not in wider]


def formats_of_table(first_line: bytes) -> list[str]:
    """Names of the formats that know a table with this first line."""
    return [name for name in venue_names() if _has_table(name, first_line)]


def _has_table(name: str, first_line: bytes) -> bool:
    found = find_table_of(load_venue(name).tables, first_line[:LONGEST_HEADER] + b"\n")
    return found is not None and not found.table.refusal


def refusal_of(head: bytes) -> str | None:
    """Why a file is refused of which a venue knows that no book can be made; None for others. `head` is its first bytes."""
    for name in venue_names():
        found = find_table_of(load_venue(name).tables, head[:LONGEST_HEADER])
        if found is not None and found.table.refusal:
            return found.table.refusal
    return None


def _means_something(name: str, record: bytes, settings: DecoderSettings) -> bool:
    venue = load_venue(name)
    if venue.tables:
        return _has_table(name, record)
    if venue.decode_on_connection is not None:
        decoded, connection = venue.decode_on_connection(record, settings, {})
        return bool(connection) or not isinstance(decoded, Rejected | Nothing)
    assert venue.decode_record is not None
    decoded = venue.decode_record(record, settings)
    if isinstance(decoded, Sequenced):
        decoded = decoded.decoded
    return isinstance(decoded, DecodedMessage | OtherSymbol | Subscription)


def looks_like_formats(head: bytes, settings: DecoderSettings) -> list[str]:
    """Names of the formats in which a file's first records mean something. `head` is as in `misfit_of`."""
    return sorted({name for record in _first_records(head) for name in formats_of(record, settings)})


def what_records_are(records: Iterable[bytes], format_name: str, settings: DecoderSettings) -> str | None:
    """Say what records that mean nothing in a format are instead; None if nobody knows."""
    records = list(records)
    names = sorted({name for record in records for name in formats_of(record, settings) if name != format_name})
    if names:
        fitting = " or ".join(f'"{name}"' for name in names)
        return f"these look like {' or '.join(names)} records: format = {fitting} would fit"
    unsupported = next((name for record in records if (name := unsupported_name(message_in(record))) is not None), None)
    if unsupported is not None:
        return f"these look like {unsupported}, which is not supported"
    return next((text for record in records if (text := what_wrapper(record, settings)) is not None), None)


def message_in(record: bytes) -> bytes:
    """A record without what a recorder put around it."""
    return unwrap(record).record or record


def what_wrapper(record: bytes, settings: DecoderSettings) -> str | None:
    """Say how to name the wrapper around a record that is known once it is taken out; None if none is."""
    time, messages = find_members(record)
    for path, message in messages.items():
        formats = formats_of(b"1 " + message, settings)
        if formats:
            looks_like = " or ".join(f'"{name}"' for name in formats)
            named = f'envelope = {{ time = "{time}", message = "{path}" }}' if time is not None else "it has no time"
            return f"these look like records of format = {looks_like} in a wrapper: {named}"
    return None


def formats_of_file(head: bytes, settings: DecoderSettings) -> list[str]:
    """Names of the fewest formats in which a file's first records mean something, that of most records first.

    `head` is as in `misfit_of`. A capture may begin with hundreds of subscriptions, so more records are looked at until enough
    mean something. A record that several formats know is taken as one of the format that knows most of them.
    """
    known = (set(formats_of(record, settings)) for record in _first_records(head, _SEARCHED_RECORDS))
    unexplained = list(islice(filter(None, known), _SNIFFED_RECORDS))
    found = []
    while unexplained:
        counts = Counter(name for names in unexplained for name in names)
        best = min(counts, key=lambda name: (-counts[name], name))
        found.append(best)
        unexplained = [names for names in unexplained if best not in names]
    return found


def _first_records(head: bytes, most: int = _SNIFFED_RECORDS) -> list[bytes]:
    """The first values of an array, or the first lines, without a last one that may be cut."""
    opening = array_opening(head)
    if opening:
        return _first_values(head[len(opening) - 1 :], most)
    lines = head[:SNIFFED_BYTES].split(b"\n", most)
    return lines[: -1 if len(head) >= SNIFFED_BYTES else None][:most]


def _first_values(text: bytes, most: int) -> list[bytes]:
    """The first values of a JSON array behind its bracket, as they stand there."""
    content = text[:SNIFFED_BYTES].decode(errors="replace")
    decoder = json.JSONDecoder()
    values: list[bytes] = []
    place = 0
    while len(values) < most and place < len(content):
        try:
            _, end = decoder.raw_decode(content, place)
        except ValueError:  # the end of the array, or of what is there
            break
        values.append(content[place:end].encode())
        between = _BETWEEN_VALUES.match(content, end)
        place = between.end() if between is not None else end
    return values


def misfit_of(head: bytes, format_name: str, settings: DecoderSettings) -> str | None:
    """Say what a file looks like if its first records mean nothing in its configured format.

    `head` has the first `SNIFFED_BYTES` decoded bytes of the file, or all of it. Returns None if the records do mean something,
    or nobody knows what they mean.
    """
    records = _first_records(head)
    if any(_means_something(format_name, record, settings) for record in records):
        return None
    looks_like = what_records_are(records, format_name, settings)
    if (refusal := refusal_of(head)) is not None:
        return refusal
    if looks_like is None and head and load_venue(format_name).tables:
        header = read_header(head.partition(b"\n")[0][:LONGEST_HEADER] + b"\n")
        names = list(header.names) if header is not None else []
        return f'is no table of format = "{format_name}": its columns are {shown(",".join(names))}'
    return f'is no capture of format = "{format_name}": {looks_like}' if looks_like is not None else None


def doubt_of(head: bytes, format_name: str, settings: DecoderSettings) -> str | None:
    """Say that none of a file's first records means anything in its configured format; None if one does, or there are none.

    `head` is as in `misfit_of`. They may be hundreds of lines of something else, before a capture begins.
    """
    records = [record for record in _first_records(head, _SEARCHED_RECORDS) if record.strip()]
    if not records or load_venue(format_name).tables or any(_means_something(format_name, each, settings) for each in records):
        return None
    return f'may be no capture of format = "{format_name}": none of its first {counted(len(records), "record")} is one'


def names_in(head: bytes, format_name: str, settings: DecoderSettings) -> tuple[bool, list[str]]:
    """Returns whether one of a file's first records is the symbol's by what it says, and the other symbols before that one.

    `head` is as in `misfit_of`. Records that are used and name nobody are the symbol's, but for unlabelled snapshots.
    """
    venue = load_venue(format_name)
    others: dict[str, None] = {}
    for name in _table_names(head, venue.tables, settings) if venue.tables else _record_names(head, venue, settings):
        if name == settings.name:
            return True, list(others)
        others[name] = None
    return False, list(others)


def _record_names(head: bytes, venue: Venue, settings: DecoderSettings) -> Iterator[str]:
    """The symbols of a text file's first records; of those that say none, but are used, the configured one."""
    connection: Connection = {}
    lines = head.split(b"\n", _NAMING_RECORDS)
    for record in lines[: -1 if len(lines) > _NAMING_RECORDS or len(head) >= SNIFFED_BYTES else None]:
        decoded: Decoded
        if venue.decode_on_connection is not None:
            decoded, connection = venue.decode_on_connection(record.removesuffix(b"\r"), settings, connection)
        else:
            assert venue.decode_record is not None
            decoded = venue.decode_record(record.removesuffix(b"\r"), settings)
        content = decoded.decoded if isinstance(decoded, Sequenced) else decoded
        if isinstance(content, OtherSymbol):
            yield content.symbol
        elif isinstance(content, DecodedMessage) and not (content.kind == SNAPSHOT and content.flags & IS_UNLABELLED):
            yield settings.name


def _table_names(head: bytes, tables: tuple[Table, ...], settings: DecoderSettings) -> Iterator[str]:
    """The symbols of a table's first rows; of those that say none, but are used, the configured one."""
    found = find_table_of(tables, head[:LONGEST_HEADER])
    if found is None or found.table.refusal:
        return
    table, header, plan = found
    rows = head[len(header.line) :]
    width = header.row_bytes
    if width:
        contents = [rows[place : place + width] for place in range(0, min(len(rows) // width, _NAMING_RECORDS) * width, width)]
    else:
        lines = rows.split(b"\n", _NAMING_RECORDS)
        contents = [line.removesuffix(b"\r") for line in lines[: -1 if len(lines) > _NAMING_RECORDS else None]]
    for content in contents:
        row = (packed_row if width else csv_row)(content, header, plan, table, settings)
        if row.kind == table_scanner.OTHER:
            yield row.symbol
        elif row.kind == table_scanner.GOOD:
            yield settings.name
