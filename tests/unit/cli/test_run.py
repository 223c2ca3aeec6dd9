"""The table at the end of `cowbook run --once`."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cowbook.cli.run import show, to_json
from cowbook.config import Config, load_config
from cowbook.plain.vocabulary import AUDIT_KINDS, OUTCOMES
from cowbook.symbol.summary import SymbolSummary
from support.harness import Run, reconstruct


@pytest.fixture
def shown(tmp_path: Path) -> Any:
    """Shows a summary with these figures. Returns the table's cells by their label."""
    (tmp_path / "cowbook.toml").write_text('[[symbol]]\nname = "X"\nformat = "binance"\npaths = ["a"]\n')
    config = load_config(tmp_path / "cowbook.toml", {})

    def show_it(**figures: Any) -> dict[str, str]:
        audits = {kind: dict.fromkeys(OUTCOMES, 0) for kind in AUDIT_KINDS}
        for kind, outcomes in figures.pop("audits", {}).items():
            audits[kind] |= outcomes
        console = Console(file=io.StringIO(), width=120)
        show([SymbolSummary("X", audits=audits, **figures)], config, console)
        lines = [line.strip("│").split("│") for line in console.file.getvalue().splitlines() if line.startswith("│")]  # type: ignore[attr-defined]
        return {label.strip(): cell.strip() for label, cell in lines}

    return show_it


def test_books_of_an_unsynced_symbol_are_neither_verified_nor_refuted(shown: Any) -> None:
    """The fourth word stands only where there are such books; the words add up to the depth messages."""
    cells = shown(depth_messages=100, compared=30, compared_unsynced=0, refuted=1)
    assert cells["books"] == "29 verified, 1 refuted, 70 uncheckable"
    cells = shown(depth_messages=100, compared=30, compared_unsynced=12, refuted=1)
    assert cells["books"] == "17 verified, 1 refuted, 12 unsynced, 70 uncheckable"


def test_tickers_without_ids_are_a_rate(shown: Any) -> None:
    """The row stands only where there are such tickers."""
    assert shown(tickers_near=1999, tickers_far=1)["tickers"] == "1,999 near the book, 1 far from it (99.9 % near)"
    assert "tickers" not in shown()


def test_failures_of_an_unsynced_book_stand_apart(shown: Any) -> None:
    """They are no failed audits."""
    cells = shown(audits={"bookTicker": {"matched": 5, "failed_unsynced": 3}, "snapshot": {"matched": 2, "not_comparable": 9}})
    assert cells["audits"] == "7 matched, 0 failed; unsynced: 0 matched, 3 failed"
    assert shown(audits={"checksum": {"failed": 2}})["audits"] == "0 matched, 2 failed"


def test_snapshots_say_what_they_judged_and_taught(shown: Any) -> None:
    """Levels that were learned are not wrong."""
    cells = shown(witnesses=2, levels_compared=2000, levels_wrong=1, levels_learned=30)
    assert cells["snapshots"] == "2 judged, 2,000 levels compared, 1 wrong, 30 learned"
    assert shown()["snapshots"] == "0 judged"


def test_known_depth_is_a_share_of_time_that_is_rounded_down(shown: Any) -> None:
    """100 % means always."""
    assert shown(known={"best": 0.99999, "grid": 0.6301})["known"] == "best 99.9 %, 20 levels 63.0 % of the time"
    assert shown(known={"best": 1.0, "grid": 0.0})["known"] == "best 100.0 %, 20 levels 0.0 % of the time"
    assert shown(known={"best": None, "grid": None})["known"] == "no time has passed"
    assert shown()["known"] == "no time has passed"  # of a symbol that failed before its first record


def test_what_is_rare_has_a_line_only_where_it_is(shown: Any) -> None:
    """Duplicates, time resets and foreign snapshots."""
    assert not {"duplicates", "time resets", "foreign snapshots"} & shown().keys()
    cells = shown(duplicate_trades=3, time_resets=1, foreign_snapshots=2)
    assert (cells["duplicates"], cells["time resets"], cells["foreign snapshots"]) == ("3 trades", "1", "2")
    assert shown(duplicate_trades=3, duplicate_messages=4)["duplicates"] == "3 trades, 4 messages"


def test_the_query_is_about_a_symbol_that_has_a_book(tmp_path: Path) -> None:
    """A symbol of trades alone has no row of `bbo`, and where there is no other, there is no query."""
    symbols = "".join(f'[[symbol]]\nname = "{name}"\nformat = "binance"\npaths = ["a"]\n' for name in ("TRADES", "BOOK"))
    (tmp_path / "cowbook.toml").write_text(symbols)
    config = load_config(tmp_path / "cowbook.toml", {})
    audits = {kind: dict.fromkeys(OUTCOMES, 0) for kind in AUDIT_KINDS}
    trades = SymbolSummary("TRADES", audits=audits, parts=1, output="data")
    book = SymbolSummary("BOOK", audits=audits, parts=1, output="data", depth_messages=5)
    for summaries, expected in (([trades, book], "bbo/symbol=BOOK/"), ([trades], None)):
        console = Console(file=io.StringIO(), width=120)
        show(summaries, config, console)
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert ("SELECT" in shown) is (expected is not None)
        assert expected is None or expected in shown


def days(tmp_path: Path, lines: bytes) -> SymbolSummary:
    """The summary of a run over these lines."""
    return reconstruct(tmp_path, {"a": lines}, Run("X")).summary


def test_the_verdict_on_the_only_day_has_its_reason(tmp_path: Path) -> None:
    """That of several days is how many have which; JSON has the worst one, and each day's."""
    config = load_config_of(tmp_path)
    start = 1_700_000_000_000
    lines = [
        {"lastUpdateId": 10, "E": start, "bids": [["1.5", "1"]], "asks": [["2.5", "1"]]},
        *(
            {"e": "depthUpdate", "E": start + i, "s": "X", "U": 10 + i, "u": 10 + i, "b": [["1.25", "1"]], "a": []}
            for i in (1, 2)
        ),
    ]
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    (tmp_path / "one").mkdir()
    one = days(tmp_path / "one", text)
    assert "consistent: ids show no gap, but nothing was there to compare with" in shown_on(config, one)
    lost = lines[-1] | {"E": start + 86_400_000, "U": 99, "u": 99}
    (tmp_path / "two").mkdir()
    two = days(tmp_path / "two", text + json.dumps(lost).encode() + b"\n")
    assert "consistent: 1 day, gap: 1 day" in shown_on(config, two)
    assert re.search(r"│ X +│ +done │ gap +│", shown_on(config, *[two] * 5))
    made = to_json(two)
    assert made["verdict"] == "gap"
    assert [(day["day"], day["verdict"]) for day in made["days"]] == [("2023-11-14", "consistent"), ("2023-11-15", "gap")]
    assert to_json(SymbolSummary("X"))["verdict"] is None


def load_config_of(folder: Path) -> Config:
    """A configuration of one symbol."""
    (folder / "cowbook.toml").write_text('[[symbol]]\nname = "X"\nformat = "binance"\npaths = ["a"]\n')
    return load_config(folder / "cowbook.toml", {})


def shown_on(config: Config, *summaries: SymbolSummary) -> str:
    """What is printed of these summaries."""
    console = Console(file=io.StringIO(), width=120)
    show(summaries, config, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]
