"""How a venue's module describes the venue, and helpers that turn its records into messages (ADR 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cowbook.input.settings import DecoderSettings
from cowbook.input.tables.table import Table
from cowbook.input.text.envelope import Envelope, open_envelope
from cowbook.input.text.json_fields import RefusedError, load_with_numerals, refuse
from cowbook.input.text.scanner import RecordScanner
from cowbook.input.verdict import BLANK, UNUSED, Decoded, DecodedMessage, Rejected, Sequenced
from cowbook.plain.messages import NONE, SNAPSHOT, TICKER
from cowbook.plain.schemes import NO_CHECKSUM

DecodeRecord = Callable[[bytes, DecoderSettings], Decoded]
"""Decodes one record. A pure function: a bad record is returned as `Rejected`, never raised."""

Connection = Mapping[str, str]
"""State of a connection, such as the meaning of channel numbers. Immutable: a change makes a new mapping."""

DecodeOnConnection = Callable[[bytes, DecoderSettings, Connection], tuple[Decoded, Connection]]
"""As DecodeRecord, for venues whose records depend on earlier ones. Returns the connection's state after the record, too."""


Snapshots = Literal["range", "depth", "all"]


@dataclass(frozen=True, slots=True)
class Venue:
    """A format: how a record is decoded, and what its messages prove."""

    decode_record: DecodeRecord | None = None
    """Decodes one text record; None for tables and where `decode_on_connection` is given."""
    decode_on_connection: DecodeOnConnection | None = None
    """Used instead of `decode_record` where records depend on earlier ones."""
    opened: Callable[[str], Connection] | None = None
    """Returns what is known of a connection from the address at which it was opened, where the capture has that."""
    tables: tuple[Table, ...] = ()
    """The known tables in CSV and Parquet files, by the names of their columns."""
    make_scanner: Callable[[DecoderSettings], RecordScanner] | None = None
    """Makes the fast scanner of the common records, which leaves all others to `decode_record`."""
    has_ids: bool = True
    """Whether every depth message and every trade has an id."""
    checksum: int = NO_CHECKSUM
    """Style of the checksums in depth messages (cowbook.plain.schemes)."""
    snapshots: Snapshots = "range"
    """What a depth snapshot of the venue shows: the levels to its farthest price ("range"), all that the venue keeps, which is
    always the best `depth` ("depth"), or all levels ("all")."""
    channels: Mapping[str, int] = field(default_factory=dict)
    """Names of the books that a symbol may have in one input, as `[[symbol]] channel` names them, and the number that the
    messages of each have as `channel`. It is 0 where a market or a speed tells them apart (Binance)."""
    numbers_connection: bool = False
    """Whether every record of a connection may have a number (cowbook.input.verdict.Sequenced)."""
    shows_loss: bool = True
    """Whether the ids of depth messages show a missing one. If not, a bad record may have been a lost depth message, so it ends
    sync, unless the depth message before it had an id or the connection numbers its records."""


def refusing(decode: DecodeRecord) -> DecodeRecord:
    """Add the checks common to all records: blank, overlong, not UTF-8. A RefusedError becomes a Rejected."""

    def decode_record(record: bytes, settings: DecoderSettings) -> Decoded:
        return _reject_undecodable(record, settings) or _reject_refused(lambda: decode(record, settings))

    return decode_record


def json_records(
    decode: Callable[[object, DecoderSettings], Decoded],
    decode_answer: Callable[[object, str, DecoderSettings], Decoded] | None = None,
) -> DecodeRecord:
    """For venues that send JSON. `decode` gets the message's value; numbers other than integers are `Numeral`.

    `decode_answer` is given instead what answers a request, with the request's address.
    """

    def decode_record(record: bytes, settings: DecoderSettings) -> Decoded:
        envelope = open_envelope(record, settings.envelope)
        if envelope is None:
            return UNUSED
        value = load_with_numerals(envelope.message)
        if envelope.url and decode_answer is not None:
            return _with_receive_time(decode_answer(value, envelope.url, settings), envelope)
        return _with_receive_time(decode(value, settings), envelope)

    return refusing(decode_record)


def json_on_connection(
    decode: Callable[[object, DecoderSettings, Connection], tuple[Decoded, Connection]],
) -> DecodeOnConnection:
    """As `json_records`, for venues whose records depend on earlier ones."""

    def decode_record(record: bytes, settings: DecoderSettings, connection: Connection) -> tuple[Decoded, Connection]:
        after = connection

        def decode_it() -> Decoded:
            nonlocal after
            envelope = open_envelope(record, settings.envelope)
            if envelope is None:
                return UNUSED
            decoded, after = decode(load_with_numerals(envelope.message), settings, connection)
            return _with_receive_time(decoded, envelope)

        return _reject_undecodable(record, settings) or _reject_refused(decode_it), after

    return decode_record


def _reject_undecodable(record: bytes, settings: DecoderSettings) -> Decoded | None:
    """The verdict on a blank, overlong or non-UTF-8 record; None for one to decode."""
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


def _reject_refused(decode: Callable[[], Decoded]) -> Decoded:
    try:
        return decode()
    except RefusedError as refusal:
        return Rejected(*refusal.args)


def _with_receive_time(decoded: Decoded, envelope: Envelope) -> Decoded:
    """Set the receive time, which also stands in for a missing event time of anything but a snapshot."""
    message = decoded.decoded if isinstance(decoded, Sequenced) else decoded
    if isinstance(message, DecodedMessage):
        message.ts_recv = envelope.ts_recv()
        if message.ts_event == NONE and message.kind not in (SNAPSHOT, TICKER):
            message.ts_event = message.ts_recv
            if message.ts_event == NONE:
                refuse("malformed", "no time: neither the record nor the capture has one")
    return decoded
