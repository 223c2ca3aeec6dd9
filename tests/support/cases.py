"""The small cases beside the checkout, and what is right in them: `cases/README.md` says what each key means."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from support.fold import best_levels, check_fold
from support.oracle import STREAMS, OracleSettings
from support.oracle import run as run_oracle

CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases"
"""Beside the checkout, as the recorded captures are."""

BOOK_LEVELS = 5

_DESCRIPTIONS = {"what", "decision", "steps"}
_JUDGED = {"summary", "book_end", "bbo_last", "book_last", "rows", "rows_unsynced", "max_part_rows", "last_date"}
_JUDGED |= {"stderr_or_json_contains"}
_NAME = re.compile(r"part-(\d+)-(-?\d+)(?:\.(\d+))?\.parquet")
_COUNTS: tuple[str, ...] = (
    "gaps",
    "missing_updates",
    "stale",
    "stale_snapshots",
    "foreign_snapshots",
    "time_resets",
    "duplicate_trades",
)
_COUNTS += ("unused", "audits.snapshot.matched", "audits.snapshot.failed")

Row = dict[str, Any]


@dataclass
class Part:
    """Rows of a part, prices and sizes as decimals."""

    date: str
    rows: list[Row]


@dataclass
class Outcome:
    """What a run gave."""

    exit: int
    summary: dict[str, Any]
    text: str = ""  # stdout and stderr
    parts: dict[str, list[Part]] = field(default_factory=dict)  # by stream, in the order of writing

    def rows(self, stream: str) -> list[Row]:
        """All rows of a stream."""
        return [row for part in self.parts.get(stream, []) for row in part.rows]

    def value(self, path: str) -> Any:
        """A value of the summary by its dotted path; None where it is not there."""
        value: Any = self.summary
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value


def case_names() -> list[str]:
    """The cases that are there."""
    return sorted(path.parent.name for path in CASES.glob("*/expected.json"))


def expected_of(name: str) -> Row:
    """What is right in a case."""
    expected: Row = json.loads((CASES / name / "expected.json").read_text())
    return expected


def run_case(name: str, directory: Path) -> Outcome:
    """Go through a case's steps with the real command line, in a copy; the outcome of the last run."""
    work = directory / "case"  # no word of the case's name may come out of the directory's
    shutil.copytree(CASES / name, work)
    outcome = None
    for step, *arguments in expected_of(name).get("steps", [["run"]]):
        if step == "run":
            outcome = run_command_line(work)
        else:
            take_step(work, step, *arguments)
    assert outcome is not None, "a case without a run"
    return outcome


def take_step(work: Path, step: str, name: str, argument: Any = None) -> None:
    """What happens to the files between runs."""
    path = work / name
    if step == "append":
        with (work / argument).open("ab") as file:
            file.write(path.read_bytes())
    elif step == "put":
        (work / argument).unlink(missing_ok=True)
        (work / argument).write_bytes(path.read_bytes())
    elif step == "rename":
        path.rename(work / argument)
    elif step == "gzip":
        packed, written = path.with_name(path.name + ".gz"), path.stat().st_mtime_ns
        packed.write_bytes(gzip.compress(path.read_bytes()))
        os.utime(packed, ns=(written, written))
        path.unlink()
    elif step == "age":
        os.utime(path, (time.time() - argument,) * 2)
    else:
        raise ValueError(step)


def run_command_line(work: Path) -> Outcome:
    """Run it once, and read all that came out."""
    command = [sys.executable, "-m", "cowbook", "run", "cowbook.toml", "--once", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=work, timeout=300)
    try:
        summaries = json.loads(done.stdout)
    except ValueError:
        summaries = []
    text = (done.stdout + done.stderr).replace(str(work), "")
    return Outcome(done.returncode, summaries[0] if summaries else {}, text, read_parts(work / "out" / "data"))


def read_parts(directory: Path) -> dict[str, list[Part]]:
    """The parts of each stream, in the order in which they were written: by first event, then by number."""
    found: dict[str, list[tuple[int, int, Part]]] = {}
    for path in directory.glob("[!.]*/symbol=*/date=*/*.parquet"):
        name = _NAME.fullmatch(path.name)
        assert name, f"no name of a part: {path.name}"
        rows = pq.ParquetFile(path).read().to_pylist()
        part = Part(path.parent.name.removeprefix("date="), rows)
        found.setdefault(path.relative_to(directory).parts[0], []).append((int(name[1]), int(name[3] or 0), part))
    return {stream: [part for *_, part in sorted(parts, key=lambda each: each[:2])] for stream, parts in found.items()}


def run_case_by_oracle(name: str) -> Outcome:
    """The same from the oracle, for cases of Binance with plain files and one run."""
    config = tomllib.loads((CASES / name / "cowbook.toml").read_text())
    (symbol,) = config["symbol"]
    assert symbol["format"] == "binance"
    settings = OracleSettings(name=symbol["name"], book_levels=BOOK_LEVELS)
    result = run_oracle([(path, (CASES / name / path).read_bytes()) for path in symbol["paths"]], settings)
    summary: Row = {"state": "done", "synced": result.synced}
    for path in {*_COUNTS, *result.counts}:
        *outer, last = path.split(".")
        place = summary
        for each in outer:
            place = place.setdefault(each, {})
        place[last] = result.counts.get(path, 0)
    parts = {
        stream: [Part(cut.date, [as_decimals(row, settings) for row in cut.rows[stream]]) for cut in result.cuts]
        for stream in STREAMS
    }
    return Outcome(0, summary, "", {stream: [part for part in several if part.rows] for stream, several in parts.items()})


