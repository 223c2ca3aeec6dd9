"""`cowbook checkpoints`: lists, shows, verifies and removes the checkpoints of a state directory."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rich.table import Table

from cowbook.checkpoint.listing import LOG, commits_of, figures, place_of, places, read_entries
from cowbook.checkpoint.load import Checkpoint, read_checkpoint
from cowbook.checkpoint.manifest import DamagedError
from cowbook.checkpoint.pipeline_state import PipelineState
from cowbook.checkpoint.store import CheckpointStore
from cowbook.cli.console import plain_console, print_rows
from cowbook.errors import RecoveryError
from cowbook.plain.counting import counted
from cowbook.plain.escaping import escaped
from cowbook.plain.frame import Frame
from cowbook.plain.rows import OpenRows
from cowbook.plain.streams import STREAMS, Kind, Stream

_COLUMNS = (
    *("symbol", "epoch", "time", "trigger", "events", "last id", "file", "offset", "MB", "levels", "frozen ms", "persist ms"),
    *("published", "valid"),
)
_LEFT = ("symbol", "time", "trigger", "file", "published", "valid")

_KEPT = 2
"""How many checkpoints always stay: the newest, and one to fall back to."""


def main(arguments: argparse.Namespace) -> int:
    """Run a subcommand. Returns 1 if a checkpoint is damaged. Raises RecoveryError if there are none."""
    symbols = dict(_find_symbols(arguments.state_dir, arguments.symbol))
    if not symbols:
        what = f"of symbol {arguments.symbol}" if arguments.symbol else "of any symbol"
        raise RecoveryError(f"{arguments.state_dir} has no checkpoints {what}")
    epoch = arguments.epoch
    if epoch is not None and not any(epoch in _places(root) for root in symbols.values()):
        raise RecoveryError(f"{arguments.state_dir} has no checkpoint {epoch}")
    commands: dict[str, Callable[[argparse.Namespace, dict[str, Path]], int]] = {
        "list": _print_list,
        "verify": _print_list,
        "show": _print_newest,
        "prune": _remove_old,
    }
    return commands[arguments.action](arguments, symbols)


def _find_symbols(state_dir: Path, wanted: str | None) -> Iterator[tuple[str, Path]]:
    """The id and directory of each symbol that has checkpoints."""
    try:
        for path in sorted(state_dir.iterdir()):
            symbol_id = unquote(path.name)
            if (path / "checkpoints").is_dir() and wanted in (None, symbol_id):
                yield symbol_id, path
    except OSError as error:
        raise RecoveryError(f"{state_dir} cannot be read: {error.strerror}") from error


def _places(root: Path) -> dict[int, Path]:
    """Where a symbol's committed checkpoints lie, newest first."""
    return places(root, commits_of(read_entries(root)))


def _verify(root: Path, symbol_id: str, epoch: int) -> tuple[dict[str, Any], Checkpoint | None]:
    """Verify a checkpoint, by its own digests and by the commit log. Returns its figures, and the checkpoint if it is valid."""
    commits = commits_of(read_entries(root))
    committed = commits[epoch].files if epoch in commits else ()
    try:
        checkpoint = read_checkpoint(place_of(root, epoch, commits), symbol_id, root.stat().st_uid, epoch, committed)
    except (DamagedError, RecoveryError) as error:
        return {"symbol": symbol_id, "epoch": epoch, "valid": False, "problem": str(error)}, None
    return {"symbol": symbol_id, **figures(checkpoint.manifest, checkpoint.published)}, checkpoint


def _print_list(arguments: argparse.Namespace, symbols: dict[str, Path]) -> int:
    rows = [
        _verify(root, symbol_id, epoch)[0]
        for symbol_id, root in symbols.items()
        for epoch in _places(root)
        if arguments.epoch in (None, epoch)
    ]
    if arguments.action == "verify":
        rows += [row for symbol_id, root in symbols.items() for row in _damaged_entries(symbol_id, root)]
    damaged = [row for row in rows if not row["valid"]]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif arguments.action == "list":
        _print_table(rows)
    else:
        for row in rows:
            what = "log" if row["epoch"] is None else row["epoch"]
            print(escaped(f"{row['symbol']} {what}: {'valid' if row['valid'] else row['problem']}"))
        count = sum(row["epoch"] is not None for row in damaged)
        print(f"{counted(sum(row['epoch'] is not None for row in rows), 'checkpoint')}, {count} of them not valid")
    return 1 if damaged or not rows else 0


def _damaged_entries(symbol_id: str, root: Path) -> list[dict[str, Any]]:
    """A row for each damaged entry of a symbol's commit log."""
    return [
        {"symbol": symbol_id, "epoch": None, "valid": False, "problem": f"{root / LOG / str(number)} is damaged"}
        for number, entry in sorted(read_entries(root).items())
        if entry is None
    ]


