"""The runbook's queries, as they stand there, on the output of a capture that has everything that they ask for."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from cowbook.config import load_config
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture

REPOSITORY = Path(__file__).resolve().parents[2]
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text()


def test_each_query_finds_rows(tmp_path: Path) -> None:
    """Each finds rows: of a gap, a failed audit, a drift and a dead letter."""
    write_capture(tmp_path / "capture", symbol="BTCUSDT", messages=600, seed=1, gaps=4)
    lines = (tmp_path / "capture").read_text().splitlines()
    tickers = [place for place, line in enumerate(lines) if '"B":' in line]
    wrong = re.sub('"B":"[^"]*"', '"B":"123456.00000000"', lines[tickers[-1]])
    lines.insert(tickers[-1], wrong)  # the exchange says something else of the same moment
    first = next(place for place, line in enumerate(lines) if '"lastUpdateId"' in line)
    lines.insert(first + 1, re.sub('(?<=",")[^"]*(?="])', "5.00000000", lines[first]))  # it says other sizes of the same moment
    lines.append("nonsense")
    (tmp_path / "capture").write_text("\n".join(lines) + "\n")
    (tmp_path / "cowbook.toml").write_text('[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["capture"]\n')
    (summary,) = run_once(load_config(tmp_path / "cowbook.toml", {}))
    assert summary.state == "done"
    queries = re.findall(r"```sql\n(.*?)```", RUNBOOK, re.DOTALL)
    assert [re.findall(r"/data/(\w+)/", query)[0] for query in queries] == ["gaps", "audits", "drift", "dead_letter"]
    for query in queries:
        placed = query.replace("/var/lib/cowbook/NAME", str(tmp_path)).replace("SYMBOL", "BTCUSDT")
        # Counted inside of DuckDB: times with a zone need another package to become Python's.
        rows = duckdb.connect().execute(f"SELECT count(*) FROM ({placed.strip().removesuffix(';')})").fetchall()  # noqa: S608
        assert rows[0][0] > 0, query


def test_words_of_errors_are_those_of_the_code() -> None:
    """The words by which the runbook tells errors, and those that it looks for in the journal, stand in the package."""
    code = "\n".join(path.read_text() for path in sorted((REPOSITORY / "daemon" / "cowbook").rglob("*.py")))
    section = RUNBOOK.partition("### CowbookSymbolFailed")[2].partition("\n### ")[0]
    heads = [line.partition("*: ")[0] for line in section.splitlines() if line.startswith("* *")]
    words = [phrase.strip("* ") for head in heads for phrase in head.removeprefix("* ").split("*, *")]
    words += re.findall(r'grep "([^"]+)"', RUNBOOK)
    assert len(words) >= 14
    for phrase in words:
        assert phrase in code, phrase
