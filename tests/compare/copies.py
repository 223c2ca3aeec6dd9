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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog

from support.copies import COPY_IDS, make_copies, rows_but_for_receipt
from support.harness import Run, reconstruct
from support.joined import join, lossy_copies, rows_without_receipt
from support.venue_captures import CAPTURES

_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
_OPENING = 200
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


def cut_off(sources: Mapping[str, Mapping[str, bytes]], seed: int) -> dict[str, dict[str, bytes]]:
    """The files of the sources as they were while the recorders still wrote them."""
    rng = random.Random(seed)
    return {
        source: {name: content[: rng.randrange(len(content) // 8, len(content))] for name, content in files.items()}
        for source, files in sources.items()
    }


def try_captures(root: Path, seed: int, only: str | None) -> Counter[str]:
    """Copies of the recorded captures, which all begin with the same records: those say what the ones behind them mean."""
    failed: Counter[str] = Counter()
    for capture in CAPTURES:
        if only is not None and only != capture.venue:
            continue
        lines = [line for path in capture.paths for line in (_DATA / path).read_bytes().splitlines(keepends=True)]
        if ".cbcap" in capture.paths[0]:  # a line of its own has the time of each record
            lines = [lines[0], *(b"".join(pair) for pair in zip(lines[1::2], lines[2::2], strict=False))]
        copies = lossy_copies(lines[_OPENING:], 3, random.Random(seed))
        run = Run("X", capture.symbol, capture.venue, price_decimals=capture.price_decimals)
        whole = reconstruct(root / "whole", {"x": b"".join(lines)}, run)
        sources = {name: {"x": b"".join([*lines[:_OPENING], *copy])} for name, copy in zip("abc", copies, strict=True)}
        joined = join(root / "joined", sources, run)
        assert whole.summary.state == "done", whole.summary
        found = difference(rows_without_receipt(joined), rows_without_receipt(whole))
        failed[str(capture)] += found is not None
        print(f"{capture!s:40} {'equal' if found is None else found}", flush=True)
        shutil.rmtree(root / "whole")
        shutil.rmtree(root / "joined")
    return +failed


def main() -> int:
    """Try, and print; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="how many seeds per sample (default: 20)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="the first of them")
    parser.add_argument("--only", choices=COPY_IDS, help="only this sample")
    parser.add_argument("--captures", action="store_true", help="recorded captures instead, with the clock of the whole")
    parser.add_argument("--venue", help="recorded captures of this venue alone")
    parser.add_argument("--same-clock", action="store_true", help="all copies have the clock of the whole")
    arguments = parser.parse_args()
    structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])
    print("seed", arguments.seed, flush=True)
    root = Path(tempfile.mkdtemp(prefix="cowbook-copies-", dir="/dev/shm"))
    failed = try_captures(root, arguments.seed, arguments.venue) if arguments.captures or arguments.venue else Counter()
    for sample_id in () if arguments.captures or arguments.venue else COPY_IDS if arguments.only is None else (arguments.only,):
        first = None
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            copies = make_copies(sample_id, seed, have_clocks=not arguments.same_clock)
            whole = reconstruct(root / "whole", copies.whole, copies.run)
            if seed % 2 and "parquet" not in sample_id and "cryptolake" not in sample_id:
                join(root / "joined", cut_off(copies.sources, seed), copies.run)  # the files grow, and a restart goes on
            joined = join(root / "joined", copies.sources, copies.run)
            assert whole.summary.state == "done", whole.summary
            found = difference(rows_but_for_receipt(joined, sample_id), rows_but_for_receipt(whole, sample_id))
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
