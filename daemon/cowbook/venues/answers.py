"""Answers to requests (REST), which recorders store beside the stream: whose they are, and the snapshots in them."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from cowbook.input.settings import DecoderSettings
from cowbook.input.text.json_fields import Levels, with_levels
from cowbook.input.verdict import DecodedMessage
from cowbook.plain.messages import IS_UNLABELLED, SNAPSHOT


def parameter(address: str, key: str) -> str:
    """A parameter of an address; empty if it has none."""
    try:
        return parse_qs(urlsplit(address).query).get(key, [""])[0]
    except ValueError:  # brackets that do not form an address
        return ""


def path_of(address: str) -> str:
    """The path of an address, without a slash at its end; empty if it has none."""
    try:
        return urlsplit(address).path.rstrip("/")
    except ValueError:
        return ""


def snapshot_beside_stream(
    number: int, rule: int, time: int, bids: Levels, asks: Levels, symbol: str, settings: DecoderSettings
) -> DecodedMessage:
    """A snapshot that judges a synced book, and does not replace it. `symbol` is empty if nothing says whose it is."""
    message = DecodedMessage(SNAPSHOT, number, rule=rule, ts_event=time, flags=0 if symbol else IS_UNLABELLED)
    return with_levels(message, bids, asks, settings)
