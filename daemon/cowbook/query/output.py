"""One symbol's published output, opened: its cuts, and readers of their parts, each opened once."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

import pyarrow.parquet as pq

from cowbook.errors import QueryError
from cowbook.plain.counting import counted
from cowbook.query.columns import PartReader, read_rows_of_cut
from cowbook.query.parts import MovedError, find_cuts


class SymbolOutput:
    """Cuts of one symbol in their order. All methods raise QueryError and MovedError as `parts` and `columns` say."""

    def __init__(self, output_dir: Path, symbol: str) -> None:
        self.output_dir, self.symbol = output_dir, symbol
        self.cuts = find_cuts(output_dir, symbol)
        self._readers: dict[tuple[Path, int | None], PartReader] = {}
        self._footers: dict[Path, pq.FileMetaData] = {}  # of joined parts
        self.streams = {stream for cut in self.cuts for stream in cut.parts}
        """The streams that have a part."""

    def reader(self, stream: str, cut: int) -> PartReader | None:
        """The reader of a cut's part of a stream; None if it has none."""
        part = self.cuts[cut].parts.get(stream)
        if part is None:
            return None
        key = part.path, part.group
        if key not in self._readers:
            reader = self._readers[key] = PartReader(stream, part, self._footers.get(part.path))
            if part.group is not None:
                self._footers[part.path] = reader.footer
        return self._readers[key]

    def forget(self, cut: int) -> None:
        """Close the parts of a cut, and free what was read of them."""
        for part in self.cuts[cut].parts.values():
            self._readers.pop((part.path, part.group), None)

    def cut_of(self, event: int) -> int:
        """The number of the cut with an event. Raises QueryError if none has it."""
        place = bisect_left([cut.last for cut in self.cuts], event)
        if place == len(self.cuts) or event < self.cuts[place].first:
            first, last = self.cuts[0].first, max(cut.last for cut in self.cuts)
            hole = "" if event > last or event < first else ", in which it is missing: restore the part"
            raise QueryError(f"{self.output_dir} has no event {event} of {self.symbol}: it has {first} to {last}{hole}")
        return place

    def need(self, stream: str, purpose: str) -> None:
        """Raises QueryError if there is nothing of a stream, which is needed for a purpose ("of which books are made").

        A part of another stream may say that there was something.
        """
        if stream in self.streams:
            return
        have = f"{self.output_dir} has no {stream} of {self.symbol}, {purpose}: it has {', '.join(sorted(self.streams))}"
        for cut in self.cuts:
            part = next(iter(cut.parts.values()))
            if count := read_rows_of_cut(part).get(stream):
                raise QueryError(f"{have}; {part.path} speaks of {counted(count, 'row')} of {stream}: restore its parts")
            if cut.event_count > 0:
                break
        raise QueryError(f"{have}; add {stream} to [output] streams, and make the output anew")

    def check_parts(self, cut: int, *streams: str) -> None:
        """Raises MovedError if a part of these streams is missing in a cut: if another of its parts says that there was one.

        A stream of which there is nothing at all was taken away as a whole, which is nobody's mistake.
        """
        of = self.cuts[cut]
        some = next(iter(of.parts.values()))
        counts = read_rows_of_cut(some)
        for stream in streams:
            if counts.get(stream) and stream in self.streams and stream not in of.parts:
                rows = counted(counts[stream], "row")
                raise MovedError(
                    f"{self.output_dir} has no part {some.path.name} of {stream} with its {rows}, which {some.path} speaks of: "
                    "restore it, or make the output anew"
                )

    def check_depth(self, cut: int) -> None:
        """Raises QueryError if rows of `depth` are missing in a cut: if its parts do not have all of its events.

        Events are rows of `depth` and of `trades`. Where `trades` is not written, an event without a row may be a trade.
        """
        depth, trades = self.reader("depth", cut), self.reader("trades", cut)
        rows = sum(reader.row_count for reader in (depth, trades) if reader is not None)
        of = self.cuts[cut]
        is_missing = rows != of.event_count if "trades" in self.streams else depth is None and of.event_count > 0
        if is_missing:
            name = next(iter(of.parts.values())).path.name
            have = ", ".join(sorted(of.parts))
            raise QueryError(
                f"{name} of {self.symbol} has {of.event_count} events, and {rows} rows of them are in {self.output_dir}: "
                f"a part of depth or trades is missing (there is {have}); restore it, or make the output anew"
            )
