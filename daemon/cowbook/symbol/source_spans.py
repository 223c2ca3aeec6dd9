"""From when to when a symbol's sources go, by the ends of their files, for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cowbook.capture.compression import open_decoded, read_fully
from cowbook.checkpoint.state_files import iso_time
from cowbook.config import SymbolConfig
from cowbook.errors import InputError
from cowbook.symbol.first_time import FirstTime
from cowbook.symbol.settings import decoder_settings

_HEAD_BYTES = 1 << 20
_TAIL_BYTES = 1 << 18
_ENCODED = (b"\x1f\x8b", b"\x28\xb5", b"PAR1", b"BZh", b"\xfd7zXZ", b"PK", b"\x04\x22")

Span = tuple[int, int | None]


def span_of(own: SymbolConfig, paths: Sequence[Path]) -> Span | None:
    """Returns the times in ns since 1970 at which a source's records begin and end; None if they have no times.

    The end is None, too, unless the last file is plain text: nothing is decompressed for it.
    """
    time_of = FirstTime(own.format, decoder_settings(own))
    try:
        first = time_of(_head_of(paths[0]), whole=False)
        tail = _tail_of(paths[-1])
        last = time_of(tail, whole=True) if tail is not None else None
    except (InputError, OSError):
        return None
    return (first, last) if first is not None else None


def describe_spans(spans: Sequence[tuple[str, Span | None]]) -> list[str]:
    """Returns a line for each source, by its name, and one for all: the time that they have in common."""
    lines = [f"source {name} {_from_to(span)}" for name, span in spans]
    starts = [span[0] for _, span in spans if span is not None]
    ends = [span[1] for _, span in spans if span is not None and span[1] is not None]
    if starts and len(ends) == len(spans):
        start, end = max(starts), min(ends)
        both = f"from {iso_time(start)} to {iso_time(end)}" if start < end else "none, so none can fill the holes of another"
        lines.append(f"time that all sources have: {both}")
    return lines


def _from_to(span: Span | None) -> str:
    if span is None:
        return "has no times in its first records"
    return f"begins at {iso_time(span[0])}" + (f" and ends at {iso_time(span[1])}" if span[1] is not None else "")


def _head_of(path: Path) -> bytes:
    with open_decoded(path) as file:
        return read_fully(file, _HEAD_BYTES)


def _tail_of(path: Path) -> bytes | None:
    """The last whole lines of a plain file; None of any other."""
    with path.open("rb") as file:
        if file.read(8).startswith(_ENCODED):
            return None
        size = path.stat().st_size
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read(_TAIL_BYTES)
    return tail if size <= _TAIL_BYTES else tail.partition(b"\n")[2]
