"""Says in words what was found of files and symbols, for `inspect`, `init` and people."""

from __future__ import annotations

from datetime import UTC, datetime

from cowbook.inspection.facts import FileFacts, SymbolFacts
from cowbook.plain.counting import counted

_PROOFS = {"bookTicker": "tickers", "checksum": "checksums", "snapshot": "later snapshots"}


def describe_file(facts: FileFacts) -> str:
    """What a file is, on one line: container, layout, size."""
    parts = [*([] if facts.container == "plain" else [facts.container]), *([facts.layout] if facts.layout else [])]
    return ", ".join([*parts, _size(facts.size_bytes)])


def describe_looked(facts: FileFacts) -> str | None:
    """How much of a file was looked at; None if it was all."""
    if facts.is_whole:
        return None
    return f"looked at the first {_size(facts.looked_bytes)} only{'' if facts.container == 'plain' else ', decompressed'}"


def describe_span(symbol: SymbolFacts, is_whole: bool) -> str:
    """First and last time, in UTC. Of a file that was not looked at to its end, the last one is not known."""
    if symbol.first_time is None or symbol.last_time is None:
        return "no times"
    first, last = _time(symbol.first_time), _time(symbol.last_time)
    if not is_whole:
        return f"from {first} on"
    return f"{first} .. {last[11:] if first[:10] == last[:10] else last}"


def describe_counts(symbol: SymbolFacts) -> str:
    """How many messages of each kind there are, and gaps."""
    counts = [f"{symbol.depth:,} depth"] if symbol.depth else []
    if symbol.depth or symbol.snapshots:
        counts.append(counted(symbol.snapshots, "snapshot") if symbol.snapshots else "no snapshot")
    counts += [counted(symbol.tickers, "ticker")] if symbol.tickers else []
    counts += [counted(symbol.trades, "trade")] if symbol.trades else []
    text = ", ".join(counts)
    if symbol.depth and symbol.shows_loss:
        missing = f", {counted(symbol.missing, 'id')} missing" if symbol.missing else ""
        text += f"; {counted(symbol.gaps, 'gap')}{missing}"
    if symbol.rejected:
        text += "; rejected: " + ", ".join(f"{count:,} {reason}" for reason, count in symbol.rejected.items())
    if symbol.has_misfits:
        text += ": their digits do not fit beside those of the others, with any decimals"
    return text


def describe_proof(symbol: SymbolFacts) -> str:
    """What can be proved of the book."""
    if not symbol.depth and not symbol.snapshots:
        return "no book: there is no depth" + (" that fits" if symbol.has_misfits else "")
    if not symbol.synced:
        why = "no depth snapshot" if not symbol.snapshots else "no depth snapshot that joins the diffs"
        return f"{why} in this file: by it alone the book is never synced, and nothing is proved"
    loss = "ids would show a loss"
    if not symbol.depth:
        loss = "snapshots alone, so a lost one would not show"
    elif not symbol.shows_loss:
        loss = f"no ids, so a lost message {'shows only where books are compared' if symbol.comparable else 'would not show'}"
    if not symbol.comparable:
        return f"{loss}; nothing to compare the book with"
    by = " and ".join(_PROOFS[kind] for kind in symbol.proofs)
    outcome = "all match" if symbol.matched == symbol.comparable else f"{symbol.comparable - symbol.matched:,} of them FAIL"
    total = symbol.depth + symbol.snapshots
    return f"{loss}; {symbol.comparable:,} of {total:,} books can be compared with {by}: {outcome}"


def _size(count: int) -> str:
    return (
        f"{count / (1 << 20):,.1f} MB" if count >= 1 << 20 else f"{count / 1024:,.1f} kB" if count >= 1024 else f"{count} bytes"
    )


def _time(time: int) -> str:
    seconds = datetime.fromtimestamp(time // 1_000_000_000, UTC)
    return f"{seconds:%Y-%m-%d %H:%M:%S}"
