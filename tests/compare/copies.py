"""`make copies`: three copies with losses of what each venue sends, joined, against the undisturbed capture, at random seeds.

Each copy lacks other bursts of records, about 30 % of all together, has a clock of its own that jitters by 50 ms, and its own
compression; at every other seed the files grow between two runs. All columns but the receive time must be equal.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog

from support.copies import (
    COPY_IDS,
    VENUES_WITHOUT_TIMES,
    WITHOUT_TIMES,
    copies_of_capture,
    lines_of_capture,
    make_copies,
    rows_but_for_receipt,
)
from support.harness import Run, reconstruct
from support.joined import cut_off, join
from support.venue_captures import CAPTURES

_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
_Rows = dict[str, list[dict[str, Any]]]


def difference(joined: _Rows, whole: _Rows) -> str | None:
    """What differs first; None if nothing does."""
    for stream in sorted(joined.keys() | whole.keys()):
        ours, theirs = joined.get(stream, []), whole.get(stream, [])
        if ours == theirs:
            continue
        for place in range(max(len(ours), len(theirs))):
            one, other = (rows[place] if place < len(rows) else None for rows in (ours, theirs))
            if one != other:
                return f"{stream}, row {place} of {len(theirs)} (joined: {len(ours)}):\n    joined {one}\n    whole  {other}"
    return None


def try_captures(root: Path, seeds: range, only: str | None, *, have_clocks: bool) -> Counter[str]:
    """Copies of the recorded captures, which all begin with the same records: those say what the ones behind them mean."""
    failed: Counter[str] = Counter()
    for capture in CAPTURES:
        if capture.venue == "binance_csv" or (only is not None and only != capture.venue):
            continue  # the table has two messages of a hundred rows: without some rows each is another message
        lines = lines_of_capture(_DATA, capture)
        run = Run("X", capture.symbol, capture.venue, price_decimals=capture.price_decimals)
        whole = reconstruct(root / "whole", {"x": b"".join(lines)}, run)
        assert whole.summary.state == "done", whole.summary
        has_times = capture.venue not in VENUES_WITHOUT_TIMES
        first = None
        for seed in seeds:
            joined = join(root / "joined", copies_of_capture(lines, seed, have_clocks=have_clocks), run)
            found = difference(*(rows_but_for_receipt(each, has_times=has_times) for each in (joined, whole)))
            failed[str(capture)] += found is not None
            first = first or (found and f"seed {seed}: {found}")
            shutil.rmtree(root / "joined")
        print(f"{capture!s:40} {len(seeds) - failed[str(capture)]}/{len(seeds)} equal", flush=True)
        if first is not None:
            print(f"  {first}", flush=True)
        shutil.rmtree(root / "whole")
    return +failed


def main() -> int:
    """Try, and print; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="how many seeds per sample (default: 20)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="the first of them")
    parser.add_argument("--only", choices=COPY_IDS, help="only this sample")
    parser.add_argument("--captures", action="store_true", help="recorded captures instead")
    parser.add_argument("--venue", help="recorded captures of this venue alone")
    parser.add_argument("--same-clock", action="store_true", help="all copies have the clock of the whole")
    arguments = parser.parse_args()
    structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])
    print("seed", arguments.seed, flush=True)
    root = Path(tempfile.mkdtemp(prefix="cowbook-copies-", dir="/dev/shm"))
    failed: Counter[str] = Counter()
    if arguments.captures or arguments.venue:
        seeds = range(arguments.seed, arguments.seed + arguments.seeds)
        failed = try_captures(root, seeds, arguments.venue, have_clocks=not arguments.same_clock)
    for sample_id in () if arguments.captures or arguments.venue else COPY_IDS if arguments.only is None else (arguments.only,):
        first = None
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            copies = make_copies(sample_id, seed, have_clocks=not arguments.same_clock)
            whole = reconstruct(root / "whole", copies.whole, copies.run)
            if seed % 2 and "parquet" not in sample_id and "cryptolake" not in sample_id:
                join(root / "joined", cut_off(copies.sources, seed), copies.run)  # the files grow, and a restart goes on
            joined = join(root / "joined", copies.sources, copies.run)
            assert whole.summary.state == "done", whole.summary
            has_times = sample_id not in WITHOUT_TIMES
            found = difference(*(rows_but_for_receipt(each, has_times=has_times) for each in (joined, whole)))
            if found is not None:
                failed[sample_id] += 1
                first = first or f"seed {seed}: {found}"
            shutil.rmtree(root / "whole")
            shutil.rmtree(root / "joined")
        print(f"{sample_id:24} {arguments.seeds - failed[sample_id]}/{arguments.seeds} equal", flush=True)
        if first is not None:
            print(f"  {first}", flush=True)
    root.rmdir()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
