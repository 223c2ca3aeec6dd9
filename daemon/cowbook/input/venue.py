"""What a venue's module says of it; how its records become messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cowbook.input.settings import DecoderSettings
from cowbook.input.tables.table import Table
from cowbook.input.text.envelope import Envelope, open_envelope
from cowbook.input.text.json_fields import RefusedError, load_with_numerals, refuse
from cowbook.input.text.scanner import RecordScanner
from cowbook.input.verdict import BLANK, UNUSED, Decoded, DecodedMessage, Rejected, Sequenced
from cowbook.plain.messages import NONE, SNAPSHOT
from cowbook.plain.schemes import NO_CHECKSUM

DecodeRecord = Callable[[bytes, DecoderSettings], Decoded]
"""Says what one record is: a pure function that raises nothing which depends on the record."""

Connection = Mapping[str, str]
"""What a connection has agreed on so far, as text by text; never changed, but replaced."""

DecodeOnConnection = Callable[[bytes, DecoderSettings, Connection], tuple[Decoded, Connection]]
"""As DecodeRecord, for venues whose records mean what earlier ones have said: also what the connection knows after this one."""


@dataclass(frozen=True, slots=True)
class Venue:
    """A format: how a record is decoded, and what its messages prove."""

    decode_record: DecodeRecord | None = None
    """Of lines and the like; None for tables."""
    decode_on_connection: DecodeOnConnection | None = None
    """In place of `decode_record`."""
    tables: tuple[Table, ...] = ()
    """Of CSV and Parquet files, by the names of their columns."""
    make_scanner: Callable[[DecoderSettings], RecordScanner] | None = None
    """Of what decodes the common records at speed, and leaves the others to `decode_record`."""
    has_ids: bool = True
    """Whether every depth message and every trade has an id."""
    checksum: int = NO_CHECKSUM
    """Style of the checksums that depth messages carry (cowbook.plain.schemes)."""
    shows_loss: bool = True
    """Whether every depth message has an id that shows when one is missing. Where not, a record that cannot be decoded may have
    been one that nothing shows, and ends sync, unless the depth message before it had an id or its connection counts records."""


def refusing(decode: DecodeRecord) -> DecodeRecord:
    """What is the same for all records: blank ones, overlong ones, text that is none; a RefusedError becomes a Rejected."""

    def decode_record(record: bytes, settings: DecoderSettings) -> Decoded:
        return _look_at(record, settings) or _catch(lambda: decode(record, settings))

    return decode_record


def json_records(decode: Callable[[object, DecoderSettings], Decoded]) -> DecodeRecord:
    """For venues that send JSON: `decode` gets a message's value, with numbers that are no integers as `Numeral`."""

    def decode_record(record: bytes, settings: DecoderSettings) -> Decoded:
        envelope = open_envelope(record)
        if envelope is None:
            return UNUSED
        return _received(decode(load_with_numerals(envelope.message), settings), envelope)

    return refusing(decode_record)


def json_on_connection(
    decode: Callable[[object, DecoderSettings, Connection], tuple[Decoded, Connection]],
) -> DecodeOnConnection:
    """As `json_records`, for venues whose channels have numbers."""

    def decode_record(record: bytes, settings: DecoderSettings, connection: Connection) -> tuple[Decoded, Connection]:
        after = connection

        def decode_it() -> Decoded:
            nonlocal after
            envelope = open_envelope(record)
            if envelope is None:
                return UNUSED
            decoded, after = decode(load_with_numerals(envelope.message), settings, connection)
            return _received(decoded, envelope)

        return _look_at(record, settings) or _catch(decode_it), after

    return decode_record


def _look_at(record: bytes, settings: DecoderSettings) -> Decoded | None:
    """What can be said without decoding a record; None for one that is to be decoded."""
    if len(record) > settings.max_line_bytes:
        return Rejected("overlong", f"{len(record)} bytes: max_line_bytes = {len(record)} would fit")
    if not record.strip(b" \t"):
        return BLANK
    if not record.isascii():
        try:
            record.decode()
        except UnicodeDecodeError as error:
            return Rejected("not_utf8", f"byte {error.start} is not UTF-8: {error.reason}")
    return None


def _catch(decode: Callable[[], Decoded]) -> Decoded:
    try:
        return decode()
    except RefusedError as refusal:
        return Rejected(*refusal.args)


def _received(decoded: Decoded, envelope: Envelope) -> Decoded:
    """With the receive time, which is the event's time, too, where a venue says none of it."""
    message = decoded.decoded if isinstance(decoded, Sequenced) else decoded
    if isinstance(message, DecodedMessage):
        message.ts_recv = envelope.ts_recv()
        if message.ts_event == NONE and message.kind != SNAPSHOT:
            message.ts_event = message.ts_recv
            if message.ts_event == NONE:
                refuse("malformed", "no time: neither the record nor the capture has one")
    return decoded
