"""Makes docs/venues.md, the table of what each venue can prove: `python -m support.capabilities` in tests/, or `make venues`.

What a venue's messages carry is read off the messages that its own samples decode to, and what they mean off its module; what was
shown with recorded captures is what the tests hold of these. A venue needs no line here.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cowbook.inspection.pieces import go_through, settings_of
from cowbook.plain import schemes
from cowbook.plain.messages import DIFF, HAS_CHECKSUM, IS_LOOSE, IS_PICTURE, IS_RESET, SNAPSHOT, TICKER, TRADE, TRADES
from cowbook.venues import load_venue, venue_names
from support.copies import CONTAINERS, VENUES_WITHOUT_TIMES, WHOLE_CONTAINERS, WITHOUT_TIMES
from support.venue_captures import CAPTURES, Capture
from support.venue_samples import LINES, SAMPLE_IDS, make_sample

PAGE = Path(__file__).resolve().parents[2] / "docs" / "venues.md"

_SCHEMES = {
    schemes.RANGE: "ids, in ranges without holes",
    schemes.RANGE_WITH_PREVIOUS: "ids: each message names the last one",
    schemes.CHAIN: "a chain of ids",
    schemes.COUNTER: "ids that count",
    schemes.RISING: "**not shown** (ids rise by any steps: they show what is old)",
    schemes.NEWEST_PER_LEVEL: "**not shown** (each level has its newest id)",
    schemes.UNNUMBERED: "**not shown**",
}
_CHECKSUMS = {
    schemes.KRAKEN: "CRC-32 of 10 levels",
    schemes.OKX: "CRC-32 of 25 levels",
    schemes.BITGET: "CRC-32 of 25 levels",
    schemes.BITFINEX: "CRC-32 of 25 levels",
    schemes.FTX: "CRC-32 of 100 levels",
}
_KNOWN = {
    "range": "as far as a snapshot goes",
    "depth": "the levels that the venue keeps",
    "all": "all levels",
}
_HEAD = """# What each venue can prove

