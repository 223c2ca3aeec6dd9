"""What single records are to a venue, and the engine behind a few of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cowbook import OrderBookEngine, replay
from cowbook.input.settings import DecoderSettings
from cowbook.input.verdict import Decoded, DecodedMessage
from cowbook.venues import load_venue

SETTINGS = DecoderSettings("A-B", 2, 3, 10_000)


def decode(venue: str, record: object, settings: DecoderSettings = SETTINGS) -> Decoded:
    """What a record is, given as bytes or as a JSON value."""
    found = load_venue(venue)
    content = record if isinstance(record, bytes) else json.dumps(record, separators=(",", ":")).encode()
    if found.decode_on_connection is not None:
        return found.decode_on_connection(content, settings, {})[0]
    assert found.decode_record is not None
    return found.decode_record(content, settings)


def message_of(venue: str, record: object, settings: DecoderSettings = SETTINGS) -> DecodedMessage:
    """A record that is a message."""
    decoded = decode(venue, record, settings)
    assert isinstance(decoded, DecodedMessage), decoded
    return decoded


def engine_after(
    directory: Path, venue: str, records: Sequence[object], *, name: str = "A-B", **settings: object
) -> OrderBookEngine:
    """The engine behind records, each with a receive time a second after the one before, unless it has an address."""
    texts = [record if isinstance(record, bytes) else json.dumps(record, separators=(",", ":")).encode() for record in records]
    path = directory / "records"
    times = [
        b"" if text.startswith((b"http", b"ws")) else b"%d.5: " % (1_700_000_000 + place) for place, text in enumerate(texts)
    ]
    path.write_bytes(b"".join(time + text + b"\n" for time, text in zip(times, texts, strict=True)))
    chosen = {"price_decimals": 2, "size_decimals": 3} | settings
    *_, engine = replay(str(path), name, every=10**9, format=venue, **chosen)  # type: ignore[arg-type]
    return engine


def book_of(engine: OrderBookEngine) -> tuple[dict[int, int], dict[int, int]]:
    """Sizes by price, of bids and of asks."""
    bids, asks = (view.levels() for view in (engine.bids, engine.asks))
    return dict(zip(bids[0].tolist(), bids[1].tolist(), strict=True)), dict(zip(asks[0].tolist(), asks[1].tolist(), strict=True))
