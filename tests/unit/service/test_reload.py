"""What a changed configuration asks of a running service, for each key that there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from cowbook.config import (
    CheckpointConfig,
    Config,
    EnvelopeConfig,
    HttpConfig,
    LogConfig,
    ObjectPlaces,
    OutputConfig,
    ServiceConfig,
    SourceConfig,
    SymbolConfig,
    load_config,
)
from cowbook.service.reload import ReloadPlan, plan_reload
from cowbook.symbol.settings import FINGERPRINT_OF_OUTPUT, FINGERPRINT_OF_SYMBOL, fingerprint

SECTIONS: dict[str, type[BaseModel]] = {
    "service": ServiceConfig,
    "http": HttpConfig,
    "checkpoint": CheckpointConfig,
    "output": OutputConfig,
    "log": LogConfig,
    "symbol": SymbolConfig,
}

REFUSED, RESTARTED, SILENT = "refused", "restarted", "silent"

CONSEQUENCES = {
    **{f"service.{key}": REFUSED for key in ("state_dir", "output_dir", "scratch_dir", "loop", "shard")},
    **{f"http.{key}": REFUSED for key in ("listen", "token")},
    **{f"checkpoint.{key}": SILENT for key in ("every_events", "every", "min_pause", "retain", "min_events", "compression")},
    **{
        f"output.{key}": REFUSED
        for key in ("streams", "book_levels", "book_interval", "book_fill", "part_events", "part_interval")
    },
    **{f"output.{key}": REFUSED for key in ("compression", "numbers")},
    "log.level": SILENT,
    "log.format": REFUSED,
    **{
        f"symbol.{key}": REFUSED
        for key in (
            *("name", "on_gap", "on_bad_record", "on_damage", "price_decimals", "size_decimals"),
            *("depth", "max_line_bytes", "format", "channel", "connection_numbers", "envelope", "source"),
        )
    },
    **{f"symbol.{key}": RESTARTED for key in ("paths", "follow", "max_book_bytes", "rotate_wait", "follow_delay", "source_wait")},
}
ELSEWHERE = {"symbol.id"}
"""Another id is another symbol: it has a test of its own."""

SYMBOL = {"id": "A", "name": "A", "format": "binance", "paths": ["a"]}


def keys() -> list[str]:
    """Every key of every section, from the models."""
    return [f"{section}.{key}" for section, model in SECTIONS.items() for key in model.model_fields]


def other_value(section: str, key: str, value: Any) -> Any:
    """A valid value of a key that is not the given one."""
    annotation = SECTIONS[section].model_fields[key].annotation
    special = {
        "listen": "127.0.0.1:1",
        "streams": ("depth",),
        "paths": ("b",),
        "envelope": EnvelopeConfig(time="ts", message="data"),
        "source": (SourceConfig(name="one", paths=("b",), format="binance"),),
        "part_interval": 60 * 10**9,
        "format": "okx" if section == "symbol" else "json",
    }
    if key in special:
        return special[key]
    if get_origin(annotation) is Literal:
        return next(one for one in get_args(annotation) if one != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return type(value)(f"{value}x")


def make(*symbols: dict[str, Any], **sections: Any) -> Config:
    """A configuration."""
    return Config.model_validate({"symbol": symbols or (SYMBOL,), **sections})


def change(config: Config, section: str, key: str) -> Config:
    """With another value of one key; of the first symbol."""
    old = config.symbol[0] if section == "symbol" else getattr(config, section)
    new = old.model_copy(update={key: other_value(section, key, getattr(old, key))})
    assert new != old
    return config.model_copy(update={section: (new, *config.symbol[1:]) if section == "symbol" else new})


def test_every_key_has_a_consequence() -> None:
    """A new key must be listed with its consequence at a reload."""
    assert sorted(keys()) == sorted(CONSEQUENCES.keys() | ELSEWHERE)


def test_another_place_in_object_storage_needs_a_restart() -> None:
    """The directories of this machine are the same."""
    old = make(SYMBOL).model_copy(update={"objects": ObjectPlaces("s3://b/state", "s3://b/data")})
    for places in (ObjectPlaces("s3://b/state", "s3://c/data"), None):
        _, problems = plan_reload(old, old.model_copy(update={"objects": places}), [])
        assert problems == ["[service] state_dir and output_dir have changed: this needs a restart"]


def test_every_section_is_known() -> None:
    """A new section must be listed, too."""
    assert set(Config.model_fields) == {*SECTIONS, "base_dir", "objects"}


@pytest.mark.parametrize("name", CONSEQUENCES)
def test_a_changed_key_has_its_consequence(name: str) -> None:
    """A changed key is refused by name, restarts its symbol, or just takes effect."""
    section, key = name.split(".")
    old = make(SYMBOL, SYMBOL | {"id": "B"})
    new = change(old, section, key)
    plan, problems = plan_reload(old, new, [])
    if CONSEQUENCES[name] == REFUSED:
        assert problems
        assert all(key in problem for problem in problems)
        where = '[[symbol]] "A"' if section == "symbol" else '[[symbol]] "' if section == "output" else f"[{section}] {key}"
        assert all(problem.startswith(where) for problem in problems)
        assert len(problems) == (2 if section == "output" else 1)
        assert plan.restarted == ()
    else:
        assert problems == []
        assert plan == ReloadPlan((), (), ("A",) if CONSEQUENCES[name] == RESTARTED else ())


@pytest.mark.parametrize("name", CONSEQUENCES)
def test_any_key_of_a_failed_symbol_may_change(name: str) -> None:
    """A failed symbol is restarted with any settings, but settings of the process must not change."""
    section, key = name.split(".")
    old = make()
    plan, problems = plan_reload(old, change(old, section, key), ["A"])
    assert plan == ReloadPlan((), (), ("A",))
    assert bool(problems) == (CONSEQUENCES[name] == REFUSED and section not in ("output", "symbol"))


def test_a_changed_token_is_not_shown() -> None:
    """Problems are logged, so they must not show the token."""
    old, new = make(http={"token": "secret1"}), make(http={"token": "secret2"})
    _, problems = plan_reload(old, new, [])
    assert problems == ["[http] token has changed: this needs a restart"]


def test_an_equal_configuration_changes_nothing() -> None:
    """Another order of streams or symbols is no change."""
    old = make(SYMBOL, SYMBOL | {"id": "B"}, output={"streams": ["depth", "trades"]})
    new = make(SYMBOL | {"id": "B"}, SYMBOL, output={"streams": ["trades", "depth"]})
    assert plan_reload(old, old, []) == (ReloadPlan((), (), ()), [])
    assert plan_reload(old, new, []) == (ReloadPlan((), (), ()), [])


def test_symbols_are_told_apart_by_id_in_the_order_of_the_files() -> None:
    """Ids are listed in the order of the configurations. Another id is another symbol."""
    old = make(*(SYMBOL | {"id": one} for one in "ABCD"))
    new = make(*(SYMBOL | {"id": one} for one in "XCYA"))
    assert plan_reload(old, new, ["B", "C"]) == (ReloadPlan(("B", "D"), ("X", "Y"), ("C",)), [])


def test_all_problems_are_reported_at_once() -> None:
    """Each problem is one line."""
    old = make()
    new = make(SYMBOL | {"price_decimals": 3, "on_gap": "halt"}, service={"loop": "asyncio"}, http={"listen": ""})
    _, problems = plan_reload(old, new, [])
    assert [problem.split(" was ")[0] for problem in problems] == [
        "[service] loop",
        "[http] listen",
        '[[symbol]] "A" is under way, and on_gap',
        '[[symbol]] "A" is under way, and price_decimals',
    ]


def test_values_are_shown_as_in_the_file() -> None:
    """Durations and paths are shown as in the file, not as Python values."""
    old = make(service={"state_dir": "/a"}, output={"part_interval": "1h"})
    new = make(service={"state_dir": "/b"}, output={"part_interval": "30min"})
    _, problems = plan_reload(old, new, [])
    assert problems[0].startswith("[service] state_dir was '/a' and is '/b'")
    assert "part_interval was 3600 s and is 1800 s" in problems[1]


def test_relative_paths_in_another_directory_restart_the_symbol(tmp_path: Path) -> None:
    """The file may be a link that now leads elsewhere: relative paths mean other files then."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").write_text(
            f'[service]\nstate_dir = "{tmp_path}/s"\noutput_dir = "{tmp_path}/d"\n'
            '[[symbol]]\nname = "A"\nformat = "binance"\npaths = ["a"]\n'
            '[[symbol]]\nname = "B"\nformat = "binance"\npaths = ["/b"]\n'
        )
    old, new = (load_config(tmp_path / name / "config.toml", {}) for name in ("one", "two"))
    assert plan_reload(old, new, []) == (ReloadPlan((), (), ("A",)), [])


@pytest.mark.parametrize("section", ["output", "symbol"])
def test_the_fingerprint_has_the_keys_that_a_running_symbol_may_not_change(section: str) -> None:
    """Has each key that a running symbol may not change, and no other: a checkpoint is refused for the same reasons."""
    config = make()
    before = fingerprint(config, config.symbol[0])
    changing = set()
    for key in SECTIONS[section].model_fields:
        if f"{section}.{key}" not in ELSEWHERE:
            new = change(config, section, key)
            if fingerprint(new, new.symbol[0]) != before:
                changing.add(f"{section}.{key}")
    assert changing == {name for name, what in CONSEQUENCES.items() if what == REFUSED and name.startswith(section)}
    assert {"id", "format"} <= before.keys()
    assert before.keys() == {*FINGERPRINT_OF_SYMBOL, *FINGERPRINT_OF_OUTPUT, "streams", "encoder"}