This page is made of the venues' modules, of what their sample records decode to, and of the recorded captures that the tests
read: `make venues`. [input.md](input.md#venues) says what follows from a proof that is missing.

* *A missing message*: by what a change that is not in the capture is noticed. A dead letter may have been one: where nothing
  shows it, a dead letter ends sync.
* *Proof of the book*: what is compared with it. A snapshot that comes while the book is synced judges it, unless it is part of
  the stream (a new subscription), which replaces.
* *Known*: how far a synced book is known ([output.md](output.md#what-is-known)). Pictures are known as far as they go.
* *Shown with*: recorded captures, by their tests; otherwise the module follows the venue's documentation alone.
* *Copies joined*: what shows that copies with losses, joined, lack nothing ([input.md](input.md#several-sources)): numbers,
  checksums of the levels that these look at, or nothing. It depends on what was recorded.
* *Equal*: which rows are those of the undisturbed capture, but for receive times, where the recorders' clocks differ by seconds.
  Where records have no time of the venue's, a recorder dates them, and `book` and the cuts of `frame` show it.

| `format` | what is read | a missing message | proof of the book | known | shown with | copies joined: proved | equal |
|---|---|---|---|---|---|---|---|
"""
_CONTAINERS_HEAD = """
## Containers

What proves joined copies is in the messages, so a container changes nothing of it. Copies of one feed in different containers,
each compressed in another way (plain, gzip, zstd, bzip2), give the parts of the undisturbed capture byte for byte if all have
one clock.

| container | joined with copies in other containers | grows while it is followed |
|---|---|---|
"""
_CONTAINER_NAMES = {
    "lines": "lines with a receive time",
    "wrapper": "a wrapper of one's own",
    "cryptofeed-3": "cryptofeed 3, JSON lines",
    "packets": "packets (pcap)",
    "array": "a JSON array, of wrappers",
    "zip": "zip",
    "tar": "tar",
}
_ALONE = (
    ("frames (`.cbcap`)", "with their like (`kraken`)", "yes"),
    ("CSV", "with their like (`tardis`, `binance_csv`)", "yes"),
    ("Parquet", "with their like (`tardis`, `cryptolake`)", "no: once it is whole"),
    ("DBN", "with their like: recorded files, cut by records", "not tried"),
)
_NUMBERED = {schemes.RANGE, schemes.RANGE_WITH_PREVIOUS, schemes.CHAIN, schemes.COUNTER}


@dataclass(slots=True)
class Seen:
    """What the messages of a venue's samples carry."""

    rules: set[int] = field(default_factory=set)
    has_sequences: bool = False
    has_checksums: bool = False
    has_pictures: bool = False
    has_witnesses: bool = False
    has_tickers: bool = False
    has_near_tickers: bool = False
    has_trades: bool = False
    has_snapshots: bool = False


@cache
def look_at_samples(name: str) -> Seen:
    """Decode all samples of a format."""
    seen = Seen()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        for sample in (sample for sample in map(make_sample, SAMPLE_IDS) if sample.format == name):
            for content in sample.files.values():
                path.write_bytes(content)
                for piece in go_through(path, name, settings_of(sample.name)):
                    _look_at(seen, piece.messages())
    return seen


def _look_at(seen: Seen, messages: Iterable[dict[str, int]]) -> None:
    for message in messages:
        kind, flags = int(message["kind"]), int(message["flags"])
        seen.has_sequences |= int(message["sequence"]) > 0
        if kind == DIFF:
            seen.rules.add(int(message["rule"]))
        if kind in (DIFF, SNAPSHOT):
            seen.has_checksums |= bool(flags & HAS_CHECKSUM)
        if kind == SNAPSHOT:
            seen.has_pictures |= bool(flags & IS_PICTURE)
            seen.has_witnesses |= not flags & (IS_RESET | IS_PICTURE)
            seen.has_snapshots |= not flags & IS_PICTURE
        seen.has_tickers |= kind == TICKER and not flags & IS_LOOSE
        seen.has_near_tickers |= kind == TICKER and bool(flags & IS_LOOSE)
        seen.has_trades |= kind in (TRADE, TRADES)


def _title(name: str) -> str:
    """What the module says that it reads: the first sentence of its docstring."""
    text = inspect.getdoc(importlib.import_module(f"cowbook.venues.{name}")) or ""
    first = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=[a-z`)>0-9])\.(?: |$)", first)[0].replace("|", "\\|")


def _rules_of_tables(name: str) -> set[int]:
    """The schemes of the changes in a venue's tables."""
    tables = load_venue(name).tables
    return {table.rule for table in tables if not table.trades and table.levels is None and not table.refusal}


def _joined_proof(name: str) -> str:
    proofs = {sample.proof for sample in map(make_sample, SAMPLE_IDS) if sample.format == name}
    if not _rules_of_tables(name) <= _NUMBERED:
        proofs.add("nothing")
    words = {"ids": "by numbers", "connection": "by numbers", "checksum": "by checksums", "nothing": "**unproved**"}
    return "; or ".join(dict.fromkeys(word for proof, word in words.items() if proof in proofs))


def _joined_rows(name: str) -> str:
    dated_by_recorders = {LINES[sample_id][0] for sample_id in WITHOUT_TIMES}.union(VENUES_WITHOUT_TIMES)
    return "all; `book` and `frame` where there is a time" if name in dated_by_recorders else "all"


def _containers() -> str:
    rows = [(_CONTAINER_NAMES[name], "yes", "yes") for name in CONTAINERS]
    rows += [(_CONTAINER_NAMES[name], "yes", "no: once it is whole") for name in WHOLE_CONTAINERS]
    return _CONTAINERS_HEAD + "".join(f"| {' | '.join(row)} |\n" for row in (*rows, *_ALONE))


def _loss(name: str, seen: Seen) -> str:
    venue = load_venue(name)
    rules = seen.rules | _rules_of_tables(name)
    ways = [_SCHEMES[rule] for rule in sorted(rules)]
    if seen.has_checksums and schemes.UNNUMBERED in rules:
        ways[ways.index(_SCHEMES[schemes.UNNUMBERED])] = "the checksum, where it changes the levels of that"
    if seen.has_sequences:
        ways = [way for way in ways if not way.startswith("**")] + ["numbers of the connection, of whatever record"]
    if seen.has_pictures or any(table.levels is not None for table in venue.tables):
        ways.append("pictures: each shows all that it has")
    return "; or ".join(dict.fromkeys(ways)) or "**not shown**"


def _proof(name: str, seen: Seen) -> str:
    venue = load_venue(name)
    ways = []
    if venue.checksum != schemes.NO_CHECKSUM:
        ways.append(_CHECKSUMS[venue.checksum] + ("" if seen.has_checksums else ", where it is sent"))
    if seen.has_tickers:
        ways.append("tickers with the id of the book")
    if seen.has_witnesses:
        ways.append("snapshots beside the stream")
    if seen.has_near_tickers:
        ways.append("(tickers without an id: a rate)")
    return "; ".join(ways) or "none"


def _known(name: str, seen: Seen) -> str:
    if seen.has_snapshots:
        return _KNOWN[load_venue(name).snapshots]
    return "as far as a picture goes" if seen.has_pictures else "nothing: there are no snapshots"


def _shown_with(captures: list[Capture]) -> str:
    if not captures:
        return "none at hand: by its documentation"
    files = sorted({path for capture in captures for path in capture.paths})
    counts = {
        "depth messages": sum(capture.depth_messages for capture in captures),
        "checksums": sum(capture.checksums for capture in captures),
        "tickers": sum(capture.tickers for capture in captures),
    }
    found = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    symbols = len({capture.symbol for capture in captures})
    return f"{len(files)} file{'s' * (len(files) > 1)}, {symbols} symbol{'s' * (symbols > 1)}: {found or 'trades alone'}"


def make_page() -> str:
    """The page."""
    captures: dict[str, list[Capture]] = defaultdict(list)
    for capture in CAPTURES:
        captures[capture.venue].append(capture)
    lines = []
    for name in venue_names():
        seen = look_at_samples(name)
        cells = (
            f"`{name}`",
            _title(name),
            _loss(name, seen),
            _proof(name, seen),
            _known(name, seen),
            _shown_with(captures[name]),
            _joined_proof(name),
            _joined_rows(name),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return _HEAD + "\n".join(lines) + "\n" + _containers()


def main() -> None:
    """Write the page, and say whether it was another one."""
    page = make_page()
    was = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(page, encoding="utf-8")
    sys.stdout.write(f"{PAGE}: {'as it was' if page == was else 'written anew'}\n")


if __name__ == "__main__":
    main()
