"""The README's examples, as they stand there, on the demo's files in small."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from cowbook.config import load_config
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def examples(language: str) -> list[str]:
    """Code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which build/demo is what `make run` leaves there, but smaller."""
    directory = tmp_path_factory.mktemp("readme")
    folder = directory / "build" / "demo"
    folder.mkdir(parents=True)
    write_capture(folder / "BTCUSDT.jsonl.gz", symbol="BTCUSDT", messages=1500, seed=1, gaps=1)
    (folder / "cowbook.toml").write_text('[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["BTCUSDT.jsonl.gz"]\n')
    (summary,) = run_once(load_config(folder / "cowbook.toml", {}))
    assert summary.state == "done"
    return directory


def test_duckdb(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SQL example gives a row a minute, with the best prices in their order."""
    monkeypatch.chdir(demo)
    query, fields = examples("sql")
    assert dict(duckdb.connect().execute(fields).fetchall())["cowbook.symbol"] == "BTCUSDT"
    rows = duckdb.connect().execute(query).fetchall()
    assert len(rows) >= 2
    assert all(bid < ask and changes > 0 for _, bid, ask, changes in rows)


def test_polars(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Polars example gives volumes of both sides."""
    monkeypatch.chdir(demo)
    source = next(example for example in examples("python") if "polars" in example)
    names: dict[str, object] = {}
    exec(compile(source, "README.md", "exec"), names)  # noqa: S102 - it is our own
    volume = names["volume"]
    assert set(volume["side"].to_list()) == {"buy", "sell"}  # type: ignore[index]
    assert min(volume["turnover"].to_list()) > 0  # type: ignore[index]


def test_library(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library example ends with a full book and a sensible spread."""
    monkeypatch.chdir(demo)
    source = next(example for example in examples("python") if "replay" in example)
    names: dict[str, object] = {}
    exec(compile(source, "README.md", "exec"), names)  # noqa: S102 - it is our own
    assert names["prices"].tolist() == sorted(names["prices"].tolist(), reverse=True)  # type: ignore[attr-defined]
    assert 0 < names["spread"] < 100  # type: ignore[operator]
    assert names["depth"] > 0  # type: ignore[operator]


def test_configuration(tmp_path: Path) -> None:
    """The configuration example is a valid one."""
    (tmp_path / "cowbook.toml").write_text(examples("toml")[0])
    assert load_config(tmp_path / "cowbook.toml", {}).symbol[0].id == "BTCUSDT"
