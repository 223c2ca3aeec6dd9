"""`cowbook book`: shows the book at an instant, with its proof, or that of a running cowbook."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from cowbook.cli.clients import ask
from cowbook.cli.console import plain_console, print_prose
from cowbook.errors import QueryError, ServiceError
from cowbook.plain.counting import counted
from cowbook.plain.destination import new_path
from cowbook.query.book import BookSide, Evidence, InstantBook
from cowbook.query.book_at import book_at
from cowbook.query.times import iso, parse_time

_SHOWN_LEVELS = 10
_INDENT = " " * 8

Level = tuple[Decimal, Decimal]


def main(arguments: argparse.Namespace) -> int:
    """Print the book, or write it to a file. Raises QueryError if the output does not have it, ServiceError for no answer."""
    if _is_url(arguments.data):
        return _show_live(arguments)
    at = parse_time(arguments.at, "--at")
    book = book_at(arguments.data, arguments.symbol, at, event=arguments.event, levels=arguments.levels)
    if arguments.json:
        print(json.dumps(book.to_json(), indent=1))
    elif arguments.parquet is not None:
        _write(book.to_arrow(), arguments.parquet)
    else:
        shown = arguments.levels or _SHOWN_LEVELS
        _print(level_lines(book.bids.decimals(shown), book.asks.decimals(shown)), _notes(book))
    return 0


def _is_url(data: str) -> bool:
    """Whether it is a URL, or host:port without a directory of that name."""
    return "://" in data or (re.fullmatch(r"[\w.-]+:\d+|\[[\da-fA-F:]+\]:\d+", data) is not None and not Path(data).exists())


def _show_live(arguments: argparse.Namespace) -> int:
    if arguments.at is not None or arguments.event is not None:
        raise QueryError(
            f"{arguments.data} is a running cowbook, which has the live book alone: name its output_dir with --at or --event"
        )
    everything = arguments.json or arguments.parquet is not None
    levels = arguments.levels or ("all" if everything else _SHOWN_LEVELS)
    token = arguments.token or os.environ.get("COWBOOK_HTTP__TOKEN", "")
    code, book = ask(arguments.data, f"/book/{quote(arguments.symbol, safe='')}?levels={levels}", token=token)
    if code != HTTPStatus.OK or not isinstance(book, dict) or "bids" not in book:
        reason = book.get("error") if isinstance(book, dict) else None
        raise ServiceError(f"{arguments.data} gives no book of {arguments.symbol}: {reason or f'its answer is {code}'}")
    sides = [[(Decimal(price), Decimal(size)) for price, size in book[name]] for name in ("bids", "asks")]
    if arguments.json:
        print(json.dumps(book, indent=1))
    elif arguments.parquet is not None:
        _write(_live_table(book), arguments.parquet)
    else:
        _print(level_lines(*sides), _live_notes(book))
    return 0


def _live_table(book: dict[str, Any]) -> pa.Table:
    """Side, price and size; decimals as the texts have them."""
    rows = [(name, *level) for name in ("bid", "ask") for level in book[f"{name}s"]]
    columns = [pa.array([row[0] for row in rows], pa.string())]
    for place in (1, 2):
        decimals = len(rows[0][place].partition(".")[2]) if rows else 0
        columns.append(pa.array([Decimal(row[place]) for row in rows], pa.decimal128(18, decimals)))
    return pa.table(columns, ["side", "price", "size"])


def _live_notes(book: dict[str, Any]) -> list[str]:
    when = "no depth message yet" if book["time_ns"] is None else _time(book["time_ns"])
    known = []
    for name in ("bids", "asks"):
        to = book[f"{name}_known_to"]
        known.append(f"{name} {'all' if book[f'{name}_whole'] else 'none' if to is None else f'to {_aligned([Decimal(to)])[0]}'}")
    sync = f"synced; known: {', '.join(known)}" if book["synced"] else "not synced: nothing of it is known"
    return [f"live, at event {book['event']:,}, {when}", sync, f"of {book['bid_levels']:,} bids and {book['ask_levels']:,} asks"]


def _write(table: pa.Table, path: Path) -> None:
    with new_path(path) as partial:
        pq.write_table(table, partial)


def _print(table: list[str], notes: list[str]) -> None:
    """The levels, and what is said of them beside them, or below them where the terminal is narrow."""
    console = plain_console()
    if max(len(table[0]) + 8 + len(note) for note in notes) <= console.width:
        blank = " " * len(table[0])
        rows = max(len(table), len(notes))
        table, notes = table + [blank] * (rows - len(table)), notes + [""] * (rows - len(notes))
        lines = [f"{left}{_INDENT}{note}".rstrip() for left, note in zip(table, notes, strict=True)]
    else:
        lines = [line.rstrip() for line in table] + notes
    for line in lines:
        print_prose(console, line)


def level_lines(bids: Sequence[Level], asks: Sequence[Level]) -> list[str]:
    """Bids and asks side by side, best first: price and size, each with as many decimals as one of them needs."""
    prices = _aligned([level[0] for level in (*bids, *asks)])
    sizes = _aligned([level[1] for level in (*bids, *asks)])
    levels = [f"{price}  {size}" for price, size in zip(prices, sizes, strict=True)]
    width = max(map(len, levels), default=0)
    left, right = levels[: len(bids)], levels[len(bids) :]
    rows = max(len(left), len(right), 1)
    pad = [" " * width]
    return [
        f"{_INDENT}{bid:>{width}} │ {ask:>{width}}"
        for bid, ask in zip(left + pad * (rows - len(left)), right + pad * (rows - len(right)), strict=True)
    ]


def _aligned(numbers: Sequence[Decimal]) -> list[str]:
    decimals = max((max(0, -int(number.normalize().as_tuple().exponent)) for number in numbers), default=0)
    texts = [f"{number:,.{decimals}f}" for number in numbers]
    width = max(map(len, texts), default=0)
    return [f"{text:>{width}}" for text in texts]


def _notes(book: InstantBook) -> list[str]:
    proof = book.proof
    known = f"known at least: bids {_known(book.bids)}, asks {_known(book.asks)}"
    if book.synced is None:
        sync = "whether it is synced does not show in the output"
    elif not book.synced:
        sync = "not synced: nothing of it is known"
    else:
        since = "synced" if book.synced_since is None else f"synced at least since {_time(book.synced_since)}"
        sync = f"{since}; {known}"
    begun = "a snapshot or the first event" if proof.frame_event is None else f"the frame at event {proof.frame_event:,}"
    notes = [f"at event {book.event:,}, {_time(book.time)}", sync]
    notes.append(f"last proof: {_evidence(proof.last_comparison, book.time) or 'no depth snapshot was compared before'}")
    if proof.last_failure is not None:
        notes.append(f"last failed comparison: {_evidence(proof.last_failure, book.time)}")
    if proof.last_gap is not None:
        notes.append(f"last gap: {_evidence(proof.last_gap, book.time)}")
    notes.append(f"made of {begun}, and {counted(proof.changes, 'row')} of depth")
    if book.is_at_end:
        notes.append("the output ends here: what came later it does not show")
    return notes


def _known(side: BookSide) -> str:
    if side.known is None:
        return "not shown"
    if not side.known:
        return "none" if len(side) else "empty"
    (price,) = _aligned([] if side.known_to is None else [side.known_to])
    return f"to {price}"


def _evidence(evidence: Evidence | None, time: int) -> str:
    if evidence is None:
        return ""
    seconds = (time - evidence.time) / 1e9
    return f"{evidence.text}, {abs(seconds):,.2f} s {'before' if seconds >= 0 else 'after'}"


def _time(time: int) -> str:
    return iso(time).replace("T", " ").removesuffix("Z")
