"""Reloading: what a service, or a driver of several, must do for a changed configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from pathlib import Path

from cowbook.config import Config
from cowbook.errors import ConfigError
from cowbook.log import get_logger
from cowbook.plain.places import is_url
from cowbook.symbol.input_check import refuse_unusable
from cowbook.symbol.settings import fingerprint
from cowbook.telemetry.systemd import Notifier

_INTERVALS = ("book_interval", "part_interval")  # in ns


def _shown(value: object, name: str = "") -> str:
    """Returns a setting's value as it would be written in the configuration file."""
    if name in _INTERVALS and isinstance(value, int):
        return f"{value / 1e9:g} s"
    return repr(str(value)) if isinstance(value, Path) else repr(value)


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """Ids of the symbols to remove, to add and to restart, in the order of the configuration files."""

    removed: tuple[str, ...]
    added: tuple[str, ...]
    restarted: tuple[str, ...]
    """Symbols whose input or limits have changed, and those whose settings may all change."""


async def reload(change: Awaitable[None], notifier: Notifier) -> None:
    """Await a change of the configuration, while systemd is told so. A ConfigError refuses it: that is logged, and no more."""
    notifier.reloading()
    try:
        await change
    except ConfigError as error:
        get_logger().error("reload refused: everything goes on as before", problems=error.problems)
    finally:
        notifier.ready()


def check_reload(old: Config, new: Config, open_ids: Collection[str]) -> ReloadPlan:
    """Plan the change as `plan_reload` does, and look at the input of what is new in it. Blocks as long as storage does.

    Raises ConfigError with every problem that prevents it.
    """
    # The files of others may have gone since they were read.
    refuse_unusable(new, "the configuration", of=lambda symbol: symbol not in old.symbol)
    plan, problems = plan_reload(old, new, open_ids)
    if problems:
        raise ConfigError("the configuration", problems)
    return plan


def plan_reload(old: Config, new: Config, open_ids: Collection[str]) -> tuple[ReloadPlan, list[str]]:
    """Plan the change from one configuration to the other. Returns the plan, and the problems that prevent it, one line each.

    `open_ids` are those of symbols that have failed, or have made nothing of their input: any of their settings may change.
    """
    problems = []
    for section in ("service", "http"):
        before, after = getattr(old, section), getattr(new, section)
        problems += [
            f"[{section}] {key} was {_shown(getattr(before, key))} and is {_shown(getattr(after, key))}: this needs a restart"
            for key in type(before).model_fields
            if getattr(before, key) != getattr(after, key) and key != "token"
        ]
        if section == "http" and before.token != after.token:
            problems.append("[http] token has changed: this needs a restart")
    if old.objects != new.objects:
        problems.append("[service] state_dir and output_dir have changed: this needs a restart")
    if old.log.format != new.log.format:
        problems.append(f"[log] format was {old.log.format!r} and is {new.log.format!r}: this needs a restart")
    then = {symbol.id: symbol for symbol in old.symbol}
    now = {symbol.id: symbol for symbol in new.symbol}
    restarted = []
    for symbol_id, symbol in now.items():
        if symbol_id not in then:
            continue
        if symbol_id in open_ids:
            restarted.append(symbol_id)
            continue
        was, is_now = fingerprint(old, then[symbol_id]), fingerprint(new, symbol)
        changed = [name for name in {**was, **is_now} if was.get(name) != is_now.get(name)]
        problems += [
            f'[[symbol]] "{symbol_id}" is under way, and {name} was {_shown(was.get(name), name)} and is '
            f"{_shown(is_now.get(name), name)}: this changes rows or files; "
            "set it back, or remove the symbol and add one with another id"
            for name in changed
        ]
        moved = old.base_dir != new.base_dir and not all(is_url(path) or Path(path).is_absolute() for path in symbol.paths)
        if (then[symbol_id] != symbol or moved) and not changed:
            restarted.append(symbol_id)
    removed = tuple(symbol_id for symbol_id in then if symbol_id not in now)
    added = tuple(symbol_id for symbol_id in now if symbol_id not in then)
    return ReloadPlan(removed, added, tuple(restarted)), problems