def as_decimals(row: Row, settings: OracleSettings) -> Row:
    """A row of the oracle with prices and sizes as decimals."""
    result = dict(row)
    for name, value in row.items():
        is_price, is_size = "price" in name or "_px_" in name, name.endswith("size") or "_sz_" in name
        if value is not None and (is_price or is_size):
            result[name] = Decimal(value).scaleb(-(settings.price_decimals if is_price else settings.size_decimals))
    return result


# --- judging -------------------------------------------------------------------------------------------------------


def judge(expected: Row, outcome: Outcome) -> list[str]:
    """What is wrong with an outcome: nothing, if it or the other right one came out."""
    wrong = judge_one({key: value for key, value in expected.items() if key != "or"}, outcome)
    if wrong and "or" in expected:
        other = judge_one(expected["or"], outcome)
        return [*wrong, *(f"or: {each}" for each in other)] if other else []
    return wrong


def judge_one(expected: Row, outcome: Outcome) -> list[str]:
    """What is wrong with an outcome."""
    keys = set(expected) - _DESCRIPTIONS
    if not keys & _JUDGED:
        return ["nothing is judged"]
    if unknown := keys - _JUDGED - {"exit"}:
        return [f"nobody knows how to judge {sorted(unknown)}"]
    right = expected.get("exit", 0)
    if outcome.exit not in (right if isinstance(right, list) else [right]):
        return [f"exit {outcome.exit} instead of {right}: {outcome.text[-2000:]}"]
    wrong: list[str] = []
    for path, value in expected.get("summary", {}).items():
        if not fits(outcome.value(path), value):
            wrong.append(f"summary: {path} is {outcome.value(path)} instead of {value}")
    if "book_end" in expected:
        wrong += judge_book(expected["book_end"], outcome)
    for stream in ("bbo", "book"):
        if f"{stream}_last" in expected:
            wrong += judge_last(stream, expected[f"{stream}_last"], outcome)
    wrong += judge_counts(expected, outcome)
    for words in expected.get("stderr_or_json_contains", []):
        if not any(contains(outcome.text, word) for word in words.split("|")):
            wrong.append(f"neither JSON nor log says {words}")
    return wrong


def fits(found: Any, right: Any) -> bool:
    """Whether a value is the right one, or at least as large as it must be. What is missing never is."""
    if isinstance(right, dict):
        return found is not None and found >= right["min"]
    return type(found) is type(right) and found == right


def judge_counts(expected: Row, outcome: Outcome) -> list[str]:
    """Numbers of rows and dates."""
    wrong = []
    for stream, right in expected.get("rows", {}).items():
        if not fits(len(outcome.rows(stream)), right):
            wrong.append(f"{stream} has {len(outcome.rows(stream))} rows instead of {right}")
    for stream, right in expected.get("rows_unsynced", {}).items():
        unsynced = sum(not row["synced"] for row in outcome.rows(stream))
        if not fits(unsynced, right) or not outcome.rows(stream):
            wrong.append(f"{stream} has {unsynced} rows that are not synced instead of {right}")
    for stream, right in expected.get("max_part_rows", {}).items():
        sizes = [len(part.rows) for part in outcome.parts.get(stream, [])]
        if not sizes or max(sizes) > right:
            wrong.append(f"parts of {stream} have {sizes} rows, at most {right} are right")
    for stream, right in expected.get("last_date", {}).items():
        dates = [part.date for part in outcome.parts.get(stream, [])]
        if dates[-1:] != [right]:
            wrong.append(f"the dates of {stream} are {dates}, the last must be {right}")
    return wrong


def judge_last(stream: str, right: Row, outcome: Outcome) -> list[str]:
    """Some columns of a stream's last row."""
    rows = outcome.rows(stream)
    if not rows:
        return [f"{stream} has no rows"]
    found = {name: rows[-1].get(name, "(no such column)") for name in right}
    expected = {name: Decimal(value) if isinstance(value, str) else value for name, value in right.items()}
    return [] if found == expected else [f"the last row of {stream} says {found} instead of {expected}"]


def judge_book(right: dict[str, list[list[str]]], outcome: Outcome) -> list[str]:
    """The best levels at the end, out of `depth`, which folds to what `bbo` says all the way."""
    try:
        book = check_fold(outcome.rows("depth"), outcome.rows("bbo"))
    except AssertionError as error:
        return [str(error)]
    except KeyError as error:
        return [f"depth has no column {error}"]
    found = best_levels(book, BOOK_LEVELS)
    expected = tuple([(Decimal(price), Decimal(size)) for price, size in right[side]] for side in ("bids", "asks"))
    return [] if found == expected else [f"depth folds to {found} instead of {expected}"]


def contains(text: str, word: str) -> bool:
    """Whether a word is there as one of its own; one in lower case may be written in any case."""
    flags = re.IGNORECASE if word.islower() else re.NOFLAG
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, flags) is not None
