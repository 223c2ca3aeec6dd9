"""`cowbook explain`: shows one record of a file."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from cowbook.capture.containers import PARQUET
from cowbook.cli.console import plain_console, print_prose
from cowbook.cli.looking import find_files
from cowbook.errors import InputError
from cowbook.inspection.look import look_at_head
from cowbook.inspection.record import Explained, explain, verdict_of
from cowbook.inspection.wording import describe_file
from cowbook.plain.messages import FUTURES, RPI, SPOT
from cowbook.plain.vocabulary import SPEED_NAMES
from cowbook.venues import load_venue

_SHOWN_BYTES = 600
_SHOWN_LEVELS = 10
_DECIMALS = 8
_MARKETS = {SPOT: "spot", FUTURES: "futures", RPI: "rpi"}


def main(arguments: argparse.Namespace) -> int:
    """Print the record at an offset, and what it does. Raises InputError if there is none."""
    files = find_files([arguments.file])
    if len(files) > 1:
        raise InputError(f"{arguments.file}: {len(files)} files, the first is {files[0]}; name one of them")
    (file,) = files
    try:
        facts = look_at_head(file)
        found = explain(file, arguments.offset, arguments.format, arguments.symbol)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
    console = plain_console()
    rows = {
        "file": f"{file}: {describe_file(facts)}",
        "record": f"{found.size_bytes:,} bytes at decoded offset {found.offset:,}",
        "format": found.format,
        "symbol": found.symbol or "none is named",
        "kind": found.kind + (f": {found.detail}" if found.detail and found.kind != "dead letter" else ""),
        **_fields(found),
        **_levels(found),
    }
    width = max(map(len, (*rows, "after it")))
    text = found.content[:_SHOWN_BYTES].decode(errors="backslashreplace")
    if facts.container == PARQUET:
        text = found.content[:_SHOWN_BYTES].hex(" ", 8)  # packed rows
    more = f" ... and {found.size_bytes - _SHOWN_BYTES:,} bytes more" if found.size_bytes > _SHOWN_BYTES else ""
    lines = [f"{name:{width}}  {value}" for name, value in rows.items()]
    lines += [f"{'verdict' if place == 0 else '':{width}}  {line}" for place, line in enumerate(verdict_of(found))]
    lines.append(f"{'after it':{width}}  {_book(found)}, by this file alone")
    for line in lines:
        print_prose(console, line)
    console.print()
    console.print(f"{text}{more}", soft_wrap=True, highlight=False)
    return 0


def _fields(found: Explained) -> dict[str, str]:
    """Ids, times and numbers, in words."""
    shown = {}
    for name, value in found.fields.items():
        if name.startswith("ts_"):
            shown[name] = (
                f"{datetime.fromtimestamp(value // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}.{value % 1_000_000_000:09d} UTC"
            )
        elif name == "market":
            shown[name] = _MARKETS.get(value, str(value))
        elif name == "speed":
            shown[name] = SPEED_NAMES[value - 1]
        elif name == "channel":
            channels = {number: each for each, number in load_venue(found.format).channels.items()}
            shown |= {name: channels[value]} if value in channels else {}
        else:
            shown[name] = str(value)
    return shown


def _levels(found: Explained) -> dict[str, str]:
    """The levels of both sides, prices and sizes as they are written."""
    names = ("price, size", "") if found.kind in ("trade", "trades") else ("bids", "asks")
    sides = zip(names, (found.bids, found.asks), strict=True)
    return {
        name: ", ".join(f"{_number(price)} x {_number(size)}" for price, size in levels[:_SHOWN_LEVELS])
        + (f" and {len(levels) - _SHOWN_LEVELS} more" if len(levels) > _SHOWN_LEVELS else "")
        for name, levels in sides
        if levels
    }


def _number(value: int) -> str:
    """A fixed-point number without zeros at its end."""
    sign, digits = "-" if value < 0 else "", f"{abs(value):0{_DECIMALS + 1}d}"
    return f"{sign}{digits[:-_DECIMALS]}.{digits[-_DECIMALS:]}".rstrip("0").rstrip(".")


def _book(found: Explained) -> str:
    """The best prices after the record."""
    bid, ask = ("none" if best is None else f"{_number(best[0])} x {_number(best[1])}" for best in found.best)
    return f"{'synced' if found.synced[1] else 'not synced'}, best bid {bid}, best ask {ask}"
