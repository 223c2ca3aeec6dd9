"""The campaign of several sources: runs over copies that each lack something are killed, and the copies grow once."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

from support.campaigns import SMALL, VENUE, Options, Result, add_result, kill_everywhere, simulated_lines, spoil
from support.copies import GROWING_IDS, TABLES, copies_in_containers
from support.joined import cut_off, lossy_copies
from support.scenario import Scenario
from support.venue_samples import LINES

_SOURCE = """[[symbol.source]]
name = "{0}"
paths = ["input/{0}-*"]
"""

_SOURCES = SMALL.replace('paths = ["input/*.jsonl*"]\n', "".join(map(_SOURCE.format, "ab")))

_VENUE_SOURCES = VENUE.replace('paths = ["input/*"]\n', "") + "".join(map(_SOURCE.format, "abc"))


def sources(root: Path, options: Options) -> Result:
    """As `kill`, of symbols whose sources each lack what another one has: Binance, and the venues whose turn it is.

    One of these is numbered, one has checksums, one is a table, and one has nothing that shows a loss. No two copies have one
    container or one compression. With a sample it is one of the four, and a shorter one.
    """
    total = Result("sources")
    binance = Scenario(root / "binance", _SOURCES, _source_inputs(root, options.seed), commits=1)
    add_result(total, "binance", kill_everywhere("sources", binance, options))
    kinds = list(_kinds_of_copies().values())
    if options.sample is None:
        chosen = [names[options.seed % len(names)] for names in kinds]
    else:
        names = kinds[options.seed % len(kinds)]
        chosen = [names[options.seed // len(kinds) % len(names)]]
    for sample_id in chosen:
        copies = copies_in_containers(sample_id, options.seed % 1000, 320 if options.sample is None else 160)
        config = _VENUE_SOURCES.format(name=copies.run.symbol, format=copies.run.format)
        inputs = [
            {f"{source}-{name}": content for source, files in phase.items() for name, content in files.items()}
            for phase in (cut_off(copies.sources, options.seed), copies.sources)
        ]
        scenario = Scenario(root / sample_id, config, inputs, commits=1)
        add_result(total, sample_id, kill_everywhere(f"sources {sample_id}", scenario, options))
    return total


def _kinds_of_copies() -> dict[str, list[str]]:
    """The samples of which files of several sources grow, by what shows a loss."""
    kinds: dict[str, list[str]] = {"ids": [], "checksum": [], "nothing": []}
    for sample_id, (*_, proof) in LINES.items():
        kinds["ids" if proof == "connection" else proof].append(sample_id)
    return kinds | {"table": [sample_id for sample_id in GROWING_IDS if sample_id in TABLES]}


def _source_inputs(root: Path, seed: int) -> list[dict[str, bytes]]:
    """Two copies with bursts missing, with gaps and dead letters; one ends before the other, and both grow."""
    lines = simulated_lines(root, "BTCUSDT", 240, 2, seed % 1000)
    spoil(lines, range(7, len(lines), len(lines) // 9))
    a, b = (b"".join(copy) for copy in lossy_copies(lines, 2, random.Random(seed)))
    head, rest = a[: len(a) // 3], a[len(a) // 3 :]
    packed = gzip.compress(head[: head.rindex(b"\n") + 1], mtime=0)
    rest = head[head.rindex(b"\n") + 1 :] + rest
    return [
        {"a-1.jsonl.gz": packed, "a-2.jsonl": rest[: len(rest) // 2], "b-1.jsonl": b[: 3 * len(b) // 4]},
        {"a-1.jsonl.gz": packed, "a-2.jsonl": rest[:-11], "b-1.jsonl": b},
    ]
