"""`cowbook book`: shows the book at an instant, with its proof."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cowbook.cli.console import plain_console
from cowbook.errors import QueryError
from cowbook.query.book import BookSide, Evidence, InstantBook
from cowbook.query.book_at import book_at
from cowbook.query.times import iso

_SHOWN_LEVELS = 10
_INDENT = " " * 8

Level = tuple[Decimal, Decimal]


def main(arguments: argparse.Namespace) -> int:
    """Print the book, or write it to a file. Raises QueryError if the output does not have it."""
    book = book_at(arguments.data, arguments.symbol, arguments.at, event=arguments.event, levels=arguments.levels)
    if arguments.json:
        print(json.dumps(book.to_json(), indent=1))
    elif arguments.parquet is not None:
        _write(book.to_arrow(), arguments.parquet)
    else:
        _print(book, arguments.levels or _SHOWN_LEVELS)
    return 0


def _write(table: pa.Table, path: Path) -> None:
    try:
        pq.write_table(table, path)
    except (OSError, pa.ArrowException) as error:
        raise QueryError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def _print(book: InstantBook, levels: int) -> None:
    """The levels, and what is said of them beside them, or below them where the terminal is narrow."""
    table = level_lines(book.bids.decimals(levels), book.asks.decimals(levels))
    notes = _notes(book)
    console = plain_console()
    if max(len(table[0]) + 8 + len(note) for note in notes) <= console.width:
        blank = " " * len(table[0])
        rows = max(len(table), len(notes))
        table, notes = table + [blank] * (rows - len(table)), notes + [""] * (rows - len(notes))
        lines = [f"{left}{_INDENT}{note}".rstrip() for left, note in zip(table, notes, strict=True)]
    else:
        lines = [line.rstrip() for line in table] + notes
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


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
    notes.append(f"made of {begun}, and {proof.changes:,} rows of depth")
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