def _print_table(rows: list[dict[str, Any]]) -> None:
    table = []
    for row in rows:
        if not row["valid"]:
            table.append([row["symbol"], str(row["epoch"]), *[""] * (len(_COLUMNS) - 3), f"no: {row['problem']}"])
            continue
        phases = row["persist_seconds"]
        table.append(
            [
                row["symbol"],
                str(row["epoch"]),
                row["time"][:19].replace("T", " "),
                row["trigger"],
                f"{row['events_processed']:,}",
                str(row["last_update_id"]),
                Path(row["current_file"]).name,
                f"{row['file_offset']:,}",
                f"{row['bytes'] / 1e6:.2f}",
                f"{row['levels']:,}",
                f"{row['snapshot_duration_ms']:.3f}",
                f"{sum(phases.values()) * 1e3:.1f}",
                "yes" if row["published"] else "no",
                "yes",
            ]
        )
    styles = ["" if row["valid"] else "red" for row in rows]
    print_rows(plain_console(), _COLUMNS, table, left=_LEFT, heads=2, styles=styles)


def _print_newest(arguments: argparse.Namespace, symbols: dict[str, Path]) -> int:
    shown = []
    valid = True
    for symbol_id, root in symbols.items():
        epochs = [epoch for epoch in _places(root) if arguments.epoch in (None, epoch)]
        for epoch in epochs[:1]:
            row, checkpoint = _verify(root, symbol_id, epoch)
            valid = valid and checkpoint is not None
            row |= {"owner": _owner(root)}
            shown.append(row if checkpoint is None else row | _describe_state(checkpoint.state, checkpoint))
    if arguments.json:
        print(json.dumps(shown, indent=2))
    else:
        for row in shown:
            table = Table(title=f"{row['symbol']}, epoch {row['epoch']}", show_header=False)
            table.add_column(no_wrap=True)
            table.add_column(overflow="fold")
            for name, value in row.items():
                table.add_row(name, json.dumps(value) if isinstance(value, dict | list) else str(value))
            plain_console().print(table)
    return 0 if valid and shown else 1


def _owner(root: Path) -> dict[str, Any] | None:
    """Who has claimed the symbol last, as the commit log has it."""
    entries = read_entries(root)
    last = entries[max(entries)] if entries else None
    return None if last is None else {"claim": last.owner, "host": last.host, "process": last.pid, "last_entry": last.time}


def _count_rows(stream: Stream, rows: OpenRows, frame: Frame | None) -> int:
    """Number of the stream's rows as its files would have them."""
    if stream.is_frame:
        return len(frame or ())
    return len(rows[f"{stream.name}_prices" if stream.has(Kind.LEVELS) else stream.name])


def _describe_state(state: PipelineState, checkpoint: Checkpoint) -> dict[str, Any]:
    """What `show` prints beyond the columns of `list`."""
    book = state.order_book_state
    rows = book.rows
    return {
        "order_book_state": {
            "bids": len(book.bid_prices),
            "asks": len(book.ask_prices),
            "synced": bool(book.values["synced"]),
            "buffered_diffs": len(book.diffs),
            "waiting_tickers": len(book.tickers),
            "open_rows": {stream.name: _count_rows(stream, rows, state.frame) for stream in STREAMS},
        },
        "gap_statistics": state.gap_statistics,
        "drift_metrics": state.drift_metrics,
        "fingerprint": state.fingerprint,
        "files_consumed": [identity.path for identity in state.position.consumed],
        "files": {entry.name: entry.size_bytes for entry in checkpoint.manifest.files},
        "parts": [part.final for cut in checkpoint.manifest.cuts for part in cut.parts],
        "directory": str(checkpoint.directory),
    }


def _remove_old(arguments: argparse.Namespace, symbols: dict[str, Path]) -> int:
    removed = []
    damaged = 0
    for symbol_id, root in symbols.items():
        store = CheckpointStore(root.parent, root.name, symbol_id)
        store.lock(counts=False)  # fails while a worker runs
        try:
            valid = [epoch for epoch in store.epochs() if _verify(root, symbol_id, epoch)[1] is not None]
            damaged += len(store.epochs()) - len(valid)
            if arguments.epoch is None:
                old = valid[arguments.retain :]
            else:
                old = [epoch for epoch in valid[_KEPT:] if epoch == arguments.epoch]
                if arguments.epoch in valid[:_KEPT]:
                    raise RecoveryError(f"{symbol_id}: epoch {arguments.epoch} is one of the newest {_KEPT}: they stay")
            store.remove(old)
        finally:
            store.unlock()
        removed += [{"symbol": symbol_id, "epoch": epoch} for epoch in old]
    if arguments.json:
        print(json.dumps(removed, indent=2))
    else:
        for row in removed:
            print(escaped(f"removed {row['symbol']} {row['epoch']}"))
        print(f"{counted(len(removed), 'checkpoint')} removed")
    if damaged:
        print(f"{damaged} are not valid and were kept: `cowbook checkpoints verify` says why", file=sys.stderr)
    return 1 if damaged else 0
