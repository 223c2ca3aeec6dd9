"""Recognises the formats that records and tables look like, for messages when they do not fit the configured one."""

from __future__ import annotations

from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import DecodedMessage, Nothing, OtherSymbol, Rejected, Sequenced, Subscription, shown
from cowbook.plain.table_header import LONGEST_HEADER, read_header
from cowbook.venues import load_venue, venue_names

SNIFFED_BYTES = 1 << 20
"""How much of a file is looked at."""
_SNIFFED_RECORDS = 50


def formats_of(record: bytes, settings: DecoderSettings) -> list[str]:
    """Names of the formats in which a record means something for a book, of whatever symbol."""
    return [name for name in venue_names() if _means_something(name, record, settings)]


def formats_of_table(first_line: bytes) -> list[str]:
    """Names of the formats that know a table with this first line."""
    return [name for name in venue_names() if _has_table(name, first_line)]


def _has_table(name: str, first_line: bytes) -> bool:
    header = read_header(first_line[:LONGEST_HEADER] + b"\n")
    return header is not None and any(table.plan(header.names) is not None for table in load_venue(name).tables)


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
        return True
    return isinstance(decoded, DecodedMessage | OtherSymbol | Subscription)


def looks_like_formats(head: bytes, settings: DecoderSettings) -> list[str]:
    """Names of the formats in which a file's first records mean something. `head` is as in `misfit_of`."""
    return sorted({name for record in _first_records(head) for name in formats_of(record, settings)})


def _first_records(head: bytes) -> list[bytes]:
    """The first lines, without a last one that may be cut."""
    lines = head[:SNIFFED_BYTES].split(b"\n")
    return lines[: -1 if len(head) >= SNIFFED_BYTES else None][:_SNIFFED_RECORDS]


def misfit_of(head: bytes, format_name: str, settings: DecoderSettings) -> str | None:
    """Say what a file looks like if its first records mean nothing in its configured format.

    `head` has the first `SNIFFED_BYTES` decoded bytes of the file, or all of it. Returns None if the records do mean something,
    or mean nothing in any format.
    """
    if any(_means_something(format_name, record, settings) for record in _first_records(head)):
        return None
    names = looks_like_formats(head, settings)
    if not names and head and load_venue(format_name).tables:
        header = read_header(head.partition(b"\n")[0][:LONGEST_HEADER] + b"\n")
        names = list(header.names) if header is not None else []
        return f'is no table of format = "{format_name}": its columns are {shown(",".join(names))}'
    if not names:
        return None
    return f'is no capture of format = "{format_name}": it looks like {" or ".join(names)}'
